//! Faults planted into the samples' PTX: each must be found, by a finding or by wrong values.

#[path = "emulator/cases/mod.rs"]
mod cases;
#[path = "emulator/faults/mod.rs"]
mod faults;

use std::iter;
use std::path::Path;
use std::process::Command;

use cases::{Case, Outcome};
use cosmogan::emulator::Schedule;
use faults::{FAULTS, Fault, Found};
use rayon::prelude::*;

/// No sample needs a tenth of this.
const INSTRUCTIONS: u64 = 3_000_000;

fn outcome(case: &Case, text: &str, schedule: Schedule) -> Outcome {
    let mut launch = case.launch.schedule(schedule).races();
    launch.options.instruction_limit = INSTRUCTIONS;
    case.run(text, &launch)
        .unwrap_or_else(|error| panic!("{}: {error}", case.title()))
}

/// What is told of an outcome: the kinds of its findings, and wrong values.
fn told(outcome: &Outcome) -> String {
    let findings = &outcome.report.findings;
    let mut told: Vec<String> = findings.iter().map(|f| format!("{:?}", f.kind)).collect();
    told.sort();
    told.dedup();
    told.extend(outcome.wrong.is_some().then(|| "wrong values".to_owned()));
    told.join(", ")
}

fn is_found(fault: &Fault, outcome: &Outcome) -> bool {
    match fault.found {
        Found::By(kind) => outcome.report.found(kind),
        Found::WrongValues => outcome.wrong.is_some(),
    }
}

fn case_of<'a>(fault: &Fault, cases: &'a [Case]) -> &'a Case {
    let case = cases.iter().find(|case| case.kernel == fault.kernel);
    case.unwrap_or_else(|| panic!("no case runs {}", fault.kernel))
}

/// The default schedule, then random ones: what depends on which warp comes first may need them.
fn schedules() -> impl Iterator<Item = Schedule> {
    iter::once(Schedule::Latest).chain((0..10).map(Schedule::Random))
}

#[test]
fn every_planted_fault_is_found() {
    let cases = cases::all(11);
    let mut missed = Vec::new();
    println!("| sample | planted fault | schedule | found by |\n|---|---|---|---|");
    for fault in FAULTS {
        let case = case_of(fault, &cases);
        let healthy = cases::ptx(fault.file, "sm_80");
        let without = outcome(case, &healthy, Schedule::Latest);
        assert_eq!(told(&without), "", "{} as it is", fault.kernel);
        let planted = fault.planted(&healthy).unwrap();
        let Fault { name, kernel, .. } = fault;
        let found = schedules().find_map(|schedule| {
            let outcome = outcome(case, &planted, schedule);
            is_found(fault, &outcome).then(|| (schedule, told(&outcome)))
        });
        match found {
            Some((schedule, told)) => println!("| {kernel} | {name} | {schedule:?} | {told} |"),
            None => {
                let outcome = outcome(case, &planted, Schedule::Latest);
                let findings = outcome.report.findings.iter();
                let findings: Vec<String> = findings.map(ToString::to_string).collect();
                missed.push(format!("{kernel}: {name}: {findings:#?}"));
            }
        }
    }
    assert!(missed.is_empty(), "missed:\n{}", missed.join("\n"));
}

#[test]
fn what_is_found_does_not_depend_on_threads() {
    let pool = |threads| {
        let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
        builder.build().unwrap()
    };
    let (one, three) = (pool(1), pool(3));
    let cases = cases::all(12);
    for fault in FAULTS {
        let case = case_of(fault, &cases);
        let planted = fault.planted(&cases::ptx(fault.file, "sm_80")).unwrap();
        for schedule in [Schedule::Latest, Schedule::Earliest, Schedule::Random(3)] {
            let alone = one.install(|| outcome(case, &planted, schedule));
            let together = three.install(|| outcome(case, &planted, schedule));
            assert_eq!(
                alone.report, together.report,
                "{}, {}, {schedule:?}",
                fault.kernel, fault.name
            );
        }
    }
}

/// With the pinned nvcc named by `COSMOGAN_NVCC`: what the emulator is to find must not be what an
/// assembler refuses.
#[test]
fn every_planted_fault_is_ptx_that_ptxas_accepts() {
    let Some(nvcc) = std::env::var_os("COSMOGAN_NVCC") else {
        println!("skipped: COSMOGAN_NVCC does not name the pinned nvcc");
        return;
    };
    let ptxas = Path::new(&nvcc).with_file_name("ptxas");
    let folder = tempfile::tempdir().unwrap();
    let refused: Vec<String> = FAULTS
        .par_iter()
        .enumerate()
        .filter_map(|(number, fault)| {
            let planted = fault.planted(&cases::ptx(fault.file, "sm_80")).unwrap();
            let path = folder.path().join(format!("{number}.ptx"));
            std::fs::write(&path, planted).unwrap();
            let output = Command::new(&ptxas)
                .args(["-arch=sm_80", "-o"])
                .arg(path.with_extension("cubin"))
                .arg(&path)
                .output()
                .unwrap();
            let told = String::from_utf8_lossy(&output.stderr);
            let message = format!("{}, {}: {told}", fault.kernel, fault.name);
            (!output.status.success()).then_some(message)
        })
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

//! Sample kernels from nvcc's own PTX, run by the emulator against scalar references.

#[path = "emulator/cases/mod.rs"]
mod cases;

use std::process::Command;

use cases::Case;
use cosmogan::emulator::{Approximations, Counters, Launch, Schedule};

const SEEDS: u64 = 20;

fn schedules() -> impl Iterator<Item = Schedule> {
    [Schedule::Latest, Schedule::Earliest]
        .into_iter()
        .chain((0..SEEDS).map(Schedule::Random))
}

/// Runs `case`; what is found or wrong goes to `failures`.
fn counted(case: &Case, target: &str, launch: &Launch, failures: &mut Vec<String>) -> Counters {
    let place = format!(
        "{} for {target}, {:?}",
        case.title(),
        launch.options.schedule
    );
    match case.run(&cases::ptx(case.file, target), launch) {
        Err(error) => failures.push(format!("{place}: {error}")),
        Ok(outcome) => {
            let findings = outcome.report.findings.iter().map(ToString::to_string);
            failures.extend(
                findings
                    .chain(outcome.wrong)
                    .map(|what| format!("{place}: {what}")),
            );
            return outcome.report.counters;
        }
    }
    Counters::default()
}

fn none(failures: &[String]) {
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_sample_is_right_and_without_findings_in_every_schedule() {
    let mut failures = Vec::new();
    for case in cases::all(1) {
        for target in cases::targets(case.file) {
            for schedule in schedules() {
                let launch = case.launch.schedule(schedule).races();
                counted(&case, &target, &launch, &mut failures);
                if !failures.is_empty() {
                    break;
                }
            }
        }
    }
    none(&failures);
}

#[test]
fn every_sample_is_right_for_other_sizes_and_values() {
    let mut failures = Vec::new();
    for seed in 2..7 {
        for case in cases::all(seed) {
            counted(&case, "sm_90a", &case.launch, &mut failures);
        }
    }
    none(&failures);
}

#[test]
fn results_and_counters_do_not_depend_on_threads_or_on_tracking_races() {
    let pool = |threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    };
    let (one, three) = (pool(1), pool(3));
    for case in cases::all(7) {
        let text = cases::ptx(case.file, "sm_90a");
        for schedule in [Schedule::Latest, Schedule::Random(5)] {
            let plain = case.launch.schedule(schedule);
            let alone = one.install(|| case.run(&text, &plain));
            assert!(alone.is_ok(), "{}: {alone:?}", case.title());
            let together = three.install(|| case.run(&text, &plain));
            let tracked = three.install(|| case.run(&text, &plain.races()));
            assert!(alone == together, "{}: three threads differ", case.title());
            assert!(alone == tracked, "{}: tracking races differs", case.title());
        }
    }
}

#[test]
fn the_code_for_any_cpu_gives_the_same_bits_findings_and_counters() {
    for case in cases::all(8) {
        let text = cases::ptx(case.file, "sm_90a");
        let own = case.run(&text, &case.launch);
        assert!(own.is_ok(), "{}: {own:?}", case.title());
        let portable = case.run(&text, &case.launch.portable());
        assert!(own == portable, "{} differs", case.title());
    }
}

#[test]
fn samples_bear_every_result_that_the_isa_allows_approximate_operations() {
    let mut failures = Vec::new();
    // The fast functions are held to less error than the ISA grants: sine and cosine to that of
    // CUDA's programming guide within [-pi, pi], the reciprocal square root to none.
    let others = |case: &Case| case.kernel != "fast_functions";
    for case in cases::all(9).into_iter().filter(others) {
        for seed in 0..3 {
            let launch = case.launch.approximations(Approximations::Perturbed(seed));
            counted(&case, "sm_90a", &launch, &mut failures);
        }
    }
    none(&failures);
}

/// The pinned nvcc named by `COSMOGAN_NVCC`.
#[test]
fn the_committed_ptx_is_what_the_pinned_nvcc_makes() {
    let Some(nvcc) = std::env::var_os("COSMOGAN_NVCC") else {
        println!("skipped: COSMOGAN_NVCC does not name the pinned nvcc");
        return;
    };
    let built = tempfile::tempdir().unwrap();
    let status = Command::new(cases::folder().join("build.sh"))
        .arg(nvcc)
        .arg(built.path())
        .status()
        .unwrap();
    assert!(status.success(), "build.sh: {status}");
    let names = |folder: &std::path::Path| {
        let files = folder.read_dir().unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let committed = cases::folder().join("ptx");
    assert_eq!(names(built.path()), names(&committed));
    for name in names(&committed) {
        let read = |folder: &std::path::Path| std::fs::read_to_string(folder.join(&name)).unwrap();
        assert!(
            read(built.path()) == read(&committed),
            "{} is stale: run tests/emulator/build.sh",
            name.display()
        );
    }
}

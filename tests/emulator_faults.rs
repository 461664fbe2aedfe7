//! Faults planted into the samples' PTX: each must be found, by a finding or by wrong values.

#[path = "emulator/cases/mod.rs"]
mod cases;
#[path = "emulator/faults/mod.rs"]
mod faults;

use cases::{Case, Outcome};
use cosmogan::emulator::Schedule;
use faults::{FAULTS, Fault, Found};

/// No sample needs a tenth of this.
const INSTRUCTIONS: u64 = 3_000_000;

fn outcome(case: &Case, text: &str, schedule: Schedule) -> Outcome {
    let mut launch = case.launch.schedule(schedule).races();
    launch.options.instruction_limit = INSTRUCTIONS;
    case.run(text, &launch)
        .unwrap_or_else(|error| panic!("{}: {error}", case.title()))
}

/// What is told of an outcome: the kinds of its findings, and wrong values.
fn told(outcome: &Outcome) -> Vec<String> {
    let findings = &outcome.report.findings;
    let mut told: Vec<String> = findings.iter().map(|f| format!("{:?}", f.kind)).collect();
    told.sort();
    told.dedup();
    told.extend(outcome.wrong.is_some().then(|| "wrong values".to_owned()));
    told
}

fn is_found(fault: &Fault, outcome: &Outcome) -> bool {
    match fault.found {
        Found::By(kind) => outcome.report.found(kind),
        Found::WrongValues => outcome.wrong.is_some(),
    }
}

#[test]
fn every_planted_fault_is_found_in_the_default_schedule() {
    let cases = cases::all(11);
    let mut missed = Vec::new();
    println!("| sample | planted fault | found by |\n|---|---|---|");
    for fault in FAULTS {
        let case = cases
            .iter()
            .find(|case| case.kernel == fault.kernel)
            .unwrap_or_else(|| panic!("no case runs {}", fault.kernel));
        let healthy = cases::ptx(fault.file, "sm_80");
        let planted = fault.planted(&healthy).unwrap();
        let outcome = outcome(case, &planted, Schedule::Latest);
        let told = told(&outcome).join(", ");
        println!("| {} | {} | {told} |", fault.kernel, fault.name);
        if !is_found(fault, &outcome) {
            missed.push(format!("{}: {}: {told}", fault.kernel, fault.name));
        }
    }
    assert!(missed.is_empty(), "missed:\n{}", missed.join("\n"));
}

#[test]
fn every_edit_applies_exactly_where_the_table_says() {
    let mut failures = Vec::new();
    for fault in FAULTS {
        match fault.planted(&cases::ptx(fault.file, "sm_80")) {
            Err(message) => failures.push(message),
            Ok(planted) => {
                if let Some(folder) = std::env::var_os("DUMP") {
                    let name = fault.name.replace([' ', '\''], "_");
                    std::fs::write(
                        std::path::Path::new(&folder).join(format!("{}.{name}.ptx", fault.kernel)),
                        planted,
                    )
                    .unwrap();
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

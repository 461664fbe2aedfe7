//! The strided layer's checks on the emulator.

use super::*;
use crate::backend::gpu::check::{Outcome, run};
use crate::backend::gpu::{Emulated, EmulatedOptions, ptx};
use crate::emulator::Schedule;

fn launcher(options: EmulatedOptions) -> Launcher<Emulated> {
    Launcher::new(Emulated::new(options), ptx::committed()).expect("the kernels load")
}

fn outcomes(cases: u64, options: EmulatedOptions) -> Vec<Outcome> {
    let mut launcher = launcher(options);
    checks()
        .iter()
        .flat_map(|check| (0..cases).map(move |seed| (check, seed)))
        .map(|(check, seed)| run(&mut launcher, check, Size::Small, seed))
        .collect()
}

#[test]
fn every_strided_kernel_agrees_with_the_reference_without_races() {
    let options = EmulatedOptions {
        races: true,
        ..EmulatedOptions::default()
    };
    for outcome in outcomes(12, options) {
        assert!(outcome.passed(), "{outcome:#?}");
    }
}

#[test]
fn every_strided_kernel_agrees_with_the_reference_in_any_schedule() {
    for schedule in [Schedule::Earliest, Schedule::Random(7)] {
        let options = EmulatedOptions {
            schedule,
            ..EmulatedOptions::default()
        };
        for outcome in outcomes(4, options) {
            assert!(outcome.passed(), "{outcome:#?}");
        }
    }
}

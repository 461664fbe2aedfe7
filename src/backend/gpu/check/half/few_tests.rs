//! The outermost layer's checks on the emulator.

use super::*;
use crate::backend::gpu::check::run;
use crate::backend::gpu::launcher::Launcher;
use crate::backend::gpu::{Emulated, EmulatedOptions, ptx};
use crate::emulator::Schedule;

fn launcher(options: EmulatedOptions) -> Launcher<Emulated> {
    Launcher::new(Emulated::new(options), ptx::committed()).expect("the kernels load")
}

fn pass(options: EmulatedOptions, seeds: std::ops::Range<u64>) {
    let mut launcher = launcher(options);
    for check in checks() {
        for seed in seeds.clone() {
            let outcome = run(&mut launcher, &check, Size::Small, seed);
            assert!(outcome.passed(), "{outcome:#?}");
        }
    }
}

#[test]
fn every_few_channel_kernel_agrees_with_the_reference_without_races() {
    let options = EmulatedOptions {
        races: true,
        ..EmulatedOptions::default()
    };
    pass(options, 0..16);
}

#[test]
fn every_few_channel_kernel_agrees_with_the_reference_in_any_schedule() {
    let random = (0..10).map(Schedule::Random);
    for (i, schedule) in random.chain([Schedule::Earliest]).enumerate() {
        let options = EmulatedOptions {
            schedule,
            ..EmulatedOptions::default()
        };
        pass(options, 100 + i as u64..101 + i as u64);
    }
}

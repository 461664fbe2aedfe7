//! The checks of all kernels but the strided layer's, on the emulator.

use super::*;
use crate::backend::gpu::{Emulated, EmulatedOptions, ptx};
use crate::emulator::Schedule;

type Checks = Vec<Box<dyn Check<Emulated>>>;

fn launcher(options: EmulatedOptions) -> Launcher<Emulated> {
    Launcher::new(Emulated::new(options), ptx::committed()).expect("the kernels load")
}

fn boxed<C: Check<Emulated> + 'static>(checks: impl IntoIterator<Item = C>) -> Checks {
    checks
        .into_iter()
        .map(|check| Box::new(check) as _)
        .collect()
}

/// Runs `cases` cases of each check with races tracked, then some in other schedules.
fn pass(checks: Checks, cases: u64) {
    let races = EmulatedOptions {
        races: true,
        ..EmulatedOptions::default()
    };
    let of = |schedule| EmulatedOptions {
        schedule,
        ..EmulatedOptions::default()
    };
    let random = (0..10).map(Schedule::Random);
    let others = random.chain([Schedule::Earliest]).zip(0..);
    let others = others.map(|(schedule, seed)| (of(schedule), seed..seed + 1));
    for (options, seeds) in [(races, 0..cases)].into_iter().chain(others) {
        let mut launcher = launcher(options);
        for check in &checks {
            for seed in seeds.clone() {
                let outcome = run(&mut launcher, check.as_ref(), Size::Small, seed);
                assert!(outcome.passed(), "{outcome:#?}");
            }
        }
    }
}

#[test]
fn batch_norm_and_sums_of_columns_agree_with_the_reference() {
    pass(boxed(norm::checks()), 24);
}

#[test]
fn dense_layers_agree_with_the_reference() {
    pass(boxed(dense::checks()), 24);
}

#[test]
fn batch_norm_of_bf16_agrees_with_the_reference() {
    pass(boxed(half::norm::checks()), 24);
}

#[test]
fn dense_layers_of_bf16_agree_with_the_reference() {
    pass(boxed(half::dense::checks()), 24);
}

#[test]
fn weights_are_packed_as_the_convolutions_read_them() {
    pass(boxed(half::pack::checks()), 16);
}

#[test]
fn activations_and_fills_agree_with_the_reference() {
    pass(boxed(elementwise::checks()), 16);
}

#[test]
fn adam_averages_targets_and_losses_agree_with_the_reference() {
    pass(boxed(step::checks()), 32);
}

#[test]
fn random_numbers_are_those_of_the_host_to_the_bit() {
    pass(boxed(random::checks()), 12);
}

#[test]
fn crops_are_those_of_the_host_to_the_bit() {
    pass(boxed([crop::Crop]), 24);
}

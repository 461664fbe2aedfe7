//! Targets: flips and smoothing, as the backend's callers see them.

use super::*;
use crate::backend::{FlipUnit, LabelFlip};

const REAL: usize = 70;
const FAKE: usize = 50;

/// The targets of one step, drawn into memory full of NaN.
fn targets(probability: f64, per: FlipUnit, smoothing: f64, step: u64) -> (Vec<f64>, Vec<f64>) {
    let mut backend = Cpu::<f64>::new();
    backend.reserve(REAL + FAKE).unwrap();
    let (real, fake) = (view(0, REAL), view(REAL, FAKE));
    backend.values_mut(view(0, REAL + FAKE)).fill(f64::NAN);
    let call = Targets {
        real,
        fake,
        flip: LabelFlip { probability, per },
        smoothing,
    };
    let scalars = StepScalars {
        seed: 77,
        step,
        ..StepScalars::default()
    };
    let record = |backend: &mut Cpu<f64>| backend.targets(&call);
    backend.run(ProgramId::new(), &scalars, &record).unwrap();
    (backend.values(real).to_vec(), backend.values(fake).to_vec())
}

fn view(start: usize, len: usize) -> View {
    View::new(start, len)
}

#[test]
fn without_flips_real_is_one_less_the_smoothing_and_fake_is_zero() {
    for per in [FlipUnit::Batch, FlipUnit::Sample] {
        for smoothing in [0.0, 0.1, 0.75] {
            for step in 1..50 {
                let (real, fake) = targets(0.0, per, smoothing, step);
                assert_eq!(real, [1.0 - smoothing; REAL]);
                assert_eq!(fake, [0.0; FAKE]);
            }
        }
    }
}

#[test]
fn certain_flips_swap_all_targets_and_the_smoothed_one_stays_the_real_label() {
    for per in [FlipUnit::Batch, FlipUnit::Sample] {
        let (real, fake) = targets(1.0, per, 0.1, 3);
        assert_eq!(real, [0.0; REAL]);
        assert_eq!(fake, [0.9; FAKE]);
    }
}

#[test]
fn flips_of_samples_hit_their_share_of_both_halves_independently() {
    let (steps, probability) = (400, 0.2);
    let (mut real_flips, mut fake_flips, mut both) = (0, 0, 0);
    let mut batches = std::collections::BTreeSet::new();
    for step in 1..=steps {
        let (real, fake) = targets(probability, FlipUnit::Sample, 0.0, step);
        assert!(real.iter().chain(&fake).all(|t| *t == 0.0 || *t == 1.0));
        real_flips += real.iter().filter(|t| **t == 0.0).count();
        fake_flips += fake.iter().filter(|t| **t == 1.0).count();
        let pairs = real.iter().zip(&fake);
        both += pairs.filter(|(r, f)| **r == 0.0 && **f == 1.0).count();
        batches.insert(format!("{real:?}{fake:?}"));
    }
    assert_eq!(batches.len() as u64, steps, "steps repeat each other");
    for (flips, samples, expected) in [
        (real_flips, REAL, probability),
        (fake_flips, FAKE, probability),
        (both, FAKE, probability * probability),
    ] {
        let draws = steps as f64 * samples as f64;
        let deviations =
            (flips as f64 - draws * expected) / (draws * expected * (1.0 - expected)).sqrt();
        println!("{flips} of {draws} flipped: {deviations:.1} standard deviations off");
        assert!(deviations.abs() < 4.5, "{flips} flips of {draws}");
    }
}

#[test]
fn a_flip_of_a_batch_swaps_all_of_it_or_nothing() {
    let steps = 4000;
    let mut flips = 0;
    for step in 1..=steps {
        let (real, fake) = targets(0.1, FlipUnit::Batch, 0.0, step);
        let flipped = real[0] == 0.0;
        let (on_real, on_fake) = if flipped { (0.0, 1.0) } else { (1.0, 0.0) };
        assert_eq!(real, [on_real; REAL]);
        assert_eq!(fake, [on_fake; FAKE]);
        flips += usize::from(flipped);
    }
    let deviations = (flips as f64 - 400.0) / (400.0f64 * 0.9).sqrt();
    assert!(deviations.abs() < 4.5, "{flips} flips of {steps}");
}

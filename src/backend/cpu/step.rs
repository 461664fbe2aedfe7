//! What surrounds the blocks in a training step: loss, targets, Adam, averages.

use rayon::prelude::*;

use super::meter::count_moved;
use super::scalar::{Scalar, vectorised};
use crate::backend::{AdamConfig, EpsilonForm, FlipUnit, StepScalars, Targets};
use crate::rng::{Philox, Stream, uniform};

/// Values of one piece of work.
const PIECE: usize = 1 << 14;

/// Mean binary cross-entropy of `logits` against `targets`, and its gradient with respect to the
/// logits: `max(l, 0) - l t + ln(1 + exp(-|l|))`, which neither overflows nor loses small values.
pub fn loss<T: Scalar>(logits: &[T], targets: &[T], gradient: &mut [T]) -> T {
    let count = T::of(logits.len() as f64);
    let mut sum = T::zero();
    for ((&logit, &target), gradient) in logits.iter().zip(targets).zip(gradient) {
        let small = (-logit.abs()).exp();
        sum += logit.max(T::zero()) - logit * target + small.ln_1p();
        let sigmoid = if logit >= T::zero() {
            T::one() / (T::one() + small)
        } else {
            small / (T::one() + small)
        };
        *gradient = (sigmoid - target) / count;
    }
    sum / count
}

/// The discriminator's targets: 1 - smoothing for real and 0 for fake samples, swapped by chance.
pub fn targets<T: Scalar>(call: &Targets, scalars: &StepScalars, real: &mut [T], fake: &mut [T]) {
    let philox = Philox::new(scalars.seed, Stream::LabelFlip, scalars.step);
    let flipped = |index: u32| {
        let draw = match call.flip.per {
            FlipUnit::Batch => 0,
            FlipUnit::Sample => index,
        };
        let word = philox.block(draw / 4)[(draw % 4) as usize];
        f64::from(uniform(word)) < call.flip.probability
    };
    let (one, zero) = (T::of(1.0 - call.smoothing), T::zero());
    let real_len = real.len();
    for (i, target) in real.iter_mut().enumerate() {
        *target = if flipped(i as u32) { zero } else { one };
    }
    for (i, target) in fake.iter_mut().enumerate() {
        *target = if flipped((real_len + i) as u32) {
            one
        } else {
            zero
        };
    }
}

/// One Adam update, `step` counted from 1. See [`EpsilonForm`] for the two formulas.
pub fn adam<T: Scalar>(
    config: &AdamConfig,
    rate: f64,
    step: u64,
    parameters: &mut [T],
    gradient: &[T],
    first: &mut [T],
    second: &mut [T],
) {
    let correction = |beta: f64| 1.0 - beta.powf(step as f64);
    let root = correction(config.beta2).sqrt();
    let scale = T::of(rate / correction(config.beta1) * root);
    // lr m_hat / (sqrt(v_hat) + eps) = lr root / (1 - b1^t) m / (sqrt(v) + eps root)
    let epsilon = T::of(match config.epsilon_form {
        EpsilonForm::Outside => config.epsilon,
        EpsilonForm::Corrected => config.epsilon * root,
    });
    let (beta1, beta2) = (T::of(config.beta1), T::of(config.beta2));
    let (rest1, rest2) = (T::of(1.0 - config.beta1), T::of(1.0 - config.beta2));
    // Four values are read, three written.
    count_moved(7 * parameters.len());
    parameters
        .par_chunks_mut(PIECE)
        .zip(gradient.par_chunks(PIECE))
        .zip(first.par_chunks_mut(PIECE))
        .zip(second.par_chunks_mut(PIECE))
        .for_each(|(((parameters, gradient), first), second)| {
            let len = parameters.len();
            let (gradient, first, second) =
                (&gradient[..len], &mut first[..len], &mut second[..len]);
            vectorised(
                #[inline(always)]
                || {
                    for i in 0..len {
                        let g = gradient[i];
                        let m = beta1 * first[i] + rest1 * g;
                        let v = beta2 * second[i] + rest2 * g * g;
                        first[i] = m;
                        second[i] = v;
                        parameters[i] -= scale * m / (v.sqrt() + epsilon);
                    }
                },
            );
        });
}

/// `average = decay average + (1 - decay) values`.
pub fn average<T: Scalar>(average: &mut [T], values: &[T], decay: f64) {
    let (keep, rest) = (T::of(decay), T::of(1.0 - decay));
    count_moved(3 * average.len());
    average
        .par_chunks_mut(PIECE)
        .zip(values.par_chunks(PIECE))
        .for_each(|(average, values)| {
            vectorised(
                #[inline(always)]
                || {
                    for (average, &value) in average.iter_mut().zip(values) {
                        *average = keep * *average + rest * value;
                    }
                },
            );
        });
}

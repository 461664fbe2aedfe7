//! The knobs of a training step, and the two published settings of them.
//!
//! `paper` is what the TensorFlow code of Mustafa et al. 2019 (arXiv:1706.02390) does, `torch`
//! what the PyTorch re-implementation of Pellizzari's thesis (2024) does.

use serde::{Deserialize, Serialize};

use crate::backend::{AdamConfig, EpsilonForm, FlipUnit, LabelFlip};
use crate::model::Initialisation;

/// A published setting of all knobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Convention {
    Paper,
    Torch,
}

/// When the two networks are updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateOrder {
    /// One forward pass; both gradients from it before either update.
    Simultaneous,
    /// The discriminator first; the generator's gradient then comes through the updated one.
    Alternating,
}

/// A stretch of training at one learning rate; the last one goes on to the end of the run.
///
/// Its length is absolute, never a share of the run: a run that is made longer continues as it
/// would have if the larger total had been asked for at first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Segment {
    Epochs { epochs: f64, rate: f64 },
    Steps { steps: f64, rate: f64 },
}

impl Segment {
    pub fn rate(&self) -> f64 {
        match *self {
            Segment::Epochs { rate, .. } | Segment::Steps { rate, .. } => rate,
        }
    }

    /// In its own unit.
    pub fn length(&self) -> f64 {
        match *self {
            Segment::Epochs { epochs, .. } => epochs,
            Segment::Steps { steps, .. } => steps,
        }
    }
}

/// A piecewise constant learning rate: a list of segments that is never empty, all in one unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schedule {
    pub segments: Vec<Segment>,
}

impl Schedule {
    /// One rate from beginning to end.
    pub fn constant(rate: f64) -> Self {
        Self {
            segments: vec![Segment::Epochs { epochs: 1.0, rate }],
        }
    }

    /// Stretches of (steps, rate).
    pub fn in_steps(stretches: &[(f64, f64)]) -> Self {
        let segment = |&(steps, rate): &(f64, f64)| Segment::Steps { steps, rate };
        Self {
            segments: stretches.iter().map(segment).collect(),
        }
    }

    /// The rate after `steps` steps, which are `epochs` epochs (fractions allowed).
    pub fn rate_at(&self, epochs: f64, steps: u64) -> f64 {
        let mut end = 0.0;
        for segment in &self.segments {
            end += segment.length();
            let done = match segment {
                Segment::Epochs { .. } => epochs,
                Segment::Steps { .. } => steps as f64,
            };
            if done < end {
                return segment.rate();
            }
        }
        self.segments.last().map_or(0.0, Segment::rate)
    }
}

/// Every knob of a training step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepConfig {
    pub update: UpdateOrder,
    /// Whether the generator's half of an alternating step draws a new latent vector and runs its
    /// own forward pass.
    pub fresh_latent: bool,
    pub label_flip: LabelFlip,
    /// The real label of the discriminator's loss is `1 - label_smoothing`.
    pub label_smoothing: f64,
    pub adam: AdamConfig,
    pub generator_rate: Schedule,
    pub discriminator_rate: Schedule,
    pub initialisation: Initialisation,
    /// Whether the last incomplete batch of an epoch is left out.
    pub drop_last: bool,
}

impl Convention {
    /// The setting that this convention stands for.
    pub fn step(self) -> StepConfig {
        match self {
            Convention::Paper => StepConfig {
                update: UpdateOrder::Simultaneous,
                fresh_latent: false,
                label_flip: LabelFlip {
                    probability: 0.01,
                    per: FlipUnit::Batch,
                },
                label_smoothing: 0.0,
                adam: AdamConfig {
                    beta1: 0.5,
                    beta2: 0.999,
                    epsilon: 1e-8,
                    epsilon_form: EpsilonForm::Outside,
                },
                generator_rate: Schedule::constant(2e-4),
                discriminator_rate: Schedule::constant(2e-4),
                initialisation: Initialisation::Paper,
                drop_last: true,
            },
            Convention::Torch => {
                let segments = [
                    (30.0, 2e-5),
                    (5.0, 5e-6),
                    (5.0, 2e-6),
                    (5.0, 1e-6),
                    (5.0, 5e-7),
                ]
                .map(|(epochs, rate)| Segment::Epochs { epochs, rate });
                let schedule = Schedule {
                    segments: segments.to_vec(),
                };
                StepConfig {
                    update: UpdateOrder::Alternating,
                    fresh_latent: true,
                    label_flip: LabelFlip {
                        probability: 0.03,
                        per: FlipUnit::Batch,
                    },
                    label_smoothing: 0.0,
                    adam: AdamConfig {
                        beta1: 0.5,
                        beta2: 0.999,
                        epsilon: 1e-8,
                        epsilon_form: EpsilonForm::Corrected,
                    },
                    generator_rate: schedule.clone(),
                    discriminator_rate: schedule,
                    initialisation: Initialisation::Torch,
                    drop_last: false,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_changes_at_the_end_of_each_segment_and_the_last_goes_on() {
        let schedule = Convention::Torch.step().generator_rate;
        assert_eq!(schedule.rate_at(0.0, 0), 2e-5);
        assert_eq!(schedule.rate_at(29.99, 7), 2e-5);
        assert_eq!(schedule.rate_at(30.0, 7), 5e-6);
        assert_eq!(schedule.rate_at(44.0, 7), 1e-6);
        assert_eq!(schedule.rate_at(1e6, 7), 5e-7);
        let schedule = Schedule::in_steps(&[(10.0, 1e-3), (5.0, 1e-4)]);
        assert_eq!(schedule.rate_at(3.0, 9), 1e-3);
        assert_eq!(schedule.rate_at(3.0, 10), 1e-4);
        assert_eq!(schedule.rate_at(3.0, 99), 1e-4);
    }
}

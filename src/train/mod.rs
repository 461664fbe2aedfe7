//! Training: the step and its conventions, optimiser state, loop, checkpoints, metrics.

mod convention;

pub use convention::{
    AdamConfig, Convention, EpsilonForm, FlipUnit, LabelFlip, Schedule, Segment, StepConfig,
    UpdateOrder,
};

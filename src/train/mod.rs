//! Training: the step and its conventions, optimiser state, loop, checkpoints, metrics.

mod convention;
mod step;

pub use crate::backend::{AdamConfig, EpsilonForm, FlipUnit, LabelFlip};
pub use convention::{Convention, Initialisation, Schedule, Segment, StepConfig, UpdateOrder};
pub use step::{Options, Players, StepProgram};

//! Training: the step and its conventions, optimiser state, loop, checkpoints, metrics.

mod config;
mod convention;
pub mod resolve;
mod validate;

pub use config::{
    Config, ConfigError, DataConfig, DeviceChoice, Precision, RunConfig, TransformChoice,
    default_convention,
};
pub use convention::{
    AdamConfig, Convention, EpsilonForm, FlipUnit, LabelFlip, Schedule, Segment, StepConfig,
    UpdateOrder,
};

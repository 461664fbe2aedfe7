//! Training: the step and its conventions, optimiser state, loop, checkpoints, metrics.

pub mod checkpoint;
mod config;
mod convention;
mod directory;
pub mod resolve;
mod restore;
mod validate;

pub use config::{
    Config, ConfigError, DataConfig, DeviceChoice, Precision, RunConfig, TransformChoice,
    default_convention,
};
pub use convention::{
    AdamConfig, Convention, EpsilonForm, FlipUnit, LabelFlip, Schedule, Segment, StepConfig,
    UpdateOrder,
};
pub use directory::{Best, Choice, DirectoryError, Located, RunDirectory, locate};
pub use restore::{Checkpoint, CheckpointFile, TrainedNetwork, Weights};

//! Training: the step and its conventions, optimiser state, loop, checkpoints, metrics.

pub mod checkpoint;
mod config;
mod convention;
mod directory;
mod metrics;
mod progress;
pub mod resolve;
mod restore;
mod signals;
mod step;
mod validate;

pub use crate::backend::{AdamConfig, EpsilonForm, FlipUnit, LabelFlip};
pub use config::{
    Config, ConfigError, DataConfig, DeviceChoice, Precision, RunConfig, TransformChoice,
    default_convention,
};
pub use convention::{Convention, Schedule, Segment, StepConfig, UpdateOrder};
pub use directory::{Best, Choice, DirectoryError, Located, RunDirectory, locate};
pub use metrics::{MetricsError, MetricsWriter};
pub use progress::{Progress, duration};
pub use restore::{Checkpoint, CheckpointFile, TrainedNetwork, Weights};
pub use signals::Stop;
pub use step::{Options, Players, StepProgram};

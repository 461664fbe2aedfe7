//! Training: the step and its conventions, optimiser state, loop, checkpoints, metrics.

pub mod checkpoint;
mod config;
mod convention;
mod dataset;
mod directory;
mod judge;
mod metrics;
mod progress;
pub mod resolve;
mod restore;
mod run;
mod sampler;
mod signals;
mod step;
#[cfg(test)]
mod step_tests;
mod trainer;
mod validate;

pub use crate::backend::{AdamConfig, EpsilonForm, FlipUnit, LabelFlip};
pub use config::{
    Config, ConfigError, DataConfig, DeviceChoice, Precision, RunConfig, TransformChoice,
    default_convention,
};
pub use convention::{Convention, Schedule, Segment, StepConfig, UpdateOrder};
pub use dataset::{DataDescription, Dataset, DatasetError};
pub use directory::{Best, Choice, DirectoryError, Located, RunDirectory, locate};
pub use judge::{Judge, Report};
pub use metrics::{MetricsError, MetricsWriter};
pub use progress::{Progress, duration};
pub use restore::{Checkpoint, CheckpointFile, TrainedNetwork, Weights};
pub use run::{Outcome, Run, RunError, provenance_of, transform_of};
pub use sampler::{LoadedGenerator, Sampler, latents};
pub use signals::Stop;
pub use step::{Options, Players, StepProgram};
pub use trainer::{Losses, Trainer};

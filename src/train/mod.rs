//! Training: the step and its conventions, optimiser state, loop, checkpoints, metrics.

mod arithmetic;
pub mod checkpoint;
mod config;
mod convention;
mod dataset;
mod device;
mod directory;
#[cfg(test)]
mod directory_tests;
mod distance;
#[cfg(test)]
mod distance_tests;
mod error;
mod events;
mod features;
mod journal;
mod judge;
mod lock;
mod metrics;
mod offer;
mod progress;
mod recovery;
pub mod resolve;
mod restore;
mod rollback;
mod run;
mod run_maps;
mod sampler;
mod selection;
#[cfg(test)]
mod selection_tests;
mod signals;
mod step;
#[cfg(test)]
mod step_tests;
mod trainer;
mod trial;
mod validate;
mod validation;
mod watch;
#[cfg(test)]
mod watch_tests;

pub use crate::backend::gpu::ops::{DenseKernels, KernelVersion};
pub use crate::backend::{AdamConfig, EpsilonForm, FlipUnit, LabelFlip, Precision};
pub use arithmetic::{
    Arithmetic, ArithmeticChoice, ArithmeticError, KernelChoice, PrecisionChoice, Processor,
    precision_name, version_name,
};
pub use config::{
    Config, ConfigError, DataConfig, OnDivergence, RunConfig, TransformChoice, default_convention,
};
pub use convention::{Convention, Schedule, Segment, StepConfig, UpdateOrder};
pub use dataset::{ComparedSet, DataDescription, Dataset, DatasetError, OpeningWork};
pub use device::{DeviceChoice, DeviceNameError};
pub use directory::{Best, Choice, DirectoryError, Keep, Located, RunDirectory, locate};
pub use distance::{Against, Distance};
pub use features::LoadedFeatures;
pub use judge::{Judge, Report, Validation};
pub use lock::RunLock;
pub use metrics::MetricsError;
pub use progress::{Progress, duration};
pub use recovery::{Recovery, Rollback};
pub use restore::{Checkpoint, CheckpointFile, TrainedNetwork, Weights};
pub use run::{Outcome, Run, RunError, Start, provenance_of, transform_of};
pub use run_maps::{RunMaps, RunMapsError, split_record_of};
pub use sampler::{LoadedGenerator, Sampler, generator_arena_len, latents};
pub use selection::Criterion;
pub use signals::Stop;
pub use step::{Options, Players, StepProgram};
pub use trainer::{Losses, Trainer, arena_len};
pub use trial::{Trial, Tried};
pub use watch::WatchState;

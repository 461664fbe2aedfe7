//! What ends a run early.

use std::path::PathBuf;

use super::checkpoint::CheckpointError;
use super::config::ConfigError;
use super::dataset::DatasetError;
use super::directory::DirectoryError;
use super::metrics::MetricsError;
use crate::backend::BackendError;
use crate::data::DataError;
use crate::report::ReportError;
use crate::stats::StatsError;

/// A run that cannot begin or go on. What was saved before is safe.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error(transparent)]
    Stats(#[from] StatsError),
    #[error(
        "the validation maps have no chi-squared by which --select (run.select) could choose a \
         generator: {source}. Leave it out, or give more or other maps"
    )]
    Select { source: StatsError },
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the checkpoint's {what} cannot be read: {source}")]
    Metadata {
        what: &'static str,
        source: serde_json::Error,
    },
    #[error("training diverged at step {step}: {trouble}. {saved}. {advice}")]
    Diverged {
        step: u64,
        trouble: String,
        saved: String,
        advice: String,
    },
    #[error(
        "{source}. The run stopped after step {step}, which is saved; correct the file and go on \
         with --resume {}",
        root.display()
    )]
    Undrawn {
        step: u64,
        root: PathBuf,
        source: DataError,
    },
    #[error(
        "none of the checkpoints of {} can be read, the newest because: {newest}. Bring back a copy \
         of one, or begin a new run",
        root.display()
    )]
    AllDamaged {
        root: PathBuf,
        newest: CheckpointError,
    },
    #[error(
        "the checkpoint of step {step} in {} is of other networks than its config.toml describes; \
         remove it, or bring back the run's own",
        root.display()
    )]
    OtherNetworks { root: PathBuf, step: u64 },
    #[error(
        "the run in {} is at step {step} of {total} already; give a larger --steps or --epochs to \
         go on",
        root.display()
    )]
    Finished {
        root: PathBuf,
        step: u64,
        total: u64,
    },
}

//! The maps of a run that is over: which of them it was trained on, and which it never saw. For whoever
//! judges its generator.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::Description;
use super::config::{Config, ConfigError};
use super::dataset::{DatasetError, Opened, open_maps, split_rules};
use crate::data::{DataError, FileShape, Maps, Split, SplitRecord};

/// The files of a run, and how it split them.
pub struct RunMaps {
    pub maps: Arc<Maps>,
    /// Where they came from.
    pub source: String,
    pub record: SplitRecord,
}

/// The maps of a run cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RunMapsError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

impl From<DataError> for RunMapsError {
    fn from(error: DataError) -> Self {
        Self::Dataset(error.into())
    }
}

/// Where the run of `checkpoint` records its split: beside its directory of checkpoints.
fn record_path(checkpoint: &Path) -> Option<PathBuf> {
    let run = checkpoint.parent()?.parent()?;
    Some(run.join("split.json"))
}

/// The record of the split of the run that `checkpoint` lies in; none for one that was moved away.
///
/// # Errors
/// A record that cannot be read.
pub fn split_record_of(checkpoint: &Path) -> Result<Option<SplitRecord>, DataError> {
    record_path(checkpoint).map_or(Ok(None), |path| SplitRecord::read(&path))
}

impl RunMaps {
    /// Opens the maps that the run of `checkpoint` was given, or the synthetic ones, which are made again
    /// where the cache has them no more, and splits them as the run did. `progress(done, total)`
    /// counts maps that are made.
    ///
    /// # Errors
    /// A configuration that cannot be read; maps that are gone, cannot be read or made, or are not those
    /// that the run's record lists.
    pub fn open(
        description: &Description,
        checkpoint: &Path,
        progress: &dyn Fn(usize, usize),
    ) -> Result<Self, RunMapsError> {
        let config: Config =
            toml::from_str(&description.config).map_err(|error| ConfigError::Parse {
                path: checkpoint.to_owned(),
                source: Box::new(error),
            })?;
        let Opened { maps, source, .. } = open_maps(&config, progress)?;
        let rules = split_rules(&config);
        let split = Split::new(&FileShape::of(&maps), &rules)?;
        let record = SplitRecord::new(&maps, &split, &rules);
        if let Some(path) = record_path(checkpoint) {
            record.agrees_with(&path)?;
        }
        Ok(Self {
            maps: Arc::new(maps),
            source,
            record,
        })
    }
}

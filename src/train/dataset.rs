//! From a configuration to maps: opened or made, checked, split, transformed, ready to be drawn.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::config::{Config, TransformChoice};
use crate::data::{
    DataError, Fractions, HeldOutSet, Maps, Provenance, Sampling, ScannedMaps, Split, SplitSummary,
    Statistics, SyntheticSet, TrainingSet, Transform, TransformKind, cache_directory,
};

/// The maps of a run.
pub struct Dataset {
    pub training: TrainingSet,
    /// Real maps that choose the checkpoint.
    pub validation: HeldOutSet,
    /// Real maps that the result is reported on.
    pub test: HeldOutSet,
    pub description: DataDescription,
    /// Where synthetic maps lie, and whether they were made now. Not part of the description: a
    /// run that made them and one that found them are the same run.
    pub kept: Option<String>,
}

/// What a checkpoint says of the maps that it was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataDescription {
    /// Where they came from.
    pub source: String,
    /// Parent maps in each part.
    pub parents: SplitSummary,
    /// Of the training parents.
    pub training: Statistics,
    /// What is known of the network's maps; `side_deg` is that of a crop.
    pub provenance: Provenance,
}

impl DataDescription {
    /// Side of the network's map in degrees for spectra; 1 where it is unknown, which shifts the
    /// axis of l and changes no ratio.
    pub fn angle_deg(&self) -> f64 {
        self.provenance.side_deg.unwrap_or(1.0)
    }
}

/// Maps that cannot be trained on.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(
        "architecture.channels is {asked}, but the maps have {found} channel(s); \
         train with channels = {found}"
    )]
    Channels { asked: usize, found: usize },
    #[error("the maps have {0} channels, but only maps of one channel can be trained on")]
    SeveralChannels(usize),
    #[error(
        "an epoch has {epoch} maps, fewer than a batch of {batch}; \
         lower run.batch, raise data.crops_per_parent or give more maps"
    )]
    ShortEpoch { epoch: usize, batch: usize },
}

impl Dataset {
    /// Opens the maps of `config`, or the synthetic ones where it names none. The transform is
    /// `fitted`, that of a run which is resumed, or is fitted to the training maps here.
    /// `progress(done, total)` is called while synthetic maps are made.
    ///
    /// # Errors
    /// Maps that cannot be read or made, too few of them, or a transform that does not suit them.
    pub fn open(
        config: &Config,
        fitted: Option<Transform>,
        progress: &dyn Fn(usize, usize),
    ) -> Result<Self, DatasetError> {
        let size = config.architecture.map_size;
        // Before synthetic maps are made for nothing.
        if config.data.paths.is_empty() && config.architecture.channels != 1 {
            return Err(DatasetError::Channels {
                asked: config.architecture.channels,
                found: 1,
            });
        }
        let Opened { maps, source, kept } = open_maps(config, progress)?;
        if maps.channels() != config.architecture.channels {
            return Err(DatasetError::Channels {
                asked: config.architecture.channels,
                found: maps.channels(),
            });
        }
        if maps.channels() != 1 {
            return Err(DatasetError::SeveralChannels(maps.channels()));
        }
        maps.require_side(size)?;
        let asked = Provenance {
            side_deg: config.data.angle_deg,
            source_redshift: config.data.source_redshift,
            ..Provenance::default()
        };
        let provenance = maps.common_provenance(&asked)?.of_crop(size);
        let scanned = ScannedMaps::scan(&maps)?;
        let [train, validation, test] = config.data.fractions;
        let fractions = Fractions {
            train,
            validation,
            test,
        };
        let seed = config.run.seed;
        let split = Split::by_parent(maps.len(), fractions, seed)?;
        let training = scanned.of(&split.train);
        let transform = match fitted {
            Some(transform) => transform,
            None => fit(config.data.transform, &training)?,
        };
        transform.check()?;
        let maps = Arc::new(maps);
        let sampling = Sampling {
            map_size: size,
            augment: config.data.augment,
            crops_per_parent: config.data.crops_per_parent,
            seed,
        };
        let description = DataDescription {
            source,
            parents: split.summary(),
            training,
            provenance,
        };
        let held_out = |parents: &[usize]| {
            let count = config.run.validation_maps;
            HeldOutSet::new(Arc::clone(&maps), parents, transform, size, count, seed)
        };
        let dataset = Self {
            validation: held_out(&split.validation)?,
            test: held_out(&split.test)?,
            training: TrainingSet::new(Arc::clone(&maps), &split.train, transform, sampling)?,
            description,
            kept,
        };
        let (epoch, batch) = (dataset.training.epoch_len(), config.run.batch);
        if config.step.drop_last && epoch < batch {
            return Err(DatasetError::ShortEpoch { epoch, batch });
        }
        Ok(dataset)
    }
}

struct Opened {
    maps: Maps,
    /// Where they come from.
    source: String,
    kept: Option<String>,
}

fn open_maps(config: &Config, progress: &dyn Fn(usize, usize)) -> Result<Opened, DataError> {
    let data = &config.data;
    if data.paths.is_empty() {
        let size = config.architecture.map_size;
        // One set for all seeds: the cache holds it once, and runs differ by what they draw.
        let set = SyntheticSet::for_map_size(size, 1);
        let made = set.open_or_make(&cache_directory(), progress)?;
        let source = format!(
            "{} synthetic lognormal maps of the paper's cosmology, {}x{} pixels, {:.3} degrees \
             a side",
            set.maps, set.pixels, set.pixels, set.side_deg,
        );
        let how = if made.reused {
            "found in"
        } else {
            "made and kept in"
        };
        return Ok(Opened {
            maps: made.maps,
            source,
            kept: Some(format!("{how} {}", made.path.display())),
        });
    }
    let maps = Maps::open(&data.paths)?;
    let (smallest, largest) = maps.sides();
    let sides = if smallest == largest {
        format!("{largest}x{largest}")
    } else {
        format!("{smallest}x{smallest} to {largest}x{largest}")
    };
    let (count, files) = (maps.len(), maps.files());
    let source = format!("{count} maps of {sides} pixels in {files} files");
    Ok(Opened {
        maps,
        source,
        kept: None,
    })
}

fn fit(choice: TransformChoice, training: &Statistics) -> Result<Transform, DataError> {
    let kind = match choice {
        TransformChoice::Auto => return Transform::fit_default(training),
        TransformChoice::None => TransformKind::None,
        TransformChoice::Linear => TransformKind::Linear,
        TransformChoice::Rational => TransformKind::Rational,
        TransformChoice::Log => TransformKind::Log,
    };
    Transform::fit(kind, training)
}

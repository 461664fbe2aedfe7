//! From a configuration to maps: opened or made, checked, split, transformed, ready to be drawn.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::config::{Config, TransformChoice};
use super::run::RunError;
use super::trainer::Trainer;
use crate::backend::Backend;
use crate::data::{
    DataError, FileShape, Fractions, HeldOutSet, Maps, PerChannel, Places, Prefetch, Provenance,
    Region, Sampling, Split, SplitKind, SplitRecord, SplitRules, SplitSummary, Statistics,
    SyntheticSet, TrainingSet, TransformKind, Transforms, cache_directory, check_finite, pixels_of,
    survey,
};

/// Crops that an epoch draws of each larger parent where a configuration does not say: the paper's.
const CROPS_PER_PARENT: usize = 200;

/// The maps of a run.
pub struct Dataset {
    pub training: Arc<TrainingSet>,
    /// Real maps that choose the checkpoint by its score.
    pub validation: HeldOutSet,
    /// Real maps, of the same parents, that chi-squared is measured against.
    pub compared: ComparedSet,
    /// Real maps that the result is reported on.
    pub test: HeldOutSet,
    pub description: DataDescription,
    /// Which maps each set holds.
    pub split: SplitRecord,
    /// What a user should know of the split before trusting it.
    pub warnings: Vec<String>,
    /// What was read of the maps, where that is not all.
    pub unread: Option<String>,
    /// Where synthetic maps lie, and whether they were made now. Not part of the description: a
    /// run that made them and one that found them are the same run.
    pub kept: Option<String>,
}

/// The real maps of the chi-squared distance.
pub struct ComparedSet {
    pub maps: HeldOutSet,
    /// The parent of each, as far as it is known: crops of one are not independent.
    pub parents: Vec<u64>,
    /// Generated maps that they are compared with.
    pub generated: usize,
}

/// Where the real maps of a step come from.
#[derive(Debug)]
pub enum Batches {
    /// The trainer's device holds all maps.
    Held(Places),
    Made(Box<Prefetch>),
}

/// What a checkpoint says of the maps that it was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataDescription {
    /// Where they came from.
    pub source: String,
    /// How they were split.
    pub split: SplitKind,
    /// Maps, or strips of them, in each part.
    pub parents: SplitSummary,
    /// Of the training maps, by channel; of a sample where they are many.
    pub training: PerChannel<Statistics>,
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
        "architecture.channels is {network}, but the maps ({found}) have {maps} channel(s); train \
         with channels = {maps} (--channels {maps}), or give maps of {network}"
    )]
    Channels {
        network: usize,
        maps: usize,
        found: String,
    },
    #[error(
        "an epoch has {epoch} maps, fewer than a batch of {batch}; \
         lower run.batch, raise data.crops_per_parent or give more maps"
    )]
    ShortEpoch { epoch: usize, batch: usize },
}

/// What takes a while when maps are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpeningWork {
    /// Synthetic maps are made.
    Making,
    /// All pixels are read, as `data.check` asks for.
    Checking,
}

impl Dataset {
    /// Opens the maps of `config`, or the synthetic ones where it names none. The transforms are
    /// `fitted`, those of a run which is resumed, or are fitted to the training maps here.
    /// `progress(work, done, total)` counts maps.
    ///
    /// # Errors
    /// Maps that cannot be read or made, too few of them, or transforms that do not suit them.
    pub fn open(
        config: &Config,
        fitted: Option<Transforms>,
        progress: &dyn Fn(OpeningWork, usize, usize),
    ) -> Result<Self, DatasetError> {
        let size = config.architecture.map_size;
        let network = config.architecture.channels;
        // Before synthetic maps are made for nothing.
        if config.data.paths.is_empty() && network != 1 {
            return Err(DatasetError::Channels {
                network,
                maps: 1,
                found: "synthetic ones".to_owned(),
            });
        }
        let Opened { maps, source, kept } = open_maps(config, &|done, total| {
            progress(OpeningWork::Making, done, total)
        })?;
        if maps.channels() != network {
            let maps = maps.channels();
            return Err(DatasetError::Channels {
                network,
                maps,
                found: source,
            });
        }
        maps.require_side(size)?;
        let asked = Provenance {
            side_deg: config.data.angle_deg,
            source_redshift: config.data.source_redshift,
            ..Provenance::default()
        };
        let provenance = maps.common_provenance(&asked)?.of_crop(size);
        let rules = split_rules(config);
        let files = FileShape::of(&maps);
        let split = Split::new(&files, &rules)?;
        if config.data.check {
            let all: Vec<Region> = (0..maps.len()).map(|p| Region::whole(&maps, p)).collect();
            check_finite(&maps, &all, &|done, total| {
                progress(OpeningWork::Checking, done, total)
            })?;
        }
        let read = read_at_start(&maps, &split, config)?;
        let transforms = match fitted {
            Some(transforms) => transforms,
            None => fit(config.data.transform, &read.training)?,
        };
        let maps = Arc::new(maps);
        let held_out = |regions: &[Region], count: usize| {
            let maps = Arc::clone(&maps);
            let set = HeldOutSet::new(maps, regions, transforms.clone(), size, count, rules.seed)?;
            // The test maps are wanted at the end of the run: too late for an error.
            if read.unread.is_some() {
                set.check()?;
            }
            Ok::<_, DataError>(set)
        };
        let count = config.run.validation_maps;
        let validation = held_out(&split.validation, count)?;
        let test = held_out(&split.test, count)?;
        let compared = held_out(&split.validation, config.run.select_maps.unwrap_or(count))?;
        let compared = ComparedSet {
            parents: parents_of(&compared, &maps, &split.kind),
            generated: config.run.select_maps.unwrap_or(compared.len()),
            maps: compared,
        };
        let sampling = Sampling {
            map_size: size,
            augment: config.data.augment,
            crops_per_parent: config.data.crops_per_parent.unwrap_or(CROPS_PER_PARENT),
            seed: rules.seed,
        };
        let training = TrainingSet::new(Arc::clone(&maps), &split.train, transforms, sampling)?;
        let (epoch, batch) = (training.epoch_len(), config.run.batch);
        if config.step.drop_last && epoch < batch {
            return Err(DatasetError::ShortEpoch { epoch, batch });
        }
        let parents = split.summary();
        Ok(Self {
            training: Arc::new(training),
            validation,
            compared,
            test,
            split: SplitRecord::new(&maps, &split, &rules),
            warnings: warning(&split.kind, &parents, &files, size)
                .into_iter()
                .collect(),
            unread: read.unread,
            description: DataDescription {
                source,
                split: split.kind,
                parents,
                training: read.training,
                provenance,
            },
            kept,
        })
    }

    /// The batches of a run: where their maps lie if the `trainer` can hold all of them, else the
    /// maps, made ahead.
    ///
    /// # Errors
    /// An epoch without a batch, a pixel that is not finite, a failing device, or a system without
    /// another thread.
    pub fn batches<B: Backend>(
        &self,
        config: &Config,
        trainer: &mut Trainer<B>,
    ) -> Result<Batches, RunError> {
        let training = Arc::clone(&self.training);
        let (batch, drop_last) = (config.run.batch, config.step.drop_last);
        if trainer.hold(&training, batch)? {
            return Ok(Batches::Held(Places::new(training, batch, drop_last)?));
        }
        let batches = Prefetch::new(training, batch, drop_last)?;
        Ok(Batches::Made(Box::new(batches)))
    }
}

/// The parent of each map of `set`, as far as the split knows it.
fn parents_of(set: &HeldOutSet, maps: &Maps, kind: &SplitKind) -> Vec<u64> {
    let parent = |map: usize| match kind {
        // A file holds whole groups.
        SplitKind::Groups { crops_per_parent } if maps.side(map) == set.map_size() => {
            map - maps.place(map).map % crops_per_parent
        }
        _ => map,
    };
    set.parents().map(|map| parent(map) as u64).collect()
}

pub(super) fn split_rules(config: &Config) -> SplitRules {
    let [train, validation, test] = config.data.fractions;
    SplitRules {
        map_size: config.architecture.map_size,
        crops_per_parent: config.data.crops_per_parent,
        fractions: Fractions {
            train,
            validation,
            test,
        },
        seed: config.run.seed,
    }
}

struct Read {
    training: PerChannel<Statistics>,
    /// What was not read.
    unread: Option<String>,
}

/// Reads all pixels that the sets may draw, or, where they are more than `data.scan_pixels`, a
/// sample of those that train.
fn read_at_start(maps: &Maps, split: &Split, config: &Config) -> Result<Read, DataError> {
    let budget = config.data.scan_pixels;
    let held_out: Vec<Region> = split.regions().skip(split.train.len()).cloned().collect();
    let survey = survey(maps, &split.train, budget, config.run.seed)?;
    let pixels = survey.pixels + pixels_of(maps, &held_out);
    if pixels <= budget {
        check_finite(maps, &held_out, &|_, _| ())?;
        return Ok(Read {
            training: survey.statistics,
            unread: None,
        });
    }
    let sampled = survey.statistics[0].pixels * maps.channels() as u64;
    let rest = match config.data.check {
        true => "all of them were checked, as asked",
        false => "each is checked when it is drawn (--check-data reads all of them first)",
    };
    Ok(Read {
        unread: Some(format!(
            "{:.1} of {:.1} million training pixels, spread evenly, gave the statistics that fit \
             the transform; {rest}",
            sampled as f64 * 1e-6,
            survey.pixels as f64 * 1e-6,
        )),
        training: survey.statistics,
    })
}

/// What a user should know of a split before trusting it.
fn warning(
    kind: &SplitKind,
    parents: &SplitSummary,
    files: &[FileShape],
    size: usize,
) -> Option<String> {
    match kind {
        SplitKind::Parents | SplitKind::Groups { .. } => None,
        SplitKind::Blocks => {
            let file = files.iter().find(|file| file.side == size && file.maps > 1);
            let (path, maps) = file.map_or((String::new(), 0), |file| {
                (file.path.display().to_string(), file.maps)
            });
            Some(format!(
                "{path} holds {maps} maps of exactly the network's size, and which of them were \
                 cut from one parent map is not known. Crops of one parent overlap and must not \
                 be shared out at random, so the maps are {}. Parents at the two boundaries may \
                 still be on both sides, and more of them if the maps were shuffled. \
                 --crops-per-parent K says that each K consecutive maps come from one parent \
                 (1: every map is its own parent)",
                kind.describe(parents)
            ))
        }
        SplitKind::Strips { .. } => {
            let count: usize = files.iter().map(|file| file.maps).sum();
            Some(format!(
                "there are only {count} parent map(s), and 3 are needed for sets of different \
                 ones. Each is cut into strips, {size} pixels (a map of the network) apart: {}. \
                 Structures of one map are related over larger distances than that: scores on \
                 such test maps flatter the generator. Give 3 maps or more if you can",
                kind.describe(parents)
            ))
        }
    }
}

pub(super) struct Opened {
    pub(super) maps: Maps,
    /// Where they come from.
    pub(super) source: String,
    kept: Option<String>,
}

pub(super) fn open_maps(
    config: &Config,
    progress: &dyn Fn(usize, usize),
) -> Result<Opened, DataError> {
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

fn fit(
    choice: TransformChoice,
    training: &PerChannel<Statistics>,
) -> Result<Transforms, DataError> {
    let kind = match choice {
        TransformChoice::Auto => TransformKind::DEFAULT,
        TransformChoice::None => TransformKind::None,
        TransformChoice::Linear => TransformKind::Linear,
        TransformChoice::Rational => TransformKind::Rational,
        TransformChoice::Log => TransformKind::Log,
    };
    Transforms::fit(kind, training)
}

//! Which real maps a generator is judged by, and which it was trained on.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::super::progress::CountBar;
use super::EvaluateArgs;
use cosmogan::data::{Maps, Placed, Region, SplitRecord};
use cosmogan::evaluate::{CropRules, MapSource, Pool, open, origin};
use cosmogan::train::checkpoint::Description;
use cosmogan::train::{RunMaps, RunMapsError, split_record_of};

/// Crops of a run's training maps that are looked through where nobody asked for them.
const MOST_TRAINING: usize = 10_000;

/// The real maps of an evaluation.
pub struct RealMaps {
    /// All that were opened, for what they tell of their scale.
    pub maps: Arc<Maps>,
    pub sets: [MapSource<'static>; 2],
    pub training: Option<MapSource<'static>>,
    pub notes: Vec<String>,
}

impl EvaluateArgs {
    fn most(&self) -> usize {
        self.maps.map_or(usize::MAX, |maps| maps as usize)
    }

    /// The maps of `--train`.
    fn training(&self, rules: CropRules) -> Result<Option<MapSource<'static>>> {
        if self.train.is_empty() {
            return Ok(None);
        }
        let maps = open("training", &self.train)?;
        let pool = Pool::whole("training", &maps, origin(&self.train), rules)?;
        Ok(Some(pool.source(usize::MAX)?))
    }

    /// The maps of `--real`, for maps of `side` pixels that nothing is known of.
    pub fn real_of_files(&self, side: usize) -> Result<RealMaps> {
        let maps = open("real", &self.real)?;
        let rules = self.rules(side);
        let pool = Pool::whole("real", &maps, origin(&self.real), rules)?;
        Ok(RealMaps {
            sets: pool.halves(self.most())?,
            training: self.training(rules)?,
            notes: Vec::new(),
            maps,
        })
    }

    /// The maps of `--real` that the run of `checkpoint` was not trained on, or that run's own held-out
    /// maps; and its training maps, where `--train` names no others.
    pub fn real_of_run(&self, description: &Description, checkpoint: &Path) -> Result<RealMaps> {
        let rules = self.rules(description.architecture.map_size);
        let run = open_run(description, checkpoint);
        let mut found = if self.real.is_empty() {
            let run = run.as_ref().map_err(|error| {
                anyhow::anyhow!("the maps that the run was trained on cannot be had: {error}")
            });
            self.held_out(
                run.context("give --real FILES of maps that it was not trained on")?,
                rules,
            )?
        } else {
            let beside = split_record_of(checkpoint)?;
            let record = beside.or_else(|| Some(run.as_ref().ok()?.record.clone()));
            self.not_trained_on(record.as_ref(), rules)?
        };
        found.training = match (self.training(rules)?, run) {
            (Some(training), _) => Some(training),
            (None, Ok(run)) => {
                let rules = of_run(rules, &run);
                let regions = run.record.place(&run.maps).train;
                let origin = format!("training maps of the run, {}", run.source);
                let pool = Pool::of("training", &run.maps, origin, regions, rules)?;
                let all = pool.crops();
                found.notes.push(match all > MOST_TRAINING {
                    true => format!(
                        "Copies were looked for among {MOST_TRAINING} of the {all} crops of the run's training maps; \
                         --train FILES looks through all of the files' maps."
                    ),
                    false => format!(
                        "Copies were looked for among the run's own training maps ({all} crops that do not overlap)."
                    ),
                });
                Some(pool.source(MOST_TRAINING)?)
            }
            (None, Err(error)) => {
                found.notes.push(format!(
                    "No copies of training maps were looked for, as these cannot be had ({error}); --train FILES names \
                     them."
                ));
                None
            }
        };
        Ok(found)
    }

    /// The test maps of a run, and its validation maps as the second set.
    fn held_out(&self, run: &RunMaps, rules: CropRules) -> Result<RealMaps> {
        let rules = of_run(rules, run);
        let Placed {
            validation, test, ..
        } = run.record.place(&run.maps);
        let pool = |set, name: &str, regions: Vec<Region>| {
            let origin = format!("{name} maps of the run, {}", run.source);
            Pool::of(set, &run.maps, origin, regions, rules)
        };
        let test = pool("real", "test", test)?;
        let validation = pool("real", "validation", validation)?;
        let (tested, beside) = (parents(&test), parents(&validation));
        let note = match test.takes_second(&validation) {
            true => format!(
                "Real maps are the run's own: its test maps ({tested}), and as the second set its validation maps \
                 ({beside}). The generator was trained on neither."
            ),
            false => format!(
                "Real maps are the run's own test maps ({tested}), dealt into both sets. The generator was not trained \
                 on them."
            ),
        };
        Ok(RealMaps {
            maps: Arc::clone(&run.maps),
            sets: test.with_second(validation, self.most())?,
            training: None,
            notes: vec![note],
        })
    }

    /// What `--real` names, less what `record` says was trained on.
    fn not_trained_on(&self, record: Option<&SplitRecord>, rules: CropRules) -> Result<RealMaps> {
        let maps = open("real", &self.real)?;
        let origin = origin(&self.real);
        let pool = |regions| Pool::of("real", &maps, origin.clone(), regions, rules);
        let mut notes = Vec::new();
        let placed = match record {
            Some(record) => record.place(&maps),
            None => {
                notes.push(
                    "Whether the generator was trained on these real maps is not known: the record of its run \
                     (split.json) does not lie beside the checkpoint, and its maps cannot be had."
                        .to_owned(),
                );
                Placed {
                    other: (0..maps.len())
                        .map(|map| Region::whole(&maps, map))
                        .collect(),
                    ..Placed::default()
                }
            }
        };
        let (train, validation, test) = (&placed.train, &placed.validation, &placed.test);
        if train.is_empty() && validation.is_empty() && test.is_empty() {
            let sets = pool(placed.other)?.halves(self.most())?;
            return Ok(RealMaps {
                maps,
                sets,
                training: None,
                notes,
            });
        }
        if validation.is_empty() && test.is_empty() && placed.other.is_empty() {
            bail!(
                "the generator was trained on all {} maps of --real ({origin}): agreement with them would say nothing. \
                 Leave out --real to take the run's own test maps, or give maps of other parents",
                maps.len()
            );
        }
        let (left_out, tested, chosen) = (train.len(), test.len(), validation.len());
        let unknown = placed.other.len();
        let first = pool([placed.test, placed.other].concat())?;
        let validation = pool(placed.validation)?;
        let mut note = format!(
            "The generator's run knew these real maps: {left_out} were trained on and are left out, {tested} are its \
             test maps, {chosen} its validation maps"
        );
        if unknown > 0 {
            note += &format!(", {unknown} are of other files");
        }
        let sets = if first.units() == 0 {
            note += ". Both sets are validation maps, which the checkpoint was chosen by: they flatter it a little.";
            validation.halves(self.most())?
        } else {
            note += match first.takes_second(&validation) {
                true => ". The validation maps are the second set.",
                false => ". No validation map is used.",
            };
            first.with_second(validation, self.most())?
        };
        notes.push(note);
        Ok(RealMaps {
            maps,
            sets,
            training: None,
            notes,
        })
    }
}

fn open_run(description: &Description, checkpoint: &Path) -> Result<RunMaps, RunMapsError> {
    let bar = CountBar::new("making synthetic maps");
    let run = RunMaps::open(description, checkpoint, &|done, all| bar.show(done, all));
    bar.finish();
    run
}

/// What is known of a run's crops serves where nobody said another thing.
fn of_run(rules: CropRules, run: &RunMaps) -> CropRules {
    CropRules {
        crops_per_parent: rules.crops_per_parent.or(run.record.crops_per_parent()),
        ..rules
    }
}

fn parents(pool: &Pool) -> String {
    format!("{} crops of {} parents", pool.crops(), pool.units())
}

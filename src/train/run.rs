//! A training run from its first step to the report: the loop, what it writes, how it stops.

use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use super::checkpoint::{AdamSteps, CheckpointError, Description};
use super::config::Config;
use super::dataset::{Batches, Dataset, OpeningWork};
use super::directory::{DirectoryError, Keep, RunDirectory};
pub use super::error::RunError;
use super::journal::Journal;
use super::judge::{Judge, Report};
use super::lock::RunLock;
use super::offer::is_reported;
use super::progress::Progress;
use super::recovery::Recovery;
use super::restore::Checkpoint;
use super::rollback::{newest_undamaged, resume_journal};
use super::selection::Selection;
use super::signals::Stop;
use super::trainer::{Losses, Trainer};
use super::watch::{Spread, Trouble};
use super::{OnDivergence, Precision};
use crate::backend::{Backend, BackendError};
use crate::data::{DataError, Provenance, Transforms};
use crate::files::write_atomic;

/// A run about to begin or to go on. It holds its directory.
pub struct Run {
    pub config: Config,
    pub directory: RunDirectory,
    /// The newest undamaged checkpoint of a run that goes on.
    pub checkpoint: Option<Checkpoint>,
    pub dataset: Dataset,
    resumed: bool,
    _lock: RunLock,
}

/// Where a run begins.
#[derive(Debug)]
pub enum Start {
    /// Anew, in the directory that [`RunDirectory::choose`] finds for `out` and the configuration's
    /// name.
    New { out: Option<PathBuf> },
    /// From the last checkpoint of a run.
    Resume(RunDirectory),
}

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// All steps were made; the report is about the checkpoint that is offered.
    Finished {
        offered: PathBuf,
        /// Why this one.
        chosen_by: String,
        report: Box<Report>,
    },
    /// A signal asked for a stop; the state is saved.
    Stopped { signal: &'static str, step: u64 },
}

impl Run {
    /// Opens the maps and takes the run's directory. Nothing else is written but the cache of
    /// synthetic maps. `tell` gets what the user must not overlook.
    ///
    /// # Errors
    /// A checkpoint or maps that cannot be read, or a directory that holds another run or belongs to
    /// another process.
    pub fn open(
        config: Config,
        start: Start,
        progress: &dyn Fn(OpeningWork, usize, usize),
        tell: &dyn Fn(&str),
    ) -> Result<Self, RunError> {
        let held = match start {
            Start::New { out } => {
                // Said at once if it is taken; it is claimed only when the maps are known to be good.
                RunDirectory::choose(out.as_deref(), &config.name)?;
                Err(out)
            }
            Start::Resume(directory) => {
                let lock = directory.lock()?;
                Ok((directory, lock))
            }
        };
        let resumed = held.is_ok();
        let checkpoint = match &held {
            // Without any checkpoint it was ended before its first one: it begins again.
            Ok((directory, _)) => newest_undamaged(directory, u64::MAX, tell)?,
            Err(_) => None,
        };
        let described = checkpoint
            .as_ref()
            .map(|checkpoint| &checkpoint.description);
        let fitted = described.map(transform_of).transpose()?;
        let dataset = Dataset::open(&config, fitted, progress)?;
        let (directory, lock) =
            held.or_else(|out| RunDirectory::claim(out.as_deref(), &config.name))?;
        if !lock.is_kept {
            tell(&format!(
                "warning: the file system of {} keeps no locks; make sure that no other training uses \
                 this directory",
                directory.root().display()
            ));
        }
        let run = Self {
            config,
            directory,
            checkpoint,
            dataset,
            resumed,
            _lock: lock,
        };
        if let Some(checkpoint) = &run.checkpoint {
            run.check_fits(checkpoint)?;
        }
        Ok(run)
    }

    /// Checks that the networks of `checkpoint` are those of the configuration.
    pub(super) fn check_fits(&self, checkpoint: &Checkpoint) -> Result<(), RunError> {
        let description = &checkpoint.description;
        match description.architecture == self.config.architecture {
            true => Ok(()),
            false => Err(RunError::OtherNetworks {
                root: self.directory.root().to_owned(),
                step: description.step,
            }),
        }
    }

    /// Steps of an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        let (batch, drop_last) = (self.config.run.batch, self.config.step.drop_last);
        self.dataset.training.steps_per_epoch(batch, drop_last) as u64
    }

    /// The judge of this run's generators.
    fn judge(&self) -> Result<Judge, RunError> {
        let (run, latent) = (&self.config.run, self.config.architecture.latent);
        let judge = Judge::new(&self.dataset, latent, run.seed, run.picture_style)?;
        match judge.distances() {
            Err(source) if run.select => Err(RunError::Select {
                source: source.clone(),
            }),
            _ => Ok(judge),
        }
    }

    /// Trains to the last step, or until `stop` is asked for, on backends that `backend` makes: one
    /// for training, then one for the report, when the first is gone.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn train<B: Backend>(
        self,
        backend: impl Fn() -> Result<B, BackendError>,
        stop: &Stop,
    ) -> Result<Outcome, RunError> {
        let total = self.config.total_steps(self.steps_per_epoch());
        let trained_on = backend()?;
        let precision = trained_on.precision();
        let trainer = match &self.checkpoint {
            None => Trainer::new(trained_on, &self.config)?,
            Some(checkpoint) => Trainer::resume(trained_on, &self.config, checkpoint)?,
        };
        let (step, root) = (trainer.step(), self.directory.root());
        if step > total || (step == total && is_reported(&self.directory, step)) {
            let root = root.to_owned();
            return Err(RunError::Finished { root, step, total });
        }
        let judge = self.judge()?;
        let per_epoch = self.steps_per_epoch();
        let selection = Selection::new(&self.config.run, total, per_epoch, judge.criterion());
        self.directory.make()?;
        let config_text = self.config.to_toml()?;
        let path = self.directory.config();
        write_atomic(&path, |file| file.write_all(config_text.as_bytes())).map_err(|source| {
            RunError::Io {
                action: "write",
                path,
                source,
            }
        })?;
        self.dataset
            .split
            .keep(&self.directory.root().join("split.json"))?;
        let described = self.checkpoint.as_ref().map(|c| &c.description);
        let recovery = described.map_or_else(Recovery::default, |d| d.recovery.clone());
        let journal = match self.resumed {
            false => Journal::create(&self.directory, self.config.run.tensorboard)?,
            true => {
                // At its last step a run has its report to make, again if it was cut short.
                let remade: &[&str] = if step == total { &["test"] } else { &[] };
                resume_journal(&self, &recovery, step, remade)?
            }
        };
        self.directory.forget_best_after(step)?;
        let progress = Progress::new(step, total, self.config.run.batch);
        let best = self.best(step, &selection, |line| progress.say(line))?;
        let mut training = Training {
            judge,
            progress,
            best_score: best.unwrap_or(f64::INFINITY),
            selection,
            validated: None,
            saved: self.checkpoint.as_ref().map(|_| step),
            real_spread: self.real_spread()?,
            trainer,
            journal,
            recovery,
            total,
            under_way: VecDeque::new(),
            config_text,
            precision,
            run: &self,
        };
        training.say_how_generators_are_judged();
        let stopped = training.loop_to_end(stop);
        training.progress.finish();
        if let Some(signal) = stopped? {
            let step = training.trainer.step();
            return Ok(Outcome::Stopped { signal, step });
        }
        training.offer(backend)
    }

    /// How much the validation maps vary, in the generator's range.
    fn real_spread(&self) -> Result<Spread, RunError> {
        let validation = &self.dataset.validation;
        let map_len = validation.map_len();
        let mut maps = vec![0.0; validation.len() * map_len];
        validation.fill_transformed(0..validation.len(), &mut maps)?;
        Ok(Spread::of(&maps, map_len))
    }
}

/// The fitted transforms of a checkpoint.
///
/// # Errors
/// A description that is not a transform.
pub fn transform_of(description: &Description) -> Result<Transforms, RunError> {
    let value = description.transform.clone();
    serde_json::from_value(value).map_err(|source| RunError::Metadata {
        what: "transform",
        source,
    })
}

/// What a checkpoint tells of the maps that its generator makes.
///
/// # Errors
/// A description of something else.
pub fn provenance_of(description: &Description) -> Result<Provenance, RunError> {
    // Before 2026-11-23 the side alone was kept, beside the other fields of the data.
    let data = &description.data;
    let value = data.get("provenance").unwrap_or(data).clone();
    let known: Result<Option<Provenance>, _> = serde_json::from_value(value);
    known
        .map(Option::unwrap_or_default)
        .map_err(|source| RunError::Metadata {
            what: "data",
            source,
        })
}

/// A run in its loop.
pub(super) struct Training<'a, B> {
    pub(super) run: &'a Run,
    pub(super) trainer: Trainer<B>,
    pub(super) judge: Judge,
    pub(super) journal: Journal,
    pub(super) progress: Progress,
    pub(super) recovery: Recovery,
    pub(super) real_spread: Spread,
    total: u64,
    /// Oldest first.
    under_way: VecDeque<UnderWay>,
    config_text: String,
    precision: Precision,
    pub(super) selection: Selection,
    /// Of the best generator so far; smaller is better.
    pub(super) best_score: f64,
    /// What the newest validation measured, and at which step.
    pub(super) validated: Option<(u64, Value)>,
    /// The step of the newest checkpoint.
    pub(super) saved: Option<u64>,
}

/// A step that was asked for, and whose losses are not known yet.
struct UnderWay {
    step: u64,
    rates: [f64; 2],
    /// Epochs done after it.
    epoch: f64,
}

#[derive(Serialize)]
struct TrainLine {
    epoch: f64,
    #[serde(flatten)]
    losses: Losses,
    generator_rate: f64,
    discriminator_rate: f64,
    maps_per_second: Option<f64>,
}

impl<B: Backend> Training<'_, B> {
    /// Steps until the end, or until a signal, whose name is returned.
    fn loop_to_end(&mut self, stop: &Stop) -> Result<Option<&'static str>, RunError> {
        let per_epoch = self.run.steps_per_epoch();
        let run = self.run;
        let mut batches = run.dataset.batches(&run.config, &mut self.trainer)?;
        while self.trainer.step() < self.total {
            if let Some(signal) = stop.requested() {
                self.settle(0)?;
                self.save()?;
                return Ok(Some(signal));
            }
            let done = self.trainer.step();
            let epochs = done as f64 / per_epoch as f64;
            let rates = self.trainer.rates(epochs);
            match &mut batches {
                Batches::Held(places) => self.trainer.submit_held(&places.of(done), epochs)?,
                Batches::Made(made) => match made.next(done) {
                    Ok(real) => self.trainer.submit(real, epochs)?,
                    Err(source) => {
                        self.settle(0)?;
                        return Err(self.undrawn(source)?);
                    }
                },
            }
            let step = done + 1;
            let epoch = step as f64 / per_epoch as f64;
            self.under_way.push_back(UnderWay { step, rates, epoch });
            // What is written of a step needs its state: nothing may be asked for behind it.
            let ahead = if self.is_written(step) {
                0
            } else {
                B::POSTS_AHEAD
            };
            self.settle(ahead)?;
        }
        Ok(None)
    }

    /// Waits for all but the newest `ahead` steps, and does what is due after each.
    fn settle(&mut self, ahead: usize) -> Result<(), RunError> {
        while self.under_way.len() > ahead {
            let Some(step) = self.under_way.pop_front() else {
                break;
            };
            let losses = self.trainer.receive()?;
            if let Some(trouble) = self.after_step(&step, &losses)? {
                self.under_way.clear();
                self.recover(&trouble, step.step)?;
            }
        }
        Ok(())
    }

    /// Whether anything is written of the state after `step`.
    fn is_written(&self, step: u64) -> bool {
        let run = &self.run.config.run;
        let every = [run.sample_every, run.validation_every, run.checkpoint_every];
        step == self.total
            || every.into_iter().any(|every| self.is_due(step, every))
            || self.selection.is_due(step)
    }

    /// Whether something that comes every so many steps (0: at the last one) comes now.
    fn is_due(&self, step: u64, every: u64) -> bool {
        step == self.total || (every > 0 && step.is_multiple_of(every))
    }

    /// Writes what is due. The checkpoint comes last: where it is, the rest of its step is as well.
    fn after_step(
        &mut self,
        &UnderWay { step, rates, epoch }: &UnderWay,
        losses: &Losses,
    ) -> Result<Option<Trouble>, RunError> {
        let [generator_rate, discriminator_rate] = rates;
        let trouble = self.recovery.watch.losses(step, losses);
        if let Some(trouble) = trouble.filter(|trouble| self.counts(trouble)) {
            return Ok(Some(trouble));
        }
        self.progress.update(step, losses.d_loss, losses.g_loss);
        let run = &self.run.config.run;
        if self.is_due(step, run.log_every) {
            let line = TrainLine {
                epoch,
                losses: *losses,
                generator_rate,
                discriminator_rate,
                maps_per_second: self.progress.maps_per_second(),
            };
            self.journal.write("train", step, &line)?;
        }
        if self.is_due(step, run.sample_every) {
            self.draw_samples()?;
        }
        let mut better = None;
        let usual = self.is_due(step, run.validation_every);
        if usual || self.selection.is_due(step) {
            match self.validate(usual)? {
                Ok(value) => better = value.filter(|value| *value < self.best_score),
                Err(trouble) => return Ok(Some(trouble)),
            }
        }
        if self.is_due(step, run.checkpoint_every) || better.is_some() {
            match self.save() {
                Err(RunError::Checkpoint(CheckpointError::NotFinite { name, .. })) => {
                    return Ok(Some(Trouble::NotFiniteState { tensor: name }));
                }
                saved => saved?,
            }
        }
        if let Some(score) = better {
            self.best_score = score;
            let by = self.selection.by();
            self.run.directory.set_best(step, score, by)?;
        }
        Ok(None)
    }

    /// Saves what was trained before the maps of the next step turned out to be unusable.
    fn undrawn(&mut self, source: DataError) -> Result<RunError, RunError> {
        let step = self.trainer.step();
        if step == 0 {
            return Ok(source.into());
        }
        self.save()?;
        let root = self.run.directory.root().to_owned();
        Ok(RunError::Undrawn { step, root, source })
    }

    /// Whether `trouble` is one, as the run is configured.
    pub(super) fn counts(&self, trouble: &Trouble) -> bool {
        self.run.config.run.watch || trouble.is_certain()
    }

    /// Writes the checkpoint of this step, unless it is written already, and deletes old ones.
    fn save(&mut self) -> Result<(), RunError> {
        if self.saved != Some(self.trainer.step()) {
            self.store_checkpoint()?;
            self.prune()?;
        }
        Ok(())
    }

    fn prune(&self) -> Result<(), DirectoryError> {
        let run = &self.run.config.run;
        let way_back = match run.on_divergence {
            OnDivergence::Rollback => self.recovery.watch.way_back(self.trainer.step()),
            OnDivergence::Stop => 0,
        };
        self.run.directory.prune(&Keep {
            newest: run.keep,
            every: run.keep_every,
            way_back,
        })
    }

    /// Writes the checkpoint of this step.
    pub(super) fn store_checkpoint(&mut self) -> Result<(), RunError> {
        let step = self.trainer.step();
        let path = self.run.directory.checkpoint(step);
        let validated = self.validated.as_ref().filter(|(at, _)| *at == step);
        let dataset = &self.run.dataset;
        let describe = |step: u64, adam_t: AdamSteps| Description {
            architecture: self.run.config.architecture.clone(),
            transform: json(dataset.training.transforms()),
            config: self.config_text.clone(),
            step,
            adam_t,
            selection: validated.map_or(Value::Null, |(_, measured)| measured.clone()),
            data: json(&dataset.description),
            recovery: self.recovery.clone(),
            precision: self.precision,
        };
        self.journal.sync()?;
        self.trainer.save(&path, describe)?;
        self.saved = Some(step);
        Ok(())
    }
}

pub(super) fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

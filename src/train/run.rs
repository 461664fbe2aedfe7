//! A training run from its first step to the report: the loop, what it writes, how it stops.

use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::checkpoint::{AdamSteps, CheckpointError, Description};
use super::config::{Config, ConfigError};
use super::dataset::{Dataset, DatasetError};
use super::directory::{DirectoryError, RunDirectory, locate};
use super::judge::{Judge, Report};
use super::metrics::{MetricsError, MetricsWriter};
use super::progress::Progress;
use super::restore::{Checkpoint, CheckpointFile};
use super::sampler::LoadedGenerator;
use super::signals::Stop;
use super::trainer::{Losses, Trainer};
use crate::backend::{Backend, BackendError};
use crate::data::{DataError, Provenance, Transform};
use crate::files::write_atomic;
use crate::report::ReportError;
use crate::stats::{Agreement, StatsError};

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
    #[error(
        "training diverged at step {step}: the losses are {d_loss} (discriminator) and {g_loss} \
         (generator). {saved} A lower learning rate may help"
    )]
    Diverged {
        step: u64,
        d_loss: f64,
        g_loss: f64,
        saved: String,
    },
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

/// A run about to begin or to go on.
pub struct Run {
    pub config: Config,
    pub directory: RunDirectory,
    /// The newest checkpoint of a run that goes on.
    pub checkpoint: Option<Checkpoint>,
    pub dataset: Dataset,
    resumed: bool,
}

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// All steps were made; the report is about the checkpoint that is offered.
    Finished { offered: PathBuf, report: Report },
    /// A signal asked for a stop; the state is saved.
    Stopped { signal: &'static str, step: u64 },
}

impl Run {
    /// Opens the maps. Nothing is written but the cache of synthetic maps.
    ///
    /// # Errors
    /// A checkpoint or maps that cannot be read.
    pub fn open(
        config: Config,
        directory: RunDirectory,
        resumed: bool,
        progress: &dyn Fn(usize, usize),
    ) -> Result<Self, RunError> {
        let checkpoint = match resumed {
            true => match directory.last() {
                Ok((_, path)) => Some(CheckpointFile::open(&path)?.read_all()?),
                // It was ended before its first checkpoint: it begins again.
                Err(DirectoryError::Empty(_)) => None,
                Err(error) => return Err(error.into()),
            },
            false => None,
        };
        let described = checkpoint
            .as_ref()
            .map(|checkpoint| &checkpoint.description);
        let fitted = described.map(transform_of).transpose()?;
        let dataset = Dataset::open(&config, fitted, progress)?;
        Ok(Self {
            config,
            directory,
            checkpoint,
            dataset,
            resumed,
        })
    }

    /// Steps of an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        let (batch, drop_last) = (self.config.run.batch, self.config.step.drop_last);
        self.dataset.training.steps_per_epoch(batch, drop_last) as u64
    }

    /// Trains to the last step, or until `stop` is asked for, on a backend that `backend` makes.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn train<B: Backend>(
        self,
        backend: impl Fn() -> B,
        stop: &Stop,
    ) -> Result<Outcome, RunError> {
        let total = self.config.total_steps(self.steps_per_epoch());
        let trainer = match &self.checkpoint {
            None => Trainer::new(backend(), &self.config)?,
            Some(checkpoint) => Trainer::resume(backend(), &self.config, checkpoint)?,
        };
        let (step, root) = (trainer.step(), self.directory.root());
        if step > total || (step == total && self.is_reported(step)) {
            let root = root.to_owned();
            return Err(RunError::Finished { root, step, total });
        }
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
        let metrics = match self.resumed {
            false => MetricsWriter::create(&self.directory.metrics())?,
            true => MetricsWriter::resume(&self.directory.metrics(), step)?,
        };
        let latent = self.config.architecture.latent;
        let best = self.best(step)?;
        let mut training = Training {
            judge: Judge::new(&self.dataset, latent, self.config.run.seed)?,
            progress: Progress::new(step, total, self.config.run.batch),
            best_score: best.unwrap_or(f64::INFINITY),
            selection: None,
            saved: (step > 0).then_some(step),
            trainer,
            metrics,
            total,
            config_text,
            run: &self,
        };
        let stopped = training.loop_to_end(stop);
        training.progress.finish();
        if let Some(signal) = stopped? {
            let step = training.trainer.step();
            return Ok(Outcome::Stopped { signal, step });
        }
        training.offer(backend())
    }

    /// Whether the report of a run that ended at `step` was written: it may have been killed in
    /// between.
    fn is_reported(&self, step: u64) -> bool {
        let summary = std::fs::read(self.directory.root().join("summary.json"));
        let summary = summary.ok().map(|bytes| serde_json::from_slice(&bytes));
        matches!(summary, Some(Ok(Reported { steps })) if steps == step)
    }

    /// The best score up to `step`. The newest checkpoint is marked now if it is the best and the
    /// run was killed before it said so.
    fn best(&self, step: u64) -> Result<Option<f64>, RunError> {
        let best = self.directory.best()?.filter(|best| best.step <= step);
        let best = best.map(|best| best.score);
        let newest = self.checkpoint.as_ref();
        let score = newest.and_then(|c| c.description.selection.get("score")?.as_f64());
        match score {
            Some(score) if best.is_none_or(|best| score < best) => {
                self.directory.set_best(step, score)?;
                Ok(Some(score))
            }
            _ => Ok(best),
        }
    }
}

/// The fitted transform of a checkpoint.
///
/// # Errors
/// A description that is not a transform.
pub fn transform_of(description: &Description) -> Result<Transform, RunError> {
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
struct Training<'a, B> {
    run: &'a Run,
    trainer: Trainer<B>,
    judge: Judge,
    metrics: MetricsWriter,
    progress: Progress,
    total: u64,
    config_text: String,
    best_score: f64,
    /// The agreement at the current step, if it was validated.
    selection: Option<(u64, Agreement)>,
    /// The step of the newest checkpoint.
    saved: Option<u64>,
}

#[derive(Serialize)]
struct TrainLine {
    epoch: f64,
    #[serde(flatten)]
    losses: Losses,
    maps_per_second: Option<f64>,
}

impl<B: Backend> Training<'_, B> {
    /// Steps until the end, or until a signal, whose name is returned.
    fn loop_to_end(&mut self, stop: &Stop) -> Result<Option<&'static str>, RunError> {
        let per_epoch = self.run.steps_per_epoch();
        let batch = self.run.config.run.batch;
        let training = &self.run.dataset.training;
        let map_len = training.map_size() * training.map_size();
        let mut maps = vec![0.0; batch * map_len];
        while self.trainer.step() < self.total {
            if let Some(signal) = stop.requested() {
                self.save()?;
                return Ok(Some(signal));
            }
            let done = self.trainer.step();
            let (epoch, within) = (done / per_epoch, done % per_epoch);
            let rows = training.rows(within as usize, batch);
            let real = &mut maps[..rows.len() * map_len];
            training.fill(epoch, rows, real);
            let epochs = done as f64 / per_epoch as f64;
            let losses = self.trainer.train(real, epochs)?;
            self.after_step(&losses, (done + 1) as f64 / per_epoch as f64)?;
        }
        Ok(None)
    }

    fn after_step(&mut self, losses: &Losses, epoch: f64) -> Result<(), RunError> {
        let step = self.trainer.step();
        if !losses.are_finite() {
            return Err(self.diverged(losses));
        }
        self.progress.update(step, losses.d_loss, losses.g_loss);
        let run = &self.run.config.run;
        let last = step == self.total;
        let due = |every: u64| last || (every > 0 && step.is_multiple_of(every));
        if due(run.log_every) {
            let line = TrainLine {
                epoch,
                losses: *losses,
                maps_per_second: self.progress.maps_per_second(),
            };
            self.metrics.write("train", step, &line)?;
        }
        if due(run.validation_every) {
            self.validate()?;
        }
        if due(run.sample_every) {
            let path = self
                .run
                .directory
                .samples()
                .join(format!("step-{step:08}.png"));
            let title = format!("step {step}");
            let trainer = &mut self.trainer;
            self.judge
                .draw_samples(&path, &title, |latents| trainer.sample(latents))?;
        }
        if due(run.checkpoint_every) {
            self.save()?;
        }
        Ok(())
    }

    fn diverged(&self, losses: &Losses) -> RunError {
        let saved = match self.saved {
            Some(step) => format!("The checkpoint of step {step} is intact."),
            None => "No checkpoint had been written.".to_owned(),
        };
        RunError::Diverged {
            step: self.trainer.step(),
            d_loss: losses.d_loss,
            g_loss: losses.g_loss,
            saved,
        }
    }

    /// Scores the averaged generator on validation maps; the best so far is kept as a checkpoint.
    fn validate(&mut self) -> Result<(), RunError> {
        let step = self.trainer.step();
        let trainer = &mut self.trainer;
        let agreement = self.judge.validate(|latents| trainer.sample(latents))?;
        self.metrics.write("validation", step, &agreement)?;
        let better = agreement.score < self.best_score;
        self.progress.say(&format!(
            "step {step}: validation score {:.2} (pixel KS {:.3}, P(l) within a factor {:.2}){}",
            agreement.score,
            agreement.pixel_ks,
            agreement.worst_spectrum_factor,
            if better { ", the best so far" } else { "" },
        ));
        let score = agreement.score;
        self.selection = Some((step, agreement));
        if better {
            self.best_score = score;
            self.save()?;
            self.run.directory.set_best(step, score)?;
        }
        Ok(())
    }

    /// Writes the checkpoint of this step, unless it is written already.
    fn save(&mut self) -> Result<(), RunError> {
        let step = self.trainer.step();
        if self.saved == Some(step) {
            return Ok(());
        }
        let path = self.run.directory.checkpoint(step);
        let selection = self.selection.as_ref().filter(|(at, _)| *at == step);
        let json = |value: Result<serde_json::Value, serde_json::Error>| {
            value.unwrap_or(serde_json::Value::Null)
        };
        let dataset = &self.run.dataset;
        let describe = |step: u64, adam_t: AdamSteps| Description {
            architecture: self.run.config.architecture.clone(),
            transform: json(serde_json::to_value(dataset.training.transform())),
            config: self.config_text.clone(),
            step,
            adam_t,
            selection: json(serde_json::to_value(
                selection.map(|(_, agreement)| agreement),
            )),
            data: json(serde_json::to_value(&dataset.description)),
        };
        self.trainer.save(&path, describe)?;
        self.saved = Some(step);
        self.run.directory.prune(self.run.config.run.keep)?;
        Ok(())
    }

    /// The checkpoint that the run offers, its pictures and its report on the test maps.
    fn offer(mut self, backend: B) -> Result<Outcome, RunError> {
        let located = locate(self.run.directory.root())?;
        let mut file = CheckpointFile::open(&located.path)?;
        let step = file.description().step;
        let weights = file.generator_ema()?;
        let architecture = &self.run.config.architecture;
        let batch = self.run.config.run.batch;
        let mut loaded = LoadedGenerator::new(backend, architecture, &weights, batch)?;
        let mut generate = |latents: &[f32]| loaded.sampler.run_all(&mut loaded.backend, latents);
        let root = self.run.directory.root();
        let title = format!("the generator of step {step}, chosen on validation maps");
        let grid = root.join("samples.png");
        self.judge.draw_samples(&grid, &title, &mut generate)?;
        let figure = root.join("comparison.png");
        let report = self
            .judge
            .report(&self.run.dataset, &figure, &mut generate)?;
        let path = root.join("summary.json");
        let summary = Summary {
            checkpoint: located.path.display().to_string(),
            step,
            steps: self.trainer.step(),
            test: &report,
        };
        write_atomic(&path, |file| {
            serde_json::to_writer_pretty(&mut *file, &summary)?;
            writeln!(file)
        })
        .map_err(|source| RunError::Io {
            action: "write",
            path,
            source,
        })?;
        self.metrics.write("test", self.trainer.step(), &report)?;
        Ok(Outcome::Finished {
            offered: located.path,
            report,
        })
    }
}

#[derive(Serialize)]
struct Summary<'a> {
    checkpoint: String,
    /// Of the checkpoint.
    step: u64,
    /// Of the run.
    steps: u64,
    test: &'a Report,
}

/// What of a summary tells how far the run was.
#[derive(Deserialize)]
struct Reported {
    steps: u64,
}

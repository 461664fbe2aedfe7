//! The end of a run: what it offers, with pictures and a report on test maps.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::directory::{Best, RunDirectory, locate};
use super::judge::Report;
use super::restore::CheckpointFile;
use super::run::{Outcome, RunError, Training};
use super::sampler::LoadedGenerator;
use super::selection::Criterion;
use crate::backend::{Backend, BackendError};
use crate::files::write_atomic;

/// Name of the file whose presence says that the report is complete.
const SUMMARY: &str = "summary.json";

/// Whether the report of a run that ended at `step` was written: it may have been killed in
/// between.
pub(super) fn is_reported(directory: &RunDirectory, step: u64) -> bool {
    let summary = std::fs::read(directory.root().join(SUMMARY));
    let summary = summary.ok().map(|bytes| serde_json::from_slice(&bytes));
    matches!(summary, Some(Ok(Reported { steps })) if steps == step)
}

impl<B: Backend> Training<'_, B> {
    /// The checkpoint that the run offers, its pictures and its report on the test maps.
    pub(super) fn offer(
        mut self,
        backend: impl Fn() -> Result<B, BackendError>,
    ) -> Result<Outcome, RunError> {
        let steps = self.trainer.step();
        // A device may not have the memory for both.
        drop(self.trainer);
        let backend = backend()?;
        let located = locate(self.run.directory.root())?;
        let mut file = CheckpointFile::open(&located.path)?;
        let step = file.description().step;
        let weights = file.generator_ema()?;
        let architecture = &self.run.config.architecture;
        let batch = self.run.config.run.batch;
        let mut loaded = LoadedGenerator::new(backend, architecture, &weights, batch)?;
        let mut generate = |latents: &[f32]| loaded.sampler.run_all(&mut loaded.backend, latents);
        let root = self.run.directory.root();
        let best = self.run.directory.best()?;
        let title = match best.as_ref().map(|best| best.by) {
            Some(Criterion::Score) => {
                format!("the generator of step {step}, chosen by its score on validation maps")
            }
            Some(Criterion::ChiSquared { .. }) => {
                format!("the generator of step {step}, chosen by chi-squared on validation maps")
            }
            None => format!("the generator of step {step}, the newest"),
        };
        let chosen_by = best.as_ref().map_or_else(
            || "the newest, for no generator that competes could be measured".to_owned(),
            Best::describe,
        );
        let grid = root.join("samples.png");
        self.judge.draw_samples(&grid, &title, &mut generate)?;
        let figure = root.join("comparison.png");
        let report = self
            .judge
            .report(&self.run.dataset, &figure, &mut generate)?;
        // The summary comes last: where it is, everything is.
        self.journal.write("test", steps, &report)?;
        self.journal.sync()?;
        let path = root.join(SUMMARY);
        let summary = Summary {
            checkpoint: located.path.display().to_string(),
            step,
            steps,
            chosen_by: &chosen_by,
            best,
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
        Ok(Outcome::Finished {
            offered: located.path,
            chosen_by,
            report: Box::new(report),
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
    /// Why this checkpoint, in words.
    chosen_by: &'a str,
    /// Why this checkpoint, as `best.json` has it; null where there is no best one.
    best: Option<Best>,
    test: &'a Report,
}

/// What of a summary tells how far the run was.
#[derive(Deserialize)]
struct Reported {
    steps: u64,
}

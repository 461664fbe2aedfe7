//! What becomes of a diverged training: an error that says what to do, or a return to an earlier
//! state with lower learning rates.
//!
//! A kill in the midst of a rollback is harmless: as long as later checkpoints are there, a resumed
//! run meets the same trouble again and does the same; once they are gone, the one that was returned
//! to has the new rates already.

use std::path::{Path, PathBuf};

use super::checkpoint::CheckpointError;
use super::config::OnDivergence;
use super::directory::RunDirectory;
use super::journal::Journal;
use super::recovery::{MOST_IN_VAIN, Recovery};
use super::restore::{Checkpoint, CheckpointFile};
use super::run::{RunError, Training};
use super::watch::Trouble;
use crate::backend::Backend;

/// The newest checkpoint up to step `up_to` that can be read. Damaged ones that are newer are
/// renamed, and `tell` is told of each.
///
/// # Errors
/// There are checkpoints but none can be read (then none is renamed), one cannot be read for a reason
/// that is not in the file, or one cannot be renamed.
pub fn newest_undamaged(
    directory: &RunDirectory,
    up_to: u64,
    tell: impl Fn(&str),
) -> Result<Option<Checkpoint>, RunError> {
    let mut damaged: Vec<(PathBuf, CheckpointError)> = Vec::new();
    for (step, path) in directory.list()?.into_iter().rev() {
        if step > up_to {
            continue;
        }
        match read(&path) {
            Ok(checkpoint) => {
                for (path, error) in damaged {
                    let aside = directory.set_aside(&path, "damaged")?;
                    tell(&format!(
                        "warning: {error}. It was renamed to {}; the checkpoint of step {step} takes \
                         its place",
                        aside.display()
                    ));
                }
                return Ok(Some(checkpoint));
            }
            Err(error) if error.is_damage() => damaged.push((path, error)),
            Err(error) => return Err(error.into()),
        }
    }
    match damaged.into_iter().next() {
        None => Ok(None),
        Some((_, newest)) => Err(RunError::AllDamaged {
            root: directory.root().to_owned(),
            newest,
        }),
    }
}

fn read(path: &Path) -> Result<Checkpoint, CheckpointError> {
    CheckpointFile::open(path)?.read_all()
}

impl<B: Backend> Training<'_, B> {
    /// Ends the run with an error after the `step` that showed trouble, or goes back as the
    /// configuration says.
    pub(super) fn recover(&mut self, trouble: &Trouble, step: u64) -> Result<(), RunError> {
        if self.run.config.run.on_divergence == OnDivergence::Stop {
            return Err(self.diverged(trouble, step, self.advice(trouble)));
        }
        let Some(attempt) = self.recovery.next_attempt(step) else {
            let count = self.recovery.rollbacks.len();
            let advice = format!(
                "{count} rollbacks, up to {MOST_IN_VAIN} in a row without getting further, did not \
                 help; other settings are needed"
            );
            return Err(self.diverged(trouble, step, advice));
        };
        let directory = &self.run.directory;
        let best = directory.best()?.map(|best| best.step);
        let saved: Vec<u64> = directory.list()?.iter().map(|(step, _)| *step).collect();
        let sound = self.recovery.watch.sound_until(step, Some(trouble));
        let target = self.recovery.target(attempt, sound, &saved, best);
        let progress = &self.progress;
        let checkpoint = match target {
            Some(target) => newest_undamaged(directory, target, |line| progress.say(line))?,
            None => None,
        };
        self.go_back(checkpoint)?;
        let to = self.trainer.step();
        let factor = self.recovery.push(step, to, trouble.to_string(), attempt);
        self.trainer.set_rate_factor(factor);
        self.progress.say(&format!(
            "training diverged at step {step}: {trouble}. Going on from step {to} with the configured \
             learning rates divided by {} (attempt {attempt} of {MOST_IN_VAIN} to get further)",
            1.0 / factor,
        ));
        self.store_checkpoint()?;
        if let Some(best) = best.filter(|best| *best > to) {
            let aside = directory.set_aside(&directory.checkpoint(best), "abandoned")?;
            self.progress.say(&format!(
                "the best checkpoint so far, of step {best}, led nowhere; it is kept as {}",
                aside.display()
            ));
        }
        directory.forget_after(to)?;
        self.journal = resume_journal(self.run, &self.recovery, to, &[])?;
        Ok(())
    }

    /// Goes to the state of `checkpoint`, or to the initial one.
    fn go_back(&mut self, checkpoint: Option<Checkpoint>) -> Result<(), RunError> {
        // The rollbacks of an earlier state are those of this run as well, and there are more by now.
        let rollbacks = std::mem::take(&mut self.recovery.rollbacks);
        match &checkpoint {
            Some(checkpoint) => {
                self.run.check_fits(checkpoint)?;
                self.trainer.restore(checkpoint)?;
                self.recovery = checkpoint.description.recovery.clone();
            }
            None => {
                self.trainer.begin()?;
                self.recovery = Recovery::default();
            }
        }
        self.recovery.rollbacks = rollbacks;
        let to = self.trainer.step();
        self.recovery.watch.begin_anew(to);
        self.validated = checkpoint.map(|checkpoint| (to, checkpoint.description.selection));
        let best = self.run.directory.best()?;
        let best = best.filter(|best| best.step <= to);
        self.best_score = best.map_or(f64::INFINITY, |best| best.score);
        self.progress.jump(to);
        Ok(())
    }

    fn advice(&self, trouble: &Trouble) -> String {
        let root = self.run.directory.root().display();
        let regardless = match trouble.is_certain() {
            true => "",
            false => "; --watch false trains on regardless",
        };
        format!(
            "A lower learning rate may help: begin anew with a lower --rate, or let the run halve it \
             by itself: cosmogan train --resume {root} --on-divergence rollback{regardless}"
        )
    }

    fn diverged(&self, trouble: &Trouble, step: u64, advice: String) -> RunError {
        let saved = match self.saved {
            Some(step) => format!("The checkpoint of step {step} is intact"),
            None => "No checkpoint had been written".to_owned(),
        };
        RunError::Diverged {
            step,
            trouble: trouble.to_string(),
            saved,
            advice,
        }
    }
}

/// The journal of `run` from `step` on, with the rollbacks that led to this step: they are written
/// anew, for a kill may have come before they were.
pub(super) fn resume_journal(
    run: &super::Run,
    recovery: &Recovery,
    step: u64,
    remade: &[&str],
) -> Result<Journal, RunError> {
    let remade = [remade, &["rollback"]].concat();
    let tensorboard = run.config.run.tensorboard;
    let mut journal = Journal::resume(&run.directory, tensorboard, step, &remade)?;
    for record in recovery.written_at(step) {
        journal.write("rollback", step, record)?;
    }
    Ok(journal)
}

//! The directory of a run: what lies where, which checkpoint is best, which are kept.
//!
//! ```text
//! runs/demo/
//!   config.toml                          the resolved configuration
//!   metrics.jsonl                        one JSON object a line
//!   samples/                             grids of generated maps
//!   checkpoints/step-00000250.safetensors
//!   best.json                            names the checkpoint that scored best
//! ```

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{PARTIAL_PREFIX, write_atomic};

/// A run's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDirectory {
    root: PathBuf,
}

/// The contents of `best.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// File name within `checkpoints/`.
    pub checkpoint: String,
    pub step: u64,
    /// The score that made it best; smaller is better.
    pub score: f64,
}

/// A checkpoint that a path led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    pub path: PathBuf,
    pub why: Choice,
}

/// How a checkpoint was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The path named the file.
    Given,
    /// The run's best by its validation score.
    Best,
    /// The run's newest, for it has no best.
    Last,
}

/// A run directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    #[error("{} already holds a run; --resume it, or name another directory with --out", .0.display())]
    Occupied(PathBuf),
    #[error("{} is not a run directory: it has no config.toml", .0.display())]
    NotARun(PathBuf),
    #[error("{} holds no checkpoint (none in its checkpoints directory)", .0.display())]
    Empty(PathBuf),
    #[error("{} is not valid: {reason}", path.display())]
    Best { path: PathBuf, reason: String },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    move |source| DirectoryError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

impl RunDirectory {
    /// Where a new run goes: to `out` if given, else to the first of `runs/<name>`,
    /// `runs/<name>-2`, ... that holds no run. Nothing is made yet.
    ///
    /// # Errors
    /// `out` holds a run already.
    pub fn choose(out: Option<&Path>, name: &str) -> Result<Self, DirectoryError> {
        let run = match out {
            Some(out) => Self::at(out),
            None => (1u32..)
                .map(|n| match n {
                    1 => Self::at(Path::new("runs").join(name)),
                    n => Self::at(Path::new("runs").join(format!("{name}-{n}"))),
                })
                .find(|run| !run.holds_a_run())
                .unwrap_or_else(|| Self::at(Path::new("runs").join(name))),
        };
        if run.holds_a_run() {
            return Err(DirectoryError::Occupied(run.root));
        }
        Ok(run)
    }

    /// Makes what is missing of the directory.
    ///
    /// # Errors
    /// A directory cannot be made.
    pub fn make(&self) -> Result<(), DirectoryError> {
        for directory in [self.checkpoints(), self.samples()] {
            fs::create_dir_all(&directory).map_err(failed("create", &directory))?;
        }
        Ok(())
    }

    /// The directory of a run that exists.
    ///
    /// # Errors
    /// No such directory, or one without a configuration.
    pub fn open(root: &Path) -> Result<Self, DirectoryError> {
        let run = Self::at(root);
        if !root.exists() {
            return Err(DirectoryError::Missing(run.root));
        }
        if !run.config().is_file() {
            return Err(DirectoryError::NotARun(run.root));
        }
        Ok(run)
    }

    fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn holds_a_run(&self) -> bool {
        let any =
            |directory: PathBuf| fs::read_dir(directory).is_ok_and(|mut d| d.next().is_some());
        self.config().exists() || self.metrics().exists() || any(self.checkpoints())
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    pub fn samples(&self) -> PathBuf {
        self.root.join("samples")
    }

    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// The checkpoint file of `step`.
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.checkpoints()
            .join(format!("step-{step:08}.safetensors"))
    }

    /// The checkpoints by step, oldest first.
    ///
    /// # Errors
    /// The directory cannot be read; that it is missing is no error.
    pub fn list(&self) -> Result<Vec<(u64, PathBuf)>, DirectoryError> {
        let directory = self.checkpoints();
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed("list", &directory))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("list", &directory))?;
            if let Some(step) = entry.file_name().to_str().and_then(step_of) {
                found.push((step, entry.path()));
            }
        }
        found.sort();
        Ok(found)
    }

    /// The newest checkpoint.
    ///
    /// # Errors
    /// There is none, or the directory cannot be read.
    pub fn last(&self) -> Result<(u64, PathBuf), DirectoryError> {
        let mut all = self.list()?;
        all.pop()
            .ok_or_else(|| DirectoryError::Empty(self.root.clone()))
    }

    /// The best checkpoint so far, if one was marked and still exists.
    ///
    /// # Errors
    /// `best.json` cannot be read or understood.
    pub fn best(&self) -> Result<Option<Best>, DirectoryError> {
        let path = self.root.join("best.json");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(failed("read", &path))?,
        };
        let odd = |reason: String| DirectoryError::Best {
            path: path.clone(),
            reason,
        };
        let best: Best = serde_json::from_str(&text).map_err(|error| odd(error.to_string()))?;
        if step_of(&best.checkpoint).is_none() {
            return Err(odd(format!("\"{}\" names no checkpoint", best.checkpoint)));
        }
        let exists = self.checkpoints().join(&best.checkpoint).is_file();
        Ok(exists.then_some(best))
    }

    /// Marks the checkpoint of `step` as the best, atomically.
    ///
    /// # Errors
    /// A failure to write.
    pub fn set_best(&self, step: u64, score: f64) -> Result<(), DirectoryError> {
        let path = self.root.join("best.json");
        let best = Best {
            checkpoint: format!("step-{step:08}.safetensors"),
            step,
            score,
        };
        write_atomic(&path, |file| {
            serde_json::to_writer_pretty(&mut *file, &best)?;
            writeln!(file)
        })
        .map_err(failed("write", &path))
    }

    /// Deletes all checkpoints but the newest `keep` and the best, and what interrupted writes
    /// left behind.
    ///
    /// # Errors
    /// A file cannot be deleted, or the directory or `best.json` cannot be read.
    pub fn prune(&self, keep: usize) -> Result<(), DirectoryError> {
        let best = self.best()?.map(|best| best.step);
        let all = self.list()?;
        let old = all.len().saturating_sub(keep.max(1));
        for (step, path) in &all[..old] {
            if Some(*step) != best {
                fs::remove_file(path).map_err(failed("delete", path))?;
            }
        }
        for entry in fs::read_dir(self.checkpoints())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with(PARTIAL_PREFIX) {
                let path = entry.path();
                fs::remove_file(&path).map_err(failed("delete", &path))?;
            }
        }
        Ok(())
    }
}

/// The step in `step-NNNNNNNN.safetensors`.
fn step_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("step-")?.strip_suffix(".safetensors")?;
    let plain = digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// The checkpoint that `path` means: itself if it is a file; in a run directory the best one, else
/// the newest.
///
/// # Errors
/// Nothing at `path`, or a directory without checkpoints.
pub fn locate(path: &Path) -> Result<Located, DirectoryError> {
    if !path.exists() {
        return Err(DirectoryError::Missing(path.to_owned()));
    }
    if !path.is_dir() {
        return Ok(Located {
            path: path.to_owned(),
            why: Choice::Given,
        });
    }
    let run = RunDirectory::at(path);
    if let Some(best) = run.best()? {
        return Ok(Located {
            path: run.checkpoints().join(best.checkpoint),
            why: Choice::Best,
        });
    }
    let (_, path) = run.last()?;
    Ok(Located {
        path,
        why: Choice::Last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_with(steps: &[u64]) -> (tempfile::TempDir, RunDirectory) {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDirectory::choose(Some(&directory.path().join("run")), "x").unwrap();
        assert!(!run.root().exists());
        run.make().unwrap();
        for &step in steps {
            fs::write(run.checkpoint(step), b"").unwrap();
        }
        (directory, run)
    }

    fn steps(run: &RunDirectory) -> Vec<u64> {
        run.list()
            .unwrap()
            .into_iter()
            .map(|(step, _)| step)
            .collect()
    }

    #[test]
    fn pruning_keeps_the_newest_and_never_deletes_the_best() {
        let (_keep, run) = run_with(&[10, 20, 30, 40, 123_456_789]);
        run.set_best(20, 0.5).unwrap();
        fs::write(run.checkpoints().join(".partial-x"), b"half").unwrap();
        fs::write(run.checkpoints().join("notes.txt"), b"mine").unwrap();
        run.prune(2).unwrap();
        assert_eq!(steps(&run), [20, 40, 123_456_789]);
        assert!(!run.checkpoints().join(".partial-x").exists());
        assert!(run.checkpoints().join("notes.txt").exists());
        run.prune(0).unwrap();
        assert_eq!(steps(&run), [20, 123_456_789]);
    }

    #[test]
    fn a_run_directory_means_its_best_checkpoint_else_its_last() {
        let (_keep, run) = run_with(&[10, 20]);
        let located = |run: &RunDirectory| locate(run.root()).unwrap();
        assert_eq!(located(&run).path, run.checkpoint(20));
        assert_eq!(located(&run).why, Choice::Last);
        run.set_best(10, 1.0).unwrap();
        assert_eq!(located(&run).path, run.checkpoint(10));
        assert_eq!(located(&run).why, Choice::Best);
        fs::remove_file(run.checkpoint(10)).unwrap();
        assert_eq!(located(&run).path, run.checkpoint(20));
        assert_eq!(locate(&run.checkpoint(20)).unwrap().why, Choice::Given);
        assert!(matches!(
            locate(Path::new("/no/such")),
            Err(DirectoryError::Missing(_))
        ));
    }

    #[test]
    fn a_best_file_that_names_something_else_is_refused() {
        let (_keep, run) = run_with(&[10]);
        let bad = r#"{"checkpoint": "../../other", "step": 1, "score": 0}"#;
        fs::write(run.root().join("best.json"), bad).unwrap();
        assert!(matches!(run.best(), Err(DirectoryError::Best { .. })));
    }

    #[test]
    fn a_new_run_never_overwrites_an_old_one() {
        let (_keep, run) = run_with(&[10]);
        let again = RunDirectory::choose(Some(run.root()), "x");
        assert!(matches!(again, Err(DirectoryError::Occupied(_))));
        assert!(matches!(
            RunDirectory::open(run.root()),
            Err(DirectoryError::NotARun(_))
        ));
        fs::write(run.config(), "").unwrap();
        assert_eq!(RunDirectory::open(run.root()).unwrap(), run);
    }
}

//! The directory of a run: what lies where, which checkpoint is best, which are kept.
//!
//! ```text
//! runs/demo/
//!   config.toml                          the resolved configuration
//!   metrics.jsonl                        one JSON object a line
//!   events.out.tfevents.*                the same for TensorBoard
//!   samples/                             grids of generated maps
//!   checkpoints/step-00000250.safetensors
//!   best.json                            names the best checkpoint, and by what it is the best
//!   .lock                                held by the process that trains
//! ```

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::lock::{Attempt, RunLock};
use super::selection::Criterion;
use crate::files::{sweep, write_atomic};

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
    /// What made it best; smaller is better.
    pub score: f64,
    /// What `score` is. Before there was a choice, it was the validation score.
    #[serde(default)]
    pub by: Criterion,
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
    /// The run's best, by what `best.json` says.
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
    #[error(
        "{} is in use by another training{}; wait for its end, or stop it",
        root.display(),
        pid.map_or(String::new(), |pid| format!(" (process {pid})"))
    )]
    Locked { root: PathBuf, pid: Option<u32> },
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
            None => (1..)
                .map(|n| Self::numbered(name, n))
                .find(|run| !run.holds_a_run())
                .unwrap_or_else(|| Self::numbered(name, 1)),
        };
        if run.holds_a_run() {
            return Err(DirectoryError::Occupied(run.root));
        }
        Ok(run)
    }

    /// Takes the directory that [`choose`](Self::choose) finds for this process: of two runs that
    /// begin in the same moment only one gets it, and the other the next.
    ///
    /// # Errors
    /// `out` holds a run or is another process's, or the directory cannot be made.
    pub fn claim(out: Option<&Path>, name: &str) -> Result<(Self, RunLock), DirectoryError> {
        if let Some(out) = out {
            let run = Self::choose(Some(out), name)?;
            let lock = run.lock()?;
            // Its run may have begun, or come and gone, before the lock was taken.
            return match run.holds_a_run() {
                true => Err(DirectoryError::Occupied(run.root)),
                false => Ok((run, lock)),
            };
        }
        let mut n = 0;
        loop {
            n += 1;
            let run = Self::numbered(name, n);
            if run.holds_a_run() {
                continue;
            }
            match run.lock() {
                Ok(lock) if !run.holds_a_run() => return Ok((run, lock)),
                Ok(_) | Err(DirectoryError::Locked { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes this process the only one to train here, until the lock is dropped.
    ///
    /// # Errors
    /// Another process trains here, or the directory cannot be made or written.
    pub fn lock(&self) -> Result<RunLock, DirectoryError> {
        fs::create_dir_all(&self.root).map_err(failed("create", &self.root))?;
        match RunLock::take(&self.root).map_err(failed("lock", &self.root))? {
            Attempt::Held(lock) => Ok(lock),
            Attempt::Taken(pid) => Err(DirectoryError::Locked {
                root: self.root.clone(),
                pid,
            }),
        }
    }

    /// Makes what is missing of the directory, and deletes what a killed run left unfinished.
    ///
    /// # Errors
    /// A directory cannot be made, read or cleaned.
    pub fn make(&self) -> Result<(), DirectoryError> {
        for directory in [self.root.clone(), self.checkpoints(), self.samples()] {
            fs::create_dir_all(&directory).map_err(failed("create", &directory))?;
            sweep(&directory).map_err(failed("clean", &directory))?;
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

    /// The `n`th directory of runs called `name`, from 1.
    fn numbered(name: &str, n: u32) -> Self {
        let runs = Path::new("runs");
        match n {
            1 => Self::at(runs.join(name)),
            n => Self::at(runs.join(format!("{name}-{n}"))),
        }
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
        let best = self.read_best()?;
        Ok(best.filter(|best| self.checkpoints().join(&best.checkpoint).is_file()))
    }

    fn read_best(&self) -> Result<Option<Best>, DirectoryError> {
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
        Ok(Some(best))
    }

    /// Marks the checkpoint of `step` as the best, atomically.
    ///
    /// # Errors
    /// A failure to write.
    pub fn set_best(&self, step: u64, score: f64, by: Criterion) -> Result<(), DirectoryError> {
        let path = self.root.join("best.json");
        let best = Best {
            checkpoint: format!("step-{step:08}.safetensors"),
            step,
            score,
            by,
        };
        write_atomic(&path, |file| {
            serde_json::to_writer_pretty(&mut *file, &best)?;
            writeln!(file)
        })
        .map_err(failed("write", &path))
    }

    /// Deletes the checkpoints that `keep` does not name. The best one always stays.
    ///
    /// # Errors
    /// A file cannot be deleted, or the directory or `best.json` cannot be read.
    pub fn prune(&self, keep: &Keep) -> Result<(), DirectoryError> {
        let best = self.best()?.map(|best| best.step);
        let all = self.list()?;
        let way_back = all.iter().rev().find(|(step, _)| *step <= keep.way_back);
        let way_back = way_back.map(|(step, _)| *step);
        let old = all.len().saturating_sub(keep.newest.max(1));
        for (step, path) in &all[..old] {
            let milestone = keep.every > 0 && step.is_multiple_of(keep.every);
            if !milestone && Some(*step) != best && Some(*step) != way_back {
                fs::remove_file(path).map_err(failed("delete", path))?;
            }
        }
        Ok(())
    }

    /// Deletes the checkpoints of steps after `step`, the newest first, and with them what
    /// `best.json` may say of them: the run goes on from `step` in another way.
    ///
    /// # Errors
    /// A file cannot be deleted, or the directory or `best.json` cannot be read.
    pub fn forget_after(&self, step: u64) -> Result<(), DirectoryError> {
        self.forget_best_after(step)?;
        for (_, path) in self.list()?.iter().rev().take_while(|(at, _)| *at > step) {
            fs::remove_file(path).map_err(failed("delete", path))?;
        }
        Ok(())
    }

    /// Deletes `best.json` if it is about a later step than `step`.
    ///
    /// # Errors
    /// It cannot be read or deleted.
    pub fn forget_best_after(&self, step: u64) -> Result<(), DirectoryError> {
        self.keep_best_if(|best| best.step <= step).map(|_| ())
    }

    /// Deletes `best.json`, and returns what it said, unless that is as `good` wants it.
    ///
    /// # Errors
    /// It cannot be read or deleted.
    pub fn keep_best_if(
        &self,
        good: impl FnOnce(&Best) -> bool,
    ) -> Result<Option<Best>, DirectoryError> {
        let path = self.root.join("best.json");
        let bad = self.read_best()?.filter(|best| !good(best));
        if bad.is_some() {
            fs::remove_file(&path).map_err(failed("delete", &path))?;
        }
        Ok(bad)
    }

    /// Renames a checkpoint with `why` as its ending, so that it is in nobody's way and can still be
    /// looked at; the new path is returned.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn set_aside(&self, path: &Path, why: &str) -> Result<PathBuf, DirectoryError> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{why}"));
        let aside = PathBuf::from(name);
        fs::rename(path, &aside).map_err(failed("rename", path))?;
        Ok(aside)
    }
}

/// Which checkpoints stay when old ones are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// So many of the newest.
    pub newest: usize,
    /// Those of steps that are multiples of this; 0 for none.
    pub every: u64,
    /// The newest one up to this step.
    pub way_back: u64,
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

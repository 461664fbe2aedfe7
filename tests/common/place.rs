//! A place for small runs, and what they leave there.

use std::path::{Path, PathBuf};
use std::process::Command;

use cosmogan::train::CheckpointFile;
use serde_json::Value;
use tempfile::TempDir;

/// A place for runs on the same small maps.
pub struct Place {
    directory: TempDir,
}

/// Options of a small run: an epoch has 8 training maps x 3 crops = 24 maps.
pub const SMALL: &str = "--size 16 --layers 2 --base 4 --latent 8 --batch 5 --crops-per-parent 3 \
                     --validation-maps 8 --checkpoint-every 1 --validation-every 4 --log-every 1 \
                     --sample-every 0";

impl Place {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        super::write_maps(&directory.path().join("maps.npy"), 12, 24);
        Self { directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn command(&self, words: &str) -> Command {
        let mut command = super::program(self.directory.path());
        command.arg("train").args(words.split_whitespace());
        command
    }

    /// A new run on the maps, to its end or its beginning as `steps` says.
    pub fn start(&self, out: &str, convention: &str, steps: u64) -> Command {
        self.command(&format!(
            "--out {out} --data maps.npy --convention {convention} --steps {steps} {SMALL}"
        ))
    }

    pub fn resume(&self, out: &str, steps: u64) -> Command {
        self.command(&format!("--resume {out} --steps {steps}"))
    }

    /// The bytes of the checkpoint of `step`.
    pub fn checkpoint(&self, out: &str, step: u64) -> Vec<u8> {
        let path = checkpoints(&self.path(out)).join(format!("step-{step:08}.safetensors"));
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// The lines of metrics without speeds, which differ from run to run.
    pub fn metrics(&self, out: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path(out).join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line.as_object_mut().unwrap().remove("maps_per_second");
            line
        });
        lines.collect()
    }

    pub fn best(&self, out: &str) -> String {
        std::fs::read_to_string(self.path(out).join("best.json")).unwrap()
    }
}

pub fn checkpoints(run: &Path) -> PathBuf {
    run.join("checkpoints")
}

/// Steps of the checkpoints that lie there now.
pub fn steps_saved(run: &Path) -> Vec<u64> {
    let Ok(entries) = std::fs::read_dir(checkpoints(run)) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let steps = names.filter_map(|name| {
        let digits = name.strip_prefix("step-")?.strip_suffix(".safetensors")?;
        digits.parse().ok()
    });
    let mut steps: Vec<u64> = steps.collect();
    steps.sort_unstable();
    steps
}

pub fn done(command: &mut Command) -> super::Outcome {
    let outcome = super::outcome(command);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    outcome
}

/// All files below a run's directory that are no checkpoints.
pub fn other_files(run: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for directory in [run.to_owned(), checkpoints(run), run.join("samples")] {
        let entries = std::fs::read_dir(directory).into_iter().flatten();
        for entry in entries.map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let checkpoint = name.starts_with("step-") && name.ends_with(".safetensors");
            if entry.path().is_file() && !checkpoint {
                found.push(name);
            }
        }
    }
    found.sort();
    found
}

/// Reads every checkpoint of a run, which must all be whole.
pub fn read_all_checkpoints(run: &Path) -> usize {
    let steps = steps_saved(run);
    for step in &steps {
        let path = checkpoints(run).join(format!("step-{step:08}.safetensors"));
        CheckpointFile::open(&path)
            .and_then(CheckpointFile::read_all)
            .unwrap_or_else(|error| panic!("{error}"));
    }
    steps.len()
}

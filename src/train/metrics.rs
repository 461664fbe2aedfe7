//! Metrics of a run as JSON Lines: one object a line, each with its `kind` and `step`.
//!
//! Lines are written one by one, each whole or not at all unless the program is killed in between; a
//! resumed run drops what lies beyond its checkpoint, and the file reads as if never interrupted.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{append, write_atomic};

/// A file of metrics, or of TensorBoard's events, that cannot be written or read back.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct MetricsError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// An open metrics file.
#[derive(Debug)]
pub struct MetricsWriter {
    path: PathBuf,
    file: File,
}

#[derive(Serialize)]
struct Line<'a, T> {
    kind: &'a str,
    step: u64,
    #[serde(flatten)]
    fields: &'a T,
}

#[derive(Deserialize)]
struct Key<'a> {
    kind: &'a str,
    step: u64,
}

impl MetricsWriter {
    /// Opens the metrics of a new run.
    ///
    /// # Errors
    /// The file exists, or cannot be made.
    pub fn create(path: &Path) -> Result<Self, MetricsError> {
        let file = OpenOptions::new().append(true).create_new(true).open(path);
        Ok(Self {
            file: file.map_err(failed("create", path))?,
            path: path.to_owned(),
        })
    }

    /// Opens the metrics of a run that goes on after `step`: lines of later steps, lines of `step`
    /// whose kind is one of `remade`, and lines that were cut short are dropped first. A missing
    /// file is made.
    ///
    /// # Errors
    /// The file cannot be read, rewritten or opened.
    pub fn resume(path: &Path, step: u64, remade: &[&str]) -> Result<Self, MetricsError> {
        match File::open(path) {
            Ok(old) => keep_up_to(old, path, step, remade).map_err(failed("rewrite", path))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed("read", path)(error)),
        }
        let file = OpenOptions::new().append(true).create(true).open(path);
        Ok(Self {
            file: file.map_err(failed("open", path))?,
            path: path.to_owned(),
        })
    }

    /// Appends `{"kind": .., "step": .., ..fields}`. `fields` serializes as an object; numbers that
    /// are not finite become null, for JSON has no others.
    ///
    /// # Errors
    /// A failure to write.
    pub fn write(
        &mut self,
        kind: &str,
        step: u64,
        fields: &impl Serialize,
    ) -> Result<(), MetricsError> {
        let line = Line { kind, step, fields };
        let written = serde_json::to_vec(&line)
            .map_err(io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                append(&mut self.file, &line)
            });
        written.map_err(failed("write", &self.path))
    }

    /// Waits until all lines are on the disk: a checkpoint must not outlive the metrics before it.
    ///
    /// # Errors
    /// A failure to write.
    pub fn sync(&self) -> Result<(), MetricsError> {
        self.file.sync_data().map_err(failed("write", &self.path))
    }
}

pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MetricsError {
    move |source| MetricsError {
        action,
        path: path.to_owned(),
        source,
    }
}

fn keep_up_to(old: File, path: &Path, step: u64, remade: &[&str]) -> io::Result<()> {
    let mut old = BufReader::new(old);
    write_atomic(path, |new| {
        let mut line = Vec::new();
        while old.read_until(b'\n', &mut line)? > 0 {
            let keep = serde_json::from_slice::<Key>(&line).is_ok_and(|key| {
                key.step < step || (key.step == step && !remade.contains(&key.kind))
            });
            if line.ends_with(b"\n") && keep {
                new.write_all(&line)?;
            }
            line.clear();
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[derive(Serialize)]
    struct Losses {
        d_loss: f64,
        g_loss: f64,
    }

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect()
    }

    fn write(writer: &mut MetricsWriter, step: u64, d_loss: f64) {
        let losses = Losses {
            d_loss,
            g_loss: 2.0,
        };
        writer.write("train", step, &losses).unwrap();
    }

    #[test]
    fn each_record_is_one_object_with_kind_and_step() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.jsonl");
        let mut writer = MetricsWriter::create(&path).unwrap();
        write(&mut writer, 1, 0.5);
        write(&mut writer, 2, f64::NAN);
        assert_eq!(
            lines(&path),
            [
                json!({"kind": "train", "step": 1, "d_loss": 0.5, "g_loss": 2.0}),
                json!({"kind": "train", "step": 2, "d_loss": null, "g_loss": 2.0}),
            ]
        );
        assert!(MetricsWriter::create(&path).is_err(), "never overwrites");
    }

    #[test]
    fn a_resumed_file_reads_as_if_never_interrupted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.jsonl");
        let mut writer = MetricsWriter::resume(&path, 0, &[]).unwrap();
        for step in 1..=5 {
            write(&mut writer, step, 0.25);
        }
        let whole = std::fs::read(&path).unwrap();
        writer
            .file
            .write_all(b"{\"kind\":\"train\",\"step\":3")
            .unwrap();
        let mut writer = MetricsWriter::resume(&path, 3, &["test"]).unwrap();
        assert_eq!(lines(&path).len(), 3);
        for step in 4..=5 {
            write(&mut writer, step, 0.25);
        }
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        MetricsWriter::resume(&path, 5, &["train"]).unwrap();
        assert_eq!(
            lines(&path).len(),
            4,
            "the last step's line is to be made again"
        );
    }
}

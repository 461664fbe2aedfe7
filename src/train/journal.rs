//! What a run writes down as it goes: JSON Lines, and the same for TensorBoard.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::directory::RunDirectory;
use super::events::EventWriter;
use super::metrics::{MetricsError, MetricsWriter};

/// Both files, always at the same step.
#[derive(Debug)]
pub struct Journal {
    metrics: MetricsWriter,
    events: Option<EventWriter>,
}

impl Journal {
    /// The journal of a new run.
    ///
    /// # Errors
    /// Metrics exist already, or a file cannot be made.
    pub fn create(directory: &RunDirectory, tensorboard: bool) -> Result<Self, MetricsError> {
        let metrics = MetricsWriter::create(&directory.metrics())?;
        Self::with_events(metrics, directory, tensorboard, 0, &[])
    }

    /// The journal of a run that goes on after `step`: what was written of later steps is dropped,
    /// and lines of `step` whose kind is one of `remade`.
    ///
    /// # Errors
    /// A file cannot be read or rewritten.
    pub fn resume(
        directory: &RunDirectory,
        tensorboard: bool,
        step: u64,
        remade: &[&str],
    ) -> Result<Self, MetricsError> {
        let metrics = MetricsWriter::resume(&directory.metrics(), step, remade)?;
        Self::with_events(metrics, directory, tensorboard, step, remade)
    }

    fn with_events(
        metrics: MetricsWriter,
        directory: &RunDirectory,
        tensorboard: bool,
        step: u64,
        remade: &[&str],
    ) -> Result<Self, MetricsError> {
        let events = tensorboard.then(|| EventWriter::resume(directory.root(), step, remade));
        Ok(Self {
            metrics,
            events: events.transpose()?,
        })
    }

    /// Writes a line of metrics, and its numbers as `kind/field` for TensorBoard.
    ///
    /// # Errors
    /// A failure to write.
    pub fn write(
        &mut self,
        kind: &str,
        step: u64,
        fields: &impl Serialize,
    ) -> Result<(), MetricsError> {
        self.metrics.write(kind, step, fields)?;
        if let Some(events) = &mut self.events {
            let mut numbers = Vec::new();
            let fields = serde_json::to_value(fields).unwrap_or(Value::Null);
            collect_numbers(kind, &fields, &mut numbers);
            events.scalars(step, &numbers)?;
        }
        Ok(())
    }

    /// Shows the PNG picture at `path` to TensorBoard.
    ///
    /// # Errors
    /// A picture that cannot be read, or a failure to write.
    pub fn picture(&mut self, step: u64, tag: &str, path: &Path) -> Result<(), MetricsError> {
        match &mut self.events {
            Some(events) => events.picture(step, tag, path),
            None => Ok(()),
        }
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// A failure to write.
    pub fn sync(&self) -> Result<(), MetricsError> {
        self.metrics.sync()?;
        self.events.as_ref().map_or(Ok(()), EventWriter::sync)
    }
}

/// All numbers in `value`, each with its path below `prefix`.
fn collect_numbers(prefix: &str, value: &Value, found: &mut Vec<(String, f64)>) {
    match value {
        Value::Number(number) => found.extend(number.as_f64().map(|x| (prefix.to_owned(), x))),
        Value::Object(fields) => {
            for (name, value) in fields {
                collect_numbers(&format!("{prefix}/{name}"), value, found);
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                collect_numbers(&format!("{prefix}/{index}"), value, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_at_any_depth_under_their_names() {
        let value = serde_json::json!({"a": 1, "b": {"c": [0.5, null, 2]}, "d": "x"});
        let mut found = Vec::new();
        collect_numbers("k", &value, &mut found);
        let found: Vec<_> = found.iter().map(|(tag, x)| (tag.as_str(), *x)).collect();
        assert_eq!(found, [("k/a", 1.0), ("k/b/c/0", 0.5), ("k/b/c/2", 2.0)]);
    }
}

//! Progress of work that is counted in maps: a bar on a terminal, plain lines elsewhere.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Least time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Counts done of total. Nothing is shown before the first call of [`CountBar::show`].
pub struct CountBar {
    label: &'static str,
    bar: Option<ProgressBar>,
    last: Cell<Option<Instant>>,
}

impl CountBar {
    /// A bar named by what is going on.
    pub fn new(label: &'static str) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::no_length();
            let template = "{msg} {bar:30} {pos}/{len} {per_sec} {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        Self {
            label,
            bar,
            last: Cell::new(None),
        }
    }

    /// Shows that `done` of `total` are done.
    pub fn show(&self, done: usize, total: usize) {
        if let Some(bar) = &self.bar {
            if bar.length() != Some(total as u64) {
                bar.set_length(total as u64);
                bar.set_message(self.label);
            }
            bar.set_position(done as u64);
            return;
        }
        let now = Instant::now();
        let due = self
            .last
            .get()
            .is_none_or(|last| now.duration_since(last) >= LINE_EVERY);
        if due || done == total {
            self.last.set(Some(now));
            // A closed standard error is no reason to stop.
            let _ = writeln!(io::stderr(), "{}: {done}/{total}", self.label);
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

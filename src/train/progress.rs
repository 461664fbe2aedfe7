//! What a person sees of a running training: a bar on a terminal, plain lines elsewhere. All of it
//! goes to standard error.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time over which the speed is averaged.
const WINDOW: Duration = Duration::from_secs(20);
/// Least time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Progress of a training run.
#[derive(Debug)]
pub struct Progress {
    total: u64,
    speed: Speed,
    batch: u64,
    display: Display,
}

#[derive(Debug)]
enum Display {
    Bar(ProgressBar),
    Lines { last: Option<Instant> },
}

impl Progress {
    /// Begins at `step` of `total`, with `batch` real maps a step.
    pub fn new(step: u64, total: u64, batch: usize) -> Self {
        let display = if io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let template = "{bar:30} {pos}/{len} {wide_msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_position(step);
            Display::Bar(bar)
        } else {
            Display::Lines { last: None }
        };
        let mut speed = Speed::default();
        speed.record(Instant::now(), step);
        Self {
            total,
            speed,
            batch: batch as u64,
            display,
        }
    }

    /// Shows that `step` is done and what its losses were.
    pub fn update(&mut self, step: u64, d_loss: f64, g_loss: f64) {
        let now = Instant::now();
        self.speed.record(now, step);
        let status = self.status(step, d_loss, g_loss);
        match &mut self.display {
            Display::Bar(bar) => {
                bar.set_message(status);
                bar.set_position(step);
            }
            Display::Lines { last } => {
                let due = last.is_none_or(|last| now.duration_since(last) >= LINE_EVERY);
                if due || step == self.total {
                    *last = Some(now);
                    line(&format!("step {step}/{}  {status}", self.total));
                }
            }
        }
    }

    /// Shows that the run went back to `step`.
    pub fn jump(&mut self, step: u64) {
        self.speed = Speed::default();
        self.speed.record(Instant::now(), step);
        if let Display::Bar(bar) = &self.display {
            bar.set_position(step);
        }
    }

    /// Real maps per second over the last seconds, if two steps are done.
    pub fn maps_per_second(&self) -> Option<f64> {
        Some(self.speed.steps_per_second()? * self.batch as f64)
    }

    /// Prints a line, above the bar if there is one.
    pub fn say(&self, text: &str) {
        match &self.display {
            // A hidden bar (standard error is a terminal that cannot show one) prints nothing.
            Display::Bar(bar) if !bar.is_hidden() => bar.println(text),
            _ => line(text),
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
    }

    fn status(&self, step: u64, d_loss: f64, g_loss: f64) -> String {
        let mut status = format!("d_loss {d_loss:.3}  g_loss {g_loss:.3}");
        if let Some(speed) = self.speed.steps_per_second() {
            let maps = speed * self.batch as f64;
            let digits = if maps < 10.0 { 1 } else { 0 };
            let left = self.total.saturating_sub(step) as f64 / speed;
            status += &format!("  {maps:.digits$} maps/s  {} left", duration(left));
        }
        status
    }
}

/// A closed standard error is no reason to stop a training.
fn line(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// `seconds` as a person says it: `45s`, `4m 10s`, `3h 05m`, `2d 04h`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "unknown".to_owned();
    }
    let seconds = seconds.round().max(0.0) as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if minutes == 0 => format!("{seconds}s"),
        () if hours == 0 => format!("{minutes}m {:02}s", seconds % 60),
        () if days == 0 => format!("{hours}h {:02}m", minutes % 60),
        () => format!("{days}d {:02}h", hours % 24),
    }
}

/// Steps per second over a sliding window.
#[derive(Debug, Default)]
struct Speed {
    seen: VecDeque<(Instant, u64)>,
}

impl Speed {
    fn record(&mut self, now: Instant, step: u64) {
        // Of steps in quick succession only the last counts: the window holds few entries.
        let entries = self.seen.len();
        if entries > 1 && now.duration_since(self.seen[entries - 2].0) < WINDOW / 500 {
            self.seen.pop_back();
        }
        self.seen.push_back((now, step));
        // The oldest entry that is kept lies just outside the window: slow steps have a speed too.
        while self.seen.len() > 2 && now.duration_since(self.seen[1].0) >= WINDOW {
            self.seen.pop_front();
        }
    }

    fn steps_per_second(&self) -> Option<f64> {
        let ((start, first), (end, last)) = (self.seen.front()?, self.seen.back()?);
        let seconds = end.duration_since(*start).as_secs_f64();
        (last > first && seconds > 0.0).then(|| (last - first) as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_follows_the_last_seconds_only() {
        let begin = Instant::now();
        let mut speed = Speed::default();
        speed.record(begin, 100);
        assert_eq!(speed.steps_per_second(), None);
        let mut now = begin;
        for step in 101..=110 {
            now += Duration::from_secs(10);
            speed.record(now, step);
        }
        assert!((speed.steps_per_second().unwrap() - 0.1).abs() < 1e-9);
        for step in 111..=60_000 {
            now += Duration::from_millis(1);
            speed.record(now, step);
        }
        assert!((speed.steps_per_second().unwrap() - 1000.0).abs() < 10.0);
        assert!(speed.seen.len() <= 1002, "{} entries", speed.seen.len());
    }

    #[test]
    fn durations_read_well_at_every_size() {
        let said = [
            0.4,
            59.0,
            250.0,
            3.0 * 3600.0 + 300.0,
            187_200.0,
            f64::INFINITY,
        ]
        .map(duration);
        assert_eq!(said, ["0s", "59s", "4m 10s", "3h 05m", "2d 04h", "unknown"]);
    }

    #[test]
    fn a_status_has_losses_speed_and_time_left() {
        let mut progress = Progress::new(0, 100, 64);
        let begin = Instant::now();
        progress.speed = Speed::default();
        progress.speed.record(begin, 0);
        assert_eq!(progress.status(0, 1.25, 0.5), "d_loss 1.250  g_loss 0.500");
        progress.speed.record(begin + Duration::from_secs(5), 10);
        assert_eq!(
            progress.status(10, 1.25, 0.5),
            "d_loss 1.250  g_loss 0.500  128 maps/s  45s left"
        );
        assert_eq!(progress.maps_per_second(), Some(128.0));
    }
}

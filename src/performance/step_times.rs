//! A training step timed on a GPU, launch by launch.
//!
//! The step is made once, on random maps and weights, and its launches are logged. Each is then made again by
//! itself, on the same tensors, and timed between two marks after the second-level cache was emptied. The step as one
//! graph, whose launches may find in the caches what the one before left there, is timed beside it.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::outline::Outline;
use super::prepared::Prepared;
use super::step::CountError;
use super::tables::{giga_rate, micro, table};
use super::timing::{cold, median};
use super::{Counts, GpuModel, StepCount, StepLaunch, bound};
use crate::backend::Backend;
use crate::backend::gpu::Gpu;
use crate::backend::gpu::driver::{Driver, DriverError};
use crate::backend::gpu::launcher::LoggedLaunch;
use crate::train::Config;

/// Times of a step's launches, as `bench account --device cuda --json` writes them.
#[derive(Debug, Serialize, Deserialize)]
pub struct StepTimes {
    pub device: String,
    /// Day of the measurement.
    pub date: String,
    pub map_size: usize,
    pub base_filters: usize,
    pub batch: usize,
    /// What it computes in, with the version of its kernels.
    pub arithmetic: String,
    /// Times that each launch and the step were timed.
    pub repeats: usize,
    /// The median of the same step as one graph.
    pub step_s: f64,
    pub launches: Vec<StepLaunchTime>,
}

/// One launch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepLaunchTime {
    pub kernel: String,
    /// Empty for what belongs to no layer.
    pub layer: String,
    pub pass: String,
    pub median_s: f64,
    pub min_s: f64,
    pub max_s: f64,
    /// What it does, where that was counted.
    pub counts: Option<Counts>,
    /// The least time by the datasheet, where it was counted and the GPU is known.
    pub bound_s: Option<f64>,
}

/// A step on a GPU, and its launches, to be made again one at a time.
pub struct LoggedStep {
    prepared: Prepared,
    outline: Outline,
    pub launches: Vec<LoggedLaunch>,
    /// Steps that were made.
    made: u64,
}

impl LoggedStep {
    /// Makes the step of `config` at `batch` on `gpu`, which keeps its tensors, and logs its launches.
    ///
    /// # Errors
    /// Too little memory, a failing device; losses that are not finite.
    pub fn new<D: Driver>(
        gpu: &mut Gpu<D>,
        config: &Config,
        batch: usize,
    ) -> Result<Self, CountError> {
        let prepared = Prepared::new(config, batch, gpu.precision());
        prepared.upload(gpu, config)?;
        gpu.launcher().log_launches();
        let mut step = Self {
            outline: Outline::new(config, &prepared.step),
            prepared,
            launches: Vec::new(),
            made: 0,
        };
        step.make(gpu)?;
        step.launches = gpu.launcher().take_log();
        Ok(step)
    }

    /// The layer and the pass that a launch is for.
    pub fn purpose(&self, launch: &LoggedLaunch) -> String {
        let pass = self.outline.pass(launch.operation, launch.kernel).name();
        match self.outline.layer(launch.operation) {
            Some(layer) => format!("{layer}, {pass}"),
            None => pass.to_owned(),
        }
    }

    fn make<D: Driver>(&mut self, gpu: &mut Gpu<D>) -> Result<(), CountError> {
        self.made += 1;
        let losses = self.prepared.run(gpu, self.made)?;
        match losses.iter().all(|loss| loss.is_finite()) {
            true => Ok(()),
            false => Err(CountError::NotFinite),
        }
    }

    /// Seconds of `repeats` steps, each as one graph.
    ///
    /// # Errors
    /// A failing device; losses that are not finite.
    pub fn time_steps<D: Driver>(
        &mut self,
        gpu: &mut Gpu<D>,
        repeats: usize,
    ) -> Result<Vec<f64>, CountError> {
        const WARM_UP: usize = 2;
        let mut seconds = Vec::with_capacity(repeats);
        for repeat in 0..WARM_UP + repeats {
            let started = Instant::now();
            self.make(gpu)?;
            if repeat >= WARM_UP {
                seconds.push(started.elapsed().as_secs_f64());
            }
        }
        Ok(seconds)
    }

    /// Times each launch `repeats` times. The step's results are worth nothing afterwards.
    ///
    /// # Errors
    /// A driver that does not tell the time, too little memory, a failing device.
    pub fn time_launches<D: Driver>(
        &self,
        gpu: &mut Gpu<D>,
        repeats: usize,
    ) -> Result<Vec<StepLaunchTime>, DriverError> {
        let times = self.launches.iter().map(|launch| {
            let mut seconds = cold(gpu.launcher(), repeats, |l| l.launch_again(launch))?;
            seconds.sort_by(f64::total_cmp);
            let pass = self.outline.pass(launch.operation, launch.kernel);
            Ok(StepLaunchTime {
                kernel: launch.kernel.to_owned(),
                layer: self.outline.layer(launch.operation).unwrap_or_default(),
                pass: pass.name().to_owned(),
                median_s: median(&seconds),
                min_s: seconds[0],
                max_s: seconds[seconds.len() - 1],
                counts: None,
                bound_s: None,
            })
        });
        times.collect()
    }
}

impl StepTimes {
    /// Puts what was counted of the same step beside its times. Launches are matched in their order; a kernel
    /// of another tile does the same work, and one that the count lacks stays without.
    pub fn compare(&mut self, counted: &StepCount, gpu: Option<&GpuModel>) {
        let mut left: Vec<_> = counted.launches.iter().collect();
        for launch in &mut self.launches {
            let same = |other: &&StepLaunch| {
                family(&other.kernel) == family(&launch.kernel)
                    && counted.layer(other).unwrap_or_default() == launch.layer
                    && counted.pass(other).name() == launch.pass
            };
            let Some(at) = left.iter().position(same) else {
                continue;
            };
            let counts = left.remove(at).counts;
            launch.counts = Some(counts);
            launch.bound_s = gpu
                .and_then(|gpu| bound(&counts, gpu))
                .map(|bound| bound.seconds);
        }
    }

    /// Seconds of all launches.
    pub fn launches_s(&self) -> f64 {
        self.launches.iter().map(|launch| launch.median_s).sum()
    }

    /// The time of each kernel, the longest first.
    pub fn by_kernel(&self) -> String {
        self.grouped(["kernel"], |launch| [format!("`{}`", launch.kernel)])
    }

    /// The time of each layer in each pass, the longest first.
    pub fn by_layer(&self) -> String {
        self.grouped(["layer", "pass"], |launch| {
            let layer = match launch.layer.as_str() {
                "" => "-",
                layer => layer,
            };
            [layer.to_owned(), launch.pass.clone()]
        })
    }

    fn grouped<const N: usize>(
        &self,
        names: [&str; N],
        key: impl Fn(&StepLaunchTime) -> [String; N],
    ) -> String {
        let mut groups: Vec<([String; N], Vec<&StepLaunchTime>)> = Vec::new();
        for launch in &self.launches {
            let key = key(launch);
            match groups.iter_mut().find(|(other, _)| *other == key) {
                Some((_, launches)) => launches.push(launch),
                None => groups.push((key, vec![launch])),
            }
        }
        let seconds =
            |launches: &[&StepLaunchTime]| launches.iter().map(|l| l.median_s).sum::<f64>();
        groups.sort_by(|a, b| seconds(&b.1).total_cmp(&seconds(&a.1)));
        let all = self.launches_s();
        let rows = groups.iter().map(|(key, launches)| {
            let seconds = seconds(launches);
            let counts: Option<Counts> = launches.iter().map(|l| l.counts).sum();
            let bound: Option<f64> = launches.iter().map(|l| l.bound_s).sum();
            let rate = |count: fn(&Counts) -> u64| {
                counts.map_or("-".to_owned(), |c| giga_rate(count(&c), seconds))
            };
            let mut row = key.to_vec();
            row.extend([
                launches.len().to_string(),
                micro(seconds),
                format!("{:.1}%", 100.0 * seconds / all),
                rate(Counts::flop),
                rate(|counts| counts.footprint_bytes),
                bound.map_or("-".to_owned(), |bound| {
                    format!("{:.0}%", 100.0 * bound / seconds)
                }),
            ]);
            row
        });
        let mut head = names.to_vec();
        head.extend([
            "launches",
            "microseconds",
            "of all launches",
            "GFLOP/s",
            "GB/s",
            "of the bound",
        ]);
        table(&head, &rows.collect::<Vec<_>>())
    }

    /// A sentence on the whole.
    pub fn summary(&self) -> String {
        format!(
            "One at a time, with empty caches, the {} launches take {:.3} ms; the step as one graph takes {:.3} ms \
             ({:.0} maps/s).\n",
            self.launches.len(),
            1e3 * self.launches_s(),
            1e3 * self.step_s,
            self.batch as f64 / self.step_s
        )
    }
}

/// A kernel's name without the size of its tile or vectors, by which forms of the same kernel differ.
fn family(kernel: &str) -> &str {
    kernel.trim_end_matches(|c: char| c.is_ascii_digit() || c == 'x')
}

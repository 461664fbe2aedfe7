//! A whole training step counted on the emulator, launch by launch.
//!
//! A batch of 64 would take minutes there. Batches of 1 and 2 are run (or the next ones, where these launch other
//! kernels), and the counts extended along a line
//! ([`Counts::at`]): all tensors grow with the batch, and the weights are read once by each block of a
//! number that grows with it. The emulator says to have one multiprocessor, which one map keeps as busy as 64
//! maps keep a real device, so that the kernels are those of the large batch. How the sums of weight gradients
//! are split does not follow the batch, and is known.
//!
//! Two things differ a little from what a real device does. The kernels for few channels take more of a
//! map's tiles per block the more maps there are: what blocks read of weights, and leave and add of partial
//! sums, is less than counted here, of which it is a tenth at most. And a device with more multiprocessors than
//! a launch has large tiles, half of the blocks that they hold, gets smaller tiles: at a batch of 64 an H100 does
//! for one launch of the paper's step. [`super::kernels`] counts kernels as an H100 gets them, at their full batch.

use super::Counts;
use super::counts::line;
use super::outline::{Outline, Pass};
use super::prepared::Prepared;
use super::regression::Counted;
use crate::backend::gpu::driver::DriverError;
use crate::backend::gpu::ops::KernelVersion;
use crate::backend::gpu::ops::half::{few, wgrad};
use crate::backend::gpu::ptx::{self, PtxModule};
use crate::backend::gpu::{Emulated, EmulatedOptions, Gpu, Launched};
use crate::backend::{Backend, BackendError, Precision, View};
use crate::model::{Linear, Network, StridedLayer, discriminator, generator};
use crate::rng::{Philox, Stream};
use crate::train::Config;

/// A launch of the step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepLaunch {
    pub kernel: String,
    /// Its place in [`Outline::operations`].
    pub operation: usize,
    /// Threads of a block.
    pub threads: u32,
    pub counts: Counts,
}

/// A step, counted.
#[derive(Clone, Debug)]
pub struct StepCount {
    pub batch: usize,
    pub launches: Vec<StepLaunch>,
    pub outline: Outline,
    /// Bytes of the arena: what the networks keep, and the step's values.
    pub arena_bytes: u64,
    /// Those of them that the networks keep.
    pub lasting_bytes: u64,
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error("batches of {first} and {next} launch other kernels: {one} and {two} at launch {at}")]
    Differ {
        first: usize,
        next: usize,
        at: usize,
        one: String,
        two: String,
    },
    #[error("the step's losses are not finite")]
    NotFinite,
    #[error("{what}")]
    Unsuitable { what: String },
}

/// Counts the step of `config` at `batch` with the committed kernels. In f32 the launches of the strided layers
/// are left out: [`super::kernels`] counts these.
///
/// # Errors
/// Findings of the emulator; too little memory for two maps.
pub fn count_step(
    config: &Config,
    batch: usize,
    precision: Precision,
) -> Result<StepCount, CountError> {
    count_step_of(ptx::committed(), config, batch, precision)
}

/// The same with other kernels.
///
/// # Errors
/// As [`count_step`].
pub fn count_step_of(
    modules: &[PtxModule],
    config: &Config,
    batch: usize,
    precision: Precision,
) -> Result<StepCount, CountError> {
    let pair = |first| pair(modules, config, first, precision);
    let mut result = pair(1);
    for first in [2, 4, 8] {
        // Few rows may be summed by one block, and more by several and one more launch.
        if let Err(CountError::Differ { .. }) = result {
            result = pair(first);
        }
    }
    let pair = result?;
    let Prepared { players, step } = Prepared::new(config, batch, precision);
    Ok(StepCount {
        batch,
        launches: extend(config, batch, &pair),
        outline: Outline::new(config, &step),
        arena_bytes: 4 * step.program.arena_len() as u64,
        lasting_bytes: 4 * players.end as u64,
    })
}

/// The launches of `first` maps and of one more.
struct Pair {
    first: usize,
    one: Vec<Launched>,
    next: Vec<Launched>,
}

fn pair(
    modules: &[PtxModule],
    config: &Config,
    first: usize,
    precision: Precision,
) -> Result<Pair, CountError> {
    let one = launches(modules, config, first, precision)?;
    let next = launches(modules, config, first + 1, precision)?;
    let differs = |(a, b): (&Launched, &Launched)| a.kernel != b.kernel;
    let differing = one.iter().zip(&next).position(differs);
    if differing.is_none() && one.len() == next.len() {
        return Ok(Pair { first, one, next });
    }
    let at = differing.unwrap_or(one.len().min(next.len()));
    let kernel = |launches: &[Launched]| {
        let launched = launches.get(at);
        launched.map_or("nothing".to_owned(), |launched| launched.kernel.clone())
    };
    Err(CountError::Differ {
        first,
        next: first + 1,
        at,
        one: kernel(&one),
        two: kernel(&next),
    })
}

/// The launches of one step on `batch` maps.
fn launches(
    modules: &[PtxModule],
    config: &Config,
    batch: usize,
    precision: Precision,
) -> Result<Vec<Launched>, CountError> {
    let options = EmulatedOptions {
        multiprocessors: 1,
        ..EmulatedOptions::default()
    };
    let version = match precision {
        Precision::F32 => KernelVersion::V2,
        Precision::Bf16 => KernelVersion::V3,
    };
    let mut gpu = Gpu::new(Emulated::new(options), modules, version)?;
    let prepared = Prepared::new(config, batch, precision);
    if precision == Precision::F32 {
        // What the launches that are left out would write is noise.
        let mut noise = vec![0.0; prepared.step.program.arena_len()];
        Philox::new(2, Stream::Benchmark, 0).fill_normal(&mut noise);
        gpu.reserve(noise.len())?;
        gpu.upload(View::new(0, noise.len()), &noise)?;
        gpu.driver().leave_out(of_strided_layers());
    }
    prepared.upload(&mut gpu, config)?;
    gpu.driver().keep_launches();
    let losses = prepared.run(&mut gpu, 1)?;
    if !losses.iter().all(|loss| loss.is_finite()) {
        return Err(CountError::NotFinite);
    }
    Ok(gpu.driver().launches().to_vec())
}

/// Tells launches of the strided layers, asked for each launch of a step: sums of partial gradients follow
/// the launch that made these.
fn of_strided_layers() -> impl FnMut(&str) -> bool {
    let mut before = false;
    move |kernel| {
        let is = ["fprop", "dgrad", "wgrad"]
            .iter()
            .any(|part| kernel.contains(part));
        before = is || (before && kernel == "sum_partials");
        before
    }
}

/// The strided layers in the order of the backward walk, with the samples of a gradient of theirs at
/// batch 1.
fn walked(config: &Config) -> Vec<(StridedLayer, usize, bool)> {
    let architecture = &config.architecture;
    let layers = |network: Network, samples: usize| {
        let blocks = network.blocks.into_iter().rev();
        blocks.filter_map(move |block| match block.linear {
            Linear::Conv(layer) | Linear::TransposedConv(layer) => {
                Some((layer, samples, 2 * layer.small == architecture.map_size))
            }
            Linear::Dense { .. } => None,
        })
    };
    layers(discriminator(architecture), 2)
        .chain(layers(generator(architecture), 1))
        .collect()
}

/// The launches at `batch`.
fn extend(config: &Config, batch: usize, pair: &Pair) -> Vec<StepLaunch> {
    let first = pair.first;
    let mut gradients = walked(config).into_iter();
    let mut split = None;
    let extended = pair.one.iter().zip(&pair.next).map(|(one, two)| {
        let kernel = one.kernel.as_str();
        let [at_one, at_two] = [one, two].map(|l| Counts::from(&l.counters));
        let mut counts = Counts::at(batch, first, &at_one, &at_two);
        // Partial sums of weight gradients: as many as the sum has parts.
        let is_gradient = kernel.contains("wgrad");
        if is_gradient {
            split = gradients.next();
        }
        if let (Some((layer, samples, few)), true) =
            (&split, is_gradient || kernel == "sum_partials")
        {
            let parts = |batch: usize| match few {
                true => few::wgrad_parts(layer, samples * batch, 1),
                false => wgrad::parts(layer, samples * batch),
            };
            let bytes = |batch: usize| 4 * (layer.weight_len() * parts(batch)) as u64;
            let extended = line(batch, first, bytes(first), bytes(first + 1));
            counts = counts.with_partials(bytes(batch) as i64 - extended as i64);
            if !is_gradient {
                // One addition each, those of the other 15 rows of threads where there are so many parts,
                // and that to what the gradient was.
                let rows = if parts(batch) < 32 { 0 } else { 15 };
                counts.simt_flop = (layer.weight_len() * (parts(batch) + rows + 1)) as u64;
                split = None;
            }
        }
        StepLaunch {
            kernel: kernel.to_owned(),
            operation: one.operation,
            threads: one.geometry.block.iter().product(),
            counts,
        }
    });
    extended.collect()
}

impl StepCount {
    /// What a launch is for.
    pub fn pass(&self, launch: &StepLaunch) -> Pass {
        self.outline.pass(launch.operation, &launch.kernel)
    }

    /// The name of the layer that a launch belongs to, such as `discriminator c1`; none for what belongs to
    /// no layer.
    pub fn layer(&self, launch: &StepLaunch) -> Option<String> {
        self.outline.layer(launch.operation)
    }

    /// The sum over all launches.
    pub fn total(&self) -> Counts {
        self.launches.iter().map(|launch| launch.counts).sum()
    }

    /// Kernels and counts in order, to be compared ([`super::regression`]).
    pub fn counted(&self) -> Vec<Counted> {
        let launches = self.launches.iter();
        launches.map(|l| (l.kernel.clone(), l.counts)).collect()
    }
}

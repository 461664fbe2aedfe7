//! A whole training step counted on the emulator, launch by launch.
//!
//! A batch of 64 would take minutes there. Batches of 1 and 2 are run (or the next ones, where these launch other
//! kernels than the large batch does), and the counts extended along a line
//! ([`Counts::at`]): all tensors grow with the batch, and the weights are read once by each block of a
//! number that grows with it. The emulator says to have one multiprocessor, which one map keeps as busy as 64
//! maps keep a real device, so that the kernels are those of the large batch: the step is planned at that batch as
//! well, and must launch the same. How the sums of weight gradients are split does not follow the batch, and is
//! known. Launches that merge what others left in parts are run as the large batch makes them.
//!
//! Three things differ a little from what a real device does. The kernels for few channels take more of a
//! map's tiles per block the more maps there are: what blocks read of weights, and leave and add of partial
//! sums, is less than counted here, of which it is a tenth at most. Passes over columns are cut into some thousand
//! chunks at most: what they leave of each is less than counted here, of which it is a fiftieth at most. And a
//! device with more multiprocessors than a launch has large tiles, half of the blocks that they hold, gets smaller
//! tiles: at a batch of 64 an H100 does for one launch of the paper's step. [`super::kernels`] counts kernels as an H100 gets them, at their full batch.

use super::Counts;
use super::counts::line;
use super::outline::{Outline, Pass};
use super::prepared::Prepared;
use super::regression::Counted;
use crate::backend::gpu::driver::{Driver, DriverError};
use crate::backend::gpu::launcher::LoggedLaunch;
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
    #[error(
        "a batch of {batch} launches other kernels than the one to be counted: {small} where that has {large}, at \
         launch {at}"
    )]
    Differ {
        batch: usize,
        at: usize,
        small: String,
        large: String,
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
    let Prepared { players, step } = &Prepared::new(config, batch, precision);
    let mut gpu = gpu(modules, precision)?;
    let planned = planned(&mut gpu, config, batch)?;
    let mut result = pair(modules, config, 1, precision, &planned);
    // The last of these is the batch itself.
    for first in [2, 4, 8, 16, batch.max(2) - 1] {
        // Small batches may have smaller tiles.
        if let Err(CountError::Differ { .. }) = result {
            result = pair(modules, config, first, precision, &planned);
        }
    }
    Ok(StepCount {
        batch,
        launches: extend(config, batch, (&mut gpu, players.end), &planned, &result?)?,
        outline: Outline::new(config, step),
        arena_bytes: 4 * step.program.arena_len() as u64,
        lasting_bytes: 4 * players.end as u64,
    })
}

/// Whether a kernel merges what another left in parts. These are short, how many there are does not follow the
/// batch, and so they are run at their full size.
fn merges(kernel: &str) -> bool {
    kernel.ends_with("_merge") || ["sum_partials", "half_slices"].contains(&kernel)
}

/// The launches of `first` maps and of one more that merge nothing.
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
    planned: &[LoggedLaunch],
) -> Result<Pair, CountError> {
    let of = |batch: usize| {
        let mut launched = launches(modules, config, batch, precision)?;
        launched.retain(|launch| !merges(&launch.kernel));
        same_kernels(batch, &launched, planned)?;
        Ok::<_, CountError>(launched)
    };
    Ok(Pair {
        first,
        one: of(first)?,
        next: of(first + 1)?,
    })
}

/// Refuses launches at a batch that are not those of the planned batch.
fn same_kernels(
    batch: usize,
    launched: &[Launched],
    planned: &[LoggedLaunch],
) -> Result<(), CountError> {
    let mut small = launched.iter().map(|launch| launch.kernel.as_str());
    let mut large = planned.iter().map(|launch| launch.kernel);
    let mut large = large.by_ref().filter(|kernel| !merges(kernel));
    for at in 0.. {
        let (small, large) = (small.next(), large.next());
        if small != large {
            let kernel = |kernel: Option<&str>| kernel.unwrap_or("nothing").to_owned();
            return Err(CountError::Differ {
                batch,
                at,
                small: kernel(small),
                large: kernel(large),
            });
        }
        if small.is_none() {
            break;
        }
    }
    Ok(())
}

/// The launches of a step on `batch` maps, without those that are left out.
fn planned(
    gpu: &mut Gpu<Emulated>,
    config: &Config,
    batch: usize,
) -> Result<Vec<LoggedLaunch>, CountError> {
    let precision = gpu.precision();
    let prepared = Prepared::new(config, batch, precision);
    gpu.reserve(prepared.step.program.arena_len())?;
    let mut planned = gpu.planned(|gpu| prepared.start(gpu, 1))?;
    if precision == Precision::F32 {
        let mut is_left_out = of_strided_layers();
        planned.retain(|launch| !is_left_out(launch.kernel));
    }
    Ok(planned)
}

/// The emulator that steps are counted on.
fn gpu(modules: &[PtxModule], precision: Precision) -> Result<Gpu<Emulated>, DriverError> {
    let options = EmulatedOptions {
        multiprocessors: 1,
        ..EmulatedOptions::default()
    };
    let version = match precision {
        Precision::F32 => KernelVersion::V2,
        Precision::Bf16 => KernelVersion::V3,
    };
    Gpu::new(Emulated::new(options), modules, version)
}

/// The launches of one step on `batch` maps.
fn launches(
    modules: &[PtxModule],
    config: &Config,
    batch: usize,
    precision: Precision,
) -> Result<Vec<Launched>, CountError> {
    let mut gpu = gpu(modules, precision)?;
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

/// The launches at `batch`: those that merge run on `gpu`, the others extended from smaller batches.
fn extend(
    config: &Config,
    batch: usize,
    (gpu, lasting): (&mut Gpu<Emulated>, usize),
    planned: &[LoggedLaunch],
    pair: &Pair,
) -> Result<Vec<StepLaunch>, CountError> {
    let first = pair.first;
    let mut gradients = walked(config).into_iter();
    let mut extended = pair.one.iter().zip(&pair.next).map(|(one, two)| {
        let [at_one, at_two] = [one, two].map(|l| Counts::from(&l.counters));
        let counts = Counts::at(batch, first, &at_one, &at_two);
        let gradient = match one.kernel.contains("wgrad") {
            true => gradients.next(),
            false => None,
        };
        let Some((layer, samples, few)) = gradient else {
            return counts;
        };
        // Partial sums of weight gradients: as many as the sum has parts.
        let parts = |batch: usize| match few {
            true => few::wgrad_parts(&layer, samples * batch, 1),
            false => wgrad::parts(&layer, samples * batch),
        };
        let bytes = |batch: usize| 4 * (layer.weight_len() * parts(batch)) as u64;
        let extended = line(batch, first, bytes(first), bytes(first + 1));
        counts.with_partials(bytes(batch) as i64 - extended as i64)
    });
    fill(gpu, lasting)?;
    gpu.driver().keep_launches();
    let counts = planned.iter().map(|launch| {
        if merges(launch.kernel) {
            return run(gpu, launch);
        }
        Ok(extended
            .next()
            .expect("the launches of the pair are the planned ones"))
    });
    let counts = counts.collect::<Result<Vec<Counts>, CountError>>()?;
    let launches = planned.iter().zip(counts);
    let launches = launches.map(|(launch, counts)| StepLaunch {
        kernel: launch.kernel.to_owned(),
        operation: launch.operation,
        threads: launch.geometry.block.iter().product(),
        counts,
    });
    Ok(launches.collect())
}

/// Writes ones to what launches that merge read: parts, which would be passed over if they were of no samples, and
/// the `lasting` first values of the arena, which the networks keep.
fn fill(gpu: &mut Gpu<Emulated>, lasting: usize) -> Result<(), CountError> {
    gpu.upload(View::new(0, lasting), &vec![1.0; lasting])?;
    for room in gpu.launcher().rooms() {
        let ones = vec![1.0f32; room.bytes / 4];
        gpu.driver()
            .write(room.address, bytemuck::cast_slice(&ones))?;
    }
    Ok(())
}

/// Runs one launch on whatever lies in the memory, and counts it.
fn run(gpu: &mut Gpu<Emulated>, launch: &LoggedLaunch) -> Result<Counts, CountError> {
    gpu.driver().clear_log();
    gpu.launcher().launch_again(launch)?;
    gpu.driver().synchronize()?;
    let launched = gpu.driver().launches().iter();
    Ok(launched.map(|launch| Counts::from(&launch.counters)).sum())
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

//! `cosmogan bench step` and `generate`: how fast a training step or the generator is here.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::cli::device::{Selected, Work, with_batch_advice};
use crate::cli::options::{BaseArgs, DeviceArgs, NetworkArgs};
use crate::cli::say;
use cosmogan::backend::{Backend, BackendError, Cpu};
use cosmogan::files::write_atomic;
use cosmogan::model::cost::{StepShape, step_flop};
use cosmogan::model::{Architecture, WhichNetwork, generator, initial_parameters, initial_running};
use cosmogan::performance::timing::median;
use cosmogan::rng::{Philox, Stream};
use cosmogan::train::{
    Config, DenseKernels, KernelVersion, LoadedGenerator, Precision, Trainer, UpdateOrder, Weights,
    arena_len, generator_arena_len, latents,
};

/// Options of both.
#[derive(Args, Debug)]
pub struct SpeedArgs {
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    network: NetworkArgs,
    /// Maps in a batch [default: the preset's]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Steps (or batches) that are measured, after a few to warm up
    #[arg(long, value_name = "K", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Also write the result to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A whole training step
    Step,
    /// The generator's forward pass with running statistics
    Generate,
}

/// A valid measurement.
#[derive(Debug)]
pub struct BenchPlan {
    pub what: What,
    /// Architecture, step, batch and device are what counts.
    pub config: Config,
    pub steps: u32,
    pub json: Option<PathBuf>,
}

impl BenchPlan {
    /// Floating-point operations of a step's linear layers.
    pub fn flop(&self) -> u64 {
        let Config {
            architecture, step, ..
        } = &self.config;
        let shape = match step.update {
            UpdateOrder::Simultaneous => StepShape::Simultaneous,
            UpdateOrder::Alternating => StepShape::Alternating {
                fresh_latent: step.fresh_latent,
            },
        };
        step_flop(architecture, self.config.run.batch, shape)
    }
}

impl SpeedArgs {
    /// The measurement that these arguments ask for.
    ///
    /// # Errors
    /// A value out of range.
    pub fn plan(&self, what: What) -> Result<BenchPlan> {
        let preset = self.base.preset.unwrap_or(cosmogan::model::Preset::Demo);
        let mut config = Config::of_preset(preset, self.base.convention);
        self.network.apply(&mut config.architecture);
        config.run.batch = self.batch.unwrap_or(config.run.batch);
        config.run.device = self.device.device;
        config.run.precision = self.device.precision;
        config.run.kernels = self.device.kernels;
        config.run.dense = self.device.dense;
        config.validate()?;
        Ok(BenchPlan {
            what,
            config,
            steps: self.steps,
            json: self.json.clone(),
        })
    }
}

/// Measures it.
pub fn run(what: What, arguments: &SpeedArgs) -> Result<()> {
    let plan = arguments.plan(what)?;
    let architecture = &plan.config.architecture;
    let (size, base, batch) = (
        architecture.map_size,
        architecture.base_filters,
        plan.config.run.batch,
    );
    let run = &plan.config.run;
    let device = Selected::new(run.device, run.arithmetic())?;
    say(&format!(
        "{}: {size}x{size} maps, {base} base filters, batch {batch}, {}, {}",
        match plan.what {
            What::Step => "training step",
            What::Generate => "generator",
        },
        device.arithmetic().describe(),
        device.describe(),
    ));
    let (seconds, flop) = measure(&device, &plan).map_err(|error| {
        with_batch_advice(error, batch, |batch| match plan.what {
            What::Step => arena_len(&plan.config, batch, device.precision()),
            What::Generate => generator_arena_len(architecture, batch, device.precision()),
        })
    })?;
    let report = report(&plan, &device, seconds, flop);
    say(&format!(
        "median {:.4} s of {} ({:.4} to {:.4}), {:.1} maps/s, {:.1} GFLOP/s",
        report.median_s,
        plan.steps,
        report.min_s,
        report.max_s,
        batch as f64 / report.median_s,
        report.gflop_s,
    ));
    if let Some(path) = &plan.json {
        write_atomic(path, |file| {
            serde_json::to_writer_pretty(&mut *file, &report)?;
            writeln!(file)
        })
        .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Seconds of each repetition, and the floating-point operations of one.
///
/// # Errors
/// What goes wrong on the device.
pub fn measure(device: &Selected, plan: &BenchPlan) -> Result<(Vec<f64>, u64)> {
    device.run(Measurement { plan })
}

/// The same on the CPU, on the threads of the pool that this is called in.
///
/// # Errors
/// Too little memory.
pub fn measure_on_cpu(plan: &BenchPlan) -> Result<(Vec<f64>, u64)> {
    Measurement { plan }.on(|| Ok(Cpu::<f32>::new()))
}

/// The measurement, on whichever device serves.
struct Measurement<'a> {
    plan: &'a BenchPlan,
}

impl Work for Measurement<'_> {
    /// Seconds of each repetition, and the FLOP of one.
    type Output = (Vec<f64>, u64);

    fn on<B: Backend>(self, backend: impl Fn() -> Result<B, BackendError>) -> Result<Self::Output> {
        match self.plan.what {
            What::Step => time_steps(self.plan, backend()?),
            What::Generate => time_batches(self.plan, backend()?),
        }
    }
}

/// What is printed and written. The keys that do not belong to what was measured are left out.
#[derive(Serialize)]
struct Report<'a> {
    architecture: &'a Architecture,
    batch: usize,
    device: String,
    /// Generation of the GPU's convolution kernels.
    #[serde(skip_serializing_if = "Option::is_none")]
    kernels: Option<KernelVersion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dense: Option<DenseKernels>,
    precision: Precision,
    threads: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    step_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    train_maps_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generate_maps_s: Option<f64>,
    median_s: f64,
    min_s: f64,
    max_s: f64,
    /// Floating-point operations of one step or batch.
    flop: u64,
    gflop_s: f64,
    all_s: Vec<f64>,
}

fn report<'a>(plan: &'a BenchPlan, device: &Selected, all_s: Vec<f64>, flop: u64) -> Report<'a> {
    let median_s = median(&all_s);
    let batch = plan.config.run.batch;
    let rate = batch as f64 / median_s;
    let step = plan.what == What::Step;
    Report {
        architecture: &plan.config.architecture,
        batch,
        device: device.name(),
        kernels: (!device.is_cpu()).then_some(device.arithmetic().kernels),
        dense: (!device.is_cpu()).then_some(plan.config.run.dense),
        precision: device.precision(),
        threads: rayon::current_num_threads(),
        step_s: step.then_some(median_s),
        train_maps_s: step.then_some(rate),
        generate_maps_s: (!step).then_some(rate),
        median_s,
        min_s: all_s.iter().copied().fold(f64::INFINITY, f64::min),
        max_s: all_s.iter().copied().fold(0.0, f64::max),
        flop,
        gflop_s: flop as f64 / median_s / 1e9,
        all_s,
    }
}

/// Seconds of each of `count` calls of `work`, after two to warm up.
fn time(count: u32, mut work: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    const WARM_UP: u32 = 2;
    let mut seconds = Vec::with_capacity(count as usize);
    for call in 0..WARM_UP + count {
        let started = Instant::now();
        work()?;
        if call >= WARM_UP {
            seconds.push(started.elapsed().as_secs_f64());
        }
    }
    Ok(seconds)
}

/// Whole training steps on random maps; their FLOP.
fn time_steps<B: Backend>(plan: &BenchPlan, backend: B) -> Result<(Vec<f64>, u64)> {
    let config = &plan.config;
    let batch = config.run.batch;
    let mut real = vec![0.0; batch * config.architecture.map_len()];
    Philox::new(config.run.seed, Stream::Benchmark, 0).fill_normal(&mut real);
    real.iter_mut().for_each(|pixel| *pixel = pixel.tanh());
    let mut trainer = Trainer::new(backend, config)?;
    let seconds = time(plan.steps, || {
        let losses = trainer.train(&real, 0.0)?;
        ensure!(losses.are_finite(), "the losses became {losses:?}");
        Ok(())
    })?;
    Ok((seconds, plan.flop()))
}

/// Batches of the generator with running statistics; their FLOP.
fn time_batches<B: Backend>(plan: &BenchPlan, backend: B) -> Result<(Vec<f64>, u64)> {
    let (config, batch) = (&plan.config, plan.config.run.batch);
    let architecture = &config.architecture;
    let network = generator(architecture);
    let how = config.step.initialisation;
    let seed = config.run.seed;
    let weights = Weights {
        parameters: initial_parameters(&network, how, seed, WhichNetwork::Generator),
        running: initial_running(&network),
    };
    let mut loaded = LoadedGenerator::new(backend, architecture, &weights, batch)?;
    let latents = latents(seed, Stream::Benchmark, 0, batch, architecture.latent);
    let mut maps = vec![0.0; batch * architecture.map_len()];
    let seconds = time(plan.steps, || {
        loaded
            .sampler
            .run(&mut loaded.backend, &latents, &mut maps)?;
        Ok(())
    })?;
    let flop = network
        .blocks
        .iter()
        .map(|block| block.linear.flop())
        .sum::<u64>();
    Ok((seconds, batch as u64 * flop))
}

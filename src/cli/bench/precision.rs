//! `cosmogan bench precision`: how far training in bf16 strays from training in f32, beside how far
//! f32 strays from itself.
//!
//! Adversarial training is chaotic: two runs in f32 from weights that differ by little part as well.
//! So each seed trains three times, in f32, in f32 from perturbed weights, and in bf16, on the same
//! maps and latent vectors; what counts is the gap between bf16 and f32 beside that of the two in f32.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::gap::{
    Gap, Kind, Trained, first_step, gap, gap_line, judge, line, of_trial, score_lines,
};
use super::write_json;
use crate::cli::device::{SelectError, Selected, Work, with_batch_advice};
use crate::cli::options::{BaseArgs, DataArgs, NetworkArgs, StepArgs};
use crate::cli::progress::CountBar;
use crate::cli::{say, warn};
use cosmogan::backend::gpu::ops::half;
use cosmogan::backend::{Backend, BackendError};
use cosmogan::train::{
    ArithmeticChoice, Config, Dataset, DeviceChoice, OpeningWork, PrecisionChoice, Trial, Tried,
    arena_len, resolve,
};

/// Train in f32, in f32 from slightly other weights, and in bf16, and compare
///
/// For each seed the three see the same maps and latent vectors. Reported are how far apart their
/// losses are, as means over the steps, and how the averaged generators' maps score on validation maps
/// at the end. Where the device has no bf16, only the two in f32 are trained. The exit status is 1 if
/// bf16 is more than 3 times as far from f32 as f32 is from itself, or its losses of the first step
/// differ by more than 0.5%.
#[derive(Args, Debug)]
pub struct PrecisionArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    step: StepArgs,
    /// Maps in a batch [default: the preset's]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Steps of each training
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Trainings of each kind, each with a seed of its own
    #[arg(long, value_name = "K", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    seeds: u32,
    /// The first of the seeds
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u32,
    /// Relative standard deviation of the perturbed weights from the others; rounding to bf16 moves
    /// numbers by about 0.001
    #[arg(long, value_name = "P", default_value_t = 0.001, value_parser = perturbation)]
    perturbation: f64,
    /// Maps that are scored at the end [default: the preset's]
    #[arg(long, value_name = "N")]
    validation_maps: Option<usize>,
    /// Where to compute: auto (a CUDA GPU if one is usable, else the CPU), cpu, cuda, cuda:N, or
    /// emulator (the GPU's kernels on the CPU, for tests: very slow)
    #[arg(long, value_name = "NAME", default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Also write all losses and scores to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn perturbation(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    match number > 0.0 && number <= 0.1 {
        true => Ok(number),
        false => Err("it must be above 0 and up to 0.1".to_owned()),
    }
}

/// All that is written.
#[derive(Serialize)]
struct Report<'a> {
    config: &'a Config,
    device: String,
    steps: u32,
    perturbation: f64,
    d_loss: Gap,
    g_loss: Gap,
    /// The largest share by which a loss of the first step differs between bf16 and f32.
    first_step: Option<f64>,
    trained: &'a [Trained],
}

impl PrecisionArgs {
    fn config(&self, seed: u64) -> Result<Config> {
        self.step.check()?;
        let mut config = resolve::load(self.base.preset, self.base.convention, None)?;
        self.network.apply(&mut config.architecture);
        self.step.apply(&mut config.step);
        let data = self.data.apply(&mut config.data);
        data.context("cannot make the paths of data.paths absolute")?;
        let run = &mut config.run;
        run.seed = seed;
        run.device = self.device;
        run.batch = self.batch.unwrap_or(run.batch);
        run.validation_maps = self.validation_maps.unwrap_or(run.validation_maps);
        (run.steps, run.epochs) = (Some(u64::from(self.steps)), None);
        config.validate()?;
        Ok(config)
    }

    fn device(&self, precision: PrecisionChoice) -> Result<Selected, SelectError> {
        let arithmetic = ArithmeticChoice {
            precision,
            ..ArithmeticChoice::default()
        };
        Selected::new(self.device, arithmetic)
    }
}

/// Runs the command.
pub fn run(arguments: &PrecisionArgs) -> Result<()> {
    let first = u64::from(arguments.seed);
    let config = arguments.config(first)?;
    let exact = arguments.device(PrecisionChoice::F32)?;
    let half = half_device(arguments)?;
    let architecture = &config.architecture;
    say(&format!(
        "{size}x{size} maps, {} base filters, batch {}, {} steps, {} seed(s), on {}",
        architecture.base_filters,
        config.run.batch,
        arguments.steps,
        arguments.seeds,
        exact.describe(),
        size = architecture.map_size,
    ));
    let half = match half {
        Ok(half) => Some(half),
        Err(_) => {
            let (major, minor) = half::CAPABILITY;
            say(&format!(
                "bf16 is left out: it needs compute capability {major}.{minor}"
            ));
            None
        }
    };
    let mut trained = Vec::new();
    for seed in first..first + u64::from(arguments.seeds) {
        let config = arguments.config(seed)?;
        let dataset = open(&config, seed == first)?;
        let mut kinds = vec![(Kind::F32, &exact, 0.0)];
        kinds.push((Kind::F32Perturbed, &exact, arguments.perturbation));
        kinds.extend(half.as_ref().map(|half| (Kind::Bf16, half, 0.0)));
        for (kind, device, perturbation) in kinds {
            let trial = Trial {
                config: &config,
                dataset: &dataset,
                steps: u64::from(arguments.steps),
                perturbation,
            };
            let tried = tried(device, trial)?;
            let done = of_trial(seed, kind, tried);
            say(&line(&done));
            trained.push(done);
        }
    }
    let (d_loss, g_loss) = (gap(&trained, |t| &t.d_loss), gap(&trained, |t| &t.g_loss));
    for (name, gap) in [("D", d_loss), ("G", g_loss)] {
        say(&gap_line(name, &gap));
    }
    let first_step = first_step(&trained);
    if let Some(share) = first_step {
        say(&format!(
            "the losses of the first step in bf16 are within {:.3}% of those in f32",
            100.0 * share
        ));
        score_lines(&trained).iter().for_each(|line| say(line));
    }
    let report = Report {
        config: &config,
        device: exact.name(),
        steps: arguments.steps,
        perturbation: arguments.perturbation,
        d_loss,
        g_loss,
        first_step,
        trained: &trained,
    };
    write_json(arguments.json.as_deref(), &report)?;
    judge(&trained, &[d_loss, g_loss], first_step)
}

/// The device in bf16, or why it has none.
fn half_device(arguments: &PrecisionArgs) -> Result<Result<Selected, SelectError>> {
    match arguments.device(PrecisionChoice::Bf16) {
        Err(SelectError::Driver(error)) => Err(error.into()),
        device => Ok(device),
    }
}

/// The maps of `config`, with what is to be said of them if `aloud`.
pub fn open(config: &Config, aloud: bool) -> Result<Dataset> {
    let making = CountBar::new("making synthetic maps");
    let checking = CountBar::new("checking maps");
    let progress = |work, done, total| match work {
        OpeningWork::Making => making.show(done, total),
        OpeningWork::Checking => checking.show(done, total),
    };
    let dataset = Dataset::open(config, None, &progress)?;
    making.finish();
    checking.finish();
    if aloud {
        say(&format!("maps: {}", dataset.description.source));
        for warning in &dataset.warnings {
            warn(&format!("warning: {warning}"));
        }
    }
    Ok(dataset)
}

/// A training, on whichever device serves.
struct Trying<'a>(Trial<'a>);

impl Work for Trying<'_> {
    type Output = Tried;

    fn on<B: Backend>(self, backend: impl Fn() -> Result<B, BackendError>) -> Result<Tried> {
        let bar = CountBar::new("training");
        let total = self.0.steps as usize;
        let mut progress = |done: u64| bar.show(done as usize, total);
        let tried = self.0.run(backend()?, &mut progress)?;
        bar.finish();
        Ok(tried)
    }
}

fn tried(device: &Selected, trial: Trial) -> Result<Tried> {
    let config = trial.config;
    device.run(Trying(trial)).map_err(|error| {
        with_batch_advice(error, config.run.batch, |batch| {
            arena_len(config, batch, device.precision())
        })
    })
}

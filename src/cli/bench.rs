//! `cosmogan bench`: how fast a training step or the generator is here.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use super::options::{BaseArgs, NetworkArgs};
use super::parse::named;
use cosmogan::train::{Config, DeviceChoice};

/// Measure the speed of a training step or of the generator
///
/// Runs on random data with random weights, and reports the median time and its spread, maps per
/// second, and the rate of floating-point operations.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// What to measure
    #[arg(value_enum)]
    what: What,
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    network: NetworkArgs,
    /// Maps in a batch [default: the preset's]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Where to compute; auto takes a GPU if there is a usable one
    #[arg(long, value_name = "NAME", default_value = "auto",
          value_parser = named::<DeviceChoice>(&["auto", "cpu"]))]
    device: DeviceChoice,
    /// Steps (or batches) that are measured, after a few to warm up
    #[arg(long, value_name = "K", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Also write the result to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
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

impl BenchArgs {
    /// The measurement that these arguments ask for.
    ///
    /// # Errors
    /// A value out of range.
    pub fn plan(&self) -> Result<BenchPlan> {
        let preset = self.base.preset.unwrap_or(cosmogan::model::Preset::Demo);
        let mut config = Config::of_preset(preset, self.base.convention);
        self.network.apply(&mut config.architecture);
        config.run.batch = self.batch.unwrap_or(config.run.batch);
        config.run.device = self.device;
        config.validate()?;
        Ok(BenchPlan {
            what: self.what,
            config,
            steps: self.steps,
            json: self.json.clone(),
        })
    }
}

/// Runs the command.
pub fn run(arguments: &BenchArgs) -> Result<()> {
    let plan = arguments.plan()?;
    let BenchPlan {
        what,
        config,
        steps,
        json,
    } = plan;
    bail!(
        "{steps} of {what:?} for {} are well described (JSON to {json:?}), but this build cannot \
         measure yet",
        config.preset
    )
}

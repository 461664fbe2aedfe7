//! `cosmogan bench`: how fast and how exact training is here.

mod fit;
mod gap;
mod precision;
mod scaling;
mod speed;

use anyhow::Result;
use clap::{Args, Subcommand};

use precision::PrecisionArgs;
use scaling::ScalingArgs;
use speed::{SpeedArgs, What};

/// Measure the speed of a training step or of the generator, or what bf16 does to training
#[derive(Args, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Debug, Subcommand)]
enum Measurement {
    /// Time whole training steps
    ///
    /// Runs on random data with random weights, and reports the median time and its spread, maps per
    /// second, and the rate of floating-point operations.
    Step(SpeedArgs),
    /// Time the generator's forward pass with running statistics
    ///
    /// Runs with random weights, and reports the median time and its spread, maps per second, and
    /// the rate of floating-point operations.
    Generate(SpeedArgs),
    Precision(Box<PrecisionArgs>),
    Scaling(Box<ScalingArgs>),
}

/// Runs the command.
pub fn run(arguments: &BenchArgs) -> Result<()> {
    match &arguments.measurement {
        Measurement::Step(arguments) => speed::run(What::Step, arguments),
        Measurement::Generate(arguments) => speed::run(What::Generate, arguments),
        Measurement::Precision(arguments) => precision::run(arguments),
        Measurement::Scaling(arguments) => scaling::run(arguments),
    }
}

//! `cosmogan bench`: how fast and how exact training is here, and what its kernels do.

mod account;
mod data;
mod fit;
mod gap;
mod kernels;
mod machine;
mod precision;
mod profile;
mod scaling;
mod speed;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::Serialize;

use cosmogan::files::write_atomic;

use account::{AccountArgs, ReportArgs};
use data::DataBenchArgs;
use kernels::KernelsArgs;
use machine::machine;
use precision::PrecisionArgs;
use profile::ProfileArgs;
use scaling::ScalingArgs;
use speed::{SpeedArgs, What};

/// Measure a training step, the generator or the kernels, count what they do, or see what bf16 does to training
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
    Data(Box<DataBenchArgs>),
    Precision(Box<PrecisionArgs>),
    Scaling(Box<ScalingArgs>),
    Profile(ProfileArgs),
    Kernels(KernelsArgs),
    Account(AccountArgs),
    Report(ReportArgs),
}

/// Writes a result as JSON, where a file is asked for.
///
/// # Errors
/// The file cannot be written.
fn write_json(path: Option<&Path>, result: &impl Serialize) -> Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    write_atomic(path, |file| {
        serde_json::to_writer_pretty(&mut *file, result)?;
        writeln!(file)
    })
    .with_context(|| format!("cannot write {}", path.display()))
}

/// Runs the command.
pub fn run(arguments: &BenchArgs) -> Result<()> {
    match &arguments.measurement {
        Measurement::Step(arguments) => speed::run(What::Step, arguments),
        Measurement::Generate(arguments) => speed::run(What::Generate, arguments),
        Measurement::Data(arguments) => data::run(arguments),
        Measurement::Precision(arguments) => precision::run(arguments),
        Measurement::Scaling(arguments) => scaling::run(arguments),
        Measurement::Profile(arguments) => profile::run(arguments),
        Measurement::Kernels(arguments) => kernels::run(arguments),
        Measurement::Account(arguments) => account::run(arguments),
        Measurement::Report(arguments) => account::report(arguments),
    }
}

//! The command line: one file a subcommand, each an argument struct and a `run`.

mod bench;
mod check;
mod device;
mod emulate;
mod evaluate;
mod generate;
mod info;
mod interpolate;
mod options;
mod parse;
mod progress;
mod stats;
mod stats_file;
mod synthesize;
mod train;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Trains, runs and judges the CosmoGAN networks.
///
/// A CosmoGAN is a deep convolutional GAN that emulates weak-lensing convergence maps (Mustafa et
/// al. 2019, arXiv:1706.02390). Train one on your own maps or on built-in synthetic ones, on a GPU
/// or a laptop's CPU, and generate as many new maps as you like.
#[derive(Debug, Parser)]
#[command(name = "cosmogan", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  cosmogan train                                   a small network, synthetic maps, minutes
  cosmogan train --preset paper-256 --data maps/   the paper's network on your maps
  cosmogan train --resume runs/demo --steps 5000   go on where a run stopped
  cosmogan generate --checkpoint runs/demo --count 1000 --out maps.npy
  cosmogan evaluate --checkpoint runs/demo --real held-out/ --out report
  cosmogan synthesize --count 100 --out maps.npy   random maps of a cosmology
  cosmogan stats maps.npy --angle 3.5 --out s.npz  power spectra, peaks and more of every map
  cosmogan info --preset paper-256                 layers, parameters, cost of a step

`cosmogan <COMMAND> --help` lists the options of a command.";

#[derive(Debug, Subcommand)]
enum Command {
    Train(Box<train::TrainArgs>),
    Generate(generate::GenerateArgs),
    Evaluate(Box<evaluate::EvaluateArgs>),
    Interpolate(interpolate::InterpolateArgs),
    Synthesize(synthesize::SynthesizeArgs),
    Stats(stats::StatsArgs),
    Info(info::InfoArgs),
    Bench(bench::BenchArgs),
    Check(check::CheckArgs),
    Emulate(Box<emulate::EmulateArgs>),
}

/// Runs the program and returns its exit status: 0, 1 for an error, 2 for wrong usage.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Some(Command::Train(arguments)) => train::run(&arguments),
        Some(Command::Generate(arguments)) => generate::run(&arguments),
        Some(Command::Evaluate(arguments)) => evaluate::run(&arguments),
        Some(Command::Interpolate(arguments)) => interpolate::run(&arguments),
        Some(Command::Synthesize(arguments)) => synthesize::run(&arguments),
        Some(Command::Stats(arguments)) => stats::run(&arguments),
        Some(Command::Info(arguments)) => info::run(&arguments),
        Some(Command::Bench(arguments)) => bench::run(&arguments),
        Some(Command::Check(arguments)) => check::run(&arguments),
        Some(Command::Emulate(arguments)) => emulate::run(&arguments),
        None => print_help(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has seen enough (`cosmogan info | head -1`).
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", paragraph(&error).trim_end());
            ExitCode::FAILURE
        }
    }
}

fn print_help() -> anyhow::Result<()> {
    let help = Cli::command().render_help();
    write!(io::stdout(), "{help}")?;
    Ok(())
}

/// Prints a line. A reader that has gone is no reason to stop a run.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints a line to standard error, for what must not be overlooked.
fn warn(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// The files of a set of maps in one phrase.
fn names_of(files: &[PathBuf]) -> String {
    match files {
        [] => String::new(),
        [only] => only.display().to_string(),
        [first, .., last] => format!("{} to {}", first.display(), last.display()),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io_errors = error.chain().filter_map(|e| e.downcast_ref::<io::Error>());
    io_errors
        .into_iter()
        .any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// The error and its causes in one paragraph. A cause that the text before it already tells is
/// left out: many errors quote theirs.
fn paragraph(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_errors_causes_are_told_once() {
        let inner = anyhow::anyhow!("disk full").context("cannot write a.npy: disk full");
        let error = inner.context("the maps are lost");
        assert_eq!(
            paragraph(&error),
            "the maps are lost: cannot write a.npy: disk full"
        );
    }
}

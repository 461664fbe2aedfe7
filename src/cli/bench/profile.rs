//! `cosmogan bench profile`: where the time of a training step on this CPU goes.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::write_json;
use crate::cli::options::{BaseArgs, NetworkArgs};
use crate::cli::say;
use cosmogan::model::Preset;
use cosmogan::performance::cpu::{CpuProfile, ceilings, parts};
use cosmogan::train::Config;

/// Take a training step on this CPU apart: time, operations and bytes of each layer and pass
///
/// Beside what this CPU reaches in matrix products and in copies, measured in the same run.
#[derive(Args, Debug)]
pub struct ProfileArgs {
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    network: NetworkArgs,
    /// Maps in a batch [default: the preset's]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Steps that are measured, after one to warm up; the least time of each part counts
    #[arg(long, value_name = "K", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Also write the result to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Measures and shows it.
///
/// # Errors
/// Sizes out of range, too little memory, a file that cannot be written.
pub fn run(arguments: &ProfileArgs) -> Result<()> {
    let preset = arguments.base.preset.unwrap_or(Preset::Demo);
    let mut config = Config::of_preset(preset, arguments.base.convention);
    arguments.network.apply(&mut config.architecture);
    config.run.batch = arguments.batch.unwrap_or(config.run.batch);
    config.validate()?;
    let architecture = &config.architecture;
    let before = ceilings();
    let parts = parts(&config, u64::from(arguments.steps))?;
    let profile = CpuProfile {
        machine: super::machine(),
        size: architecture.map_size,
        base: architecture.base_filters,
        batch: config.run.batch,
        ceilings: before.or_better(ceilings()),
        parts,
    };
    say(&format!(
        "training step: {0}x{0} maps, {1} base filters, batch {2}, {3}\n\n{4}",
        profile.size,
        profile.base,
        profile.batch,
        profile.machine,
        profile.table()
    ));
    write_json(arguments.json.as_deref(), &profile)
}

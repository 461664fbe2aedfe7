//! `cosmogan bench data`: how fast batches of training maps are made.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::machine::machine;
use super::precision::open;
use super::write_json;
use crate::cli::options::{BaseArgs, DataArgs, NetworkArgs};
use crate::cli::say;
use cosmogan::data::Prefetch;
use cosmogan::performance::timing::median;
use cosmogan::train::resolve;

/// Batches before those that count.
const WARM_UP: u64 = 2;

/// Time the making of training batches: reading, cropping, turning, transforming
///
/// On the one thread that makes them ahead while a step is computed. A step that takes longer than a batch
/// never waits for its maps.
#[derive(Args, Debug)]
pub struct DataBenchArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    network: NetworkArgs,
    /// Maps in a batch [default: the preset's]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Batches that are measured
    #[arg(long, value_name = "K", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..))]
    batches: u32,
    /// Also write the result to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    machine: String,
    source: String,
    map_size: usize,
    batch: usize,
    median_s: f64,
    min_s: f64,
    max_s: f64,
    maps_s: f64,
    /// Of the batches' f32 values.
    bytes_s: f64,
    all_s: Vec<f64>,
}

/// Measures it.
///
/// # Errors
/// Maps that cannot be read, sizes out of range, a file that cannot be written.
pub fn run(arguments: &DataBenchArgs) -> Result<()> {
    let mut config = resolve::load(arguments.base.preset, arguments.base.convention, None)?;
    arguments.network.apply(&mut config.architecture);
    let data = arguments.data.apply(&mut config.data);
    data.context("cannot make the paths of data.paths absolute")?;
    config.run.batch = arguments.batch.unwrap_or(config.run.batch);
    config.validate()?;
    let dataset = open(&config, true)?;
    let (batch, size) = (config.run.batch, config.architecture.map_size);
    let training = Arc::clone(&dataset.training);
    let mut batches = Prefetch::new(training, batch, config.step.drop_last)?;
    let (mut all_s, mut bytes) = (Vec::new(), 0);
    // The next batch is begun as soon as one is taken: what is waited for is the making of one.
    for step in 0..WARM_UP + u64::from(arguments.batches) {
        let started = Instant::now();
        bytes = 4 * batches.next(step)?.len();
        if step >= WARM_UP {
            all_s.push(started.elapsed().as_secs_f64());
        }
    }
    let median_s = median(&all_s);
    let report = Report {
        machine: machine(),
        source: dataset.description.source.clone(),
        map_size: size,
        batch,
        median_s,
        min_s: all_s.iter().copied().fold(f64::INFINITY, f64::min),
        max_s: all_s.iter().copied().fold(0.0, f64::max),
        maps_s: batch as f64 / median_s,
        bytes_s: bytes as f64 / median_s,
        all_s,
    };
    say(&format!(
        "batches of {batch} maps of {size}x{size}, made on one thread: median {:.2} ms of {} ({:.2} to {:.2}), {:.0} \
         maps/s, {:.2} GB/s",
        1e3 * report.median_s,
        arguments.batches,
        1e3 * report.min_s,
        1e3 * report.max_s,
        report.maps_s,
        report.bytes_s / 1e9,
    ));
    write_json(arguments.json.as_deref(), &report)
}

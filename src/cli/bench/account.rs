//! `cosmogan bench account` and `report`: where a step's operations and bytes go, and the page that tells it.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::kernels::count_all;
use crate::cli::options::{BaseArgs, NetworkArgs, StepArgs};
use crate::cli::say;
use cosmogan::backend::gpu::ops::KernelVersion;
use cosmogan::files::write_atomic;
use cosmogan::model::Preset;
use cosmogan::performance::account::{Floor, Fusion, Row, floor, fusion, rows};
use cosmogan::performance::kernels::cases;
use cosmogan::performance::{StepCount, count_step, measured, report, tables};
use cosmogan::train::Config;

/// Account for a training step: operations, bytes, launches and memory by layer and pass
///
/// Counts a step in mixed precision on the emulator, with the launches and forms of kernels that a GPU would
/// get, beside the least that the network asks for. Nothing is timed.
#[derive(Args, Debug)]
pub struct AccountArgs {
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    step: Box<StepArgs>,
    /// Maps in a batch
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: u32,
    /// Also write the result to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Write the page on performance: counts, bounds, and the results that are kept
///
/// Counts all kernels and a step of the paper's network on the emulator, which takes minutes, and writes them as
/// Markdown with what was measured.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// The page
    #[arg(long, value_name = "FILE", default_value = "docs/PERFORMANCE.md")]
    out: PathBuf,
    /// Folder of measured results
    #[arg(long, value_name = "DIR", default_value = "benches/results")]
    results: PathBuf,
    /// Counts of the kernels that `bench kernels --json` wrote, instead of counting
    #[arg(long, value_name = "FILE")]
    kernels: Option<PathBuf>,
}

#[derive(Serialize)]
struct Account {
    batch: usize,
    launches: usize,
    floor: Floor,
    fusion: Fusion,
    lasting_bytes: u64,
    arena_bytes: u64,
    rows: Vec<Row>,
}

/// Counts a step and shows where its operations and bytes go.
///
/// # Errors
/// Sizes out of range, too little memory, a file that cannot be written.
pub fn run(arguments: &AccountArgs) -> Result<()> {
    let preset = arguments.base.preset.unwrap_or(Preset::Paper256);
    let mut config = Config::of_preset(preset, arguments.base.convention);
    arguments.network.apply(&mut config.architecture);
    arguments.step.apply(&mut config.step);
    config.validate()?;
    let step = count_step(&config, arguments.batch as usize)?;
    let architecture = &config.architecture;
    let [by_pass, by_layer] = tables::account(&step);
    say(&format!(
        "{}\nCounted, by pass:\n\n{by_pass}\nby layer and pass:\n\n{by_layer}\n\
         Least time of a step by the datasheets, a bound and not a measurement:\n\n{}",
        tables::summary(architecture, &step),
        tables::step_bounds(architecture, &step)
    ));
    let Some(path) = &arguments.json else {
        return Ok(());
    };
    let account = Account {
        batch: step.batch,
        launches: step.launches.len(),
        floor: floor(architecture, step.batch),
        fusion: fusion(architecture, &step),
        lasting_bytes: step.lasting_bytes,
        arena_bytes: step.arena_bytes,
        rows: rows(&step),
    };
    write_atomic(path, |file| {
        serde_json::to_writer_pretty(&mut *file, &account)?;
        writeln!(file)
    })
    .with_context(|| format!("cannot write {}", path.display()))
}

/// Writes the page.
///
/// # Errors
/// A file that cannot be read or written.
pub fn report(arguments: &ReportArgs) -> Result<()> {
    const BATCH: usize = 64;
    let config = Config::of_preset(Preset::Paper256, None);
    let architecture = &config.architecture;
    let kernels = match &arguments.kernels {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_str(&text)
                .with_context(|| format!("{} holds no counts of kernels", path.display()))?
        }
        None => {
            say("Counting all kernels on the emulator");
            let versions = [KernelVersion::V1, KernelVersion::V2, KernelVersion::V3];
            count_all(&cases(architecture, BATCH, &versions))?
        }
    };
    say("Counting a step on the emulator");
    let step: StepCount = count_step(&config, BATCH)?;
    let counted = report::counted(architecture, &kernels, &step);
    let page = report::document(&counted, &arguments.results)
        .with_context(|| format!("cannot read the results in {}", arguments.results.display()))?;
    let docs = arguments.out.parent().unwrap_or(Path::new("."));
    let pictures = docs.join("pictures");
    std::fs::create_dir_all(&pictures)
        .with_context(|| format!("cannot make {}", pictures.display()))?;
    for figure in measured::figures(&arguments.results)? {
        figure.draw(docs)?;
    }
    write_atomic(&arguments.out, |file| file.write_all(page.as_bytes()))
        .with_context(|| format!("cannot write {}", arguments.out.display()))?;
    say(&format!("wrote {}", arguments.out.display()));
    Ok(())
}

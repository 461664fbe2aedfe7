//! `cosmogan bench account` and `report`: where a step's operations and bytes go, and the page that tells it.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use super::kernels::count_all;
use super::machine::today;
use super::write_json;
use crate::cli::device::{emulated, in_short, with_batch_advice};
use crate::cli::options::{BaseArgs, NetworkArgs, StepArgs};
use crate::cli::parse::named;
use crate::cli::say;
use cosmogan::backend::gpu::driver::Driver;
use cosmogan::backend::gpu::ops::KernelVersion;
use cosmogan::backend::gpu::{Cuda, Gpu, ptx};
use cosmogan::files::write_atomic;
use cosmogan::model::Preset;
use cosmogan::performance::account::{Floor, Fusion, Row, floor, fusion, rows};
use cosmogan::performance::kernels::cases;
use cosmogan::performance::step_times::{LoggedStep, StepTimes};
use cosmogan::performance::timing::median;
use cosmogan::performance::{GpuModel, count_step, ladder, measured, report, tables};
use cosmogan::train::{
    ArithmeticChoice, Config, DenseKernels, DeviceChoice, KernelChoice, Precision, PrecisionChoice,
    Processor, arena_len, precision_name, version_name,
};

/// Account for a training step: operations, bytes, launches and memory by layer and pass, and time on a GPU
///
/// Counts a step in mixed precision on the emulator, with the launches and forms of kernels that a GPU would
/// get, beside the least that the network asks for. On a GPU each launch is timed as well, after the caches were
/// emptied, and stands beside the bound of that GPU where its datasheet is known. Of a step in f32 the launches of
/// the strided layers are not counted: `bench kernels` counts these.
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
    /// emulator (exact counts on any machine), cuda or cuda:N (times, too)
    #[arg(long, value_name = "NAME", default_value_t = DeviceChoice::Emulator)]
    device: DeviceChoice,
    /// Number format of the step
    #[arg(long, value_name = "NAME", default_value = "auto",
          value_parser = named::<PrecisionChoice>(&["auto", "f32", "bf16"]))]
    precision: PrecisionChoice,
    /// Convolution kernels of the step
    #[arg(long, value_name = "VERSION", default_value = "auto",
          value_parser = named::<KernelChoice>(&["auto", "v1", "v2", "v3"]))]
    kernels: KernelChoice,
    /// Steps that are timed, on a GPU
    #[arg(long, value_name = "K", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<Floor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fusion: Option<Fusion>,
    lasting_bytes: u64,
    arena_bytes: u64,
    rows: Vec<Row>,
}

impl AccountArgs {
    fn config(&self) -> Result<Config> {
        let preset = self.base.preset.unwrap_or(Preset::Paper256);
        let mut config = Config::of_preset(preset, self.base.convention);
        self.network.apply(&mut config.architecture);
        self.step.apply(&mut config.step);
        config.validate()?;
        Ok(config)
    }

    fn arithmetic(&self) -> ArithmeticChoice {
        ArithmeticChoice {
            precision: self.precision,
            kernels: self.kernels,
            dense: DenseKernels::Own,
        }
    }
}

/// Counts a step, or times it, and shows where its operations, bytes and time go.
///
/// # Errors
/// Sizes out of range, a device that cannot be used, too little memory, a file that cannot be written.
pub fn run(arguments: &AccountArgs) -> Result<()> {
    let config = arguments.config()?;
    arguments.arithmetic().check()?;
    match arguments.device {
        DeviceChoice::Emulator => counted(&config, arguments),
        DeviceChoice::Cuda(index) => timed(&config, Cuda::open(index)?, arguments),
        DeviceChoice::Auto => match Cuda::open(0) {
            Ok(driver) => timed(&config, driver, arguments),
            Err(error) => {
                say(&format!("auto: {}; the emulator counts", in_short(&error)));
                counted(&config, arguments)
            }
        },
        DeviceChoice::Cpu => bail!(
            "a step's launches are those of a GPU; give --device cuda or --device emulator, or see \
             `cosmogan bench profile`, which takes a step on the CPU apart"
        ),
    }
}

fn counted(config: &Config, arguments: &AccountArgs) -> Result<()> {
    let arithmetic = arguments.arithmetic().on(emulated())?;
    let step = count_step(config, arguments.batch as usize, arithmetic.precision)?;
    let architecture = &config.architecture;
    let [by_pass, by_layer] = tables::account(&step);
    let rows_of_it = format!(
        "by pass:\n\n{by_pass}\nby layer and pass:\n\n{by_layer}\nby kernel:\n\n{}",
        tables::by_kernel(&step)
    );
    let whole = arithmetic.precision == Precision::Bf16;
    match whole {
        true => say(&format!(
            "{}\nCounted, {rows_of_it}\n\
             Least time of a step by the datasheets, a bound and not a measurement:\n\n{}",
            tables::summary(architecture, &step),
            tables::step_bounds(architecture, &step)
        )),
        false => say(&format!(
            "A step in f32 without the launches of its strided layers, which `bench kernels` counts: {rows_of_it}"
        )),
    }
    let account = Account {
        batch: step.batch,
        launches: step.launches.len(),
        floor: whole.then(|| floor(architecture, step.batch)),
        fusion: whole.then(|| fusion(architecture, &step)),
        lasting_bytes: step.lasting_bytes,
        arena_bytes: step.arena_bytes,
        rows: rows(&step),
    };
    write_json(arguments.json.as_deref(), &account)
}

fn timed(config: &Config, driver: Cuda, arguments: &AccountArgs) -> Result<()> {
    let info = driver.info().clone();
    let arithmetic = arguments.arithmetic().on(Processor::Gpu {
        name: &info.name,
        capability: info.capability,
    })?;
    let batch = arguments.batch as usize;
    say(&format!(
        "{}, compute capability {}.{}, {}, {}; each launch is timed {} times, with empty caches",
        info.name,
        info.capability.0,
        info.capability.1,
        arithmetic.describe(),
        ptx::origin(),
        arguments.repeats
    ));
    let mut gpu = Gpu::new(driver, ptx::best(), arithmetic.kernels)?;
    let repeats = arguments.repeats as usize;
    let mut measure = || -> Result<_> {
        let mut step = LoggedStep::new(&mut gpu, config, batch)?;
        let whole = step.time_steps(&mut gpu, repeats)?;
        Ok((median(&whole), step.time_launches(&mut gpu, repeats)?))
    };
    let (step_s, launches) = measure().map_err(|error| {
        with_batch_advice(error, batch, |batch| {
            arena_len(config, batch, arithmetic.precision)
        })
    })?;
    let mut times = StepTimes {
        device: info.name.clone(),
        date: today(),
        map_size: config.architecture.map_size,
        base_filters: config.architecture.base_filters,
        batch,
        arithmetic: format!(
            "{}, kernels {}",
            precision_name(arithmetic.precision),
            version_name(arithmetic.kernels)
        ),
        repeats,
        step_s,
        launches,
    };
    let counted = count_step(config, batch, arithmetic.precision)?;
    times.compare(&counted, GpuModel::of_device(&info.name));
    say(&format!(
        "{}\nTimed, by kernel:\n\n{}\nby layer and pass:\n\n{}",
        times.summary(),
        times.by_kernel(),
        times.by_layer()
    ));
    write_json(arguments.json.as_deref(), &times)
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
    say("Counting steps on the emulator");
    let step = count_step(&config, BATCH, Precision::Bf16)?;
    let in_f32 = count_step(&config, BATCH, Precision::F32)?;
    let counted = report::counted(architecture, &kernels, [&step, &in_f32]);
    let page = report::document(&counted, &arguments.results)
        .with_context(|| format!("cannot read the results in {}", arguments.results.display()))?;
    let docs = arguments.out.parent().unwrap_or(Path::new("."));
    let pictures = docs.join("pictures");
    std::fs::create_dir_all(&pictures)
        .with_context(|| format!("cannot make {}", pictures.display()))?;
    ladder::counted(&kernels).draw(&docs.join(report::LADDER))?;
    for figure in measured::figures(&arguments.results)? {
        figure.draw(docs)?;
    }
    write_atomic(&arguments.out, |file| file.write_all(page.as_bytes()))
        .with_context(|| format!("cannot write {}", arguments.out.display()))?;
    say(&format!("wrote {}", arguments.out.display()));
    Ok(())
}

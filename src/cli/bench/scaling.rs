//! `cosmogan bench scaling`: how the time and the memory of a training step grow with the batch, the
//! size of a map, the filters and the threads, and the cost model that the times fit.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use indicatif::HumanBytes;
use serde::Serialize;

use super::fit::{CostModel, Point, amdahl};
use super::machine::{machine, today};
use super::speed::{BenchPlan, What, measure, measure_on_cpu};
use super::write_json;
use crate::cli::device::Selected;
use crate::cli::options::{BaseArgs, DeviceArgs, NetworkArgs};
use crate::cli::say;
use cosmogan::model::Preset;
use cosmogan::performance::timing::median;
use cosmogan::train::{Config, arena_len, precision_name};

/// Measure training steps of growing size, and fit a cost model
///
/// One of batch, size of a map, base filters and threads grows at a time, the others stay as given. What
/// would take longer than the limit by the steps measured so far, or does not fit into the memory, is
/// left out, and it is said. The model that is fitted is a time for each step, one for each
/// floating-point operation and one for each byte of the arena; that of threads is Amdahl's.
#[derive(Args, Debug)]
pub struct ScalingArgs {
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    network: NetworkArgs,
    /// Maps in a batch where it is not the batch that grows [default: the preset's]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// What grows; may be given several times [default: all]
    #[arg(long, value_enum, value_name = "NAME")]
    axis: Vec<Axis>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Steps that are measured of each size, after a few to warm up
    #[arg(long, value_name = "K", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Seconds that one size may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = limit)]
    limit: f64,
    /// Also write all times to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn limit(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    match seconds > 0.0 && seconds.is_finite() {
        true => Ok(seconds),
        false => Err("it must be above 0".to_owned()),
    }
}

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Axis {
    Batch,
    Size,
    Base,
    Threads,
}

impl Axis {
    const ALL: [Self; 4] = [Self::Batch, Self::Size, Self::Base, Self::Threads];

    fn name(self) -> &'static str {
        match self {
            Axis::Batch => "batch",
            Axis::Size => "size",
            Axis::Base => "base",
            Axis::Threads => "threads",
        }
    }

    fn values(self) -> Vec<usize> {
        let powers = |from: u32, to: u32| (from..=to).map(|power| 1 << power).collect();
        match self {
            Axis::Batch => powers(0, 8),
            Axis::Size => powers(6, 10),
            Axis::Base => powers(4, 7),
            Axis::Threads => {
                let most = rayon::current_num_threads();
                let doubled = std::iter::successors(Some(1), |n| Some(2 * n));
                let mut values: Vec<_> = doubled.take_while(|&n| n < most).collect();
                values.push(most);
                values
            }
        }
    }
}

/// One size that was measured.
#[derive(Clone, Debug, Serialize)]
struct Row {
    axis: Axis,
    value: usize,
    map_size: usize,
    base_filters: usize,
    batch: usize,
    threads: usize,
    #[serde(flatten)]
    point: Point,
    all_s: Vec<f64>,
}

#[derive(Serialize)]
struct Report<'a> {
    device: String,
    /// The processor or GPU, the threads, the day, the number format.
    machine: String,
    rows: &'a [Row],
    /// Sizes that were left out, and why.
    left_out: &'a [String],
    model: Option<CostModel>,
    /// The fitted models, in words.
    fitted: Vec<String>,
}

/// Runs the command.
pub fn run(arguments: &ScalingArgs) -> Result<()> {
    let first = config(arguments, None)?;
    let device = Selected::new(first.run.device, first.run.arithmetic())?;
    say(&format!(
        "training steps, {}, {}",
        device.arithmetic().describe(),
        device.describe()
    ));
    let axes = match &arguments.axis[..] {
        [] => &Axis::ALL[..],
        some => some,
    };
    let (mut rows, mut left_out) = (Vec::new(), Vec::new());
    for &axis in axes {
        if axis == Axis::Threads && !device.is_cpu() {
            left_out.push("threads: a GPU does the work".to_owned());
            continue;
        }
        say(&format!(
            "{:>7}  seconds a step (least to most)      maps/s   GFLOP/s  memory",
            axis.name()
        ));
        for value in axis.values() {
            match measured(arguments, &device, axis, value, &rows) {
                Ok(row) => {
                    say(&line(&row));
                    rows.push(row);
                }
                Err(Skip::Because(why)) => {
                    let why = format!("{} {value}: {why}", axis.name());
                    say(&format!("{:>7}  left out: {why}", value));
                    left_out.push(why);
                }
                Err(Skip::Failed(error)) => return Err(error),
            }
        }
    }
    if rows.is_empty() {
        bail!("nothing could be measured; a larger --limit or a smaller network might do");
    }
    let model = CostModel::fit(&points(&rows));
    let mut fitted = Vec::new();
    if let Some(model) = &model {
        fitted.push(model.describe());
    }
    let threads: Vec<_> = rows
        .iter()
        .filter(|row| row.axis == Axis::Threads)
        .collect();
    if let Some(parallel) = amdahl(threads.iter().map(|row| (row.threads, row.point.seconds))) {
        fitted.push(match parallel > 0.0 {
            true => format!(
                "threads: {:.1}% of a step's work is done in parallel (Amdahl)",
                100.0 * parallel
            ),
            false => "threads: more of them made no step faster; is the machine busy?".to_owned(),
        });
    }
    for words in &fitted {
        say(words);
    }
    let precision = precision_name(device.precision());
    let report = Report {
        device: device.name(),
        machine: match device.is_cpu() {
            true => format!("{}, {precision}", machine()),
            false => format!("{}, {}, {precision}", device.name(), today()),
        },
        rows: &rows,
        left_out: &left_out,
        model,
        fitted,
    };
    write_json(arguments.json.as_deref(), &report)
}

/// Those on all threads: the model knows nothing of fewer.
fn points(rows: &[Row]) -> Vec<Point> {
    let all = rayon::current_num_threads();
    let full = rows.iter().filter(|row| row.threads == all);
    full.map(|row| row.point).collect()
}

/// The network and batch of one size.
fn config(arguments: &ScalingArgs, at: Option<(Axis, usize)>) -> Result<Config> {
    let preset = arguments.base.preset.unwrap_or(Preset::Demo);
    let mut config = Config::of_preset(preset, arguments.base.convention);
    arguments.network.apply(&mut config.architecture);
    let run = &mut config.run;
    run.batch = arguments.batch.unwrap_or(run.batch);
    run.device = arguments.device.device;
    run.precision = arguments.device.precision;
    run.kernels = arguments.device.kernels;
    run.dense = arguments.device.dense;
    match at {
        Some((Axis::Batch, value)) => run.batch = value,
        Some((Axis::Size, value)) => config.architecture.map_size = value,
        Some((Axis::Base, value)) => config.architecture.base_filters = value,
        Some((Axis::Threads, _)) | None => {}
    }
    config.validate()?;
    Ok(config)
}

/// Why a size was not measured.
enum Skip {
    Because(String),
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Skip {
    fn from(error: anyhow::Error) -> Self {
        Skip::Failed(error)
    }
}

fn measured(
    arguments: &ScalingArgs,
    device: &Selected,
    axis: Axis,
    value: usize,
    before: &[Row],
) -> Result<Row, Skip> {
    // A size that the network's other numbers do not go with is no failure of the whole.
    let config = config(arguments, Some((axis, value)))
        .map_err(|error| Skip::Because(format!("{error:#}")))?;
    let (batch, architecture) = (config.run.batch, config.architecture.clone());
    let bytes = 4 * arena_len(&config, batch, device.precision()) as u64;
    let plan = BenchPlan {
        what: What::Step,
        config,
        steps: arguments.steps,
        json: None,
    };
    let flop = plan.flop();
    // The slowest rate so far, and two steps to warm up.
    let slowest = before
        .iter()
        .map(|row| row.point.seconds / row.point.flop as f64);
    let expected = slowest.fold(0.0, f64::max) * flop as f64 * f64::from(arguments.steps + 2);
    if expected > arguments.limit {
        let limit = arguments.limit;
        let why = format!("it would take about {expected:.0} s, and {limit:.0} s is the limit");
        return Err(Skip::Because(why));
    }
    let (threads, times) = match axis {
        Axis::Threads => {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(value).build();
            let pool = pool.context("cannot start the threads")?;
            (value, pool.install(|| measure_on_cpu(&plan)))
        }
        _ => (rayon::current_num_threads(), measure(device, &plan)),
    };
    let all_s = match times {
        Ok((all_s, _)) => all_s,
        Err(error) if is_out_of_memory(&error) => {
            let why = format!("{} do not fit into the memory", HumanBytes(bytes));
            return Err(Skip::Because(why));
        }
        Err(error) => return Err(Skip::Failed(error)),
    };
    Ok(Row {
        axis,
        value,
        map_size: architecture.map_size,
        base_filters: architecture.base_filters,
        batch,
        threads,
        point: Point {
            seconds: median(&all_s),
            flop,
            bytes,
        },
        all_s,
    })
}

fn is_out_of_memory(error: &anyhow::Error) -> bool {
    use cosmogan::backend::BackendError::{Driver, OutOfMemory};
    use cosmogan::backend::gpu::driver::DriverError;
    error.chain().any(|error| {
        matches!(
            error.downcast_ref(),
            Some(OutOfMemory { .. } | Driver(DriverError::OutOfMemory { .. }))
        )
    })
}

fn line(row: &Row) -> String {
    let Point {
        seconds,
        flop,
        bytes,
    } = row.point;
    let least = row.all_s.iter().copied().fold(f64::INFINITY, f64::min);
    let most = row.all_s.iter().copied().fold(0.0, f64::max);
    format!(
        "{:>7}  {seconds:<8.4} ({least:.4} to {most:.4})      {:>12.1} {:>9.1}  {}",
        row.value,
        row.batch as f64 / seconds,
        flop as f64 / seconds / 1e9,
        HumanBytes(bytes),
    )
}

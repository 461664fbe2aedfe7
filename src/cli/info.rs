//! `cosmogan info`: what the networks are and what they cost.

use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::options::{BaseArgs, NetworkArgs};
use cosmogan::model::cost::{
    NetworkCost, StepMemory, StepShape, network_cost, step_flop, step_memory,
};
use cosmogan::model::{Architecture, Preset, discriminator, generator};
use cosmogan::train::{Config, Convention, StepConfig, UpdateOrder};

/// Show layers, parameters, memory and cost of the networks
///
/// Prints the two tables of the paper with exact counts, and the floating-point operations and
/// memory of a training step.
#[derive(Args, Debug)]
pub struct InfoArgs {
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    network: NetworkArgs,
    /// Maps in a step [default: the preset's]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

/// All that is shown, as JSON has it.
#[derive(Debug, Serialize)]
struct Info {
    preset: Preset,
    architecture: Architecture,
    convention: Convention,
    batch: usize,
    generator: NetworkCost,
    discriminator: NetworkCost,
    /// Floating-point operations of a step of `batch` maps.
    step_flop: u64,
    /// Bytes.
    step_memory: Memory,
}

/// A step's memory by the number format of activations.
#[derive(Debug, Serialize)]
struct Memory {
    f32: StepMemory,
    bf16: StepMemory,
}

impl Memory {
    fn of(architecture: &Architecture, batch: usize) -> Self {
        let [f32, bf16] = [4, 2].map(|bytes| step_memory(architecture, batch, bytes));
        Self { f32, bf16 }
    }
}

/// The part of a step's knobs that decides its cost.
fn step_shape(step: &StepConfig) -> StepShape {
    match step.update {
        UpdateOrder::Simultaneous => StepShape::Simultaneous,
        UpdateOrder::Alternating => StepShape::Alternating {
            fresh_latent: step.fresh_latent,
        },
    }
}

impl InfoArgs {
    fn info(&self) -> Result<(Info, StepShape)> {
        let preset = self.base.preset.unwrap_or(Preset::Paper256);
        let mut config = Config::of_preset(preset, self.base.convention);
        self.network.apply(&mut config.architecture);
        config.run.batch = self.batch.unwrap_or(config.run.batch);
        config.validate()?;
        let (architecture, batch) = (config.architecture, config.run.batch);
        let shape = step_shape(&config.step);
        let info = Info {
            preset,
            convention: config.convention,
            batch,
            generator: network_cost(&architecture, &generator(&architecture)),
            discriminator: network_cost(&architecture, &discriminator(&architecture)),
            step_flop: step_flop(&architecture, batch, shape),
            step_memory: Memory::of(&architecture, batch),
            architecture,
        };
        Ok((info, shape))
    }
}

/// Runs the command.
pub fn run(arguments: &InfoArgs) -> Result<()> {
    let (info, shape) = arguments.info()?;
    let mut out = io::stdout().lock();
    if arguments.json {
        let text = serde_json::to_string_pretty(&info)?;
        writeln!(out, "{text}")?;
        return Ok(());
    }
    let side = info.architecture.map_size;
    writeln!(
        out,
        "{}: maps of {side}x{side}x{}, latent vectors of {}",
        info.preset, info.architecture.channels, info.architecture.latent
    )?;
    write_table(&mut out, "Generator", &info.generator)?;
    write_table(&mut out, "Discriminator", &info.discriminator)?;
    let order = match shape {
        StepShape::Simultaneous => "simultaneous updates",
        StepShape::Alternating { .. } => "alternating updates",
    };
    writeln!(
        out,
        "\nA training step on {} real and {} generated maps, {order}:\n  \
         {} in the linear layers",
        info.batch,
        info.batch,
        flop(info.step_flop),
    )?;
    let Memory { f32, bf16 } = &info.step_memory;
    for (precision, memory) in [("f32", f32), ("bf16", bf16)] {
        writeln!(
            out,
            "  {} of memory in {precision}: {} parameters and optimiser state, {} activations, {} \
             gradients between layers",
            bytes(memory.total()),
            bytes(memory.parameters),
            bytes(memory.activations),
            bytes(memory.gradients),
        )?;
    }
    Ok(())
}

fn write_table(out: &mut impl Write, title: &str, network: &NetworkCost) -> io::Result<()> {
    let rows: Vec<[String; 5]> = network
        .layers
        .iter()
        .map(|row| {
            let shape: Vec<String> = row.output.iter().map(usize::to_string).collect();
            let mut parameters = grouped(row.linear_parameters);
            if row.norm_parameters > 0 {
                parameters += &format!(" + {}", grouped(row.norm_parameters));
            }
            [
                row.name.clone(),
                row.layer.clone(),
                shape.join(" x "),
                parameters,
                format!("{:.3}", row.forward_flop as f64 / 1e9),
            ]
        })
        .collect();
    let head = ["", "layer", "output C x H x W", "parameters", "GFLOP a map"].map(str::to_owned);
    let width = |column: usize| {
        let cells = rows.iter().chain([&head]).map(|row| row[column].len());
        cells.max().unwrap_or(0)
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    writeln!(out, "\n{title}")?;
    for row in [&head].into_iter().chain(&rows) {
        let line = format!(
            "  {:a$}  {:b$}  {:>c$}  {:>d$}  {:>e$}",
            row[0],
            row[1],
            row[2],
            row[3],
            row[4],
            a = widths[0],
            b = widths[1],
            c = widths[2],
            d = widths[3],
            e = widths[4],
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    writeln!(out, "  total {} parameters", grouped(network.parameters))
}

/// `12824449` as `12,824,449`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of floating-point operations in the unit that fits it.
fn flop(number: u64) -> String {
    let number = number as f64;
    match number {
        n if n < 1e12 => format!("{:.2} GFLOP", n / 1e9),
        n => format!("{:.3} TFLOP", n / 1e12),
    }
}

/// A number of bytes in the unit that fits it.
fn bytes(number: u64) -> String {
    let number = number as f64;
    match number {
        n if n < 1e6 => format!("{:.1} kB", n / 1e3),
        n if n < 1e9 => format!("{:.1} MB", n / 1e6),
        n => format!("{:.2} GB", n / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let written = [0, 999, 1_000, 12_824_449, 100_000].map(grouped);
        assert_eq!(written, ["0", "999", "1,000", "12,824,449", "100,000"]);
    }
}

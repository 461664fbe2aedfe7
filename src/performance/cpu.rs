//! A training step on this CPU, part by part: time, operations, values moved; and what the CPU can do at most.

use std::time::Instant;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::outline::Outline;
use super::prepared::Prepared;
use super::step::CountError;
use super::tables::{giga, mega, table};
use crate::backend::cpu::meter::{Meter, Metered, Part};
use crate::backend::cpu::scalar::{Matrix, Scalar, Write, multiply};
use crate::backend::{Backend, Cpu, Precision};
use crate::tape::OperationKind;
use crate::train::Config;

/// What all threads together reach, measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CpuCeilings {
    pub threads: usize,
    /// FLOP/s of square f32 matrix products that caches hold, one a thread.
    pub product_flop_s: f64,
    /// Bytes/s read and written by copies that no cache holds.
    pub copy_bytes_s: f64,
}

/// A part of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CpuPart {
    /// The layer, as `discriminator c1`; empty for what belongs to none.
    pub layer: String,
    pub part: String,
    /// Of one step, the least of those that were made.
    pub seconds: f64,
    /// Operations of matrix products that the layer's definition has.
    pub useful_flop: u64,
    /// Those that were made.
    pub product_flop: u64,
    /// Bytes that passes around the products load and store, counted at each time: caches serve many of them.
    pub moved_bytes: u64,
}

/// A step, taken apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CpuProfile {
    /// The processor, the day.
    pub machine: String,
    /// Side of the maps, base filters and batch.
    pub size: usize,
    pub base: usize,
    pub batch: usize,
    pub ceilings: CpuCeilings,
    pub parts: Vec<CpuPart>,
}

impl CpuCeilings {
    /// The higher of both rates of two measurements: other work on the machine only lowers them.
    pub fn or_better(self, other: Self) -> Self {
        Self {
            threads: self.threads,
            product_flop_s: self.product_flop_s.max(other.product_flop_s),
            copy_bytes_s: self.copy_bytes_s.max(other.copy_bytes_s),
        }
    }
}

impl CpuProfile {
    /// Seconds of a step.
    pub fn seconds(&self) -> f64 {
        self.parts.iter().map(|part| part.seconds).sum()
    }

    /// The step, part by part, the longest first, and what is left of it by what the CPU reaches.
    pub fn table(&self) -> String {
        let CpuCeilings {
            threads,
            product_flop_s,
            copy_bytes_s,
        } = self.ceilings;
        let total = self.seconds();
        let mut parts: Vec<_> = self.parts.iter().collect();
        parts.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let row = |name: [&str; 2], seconds: f64, [useful, made, moved]: [u64; 3]| {
            vec![
                name[0].to_owned(),
                name[1].to_owned(),
                format!("{:.1}", seconds * 1e3),
                format!("{:.1}%", 100.0 * seconds / total),
                giga(useful),
                giga(made),
                mega(moved),
                match made {
                    0 => "-".to_owned(),
                    _ => format!("{:.0}%", 100.0 * made as f64 / seconds / product_flop_s),
                },
            ]
        };
        // What takes less than a hundredth is summed up.
        let (shown, small): (Vec<_>, Vec<_>) = parts
            .into_iter()
            .partition(|part| part.seconds > 0.01 * total);
        let sum = |parts: &[&CpuPart]| {
            parts.iter().fold([0; 3], |[a, b, c], part| {
                [
                    a + part.useful_flop,
                    b + part.product_flop,
                    c + part.moved_bytes,
                ]
            })
        };
        let mut rows: Vec<_> = shown
            .iter()
            .map(|part| row([&part.layer, &part.part], part.seconds, sum(&[part])))
            .collect();
        let seconds = small.iter().map(|part| part.seconds).sum();
        rows.push(row(
            ["all", "that takes less than 1%"],
            seconds,
            sum(&small),
        ));
        let all: Vec<_> = self.parts.iter().collect();
        let [useful, made, moved] = sum(&all);
        rows.push(row(["all", "the step"], total, [useful, made, moved]));
        let head = [
            "layer",
            "part",
            "ms",
            "of the step",
            "GFLOP of the definition",
            "GFLOP made",
            "MB moved by passes",
            "of the peak of products",
        ];
        let products = made as f64 / product_flop_s;
        let by_definition = useful as f64 / product_flop_s;
        let passes = moved as f64 / copy_bytes_s;
        format!(
            "{}\nOn {threads} threads this CPU reaches {:.0} GFLOP/s in matrix products and copies at {:.1} GB/s, read and \
             written. At these rates the products that are made take {products:.3} s of the step's {total:.3} s \
             ({:.0}%), and what passes move {passes:.3} s ({:.0}%), were it moved through memory: caches serve a part of it. \
             The products of the definition alone would take {by_definition:.3} s.\n",
            table(&head, &rows),
            product_flop_s / 1e9,
            copy_bytes_s / 1e9,
            100.0 * products / total,
            100.0 * passes / total,
        )
    }
}

/// Parts of a step of `config`, its batch included, the least of `repeats` steps after one to warm up.
///
/// # Errors
/// Too little memory, or losses that are not finite.
pub fn parts(config: &Config, repeats: u64) -> Result<Vec<CpuPart>, CountError> {
    parts_on(Cpu::<f32>::new(), config, repeats)
}

/// A backend that computes on the CPU and tells what it does.
pub trait Measured: Backend {
    /// Times and counts from now on what it does.
    fn start_meter(&mut self);
    /// What was timed and counted, if it was.
    fn meter(&self) -> Option<&Meter>;
}

impl<T: Scalar> Measured for Cpu<T> {
    fn start_meter(&mut self) {
        Cpu::start_meter(self);
    }

    fn meter(&self) -> Option<&Meter> {
        Cpu::meter(self)
    }
}

/// [`parts`] on another backend.
///
/// # Errors
/// As [`parts`].
pub fn parts_on<B: Measured>(
    mut cpu: B,
    config: &Config,
    repeats: u64,
) -> Result<Vec<CpuPart>, CountError> {
    let batch = config.run.batch;
    let prepared = Prepared::new(config, batch, Precision::F32);
    prepared.upload(&mut cpu, config)?;
    let mut least: Vec<((usize, Part), Metered)> = Vec::new();
    for step in 1..=1 + repeats {
        cpu.start_meter();
        let losses = prepared.run(&mut cpu, step)?;
        if !losses.iter().all(|loss| loss.is_finite()) {
            return Err(CountError::NotFinite);
        }
        let Some(meter) = cpu.meter().filter(|_| step > 1) else {
            continue;
        };
        let parts: Vec<_> = meter.parts().iter().map(|(k, v)| (*k, *v)).collect();
        match least.len() {
            0 => least = parts,
            _ => least
                .iter_mut()
                .zip(parts)
                .for_each(|((_, old), (_, new))| {
                    old.seconds = old.seconds.min(new.seconds);
                }),
        }
    }
    Ok(named(config, &prepared, &least))
}

/// Sums by layer and part, in the order of the program.
fn named(
    config: &Config,
    prepared: &Prepared,
    metered: &[((usize, Part), Metered)],
) -> Vec<CpuPart> {
    let outline = Outline::new(config, &prepared.step);
    let mut rows: Vec<CpuPart> = Vec::new();
    for &((index, part), Metered { seconds, work }) in metered {
        let Some(operation) = outline.operations.get(index) else {
            continue;
        };
        let layer = outline.layer(index).unwrap_or_default();
        let is_linear = match part {
            Part::Forward => operation.kind == OperationKind::Forward,
            Part::InputGradient | Part::WeightGradient => true,
            Part::Norm | Part::Adam | Part::Rest => false,
        };
        let useful_flop = match outline.block(index) {
            Some(block) if is_linear => block.linear.flop() * operation.samples as u64,
            _ => 0,
        };
        let name = part.name();
        let at = rows
            .iter()
            .position(|row| row.layer == layer && row.part == name)
            .unwrap_or_else(|| {
                rows.push(CpuPart {
                    layer,
                    part: name.to_owned(),
                    seconds: 0.0,
                    useful_flop: 0,
                    product_flop: 0,
                    moved_bytes: 0,
                });
                rows.len() - 1
            });
        let row = &mut rows[at];
        row.seconds += seconds;
        row.useful_flop += useful_flop;
        row.product_flop += work.product_flop;
        row.moved_bytes += 4 * work.moved_values;
    }
    rows
}

/// Measures what all threads of the current pool reach: the best of some rounds.
pub fn ceilings() -> CpuCeilings {
    let threads = rayon::current_num_threads();
    CpuCeilings {
        threads,
        product_flop_s: best(|| product_rate(threads)),
        copy_bytes_s: best(|| copy_rate(threads)),
    }
}

fn best(mut measure: impl FnMut() -> f64) -> f64 {
    const ROUNDS: usize = 5;
    (0..ROUNDS).map(|_| measure()).fold(0.0, f64::max)
}

fn product_rate(threads: usize) -> f64 {
    const SIDE: usize = 384;
    const PRODUCTS: usize = 40;
    let factors = vec![1.0f32; 2 * SIDE * SIDE];
    let (a, b) = factors.split_at(SIDE * SIDE);
    let mut outs = vec![0.0f32; threads * SIDE * SIDE];
    let started = Instant::now();
    outs.par_chunks_mut(SIDE * SIDE).for_each(|out| {
        for _ in 0..PRODUCTS {
            let (a, b) = (
                Matrix::rows(a, SIDE, SIDE, SIDE),
                Matrix::rows(b, SIDE, SIDE, SIDE),
            );
            multiply(out, SIDE, a, b, Write::Set);
        }
    });
    std::hint::black_box(&outs);
    (2 * SIDE.pow(3) * PRODUCTS * threads) as f64 / started.elapsed().as_secs_f64()
}

fn copy_rate(threads: usize) -> f64 {
    /// 256 MiB each way.
    const LEN: usize = 64 << 20;
    let from = vec![1.0f32; LEN];
    let mut to = vec![0.0f32; LEN];
    let piece = LEN.div_ceil(threads);
    // Once to have the pages.
    to.par_chunks_mut(piece).for_each(|to| to.fill(2.0));
    let started = Instant::now();
    to.par_chunks_mut(piece)
        .zip(from.par_chunks(piece))
        .for_each(|(to, from)| to.copy_from_slice(from));
    std::hint::black_box(&to);
    (8 * LEN) as f64 / started.elapsed().as_secs_f64()
}

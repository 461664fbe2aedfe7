//! Where the operations and bytes of a step go, layer by layer and pass by pass, beside the least that the
//! architecture asks for.

use std::collections::BTreeMap;

use serde::Serialize;

use super::outline::Pass;
use super::{Counts, StepCount};
use crate::model::cost::{StepShape, step_flop};
use crate::model::{Architecture, Linear, Network, discriminator, generator};

/// One layer in one pass, or one pass of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    pub layer: String,
    pub pass: &'static str,
    pub launches: usize,
    pub counts: Counts,
    /// The most bytes of the step's values that are in use in one of its operations.
    pub live_bytes: u64,
}

/// All layers and passes, in the order in which the step first comes to them.
pub fn rows(step: &StepCount) -> Vec<Row> {
    let mut order: BTreeMap<(String, Pass), usize> = BTreeMap::new();
    let mut rows: Vec<Row> = Vec::new();
    for launch in &step.launches {
        let pass = step.pass(launch);
        let layer = step.layer(launch).unwrap_or_else(|| "-".to_owned());
        let index = *order.entry((layer.clone(), pass)).or_insert_with(|| {
            rows.push(Row {
                layer,
                pass: pass.name(),
                launches: 0,
                counts: Counts::default(),
                live_bytes: 0,
            });
            rows.len() - 1
        });
        let row = &mut rows[index];
        row.launches += 1;
        row.counts += launch.counts;
        let live = step.outline.operations[launch.operation].live_bytes;
        row.live_bytes = row.live_bytes.max(live);
    }
    rows
}

/// The sums over all layers, a row for each pass that there is.
pub fn by_pass(step: &StepCount) -> Vec<Row> {
    let rows = rows(step);
    let passes = Pass::ALL.into_iter().map(|pass| {
        let of_pass = rows.iter().filter(|row| row.pass == pass.name());
        let start = Row {
            layer: "all".to_owned(),
            pass: pass.name(),
            launches: 0,
            counts: Counts::default(),
            live_bytes: 0,
        };
        of_pass.fold(start, |mut sum, row| {
            sum.launches += row.launches;
            sum.counts += row.counts;
            sum.live_bytes = sum.live_bytes.max(row.live_bytes);
            sum
        })
    });
    passes.filter(|row| row.launches > 0).collect()
}

/// The least that a simultaneous step has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Floor {
    pub flop: u64,
    /// Every product reads its two operands and writes its result once; a gradient on its way down also
    /// reads the values that its activation's slope is of; Adam reads parameters, gradients and moments, and
    /// writes parameters and moments; the average is read and written.
    pub bytes: u64,
}

/// What lies between two layers is bf16, maps and all that is kept are f32, as are the weights outside of
/// the strided layers between two others.
pub fn floor(architecture: &Architecture, batch: usize) -> Floor {
    let networks = [generator(architecture), discriminator(architecture)];
    let [g, d] = &networks;
    let mut bytes = 0;
    for (network, samples) in [(g, batch), (d, 2 * batch)] {
        for sizes in sizes(network) {
            bytes += sizes.forward(samples) + sizes.weight_gradient(samples);
        }
        for sizes in sizes(network).skip(1) {
            bytes += sizes.input_gradient(samples);
        }
    }
    // The generator's loss, through the discriminator.
    bytes += sizes(d).map(|s| s.input_gradient(batch)).sum::<u64>();
    let parameters = |network: &Network| 4 * network.parameter_count() as u64;
    bytes += 7 * (parameters(g) + parameters(d)) + 2 * parameters(g);
    Floor {
        flop: step_flop(architecture, batch, StepShape::Simultaneous),
        bytes,
    }
}

/// Bytes of a block's input and output of one sample, of the weights as they are read, and of their gradient.
struct Sizes {
    input: u64,
    output: u64,
    weights: u64,
    gradient: u64,
}

fn sizes(network: &Network) -> impl Iterator<Item = Sizes> {
    let last = network.blocks.len() - 1;
    network
        .blocks
        .iter()
        .enumerate()
        .map(move |(index, block)| {
            let linear = &block.linear;
            let inner = |inner: bool| if inner { 2 } else { 4 };
            let (first, last) = (index == 0, index == last);
            let packed = !matches!(linear, Linear::Dense { .. }) && !first && !last;
            Sizes {
                input: (inner(!first) * linear.input_len()) as u64,
                output: (inner(!last) * linear.output_len()) as u64,
                weights: (inner(packed) * linear.weight_len()) as u64,
                gradient: 4 * linear.weight_len() as u64,
            }
        })
}

impl Sizes {
    fn forward(&self, samples: usize) -> u64 {
        samples as u64 * (self.input + self.output) + self.weights
    }

    fn weight_gradient(&self, samples: usize) -> u64 {
        samples as u64 * (self.input + self.output) + self.gradient
    }

    fn input_gradient(&self, samples: usize) -> u64 {
        samples as u64 * (2 * self.input + self.output) + self.weights
    }
}

/// What fusion saves: passes over a tensor that v2 makes in kernels of their own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fusion {
    /// Bytes that separate passes over bf16 tensors would move: the statistics read every linear output of a
    /// batch norm, applying reads and writes it, its backward pass reads gradient and value twice and writes
    /// once; elsewhere the activation's gradient reads two and writes one.
    pub separate_bytes: u64,
    /// Footprint of those that v3 still makes.
    pub left_bytes: u64,
}

/// The bytes of separate passes in a simultaneous step, beside those that were counted.
pub fn fusion(architecture: &Architecture, step: &StepCount) -> Fusion {
    const INNER: u64 = 2;
    let batch = step.batch as u64;
    let mut separate = 0;
    for (network, forward, backward) in [
        (generator(architecture), 1, 1),
        // Real and fake maps; their gradients, and the fake ones' again for the generator's loss.
        (discriminator(architecture), 2, 3),
    ] {
        let last = network.blocks.len() - 1;
        for block in &network.blocks[..last] {
            let tensor = INNER * batch * block.linear.output_len() as u64;
            separate += match block.norm {
                Some(_) => tensor * (3 * forward + 5 * backward),
                None => tensor * 3 * backward,
            };
        }
    }
    let norm = step.launches.iter().filter(|l| step.pass(l) == Pass::Norm);
    Fusion {
        separate_bytes: separate,
        left_bytes: norm.map(|launch| launch.counts.footprint_bytes).sum(),
    }
}

//! What the networks cost: parameters, floating-point operations and memory of a training step.
//!
//! Only the linear layers' operations are counted (a multiplication and an addition are two),
//! products with zero padding included, as is usual. Batch norms, activations, the loss and Adam
//! are below 1% of a step and are left out.

use serde::Serialize;

use super::{Activation, Architecture, Block, Linear, Network, discriminator, generator};

/// One row of a network's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerCost {
    /// Name of the linear layer: `lin`, `ct1`, `c0`, ...
    pub name: String,
    /// The layer in words: `transposed conv 5x5 s2, bias, batch norm, ReLU`.
    pub layer: String,
    /// Output of one sample: `[C, H, W]`, or `[1]` for the logit.
    pub output: Vec<usize>,
    /// All trained parameters of the row: the sum of the next two.
    pub parameters: usize,
    /// Weights and bias.
    pub linear_parameters: usize,
    /// Gamma and beta of the batch norm.
    pub norm_parameters: usize,
    /// Operations of one sample's forward pass.
    pub forward_flop: u64,
}

/// A network's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetworkCost {
    /// Trained parameters.
    pub parameters: usize,
    /// From input to output.
    pub layers: Vec<LayerCost>,
}

/// The shape of a training step, as far as its cost depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepShape {
    /// One forward pass of each network, both gradients from it.
    Simultaneous,
    /// The generator's gradient comes through the updated discriminator, which sees the fake maps
    /// once more; with `fresh_latent` the generator also makes new ones.
    Alternating { fresh_latent: bool },
}

/// Memory of a training step in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StepMemory {
    /// Both networks' parameters, gradients and two Adam moments, running statistics, and the
    /// moving average of the generator with its running statistics.
    pub parameters: u64,
    /// Latent vectors, real maps, and each block's linear and activated output, for N samples of
    /// the generator and 2N of the discriminator. (A block without batch norm keeps one output; one
    /// whose batch norm is done by the block above may, too.)
    pub activations: u64,
    /// Gradients that flow backwards: the two largest neighbouring outputs at any one time.
    pub gradients: u64,
}

impl StepMemory {
    /// The sum.
    pub fn total(&self) -> u64 {
        self.parameters + self.activations + self.gradients
    }
}

/// The table of a network.
pub fn network_cost(architecture: &Architecture, network: &Network) -> NetworkCost {
    NetworkCost {
        parameters: network.parameter_count(),
        layers: network
            .blocks
            .iter()
            .map(|block| layer_cost(architecture, block))
            .collect(),
    }
}

fn layer_cost(architecture: &Architecture, block: &Block) -> LayerCost {
    let linear = &block.linear;
    let bias = block.bias.map_or(0, |_| linear.bias_len());
    let norm_parameters = block.norm.map_or(0, |norm| 2 * norm.features);
    let linear_parameters = linear.weight_len() + bias;
    LayerCost {
        name: block.name.clone(),
        layer: describe(block),
        output: output_shape(architecture, linear),
        parameters: linear_parameters + norm_parameters,
        linear_parameters,
        norm_parameters,
        forward_flop: linear.flop(),
    }
}

fn describe(block: &Block) -> String {
    let mut words = match block.linear {
        Linear::Dense { inputs, outputs } => format!("dense {inputs} -> {outputs}"),
        Linear::Conv(_) => "conv 5x5 s2".to_owned(),
        Linear::TransposedConv(_) => "transposed conv 5x5 s2".to_owned(),
    };
    if block.bias.is_some() {
        words += ", bias";
    }
    if block.norm.is_some() {
        words += ", batch norm";
    }
    words += match block.activation {
        Activation::Identity => "",
        Activation::Relu => ", ReLU",
        Activation::LeakyRelu => ", LeakyReLU",
        Activation::Tanh => ", tanh",
    };
    words
}

fn output_shape(architecture: &Architecture, linear: &Linear) -> Vec<usize> {
    match linear {
        Linear::Dense { outputs: 1, .. } => vec![1],
        Linear::Dense { .. } => {
            let (channels, side) = architecture.plane(architecture.layers);
            vec![channels, side, side]
        }
        Linear::Conv(layer) => vec![layer.c_small, layer.small, layer.small],
        Linear::TransposedConv(layer) => vec![layer.c_big, 2 * layer.small, 2 * layer.small],
    }
}

/// Floating-point operations of one training step with `batch` real and `batch` generated maps.
///
/// A linear layer's weight gradient and input gradient each cost as much as its forward pass. With
/// N the batch, G and D the networks: G forward N; D forward 2N, weight gradients 2N and input
/// gradients 2N, save into the maps; for the generator's loss, input gradients of D over the N
/// generated maps, into the maps too; G's weight gradients N and input gradients N, save into the
/// latent vectors. An alternating step adds D forward N, and with fresh latent vectors G forward N.
pub fn step_flop(architecture: &Architecture, batch: usize, shape: StepShape) -> u64 {
    let (generator, discriminator) = (generator(architecture), discriminator(architecture));
    let forward = |network: &Network| network.blocks.iter().map(|b| b.linear.flop()).sum::<u64>();
    let without_first = |network: &Network| {
        forward(network) - network.blocks.first().map_or(0, |b| b.linear.flop())
    };
    let (g, d) = (forward(&generator), forward(&discriminator));
    let d_loss = 2 * d + 2 * d + 2 * without_first(&discriminator);
    let g_loss = d + g + without_first(&generator);
    let again = match shape {
        StepShape::Simultaneous => 0,
        StepShape::Alternating {
            fresh_latent: false,
        } => d,
        StepShape::Alternating { fresh_latent: true } => d + g,
    };
    batch as u64 * (g + d_loss + g_loss + again)
}

/// Memory of one training step with `batch` real and `batch` generated maps, where a value between
/// two blocks of a network takes `inner_bytes`. All others, maps and logits among them, are f32.
pub fn step_memory(architecture: &Architecture, batch: usize, inner_bytes: usize) -> StepMemory {
    const BYTES: usize = size_of::<f32>();
    let (generator, discriminator) = (generator(architecture), discriminator(architecture));
    let trained = generator.parameter_count() + discriminator.parameter_count();
    let running = generator.inventory.running_len() + discriminator.inventory.running_len();
    let average = generator.parameter_count() + generator.inventory.running_len();
    // Of what goes into and comes out of each block of one sample.
    let planes = |network: &Network| -> Vec<[usize; 2]> {
        let last = network.blocks.len().saturating_sub(1);
        let width = |inner| if inner { inner_bytes } else { BYTES };
        let blocks = network.blocks.iter().enumerate();
        let planes = blocks.map(|(index, block)| {
            let linear = &block.linear;
            [
                width(index > 0) * linear.input_len(),
                width(index < last) * linear.output_len(),
            ]
        });
        planes.collect()
    };
    let kept = |network: &Network| {
        let outputs = network.blocks.iter().zip(planes(network));
        let outputs =
            outputs.map(|(block, [_, out])| out * (1 + usize::from(block.norm.is_some())));
        outputs.sum::<usize>()
    };
    let flowing = |network: &Network| {
        let pairs = planes(network).into_iter().map(|[into, out]| into + out);
        pairs.max().unwrap_or(0)
    };
    let inputs = BYTES * (architecture.latent + architecture.map_len());
    let activations = batch * (inputs + kept(&generator) + 2 * kept(&discriminator));
    let gradients = batch * flowing(&generator).max(2 * flowing(&discriminator));
    StepMemory {
        parameters: (BYTES * (4 * trained + running + average)) as u64,
        activations: activations as u64,
        gradients: gradients as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Preset;

    /// Operations of the three big layers and of the small ends, from KERNELS' table of GEMM sizes.
    const BIG: u64 = 2 * 65_536 * 256 * 3_200;
    const END: u64 = 2 * 1_048_576 * 64 * 25;
    const DENSE: u64 = 2 * 64 * 64 * 131_072;
    const LOGIT: u64 = 2 * 64 * 131_072;

    #[test]
    fn the_papers_step_is_thirty_big_convolutions_and_small_ends() {
        let architecture = Preset::Paper256.architecture();
        let flop = step_flop(&architecture, 64, StepShape::Simultaneous);
        // The end next to the map: G forward 1, D forward 2, D weights 2, g_loss 1, G backward 2.
        // Dense: forward and weights. Logit: D's forward, weights and inputs 2 each, g_loss 1.
        assert_eq!(flop, 30 * BIG + 8 * END + 2 * DENSE + 7 * LOGIT);
        assert!((flop as f64 / 3.25e12 - 1.0).abs() < 0.005, "{flop}");
    }

    #[test]
    fn an_alternating_step_adds_the_second_forward_passes() {
        let architecture = Preset::Paper256.architecture();
        let flop = |shape| step_flop(&architecture, 64, shape);
        let simultaneous = flop(StepShape::Simultaneous);
        let reused = flop(StepShape::Alternating {
            fresh_latent: false,
        });
        let fresh = flop(StepShape::Alternating { fresh_latent: true });
        assert_eq!(reused - simultaneous, 3 * BIG + END + LOGIT);
        assert_eq!(fresh - reused, DENSE + 3 * BIG + END);
    }

    #[test]
    fn cost_is_proportional_to_the_batch() {
        let architecture = Preset::Demo.architecture();
        let one = step_flop(&architecture, 1, StepShape::Simultaneous);
        assert_eq!(
            step_flop(&architecture, 37, StepShape::Simultaneous),
            37 * one
        );
        let memory = |batch| step_memory(&architecture, batch, 4);
        let (one, two) = (memory(1), memory(2));
        assert_eq!(two.activations, 2 * one.activations);
        assert_eq!(two.parameters, one.parameters);
    }

    #[test]
    fn halves_between_blocks_save_half_of_all_but_latent_vectors_maps_and_logits() {
        for preset in Preset::ALL {
            let architecture = preset.architecture();
            let batch = 7;
            let memory = |inner_bytes| step_memory(&architecture, batch, inner_bytes);
            let (f32, bf16) = (memory(4), memory(2));
            assert_eq!(f32.parameters, bf16.parameters);
            // Latent vector, real and generated map, two logits.
            let full = 4 * batch * (architecture.latent + 2 * architecture.map_len() + 2);
            let full = full as u64;
            assert_eq!(
                f32.activations - full,
                2 * (bf16.activations - full),
                "{preset}"
            );
            assert!(bf16.gradients < f32.gradients && 2 * bf16.gradients >= f32.gradients);
        }
    }

    #[test]
    fn a_tables_rows_add_up_and_carry_the_papers_shapes() {
        for preset in Preset::ALL {
            let architecture = preset.architecture();
            for network in [generator(&architecture), discriminator(&architecture)] {
                let cost = network_cost(&architecture, &network);
                let sum: usize = cost.layers.iter().map(|row| row.parameters).sum();
                assert_eq!(sum, cost.parameters, "{preset}");
            }
        }
        let architecture = Preset::Paper256.architecture();
        let cost = network_cost(&architecture, &generator(&architecture));
        let shapes: Vec<_> = cost.layers.iter().map(|row| row.output.clone()).collect();
        let expected = [
            [512, 16, 16],
            [256, 32, 32],
            [128, 64, 64],
            [64, 128, 128],
            [1, 256, 256],
        ];
        assert_eq!(shapes, expected);
        assert_eq!(cost.layers[0].linear_parameters, 8_519_680);
        assert_eq!(cost.layers[0].norm_parameters, 1_024);
        assert_eq!(cost.layers[4].linear_parameters, 1_601);
        assert_eq!(
            cost.layers[1].layer,
            "transposed conv 5x5 s2, bias, batch norm, ReLU"
        );
    }
}

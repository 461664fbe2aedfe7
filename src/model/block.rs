//! A block: a linear layer with its bias, batch norm and activation. The unit that the tape
//! records, and within which a backend may fuse.

use super::{Inventory, PadLow};

/// A 5x5 stride-2 layer between a big plane `[2S, 2S, c_big]` and a small plane `[S, S, c_small]`.
///
/// One weight tensor `[5, 5, c_big, c_small]` serves the convolution (big to small, *fprop*), the
/// transposed convolution (small to big, *dgrad*) and both weight gradients (*wgrad*). Tap `k` of
/// small pixel `i` meets big pixel `2 i + k - pad_low`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StridedLayer {
    /// Side S of the small plane; the big one's is 2S.
    pub small: usize,
    /// Channels of the big plane.
    pub c_big: usize,
    /// Channels of the small plane.
    pub c_small: usize,
    /// Padding before the big plane.
    pub pad_low: PadLow,
}

impl StridedLayer {
    /// Taps a side of the filter.
    pub const TAPS: usize = 5;

    /// Values of the big plane of one sample.
    pub fn big_len(&self) -> usize {
        4 * self.small * self.small * self.c_big
    }

    /// Values of the small plane of one sample.
    pub fn small_len(&self) -> usize {
        self.small * self.small * self.c_small
    }

    /// Values of the weight tensor.
    pub fn weight_len(&self) -> usize {
        Self::TAPS * Self::TAPS * self.c_big * self.c_small
    }
}

/// The linear part of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linear {
    /// `y = x W`, weights `[inputs, outputs]`.
    Dense { inputs: usize, outputs: usize },
    /// Big plane to small plane.
    Conv(StridedLayer),
    /// Small plane to big plane.
    TransposedConv(StridedLayer),
}

impl Linear {
    /// Values of the input of one sample.
    pub fn input_len(&self) -> usize {
        match self {
            Linear::Dense { inputs, .. } => *inputs,
            Linear::Conv(layer) => layer.big_len(),
            Linear::TransposedConv(layer) => layer.small_len(),
        }
    }

    /// Values of the output of one sample.
    pub fn output_len(&self) -> usize {
        match self {
            Linear::Dense { outputs, .. } => *outputs,
            Linear::Conv(layer) => layer.small_len(),
            Linear::TransposedConv(layer) => layer.big_len(),
        }
    }

    /// Values of the weight tensor.
    pub fn weight_len(&self) -> usize {
        match self {
            Linear::Dense { inputs, outputs } => inputs * outputs,
            Linear::Conv(layer) | Linear::TransposedConv(layer) => layer.weight_len(),
        }
    }

    /// Values that a bias would have: the output's channels, or all outputs of a dense layer.
    pub fn bias_len(&self) -> usize {
        match self {
            Linear::Dense { outputs, .. } => *outputs,
            Linear::Conv(layer) => layer.c_small,
            Linear::TransposedConv(layer) => layer.c_big,
        }
    }

    /// Floating-point operations of one sample's forward pass, without zero padding's savings.
    pub fn flop(&self) -> u64 {
        let products = match self {
            Linear::Dense { inputs, outputs } => inputs * outputs,
            Linear::Conv(layer) | Linear::TransposedConv(layer) => {
                layer.small * layer.small * layer.weight_len()
            }
        };
        2 * products as u64
    }
}

/// Batch normalisation of a block's linear output, seen as rows of `features` values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchNorm {
    /// Values that each have a mean, a variance, a gamma and a beta of their own.
    pub features: usize,
}

impl BatchNorm {
    /// Added to the variance before its square root.
    pub const EPSILON: f64 = 1e-5;
    /// Weight of the newest batch in a running average.
    pub const MOMENTUM: f64 = 0.1;
}

/// The element-wise end of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    Identity,
    Relu,
    /// Slope [`LEAKY_SLOPE`](super::LEAKY_SLOPE) below zero.
    LeakyRelu,
    Tanh,
}

/// One block of a network, with the places of its parameters in the network's arena.
#[derive(Clone, Debug)]
pub struct Block {
    /// Name of the linear layer: `lin`, `ct1`, `c0`, ...
    pub name: String,
    pub linear: Linear,
    pub norm: Option<BatchNorm>,
    pub activation: Activation,
    /// Start of the weights in the parameter arena.
    pub weight: usize,
    /// Start of the bias, if there is one.
    pub bias: Option<usize>,
    /// Start of gamma; beta follows it.
    pub gamma: Option<usize>,
    /// Start of the running means in the arena of running statistics; variances follow them.
    pub running: Option<usize>,
}

impl Block {
    /// Whether the bias is added right before a batch norm over the same channel. Its gradient is
    /// then zero by definition: summed in floating point it would be noise, which Adam would turn
    /// into steps of full size.
    pub fn bias_is_cancelled(&self) -> bool {
        self.norm
            .is_some_and(|norm| norm.features == self.linear.bias_len())
    }

    /// Rows that one sample contributes to the batch norm's statistics.
    pub fn norm_rows(&self, norm: BatchNorm) -> usize {
        self.linear.output_len() / norm.features
    }
}

/// Appends a block to `blocks` and its parameters to `inventory`.
pub(super) fn push_block(
    blocks: &mut Vec<Block>,
    inventory: &mut Inventory,
    name: &str,
    norm_name: &str,
    design: BlockDesign,
) {
    let weight = inventory.push_weight(name, &design.linear, design.plane);
    let bias = design
        .bias
        .then(|| inventory.push_bias(name, &design.linear, design.plane));
    let (mut gamma, mut running) = (None, None);
    if let Some(norm) = design.norm {
        let places = inventory.push_norm(norm_name, norm, design.plane);
        (gamma, running) = (Some(places.0), Some(places.1));
    }
    blocks.push(Block {
        name: name.to_owned(),
        linear: design.linear,
        norm: design.norm,
        activation: design.activation,
        weight,
        bias,
        gamma,
        running,
    });
}

/// What [`push_block`] builds.
pub(super) struct BlockDesign {
    pub linear: Linear,
    pub bias: bool,
    pub norm: Option<BatchNorm>,
    pub activation: Activation,
    /// Channels and side of the plane that a dense layer's outputs (or inputs) form.
    pub plane: Option<(usize, usize)>,
}

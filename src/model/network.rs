//! The two networks of an [`Architecture`].

use super::block::{BlockDesign, push_block};
use super::{
    Activation, Architecture, BatchNorm, Block, DenseNorm, Inventory, Linear, StridedLayer,
};

/// A chain of blocks and the parameters behind them.
#[derive(Clone, Debug)]
pub struct Network {
    pub blocks: Vec<Block>,
    pub inventory: Inventory,
}

impl Network {
    /// Number of trained parameters.
    pub fn parameter_count(&self) -> usize {
        self.inventory.parameter_len()
    }

    /// Values of the input of one sample.
    pub fn input_len(&self) -> usize {
        self.blocks.first().map_or(0, |b| b.linear.input_len())
    }

    /// Values of the output of one sample.
    pub fn output_len(&self) -> usize {
        self.blocks.last().map_or(0, |b| b.linear.output_len())
    }
}

fn strided(architecture: &Architecture, depth: usize) -> StridedLayer {
    let (c_big, _) = architecture.plane(depth);
    let (c_small, small) = architecture.plane(depth + 1);
    StridedLayer {
        small,
        c_big,
        c_small,
        pad_low: architecture.pad_low,
    }
}

/// Latent vector `[latent]` to map `[map_size, map_size, channels]`: a dense layer, then transposed
/// convolutions that each double the side, tanh at the end.
pub fn generator(architecture: &Architecture) -> Network {
    let (mut blocks, mut inventory) = (Vec::new(), Inventory::default());
    let plane @ (channels, side) = architecture.plane(architecture.layers);
    let outputs = channels * side * side;
    let dense = BlockDesign {
        linear: Linear::Dense {
            inputs: architecture.latent,
            outputs,
        },
        bias: architecture.dense_bias,
        norm: Some(BatchNorm {
            features: match architecture.dense_norm {
                DenseNorm::Channel => channels,
                DenseNorm::Feature => outputs,
            },
        }),
        activation: Activation::Relu,
        plane: Some(plane),
    };
    push_block(&mut blocks, &mut inventory, "lin", "bn0", dense);
    for layer in 1..=architecture.layers {
        let strided = strided(architecture, architecture.layers - layer);
        let last = layer == architecture.layers;
        let design = BlockDesign {
            linear: Linear::TransposedConv(strided),
            bias: architecture.conv_bias,
            norm: (!last).then_some(BatchNorm {
                features: strided.c_big,
            }),
            activation: if last {
                Activation::Tanh
            } else {
                Activation::Relu
            },
            plane: None,
        };
        let (name, norm_name) = (format!("ct{layer}"), format!("bn{layer}"));
        push_block(&mut blocks, &mut inventory, &name, &norm_name, design);
    }
    Network { blocks, inventory }
}

/// Map `[map_size, map_size, channels]` to logit `[1]`: convolutions that each halve the side,
/// then a dense layer. The sigmoid is part of the loss.
pub fn discriminator(architecture: &Architecture) -> Network {
    let (mut blocks, mut inventory) = (Vec::new(), Inventory::default());
    for depth in 0..architecture.layers {
        let strided = strided(architecture, depth);
        let design = BlockDesign {
            linear: Linear::Conv(strided),
            bias: architecture.conv_bias,
            norm: (depth > 0).then_some(BatchNorm {
                features: strided.c_small,
            }),
            activation: Activation::LeakyRelu,
            plane: None,
        };
        let (name, norm_name) = (format!("c{depth}"), format!("bn{depth}"));
        push_block(&mut blocks, &mut inventory, &name, &norm_name, design);
    }
    let plane @ (channels, side) = architecture.plane(architecture.layers);
    let logit = BlockDesign {
        linear: Linear::Dense {
            inputs: channels * side * side,
            outputs: 1,
        },
        bias: true,
        norm: None,
        activation: Activation::Identity,
        plane: Some(plane),
    };
    push_block(&mut blocks, &mut inventory, "lin", "", logit);
    Network { blocks, inventory }
}

//! A whole block in mixed precision: what flows between blocks is bf16, and the element-wise work is
//! done by the kernels that make or read a tensor.
//!
//! Forward, a convolution leaves the moments of its output; one pass then normalises and activates,
//! unless the block above does so as it reads ([`Forward::deferred`]). Backward, a block takes the
//! gradient of its input through the activation and the batch norm of the block below
//! ([`Backward::below`](crate::backend::Backward::below)): the convolution multiplies by the slope and leaves the two sums that batch
//! norm needs, and one pass makes the gradient of the linear output, in place. Each tensor of the paper's
//! networks is so written once and read as often as it has uses.
//!
//! Why one pass and not the prologue of each reader: tests/baseline/paper-256.csv counts 638 MB for all
//! such passes of a step (`half_norm_apply`), of 9438 MB, 0.2 ms at 3 TB/s. A prologue would save them and
//! normalise each value as often as its readers ask for it: 1.4 times a fprop (the halo of 10 x 18 pixels
//! for 8 x 16) for each 128 output channels, and 5 times a wgrad (its filter rows) for each 64 channels of
//! the other plane, 20 to 40 times in the inner layers; and the values would have to come through
//! registers, where `cp.async` brings them past them. The last block of a network reads each value about
//! once and is bound by memory: there the prologue it is.

mod backward;
mod below;

use super::Gpu;
use super::driver::{Driver, Pointer};
use super::ops::dense::DenseShape;
use super::ops::half::few::{self, FewDgrad, FewFprop};
use super::ops::half::pack::Packing;
use super::ops::half::strided::{self, Operation, StridedCall};
use super::ops::half::{BelowNorm, End, Input, Parts, dense, norm};
use super::ops::norm::{NormShape, running_statistics};
use crate::backend::{Forward, Normalisation, Precision, Statistics, View};
use crate::model::{Activation, Block, Linear};

pub use backward::backward;

/// The forward pass.
pub fn forward<D: Driver>(gpu: &mut Gpu<D>, block: &Block, call: &Forward) {
    let moments = linear_forward(gpu, block, call);
    let (Some(batch_norm), Some(gamma), Some(statistics)) =
        (block.norm, block.gamma, call.statistics)
    else {
        return;
    };
    let features = batch_norm.features;
    let (groups, saved) = match statistics {
        Statistics::Batch {
            saved,
            running,
            momentum,
        } => {
            let (saved, running) = (gpu.at(saved), gpu.at(running));
            if let Some((parts, moments)) = moments {
                norm::merge_moments(&mut gpu.launcher, parts, moments, saved, running, momentum);
            }
            (call.groups, saved)
        }
        Statistics::Running { saved, running } => {
            let (saved, running) = (gpu.at(saved), gpu.at(running));
            running_statistics(&mut gpu.launcher, features, running, saved);
            // One set of statistics for all samples.
            (1, saved)
        }
    };
    if !call.deferred {
        let shape = norm_shape(features, call.output.len, groups);
        let affine = gpu.at(call.parameters.part(gamma, 2 * features));
        let (u, y) = (gpu.at(call.linear), gpu.at(call.output));
        let by = BelowNorm { saved, affine };
        norm::apply(&mut gpu.launcher, shape, block.activation, u, by, y);
    }
}

/// The linear layer with its bias, and the activation where there is no batch norm. Returns the moments
/// of the linear output where a batch norm wants them.
fn linear_forward<D: Driver>(
    gpu: &mut Gpu<D>,
    block: &Block,
    call: &Forward,
) -> Option<(Parts, Pointer)> {
    let (batch, groups) = (call.batch, call.groups);
    let weights = call
        .parameters
        .part(block.weight, block.linear.weight_len());
    let bias = block
        .bias
        .map(|at| gpu.at(call.parameters.part(at, block.linear.bias_len())));
    let activation = match block.norm {
        None => block.activation,
        Some(_) => Activation::Identity,
    };
    let output = gpu.at(call.linear);
    let wanted = matches!(call.statistics, Some(Statistics::Batch { .. }));
    let end = |gpu: &mut Gpu<D>, parts: Parts| {
        let moments = wanted.then(|| gpu.launcher.workspace(parts.room_bytes()));
        let end = End::Forward {
            bias,
            activation,
            moments,
        };
        (end, moments.map(|at| (parts, at)))
    };
    match &block.linear {
        &Linear::Dense { inputs, outputs } => {
            let shape = DenseShape {
                batch,
                inputs,
                outputs,
            };
            let weights = gpu.at(weights);
            if outputs == 1 {
                let (x, features) = gpu.input(call.input, call.folded);
                let launcher = &mut gpu.launcher;
                dense::single_forward(launcher, shape, x, features, weights, bias, output);
                return None;
            }
            let x = gpu.at(call.input);
            let launcher = &mut gpu.launcher;
            dense::forward(launcher, shape, x, weights, bias, activation, output);
            let features = block.norm.filter(|_| wanted)?.features;
            let shape = norm_shape(features, call.linear.len, groups);
            let parts = norm::moment_parts(shape);
            let moments = launcher.workspace(parts.room_bytes());
            norm::moments(launcher, shape, output, moments);
            Some((parts, moments))
        }
        Linear::Conv(layer) if call.input.precision == Precision::F32 => {
            let (end, moments) = end(gpu, few::fprop_parts(layer, batch, groups));
            let call = FewFprop {
                layer,
                batch,
                groups,
                big: gpu.at(call.input),
                weights: gpu.at(weights),
                output,
                end,
            };
            few::fprop(&mut gpu.launcher, &call);
            moments
        }
        Linear::TransposedConv(layer) if call.output.precision == Precision::F32 => {
            let (input, _) = gpu.input(call.input, call.folded);
            let call = FewDgrad {
                layer,
                batch,
                input,
                weights: gpu.at(weights),
                bias,
                activation,
                output,
                value: None,
            };
            few::dgrad(&mut gpu.launcher, &call);
            None
        }
        Linear::Conv(layer) | Linear::TransposedConv(layer) => {
            let is_fprop = matches!(block.linear, Linear::Conv(_));
            let (operation, packing) = match is_fprop {
                true => (Operation::Fprop, Packing::Fprop),
                false => (Operation::Dgrad, Packing::Dgrad),
            };
            let parts = strided::parts(&gpu.launcher, operation, layer, batch, groups);
            // What is to be differentiated goes back through the same weights.
            let packed = gpu.packed(layer, weights, packing, wanted);
            let (end, moments) = end(gpu, parts);
            let call = StridedCall {
                layer,
                batch,
                groups,
                input: gpu.at(call.input),
                packed,
                output,
                end,
            };
            match packing {
                Packing::Fprop => strided::fprop(&mut gpu.launcher, &call),
                Packing::Dgrad => strided::dgrad(&mut gpu.launcher, &call),
            }
            moments
        }
    }
}

/// Rows of features in groups, as a batch norm sees `len` values.
fn norm_shape(features: usize, len: usize, groups: usize) -> NormShape {
    NormShape {
        rows: len / features / groups,
        features,
        groups,
    }
}

impl<D: Driver> Gpu<D> {
    fn norm(&self, norm: &Normalisation) -> BelowNorm {
        BelowNorm {
            saved: self.at(norm.saved),
            affine: self.at(norm.affine),
        }
    }

    /// A bf16 tensor that a block reads, and the features that its batch norm has if it is normalised on
    /// the way.
    fn input(&self, view: View, folded: Option<Normalisation>) -> (Input, usize) {
        let pointer = self.at(view);
        match folded {
            None => (Input::Stored(pointer), 1),
            Some(ref norm) => {
                let input = Input::Normed {
                    u: pointer,
                    norm: self.norm(norm),
                    groups: norm.groups,
                    activation: norm.activation,
                };
                (input, norm.features)
            }
        }
    }
}

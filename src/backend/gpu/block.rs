//! A whole block on the device: the linear layer, then bias, batch norm and activation around it.

use super::Gpu;
use super::driver::{Driver, Pointer};
use super::ops::columns::column_sums;
use super::ops::dense::{self, DenseForward, DenseShape};
use super::ops::elementwise::{activation_gradient, fill};
use super::ops::norm::{self, NormApply, NormBackward, NormShape};
use super::ops::strided::{self, StridedCall, WgradCall};
use crate::backend::{Accumulate, Backward, Forward, Statistics, View};
use crate::model::{Activation, Block, Linear};

/// The forward pass.
pub fn forward<D: Driver>(gpu: &mut Gpu<D>, block: &Block, call: &Forward) {
    let weights = gpu.at(call
        .parameters
        .part(block.weight, block.linear.weight_len()));
    let bias = block
        .bias
        .map(|at| gpu.at(call.parameters.part(at, block.linear.bias_len())));
    // Without a batch norm the linear layer's epilogue is all there is.
    let (activation, to) = match block.norm {
        None => (block.activation, call.output),
        Some(_) => (Activation::Identity, call.linear),
    };
    let (input, output) = (gpu.at(call.input), gpu.at(to));
    let (launcher, version) = (&mut gpu.launcher, gpu.version);
    match &block.linear {
        &Linear::Dense { inputs, outputs } => dense::forward(
            launcher,
            &DenseForward {
                shape: DenseShape {
                    batch: call.batch,
                    inputs,
                    outputs,
                },
                x: input,
                weights,
                bias,
                activation,
                y: output,
            },
        ),
        Linear::Conv(layer) | Linear::TransposedConv(layer) => {
            let strided_call = StridedCall {
                layer,
                batch: call.batch,
                input,
                weights,
                bias,
                activation,
                output,
            };
            match block.linear {
                Linear::Conv(_) => strided::fprop(launcher, version, &strided_call),
                _ => strided::dgrad(launcher, version, &strided_call),
            }
        }
    }
    norm_forward(gpu, block, call);
}

/// Rows of features in groups, as a block's batch norm sees its linear output.
fn norm_shape(features: usize, len: usize, groups: usize) -> NormShape {
    NormShape {
        rows: len / features / groups,
        features,
        groups,
    }
}

fn norm_forward<D: Driver>(gpu: &mut Gpu<D>, block: &Block, call: &Forward) {
    let (Some(batch_norm), Some(gamma), Some(statistics)) =
        (block.norm, block.gamma, call.statistics)
    else {
        return;
    };
    let features = batch_norm.features;
    let shape = norm_shape(features, call.output.len, call.groups);
    let (linear, output) = (gpu.at(call.linear), gpu.at(call.output));
    let affine = gpu.at(call.parameters.part(gamma, 2 * features));
    let (shape, saved) = match statistics {
        Statistics::Batch {
            saved,
            running,
            momentum,
        } => {
            let (saved, running) = (gpu.at(saved), gpu.at(running));
            let launcher = &mut gpu.launcher;
            norm::statistics(launcher, shape, linear, saved, running, momentum);
            (shape, saved)
        }
        Statistics::Running { saved, running } => {
            let (saved, running) = (gpu.at(saved), gpu.at(running));
            norm::running_statistics(&mut gpu.launcher, features, running, saved);
            // One set of statistics for all samples.
            (norm_shape(features, call.output.len, 1), saved)
        }
    };
    let apply = NormApply {
        shape,
        activation: block.activation,
        u: linear,
        saved,
        affine,
        y: output,
    };
    norm::apply(&mut gpu.launcher, &apply);
}

/// The backward pass.
pub fn backward<D: Driver>(gpu: &mut Gpu<D>, block: &Block, call: &Backward) {
    let gradient = gpu.at(call.gradient);
    let output = gpu.at(call.output);
    match (block.norm, block.gamma, call.saved) {
        (Some(batch_norm), Some(gamma), Some(saved)) => {
            let features = batch_norm.features;
            let affine_gradient = call
                .parameter_gradient
                .map(|(view, accumulate)| (gpu.at(view.part(gamma, 2 * features)), accumulate));
            let norm_call = NormBackward {
                shape: norm_shape(features, call.gradient.len, call.groups),
                activation: block.activation,
                u: gpu.at(call.linear),
                y: output,
                saved: gpu.at(saved),
                gamma: gpu.at(call.parameters.part(gamma, features)),
                gradient,
                affine_gradient,
            };
            norm::backward(&mut gpu.launcher, &norm_call);
        }
        _ => activation_gradient(
            &mut gpu.launcher,
            block.activation,
            call.gradient.len,
            output,
            gradient,
        ),
    }
    if let Some((view, accumulate)) = call.parameter_gradient {
        bias_gradient(gpu, block, call, view, accumulate);
        let weight = gpu.at(view.part(block.weight, block.linear.weight_len()));
        weight_gradient(gpu, block, call, weight, accumulate);
    }
    if let Some(view) = call.input_gradient {
        let to = gpu.at(view);
        input_gradient(gpu, block, call, to);
    }
}

fn bias_gradient<D: Driver>(
    gpu: &mut Gpu<D>,
    block: &Block,
    call: &Backward,
    gradients: View,
    accumulate: Accumulate,
) {
    let Some(at) = block.bias else { return };
    let features = block.linear.bias_len();
    let (du, bias) = (gpu.at(call.gradient), gpu.at(gradients.part(at, features)));
    let launcher = &mut gpu.launcher;
    if !block.bias_is_cancelled() {
        let rows = call.gradient.len / features;
        column_sums(launcher, rows, features, du, bias, accumulate);
    } else if accumulate == Accumulate::First {
        fill(launcher, bias, features, 0.0);
    }
}

fn weight_gradient<D: Driver>(
    gpu: &mut Gpu<D>,
    block: &Block,
    call: &Backward,
    gradient: Pointer,
    accumulate: Accumulate,
) {
    let (x, du) = (gpu.at(call.input), gpu.at(call.gradient));
    let (layer, big, small) = match &block.linear {
        &Linear::Dense { inputs, outputs } => {
            let shape = DenseShape {
                batch: call.batch,
                inputs,
                outputs,
            };
            let launcher = &mut gpu.launcher;
            dense::weight_gradient(launcher, shape, x, du, gradient, accumulate);
            return;
        }
        Linear::Conv(layer) => (layer, x, du),
        Linear::TransposedConv(layer) => (layer, du, x),
    };
    let wgrad = WgradCall {
        layer,
        batch: call.batch,
        big,
        small,
        gradient,
        accumulate,
    };
    strided::wgrad(&mut gpu.launcher, gpu.version, &wgrad);
}

fn input_gradient<D: Driver>(gpu: &mut Gpu<D>, block: &Block, call: &Backward, to: Pointer) {
    let weights = gpu.at(call
        .parameters
        .part(block.weight, block.linear.weight_len()));
    let du = gpu.at(call.gradient);
    let (launcher, version) = (&mut gpu.launcher, gpu.version);
    match &block.linear {
        &Linear::Dense { inputs, outputs } => {
            let shape = DenseShape {
                batch: call.batch,
                inputs,
                outputs,
            };
            dense::input_gradient(launcher, shape, du, weights, to);
        }
        Linear::Conv(layer) | Linear::TransposedConv(layer) => {
            let strided_call = StridedCall {
                layer,
                batch: call.batch,
                input: du,
                weights,
                bias: None,
                activation: Activation::Identity,
                output: to,
            };
            match block.linear {
                Linear::Conv(_) => strided::dgrad(launcher, version, &strided_call),
                _ => strided::fprop(launcher, version, &strided_call),
            }
        }
    }
}

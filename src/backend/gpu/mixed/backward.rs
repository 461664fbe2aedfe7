//! The backward pass of a block.

use super::super::Gpu;
use super::super::driver::{Driver, Pointer};
use super::super::ops::columns::column_sums;
use super::super::ops::dense::DenseShape;
use super::super::ops::elementwise::{activation_gradient, fill};
use super::super::ops::half::few::{self, FewDgrad, FewWgrad};
use super::super::ops::half::wgrad::{WgradCall, wgrad};
use super::super::ops::half::{Below, Input, dense, norm};
use super::{below, norm_shape};
use crate::backend::{Accumulate, Backward, Precision, View};
use crate::model::{Activation, Block, Linear};

/// The backward pass.
pub fn backward<D: Driver>(gpu: &mut Gpu<D>, block: &Block, call: &Backward) {
    if !call.prepared {
        debug_assert!(block.norm.is_none(), "a network ends without batch norm");
        let (output, gradient) = (gpu.at(call.output), gpu.at(call.gradient));
        let (launcher, len) = (&mut gpu.launcher, call.gradient.len);
        activation_gradient(launcher, block.activation, len, output, gradient);
    }
    if let Some((view, accumulate)) = call.parameter_gradient {
        bias_gradient(gpu, block, call, view, accumulate);
        let weight = gpu.at(view.part(block.weight, block.linear.weight_len()));
        weight_gradient(gpu, block, call, weight, accumulate);
    }
    match (call.input_gradient, call.below) {
        (Some(to), below) if to.precision == Precision::F32 => {
            map_gradient(gpu, block, call, below.as_ref(), to);
        }
        (Some(to), Some(ref below)) => below::gradient_below(gpu, block, call, below, to),
        (Some(_), None) => debug_assert!(false, "what lies between blocks has a block below"),
        (None, _) => {}
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
    if block.bias_is_cancelled() {
        if accumulate == Accumulate::First {
            fill(launcher, bias, features, 0.0);
        }
    } else if !call.prepared || call.gradient.precision == Precision::F32 {
        // The network that judged the maps knows nothing of this one's parameters.
        let rows = call.gradient.len / features;
        column_sums(launcher, rows, features, du, bias, accumulate);
    } else if block.norm.is_some() {
        // Without batch norm the block above has summed it.
        let shape = norm_shape(features, call.gradient.len, 1);
        let parts = norm::gradient_parts(shape);
        let sums = launcher.workspace(parts.room_bytes());
        let plain = Below {
            activation: Activation::Identity,
            value: du,
            norm: None,
            sums: Some(sums),
        };
        norm::gradient(launcher, shape, &plain, du);
        let bias = Some((bias, accumulate));
        norm::merge_sums(launcher, parts, sums, None, None, bias);
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
    let (input, features) = gpu.input(call.input, call.folded);
    let batch = call.batch;
    let launcher = &mut gpu.launcher;
    let (layer, big, small) = match &block.linear {
        &Linear::Dense { inputs, outputs } => {
            let shape = DenseShape {
                batch,
                inputs,
                outputs,
            };
            if outputs == 1 {
                dense::single_weight_gradient(
                    launcher, shape, input, features, du, gradient, accumulate,
                );
            } else {
                dense::weight_gradient(launcher, shape, x, du, gradient, accumulate);
            }
            return;
        }
        Linear::Conv(layer) => (layer, call.input, Input::Stored(du)),
        Linear::TransposedConv(layer) => (layer, call.gradient, input),
    };
    match (big.precision, small) {
        (Precision::Bf16, Input::Stored(small)) => {
            let big = gpu.at(big);
            let call = WgradCall {
                layer,
                batch,
                big,
                small,
                gradient,
                accumulate,
            };
            wgrad(&mut gpu.launcher, &call);
        }
        _ => {
            let big = gpu.at(big);
            let call = FewWgrad {
                layer,
                batch,
                big,
                small,
                gradient,
                accumulate,
            };
            few::wgrad(&mut gpu.launcher, &call);
        }
    }
}

/// The gradient of the maps that a network judges, or of the linear output of the block that made them.
fn map_gradient<D: Driver>(
    gpu: &mut Gpu<D>,
    block: &Block,
    call: &Backward,
    below: Option<&crate::backend::Below>,
    to: View,
) {
    let Linear::Conv(layer) = &block.linear else {
        debug_assert!(false, "maps enter a network by a convolution");
        return;
    };
    let weights = call
        .parameters
        .part(block.weight, block.linear.weight_len());
    let call = FewDgrad {
        layer,
        batch: call.batch,
        input: Input::Stored(gpu.at(call.gradient)),
        weights: gpu.at(weights),
        bias: None,
        activation: below.map_or(Activation::Identity, |below| below.activation),
        output: gpu.at(to),
        value: below.map(|below| gpu.at(below.output)),
    };
    few::dgrad(&mut gpu.launcher, &call);
}

//! A whole block on the CPU: the linear layer, then bias, batch norm and activation around it.

use rayon::prelude::*;

use super::meter::{Part, count_moved};
use super::norm::{self, NormBackward};
use super::scalar::{Scalar, Write};
use super::scratch::{Scratch, ThreadScratch};
use super::{dense, disjoint, strided};
use crate::backend::{Accumulate, Backward, Forward, Statistics, View};
use crate::model::{Activation, Block, Linear};

/// The forward pass.
pub fn forward<T: Scalar>(
    arena: &mut [T],
    scratch: &mut Scratch<T>,
    block: &Block,
    call: &Forward,
) {
    let views = [call.input, call.linear, call.parameters];
    let [x, u, parameters] = disjoint(arena, views);
    let activation = match block.norm {
        None => block.activation,
        Some(_) => Activation::Identity,
    };
    linear_forward(block, parameters, x, u, activation, scratch);
    scratch.lap(Part::Forward);
    match (block.norm, call.statistics) {
        (Some(_), Some(statistics)) => norm_forward(arena, scratch, block, call, statistics),
        (Some(_), None) => panic!("block {} has a batch norm and no statistics", block.name),
        (None, _) if call.linear != call.output => {
            let [u, y] = disjoint(arena, [call.linear, call.output]);
            y.copy_from_slice(u);
            count_moved(2 * y.len());
        }
        (None, _) => {}
    }
    scratch.lap(Part::Norm);
}

fn linear_forward<T: Scalar>(
    block: &Block,
    parameters: &[T],
    x: &[T],
    u: &mut [T],
    activation: Activation,
    scratch: &mut Scratch<T>,
) {
    let weights = &parameters[block.weight..][..block.linear.weight_len()];
    let bias = block
        .bias
        .map(|at| &parameters[at..][..block.linear.bias_len()]);
    let finish = |tile: &mut [T]| norm::activate_in_place(activation, tile);
    match block.linear {
        Linear::Dense { inputs, outputs } => {
            let batch = x.len() / inputs;
            let (shared, threads) = dense::dense_scratch(inputs, outputs, batch);
            let (threads, shared) = scratch.reserve(threads, shared);
            dense::forward((inputs, outputs), x, weights, bias, u, (threads, shared));
            u.par_chunks_mut(1 << 14).for_each(finish);
        }
        Linear::Conv(layer) => {
            let (shared, threads) = strided::fprop_scratch::<T>(&layer, x.len() / layer.big_len());
            let scratch = scratch.reserve(threads, shared);
            strided::fprop(&layer, x, weights, bias, u, scratch, finish);
        }
        Linear::TransposedConv(layer) => {
            let (shared, threads) =
                strided::dgrad_scratch::<T>(&layer, x.len() / layer.small_len());
            let scratch = scratch.reserve(threads, shared);
            strided::dgrad(&layer, x, weights, bias, u, scratch, finish);
        }
    }
}

fn norm_forward<T: Scalar>(
    arena: &mut [T],
    scratch: &mut Scratch<T>,
    block: &Block,
    call: &Forward,
    statistics: Statistics,
) {
    let (Some(norm), Some(gamma)) = (block.norm, block.gamma) else {
        return;
    };
    let features = norm.features;
    let affine = call.parameters.part(gamma, 2 * features);
    let group_len = call.output.len / call.groups;
    for group in 0..call.groups {
        let u_view = call.linear.part(group * group_len, group_len);
        let y_view = call.output.part(group * group_len, group_len);
        let saved = match statistics {
            Statistics::Batch {
                saved,
                running,
                momentum,
            } => {
                let saved = saved.part(group * 2 * features, 2 * features);
                let [u, saved_values, running] = disjoint(arena, [u_view, saved, running]);
                let rows = group_len / features;
                let (_, partial) = scratch.reserve(0, norm::norm_scratch(rows, features));
                norm::statistics(norm, u, saved_values, (running, momentum), partial);
                saved
            }
            Statistics::Running { saved, running } => {
                let [saved_values, running] = disjoint(arena, [saved, running]);
                norm::running_statistics(running, saved_values);
                saved
            }
        };
        if u_view == y_view {
            let [y, saved, affine] = disjoint(arena, [y_view, saved, affine]);
            norm::apply_in_place(block.activation, features, saved, affine, y);
        } else {
            let [u, y, saved, affine] = disjoint(arena, [u_view, y_view, saved, affine]);
            norm::apply(block.activation, features, u, saved, affine, y);
        }
    }
}

/// The backward pass.
pub fn backward<T: Scalar>(
    arena: &mut [T],
    scratch: &mut Scratch<T>,
    block: &Block,
    call: &Backward,
) {
    let write = |accumulate| match accumulate {
        Accumulate::First => Write::Set,
        Accumulate::Later => Write::Add,
    };
    match (block.norm, call.saved) {
        (Some(_), Some(saved)) => {
            for group in 0..call.groups {
                // The first group sets the gradients of gamma and beta, the others add to them.
                let parameter_gradient = call.parameter_gradient.map(|(view, accumulate)| {
                    let write = if group == 0 {
                        write(accumulate)
                    } else {
                        Write::Add
                    };
                    (view, write)
                });
                norm_backward(
                    arena,
                    scratch,
                    (block, call),
                    saved,
                    group,
                    parameter_gradient,
                );
            }
        }
        (Some(_), None) => panic!("block {} has a batch norm and no statistics", block.name),
        (None, _) => {
            let [y, dy] = disjoint(arena, [call.output, call.gradient]);
            norm::activation_gradient(block.activation, y, dy);
        }
    }
    scratch.lap(Part::Norm);
    if let Some((gradient, accumulate)) = call.parameter_gradient {
        let write = write(accumulate);
        bias_gradient(arena, scratch, (block, call), gradient, write);
        scratch.lap(Part::Norm);
        let weight = gradient.part(block.weight, block.linear.weight_len());
        let [x, du, gradient] = disjoint(arena, [call.input, call.gradient, weight]);
        weight_gradient(block, x, du, gradient, write, scratch);
        scratch.lap(Part::WeightGradient);
    }
    if let Some(input_gradient) = call.input_gradient {
        let views = [call.parameters, call.gradient, input_gradient];
        let [parameters, du, dx] = disjoint(arena, views);
        let weights = &parameters[block.weight..][..block.linear.weight_len()];
        input_gradient_of(block, weights, du, dx, scratch);
        scratch.lap(Part::InputGradient);
    }
}

fn norm_backward<T: Scalar>(
    arena: &mut [T],
    scratch: &mut Scratch<T>,
    (block, call): (&Block, &Backward),
    saved: View,
    group: usize,
    parameter_gradient: Option<(View, Write)>,
) {
    let (Some(norm), Some(gamma)) = (block.norm, block.gamma) else {
        return;
    };
    let features = norm.features;
    let len = call.gradient.len / call.groups;
    let part = |view: View| view.part(group * len, len);
    let views = [
        part(call.linear),
        part(call.output),
        saved.part(group * 2 * features, 2 * features),
        call.parameters.part(gamma, features),
        part(call.gradient),
        parameter_gradient.map_or(View::default(), |(view, _)| view.part(gamma, 2 * features)),
    ];
    let [u, y, saved, gamma, dy, affine_gradient] = disjoint(arena, views);
    let (u, y, saved, gamma) = (&*u, &*y, &*saved, &*gamma);
    let backward = NormBackward {
        activation: block.activation,
        features,
        u,
        y,
        saved,
        gamma,
    };
    let partial = norm::norm_scratch(len / features, features);
    let (_, shared) = scratch.reserve(0, partial + 2 * features);
    let (sums, partial) = shared.split_at_mut(2 * features);
    norm::backward_sums(backward, dy, sums, partial);
    if let Some((_, write)) = parameter_gradient {
        let (plain, weighted) = sums.split_at(features);
        let (gamma_gradient, beta_gradient) = affine_gradient.split_at_mut(features);
        store(gamma_gradient, weighted, write);
        store(beta_gradient, plain, write);
    }
    norm::backward_apply(backward, sums, dy);
}

fn store<T: Scalar>(to: &mut [T], values: &[T], write: Write) {
    for (to, &value) in to.iter_mut().zip(values) {
        match write {
            Write::Set => *to = value,
            Write::Add => *to += value,
        }
    }
}

fn bias_gradient<T: Scalar>(
    arena: &mut [T],
    scratch: &mut Scratch<T>,
    (block, call): (&Block, &Backward),
    gradient: View,
    write: Write,
) {
    let Some(at) = block.bias else { return };
    let features = block.linear.bias_len();
    let [du, bias] = disjoint(arena, [call.gradient, gradient.part(at, features)]);
    if block.bias_is_cancelled() {
        if write == Write::Set {
            bias.fill(T::zero());
        }
        return;
    }
    let partial = norm::norm_scratch(du.len() / features, features);
    let (_, shared) = scratch.reserve(0, partial + 2 * features);
    let (sums, partial) = shared.split_at_mut(2 * features);
    norm::column_sums(features, du, sums, partial);
    store(bias, &sums[..features], write);
}

fn weight_gradient<T: Scalar>(
    block: &Block,
    x: &[T],
    du: &[T],
    gradient: &mut [T],
    write: Write,
    scratch: &mut Scratch<T>,
) {
    let (layer, big, small) = match block.linear {
        Linear::Dense { inputs, outputs } => {
            dense::weight_gradient((inputs, outputs), x, du, gradient, write);
            return;
        }
        Linear::Conv(layer) => (layer, x, du),
        Linear::TransposedConv(layer) => (layer, du, x),
    };
    let batch = big.len() / layer.big_len();
    let (shared, threads) = strided::wgrad_scratch::<T>(&layer, batch);
    let scratch = scratch.reserve(threads, shared);
    strided::wgrad(&layer, big, small, gradient, write, scratch);
}

fn input_gradient_of<T: Scalar>(
    block: &Block,
    weights: &[T],
    du: &[T],
    dx: &mut [T],
    scratch: &mut Scratch<T>,
) {
    let nothing = |_: &mut [T]| {};
    match block.linear {
        Linear::Dense { inputs, outputs } => {
            let batch = du.len() / outputs;
            let (_, threads) = dense::dense_scratch(inputs, outputs, batch);
            let (threads, _): (ThreadScratch<'_, T>, _) = scratch.reserve(threads, 0);
            dense::input_gradient((inputs, outputs), du, weights, dx, threads);
        }
        Linear::Conv(layer) => {
            let (shared, threads) =
                strided::dgrad_scratch::<T>(&layer, du.len() / layer.small_len());
            let scratch = scratch.reserve(threads, shared);
            strided::dgrad(&layer, du, weights, None, dx, scratch, nothing);
        }
        Linear::TransposedConv(layer) => {
            let (shared, threads) = strided::fprop_scratch::<T>(&layer, du.len() / layer.big_len());
            let scratch = scratch.reserve(threads, shared);
            strided::fprop(&layer, du, weights, None, dx, scratch, nothing);
        }
    }
}

//! The gradient of a block's input, taken on through activation and batch norm of the block below.

use super::super::Gpu;
use super::super::driver::{Driver, Pointer};
use super::super::ops::dense::DenseShape;
use super::super::ops::half::few::{self, FewFprop};
use super::super::ops::half::pack::Packing;
use super::super::ops::half::strided::{self, Operation, StridedCall};
use super::super::ops::half::{self, BelowNorm, End, Parts, dense, norm};
use super::norm_shape;
use crate::backend::{Accumulate, Backward, Below, Precision, View};
use crate::model::{Activation, Block, Linear};

/// Makes the gradient of the linear output of the block below, and the gradients of its gamma and beta,
/// or of its bias where it has no batch norm.
pub fn gradient_below<D: Driver>(
    gpu: &mut Gpu<D>,
    block: &Block,
    call: &Backward,
    below: &Below,
    to: View,
) {
    let producer = Producer {
        block,
        call,
        // A dense layer sums by the features that are wanted, whatever they are.
        channels: match &block.linear {
            Linear::Dense { .. } => below.features().unwrap_or(1),
            Linear::Conv(layer) => layer.c_big,
            Linear::TransposedConv(layer) => layer.c_small,
        },
    };
    let way = Way {
        below,
        norm: below.norm.as_ref().map(|norm| gpu.norm(norm)),
        shape: norm_shape(
            below.features().unwrap_or(producer.channels),
            to.len,
            call.groups,
        ),
        accumulate: call
            .parameter_gradient
            .map_or(Accumulate::First, |(_, accumulate)| accumulate),
        to: gpu.at(to),
    };
    if way.shape.features != producer.channels {
        way.by_passes(gpu, &producer);
    } else if producer.is_cheap() && way.norm.is_some() {
        way.twice(gpu, &producer);
    } else {
        way.at_once(gpu, &producer);
    }
}

impl Below {
    /// Features that sums are wanted of.
    fn features(&self) -> Option<usize> {
        let norm = self.norm.map(|norm| norm.features);
        norm.or(self.bias_gradient.map(|bias| bias.len))
    }
}

/// Where a gradient goes, on the device.
struct Way<'a> {
    below: &'a Below,
    norm: Option<BelowNorm>,
    /// As the block below sums.
    shape: super::NormShape,
    accumulate: Accumulate,
    to: Pointer,
}

/// Sums in parts, and the totals behind them.
#[derive(Clone, Copy)]
struct Sums {
    parts: Parts,
    at: Pointer,
    totals: Pointer,
}

impl Way<'_> {
    /// The producer does it all but the last pass.
    fn at_once<D: Driver>(&self, gpu: &mut Gpu<D>, producer: &Producer<'_>) {
        let sums = self.sums(gpu, producer.parts(gpu));
        let end = self.end(gpu, sums);
        producer.run(gpu, &end, self.to);
        self.finish(gpu, sums);
    }

    /// The gradient is made for its sums, and once more to be stored: less than to write and read it.
    fn twice<D: Driver>(&self, gpu: &mut Gpu<D>, producer: &Producer<'_>) {
        let sums = self.sums(gpu, producer.parts(gpu));
        let end = self.end(gpu, sums);
        let Some(sums) = sums else { return };
        producer.run_for_sums(gpu, &end);
        self.merge(gpu, sums);
        producer.run_applied(gpu, &end, sums.totals, self.to);
    }

    /// The block below sums by unit where the producer would by channel.
    fn by_passes<D: Driver>(&self, gpu: &mut Gpu<D>, producer: &Producer<'_>) {
        let plain = half::Below {
            activation: Activation::Identity,
            value: self.to,
            norm: None,
            sums: None,
        };
        producer.run(gpu, &plain, self.to);
        let sums = self.sums(gpu, norm::gradient_parts(self.shape));
        let end = self.end(gpu, sums);
        norm::gradient(&mut gpu.launcher, self.shape, &end, self.to);
        self.finish(gpu, sums);
    }

    /// Room for sums, where they are wanted.
    fn sums<D: Driver>(&self, gpu: &mut Gpu<D>, parts: Parts) -> Option<Sums> {
        let wanted = self.norm.is_some() || self.below.bias_gradient.is_some();
        wanted.then(|| {
            let totals = parts.room_bytes();
            let bytes = totals + 8 * parts.groups * parts.features;
            let at = gpu.launcher.workspace(bytes);
            Sums {
                parts,
                at,
                totals: Pointer(at.0 + totals as u64),
            }
        })
    }

    fn end<D: Driver>(&self, gpu: &Gpu<D>, sums: Option<Sums>) -> half::Below {
        let value = match self.norm {
            Some(_) => self.below.linear,
            None => self.below.output,
        };
        half::Below {
            activation: self.below.activation,
            value: gpu.at(value),
            norm: self.norm,
            sums: sums.map(|sums| sums.at),
        }
    }

    /// Sums into totals and the gradients of parameters.
    fn merge<D: Driver>(&self, gpu: &mut Gpu<D>, sums: Sums) {
        let at = |view: Option<View>| view.map(|view| (gpu.at(view), self.accumulate));
        let affine = at(self.below.affine_gradient);
        let bias = at(self.below.bias_gradient);
        let totals = self.norm.map(|_| sums.totals);
        norm::merge_sums(&mut gpu.launcher, sums.parts, sums.at, totals, affine, bias);
    }

    fn finish<D: Driver>(&self, gpu: &mut Gpu<D>, sums: Option<Sums>) {
        let Some(sums) = sums else { return };
        self.merge(gpu, sums);
        if let Some(by) = self.norm {
            let u = gpu.at(self.below.linear);
            let launcher = &mut gpu.launcher;
            norm::apply_gradient(launcher, self.shape, u, by, sums.totals, self.to);
        }
    }
}

/// What makes the gradient of a block's input.
struct Producer<'a> {
    block: &'a Block,
    call: &'a Backward,
    /// Features that it can sum by.
    channels: usize,
}

impl Producer<'_> {
    /// Whether it is bound by the memory that its output takes.
    fn is_cheap(&self) -> bool {
        matches!(self.block.linear, Linear::TransposedConv(_))
            && self.call.gradient.precision == Precision::F32
    }

    fn dense_shape(&self, inputs: usize, outputs: usize) -> DenseShape {
        DenseShape {
            batch: self.call.batch,
            inputs,
            outputs,
        }
    }

    fn parts<D: Driver>(&self, gpu: &Gpu<D>) -> Parts {
        let (batch, groups) = (self.call.batch, self.call.groups);
        match &self.block.linear {
            &Linear::Dense { inputs, outputs } => {
                let shape = self.dense_shape(inputs, outputs);
                dense::single_input_parts(shape, self.channels, groups)
            }
            Linear::Conv(layer) => {
                strided::parts(&gpu.launcher, Operation::Dgrad, layer, batch, groups)
            }
            Linear::TransposedConv(layer) if self.is_cheap() => {
                few::fprop_parts(layer, batch, groups)
            }
            Linear::TransposedConv(layer) => {
                strided::parts(&gpu.launcher, Operation::Fprop, layer, batch, groups)
            }
        }
    }

    fn weights(&self) -> View {
        let len = self.block.linear.weight_len();
        self.call.parameters.part(self.block.weight, len)
    }

    fn run<D: Driver>(&self, gpu: &mut Gpu<D>, below: &half::Below, to: Pointer) {
        let (batch, groups) = (self.call.batch, self.call.groups);
        let gradient = gpu.at(self.call.gradient);
        let (layer, packing) = match &self.block.linear {
            &Linear::Dense { inputs, outputs } => {
                debug_assert_eq!(outputs, 1, "hidden dense layers are a network's first");
                let shape = self.dense_shape(inputs, outputs);
                let weights = gpu.at(self.weights());
                dense::single_input_gradient(
                    &mut gpu.launcher,
                    shape,
                    self.channels,
                    groups,
                    gradient,
                    weights,
                    below,
                    to,
                );
                return;
            }
            Linear::TransposedConv(layer) if self.is_cheap() => {
                let call = FewFprop {
                    layer,
                    batch,
                    groups,
                    big: gradient,
                    weights: gpu.at(self.weights()),
                    output: to,
                    end: End::Backward(*below),
                };
                few::fprop(&mut gpu.launcher, &call);
                return;
            }
            Linear::Conv(layer) => (layer, Packing::Dgrad),
            Linear::TransposedConv(layer) => (layer, Packing::Fprop),
        };
        let call = StridedCall {
            layer,
            batch,
            groups,
            input: gradient,
            packed: gpu.packed(layer, self.weights(), packing, false),
            output: to,
            end: End::Backward(*below),
        };
        match packing {
            Packing::Fprop => strided::fprop(&mut gpu.launcher, &call),
            Packing::Dgrad => strided::dgrad(&mut gpu.launcher, &call),
        }
    }

    fn run_for_sums<D: Driver>(&self, gpu: &mut Gpu<D>, below: &half::Below) {
        let Linear::TransposedConv(layer) = &self.block.linear else {
            return;
        };
        let (batch, groups) = (self.call.batch, self.call.groups);
        let (big, weights) = (gpu.at(self.call.gradient), gpu.at(self.weights()));
        let launcher = &mut gpu.launcher;
        few::fprop_sums(launcher, layer, batch, groups, big, weights, below);
    }

    fn run_applied<D: Driver>(
        &self,
        gpu: &mut Gpu<D>,
        below: &half::Below,
        totals: Pointer,
        to: Pointer,
    ) {
        let Linear::TransposedConv(layer) = &self.block.linear else {
            return;
        };
        let (batch, groups) = (self.call.batch, self.call.groups);
        let (big, weights) = (gpu.at(self.call.gradient), gpu.at(self.weights()));
        let launcher = &mut gpu.launcher;
        few::fprop_applied(
            launcher, layer, batch, groups, big, weights, below, totals, to,
        );
    }
}

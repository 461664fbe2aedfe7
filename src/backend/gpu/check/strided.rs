//! The strided layer's kernels, each beside the CPU backend in f64.

use rand::RngExt;

use super::{Check, Size, Stage, draw, pick, sum};
use crate::backend::Accumulate;
use crate::backend::cpu::norm::activate_in_place;
use crate::backend::cpu::scalar::Write;
use crate::backend::cpu::scratch::Scratch;
use crate::backend::cpu::strided as reference;
use crate::backend::gpu::driver::{Driver, DriverError};
use crate::backend::gpu::launcher::Launcher;
use crate::backend::gpu::ops::strided::{StridedCall, WgradCall};
use crate::backend::gpu::ops::strided_form::{Form, Operation};
use crate::model::{Activation, PadLow, StridedLayer};

/// One operation by one kernel.
#[derive(Clone, Copy, Debug)]
pub struct Strided {
    pub operation: Operation,
    pub form: Form,
}

/// All of them.
pub fn checks() -> Vec<Strided> {
    let operations = [Operation::Fprop, Operation::Dgrad, Operation::Wgrad];
    operations
        .into_iter()
        .flat_map(|operation| Form::ALL.map(|form| Strided { operation, form }))
        .collect()
}

/// Products of one case on the emulator.
const MOST_PRODUCTS: usize = 9_000_000;

impl Strided {
    /// Products that a tiled kernel computes, those of the tiles' empty places included.
    fn cost(&self, layer: &StridedLayer, batch: usize) -> usize {
        let pixels = batch * layer.small * layer.small;
        let tile = self.form.tile(self.operation);
        let (rows, columns, depth) = match self.operation {
            Operation::Fprop => (pixels, layer.c_small, 25 * layer.c_big),
            Operation::Dgrad => (pixels, layer.c_big, 25 * layer.c_small),
            Operation::Wgrad => (layer.c_big, layer.c_small, 25 * pixels),
        };
        rows.next_multiple_of(tile.rows) * columns.next_multiple_of(tile.columns) * depth
    }
}

impl<D: Driver> Check<D> for Strided {
    fn name(&self) -> String {
        self.form.kernel(self.operation).to_owned()
    }

    fn run(&self, stage: &mut Stage<'_, D>, size: Size) -> Result<String, DriverError> {
        let case = Case::draw(self, stage, size);
        match self.operation {
            Operation::Fprop => case.fprop(self.form, stage)?,
            Operation::Dgrad => case.dgrad(self.form, stage)?,
            Operation::Wgrad => case.wgrad(self.form, stage)?,
        }
        let layer = draw::layer(&case.layer);
        Ok(format!("batch {}, {layer}", case.batch))
    }
}

/// What is drawn besides the values.
struct Case {
    layer: StridedLayer,
    batch: usize,
    biased: bool,
    activation: Activation,
    accumulate: Accumulate,
    /// Values by which tensors are off a multiple of 256 bytes.
    shift: usize,
}

/// Layers of the paper's networks: side, big channels, small channels.
const PAPER: [(usize, usize, usize); 4] =
    [(128, 1, 64), (64, 64, 128), (32, 128, 256), (16, 256, 512)];

impl Case {
    fn draw<D: Driver>(check: &Strided, stage: &mut Stage<'_, D>, size: Size) -> Self {
        let (form, random) = (check.form, &mut stage.random);
        let (layer, batch) = loop {
            let (small, c_big, c_small, batch) = match size {
                Size::Small => {
                    let whole = form.needs_vectors() || random.random();
                    let multiple = if whole { 4 } else { 1 };
                    let most = if random.random_range(0..4) == 0 {
                        140
                    } else {
                        70
                    };
                    let mut channels = || pick(random, 1..=most / multiple) * multiple;
                    let (c_big, c_small) = (channels(), channels());
                    (pick(random, 1..=9), c_big, c_small, pick(random, 1..=5))
                }
                Size::Paper => {
                    let (small, c_big, c_small) = PAPER[random.random_range(0..PAPER.len())];
                    (small, c_big, c_small, pick(random, 1..=64))
                }
            };
            let few = form == Form::Few;
            let layer = StridedLayer {
                small,
                c_big: if few { (c_big - 1) % 4 + 1 } else { c_big },
                c_small,
                pad_low: [PadLow::One, PadLow::Two][random.random_range(0..2)],
            };
            let affordable = size == Size::Paper || check.cost(&layer, batch) < MOST_PRODUCTS;
            if affordable && form.takes(&layer, true) {
                break (layer, batch);
            }
        };
        Self {
            layer,
            batch,
            biased: random.random(),
            activation: [
                Activation::Identity,
                Activation::Relu,
                Activation::LeakyRelu,
                Activation::Tanh,
            ][random.random_range(0..4)],
            accumulate: [Accumulate::First, Accumulate::Later][random.random_range(0..2)],
            shift: if form.needs_vectors() {
                4 * random.random_range(0..4)
            } else {
                random.random_range(0..8)
            },
        }
    }

    fn fprop<D: Driver>(&self, form: Form, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let layer = &self.layer;
        let (big, weights, bias) = self.values(stage, layer.big_len(), layer.c_small);
        let output = self.batch * layer.small_len();
        let terms = 25 * layer.c_big;
        let run = |input: &[f64], weights: &[f64], bias: Option<&[f64]>, out: &mut [f64]| {
            let mut scratch = Scratch::new();
            let (shared, threads) = reference::fprop_scratch::<f64>(layer, self.batch);
            let scratch = scratch.reserve(threads, shared);
            let finish = |tile: &mut [f64]| activate_in_place(self.activation, tile);
            reference::fprop(layer, input, weights, bias, out, scratch, finish);
        };
        let tensors = (big, weights, bias);
        self.compare(stage, tensors, output, terms, run, |l, call| {
            form.fprop(l, call)
        })
    }

    fn dgrad<D: Driver>(&self, form: Form, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let layer = &self.layer;
        let (small, weights, bias) = self.values(stage, layer.small_len(), layer.c_big);
        let output = self.batch * layer.big_len();
        let terms = 9 * layer.c_small;
        let run = |input: &[f64], weights: &[f64], bias: Option<&[f64]>, out: &mut [f64]| {
            let mut scratch = Scratch::new();
            let (shared, threads) = reference::dgrad_scratch::<f64>(layer, self.batch);
            let scratch = scratch.reserve(threads, shared);
            let finish = |tile: &mut [f64]| activate_in_place(self.activation, tile);
            reference::dgrad(layer, input, weights, bias, out, scratch, finish);
        };
        let tensors = (small, weights, bias);
        self.compare(stage, tensors, output, terms, run, |l, call| {
            form.dgrad(l, call)
        })
    }

    /// Input, weights and bias of an fprop or dgrad.
    fn values<D: Driver>(
        &self,
        stage: &mut Stage<'_, D>,
        input: usize,
        bias: usize,
    ) -> (Vec<f32>, Vec<f32>, Option<Vec<f32>>) {
        (
            stage.normals(self.batch * input),
            stage.normals(self.layer.weight_len()),
            self.biased.then(|| stage.normals(bias)),
        )
    }

    fn compare<D: Driver>(
        &self,
        stage: &mut Stage<'_, D>,
        (input, weights, bias): (Vec<f32>, Vec<f32>, Option<Vec<f32>>),
        output: usize,
        terms: usize,
        reference: impl Fn(&[f64], &[f64], Option<&[f64]>, &mut [f64]),
        run: impl Fn(&mut Launcher<D>, &StridedCall),
    ) -> Result<(), DriverError> {
        let mut expected = vec![0.0; output];
        let wide_bias = bias.as_deref().map(wide);
        reference(
            &wide(&input),
            &wide(&weights),
            wide_bias.as_deref(),
            &mut expected,
        );

        let call = StridedCall {
            layer: &self.layer,
            batch: self.batch,
            input: stage.input_at("input", &input, self.shift)?,
            weights: stage.input_at("weights", &weights, self.shift)?,
            bias: stage.optional_at("bias", bias.as_deref(), self.shift)?,
            activation: self.activation,
            output: stage.output_at("output", output, self.shift)?,
        };
        run(stage.launcher, &call);
        stage.compare("output", call.output, &expected, |_, expected| {
            sum(expected, terms, 1.0, 1.0)
        })
    }

    fn wgrad<D: Driver>(&self, form: Form, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let layer = &self.layer;
        let big = stage.normals(self.batch * layer.big_len());
        let small = stage.normals(self.batch * layer.small_len());
        let before = stage.normals(layer.weight_len());
        let write = match self.accumulate {
            Accumulate::First => Write::Set,
            Accumulate::Later => Write::Add,
        };
        let mut expected = wide(&before);
        let mut scratch = Scratch::new();
        let (shared, threads) = reference::wgrad_scratch::<f64>(layer, self.batch);
        let scratch = scratch.reserve(threads, shared);
        reference::wgrad(
            layer,
            &wide(&big),
            &wide(&small),
            &mut expected,
            write,
            scratch,
        );

        let gradient = stage.gradient_at("gradient", &before, self.accumulate, self.shift)?;
        let call = WgradCall {
            layer,
            batch: self.batch,
            big: stage.input_at("big", &big, self.shift)?,
            small: stage.input_at("small", &small, self.shift)?,
            gradient,
            accumulate: self.accumulate,
        };
        form.wgrad(stage.launcher, &call);
        let terms = self.batch * layer.small * layer.small;
        stage.compare("gradient", gradient, &expected, |_, expected| {
            sum(expected, terms, 1.0, 1.0)
        })
    }
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

#[cfg(test)]
#[path = "strided_tests.rs"]
mod tests;

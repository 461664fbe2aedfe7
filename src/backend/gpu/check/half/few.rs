//! The outermost layer's kernels with a small plane in bf16, each beside the CPU backend in f64.

mod backward;
mod moments;

use half::bf16;
use rand::RngExt;

use super::block::{Norm, read, slope};
use crate::backend::Accumulate;
use crate::backend::cpu::norm::activate_in_place;
use crate::backend::cpu::scratch::Scratch;
use crate::backend::cpu::strided as reference;
use crate::backend::gpu::check::draw::{narrow, wide};
use crate::backend::gpu::check::{Check, Size, Stage, draw, half_sum, pick, sum};
use crate::backend::gpu::driver::{Driver, DriverError, Pointer};
use crate::backend::gpu::ops::half::few::{self, FewDgrad, FewFprop, FewWgrad};
use crate::backend::gpu::ops::half::{End, Input, Parts};
use crate::model::{Activation, PadLow, StridedLayer};
use crate::rng::SequentialPhilox;

/// The operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Forward,
    Moments,
    Backward,
    /// The two passes of a gradient that is not kept.
    Twice,
    Dgrad,
    Wgrad,
}

/// One operation by the kernels that move 8 channels at once, or by those that take any layer.
#[derive(Clone, Copy, Debug)]
pub struct Few {
    pub operation: Operation,
    pub vector: bool,
}

/// All of them.
pub fn checks() -> Vec<Few> {
    use Operation::{Backward, Dgrad, Forward, Moments, Twice, Wgrad};
    [Forward, Moments, Backward, Twice, Dgrad, Wgrad]
        .into_iter()
        .flat_map(|operation| [true, false].map(|vector| Few { operation, vector }))
        .collect()
}

impl<D: Driver> Check<D> for Few {
    fn name(&self) -> String {
        let name = match self.operation {
            Operation::Forward => "fprop_v3_forward",
            Operation::Moments => "fprop_v3_moments",
            Operation::Backward => "fprop_v3_backward",
            Operation::Twice => "fprop_v3_applied",
            Operation::Dgrad => "dgrad_v3",
            Operation::Wgrad => "wgrad_v3",
        };
        format!("few_{name}{}", if self.vector { "" } else { "_any" })
    }

    fn run(&self, stage: &mut Stage<'_, D>, size: Size) -> Result<String, DriverError> {
        let case = Case::draw(*self, &mut stage.random, size);
        match self.operation {
            Operation::Forward => case.forward(stage)?,
            Operation::Moments => case.moments(stage)?,
            Operation::Backward => case.backward(stage)?,
            Operation::Twice => case.twice(stage)?,
            Operation::Dgrad => case.dgrad(stage)?,
            Operation::Wgrad => case.wgrad(stage)?,
        }
        let layer = draw::layer(&case.layer);
        Ok(format!(
            "{} groups of {}, {layer}, {:?}, norm {}",
            case.groups, case.samples, case.activation, case.normed
        ))
    }
}

/// What is drawn besides the values.
struct Case {
    layer: StridedLayer,
    groups: usize,
    /// Of a group.
    samples: usize,
    biased: bool,
    /// Whether the small plane has a batch norm.
    normed: bool,
    summed: bool,
    /// Of the small plane.
    activation: Activation,
    accumulate: Accumulate,
    /// Values by which f32 tensors, and maps that dgrad makes, are off a multiple of 256 bytes; and
    /// words by which the bf16 ones are.
    shift: usize,
    maps_shift: usize,
    half_shift: usize,
}

impl Case {
    fn draw(check: Few, random: &mut SequentialPhilox, size: Size) -> Self {
        let many = random.random_range(0..10) == 0 && check.operation != Operation::Dgrad;
        let (small, c_big, c_small, samples) = match size {
            Size::Paper => (128, pick(random, 1..=4), 64, pick(random, 1..=32)),
            // So many tiles that a block takes several.
            Size::Small if many => {
                let groups_of = pick(random, 520..=700);
                (pick(random, 1..=2), 1, 8 * pick(random, 1..=2), groups_of)
            }
            Size::Small => Self::draw_small(random),
        };
        let c_small = match check.vector {
            true => c_small.next_multiple_of(8),
            false => c_small,
        };
        let misplaced = !check.vector && c_small.is_multiple_of(8);
        Self {
            layer: StridedLayer {
                small,
                c_big,
                c_small,
                pad_low: [PadLow::One, PadLow::Two][random.random_range(0..2)],
            },
            groups: if many { 2 } else { random.random_range(1..=2) },
            samples,
            biased: random.random(),
            normed: random.random(),
            summed: random.random(),
            activation: match draw::activation(random) {
                Activation::Tanh if check.vector => Activation::LeakyRelu,
                activation => activation,
            },
            accumulate: draw::accumulate(random),
            shift: random.random_range(0..8),
            maps_shift: draw::shift(random, check.vector),
            half_shift: match misplaced {
                true => random.random_range(1..4),
                false => 4 * random.random_range(0..3),
            },
        }
    }

    /// Side, big channels, small channels, samples.
    fn draw_small(random: &mut SequentialPhilox) -> (usize, usize, usize, usize) {
        let c_big = match random.random_range(0..4) {
            0 => random.random_range(5..=9),
            _ => pick(random, 1..=4),
        };
        let c_small = match random.random_range(0..6) {
            0 => pick(random, 65..=136),
            1 => 64,
            _ => pick(random, 1..=70),
        };
        match random.random_range(0..6) {
            0 => (pick(random, 16..=37), c_big.min(4), c_small.min(32), 1),
            _ => (pick(random, 1..=9), c_big, c_small, pick(random, 1..=3)),
        }
    }

    fn batch(&self) -> usize {
        self.groups * self.samples
    }

    fn small_len(&self) -> usize {
        self.batch() * self.layer.small_len()
    }

    /// Small pixels of a group.
    fn rows(&self) -> usize {
        self.samples * self.layer.small * self.layer.small
    }

    /// Products of one value that fprop makes.
    fn terms(&self) -> usize {
        25 * self.layer.c_big
    }

    /// Which group and which feature a value of the small plane belongs to.
    fn place(&self, i: usize) -> (usize, usize) {
        let features = self.layer.c_small;
        (i / (self.rows() * features), i % features)
    }

    fn parts(&self) -> Parts {
        few::fprop_parts(&self.layer, self.batch(), self.groups)
    }

    /// Maps and weights, on the device and here.
    fn maps<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<Maps, DriverError> {
        let big = stage.normals(self.batch() * self.layer.big_len());
        let weights = stage.normals(self.layer.weight_len());
        Ok(Maps {
            big: stage.input_at("maps", &big, self.shift)?,
            weights: stage.input_at("weights", &weights, self.shift)?,
            values: wide(&big),
            weight_values: wide(&weights),
        })
    }

    /// The sums that fprop makes, and a bias.
    fn reference_fprop(&self, maps: &Maps, bias: Option<&[f64]>) -> Vec<f64> {
        let mut output = vec![0.0; self.small_len()];
        let mut scratch = Scratch::new();
        let (shared, threads) = reference::fprop_scratch::<f64>(&self.layer, self.batch());
        let scratch = scratch.reserve(threads, shared);
        let (big, weights) = (&maps.values, &maps.weight_values);
        let finish = |_: &mut [f64]| {};
        reference::fprop(
            &self.layer,
            big,
            weights,
            bias,
            &mut output,
            scratch,
            finish,
        );
        output
    }

    fn fprop<D: Driver>(&self, stage: &mut Stage<'_, D>, maps: &Maps, output: Pointer, end: End) {
        let call = FewFprop {
            layer: &self.layer,
            batch: self.batch(),
            groups: self.groups,
            big: maps.big,
            weights: maps.weights,
            output,
            end,
        };
        few::fprop(stage.launcher, &call);
    }

    /// A bias of the small plane's channels, on the device and here.
    fn bias<D: Driver>(
        &self,
        stage: &mut Stage<'_, D>,
    ) -> Result<Option<(Pointer, Vec<f64>)>, DriverError> {
        if !self.biased {
            return Ok(None);
        }
        let bias = stage.normals(self.layer.c_small);
        let pointer = stage.input_at("bias", &bias, self.shift)?;
        Ok(Some((pointer, wide(&bias))))
    }

    fn forward<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let maps = self.maps(stage)?;
        let bias = self.bias(stage)?;
        let values = bias.as_ref().map(|(_, values)| values.as_slice());
        let mut expected = self.reference_fprop(&maps, values);
        activate_in_place(self.activation, &mut expected);
        let output = stage.half_output("output", self.small_len())?;
        let end = End::Forward {
            bias: bias.map(|(pointer, _)| pointer),
            activation: self.activation,
            moments: None,
        };
        self.fprop(stage, &maps, output, end);
        stage.compare_half("output", output, &expected, |_, expected| {
            half_sum(expected, self.terms(), 1.0, 1.0)
        })
    }

    fn norm<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<Norm, DriverError> {
        let features = self.layer.c_small;
        Norm::draw(
            stage,
            self.groups,
            self.rows() * features,
            features,
            self.shift,
        )
    }

    /// A small plane that is read: what the kernel is given, and the values that it stands for, each
    /// with what rounding may make of it.
    fn source<D: Driver>(
        &self,
        stage: &mut Stage<'_, D>,
    ) -> Result<(Input, Vec<(f64, f64)>), DriverError> {
        let stored = stage.half_normals(self.small_len());
        let norm = match self.normed {
            true => Some(self.norm(stage)?),
            false => None,
        };
        let values = stored.iter().enumerate();
        let of = |(i, &stored): (usize, &bf16)| read(self.activation, norm.as_ref(), i, stored);
        let values = values.map(of).collect();
        let pointer = stage.input_at("small", &stored, self.half_shift)?;
        let input = match norm {
            None => Input::Stored(pointer),
            Some(norm) => Input::Normed {
                u: pointer,
                norm: norm.pointers,
                groups: self.groups,
                activation: self.activation,
            },
        };
        Ok((input, values))
    }

    fn dgrad<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let layer = &self.layer;
        let (input, values) = self.source(stage)?;
        let (values, apart): (Vec<f64>, Vec<f64>) = values.into_iter().unzip();
        let weights = stage.normals(layer.weight_len());
        // Maps, or their gradient and the slope of the block that made them.
        let gradient: bool = stage.random.random();
        let biased = self.biased && !gradient;
        let bias = biased.then(|| stage.normals(layer.c_big));
        let activation = draw::activation(&mut stage.random);
        let mut expected = vec![0.0; self.batch() * layer.big_len()];
        let mut scratch = Scratch::new();
        let (shared, threads) = reference::dgrad_scratch::<f64>(layer, self.batch());
        let scratch = scratch.reserve(threads, shared);
        reference::dgrad(
            layer,
            &values,
            &wide(&weights),
            bias.as_deref().map(wide).as_deref(),
            &mut expected,
            scratch,
            |tile: &mut [f64]| {
                if !gradient {
                    activate_in_place(activation, tile);
                }
            },
        );
        // What the doubtful inputs can come to: no activation is steeper than 1.
        let mut doubt = vec![0.0; expected.len()];
        let mut scratch = Scratch::new();
        let scratch = scratch.reserve(threads, shared);
        let sizes: Vec<f64> = weights
            .iter()
            .map(|&weight| f64::from(weight).abs())
            .collect();
        reference::dgrad(
            layer,
            &apart,
            &sizes,
            None,
            &mut doubt,
            scratch,
            |_: &mut [f64]| {},
        );
        let made = match gradient {
            true => {
                let mut made = wide(&stage.normals(expected.len()));
                activate_in_place(activation, &mut made);
                Some(narrow(&made))
            }
            false => None,
        };
        for (dy, &y) in expected.iter_mut().zip(made.iter().flatten()) {
            *dy *= slope(activation, f64::from(y));
        }

        let call = FewDgrad {
            layer,
            batch: self.batch(),
            input,
            weights: stage.input_at("weights", &weights, self.shift)?,
            bias: stage.optional_at("bias", bias.as_deref(), self.shift)?,
            activation,
            output: stage.output_at("maps", expected.len(), self.maps_shift)?,
            value: stage.optional_at("made", made.as_deref(), self.maps_shift)?,
        };
        few::dgrad(stage.launcher, &call);
        let terms = 9 * layer.c_small;
        stage.compare("maps", call.output, &expected, |i, expected| {
            sum(expected, terms, rms(&values), 1.0) + doubt[i]
        })
    }

    fn wgrad<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let layer = &self.layer;
        let big = stage.normals(self.batch() * layer.big_len());
        let (small, values) = self.source(stage)?;
        let (values, apart): (Vec<f64>, Vec<f64>) = values.into_iter().unzip();
        let before = stage.normals(layer.weight_len());
        let mut expected = wide(&before);
        let mut scratch = Scratch::new();
        let (shared, threads) = reference::wgrad_scratch::<f64>(layer, self.batch());
        let scratch = scratch.reserve(threads, shared);
        let write = draw::write(self.accumulate);
        reference::wgrad(layer, &wide(&big), &values, &mut expected, write, scratch);

        let mut doubt = vec![0.0; expected.len()];
        let mut scratch = Scratch::new();
        let scratch = scratch.reserve(threads, shared);
        let sizes: Vec<f64> = big.iter().map(|&value| f64::from(value).abs()).collect();
        let set = draw::write(Accumulate::First);
        reference::wgrad(layer, &sizes, &apart, &mut doubt, set, scratch);
        let gradient = stage.gradient_at("gradient", &before, self.accumulate, self.shift)?;
        let call = FewWgrad {
            layer,
            batch: self.batch(),
            big: stage.input_at("maps", &big, self.shift)?,
            small,
            gradient,
            accumulate: self.accumulate,
        };
        few::wgrad(stage.launcher, &call);
        let terms = self.groups * self.rows();
        stage.compare("gradient", gradient, &expected, |i, expected| {
            sum(expected, terms, rms(&values), 1.0) + doubt[i]
        })
    }
}

/// Maps and weights.
struct Maps {
    big: Pointer,
    weights: Pointer,
    values: Vec<f64>,
    weight_values: Vec<f64>,
}

fn rms(values: &[f64]) -> f64 {
    let squares: f64 = values.iter().map(|value| value * value).sum();
    (squares / values.len() as f64).sqrt()
}

#[cfg(test)]
#[path = "few_tests.rs"]
mod tests;

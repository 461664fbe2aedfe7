//! fprop and dgrad on tensor cores, each form with each end beside the CPU backend in f64.

use half::bf16;
use rand::RngExt;

use crate::backend::cpu::norm::{activate_in_place, activation_gradient};
use crate::backend::cpu::scratch::Scratch;
use crate::backend::cpu::strided as reference;
use crate::backend::gpu::check::draw::{self, activation, wide};
use crate::backend::gpu::check::{
    Check, Size, Stage, half_rounding, half_sum, pick, rounding, sum,
};
use crate::backend::gpu::driver::{Driver, DriverError, Pointer};
use crate::backend::gpu::ops::half::pack::{Packing, pack, packed_bytes};
use crate::backend::gpu::ops::half::strided::{Form, Operation, StridedCall};
use crate::backend::gpu::ops::half::{Below, BelowNorm, End};
use crate::model::{Activation, PadLow, StridedLayer};

/// What follows the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Activation,
    Moments,
    Slope,
    NormSlope,
}

impl Ending {
    const ALL: [Self; 4] = [
        Self::Activation,
        Self::Moments,
        Self::Slope,
        Self::NormSlope,
    ];
}

/// One operation by one kernel, with one end.
#[derive(Clone, Copy, Debug)]
pub struct HalfStrided {
    pub operation: Operation,
    pub form: Form,
    pub ending: Ending,
}

/// All of them.
pub fn checks() -> Vec<HalfStrided> {
    let mut checks = Vec::new();
    for operation in [Operation::Fprop, Operation::Dgrad] {
        for form in Form::ALL {
            checks.extend(Ending::ALL.map(|ending| HalfStrided {
                operation,
                form,
                ending,
            }));
        }
    }
    checks
}

/// Products of one case on the emulator.
const MOST_PRODUCTS: usize = 30_000_000;

impl<D: Driver> Check<D> for HalfStrided {
    fn name(&self) -> String {
        let ending = match self.ending {
            Ending::Activation => "activation",
            Ending::Moments => "moments",
            Ending::Slope => "slope",
            Ending::NormSlope => "norm_slope",
        };
        format!("{}_{ending}", self.form.kernel(self.operation))
    }

    fn run(&self, stage: &mut Stage<'_, D>, size: Size) -> Result<String, DriverError> {
        let case = Case::draw(*self, stage, size);
        match self.ending {
            Ending::Activation | Ending::Moments => case.forward(stage)?,
            Ending::Slope | Ending::NormSlope => case.backward(stage)?,
        }
        let layer = draw::layer(&case.layer);
        Ok(format!(
            "batch {} in {} groups, {layer}, {:?}",
            case.batch, case.groups, case.activation
        ))
    }
}

/// What is drawn besides the values.
struct Case {
    check: HalfStrided,
    layer: StridedLayer,
    batch: usize,
    groups: usize,
    activation: Activation,
    /// f32 values by which tensors of parameters are off a multiple of 256 bytes.
    shift: usize,
    biased: bool,
    /// Whether statistics are wanted.
    summed: bool,
}

/// Layers of the paper's networks: side, big channels, small channels.
const PAPER: [(usize, usize, usize); 3] = [(64, 64, 128), (32, 128, 256), (16, 256, 512)];

impl Case {
    fn draw<D: Driver>(check: HalfStrided, stage: &mut Stage<'_, D>, size: Size) -> Self {
        let random = &mut stage.random;
        let groups = random.random_range(1..=2);
        let (layer, samples) = loop {
            let (small, c_big, c_small, samples) = match size {
                Size::Small => {
                    let multiple = if check.form == Form::Any { 1 } else { 8 };
                    let most = [70, 140][usize::from(random.random_range(0..4) == 0)];
                    let mut channels = || pick(random, 1..=most / multiple) * multiple;
                    let (c_big, c_small) = (channels(), channels());
                    let side = [pick(random, 1..=9), 16, 32][random.random_range(0..10) / 8];
                    (side, c_big, c_small, pick(random, 1..=5))
                }
                Size::Paper => {
                    let (small, c_big, c_small) = PAPER[random.random_range(0..PAPER.len())];
                    (small, c_big, c_small, pick(random, 1..=32))
                }
            };
            let layer = StridedLayer {
                small,
                c_big,
                c_small,
                pad_low: [PadLow::One, PadLow::Two][random.random_range(0..2)],
            };
            let cost = check
                .form
                .products(check.operation, &layer, groups * samples, groups);
            if size == Size::Paper || cost < MOST_PRODUCTS {
                break (layer, samples);
            }
        };
        Self {
            check,
            layer,
            batch: groups * samples,
            groups,
            activation: match check.ending {
                Ending::Moments => Activation::Identity,
                _ => activation(random),
            },
            shift: random.random_range(0..8),
            biased: random.random(),
            summed: check.ending == Ending::Moments || random.random_range(0..4) > 0,
        }
    }

    fn outputs(&self) -> usize {
        self.check.operation.channels(&self.layer).1
    }

    /// Terms of an output value.
    fn terms(&self) -> usize {
        let (inputs, _) = self.check.operation.channels(&self.layer);
        match self.check.operation {
            Operation::Fprop => 25 * inputs,
            Operation::Dgrad => 9 * inputs,
        }
    }

    /// Input and packed weights on the device, and what the operation should make of them.
    fn sum<D: Driver>(
        &self,
        stage: &mut Stage<'_, D>,
        bias: Option<&[f64]>,
    ) -> Result<(Pointer, Pointer, Vec<f64>), DriverError> {
        let layer = &self.layer;
        let (input, output, packing) = match self.check.operation {
            Operation::Fprop => (layer.big_len(), layer.small_len(), Packing::Fprop),
            Operation::Dgrad => (layer.small_len(), layer.big_len(), Packing::Dgrad),
        };
        let input = stage.half_normals(self.batch * input);
        let weights = stage.normals(layer.weight_len());
        let mut expected = vec![0.0; self.batch * output];
        self.reference(&wide_half(&input), &rounded(&weights), bias, &mut expected);

        let input = stage.input("input", &input)?;
        let weights = stage.input_at("weights", &weights, self.shift)?;
        let packed = stage.half_output("packed", packed_bytes(layer, packing) / 2)?;
        pack(stage.launcher, layer, weights, packing.only(packed));
        Ok((input, packed, expected))
    }

    fn reference(&self, input: &[f64], weights: &[f64], bias: Option<&[f64]>, out: &mut [f64]) {
        let layer = &self.layer;
        let mut scratch = Scratch::new();
        match self.check.operation {
            Operation::Fprop => {
                let (shared, threads) = reference::fprop_scratch::<f64>(layer, self.batch);
                let scratch = scratch.reserve(threads, shared);
                reference::fprop(layer, input, weights, bias, out, scratch, |_| {});
            }
            Operation::Dgrad => {
                let (shared, threads) = reference::dgrad_scratch::<f64>(layer, self.batch);
                let scratch = scratch.reserve(threads, shared);
                reference::dgrad(layer, input, weights, bias, out, scratch, |_| {});
            }
        }
    }

    /// Runs the operation; gives where it wrote to.
    fn run<D: Driver>(
        &self,
        stage: &mut Stage<'_, D>,
        [input, packed]: [Pointer; 2],
        len: usize,
        end: End,
    ) -> Result<Pointer, DriverError> {
        let output = stage.half_output("output", len)?;
        let call = StridedCall {
            layer: &self.layer,
            batch: self.batch,
            groups: self.groups,
            input,
            packed,
            output,
            end,
        };
        self.check
            .form
            .run(stage.launcher, self.check.operation, &call);
        Ok(output)
    }

    fn forward<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let outputs = self.outputs();
        // Means that are many spreads show sums of squares that are not centred.
        let size = [1.0, 1000.0][stage.random.random_range(0..2)];
        let bias: Option<Vec<f32>> = self
            .biased
            .then(|| stage.normals(outputs).iter().map(|b| b * size).collect());
        let wide_bias = bias.as_deref().map(wide);
        let (input, packed, mut expected) = self.sum(stage, wide_bias.as_deref())?;
        activate_in_place(self.activation, &mut expected);

        let bias = stage.optional_at("bias", bias.as_deref(), self.shift)?;
        let parts = Parts::of(self);
        let moments = match self.check.ending {
            Ending::Moments => Some(stage.output("moments", parts.moments_len())?),
            _ => None,
        };
        let end = End::Forward {
            bias,
            activation: self.activation,
            moments,
        };
        let output = self.run(stage, [input, packed], expected.len(), end)?;
        let offset = |i: usize| wide_bias.as_ref().map_or(0.0, |bias| bias[i % outputs]);
        stage.compare_half("output", output, &expected, |i, value| {
            half_sum(value, self.terms(), 1.0, 1.0) + rounding(offset(i))
        })?;
        if let Some(moments) = moments {
            let stored = wide(&stage.read_half(output, expected.len())?);
            let (expected, tolerance) = parts.moments(self, &stored);
            stage.compare("moments", moments, &expected, |i, _| tolerance[i])?;
        }
        Ok(())
    }

    fn backward<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let outputs = self.outputs();
        let (input, packed, mut expected) = self.sum(stage, None)?;
        let value = stage.half_normals(expected.len());
        let normed = self.check.ending == Ending::NormSlope;
        let mut saved = stage.normals(self.groups * 2 * outputs);
        for group in saved.chunks_exact_mut(2 * outputs) {
            group[outputs..].iter_mut().for_each(|v| *v = 0.1 + v.abs());
        }
        let affine = stage.normals(2 * outputs);
        let (saved64, affine64) = (wide(&saved), wide(&affine));
        let values = wide_half(&value);
        let per_group = expected.len() / self.groups;
        // xhat, its size before the mean is taken off, what the activation gets, and its size.
        let normal = |i: usize| {
            let saved = &saved64[i / per_group * 2 * outputs..][..2 * outputs];
            let (c, u) = (i % outputs, values[i]);
            let (mean, scale) = (saved[c], saved[outputs + c]);
            let (gamma, beta) = (affine64[c], affine64[outputs + c]);
            let xhat = (u - mean) * scale;
            let size = (u.abs() + mean.abs()) * scale;
            let pre = gamma * xhat + beta;
            [xhat, size, pre, gamma.abs() * size + beta.abs()]
        };
        let mut y = values.clone();
        let mut doubtful = vec![0.0; y.len()];
        if normed {
            for (i, y) in y.iter_mut().enumerate() {
                let [_, _, pre, size] = normal(i);
                *y = pre;
                // f32 may see it on the other side of the kink.
                if pre.abs() < rounding(size) {
                    doubtful[i] = expected[i].abs();
                } else if self.activation == Activation::Tanh {
                    doubtful[i] = 2.0 * rounding(size) * expected[i].abs();
                }
            }
            activate_in_place(self.activation, &mut y);
        }
        activation_gradient(self.activation, &y, &mut expected);

        let parts = Parts::of(self);
        let below = Below {
            activation: self.activation,
            value: stage.input("value", &value)?,
            norm: match normed {
                true => Some(BelowNorm {
                    saved: stage.input_at("saved", &saved, self.shift)?,
                    affine: stage.input_at("affine", &affine, self.shift)?,
                }),
                false => None,
            },
            sums: match self.summed {
                true => Some(stage.output("sums", parts.sums_len())?),
                false => None,
            },
        };
        let end = End::Backward(below);
        let output = self.run(stage, [input, packed], expected.len(), end)?;
        stage.compare_half("output", output, &expected, |i, value| {
            half_sum(value, self.terms(), 1.0, 1.0) + doubtful[i] + half_rounding(doubtful[i])
        })?;
        if let Some(sums) = below.sums {
            let stored = wide(&stage.read_half(output, expected.len())?);
            let xhat = |i: usize| match normed {
                true => normal(i)[..2].try_into().unwrap_or_default(),
                false => [0.0; 2],
            };
            let (expected, tolerance) = parts.sums(self, &stored, xhat);
            stage.compare("sums", sums, &expected, |i, _| tolerance[i])?;
        }
        Ok(())
    }
}

/// The statistics that a form leaves: where each value belongs.
struct Parts {
    groups: usize,
    parts: usize,
    features: usize,
    /// Values by group, part and feature: their places in the tensor.
    members: Vec<Vec<usize>>,
}

impl Parts {
    fn of(case: &Case) -> Self {
        let HalfStrided {
            operation, form, ..
        } = case.check;
        let parts = form.parts(operation, &case.layer, case.batch, case.groups);
        let (groups, features) = (parts.groups, parts.features);
        let tile = form.tile(case.layer.small);
        let step = match operation {
            Operation::Fprop => 1,
            Operation::Dgrad => 2,
        };
        let side = step * case.layer.small;
        let down = case.layer.small.div_ceil(tile.rows);
        let across = case.layer.small.div_ceil(tile.columns);
        let samples = case.batch / groups;
        let mut members = vec![Vec::new(); groups * parts.parts * features];
        for i in 0..case.batch * side * side * features {
            let (pixel, feature) = (i / features, i % features);
            let (x, y) = (pixel % side / step, pixel / side % side / step);
            let sample = pixel / side / side;
            let (group, sample) = (sample / samples, sample % samples);
            let row = sample / tile.images * down + y / tile.rows;
            let part = row * across + x / tile.columns;
            members[(group * parts.parts + part) * features + feature].push(i);
        }
        Self {
            groups,
            parts: parts.parts,
            features,
            members,
        }
    }

    fn sums_len(&self) -> usize {
        2 * self.groups * self.parts * self.features
    }

    fn moments_len(&self) -> usize {
        self.sums_len() + self.groups * self.parts
    }

    /// Two values for each of the members, in the order in which they lie on the device; each with
    /// its tolerance.
    fn collect(&self, of: impl Fn(&[usize]) -> [(f64, f64); 2]) -> (Vec<f64>, Vec<f64>) {
        let mut both = vec![(0.0, 0.0); self.sums_len()];
        for (at, members) in self.members.iter().enumerate() {
            let (part, feature) = (at / self.features, at % self.features);
            for (which, value) in of(members).into_iter().enumerate() {
                both[(2 * part + which) * self.features + feature] = value;
            }
        }
        both.into_iter().unzip()
    }

    fn moments(&self, case: &Case, stored: &[f64]) -> (Vec<f64>, Vec<f64>) {
        assert_eq!(self.groups, case.groups);
        let (mut expected, mut tolerance) = self.collect(|members| {
            let count = members.len() as f64;
            let mean = members.iter().map(|&i| stored[i]).sum::<f64>() / count;
            let squares: f64 = members.iter().map(|&i| (stored[i] - mean).powi(2)).sum();
            let size = largest(members, |i| stored[i]);
            let mean_error = sum(mean * count, members.len(), size, 1.0) / count;
            let spread = (squares / count).sqrt();
            let of_spread = sum(squares, members.len(), spread, spread + size / count.sqrt());
            [
                (mean, mean_error),
                (squares, of_spread + count * mean_error * mean_error),
            ]
        });
        let counts = self.members.iter().step_by(self.features).map(Vec::len);
        expected.extend(counts.map(|count| count as f64));
        tolerance.resize(expected.len(), 0.0);
        (expected, tolerance)
    }

    fn sums(
        &self,
        case: &Case,
        stored: &[f64],
        xhat: impl Fn(usize) -> [f64; 2],
    ) -> (Vec<f64>, Vec<f64>) {
        assert_eq!(self.groups, case.groups);
        self.collect(|members| {
            let terms = members.len();
            let size = largest(members, |i| stored[i]);
            let other = largest(members, |i| xhat(i)[1]);
            let plain: f64 = members.iter().map(|&i| stored[i]).sum();
            let weighted: f64 = members.iter().map(|&i| stored[i] * xhat(i)[0]).sum();
            [
                (plain, sum(plain, terms, size, 1.0)),
                (weighted, sum(weighted, terms, size, other)),
            ]
        })
    }
}

fn largest(members: &[usize], of: impl Fn(usize) -> f64) -> f64 {
    members.iter().map(|&i| of(i).abs()).fold(0.0, f64::max)
}

fn wide_half(values: &[bf16]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}

/// The values as bf16 holds them.
fn rounded(values: &[f32]) -> Vec<f64> {
    let half = values.iter().map(|&value| bf16::from_f32(value));
    half.map(bf16::to_f64).collect()
}

#[cfg(test)]
#[path = "strided_tests.rs"]
mod tests;

//! The outermost layer's kernels with a small plane in bf16, each beside the CPU backend in f64.

use half::bf16;
use rand::RngExt;

use super::block::{Norm, read, slope, slope_at};
use crate::backend::Accumulate;
use crate::backend::cpu::norm::activate_in_place;
use crate::backend::cpu::scratch::Scratch;
use crate::backend::cpu::strided as reference;
use crate::backend::gpu::check::draw::{narrow, wide};
use crate::backend::gpu::check::{Check, Size, Stage, draw, half_rounding, half_sum, pick};
use crate::backend::gpu::check::{rounding, sum};
use crate::backend::gpu::driver::{Driver, DriverError, Pointer};
use crate::backend::gpu::ops::half::few::{self, FewDgrad, FewFprop, FewWgrad};
use crate::backend::gpu::ops::half::{Below, End, Input, Parts};
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
        let StridedLayer {
            small,
            c_big,
            c_small,
            pad_low,
        } = case.layer;
        Ok(format!(
            "{} groups of {}, side {small}, channels {c_big} and {c_small}, pad_low {}, {:?}, norm {}",
            case.groups,
            case.samples,
            pad_low.pixels(),
            case.activation,
            case.normed,
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
        let needed = reference::fprop_scratch(&self.layer, self.batch());
        let (threads, _) = scratch.reserve(needed, 0);
        let (big, weights) = (&maps.values, &maps.weight_values);
        let finish = |_: &mut [f64]| {};
        reference::fprop(
            &self.layer,
            big,
            weights,
            bias,
            &mut output,
            threads,
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

    fn moments<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let maps = self.maps(stage)?;
        let bias = self.bias(stage)?;
        let values = bias.as_ref().map(|(_, values)| values.as_slice());
        let expected = self.reference_fprop(&maps, values);
        let output = stage.half_output("output", self.small_len())?;
        let parts = self.parts();
        let moments = stage.output("moments", parts.moments_bytes() / 4)?;
        let end = End::Forward {
            bias: bias.map(|(pointer, _)| pointer),
            activation: Activation::Identity,
            moments: Some(moments),
        };
        self.fprop(stage, &maps, output, end);
        stage.compare_half("output", output, &expected, |_, expected| {
            half_sum(expected, self.terms(), 1.0, 1.0)
        })?;

        let stored = wide(&stage.read_half(output, self.small_len())?);
        let merged = merge_moments(&parts, &stage.read(moments, parts.moments_bytes() / 4)?);
        let expected = self.moments_of(&stored);
        let merged = stage.input("merged moments", &narrow(&merged))?;
        let features = parts.features;
        let rows = self.rows();
        stage.compare("moments", merged, &expected, |i, value| {
            let (group, feature) = (i / (3 * features), i % features);
            let at = 3 * group * features + feature;
            let spread = (expected[at + features] / rows as f64).sqrt();
            let size = expected[at].abs() + spread;
            match i / features % 3 {
                0 => sum(rows as f64 * size, rows, size, 1.0) / rows as f64,
                1 => {
                    let error = rounding(size);
                    sum(value, rows, size, spread) + rows as f64 * error * error
                }
                _ => 0.0,
            }
        })
    }

    /// `[groups, 3, features]`: mean, centred sum of squares, number.
    fn moments_of(&self, values: &[f64]) -> Vec<f64> {
        let (features, rows) = (self.layer.c_small, self.rows());
        let mut moments = Vec::new();
        for group in values.chunks_exact(rows * features) {
            let (mut mean, mut square) = (vec![0.0; features], vec![0.0; features]);
            for (i, value) in group.iter().enumerate() {
                mean[i % features] += value / rows as f64;
            }
            for (i, value) in group.iter().enumerate() {
                square[i % features] += (value - mean[i % features]).powi(2);
            }
            moments.extend(mean);
            moments.extend(square);
            moments.extend(vec![rows as f64; features]);
        }
        moments
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

    /// The block that a gradient flows back into, but for its sums.
    fn below<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<Block, DriverError> {
        let mut values = stage.normals(self.small_len());
        let norm = match self.normed {
            true => Some(self.norm(stage)?),
            false => {
                let mut outputs = wide(&values);
                activate_in_place(self.activation, &mut outputs);
                values = narrow(&outputs);
                None
            }
        };
        let stored: Vec<bf16> = values.into_iter().map(bf16::from_f32).collect();
        Ok(Block {
            below: Below {
                activation: self.activation,
                value: stage.input_at("value", &stored, self.half_shift)?,
                norm: norm.as_ref().map(|norm| norm.pointers),
                sums: None,
            },
            stored,
            norm,
        })
    }

    /// What multiplies dy, and by how much that is uncertain.
    fn slope(&self, block: &Block, i: usize) -> (f64, f64) {
        let value = block.stored[i].to_f64();
        slope_at(self.activation, block.norm.as_ref(), i, value)
    }

    /// A normalised value and the size of what it is made of; 0 without a norm.
    fn xhat(&self, block: &Block, i: usize) -> (f64, f64) {
        let Some(norm) = &block.norm else {
            return (0.0, 0.0);
        };
        let normal = norm.of(i, block.stored[i].to_f64());
        (normal.xhat, normal.xhat_size)
    }

    fn backward<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let maps = self.maps(stage)?;
        let mut block = self.below(stage)?;
        let parts = self.parts();
        if self.summed {
            block.below.sums = Some(stage.output("sums", parts.sums_bytes() / 4)?);
        }
        let g = self.gradient(stage, &maps, &block)?;
        match block.below.sums {
            Some(sums) => self.compare_sums(stage, &block, sums, &g),
            None => Ok(()),
        }
    }

    /// Stores g, compares and returns it.
    fn gradient<D: Driver>(
        &self,
        stage: &mut Stage<'_, D>,
        maps: &Maps,
        block: &Block,
    ) -> Result<Vec<f64>, DriverError> {
        let dy = self.reference_fprop(maps, None);
        let slopes: Vec<_> = (0..dy.len()).map(|i| self.slope(block, i)).collect();
        let expected: Vec<f64> = dy.iter().zip(&slopes).map(|(dy, s)| dy * s.0).collect();
        let output = stage.half_output("g", self.small_len())?;
        self.fprop(stage, maps, output, End::Backward(block.below));
        stage.compare_half("g", output, &expected, |i, expected| {
            half_sum(expected, self.terms(), 1.0, 1.0) + dy[i].abs() * slopes[i].1
        })?;
        Ok(wide(&stage.read_half(output, self.small_len())?))
    }

    /// The sums of the parts, beside those of what was stored.
    fn compare_sums<D: Driver>(
        &self,
        stage: &mut Stage<'_, D>,
        block: &Block,
        sums: Pointer,
        g: &[f64],
    ) -> Result<(), DriverError> {
        let parts = self.parts();
        let features = parts.features;
        let values = stage.read(sums, parts.sums_bytes() / 4)?;
        let mut merged = vec![0.0; self.groups * 2 * features];
        for (i, &value) in values.iter().enumerate() {
            let group = i / (parts.parts * 2 * features);
            merged[group * 2 * features + i % (2 * features)] += f64::from(value);
        }
        let (mut expected, mut squares) = (vec![0.0; merged.len()], vec![0.0; merged.len()]);
        for (i, &g) in g.iter().enumerate() {
            let (group, feature) = self.place(i);
            let (xhat, size) = self.xhat(block, i);
            let at = 2 * group * features + feature;
            for (at, value, size) in [(at, g, g), (at + features, g * xhat, g * size)] {
                expected[at] += value;
                squares[at] += size * size;
            }
        }
        let merged = stage.input("merged sums", &narrow(&merged))?;
        let rows = self.rows();
        stage.compare("sums", merged, &expected, |i, value| {
            let rms = (squares[i] / rows as f64).sqrt();
            sum(value, rows, rms, 1.0)
        })
    }

    fn twice<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let maps = self.maps(stage)?;
        let mut block = self.below(stage)?;
        let len = self.parts().sums_bytes() / 4;
        block.below.sums = Some(stage.output("sums beside g", len)?);
        let g = self.gradient(stage, &maps, &block)?;
        let beside = stage.read(block.below.sums.unwrap_or(Pointer::NULL), len)?;

        let alone = stage.output("sums", len)?;
        block.below.sums = Some(alone);
        let (batch, groups) = (self.batch(), self.groups);
        let (big, weights) = (maps.big, maps.weights);
        let l = &mut *stage.launcher;
        few::fprop_sums(l, &self.layer, batch, groups, big, weights, &block.below);
        stage.compare_bits("sums", alone, &beside)?;

        let features = self.layer.c_small;
        let mut totals = stage.normals(2 * groups * features);
        let rows = self.rows() as f64;
        totals
            .iter_mut()
            .for_each(|total| *total *= rows.sqrt() as f32);
        let expected: Vec<(f64, f64)> = (0..g.len())
            .map(|i| self.applied(&block, &totals, g[i], i))
            .collect();
        let totals = stage.input_at("totals", &totals, self.shift)?;
        let output = stage.half_output("du", self.small_len())?;
        block.below.sums = None;
        let l = &mut *stage.launcher;
        let below = &block.below;
        few::fprop_applied(
            l,
            &self.layer,
            batch,
            groups,
            big,
            weights,
            below,
            totals,
            output,
        );
        let (expected, sizes): (Vec<f64>, Vec<f64>) = expected.into_iter().unzip();
        stage.compare_half("du", output, &expected, |i, expected| {
            half_rounding(expected) + 2.0 * rounding(sizes[i])
        })
    }

    /// The gradient of the linear output, and the size of what it is the sum of.
    fn applied(&self, block: &Block, totals: &[f32], g: f64, i: usize) -> (f64, f64) {
        let Some(norm) = &block.norm else {
            return (g, 0.0);
        };
        let features = self.layer.c_small;
        let (group, feature) = self.place(i);
        let at = 2 * group * features + feature;
        let factor = norm.factor(i);
        let rows = self.rows() as f64;
        let plain = f64::from(totals[at]) / rows;
        let weighted = f64::from(totals[at + features]) / rows;
        let (xhat, size) = self.xhat(block, i);
        (
            factor * (g - (plain + xhat * weighted)),
            factor.abs() * (g.abs() + plain.abs() + size * weighted.abs()),
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
        let (shared, threads) = reference::dgrad_scratch(layer, self.batch());
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
            bias: match bias {
                Some(bias) => Some(stage.input_at("bias", &bias, self.shift)?),
                None => None,
            },
            activation,
            output: stage.output_at("maps", expected.len(), self.maps_shift)?,
            value: match made {
                Some(made) => Some(stage.input_at("made", &made, self.maps_shift)?),
                None => None,
            },
        };
        few::dgrad(stage.launcher, &call);
        let terms = 9 * layer.c_small;
        stage.compare("maps", call.output, &expected, |_, expected| {
            sum_of_inputs(expected, terms, &values, &apart)
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
        let (shared, threads) = reference::wgrad_scratch(layer, self.batch());
        let scratch = scratch.reserve(threads, shared);
        let write = draw::write(self.accumulate);
        reference::wgrad(layer, &wide(&big), &values, &mut expected, write, scratch);

        let gradient = match self.accumulate {
            Accumulate::First => stage.output_at("gradient", before.len(), self.shift)?,
            Accumulate::Later => stage.input_at("gradient", &before, self.shift)?,
        };
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
        stage.compare("gradient", gradient, &expected, |_, expected| {
            sum_of_inputs(expected, terms, &values, &apart)
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

/// The block that a gradient flows back into.
struct Block {
    below: Below,
    /// What it stored.
    stored: Vec<bf16>,
    norm: Option<Norm>,
}

/// What a sum of `terms` products of inputs and N(0, 1) numbers may be off by, where an input may have been
/// rounded to either of two values.
fn sum_of_inputs(expected: f64, terms: usize, values: &[f64], apart: &[f64]) -> f64 {
    let rms = |values: &[f64]| {
        let squares: f64 = values.iter().map(|value| value * value).sum();
        (squares / values.len() as f64).sqrt()
    };
    // One or a few of the terms, or many: five standard deviations, and the largest number drawn.
    let doubtful = apart.iter().copied().fold(0.0, f64::max);
    let doubtful = 5.0 * (doubtful + rms(apart) * (terms as f64).sqrt());
    sum(expected, terms, rms(values), 1.0) + doubtful
}

/// `[groups, 3, features]`, mean, centred sum of squares and number of a group's rows, from those of
/// its parts.
fn merge_moments(parts: &Parts, values: &[f32]) -> Vec<f64> {
    let features = parts.features;
    let values = wide(values);
    let (moments, counts) = values.split_at(parts.sums_bytes() / 4);
    let mut merged = vec![0.0; parts.groups * 3 * features];
    for (part, &count) in counts.iter().enumerate() {
        let own = &moments[2 * part * features..][..2 * features];
        let merged = &mut merged[part / parts.parts * 3 * features..][..3 * features];
        for i in 0..features {
            let before = merged[2 * features + i];
            let total = before + count;
            let delta = own[i] - merged[i];
            merged[i] += delta * count / total;
            merged[features + i] += own[features + i] + delta * delta * before * count / total;
            merged[2 * features + i] = total;
        }
    }
    merged
}

#[cfg(test)]
#[path = "few_tests.rs"]
mod tests;

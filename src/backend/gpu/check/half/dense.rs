//! The dense layer's kernels in mixed precision, each beside the CPU backend in f64.

use half::bf16;
use rand::RngExt;

use super::block::{Norm, compare_sums, read, slope_at};
use crate::backend::Accumulate;
use crate::backend::cpu::dense as reference;
use crate::backend::cpu::norm::activate_in_place;
use crate::backend::cpu::scratch::Scratch;
use crate::backend::gpu::check::draw::wide;
use crate::backend::gpu::check::{Check, Size, Stage, draw, half_rounding, half_sum, pick, sum};
use crate::backend::gpu::driver::{Driver, DriverError};
use crate::backend::gpu::ops::dense::DenseShape;
use crate::backend::gpu::ops::half::{Below, Input, dense};
use crate::model::Activation;

/// The operations; those of a layer with one output have kernels of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Forward,
    WeightGradient,
    SingleForward,
    SingleWeightGradient,
    SingleInputGradient,
}

/// One operation; of those of one output, by the kernels that take 8 values at once, or one.
#[derive(Clone, Copy, Debug)]
pub struct HalfDense {
    pub operation: Operation,
    pub vector: bool,
}

/// All of them.
pub fn checks() -> Vec<HalfDense> {
    use Operation::{
        Forward, SingleForward, SingleInputGradient, SingleWeightGradient, WeightGradient,
    };
    let all = [
        Forward,
        WeightGradient,
        SingleForward,
        SingleWeightGradient,
        SingleInputGradient,
    ];
    all.into_iter()
        .flat_map(|operation| [false, true].map(|vector| HalfDense { operation, vector }))
        .collect()
}

impl<D: Driver> Check<D> for HalfDense {
    fn name(&self) -> String {
        let name = match self.operation {
            Operation::Forward => "dense_forward",
            Operation::WeightGradient => "dense_weight_gradient",
            Operation::SingleForward => "single_forward",
            Operation::SingleWeightGradient => "single_weight_gradient",
            Operation::SingleInputGradient => "single_input_gradient",
        };
        format!("half_{name}_{}", if self.vector { "x8" } else { "x1" })
    }

    fn run(&self, stage: &mut Stage<'_, D>, size: Size) -> Result<String, DriverError> {
        let case = Case::draw(*self, stage, size);
        match self.operation {
            Operation::Forward => case.forward(stage)?,
            Operation::WeightGradient => case.weight_gradient(stage)?,
            Operation::SingleForward => case.single_forward(stage)?,
            Operation::SingleWeightGradient => case.single_weight_gradient(stage)?,
            Operation::SingleInputGradient => case.single_input_gradient(stage)?,
        }
        let DenseShape {
            batch,
            inputs,
            outputs,
        } = case.shape;
        Ok(format!(
            "batch {batch} in {} groups, {inputs} to {outputs}, {} features, {:?}, norm {}",
            case.groups, case.features, case.activation, case.normed
        ))
    }
}

/// What is drawn besides the values.
struct Case {
    shape: DenseShape,
    /// Of samples with statistics of their own, and features of the inputs' batch norm.
    groups: usize,
    features: usize,
    normed: bool,
    biased: bool,
    activation: Activation,
    accumulate: Accumulate,
    /// Values by which parameters are off a multiple of 256 bytes.
    shift: usize,
}

impl Case {
    fn draw<D: Driver>(check: HalfDense, stage: &mut Stage<'_, D>, size: Size) -> Self {
        let random = &mut stage.random;
        let single = !matches!(
            check.operation,
            Operation::Forward | Operation::WeightGradient
        );
        let groups = if single {
            random.random_range(1..=2)
        } else {
            1
        };
        let multiple = if check.vector { 8 } else { 1 };
        let (features, positions, samples) = match (single, size) {
            (_, Size::Paper) => (512, 256, pick(random, 1..=64)),
            (true, Size::Small) => match random.random_range(0..3) {
                0 => (multiple, pick(random, 1..=9000), pick(random, 1..=4)),
                1 => (
                    pick(random, 1..=70) * multiple,
                    pick(random, 1..=40),
                    pick(random, 1..=19),
                ),
                _ => (pick(random, 1..=9) * multiple, 16, pick(random, 60..=140)),
            },
            (false, Size::Small) => (
                pick(random, 1..=18) * multiple,
                pick(random, 1..=12),
                pick(random, 1..=20),
            ),
        };
        // Rows that are no whole 16 bytes, for the kernels that take one value.
        let features = match check.vector || features % 8 > 0 || size == Size::Paper {
            true => features,
            false => features + 1,
        };
        let (wide, batch) = (features * positions, groups * samples);
        let shape = match (single, random.random_range(0..4)) {
            (true, _) => DenseShape {
                batch,
                inputs: wide,
                outputs: 1,
            },
            (false, 0) => match check.operation {
                // Sums so long that they are cut into parts.
                Operation::Forward => DenseShape {
                    batch,
                    inputs: pick(random, 300..=700),
                    outputs: wide,
                },
                _ => DenseShape {
                    batch: pick(random, 300..=700),
                    inputs: pick(random, 1..=20),
                    outputs: wide.min(200),
                },
            },
            (false, _) => DenseShape {
                batch,
                inputs: pick(random, 1..=130),
                outputs: wide,
            },
        };
        Self {
            shape,
            groups,
            features,
            normed: random.random(),
            biased: random.random(),
            activation: draw::activation(random),
            accumulate: draw::accumulate(random),
            shift: 4 * random.random_range(0..3),
        }
    }

    fn forward<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let DenseShape {
            batch,
            inputs,
            outputs,
        } = self.shape;
        let x = stage.normals(batch * inputs);
        let weights = stage.normals(inputs * outputs);
        let bias = self.biased.then(|| stage.normals(outputs));
        let mut expected = vec![0.0; batch * outputs];
        let mut scratch = Scratch::new();
        let (shared, threads) = reference::dense_scratch(inputs, outputs, batch);
        reference::forward(
            (inputs, outputs),
            &wide(&x),
            &wide(&weights),
            bias.as_deref().map(wide).as_deref(),
            &mut expected,
            scratch.reserve(threads, shared),
        );
        activate_in_place(self.activation, &mut expected);
        let x = stage.input("x", &x)?;
        let weights = stage.input_at("weights", &weights, self.shift)?;
        let bias = stage.optional_at("bias", bias.as_deref(), self.shift)?;
        let y = stage.half_output("y", expected.len())?;
        let activation = self.activation;
        dense::forward(stage.launcher, self.shape, x, weights, bias, activation, y);
        stage.compare_half("y", y, &expected, |_, value| {
            half_sum(value, inputs + 1, 1.0, 1.0)
        })
    }

    fn weight_gradient<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let DenseShape {
            batch,
            inputs,
            outputs,
        } = self.shape;
        let x = stage.normals(batch * inputs);
        let dy = stage.half_normals(batch * outputs);
        let before = stage.normals(inputs * outputs);
        let mut expected = wide(&before);
        let sizes = (inputs, outputs);
        let values: Vec<f64> = dy.iter().map(|value| value.to_f64()).collect();
        let write = draw::write(self.accumulate);
        reference::weight_gradient(sizes, &wide(&x), &values, &mut expected, write);
        let x = stage.input("x", &x)?;
        let dy = stage.input("dy", &dy)?;
        let gradient = stage.gradient_at("gradient", &before, self.accumulate, self.shift)?;
        let accumulate = self.accumulate;
        dense::weight_gradient(stage.launcher, self.shape, x, dy, gradient, accumulate);
        stage.compare("gradient", gradient, &expected, |_, value| {
            sum(value, batch + 1, 1.0, 1.0)
        })
    }

    fn norm<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<Option<Norm>, DriverError> {
        if !self.normed {
            return Ok(None);
        }
        let group_len = self.shape.batch / self.groups * self.shape.inputs;
        Norm::draw(stage, self.groups, group_len, self.features, self.shift).map(Some)
    }

    /// The layer's input on the device, and each of its values with its uncertainty.
    fn input<D: Driver>(
        &self,
        stage: &mut Stage<'_, D>,
    ) -> Result<(Input, Vec<(f64, f64)>), DriverError> {
        let stored = stage.half_normals(self.shape.batch * self.shape.inputs);
        let norm = self.norm(stage)?;
        let values = stored.iter().enumerate();
        let of = |(i, &stored): (usize, &bf16)| read(self.activation, norm.as_ref(), i, stored);
        let values = values.map(of).collect();
        let x = stage.input("x", &stored)?;
        let input = match norm {
            None => Input::Stored(x),
            Some(norm) => Input::Normed {
                u: x,
                norm: norm.pointers,
                groups: self.groups,
                activation: self.activation,
            },
        };
        Ok((input, values))
    }

    fn single_forward<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let DenseShape { inputs, .. } = self.shape;
        let (x, values) = self.input(stage)?;
        let weights = stage.normals(inputs);
        let bias = self.biased.then(|| stage.normals(1));
        let offset = bias.as_ref().map_or(0.0, |bias| f64::from(bias[0]));
        let (mut expected, mut apart) = (Vec::new(), Vec::new());
        for sample in values.chunks_exact(inputs) {
            let pairs = || sample.iter().zip(&weights);
            let sum: f64 = pairs().map(|((x, _), &w)| x * f64::from(w)).sum();
            expected.push(sum + offset);
            apart.push(
                pairs()
                    .map(|((_, d), &w)| d * f64::from(w).abs())
                    .sum::<f64>(),
            );
        }
        let weights = stage.input_at("weights", &weights, self.shift)?;
        let bias = stage.optional_at("bias", bias.as_deref(), self.shift)?;
        let y = stage.output("y", expected.len())?;
        let (l, shape, features) = (&mut *stage.launcher, self.shape, self.features);
        dense::single_forward(l, shape, x, features, weights, bias, y);
        stage.compare("y", y, &expected, |i, value| {
            sum(value, inputs + 1, rms(&values), 1.0) + apart[i]
        })
    }

    fn single_weight_gradient<D: Driver>(
        &self,
        stage: &mut Stage<'_, D>,
    ) -> Result<(), DriverError> {
        let DenseShape { batch, inputs, .. } = self.shape;
        let (x, values) = self.input(stage)?;
        let dy = stage.normals(batch);
        let before = stage.normals(inputs);
        let mut expected = match self.accumulate {
            Accumulate::First => vec![0.0; inputs],
            Accumulate::Later => wide(&before),
        };
        let mut apart = vec![0.0; inputs];
        for (sample, &dy) in values.chunks_exact(inputs).zip(&dy) {
            for (i, (x, d)) in sample.iter().enumerate() {
                expected[i] += x * f64::from(dy);
                apart[i] += d * f64::from(dy).abs();
            }
        }
        let dy = stage.input("dy", &dy)?;
        let gradient = stage.gradient_at("gradient", &before, self.accumulate, self.shift)?;
        let (l, shape, features) = (&mut *stage.launcher, self.shape, self.features);
        let accumulate = self.accumulate;
        dense::single_weight_gradient(l, shape, x, features, dy, gradient, accumulate);
        stage.compare("gradient", gradient, &expected, |i, value| {
            sum(value, batch + 1, rms(&values), 1.0) + apart[i]
        })
    }

    fn single_input_gradient<D: Driver>(
        &self,
        stage: &mut Stage<'_, D>,
    ) -> Result<(), DriverError> {
        let DenseShape { batch, inputs, .. } = self.shape;
        let dy = stage.normals(batch);
        let weights = stage.normals(inputs);
        let value = stage.half_normals(batch * inputs);
        let norm = self.norm(stage)?;
        let slopes: Vec<_> = (0..value.len())
            .map(|i| slope_at(self.activation, norm.as_ref(), i, value[i].to_f64()))
            .collect();
        let dx = |i: usize| f64::from(dy[i / inputs]) * f64::from(weights[i % inputs]);
        let expected: Vec<f64> = (0..value.len()).map(|i| dx(i) * slopes[i].0).collect();
        let parts = dense::single_input_parts(self.shape, self.features, self.groups);
        let summed = stage.random.random_range(0..4) > 0;
        let sums = match summed {
            true => Some(stage.output("sums", parts.sums_bytes() / 4)?),
            false => None,
        };
        let below = Below {
            activation: self.activation,
            value: stage.input("value", &value)?,
            norm: norm.as_ref().map(|norm| norm.pointers),
            sums,
        };
        let dy_at = stage.input("dy", &dy)?;
        let weights_at = stage.input_at("weights", &weights, self.shift)?;
        let g = stage.half_output("g", expected.len())?;
        let (l, features) = (&mut *stage.launcher, self.features);
        dense::single_input_gradient(
            l,
            self.shape,
            features,
            self.groups,
            dy_at,
            weights_at,
            &below,
            g,
        );
        stage.compare_half("g", g, &expected, |i, value| {
            half_rounding(value) + 2.0 * dx(i).abs() * slopes[i].1
        })?;
        let Some(sums) = sums else { return Ok(()) };
        let stored = wide(&stage.read_half(g, expected.len())?);
        compare_sums(stage, &parts, sums, &stored, |i| {
            norm.as_ref().map_or((0.0, 0.0), |norm| {
                let normal = norm.of(i, value[i].to_f64());
                (normal.xhat, normal.xhat_size)
            })
        })
    }
}

fn rms(values: &[(f64, f64)]) -> f64 {
    let squares: f64 = values.iter().map(|(value, _)| value * value).sum();
    (squares / values.len() as f64).sqrt()
}

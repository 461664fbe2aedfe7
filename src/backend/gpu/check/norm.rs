//! Batch norm's kernels and sums of columns, each beside the CPU backend in f64.

use rand::RngExt;

use super::draw::{narrow, wide};
use super::{Check, Size, Stage, draw, pick, rounding, sum};
use crate::backend::Accumulate;
use crate::backend::cpu::norm as reference;
use crate::backend::gpu::driver::{Driver, DriverError, Pointer};
use crate::backend::gpu::ops::columns::column_sums;
use crate::backend::gpu::ops::norm::{self, NormApply, NormBackward, NormShape};
use crate::model::{Activation, BatchNorm};

/// The operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Statistics,
    Running,
    Apply,
    Backward,
    ColumnSums,
}

/// One operation by the kernels that take one feature a thread, or four.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    pub operation: Operation,
    pub vector: bool,
}

/// All of them.
pub fn checks() -> Vec<Norm> {
    use Operation::{Apply, Backward, ColumnSums, Running, Statistics};
    [Statistics, Running, Apply, Backward, ColumnSums]
        .into_iter()
        .flat_map(|operation| [false, true].map(|vector| Norm { operation, vector }))
        // It has one kernel.
        .filter(|check| check.operation != Running || !check.vector)
        .collect()
}

impl<D: Driver> Check<D> for Norm {
    fn name(&self) -> String {
        let name = match self.operation {
            Operation::Statistics => "norm_statistics",
            Operation::Running => return "norm_running".to_owned(),
            Operation::Apply => "norm_apply",
            Operation::Backward => "norm_backward",
            Operation::ColumnSums => "column_sums",
        };
        format!("{name}_{}", if self.vector { "x4" } else { "x1" })
    }

    fn run(&self, stage: &mut Stage<'_, D>, size: Size) -> Result<String, DriverError> {
        let case = Case::draw(*self, stage, size);
        match self.operation {
            Operation::Statistics => case.statistics(stage)?,
            Operation::Running => case.running(stage)?,
            Operation::Apply => case.apply(stage)?,
            Operation::Backward => case.backward(stage)?,
            Operation::ColumnSums => case.column_sums(stage)?,
        }
        let NormShape {
            groups,
            rows,
            features,
        } = case.shape;
        Ok(format!(
            "{groups} groups of {rows} rows of {features}, {:?}",
            case.activation
        ))
    }
}

/// What is drawn besides the values.
struct Case {
    shape: NormShape,
    activation: Activation,
    accumulate: Accumulate,
    /// Values by which tensors are off a multiple of 256 bytes.
    shift: usize,
}

/// Rows of a sample and features, of the paper's networks and of the thesis's dense layer.
const PAPER: [(usize, usize); 6] = [
    (256, 512),
    (1024, 256),
    (4096, 128),
    (16_384, 64),
    (65_536, 1),
    (1, 131_072),
];

impl Case {
    fn draw<D: Driver>(norm: Norm, stage: &mut Stage<'_, D>, size: Size) -> Self {
        let random = &mut stage.random;
        let groups = random.random_range(1..=3);
        let (rows, features) = match size {
            Size::Small if norm.vector => Self::draw_small(random, 4),
            Size::Small => Self::draw_small(random, 1),
            Size::Paper => {
                let places = if norm.vector { 5 } else { 6 };
                let (rows, features) = PAPER[random.random_range(0..places)];
                (rows * pick(random, 2..=64), features)
            }
        };
        let vector = norm.vector && features.is_multiple_of(4);
        Self {
            shape: NormShape {
                groups,
                rows,
                features,
            },
            activation: draw::activation(random),
            accumulate: draw::accumulate(random),
            shift: draw::shift(random, vector),
        }
    }

    /// Few rows of some features, or so many rows that their chunks are merged by rows of threads.
    fn draw_small(random: &mut crate::rng::SequentialPhilox, multiple: usize) -> (usize, usize) {
        match random.random_range(0..5) {
            0 => (pick(random, 2050..=2400), pick(random, 24..=34) * multiple),
            1 => {
                let features = pick(random, 1..=2) * multiple;
                (pick(random, 40_000..=50_000) / multiple, features)
            }
            2 => (pick(random, 2..=40), pick(random, 1..=130) * multiple),
            _ => (
                pick(random, 2..=900),
                pick(random, 1..=70 / multiple) * multiple,
            ),
        }
    }

    fn len(&self) -> usize {
        self.shape.groups * self.shape.rows * self.shape.features
    }

    /// Values with a mean and a spread of each feature's own; the mean may be hundreds of spreads.
    fn linear<D: Driver>(&self, stage: &mut Stage<'_, D>, offset: f32) -> Vec<f32> {
        let features = self.shape.features;
        let means = stage.normals(features);
        let spreads = stage.normals(features);
        let mut u = stage.normals(self.len());
        for row in u.chunks_exact_mut(features) {
            for i in 0..features {
                let spread = 0.1 + spreads[i].abs();
                row[i] = spread * (row[i] + offset * means[i]);
            }
        }
        u
    }

    /// `[groups, 2, features]` of the reference, without its running averages.
    fn saved(&self, u: &[f32]) -> Vec<f64> {
        let mut running = vec![0.0; 2 * self.shape.features];
        self.reference_statistics(u, &mut running, 0.1)
    }

    fn reference_statistics(&self, u: &[f32], running: &mut [f64], momentum: f64) -> Vec<f64> {
        let NormShape { rows, features, .. } = self.shape;
        let mut partial = vec![0.0; reference::norm_scratch(rows, features)];
        let mut saved = Vec::new();
        for u in wide(u).chunks_exact(rows * features) {
            let mut group = vec![0.0; 2 * features];
            let running = (&mut *running, momentum);
            let norm = BatchNorm { features };
            reference::statistics(norm, u, &mut group, running, &mut partial);
            saved.extend(group);
        }
        saved
    }

    fn statistics<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let NormShape { rows, features, .. } = self.shape;
        let offset = stage.random.random_range(0.0..300.0f32);
        let u = self.linear(stage, offset);
        let momentum = stage.random.random_range(0.05..0.5);
        let mut running: Vec<f32> = stage.normals(features);
        running.extend(stage.normals(features).iter().map(|v| v * v));
        let mut averages = wide(&running);
        let expected = self.reference_statistics(&u, &mut averages, momentum);

        let u = stage.input_at("u", &u, self.shift)?;
        let saved = stage.output_at("saved", expected.len(), self.shift)?;
        let running = stage.input_at("running", &running, self.shift)?;
        norm::statistics(stage.launcher, self.shape, u, saved, running, momentum);

        // A mean is a sum of values of size |mean| + spread; what it is off by shifts the values
        // that the variance is made of, against their spread.
        let of = |i: usize| {
            (
                i / (2 * features) * 2 * features + i % features,
                i % features,
            )
        };
        let spread = |i: usize| 1.0 / expected[of(i).0 + features];
        let mean_error = |i: usize| {
            let size = expected[of(i).0].abs() + spread(i);
            sum(rows as f64 * size, rows, size, 1.0) / rows as f64
        };
        let is_mean = |i: usize| (i / features).is_multiple_of(2);
        stage.compare("saved", saved, &expected, |i, value| match is_mean(i) {
            true => mean_error(i),
            false => 2.0 * rounding(value) + value * mean_error(i) / spread(i),
        })?;
        let all = || (0..self.shape.groups).map(|group| 2 * features * group);
        stage.compare("running", running, &averages, |i, value| {
            let feature = i % features;
            let error = match is_mean(i) {
                true => all().map(|at| mean_error(at + feature)).fold(0.0, f64::max),
                false => all()
                    .map(|at| 4.0 * mean_error(at + feature) * spread(at + feature))
                    .fold(0.0, f64::max),
            };
            rounding(value) + error
        })
    }

    fn running<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let features = self.shape.features;
        let mut running = stage.normals(features);
        running.extend(stage.normals(features).iter().map(|v| 0.01 * v.powi(4)));
        let mut expected = vec![0.0; 2 * features];
        reference::running_statistics(&wide(&running), &mut expected);
        let running = stage.input_at("running", &running, self.shift)?;
        let saved = stage.output_at("saved", expected.len(), self.shift)?;
        norm::running_statistics(stage.launcher, features, running, saved);
        stage.compare("saved", saved, &expected, |_, value| rounding(value))
    }

    fn apply<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let u = self.linear(stage, 2.0);
        let saved = narrow(&self.saved(&u));
        let affine = stage.normals(2 * self.shape.features);
        let (expected, size) = self.reference_apply(&u, &saved, &affine);

        let in_place = stage.random.random();
        let u = stage.input_at("u", &u, self.shift)?;
        let call = NormApply {
            shape: self.shape,
            activation: self.activation,
            u,
            saved: stage.input_at("saved", &saved, self.shift)?,
            affine: stage.input_at("affine", &affine, self.shift)?,
            y: match in_place {
                true => u,
                false => stage.output_at("y", expected.len(), self.shift)?,
            },
        };
        norm::apply(stage.launcher, &call);
        stage.compare("y", call.y, &expected, |i, _| rounding(size[i]))
    }

    /// The output, and the size of what it is the sum of.
    fn reference_apply(&self, u: &[f32], saved: &[f32], affine: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let NormShape { rows, features, .. } = self.shape;
        let (u, saved, affine) = (wide(u), wide(saved), wide(affine));
        let (mut y, mut size) = (vec![0.0; u.len()], Vec::new());
        let groups = y.chunks_exact_mut(rows * features);
        let groups = groups.zip(u.chunks_exact(rows * features));
        for ((y, u), saved) in groups.zip(saved.chunks_exact(2 * features)) {
            reference::apply(self.activation, features, u, saved, &affine, y);
            for (i, &u) in u.iter().enumerate() {
                let feature = i % features;
                let scale = saved[features + feature] * affine[feature].abs();
                size.push(
                    (u.abs() + saved[feature].abs()) * scale + affine[features + feature].abs(),
                );
            }
        }
        (y, size)
    }

    fn backward<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let NormShape {
            groups, features, ..
        } = self.shape;
        let u = self.linear(stage, 1.0);
        let saved = narrow(&self.saved(&u));
        let affine = stage.normals(2 * features);
        let y = narrow(&self.reference_apply(&u, &saved, &affine).0);
        let dy = stage.normals(self.len());
        let wanted: bool = stage.random.random_range(0..4) > 0;
        let before = stage.normals(2 * features);
        let mut expected = Backward {
            gradient: wide(&dy),
            affine: match self.accumulate {
                Accumulate::First => vec![0.0; 2 * features],
                Accumulate::Later => wide(&before),
            },
            tolerance: Vec::new(),
        };
        self.reference_backward([&u, &y, &saved, &affine], &mut expected);

        let affine_gradient = match (wanted, self.accumulate) {
            (false, _) => None,
            (true, Accumulate::First) => {
                Some(stage.output_at("affine gradient", 2 * features, self.shift)?)
            }
            (true, Accumulate::Later) => {
                Some(stage.input_at("affine gradient", &before, self.shift)?)
            }
        };
        let call = NormBackward {
            shape: self.shape,
            activation: self.activation,
            u: stage.input_at("u", &u, self.shift)?,
            y: stage.input_at("y", &y, self.shift)?,
            saved: stage.input_at("saved", &saved, self.shift)?,
            gamma: stage.input_at("gamma", &affine[..features], self.shift)?,
            gradient: stage.input_at("gradient", &dy, self.shift)?,
            affine_gradient: affine_gradient.map(|at: Pointer| (at, self.accumulate)),
        };
        norm::backward(stage.launcher, &call);
        stage.compare("gradient", call.gradient, &expected.gradient, |i, _| {
            expected.tolerance[i]
        })?;
        let Some(at) = affine_gradient else {
            return Ok(());
        };
        let terms = groups * self.shape.rows;
        stage.compare("affine gradient", at, &expected.affine, |_, value| {
            sum(value, terms, 2.0, 2.0)
        })
    }

    fn reference_backward(&self, [u, y, saved, affine]: [&[f32]; 4], expected: &mut Backward) {
        let NormShape { rows, features, .. } = self.shape;
        let len = rows * features;
        let (u, y, saved, affine) = (wide(u), wide(y), wide(saved), wide(affine));
        let mut partial = vec![0.0; reference::norm_scratch(rows, features)];
        for (group, dy) in expected.gradient.chunks_exact_mut(len).enumerate() {
            let call = reference::NormBackward {
                activation: self.activation,
                features,
                u: &u[group * len..][..len],
                y: &y[group * len..][..len],
                saved: &saved[group * 2 * features..][..2 * features],
                gamma: &affine[..features],
            };
            let mut sums = vec![0.0; 2 * features];
            reference::backward_sums(call, dy, &mut sums, &mut partial);
            let (plain, weighted) = sums.split_at(features);
            for i in 0..features {
                expected.affine[i] += weighted[i];
                expected.affine[features + i] += plain[i];
            }
            // The sums' errors reach every value.
            let n = rows as f64;
            for (i, dy) in dy.iter().enumerate() {
                let feature = i % features;
                let scale = call.saved[features + feature] * call.gamma[feature].abs();
                let xhat =
                    (call.u[i].abs() + call.saved[feature].abs()) * call.saved[features + feature];
                let size =
                    dy.abs() + 4.0 + (plain[feature].abs() + xhat * weighted[feature].abs()) / n;
                let sums = sum(0.0, rows, 2.0, 2.0) / n * (1.0 + xhat);
                expected.tolerance.push(scale * (rounding(size) + sums));
            }
            reference::backward_apply(call, &sums, dy);
        }
    }

    fn column_sums<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let features = self.shape.features;
        let rows = self.shape.groups * self.shape.rows;
        let values = stage.normals(rows * features);
        let before = stage.normals(features);
        let mut expected = vec![0.0; 2 * features];
        let mut partial = vec![0.0; reference::norm_scratch(rows, features)];
        reference::column_sums(features, &wide(&values), &mut expected, &mut partial);
        expected.truncate(features);
        let values = stage.input_at("values", &values, self.shift)?;
        let sums = match self.accumulate {
            Accumulate::First => stage.output_at("sums", features, self.shift)?,
            Accumulate::Later => {
                expected
                    .iter_mut()
                    .zip(&before)
                    .for_each(|(sum, &old)| *sum += f64::from(old));
                stage.input_at("sums", &before, self.shift)?
            }
        };
        column_sums(
            stage.launcher,
            rows,
            features,
            values,
            sums,
            self.accumulate,
        );
        stage.compare("sums", sums, &expected, |_, value| {
            sum(value, rows, 1.0, 1.0)
        })
    }
}

/// What the backward pass should give.
struct Backward {
    gradient: Vec<f64>,
    affine: Vec<f64>,
    /// Of the gradient.
    tolerance: Vec<f64>,
}

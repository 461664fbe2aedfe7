//! Batch norm of bf16 tensors and the merging of parts, each kernel beside f64.

use half::bf16;
use rand::RngExt;

use super::block::{Norm, activated, slope_at};
use crate::backend::Accumulate;
use crate::backend::gpu::check::draw::wide;
use crate::backend::gpu::check::{Check, Size, Stage, draw, half_rounding, pick, rounding, sum};
use crate::backend::gpu::driver::{Driver, DriverError, Pointer};
use crate::backend::gpu::ops::half::{Below, Parts, norm};
use crate::backend::gpu::ops::norm::NormShape;
use crate::model::{Activation, BatchNorm};
use crate::rng::SequentialPhilox;

/// The operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Moments of chunks of rows, and their merging.
    Statistics,
    Apply,
    /// The slope, with or without a batch norm, and the merging of its sums.
    Gradient,
    Backward,
    /// The merging of so many parts that slices of them are merged first.
    MergeMoments,
    MergeSums,
}

/// One operation by the kernels that take one feature a thread, or eight.
#[derive(Clone, Copy, Debug)]
pub struct HalfNorm {
    pub operation: Operation,
    pub vector: bool,
}

/// All of them.
pub fn checks() -> Vec<HalfNorm> {
    use Operation::{Apply, Backward, Gradient, MergeMoments, MergeSums, Statistics};
    let merging = |operation| matches!(operation, MergeMoments | MergeSums);
    [
        Statistics,
        Apply,
        Gradient,
        Backward,
        MergeMoments,
        MergeSums,
    ]
    .into_iter()
    .flat_map(|operation| [false, true].map(|vector| HalfNorm { operation, vector }))
    .filter(|check| !merging(check.operation) || !check.vector)
    .collect()
}

impl<D: Driver> Check<D> for HalfNorm {
    fn name(&self) -> String {
        let name = match self.operation {
            Operation::Statistics => "half_norm_moments",
            Operation::Apply => "half_norm_apply",
            Operation::Gradient => "half_gradient",
            Operation::Backward => "half_norm_backward",
            Operation::MergeMoments => return "half_moments_merge".to_owned(),
            Operation::MergeSums => return "half_sums_merge".to_owned(),
        };
        format!("{name}_{}", if self.vector { "x8" } else { "x1" })
    }

    fn run(&self, stage: &mut Stage<'_, D>, size: Size) -> Result<String, DriverError> {
        let case = Case::draw(*self, stage, size);
        match self.operation {
            Operation::Statistics => case.statistics(stage)?,
            Operation::Apply => case.apply(stage)?,
            Operation::Gradient => case.gradient(stage)?,
            Operation::Backward => case.backward(stage)?,
            Operation::MergeMoments => return case.merge_moments(stage),
            Operation::MergeSums => return case.merge_sums(stage),
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
    /// Values by which tensors of statistics and parameters are off a multiple of 256 bytes.
    shift: usize,
}

/// Rows of a sample and features, of the paper's networks and of the thesis's dense layer.
const PAPER: [(usize, usize); 5] = [
    (256, 512),
    (1024, 256),
    (4096, 128),
    (16_384, 64),
    (1, 131_072),
];

impl Case {
    fn draw<D: Driver>(check: HalfNorm, stage: &mut Stage<'_, D>, size: Size) -> Self {
        let random = &mut stage.random;
        let (rows, features) = match size {
            Size::Small => Self::draw_small(random, check.vector),
            Size::Paper => {
                let (rows, features) = PAPER[random.random_range(0..PAPER.len())];
                let features = if check.vector { features } else { features - 1 };
                (rows * pick(random, 2..=64), features)
            }
        };
        Self {
            shape: NormShape {
                groups: random.random_range(1..=3),
                rows,
                features,
            },
            activation: draw::activation(random),
            accumulate: draw::accumulate(random),
            // As the halves of an arena lie: at multiples of 16 bytes.
            shift: 4 * random.random_range(0..3),
        }
    }

    /// Few rows of some features, or so many rows that they are cut into chunks.
    fn draw_small(random: &mut SequentialPhilox, vector: bool) -> (usize, usize) {
        let multiple = if vector { 8 } else { 1 };
        let (rows, features) = match random.random_range(0..5) {
            0 => (pick(random, 2050..=2400), pick(random, 1..=6) * multiple),
            1 => (pick(random, 20_000..=25_000) / multiple, multiple),
            2 => (pick(random, 2..=40), pick(random, 1..=40) * multiple),
            _ => (pick(random, 2..=900), pick(random, 1..=8) * multiple),
        };
        match vector || features % 8 > 0 {
            true => (rows, features),
            false => (rows, features + 1),
        }
    }

    fn len(&self) -> usize {
        self.shape.groups * self.group_len()
    }

    fn group_len(&self) -> usize {
        self.shape.rows * self.shape.features
    }

    /// Values with a mean and a spread of each feature's own, rounded to bf16.
    fn linear<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Vec<bf16> {
        let offset = stage.random.random_range(0.0..20.0f32);
        let features = self.shape.features;
        let (means, spreads) = (stage.normals(features), stage.normals(features));
        let u = stage.normals(self.len()).into_iter().enumerate();
        let value = |(i, u): (usize, f32)| {
            let spread = 0.1 + spreads[i % features].abs();
            bf16::from_f32(spread * (u + offset * means[i % features]))
        };
        u.map(value).collect()
    }

    fn statistics<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let shape = self.shape;
        let u = self.linear(stage);
        let momentum = stage.random.random_range(0.05..0.5);
        let running = self.running(stage);
        let groups: Vec<Moments> = self.moments(&wide_half(&u));

        let u = stage.input("u", &u)?;
        let parts = norm::moment_parts(shape);
        let moments = stage.output("moments", parts.room_bytes().div_ceil(4))?;
        norm::moments(stage.launcher, shape, u, moments);
        self.merged(stage, parts, moments, &running, momentum, &groups)
    }

    /// Running averages as they were before.
    fn running<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Vec<f32> {
        let mut running = stage.normals(self.shape.features);
        let variances = stage.normals(self.shape.features);
        running.extend(variances.iter().map(|value| value * value));
        running
    }

    /// Of each group and feature of `values`.
    fn moments(&self, values: &[f64]) -> Vec<Moments> {
        let features = self.shape.features;
        let groups = values.chunks_exact(self.group_len());
        let of = |group: &[f64], feature: usize| {
            let column = || group[feature..].iter().step_by(features);
            let count = self.shape.rows as f64;
            let mean = column().sum::<f64>() / count;
            Moments {
                mean,
                square: column().map(|value| (value - mean).powi(2)).sum(),
                count,
            }
        };
        groups
            .flat_map(|group| (0..features).map(move |feature| of(group, feature)))
            .collect()
    }

    /// Merges moments and compares what comes of them; `groups` holds those of each group and feature.
    fn merged<D: Driver>(
        &self,
        stage: &mut Stage<'_, D>,
        parts: Parts,
        moments: Pointer,
        running: &[f32],
        momentum: f64,
        groups: &[Moments],
    ) -> Result<(), DriverError> {
        let features = parts.features;
        let mut averages = wide(running);
        let (mut expected, mut tolerance) = (Vec::new(), Vec::new());
        let mut of_averages = vec![0.0; 2 * features];
        for group in groups.chunks_exact(features) {
            for (feature, moments) in group.iter().enumerate() {
                let update = |average: &mut f64, now: f64| {
                    *average = (1.0 - momentum) * *average + momentum * now;
                };
                let unbiased = moments.square / (moments.count - 1.0).max(1.0);
                update(&mut averages[feature], moments.mean);
                update(&mut averages[features + feature], unbiased);
                let errors = [
                    moments.mean_error(),
                    2.0 * unbiased * moments.spread_error(),
                ];
                for (at, error) in [feature, features + feature].into_iter().zip(errors) {
                    of_averages[at] = f64::max(of_averages[at], error);
                }
            }
            expected.extend(group.iter().map(|moments| moments.mean));
            tolerance.extend(group.iter().map(Moments::mean_error));
            expected.extend(group.iter().map(Moments::scale));
            let of_scale = |moments: &Moments| moments.scale() * moments.spread_error();
            tolerance.extend(group.iter().map(of_scale));
        }
        let saved = stage.output_at("saved", expected.len(), self.shift)?;
        let running = stage.input_at("running", running, self.shift)?;
        norm::merge_moments(stage.launcher, parts, moments, saved, running, momentum);
        stage.compare("saved", saved, &expected, |i, value| {
            tolerance[i] + rounding(value)
        })?;
        stage.compare("running", running, &averages, |i, value| {
            of_averages[i] + rounding(value)
        })
    }

    fn norm<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<Norm, DriverError> {
        let NormShape {
            groups, features, ..
        } = self.shape;
        Norm::draw(stage, groups, self.group_len(), features, self.shift)
    }

    fn apply<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let u = stage.half_normals(self.len());
        let norm = self.norm(stage)?;
        let normals: Vec<_> = (0..u.len()).map(|i| norm.of(i, u[i].to_f64())).collect();
        let of = |normal: &super::block::Normal| activated(self.activation, normal.linear);
        let expected: Vec<f64> = normals.iter().map(of).collect();
        let in_place = stage.random.random();
        let u = stage.input("u", &u)?;
        let y = match in_place {
            true => u,
            false => stage.half_output("y", expected.len())?,
        };
        let by = norm.pointers;
        norm::apply(stage.launcher, self.shape, self.activation, u, by, y);
        stage.compare_half("y", y, &expected, |i, value| {
            half_rounding(value) + rounding(normals[i].linear_size)
        })
    }

    fn gradient<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let NormShape { features, .. } = self.shape;
        let normed: bool = stage.random.random();
        let norm = match normed {
            true => Some(self.norm(stage)?),
            false => None,
        };
        let dy = stage.half_normals(self.len());
        let value: Vec<bf16> = match normed {
            true => self.linear(stage),
            false => {
                let linear = stage.half_normals(self.len()).into_iter();
                let of = |u: bf16| bf16::from_f64(activated(self.activation, u.to_f64()));
                linear.map(of).collect()
            }
        };
        let slopes: Vec<_> = (0..dy.len())
            .map(|i| slope_at(self.activation, norm.as_ref(), i, value[i].to_f64()))
            .collect();
        let expected: Vec<f64> = (0..dy.len())
            .map(|i| dy[i].to_f64() * slopes[i].0)
            .collect();
        let parts = norm::gradient_parts(self.shape);
        let summed = stage.random.random_range(0..4) > 0;
        let sums = match summed {
            true => Some(stage.output("sums", parts.room_bytes().div_ceil(4))?),
            false => None,
        };
        let below = Below {
            activation: self.activation,
            value: stage.input("value", &value)?,
            norm: norm.as_ref().map(|norm| norm.pointers),
            sums,
        };
        let g = stage.input("gradient", &dy)?;
        norm::gradient(stage.launcher, self.shape, &below, g);
        stage.compare_half("gradient", g, &expected, |i, value| {
            half_rounding(value) + 2.0 * dy[i].to_f64().abs() * slopes[i].1
        })?;
        let Some(sums) = sums else { return Ok(()) };
        let stored = wide(&stage.read_half(g, expected.len())?);
        let weights: Vec<_> = (0..stored.len())
            .map(|i| match &norm {
                None => (0.0, 0.0),
                Some(norm) => {
                    let normal = norm.of(i, value[i].to_f64());
                    (normal.xhat, normal.xhat_size)
                }
            })
            .collect();
        let mut totals = vec![Total::default(); 2 * self.shape.groups * features];
        for (i, g) in stored.iter().enumerate() {
            let at = i / self.group_len() * 2 * features + i % features;
            totals[at].add(*g, g.abs());
            totals[at + features].add(g * weights[i].0, g.abs() * weights[i].1);
        }
        self.merged_sums(stage, parts, sums, &totals)
    }

    /// Merges sums and compares what comes of them.
    fn merged_sums<D: Driver>(
        &self,
        stage: &mut Stage<'_, D>,
        parts: Parts,
        sums: Pointer,
        expected: &[Total],
    ) -> Result<(), DriverError> {
        let features = parts.features;
        let before = stage.normals(3 * features);
        // What was there before counts only where it is added to.
        let before = match self.accumulate {
            Accumulate::First => vec![0.0; 3 * features],
            Accumulate::Later => before,
        };
        let mut wanted = [0, 1, 2].map(|_| stage.random.random_range(0..4) > 0);
        wanted[0] |= wanted == [false; 3];
        let totals = match wanted[0] {
            true => Some(stage.output_at("totals", expected.len(), self.shift)?),
            false => None,
        };
        let mut gradient = |name: &str, wanted: bool, values: &[f32]| match wanted {
            true => stage
                .gradient_at(name, values, self.accumulate, self.shift)
                .map(Some),
            false => Ok(None),
        };
        let affine = gradient("affine gradient", wanted[1], &before[..2 * features])?;
        let bias = gradient("bias gradient", wanted[2], &before[2 * features..])?;
        let of = |at: Option<Pointer>| at.map(|at| (at, self.accumulate));
        norm::merge_sums(stage.launcher, parts, sums, totals, of(affine), of(bias));

        if let Some(totals) = totals {
            let values: Vec<f64> = expected.iter().map(|total| total.value).collect();
            stage.compare("totals", totals, &values, |i, _| expected[i].tolerance())?;
        }
        // Over all groups: the sum of g xhat is gamma's, that of g is beta's and the bias's.
        let over = |place: usize, feature: usize| {
            let groups = expected.chunks_exact(2 * features);
            groups.fold(Total::default(), |mut all, group| {
                all.merge(&group[place * features + feature]);
                all
            })
        };
        for (name, at, places, before) in [
            (
                "affine gradient",
                affine,
                &[1, 0][..],
                &before[..2 * features],
            ),
            ("bias gradient", bias, &[0][..], &before[2 * features..]),
        ] {
            let Some(at) = at else { continue };
            let totals: Vec<Total> = places
                .iter()
                .flat_map(|&place| (0..features).map(move |feature| over(place, feature)))
                .collect();
            let pairs = totals.iter().zip(before);
            let values: Vec<f64> = pairs.map(|(t, &b)| t.value + f64::from(b)).collect();
            stage.compare(name, at, &values, |i, value| {
                totals[i].tolerance() + rounding(value)
            })?;
        }
        Ok(())
    }

    fn backward<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let NormShape {
            groups,
            rows,
            features,
        } = self.shape;
        let norm = self.norm(stage)?;
        let (u, g) = (
            stage.half_normals(self.len()),
            stage.half_normals(self.len()),
        );
        let mut totals = stage.normals(2 * groups * features);
        let size = (rows as f32).sqrt();
        totals.iter_mut().for_each(|total| *total *= size);
        let (mut expected, mut sizes) = (Vec::new(), Vec::new());
        for i in 0..u.len() {
            let at = i / self.group_len() * 2 * features + i % features;
            let mean = |at: usize| f64::from(totals[at]) / rows as f64;
            let (plain, weighted) = (mean(at), mean(at + features));
            let normal = norm.of(i, u[i].to_f64());
            let g = g[i].to_f64();
            expected.push(norm.factor(i) * (g - (plain + normal.xhat * weighted)));
            let size = g.abs() + plain.abs() + normal.xhat_size * weighted.abs();
            sizes.push(norm.factor(i).abs() * size);
        }
        let u = stage.input("u", &u)?;
        let totals = stage.input_at("totals", &totals, self.shift)?;
        let du = stage.input("gradient", &g)?;
        let by = norm.pointers;
        norm::apply_gradient(stage.launcher, self.shape, u, by, totals, du);
        stage.compare_half("gradient", du, &expected, |i, value| {
            half_rounding(value) + rounding(sizes[i])
        })
    }

    /// A number of parts: up to a few slices of 256, sometimes few.
    fn draw_parts(&self, random: &mut SequentialPhilox) -> Parts {
        let parts = match random.random_range(0..3) {
            0 => pick(random, 1..=9),
            1 => pick(random, 250..=260),
            _ => pick(random, 300..=1100),
        };
        Parts {
            groups: self.shape.groups,
            parts,
            features: self.shape.features.min(40),
        }
    }

    fn merge_moments<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<String, DriverError> {
        let parts = self.draw_parts(&mut stage.random);
        let Parts {
            groups,
            features,
            parts: count,
        } = parts;
        let case = Self {
            shape: NormShape {
                features,
                ..self.shape
            },
            ..*self
        };
        let offset = stage.random.random_range(0.0..300.0f32);
        // Some parts have no rows at all, and nothing to say.
        let mut counts: Vec<f32> = (0..groups * count)
            .map(|_| stage.random.random_range(0..40).max(4) as f32 - 4.0)
            .collect();
        counts
            .iter_mut()
            .step_by(count)
            .for_each(|count| *count += 2.0);
        let mut values = stage.normals(2 * groups * count * features);
        for (i, value) in values.iter_mut().enumerate() {
            let (part, place) = (i / (2 * features), i % (2 * features));
            let rows = counts[part];
            match place < features {
                true => *value = *value / rows.max(1.0).sqrt() + offset * (place as f32).sin(),
                false => *value = (rows - 1.0).max(0.0) * (1.0 + 0.3 * value.abs()),
            }
        }
        let mut merged = vec![Moments::default(); groups * features];
        for (part, &rows) in counts.iter().enumerate() {
            let part_values = &values[2 * part * features..][..2 * features];
            for feature in 0..features {
                let [mean, square] = [feature, features + feature].map(|at| part_values[at]);
                let moments = &mut merged[part / count * features + feature];
                moments.merge(f64::from(mean), f64::from(square), f64::from(rows));
            }
        }
        values.extend(counts);
        values.resize(parts.room_bytes().div_ceil(4), f32::NAN);
        let momentum = stage.random.random_range(0.05..0.5);
        let running = case.running(stage);
        let moments = stage.input("moments", &values)?;
        case.merged(stage, parts, moments, &running, momentum, &merged)?;
        Ok(format!("{groups} groups of {count} parts of {features}"))
    }

    fn merge_sums<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<String, DriverError> {
        let parts = self.draw_parts(&mut stage.random);
        let Parts {
            groups,
            features,
            parts: count,
        } = parts;
        let mut values = stage.normals(2 * groups * count * features);
        let mut totals = vec![Total::default(); 2 * groups * features];
        for (i, &value) in values.iter().enumerate() {
            let group = i / (2 * features) / count;
            let value = f64::from(value);
            totals[group * 2 * features + i % (2 * features)].add(value, value.abs());
        }
        values.resize(parts.room_bytes().div_ceil(4), f32::NAN);
        let sums = stage.input("sums", &values)?;
        self.merged_sums(stage, parts, sums, &totals)?;
        Ok(format!("{groups} groups of {count} parts of {features}"))
    }
}

/// Mean, centred sum of squares and number of some rows.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    mean: f64,
    square: f64,
    count: f64,
}

impl Moments {
    fn merge(&mut self, mean: f64, square: f64, count: f64) {
        if count == 0.0 {
            return;
        }
        let total = self.count + count;
        let delta = mean - self.mean;
        self.mean += delta * count / total;
        self.square += square + delta * delta * self.count * count / total;
        self.count = total;
    }

    fn variance(&self) -> f64 {
        self.square / self.count
    }

    /// `1/sqrt(variance + epsilon)`.
    fn scale(&self) -> f64 {
        (self.variance() + BatchNorm::EPSILON).sqrt().recip()
    }

    /// Of a mean that is summed in f32.
    fn mean_error(&self) -> f64 {
        let size = self.mean.abs() + self.variance().sqrt();
        let rows = self.count as usize;
        sum(self.count * size, rows, size, 1.0) / self.count
    }

    /// Of a spread, as a share of it: what the mean is off by shifts the values.
    fn spread_error(&self) -> f64 {
        2.0 * rounding(1.0) + self.mean_error() * self.scale()
    }
}

/// A sum, and what it is the sum of.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    value: f64,
    squares: f64,
    terms: usize,
}

impl Total {
    fn add(&mut self, value: f64, size: f64) {
        self.value += value;
        self.squares += size * size;
        self.terms += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.value += other.value;
        self.squares += other.squares;
        self.terms += other.terms;
    }

    fn tolerance(&self) -> f64 {
        let rms = (self.squares / self.terms.max(1) as f64).sqrt();
        sum(self.value, self.terms, rms, 1.0)
    }
}

fn wide_half(values: &[bf16]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}

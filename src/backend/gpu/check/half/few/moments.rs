//! The moments that the outermost layer leaves of what it stores.

use super::Case;
use crate::backend::gpu::check::draw::{narrow, wide};
use crate::backend::gpu::check::{Stage, half_sum, rounding, sum};
use crate::backend::gpu::driver::{Driver, DriverError};
use crate::backend::gpu::ops::half::{End, Parts};
use crate::model::Activation;

impl Case {
    pub(super) fn moments<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
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

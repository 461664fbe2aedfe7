//! A block's batch norm and activation on bf16 values, as several checks need them beside f64.

use half::bf16;

use crate::backend::cpu::norm::{activate_in_place, activation_gradient};
use crate::backend::gpu::check::draw::{narrow, wide};
use crate::backend::gpu::check::{Stage, rounding, sum};
use crate::backend::gpu::driver::{Driver, DriverError, Pointer};
use crate::backend::gpu::ops::half::{BelowNorm, Parts};
use crate::model::Activation;

/// A batch norm over rows of `features` values in groups, on the device and here.
pub struct Norm {
    pub pointers: BelowNorm,
    features: usize,
    /// Values of a group.
    group_len: usize,
    /// `[groups, 2, features]` and `[2, features]`.
    saved: Vec<f64>,
    affine: Vec<f64>,
}

/// A value behind a batch norm: `xhat` and `gamma xhat + beta`, each with the size of its terms.
#[derive(Clone, Copy, Debug)]
pub struct Normal {
    pub xhat: f64,
    pub xhat_size: f64,
    pub linear: f64,
    pub linear_size: f64,
}

impl Norm {
    /// Draws statistics and parameters; `shift` is the place of the tensors.
    pub fn draw<D: Driver>(
        stage: &mut Stage<'_, D>,
        groups: usize,
        group_len: usize,
        features: usize,
        shift: usize,
    ) -> Result<Self, DriverError> {
        let mut saved = stage.normals(2 * groups * features);
        for group in saved.chunks_exact_mut(2 * features) {
            let scales = group[features..].iter_mut();
            scales.for_each(|scale| *scale = 0.3 + scale.abs());
        }
        let affine = stage.normals(2 * features);
        Ok(Self {
            pointers: BelowNorm {
                saved: stage.input_at("saved", &saved, shift)?,
                affine: stage.input_at("affine", &affine, shift)?,
            },
            features,
            group_len,
            saved: wide(&saved),
            affine: wide(&affine),
        })
    }

    /// What value `i`, which is `u`, becomes.
    pub fn of(&self, i: usize, u: f64) -> Normal {
        let feature = i % self.features;
        let saved = &self.saved[i / self.group_len * 2 * self.features..];
        let (mean, scale) = (saved[feature], saved[self.features + feature]);
        let (gamma, beta) = (self.affine[feature], self.affine[self.features + feature]);
        let xhat = (u - mean) * scale;
        let xhat_size = (u.abs() + mean.abs()) * scale;
        Normal {
            xhat,
            xhat_size,
            linear: gamma * xhat + beta,
            linear_size: gamma.abs() * xhat_size + beta.abs(),
        }
    }

    /// `gamma scale` of value `i`.
    pub fn factor(&self, i: usize) -> f64 {
        let feature = i % self.features;
        let saved = &self.saved[i / self.group_len * 2 * self.features..];
        self.affine[feature] * saved[self.features + feature]
    }
}

/// An activation of one value.
pub fn activated(activation: Activation, x: f64) -> f64 {
    let mut value = [x];
    activate_in_place(activation, &mut value);
    value[0]
}

/// Its slope, from its output.
pub fn slope(activation: Activation, y: f64) -> f64 {
    let mut gradient = [1.0];
    activation_gradient(activation, &[y], &mut gradient);
    gradient[0]
}

/// What multiplies the gradient of value `i`, stored as `value`, and by how much f32 may see it
/// otherwise: it may take a value to the other side of a kink.
pub fn slope_at(activation: Activation, norm: Option<&Norm>, i: usize, value: f64) -> (f64, f64) {
    let Some(norm) = norm else {
        return (slope(activation, value), 0.0);
    };
    let normal = norm.of(i, value);
    let error = 4.0 * rounding(normal.linear_size);
    let expected = slope(activation, activated(activation, normal.linear));
    match activation {
        Activation::Identity => (expected, 0.0),
        Activation::Tanh => (expected, 2.0 * error + 1e-6),
        Activation::Relu | Activation::LeakyRelu if normal.linear.abs() < error => (expected, 1.0),
        Activation::Relu | Activation::LeakyRelu => (expected, 0.0),
    }
}

/// A value that a kernel reads, normalised, activated and rounded to bf16 on the way: and how far
/// apart the two are that rounding may make of it.
pub fn read(activation: Activation, norm: Option<&Norm>, i: usize, stored: bf16) -> (f64, f64) {
    let Some(norm) = norm else {
        return (stored.to_f64(), 0.0);
    };
    let normal = norm.of(i, stored.to_f64());
    let error = 4.0 * rounding(normal.linear_size) + 1e-7;
    let of = |x: f64| bf16::from_f64(activated(activation, x)).to_f64();
    let (low, high) = (of(normal.linear - error), of(normal.linear + error));
    (of(normal.linear), high - low)
}

/// Compares the sums of `g`, as it was stored, and of `g xhat` that an operation left in parts; `xhat` gives
/// the second factor of value `i`, and the size of what that is made of.
pub fn compare_sums<D: Driver>(
    stage: &mut Stage<'_, D>,
    parts: &Parts,
    sums: Pointer,
    g: &[f64],
    xhat: impl Fn(usize) -> (f64, f64),
) -> Result<(), DriverError> {
    let &Parts {
        groups, features, ..
    } = parts;
    let values = stage.read(sums, parts.sums_bytes() / 4)?;
    let mut merged = vec![0.0; groups * 2 * features];
    for (i, &value) in values.iter().enumerate() {
        let group = i / (parts.parts * 2 * features);
        merged[group * 2 * features + i % (2 * features)] += f64::from(value);
    }
    let (mut expected, mut squares) = (vec![0.0; merged.len()], vec![0.0; merged.len()]);
    for (i, &g_value) in g.iter().enumerate() {
        let (xhat, size) = xhat(i);
        let at = i / (g.len() / groups) * 2 * features + i % features;
        for (at, value, size) in [
            (at, g_value, g_value),
            (at + features, g_value * xhat, g_value * size),
        ] {
            expected[at] += value;
            squares[at] += size * size;
        }
    }
    let merged = stage.input("merged sums", &narrow(&merged))?;
    let rows = g.len() / groups / features;
    stage.compare("sums", merged, &expected, |i, value| {
        sum(value, rows, (squares[i] / rows as f64).sqrt(), 1.0)
    })
}

//! Batch normalisation and activations: passes over `[rows, features]`.
//!
//! Statistics are taken chunk by chunk (mean and centred sum of squares, never E[x^2] - E[x]^2)
//! and merged in order (Chan, Golub and LeVeque 1979), the merging in f64.

use rayon::prelude::*;

use super::meter::count_moved;
use super::scalar::{Scalar, vectorised};
use crate::model::{Activation, BatchNorm, LEAKY_SLOPE};

/// Values of one chunk.
const CHUNK: usize = 1 << 14;

/// Features of one column block, and rows of one chunk: few, because sums within a chunk are plain
/// ones in `T`, and only those of the chunks are added in f64.
fn chunk_shape(features: usize) -> (usize, usize) {
    let columns = features.min(1024);
    (columns, (CHUNK / columns).clamp(1, 128))
}

/// Chunks that `rows` rows are cut into.
fn row_chunks(rows: usize, features: usize) -> usize {
    rows.div_ceil(chunk_shape(features).1)
}

/// Scratch of [`statistics`] and [`backward_sums`].
pub fn norm_scratch(rows: usize, features: usize) -> usize {
    2 * features * row_chunks(rows, features)
}

/// Runs `work(rows, columns, out)` for every chunk of `[rows, features]`; `out` is the chunk's pair
/// of `[columns]` sums, and `partial` holds `[column block][row chunk][2][columns]`.
fn for_each_chunk<T: Scalar>(
    rows: usize,
    features: usize,
    partial: &mut [T],
    work: impl Fn(std::ops::Range<usize>, std::ops::Range<usize>, &mut [T], &mut [T]) + Sync,
) {
    let (width, height) = chunk_shape(features);
    let chunks = row_chunks(rows, features);
    partial
        .par_chunks_mut(2 * width * chunks)
        .enumerate()
        .for_each(|(block, partial)| {
            let columns = block * width..(block * width + width).min(features);
            partial
                .par_chunks_mut(2 * columns.len())
                .enumerate()
                .for_each(|(chunk, out)| {
                    let rows = chunk * height..(chunk * height + height).min(rows);
                    let (first, second) = out.split_at_mut(columns.len());
                    first.fill(T::zero());
                    second.fill(T::zero());
                    work(rows, columns.clone(), first, second);
                });
        });
}

/// The two sums of chunk `chunk` for `feature`.
fn chunk_sums<T: Scalar>(
    partial: &[T],
    (rows, features): (usize, usize),
    chunk: usize,
    feature: usize,
) -> (f64, f64) {
    let (width, _) = chunk_shape(features);
    let block = feature / width;
    let columns = width.min(features - block * width);
    let start = block * 2 * width * row_chunks(rows, features) + chunk * 2 * columns;
    let column = feature - block * width;
    let (first, second) = (partial[start + column], partial[start + columns + column]);
    (first.wide(), second.wide())
}

/// Mean and 1/sqrt(variance + epsilon) of each feature of `u [rows, features]`, into
/// `saved [2, features]`; and the update of the running averages `[2, features]`, whose variance
/// is the unbiased one.
pub fn statistics<T: Scalar>(
    norm: BatchNorm,
    u: &[T],
    saved: &mut [T],
    (running, momentum): (&mut [T], f64),
    partial: &mut [T],
) {
    let features = norm.features;
    let rows = u.len() / features;
    // Read for the mean, and again for the variance.
    count_moved(2 * u.len());
    for_each_chunk(rows, features, partial, |rows, columns, mean, square| {
        let count = T::of(rows.len() as f64);
        vectorised(
            #[inline(always)]
            || {
                for row in rows.clone() {
                    let values = &u[row * features..][columns.clone()];
                    for (sum, &x) in mean.iter_mut().zip(values) {
                        *sum += x;
                    }
                }
                for sum in mean.iter_mut() {
                    *sum /= count;
                }
                for row in rows {
                    let values = &u[row * features..][columns.clone()];
                    for ((sum, &mean), &x) in square.iter_mut().zip(&*mean).zip(values) {
                        *sum += (x - mean) * (x - mean);
                    }
                }
            },
        );
    });
    let partial = &*partial;
    let (_, height) = chunk_shape(features);
    let merged = |feature: usize| -> (f64, f64) {
        let (mut count, mut mean, mut square) = (0.0, 0.0, 0.0);
        for chunk in 0..row_chunks(rows, features) {
            let (chunk_mean, chunk_square) = chunk_sums(partial, (rows, features), chunk, feature);
            let chunk_count = height.min(rows - chunk * height) as f64;
            let total = count + chunk_count;
            let delta = chunk_mean - mean;
            mean += delta * chunk_count / total;
            square += chunk_square + delta * delta * count * chunk_count / total;
            count = total;
        }
        (mean, square)
    };
    let (means, scales) = saved.split_at_mut(features);
    let n = rows as f64;
    means.par_iter_mut().zip(&mut *scales).enumerate().for_each(
        |(feature, (out_mean, out_scale))| {
            let (mean, square) = merged(feature);
            *out_mean = T::of(mean);
            *out_scale = T::of((square / n + BatchNorm::EPSILON).sqrt().recip());
        },
    );
    let (running_mean, running_variance) = running.split_at_mut(features);
    running_mean
        .par_iter_mut()
        .zip(running_variance)
        .enumerate()
        .for_each(|(feature, (running_mean, running_variance))| {
            let (mean, square) = merged(feature);
            let variance = square / (n - 1.0).max(1.0);
            let average = |old: &mut T, new: f64| {
                *old = T::of((1.0 - momentum) * old.wide() + momentum * new);
            };
            average(running_mean, mean);
            average(running_variance, variance);
        });
}

/// Mean and 1/sqrt(variance + epsilon) from running averages `[2, features]`.
pub fn running_statistics<T: Scalar>(running: &[T], saved: &mut [T]) {
    let features = saved.len() / 2;
    saved[..features].copy_from_slice(&running[..features]);
    for (scale, &variance) in saved[features..].iter_mut().zip(&running[features..]) {
        *scale = T::of((variance.wide() + BatchNorm::EPSILON).sqrt().recip());
    }
}

#[inline(always)]
fn activate<T: Scalar>(activation: Activation, x: T) -> T {
    match activation {
        Activation::Identity => x,
        // Not `max`, which takes NaN for missing: a network that diverged would look sound.
        Activation::Relu if x < T::zero() => T::zero(),
        Activation::Relu => x,
        Activation::LeakyRelu => x.max(T::of(LEAKY_SLOPE) * x),
        Activation::Tanh => x.tanh(),
    }
}

/// The activation's derivative from its output.
#[inline(always)]
fn slope<T: Scalar>(activation: Activation, y: T) -> T {
    match activation {
        Activation::Identity => T::one(),
        Activation::Relu if y > T::zero() => T::one(),
        Activation::Relu => T::zero(),
        Activation::LeakyRelu if y > T::zero() => T::one(),
        Activation::LeakyRelu => T::of(LEAKY_SLOPE),
        Activation::Tanh => T::one() - y * y,
    }
}

/// `y = activation(y)` in place.
pub fn activate_in_place<T: Scalar>(activation: Activation, y: &mut [T]) {
    if activation != Activation::Identity {
        count_moved(2 * y.len());
    }
    vectorised(
        #[inline(always)]
        || match activation {
            Activation::Identity => {}
            Activation::Relu => {
                for y in y {
                    *y = activate(Activation::Relu, *y);
                }
            }
            Activation::LeakyRelu => {
                for y in y {
                    *y = activate(Activation::LeakyRelu, *y);
                }
            }
            Activation::Tanh => {
                for y in y {
                    *y = y.tanh();
                }
            }
        },
    );
}

/// `y = activation(gamma (u - mean) scale + beta)`. `saved` is [mean, scale], `affine` is
/// [gamma, beta].
pub fn apply<T: Scalar>(
    activation: Activation,
    features: usize,
    u: &[T],
    saved: &[T],
    affine: &[T],
    y: &mut [T],
) {
    let rows_len = chunk_shape(features).1 * features;
    y.par_chunks_mut(rows_len)
        .zip(u.par_chunks(rows_len))
        .for_each(|(y, u)| {
            y.copy_from_slice(u);
            count_moved(2 * y.len());
            apply_to_rows(activation, features, saved, affine, y);
        });
}

/// [`apply`] where `y` holds `u`.
pub fn apply_in_place<T: Scalar>(
    activation: Activation,
    features: usize,
    saved: &[T],
    affine: &[T],
    y: &mut [T],
) {
    y.par_chunks_mut(chunk_shape(features).1 * features)
        .for_each(|y| apply_to_rows(activation, features, saved, affine, y));
}

fn apply_to_rows<T: Scalar>(
    activation: Activation,
    features: usize,
    saved: &[T],
    affine: &[T],
    y: &mut [T],
) {
    count_moved(2 * y.len());
    let (mean, scale) = saved.split_at(features);
    let (gamma, beta) = affine.split_at(features);
    let (gamma, beta) = (&gamma[..features], &beta[..features]);
    let scale = &scale[..features];
    vectorised(
        #[inline(always)]
        || {
            for y in y.chunks_exact_mut(features) {
                for i in 0..features {
                    y[i] = (y[i] - mean[i]) * scale[i] * gamma[i] + beta[i];
                }
            }
        },
    );
    activate_in_place(activation, y);
}

/// `dy = dy * activation'(y)` in place.
pub fn activation_gradient<T: Scalar>(activation: Activation, y: &[T], dy: &mut [T]) {
    dy.par_chunks_mut(CHUNK)
        .zip(y.par_chunks(CHUNK))
        .for_each(|(dy, y)| slope_in_place(activation, y, dy));
}

fn slope_in_place<T: Scalar>(activation: Activation, y: &[T], dy: &mut [T]) {
    if activation != Activation::Identity {
        count_moved(3 * dy.len());
    }
    let pairs = dy.iter_mut().zip(y);
    vectorised(
        #[inline(always)]
        || match activation {
            Activation::Identity => {}
            Activation::Relu => {
                for (d, &y) in pairs {
                    *d *= slope(Activation::Relu, y);
                }
            }
            Activation::LeakyRelu => {
                for (d, &y) in pairs {
                    *d *= slope(Activation::LeakyRelu, y);
                }
            }
            Activation::Tanh => {
                for (d, &y) in pairs {
                    *d *= slope(Activation::Tanh, y);
                }
            }
        },
    );
}

/// What the backward pass of batch norm and activation reads.
#[derive(Clone, Copy)]
pub struct NormBackward<'a, T> {
    pub activation: Activation,
    pub features: usize,
    pub u: &'a [T],
    pub y: &'a [T],
    /// [mean, scale]
    pub saved: &'a [T],
    pub gamma: &'a [T],
}

/// `dy = dy * activation'(y)` in place, and per feature the sums of `dy` and of `dy` times the
/// normalised value, into `sums [2, features]`: the gradients of beta and gamma.
pub fn backward_sums<T: Scalar>(
    call: NormBackward<'_, T>,
    dy: &mut [T],
    sums: &mut [T],
    partial: &mut [T],
) {
    let features = call.features;
    let rows = dy.len() / features;
    activation_gradient(call.activation, call.y, dy);
    let (mean, scale) = call.saved.split_at(features);
    let dy = &*dy;
    count_moved(2 * dy.len());
    for_each_chunk(rows, features, partial, |rows, columns, plain, weighted| {
        let (mean, scale) = (&mean[columns.clone()], &scale[columns.clone()]);
        vectorised(
            #[inline(always)]
            || {
                let width = plain.len();
                let (weighted, mean, scale) =
                    (&mut weighted[..width], &mean[..width], &scale[..width]);
                for row in rows {
                    let d = &dy[row * features..][columns.clone()][..width];
                    let u = &call.u[row * features..][columns.clone()][..width];
                    for i in 0..width {
                        plain[i] += d[i];
                        weighted[i] += d[i] * (u[i] - mean[i]) * scale[i];
                    }
                }
            },
        );
    });
    let partial = &*partial;
    let (plain, weighted) = sums.split_at_mut(features);
    plain
        .par_iter_mut()
        .zip(weighted)
        .enumerate()
        .for_each(|(feature, (plain, weighted))| {
            let (mut first, mut second) = (0.0, 0.0);
            for chunk in 0..row_chunks(rows, features) {
                let (a, b) = chunk_sums(partial, (rows, features), chunk, feature);
                first += a;
                second += b;
            }
            *plain = T::of(first);
            *weighted = T::of(second);
        });
}

/// The gradient of the linear output, in place of `dy`:
/// `gamma scale (dy - mean(dy) - xhat mean(dy xhat))`.
pub fn backward_apply<T: Scalar>(call: NormBackward<'_, T>, sums: &[T], dy: &mut [T]) {
    let features = call.features;
    let rows = T::of((dy.len() / features) as f64);
    let (mean, scale) = call.saved.split_at(features);
    let (plain, weighted) = sums.split_at(features);
    let (width, height) = chunk_shape(features);
    let rows_len = height * features;
    count_moved(3 * dy.len());
    dy.par_chunks_mut(rows_len)
        .zip(call.u.par_chunks(rows_len))
        .for_each(|(dy, u)| {
            for column in (0..features).step_by(width) {
                let columns = column..(column + width).min(features);
                let (mean, scale) = (&mean[columns.clone()], &scale[columns.clone()]);
                let (plain, weighted) = (&plain[columns.clone()], &weighted[columns.clone()]);
                let gamma = &call.gamma[columns.clone()];
                vectorised(
                    #[inline(always)]
                    || {
                        for (dy, u) in dy.chunks_exact_mut(features).zip(u.chunks_exact(features)) {
                            let (dy, u) = (&mut dy[columns.clone()], &u[columns.clone()]);
                            for i in 0..columns.len() {
                                let normalised = (u[i] - mean[i]) * scale[i];
                                let centred = dy[i] - (plain[i] + normalised * weighted[i]) / rows;
                                dy[i] = gamma[i] * scale[i] * centred;
                            }
                        }
                    },
                );
            }
        });
}

/// Sums of each column of `dy [rows, features]`, into `sums [2, features]` (the second half is
/// scratch): the gradient of a bias.
pub fn column_sums<T: Scalar>(features: usize, dy: &[T], sums: &mut [T], partial: &mut [T]) {
    let rows = dy.len() / features;
    count_moved(dy.len());
    for_each_chunk(rows, features, partial, |rows, columns, plain, _| {
        vectorised(
            #[inline(always)]
            || {
                for row in rows {
                    let values = &dy[row * features..][columns.clone()];
                    for (sum, &d) in plain.iter_mut().zip(values) {
                        *sum += d;
                    }
                }
            },
        );
    });
    let partial = &*partial;
    sums[..features]
        .par_iter_mut()
        .enumerate()
        .for_each(|(feature, sum)| {
            let chunks = 0..row_chunks(rows, features);
            *sum = T::of(
                chunks
                    .map(|chunk| chunk_sums(partial, (rows, features), chunk, feature).0)
                    .sum(),
            );
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_activation_hides_what_is_not_a_number() {
        use Activation::{Identity, LeakyRelu, Relu, Tanh};
        for activation in [Identity, Relu, LeakyRelu, Tanh] {
            let mut y = [f32::NAN, -1.0, 0.0, 2.0];
            activate_in_place(activation, &mut y);
            assert!(y[0].is_nan(), "{activation:?} makes {} of NaN", y[0]);
            let expected: [f32; 3] = match activation {
                Identity => [-1.0, 0.0, 2.0],
                Relu => [0.0, 0.0, 2.0],
                LeakyRelu => [-0.2, 0.0, 2.0],
                Tanh => [(-1f32).tanh(), 0.0, 2f32.tanh()],
            };
            assert_eq!(y[1..], expected, "{activation:?}");
        }
    }
}

//! fprop: big plane to small plane. The convolution's forward pass, and the input gradient of the
//! transposed convolution.

use rayon::prelude::*;

use super::tile_pixels;
use super::windows::gather_big;
use super::winograd;
use crate::backend::cpu::meter::count_moved;
use crate::backend::cpu::scalar::{Matrix, Scalar, Write, multiply};
use crate::backend::cpu::scratch::ThreadScratch;
use crate::model::StridedLayer;

const TAPS: usize = StridedLayer::TAPS;

/// Values of a window that one product takes: a filter row, or the whole filter where the big
/// plane has few channels and a row would be too short a product.
fn group(layer: &StridedLayer) -> usize {
    let row = TAPS * layer.c_big;
    if TAPS * row <= 256 { TAPS * row } else { row }
}

/// Shared and per-thread scratch of [`fprop`] in `T`.
pub fn fprop_scratch<T: Scalar>(layer: &StridedLayer, batch: usize) -> (usize, usize) {
    if winograd::serves::<T>(layer) {
        return (winograd::fprop_scratch(layer, batch), 0);
    }
    let total = batch * layer.small * layer.small;
    (0, tile_pixels(group(layer), total) * group(layer))
}

/// `small[m] = start + sum over taps and big channels of window[m] * weights`, where `start` is the
/// bias or zero. Shapes: `big [N, 2S, 2S, c_big]`, `weights [5, 5, c_big, c_small]`,
/// `small [N, S, S, c_small]`. `finish` is called on each finished tile of `small`.
pub fn fprop<T: Scalar>(
    layer: &StridedLayer,
    big: &[T],
    weights: &[T],
    bias: Option<&[T]>,
    small: &mut [T],
    scratch: (ThreadScratch<'_, T>, &mut [T]),
    finish: impl Fn(&mut [T]) + Sync,
) {
    let (threads, shared) = scratch;
    if winograd::serves::<T>(layer) {
        winograd::fprop(layer, big, weights, bias, small, shared, finish);
        return;
    }
    let (group, channels) = (group(layer), layer.c_small);
    let pixels = tile_pixels(group, small.len() / channels);
    let products = TAPS * TAPS * layer.c_big / group;
    small
        .par_chunks_mut(pixels * channels)
        .enumerate()
        .for_each(|(tile, out)| {
            let first = tile * pixels;
            let count = out.len() / channels;
            threads.with(|buffer| {
                let windows = &mut buffer[..count * group];
                for product in 0..products {
                    let columns = product * group..(product + 1) * group;
                    gather_big(layer, big, first..first + count, columns.clone(), windows);
                    let a = Matrix::rows(windows, count, group, group);
                    let rows = &weights[columns.start * channels..columns.end * channels];
                    let b = Matrix::rows(rows, group, channels, channels);
                    let write = if product == 0 { Write::Set } else { Write::Add };
                    multiply(out, channels, a, b, write);
                }
            });
            if let Some(bias) = bias {
                count_moved(2 * out.len());
                for pixel in out.chunks_exact_mut(channels) {
                    pixel.iter_mut().zip(bias).for_each(|(y, &b)| *y += b);
                }
            }
            finish(out);
        });
}

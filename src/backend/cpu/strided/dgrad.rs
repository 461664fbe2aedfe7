//! dgrad: small plane to big plane, in parity form. The transposed convolution's forward pass, and
//! the input gradient of the convolution.
//!
//! Big pixel (2i + a, 2j + b) meets small pixels (i + dh, j + dw), dh and dw in -1..=1, through tap
//! (a + pad - 2 dh, b + pad - 2 dw) where that lies in 0..5. So each of the four parities is a
//! stride-1 convolution with 9, 6, 6 or 4 taps; no zero is inserted and none multiplied.

use std::ops::Range;

use rayon::prelude::*;

use super::few::{FEW, dgrad_few, dgrad_few_scratch};
use super::tile_pixels;
use super::windows::{gather_small, transpose};
use super::winograd;
use crate::backend::cpu::meter::count_moved;
use crate::backend::cpu::scalar::{Matrix, Scalar, Write, multiply};
use crate::backend::cpu::scratch::ThreadScratch;
use crate::model::StridedLayer;

const TAPS: usize = StridedLayer::TAPS;

/// The tap that joins big parity `parity` to the small pixel `offset` (-1..=1) away.
pub(super) fn tap(pad: usize, parity: usize, offset: isize) -> Option<usize> {
    (parity + pad)
        .checked_add_signed(-2 * offset)
        .filter(|&tap| tap < TAPS)
}

/// Neighbours (0..3, the pixel itself is 1) that big parity `parity` meets: always adjacent.
fn neighbours(pad: usize, parity: usize) -> Range<usize> {
    let meets = |k: &usize| tap(pad, parity, *k as isize - 1).is_some();
    let start = (0..3).find(meets).unwrap_or(0);
    let end = (0..3).rfind(meets).map_or(0, |last| last + 1);
    start..end
}

/// Whole rows of small pixels in a tile.
fn tile_rows(layer: &StridedLayer, batch: usize) -> usize {
    let total = batch * layer.small * layer.small;
    (tile_pixels(3 * layer.c_small, total) / layer.small).max(1)
}

/// Shared scratch (the reordered weights) and per-thread scratch of [`dgrad`] in `T`.
pub fn dgrad_scratch<T: Scalar>(layer: &StridedLayer, batch: usize) -> (usize, usize) {
    if winograd::serves::<T>(layer) {
        return (winograd::dgrad_scratch(layer, batch), 0);
    }
    if layer.c_big <= FEW {
        return (0, dgrad_few_scratch(layer));
    }
    let pixels = tile_rows(layer, batch) * layer.small;
    let tile = pixels * (3 * layer.c_small + 4 * layer.c_big);
    (layer.weight_len(), tile)
}

/// `weights [5, 5, c_big, c_small]` as `[row tap][column parity][neighbour][c_small][c_big]`: the
/// right factors of all products, in order.
fn reorder<T: Scalar>(layer: &StridedLayer, weights: &[T], out: &mut [T]) {
    let (pad, big, small) = (layer.pad_low.pixels(), layer.c_big, layer.c_small);
    let tap_len = big * small;
    out.par_chunks_mut(tap_len)
        .enumerate()
        .for_each(|(index, out)| {
            let (r, place) = (index / TAPS, index % TAPS);
            let split = neighbours(pad, 0).len();
            let (parity, nth) = if place < split {
                (0, place)
            } else {
                (1, place - split)
            };
            let neighbour = neighbours(pad, parity).start + nth;
            let s = tap(pad, parity, neighbour as isize - 1).unwrap_or(0);
            let from = &weights[(r * TAPS + s) * tap_len..][..tap_len];
            transpose((from, small), big, small, out);
        });
}

/// `big[p] = start + sum over taps and small channels`, where `start` is the bias or zero.
/// Shapes: `small [N, S, S, c_small]`, `weights [5, 5, c_big, c_small]`, `big [N, 2S, 2S, c_big]`.
/// `finish` is called on each finished tile of `big`.
pub fn dgrad<T: Scalar>(
    layer: &StridedLayer,
    small: &[T],
    weights: &[T],
    bias: Option<&[T]>,
    big: &mut [T],
    scratch: (ThreadScratch<'_, T>, &mut [T]),
    finish: impl Fn(&mut [T]) + Sync,
) {
    let (threads, reordered) = scratch;
    if winograd::serves::<T>(layer) {
        winograd::dgrad(layer, small, weights, bias, big, reordered, finish);
        return;
    }
    if layer.c_big <= FEW {
        dgrad_few(layer, small, weights, bias, big, threads, finish);
        return;
    }
    reorder(layer, weights, reordered);
    let reordered = &*reordered;
    let rows = tile_rows(layer, big.len() / layer.big_len());
    let (side, channels) = (layer.small, layer.c_big);
    let rows_len = 4 * side * channels;
    big.par_chunks_mut(rows * rows_len)
        .enumerate()
        .for_each(|(tile, out)| {
            let first = tile * rows * side;
            let count = out.len() / rows_len * side;
            threads.with(|buffer| {
                let (windows, parities) = buffer.split_at_mut(count * 3 * layer.c_small);
                let parities = &mut parities[..4 * count * channels];
                tile_products(
                    layer,
                    small,
                    reordered,
                    first..first + count,
                    windows,
                    parities,
                );
                interleave(layer, parities, bias, out);
            });
            finish(out);
        });
}

/// The four parities `[4][pixels, c_big]` of a tile of small pixels.
fn tile_products<T: Scalar>(
    layer: &StridedLayer,
    small: &[T],
    reordered: &[T],
    pixels: Range<usize>,
    windows: &mut [T],
    parities: &mut [T],
) {
    let (pad, depth, channels) = (layer.pad_low.pixels(), layer.c_small, layer.c_big);
    let count = pixels.len();
    let tap_len = depth * channels;
    let mut written = [false; 4];
    for dh in -1..=1 {
        gather_small(layer, small, pixels.clone(), dh, windows);
        for a in 0..2 {
            let Some(r) = tap(pad, a, dh) else { continue };
            for b in 0..2 {
                let columns = neighbours(pad, b);
                let place = if b == 0 { 0 } else { neighbours(pad, 0).len() };
                let factor = &reordered[(r * TAPS + place) * tap_len..][..columns.len() * tap_len];
                let parity = 2 * a + b;
                let out = &mut parities[parity * count * channels..][..count * channels];
                let window = &windows[columns.start * depth..];
                multiply(
                    out,
                    channels,
                    Matrix::rows(window, count, columns.len() * depth, 3 * depth),
                    Matrix::rows(factor, columns.len() * depth, channels, channels),
                    if written[parity] {
                        Write::Add
                    } else {
                        Write::Set
                    },
                );
                written[parity] = true;
            }
        }
    }
}

/// Puts the parities of whole small rows into the big plane's order and adds the bias.
fn interleave<T: Scalar>(layer: &StridedLayer, parities: &[T], bias: Option<&[T]>, out: &mut [T]) {
    let (side, channels) = (layer.small, layer.c_big);
    let parity_len = out.len() / 4;
    count_moved(2 * out.len());
    let row_len = 2 * side * channels;
    for (big_row, out) in out.chunks_exact_mut(row_len).enumerate() {
        let (row, a) = (big_row / 2, big_row % 2);
        for (column, out) in out.chunks_exact_mut(channels).enumerate() {
            let (w, b) = (column / 2, column % 2);
            let from = &parities[(2 * a + b) * parity_len + (row * side + w) * channels..];
            match bias {
                Some(bias) => {
                    for ((y, &x), &bias) in out.iter_mut().zip(from).zip(bias) {
                        *y = x + bias;
                    }
                }
                None => out.copy_from_slice(&from[..channels]),
            }
        }
    }
}

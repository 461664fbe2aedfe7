//! dgrad where the big plane has few channels: the map's end of both networks.
//!
//! Products with so few columns would starve the matrix product of the parity form. Here one
//! product gives every small pixel's contribution through all 25 taps, `[pixels, 25 c_big]`, and
//! each big pixel adds up its 9, 6, 6 or 4.

use rayon::prelude::*;

use super::dgrad::tap;
use crate::backend::cpu::meter::count_moved;
use crate::backend::cpu::scalar::{Matrix, Scalar, Write, multiply};
use crate::backend::cpu::scratch::ThreadScratch;
use crate::model::StridedLayer;

const TAPS: usize = StridedLayer::TAPS;
/// Big channels up to which this form is the faster one.
pub const FEW: usize = 4;

/// Rows of small pixels in a tile; a row above and a row below are computed as well.
fn tile_rows(layer: &StridedLayer) -> usize {
    (512 / layer.small).clamp(4, 16).min(layer.small)
}

/// Per-thread scratch of [`dgrad_few`].
pub fn dgrad_few_scratch(layer: &StridedLayer) -> usize {
    (tile_rows(layer) + 2) * layer.small * TAPS * TAPS * layer.c_big
}

/// As [`dgrad`](super::dgrad), for up to [`FEW`] big channels.
pub fn dgrad_few<T: Scalar>(
    layer: &StridedLayer,
    small: &[T],
    weights: &[T],
    bias: Option<&[T]>,
    big: &mut [T],
    threads: ThreadScratch<'_, T>,
    finish: impl Fn(&mut [T]) + Sync,
) {
    let (side, rows) = (layer.small, tile_rows(layer));
    let window = TAPS * TAPS * layer.c_big;
    big.par_chunks_mut(layer.big_len())
        .zip(small.par_chunks(layer.small_len()))
        .for_each(|(big, small)| {
            big.par_chunks_mut(rows * 4 * side * layer.c_big)
                .enumerate()
                .for_each(|(tile, out)| {
                    let count = out.len() / (4 * side * layer.c_big);
                    let first = (tile * rows).saturating_sub(1);
                    let end = (tile * rows + count + 1).min(side);
                    let pixels = (end - first) * side;
                    threads.with(|buffer| {
                        let through = &mut buffer[..pixels * window];
                        let small = &small[first * side * layer.c_small..];
                        let a = Matrix::rows(small, pixels, layer.c_small, layer.c_small);
                        let b = Matrix::rows(weights, window, layer.c_small, layer.c_small);
                        multiply(through, window, a, b.transposed(), Write::Set);
                        let rows = tile * rows..tile * rows + count;
                        add_up(layer, through, first, rows, bias, out);
                    });
                    finish(out);
                });
        });
}

/// Sums the contributions to the big rows of small rows `rows`; `through` begins at small row
/// `first`.
fn add_up<T: Scalar>(
    layer: &StridedLayer,
    through: &[T],
    first: usize,
    rows: std::ops::Range<usize>,
    bias: Option<&[T]>,
    out: &mut [T],
) {
    let (pad, side, channels) = (layer.pad_low.pixels(), layer.small, layer.c_big);
    count_moved(through.len() + out.len());
    match bias {
        Some(bias) => out
            .chunks_exact_mut(channels)
            .for_each(|pixel| pixel.copy_from_slice(bias)),
        None => out.fill(T::zero()),
    }
    for (big_row, out) in out.chunks_exact_mut(2 * side * channels).enumerate() {
        let (row, a) = (rows.start + big_row / 2, big_row % 2);
        for (dh, dw) in (0..9).map(|k| (k / 3 - 1, k % 3 - 1)) {
            let Some(r) = tap(pad, a, dh) else { continue };
            let Some(from) = row.checked_add_signed(dh).filter(|&from| from < side) else {
                continue;
            };
            for b in 0..2 {
                let Some(s) = tap(pad, b, dw) else { continue };
                let place = (r * TAPS + s) * channels;
                for column in 0..side {
                    let Some(w) = column.checked_add_signed(dw).filter(|&w| w < side) else {
                        continue;
                    };
                    let pixel = ((from - first) * side + w) * TAPS * TAPS * channels + place;
                    let out = &mut out[(2 * column + b) * channels..][..channels];
                    let through = &through[pixel..][..channels];
                    out.iter_mut().zip(through).for_each(|(y, &x)| *y += x);
                }
            }
        }
    }
}

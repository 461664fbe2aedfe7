//! Copies of the input windows of small-plane pixels, with zeros beyond the planes' edges.

use std::ops::Range;

use crate::backend::cpu::meter::count_moved;
use crate::backend::cpu::scalar::{Scalar, vectorised};
use crate::model::StridedLayer;

const TAPS: usize = StridedLayer::TAPS;

/// Sample, row and column of small pixel `m`.
pub fn place(layer: &StridedLayer, m: usize) -> (usize, usize, usize) {
    let side = layer.small;
    (m / (side * side), m / side % side, m % side)
}

/// For each pixel of `pixels`, the part `columns` of its window `[5, 5, c_big]` in the big planes,
/// one row of `out` after the other.
pub fn gather_big<T: Scalar>(
    layer: &StridedLayer,
    big: &[T],
    pixels: Range<usize>,
    columns: Range<usize>,
    out: &mut [T],
) {
    let row_len = TAPS * layer.c_big;
    count_moved(2 * out.len());
    for (m, window) in pixels.zip(out.chunks_exact_mut(columns.len())) {
        let (sample, h, w) = place(layer, m);
        let mut filled = 0;
        for r in columns.start / row_len..columns.end.div_ceil(row_len) {
            let start = columns.start.max(r * row_len) - r * row_len;
            let end = columns.end.min((r + 1) * row_len) - r * row_len;
            let part = &mut window[filled..filled + end - start];
            filled += end - start;
            big_row_part(layer, big, (sample, 2 * h + r, 2 * w), start..end, part);
        }
    }
}

/// Part `columns` of the five pixels `[5, c_big]` from padded row and column `at` on.
fn big_row_part<T: Scalar>(
    layer: &StridedLayer,
    big: &[T],
    at: (usize, usize, usize),
    columns: Range<usize>,
    out: &mut [T],
) {
    let (side, channels, pad) = (2 * layer.small, layer.c_big, layer.pad_low.pixels());
    let (sample, padded_row, padded_column) = at;
    if padded_row < pad || padded_row - pad >= side {
        out.fill(T::zero());
        return;
    }
    let row = (sample * side + padded_row - pad) * side * channels;
    // In values of the padded row: the window's part, and where the true row begins and ends.
    let start = padded_column * channels + columns.start;
    let end = padded_column * channels + columns.end;
    let (first, last) = (pad * channels, (pad + side) * channels);
    let row = &big[row..row + side * channels];
    // Planes of one channel: five values, for which a call to copy memory costs more than they do.
    if let Ok(out) = <&mut [T; TAPS]>::try_from(&mut *out)
        && let Some(Ok(values)) = start
            .checked_sub(first)
            .and_then(|start| row.get(start..start + TAPS))
            .map(<&[T; TAPS]>::try_from)
    {
        *out = *values;
        return;
    }
    copy_inside(row, first..last, start..end, out);
}

/// Values `wanted` of an endless row that holds `row` at `place` and zeros elsewhere.
fn copy_inside<T: Scalar>(row: &[T], place: Range<usize>, wanted: Range<usize>, out: &mut [T]) {
    let from = wanted.start.clamp(place.start, place.end);
    let to = wanted.end.clamp(from, place.end);
    let (before, rest) = out.split_at_mut(from.saturating_sub(wanted.start).min(wanted.len()));
    let (inside, after) = rest.split_at_mut(to - from);
    before.fill(T::zero());
    inside.copy_from_slice(&row[from - place.start..to - place.start]);
    after.fill(T::zero());
}

/// For each pixel of `pixels`, the three neighbours `[3, c_small]` of its row `dh` (-1, 0 or 1)
/// below in the small planes, one row of `out` after the other.
pub fn gather_small<T: Scalar>(
    layer: &StridedLayer,
    small: &[T],
    pixels: Range<usize>,
    dh: isize,
    out: &mut [T],
) {
    let (side, channels) = (layer.small, layer.c_small);
    count_moved(2 * out.len());
    for (m, window) in pixels.zip(out.chunks_exact_mut(3 * channels)) {
        let (sample, h, w) = place(layer, m);
        let Some(row) = h.checked_add_signed(dh).filter(|&row| row < side) else {
            window.fill(T::zero());
            continue;
        };
        let start = (sample * side + row) * side * channels;
        // One pixel of padding before the row.
        let place = channels..(side + 1) * channels;
        let wanted = w * channels..(w + 3) * channels;
        copy_inside(
            &small[start..start + side * channels],
            place,
            wanted,
            window,
        );
    }
}

/// `from [rows, cols]`, whose rows are `stride` apart, as `out [cols, rows]`, in blocks that registers hold.
pub fn transpose<T: Scalar>(
    (from, stride): (&[T], usize),
    rows: usize,
    cols: usize,
    out: &mut [T],
) {
    count_moved(2 * rows * cols);
    vectorised(
        #[inline(always)]
        || {
            for row in (0..rows).step_by(BLOCK) {
                for col in (0..cols).step_by(BLOCK) {
                    let (height, width) = (BLOCK.min(rows - row), BLOCK.min(cols - col));
                    if (height, width) == (BLOCK, BLOCK) {
                        transpose_block(
                            &from[row * stride + col..],
                            stride,
                            &mut out[col * rows + row..],
                            rows,
                        );
                        continue;
                    }
                    for c in col..col + width {
                        for r in row..row + height {
                            out[c * rows + r] = from[r * stride + c];
                        }
                    }
                }
            }
        },
    );
}

/// Sides of the blocks of [`transpose`].
const BLOCK: usize = 8;

#[inline(always)]
fn transpose_block<T: Scalar>(from: &[T], stride: usize, out: &mut [T], out_stride: usize) {
    let mut block = [[T::zero(); BLOCK]; BLOCK];
    for (r, values) in block.iter_mut().enumerate() {
        values.copy_from_slice(&from[r * stride..][..BLOCK]);
    }
    for c in 0..BLOCK {
        let mut column = [T::zero(); BLOCK];
        for r in 0..BLOCK {
            column[r] = block[r][c];
        }
        out[c * out_stride..][..BLOCK].copy_from_slice(&column);
    }
}

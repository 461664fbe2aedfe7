//! dgrad: the small plane, filtered into each of the four phases of the big plane.

use rayon::prelude::*;

use super::slots::{COMPONENTS, Form, SLOTS, Slots};
use super::transform::{IN_ORDER, Phase, filters, filters_len, filters_transposed, input, output};
use super::{Chunks, each_row, piece};
use crate::backend::cpu::meter::count_moved;
use crate::backend::cpu::scalar::{Matrix, Scalar, Write, multiply, vectorised};
use crate::model::StridedLayer;

/// Shared scratch of [`dgrad`]: filters, both ways round, transformed tiles, products, and a pixel of zeros.
pub fn dgrad_scratch(layer: &StridedLayer, batch: usize) -> usize {
    let tiles = Chunks::new(layer, batch).tiles();
    2 * filters_len(layer)
        + tiles * (COMPONENTS * layer.c_small + SLOTS * layer.c_big)
        + layer.c_small
}

/// As [`super::super::dgrad`].
pub fn dgrad<T: Scalar>(
    layer: &StridedLayer,
    small: &[T],
    weights: &[T],
    bias: Option<&[T]>,
    big: &mut [T],
    shared: &mut [T],
    finish: impl Fn(&mut [T]) + Sync,
) {
    let (c_big, c_small) = (layer.c_big, layer.c_small);
    let chunks = Chunks::new(layer, small.len() / layer.small_len());
    let slots = Slots::new(Form::Scatter, layer.pad_low);
    let (plain, rest) = shared.split_at_mut(filters_len(layer));
    filters(layer, &slots, weights, plain);
    // Transposed once here, not by each product.
    let (filters_out, rest) = rest.split_at_mut(filters_len(layer));
    filters_transposed(layer, plain, filters_out);
    let filters = &*filters_out;
    let (tiles_out, rest) = rest.split_at_mut(chunks.tiles() * COMPONENTS * c_small);
    let (products_out, rest) = rest.split_at_mut(chunks.tiles() * SLOTS * c_big);
    let zeros = &mut rest[..c_small];
    zeros.fill(T::zero());
    let zeros = &*zeros;
    let out_row_len = 8 * layer.small * c_big;
    let phases = PHASES.map(|parity| slots.of_phase(parity));
    for (first_sample, samples) in big.chunks_mut(chunks.samples * layer.big_len()).enumerate() {
        let small = &small[first_sample * chunks.samples * layer.small_len()..];
        let samples_here = samples.len() / layer.big_len();
        for first_row in (0..chunks.across).step_by(chunks.rows) {
            let rows = chunks.rows.min(chunks.across - first_row);
            let count = samples_here * rows * chunks.across;
            let transformed = &mut tiles_out[..count * COMPONENTS * c_small];
            small_tiles(layer, small, first_row, rows, zeros, transformed);
            let transformed = &*transformed;
            // The products, slot by slot.
            let products = &mut products_out[..SLOTS * count * c_big];
            let piece = piece(count);
            products
                .par_chunks_mut(count * c_big)
                .enumerate()
                .for_each(|(place, out)| {
                    let [i, j] = slots.all[place].component;
                    let factor = &filters[place * c_big * c_small..][..c_big * c_small];
                    out.par_chunks_mut(piece * c_big)
                        .enumerate()
                        .for_each(|(index, out)| {
                            let start = (index * piece * COMPONENTS + 4 * i + j) * c_small;
                            let tiles = out.len() / c_big;
                            let width = COMPONENTS * c_small;
                            multiply(
                                out,
                                c_big,
                                Matrix::rows(&transformed[start..], tiles, c_small, width),
                                Matrix::rows(factor, c_small, c_big, c_big),
                                Write::Set,
                            );
                        });
                });
            let products = &*products;
            let lens = (layer.big_len(), out_row_len);
            let rows = first_row..first_row + rows;
            each_row(samples, lens, rows, chunks.across, |first, out| {
                vectorised(
                    #[inline(always)]
                    || untransform_row(layer, &phases, (products, count), first, bias, out),
                );
                finish(out);
            });
        }
    }
}

/// Parities of rows and columns of the phases.
pub(super) const PHASES: [[usize; 2]; 4] = [[0, 0], [0, 1], [1, 0], [1, 1]];

/// The transforms of tiles of small planes, to `out [samples, rows, tiles, 16, c_small]`.
pub(super) fn small_tiles<T: Scalar>(
    layer: &StridedLayer,
    small: &[T],
    first_row: usize,
    rows: usize,
    zeros: &[T],
    out: &mut [T],
) {
    let row_len = layer.small.div_ceil(2) * COMPONENTS * layer.c_small;
    out.par_chunks_mut(row_len)
        .enumerate()
        .for_each(|(row, out)| {
            let small = &small[row / rows * layer.small_len()..][..layer.small_len()];
            vectorised(
                #[inline(always)]
                || transform_row(layer, small, first_row + row % rows, zeros, out),
            );
        });
}

/// A row of tiles of one sample, to `out [tiles, 16, c_small]`.
#[inline(always)]
fn transform_row<T: Scalar>(
    layer: &StridedLayer,
    small: &[T],
    row: usize,
    zeros: &[T],
    out: &mut [T],
) {
    let (side, channels) = (layer.small, layer.c_small);
    // 4x4 pixels are read for each tile.
    count_moved(2 * out.len());
    let plane = Phase {
        plane: small,
        side,
        channels,
        step: 1,
        first: [0; 2],
    };
    for (column, out) in out.chunks_exact_mut(COMPONENTS * channels).enumerate() {
        input(&plane.patch(row, column, zeros), &IN_ORDER, channels, out);
    }
}

/// A row of 4x4 outputs from `products [49, count, c_big]`, whose tiles begin at `first`.
#[inline(always)]
fn untransform_row<T: Scalar>(
    layer: &StridedLayer,
    phases: &[[Option<usize>; COMPONENTS]; 4],
    (products, count): (&[T], usize),
    first: usize,
    bias: Option<&[T]>,
    out: &mut [T],
) {
    let (side, channels) = (2 * layer.small, layer.c_big);
    let rows = out.len() / (side * channels);
    count_moved(layer.small.div_ceil(2) * SLOTS * channels + out.len());
    for column in 0..layer.small.div_ceil(2) {
        for (places, [a, b]) in phases.iter().zip(PHASES) {
            let mut components = [None; COMPONENTS];
            for (component, place) in components.iter_mut().zip(places) {
                if let Some(place) = place {
                    *component =
                        Some(&products[(place * count + first + column) * channels..][..channels]);
                }
            }
            output(&components, bias, channels, |k, at, values| {
                let (y, x) = (2 * (k / 2) + a, 4 * column + 2 * (k % 2) + b);
                if y < rows && x < side {
                    out[(y * side + x) * channels + at..][..values.len()].copy_from_slice(values);
                }
            });
        }
    }
}

//! fprop: the four phases of the big plane, filtered and summed into the small plane.

use rayon::prelude::*;

use super::dgrad::PHASES;
use super::slots::{COMPONENTS, Form, SLOTS, Slots};
use super::transform::{filters, filters_len, input, output};
use super::{Chunks, each_phase, each_row, piece};
use crate::backend::cpu::meter::count_moved;
use crate::backend::cpu::scalar::{Matrix, Scalar, Write, multiply, vectorised};
use crate::model::StridedLayer;

/// Shared scratch of [`fprop`]: filters, transformed tiles, products, and a pixel of zeros.
pub fn fprop_scratch(layer: &StridedLayer, batch: usize) -> usize {
    let tiles = Chunks::new(layer, batch).tiles();
    filters_len(layer) + tiles * (SLOTS * layer.c_big + COMPONENTS * layer.c_small) + layer.c_big
}

/// As [`super::super::fprop`].
pub fn fprop<T: Scalar>(
    layer: &StridedLayer,
    big: &[T],
    weights: &[T],
    bias: Option<&[T]>,
    small: &mut [T],
    shared: &mut [T],
    finish: impl Fn(&mut [T]) + Sync,
) {
    let (side, c_big, c_small) = (layer.small, layer.c_big, layer.c_small);
    let chunks = Chunks::new(layer, small.len() / layer.small_len());
    let slots = Slots::new(Form::Gather, layer.pad_low);
    let phases = PHASES.map(|parity| slots.of_phase(parity));
    let (filters_out, rest) = shared.split_at_mut(filters_len(layer));
    filters(layer, &slots, weights, filters_out);
    let filters = &*filters_out;
    let (tiles_out, rest) = rest.split_at_mut(chunks.tiles() * SLOTS * c_big);
    let (products_out, rest) = rest.split_at_mut(chunks.tiles() * COMPONENTS * c_small);
    let zeros = &mut rest[..c_big];
    zeros.fill(T::zero());
    let zeros = &*zeros;
    let row_len = chunks.across * SLOTS * c_big;
    let out_row_len = 2 * side * c_small;
    for (first_sample, samples) in small
        .chunks_mut(chunks.samples * layer.small_len())
        .enumerate()
    {
        let big = &big[first_sample * chunks.samples * layer.big_len()..];
        let samples_here = samples.len() / layer.small_len();
        for first_row in (0..chunks.across).step_by(chunks.rows) {
            let rows = chunks.rows.min(chunks.across - first_row);
            let count = samples_here * rows * chunks.across;
            // Tiles of the big phases.
            let transformed = &mut tiles_out[..count * SLOTS * c_big];
            transformed
                .par_chunks_mut(row_len)
                .enumerate()
                .for_each(|(row, out)| {
                    let big = &big[row / rows * layer.big_len()..][..layer.big_len()];
                    let row = first_row + row % rows;
                    // 4x4 pixels of four phases are read for each tile.
                    count_moved(out.len() / SLOTS * (64 + SLOTS));
                    vectorised(
                        #[inline(always)]
                        || {
                            each_phase(
                                layer,
                                big,
                                out,
                                &phases,
                                #[inline(always)]
                                |phase, column, places, out| {
                                    input(&phase.patch(row, column, zeros), places, c_big, out)
                                },
                            )
                        },
                    );
                });
            let transformed = &*transformed;
            // The products, component by component.
            let products = &mut products_out[..COMPONENTS * count * c_small];
            let piece = piece(count);
            products
                .par_chunks_mut(count * c_small)
                .enumerate()
                .for_each(|(component, out)| {
                    let places = slots.begin[component]..slots.begin[component + 1];
                    let depth = places.len() * c_big;
                    let factor = &filters[places.start * c_big * c_small..][..depth * c_small];
                    out.par_chunks_mut(piece * c_small)
                        .enumerate()
                        .for_each(|(index, out)| {
                            let start = (index * piece * SLOTS + places.start) * c_big;
                            let tiles = out.len() / c_small;
                            multiply(
                                out,
                                c_small,
                                Matrix::rows(&transformed[start..], tiles, depth, SLOTS * c_big),
                                Matrix::rows(factor, depth, c_small, c_small),
                                Write::Set,
                            );
                        });
                });
            let products = &*products;
            // And back.
            let lens = (layer.small_len(), out_row_len);
            let rows = first_row..first_row + rows;
            each_row(samples, lens, rows, chunks.across, |first, out| {
                vectorised(
                    #[inline(always)]
                    || untransform_row(layer, products, count, first, bias, out),
                );
                finish(out);
            });
        }
    }
}

/// A row of 2x2 outputs from `products [16, count, c_small]`, whose tiles begin at `first`.
#[inline(always)]
fn untransform_row<T: Scalar>(
    layer: &StridedLayer,
    products: &[T],
    count: usize,
    first: usize,
    bias: Option<&[T]>,
    out: &mut [T],
) {
    let (side, channels) = (layer.small, layer.c_small);
    let rows = out.len() / (side * channels);
    count_moved(side.div_ceil(2) * COMPONENTS * channels + out.len());
    for column in 0..side.div_ceil(2) {
        let mut components = [None; COMPONENTS];
        for (c, component) in components.iter_mut().enumerate() {
            *component = Some(&products[(c * count + first + column) * channels..][..channels]);
        }
        output(&components, bias, channels, |k, at, values| {
            let (y, x) = (k / 2, 2 * column + k % 2);
            if y < rows && x < side {
                out[(y * side + x) * channels + at..][..values.len()].copy_from_slice(values);
            }
        });
    }
}

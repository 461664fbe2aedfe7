//! wgrad: products of the transformed small plane and the transformed phases, summed over tiles.

use rayon::prelude::*;

use super::super::windows::transpose;
use super::dgrad::{PHASES, small_tiles};
use super::slots::{COMPONENTS, Form, SLOTS, Slots};
use super::transform::{self, filter_gradient, filters_len};
use super::{Chunks, each_phase};
use crate::backend::cpu::meter::count_moved;
use crate::backend::cpu::scalar::{Matrix, Scalar, Write, multiply, vectorised};
use crate::backend::cpu::scratch::ThreadScratch;
use crate::model::StridedLayer;

/// Rows of one product: channels of the big phases that have the component.
const PIECE: usize = 256;
/// Tiles that one product sums over.
const DEPTH: usize = 256;

/// Shared scratch (the gradients of all components, transformed tiles of both planes, a pixel of zeros)
/// and per-thread scratch (one factor, transposed) of [`wgrad`].
pub fn wgrad_scratch(layer: &StridedLayer, batch: usize) -> (usize, usize) {
    let tiles = Chunks::new(layer, batch).tiles();
    let shared = filters_len(layer)
        + tiles * (COMPONENTS * layer.c_small + SLOTS * layer.c_big)
        + layer.c_small.max(layer.c_big);
    (shared, DEPTH * PIECE)
}

/// As [`super::super::wgrad`].
pub fn wgrad<T: Scalar>(
    layer: &StridedLayer,
    big: &[T],
    small: &[T],
    gradient: &mut [T],
    write: Write,
    (threads, shared): (ThreadScratch<'_, T>, &mut [T]),
) {
    let (c_big, c_small) = (layer.c_big, layer.c_small);
    let batch = small.len() / layer.small_len();
    let chunks = Chunks::new(layer, batch);
    let slots = Slots::new(Form::Scatter, layer.pad_low);
    let (components, rest) = shared.split_at_mut(filters_len(layer));
    let (small_out, rest) = rest.split_at_mut(chunks.tiles() * COMPONENTS * c_small);
    let (big_out, rest) = rest.split_at_mut(chunks.tiles() * SLOTS * c_big);
    let zeros = &mut rest[..c_small.max(c_big)];
    zeros.fill(T::zero());
    let zeros = &*zeros;
    let phases = PHASES.map(|parity| slots.of_phase(parity));
    let mut written = Write::Set;
    for first_sample in (0..batch).step_by(chunks.samples) {
        let samples = chunks.samples.min(batch - first_sample);
        let small = &small[first_sample * layer.small_len()..];
        let big = &big[first_sample * layer.big_len()..];
        for first_row in (0..chunks.across).step_by(chunks.rows) {
            let rows = chunks.rows.min(chunks.across - first_row);
            let count = samples * rows * chunks.across;
            let small_tiles_out = &mut small_out[..count * COMPONENTS * c_small];
            small_tiles(
                layer,
                small,
                first_row,
                rows,
                &zeros[..c_small],
                small_tiles_out,
            );
            let big_tiles = &mut big_out[..count * SLOTS * c_big];
            big_tiles
                .par_chunks_mut(chunks.across * SLOTS * c_big)
                .enumerate()
                .for_each(|(row, out)| {
                    let big = &big[row / rows * layer.big_len()..][..layer.big_len()];
                    let row = first_row + row % rows;
                    let zeros = &zeros[..c_big];
                    // 2x2 pixels of four phases are read for each tile.
                    count_moved(out.len() / SLOTS * (16 + SLOTS));
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
                                    transform::gradient(
                                        &phase.tile(row, column, zeros),
                                        places,
                                        c_big,
                                        out,
                                    )
                                },
                            )
                        },
                    );
                });
            let (small_tiles, big_tiles) = (&*small_tiles_out, &*big_tiles);
            pieces(&slots, components, (c_big, c_small)).for_each(|piece| {
                let small_tiles = &small_tiles[piece.component * c_small..];
                let big_tiles = &big_tiles[piece.first..];
                threads.with(|buffer| {
                    let tiles = (small_tiles, big_tiles);
                    sum(tiles, count, (c_big, c_small), piece.out, written, buffer);
                });
            });
            written = Write::Add;
        }
    }
    filter_gradient(layer, &slots, components, gradient, write == Write::Add);
}

/// What one product makes: rows of the gradients of one component.
struct Piece<'a, T> {
    component: usize,
    /// Its first row, counted over all slots.
    first: usize,
    out: &'a mut [T],
}

/// The gradients of all components `[49, c_big, c_small]` in pieces.
fn pieces<'a, T: Scalar>(
    slots: &Slots,
    mut components: &'a mut [T],
    (c_big, c_small): (usize, usize),
) -> impl ParallelIterator<Item = Piece<'a, T>> {
    let mut pieces = Vec::new();
    for component in 0..COMPONENTS {
        let slots = slots.begin[component]..slots.begin[component + 1];
        let (of_component, rest) = components.split_at_mut(slots.len() * c_big * c_small);
        components = rest;
        for (index, out) in of_component.chunks_mut(PIECE * c_small).enumerate() {
            let first = slots.start * c_big + index * PIECE;
            pieces.push(Piece {
                component,
                first,
                out,
            });
        }
    }
    pieces.into_par_iter()
}

/// `out [channels, c_small]` set to, or increased by, the sum over tiles of big channels times small ones.
fn sum<T: Scalar>(
    (small, big): (&[T], &[T]),
    tiles: usize,
    (c_big, c_small): (usize, usize),
    out: &mut [T],
    mut write: Write,
    buffer: &mut [T],
) {
    let channels = out.len() / c_small;
    for start in (0..tiles).step_by(DEPTH) {
        let depth = DEPTH.min(tiles - start);
        // The product would transpose them too, into memory that it allocates.
        let factor = &mut buffer[..depth * channels];
        let rows = (&big[start * SLOTS * c_big..], SLOTS * c_big);
        transpose(rows, depth, channels, factor);
        let width = COMPONENTS * c_small;
        multiply(
            out,
            c_small,
            Matrix::rows(factor, channels, depth, depth),
            Matrix::rows(&small[start * width..], depth, c_small, width),
            write,
        );
        write = Write::Add;
    }
}

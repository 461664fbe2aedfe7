//! wgrad: the weight gradient of the convolution and of the transposed convolution alike.
//!
//! `dW [25 c_big, c_small] = windows^T small`, a reduction over all pixels of the batch. Blocks of
//! window columns are independent; where there are few, the pixels are cut into groups as well,
//! whose partial sums are added in order: the result is the same for any number of threads.

use std::ops::Range;

use rayon::prelude::*;

use super::windows::{gather_big, transpose};
use super::winograd;
use crate::backend::cpu::meter::count_moved;
use crate::backend::cpu::scalar::{Matrix, Scalar, Write, multiply};
use crate::backend::cpu::scratch::ThreadScratch;
use crate::model::StridedLayer;

/// Window columns of one block.
const COLUMNS: usize = 192;
/// Pixels that one product sums over.
const PIXELS: usize = 256;
/// Independent pieces of work to aim for.
const PIECES: usize = 48;

fn window_len(layer: &StridedLayer) -> usize {
    StridedLayer::TAPS * StridedLayer::TAPS * layer.c_big
}

/// Groups that the pixels are cut into.
fn groups(layer: &StridedLayer, pixels: usize) -> usize {
    let blocks = window_len(layer).div_ceil(COLUMNS);
    PIECES.div_ceil(blocks).min(pixels.div_ceil(PIXELS)).max(1)
}

/// Shared scratch (the groups' partial sums) and per-thread scratch of [`wgrad`] in `T`.
pub fn wgrad_scratch<T: Scalar>(layer: &StridedLayer, batch: usize) -> (usize, usize) {
    if winograd::serves::<T>(layer) {
        return winograd::wgrad_scratch(layer, batch);
    }
    let pixels = batch * layer.small * layer.small;
    let shared = match groups(layer, pixels) {
        1 => 0,
        groups => groups * layer.weight_len(),
    };
    (shared, 2 * PIXELS * COLUMNS.min(window_len(layer)))
}

/// `gradient [5, 5, c_big, c_small]` set to, or increased by, the sum over all pixels of
/// `big`'s windows times `small`.
pub fn wgrad<T: Scalar>(
    layer: &StridedLayer,
    big: &[T],
    small: &[T],
    gradient: &mut [T],
    write: Write,
    scratch: (ThreadScratch<'_, T>, &mut [T]),
) {
    if winograd::serves::<T>(layer) {
        winograd::wgrad(layer, big, small, gradient, write, scratch);
        return;
    }
    let (threads, partial) = scratch;
    let pixels = small.len() / layer.c_small;
    let groups = groups(layer, pixels);
    if groups == 1 {
        sum_blocks(layer, big, small, 0..pixels, gradient, write, threads);
        return;
    }
    let group_pixels = pixels.div_ceil(groups).next_multiple_of(PIXELS);
    partial
        .par_chunks_mut(layer.weight_len())
        .enumerate()
        .for_each(|(group, out)| {
            let start = (group * group_pixels).min(pixels);
            let end = (start + group_pixels).min(pixels);
            sum_blocks(layer, big, small, start..end, out, Write::Set, threads);
        });
    let partial = &*partial;
    let len = layer.weight_len();
    count_moved(2 * partial.len());
    gradient
        .par_chunks_mut(4096)
        .enumerate()
        .for_each(|(chunk, out)| {
            for group in 0..groups {
                let from = &partial[group * len + chunk * 4096..];
                if group == 0 && write == Write::Set {
                    out.copy_from_slice(&from[..out.len()]);
                } else {
                    out.iter_mut().zip(from).for_each(|(sum, &x)| *sum += x);
                }
            }
        });
}

/// The sum over `pixels`, block by block of window columns.
fn sum_blocks<T: Scalar>(
    layer: &StridedLayer,
    big: &[T],
    small: &[T],
    pixels: Range<usize>,
    out: &mut [T],
    write: Write,
    threads: ThreadScratch<'_, T>,
) {
    let channels = layer.c_small;
    if pixels.is_empty() && write == Write::Set {
        out.fill(T::zero());
        return;
    }
    out.par_chunks_mut(COLUMNS * channels)
        .enumerate()
        .for_each(|(block, out)| {
            let width = out.len() / channels;
            let columns = block * COLUMNS..block * COLUMNS + width;
            for start in pixels.clone().step_by(PIXELS) {
                let end = (start + PIXELS).min(pixels.end);
                threads.with(|buffer| {
                    let count = end - start;
                    let (windows, buffer) = buffer.split_at_mut(count * width);
                    gather_big(layer, big, start..end, columns.clone(), windows);
                    // The product would transpose them too, into memory that it allocates.
                    let factor = &mut buffer[..count * width];
                    transpose((windows, width), count, width, factor);
                    multiply(
                        out,
                        channels,
                        Matrix::rows(factor, width, count, count),
                        Matrix::rows(&small[start * channels..], count, channels, channels),
                        if start == pixels.start {
                            write
                        } else {
                            Write::Add
                        },
                    );
                });
            }
        });
}

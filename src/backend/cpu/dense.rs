//! The dense layer: `y [N, outputs] = x [N, inputs] W [inputs, outputs]`, and its gradients.
//!
//! The generator's has few inputs and many outputs, the discriminator's many inputs and one
//! output: work is cut along the long side, in pieces that depend on shapes only.

use rayon::prelude::*;

use super::meter::count_moved;
use super::scalar::{Matrix, Scalar, Write, multiply};
use super::scratch::ThreadScratch;

/// Values of the long side in one piece of work.
const PIECE: usize = 2048;

/// Shared and per-thread scratch of the operations below.
pub fn dense_scratch(inputs: usize, outputs: usize, batch: usize) -> (usize, usize) {
    let shared = inputs.div_ceil(PIECE) * batch * outputs;
    (shared, batch * PIECE)
}

/// `y = x W + bias`.
pub fn forward<T: Scalar>(
    (inputs, outputs): (usize, usize),
    x: &[T],
    weights: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
    scratch: (ThreadScratch<'_, T>, &mut [T]),
) {
    let batch = x.len() / inputs;
    let (threads, partial) = scratch;
    if inputs > outputs {
        sum_pieces((inputs, outputs), x, weights, y, partial);
    } else {
        columns(y, outputs, batch, threads, |columns, out| {
            let (start, width) = (columns.start, columns.len());
            let a = Matrix::rows(x, batch, inputs, inputs);
            let b = Matrix::rows(&weights[start..], inputs, width, outputs);
            multiply(out, width, a, b, Write::Set);
        });
    }
    if let Some(bias) = bias {
        count_moved(2 * y.len());
        y.par_chunks_mut(outputs).for_each(|row| {
            row.iter_mut().zip(bias).for_each(|(y, &b)| *y += b);
        });
    }
}

/// `y = x W` where the inputs are many: pieces of the sum, added in order.
fn sum_pieces<T: Scalar>(
    (inputs, outputs): (usize, usize),
    x: &[T],
    weights: &[T],
    y: &mut [T],
    partial: &mut [T],
) {
    let batch = x.len() / inputs;
    partial
        .par_chunks_mut(batch * outputs)
        .enumerate()
        .for_each(|(piece, out)| {
            let start = piece * PIECE;
            let width = PIECE.min(inputs - start);
            let a = Matrix::rows(&x[start..], batch, width, inputs);
            let b = Matrix::rows(&weights[start * outputs..], width, outputs, outputs);
            multiply(out, outputs, a, b, Write::Set);
        });
    count_moved(2 * partial.len());
    y.fill(T::zero());
    for piece in partial.chunks_exact(batch * outputs) {
        y.iter_mut().zip(piece).for_each(|(y, &x)| *y += x);
    }
}

/// `dx = dy W^T`.
pub fn input_gradient<T: Scalar>(
    (inputs, outputs): (usize, usize),
    dy: &[T],
    weights: &[T],
    dx: &mut [T],
    threads: ThreadScratch<'_, T>,
) {
    let batch = dy.len() / outputs;
    columns(dx, inputs, batch, threads, |columns, out| {
        let width = columns.len();
        let a = Matrix::rows(dy, batch, outputs, outputs);
        let b = Matrix::rows(&weights[columns.start * outputs..], width, outputs, outputs);
        multiply(out, width, a, b.transposed(), Write::Set);
    });
}

/// `dW = x^T dy`, set or added to.
pub fn weight_gradient<T: Scalar>(
    (inputs, outputs): (usize, usize),
    x: &[T],
    dy: &[T],
    gradient: &mut [T],
    write: Write,
) {
    let batch = dy.len() / outputs;
    let rows = (PIECE / outputs).max(1);
    gradient
        .par_chunks_mut(rows * outputs)
        .enumerate()
        .for_each(|(piece, out)| {
            let count = out.len() / outputs;
            let a = Matrix::rows(&x[piece * rows..], batch, count, inputs).transposed();
            let b = Matrix::rows(dy, batch, outputs, outputs);
            multiply(out, outputs, a, b, write);
        });
}

/// Fills `out [N, width]` piece by piece of columns: `work` computes `[N, columns]` in a thread's
/// buffer, from which the rows are copied.
fn columns<T: Scalar>(
    out: &mut [T],
    width: usize,
    batch: usize,
    threads: ThreadScratch<'_, T>,
    work: impl Fn(std::ops::Range<usize>, &mut [T]) + Sync,
) {
    // Each piece is a set of column ranges, one in each row: the rows are cut at the same places,
    // and the pieces of all rows that belong together are visited by one task.
    count_moved(2 * out.len());
    let mut rows: Vec<_> = out
        .chunks_exact_mut(width)
        .map(|row| row.chunks_mut(PIECE))
        .collect();
    let mut tasks: Vec<Vec<&mut [T]>> = Vec::with_capacity(width.div_ceil(PIECE));
    for _ in 0..width.div_ceil(PIECE) {
        tasks.push(rows.iter_mut().filter_map(Iterator::next).collect());
    }
    tasks
        .into_par_iter()
        .enumerate()
        .for_each(|(piece, parts)| {
            let start = piece * PIECE;
            let end = (start + PIECE).min(width);
            threads.with(|buffer| {
                let buffer = &mut buffer[..batch * (end - start)];
                work(start..end, buffer);
                for (part, from) in parts.into_iter().zip(buffer.chunks_exact(end - start)) {
                    part.copy_from_slice(from);
                }
            });
        });
}

//! The two number types of the CPU backend, and matrix products between strided views of them.

use std::fmt::Debug;

use gemm::Parallelism;
use num_traits::{Float, NumAssign};

use super::meter::count_product;

/// f32, which trains, or f64, the oracle of every other implementation.
pub trait Scalar: Float + NumAssign + Default + Debug + Send + Sync + 'static {
    /// Whether the strided layers may be computed with fewer products than their definition has: not
    /// where results are what others are measured by.
    const FEWER_PRODUCTS: bool;
    /// Rounds to this type.
    fn of(value: f64) -> Self;
    /// Exact in f64.
    fn wide(self) -> f64;
}

impl Scalar for f32 {
    const FEWER_PRODUCTS: bool = true;

    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }
}

impl Scalar for f64 {
    const FEWER_PRODUCTS: bool = false;

    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
}

/// Runs `work`, which should be inlined whole, compiled for the widest vectors of this processor: the
/// program itself is compiled for any x86-64. The results are the same: nothing is reordered or fused.
#[inline(always)]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// A matrix `[rows, cols]` inside a slice: element (i, j) is `data[i * row_stride + j * col_stride]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// Rows of `cols` adjacent values, `row_stride` apart; rows may overlap.
    pub fn rows(data: &'a [T], rows: usize, cols: usize, row_stride: usize) -> Self {
        Self {
            data,
            rows,
            cols,
            row_stride,
            col_stride: 1,
        }
    }

    /// The same values with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    fn fits(&self) -> bool {
        self.rows == 0
            || self.cols == 0
            || (self.rows - 1) * self.row_stride + (self.cols - 1) * self.col_stride
                < self.data.len()
    }
}

/// Whether a product replaces what it is written to or is added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    Set,
    Add,
}

/// `out = a b` or `out += a b`, on the calling thread. `out` has rows of `b.cols` adjacent values,
/// `out_stride` apart.
///
/// # Panics
/// If the shapes do not match or a matrix reaches beyond its slice.
pub fn multiply<T: Scalar>(
    out: &mut [T],
    out_stride: usize,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    write: Write,
) {
    let (rows, cols, depth) = (a.rows, b.cols, a.cols);
    assert!(
        depth == b.rows,
        "inner sides differ: {depth} and {}",
        b.rows
    );
    assert!(a.fits() && b.fits(), "a factor reaches beyond its slice");
    if rows == 0 || cols == 0 {
        return;
    }
    assert!(
        out_stride >= cols || rows == 1,
        "rows of the product overlap"
    );
    assert!(
        (rows - 1) * out_stride + cols <= out.len(),
        "the product reaches beyond its slice"
    );
    count_product(rows, cols, depth);
    // SAFETY: every element that the call reads or writes lies inside its slice (asserted above
    // for all three), `out` is borrowed mutably so that it overlaps neither factor, and strides
    // are below isize::MAX because the slices are.
    unsafe {
        gemm::gemm(
            rows,
            cols,
            depth,
            out.as_mut_ptr(),
            1,
            out_stride as isize,
            write == Write::Add,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            T::one(),
            T::one(),
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Philox, Stream};

    #[test]
    fn products_of_strided_and_overlapping_matrices_follow_the_definition() {
        for (rows, depth, cols) in [
            (1, 1, 1),
            (7, 5, 3),
            (48, 320, 128),
            (100, 2, 65),
            (3, 600, 1),
        ] {
            let mut data = vec![0.0f32; rows * 4 + depth + depth * cols];
            Philox::new(1, Stream::Benchmark, cols as u64).fill_normal(&mut data);
            let (left, right) = data.split_at(rows * 4 + depth);
            let a = Matrix::rows(left, rows, depth, 4);
            for b in [
                Matrix::rows(right, depth, cols, cols),
                Matrix::rows(right, cols, depth, depth).transposed(),
            ] {
                let stride = cols + 2;
                let mut out = vec![1.0f32; rows * stride];
                multiply(&mut out, stride, a, b, Write::Add);
                for i in 0..rows {
                    for j in 0..cols {
                        let sum: f64 = (0..depth)
                            .map(|k| {
                                let right = right[k * b.row_stride + j * b.col_stride];
                                f64::from(left[i * 4 + k]) * f64::from(right)
                            })
                            .sum();
                        let got = f64::from(out[i * stride + j]);
                        assert!((got - 1.0 - sum).abs() < 1e-5 * (depth as f64 + 10.0));
                    }
                    assert_eq!(out[i * stride + cols..(i + 1) * stride], [1.0; 2]);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "beyond its slice")]
    fn a_matrix_larger_than_its_slice_is_refused() {
        let data = [0.0f32; 10];
        let a = Matrix::rows(&data, 3, 4, 4);
        multiply(
            &mut [0.0; 9],
            3,
            a,
            Matrix::rows(&data, 4, 2, 2),
            Write::Set,
        );
    }
}

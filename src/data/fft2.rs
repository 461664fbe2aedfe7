//! Two-dimensional real Fourier transforms of square planes, without normalisation: columns of
//! [`realfft`]'s row transforms.

use std::sync::Arc;

use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftDirection, FftNum, FftPlanner};

/// Columns gathered together: a cache line of complex f32 numbers, so that none is read in vain.
const COLUMNS: usize = 8;

/// Plans for `side` x `side` planes; the spectrum is the half plane `[side, side / 2 + 1]`.
pub(super) struct Fft2<T: FftNum> {
    side: usize,
    row_forward: Arc<dyn RealToComplex<T>>,
    row_inverse: Arc<dyn ComplexToReal<T>>,
    column_forward: Arc<dyn Fft<T>>,
    column_inverse: Arc<dyn Fft<T>>,
}

impl<T: FftNum> Fft2<T> {
    /// Plans transforms of planes of any side.
    pub(super) fn new(side: usize) -> Self {
        let mut rows = RealFftPlanner::new();
        let mut columns = FftPlanner::new();
        Self {
            side,
            row_forward: rows.plan_fft_forward(side),
            row_inverse: rows.plan_fft_inverse(side),
            column_forward: columns.plan_fft(side, FftDirection::Forward),
            column_inverse: columns.plan_fft(side, FftDirection::Inverse),
        }
    }

    /// Stored modes in a row.
    pub(super) fn half(&self) -> usize {
        self.side / 2 + 1
    }

    /// F(k) = sum of f(x) exp(-ikx) for `plane` `[side, side]`, which it overwrites.
    pub(super) fn forward(&self, plane: &mut [T]) -> Vec<Complex<T>> {
        let half = self.half();
        let mut modes = vec![Complex::new(T::zero(), T::zero()); self.side * half];
        let mut scratch = self.row_forward.make_scratch_vec();
        let rows = plane.chunks_exact_mut(self.side);
        for (row, out) in rows.zip(modes.chunks_exact_mut(half)) {
            let done = self
                .row_forward
                .process_with_scratch(row, out, &mut scratch);
            done.expect("row lengths follow from the plan");
        }
        self.columns(&mut modes, self.column_forward.as_ref());
        modes
    }

    /// f(x) = sum of F(k) exp(ikx) over the whole plane of modes, of which `modes`
    /// `[side, side / 2 + 1]` is the stored half. Overwrites `modes`.
    pub(super) fn inverse(&self, modes: &mut [Complex<T>]) -> Vec<T> {
        let half = self.half();
        self.columns(modes, self.column_inverse.as_ref());
        let mut plane = vec![T::zero(); self.side * self.side];
        let mut scratch = self.row_inverse.make_scratch_vec();
        let rows = plane.chunks_exact_mut(self.side);
        for (out, row) in rows.zip(modes.chunks_exact_mut(half)) {
            // These are real but for rounding, and the row transform refuses what is not.
            row[0].im = T::zero();
            if self.side.is_multiple_of(2) {
                row[half - 1].im = T::zero();
            }
            let done = self
                .row_inverse
                .process_with_scratch(row, out, &mut scratch);
            done.expect("row lengths follow from the plan");
        }
        plane
    }

    fn columns(&self, modes: &mut [Complex<T>], fft: &dyn Fft<T>) {
        let zero = Complex::new(T::zero(), T::zero());
        let half = self.half();
        let mut gathered = vec![zero; COLUMNS * self.side];
        let mut scratch = vec![zero; fft.get_inplace_scratch_len()];
        for first in (0..half).step_by(COLUMNS) {
            let count = COLUMNS.min(half - first);
            for (y, row) in modes.chunks_exact(half).enumerate() {
                for (k, &mode) in row[first..first + count].iter().enumerate() {
                    gathered[k * self.side + y] = mode;
                }
            }
            fft.process_with_scratch(&mut gathered[..count * self.side], &mut scratch);
            for (y, row) in modes.chunks_exact_mut(half).enumerate() {
                for (k, mode) in row[first..first + count].iter_mut().enumerate() {
                    *mode = gathered[k * self.side + y];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Philox, Stream};

    #[test]
    fn it_is_the_double_sum_of_its_definition_and_inverts() {
        for side in [11, 12] {
            check(side);
        }
    }

    fn check(side: usize) {
        let mut random = vec![0.0f32; side * side];
        Philox::new(8, Stream::Benchmark, 0).fill_normal(&mut random);
        let plane: Vec<f64> = random.iter().map(|&v| f64::from(v)).collect();
        let fft = Fft2::<f64>::new(side);
        let mut modes = fft.forward(&mut plane.clone());
        for ky in 0..side {
            for kx in 0..fft.half() {
                let mut sum = Complex::new(0.0, 0.0);
                for y in 0..side {
                    for x in 0..side {
                        let phase = (ky * y + kx * x) as f64 / side as f64;
                        let wave = Complex::cis(-std::f64::consts::TAU * phase);
                        sum += wave * plane[y * side + x];
                    }
                }
                assert!((sum - modes[ky * fft.half() + kx]).norm() < 1e-11);
            }
        }
        let back = fft.inverse(&mut modes);
        for (a, b) in back.iter().zip(&plane) {
            assert!((a / (side * side) as f64 - b).abs() < 1e-13);
        }
    }
}

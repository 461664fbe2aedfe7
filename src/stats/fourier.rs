//! The real Fourier transform of a map, unnormalised, `F[i, j] = sum m exp(-2 pi i (i y + j x) / N)`,
//! stored as the half plane of columns j = 0..=N/2, transposed: `[N/2+1, N]`.

use std::sync::Arc;

use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use rustfft::{Fft, FftPlanner, num_complex::Complex};

/// Rows that are transformed before they are written across: four complex numbers are a cache line.
const AT_ONCE: usize = 4;

/// Plans for maps of one size.
#[derive(Clone)]
pub(super) struct MapTransform {
    side: usize,
    rows: Arc<dyn RealToComplex<f64>>,
    rows_back: Arc<dyn ComplexToReal<f64>>,
    columns: Arc<dyn Fft<f64>>,
    columns_back: Arc<dyn Fft<f64>>,
}

/// Working memory of a [`MapTransform`].
#[derive(Clone)]
pub(super) struct TransformScratch {
    row: Vec<f64>,
    /// `[AT_ONCE, N/2+1]`.
    halves: Vec<Complex<f64>>,
    inner: Vec<Complex<f64>>,
}

impl MapTransform {
    /// Plans for maps of `side` pixels, at least 1.
    pub fn new(side: usize) -> Self {
        let (mut real, mut complex) = (RealFftPlanner::new(), FftPlanner::new());
        Self {
            side,
            rows: real.plan_fft_forward(side),
            rows_back: real.plan_fft_inverse(side),
            columns: complex.plan_fft_forward(side),
            columns_back: complex.plan_fft_inverse(side),
        }
    }

    /// Stored columns: N/2+1.
    pub fn stored(&self) -> usize {
        self.side / 2 + 1
    }

    /// Room for the modes of a map, `[N/2+1, N]`.
    pub fn modes(&self) -> Vec<Complex<f64>> {
        vec![Complex::default(); self.side * self.stored()]
    }

    pub fn scratch(&self) -> TransformScratch {
        let lengths = [
            self.rows.get_scratch_len(),
            self.rows_back.get_scratch_len(),
            self.columns.get_inplace_scratch_len(),
            self.columns_back.get_inplace_scratch_len(),
        ];
        let longest = lengths.into_iter().max().unwrap_or(0);
        TransformScratch {
            row: vec![0.0; self.side],
            halves: vec![Complex::default(); AT_ONCE * self.stored()],
            inner: vec![Complex::default(); longest],
        }
    }

    /// The modes of the map whose row `y` is what `read(y, row)` writes.
    ///
    /// # Errors
    /// The first of `read`.
    pub fn forward<E>(
        &self,
        scratch: &mut TransformScratch,
        modes: &mut [Complex<f64>],
        mut read: impl FnMut(usize, &mut [f64]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (n, stored) = (self.side, self.stored());
        let row_scratch = self.rows.get_scratch_len();
        for first in (0..n).step_by(AT_ONCE) {
            let count = AT_ONCE.min(n - first);
            for (k, half) in scratch.halves.chunks_exact_mut(stored).enumerate() {
                if k < count {
                    read(first + k, &mut scratch.row)?;
                    let inner = &mut scratch.inner[..row_scratch];
                    let done = self
                        .rows
                        .process_with_scratch(&mut scratch.row, half, inner);
                    done.expect("lengths follow from the plan");
                }
            }
            for (column, to) in modes.chunks_exact_mut(n).enumerate() {
                for (k, to) in to[first..first + count].iter_mut().enumerate() {
                    *to = scratch.halves[k * stored + column];
                }
            }
        }
        let inner = &mut scratch.inner[..self.columns.get_inplace_scratch_len()];
        self.columns.process_with_scratch(modes, inner);
        Ok(())
    }

    /// The map of `modes`, which it overwrites: row `y`, times N^2, goes to `write(y, row)`.
    pub fn backward(
        &self,
        scratch: &mut TransformScratch,
        modes: &mut [Complex<f64>],
        mut write: impl FnMut(usize, &[f64]),
    ) {
        let (n, stored) = (self.side, self.stored());
        let inner = &mut scratch.inner[..self.columns_back.get_inplace_scratch_len()];
        self.columns_back.process_with_scratch(modes, inner);
        let row_scratch = self.rows_back.get_scratch_len();
        for first in (0..n).step_by(AT_ONCE) {
            let count = AT_ONCE.min(n - first);
            for (column, from) in modes.chunks_exact(n).enumerate() {
                for (k, &from) in from[first..first + count].iter().enumerate() {
                    scratch.halves[k * stored + column] = from;
                }
            }
            let halves = scratch.halves.chunks_exact_mut(stored).take(count);
            for (k, half) in halves.enumerate() {
                // Real but for rounding, and the row transform refuses what is not.
                half[0].im = 0.0;
                if n.is_multiple_of(2) {
                    half[stored - 1].im = 0.0;
                }
                let inner = &mut scratch.inner[..row_scratch];
                let row = &mut scratch.row;
                let done = self.rows_back.process_with_scratch(half, row, inner);
                done.expect("lengths follow from the plan");
                write(first + k, row);
            }
        }
    }
}

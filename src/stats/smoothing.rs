//! Gaussian smoothing by Fourier transform, periodic, as LensTools' `smooth(kind="gaussianFFT")`:
//! modes are multiplied by exp(-l^2 sigma^2 / 2).

use std::f64::consts::PI;

use rustfft::num_complex::Complex;

use super::StatsError;
use super::fourier::{MapTransform, TransformScratch};
use super::padded::PaddedMap;
use super::power_spectrum::fundamental;

/// A Gaussian of one width for maps of one size.
#[derive(Clone)]
pub(super) struct Smoothing {
    /// Of each stored mode, transposed like them; the inverse transform's 1/N^2 is in it.
    factors: Vec<f64>,
}

impl Smoothing {
    /// A Gaussian of standard deviation `sigma_arcmin` (not its full width).
    ///
    /// # Errors
    /// A width that is not positive and finite, or as wide as the map; a bad angle.
    pub fn new(pixels: usize, angle_deg: f64, sigma_arcmin: f64) -> Result<Self, StatsError> {
        fundamental(angle_deg)?;
        let sigma = sigma_arcmin / 60.0 / angle_deg;
        if !(sigma > 0.0 && sigma < 1.0) {
            return Err(StatsError::Smoothing {
                arcmin: sigma_arcmin,
                side_arcmin: 60.0 * angle_deg,
            });
        }
        let n = pixels as f64;
        let mut factors = Vec::with_capacity(pixels * (pixels / 2 + 1));
        for column in 0..=pixels / 2 {
            for row in 0..pixels {
                let (kx, ky) = (row.min(pixels - row) as f64, column as f64);
                let phase = 2.0 * PI * sigma;
                let exponent = -0.5 * (kx * kx + ky * ky) * phase * phase;
                factors.push(exponent.exp() / (n * n));
            }
        }
        Ok(Self { factors })
    }

    /// Smooths `map` in place; its rows are then to be continued afresh.
    pub fn apply(
        &self,
        transform: &MapTransform,
        scratch: &mut TransformScratch,
        modes: &mut [Complex<f64>],
        map: &mut PaddedMap,
    ) {
        let source = &*map;
        let Ok(()) = transform.forward(scratch, modes, |y, row| {
            row.copy_from_slice(source.row(y));
            Ok::<(), std::convert::Infallible>(())
        });
        for (mode, factor) in modes.iter_mut().zip(&self.factors) {
            *mode *= factor;
        }
        transform.backward(scratch, modes, |y, row| map.row_mut(y).copy_from_slice(row));
    }
}

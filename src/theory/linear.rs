//! The power spectrum of linear density fluctuations today, normalised to sigma_8, and its variance
//! in Gaussian windows.

use std::f64::consts::PI;

use super::cosmology::Cosmology;
use super::transfer::Transfer;

/// The table's wavenumbers: from 1e-5 to 1e6 per Mpc, fine enough for acoustic oscillations.
const LN_K: (f64, f64) = (-11.512_925_464_970_229, 13.815_510_557_964_274);
const POINTS: usize = 2048;

/// P(k) = A k^n_s T(k)^2.
#[derive(Debug)]
pub(super) struct LinearPower {
    transfer: Transfer,
    n_s: f64,
    amplitude: f64,
    /// (k, Delta^2(k)) at equal steps of ln k.
    table: Vec<(f64, f64)>,
}

/// Variance of the field in a Gaussian window of some radius R, and its logarithmic derivatives.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowedVariance {
    pub(super) variance: f64,
    /// -d ln sigma^2 / d ln R.
    pub(super) slope: f64,
    /// -d^2 ln sigma^2 / d ln R^2.
    pub(super) curvature: f64,
}

impl LinearPower {
    pub(super) fn new(cosmology: &Cosmology) -> Self {
        let mut power = Self {
            transfer: Transfer::new(cosmology),
            n_s: cosmology.n_s,
            amplitude: 1.0,
            table: Vec::new(),
        };
        power.table = (0..POINTS)
            .map(|i| {
                let k = (LN_K.0 + i as f64 * step()).exp();
                (k, power.delta_squared(k))
            })
            .collect();
        let radius = 8.0 / cosmology.h;
        power.amplitude = cosmology.sigma_8.powi(2) / power.top_hat_variance(radius);
        for (_, delta_squared) in &mut power.table {
            *delta_squared *= power.amplitude;
        }
        power
    }

    /// P at `k` in 1/Mpc, in Mpc^3.
    #[cfg(test)]
    pub(super) fn at(&self, k: f64) -> f64 {
        2.0 * PI * PI * k.powi(-3) * self.delta_squared(k)
    }

    /// Delta^2(k) = k^3 P(k) / (2 pi^2), the variance per ln k; `k` in 1/Mpc.
    pub(super) fn delta_squared(&self, k: f64) -> f64 {
        let transfer = self.transfer.at(k);
        self.amplitude * k.powf(self.n_s + 3.0) * transfer * transfer / (2.0 * PI * PI)
    }

    /// Variance in a sphere of `radius` Mpc.
    fn top_hat_variance(&self, radius: f64) -> f64 {
        let sum: f64 = self
            .table
            .iter()
            .map(|&(k, delta_squared)| {
                let x = k * radius;
                // The series avoids the difference of two equal numbers.
                let window = if x < 0.01 {
                    1.0 - x * x / 10.0
                } else {
                    3.0 * (x.sin() - x * x.cos()) / x.powi(3)
                };
                delta_squared * window * window
            })
            .sum();
        sum * step()
    }

    /// sigma^2(R), the integral of Delta^2(k) exp(-k^2 R^2) over ln k; `radius` in Mpc.
    pub(super) fn gaussian_variance(&self, radius: f64) -> WindowedVariance {
        let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
        for &(k, delta_squared) in &self.table {
            let x2 = (k * radius).powi(2);
            if x2 > 700.0 {
                break;
            }
            let weighted = delta_squared * (-x2).exp();
            sum += weighted;
            first += weighted * 2.0 * x2;
            second += weighted * (4.0 * x2 * x2 - 4.0 * x2);
        }
        let slope = first / sum;
        WindowedVariance {
            variance: sum * step(),
            slope,
            curvature: slope * slope - second / sum,
        }
    }
}

fn step() -> f64 {
    (LN_K.1 - LN_K.0) / (POINTS - 1) as f64
}

#[cfg(test)]
#[path = "linear_tests.rs"]
mod tests;

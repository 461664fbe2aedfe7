//! The angular power spectrum of weak-lensing convergence.

use std::f64::consts::PI;

use super::background::Background;
use super::cosmology::Cosmology;
use super::error::{TheoryError, check};
use super::halofit::Halofit;
use super::linear::LinearPower;
use super::quadrature::gauss_legendre;

/// The table's multipoles.
const L: (f64, f64) = (1.0, 1e6);

/// Its points: 32 a factor of ten, which leaves errors of interpolation below 5e-4.
const POINTS: usize = 193;

/// Lens planes of the integral over the line of sight.
const PLANES: usize = 96;

/// C_l of convergence, tabulated once.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvergencePower {
    /// (ln l, ln C_l), l rising.
    table: Vec<(f64, f64)>,
}

/// One plane of the integral over the line of sight.
struct Plane {
    /// Comoving distance, Mpc.
    distance: f64,
    /// Weight of P(k, z), in 1/Mpc^3 sr.
    weight: f64,
    halofit: Halofit,
}

impl ConvergencePower {
    /// C_l for sources at one redshift, in Limber's approximation with k = (l + 1/2) / chi:
    ///
    /// C_l = (3/2 Omega_m H0^2 / c^2)^2 * integral of (1 + z)^2 (1 - chi / chi_s)^2 P(k, z) dchi
    ///
    /// (Bartelmann & Schneider 2001, equation 6.24), with the transfer function of Eisenstein & Hu
    /// 1998 and the halofit of Takahashi et al. 2012. It takes some hundredths of a second.
    ///
    /// # Errors
    /// A field of `cosmology`, or the redshift (0.01 to 10), out of its range.
    pub fn new(cosmology: &Cosmology, source_redshift: f64) -> Result<Self, TheoryError> {
        cosmology.check()?;
        check(
            "source_redshift",
            source_redshift,
            0.01..=10.0,
            "0.01 to 10",
        )?;
        let linear = LinearPower::new(cosmology);
        let planes = planes(cosmology, &linear, source_redshift);
        let ratio = (L.1 / L.0).ln() / (POINTS - 1) as f64;
        let table = (0..POINTS).map(|i| {
            let ln_l = L.0.ln() + i as f64 * ratio;
            let l = ln_l.exp();
            let sum: f64 = planes
                .iter()
                .map(|plane| {
                    let k = (l + 0.5) / plane.distance;
                    let delta_squared = plane.halofit.delta_squared(&linear, k);
                    plane.weight * 2.0 * PI * PI * k.powi(-3) * delta_squared
                })
                .sum();
            (ln_l, sum.ln())
        });
        Ok(Self {
            table: table.collect(),
        })
    }

    /// The spectrum that a table of (l, C_l in steradians) holds.
    ///
    /// # Errors
    /// Fewer than two points, one that is not positive and finite, multipoles that do not increase.
    pub fn from_table(points: &[(f64, f64)]) -> Result<Self, TheoryError> {
        if points.len() < 2 {
            return Err(TheoryError::ShortTable(points.len()));
        }
        let mut before = 0.0;
        for (index, &(l, power)) in points.iter().enumerate() {
            if !(l > before && l.is_finite() && power > 0.0 && power.is_finite()) {
                return Err(TheoryError::Table { index, l, power });
            }
            before = l;
        }
        let table = points.iter().map(|&(l, power)| (l.ln(), power.ln()));
        Ok(Self {
            table: table.collect(),
        })
    }

    /// The first and the last multipole of the table.
    pub fn range(&self) -> (f64, f64) {
        let [first, last] = [0, self.table.len() - 1].map(|i| self.table[i].0.exp());
        (first, last)
    }

    /// C_l in steradians at any multipole: power laws between the points of the table, and beyond
    /// both ends (l = 1 and 1e6 unless the table was given) the power laws of its first and last two
    /// points. There is no mean: C_l is 0 where `l` is not above 0, and NaN where `l` is.
    pub fn at(&self, l: f64) -> f64 {
        if l <= 0.0 {
            return 0.0;
        }
        let ln_l = l.ln();
        let above = self.table.partition_point(|&(x, _)| x <= ln_l);
        let i = above.clamp(1, self.table.len() - 1);
        let ((x0, y0), (x1, y1)) = (self.table[i - 1], self.table[i]);
        (y0 + (y1 - y0) * (ln_l - x0) / (x1 - x0)).exp()
    }
}

fn planes(cosmology: &Cosmology, linear: &LinearPower, source_redshift: f64) -> Vec<Plane> {
    let background = Background::new(cosmology);
    let source = background.distance(source_redshift);
    let prefactor = (1.5 * cosmology.omega_m / background.hubble_distance.powi(2)).powi(2);
    let rule = gauss_legendre(PLANES).into_iter();
    rule.map(|(at, weight)| {
        let z = source_redshift * at;
        let distance = background.distance(z);
        let width = weight * source_redshift * background.distance_slope(z);
        Plane {
            distance,
            weight: prefactor * width * ((1.0 + z) * (1.0 - distance / source)).powi(2),
            halofit: Halofit::new(linear, &background, cosmology.w, z),
        }
    })
    .collect()
}

#[cfg(test)]
#[path = "convergence_tests.rs"]
mod tests;

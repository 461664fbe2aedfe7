//! The chi-squared distance of two sets of maps, by which a generator is chosen and judged.
//!
//! chi^2 = d^T C_d^-1 d with d the difference of the mean data vectors ([`DataVector`]),
//! C_d = C (1/N_g + 1/N_v), C the covariance of the real set's N_v vectors, and C^-1 multiplied by
//! (N_v - p - 2) / (N_v - 1), which makes the inverse of a sample covariance unbiased (Hartlap,
//! Simon & Schneider 2007). A perfect generator has chi^2 = p on average.

use super::covariance::filled_bins;
use super::{StatsError, covariance, feature_means};
use nalgebra::{DMatrix, DVector};
use ndarray::ArrayView2;
use serde::Serialize;
use std::ops::Range;

/// A correlation matrix with a condition number above this is not inverted.
pub const LARGEST_CONDITION: f64 = 1e8;

/// What the elements of a data vector are: the power spectrum, then V0, V1 and V2, then peaks.
/// An array of data vectors is `[maps, DataVector::LEN]`, one vector a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataVector;

impl DataVector {
    /// ln P in bins equal in ln l, from the fundamental to Nyquist ([`super::log_bins`]).
    pub const SPECTRUM_BINS: usize = 16;
    /// Thresholds of each Minkowski functional.
    pub const THRESHOLDS: usize = 9;
    /// Bins of the heights of peaks.
    pub const PEAK_BINS: usize = 8;
    /// Length of the vector: 16 + 3 * 9 + 8 = 51.
    pub const LEN: usize = Self::SPECTRUM_BINS + 3 * Self::THRESHOLDS + Self::PEAK_BINS;

    /// The places of ln P.
    pub const fn spectrum() -> Range<usize> {
        0..Self::SPECTRUM_BINS
    }

    /// The places of the Minkowski functional V0, V1 or V2 (`order` 0, 1 or 2).
    pub const fn minkowski(order: usize) -> Range<usize> {
        let start = Self::SPECTRUM_BINS + order * Self::THRESHOLDS;
        start..start + Self::THRESHOLDS
    }

    /// The places of the peak counts.
    pub const fn peaks() -> Range<usize> {
        Self::LEN - Self::PEAK_BINS..Self::LEN
    }

    /// The name of element `index`, as `ln P 3`, `V1 0`, `peaks 7`.
    pub fn name(index: usize) -> String {
        let kinds = [
            ("ln P", Self::spectrum()),
            ("V0", Self::minkowski(0)),
            ("V1", Self::minkowski(1)),
            ("V2", Self::minkowski(2)),
            ("peaks", Self::peaks()),
        ];
        let kind = kinds.into_iter().find(|(_, range)| range.contains(&index));
        match kind {
            Some((name, range)) => format!("{name} {}", index - range.start),
            None => format!("element {index}"),
        }
    }

    /// The vector of one map from its parts.
    ///
    /// # Errors
    /// A part of the wrong length. Power that is not positive becomes an element that is not
    /// finite, which [`chi_squared`] refuses and names.
    pub fn assemble(
        power: &[f64],
        minkowski: [&[f64]; 3],
        peaks: &[f64],
    ) -> Result<Vec<f64>, StatsError> {
        let part = |what, values: &[f64], range: Range<usize>| match values.len() {
            got if got == range.len() => Ok(()),
            got => Err(StatsError::Length {
                what,
                got,
                expected: range.len(),
            }),
        };
        part("bins of power", power, Self::spectrum())?;
        for (order, values) in minkowski.iter().enumerate() {
            part("thresholds of a functional", values, Self::minkowski(order))?;
        }
        part("bins of peaks", peaks, Self::peaks())?;
        let mut vector: Vec<f64> = power.iter().map(|p| p.ln()).collect();
        vector.extend(minkowski.concat());
        vector.extend_from_slice(peaks);
        Ok(vector)
    }
}

/// Why the full covariance was not inverted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, thiserror::Error)]
pub enum Refusal {
    /// N <= p + 2: the Hartlap factor would not be positive.
    #[error("{maps} real maps are too few for {bins} elements: more than {bins} + 2 are needed")]
    TooFewMaps {
        /// Independent real maps, N.
        maps: usize,
        /// Elements of the data vector, p.
        bins: usize,
    },
    /// The correlation matrix is close to singular.
    #[error("the condition number of the correlation matrix is {condition:.3e}, above 1e8")]
    Condition {
        /// Largest over smallest eigenvalue; infinite where an element does not vary.
        condition: f64,
    },
}

/// A chi-squared distance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum ChiSquared {
    /// With the full covariance and the Hartlap factor.
    Full {
        /// d^T C_d^-1 d, times the Hartlap factor.
        chi_squared: f64,
        /// Elements of the data vector, p: the mean of chi-squared for a perfect generator.
        bins: usize,
        /// (N - p - 2) / (N - 1).
        hartlap: f64,
        /// Condition number of the correlation matrix.
        condition: f64,
    },
    /// The diagonal form, sum of d_i^2 / (C_d)_ii: correlations are ignored, because the full
    /// form was refused. Not to be compared with full ones. Its mean for a perfect generator is
    /// about `bins` too, its scatter is larger.
    Diagonal {
        /// The sum over elements that vary.
        chi_squared: f64,
        /// Elements that vary.
        bins: usize,
        /// Why it is not the full one.
        why: Refusal,
    },
}

impl ChiSquared {
    /// The distance, of either form.
    pub fn value(&self) -> f64 {
        match *self {
            Self::Full { chi_squared, .. } | Self::Diagonal { chi_squared, .. } => chi_squared,
        }
    }

    /// The number of elements: the expectation for a perfect generator.
    pub fn bins(&self) -> usize {
        match *self {
            Self::Full { bins, .. } | Self::Diagonal { bins, .. } => bins,
        }
    }

    /// Why it is the diagonal form, if it is.
    pub fn refusal(&self) -> Option<Refusal> {
        match *self {
            Self::Full { .. } => None,
            Self::Diagonal { why, .. } => Some(why),
        }
    }
}

/// The distance of `generated` `[N_g, p]` from `real` `[N_v, p]`. Elements that are NaN in every
/// vector of both sets are left out (empty bins).
///
/// Vectors should be independent: where crops share a parent, give one row a parent
/// ([`super::parent_means`]), in blocks of as many maps for the generated ones.
///
/// The matrix that is inverted is that of correlations, with the variances divided out: chi-squared
/// is the same, and the condition number does not depend on the units of the elements.
///
/// # Errors
/// Other numbers of elements; fewer than 2 real vectors, no generated one; an element that is not
/// finite in some vectors only; no element that varies.
pub fn chi_squared(
    real: ArrayView2<'_, f64>,
    generated: ArrayView2<'_, f64>,
) -> Result<ChiSquared, StatsError> {
    let length = |what, got, expected| StatsError::Length {
        what,
        got,
        expected,
    };
    if real.ncols() != generated.ncols() {
        let what = "elements of the generated data vectors";
        return Err(length(what, generated.ncols(), real.ncols()));
    }
    let bins = filled_bins(real, 2)?;
    if filled_bins(generated, 1)? != bins {
        // Empty in one set only: the sets were not measured alike.
        let what = "elements with values in the generated data vectors";
        let filled = filled_bins(generated, 1)?.len();
        return Err(length(what, filled, bins.len()));
    }
    let (n_v, n_g) = (real.nrows() as f64, generated.nrows() as f64);
    let covariance = covariance(real)?;
    let difference = feature_means(generated)? - feature_means(real)?;
    let scatter = |bin: usize| (covariance[[bin, bin]] * (1.0 / n_v + 1.0 / n_g)).sqrt();
    let diagonal = |why: Refusal| {
        let varying = bins.iter().filter(|&&bin| scatter(bin) > 0.0);
        let squares: Vec<f64> = varying
            .map(|&bin| (difference[bin] / scatter(bin)).powi(2))
            .collect();
        match squares.len() {
            0 => Err(StatsError::AllEqual),
            bins => Ok(ChiSquared::Diagonal {
                chi_squared: squares.iter().sum(),
                bins,
                why,
            }),
        }
    };
    let p = bins.len();
    if real.nrows() <= p + 2 {
        let maps = real.nrows();
        return diagonal(Refusal::TooFewMaps { maps, bins: p });
    }
    if bins.iter().any(|&bin| scatter(bin) == 0.0) {
        let condition = f64::INFINITY;
        return diagonal(Refusal::Condition { condition });
    }
    let unit = |i: usize, j: usize| (covariance[[i, i]] * covariance[[j, j]]).sqrt();
    let correlation = DMatrix::from_fn(p, p, |i, j| {
        let (i, j) = (bins[i], bins[j]);
        covariance[[i, j]] / unit(i, j)
    });
    let eigenvalues = correlation.symmetric_eigenvalues();
    let condition = match eigenvalues.min() {
        least if least > 0.0 => eigenvalues.max() / least,
        _ => f64::INFINITY,
    };
    let factor = match condition {
        ..=LARGEST_CONDITION => correlation.cholesky(),
        _ => None,
    };
    let Some(factor) = factor else {
        return diagonal(Refusal::Condition { condition });
    };
    let d = DVector::from_fn(p, |i, _| difference[bins[i]] / scatter(bins[i]));
    let hartlap = (n_v - p as f64 - 2.0) / (n_v - 1.0);
    Ok(ChiSquared::Full {
        chi_squared: hartlap * d.dot(&factor.solve(&d)),
        bins: p,
        hartlap,
        condition,
    })
}

#[cfg(test)]
#[path = "chi_squared_tests.rs"]
mod tests;

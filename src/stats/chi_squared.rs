//! The chi-squared distance of two sets of maps, by which a generator is chosen and judged.
//!
//! chi^2 = d^T C_d^-1 d with d the difference of the mean data vectors ([`DataVector`](super::DataVector)),
//! C_d = C (1/N_g + 1/N_v), C the covariance of the real set's N_v vectors, and C^-1 multiplied by
//! (N_v - p - 2) / (N_v - 1), which makes the inverse of a sample covariance unbiased (Hartlap,
//! Simon & Schneider 2007). A perfect generator has chi^2 = p on average.

use super::covariance::filled_bins;
use super::{StatsError, covariance, feature_means};
use nalgebra::{Cholesky, DMatrix, DVector, Dyn};
use ndarray::{Array2, ArrayView2};
use serde::Serialize;

/// A correlation matrix with a condition number above this is not inverted.
pub const LARGEST_CONDITION: f64 = 1e8;

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

/// A real set, prepared for being the one that many generated ones are compared with: its mean,
/// and its covariance, inverted if that can be done. Which form the distance has depends on the
/// real set alone, so that all distances from one reference can be compared with each other.
#[derive(Clone, Debug)]
pub struct ChiSquaredReference {
    /// Rows of the real set, N_v.
    maps: usize,
    /// Elements of a row, empty ones included.
    length: usize,
    /// The elements that are not empty, ascending.
    bins: Vec<usize>,
    /// Of each element in `bins`.
    mean: Vec<f64>,
    /// Of each element in `bins`.
    variance: Vec<f64>,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Full {
        correlation: Cholesky<f64, Dyn>,
        hartlap: f64,
        condition: f64,
    },
    Diagonal(Refusal),
}

impl ChiSquaredReference {
    /// Prepares `real` `[N_v, p]`; see [`chi_squared`].
    ///
    /// # Errors
    /// Fewer than 2 vectors; an element that is not finite in some vectors only; no element that
    /// varies.
    pub fn new(real: ArrayView2<'_, f64>) -> Result<Self, StatsError> {
        let bins = filled_bins(real, 2)?;
        let covariance = covariance(real)?;
        let means = feature_means(real)?;
        let reference = Self {
            maps: real.nrows(),
            length: real.ncols(),
            mean: bins.iter().map(|&bin| means[bin]).collect(),
            variance: bins.iter().map(|&bin| covariance[[bin, bin]]).collect(),
            form: Form::of(&covariance, &bins, real.nrows()),
            bins,
        };
        match reference.elements() {
            0 => Err(StatsError::AllEqual),
            _ => Ok(reference),
        }
    }

    /// Why distances are of the diagonal form, if they are.
    pub fn refusal(&self) -> Option<Refusal> {
        match self.form {
            Form::Full { .. } => None,
            Form::Diagonal(why) => Some(why),
        }
    }

    /// The number of elements that distances are made of.
    pub fn elements(&self) -> usize {
        match self.form {
            Form::Full { .. } => self.bins.len(),
            Form::Diagonal(_) => self.variance.iter().filter(|&&v| v > 0.0).count(),
        }
    }

    /// The same with distances of the diagonal form: beside another reference that has no other.
    #[must_use]
    pub fn diagonal(self, why: Refusal) -> Self {
        let form = Form::Diagonal(why);
        Self { form, ..self }
    }

    /// The distance of `generated` `[N_g, p]`; see [`chi_squared`].
    ///
    /// # Errors
    /// Another number of elements, no vector, an element that is not finite.
    pub fn distance(&self, generated: ArrayView2<'_, f64>) -> Result<ChiSquared, StatsError> {
        let length = |what, got, expected| StatsError::Length {
            what,
            got,
            expected,
        };
        if generated.ncols() != self.length {
            let what = "elements of the generated data vectors";
            return Err(length(what, generated.ncols(), self.length));
        }
        let filled = filled_bins(generated, 1)?;
        if filled != self.bins {
            // Empty in one set only: the sets were not measured alike.
            let what = "elements with values in the generated data vectors";
            return Err(length(what, filled.len(), self.bins.len()));
        }
        let means = feature_means(generated)?;
        let counts = 1.0 / self.maps as f64 + 1.0 / generated.nrows() as f64;
        let scatter = |i: usize| (self.variance[i] * counts).sqrt();
        let shift = |i: usize| (means[self.bins[i]] - self.mean[i]) / scatter(i);
        let p = self.bins.len();
        Ok(match &self.form {
            Form::Full {
                correlation,
                hartlap,
                condition,
            } => {
                let d = DVector::from_fn(p, |i, _| shift(i));
                ChiSquared::Full {
                    chi_squared: hartlap * d.dot(&correlation.solve(&d)),
                    bins: p,
                    hartlap: *hartlap,
                    condition: *condition,
                }
            }
            Form::Diagonal(why) => {
                let varying = (0..p).filter(|&i| scatter(i) > 0.0);
                ChiSquared::Diagonal {
                    chi_squared: varying.map(|i| shift(i).powi(2)).sum(),
                    bins: self.elements(),
                    why: *why,
                }
            }
        })
    }
}

impl Form {
    fn of(covariance: &Array2<f64>, bins: &[usize], maps: usize) -> Self {
        let p = bins.len();
        if maps <= p + 2 {
            return Self::Diagonal(Refusal::TooFewMaps { maps, bins: p });
        }
        if bins.iter().any(|&bin| covariance[[bin, bin]] <= 0.0) {
            let condition = f64::INFINITY;
            return Self::Diagonal(Refusal::Condition { condition });
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
        match factor {
            None => Self::Diagonal(Refusal::Condition { condition }),
            Some(correlation) => Self::Full {
                correlation,
                hartlap: (maps as f64 - p as f64 - 2.0) / (maps as f64 - 1.0),
                condition,
            },
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
    ChiSquaredReference::new(real)?.distance(generated)
}

#[cfg(test)]
#[path = "chi_squared_tests.rs"]
mod tests;

//! Covariance and correlation matrices of features over maps, and two of them compared as numbers.
//!
//! An emulator that has every mean right can still scatter too little, or correlate bins that are
//! independent. Features are `[maps, bins]`; a bin that is NaN in every map is empty and stays NaN.

use super::{Parents, StatsError};
use nalgebra::DMatrix;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use serde::Serialize;

/// The bins that hold values; the others are empty.
///
/// # Errors
/// Fewer than `needed` maps; a value that is not finite in a bin that is not NaN throughout.
pub(super) fn filled_bins(
    features: ArrayView2<'_, f64>,
    needed: usize,
) -> Result<Vec<usize>, StatsError> {
    if features.nrows() < needed {
        return Err(StatsError::TooFew {
            what: "maps",
            got: features.nrows(),
            needed,
        });
    }
    let mut filled = Vec::new();
    for (bin, column) in features.columns().into_iter().enumerate() {
        let mut faults = column.iter().enumerate().filter(|(_, v)| !v.is_finite());
        match faults.next() {
            None => filled.push(bin),
            Some(_) if column.iter().all(|v| v.is_nan()) => {}
            Some((map, &value)) => return Err(StatsError::Feature { map, bin, value }),
        }
    }
    Ok(filled)
}

/// The mean of each feature over the maps, `[bins]`; NaN for an empty bin.
///
/// # Errors
/// No maps; a bin that is not finite in some maps only.
pub fn feature_means(features: ArrayView2<'_, f64>) -> Result<Array1<f64>, StatsError> {
    filled_bins(features, 1)?;
    let count = features.nrows() as f64;
    Ok(features.sum_axis(Axis(0)) / count)
}

/// The covariance matrix `[bins, bins]` of features, normalised by maps - 1; NaN in the rows and
/// columns of empty bins.
///
/// # Errors
/// Fewer than 2 maps; a bin that is not finite in some maps only.
pub fn covariance(features: ArrayView2<'_, f64>) -> Result<Array2<f64>, StatsError> {
    filled_bins(features, 2)?;
    let centred = &features - &feature_means(features)?;
    Ok(centred.t().dot(&centred) / (features.nrows() - 1) as f64)
}

/// The correlation matrix that belongs to a covariance matrix; NaN for bins that are empty or the
/// same in every map, and exactly 1 on the diagonal of all others.
pub fn correlation(covariance: &Array2<f64>) -> Array2<f64> {
    let scatter = covariance.diag().mapv(f64::sqrt);
    Array2::from_shape_fn(covariance.dim(), |(i, j)| {
        let scale = scatter[i] * scatter[j];
        match (scale > 0.0, i == j) {
            (true, true) => 1.0,
            (true, false) => covariance[[i, j]] / scale,
            (false, _) => f64::NAN,
        }
    })
}

/// One row a parent: the mean of its maps' features. Crops of a parent are not independent, so
/// what needs the number of independent maps ([`super::chi_squared`]) should be given these.
///
/// # Errors
/// Features of another number of maps.
pub fn parent_means(
    features: ArrayView2<'_, f64>,
    parents: &Parents,
) -> Result<Array2<f64>, StatsError> {
    if features.nrows() != parents.maps() {
        return Err(StatsError::Length {
            what: "maps with features",
            got: features.nrows(),
            expected: parents.maps(),
        });
    }
    let mut sums = Array2::zeros((parents.count(), features.ncols()));
    let mut counts = vec![0.0; parents.count()];
    for (row, &parent) in features.rows().into_iter().zip(parents.of_map()) {
        let mut sum = sums.row_mut(parent as usize);
        sum += &row;
        counts[parent as usize] += 1.0;
    }
    for (mut row, count) in sums.rows_mut().into_iter().zip(counts) {
        row /= count;
    }
    Ok(sums)
}

/// How the scatter of a second set (generated) differs from that of a first (real).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CovarianceComparison {
    /// Variance of the second over that of the first, by bin; NaN where either is empty or does
    /// not vary.
    pub variance_ratio: Vec<f64>,
    /// Geometric mean of the ratios.
    pub mean_variance_ratio: f64,
    /// The ratio farthest from 1, in logarithm.
    pub worst_variance_ratio: f64,
    /// Largest eigenvalue of the second covariance over that of the first, in units in which the
    /// first has unit variances: the direction of most scatter, whatever the units of the bins.
    pub covariance_eigenvalue_ratio: f64,
    /// Largest eigenvalue of the second correlation matrix over that of the first.
    pub correlation_eigenvalue_ratio: f64,
    /// Spectral norm (largest |eigenvalue|) of the difference of the correlation matrices.
    pub correlation_spectral_norm: f64,
    /// Largest |difference| of an element of the correlation matrices.
    pub correlation_max_difference: f64,
    /// Mean |difference| of the elements off the diagonal.
    pub correlation_mean_difference: f64,
    /// Bins that were compared.
    pub bins: usize,
}

impl CovarianceComparison {
    /// Compares the scatter of `first` and `second`, both `[maps, bins]`.
    ///
    /// # Errors
    /// Other numbers of bins; fewer than 2 maps; a bin that is not finite in some maps only; no
    /// bin that varies in both.
    pub fn new(
        first: ArrayView2<'_, f64>,
        second: ArrayView2<'_, f64>,
    ) -> Result<Self, StatsError> {
        if first.ncols() != second.ncols() {
            return Err(StatsError::Length {
                what: "features of the second sample",
                got: second.ncols(),
                expected: first.ncols(),
            });
        }
        let (a, b) = (covariance(first)?, covariance(second)?);
        let varies = |&bin: &usize| a[[bin, bin]] > 0.0 && b[[bin, bin]] > 0.0;
        let bins: Vec<usize> = (0..first.ncols()).filter(varies).collect();
        if bins.is_empty() {
            return Err(StatsError::AllEqual);
        }
        let ratio = |bin: usize| match varies(&bin) {
            true => b[[bin, bin]] / a[[bin, bin]],
            false => f64::NAN,
        };
        let variance_ratio: Vec<f64> = (0..first.ncols()).map(ratio).collect();
        let logs = || bins.iter().map(|&bin| variance_ratio[bin].ln());
        let worst = logs().fold(
            0.0,
            |worst: f64, log| {
                if log.abs() > worst.abs() { log } else { worst }
            },
        );

        let square = |element: &dyn Fn(usize, usize) -> f64| {
            DMatrix::from_fn(bins.len(), bins.len(), |i, j| element(bins[i], bins[j]))
        };
        let unit = |i: usize, j: usize| (a[[i, i]] * a[[j, j]]).sqrt();
        let (r_a, r_b) = (correlation(&a), correlation(&b));
        let largest = |matrix: &DMatrix<f64>| matrix.symmetric_eigenvalues().max();
        let first_largest = largest(&square(&|i, j| r_a[[i, j]]));
        let difference = square(&|i, j| r_b[[i, j]] - r_a[[i, j]]);
        let off_diagonal = (bins.len() * (bins.len() - 1)).max(1) as f64;
        Ok(Self {
            mean_variance_ratio: (logs().sum::<f64>() / bins.len() as f64).exp(),
            worst_variance_ratio: worst.exp(),
            covariance_eigenvalue_ratio: largest(&square(&|i, j| b[[i, j]] / unit(i, j)))
                / first_largest,
            correlation_eigenvalue_ratio: largest(&square(&|i, j| r_b[[i, j]])) / first_largest,
            correlation_spectral_norm: difference.symmetric_eigenvalues().amax(),
            correlation_max_difference: difference.amax(),
            correlation_mean_difference: difference.iter().map(|d| d.abs()).sum::<f64>()
                / off_diagonal,
            variance_ratio,
            bins: bins.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{normals, random};
    use ndarray::{array, s};

    #[test]
    fn covariance_and_correlation_are_those_of_a_computation_by_hand() {
        let features = array![
            [1.0, f64::NAN, 2.0, 5.0],
            [2.0, f64::NAN, 0.0, 5.0],
            [3.0, f64::NAN, 1.0, 5.0]
        ];
        let c = covariance(features.view()).unwrap();
        assert_eq!(
            (c[[0, 0]], c[[0, 2]], c[[2, 2]], c[[3, 3]]),
            (1.0, -0.5, 1.0, 0.0)
        );
        assert!(c[[1, 1]].is_nan() && c[[0, 1]].is_nan());
        let r = correlation(&c);
        assert_eq!((r[[0, 0]], r[[0, 2]], r[[2, 0]]), (1.0, -0.5, -0.5));
        assert!(r[[1, 1]].is_nan() && r[[3, 3]].is_nan() && r[[0, 3]].is_nan());
    }

    #[test]
    fn too_little_scatter_and_an_extra_correlation_are_told_as_numbers() {
        let maps = 4000;
        let values = normals(&mut random(91), 2 * maps * 5);
        let mut both = Array2::from_shape_vec((2 * maps, 5), values).unwrap();
        both.column_mut(4).fill(f64::NAN);
        let first = both.slice(s![..maps, ..]);
        let mut second = both.slice(s![maps.., ..]).to_owned();
        let floor = CovarianceComparison::new(first, second.view()).unwrap();
        assert_eq!(floor.bins, 4);
        assert!((floor.mean_variance_ratio - 1.0).abs() < 0.05);
        assert!(floor.correlation_spectral_norm < 0.12, "{floor:?}");

        second.column_mut(0).mapv_inplace(|v| 0.5 * v);
        let common = second.column(2).to_owned();
        let mixed = (&second.column(1) + &common) / 2_f64.sqrt();
        second.column_mut(1).assign(&mixed);
        let found = CovarianceComparison::new(first, second.view()).unwrap();
        assert!(
            (found.worst_variance_ratio - 0.25).abs() < 0.02,
            "{found:?}"
        );
        assert!(found.variance_ratio[4].is_nan());
        // One pair has correlation 1/sqrt(2): eigenvalues 1 +- that.
        let expected = 0.5_f64.sqrt();
        for number in [
            found.correlation_spectral_norm,
            found.correlation_max_difference,
        ] {
            assert!((number - expected).abs() < 0.08, "{found:?}");
        }
        assert!(
            (found.correlation_eigenvalue_ratio - 1.0 - expected).abs() < 0.12,
            "{found:?}"
        );
        assert!(
            (found.covariance_eigenvalue_ratio - 1.0 - expected).abs() < 0.12,
            "{found:?}"
        );
    }

    #[test]
    fn parents_are_averaged() {
        let features = array![[1.0], [4.0], [3.0]];
        let parents = Parents::from_ids([8, 2, 8]);
        let means = parent_means(features.view(), &parents).unwrap();
        assert_eq!(means, array![[2.0], [4.0]]);
        assert!(parent_means(features.view(), &Parents::singles(2)).is_err());
    }

    #[test]
    fn faulty_features_are_refused() {
        let one = array![[1.0, 2.0]];
        assert!(matches!(
            covariance(one.view()),
            Err(StatsError::TooFew { got: 1, .. })
        ));
        let nan = array![[1.0, 2.0], [f64::NAN, 3.0]];
        let error = covariance(nan.view()).unwrap_err();
        assert!(
            matches!(error, StatsError::Feature { map: 1, bin: 0, .. }),
            "{error}"
        );
        let constant = array![[1.0, 2.0], [1.0, 2.0]];
        let found = CovarianceComparison::new(constant.view(), constant.view());
        assert_eq!(found, Err(StatsError::AllEqual));
    }
}

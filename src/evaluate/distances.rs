//! Distances of whole sets: covariances of the power spectrum, and the chi-squared of the means.

use ndarray::{Array2, Axis};

use super::compare::{Pair, Which};
use super::error::EvaluateError;
use super::evaluation::{ChiSquaredResult, CovarianceNumbers, CovarianceResult, StatisticResult};
use super::measure::{Estimators, Measured};
use crate::stats::{
    ChiSquared, CovarianceComparison, DataVector, Parents, StatsError, chi_squared, correlation,
    covariance, data_vectors, parent_means,
};

/// The columns of `which` that hold values, `[maps, open]`.
pub fn open_columns(which: &Which<'_>, result: &StatisticResult, set: &Measured) -> Array2<f64> {
    let rows = which.estimator.array((which.rows)(set), which.statistic);
    let bins = result.bins.len();
    let open: Vec<usize> = (0..bins).filter(|&bin| !result.bins[bin].empty).collect();
    let rows = Array2::from_shape_vec((rows.len() / bins.max(1), bins), rows);
    rows.unwrap_or_default().select(Axis(1), &open)
}

/// The correlation matrix of the bins that hold values.
///
/// # Errors
/// Fewer than two maps.
pub fn correlations(
    which: &Which<'_>,
    result: &StatisticResult,
    set: &Measured,
) -> Result<Array2<f64>, StatsError> {
    Ok(correlation(&covariance(
        open_columns(which, result, set).view(),
    )?))
}

/// Covariances of the power spectrum in numbers; `None` where there are not two bins.
///
/// # Errors
/// Fewer than two maps, or bins that do not vary.
pub fn covariances(
    which: &Which<'_>,
    result: &StatisticResult,
    [real, second_real, generated]: [&Measured; 3],
) -> Result<Option<CovarianceResult>, EvaluateError> {
    if result.tested() < 2 {
        return Ok(None);
    }
    let columns = |set| open_columns(which, result, set);
    let first = columns(real);
    let compare = |set| -> Result<CovarianceNumbers, EvaluateError> {
        let found = CovarianceComparison::new(first.view(), columns(set).view());
        let found = found.map_err(EvaluateError::Compare)?;
        Ok(CovarianceNumbers {
            largest_correlation_difference: found.correlation_max_difference,
            mean_correlation_difference: found.correlation_mean_difference,
            correlation_eigenvalue_ratio: found.correlation_eigenvalue_ratio,
            variance_ratio: found.mean_variance_ratio,
            largest_eigenvalue_ratio: found.covariance_eigenvalue_ratio,
        })
    };
    let open = result.bins.iter().filter(|bin| !bin.empty);
    Ok(Some(CovarianceResult {
        l: open.map(|bin| bin.at).collect(),
        generated_against_real: compare(generated)?,
        second_real_against_real: compare(second_real)?,
    }))
}

/// The chi-squared distances of generated maps and of the noise floor, one data vector a parent.
///
/// # Errors
/// Vectors that are not finite.
pub fn chi_squared_result(
    estimators: &Estimators,
    generated: &Pair<'_>,
    floor: &Pair<'_>,
) -> Result<ChiSquaredResult, EvaluateError> {
    let vectors = |set: &Measured, parents: &Parents| {
        let (common, log) = (&estimators.common, &estimators.log);
        let vectors = data_vectors((common, &set.common), (log, &set.log))?;
        parent_means(vectors.view(), parents)
    };
    let distance = |pair: &Pair<'_>| -> Result<ChiSquared, StatsError> {
        let [first, second] = pair.parents();
        let (real, other) = (vectors(pair.first, &first)?, vectors(pair.second, &second)?);
        chi_squared(real.view(), other.view())
    };
    let found = distance(generated).map_err(EvaluateError::Compare)?;
    let beside = distance(floor).map_err(EvaluateError::Compare)?;
    let note = match found.refusal() {
        None => String::new(),
        Some(why) => format!("{why}: correlations between elements are ignored"),
    };
    Ok(ChiSquaredResult {
        definition: format!(
            "d^T C_d^-1 d, d the difference of mean data vectors (ln P in {} log bins, {} thresholds of each Minkowski \
             functional, {} bins of peaks), C_d = C (1/N_g + 1/N_v), C the covariance of the real set, with the Hartlap \
             factor; on average as large as the number of elements for a perfect generator",
            DataVector::SPECTRUM_BINS,
            DataVector::THRESHOLDS,
            DataVector::PEAK_BINS
        ),
        elements: found.bins(),
        covariance_maps: generated.units().0,
        full_covariance: found.refusal().is_none(),
        note,
        generated: found.value(),
        second_real: beside.value(),
    })
}

//! The data vector of the chi-squared distance: what of a map is compared, in which bins, and how
//! it is measured.

use std::ops::Range;

use ndarray::Array2;

use super::selection::mean_of;
use super::{MapStatistics, Statistic, StatisticsPlan, StatsError, Thresholds, Unit};
use super::{arange, log_bins};

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
    /// `arange` of the edges of the functionals' 19 bins (the paper's), of which every other one is
    /// in the vector: neighbours say almost the same.
    pub const FUNCTIONAL_EDGES: (f64, f64, f64) = (-2.0, 2.0, 0.2);
    /// `arange` of the edges of the bins of peaks.
    pub const PEAK_EDGES: (f64, f64, f64) = (-1.0, 7.5, 1.0);
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
    /// finite, which [`super::chi_squared()`] refuses and names.
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

/// Measures the data vectors of maps of one size, thresholds in units of one standard deviation for
/// all of them.
pub struct DataVectors {
    statistics: MapStatistics,
}

impl DataVectors {
    /// For maps `[pixels, pixels]` of `angle_deg` degrees a side. `sigma` is the standard deviation
    /// of the real set's pixels ([`pixel_sigma`]).
    ///
    /// # Errors
    /// Maps below 4 pixels a side, a bad angle, a sigma that is not positive and finite.
    pub fn new(pixels: usize, angle_deg: f64, sigma: f64) -> Result<Self, StatsError> {
        let thresholds = |(from, to, step)| -> Result<Thresholds, StatsError> {
            Thresholds::new(&arange(from, to, step)?, Unit::Sigma(sigma))
        };
        let statistics = MapStatistics::new(StatisticsPlan {
            power_spectrum: Some(log_bins(pixels, angle_deg, DataVector::SPECTRUM_BINS)?),
            minkowski: Some(thresholds(DataVector::FUNCTIONAL_EDGES)?),
            peak_count: Some(thresholds(DataVector::PEAK_EDGES)?),
            ..StatisticsPlan::nothing(pixels, angle_deg)
        })?;
        Ok(Self { statistics })
    }

    /// The vectors `[n, DataVector::LEN]` of the maps `[n, pixels, pixels]`, in parallel; empty
    /// bins of power are NaN. `first` is the number of the first map in errors.
    ///
    /// # Errors
    /// A pixel that is not finite, a constant map.
    pub fn measure(&self, maps: &[f32], first: usize) -> Result<Array2<f64>, StatsError> {
        let rows = self.statistics.measure_many(maps, first)?;
        data_vectors((&self.statistics, &rows), (&self.statistics, &rows))
    }
}

/// The data vectors `[maps, DataVector::LEN]` from what was measured: the rows of an estimator with
/// the functionals and peaks in [`DataVector`]'s bins, and those of one with power in its log bins.
///
/// # Errors
/// Other bins.
pub fn data_vectors(
    (common, common_rows): (&MapStatistics, &[f64]),
    (log, log_rows): (&MapStatistics, &[f64]),
) -> Result<Array2<f64>, StatsError> {
    let rows = |estimator: &MapStatistics| estimator.row_len().max(1);
    let maps = common_rows.len() / rows(common);
    let common_rows = common_rows.chunks_exact(rows(common));
    let mut all = Vec::with_capacity(maps * DataVector::LEN);
    for (row, log_row) in common_rows.zip(log_rows.chunks_exact(rows(log))) {
        let functionals = [
            Statistic::MinkowskiV0,
            Statistic::MinkowskiV1,
            Statistic::MinkowskiV2,
        ]
        .map(|functional| -> Vec<f64> {
            let all = row[common.columns(functional)].iter();
            all.skip(1).step_by(2).copied().collect()
        });
        all.extend(DataVector::assemble(
            &log_row[log.columns(Statistic::PowerSpectrum)],
            functionals.each_ref().map(Vec::as_slice),
            &row[common.columns(Statistic::PeakCount)],
        )?);
    }
    let got = all.len();
    Array2::from_shape_vec((maps, DataVector::LEN), all).map_err(|_| StatsError::Length {
        what: "elements of the data vectors",
        got,
        expected: maps * DataVector::LEN,
    })
}

/// Standard deviation (population) of all pixels of a set about their mean: the unit of thresholds
/// that serves all maps of a comparison.
pub fn pixel_sigma(maps: &[f32]) -> f64 {
    let mean = mean_of(maps, |value| value);
    mean_of(maps, |value| (value - mean).powi(2)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{normals, random};

    const SIDE: usize = 32;

    fn maps(number: u64, count: usize) -> Vec<f32> {
        let white = normals(&mut random(number), count * SIDE * SIDE);
        white.into_iter().map(|v| (0.02 * v) as f32).collect()
    }

    #[test]
    fn a_vector_is_ln_power_every_other_threshold_and_peaks_of_its_map() {
        let maps = maps(1, 3);
        let sigma = pixel_sigma(&maps);
        assert!((sigma / 0.02 - 1.0).abs() < 0.05, "{sigma}");
        let vectors = DataVectors::new(SIDE, 3.5, sigma).unwrap();
        let measured = vectors.measure(&maps, 0).unwrap();
        assert_eq!(measured.dim(), (3, DataVector::LEN));
        let last = vectors.measure(&maps[2 * SIDE * SIDE..], 2).unwrap();
        let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
        assert!(std::iter::zip(measured.row(2), last.row(0)).all(|(&a, &b)| same(a, b)));
        let map = &maps[..SIDE * SIDE];
        // V0 at the middle of the bins from -1.8 to -1.6, from -1.4 to -1.2, ...
        for (index, column) in DataVector::minkowski(0).enumerate() {
            let threshold = (-1.7 + 0.4 * index as f64) * sigma;
            let above = map.iter().filter(|&&v| f64::from(v) >= threshold).count();
            assert_eq!(measured[[0, column]], above as f64 / (SIDE * SIDE) as f64);
        }
        let power = measured.row(0);
        let mut filled = DataVector::spectrum().filter(|&bin| power[bin].is_finite());
        assert!(
            filled.all(|bin| power[bin] < 0.0),
            "ln P of white noise of 0.02"
        );
        // Peaks between -1 and 7 sigma; their density is a count, for bins have the width 1.
        let peaks: f64 = DataVector::peaks().map(|bin| power[bin]).sum();
        let located = crate::stats::locate_peaks(map, SIDE).unwrap();
        let within = |height: f64| (-sigma..7.0 * sigma).contains(&height);
        let located = located.iter().filter(|peak| within(peak.height));
        assert_eq!(peaks as usize, located.count());
    }

    #[test]
    fn a_constant_map_is_named_and_a_sigma_of_zero_refused() {
        let mut maps = maps(2, 2);
        let vectors = DataVectors::new(SIDE, 1.0, 0.02).unwrap();
        maps[SIDE * SIDE..].fill(0.5);
        let error = vectors.measure(&maps, 7).unwrap_err();
        assert_eq!(error, StatsError::Constant { map: 8, value: 0.5 });
        assert!(DataVectors::new(SIDE, 1.0, pixel_sigma(&[0.5; 9])).is_err());
    }

    #[test]
    fn the_data_vector_has_51_elements_with_names() {
        let (power, ones) = ([1.0_f64.exp(); 16], [2.0; 9]);
        let vector = DataVector::assemble(&power, [&ones; 3], &[3.0; 8]).unwrap();
        assert_eq!((vector.len(), DataVector::LEN), (51, 51));
        assert_eq!(vector[DataVector::spectrum()], [1.0; 16]);
        assert_eq!(vector[DataVector::minkowski(2)], ones);
        assert_eq!(vector[DataVector::peaks()], [3.0; 8]);
        assert_eq!(DataVector::minkowski(2).end, DataVector::peaks().start);
        assert_eq!(DataVector::name(15), "ln P 15");
        assert_eq!(DataVector::name(25), "V1 0");
        assert_eq!(DataVector::name(50), "peaks 7");
        let short = DataVector::assemble(&power, [&ones, &ones[..8], &ones], &[3.0; 8]);
        assert!(matches!(
            short,
            Err(StatsError::Length {
                got: 8,
                expected: 9,
                ..
            })
        ));
    }
}

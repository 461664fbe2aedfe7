//! How far apart two distributions are: the two-sample Kolmogorov-Smirnov statistic.
//!
//! D is the largest difference between the two empirical distribution functions, equal to
//! `scipy.stats.ks_2samp(x, y).statistic`, ties included. It is exact: differences are whole
//! numbers until the last division. Called on the pixels of whole sets of maps, real against
//! generated; the real set is sorted once ([`SortedSample`]).

use super::StatsError;
use rayon::prelude::*;
use std::cmp::Ordering;

/// A sample in ascending order, to be compared with many others.
#[derive(Clone, Debug)]
pub struct SortedSample<T> {
    sorted: Vec<T>,
}

impl<T: Copy + PartialOrd + Send + Sync> SortedSample<T> {
    /// Sorts a copy of `sample`; O(n log n), in parallel. Infinities are allowed.
    ///
    /// # Errors
    /// An empty sample, a NaN (the first is named).
    pub fn new(sample: &[T]) -> Result<Self, StatsError> {
        if sample.is_empty() {
            return Err(StatsError::Empty);
        }
        let nan = |x: &T| x.partial_cmp(x).is_none();
        if let Some(index) = sample.iter().position(nan) {
            return Err(StatsError::Nan(index));
        }
        let mut sorted = sample.to_vec();
        // No NaN is left: the comparison is a total preorder, with -0 and 0 tied.
        sorted.par_sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
        Ok(Self { sorted })
    }

    /// The values in ascending order, at least one.
    pub fn values(&self) -> &[T] {
        &self.sorted
    }

    /// The value below which a `fraction` (0 to 1) of the sample lies, to the nearest element.
    pub fn quantile(&self, fraction: f64) -> T {
        let last = self.sorted.len() - 1;
        self.sorted[((fraction.clamp(0.0, 1.0) * last as f64).round() as usize).min(last)]
    }

    /// The Kolmogorov-Smirnov statistic D of this sample and `sample`; only the latter is sorted.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn ks(&self, sample: &[T]) -> Result<f64, StatsError> {
        Ok(self.ks_sorted(&Self::new(sample)?))
    }

    /// The Kolmogorov-Smirnov statistic D of two sorted samples: one pass, O(n + m).
    pub fn ks_sorted(&self, other: &Self) -> f64 {
        let (x, y) = (&self.sorted, &other.sorted);
        let (n, m) = (x.len() as i128, y.len() as i128);
        // (F_x - F_y) * n * m: each x adds m, each y takes n away.
        let (mut difference, mut largest) = (0_i128, 0_i128);
        let (mut i, mut j) = (0, 0);
        while i < x.len() && j < y.len() {
            let value = if y[j] < x[i] { y[j] } else { x[i] };
            while i < x.len() && x[i] <= value {
                i += 1;
                difference += m;
            }
            while j < y.len() && y[j] <= value {
                j += 1;
                difference -= n;
            }
            largest = largest.max(difference.abs());
        }
        // What is left of one sample only brings the difference back to zero.
        largest as f64 / (n * m) as f64
    }
}

/// The two-sample Kolmogorov-Smirnov statistic D, between 0 (same distribution functions) and 1
/// (no overlap).
///
/// # Errors
/// An empty sample, a NaN.
pub fn ks_statistic<T>(x: &[T], y: &[T]) -> Result<f64, StatsError>
where
    T: Copy + PartialOrd + Send + Sync,
{
    SortedSample::new(x)?.ks(y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Philox, Stream};
    use crate::stats::testing::shared;
    use std::fs::File;

    /// D from its definition: at every value of either sample, count.
    fn by_definition(x: &[f32], y: &[f32]) -> f64 {
        let below = |sample: &[f32], value: f32| {
            sample.iter().filter(|&&v| v <= value).count() as f64 / sample.len() as f64
        };
        let difference = |&value: &f32| (below(x, value) - below(y, value)).abs();
        x.iter().chain(y).map(difference).fold(0.0, f64::max)
    }

    #[test]
    fn d_is_that_of_scipy() {
        let Some(path) = shared("golden/tests/ks_ad_scipy.json") else {
            return;
        };
        let golden: serde_json::Value = serde_json::from_reader(File::open(path).unwrap()).unwrap();
        let cases = golden["cases"].as_object().unwrap();
        assert!(cases.len() >= 7);
        for (name, case) in cases {
            let sample = |key: &str| -> Vec<f64> {
                let values = case[key].as_array().unwrap();
                values.iter().map(|v| v.as_f64().unwrap()).collect()
            };
            let (x, y) = (sample("x"), sample("y"));
            let expected = case["ks_2samp/exact/two-sided"]["statistic"]
                .as_f64()
                .unwrap();
            let d = ks_statistic(&x, &y).unwrap();
            assert!((d - expected).abs() < 1e-15, "{name}: {d} {expected}");
            assert_eq!(d, ks_statistic(&y, &x).unwrap(), "{name}");
        }
    }

    #[test]
    fn d_with_many_ties_is_that_of_the_definition() {
        for (n, m, levels) in [(40, 55, 4.0), (100, 30, 9.0), (64, 64, 1.0), (1, 9, 3.0)] {
            let mut pixels = vec![0.0; n + m];
            Philox::new(3, Stream::Benchmark, n as u64).fill_uniform(&mut pixels);
            for pixel in &mut pixels {
                *pixel = (*pixel * levels).floor() - 1.0;
            }
            let (x, y) = pixels.split_at(n);
            let d = ks_statistic(x, y).unwrap();
            assert!((d - by_definition(x, y)).abs() < 1e-14);
        }
    }

    #[test]
    fn a_shift_of_a_uniform_sample_is_its_d() {
        let reference: Vec<f32> = (0..10_000).map(|i| i as f32).collect();
        let shifted: Vec<f32> = reference.iter().rev().map(|v| v + 1234.0).collect();
        let sorted = SortedSample::new(&reference).unwrap();
        assert_eq!(sorted.ks(&shifted).unwrap(), 0.1234);
        assert_eq!(sorted.ks(&reference).unwrap(), 0.0);
    }

    #[test]
    fn zeros_of_either_sign_are_ties_and_infinities_are_values() {
        assert_eq!(ks_statistic(&[0.0_f32, -0.0], &[-0.0, 0.0]).unwrap(), 0.0);
        let d = ks_statistic(&[f32::NEG_INFINITY, 1.0], &[1.0, f32::INFINITY]).unwrap();
        assert_eq!(d, 0.5);
    }

    #[test]
    fn nan_and_empty_samples_are_refused() {
        assert_eq!(ks_statistic::<f32>(&[], &[1.0]), Err(StatsError::Empty));
        assert_eq!(ks_statistic::<f32>(&[1.0], &[]), Err(StatsError::Empty));
        let with_nan = [0.0, 1.0, f32::NAN];
        assert_eq!(ks_statistic(&with_nan, &[1.0]), Err(StatsError::Nan(2)));
        assert_eq!(ks_statistic(&[1.0], &with_nan), Err(StatsError::Nan(2)));
    }
}

//! Two samples of maps compared feature by feature: modes of a spectrum, thresholds of a
//! functional. Calibrated p-values first, then what literature quotes, then the sums over features.

use super::{FeatureTest, ManyTests, Resampler, StatsError, benjamini_hochberg};
use ndarray::ArrayView2;
use rayon::prelude::*;
use serde::Serialize;

/// What came of one feature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum Outcome {
    /// It was tested.
    Tested(FeatureTest),
    /// NaN in every map: no mode lies in the bin. Never tested.
    Empty,
    /// The same value in every map of both samples (a threshold no pixel reaches). Never tested:
    /// agreement on nothing would count as p = 1.
    Constant,
}

/// One feature, with its p-values adjusted for the number of features.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ComparedFeature {
    /// The feature by itself.
    pub outcome: Outcome,
    /// Benjamini-Hochberg over the features: permutation p of KS. NaN if not tested.
    pub ks_adjusted: f64,
    /// The same of the Anderson-Darling statistic.
    pub ad_adjusted: f64,
}

/// All features of two samples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeatureComparison {
    /// One entry a feature, in order.
    pub features: Vec<ComparedFeature>,
    /// Calibrated: p of KS by permuting parents.
    pub permutation_ks: ManyTests,
    /// Calibrated: p of AD by permuting parents.
    pub permutation_ad: ManyTests,
    /// p of KS by bootstrapping parents.
    pub bootstrap_ks: ManyTests,
    /// p of AD by bootstrapping parents.
    pub bootstrap_ad: ManyTests,
    /// p of scipy's KS: calibrated where every map is its own parent.
    pub scipy_ks: ManyTests,
    /// **Uncalibrated**: scipy's KS on bin counts.
    pub paper_style: ManyTests,
}

impl FeatureComparison {
    /// Compares `first` with `second`, both `[maps, features]`, the numbers of maps being those of
    /// the resampler's design.
    ///
    /// # Errors
    /// Other numbers of maps or features; a feature that is NaN in some maps only, or infinite.
    pub fn new(
        first: ArrayView2<'_, f64>,
        second: ArrayView2<'_, f64>,
        resampler: &Resampler,
    ) -> Result<Self, StatsError> {
        if first.ncols() != second.ncols() {
            return Err(StatsError::Length {
                what: "features of the second sample",
                got: second.ncols(),
                expected: first.ncols(),
            });
        }
        let outcomes: Vec<Outcome> = (0..first.ncols())
            .into_par_iter()
            .map(|bin| {
                let (x, y) = (first.column(bin).to_vec(), second.column(bin).to_vec());
                outcome(bin, &x, &y, resampler)
            })
            .collect::<Result<_, _>>()?;
        let p = |of: &dyn Fn(&FeatureTest) -> f64| -> Vec<f64> {
            let value = |outcome: &Outcome| match outcome {
                Outcome::Tested(test) => of(test),
                Outcome::Empty | Outcome::Constant => f64::NAN,
            };
            outcomes.iter().map(value).collect()
        };
        let many = |of: &dyn Fn(&FeatureTest) -> f64| ManyTests::new(&p(of));
        let ks_adjusted = benjamini_hochberg(&p(&|test| test.permutation.ks));
        let ad_adjusted = benjamini_hochberg(&p(&|test| test.permutation.ad));
        let features = outcomes.iter().zip(ks_adjusted).zip(ad_adjusted);
        Ok(Self {
            features: features
                .map(|((&outcome, ks_adjusted), ad_adjusted)| ComparedFeature {
                    outcome,
                    ks_adjusted,
                    ad_adjusted,
                })
                .collect(),
            permutation_ks: many(&|test| test.permutation.ks),
            permutation_ad: many(&|test| test.permutation.ad),
            bootstrap_ks: many(&|test| test.bootstrap.map_or(f64::NAN, |p| p.ks)),
            bootstrap_ad: many(&|test| test.bootstrap.map_or(f64::NAN, |p| p.ad)),
            scipy_ks: many(&|test| test.ks_scipy),
            paper_style: many(&|test| test.paper_style),
        })
    }
}

fn outcome(
    bin: usize,
    first: &[f64],
    second: &[f64],
    resampler: &Resampler,
) -> Result<Outcome, StatsError> {
    let values = || first.iter().chain(second);
    if values().all(|value| value.is_nan()) {
        return Ok(Outcome::Empty);
    }
    if let Some((map, &value)) = values().enumerate().find(|(_, value)| !value.is_finite()) {
        return Err(StatsError::Feature { map, bin, value });
    }
    match resampler.test(first, second) {
        Ok(test) => Ok(Outcome::Tested(test)),
        Err(StatsError::AllEqual) => Ok(Outcome::Constant),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Design, Parents, Resampling};
    use crate::testing::{normals, random};
    use ndarray::{Array2, s};

    const MAPS: usize = 120;

    fn resampler() -> Resampler {
        let one = Parents::singles(MAPS);
        let options = Resampling {
            seed: 4,
            permutations: 499,
            bootstraps: 99,
        };
        Resampler::new(Design::new(&one, &one).unwrap(), options).unwrap()
    }

    fn features(number: u64, bins: usize) -> Array2<f64> {
        let values = normals(&mut random(number), MAPS * bins);
        Array2::from_shape_vec((MAPS, bins), values).unwrap()
    }

    #[test]
    fn empty_and_constant_bins_are_said_to_be_so_and_never_tested() {
        let (mut x, mut y) = (features(81, 5), features(82, 5));
        for sample in [&mut x, &mut y] {
            sample.column_mut(0).fill(f64::NAN);
            sample.column_mut(3).fill(0.0);
        }
        y.column_mut(4).mapv_inplace(|v| v + 2.0);
        let found = FeatureComparison::new(x.view(), y.view(), &resampler()).unwrap();
        assert_eq!(found.features[0].outcome, Outcome::Empty);
        assert_eq!(found.features[3].outcome, Outcome::Constant);
        assert!(found.features[0].ks_adjusted.is_nan());
        for many in [found.permutation_ks, found.bootstrap_ad, found.paper_style] {
            assert_eq!(many.tested, 3);
        }
        assert_eq!(found.permutation_ks.rejected, 1);
        assert_eq!(found.features[4].ad_adjusted, 3.0 / 500.0);
    }

    #[test]
    fn a_perfect_generator_has_one_percent_of_its_modes_above_099() {
        let (x, y) = (features(83, 1000), features(84, 1000));
        let found = FeatureComparison::new(x.view(), y.view(), &resampler()).unwrap();
        println!("{:?}\n{:?}", found.permutation_ad, found.paper_style);
        let many = found.permutation_ad;
        assert_eq!(many.expected, [10.0, 50.0, 200.0]);
        // Standard deviations of 3.1, 6.9 and 12.6; relabellings are shared by all modes.
        assert!((1..=25).contains(&many.above_99), "{many:?}");
        assert!((20..=80).contains(&many.above_95), "{many:?}");
        assert!((145..=255).contains(&many.above_80), "{many:?}");
        assert!(found.paper_style.above_99 > 100, "{:?}", found.paper_style);
    }

    #[test]
    fn a_bin_that_is_nan_in_some_maps_is_a_fault() {
        let (x, mut y) = (features(85, 3), features(86, 3));
        y[[7, 1]] = f64::NAN;
        let found = FeatureComparison::new(x.view(), y.view(), &resampler()).unwrap_err();
        assert!(
            matches!(
                found,
                StatsError::Feature {
                    map: 127,
                    bin: 1,
                    ..
                }
            ),
            "{found}"
        );
        let narrow = y.slice(s![.., ..2]);
        let found = FeatureComparison::new(x.view(), narrow, &resampler()).unwrap_err();
        assert!(matches!(
            found,
            StatsError::Length {
                got: 2,
                expected: 3,
                ..
            }
        ));
        let short = x.slice(s![..9, ..]);
        assert!(FeatureComparison::new(short, x.view(), &resampler()).is_err());
    }
}

//! Are the means of many features the same in two samples, and are their variances? Two questions that
//! a Kolmogorov-Smirnov test answers together: an emulator may have the right mean spectrum and far too
//! little scatter about it.
//!
//! Both are permutation tests of whole parents. The statistic is Welch's t of the parents' sums, so
//! that means are compared fairly where variances differ (Janssen 1997, Stat. Probab. Lett. 36, 9);
//! variances are compared by the means of squared deviations from the own sample's mean.

use super::{Design, StatsError};
use rayon::prelude::*;
use serde::Serialize;

/// Outcomes of a test of each feature; NaN where a feature is the same number in all maps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MomentTests {
    /// Mean of the second sample less that of the first, in standard deviations of the first's maps.
    pub shift: Vec<f64>,
    /// p-values of equal means.
    pub shift_p: Vec<f64>,
    /// Variance of the second sample over that of the first.
    pub ratio: Vec<f64>,
    /// p-values of equal variances.
    pub ratio_p: Vec<f64>,
}

/// Tests every feature of the rows of two samples, `[n, features]` and `[m, features]`. p-values are
/// (1 + relabellings with a statistic at least as large) / (1 + `permutations`).
///
/// # Errors
/// Rows that are not the design's maps, no features, no permutations, a value that is not finite in a
/// feature that is not so in all maps.
pub fn moment_tests(
    first: &[f64],
    second: &[f64],
    features: usize,
    design: &Design,
    permutations: usize,
    seed: u64,
) -> Result<MomentTests, StatsError> {
    let (n, m) = design.maps();
    for (rows, maps) in [(first, n), (second, m)] {
        let (got, expected) = (rows.len(), maps * features);
        if got != expected || features == 0 {
            let what = "maps' features";
            return Err(StatsError::Length {
                what,
                got,
                expected,
            });
        }
    }
    if permutations == 0 {
        return Err(StatsError::NoRepeats("permutations"));
    }
    let (a, b) = (Columns::of(first, features), Columns::of(second, features));
    let each = |f: &dyn Fn(usize) -> f64| -> Vec<f64> { (0..features).map(f).collect() };
    let constant = |k: usize| a.variance[k] + b.variance[k] == 0.0 && a.mean[k] == b.mean[k];
    let shift = each(&|k| match constant(k) {
        true => f64::NAN,
        false => (b.mean[k] - a.mean[k]) / a.variance[k].sqrt(),
    });
    let ratio = each(&|k| match constant(k) {
        true => f64::NAN,
        false => b.variance[k] / a.variance[k],
    });
    let values = first.iter().chain(second);
    // In standard deviations, lest small numbers drown.
    let scale = each(&|k| {
        (a.variance[k] + b.variance[k])
            .sqrt()
            .max(f64::MIN_POSITIVE)
    });
    let centred = values.enumerate().map(|(index, value)| {
        let k = index % features;
        (value - a.mean[k]) / scale[k]
    });
    let means = Sums::new(design, features, centred);
    let values = first.iter().chain(second);
    let squares = values.enumerate().map(|(index, value)| {
        let k = index % features;
        let mean = if index < first.len() {
            a.mean[k]
        } else {
            b.mean[k]
        };
        ((value - mean) / scale[k]).powi(2)
    });
    let squares = Sums::new(design, features, squares);
    let both = [&means, &squares];
    let observed = both.map(|sums| sums.statistic(&design.observed()));
    let zero = || [vec![0_u32; features], vec![0_u32; features]];
    let counts = (0..permutations)
        .into_par_iter()
        .fold(zero, |mut counts, repeat| {
            let labels = design.relabelled(seed, repeat);
            for ((sums, counts), observed) in both.iter().zip(&mut counts).zip(&observed) {
                let found = sums.statistic(&labels);
                for ((count, found), observed) in counts.iter_mut().zip(found).zip(observed) {
                    // Equal but for rounding counts as equal.
                    *count += u32::from(found >= observed * (1.0 - 1e-9));
                }
            }
            counts
        })
        .reduce(zero, |mut all, some| {
            for (all, some) in all.iter_mut().zip(&some) {
                all.iter_mut()
                    .zip(some)
                    .for_each(|(all, some)| *all += some);
            }
            all
        });
    let p = |counts: &[u32]| -> Vec<f64> {
        let each = counts.iter().zip(&shift);
        each.map(|(count, shift)| match shift.is_nan() {
            true => f64::NAN,
            false => f64::from(1 + count) / (1 + permutations) as f64,
        })
        .collect()
    };
    Ok(MomentTests {
        shift_p: p(&counts[0]),
        ratio_p: p(&counts[1]),
        shift,
        ratio,
    })
}

/// Mean and (biased) variance of each feature.
struct Columns {
    mean: Vec<f64>,
    variance: Vec<f64>,
}

impl Columns {
    fn of(rows: &[f64], features: usize) -> Self {
        let maps = (rows.len() / features) as f64;
        let mut mean = vec![0.0; features];
        for row in rows.chunks_exact(features) {
            mean.iter_mut()
                .zip(row)
                .for_each(|(sum, value)| *sum += value / maps);
        }
        let mut variance = vec![0.0; features];
        for row in rows.chunks_exact(features) {
            for ((sum, mean), value) in variance.iter_mut().zip(&mean).zip(row) {
                *sum += (value - mean).powi(2) / maps;
            }
        }
        // A constant's mean is off by rounding.
        for (variance, mean) in variance.iter_mut().zip(&mean) {
            if variance.sqrt() < 1e-13 * mean.abs() {
                *variance = 0.0;
            }
        }
        Self { mean, variance }
    }
}

/// Sums over the maps of each parent.
struct Sums {
    features: usize,
    /// `[parents, features]`.
    of_parent: Vec<f64>,
    /// Maps of each parent.
    maps: Vec<f64>,
}

impl Sums {
    fn new(design: &Design, features: usize, values: impl Iterator<Item = f64>) -> Self {
        let parents = design.parents();
        let parents = parents.0 + parents.1;
        let mut sums = Self {
            features,
            of_parent: vec![0.0; parents * features],
            maps: vec![0.0; parents],
        };
        for (index, value) in values.enumerate() {
            let parent = design.of_map()[index / features] as usize;
            sums.of_parent[parent * features + index % features] += value;
            if index % features == 0 {
                sums.maps[parent] += 1.0;
            }
        }
        sums
    }

    /// |t| of each feature where `labels` tells the parents of the first sample.
    fn statistic(&self, labels: &[bool]) -> Vec<f64> {
        let k = self.features;
        // Sums and sums of squares of either sample's parents.
        let mut sums = [vec![0.0; k], vec![0.0; k]];
        let mut squares = [vec![0.0; k], vec![0.0; k]];
        let (mut parents, mut maps) = ([0.0; 2], [0.0; 2]);
        for ((row, label), count) in self.of_parent.chunks_exact(k).zip(labels).zip(&self.maps) {
            let side = usize::from(!label);
            parents[side] += 1.0;
            maps[side] += count;
            let both = sums[side].iter_mut().zip(&mut squares[side]);
            for ((sum, square), value) in both.zip(row) {
                *sum += value;
                *square += value * value;
            }
        }
        // The variance of a sample's mean, from the scatter of its parents' sums.
        let variance = |side: usize, feature: usize| {
            let (n, sum) = (parents[side], sums[side][feature]);
            let scatter = (squares[side][feature] - sum * sum / n).max(0.0);
            scatter * n / (n - 1.0) / (maps[side] * maps[side])
        };
        let statistic = |feature: usize| {
            let difference = sums[0][feature] / maps[0] - sums[1][feature] / maps[1];
            let variance = variance(0, feature) + variance(1, feature);
            // Single parents have no scatter: then the difference itself is compared.
            if variance.is_finite() && parents[0] > 1.0 && parents[1] > 1.0 {
                difference.abs() / (variance + f64::MIN_POSITIVE).sqrt()
            } else {
                difference.abs()
            }
        };
        (0..k).map(statistic).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Parents;
    use crate::testing::{normals, random};

    fn tests(first: &[f64], second: &[f64], features: usize) -> MomentTests {
        let parents = |rows: &[f64]| Parents::singles(rows.len() / features);
        let design = Design::new(&parents(first), &parents(second)).unwrap();
        moment_tests(first, second, features, &design, 499, 1).unwrap()
    }

    #[test]
    fn shifts_and_variances_are_told_apart() {
        let mut draw = random(5);
        let first = normals(&mut draw, 3 * 200);
        let mut second = normals(&mut draw, 3 * 200);
        for row in second.chunks_exact_mut(3) {
            row[1] += 0.5;
            row[2] *= 0.6;
        }
        let found = tests(&first, &second, 3);
        println!("{found:?}");
        assert!(found.shift_p[1] == 1.0 / 500.0 && (found.shift[1] - 0.5).abs() < 0.3);
        assert!(found.ratio_p[2] == 1.0 / 500.0 && (found.ratio[2] - 0.36).abs() < 0.15);
        for p in [
            found.shift_p[0],
            found.shift_p[2],
            found.ratio_p[0],
            found.ratio_p[1],
        ] {
            assert!(p > 0.005, "{found:?}");
        }
    }

    #[test]
    fn equal_samples_are_rejected_as_often_as_the_level_says() {
        const FEATURES: usize = 400;
        for (seed, factor) in [(1, 1.0), (2, 0.5)] {
            let mut draw = random(seed);
            let first = normals(&mut draw, FEATURES * 60);
            let mut second = normals(&mut draw, FEATURES * 60);
            // The means stay equal where variances are not.
            second.iter_mut().for_each(|value| *value *= factor);
            let found = tests(&first, &second, FEATURES);
            let rejected = |p: &[f64]| p.iter().filter(|&&p| p <= 0.05).count() as f64;
            let shifts = rejected(&found.shift_p);
            // 20 +- 4.4 expected.
            assert!((5.0..38.0).contains(&shifts), "{shifts}");
            if factor == 1.0 {
                let ratios = rejected(&found.ratio_p);
                assert!((5.0..38.0).contains(&ratios), "{ratios}");
            }
        }
    }

    #[test]
    fn crops_of_one_parent_are_one_piece_of_evidence() {
        const CROPS: usize = 10;
        let mut rejected = 0;
        for seed in 0..200 {
            let mut draw = random(100 + seed);
            let mut sample = || -> Vec<f64> {
                let levels = normals(&mut draw, 12);
                levels
                    .into_iter()
                    .flat_map(|level| [level; CROPS])
                    .collect()
            };
            let (first, second) = (sample(), sample());
            let parents = Parents::blocks(first.len(), CROPS);
            let design = Design::new(&parents, &parents).unwrap();
            let found = moment_tests(&first, &second, 1, &design, 199, seed).unwrap();
            rejected += u32::from(found.shift_p[0] <= 0.05);
        }
        // 10 +- 3.1 expected; taken for single maps, most would be.
        assert!((1..24).contains(&rejected), "{rejected}");
    }

    #[test]
    fn constant_features_are_not_tested_and_other_shapes_are_refused() {
        let found = tests(&[2.5; 20], &[2.5; 30], 1);
        assert!(found.shift_p[0].is_nan() && found.ratio[0].is_nan());
        let found = tests(&[1.0; 20], &[2.0; 20], 1);
        assert!(found.shift_p[0] < 0.01, "{found:?}");
        let parents = Parents::singles(4);
        let design = Design::new(&parents, &parents).unwrap();
        assert!(moment_tests(&[0.0; 4], &[0.0; 5], 1, &design, 9, 0).is_err());
        assert!(moment_tests(&[0.0; 4], &[0.0; 4], 1, &design, 0, 0).is_err());
    }
}

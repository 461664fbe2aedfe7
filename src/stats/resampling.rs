//! Calibrated p-values of the Kolmogorov-Smirnov and Anderson-Darling statistics, by permuting
//! and by bootstrapping whole parents.
//!
//! Made for hundreds of features of thousands of maps and a thousand repeats: a feature is sorted
//! once, every repeat is then one pass over the ranks, and eight repeats go in one pass. A
//! [`Resampler`] deals the labels once, and every feature sees the same ones, so that tests of
//! different features stay comparable. Results do not depend on the number of threads.

use super::anderson::AndersonScale;
use super::multiple::paper_style_of_values;
use super::{Alternative, Clipped, Design, Method, StatsError, ks_p_value};
use rayon::prelude::*;
use serde::Serialize;

/// Repeats that go over the ranks together: one bit each of a byte.
const LANES: usize = 8;

type Lanes = [f64; LANES];

/// How often a map is in the first (lower half of a byte) and in the second sample of eight
/// repeats. Small, because maps are looked up in the order of a feature, far apart in memory.
type Times = [u8; LANES];

/// The most of one parent in one sample that [`Times`] can tell. The mean is at most 1, so more
/// than this befall one parent in 10^14.
const MOST: u32 = 15;

/// Sums of squares that are equal but for the order of their terms count as equal.
const ROUNDING: f64 = 1e-12;

/// How often to resample, and from which random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Resampling {
    /// The seed; the same seed gives the same p-values.
    pub seed: u64,
    /// Relabellings; the least p-value is 1 / (1 + permutations).
    pub permutations: usize,
    /// Bootstrapped pairs of samples; 0 for none.
    pub bootstraps: usize,
}

impl Default for Resampling {
    fn default() -> Self {
        Self {
            seed: 0,
            permutations: 1000,
            bootstraps: 1000,
        }
    }
}

/// p = (1 + repeats with a statistic at least as large) / (1 + repeats), for both statistics.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ResampledP {
    /// Of the two-sided Kolmogorov-Smirnov statistic.
    pub ks: f64,
    /// Of the Anderson-Darling statistic (midrank).
    pub ad: f64,
}

/// Everything that is said of one feature (mode, threshold) in two samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FeatureTest {
    /// Kolmogorov-Smirnov statistic D.
    pub ks: f64,
    /// Anderson-Darling statistic, standardised (midrank).
    pub ad: f64,
    /// Calibrated: labels of whole parents permuted.
    pub permutation: ResampledP,
    /// Pairs of samples drawn with replacement from the parents of both; `None` if not asked for.
    pub bootstrap: Option<ResampledP>,
    /// p of `scipy.stats.ks_2samp`: right only if every map is its own parent.
    pub ks_scipy: f64,
    /// Whether `ks_scipy` is exact or asymptotic.
    pub ks_method: Method,
    /// p of `scipy.stats.anderson_ksamp`: right only if every map is its own parent.
    pub ad_scipy: f64,
    /// Whether `ad_scipy` is a bound.
    pub ad_clipped: Clipped,
    /// **Uncalibrated**: [`paper_style`](super::paper_style) of the feature's histograms.
    pub paper_style: f64,
}

/// Relabellings and bootstrap draws of a [`Design`], ready for any number of features.
pub struct Resampler {
    design: Design,
    options: Resampling,
    scale: AndersonScale,
    /// `[permutations / 8, maps]`: whether the map is of the first sample, one bit a repeat.
    labels: Vec<Vec<u8>>,
    /// `[bootstraps / 8, maps]`: how often the map is in the first and in the second sample.
    times: Vec<Vec<Times>>,
}

/// The maps in ascending order of a feature, with groups of equal values.
struct Ranked {
    order: Vec<u32>,
    /// One past the last rank of each group.
    ends: Vec<u32>,
}

/// Both statistics, up to factors that are the same in every repeat.
#[derive(Clone, Copy, Default)]
struct Statistics {
    /// max |F_x - F_y| n m, a whole number.
    ks: f64,
    /// Midrank A^2 without its constant factor.
    ad: f64,
}

impl Resampler {
    /// Deals all labels: `(permutations / 8 + bootstraps) * maps` bytes.
    ///
    /// # Errors
    /// No permutations; fewer than 4 maps in all.
    pub fn new(design: Design, options: Resampling) -> Result<Self, StatsError> {
        if options.permutations == 0 {
            return Err(StatsError::NoRepeats("permutations"));
        }
        let (n, m) = design.maps();
        let scale = AndersonScale::new(&[n, m])?;
        let blocks = |repeats: usize| (0..repeats.div_ceil(LANES)).into_par_iter();
        let labels = blocks(options.permutations).map(|block| {
            let mut bits = vec![0_u8; n + m];
            for lane in 0..LANES {
                let of_parent = design.relabelled(options.seed, block * LANES + lane);
                for (bits, &parent) in bits.iter_mut().zip(design.of_map()) {
                    *bits |= u8::from(of_parent[parent as usize]) << lane;
                }
            }
            bits
        });
        let times = blocks(options.bootstraps).map(|block| {
            let mut times: Vec<Times> = vec![[0; LANES]; n + m];
            for lane in 0..LANES {
                let of_parent = design.drawn(options.seed, block * LANES + lane);
                for (times, &parent) in times.iter_mut().zip(design.of_map()) {
                    let [first, second] = of_parent[parent as usize].map(|t| t.min(MOST) as u8);
                    times[lane] = first | second << 4;
                }
            }
            times
        });
        Ok(Self {
            labels: labels.collect(),
            times: times.collect(),
            design,
            options,
            scale,
        })
    }

    /// The design whose parents are resampled.
    pub fn design(&self) -> &Design {
        &self.design
    }

    /// The options this was made with.
    pub fn options(&self) -> Resampling {
        self.options
    }

    /// Tests one feature: its value in each map of the first and of the second sample.
    ///
    /// # Errors
    /// Other numbers of maps than the design has; a value that is not finite; all values equal.
    pub fn test(&self, first: &[f64], second: &[f64]) -> Result<FeatureTest, StatsError> {
        let ranked = self.rank(first, second)?;
        let (n, m) = self.design.maps();
        let weights = ranked.weights();
        let of_parent = self.design.observed();
        let of_map = self.design.of_map().iter();
        let observed: Vec<u8> = of_map.map(|&p| u8::from(of_parent[p as usize])).collect();
        let observed = self.relabelled(&ranked, &weights, &observed)[0];

        let (permutations, bootstraps) = (self.options.permutations, self.options.bootstraps);
        let permuted = self.labels.par_iter().enumerate().map(|(block, labels)| {
            let found = self.relabelled(&ranked, &weights, labels);
            count(&found[..lanes_of(block, permutations)], observed)
        });
        let permutation = p_values(permuted.reduce(|| [0; 2], add), permutations);
        let bootstrapped = self.times.par_iter().enumerate().map(|(block, times)| {
            let found = self.bootstrapped(&ranked, times);
            count(&found[..lanes_of(block, bootstraps)], observed)
        });
        let bootstrap =
            (bootstraps > 0).then(|| p_values(bootstrapped.reduce(|| [0; 2], add), bootstraps));

        let (x, y) = (n as f64, m as f64);
        let ks = observed.ks / (x * y);
        let (ks_scipy, ks_method) = ks_p_value(ks, n, m, Alternative::TwoSided, Method::Auto);
        let all = x + y;
        let a_squared = observed.ad * (all - 1.0) / (all * all) * (1.0 / x + 1.0 / y);
        let anderson = self.scale.test(a_squared);
        Ok(FeatureTest {
            ks,
            ad: anderson.statistic,
            permutation,
            bootstrap,
            ks_scipy,
            ks_method,
            ad_scipy: anderson.p_value,
            ad_clipped: anderson.clipped,
            paper_style: paper_style_of_values(first, second)?,
        })
    }

    fn rank(&self, first: &[f64], second: &[f64]) -> Result<Ranked, StatsError> {
        let (n, m) = self.design.maps();
        for (got, expected) in [(first.len(), n), (second.len(), m)] {
            if got != expected {
                let what = "maps of a feature";
                return Err(StatsError::Length {
                    what,
                    got,
                    expected,
                });
            }
        }
        let values: Vec<f64> = first.iter().chain(second).copied().collect();
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(StatsError::Nan(index));
        }
        // -0 and 0 are equal, and total_cmp would order them.
        let key = |index: u32| values[index as usize] + 0.0;
        let mut order: Vec<u32> = (0..values.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| key(a).total_cmp(&key(b)));
        let mut ends: Vec<u32> = (1..order.len())
            .filter(|&rank| key(order[rank - 1]) != key(order[rank]))
            .map(|rank| rank as u32)
            .collect();
        if ends.is_empty() {
            return Err(StatsError::AllEqual);
        }
        ends.push(order.len() as u32);
        Ok(Ranked { order, ends })
    }

    /// Both statistics under eight relabellings.
    fn relabelled(&self, ranked: &Ranked, weights: &[f64], labels: &[u8]) -> [Statistics; LANES] {
        let (n, m) = self.design.maps();
        // (F_x - F_y) n m rises by m at a map of x, falls by n at one of y: whole numbers, exact.
        let mut step = [[-(n as f64); LANES]; 256];
        for (bits, lanes) in step.iter_mut().enumerate() {
            for (lane, value) in lanes.iter_mut().enumerate() {
                if bits >> lane & 1 == 1 {
                    *value = m as f64;
                }
            }
        }
        let (mut now, mut largest, mut sum): (Lanes, Lanes, Lanes) = Default::default();
        let mut start = 0;
        for (&end, &weight) in ranked.ends.iter().zip(weights) {
            let before = now;
            for &map in &ranked.order[start..end as usize] {
                let step = &step[usize::from(labels[map as usize])];
                for lane in 0..LANES {
                    now[lane] += step[lane];
                }
            }
            for lane in 0..LANES {
                largest[lane] = largest[lane].max(now[lane].abs());
                let middle = 0.5 * (before[lane] + now[lane]);
                sum[lane] += weight * middle * middle;
            }
            start = end as usize;
        }
        statistics(largest, sum)
    }

    /// Both statistics of eight pairs of bootstrapped samples.
    fn bootstrapped(&self, ranked: &Ranked, times: &[Times]) -> [Statistics; LANES] {
        let (n, m) = self.design.maps();
        let (n, m) = (n as f64, m as f64);
        let all = n + m;
        // What a map that is x times in the first and y times in the second sample adds.
        let step: [[f64; 2]; 256] = std::array::from_fn(|code| {
            let (x, y) = ((code & 15) as f64, (code >> 4) as f64);
            [x * m - y * n, x + y]
        });
        let (mut now, mut largest, mut sum): (Lanes, Lanes, Lanes) = Default::default();
        let mut rank = Lanes::default();
        let mut start = 0;
        for &end in &ranked.ends {
            let (before, rank_before) = (now, rank);
            for &map in &ranked.order[start..end as usize] {
                let codes = times[map as usize];
                for lane in 0..LANES {
                    let [difference, count] = step[usize::from(codes[lane])];
                    now[lane] += difference;
                    rank[lane] += count;
                }
            }
            for lane in 0..LANES {
                largest[lane] = largest[lane].max(now[lane].abs());
                let middle = 0.5 * (before[lane] + now[lane]);
                let ties = rank[lane] - rank_before[lane];
                let centre = rank[lane] - 0.5 * ties;
                // Exact, and 0 only where the numerator is 0 as well: before the first value
                // drawn, after the last, or if there is one value only.
                let spread = centre * (all - centre) - 0.25 * all * ties;
                sum[lane] += ties * middle * middle / (spread + f64::MIN_POSITIVE);
            }
            start = end as usize;
        }
        statistics(largest, sum)
    }
}

impl Ranked {
    /// The weight of each group in the midrank Anderson-Darling statistic.
    fn weights(&self) -> Vec<f64> {
        let all = self.order.len() as f64;
        let mut start = 0;
        let weight = |&end: &u32| {
            let ties = f64::from(end - start);
            let centre = 0.5 * f64::from(start + end);
            start = end;
            ties / (centre * (all - centre) - 0.25 * all * ties)
        };
        self.ends.iter().map(weight).collect()
    }
}

fn statistics(ks: Lanes, ad: Lanes) -> [Statistics; LANES] {
    std::array::from_fn(|lane| Statistics {
        ks: ks[lane],
        ad: ad[lane],
    })
}

/// How many repeats of `block` there are.
fn lanes_of(block: usize, repeats: usize) -> usize {
    (repeats - block * LANES).min(LANES)
}

fn count(found: &[Statistics], observed: Statistics) -> [usize; 2] {
    let ks = found.iter().filter(|s| s.ks >= observed.ks).count();
    let least = observed.ad * (1.0 - ROUNDING);
    let ad = found.iter().filter(|s| s.ad >= least).count();
    [ks, ad]
}

fn add(a: [usize; 2], b: [usize; 2]) -> [usize; 2] {
    [a[0] + b[0], a[1] + b[1]]
}

fn p_values(counts: [usize; 2], repeats: usize) -> ResampledP {
    let [ks, ad] = counts.map(|count| (1 + count) as f64 / (1 + repeats) as f64);
    ResampledP { ks, ad }
}

#[cfg(test)]
#[path = "resampling_tests.rs"]
mod tests;

//! Many tests at once: false discoveries, and what a perfect generator would score.

use super::{Alternative, Method, StatsError, ks_2samp};
use serde::Serialize;

/// The false discovery rate at which [`ManyTests`] counts rejections.
pub const FALSE_DISCOVERY_RATE: f64 = 0.05;

/// p-values adjusted for their number (Benjamini & Hochberg 1995), in the order given: rejecting
/// all that are at most q keeps the expected share of false rejections below q, for independent
/// or positively dependent tests. NaN stands for what was not tested; it stays NaN and is not
/// counted.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len())
        .filter(|&i| !p_values[i].is_nan())
        .collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let count = order.len() as f64;
    let mut adjusted = vec![f64::NAN; p_values.len()];
    let mut smallest = 1.0_f64;
    for (rank, &index) in order.iter().enumerate().rev() {
        smallest = smallest.min(p_values[index] * count / (rank + 1) as f64);
        adjusted[index] = smallest;
    }
    adjusted
}

/// How many of many tests (modes, thresholds) came out how.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ManyTests {
    /// Tests made; what was empty or constant is not among them.
    pub tested: usize,
    /// Tests with p > 0.99. A perfect generator has 1% of them there if the test is calibrated.
    pub above_99: usize,
    /// Tests with p > 0.95 (those above 0.99 included): 5%.
    pub above_95: usize,
    /// Tests with p > 0.8 (those above 0.95 included): 20%.
    pub above_80: usize,
    /// Tests with p <= 0.05: 5% of a perfect generator.
    pub below_5: usize,
    /// Tests rejected at a false discovery rate of 0.05 (Benjamini-Hochberg): none, as a rule.
    pub rejected: usize,
    /// The numbers that a perfect generator is expected to have above 0.99, 0.95 and 0.8.
    pub expected: [f64; 3],
    /// The smallest p-value, NaN where nothing was tested.
    pub smallest: f64,
}

impl ManyTests {
    /// Counts; NaN is a test that was not made.
    pub fn new(p_values: &[f64]) -> Self {
        let count = |wanted: &dyn Fn(f64) -> bool| p_values.iter().filter(|&&p| wanted(p)).count();
        let tested = count(&|p| !p.is_nan());
        let adjusted = benjamini_hochberg(p_values);
        let rejected = adjusted.iter().filter(|&&q| q <= FALSE_DISCOVERY_RATE);
        Self {
            tested,
            above_99: count(&|p| p > 0.99),
            above_95: count(&|p| p > 0.95),
            above_80: count(&|p| p > 0.8),
            below_5: count(&|p| p <= 0.05),
            rejected: rejected.count(),
            expected: [0.01, 0.05, 0.2].map(|share| share * tested as f64),
            smallest: p_values.iter().copied().fold(f64::NAN, f64::min),
        }
    }
}

/// Bins of the histograms that [`paper_style`] compares.
pub const PAPER_STYLE_BINS: usize = 50;

/// **Not a calibrated p-value.** scipy's two-sample Kolmogorov-Smirnov test of two lists of
/// histogram counts, `ks_2samp(counts_x, counts_y)`, as if the counts were the sample.
///
/// It is kept to stand beside numbers of that kind in the literature: how often a count occurs
/// says next to nothing about where it occurs, and histograms of thousands of values in tens of
/// bins "agree" with p > 0.99 far more often than 1% of the time, even where the two samples differ.
///
/// # Errors
/// No counts, a NaN.
pub fn paper_style(counts_x: &[f64], counts_y: &[f64]) -> Result<f64, StatsError> {
    Ok(ks_2samp(counts_x, counts_y, Alternative::TwoSided, Method::Auto)?.p_value)
}

/// [`paper_style`] of two samples: their histograms in [`PAPER_STYLE_BINS`] equal bins from the
/// least to the largest value of both, as densities, so that samples of unequal size compare.
///
/// # Errors
/// An empty sample, a value that is not finite, all values equal.
pub fn paper_style_of_values(x: &[f64], y: &[f64]) -> Result<f64, StatsError> {
    if x.is_empty() || y.is_empty() {
        return Err(StatsError::Empty);
    }
    for sample in [x, y] {
        if let Some(index) = sample.iter().position(|v| !v.is_finite()) {
            return Err(StatsError::Nan(index));
        }
    }
    let values = || x.iter().chain(y).copied();
    let (low, high) = (
        values().fold(f64::INFINITY, f64::min),
        values().fold(f64::NEG_INFINITY, f64::max),
    );
    if low == high {
        return Err(StatsError::AllEqual);
    }
    let density = |sample: &[f64]| {
        let mut counts = vec![0.0; PAPER_STYLE_BINS];
        for value in sample {
            let place = (value - low) / (high - low) * PAPER_STYLE_BINS as f64;
            counts[(place as usize).min(PAPER_STYLE_BINS - 1)] += 1.0;
        }
        let total = sample.len() as f64;
        counts.iter().map(|count| count / total).collect::<Vec<_>>()
    };
    paper_style(&density(x), &density(y))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{normals, random};

    #[test]
    fn adjusted_p_values_are_those_of_a_computation_by_hand() {
        // Sorted 0.005 0.01 0.03 0.04 0.5, times 5 over the rank: 0.025 0.025 0.05 0.05 0.5.
        let adjusted = benjamini_hochberg(&[0.04, 0.01, f64::NAN, 0.5, 0.005, 0.03]);
        let expected = [0.05, 0.025, f64::NAN, 0.5, 0.025, 0.05];
        for (a, e) in adjusted.iter().zip(expected) {
            assert!(
                (a - e).abs() < 1e-15 || (a.is_nan() && e.is_nan()),
                "{adjusted:?}"
            );
        }
        assert_eq!(benjamini_hochberg(&[0.9, 0.8]), [0.9, 0.9]);
        assert!(benjamini_hochberg(&[]).is_empty());
    }

    #[test]
    fn the_summary_counts_what_was_tested() {
        let summary = ManyTests::new(&[0.995, 0.96, f64::NAN, 0.85, 0.04, 1e-4]);
        assert_eq!(
            (summary.tested, summary.above_99, summary.above_95),
            (5, 1, 2)
        );
        assert_eq!(
            (summary.above_80, summary.below_5, summary.rejected),
            (3, 2, 1)
        );
        assert_eq!(summary.expected, [0.05, 0.25, 1.0]);
        assert_eq!(summary.smallest, 1e-4);
        let none = ManyTests::new(&[f64::NAN]);
        assert_eq!((none.tested, none.rejected), (0, 0));
        assert!(none.smallest.is_nan());
    }

    #[test]
    fn the_paper_style_p_value_is_high_where_it_should_not_be() {
        let mut draw = random(71);
        let (mut same, mut shifted) = (0, 0);
        for _ in 0..200 {
            let (x, y) = (normals(&mut draw, 1000), normals(&mut draw, 1000));
            let away: Vec<f64> = y.iter().map(|v| v + 0.3).collect();
            same += u32::from(paper_style_of_values(&x, &y).unwrap() > 0.99);
            shifted += u32::from(paper_style_of_values(&x, &away).unwrap() > 0.99);
        }
        println!("paper style p > 0.99: {same} of 200 same, {shifted} of 200 shifted by 0.3 sigma");
        // A calibrated test: 2 of 200, and none of those shifted.
        assert!(same > 20 && shifted > 20, "{same} {shifted}");
    }

    #[test]
    fn faulty_samples_are_refused() {
        assert_eq!(paper_style_of_values(&[], &[1.0]), Err(StatsError::Empty));
        assert_eq!(
            paper_style_of_values(&[1.0], &[1.0]),
            Err(StatsError::AllEqual)
        );
        let infinite = paper_style_of_values(&[1.0, f64::INFINITY], &[1.0]);
        assert_eq!(infinite, Err(StatsError::Nan(1)));
    }
}

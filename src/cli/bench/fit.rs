//! Cost models of a step, fitted to measured times.

use nalgebra::{DMatrix, DVector};
use serde::Serialize;

/// A step that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Median time of a step.
    pub seconds: f64,
    /// Floating-point operations of the linear layers.
    pub flop: u64,
    /// Of the arena: parameters, moments and activations.
    pub bytes: u64,
}

/// `seconds = step + flop * per_flop + bytes * per_byte`, none of them negative: fitted so that the sum of
/// squared relative deviations is least.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CostModel {
    /// Of each step, seconds.
    pub step: f64,
    pub per_flop: f64,
    pub per_byte: f64,
    /// The largest relative deviation of a measured time.
    pub worst: f64,
}

impl CostModel {
    /// The model that fits best; `None` for fewer than three points.
    pub fn fit(points: &[Point]) -> Option<Self> {
        if points.len() < 3 {
            return None;
        }
        // Of all sets of terms: with a term left out where it would be negative, the best fit is found.
        let fits = (1..8u32).filter_map(|terms| Self::of_terms(points, terms));
        let best = fits.min_by(|(a, _), (b, _)| a.total_cmp(b));
        best.map(|(_, model)| model)
    }

    fn of_terms(points: &[Point], terms: u32) -> Option<(f64, Self)> {
        let wanted: Vec<usize> = (0..3).filter(|term| terms >> term & 1 == 1).collect();
        let value = |point: &Point, term: usize| match term {
            0 => 1.0,
            1 => point.flop as f64 * 1e-9,
            _ => point.bytes as f64 * 1e-9,
        };
        let matrix = DMatrix::from_fn(points.len(), wanted.len(), |row, column| {
            value(&points[row], wanted[column]) / points[row].seconds
        });
        let ones = DVector::from_element(points.len(), 1.0);
        let found = matrix.clone().svd(true, true).solve(&ones, 1e-12).ok()?;
        if found.iter().any(|&coefficient| coefficient < 0.0) {
            return None;
        }
        let deviations = matrix * &found - ones;
        let mut coefficients = [0.0; 3];
        for (&term, &coefficient) in wanted.iter().zip(&found) {
            coefficients[term] = coefficient;
        }
        let [step, giga_flop, giga_byte] = coefficients;
        let model = Self {
            step,
            per_flop: giga_flop * 1e-9,
            per_byte: giga_byte * 1e-9,
            worst: deviations.amax(),
        };
        Some((deviations.norm_squared(), model))
    }

    /// For people.
    pub fn describe(&self) -> String {
        let mut terms = Vec::new();
        if self.step > 0.0 {
            terms.push(format!("{:.2} ms", 1e3 * self.step));
        }
        if self.per_flop > 0.0 {
            terms.push(format!("FLOP / {:.1} GFLOP/s", 1e-9 / self.per_flop));
        }
        if self.per_byte > 0.0 {
            terms.push(format!("arena / {:.2} GB/s", 1e-9 / self.per_byte));
        }
        format!(
            "a step takes about {}; the measured times are within {:.0}% of that",
            terms.join(" + "),
            100.0 * self.worst
        )
    }
}

/// The share of the work that is done in parallel, from times on several numbers of threads: the `p` of
/// `time(n) = time(1) (1 - p + p / n)`, by least squares. `None` for fewer than two numbers of threads.
pub fn amdahl(times: impl Iterator<Item = (usize, f64)>) -> Option<f64> {
    let times: Vec<_> = times.collect();
    let &(_, single) = times.iter().find(|(threads, _)| *threads == 1)?;
    let (mut products, mut squares) = (0.0, 0.0);
    for &(threads, seconds) in &times {
        // 1 - time(n) / time(1) = p (1 - 1 / n)
        let share = 1.0 - 1.0 / threads as f64;
        products += share * (1.0 - seconds / single);
        squares += share * share;
    }
    (squares > 0.0).then(|| products / squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(model: &CostModel, flop: u64, bytes: u64) -> Point {
        Point {
            seconds: model.step + flop as f64 * model.per_flop + bytes as f64 * model.per_byte,
            flop,
            bytes,
        }
    }

    #[test]
    fn a_model_is_found_again_in_times_that_follow_it() {
        let model = CostModel {
            step: 0.003,
            per_flop: 1.0 / 150e9,
            per_byte: 1.0 / 20e9,
            worst: 0.0,
        };
        let sizes = [(1, 9), (3, 11), (10, 40), (90, 70), (400, 900)];
        let points = sizes.map(|(g, m)| point(&model, g * 1_000_000_000, m * 1_000_000));
        let found = CostModel::fit(&points).unwrap();
        for (found, wanted) in [
            (found.step, model.step),
            (found.per_flop, model.per_flop),
            (found.per_byte, model.per_byte),
        ] {
            assert!((found / wanted - 1.0).abs() < 1e-6, "{found:?}, {wanted:?}");
        }
        assert!(found.worst < 1e-9);
        assert_eq!(CostModel::fit(&points[..2]), None);
    }

    #[test]
    fn no_term_is_negative() {
        // Larger steps that are faster for their size: the best line would begin below 0.
        let points = [(1, 0.010), (2, 0.025), (4, 0.060)].map(|(g, seconds)| Point {
            seconds,
            flop: g * 1_000_000_000,
            bytes: 1_000_000,
        });
        let found = CostModel::fit(&points).unwrap();
        assert!(found.step >= 0.0 && found.per_byte >= 0.0, "{found:?}");
        assert!((found.per_flop / 0.0125e-9 - 1.0).abs() < 0.2, "{found:?}");
        assert!(found.worst > 0.1);
    }

    #[test]
    fn the_parallel_share_is_found_again() {
        let times = [1usize, 2, 4].map(|n| (n, 3.0 * (0.1 + 0.9 / n as f64)));
        let found = amdahl(times.into_iter()).unwrap();
        assert!((found - 0.9).abs() < 1e-12);
        assert_eq!(amdahl([(1, 1.0)].into_iter()), None);
        assert_eq!(amdahl([(2, 1.0)].into_iter()), None);
    }
}

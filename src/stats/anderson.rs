//! The Anderson-Darling test of k samples (Scholz & Stephens 1987), as `scipy.stats.anderson_ksamp`.

use super::{SortedSample, StatsError};
use nalgebra::{Matrix3, Vector3};
use serde::Serialize;

/// The form of the statistic: how it treats equal values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum AndersonVariant {
    /// Equation 7: the distribution functions at a tie are averaged over both of its sides.
    Midrank,
    /// Equation 6: continuous from the right.
    Right,
    /// Equation 3: for samples without ties.
    Continuous,
}

/// Whether a p-value is a bound, because the table it comes from ends there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Clipped {
    /// It is interpolated.
    No,
    /// The p-value is 0.25 or more.
    AtCeiling,
    /// The p-value is 0.001 or less.
    AtFloor,
}

/// The outcome of an Anderson-Darling test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AndersonTest {
    /// A^2, less its mean k - 1 and over its standard deviation.
    pub statistic: f64,
    /// Interpolated in the table of Scholz & Stephens, between 0.001 and 0.25.
    pub p_value: f64,
    /// Whether `p_value` is a bound only.
    pub clipped: Clipped,
}

/// Tests whether `samples`, two or more, come from one distribution.
///
/// # Errors
/// Fewer than 2 samples, an empty one, fewer than 4 values in all, a NaN, all values equal.
pub fn anderson_ksamp(
    samples: &[&[f64]],
    variant: AndersonVariant,
) -> Result<AndersonTest, StatsError> {
    if samples.len() < 2 {
        return Err(StatsError::TooFew {
            what: "samples",
            got: samples.len(),
            needed: 2,
        });
    }
    let sorted: Vec<SortedSample<f64>> = samples
        .iter()
        .map(|sample| SortedSample::new(sample))
        .collect::<Result<_, _>>()?;
    let pooled = SortedSample::new(&samples.concat())?;
    let pooled = pooled.values();
    let sizes: Vec<usize> = samples.iter().map(|sample| sample.len()).collect();
    let scale = AndersonScale::new(&sizes)?;
    if pooled[0] == pooled[pooled.len() - 1] {
        return Err(StatsError::AllEqual);
    }
    let mut sum = 0.0;
    for sample in &sorted {
        let values = sample.values();
        sum += squares(values, pooled, variant) / values.len() as f64;
    }
    Ok(scale.test(sum / pooled.len() as f64))
}

/// N times the integral of one sample's squared deviation: the inner sum of equations 3, 6, 7.
fn squares(sample: &[f64], pooled: &[f64], variant: AndersonVariant) -> f64 {
    let (size, all) = (sample.len() as f64, pooled.len() as f64);
    let (mut sum, mut below, mut start) = (0.0, 0, 0);
    while start < pooled.len() {
        let value = pooled[start];
        let end = start + pooled[start..].partition_point(|&v| v <= value);
        let up_to = below + sample[below..].partition_point(|&v| v <= value);
        let term = |count: f64, rank: f64| (all * count - rank * size).powi(2);
        let ties = (end - start) as f64;
        match variant {
            AndersonVariant::Midrank => {
                let count = 0.5 * (below + up_to) as f64;
                let rank = 0.5 * (start + end) as f64;
                let weight = ties / (rank * (all - rank) - 0.25 * all * ties);
                sum += (all - 1.0) / all * weight * term(count, rank);
            }
            // The last value has nothing beyond it.
            AndersonVariant::Right if end < pooled.len() => {
                let rank = end as f64;
                sum += ties * term(up_to as f64, rank) / (rank * (all - rank));
            }
            AndersonVariant::Right => {}
            AndersonVariant::Continuous => {
                for rank in start + 1..=end.min(pooled.len() - 1) {
                    let rank = rank as f64;
                    sum += term(up_to as f64, rank) / (rank * (all - rank));
                }
            }
        }
        (start, below) = (end, up_to);
    }
    sum
}

/// Mean and standard deviation of A^2 under the null hypothesis (equation 4), which depend on the
/// sizes of the samples alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct AndersonScale {
    degrees: f64,
    deviation: f64,
}

impl AndersonScale {
    pub(super) fn new(sizes: &[usize]) -> Result<Self, StatsError> {
        let count: usize = sizes.iter().sum();
        if count < 4 {
            return Err(StatsError::TooFew {
                what: "values in all samples",
                got: count,
                needed: 4,
            });
        }
        let (n, k) = (count as f64, sizes.len() as f64);
        let inverse_sizes: f64 = sizes.iter().map(|&size| 1.0 / size as f64).sum();
        // h = sum of 1/i, i < N; g = sum over i < j < N of 1/((N-i) j).
        let (mut partial, mut g) = (0.0, 0.0);
        for i in 2..count {
            partial += 1.0 / (count + 1 - i) as f64;
            g += partial / i as f64;
        }
        let h = partial + 1.0;
        let a = (4.0 * g - 6.0) * (k - 1.0) + (10.0 - 6.0 * g) * inverse_sizes;
        let b = (2.0 * g - 4.0) * k * k + 8.0 * h * k + (2.0 * g - 14.0 * h - 4.0) * inverse_sizes
            - 8.0 * h
            + 4.0 * g
            - 6.0;
        let c = (6.0 * h + 2.0 * g - 2.0) * k * k
            + (4.0 * h - 4.0 * g + 6.0) * k
            + (2.0 * h - 6.0) * inverse_sizes
            + 4.0 * h;
        let d = (2.0 * h + 6.0) * k * k - 4.0 * h * k;
        let variance = (((a * n + b) * n + c) * n + d) / ((n - 1.0) * (n - 2.0) * (n - 3.0));
        Ok(Self {
            degrees: k - 1.0,
            deviation: variance.sqrt(),
        })
    }

    /// The test that goes with a value of A^2.
    pub(super) fn test(&self, a_squared: f64) -> AndersonTest {
        let statistic = (a_squared - self.degrees) / self.deviation;
        let (p_value, clipped) = interpolated_p(statistic, self.degrees);
        AndersonTest {
            statistic,
            p_value,
            clipped,
        }
    }
}

/// The p-value of a standardised statistic, m = k - 1: scipy's parabola through ln p at the seven
/// critical values of Scholz & Stephens' table 2, by least squares.
fn interpolated_p(statistic: f64, m: f64) -> (f64, Clipped) {
    const LEVELS: [f64; 7] = [0.25, 0.1, 0.05, 0.025, 0.01, 0.005, 0.001];
    const TABLE: [[f64; 3]; 7] = [
        [0.675, -0.245, -0.105],
        [1.281, 0.25, -0.305],
        [1.645, 0.678, -0.362],
        [1.96, 1.149, -0.391],
        [2.326, 1.822, -0.396],
        [2.573, 2.364, -0.345],
        [3.085, 3.615, -0.154],
    ];
    let critical = TABLE.map(|[b0, b1, b2]| b0 + b1 / m.sqrt() + b2 / m);
    if statistic < critical[0] {
        return (LEVELS[0], Clipped::AtCeiling);
    }
    if statistic > critical[6] {
        return (LEVELS[6], Clipped::AtFloor);
    }
    // Centred on the table, the normal equations are well conditioned.
    let centre = critical[3];
    let (mut normal, mut right) = (Matrix3::<f64>::zeros(), Vector3::zeros());
    for (x, level) in critical.into_iter().zip(LEVELS) {
        let powers = Vector3::new(1.0, x - centre, (x - centre).powi(2));
        normal += powers * powers.transpose();
        right += powers * level.ln();
    }
    let x = statistic - centre;
    let fit = normal.cholesky().map(|factor| factor.solve(&right));
    let log = fit.map_or(f64::NAN, |c| c[0] + x * (c[1] + x * c[2]));
    (log.exp(), Clipped::No)
}

#[cfg(test)]
#[path = "anderson_tests.rs"]
mod tests;

//! The two-sample Kolmogorov-Smirnov test with the p-values of `scipy.stats.ks_2samp`.
//!
//! These p-values hold for independent values of a continuous distribution. Crops of one parent
//! are not independent: for them see [`super::Design`].

use super::kolmogorov::{kolmogorov_n_sf, ln_factorial};
use super::{SortedSample, StatsError};
use serde::Serialize;

/// The largest sample for which [`Method::Auto`] counts paths, as in scipy.
const MAX_AUTO: usize = 10_000;

/// Which difference of the distribution functions F_x and F_y a test looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Alternative {
    /// max |F_x - F_y|.
    TwoSided,
    /// max (F_y - F_x): x tends to be larger.
    Less,
    /// max (F_x - F_y): x tends to be smaller.
    Greater,
}

/// How a p-value is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Method {
    /// By counting all orders of the pooled sample.
    Exact,
    /// From the one-sample distribution at n m / (n + m), rounded (two-sided), or Hodges' formula.
    Asymptotic,
    /// Exact up to 10,000 values a sample, as far as scipy's arithmetic goes; else asymptotic.
    Auto,
}

/// The outcome of a two-sample Kolmogorov-Smirnov test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KsTest<T> {
    /// D, 0 to 1.
    pub statistic: f64,
    /// Probability of a D at least as large under the null hypothesis.
    pub p_value: f64,
    /// The value at which the difference is largest.
    pub location: T,
    /// 1 where F_x is the larger there, else -1.
    pub sign: i8,
    /// How the p-value came about: exact or asymptotic.
    pub method: Method,
}

/// Tests whether `x` and `y` come from one distribution, as `scipy.stats.ks_2samp`.
///
/// # Errors
/// An empty sample, a NaN.
pub fn ks_2samp<T>(
    x: &[T],
    y: &[T],
    alternative: Alternative,
    method: Method,
) -> Result<KsTest<T>, StatsError>
where
    T: Copy + PartialOrd + Send + Sync,
{
    let (x, y) = (SortedSample::new(x)?, SortedSample::new(y)?);
    let greater = largest_excess(x.values(), y.values(), Alternative::Greater);
    let less = largest_excess(x.values(), y.values(), Alternative::Less);
    let (found, sign) = match alternative {
        Alternative::Greater => (greater, 1),
        Alternative::Less => (less, -1),
        Alternative::TwoSided if less.0 > greater.0 => (less, -1),
        Alternative::TwoSided => (greater, 1),
    };
    let (n, m) = (x.values().len(), y.values().len());
    let statistic = found.0 as f64 / (n as i128 * m as i128) as f64;
    let (p_value, method) = ks_p_value(statistic, n, m, alternative, method);
    Ok(KsTest {
        statistic,
        p_value,
        location: found.1,
        sign,
        method,
    })
}

/// The largest of F_x - F_y (or its opposite, for `Less`) times n m, at least 0, and where it is:
/// at the first value of x that has it, else at the first of y.
fn largest_excess<T: Copy + PartialOrd>(x: &[T], y: &[T], side: Alternative) -> (i128, T) {
    let (n, m) = (x.len() as i128, y.len() as i128);
    let sign = if side == Alternative::Less { -1 } else { 1 };
    let (mut i, mut j, mut difference) = (0, 0, 0_i128);
    let mut at_x: Option<(i128, T)> = None;
    let mut at_y: Option<(i128, T)> = None;
    while i < x.len() || j < y.len() {
        let from_x = j == y.len() || (i < x.len() && x[i] <= y[j]);
        let value = if from_x { x[i] } else { y[j] };
        while i < x.len() && x[i] <= value {
            i += 1;
            difference += m;
        }
        while j < y.len() && y[j] <= value {
            j += 1;
            difference -= n;
        }
        let place = if from_x { &mut at_x } else { &mut at_y };
        let excess = sign * difference;
        if place.is_none_or(|(best, _)| excess > best) {
            *place = Some((excess, value));
        }
    }
    match (at_x, at_y) {
        (Some(at_x), Some(at_y)) if at_y.0 > at_x.0 => (at_y.0.max(0), at_y.1),
        (Some(at_x), _) => (at_x.0.max(0), at_x.1),
        (None, Some(at_y)) => (at_y.0.max(0), at_y.1),
        (None, None) => (0, x[0]),
    }
}

/// The p-value of the statistic `d` of samples of `n` and `m` values, and how it was computed.
pub fn ks_p_value(
    d: f64,
    n: usize,
    m: usize,
    alternative: Alternative,
    method: Method,
) -> (f64, Method) {
    let two_sided = alternative == Alternative::TwoSided;
    let exact = match method {
        Method::Asymptotic => false,
        Method::Exact => countable(n, m),
        Method::Auto => {
            // scipy's one-sided count needs the number of all paths as a float.
            let all_paths =
                || ln_factorial((n + m) as u64) - ln_factorial(n as u64) - ln_factorial(m as u64);
            n.max(m) <= MAX_AUTO && (two_sided || n == m || all_paths() < f64::MAX.ln())
        }
    };
    if exact {
        (exact_p(d, n, m, two_sided), Method::Exact)
    } else {
        (asymptotic_p(d, n, m, two_sided), Method::Asymptotic)
    }
}

/// Whether the lattice of the exact count is one that scipy, too, would walk.
fn countable(n: usize, m: usize) -> bool {
    let divisor = gcd(n, m);
    ((n / divisor) as f64) < f64::from(i32::MAX) / (m / divisor) as f64
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn asymptotic_p(d: f64, n: usize, m: usize, two_sided: bool) -> f64 {
    let (large, small) = (n.max(m) as f64, n.min(m) as f64);
    let effective = large * small / (large + small);
    if two_sided {
        // Python rounds halves to even.
        return kolmogorov_n_sf(effective.round_ties_even() as u64, d).clamp(0.0, 1.0);
    }
    // Hodges 1958, equation 5.3.
    let z = effective.sqrt() * d;
    let drift = (large + 2.0 * small) / (large * small * (large + small)).sqrt();
    (-2.0 * z * z - 2.0 * z * drift / 3.0).exp().clamp(0.0, 1.0)
}

fn exact_p(d: f64, n: usize, m: usize, two_sided: bool) -> f64 {
    let divisor = gcd(n, m);
    let lcm = (n / divisor) as f64 * m as f64;
    let steps = (d * lcm).round() as i64;
    if steps == 0 {
        return 1.0;
    }
    let p = match (n == m, two_sided) {
        (true, true) => both_sides_of_square(n, steps as usize),
        (true, false) => one_side_of_square(n, steps as usize),
        (false, _) => outside_band(n, m, divisor, steps, two_sided),
    };
    p.clamp(0.0, 1.0)
}

/// C(2n, n - s) / C(2n, n), by reflection the probability of D+ >= s / n.
fn one_side_of_square(n: usize, s: usize) -> f64 {
    let ratio = |i: usize| (n - i) as f64 / (n + i + 1) as f64;
    if s > n {
        0.0
    } else {
        (0..s).map(ratio).product()
    }
}

/// Twice the alternating sum of the reflections at s, 2 s, 3 s... (Gnedenko & Korolyuk 1951).
fn both_sides_of_square(n: usize, s: usize) -> f64 {
    // Innermost first: the partial sums then never cancel more than the result does.
    let mut sum = 0.0;
    for k in (1..=n / s).rev() {
        let ratio = |i: usize| (n - i) as f64 / (n + i + 1) as f64;
        let from_previous: f64 = ((k - 1) * s..k * s).map(ratio).product();
        sum = from_previous * (1.0 - sum);
    }
    2.0 * sum
}

/// The probability that a random path from (0, 0) to (n, m), all being equally likely, reaches a
/// point where i/n - j/m is `steps` / lcm or more (in magnitude, for `two_sided`).
///
/// v(i, j), the probability of having been outside on the way to (i, j), is the average of its two
/// predecessors' with weights i/(i+j) and j/(i+j), and 1 outside: no cancellation, however small.
fn outside_band(n: usize, m: usize, divisor: usize, steps: i64, two_sided: bool) -> f64 {
    let (n_step, m_step) = ((n / divisor) as i64, (m / divisor) as i64);
    let mut v = vec![1.0; m + 1];
    let mut last = 1.0;
    for i in 0..=n {
        let here = i as i64 * m_step;
        // Inside: here - j n_step < steps, and > -steps.
        let first = ((here - steps).div_euclid(n_step) + 1).max(0) as usize;
        let end = match two_sided {
            true => ((here + steps - 1).div_euclid(n_step) + 1).min(m as i64 + 1) as usize,
            false => m + 1,
        };
        let mut left = if i == 0 { 0.0 } else { 1.0 };
        for (j, value) in v.iter_mut().enumerate().take(end).skip(first) {
            let (up, right) = (i as f64, j as f64);
            left = match i + j {
                0 => 0.0,
                _ => (*value * up + left * right) / (up + right),
            };
            *value = left;
        }
        last = if end == m + 1 && first <= m {
            left
        } else {
            1.0
        };
    }
    last
}

#[cfg(test)]
#[path = "ks_test_tests.rs"]
mod tests;

//! The distributions of Kolmogorov's and Smirnov's statistics: of one sample of n against a known
//! continuous distribution, and their limit for large n.
//!
//! [`super::ks_2samp`] takes its asymptotic p-values from here. Sources: Simard & L'Ecuyer 2011
//! (J. Stat. Softw. 39, 11), who compare the methods below; Marsaglia, Tsang & Wang 2003
//! (J. Stat. Softw. 8, 18); Pelz & Good 1976. The ranges in which each is used are those of scipy,
//! because approximations differ from each other by more than the rounding of either.

use nalgebra::DMatrix;
use std::f64::consts::PI;

/// Above this n, scipy replaces the sum for the one-sided statistic by an approximation.
const ONE_SIDED_SUM_MAX: u64 = 1_000_000;

/// P(K > z) of Kolmogorov's limiting distribution, `scipy.stats.kstwobign.sf(z)`: the p-value of
/// z = D sqrt(n m / (n + m)) for large samples. 1 for z <= 0; NaN for NaN.
pub fn kolmogorov_sf(z: f64) -> f64 {
    if z.is_nan() {
        return f64::NAN;
    }
    if z <= 0.0 {
        return 1.0;
    }
    if z < 1.0 {
        // The theta function's other form converges fast where the first one does not.
        let exponent = -PI * PI / (8.0 * z * z);
        let term = |k: f64| (exponent * (2.0 * k - 1.0).powi(2)).exp();
        let sum: f64 = (1..=4).map(|k| term(f64::from(k))).sum();
        return 1.0 - (2.0 * PI).sqrt() / z * sum;
    }
    let term = |k: i32| {
        let sign = if k % 2 == 1 { 2.0 } else { -2.0 };
        sign * (-2.0 * f64::from(k * k) * z * z).exp()
    };
    (1..=5).map(term).sum()
}

/// P(D_n >= d) of the two-sided one-sample statistic, `scipy.stats.kstwo.sf(d, n)`.
pub fn kolmogorov_n_sf(n: u64, d: f64) -> f64 {
    if d.is_nan() || n == 0 {
        return f64::NAN;
    }
    if d >= 1.0 {
        return 0.0;
    }
    let steps = n as f64 * d;
    if d <= 0.0 || steps <= 0.5 {
        return 1.0;
    }
    if steps <= 1.0 {
        // Ruben & Gambino 1982: n! (2 d - 1/n)^n.
        let log_cdf = ln_factorial(n) + n as f64 * ((2.0 * steps - 1.0) / n as f64).ln();
        return 1.0 - log_cdf.exp();
    }
    if steps >= n as f64 - 1.0 {
        return 2.0 * (1.0 - d).powf(n as f64);
    }
    // Exact from d = 1/2 on; before that the two sides overlap, but too rarely to matter (Miller).
    let both_sides = || (2.0 * smirnov_sf(n, d)).min(1.0);
    if d >= 0.5 {
        return both_sides();
    }
    let square = steps * d;
    if n <= 140 {
        return match square {
            ..=4.0 => 1.0 - matrix_cdf(n, d),
            _ => both_sides(),
        };
    }
    match square {
        370.0.. => 0.0,
        2.2.. => both_sides(),
        _ if n <= 100_000 && steps * d.sqrt() <= 1.4 => 1.0 - matrix_cdf(n, d),
        _ => (1.0 - pelz_good_cdf(n, d)).clamp(0.0, 1.0),
    }
}

/// P(D_n+ >= d) of the one-sided statistic (Smirnov; Birnbaum & Tingey 1951),
/// `scipy.special.smirnov(n, d)`:
/// `d * sum over v of C(n, v) (d + v/n)^(v-1) (1 - d - v/n)^(n-v)`, all terms positive.
pub fn smirnov_sf(n: u64, d: f64) -> f64 {
    if d.is_nan() || n == 0 {
        return f64::NAN;
    }
    if d <= 0.0 {
        return 1.0;
    }
    if d >= 1.0 {
        return 0.0;
    }
    let count = n as f64;
    if n > ONE_SIDED_SUM_MAX {
        return (-(6.0 * count * d + 1.0).powi(2) / (18.0 * count)).exp();
    }
    let ln_n_factorial = ln_factorial(n);
    let last = (count * (1.0 - d)).floor() as u64;
    let term = |v: u64| {
        let (below, above) = (d + v as f64 / count, 1.0 - d - v as f64 / count);
        if above <= 0.0 {
            // Only at v = n (1 - d), where the last factor is 0^(n-v): 1 for v = n, else 0.
            return if v == n {
                below.powf(v as f64 - 1.0)
            } else {
                0.0
            };
        }
        let binomial = ln_n_factorial - ln_factorial(v) - ln_factorial(n - v);
        (binomial + (v as f64 - 1.0) * below.ln() + (n - v) as f64 * above.ln()).exp()
    };
    (d * (0..=last).map(term).sum::<f64>()).min(1.0)
}

/// P(D_n < d), exactly: an element of the n-th power of a matrix (Marsaglia, Tsang & Wang 2003).
/// All elements are positive, so nothing cancels. The matrix is [2k-1, 2k-1] with k = ceil(n d).
fn matrix_cdf(n: u64, d: f64) -> f64 {
    let steps = n as f64 * d;
    let k = steps.ceil();
    let h = k - steps;
    let size = 2 * k as usize - 1;
    // Element (i, j) is 1/(i-j+1)! from the superdiagonal down, with corrections for the fraction
    // h of a step in the first column and the last row.
    let mut factorial = vec![1.0; size + 1];
    for i in 1..=size {
        factorial[i] = factorial[i - 1] * i as f64;
    }
    let mut base = DMatrix::from_fn(size, size, |i, j| {
        if i + 1 < j {
            0.0
        } else {
            1.0 / factorial[i + 1 - j]
        }
    });
    for i in 0..size {
        let correction = h.powi(i as i32 + 1) / factorial[i + 1];
        base[(i, 0)] -= correction;
        base[(size - 1, size - 1 - i)] -= correction;
    }
    let corner = (2.0 * h - 1.0).max(0.0).powi(size as i32) / factorial[size];
    base[(size - 1, 0)] += corner;

    let mut power = DMatrix::<f64>::identity(size, size);
    let (mut power_log, mut base_log) = (0.0, 0.0);
    let mut left = n;
    while left > 0 {
        if left % 2 == 1 {
            power = &power * &base;
            power_log += base_log + rescale(&mut power);
        }
        left /= 2;
        if left > 0 {
            base = &base * &base;
            base_log = 2.0 * base_log + rescale(&mut base);
        }
    }
    let centre = power[(k as usize - 1, k as usize - 1)];
    // n!/n^n and the scale, both far outside the range of f64, in logarithms.
    let log = ln_factorial(n) - n as f64 * (n as f64).ln() + power_log;
    (centre * log.exp()).clamp(0.0, 1.0)
}

/// Divides a matrix by its largest element; the logarithm of that.
fn rescale(matrix: &mut DMatrix<f64>) -> f64 {
    let largest = matrix.max();
    *matrix /= largest;
    largest.ln()
}

/// P(D_n < d) to order n^-3/2 beyond the limit (Pelz & Good 1976, in Simard & L'Ecuyer's form).
fn pelz_good_cdf(n: u64, d: f64) -> f64 {
    let root = (n as f64).sqrt();
    let z = d * root;
    let (z2, z4) = (z * z, z.powi(4));
    let z6 = z2 * z4;
    let pi2 = PI * PI;
    // Terms fall as exp(-pi^2 k^2 / (2 z^2)): as many as z needs.
    let terms = (16.0 * z / PI).ceil() as i32 + 1;
    let (mut k0, mut k1, mut k2, mut k3) = (0.0, 0.0, 0.0, 0.0);
    for k in 0..terms {
        // The sums over odd multiples run over all k, and are even: twice those of k >= 0.
        let u = pi2 * (f64::from(k) + 0.5).powi(2);
        let weight = 2.0 * (-u / (2.0 * z2)).exp();
        k0 += weight;
        k1 += weight * (u - z2);
        k2 += weight * (6.0 * z6 + 2.0 * z4 + u * (2.0 * z4 - 5.0 * z2) + u * u * (1.0 - 2.0 * z2));
        k3 += weight
            * (u.powi(3) * (5.0 - 30.0 * z2)
                + u * u * (-60.0 * z2 + 212.0 * z4)
                + u * (135.0 * z4 - 96.0 * z6)
                - (30.0 * z6 + 90.0 * z4 * z4));
    }
    let (mut even2, mut even3) = (0.0, 0.0);
    for k in 1..terms {
        let u = pi2 * f64::from(k).powi(2);
        let weight = 2.0 * (-u / (2.0 * z2)).exp();
        even2 += weight * u;
        even3 += weight * (3.0 * z2 * u - u * u);
    }
    let scale = (PI / 2.0).sqrt();
    let k0 = scale * k0 / z;
    let k1 = scale * k1 / (6.0 * z4);
    let k2 = scale * (k2 / (72.0 * z6 * z) - even2 / (36.0 * z2 * z));
    let k3 = scale * (k3 / (6480.0 * z6 * z4) + even3 / (216.0 * z6));
    k0 + k1 / root + k2 / n as f64 + k3 / (n as f64 * root)
}

/// ln n!: a sum of logarithms for small n, Stirling's series from there (relative error 1e-16).
pub(super) fn ln_factorial(n: u64) -> f64 {
    if n < 20 {
        return (2..=n).map(|i| i as f64).product::<f64>().ln();
    }
    let x = n as f64;
    let inverse = 1.0 / (x * x);
    let tail = 1.0 / 1260.0 - inverse * (1.0 / 1680.0 - inverse / 1188.0);
    let series = (1.0 / 12.0 - inverse * (1.0 / 360.0 - inverse * tail)) / x;
    0.5 * (2.0 * PI * x).ln() + x * (x.ln() - 1.0) + series
}

#[cfg(test)]
#[path = "kolmogorov_tests.rs"]
mod tests;

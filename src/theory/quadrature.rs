//! Gauss-Legendre quadrature.

/// Nodes and weights of the `n`-point rule on [0, 1], in rising order: exact for polynomials of
/// degree 2n - 1.
pub(super) fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    let mut rule: Vec<(f64, f64)> = (0..n).map(|i| node(n, i)).collect();
    rule.reverse();
    rule
}

/// The `i`th largest root of the Legendre polynomial of degree `n`, by Newton's method, and its
/// weight, both for [0, 1].
fn node(n: usize, i: usize) -> (f64, f64) {
    let n = n as f64;
    let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n + 0.5)).cos();
    let mut slope = 1.0;
    // Quadratic convergence from a start within 1e-3 of the distance of roots.
    for _ in 0..6 {
        let (mut before, mut value) = (1.0, x);
        let mut degree = 1.0;
        while degree < n {
            let next = ((2.0 * degree + 1.0) * x * value - degree * before) / (degree + 1.0);
            (before, value) = (value, next);
            degree += 1.0;
        }
        slope = n * (x * value - before) / (x * x - 1.0);
        x -= value / slope;
    }
    (0.5 * (x + 1.0), 1.0 / ((1.0 - x * x) * slope * slope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_up_to_degree_2n_minus_1_are_integrated_exactly_and_no_further() {
        for n in [2, 5, 16, 64] {
            let rule = gauss_legendre(n);
            assert!(rule.windows(2).all(|pair| pair[0].0 < pair[1].0));
            let error = |degree: usize| {
                let sum: f64 = rule.iter().map(|&(x, w)| w * x.powi(degree as i32)).sum();
                (sum * (degree + 1) as f64 - 1.0).abs()
            };
            assert!((0..2 * n).all(|degree| error(degree) < 1e-13), "{n}");
        }
        let wrong: f64 = gauss_legendre(2).iter().map(|&(x, w)| w * x.powi(4)).sum();
        assert!((wrong - 0.2).abs() > 1e-3);
    }
}

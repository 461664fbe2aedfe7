//! The nonlinear power spectrum of matter: the revised halofit of Takahashi et al. 2012 (ApJ 761,
//! 152; arXiv:1208.2701), appendix, with its terms for dark energy.

use super::background::Background;
use super::linear::LinearPower;

/// Radii, in Mpc, between which the nonlinear scale is looked for.
const RADII: (f64, f64) = (1e-4, 1e3);

/// Halofit at one redshift.
#[derive(Debug)]
pub(super) struct Halofit {
    /// Square of the growth factor.
    growth_squared: f64,
    /// None where fluctuations are linear on all scales that matter.
    fit: Option<Fit>,
}

/// Coefficients of equations A1 to A13.
#[derive(Debug)]
struct Fit {
    k_sigma: f64,
    a: f64,
    b: f64,
    c: f64,
    gamma: f64,
    alpha: f64,
    beta: f64,
    nu: f64,
    f1: f64,
    f2: f64,
    f3: f64,
}

impl Halofit {
    pub(super) fn new(linear: &LinearPower, background: &Background, w: f64, z: f64) -> Self {
        let growth_squared = background.growth(z).powi(2);
        let fit = nonlinear_radius(linear, growth_squared).map(|radius| {
            let window = linear.gaussian_variance(radius);
            let omega_m = background.omega_m_at(z);
            let dark_energy = background.omega_l_at(z) * (1.0 + w);
            Fit::new(
                radius,
                window.slope - 3.0,
                window.curvature,
                omega_m,
                dark_energy,
            )
        });
        Self {
            growth_squared,
            fit,
        }
    }

    /// Delta^2(k) of `linear`'s fluctuations at this redshift, at `k` in 1/Mpc.
    pub(super) fn delta_squared(&self, linear: &LinearPower, k: f64) -> f64 {
        let linear = self.growth_squared * linear.delta_squared(k);
        match &self.fit {
            Some(fit) => fit.delta_squared(linear, k),
            None => linear,
        }
    }
}

/// The R with sigma^2(R) = 1, equation A4, by bisection in ln R.
fn nonlinear_radius(linear: &LinearPower, growth_squared: f64) -> Option<f64> {
    let variance = |radius: f64| growth_squared * linear.gaussian_variance(radius).variance;
    let (mut low, mut high) = RADII;
    if variance(low) <= 1.0 || variance(high) >= 1.0 {
        return None;
    }
    while high / low > 1.0 + 1e-9 {
        let middle = (low * high).sqrt();
        if variance(middle) > 1.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some((low * high).sqrt())
}

impl Fit {
    /// `n` is the effective slope, `c` the curvature at the nonlinear scale (equation A5);
    /// `dark_energy` is Omega_w(z) (1 + w).
    fn new(radius: f64, n: f64, c: f64, omega_m: f64, dark_energy: f64) -> Self {
        let polynomial = |coefficients: [f64; 5]| {
            let terms = coefficients.into_iter().rev();
            terms.fold(0.0, |sum, coefficient| sum * n + coefficient)
        };
        let ten_to = |exponent: f64| 10f64.powf(exponent);
        Self {
            k_sigma: 1.0 / radius,
            a: ten_to(
                polynomial([1.5222, 2.8553, 2.3706, 0.9903, 0.2250]) - 0.6038 * c
                    + 0.1749 * dark_energy,
            ),
            b: ten_to(
                polynomial([-0.5642, 0.5864, 0.5716, 0.0, 0.0]) - 1.5474 * c + 0.2279 * dark_energy,
            ),
            c: ten_to(polynomial([0.3698, 2.0404, 0.8161, 0.0, 0.0]) + 0.5869 * c),
            gamma: 0.1971 - 0.0843 * n + 0.8460 * c,
            alpha: (polynomial([6.0835, 1.3373, -0.1959, 0.0, 0.0]) - 5.5274 * c).abs(),
            beta: polynomial([2.0379, -0.7354, 0.3157, 1.2490, 0.3980]) - 0.1682 * c,
            nu: ten_to(5.2105 + 3.6902 * n),
            f1: omega_m.powf(-0.0307),
            f2: omega_m.powf(-0.0585),
            f3: omega_m.powf(0.0743),
        }
    }

    /// Equations A1 to A3, with mu = 0.
    fn delta_squared(&self, linear: f64, k: f64) -> f64 {
        let y = k / self.k_sigma;
        let damping = (-y / 4.0 - y * y / 8.0).exp();
        let two_halo = linear * (1.0 + linear).powf(self.beta) / (1.0 + self.alpha * linear);
        let profile =
            1.0 + self.b * y.powf(self.f2) + (self.c * self.f3 * y).powf(3.0 - self.gamma);
        let one_halo = self.a * y.powf(3.0 * self.f1) / profile / (1.0 + self.nu / (y * y));
        two_halo * damping + one_halo
    }
}

#[cfg(test)]
#[path = "halofit_tests.rs"]
mod tests;

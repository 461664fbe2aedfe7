//! The expanding universe: the Hubble rate, comoving distance and the growth of linear density
//! fluctuations.

use super::cosmology::Cosmology;
use super::quadrature::gauss_legendre;

/// Speed of light in km/s.
const C: f64 = 299_792.458;

/// Points of the rule for distances: relative errors below 1e-10 up to z = 10.
const DISTANCE_POINTS: usize = 32;

/// Scale factor where growth begins to be followed: far into the era of matter.
const GROWTH_START: f64 = 1e-3;

/// Steps of the growth equation from there to today: relative errors below 1e-8.
const GROWTH_STEPS: usize = 512;

/// Densities over the critical one today, and what follows from them. `a` is the scale factor
/// 1 / (1 + z).
#[derive(Debug)]
pub(super) struct Background {
    omega_m: f64,
    omega_r: f64,
    omega_l: f64,
    w: f64,
    /// c / H0 in Mpc.
    pub(super) hubble_distance: f64,
    /// (D, dD / d ln a) at equal steps of ln a, D not normalised.
    growth: Vec<(f64, f64)>,
}

impl Background {
    pub(super) fn new(cosmology: &Cosmology) -> Self {
        let omega_r = cosmology.omega_r();
        Self::with_radiation(cosmology, omega_r)
    }

    /// The flat universe of `cosmology` whose radiation has density `omega_r`; its formulas without
    /// radiation are textbooks'.
    fn with_radiation(cosmology: &Cosmology, omega_r: f64) -> Self {
        let mut background = Self {
            omega_m: cosmology.omega_m,
            omega_r,
            omega_l: 1.0 - cosmology.omega_m - omega_r,
            w: cosmology.w,
            hubble_distance: C / (100.0 * cosmology.h),
            growth: Vec::new(),
        };
        background.growth = background.solve_growth();
        background
    }

    /// (H / H0)^2.
    fn e_squared(&self, a: f64) -> f64 {
        self.omega_m * a.powi(-3) + self.omega_r * a.powi(-4) + self.dark_energy(a)
    }

    fn dark_energy(&self, a: f64) -> f64 {
        self.omega_l * a.powf(-3.0 * (1.0 + self.w))
    }

    /// Density of matter over the critical one of its time.
    pub(super) fn omega_m_at(&self, z: f64) -> f64 {
        (1.0 + z).powi(3) * self.omega_m / self.e_squared(1.0 / (1.0 + z))
    }

    /// Density of dark energy over the critical one of its time.
    pub(super) fn omega_l_at(&self, z: f64) -> f64 {
        let a = 1.0 / (1.0 + z);
        self.dark_energy(a) / self.e_squared(a)
    }

    /// Comoving distance to redshift `z` in Mpc.
    pub(super) fn distance(&self, z: f64) -> f64 {
        let rule = gauss_legendre(DISTANCE_POINTS).into_iter();
        // In x = sqrt(1 + z) the integrand 2 x / E is nearly a constant over x^2.
        let width = (1.0 + z).sqrt() - 1.0;
        let sum: f64 = rule
            .map(|(at, weight)| {
                let x = 1.0 + width * at;
                weight * 2.0 * x / self.e_squared(x.powi(-2)).sqrt()
            })
            .sum();
        self.hubble_distance * width * sum
    }

    /// d(distance)/dz in Mpc.
    pub(super) fn distance_slope(&self, z: f64) -> f64 {
        self.hubble_distance / self.e_squared(1.0 / (1.0 + z)).sqrt()
    }

    /// Growth factor of linear density fluctuations, 1 today, for `z` below 999.
    pub(super) fn growth(&self, z: f64) -> f64 {
        let step = growth_step();
        let at = (-(1.0 + z).ln() - GROWTH_START.ln()) / step;
        let i = (at.max(0.0) as usize).min(GROWTH_STEPS - 1);
        let t = at - i as f64;
        // Cubic Hermite interpolation.
        let ((d0, s0), (d1, s1)) = (self.growth[i], self.growth[i + 1]);
        let u = 1.0 - t;
        let value = u * u * (1.0 + 2.0 * t) * d0
            + t * t * (1.0 + 2.0 * u) * d1
            + t * u * step * (u * s0 - t * s1);
        value / self.growth[GROWTH_STEPS].0
    }

    /// D'' + (2 + d ln H / d ln a) D' = 3/2 Omega_m(a) D in ln a, from the growing mode of matter
    /// and radiation, D ~ a + 2/3 a_equality, by Runge and Kutta's method.
    fn solve_growth(&self) -> Vec<(f64, f64)> {
        let step = growth_step();
        let slope = |ln_a: f64, (d, s): (f64, f64)| {
            let a = ln_a.exp();
            let e2 = self.e_squared(a);
            let matter = self.omega_m * a.powi(-3) / e2;
            let radiation = self.omega_r * a.powi(-4) / e2;
            let dark = self.dark_energy(a) / e2;
            let hubble = -0.5 * (3.0 * matter + 4.0 * radiation + 3.0 * (1.0 + self.w) * dark);
            (s, 1.5 * matter * d - (2.0 + hubble) * s)
        };
        let offset = 2.0 / 3.0 * self.omega_r / self.omega_m;
        let mut state = (GROWTH_START + offset, GROWTH_START);
        let mut growth = vec![state];
        let moved = |(d, s): (f64, f64), (dd, ds): (f64, f64), by: f64| (d + by * dd, s + by * ds);
        for i in 0..GROWTH_STEPS {
            let ln_a = GROWTH_START.ln() + i as f64 * step;
            let k1 = slope(ln_a, state);
            let k2 = slope(ln_a + 0.5 * step, moved(state, k1, 0.5 * step));
            let k3 = slope(ln_a + 0.5 * step, moved(state, k2, 0.5 * step));
            let k4 = slope(ln_a + step, moved(state, k3, step));
            let total = moved(moved(moved(k1, k2, 2.0), k3, 2.0), k4, 1.0);
            state = moved(state, total, step / 6.0);
            growth.push(state);
        }
        growth
    }
}

fn growth_step() -> f64 {
    -GROWTH_START.ln() / GROWTH_STEPS as f64
}

#[cfg(test)]
#[path = "background_tests.rs"]
mod tests;

//! The transfer function of Eisenstein & Hu 1998 (ApJ 496, 605; arXiv:astro-ph/9709112), with
//! acoustic oscillations: how much of the primordial fluctuations is left at late times, of matter
//! that is cold dark matter and baryons. Equation numbers are those of the paper.

use std::f64::consts::E;

use super::cosmology::Cosmology;

/// T(k), which is 1 at small k.
#[derive(Debug)]
pub(super) struct Transfer {
    /// Fraction of matter in baryons.
    baryons: f64,
    /// Of matter-radiation equality, 1/Mpc.
    k_equality: f64,
    /// Comoving sound horizon at the drag epoch, Mpc.
    sound_horizon: f64,
    /// Scale of diffusion damping, 1/Mpc.
    k_silk: f64,
    alpha_c: f64,
    beta_c: f64,
    alpha_b: f64,
    beta_b: f64,
    beta_node: f64,
}

impl Transfer {
    pub(super) fn new(cosmology: &Cosmology) -> Self {
        let matter = cosmology.omega_m * cosmology.h.powi(2);
        let baryon = cosmology.omega_b * cosmology.h.powi(2);
        let theta = Cosmology::T_CMB / 2.7;
        let fb = baryon / matter;
        let fc = 1.0 - fb;

        // Equations 2 to 7.
        let z_equality = 2.50e4 * matter * theta.powi(-4);
        let k_equality = 7.46e-2 * matter * theta.powi(-2);
        let b1 = 0.313 * matter.powf(-0.419) * (1.0 + 0.607 * matter.powf(0.674));
        let b2 = 0.238 * matter.powf(0.223);
        let z_drag = 1291.0 * matter.powf(0.251) / (1.0 + 0.659 * matter.powf(0.828))
            * (1.0 + b1 * baryon.powf(b2));
        let baryons_to_photons = |z: f64| 31.5 * baryon * theta.powi(-4) * (1000.0 / z);
        let r_drag = baryons_to_photons(z_drag);
        let r_equality = baryons_to_photons(z_equality);
        let sound_horizon = 2.0 / (3.0 * k_equality)
            * (6.0 / r_equality).sqrt()
            * (((1.0 + r_drag).sqrt() + (r_drag + r_equality).sqrt()) / (1.0 + r_equality.sqrt()))
                .ln();
        let k_silk =
            1.6 * baryon.powf(0.52) * matter.powf(0.73) * (1.0 + (10.4 * matter).powf(-0.95));

        // Equations 11 and 12.
        let a1 = (46.9 * matter).powf(0.670) * (1.0 + (32.1 * matter).powf(-0.532));
        let a2 = (12.0 * matter).powf(0.424) * (1.0 + (45.0 * matter).powf(-0.582));
        let alpha_c = a1.powf(-fb) * a2.powf(-fb.powi(3));
        let c1 = 0.944 / (1.0 + (458.0 * matter).powf(-0.708));
        let c2 = (0.395 * matter).powf(-0.0266);
        let beta_c = 1.0 / (1.0 + c1 * (fc.powf(c2) - 1.0));

        // Equations 14, 15, 23 and 24.
        let y = (1.0 + z_equality) / (1.0 + z_drag);
        let root = (1.0 + y).sqrt();
        let g = y * (-6.0 * root + (2.0 + 3.0 * y) * ((root + 1.0) / (root - 1.0)).ln());
        let alpha_b = 2.07 * k_equality * sound_horizon * (1.0 + r_drag).powf(-0.75) * g;
        let beta_b = 0.5 + fb + (3.0 - 2.0 * fb) * ((17.2 * matter).powi(2) + 1.0).sqrt();
        let beta_node = 8.41 * matter.powf(0.435);

        Self {
            baryons: fb,
            k_equality,
            sound_horizon,
            k_silk,
            alpha_c,
            beta_c,
            alpha_b,
            beta_b,
            beta_node,
        }
    }

    /// T at wavenumber `k` > 0 in 1/Mpc (not h/Mpc).
    pub(super) fn at(&self, k: f64) -> f64 {
        let ks = k * self.sound_horizon;
        // Equations 17 and 18.
        let f = 1.0 / (1.0 + (ks / 5.4).powi(4));
        let cold = f * self.pressureless(k, 1.0, self.beta_c)
            + (1.0 - f) * self.pressureless(k, self.alpha_c, self.beta_c);
        // Equations 21 and 22.
        let shifted = ks / (1.0 + (self.beta_node / ks).powi(3)).cbrt();
        let smooth = self.pressureless(k, 1.0, 1.0) / (1.0 + (ks / 5.2).powi(2));
        let damped = self.alpha_b / (1.0 + (self.beta_b / ks).powi(3))
            * (-(k / self.k_silk).powf(1.4)).exp();
        let baryonic = (smooth + damped) * spherical_bessel_0(shifted);
        self.baryons * baryonic + (1.0 - self.baryons) * cold
    }

    /// Equations 10, 19 and 20.
    fn pressureless(&self, k: f64, alpha: f64, beta: f64) -> f64 {
        let q = k / (13.41 * self.k_equality);
        let c = 14.2 / alpha + 386.0 / (1.0 + 69.9 * q.powf(1.08));
        let log = (E + 1.8 * beta * q).ln();
        log / (log + c * q * q)
    }
}

/// sin(x) / x.
fn spherical_bessel_0(x: f64) -> f64 {
    if x.abs() < 1e-4 {
        1.0 - x * x / 6.0
    } else {
        x.sin() / x
    }
}

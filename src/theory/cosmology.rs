//! The parameters of a universe.

use serde::{Deserialize, Serialize};

use super::error::{TheoryError, check};

/// A flat universe of matter, dark energy with a constant equation of state, and the radiation of a
/// microwave background of 2.7255 K with massless neutrinos.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cosmology {
    /// Density of all matter today over the critical one.
    pub omega_m: f64,
    /// Density of baryons today over the critical one; part of `omega_m`.
    pub omega_b: f64,
    /// Rms of linear density fluctuations today in spheres of 8 Mpc/h.
    pub sigma_8: f64,
    /// H0 / (100 km/s/Mpc).
    pub h: f64,
    /// Spectral index of the primordial fluctuations.
    pub n_s: f64,
    /// Pressure of dark energy over its density.
    pub w: f64,
}

impl Cosmology {
    /// That of the CosmoGAN paper (arXiv:1706.02390, section 3.1); it does not print `omega_b`.
    pub const PAPER: Self = Self {
        omega_m: 0.26,
        omega_b: 0.046,
        sigma_8: 0.798,
        h: 0.72,
        n_s: 0.96,
        w: -1.0,
    };

    /// Temperature of the microwave background in kelvin (Fixsen 2009).
    pub(super) const T_CMB: f64 = 2.7255;

    /// Effective number of neutrino families.
    const N_EFF: f64 = 3.046;

    /// Density of photons and massless neutrinos today over the critical one, some 1e-4.
    pub(super) fn omega_r(&self) -> f64 {
        // 4 sigma T^4 / c^3 over 3 (100 km/s/Mpc)^2 / (8 pi G), with CODATA 2018 constants.
        let photons = 2.472_8e-5 * (Self::T_CMB / 2.7255).powi(4);
        let neutrinos = Self::N_EFF * 7.0 / 8.0 * (4.0_f64 / 11.0).powf(4.0 / 3.0);
        photons * (1.0 + neutrinos) / (self.h * self.h)
    }

    /// Whether the parameters are numbers that the fitting formulas can be used with. The ranges
    /// are wide: formulas were tested near `PAPER`, and lose accuracy far from it.
    ///
    /// # Errors
    /// The first field out of its range.
    pub fn check(&self) -> Result<(), TheoryError> {
        check("omega_m", self.omega_m, 0.05..=1.0, "0.05 to 1")?;
        check("omega_b", self.omega_b, 0.001..=1.0, "0.001 to omega_m")?;
        let accepted = "at most omega_m, of which baryons are a part";
        check("omega_b", self.omega_b, 0.0..=self.omega_m, accepted)?;
        check("sigma_8", self.sigma_8, 0.1..=2.0, "0.1 to 2")?;
        check("h", self.h, 0.3..=1.5, "0.3 to 1.5")?;
        check("n_s", self.n_s, 0.5..=1.5, "0.5 to 1.5")?;
        check("w", self.w, -2.0..=-0.35, "-2 to -0.35")
    }
}

//! The parameters of a universe.

use serde::{Deserialize, Serialize};

/// A flat universe of matter and dark energy with a constant equation of state. Neutrinos are
/// massless.
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
}

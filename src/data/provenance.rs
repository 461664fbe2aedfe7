//! What is known of where maps come from: their angle, their sources, their cosmology. Read from
//! FITS headers, JSON sidecars and the command line; kept in checkpoints; written with maps.

use serde::{Deserialize, Serialize};

use crate::theory::Cosmology;

/// What is known of maps. Files tell any part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Side of a whole map in degrees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side_deg: Option<f64>,
    /// Redshift of the lensed sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_redshift: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub omega_m: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub omega_b: Option<f64>,
    /// Density of dark energy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub omega_l: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma_8: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub h: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_s: Option<f64>,
    /// Equation of state of dark energy today.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub w: Option<f64>,
    /// Its derivative by the scale factor, with the sign of w(a) = w + wa (1 - a).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wa: Option<f64>,
}

impl Provenance {
    /// Maps of `side_deg` degrees a side in a known, flat universe.
    pub fn of(cosmology: &Cosmology, source_redshift: f64, side_deg: f64) -> Self {
        Self {
            side_deg: Some(side_deg),
            source_redshift: Some(source_redshift),
            omega_m: Some(cosmology.omega_m),
            omega_b: Some(cosmology.omega_b),
            omega_l: Some(1.0 - cosmology.omega_m),
            sigma_8: Some(cosmology.sigma_8),
            h: Some(cosmology.h),
            n_s: Some(cosmology.n_s),
            w: Some(cosmology.w),
            wa: Some(0.0),
        }
    }
}

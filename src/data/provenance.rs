//! What is known of where maps come from: their angle, their sources, their cosmology. Read from
//! FITS headers, JSON sidecars and the command line; kept in checkpoints; written with maps.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::DataError;
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

/// One field of [`Provenance`], for all that treats fields alike.
pub(super) struct Field {
    /// Its name in sidecars.
    pub name: &'static str,
    /// Places the value.
    pub slot: fn(&mut Provenance) -> &mut Option<f64>,
    /// The least and the largest value that makes sense.
    pub range: (f64, f64),
    pub accepted: &'static str,
}

/// All fields.
pub(super) const FIELDS: [Field; 10] = [
    Field {
        name: "side_deg",
        slot: |p| &mut p.side_deg,
        range: (1e-9, 180.0),
        accepted: "the side of a map, above 0 and up to 180 degrees",
    },
    Field {
        name: "source_redshift",
        slot: |p| &mut p.source_redshift,
        range: (1e-9, 2000.0),
        accepted: "the redshift of the sources, above 0 and up to 2000",
    },
    Field {
        name: "omega_m",
        slot: |p| &mut p.omega_m,
        range: (1e-9, 10.0),
        accepted: "a density over the critical one, above 0 and up to 10",
    },
    Field {
        name: "omega_b",
        slot: |p| &mut p.omega_b,
        range: (0.0, 10.0),
        accepted: "a density over the critical one, 0 to 10",
    },
    Field {
        name: "omega_l",
        slot: |p| &mut p.omega_l,
        range: (-10.0, 10.0),
        accepted: "a density over the critical one, -10 to 10",
    },
    Field {
        name: "sigma_8",
        slot: |p| &mut p.sigma_8,
        range: (1e-9, 10.0),
        accepted: "a number above 0 and up to 10",
    },
    Field {
        name: "h",
        slot: |p| &mut p.h,
        range: (1e-3, 10.0),
        accepted: "H0 / (100 km/s/Mpc), such as 0.7",
    },
    Field {
        name: "n_s",
        slot: |p| &mut p.n_s,
        range: (-10.0, 10.0),
        accepted: "a number from -10 to 10",
    },
    Field {
        name: "w",
        slot: |p| &mut p.w,
        range: (-10.0, 10.0),
        accepted: "a number from -10 to 10",
    },
    Field {
        name: "wa",
        slot: |p| &mut p.wa,
        range: (-10.0, 10.0),
        accepted: "a number from -10 to 10",
    },
];

impl Field {
    pub fn get(&self, provenance: &Provenance) -> Option<f64> {
        *(self.slot)(&mut provenance.clone())
    }

    /// Sets the field.
    ///
    /// # Errors
    /// A value without meaning; `path` and `named`, its name there, are told.
    pub fn set(
        &self,
        provenance: &mut Provenance,
        value: f64,
        path: &Path,
        named: &'static str,
    ) -> Result<(), DataError> {
        let (low, high) = self.range;
        if !(low..=high).contains(&value) {
            return Err(DataError::Told {
                path: path.to_owned(),
                field: named,
                found: value.to_string(),
                accepted: self.accepted,
            });
        }
        *(self.slot)(provenance) = Some(value);
        Ok(())
    }
}

/// Who tells something of maps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Teller<'a> {
    /// A map file or its sidecar.
    File(&'a Path),
    /// An option of the command line and the configuration.
    Option(&'static str),
}

impl fmt::Display for Teller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Option(name) => name.fmt(f),
        }
    }
}

/// Two values that agree to this, relative to the larger one, are the same: angles are often
/// printed with four digits.
pub(super) const TOLERANCE: f64 = 1e-4;

/// What pixel scales are called in errors.
const ANGLE_OVER_PIXELS: &str =
    "degrees a pixel (--angle, ANGLE or side_deg over the pixels of a side)";

/// What several tellers say and agree on.
#[derive(Debug, Default)]
pub(super) struct Agreement<'a> {
    /// Degrees a pixel.
    pixel_deg: Option<(f64, Teller<'a>)>,
    /// One a field of [`FIELDS`]; that of `side_deg` stays empty.
    fields: [Option<(f64, Teller<'a>)>; FIELDS.len()],
}

impl<'a> Agreement<'a> {
    /// Adds what `teller` says of maps of `side` pixels.
    ///
    /// # Errors
    /// It contradicts an earlier teller; both are named.
    pub fn add(
        &mut self,
        told: &Provenance,
        side: usize,
        teller: Teller<'a>,
    ) -> Result<(), DataError> {
        let pixel_deg = told.side_deg.map(|degrees| degrees / side as f64);
        agree(&mut self.pixel_deg, ANGLE_OVER_PIXELS, pixel_deg, teller)?;
        for (field, held) in FIELDS.iter().zip(&mut self.fields).skip(1) {
            agree(held, field.name, field.get(told), teller)?;
        }
        Ok(())
    }

    pub fn result(&self) -> MapsProvenance {
        let mut known = Provenance::default();
        for (field, held) in FIELDS.iter().zip(&self.fields) {
            *(field.slot)(&mut known) = held.map(|(value, _)| value);
        }
        MapsProvenance {
            pixel_deg: self.pixel_deg.map(|(value, _)| value),
            known,
        }
    }
}

fn agree<'a>(
    held: &mut Option<(f64, Teller<'a>)>,
    field: &'static str,
    value: Option<f64>,
    teller: Teller<'a>,
) -> Result<(), DataError> {
    match (*held, value) {
        (_, None) => Ok(()),
        (None, Some(value)) => {
            *held = Some((value, teller));
            Ok(())
        }
        (Some((first, _)), Some(value))
            if (first - value).abs() <= TOLERANCE * first.abs().max(value.abs()) =>
        {
            Ok(())
        }
        (Some((first, by)), Some(value)) => Err(DataError::Conflict {
            field,
            first,
            first_teller: by.to_string(),
            second: value,
            second_teller: teller.to_string(),
        }),
    }
}

/// What is known of all maps together, whatever their sides.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MapsProvenance {
    /// Degrees a pixel.
    pub pixel_deg: Option<f64>,
    /// All but `side_deg`, which is `None`.
    known: Provenance,
}

impl MapsProvenance {
    /// That of a crop of `map_size` pixels a side.
    pub fn of_crop(&self, map_size: usize) -> Provenance {
        Provenance {
            side_deg: self.pixel_deg.map(|pixel| pixel * map_size as f64),
            ..self.known
        }
    }
}

//! JSON files beside map files that tell what the maps are: `<file name>.json`, else `<stem>.json` (unless that
//! is a list), one flat object with the fields of [`Provenance`]. Read when maps are opened, written with `.npy`
//! files, whose format has no place for it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::error::DataError;
use super::provenance::{FIELDS, Field, Provenance, TOLERANCE};

/// Real ones have some hundred bytes.
const LONGEST: u64 = 1 << 20;

/// Other ways to tell the side: degrees of each.
const PIXEL_UNITS: [(&str, f64); 2] = [("pixel_deg", 1.0), ("pixel_arcmin", 1.0 / 60.0)];

/// The sidecar that this program writes for the maps at `path`.
pub(super) fn sidecar_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".json");
    PathBuf::from(name)
}

/// The text of a sidecar: what is known of the maps, then `extra`, whose fields must have other
/// names.
///
/// # Errors
/// A number that JSON cannot hold.
pub(super) fn sidecar_text(
    known: &Provenance,
    extra: &Map<String, Value>,
) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Sidecar<'a> {
        #[serde(flatten)]
        known: &'a Provenance,
        #[serde(flatten)]
        extra: &'a Map<String, Value>,
    }
    Ok(serde_json::to_string_pretty(&Sidecar { known, extra })? + "\n")
}

/// What the sidecar of the maps of `side` pixels at `path` tells, and where it lies; `None`
/// where there is none.
///
/// # Errors
/// A sidecar that cannot be read, is no JSON object, or tells something without meaning. Fields
/// of other names are ignored.
pub(super) fn read_sidecar(
    path: &Path,
    side: usize,
) -> Result<Option<(PathBuf, Provenance)>, DataError> {
    let by_stem = path.with_extension("json");
    for candidate in [sidecar_path(path), by_stem.clone()] {
        let io = |source| DataError::Io {
            path: candidate.clone(),
            action: "read",
            source,
        };
        let file = match File::open(&candidate) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io(error)),
        };
        let refuse = |reason: String| DataError::Sidecar {
            path: candidate.clone(),
            reason,
        };
        let mut text = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut text).map_err(io)?;
        if text.len() as u64 > LONGEST {
            return Err(refuse(format!("it is longer than {LONGEST} bytes")));
        }
        // A list of such a name is a table of the maps that somebody keeps beside them.
        if candidate == by_stem && serde_json::from_slice::<Vec<IgnoredAny>>(&text).is_ok() {
            continue;
        }
        let object = serde_json::from_slice::<Map<String, Value>>(&text)
            .map_err(|error| refuse(error.to_string()))?;
        let told = told(&object, side, &candidate)?;
        return Ok(Some((candidate, told)));
    }
    Ok(None)
}

/// What `object`, read from `path`, tells of maps of `side` pixels.
fn told(object: &Map<String, Value>, side: usize, path: &Path) -> Result<Provenance, DataError> {
    let mut told = Provenance::default();
    for field in &FIELDS {
        if let Some(value) = number(object, field.name, field, path)? {
            field.set(&mut told, value, path, field.name)?;
        }
    }
    let side_field = &FIELDS[0];
    for (name, degrees) in PIXEL_UNITS {
        let Some(value) = number(object, name, side_field, path)? else {
            continue;
        };
        let side_deg = value * degrees * side as f64;
        match told.side_deg {
            Some(held) if (held - side_deg).abs() > TOLERANCE * held => {
                return Err(DataError::Told {
                    path: path.to_owned(),
                    field: name,
                    found: format!("{value}, or {side_deg} degrees for {side} pixels"),
                    accepted: "what side_deg and the other fields say of the side",
                });
            }
            Some(_) => {}
            None => {
                let accepted = "the width of a pixel, such that the map's side is at most 180 \
                                degrees and above 0";
                let refused = |_| DataError::Told {
                    path: path.to_owned(),
                    field: name,
                    found: value.to_string(),
                    accepted,
                };
                side_field
                    .set(&mut told, side_deg, path, name)
                    .map_err(refused)?;
            }
        }
    }
    Ok(told)
}

/// The number called `name`; `None` where it is missing or null.
fn number(
    object: &Map<String, Value>,
    name: &'static str,
    field: &Field,
    path: &Path,
) -> Result<Option<f64>, DataError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(other) => Err(DataError::Told {
            path: path.to_owned(),
            field: name,
            found: kind(other).to_owned(),
            accepted: field.accepted,
        }),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

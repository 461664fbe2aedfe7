//! FITS images, memory-mapped: the first image of a file, one map `[H, W]` or a stack `[N, H, W]`
//! (`NAXIS1` is the width and runs fastest), with the keys that LensTools writes beside its maps.
//! Called by [`Maps`](super::Maps).
//!
//! Format: the FITS standard 4.0 (<https://fits.gsfc.nasa.gov/fits_standard.html>). Keys: those
//! of `lenstools.image.io.saveFITS` of LensTools 1.2, and the older `H_0`, `W_0` and `W_A`.

use std::path::Path;

use super::error::DataError;
use super::fits_header::{BLOCK, Cards};
use super::pixels::{Layout, MappedMaps, Number, Scaling, map_file};
use super::provenance::{FIELDS, Provenance, TOLERANCE};

const ACCEPTED: &str = "uncompressed FITS files with an image of floats in the primary array or \
                        in an image extension";
/// An image behind more extensions than that is not looked for.
const MOST_EXTENSIONS: usize = 1000;
/// The standard's own limit.
const MOST_AXES: i64 = 999;

/// Maps the file at `path`; what its header tells comes with it.
///
/// # Errors
/// A file that cannot be read, is no FITS file, is compressed, holds no image or one of integers
/// without a scale, is not square, holds no maps, is shorter than its header says, or has keys
/// without meaning.
pub(super) fn open(path: &Path) -> Result<(MappedMaps, Provenance), DataError> {
    let mapped = map_file(path)?;
    let file = File {
        path,
        bytes: &mapped,
    };
    let image = file.find_image()?;
    let layout = image.layout()?;
    let told = image.provenance()?;
    let expected = layout.end().ok_or_else(|| image.bad_axes())?;
    if expected > mapped.len() {
        return Err(DataError::Length {
            path: path.to_owned(),
            expected: expected as u64,
            found: mapped.len() as u64,
        });
    }
    Ok((MappedMaps::new(mapped, layout), told))
}

struct File<'a> {
    path: &'a Path,
    bytes: &'a [u8],
}

impl<'a> File<'a> {
    fn unreadable(&self, found: impl Into<String>) -> DataError {
        DataError::Format {
            path: self.path.to_owned(),
            found: found.into(),
            accepted: ACCEPTED,
        }
    }

    /// The primary array, or else the first extension with an image.
    fn find_image(&self) -> Result<Image<'a>, DataError> {
        self.check_beginning()?;
        let mut primary = None;
        let mut compressed = false;
        let mut start = 0;
        for index in 0..=MOST_EXTENSIONS {
            let rest = self.bytes.get(start..).unwrap_or_default();
            // Behind the last extension some writers leave bytes of no meaning.
            if index > 0 && !rest.starts_with(b"XTENSION") {
                break;
            }
            let (cards, data_start) = Cards::read(self.bytes, start).ok_or_else(|| {
                self.unreadable(format!(
                    "header {index} has no END card: copy the file again"
                ))
            })?;
            let unit = Image {
                path: self.path,
                cards,
                primary: primary.unwrap_or(cards),
                axes: axes(self.path, &cards)?,
                data_start,
            };
            if index == 0 && !cards.is_true("SIMPLE") {
                return Err(unit.refuse("SIMPLE", unit.written("SIMPLE"), "T: a standard file"));
            }
            let is_image = index == 0 || cards.is_text("XTENSION", "IMAGE");
            if is_image && !unit.axes.is_empty() {
                return Ok(unit);
            }
            compressed |= cards.is_true("ZIMAGE");
            primary = primary.or(Some(cards));
            start = unit.next().ok_or_else(|| unit.bad_axes())?;
            // Some writers do not fill the last block.
            if start > self.bytes.len().next_multiple_of(BLOCK) {
                return Err(DataError::Length {
                    path: self.path.to_owned(),
                    expected: start as u64,
                    found: self.bytes.len() as u64,
                });
            }
        }
        Err(self.unreadable(if compressed {
            "its image is tile-compressed; unpack it with funpack"
        } else {
            "it holds no image"
        }))
    }

    fn check_beginning(&self) -> Result<(), DataError> {
        let packed = [
            (
                &b"\x1f\x8b"[..],
                "it is gzip-compressed; unpack it with gunzip",
            ),
            (b"BZh", "it is bzip2-compressed; unpack it with bunzip2"),
            (b"\x1f\x9d", "it is compressed; unpack it with uncompress"),
            (b"\xfd7zXZ", "it is xz-compressed; unpack it with unxz"),
            (
                b"\x28\xb5\x2f\xfd",
                "it is zstd-compressed; unpack it with unzstd",
            ),
        ];
        if self.bytes.is_empty() {
            return Err(self.unreadable("it is empty"));
        }
        if let Some((_, found)) = packed
            .iter()
            .find(|(magic, _)| self.bytes.starts_with(magic))
        {
            return Err(self.unreadable(*found));
        }
        if !self.bytes.starts_with(b"SIMPLE  =") {
            return Err(self.unreadable("it does not begin with SIMPLE, as FITS files do"));
        }
        Ok(())
    }
}

/// A header and the data behind it.
struct Image<'a> {
    path: &'a Path,
    cards: Cards<'a>,
    /// The file's first header, which speaks for the whole file.
    primary: Cards<'a>,
    /// `NAXIS1` first.
    axes: Vec<usize>,
    data_start: usize,
}

fn axes(path: &Path, cards: &Cards) -> Result<Vec<usize>, DataError> {
    let refuse = |field: &'static str, found: String, accepted| DataError::Header {
        path: path.to_owned(),
        field,
        found,
        accepted,
    };
    let missing = || "missing".to_owned();
    let count = match cards.integer("NAXIS") {
        Some(Ok(count)) if (0..=MOST_AXES).contains(&count) => count,
        Some(Ok(count)) => return Err(refuse("NAXIS", count.to_string(), "0 to 999")),
        Some(Err(found)) => return Err(refuse("NAXIS", found, "0 to 999")),
        None => return Err(refuse("NAXIS", missing(), "0 to 999")),
    };
    (1..=count)
        .map(|axis| {
            let key = format!("NAXIS{axis}");
            let wrong = |found| {
                let accepted = "a whole number of pixels, 0 or more";
                refuse(
                    "NAXISn (length of an axis)",
                    format!("{key} = {found}"),
                    accepted,
                )
            };
            match cards.integer(&key) {
                Some(Ok(length)) => usize::try_from(length).map_err(|_| wrong(length.to_string())),
                Some(Err(found)) => Err(wrong(found)),
                None => Err(wrong(missing())),
            }
        })
        .collect()
}

impl Image<'_> {
    fn refuse(&self, field: &'static str, found: String, accepted: &'static str) -> DataError {
        DataError::Header {
            path: self.path.to_owned(),
            field,
            found,
            accepted,
        }
    }

    /// The value of `key` for a message.
    fn written(&self, key: &str) -> String {
        self.cards
            .get(key)
            .map_or("missing".to_owned(), |value| match value {
                super::fits_header::Value::Text(text) => format!("the string '{text}'"),
                super::fits_header::Value::Word(word) => word.to_owned(),
            })
    }

    fn bad_axes(&self) -> DataError {
        let axes: Vec<String> = self.axes.iter().map(usize::to_string).collect();
        let found = format!("({})", axes.join(", "));
        let accepted = "(W, H) or (W, H, N): H = W pixels, N maps, none of them 0";
        self.refuse("shape (NAXIS1, NAXIS2, ...)", found, accepted)
    }

    /// A whole number, or `missing` where there is none.
    fn integer(&self, key: &'static str, missing: i64) -> Result<i64, DataError> {
        let found = self.cards.integer(key).unwrap_or(Ok(missing));
        found.map_err(|found| self.refuse(key, found, "a whole number"))
    }

    fn float(&self, key: &'static str, missing: f64) -> Result<f64, DataError> {
        let found = self.cards.float(key).unwrap_or(Ok(missing));
        found.map_err(|found| self.refuse(key, found, "a finite number"))
    }

    /// Where the next header begins; `None` where no memory reaches.
    fn next(&self) -> Option<usize> {
        let positive = |key, missing| {
            let number = self.cards.integer(key).and_then(Result::ok);
            usize::try_from(number.unwrap_or(missing)).ok()
        };
        let bits = self.cards.integer("BITPIX").and_then(Result::ok)?;
        let numbers = match self.axes.is_empty() {
            true => 0,
            false => self
                .axes
                .iter()
                .try_fold(1, |n: usize, &a| n.checked_mul(a))?,
        };
        let bytes = numbers
            .checked_add(positive("PCOUNT", 0)?)?
            .checked_mul(positive("GCOUNT", 1)?)?
            .checked_mul(usize::try_from(bits.unsigned_abs()).ok()? / 8)?;
        let end = self.data_start.checked_add(bytes)?;
        end.checked_next_multiple_of(BLOCK)
    }

    fn layout(&self) -> Result<Layout, DataError> {
        let scaling = self.scaling()?;
        let number = match self.integer("BITPIX", 0)? {
            -32 => Number::F32,
            -64 => Number::F64,
            // A scale makes physical numbers of integers; without one they are counts or labels.
            16 if scaling.scale != 1.0 => Number::I16,
            32 if scaling.scale != 1.0 => Number::I32,
            _ => {
                let accepted = "-32 or -64 (float32, float64), or 16 or 32 with a BSCALE other \
                                than 1 that makes them physical numbers";
                return Err(self.refuse(
                    "BITPIX (type of number)",
                    self.written("BITPIX"),
                    accepted,
                ));
            }
        };
        let [width, height, more @ ..] = self.axes.as_slice() else {
            return Err(self.bad_axes());
        };
        let mut stacks = more.iter().filter(|&&length| length != 1);
        let maps = stacks.next().copied().unwrap_or(1);
        if stacks.next().is_some() || width != height || *width == 0 || maps == 0 {
            return Err(self.bad_axes());
        }
        let side = *width;
        let pixels = side.checked_mul(side).ok_or_else(|| self.bad_axes())?;
        Ok(Layout {
            start: self.data_start,
            number,
            big_endian: true,
            scaling,
            maps,
            side,
            channels: 1,
            strides: [pixels, side, 1, 1],
        })
    }

    fn scaling(&self) -> Result<Scaling, DataError> {
        let scale = self.float("BSCALE", 1.0)?;
        if scale == 0.0 {
            let accepted = "a number other than 0";
            return Err(self.refuse("BSCALE", "0".to_owned(), accepted));
        }
        let blank = match self.cards.integer("BLANK") {
            Some(Ok(blank)) => Some(blank),
            // Of floats, NaN is the blank, and whatever this key says means nothing.
            _ if self.integer("BITPIX", 0)? < 0 => None,
            Some(Err(found)) => return Err(self.refuse("BLANK", found, "a whole number")),
            None => None,
        };
        Ok(Scaling {
            scale,
            zero: self.float("BZERO", 0.0)?,
            blank,
        })
    }

    /// What the header of the image tells of the maps, or else the file's first header.
    fn provenance(&self) -> Result<Provenance, DataError> {
        let mut told = Provenance::default();
        let mut hubble: Option<(&'static str, f64)> = None;
        for (key, name, factor) in KEYS {
            let value = self.cards.float(key).or_else(|| self.primary.float(key));
            let Some(value) = value else { continue };
            // The list of keys and that of fields are both of this program.
            let Some(field) = FIELDS.iter().find(|field| field.name == name) else {
                continue;
            };
            let value = factor
                * value.map_err(|found| DataError::Told {
                    path: self.path.to_owned(),
                    field: key,
                    found,
                    accepted: field.accepted,
                })?;
            if name == "h" {
                match hubble {
                    Some((_, first)) if (first - value).abs() > TOLERANCE * first.abs() => {
                        return Err(DataError::Told {
                            path: self.path.to_owned(),
                            field: key,
                            found: format!("{}, but h is {first}", value / factor),
                            accepted: "100 h",
                        });
                    }
                    Some(_) => continue,
                    None => hubble = Some((key, value)),
                }
            }
            if field.get(&told).is_none() {
                field.set(&mut told, value, self.path, key)?;
            }
        }
        Ok(told)
    }
}

/// Keys, the field each tells, and the factor between them. LensTools writes the first nine; of
/// two that tell the same field the first counts.
const KEYS: [(&str, &str, f64); 15] = [
    ("ANGLE", "side_deg", 1.0),
    ("Z", "source_redshift", 1.0),
    ("H", "h", 1.0),
    ("H0", "h", 0.01),
    ("H_0", "h", 0.01),
    ("OMEGA_M", "omega_m", 1.0),
    ("OMEGA_L", "omega_l", 1.0),
    ("W0", "w", 1.0),
    ("W_0", "w", 1.0),
    ("WA", "wa", 1.0),
    ("W_A", "wa", 1.0),
    ("OMEGA_B", "omega_b", 1.0),
    ("SIGMA_8", "sigma_8", 1.0),
    ("N_S", "n_s", 1.0),
    ("NS", "n_s", 1.0),
];

//! NumPy's `.npy` files, memory-mapped: the header is read, the pixels stay on the disk until a
//! window of them is wanted. Called by [`Maps`](super::Maps) through [`MapFile`].
//!
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use super::error::DataError;
use super::maps::MapFile;

const ACCEPTED: &str = "NumPy .npy files of format version 1, 2 or 3";
const ACCEPTED_SHAPES: &str = "[H, W], [N, H, W], [N, H, W, 1] or [N, 1, H, W], square, no axis 0";

/// The numbers of a file, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    F4,
    F8,
}

/// One memory-mapped `.npy` file of `maps` maps of `side` x `side` pixels.
#[derive(Debug)]
pub struct NpyFile {
    mapped: Mmap,
    data_start: usize,
    number: Number,
    maps: usize,
    side: usize,
}

impl NpyFile {
    /// Maps the file at `path` and checks its header and length.
    ///
    /// # Errors
    /// A file that cannot be read, is no `.npy` file, holds other numbers than little-endian
    /// `float32` or `float64` in C order, is not square, holds no maps, or is not exactly as long
    /// as its header says.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let io = |action| {
            move |source| DataError::Io {
                path: path.to_owned(),
                action,
                source,
            }
        };
        let file = File::open(path).map_err(io("open"))?;
        // Whoever truncates or rewrites the file in place meanwhile (the system would raise SIGBUS
        // or change pixels under us) breaks the assumption below; replacing it by rename, as this
        // program's own writer does, is harmless. `Maps` documents this for the user.
        // SAFETY: read-only, owned by this struct, of a file assumed not to change while open.
        let mapped = unsafe { Mmap::map(&file) }.map_err(io("map"))?;
        let header = Header::parse(path, &mapped)?;
        let number = header.number(path)?;
        let (maps, side) = header.maps_and_side(path)?;
        let bytes_each = match number {
            Number::F4 => 4,
            Number::F8 => 8,
        };
        let expected = side
            .checked_mul(side)
            .and_then(|n| n.checked_mul(maps))
            .and_then(|n| n.checked_mul(bytes_each))
            .and_then(|n| n.checked_add(header.data_start))
            .ok_or_else(|| header.bad_shape(path))?;
        if expected != mapped.len() {
            return Err(DataError::Length {
                path: path.to_owned(),
                expected: expected as u64,
                found: mapped.len() as u64,
            });
        }
        Ok(Self {
            data_start: header.data_start,
            mapped,
            number,
            maps,
            side,
        })
    }
}

impl MapFile for NpyFile {
    fn maps(&self) -> usize {
        self.maps
    }

    fn side(&self) -> usize {
        self.side
    }

    fn read_row(&self, map: usize, y: usize, x0: usize, out: &mut [f32]) {
        assert!(map < self.maps && y < self.side && x0 + out.len() <= self.side);
        let first = (map * self.side + y) * self.side + x0;
        // Bytes, not a cast slice: old writers align the data to 16 bytes only, or not at all.
        match self.number {
            Number::F4 => {
                let bytes = &self.mapped[self.data_start + 4 * first..][..4 * out.len()];
                for (value, &bytes) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *value = f32::from_le_bytes(bytes);
                }
            }
            Number::F8 => {
                let bytes = &self.mapped[self.data_start + 8 * first..][..8 * out.len()];
                for (value, &bytes) in out.iter_mut().zip(bytes.as_chunks::<8>().0) {
                    *value = f64::from_le_bytes(bytes) as f32;
                }
            }
        }
    }
}

/// The fields of a `.npy` header, as text where the text is all that an error needs.
struct Header {
    descr: String,
    fortran_order: String,
    shape_text: String,
    shape: Option<Vec<usize>>,
    data_start: usize,
}

impl Header {
    fn parse(path: &Path, file: &[u8]) -> Result<Self, DataError> {
        let format = |found: String| DataError::Format {
            path: path.to_owned(),
            found,
            accepted: ACCEPTED,
        };
        if file.is_empty() {
            return Err(format("it is empty".into()));
        }
        if !file.starts_with(b"\x93NUMPY") {
            let start = file[..file.len().min(6)].escape_ascii();
            return Err(format(format!("it begins with \"{start}\"")));
        }
        let too_short = || format("it ends within its header".into());
        let &[_, _, _, _, _, _, major, _, a, b, ..] = file else {
            return Err(too_short());
        };
        let (start, length) = match major {
            1 => (10, usize::from(u16::from_le_bytes([a, b]))),
            2 | 3 => {
                let &[c, d] = file.get(10..12).ok_or_else(too_short)? else {
                    return Err(too_short());
                };
                (12, u32::from_le_bytes([a, b, c, d]) as usize)
            }
            other => return Err(format(format!("its format version is {other}"))),
        };
        let text = file.get(start..start + length).ok_or_else(too_short)?;
        let text = String::from_utf8_lossy(text);
        let field = |name: &'static str, accepted| {
            field_text(&text, name).ok_or_else(|| DataError::Header {
                path: path.to_owned(),
                field: name,
                found: "missing".into(),
                accepted,
            })
        };
        let shape_text = field("shape", ACCEPTED_SHAPES)?;
        Ok(Self {
            descr: field("descr", "'<f4' or '<f8'")?.to_owned(),
            fortran_order: field("fortran_order", "False")?.to_owned(),
            shape: shape_of(shape_text),
            shape_text: shape_text.to_owned(),
            data_start: start + length,
        })
    }

    fn number(&self, path: &Path) -> Result<Number, DataError> {
        if self.fortran_order != "False" {
            return Err(DataError::Header {
                path: path.to_owned(),
                field: "fortran_order",
                found: self.fortran_order.clone(),
                accepted: "False (save numpy.ascontiguousarray(maps))",
            });
        }
        match self.descr.trim_matches(['\'', '"']) {
            "<f4" => Ok(Number::F4),
            "<f8" => Ok(Number::F8),
            _ => Err(DataError::Header {
                path: path.to_owned(),
                field: "descr (type of number)",
                found: self.descr.clone(),
                accepted: "'<f4' or '<f8', little-endian float32 or float64 (save \
                           maps.astype('<f4'))",
            }),
        }
    }

    fn maps_and_side(&self, path: &Path) -> Result<(usize, usize), DataError> {
        let (maps, height, width) = match *self.shape.as_deref().unwrap_or_default() {
            [h, w] => (1, h, w),
            // One channel: first or last, the pixels lie alike.
            [n, h, w] | [n, h, w, 1] | [n, 1, h, w] => (n, h, w),
            _ => return Err(self.bad_shape(path)),
        };
        if maps == 0 || height == 0 || height != width {
            return Err(self.bad_shape(path));
        }
        Ok((maps, height))
    }

    fn bad_shape(&self, path: &Path) -> DataError {
        DataError::Header {
            path: path.to_owned(),
            field: "shape",
            found: self.shape_text.clone(),
            accepted: ACCEPTED_SHAPES,
        }
    }
}

/// The text of the value of `name` in a Python dictionary literal of strings, words and flat
/// brackets, which is all that the format allows.
fn field_text<'a>(dictionary: &'a str, name: &str) -> Option<&'a str> {
    let at = ['\'', '"']
        .iter()
        .find_map(|q| dictionary.find(&format!("{q}{name}{q}")))?;
    let after_name = &dictionary[at + name.len() + 2..];
    let value = after_name.trim_start().strip_prefix(':')?.trim_start();
    let end = match value.chars().next()? {
        quote @ ('\'' | '"') => value[1..].find(quote)? + 2,
        '(' => value.find(')')? + 1,
        '[' => value.rfind(']')? + 1,
        _ => value.find([',', '}'])?,
    };
    Some(value[..end].trim_end())
}

/// `(3, 4)`, `(3,)`, `()`, and Python 2's `(3L, 4L)`.
fn shape_of(text: &str) -> Option<Vec<usize>> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?.trim();
    let inner = inner.strip_suffix(',').unwrap_or(inner);
    if inner.is_empty() {
        return Some(Vec::new());
    }
    inner
        .split(',')
        .map(|axis| axis.trim().trim_end_matches('L').parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn file(descr: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let text = format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn open(bytes: &[u8]) -> Result<NpyFile, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kappa.npy");
        fs::write(&path, bytes).unwrap();
        NpyFile::open(&path).map_err(|error| {
            let message = error.to_string();
            assert!(message.contains("kappa.npy"), "no file in: {message}");
            message
        })
    }

    #[track_caller]
    fn refuses(bytes: &[u8], words: &[&str]) {
        let message = open(bytes).expect_err("it was accepted");
        for word in words {
            assert!(message.contains(word), "no {word:?} in: {message}");
        }
    }

    #[test]
    fn unaligned_single_and_double_precision_read_the_same() {
        let values = [0.5f32, -1.25, 3.0, 0.0625];
        let single: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let double: Vec<u8> = values
            .iter()
            .flat_map(|&v| f64::from(v).to_le_bytes())
            .collect();
        for shape in ["(2, 2)", "(1, 2, 2)", "(1, 2, 2, 1)", "(1L, 1L, 2L, 2L)"] {
            for (descr, data) in [("'<f4'", &single), ("\"<f8\"", &double)] {
                let npy = open(&file(descr, "False", shape, data)).unwrap();
                assert_eq!((npy.maps(), npy.side()), (1, 2));
                let mut row = [0.0; 2];
                npy.read_row(0, 1, 0, &mut row);
                assert_eq!(row, values[2..]);
                npy.read_row(0, 0, 1, &mut row[..1]);
                assert_eq!(row[0], values[1]);
            }
        }
    }

    #[test]
    fn other_numbers_and_orders_are_refused_by_name() {
        let refused = |descr, order, words: &[&str]| {
            refuses(&file(descr, order, "(2, 2)", &[0; 32]), words);
        };
        refused("'>f4'", "False", &["'>f4'", "'<f4'"]);
        refused("'<i4'", "False", &["'<i4'", "descr"]);
        let structured = "[('k', '<f4'), ('z', '<f4')]";
        refused(structured, "False", &[structured]);
        refused("'<f4'", "True", &["fortran_order", "True"]);
    }

    #[test]
    fn shapes_without_square_one_channel_maps_are_refused() {
        let shapes = "()/(4,)/(0, 0)/(0, 2, 2)/(2, 3)/(1, 2, 2, 3)/(1, 2, -2)/(1, 1, 1, 2, 2)";
        for shape in shapes.split('/') {
            let words = ["shape", shape, "[N, H, W]"];
            refuses(&file("'<f4'", "False", shape, &[0; 16]), &words);
        }
        let huge = "(4294967296, 4294967296, 4294967296)";
        refuses(&file("'<f4'", "False", huge, &[0; 16]), &["shape", huge]);
    }

    #[test]
    fn lengths_other_than_the_headers_are_refused() {
        refuses(&file("'<f4'", "False", "(2, 2)", &[0; 15]), &["truncated"]);
        refuses(
            &file("'<f4'", "False", "(2, 2)", &[0; 20]),
            &["more than one array"],
        );
    }

    #[test]
    fn every_cut_of_a_file_is_refused_without_a_panic() {
        let whole = file("'<f4'", "False", "(2, 2)", &[0; 16]);
        for length in 0..whole.len() {
            assert!(open(&whole[..length]).is_err(), "{length} bytes");
        }
        refuses(b"", &["empty"]);
        refuses(b"SIMPLE  =", &["SIMPLE"]);
        refuses(b"\x93NUMPY\x07\x00\x00\x00", &["version is 7"]);
    }
}

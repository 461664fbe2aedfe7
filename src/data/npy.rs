//! NumPy's `.npy` files, memory-mapped: the header is read, the pixels stay on the disk until a
//! window of them is wanted. Called by [`Maps`](super::Maps).
//!
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::path::Path;

use super::error::DataError;
use super::pixels::{Layout, MAX_CHANNELS, MappedMaps, Number, Scaling, map_file};

const ACCEPTED: &str = "NumPy .npy files of format version 1, 2 or 3";
const ACCEPTED_NUMBERS: &str = "'<f2', '<f4', '<f8', '>f2', '>f4' or '>f8': float16, float32 or \
                                float64 (save maps.astype('float32'))";
const ACCEPTED_SHAPES: &str = "[H, W], [N, H, W], [N, 1, H, W], [N, H, W, C] or [N, C, H, W], \
                               with N maps, H = W pixels and C = 1 to 4 channels, no axis 0";
/// Headers of real files are some hundred bytes long.
const LONGEST_HEADER: usize = 1 << 20;

/// Maps the file at `path` and checks its header and length.
///
/// # Errors
/// A file that cannot be read, is no `.npy` file, holds other numbers than `float16`, `float32` or
/// `float64`, is not square, holds no maps, or is not exactly as long as its header says.
pub(super) fn open(path: &Path) -> Result<MappedMaps, DataError> {
    let mapped = map_file(path)?;
    let header = Header::parse(path, &mapped)?;
    let layout = header.layout(path)?;
    let expected = layout.end().ok_or_else(|| header.bad_shape(path))?;
    if expected != mapped.len() {
        return Err(DataError::Length {
            path: path.to_owned(),
            expected: expected as u64,
            found: mapped.len() as u64,
        });
    }
    Ok(MappedMaps::new(mapped, layout))
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
        if length > LONGEST_HEADER {
            return Err(format(format!("its header claims {length} bytes")));
        }
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
            descr: field("descr", ACCEPTED_NUMBERS)?.to_owned(),
            fortran_order: field("fortran_order", "True or False")?.to_owned(),
            shape: shape_of(shape_text),
            shape_text: shape_text.to_owned(),
            data_start: start + length,
        })
    }

    fn layout(&self, path: &Path) -> Result<Layout, DataError> {
        let refuse = |field, found: &str, accepted| DataError::Header {
            path: path.to_owned(),
            field,
            found: found.to_owned(),
            accepted,
        };
        let (number, big_endian) = number_of(&self.descr)
            .ok_or_else(|| refuse("descr (type of number)", &self.descr, ACCEPTED_NUMBERS))?;
        let fortran = match self.fortran_order.as_str() {
            "False" => false,
            "True" => true,
            other => return Err(refuse("fortran_order", other, "True or False")),
        };
        let shape = self.shape.as_deref().unwrap_or_default();
        let axes = Axes::of(shape).ok_or_else(|| self.bad_shape(path))?;
        let strides = strides(shape, fortran).ok_or_else(|| self.bad_shape(path))?;
        let along = |axis: Option<usize>, of: &[usize], missing| axis.map_or(missing, |a| of[a]);
        Ok(Layout {
            start: self.data_start,
            number,
            big_endian,
            scaling: Scaling::NONE,
            maps: along(axes.map, shape, 1),
            side: shape[axes.row],
            channels: along(axes.channel, shape, 1),
            strides: [
                along(axes.map, &strides, 0),
                strides[axes.row],
                strides[axes.column],
                along(axes.channel, &strides, 1),
            ],
        })
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

/// The format and whether it is big-endian, from text such as `'<f4'`.
fn number_of(descr: &str) -> Option<(Number, bool)> {
    let name = descr.trim_matches(['\'', '"']);
    let big_endian = match name.get(..1)? {
        "<" => false,
        ">" => true,
        _ => return None,
    };
    let number = match &name[1..] {
        "f2" => Number::F16,
        "f4" => Number::F32,
        "f8" => Number::F64,
        _ => return None,
    };
    Some((number, big_endian))
}

/// Which axis of an array is which.
struct Axes {
    map: Option<usize>,
    row: usize,
    column: usize,
    channel: Option<usize>,
}

impl Axes {
    /// `None` where the maps are not square, an axis is 0, or channels first and channels last
    /// are both possible.
    fn of(shape: &[usize]) -> Option<Self> {
        if shape.contains(&0) {
            return None;
        }
        let (map, row, column, channel) = match *shape {
            [h, w] if h == w => (None, 0, 1, None),
            [_, h, w] if h == w => (Some(0), 1, 2, None),
            [_, a, b, c] => {
                let last = a == b && c <= MAX_CHANNELS;
                let first = b == c && a <= MAX_CHANNELS;
                match (first, last) {
                    (false, true) => (Some(0), 1, 2, Some(3)),
                    (true, false) => (Some(0), 2, 3, Some(1)),
                    (true, true) if c == 1 => (Some(0), 1, 2, Some(3)),
                    _ => return None,
                }
            }
            _ => return None,
        };
        Some(Self {
            map,
            row,
            column,
            channel,
        })
    }
}

/// Numbers from one entry to the next along each axis; `None` where there are more numbers than
/// memory has bytes.
fn strides(shape: &[usize], fortran: bool) -> Option<Vec<usize>> {
    let mut strides = vec![0; shape.len()];
    let mut step = 1_usize;
    let mut set = |axis: usize| {
        strides[axis] = step;
        step = step.checked_mul(shape[axis])?;
        Some(())
    };
    if fortran {
        (0..shape.len()).try_for_each(&mut set)?;
    } else {
        (0..shape.len()).rev().try_for_each(&mut set)?;
    }
    Some(strides)
}

/// The text of the value of `name` in a Python dictionary literal of strings, words and flat
/// brackets, which is all that the format allows.
fn field_text<'a>(dictionary: &'a str, name: &str) -> Option<&'a str> {
    // A field of a structured type may have the same name, but no colon behind it.
    let value = ['\'', '"'].iter().find_map(|q| {
        let quoted = format!("{q}{name}{q}");
        dictionary.match_indices(&quoted).find_map(|(at, _)| {
            let after_name = &dictionary[at + quoted.len()..];
            after_name.trim_start().strip_prefix(':')
        })
    })?;
    let value = value.trim_start();
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

    fn open_bytes(bytes: &[u8]) -> Result<MappedMaps, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kappa.npy");
        fs::write(&path, bytes).unwrap();
        open(&path).map_err(|error| {
            let message = error.to_string();
            assert!(message.contains("kappa.npy"), "no file in: {message}");
            message
        })
    }

    #[track_caller]
    fn refuses(bytes: &[u8], words: &[&str]) {
        let message = open_bytes(bytes).expect_err("it was accepted");
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
                let npy = open_bytes(&file(descr, "False", shape, data)).unwrap();
                assert_eq!((npy.maps(), npy.side()), (1, 2));
                let mut row = [0.0; 2];
                npy.read(0, [1, 0], [1, 2], &mut row);
                assert_eq!(row, values[2..]);
                npy.read(0, [0, 1], [1, 1], &mut row[..1]);
                assert_eq!(row[0], values[1]);
            }
        }
    }

    #[test]
    fn other_numbers_are_refused_by_name() {
        let refused = |descr, order, words: &[&str]| {
            refuses(&file(descr, order, "(2, 2)", &[0; 32]), words);
        };
        refused("'|f4'", "False", &["'|f4'", "'<f4'"]);
        refused("'<i4'", "False", &["'<i4'", "descr"]);
        let structured = "[('k', '<f4'), ('z', '<f4')]";
        refused(structured, "False", &[structured]);
        refused("'|O'", "False", &["'|O'", "descr"]);
        let named_like_keys = "[('shape', '<f4'), ('fortran_order', '<f4')]";
        refused(named_like_keys, "False", &[named_like_keys]);
        refused("'<f4'", "Maybe", &["fortran_order", "Maybe"]);
    }

    #[test]
    fn shapes_without_square_maps_are_refused() {
        let shapes = "()/(4,)/(0, 0)/(0, 2, 2)/(2, 3)/(1, 2, 2, 5)/(5, 2, 2, 2)/(1, 3, 2, 2, 1)/(1, 2, -2)/(1, 1, 1, 2, 2)";
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
            assert!(open_bytes(&whole[..length]).is_err(), "{length} bytes");
        }
        refuses(b"", &["empty"]);
        refuses(b"SIMPLE  =", &["SIMPLE"]);
        refuses(b"\x93NUMPY\x07\x00\x00\x00", &["version is 7"]);
    }
}

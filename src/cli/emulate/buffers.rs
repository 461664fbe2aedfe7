//! Buffers of a kernel as they stand on the command line, and their files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use half::{bf16, f16};
use ndarray_npy::npy::header::Header;

use cosmogan::emulator::{Buffer, Device};
use cosmogan::files::write_atomic;

/// What a buffer holds: a name for users, the type in a `.npy` header, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Number {
    name: &'static str,
    descr: &'static str,
    bytes: usize,
}

const fn number(name: &'static str, descr: &'static str, bytes: usize) -> Number {
    Number { name, descr, bytes }
}

/// bf16 has no type in `.npy`: it is stored as float32.
const BF16: Number = number("bf16", "<f4", 2);
const F16: Number = number("f16", "<f2", 2);
const F32: Number = number("f32", "<f4", 4);
const F64: Number = number("f64", "<f8", 8);

const NUMBERS: [Number; 12] = [
    F32,
    F64,
    F16,
    BF16,
    number("i8", "|i1", 1),
    number("u8", "|u1", 1),
    number("i16", "<i2", 2),
    number("u16", "<u2", 2),
    number("i32", "<i4", 4),
    number("u32", "<u4", 4),
    number("i64", "<i8", 8),
    number("u64", "<u8", 8),
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Use {
    In {
        file: PathBuf,
        convert: Option<Number>,
    },
    InOut {
        file: PathBuf,
        out: PathBuf,
    },
    Out {
        number: Number,
        shape: Vec<usize>,
        out: PathBuf,
    },
}

/// One `--buffer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferOption {
    pub name: String,
    how: Use,
}

/// Parses `x=in:x.npy:bf16`, `p=inout:p.npy:q.npy`, `y=out:f32[2,3]:y.npy`.
pub fn buffer(text: &str) -> Result<BufferOption, String> {
    let wanted = || {
        format!("'{text}' is not NAME=in:FILE, NAME=inout:FILE:FILE or NAME=out:TYPE[SHAPE]:FILE")
    };
    let (name, rest) = text.split_once('=').ok_or_else(wanted)?;
    let (how, rest) = rest.split_once(':').ok_or_else(wanted)?;
    let how = match how {
        "in" => {
            let converted = [BF16, F16].into_iter().find_map(|number| {
                let file = rest.strip_suffix(number.name)?.strip_suffix(':')?;
                Some((file, number))
            });
            let (file, convert) = match converted {
                Some((file, number)) => (file, Some(number)),
                None => (rest, None),
            };
            Use::In {
                file: file.into(),
                convert,
            }
        }
        "inout" => {
            let (file, out) = rest.rsplit_once(':').ok_or_else(wanted)?;
            Use::InOut {
                file: file.into(),
                out: out.into(),
            }
        }
        "out" => {
            let (ty, out) = rest.split_once(':').ok_or_else(wanted)?;
            let (number, shape) = shaped(ty)?;
            Use::Out {
                number,
                shape,
                out: out.into(),
            }
        }
        _ => return Err(wanted()),
    };
    Ok(BufferOption {
        name: name.to_owned(),
        how,
    })
}

fn shaped(text: &str) -> Result<(Number, Vec<usize>), String> {
    let bad = || format!("'{text}' is not TYPE[SHAPE], such as f32[2,8]");
    let (name, shape) = text.split_once('[').ok_or_else(bad)?;
    let shape = shape.strip_suffix(']').ok_or_else(bad)?;
    let number = NUMBERS
        .into_iter()
        .find(|number| number.name == name)
        .ok_or_else(|| {
            let names: Vec<_> = NUMBERS.iter().map(|number| number.name).collect();
            format!("'{name}' is no type; known are {}", names.join(", "))
        })?;
    let shape: Vec<usize> = shape
        .split(',')
        .map(|length| length.trim().parse().map_err(|_| bad()))
        .collect::<Result<_, _>>()?;
    let bytes = shape
        .iter()
        .try_fold(number.bytes, |all, &length| all.checked_mul(length));
    if bytes.is_none() {
        return Err(format!("{shape:?} has more elements than memory can hold"));
    }
    Ok((number, shape))
}

impl BufferOption {
    /// Makes the buffer and fills it from its file.
    ///
    /// # Errors
    /// A file that cannot be read or is no `.npy` file of a known type, or a size beyond the
    /// device's.
    pub fn make(&self, device: &mut Device) -> Result<Buffer> {
        let bytes = match &self.how {
            Use::Out { number, shape, .. } => {
                let bytes = number.bytes * shape.iter().product::<usize>();
                return Ok(device.allocate(&self.name, bytes)?);
            }
            Use::InOut { file, .. } => read(file)?.1,
            Use::In { file, convert } => {
                let (Array { number, .. }, bytes) = read(file)?;
                match convert {
                    None => bytes,
                    Some(to) => converted(file, number, &bytes, *to)?,
                }
            }
        };
        let buffer = device.allocate(&self.name, bytes.len())?;
        device.upload(buffer, 0, &bytes)?;
        Ok(buffer)
    }

    /// Writes the buffer to its file, if it has one to write.
    ///
    /// # Errors
    /// Those of reading the header of the input and of writing.
    pub fn write(&self, device: &Device, buffer: Buffer) -> Result<()> {
        let (number, shape, out) = match &self.how {
            Use::In { .. } => return Ok(()),
            Use::InOut { file, out } => {
                let (Array { number, shape }, _) = read(file)?;
                (number, shape, out)
            }
            Use::Out { number, shape, out } => (*number, shape.clone(), out),
        };
        let mut bytes = device.download_vec::<u8>(buffer)?;
        if number == BF16 {
            let (halves, _) = bytes.as_chunks::<2>();
            bytes = halves
                .iter()
                .flat_map(|&half| bf16::from_le_bytes(half).to_f32().to_le_bytes())
                .collect();
        }
        write_atomic(out, |file| {
            file.write_all(&header(number.descr, &shape))?;
            file.write_all(&bytes)
        })
        .with_context(|| format!("cannot write {}", out.display()))
    }
}

struct Array {
    number: Number,
    shape: Vec<usize>,
}

/// Type, shape and data of a `.npy` file.
fn read(path: &Path) -> Result<(Array, Vec<u8>)> {
    let file = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut rest = file.as_slice();
    let header = Header::from_reader(&mut rest)
        .with_context(|| format!("{} is no .npy file", path.display()))?;
    let descr = header.type_descriptor.to_string();
    let descr = descr.trim_matches(['\'', '"']);
    let Some(number) = NUMBERS
        .into_iter()
        .find(|number| number.descr == descr && *number != BF16)
    else {
        bail!(
            "{} holds numbers of type '{descr}'; wanted are little-endian floats of 2, 4 or 8 bytes \
             or integers of 1, 2, 4 or 8",
            path.display()
        );
    };
    if header.layout.is_fortran() {
        bail!(
            "{} is in Fortran order; save numpy.ascontiguousarray(x)",
            path.display()
        );
    }
    let expected = header
        .shape
        .iter()
        .try_fold(number.bytes, |all, &length| all.checked_mul(length));
    if expected != Some(rest.len()) {
        bail!(
            "{} holds {} bytes of data, which do not make shape {:?}",
            path.display(),
            rest.len(),
            header.shape
        );
    }
    let array = Array {
        number,
        shape: header.shape,
    };
    Ok((array, rest.to_vec()))
}

fn converted(path: &Path, from: Number, bytes: &[u8], to: Number) -> Result<Vec<u8>> {
    let values: Vec<f64> = match from {
        F32 => (bytes.as_chunks::<4>().0.iter())
            .map(|&value| f32::from_le_bytes(value).into())
            .collect(),
        F64 => (bytes.as_chunks::<8>().0.iter())
            .map(|&value| f64::from_le_bytes(value))
            .collect(),
        _ => bail!(
            "{} holds {}; only f32 and f64 are converted to {}",
            path.display(),
            from.name,
            to.name
        ),
    };
    let bits = |value: f64| {
        if to == BF16 {
            bf16::from_f64(value).to_bits()
        } else {
            f16::from_f64(value).to_bits()
        }
    };
    Ok(values
        .into_iter()
        .flat_map(|value| bits(value).to_le_bytes())
        .collect())
}

/// The header of a `.npy` file of format version 1, padded so that the data are aligned to 64
/// bytes.
fn header(descr: &str, shape: &[usize]) -> Vec<u8> {
    const FIXED: usize = 10;
    let shape: String = shape.iter().map(|length| format!("{length}, ")).collect();
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    let padding = 63 - (FIXED + text.len()) % 64;
    text.extend(std::iter::repeat_n(' ', padding));
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use cosmogan::emulator::Profile;
    use ndarray::{Array2, array};
    use ndarray_npy::{ReadNpyExt, read_npy, write_npy};

    #[test]
    fn a_buffer_goes_through_the_device_and_back_into_a_file_of_its_type() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("p.npy"), folder.path().join("q.npy"));
        let values = array![[1u16, 2, 3], [65_535, 0, 7]];
        write_npy(&from, &values).unwrap();
        let text = format!("p=inout:{}:{}", from.display(), to.display());
        let option = buffer(&text).unwrap();
        let mut device = Device::new(Profile::SM_80);
        let made = option.make(&mut device).unwrap();
        option.write(&device, made).unwrap();
        assert_eq!(read_npy::<_, Array2<u16>>(&to).unwrap(), values);
    }

    #[test]
    fn bf16_goes_in_and_comes_out_as_float32() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("x.npy"), folder.path().join("y.npy"));
        write_npy(&from, &array![[1.0f32, 3.140_625, -1e30]]).unwrap();
        let mut device = Device::new(Profile::SM_80);
        let input = buffer(&format!("x=in:{}:bf16", from.display())).unwrap();
        let x = input.make(&mut device).unwrap();
        let bits = device.download_vec::<u16>(x).unwrap();
        assert_eq!(bits[..2], [0x3f80, 0x4049]);
        let output = buffer(&format!("y=out:bf16[1,3]:{}", to.display())).unwrap();
        let y = output.make(&mut device).unwrap();
        assert!(!device.is_written(y, 0, 6).unwrap());
        device.upload_slice(y, &bits).unwrap();
        output.write(&device, y).unwrap();
        let back = Array2::<f32>::read_npy(fs::File::open(&to).unwrap()).unwrap();
        assert_eq!(back[[0, 1]], 3.140_625);
    }

    #[test]
    fn what_is_no_buffer_is_refused_in_words() {
        for (text, word) in [
            ("x", "is not NAME="),
            ("x=out:f33[2]:y.npy", "'f33' is no type"),
            ("x=out:f32:y.npy", "is not TYPE[SHAPE]"),
            ("x=out:f32[9999999999,9999999999,9]:y.npy", "more elements"),
            ("x=inout:a.npy", "is not NAME="),
        ] {
            let error = buffer(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}

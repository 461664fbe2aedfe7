//! Writing float32 `.npy` files piece by piece, so that a set of maps need not be in memory whole.

use std::io::{self, Write};

/// Writes the header of a little-endian float32 array of `shape`, two axes or more, in C order; the
/// pixels follow.
///
/// # Errors
/// Those of writing.
pub fn write_npy_header(file: &mut impl Write, shape: impl AsRef<[usize]>) -> io::Result<()> {
    let axes: Vec<String> = shape.as_ref().iter().map(usize::to_string).collect();
    let shape = axes.join(", ");
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    // The format wants the data aligned to 64 bytes, and a newline before them.
    const FIXED: usize = 10;
    let padding = 63 - (FIXED + text.len()) % 64;
    text.extend(std::iter::repeat_n(' ', padding));
    text.push('\n');
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&(text.len() as u16).to_le_bytes())?;
    file.write_all(text.as_bytes())
}

/// Appends pixels.
///
/// # Errors
/// Those of writing.
pub fn write_npy_pixels(file: &mut impl Write, pixels: &[f32]) -> io::Result<()> {
    let mut bytes = [0; 4096];
    for chunk in pixels.chunks(bytes.len() / 4) {
        for (slot, pixel) in bytes.chunks_exact_mut(4).zip(chunk) {
            slot.copy_from_slice(&pixel.to_le_bytes());
        }
        file.write_all(&bytes[..4 * chunk.len()])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;
    use ndarray_npy::ReadNpyExt;

    #[test]
    fn another_reader_finds_the_same_pixels_at_an_aligned_offset() {
        for shape in [[1, 2, 3], [10, 33, 41], [1, 1, 2000]] {
            let length = shape.iter().product();
            let pixels: Vec<f32> = (0..length).map(|i| i as f32 * 0.37 - 5.0).collect();
            let mut bytes = Vec::new();
            write_npy_header(&mut bytes, shape).unwrap();
            assert_eq!(bytes.len() % 64, 0);
            write_npy_pixels(&mut bytes, &pixels).unwrap();
            let read = Array3::<f32>::read_npy(bytes.as_slice()).unwrap();
            assert_eq!(read.shape(), shape);
            assert_eq!(read.as_slice().unwrap(), pixels);
        }
    }
}

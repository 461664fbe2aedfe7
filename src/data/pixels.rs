//! Pixels of square maps in a memory-mapped file, whatever their number format and the order of
//! their axes: [`npy`](super::npy) and [`fits`](super::fits) say how they lie, this reads windows.

use std::fs::File;
use std::path::Path;

use half::f16;
use memmap2::Mmap;

use super::error::DataError;

/// The most channels of a map.
pub(super) const MAX_CHANNELS: usize = 4;

/// How one number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    F16,
    F32,
    F64,
    I16,
    I32,
}

impl Number {
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::I16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 => 8,
        }
    }
}

/// From what is stored to a physical value: `zero + scale * stored`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scaling {
    pub scale: f64,
    pub zero: f64,
    /// The stored integer that stands for "no value".
    pub blank: Option<i64>,
}

impl Scaling {
    pub const NONE: Self = Self {
        scale: 1.0,
        zero: 0.0,
        blank: None,
    };

    fn of_float(&self, stored: f64) -> f64 {
        self.zero + self.scale * stored
    }

    fn of_integer(&self, stored: i32) -> f64 {
        if self.blank == Some(i64::from(stored)) {
            f64::NAN
        } else {
            self.of_float(f64::from(stored))
        }
    }
}

/// What pixels are read as: float32, or float64 where statistics are not to lose digits.
pub(super) trait Pixel: Copy {
    fn of_f32(value: f32) -> Self;
    fn of_f64(value: f64) -> Self;
}

impl Pixel for f32 {
    fn of_f32(value: f32) -> Self {
        value
    }

    fn of_f64(value: f64) -> Self {
        value as f32
    }
}

impl Pixel for f64 {
    fn of_f32(value: f32) -> Self {
        f64::from(value)
    }

    fn of_f64(value: f64) -> Self {
        value
    }
}

/// How the pixels of a file lie.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    /// The first byte of the first pixel.
    pub start: usize,
    pub number: Number,
    pub big_endian: bool,
    pub scaling: Scaling,
    pub maps: usize,
    /// The side of each map in pixels.
    pub side: usize,
    pub channels: usize,
    /// Numbers from one map, row, column and channel to the next.
    pub strides: [usize; 4],
}

impl Layout {
    /// Where the pixels end; `None` beyond all memory.
    pub fn end(&self) -> Option<usize> {
        [self.side, self.side, self.channels, self.number.bytes()]
            .into_iter()
            .try_fold(self.maps, usize::checked_mul)?
            .checked_add(self.start)
    }

    /// Whether the pixels of one row lie one after the other.
    fn rows_are_runs(&self) -> bool {
        let [_, _, column, channel] = self.strides;
        column == self.channels && (channel == 1 || self.channels == 1)
    }

    /// Whether neighbouring pixels of a map lie so far apart that each is on a page of its own.
    #[cfg(unix)]
    fn is_scattered(&self) -> bool {
        const PAGE: usize = 4096;
        let [_, row, column, _] = self.strides;
        row.min(column) * self.number.bytes() >= PAGE
    }
}

/// Opens and maps the file at `path`.
///
/// # Errors
/// The file cannot be opened or mapped.
pub(super) fn map_file(path: &Path) -> Result<Mmap, DataError> {
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
    // SAFETY: read-only, owned by the caller, of a file assumed not to change while open.
    unsafe { Mmap::map(&file) }.map_err(io("map"))
}

/// A memory-mapped file of maps `[maps, side, side, channels]`, whatever the order on the disk.
#[derive(Debug)]
pub(super) struct MappedMaps {
    mapped: Mmap,
    layout: Layout,
}

impl MappedMaps {
    /// Pixels of `mapped`, which the caller has found to hold all of `layout`.
    ///
    /// # Panics
    /// Where the file ends before its pixels do.
    pub fn new(mapped: Mmap, layout: Layout) -> Self {
        assert!(layout.end().is_some_and(|end| end <= mapped.len()));
        #[cfg(unix)]
        if layout.is_scattered() {
            // Advice only: without it the system would read many pages around each pixel.
            let _ = mapped.advise(memmap2::Advice::Random);
        }
        Self { mapped, layout }
    }

    /// The number of maps, at least 1.
    pub fn maps(&self) -> usize {
        self.layout.maps
    }

    /// The side of each map in pixels, at least 1.
    pub fn side(&self) -> usize {
        self.layout.side
    }

    /// Numbers of each pixel, 1 to [`MAX_CHANNELS`].
    pub fn channels(&self) -> usize {
        self.layout.channels
    }

    /// Copies pixels `[y0..y0 + h, x0..x0 + w]` of `map` into `out` `[h, w, channels]`.
    ///
    /// # Panics
    /// Outside of the map, or where `out` has another length.
    pub fn read<T: Pixel>(
        &self,
        map: usize,
        [y0, x0]: [usize; 2],
        [h, w]: [usize; 2],
        out: &mut [T],
    ) {
        let (side, scaling) = (self.layout.side, self.layout.scaling);
        assert!(map < self.layout.maps, "map {map} of {}", self.layout.maps);
        assert!(h <= side && w <= side && y0 <= side - h && x0 <= side - w);
        assert_eq!(out.len(), h * w * self.layout.channels);
        let rectangle = (map, [y0, x0], [h, w]);
        let big = self.layout.big_endian;
        match (self.layout.number, scaling == Scaling::NONE) {
            (Number::F16, _) => self.copy(rectangle, out, |b: [u8; 2]| {
                let bits = ordered(big, b, u16::from_be_bytes, u16::from_le_bytes);
                T::of_f32(f16::from_bits(bits).to_f32())
            }),
            (Number::F32, true) => self.copy(rectangle, out, |b: [u8; 4]| {
                T::of_f32(ordered(big, b, f32::from_be_bytes, f32::from_le_bytes))
            }),
            (Number::F32, false) => self.copy(rectangle, out, |b: [u8; 4]| {
                let stored = ordered(big, b, f32::from_be_bytes, f32::from_le_bytes);
                T::of_f64(scaling.of_float(f64::from(stored)))
            }),
            (Number::F64, true) => self.copy(rectangle, out, |b: [u8; 8]| {
                T::of_f64(ordered(big, b, f64::from_be_bytes, f64::from_le_bytes))
            }),
            (Number::F64, false) => self.copy(rectangle, out, |b: [u8; 8]| {
                let stored = ordered(big, b, f64::from_be_bytes, f64::from_le_bytes);
                T::of_f64(scaling.of_float(stored))
            }),
            (Number::I16, _) => self.copy(rectangle, out, |b: [u8; 2]| {
                let stored = ordered(big, b, i16::from_be_bytes, i16::from_le_bytes);
                T::of_f64(scaling.of_integer(i32::from(stored)))
            }),
            (Number::I32, _) => self.copy(rectangle, out, |b: [u8; 4]| {
                let stored = ordered(big, b, i32::from_be_bytes, i32::from_le_bytes);
                T::of_f64(scaling.of_integer(stored))
            }),
        }
    }

    fn copy<T: Pixel, const BYTES: usize>(
        &self,
        (map, [y0, x0], [h, w]): (usize, [usize; 2], [usize; 2]),
        out: &mut [T],
        decode: impl Fn([u8; BYTES]) -> T,
    ) {
        // Bytes, not a cast slice: old writers align the data to 16 bytes only, or not at all.
        let numbers = self.mapped[self.layout.start..].as_chunks::<BYTES>().0;
        let channels = self.layout.channels;
        let [map_stride, row, column, channel] = self.layout.strides;
        let first = map * map_stride + y0 * row + x0 * column;
        if h * w == 0 {
            return;
        }
        if self.layout.rows_are_runs() {
            for (y, out) in out.chunks_exact_mut(w * channels).enumerate() {
                let run = &numbers[first + y * row..][..out.len()];
                for (value, &bytes) in out.iter_mut().zip(run) {
                    *value = decode(bytes);
                }
            }
            return;
        }
        // The inner loop follows the shorter stride, so that each page is met once.
        let columns_inside = column <= row;
        let (outer, inner) = if columns_inside { (h, w) } else { (w, h) };
        for i in 0..outer {
            for j in 0..inner {
                let (y, x) = if columns_inside { (i, j) } else { (j, i) };
                let pixel = first + y * row + x * column;
                let out = &mut out[(y * w + x) * channels..][..channels];
                for (c, value) in out.iter_mut().enumerate() {
                    *value = decode(numbers[pixel + c * channel]);
                }
            }
        }
    }
}

fn ordered<B, T>(big_endian: bool, bytes: B, big: impl Fn(B) -> T, little: impl Fn(B) -> T) -> T {
    if big_endian {
        big(bytes)
    } else {
        little(bytes)
    }
}

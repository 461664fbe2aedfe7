//! The transforms of tiles and filters, over channels.

use super::super::windows::transpose;
use super::slots::{COMPONENTS, SLOTS, Slots};
use crate::backend::cpu::meter::count_moved;
use crate::backend::cpu::scalar::{Scalar, vectorised};
use crate::model::StridedLayer;
use rayon::prelude::*;

/// Channels that are transformed at a time.
const LANES: usize = 16;

/// A value of each of [`LANES`] channels.
type Lanes<T, const L: usize> = [T; L];

// Loops where `array::from_fn` would read better: what is called within [`vectorised`] must be inlined
// whole, or it is compiled for the narrowest vectors, and closures given to functions of the standard
// library are not always.
#[inline(always)]
fn add<T: Scalar, const L: usize>(mut a: Lanes<T, L>, b: Lanes<T, L>) -> Lanes<T, L> {
    for i in 0..L {
        a[i] += b[i];
    }
    a
}

#[inline(always)]
fn sub<T: Scalar, const L: usize>(mut a: Lanes<T, L>, b: Lanes<T, L>) -> Lanes<T, L> {
    for i in 0..L {
        a[i] -= b[i];
    }
    a
}

#[inline(always)]
fn negative<T: Scalar, const L: usize>(mut a: Lanes<T, L>) -> Lanes<T, L> {
    for value in &mut a {
        *value = -*value;
    }
    a
}

#[inline(always)]
fn load<T: Scalar, const L: usize>(from: &[T], at: usize) -> Lanes<T, L> {
    let mut lanes = [T::zero(); L];
    lanes.copy_from_slice(&from[at..at + L]);
    lanes
}

/// B^T x.
#[inline(always)]
fn input_line<T: Scalar, const L: usize>(x: [Lanes<T, L>; 4]) -> [Lanes<T, L>; 4] {
    [
        sub(x[0], x[2]),
        add(x[1], x[2]),
        sub(x[2], x[1]),
        sub(x[1], x[3]),
    ]
}

/// B^T x B of four rows of four.
#[inline(always)]
fn input_of<T: Scalar, const L: usize>(mut x: [Lanes<T, L>; 16]) -> [Lanes<T, L>; 16] {
    for k in 0..4 {
        let column = input_line([x[k], x[4 + k], x[8 + k], x[12 + k]]);
        for i in 0..4 {
            x[4 * i + k] = column[i];
        }
    }
    for i in 0..4 {
        let row = input_line([x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]]);
        x[4 * i..4 * i + 4].copy_from_slice(&row);
    }
    x
}

/// A^T m.
#[inline(always)]
fn output_line<T: Scalar, const L: usize>(m: [Lanes<T, L>; 4]) -> [Lanes<T, L>; 2] {
    [add(add(m[0], m[1]), m[2]), sub(sub(m[1], m[2]), m[3])]
}

/// A^T m A: the four outputs, row by row.
#[inline(always)]
fn output_of<T: Scalar, const L: usize>(m: [Lanes<T, L>; 16]) -> [Lanes<T, L>; 4] {
    let mut halves = [[[T::zero(); L]; 4]; 2];
    for k in 0..4 {
        let [top, bottom] = output_line([m[k], m[4 + k], m[8 + k], m[12 + k]]);
        halves[0][k] = top;
        halves[1][k] = bottom;
    }
    let (top, bottom) = (output_line(halves[0]), output_line(halves[1]));
    [top[0], top[1], bottom[0], bottom[1]]
}

/// A y.
#[inline(always)]
fn gradient_line<T: Scalar, const L: usize>(a: Lanes<T, L>, b: Lanes<T, L>) -> [Lanes<T, L>; 4] {
    [a, add(a, b), sub(a, b), negative(b)]
}

/// A y A^T: the components of four output gradients.
#[inline(always)]
fn gradient_of<T: Scalar, const L: usize>(y: [Lanes<T, L>; 4]) -> [Lanes<T, L>; 16] {
    let (left, right) = (gradient_line(y[0], y[2]), gradient_line(y[1], y[3]));
    let mut components = [[T::zero(); L]; 16];
    for i in 0..4 {
        components[4 * i..4 * i + 4].copy_from_slice(&gradient_line(left[i], right[i]));
    }
    components
}

/// Runs `work` for each block of channels: of [`LANES`], then one by one.
macro_rules! over_channels {
    ($channels:expr, $at:ident, $lanes:ident, $work:block) => {
        let channels = $channels;
        let mut $at = 0;
        while $at + LANES <= channels {
            const $lanes: usize = LANES;
            $work
            $at += LANES;
        }
        while $at < channels {
            const $lanes: usize = 1;
            $work
            $at += 1;
        }
    };
}

/// A plane `[sides, sides, channels]`, whose every `step`-th pixel from `first` (row, column) on makes a
/// plane of `side` pixels a side.
#[derive(Clone, Copy)]
pub struct Phase<'a, T> {
    pub plane: &'a [T],
    pub side: usize,
    pub channels: usize,
    pub step: usize,
    pub first: [usize; 2],
}

impl<'a, T: Scalar> Phase<'a, T> {
    /// Pixel (`y`, `x`), if there is one.
    #[inline(always)]
    fn pixel(&self, y: usize, x: usize) -> Option<&'a [T]> {
        if y >= self.side || x >= self.side {
            return None;
        }
        let (y, x) = (self.step * y + self.first[0], self.step * x + self.first[1]);
        let at = (y * self.step * self.side + x) * self.channels;
        Some(&self.plane[at..at + self.channels])
    }

    /// The 2x2 pixels of a tile, `zeros` for those that are not there.
    #[inline(always)]
    pub fn tile(&self, row: usize, column: usize, zeros: &'a [T]) -> [&'a [T]; 4] {
        let mut pixels = [zeros; 4];
        for (k, pixel) in pixels.iter_mut().enumerate() {
            if let Some(values) = self.pixel(2 * row + k / 2, 2 * column + k % 2) {
                *pixel = values;
            }
        }
        pixels
    }

    /// The 4x4 pixels around a tile: from one before it to one behind it.
    #[inline(always)]
    pub fn patch(&self, row: usize, column: usize, zeros: &'a [T]) -> [&'a [T]; 16] {
        let mut pixels = [zeros; 16];
        for (k, pixel) in pixels.iter_mut().enumerate() {
            // Row -1 and column -1 wrap round to what no plane has.
            let (y, x) = (
                (2 * row + k / 4).wrapping_sub(1),
                (2 * column + k % 4).wrapping_sub(1),
            );
            if let Some(values) = self.pixel(y, x) {
                *pixel = values;
            }
        }
        pixels
    }
}

/// B^T x B of a tile: `patch` are the 4x4 pixels `[channels]` around it, `out` is
/// `[.., channels]`, and component c goes to `places[c]`.
#[inline(always)]
pub fn input<T: Scalar>(
    patch: &[&[T]; 16],
    places: &[Option<usize>; COMPONENTS],
    channels: usize,
    out: &mut [T],
) {
    over_channels!(channels, at, L, {
        let mut x = [[T::zero(); L]; 16];
        for k in 0..16 {
            x[k] = load(patch[k], at);
        }
        let components = input_of(x);
        for c in 0..COMPONENTS {
            if let Some(place) = places[c] {
                out[place * channels + at..][..L].copy_from_slice(&components[c]);
            }
        }
    });
}

/// A y A^T of 2x2 pixels `[channels]`, to the places of `out [.., channels]`.
#[inline(always)]
pub fn gradient<T: Scalar>(
    pixels: &[&[T]; 4],
    places: &[Option<usize>; COMPONENTS],
    channels: usize,
    out: &mut [T],
) {
    over_channels!(channels, at, L, {
        let mut y = [[T::zero(); L]; 4];
        for k in 0..4 {
            y[k] = load(pixels[k], at);
        }
        let components = gradient_of(y);
        for c in 0..COMPONENTS {
            if let Some(place) = places[c] {
                out[place * channels + at..][..L].copy_from_slice(&components[c]);
            }
        }
    });
}

/// A^T m A of 4x4 components `[channels]` (those that are `None` are zero) plus `bias`, given to `put`:
/// number of the output (0..4), first channel, values.
#[inline(always)]
pub fn output<T: Scalar>(
    components: &[Option<&[T]>; COMPONENTS],
    bias: Option<&[T]>,
    channels: usize,
    mut put: impl FnMut(usize, usize, &[T]),
) {
    over_channels!(channels, at, L, {
        let mut m = [[T::zero(); L]; 16];
        for k in 0..16 {
            if let Some(values) = components[k] {
                m[k] = load(values, at);
            }
        }
        for (k, mut values) in output_of(m).into_iter().enumerate() {
            if let Some(bias) = bias {
                values = add(values, load(bias, at));
            }
            put(k, at, &values);
        }
    });
}

/// Weights of the coefficients in component `i`.
fn coefficients<T: Scalar>(i: usize) -> [T; 3] {
    let half = T::of(0.5);
    match i {
        0 => [T::one(), T::zero(), T::zero()],
        1 => [half; 3],
        2 => [half, -half, half],
        _ => [T::zero(), T::zero(), T::one()],
    }
}

/// G g G^T of all filters: `weights [5, 5, c_big, c_small]` to `out [49, c_big, c_small]`.
pub fn filters<T: Scalar>(layer: &StridedLayer, slots: &Slots, weights: &[T], out: &mut [T]) {
    let len = layer.c_big * layer.c_small;
    out.par_chunks_mut(len)
        .enumerate()
        .for_each(|(place, out)| {
            let slot = slots.all[place];
            let [rows, columns] = slot.component.map(coefficients::<T>);
            let mut first = true;
            for (row, column) in (0..9).map(|k| (k / 3, k % 3)) {
                let factor = rows[row] * columns[column];
                let Some(tap) = slots.taps(slot.parity, row, column) else {
                    continue;
                };
                if factor == T::zero() {
                    continue;
                }
                let from = &weights[tap * len..][..len];
                count_moved(if first { 2 * len } else { 3 * len });
                vectorised(|| match first {
                    true => out.iter_mut().zip(from).for_each(|(u, &w)| *u = factor * w),
                    false => out
                        .iter_mut()
                        .zip(from)
                        .for_each(|(u, &w)| *u += factor * w),
                });
                first = false;
            }
        });
}

/// [`filters`] with channels exchanged, `out [49, c_small, c_big]`; `plain` holds [`filters`].
pub fn filters_transposed<T: Scalar>(layer: &StridedLayer, plain: &[T], out: &mut [T]) {
    let (c_big, c_small) = (layer.c_big, layer.c_small);
    out.par_chunks_mut(c_big * c_small)
        .zip(plain.par_chunks(c_big * c_small))
        .for_each(|(out, plain)| transpose((plain, c_small), c_big, c_small, out));
}

/// G^T w G of the gradients of all components `[49, c_big, c_small]`: the gradient of the filters
/// `[5, 5, c_big, c_small]`, set or added to.
pub fn filter_gradient<T: Scalar>(
    layer: &StridedLayer,
    slots: &Slots,
    components: &[T],
    gradient: &mut [T],
    add: bool,
) {
    let len = layer.c_big * layer.c_small;
    let mut sources = [const { Vec::new() }; StridedLayer::TAPS * StridedLayer::TAPS];
    for (place, slot) in slots.all.iter().enumerate() {
        let [rows, columns] = slot.component.map(coefficients::<T>);
        for (row, column) in (0..9).map(|k| (k / 3, k % 3)) {
            let factor = rows[row] * columns[column];
            if let Some(tap) = slots.taps(slot.parity, row, column)
                && factor != T::zero()
            {
                sources[tap].push((place, factor));
            }
        }
    }
    const PIECE: usize = 1 << 12;
    let pieces = len.div_ceil(PIECE);
    gradient
        .par_chunks_mut(len)
        .zip(&sources)
        .for_each(|(gradient, sources)| {
            gradient
                .par_chunks_mut(PIECE)
                .enumerate()
                .take(pieces)
                .for_each(|(piece, out)| {
                    count_moved((sources.len() + 2) * out.len());
                    vectorised(|| {
                        if !add {
                            out.fill(T::zero());
                        }
                        for &(place, factor) in sources {
                            let from = &components[place * len + piece * PIECE..][..out.len()];
                            out.iter_mut()
                                .zip(from)
                                .for_each(|(g, &w)| *g += factor * w);
                        }
                    });
                });
        });
}

/// Places of all 16 components, one after the other.
pub const IN_ORDER: [Option<usize>; COMPONENTS] = {
    let mut places = [None; COMPONENTS];
    let mut c = 0;
    while c < COMPONENTS {
        places[c] = Some(c);
        c += 1;
    }
    places
};

/// Values of the transformed filters.
pub fn filters_len(layer: &StridedLayer) -> usize {
    SLOTS * layer.c_big * layer.c_small
}

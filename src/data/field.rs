//! Random fields with a given power spectrum, on square grids of the flat sky: Gaussian ones, and
//! lognormal ones, kappa = s (exp(g - <g^2>/2) - 1) with a Gaussian field g whose correlation
//! function is ln(1 + xi / s^2), which makes xi that of kappa (Coles & Jones 1991; Xavier, Abdalla
//! & Joachimi 2016 for convergence). `cosmogan synthesize` and the maps of a user who has none come
//! from here.

use rayon::prelude::*;
use rustfft::num_complex::Complex;

use super::fft2::Fft2;
use super::field_error::FieldError;
use super::patch::Patch;
use crate::rng::{Philox, Stream};

/// Bytes that fields may take while many are made at once.
const WORKING_BYTES: usize = 2 << 30;

/// The largest error of the power that a field may have.
const MOST_POWER_ERROR: f64 = 0.1;

/// The distribution of a field's values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FieldKind {
    Gaussian,
    /// Values above `-shift`, mean 0; with y = rms / shift the skewness is 3y + y^3.
    Lognormal {
        shift: f64,
    },
}

/// A field of some power spectrum on a [`Patch`] of the sky, ready to be realised.
pub struct RandomField {
    kind: FieldKind,
    patch: Patch,
    /// <g^2> of the Gaussian field on the whole grid.
    variance: f64,
    /// Amplitude of each mode of g, `[side, side / 2 + 1]` of the patch's periodic grid.
    amplitudes: Vec<f32>,
    power_error: f64,
    fft: Fft2<f32>,
}

impl FieldKind {
    /// No pixel of maps ray-traced through simulations to sources at z = 1 is below -0.04.
    pub const USUAL_SHIFT: f64 = 0.04;
}

impl RandomField {
    /// The field whose power at multipole l > 0 is `power(l)` steradians.
    ///
    /// The spectrum holds on the patch's periodic grid at all modes but the mean, from 2 pi over
    /// its side to the corner of the plane of modes. The mean is 0 of a Gaussian field; a
    /// lognormal one's has the power that takes none from the other modes: that for which the mean
    /// of g is 0. Where the logarithm leaves other modes of g with negative power, which no field
    /// has, they are 0, and [`power_error`](Self::power_error) tells what that changes.
    ///
    /// # Errors
    /// A patch without meaning, a power that is negative or not finite, a shift that no field of
    /// this spectrum has, or only one whose power is more than a tenth off.
    pub fn new(
        kind: FieldKind,
        patch: Patch,
        power: impl Fn(f64) -> f64,
    ) -> Result<Self, FieldError> {
        patch.check()?;
        let fft = Fft2::<f64>::new(patch.grid());
        let wanted = mode_powers(&patch, power)?;
        let (powers, power_error) = match kind {
            FieldKind::Gaussian => (wanted, 0.0),
            FieldKind::Lognormal { shift } => lognormal_powers(&fft, &wanted, shift)?,
        };
        let amplitudes: Vec<f32> = powers.iter().map(|power| power.sqrt() as f32).collect();
        let squares = amplitudes.iter().map(|&a| f64::from(a).powi(2));
        let variance = whole_plane_sum(patch.grid(), squares);
        Ok(Self {
            kind,
            patch,
            variance,
            amplitudes,
            power_error,
            fft: Fft2::new(patch.grid()),
        })
    }

    /// The distribution of its values.
    pub fn kind(&self) -> FieldKind {
        self.kind
    }

    /// The piece of the sky.
    pub fn patch(&self) -> &Patch {
        &self.patch
    }

    /// Expected rms of a pixel about 0.
    pub fn rms(&self) -> f64 {
        match self.kind {
            FieldKind::Gaussian => self.variance.sqrt(),
            FieldKind::Lognormal { shift } => shift * self.variance.exp_m1().sqrt(),
        }
    }

    /// The largest relative error of the field's power in any octave of l, at most 0.1. It is 0 of Gaussian
    /// fields, and grows as a lognormal one's shift becomes small beside its rms.
    pub fn power_error(&self) -> f64 {
        self.power_error
    }

    /// Realisation number `index` under `seed`, `[pixels, pixels]`. To the bit on one machine,
    /// within rounding on another kind of processor (Fourier transforms use what vector
    /// instructions there are).
    pub fn realise(&self, seed: u64, index: u64) -> Vec<f32> {
        let mut field = self.gaussian(seed, index);
        let (grid, pixels) = (self.patch.grid(), self.patch.pixels);
        if pixels < grid {
            for y in 0..pixels {
                field.copy_within(y * grid..y * grid + pixels, y * pixels);
            }
            field.truncate(pixels * pixels);
        }
        if let FieldKind::Lognormal { shift } = self.kind {
            let offset = 0.5 * self.variance;
            for value in &mut field {
                *value = (shift * (f64::from(*value) - offset).exp_m1()) as f32;
            }
        }
        field
    }

    /// Fills `maps` `[n, pixels, pixels]` with realisations number `first` and on, on all of rayon's
    /// threads; see [`at_once`](Self::at_once) for n.
    ///
    /// # Panics
    /// Where `maps` is not a whole number of maps.
    pub fn realise_many(&self, seed: u64, first: usize, maps: &mut [f32]) {
        let pixels = self.patch.pixels.pow(2);
        assert!(maps.len().is_multiple_of(pixels), "{} values", maps.len());
        let maps = maps.par_chunks_exact_mut(pixels).enumerate();
        maps.for_each(|(at, map)| {
            map.copy_from_slice(&self.realise(seed, (first + at) as u64));
        });
    }

    /// How many maps to make at a time: one a thread, unless they take too much memory.
    pub fn at_once(&self) -> usize {
        // Modes and plane in f32 take 8 bytes a point of the grid, and a little more.
        let bytes_of_a_field = 10 * self.patch.grid() * self.patch.grid();
        let most = (WORKING_BYTES / bytes_of_a_field).max(1);
        rayon::current_num_threads().min(most)
    }

    /// g on the whole grid.
    fn gaussian(&self, seed: u64, index: u64) -> Vec<f32> {
        let philox = Philox::new(seed, Stream::Synthetic, index);
        let (side, half) = (self.patch.grid(), self.fft.half());
        let mut modes = Vec::with_capacity(side * half);
        let mut normals = [0.0; 4];
        for (mode, &amplitude) in self.amplitudes.iter().enumerate() {
            if mode % 2 == 0 {
                normals = philox.normals(mode as u32 / 2);
            }
            let pair = 2 * (mode % 2);
            let amplitude = amplitude * std::f32::consts::FRAC_1_SQRT_2;
            modes.push(Complex::new(normals[pair], normals[pair + 1]) * amplitude);
        }
        // In these columns a mode and its mirror image are both stored.
        let last = side.is_multiple_of(2).then_some(side / 2);
        for j in std::iter::once(0).chain(last) {
            for i in 0..=side / 2 {
                let mirror = (side - i) % side;
                let mode = modes[i * half + j];
                if i == mirror {
                    let real = mode.re * std::f32::consts::SQRT_2;
                    modes[i * half + j] = Complex::new(real, 0.0);
                } else {
                    modes[mirror * half + j] = mode.conj();
                }
            }
        }
        self.fft.inverse(&mut modes)
    }
}

/// Variance of each stored mode of the patch's grid, `[side, side / 2 + 1]`, none of the mean.
fn mode_powers(patch: &Patch, power: impl Fn(f64) -> f64) -> Result<Vec<f64>, FieldError> {
    let side = patch.grid();
    let area = (std::f64::consts::TAU / patch.fundamental()).powi(2);
    let mut powers = Vec::with_capacity(side * (side / 2 + 1));
    for i in 0..side {
        for j in 0..=side / 2 {
            let l = patch.fundamental() * (i.min(side - i) as f64).hypot(j as f64);
            let power = if l > 0.0 { power(l) } else { 0.0 };
            // The square of the largest amplitude that leaves room in f32.
            if !(0.0..1e30).contains(&(power / area)) {
                return Err(FieldError::Power { l, power });
            }
            powers.push(power / area);
        }
    }
    Ok(powers)
}

/// The variances of the modes of g that give a lognormal field those in `wanted`, and the error of
/// what comes out.
fn lognormal_powers(
    fft: &Fft2<f64>,
    wanted: &[f64],
    shift: f64,
) -> Result<(Vec<f64>, f64), FieldError> {
    if !(shift > 0.0 && shift.is_finite()) {
        return Err(FieldError::OutOfRange {
            field: "shift",
            value: shift,
            accepted: "positive and finite",
        });
    }
    let mut correlation = inverse(fft, wanted);
    let lowest = correlation.iter().copied().fold(f64::INFINITY, f64::min);
    // Far inside what is possible, so that logarithms and their mean stay well-conditioned.
    if lowest < -0.9 * shift * shift || correlation[0] > 100.0 * shift * shift {
        let least = 1.005 * (-lowest / 0.9).max(correlation[0] / 100.0).sqrt();
        return Err(FieldError::Shift { shift, least });
    }
    for xi in &mut correlation {
        *xi /= shift * shift;
    }
    let mean = mean_that_leaves_g_none(&correlation);
    for xi in &mut correlation {
        *xi = (*xi + mean).ln_1p();
    }
    let points = correlation.len() as f64;
    let modes = fft.forward(&mut correlation);
    drop(correlation);
    let exact = modes.iter().skip(1).all(|mode| mode.re >= 0.0);
    let powers = modes.iter().map(|mode| (mode.re / points).max(0.0));
    let mut powers: Vec<f64> = powers.collect();
    drop(modes);
    powers[0] = 0.0;
    if exact {
        return Ok((powers, 0.0));
    }
    let error = power_error(fft, &powers, wanted, shift);
    if error > MOST_POWER_ERROR {
        let percent = 100.0 * error;
        return Err(FieldError::PowerError { shift, percent });
    }
    Ok((powers, error))
}

/// The constant c for which the mean of ln(1 + x + c) over `values` x is 0, by Newton's method: the
/// mean is a concave function of c and negative at 0, so every step ends short of the root.
fn mean_that_leaves_g_none(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mut c = 0.0;
    for _ in 0..8 {
        let (mut sum, mut slope) = (0.0, 0.0);
        for x in values {
            sum += (x + c).ln_1p();
            slope += 1.0 / (1.0 + x + c);
        }
        c -= sum / slope;
        if sum.abs() < 1e-12 * n {
            break;
        }
    }
    c
}

/// The largest relative difference of power, in octaves of l, between `wanted` and the lognormal
/// field of `shift` whose g has `powers`.
fn power_error(fft: &Fft2<f64>, powers: &[f64], wanted: &[f64], shift: f64) -> f64 {
    let mut correlation = inverse(fft, powers);
    for xi in &mut correlation {
        *xi = shift * shift * xi.exp_m1();
    }
    let points = correlation.len() as f64;
    let modes = fft.forward(&mut correlation);
    let side = points.sqrt() as usize;
    let mut octaves = [(0.0, 0.0); 32];
    for (at, (mode, wanted)) in modes.iter().zip(wanted).enumerate().skip(1) {
        let (i, j) = (at / fft.half(), at % fft.half());
        let octave = (i.min(side - i) as f64).hypot(j as f64).log2() as usize;
        octaves[octave].0 += mode.re / points;
        octaves[octave].1 += wanted;
    }
    let filled = octaves.iter().filter(|(_, wanted)| *wanted > 0.0);
    filled.fold(0.0, |worst, (got, wanted)| {
        worst.max((got / wanted - 1.0).abs())
    })
}

/// The correlation function `[side, side]` of modes with these variances.
fn inverse(fft: &Fft2<f64>, powers: &[f64]) -> Vec<f64> {
    let modes = powers.iter().map(|&power| Complex::new(power, 0.0));
    fft.inverse(&mut modes.collect::<Vec<_>>())
}

/// The sum over the whole plane of modes of values that are stored for half of it.
fn whole_plane_sum(side: usize, stored: impl Iterator<Item = f64>) -> f64 {
    let half = side / 2 + 1;
    let weighted = stored.enumerate().map(|(at, value)| {
        let j = at % half;
        // All columns but the first and, of even sides, the last stand for their mirror image too.
        let alone = j == 0 || 2 * j == side;
        if alone { value } else { 2.0 * value }
    });
    weighted.sum()
}

#[cfg(test)]
#[path = "field_tests.rs"]
mod tests;

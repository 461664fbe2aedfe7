//! Periodic lognormal fields with a given power spectrum: kappa = s (exp(g - <g^2>/2) - 1) with a
//! Gaussian field g whose correlation function is ln(1 + xi / s^2), which makes xi that of kappa
//! (Coles & Jones 1991; Xavier, Abdalla & Joachimi 2016 for convergence).

use rustfft::num_complex::Complex;

use super::fft2::Fft2;
use crate::rng::{Philox, Stream};

/// A lognormal field on a periodic grid of `side` x `side` points: the mean of kappa is 0, and with
/// y = rms / shift its skewness is 3y + y^3.
pub struct LognormalField {
    side: usize,
    shift: f64,
    /// <g^2>.
    variance: f64,
    /// Amplitude of each mode of g, `[side, side / 2 + 1]`.
    amplitudes: Vec<f32>,
    fft: Fft2<f32>,
}

impl LognormalField {
    /// The field of `side` x `side` pixels (an even number) and `angle` radians whose power at
    /// multipole l is `power(l)` steradians, and whose minimum is above `-shift`.
    ///
    /// The spectrum holds on the grid, from 2 pi / angle to the corner of the plane of modes, with
    /// two exceptions: the mean is that of the field g alone, and where the logarithm leaves a
    /// mode of g with negative power, which no field has, that mode is 0.
    ///
    /// # Panics
    /// Where `side` is odd or 0.
    pub fn new(side: usize, angle: f64, shift: f64, power: impl Fn(f64) -> f64) -> Self {
        assert!(
            side >= 2 && side.is_multiple_of(2),
            "side {side} must be even"
        );
        let fft = Fft2::<f64>::new(side);
        let fundamental = std::f64::consts::TAU / angle;
        let mut modes = Vec::with_capacity(side * fft.half());
        for i in 0..side {
            for j in 0..fft.half() {
                let l = fundamental * (i.min(side - i) as f64).hypot(j as f64);
                let power = if l > 0.0 { power(l) } else { 0.0 };
                modes.push(Complex::new(power / (angle * angle), 0.0));
            }
        }
        let mut correlation = fft.inverse(&mut modes);
        drop(modes);
        for xi in &mut correlation {
            // Stays above -1 for convergence; the floor keeps a hostile spectrum finite.
            *xi = (*xi / (shift * shift)).max(-0.99).ln_1p();
        }
        let modes = fft.forward(&mut correlation);
        drop(correlation);
        let points = (side * side) as f64;
        let powers = modes.iter().map(|mode| (mode.re / points).max(0.0));
        let amplitudes: Vec<f32> = powers.map(|power| power.sqrt() as f32).collect();
        let mut variance = 0.0;
        for row in amplitudes.chunks_exact(fft.half()) {
            for (j, &amplitude) in row.iter().enumerate() {
                // All columns but the first and the last stand for their mirror image too.
                let weight = if j == 0 || j == side / 2 { 1.0 } else { 2.0 };
                variance += weight * f64::from(amplitude).powi(2);
            }
        }
        Self {
            side,
            shift,
            variance,
            amplitudes,
            fft: Fft2::new(side),
        }
    }

    /// Realisation number `index` under `seed`, `[side, side]`, periodic.
    pub fn realise(&self, seed: u64, index: u64) -> Vec<f32> {
        let mut field = self.gaussian(seed, index);
        self.exponentiate(&mut field);
        field
    }

    /// The quadrant `[0..side / 2, 0..side / 2]` of [`realise`](Self::realise).
    pub(super) fn realise_quadrant(&self, seed: u64, index: u64) -> Vec<f32> {
        let field = self.gaussian(seed, index);
        let half = self.side / 2;
        let mut quadrant = Vec::with_capacity(half * half);
        for row in field.chunks_exact(self.side).take(half) {
            quadrant.extend_from_slice(&row[..half]);
        }
        self.exponentiate(&mut quadrant);
        quadrant
    }

    fn exponentiate(&self, field: &mut [f32]) {
        let offset = 0.5 * self.variance;
        for value in field {
            *value = (self.shift * (f64::from(*value) - offset).exp_m1()) as f32;
        }
    }

    fn gaussian(&self, seed: u64, index: u64) -> Vec<f32> {
        let philox = Philox::new(seed, Stream::Synthetic, index);
        let (side, half) = (self.side, self.fft.half());
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
        // In the first and the last column a mode and its mirror image are both stored.
        for j in [0, half - 1] {
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

#[cfg(test)]
mod tests {
    use super::super::spectrum::kappa_power;
    use super::*;

    const SHIFT: f64 = 0.04;

    /// Mean of `values` and its standard error.
    fn mean_and_error(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let spread = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, (spread / n).sqrt())
    }

    #[test]
    fn the_mean_spectrum_of_many_fields_is_the_input_within_sampling_error() {
        const SIDE: usize = 128;
        const BINS: usize = 10;
        let angle = 1.732f64.to_radians();
        let field = LognormalField::new(SIDE, angle, SHIFT, kappa_power);
        let fft = Fft2::<f64>::new(SIDE);
        // Bins equal in ln l, from the second mode to the corner; ratios to the input, so that
        // a bin's width does not matter.
        let bin_of = |k: f64| {
            let corner = (SIDE as f64 / 2.0) * std::f64::consts::SQRT_2;
            ((k / 0.99).ln() / (corner * 1.01 / 0.99).ln() * BINS as f64) as usize
        };
        let maps = 200;
        let mut ratios = vec![Vec::new(); BINS];
        for index in 0..maps {
            let kappa = field.realise(21, index);
            let mut kappa: Vec<f64> = kappa.into_iter().map(f64::from).collect();
            let modes = fft.forward(&mut kappa);
            let mut sums = [(0.0, 0.0); BINS];
            for (at, mode) in modes.iter().enumerate().skip(1) {
                let (i, j) = (at / fft.half(), at % fft.half());
                let k = (i.min(SIDE - i) as f64).hypot(j as f64);
                let power = (angle / (SIDE * SIDE) as f64).powi(2) * mode.norm_sqr();
                let sum = &mut sums[bin_of(k)];
                sum.0 += power / kappa_power(k * std::f64::consts::TAU / angle);
                sum.1 += 1.0;
            }
            for (ratios, (sum, count)) in ratios.iter_mut().zip(sums) {
                if count > 0.0 {
                    ratios.push(sum / count);
                }
            }
        }
        let filled = ratios.iter().filter(|bin| !bin.is_empty());
        let mut bins = 0;
        for (bin, values) in filled.enumerate() {
            let (ratio, error) = mean_and_error(values);
            println!("bin {bin}: {ratio:.4} +- {error:.4}");
            assert!(
                (ratio - 1.0).abs() < 4.0 * error,
                "bin {bin}: {ratio} +- {error}"
            );
            assert!(
                error < 0.2,
                "bin {bin} measures nothing: {ratio} +- {error}"
            );
            bins += 1;
        }
        assert!(bins >= 8, "{bins}");
    }

    #[test]
    fn one_point_moments_are_those_of_a_lognormal_distribution() {
        let field = LognormalField::new(128, 1.732f64.to_radians(), SHIFT, kappa_power);
        let sigma = SHIFT * (field.variance.exp() - 1.0).sqrt();
        let y = sigma / SHIFT;
        let mut moments = [const { Vec::new() }; 3];
        for index in 0..200 {
            let kappa = field.realise(22, index);
            assert!(kappa.iter().all(|&k| k > -SHIFT as f32));
            for (p, moment) in (1..).zip(&mut moments) {
                let sum: f64 = kappa.iter().map(|&k| f64::from(k).powi(p)).sum();
                moment.push(sum / kappa.len() as f64);
            }
        }
        let expected = [0.0, sigma * sigma, sigma.powi(3) * (3.0 * y + y.powi(3))];
        for ((p, moment), expected) in (1..).zip(&moments).zip(expected) {
            let (mean, error) = mean_and_error(moment);
            println!("moment {p}: {mean:.4e} +- {error:.1e}, expected {expected:.4e}");
            assert!((mean - expected).abs() < 4.0 * error, "moment {p}");
        }
        assert!((0.015..0.025).contains(&sigma), "rms {sigma}");
    }

    #[test]
    fn the_field_has_no_preferred_row_or_column() {
        let field = LognormalField::new(64, 0.02, SHIFT, kappa_power);
        let [mut rows, mut columns] = [Vec::new(), Vec::new()];
        for index in 0..300 {
            let k = field.realise(23, index);
            let step = |dy: usize, dx: usize| {
                let products = (0..64 * 64).map(|at| {
                    let (y, x) = (at / 64, at % 64);
                    let shifted = (y + dy) % 64 * 64 + (x + dx) % 64;
                    f64::from(k[at]) * f64::from(k[shifted])
                });
                products.sum::<f64>()
            };
            rows.push(step(3, 0) - step(0, 3));
            columns.push(step(3, 3) - step(61, 3));
        }
        for difference in [rows, columns] {
            let (mean, error) = mean_and_error(&difference);
            assert!(mean.abs() < 4.0 * error, "{mean} +- {error}");
        }
    }

    #[test]
    fn a_quadrant_is_a_part_of_its_periodic_field() {
        let field = LognormalField::new(32, 0.02, SHIFT, kappa_power);
        let whole = field.realise(1, 5);
        let quadrant = field.realise_quadrant(1, 5);
        for (row, periodic) in quadrant.chunks_exact(16).zip(whole.chunks_exact(32)) {
            assert_eq!(row, &periodic[..16]);
        }
        assert_ne!(quadrant, field.realise_quadrant(1, 6));
        assert_ne!(quadrant, field.realise_quadrant(2, 5));
    }
}

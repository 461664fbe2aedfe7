//! The score by which training chooses a checkpoint: how well a set of generated maps agrees with
//! a set of real ones in the distribution of pixels and in the mean power spectrum.
//!
//! The score is small, quick and published here; it is no test of significance, and being made of
//! means it does not see a generator that repeats itself. Two numbers belong beside every score:
//! that of a second set of real maps (the noise floor) and that of [`white_noise_like`] the real
//! ones (what knowing the mean and the rms alone is worth).

use super::{PowerSpectrum, SortedSample, StatsError, log_bins, pixel_sigma};
use crate::rng::{Philox, Stream};
use rayon::prelude::*;
use serde::Serialize;

/// Logarithmic bins, from the fundamental to Nyquist, in which spectra are compared.
pub const SPECTRUM_BINS: usize = 6;

/// The Kolmogorov-Smirnov statistic of pixels that adds 1 to the score.
pub const KS_SCALE: f64 = 0.1;

/// The factor between mean power spectra, in the worst bin, that adds 1 to the score.
pub const SPECTRUM_SCALE: f64 = 1.5;

/// The white noise baseline takes the last step of its stream, which no resampling reaches.
const BASELINE_STEP: u64 = u64::MAX;

/// How well a set of maps agrees with a [`Reference`]. All numbers are dimensionless, and 0
/// (1 for ratios) is perfect agreement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Two-sample Kolmogorov-Smirnov statistic D of all pixels of both sets, 0 to 1.
    pub pixel_ks: f64,
    /// Mean power of the maps over that of the reference, one per bin, in order of rising l.
    pub spectrum_ratio: Vec<f64>,
    /// The largest over bins of max(r, 1/r), r the ratio of the bin.
    pub worst_spectrum_factor: f64,
    /// sqrt(mean over bins of (ln r)^2).
    pub log_spectrum_rms: f64,
    /// `pixel_ks / 0.1 + ln(worst_spectrum_factor) / ln 1.5`: D = 0.1 weighs as much as a spectrum
    /// that is wrong by a factor of 1.5 in its worst bin. Lower is better; infinite where the maps
    /// have no power in a bin.
    pub score: f64,
    /// The agreement of each channel, where maps have several: the numbers above are then those of
    /// the channel whose score is worst.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<Self>,
}

impl Agreement {
    fn new(pixel_ks: f64, spectrum_ratio: Vec<f64>) -> Self {
        let logs = || spectrum_ratio.iter().map(|ratio| ratio.ln());
        let bins = spectrum_ratio.len() as f64;
        let worst_spectrum_factor = logs().map(f64::abs).fold(0.0, f64::max).exp();
        let log_spectrum_rms = (logs().map(|log| log * log).sum::<f64>() / bins).sqrt();
        Self {
            pixel_ks,
            worst_spectrum_factor,
            log_spectrum_rms,
            score: pixel_ks / KS_SCALE + worst_spectrum_factor.ln() / SPECTRUM_SCALE.ln(),
            spectrum_ratio,
            channels: Vec::new(),
        }
    }

    /// The agreement of maps of several channels: that of the worst, and all of them beside it.
    /// `None` where there is no channel.
    pub fn worst_of(channels: Vec<Self>) -> Option<Self> {
        let worst = channels.iter().max_by(|a, b| a.score.total_cmp(&b.score))?;
        Some(match &channels[..] {
            [only] => only.clone(),
            _ => Self {
                channels: channels.clone(),
                ..worst.clone()
            },
        })
    }
}

/// A set of real maps, prepared for being compared with many sets of generated ones: its pixels,
/// sorted, and its mean power spectrum.
pub struct Reference {
    estimator: PowerSpectrum,
    pixels: SortedSample<f32>,
    mean_power: Vec<f64>,
}

impl Reference {
    /// Prepares the maps `[n, pixels, pixels]`, each `angle_deg` degrees a side, with
    /// [`SPECTRUM_BINS`] bins (fewer for maps so small that some would be empty: an empty bin is
    /// joined to its neighbour).
    ///
    /// # Errors
    /// No maps or a part of one, maps below 4 pixels, a bad angle, a pixel that is not finite,
    /// a bin without power.
    pub fn new(maps: &[f32], pixels: usize, angle_deg: f64) -> Result<Self, StatsError> {
        let estimator = estimator_without_empty_bins(pixels, angle_deg)?;
        let mean_power = estimator.mean(maps)?;
        for (power, edges) in mean_power.iter().zip(estimator.l_edges().windows(2)) {
            if !(power.is_finite() && *power > 0.0) {
                let (from, to) = (edges[0], edges[1]);
                return Err(StatsError::NoPower { from, to });
            }
        }
        Ok(Self {
            estimator,
            pixels: SortedSample::new(maps)?,
            mean_power,
        })
    }

    /// Edges (multipoles) of the bins in which spectra are compared.
    pub fn l_edges(&self) -> &[f64] {
        self.estimator.l_edges()
    }

    /// Mean power `[bins]` of the reference maps, steradian.
    pub fn mean_power(&self) -> &[f64] {
        &self.mean_power
    }

    /// The pixels of all reference maps, sorted.
    pub fn pixels(&self) -> &SortedSample<f32> {
        &self.pixels
    }

    /// Compares the maps `[n, pixels, pixels]` with the reference; n need not be the reference's.
    ///
    /// # Errors
    /// No maps or a part of one; a pixel that is not finite ([`StatsError::NotFinite`]), which a
    /// caller that ranks checkpoints should read as an infinite score.
    pub fn compare(&self, maps: &[f32]) -> Result<Agreement, StatsError> {
        let power = self.estimator.mean(maps)?;
        let ratio = power.iter().zip(&self.mean_power).map(|(a, b)| a / b);
        Ok(Agreement::new(self.pixels.ks(maps)?, ratio.collect()))
    }
}

/// As many pixels as `maps` has, of independent normal noise with the mean and the standard
/// deviation of all its pixels: the baseline that any emulator should beat. Element `i` depends on
/// the seed and on `i` only (Philox, [`Stream::Bootstrap`]).
///
/// # Errors
/// No pixels, a pixel that is not finite (named by its index in the whole array, as of map 0).
pub fn white_noise_like(maps: &[f32], seed: u64) -> Result<Vec<f32>, StatsError> {
    if maps.is_empty() {
        return Err(StatsError::Empty);
    }
    if let Some(pixel) = maps.iter().position(|value| !value.is_finite()) {
        return Err(StatsError::NotFinite {
            map: 0,
            pixel,
            value: f64::from(maps[pixel]),
        });
    }
    let mean = mean_of(maps, |value| value);
    let rms = pixel_sigma(maps);
    let philox = Philox::new(seed, Stream::Bootstrap, BASELINE_STEP);
    let mut noise = vec![0.0; maps.len()];
    noise
        .par_chunks_mut(4)
        .with_min_len(4096)
        .enumerate()
        .for_each(|(block, pixels)| {
            let normals = philox.normals(block as u32);
            for (pixel, normal) in pixels.iter_mut().zip(normals) {
                *pixel = (mean + rms * f64::from(normal)) as f32;
            }
        });
    Ok(noise)
}

/// The mean of `f(pixel)`: partial sums over fixed pieces, added in order.
pub(super) fn mean_of(pixels: &[f32], f: impl Fn(f64) -> f64 + Sync) -> f64 {
    let partial: Vec<f64> = pixels
        .par_chunks(1 << 16)
        .map(|piece| piece.iter().map(|&value| f(f64::from(value))).sum())
        .collect();
    partial.iter().sum::<f64>() / pixels.len() as f64
}

fn estimator_without_empty_bins(
    pixels: usize,
    angle_deg: f64,
) -> Result<PowerSpectrum, StatsError> {
    let mut edges = log_bins(pixels, angle_deg, SPECTRUM_BINS)?;
    loop {
        let estimator = PowerSpectrum::new(pixels, angle_deg, &edges)?;
        match estimator.mode_counts().iter().position(|&count| count == 0) {
            // The first bin holds the fundamental, so an empty bin has a lower neighbour.
            Some(empty) => edges.remove(empty),
            None => return Ok(estimator),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 32;

    /// Smooth, skewed maps: exponentials of noise averaged over 5 x 5 pixels.
    fn maps(n: usize, seed: u64) -> Vec<f32> {
        let mut noise = vec![0.0; n * SIDE * SIDE];
        Philox::new(seed, Stream::Benchmark, 2).fill_normal(&mut noise);
        let smooth = |map: &[f32], row: usize, column: usize| {
            let near = (0..25).map(|k| {
                let (y, x) = ((row + k / 5) % SIDE, (column + k % 5) % SIDE);
                map[y * SIDE + x]
            });
            (near.sum::<f32>() * 0.2).exp() * 0.02
        };
        let of_map = |map: &[f32]| -> Vec<f32> {
            (0..SIDE * SIDE)
                .map(|k| smooth(map, k / SIDE, k % SIDE))
                .collect()
        };
        noise.chunks(SIDE * SIDE).flat_map(of_map).collect()
    }

    #[test]
    fn the_reference_agrees_with_itself_and_better_with_its_kind_than_with_noise() {
        let real = maps(64, 1);
        let reference = Reference::new(&real, SIDE, 1.0).unwrap();
        assert_eq!(reference.compare(&real).unwrap().score, 0.0);
        let floor = reference.compare(&maps(64, 2)).unwrap();
        let noise = white_noise_like(&real, 7).unwrap();
        let baseline = reference.compare(&noise).unwrap();
        println!("floor {floor:?}\nbaseline {baseline:?}");
        assert!(floor.score < 0.5, "{floor:?}");
        assert!(baseline.score > 10.0 * floor.score, "{baseline:?}");
        assert_eq!(floor.spectrum_ratio.len(), SPECTRUM_BINS);
    }

    #[test]
    fn several_channels_are_as_good_as_the_worst_of_them() {
        let real = maps(16, 1);
        let reference = Reference::new(&real, SIDE, 1.0).unwrap();
        let brighter: Vec<f32> = real.iter().map(|value| 1.5 * value).collect();
        let good = reference.compare(&maps(16, 2)).unwrap();
        let bad = reference.compare(&brighter).unwrap();
        let both = Agreement::worst_of(vec![bad.clone(), good.clone()]).unwrap();
        assert_eq!((both.score, both.pixel_ks), (bad.score, bad.pixel_ks));
        assert_eq!(both.channels, [bad, good.clone()]);
        assert_eq!(Agreement::worst_of(vec![good.clone()]), Some(good));
        assert_eq!(Agreement::worst_of(Vec::new()), None);
    }

    #[test]
    fn half_as_much_amplitude_again_is_a_factor_in_every_bin() {
        let real = maps(16, 1);
        let reference = Reference::new(&real, SIDE, 1.0).unwrap();
        let brighter: Vec<f32> = real.iter().map(|value| 1.5 * value).collect();
        let agreement = reference.compare(&brighter).unwrap();
        for ratio in &agreement.spectrum_ratio {
            assert!((ratio - 2.25).abs() < 1e-6);
        }
        assert!((agreement.worst_spectrum_factor - 2.25).abs() < 1e-6);
        let spectrum_part = agreement.score - agreement.pixel_ks / 0.1;
        assert!((spectrum_part - 2.0).abs() < 1e-6, "two factors of 1.5");
        let fainter: Vec<f32> = real.iter().map(|value| value / 1.5).collect();
        let fainter = reference.compare(&fainter).unwrap();
        assert!((fainter.worst_spectrum_factor - 2.25).abs() < 1e-6);
    }

    #[test]
    fn shuffled_pixels_are_told_by_the_spectrum_alone() {
        let real = maps(16, 1);
        let reference = Reference::new(&real, SIDE, 1.0).unwrap();
        let mut shuffled = real.clone();
        let length = shuffled.len();
        for i in 0..length {
            shuffled.swap(i, (i * 7919) % length);
        }
        let agreement = reference.compare(&shuffled).unwrap();
        assert_eq!(agreement.pixel_ks, 0.0);
        assert!(agreement.worst_spectrum_factor > 2.0);
    }

    #[test]
    fn white_noise_has_the_mean_and_the_rms_and_follows_its_seed() {
        let real = maps(64, 1);
        let noise = white_noise_like(&real, 7).unwrap();
        assert_eq!(noise, white_noise_like(&real, 7).unwrap());
        assert_ne!(noise, white_noise_like(&real, 8).unwrap());
        let moments = |pixels: &[f32]| {
            let mean = mean_of(pixels, |value| value);
            (mean, mean_of(pixels, |v| (v - mean).powi(2)).sqrt())
        };
        let ((mean, rms), (mean_noise, rms_noise)) = (moments(&real), moments(&noise));
        let sigma = rms / (real.len() as f64).sqrt();
        assert!((mean - mean_noise).abs() < 5.0 * sigma);
        assert!((rms - rms_noise).abs() < 5.0 * sigma);
    }

    #[test]
    fn a_generated_nan_is_an_error_and_a_constant_map_an_infinite_score() {
        let real = maps(4, 1);
        let reference = Reference::new(&real, SIDE, 1.0).unwrap();
        let mut broken = real.clone();
        broken[SIDE * SIDE + 5] = f32::NAN;
        let error = reference.compare(&broken).unwrap_err();
        assert!(matches!(
            error,
            StatsError::NotFinite {
                map: 1,
                pixel: 5,
                ..
            }
        ));
        let constant = reference.compare(&[0.0; SIDE * SIDE]).unwrap();
        assert_eq!(constant.score, f64::INFINITY);
        assert_eq!(constant.worst_spectrum_factor, f64::INFINITY);
    }

    #[test]
    fn unusable_reference_maps_are_refused() {
        let constant = Reference::new(&[0.0; SIDE * SIDE], SIDE, 1.0);
        assert!(matches!(constant, Err(StatsError::NoPower { .. })));
        assert!(matches!(
            Reference::new(&[], SIDE, 1.0),
            Err(StatsError::Shape { .. })
        ));
        assert_eq!(white_noise_like(&[], 0), Err(StatsError::Empty));
    }

    #[test]
    fn small_maps_have_fewer_bins_and_none_is_empty() {
        for pixels in [4, 6, 8, 12, 16] {
            let estimator = estimator_without_empty_bins(pixels, 1.0).unwrap();
            assert!(estimator.mode_counts().iter().all(|&count| count > 0));
            assert!(estimator.bins() >= 2 && estimator.bins() <= SPECTRUM_BINS);
        }
    }
}

//! What is kept of every map for searches among thousands: block averages, the spectrum and, where there
//! is a discriminator, its last features. 32,768 maps of 256 x 256 pixels would take 8 GB; this takes 0.3.

use ndarray::Array2;

use super::super::error::EvaluateError;
use crate::stats::{Coarse, PowerSpectrum, StatsError, log_bins};

/// Log bins of the spectra.
const BINS: usize = 16;
/// Blocks along the side of a map: more tell more, and cost their square.
const BLOCKS: usize = 32;
/// The same for more maps than [`MANY`].
const FEW_BLOCKS: usize = 16;
const MANY: usize = 8192;

/// Features of maps that something, a discriminator perhaps, makes.
pub struct Features<'a> {
    /// Features of a map.
    pub len: usize,
    /// What they are, in words.
    pub words: String,
    /// Fills `[n, len]` for maps `[n, S, S]` in physical units.
    pub of: Box<FillFeatures<'a>>,
}

/// From maps `[n, S, S]` to features `[n, len]`.
pub type FillFeatures<'a> = dyn FnMut(&[f32], &mut [f32]) -> Result<(), EvaluateError> + 'a;

/// What was kept of a set's maps, from the first on.
#[derive(Clone, Debug, Default)]
pub struct Sketches {
    pub maps: usize,
    /// `[maps, blocks, blocks]`, as [`Coarse::of`] has them.
    pub coarse: Vec<f32>,
    /// ln P of the bins that hold modes, `[maps, bins]`.
    pub spectra: Vec<f64>,
    /// `[maps, len]`; nothing where there are no features.
    pub features: Vec<f32>,
}

/// Makes [`Sketches`] of maps as they are, whatever is done to the statistics.
pub struct Sketcher<'a> {
    pub side: usize,
    pub coarse: Coarse,
    pub features: Option<Features<'a>>,
    /// Maps of a set that are kept.
    pub most: usize,
    spectrum: PowerSpectrum,
    filled: Vec<usize>,
}

impl<'a> Sketcher<'a> {
    /// For up to `most` maps of `side` pixels and `angle_deg` degrees a side.
    ///
    /// # Errors
    /// A side or an angle without meaning.
    pub fn new(
        side: usize,
        angle_deg: f64,
        most: usize,
        features: Option<Features<'a>>,
    ) -> Result<Self, StatsError> {
        let spectrum = PowerSpectrum::new(side, angle_deg, &log_bins(side, angle_deg, BINS)?)?;
        let counts = spectrum.mode_counts();
        let filled = (0..spectrum.bins()).filter(|&bin| counts[bin] > 0);
        Ok(Self {
            side,
            coarse: Coarse::new(side, if most > MANY { FEW_BLOCKS } else { BLOCKS }),
            features,
            most,
            filled: filled.collect(),
            spectrum,
        })
    }

    /// Bins of a spectrum.
    pub fn bins(&self) -> usize {
        self.filled.len()
    }

    /// ln P of maps `[n, S, S]`, `[n, bins]`.
    ///
    /// # Errors
    /// A pixel that is not finite, a map without power.
    pub fn spectra(&self, pixels: &[f32]) -> Result<Vec<f64>, StatsError> {
        let power = self.spectrum.measure_many(pixels)?;
        let mut logs = Vec::with_capacity(power.len());
        for (map, row) in power.chunks_exact(self.spectrum.bins()).enumerate() {
            for &bin in &self.filled {
                let value = row[bin];
                if !(value > 0.0 && value.is_finite()) {
                    return Err(StatsError::Feature { map, bin, value });
                }
                logs.push(value.ln());
            }
        }
        Ok(logs)
    }

    /// The spectra of `sketches` as a table.
    pub fn log_spectra(&self, sketches: &Sketches) -> Array2<f64> {
        let shape = (sketches.maps, self.bins());
        // Whole rows by construction.
        Array2::from_shape_vec(shape, sketches.spectra.clone()).unwrap_or_default()
    }

    /// Adds the next maps of a set, `[n, S, S]`, as far as maps are still kept.
    ///
    /// # Errors
    /// As [`spectra`](Self::spectra); features that cannot be made.
    pub fn add(&mut self, pixels: &[f32], to: &mut Sketches) -> Result<(), EvaluateError> {
        let size = self.side * self.side;
        let room = self.most.saturating_sub(to.maps);
        let count = (pixels.len() / size).min(room);
        if count == 0 {
            return Ok(());
        }
        let pixels = &pixels[..count * size];
        to.coarse.extend(self.coarse.of(pixels));
        to.spectra.extend(self.spectra(pixels)?);
        if let Some(features) = &mut self.features {
            let start = to.features.len();
            to.features.resize(start + count * features.len, 0.0);
            (features.of)(pixels, &mut to.features[start..])?;
        }
        to.maps += count;
        Ok(())
    }
}

impl Sketches {
    /// The first `most` maps of this set and of the next.
    pub fn joined(&self, next: &Self, most: usize) -> Self {
        let maps = (self.maps + next.maps).min(most);
        Self {
            maps,
            coarse: joined(&self.coarse, &next.coarse, self.maps + next.maps, maps),
            spectra: joined(&self.spectra, &next.spectra, self.maps + next.maps, maps),
            features: joined(&self.features, &next.features, self.maps + next.maps, maps),
        }
    }
}

/// Of rows of `all` maps, those of the first `maps`.
fn joined<T: Copy>(first: &[T], next: &[T], all: usize, maps: usize) -> Vec<T> {
    let values = (first.len() + next.len()) / all.max(1) * maps;
    first.iter().chain(next).take(values).copied().collect()
}

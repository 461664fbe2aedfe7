//! All statistics of a map in one go: one transform serves the spectra, one walk over the rows, with
//! derivatives computed once, the rest. Maps are measured in parallel; what is measured of a map
//! depends on that map alone.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;
use rustfft::num_complex::Complex;

use super::bispectrum::Triangles;
use super::derivatives::RowDerivatives;
use super::fourier::{MapTransform, TransformScratch};
use super::minkowski::Minkowski;
use super::moments::{MOMENTS, MomentSums};
use super::padded::{Level, PaddedMap};
use super::pdf::Pdf;
use super::peaks::PeakCount;
use super::smoothing::Smoothing;
use super::{Bispectrum, PowerSpectrum, ShapeNoise, Statistic, StatisticsPlan, StatsError};

/// Measures what a [`StatisticsPlan`] says, of maps of one size.
///
/// The numbers of a map stand in one row, `[`[`Self::row_len`]`]`: its statistics one after the
/// other in the order of [`Statistic::ALL`], those left out with no columns
/// ([`Self::columns`]). Empty bins of spectra are NaN.
pub struct MapStatistics {
    plan: StatisticsPlan,
    transform: MapTransform,
    power_spectrum: Option<PowerSpectrum>,
    equilateral: Option<Bispectrum>,
    folded: Option<Bispectrum>,
    /// The noise and its standard deviation in a pixel.
    noise: Option<(ShapeNoise, f64)>,
    smoothing: Option<Smoothing>,
    /// The end of each statistic's columns, in the order of [`Statistic::ALL`].
    ends: [usize; Statistic::ALL.len()],
}

/// Working memory of [`MapStatistics::measure`]; one a thread, about 4 N^2 float64.
pub struct StatisticsScratch {
    map: PaddedMap,
    modes: Vec<Complex<f64>>,
    transform: TransformScratch,
    derivatives: RowDerivatives,
    minkowski: Minkowski,
    peaks: PeakCount,
    pdf: Pdf,
}

impl MapStatistics {
    /// Prepares what `plan` says.
    ///
    /// # Errors
    /// Maps below 4 pixels a side; bins, an angle, noise or smoothing that cannot be.
    pub fn new(plan: StatisticsPlan) -> Result<Self, StatsError> {
        let (pixels, angle) = (plan.pixels, plan.angle_deg);
        if pixels < 4 {
            return Err(StatsError::TooSmall(pixels));
        }
        let spectrum = |edges: &Vec<f64>| PowerSpectrum::new(pixels, angle, edges);
        let bispectrum =
            |edges: &[f64], triangles| Bispectrum::new(pixels, angle, edges, triangles);
        let power_spectrum = plan.power_spectrum.as_ref().map(spectrum).transpose()?;
        let equilateral = plan.bispectrum_equilateral.as_ref();
        let equilateral = equilateral
            .map(|edges| bispectrum(edges, Triangles::Equilateral))
            .transpose()?;
        let folded = plan.bispectrum_folded.as_ref();
        let folded = folded
            .map(|(edges, ratio)| bispectrum(edges, Triangles::Folded { ratio: *ratio }))
            .transpose()?;
        let noise = plan.shape_noise;
        let noise = noise
            .map(|noise| Ok((noise, noise.sigma(pixels, angle)?)))
            .transpose()?;
        let smoothing = plan.smooth_arcmin;
        let smoothing = smoothing
            .map(|arcmin| Smoothing::new(pixels, angle, arcmin))
            .transpose()?;
        let mut statistics = Self {
            transform: MapTransform::new(pixels),
            plan,
            power_spectrum,
            equilateral,
            folded,
            noise,
            smoothing,
            ends: [0; Statistic::ALL.len()],
        };
        let mut end = 0;
        for (index, statistic) in Statistic::ALL.into_iter().enumerate() {
            end += statistics.bins(statistic);
            statistics.ends[index] = end;
        }
        Ok(statistics)
    }

    /// What is measured.
    pub fn plan(&self) -> &StatisticsPlan {
        &self.plan
    }

    /// The power spectrum's estimator (bins, mode counts), where one is measured.
    pub fn power_spectrum(&self) -> Option<&PowerSpectrum> {
        self.power_spectrum.as_ref()
    }

    /// The equilateral bispectrum's estimator (bins, triangle counts), where one is measured.
    pub fn bispectrum_equilateral(&self) -> Option<&Bispectrum> {
        self.equilateral.as_ref()
    }

    /// The folded bispectrum's estimator (bins, triangle counts), where one is measured.
    pub fn bispectrum_folded(&self) -> Option<&Bispectrum> {
        self.folded.as_ref()
    }

    /// Numbers of one map.
    pub fn row_len(&self) -> usize {
        self.ends[Statistic::ALL.len() - 1]
    }

    /// Numbers that `statistic` has for one map; 0 where it is left out.
    fn bins(&self, statistic: Statistic) -> usize {
        let bins = match statistic {
            Statistic::PowerSpectrum => self.power_spectrum.as_ref().map(PowerSpectrum::bins),
            Statistic::MinkowskiV0 | Statistic::MinkowskiV1 | Statistic::MinkowskiV2 => {
                self.plan.minkowski.as_ref().map(|t| t.bins())
            }
            Statistic::PeakCount => self.plan.peak_count.as_ref().map(|t| t.bins()),
            Statistic::Pdf => self.plan.pdf.as_ref().map(|t| t.bins()),
            Statistic::Moments => self.plan.moments.then_some(MOMENTS),
            Statistic::BispectrumEquilateral => self.equilateral.as_ref().map(Bispectrum::bins),
            Statistic::BispectrumFolded => self.folded.as_ref().map(Bispectrum::bins),
        };
        bins.unwrap_or(0)
    }

    /// Where the numbers of `statistic` stand in the row of a map; empty where it is left out.
    pub fn columns(&self, statistic: Statistic) -> Range<usize> {
        let index = statistic as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        start..self.ends[index]
    }

    /// Abscissae of `statistic` as LensTools returns them, mid-points of the bins: multipoles, or
    /// thresholds in their unit. Empty for moments and where it is left out.
    pub fn abscissae(&self, statistic: Statistic) -> Vec<f64> {
        let thresholds =
            |of: &Option<super::Thresholds>| of.as_ref().map(|thresholds| thresholds.midpoints());
        let abscissae = match statistic {
            Statistic::PowerSpectrum => self.power_spectrum.as_ref().map(PowerSpectrum::l),
            Statistic::MinkowskiV0 | Statistic::MinkowskiV1 | Statistic::MinkowskiV2 => {
                thresholds(&self.plan.minkowski)
            }
            Statistic::PeakCount => thresholds(&self.plan.peak_count),
            Statistic::Pdf => thresholds(&self.plan.pdf),
            Statistic::Moments => None,
            Statistic::BispectrumEquilateral => self.equilateral.as_ref().map(Bispectrum::l),
            Statistic::BispectrumFolded => self.folded.as_ref().map(Bispectrum::l),
        };
        abscissae.unwrap_or_default()
    }

    /// The array `[n, bins]` of `statistic` from the rows of n maps.
    pub fn array(&self, rows: &[f64], statistic: Statistic) -> Vec<f64> {
        let columns = self.columns(statistic);
        let rows = rows.chunks_exact(self.row_len().max(1));
        rows.flat_map(|row| &row[columns.clone()])
            .copied()
            .collect()
    }

    /// Working memory for [`Self::measure`].
    pub fn scratch(&self) -> StatisticsScratch {
        let side = self.plan.pixels;
        StatisticsScratch {
            map: PaddedMap::new(side),
            modes: self.transform.modes(),
            transform: self.transform.scratch(),
            derivatives: RowDerivatives::new(side),
            minkowski: Minkowski::new(side),
            peaks: PeakCount::new(side),
            pdf: Pdf::new(side),
        }
    }

    /// Measures one map `[N, N]` into its row. `index` is that of its shape noise, where that is
    /// added.
    ///
    /// # Errors
    /// A map or a row of the wrong length, a pixel that is not finite, a constant map (as of map 0).
    pub fn measure<T: Copy + Into<f64>>(
        &self,
        scratch: &mut StatisticsScratch,
        map: &[T],
        index: u64,
        row: &mut [f64],
    ) -> Result<(), StatsError> {
        if row.len() != self.row_len() {
            return Err(StatsError::OutputLength {
                got: row.len(),
                bins: self.row_len(),
            });
        }
        let level = self.prepare(scratch, map, index)?;
        self.measure_modes(scratch, row);
        self.measure_rows(scratch, &level, row);
        Ok(())
    }

    /// Fills the working memory with the map as it is measured: with its noise, smoothed.
    fn prepare<T: Copy + Into<f64>>(
        &self,
        scratch: &mut StatisticsScratch,
        map: &[T],
        index: u64,
    ) -> Result<Level, StatsError> {
        scratch.map.fill(map)?;
        let mut level = scratch.map.level();
        if level.constant {
            let (map, value) = (0, level.mean);
            return Err(StatsError::Constant { map, value });
        }
        if let Some((noise, sigma)) = &self.noise {
            noise.add(*sigma, index, &mut scratch.map, self.plan.pixels);
        }
        if let Some(smoothing) = &self.smoothing {
            let StatisticsScratch {
                map,
                modes,
                transform,
                ..
            } = scratch;
            smoothing.apply(&self.transform, transform, modes, map);
        }
        if self.noise.is_some() || self.smoothing.is_some() {
            level = scratch.map.level();
        }
        Ok(level)
    }

    /// The maps `[n, N, N]` as they are measured: with their noise, smoothed, rounded to float32. The
    /// pixels themselves where neither is asked for.
    ///
    /// # Errors
    /// As [`Self::measure_many`].
    pub fn prepared<'a>(
        &self,
        maps: &'a [f32],
        first: usize,
    ) -> Result<Cow<'a, [f32]>, StatsError> {
        if self.noise.is_none() && self.smoothing.is_none() {
            return Ok(Cow::Borrowed(maps));
        }
        let (pixels, size) = (self.plan.pixels, self.plan.pixels * self.plan.pixels);
        let mut out = vec![0.0_f32; maps.len()];
        let failed = out
            .par_chunks_mut(size)
            .zip(maps.par_chunks(size))
            .enumerate()
            .map_init(
                || self.scratch(),
                |scratch, (index, (out, map))| {
                    let number = first + index;
                    if let Err(error) = self.prepare(scratch, map, number as u64) {
                        return Some(error.of_map(number));
                    }
                    for (y, row) in out.chunks_exact_mut(pixels).enumerate() {
                        let from = scratch.map.row(y).iter();
                        row.iter_mut().zip(from).for_each(|(to, &v)| *to = v as f32);
                    }
                    None
                },
            )
            .find_first(Option::is_some);
        match failed.flatten() {
            Some(error) => Err(error),
            None => Ok(Cow::Owned(out)),
        }
    }

    /// Measures what is defined by Fourier modes.
    fn measure_modes(&self, scratch: &mut StatisticsScratch, out: &mut [f64]) {
        if self.power_spectrum.is_none() && self.equilateral.is_none() && self.folded.is_none() {
            return;
        }
        let StatisticsScratch {
            map,
            modes,
            transform,
            ..
        } = scratch;
        let Ok(()) = self.transform.forward(transform, modes, |y, row| {
            row.copy_from_slice(map.row(y));
            Ok::<(), std::convert::Infallible>(())
        });
        if let Some(estimator) = &self.power_spectrum {
            estimator.of_modes(modes, &mut out[self.columns(Statistic::PowerSpectrum)]);
        }
        if let Some(estimator) = &self.equilateral {
            estimator.of_modes(
                modes,
                &mut out[self.columns(Statistic::BispectrumEquilateral)],
            );
        }
        if let Some(estimator) = &self.folded {
            estimator.of_modes(modes, &mut out[self.columns(Statistic::BispectrumFolded)]);
        }
    }

    /// Measures what is defined by pixels and their neighbours.
    fn measure_rows(&self, scratch: &mut StatisticsScratch, level: &Level, out: &mut [f64]) {
        let StatisticsScratch {
            map,
            derivatives,
            minkowski,
            peaks,
            pdf,
            ..
        } = scratch;
        let plan = &self.plan;
        map.continue_rows();
        if let Some(thresholds) = &plan.minkowski {
            minkowski.begin(thresholds, thresholds.scale(level.sigma));
        }
        if let Some(thresholds) = &plan.peak_count {
            peaks.begin(thresholds, thresholds.scale(level.sigma));
        }
        if let Some(thresholds) = &plan.pdf {
            pdf.begin(thresholds, thresholds.scale(level.sigma));
        }
        let mut moments = MomentSums::default();
        for y in 0..plan.pixels {
            let row = map.row(y);
            if plan.minkowski.is_some() || plan.moments {
                derivatives.set(map, y);
            }
            if plan.minkowski.is_some() {
                minkowski.add(row, derivatives);
            }
            if plan.moments {
                moments.add(row, derivatives);
            }
            if plan.peak_count.is_some() {
                peaks.add(map, y);
            }
            if plan.pdf.is_some() {
                pdf.add(row);
            }
        }
        let pixels = (plan.pixels * plan.pixels) as f64;
        if let Some(thresholds) = &plan.minkowski {
            // The three stand one after the other.
            let first = self.columns(Statistic::MinkowskiV0).start;
            let all = &mut out[first..self.columns(Statistic::MinkowskiV2).end];
            let (v0, rest) = all.split_at_mut(thresholds.bins());
            let (v1, v2) = rest.split_at_mut(thresholds.bins());
            minkowski.finish(thresholds, pixels, [v0, v1, v2]);
        }
        if let Some(thresholds) = &plan.peak_count {
            peaks.finish(thresholds, &mut out[self.columns(Statistic::PeakCount)]);
        }
        if let Some(thresholds) = &plan.pdf {
            pdf.finish(thresholds, &mut out[self.columns(Statistic::Pdf)]);
        }
        if plan.moments {
            let moments = moments.finish(pixels, level.sigma).to_array();
            out[self.columns(Statistic::Moments)].copy_from_slice(&moments);
        }
    }

    /// The rows `[n, row_len]` of the maps `[n, N, N]`, in parallel. `first` is the number of the
    /// first map in the whole set: errors and shape noise count from it.
    ///
    /// # Errors
    /// As [`Self::measure`]; of several bad maps the first is named.
    pub fn measure_many<T>(&self, maps: &[T], first: usize) -> Result<Vec<f64>, StatsError>
    where
        T: Copy + Into<f64> + Sync,
    {
        let size = self.plan.pixels * self.plan.pixels;
        let mut rows = vec![0.0; maps.len() / size * self.row_len()];
        self.measure_into(maps, first, &mut rows)?;
        Ok(rows)
    }

    /// As [`Self::measure_many`], into `rows` `[n, row_len]`.
    ///
    /// # Errors
    /// As [`Self::measure_many`], and where `rows` has another length.
    pub fn measure_into<T>(
        &self,
        maps: &[T],
        first: usize,
        rows: &mut [f64],
    ) -> Result<(), StatsError>
    where
        T: Copy + Into<f64> + Sync,
    {
        let (pixels, size) = (self.plan.pixels, self.plan.pixels * self.plan.pixels);
        if maps.is_empty() || !maps.len().is_multiple_of(size) {
            let got = maps.len();
            return Err(StatsError::Shape { got, pixels });
        }
        if rows.len() != maps.len() / size * self.row_len() {
            return Err(StatsError::OutputLength {
                got: rows.len(),
                bins: self.row_len(),
            });
        }
        let failed = rows
            .par_chunks_mut(self.row_len().max(1))
            .zip(maps.par_chunks(size))
            .enumerate()
            .map_init(
                || self.scratch(),
                |scratch, (index, (row, map))| {
                    let number = first + index;
                    self.measure(scratch, map, number as u64, row)
                        .map_err(|error| error.of_map(number))
                        .err()
                },
            )
            .find_first(Option::is_some);
        failed.flatten().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
#[path = "map_statistics_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "map_statistics_field_tests.rs"]
mod field_tests;

//! The power spectrum of convergence maps, as LensTools' `ConvergenceMap.powerSpectrum` computes it.
//!
//! A [`PowerSpectrum`] is made once for a map size, an angle and a set of bins; it then measures
//! single maps ([`PowerSpectrum::measure`]), many ([`PowerSpectrum::measure_many`]) or the mean of
//! a set that arrives in pieces ([`MeanSpectrum`]). No mean subtraction, no apodisation.

use super::StatsError;
use super::edges::{check_edges, midpoints};
use super::fourier::{MapTransform, TransformScratch};
use rayon::prelude::*;
use rustfft::num_complex::Complex;

/// The bin of a mode that lies in none.
const OUTSIDE: u32 = u32::MAX;

/// A binned power spectrum estimator for maps `[pixels, pixels]` of `angle_deg` degrees a side.
///
/// With F the unnormalised real FFT, stored as `[N, N/2+1]`, lx = min(i, N-i) 360/angle,
/// ly = j 360/angle and l = sqrt(lx^2 + ly^2), a mode is in bin k if `edge[k] < l <= edge[k+1]`, and
///
/// P_k = (angle in radians / N^2)^2 * mean of |F|^2 over the stored modes of bin k,
///
/// each stored mode with weight 1 (the columns j = 0 and j = N/2 are not halved): LensTools 1.2,
/// `extern/_topology` and `image/convergence.py`. The unit is steradian for a dimensionless map.
///
/// A bin without modes is empty: its count is 0 and its value NaN (LensTools leaves 0.0, which two
/// sets of maps would then agree on for nothing).
pub struct PowerSpectrum {
    pixels: usize,
    l_edges: Vec<f64>,
    /// Bin of each stored mode, `[N/2+1, N]`: transposed, as the FFT below leaves them.
    bin_of_mode: Vec<u32>,
    mode_counts: Vec<usize>,
    mean_l: Vec<f64>,
    /// (angle in radians / N^2)^2.
    normalisation: f64,
    transform: MapTransform,
}

/// Working memory of [`PowerSpectrum::measure`]; one a thread, about 2 N^2 float64.
pub struct Scratch {
    modes: [Vec<Complex<f64>>; 2],
    transform: TransformScratch,
}

impl PowerSpectrum {
    /// An estimator with `l_edges.len() - 1` bins; edges are multipoles.
    ///
    /// # Errors
    /// Maps below 2 pixels, an angle that is not positive and finite, edges that do not increase.
    pub fn new(pixels: usize, angle_deg: f64, l_edges: &[f64]) -> Result<Self, StatsError> {
        if pixels < 2 {
            return Err(StatsError::TooSmall(pixels));
        }
        let l_pixel = fundamental(angle_deg)?;
        check_edges(l_edges)?;
        let mut mode_counts = vec![0; l_edges.len() - 1];
        let mut mean_l = vec![0.0; l_edges.len() - 1];
        let mut bin_of_mode = Vec::with_capacity(pixels * (pixels / 2 + 1));
        for column in 0..=pixels / 2 {
            let ly = column as f64 * l_pixel;
            for row in 0..pixels {
                let lx = row.min(pixels - row) as f64 * l_pixel;
                // As LensTools rounds it: hypot may differ in the last bit, and modes lie on edges.
                let l = (lx * lx + ly * ly).sqrt();
                let bin = bin_of(l_edges, l);
                if bin != OUTSIDE {
                    mode_counts[bin as usize] += 1;
                    mean_l[bin as usize] += l;
                }
                bin_of_mode.push(bin);
            }
        }
        for (sum, &count) in mean_l.iter_mut().zip(&mode_counts) {
            *sum /= count as f64;
        }
        Ok(Self {
            pixels,
            l_edges: l_edges.to_vec(),
            bin_of_mode,
            mode_counts,
            mean_l,
            normalisation: (angle_deg.to_radians() / (pixels * pixels) as f64).powi(2),
            transform: MapTransform::new(pixels),
        })
    }

    /// Number of bins.
    pub fn bins(&self) -> usize {
        self.mode_counts.len()
    }

    /// Pixels along the side of a map.
    pub fn pixels(&self) -> usize {
        self.pixels
    }

    /// The edges of the bins (multipoles).
    pub fn l_edges(&self) -> &[f64] {
        &self.l_edges
    }

    /// Abscissae as LensTools returns them: the mid-points of the edges.
    pub fn l(&self) -> Vec<f64> {
        midpoints(&self.l_edges)
    }

    /// The mean multipole of the stored modes of each bin, where a plot should put its power: in a
    /// bin of few modes it is far from the mid-point. NaN for an empty bin.
    pub fn mean_l(&self) -> &[f64] {
        &self.mean_l
    }

    /// Stored half-plane modes in each bin; 0 marks an empty bin.
    pub fn mode_counts(&self) -> &[usize] {
        &self.mode_counts
    }

    /// Working memory for [`Self::measure`].
    pub fn scratch(&self) -> Scratch {
        Scratch {
            modes: [self.transform.modes(), Vec::new()],
            transform: self.transform.scratch(),
        }
    }

    /// Measures one map `[N, N]` into `power` `[bins]`; empty bins become NaN.
    ///
    /// # Errors
    /// A map or a result slice of the wrong length, a pixel that is not finite.
    pub fn measure<T: Copy + Into<f64>>(
        &self,
        scratch: &mut Scratch,
        map: &[T],
        power: &mut [f64],
    ) -> Result<(), StatsError> {
        self.check_lengths(map.len(), power.len())?;
        let Scratch { modes, transform } = scratch;
        self.transform(transform, &mut modes[0], map)?;
        self.of_modes(&modes[0], power);
        Ok(())
    }

    /// Measures the cross power of two maps `[N, N]` into `power` `[bins]`: Re(F1 conj F2) in place
    /// of |F|^2, LensTools' `ConvergenceMap.cross`. Empty bins become NaN.
    ///
    /// # Errors
    /// As [`Self::measure`]; a pixel of the second map is told as one of map 1.
    pub fn measure_cross<T: Copy + Into<f64>>(
        &self,
        scratch: &mut Scratch,
        maps: [&[T]; 2],
        power: &mut [f64],
    ) -> Result<(), StatsError> {
        let Scratch { modes, transform } = scratch;
        for (index, (map, modes)) in maps.into_iter().zip(modes.iter_mut()).enumerate() {
            self.check_lengths(map.len(), power.len())?;
            modes.resize(self.bin_of_mode.len(), Complex::default());
            self.transform(transform, modes, map)
                .map_err(|error| error.of_map(index))?;
        }
        let [first, second] = modes;
        let products = first.iter().zip(&*second);
        self.average(products.map(|(a, b)| a.re * b.re + a.im * b.im), power);
        Ok(())
    }

    /// Of a map's modes `[N/2+1, N]`, transposed.
    pub(super) fn of_modes(&self, modes: &[Complex<f64>], power: &mut [f64]) {
        self.average(modes.iter().map(Complex::norm_sqr), power);
    }

    /// The normalised means of a quantity of all stored modes.
    fn average(&self, modes: impl Iterator<Item = f64>, power: &mut [f64]) {
        power.fill(0.0);
        for (&bin, value) in self.bin_of_mode.iter().zip(modes) {
            if let Some(sum) = power.get_mut(bin as usize) {
                *sum += value;
            }
        }
        // An empty bin gives 0/0: NaN, as documented.
        for (sum, &count) in power.iter_mut().zip(&self.mode_counts) {
            *sum *= self.normalisation / count as f64;
        }
    }

    fn check_lengths(&self, map: usize, power: usize) -> Result<(), StatsError> {
        if map != self.pixels * self.pixels {
            return Err(self.shape(map));
        }
        if power != self.bins() {
            return Err(StatsError::OutputLength {
                got: power,
                bins: self.bins(),
            });
        }
        Ok(())
    }

    /// The spectra `[n, bins]` of the maps `[n, N, N]`, in parallel.
    ///
    /// # Errors
    /// As [`Self::measure`]; of several bad maps the first is named.
    pub fn measure_many<T>(&self, maps: &[T]) -> Result<Vec<f64>, StatsError>
    where
        T: Copy + Into<f64> + Sync,
    {
        let size = self.pixels * self.pixels;
        if maps.is_empty() || !maps.len().is_multiple_of(size) {
            return Err(self.shape(maps.len()));
        }
        let mut power = vec![0.0; maps.len() / size * self.bins()];
        let failed = power
            .par_chunks_mut(self.bins())
            .zip(maps.par_chunks(size))
            .enumerate()
            .map_init(
                || self.scratch(),
                |scratch, (index, (power, map))| {
                    self.measure(scratch, map, power)
                        .map_err(|error| error.of_map(index))
                        .err()
                },
            )
            .find_first(Option::is_some);
        match failed.flatten() {
            Some(error) => Err(error),
            None => Ok(power),
        }
    }

    /// The mean spectrum `[bins]` of the maps `[n, N, N]`, in parallel.
    ///
    /// # Errors
    /// As [`Self::measure_many`].
    pub fn mean<T>(&self, maps: &[T]) -> Result<Vec<f64>, StatsError>
    where
        T: Copy + Into<f64> + Sync,
    {
        let mut mean = MeanSpectrum::new(self);
        mean.add(maps)?;
        mean.finish()
    }

    fn transform<T: Copy + Into<f64>>(
        &self,
        scratch: &mut TransformScratch,
        modes: &mut [Complex<f64>],
        map: &[T],
    ) -> Result<(), StatsError> {
        let n = self.pixels;
        self.transform.forward(scratch, modes, |y, row| {
            for (x, (to, &from)) in row.iter_mut().zip(&map[y * n..]).enumerate() {
                *to = from.into();
                if !to.is_finite() {
                    return Err(StatsError::NotFinite {
                        map: 0,
                        pixel: y * n + x,
                        value: *to,
                    });
                }
            }
            Ok(())
        })
    }

    fn shape(&self, got: usize) -> StatsError {
        StatsError::Shape {
            got,
            pixels: self.pixels,
        }
    }
}

/// The mean spectrum of maps that arrive in pieces; memory does not grow with their number.
///
/// Spectra are added in the order of the maps, so the mean depends neither on the number of
/// threads nor on how the maps were cut into pieces.
pub struct MeanSpectrum<'a> {
    estimator: &'a PowerSpectrum,
    sum: Vec<f64>,
    maps: usize,
}

impl<'a> MeanSpectrum<'a> {
    /// Spectra held at once while a piece is measured.
    const AT_ONCE: usize = 256;

    /// The mean of no maps yet.
    pub fn new(estimator: &'a PowerSpectrum) -> Self {
        Self {
            estimator,
            sum: vec![0.0; estimator.bins()],
            maps: 0,
        }
    }

    /// Adds the maps `[n, N, N]`.
    ///
    /// # Errors
    /// As [`PowerSpectrum::measure_many`]; the index in the error counts all maps added so far,
    /// and the mean is then not to be used.
    pub fn add<T: Copy + Into<f64> + Sync>(&mut self, maps: &[T]) -> Result<(), StatsError> {
        let size = self.estimator.pixels * self.estimator.pixels;
        if maps.is_empty() || !maps.len().is_multiple_of(size) {
            return Err(self.estimator.shape(maps.len()));
        }
        for piece in maps.chunks(size * Self::AT_ONCE) {
            let spectra = self
                .estimator
                .measure_many(piece)
                .map_err(|error| error.of_map(self.maps))?;
            for spectrum in spectra.chunks(self.sum.len()) {
                for (sum, value) in self.sum.iter_mut().zip(spectrum) {
                    *sum += value;
                }
            }
            self.maps += piece.len() / size;
        }
        Ok(())
    }

    /// The mean `[bins]`; empty bins are NaN.
    ///
    /// # Errors
    /// No map was added.
    pub fn finish(self) -> Result<Vec<f64>, StatsError> {
        if self.maps == 0 {
            return Err(StatsError::Empty);
        }
        let count = self.maps as f64;
        Ok(self.sum.into_iter().map(|sum| sum / count).collect())
    }
}

/// `bins + 1` log-spaced edges from the fundamental 360/angle to the Nyquist multipole N/2 times
/// that, so that every mode with l between the two (inclusive) is in a bin.
///
/// The edges are moved by a relative 1e-9, the last outwards and the others down, so that a mode
/// that lies on one (they do, at powers of two) falls to the bin above whatever the rounding, and
/// the Nyquist mode to the last.
///
/// # Errors
/// No bins, maps below 4 pixels, an angle that is not positive and finite.
pub fn log_bins(pixels: usize, angle_deg: f64, bins: usize) -> Result<Vec<f64>, StatsError> {
    let l_pixel = fundamental(angle_deg)?;
    if pixels < 4 {
        return Err(StatsError::TooSmall(pixels));
    }
    if bins == 0 {
        return Err(StatsError::Edges);
    }
    let nyquist = (pixels / 2) as f64;
    let edge = |k: usize| {
        let margin = if k == bins { 1.0 + 1e-9 } else { 1.0 - 1e-9 };
        l_pixel * nyquist.powf(k as f64 / bins as f64) * margin
    };
    Ok((0..=bins).map(edge).collect())
}

/// The multipole of the longest wave in a map: 360 / angle.
pub(super) fn fundamental(angle_deg: f64) -> Result<f64, StatsError> {
    let l = 360.0 / angle_deg;
    if angle_deg > 0.0 && l.is_finite() && l > 0.0 {
        Ok(l)
    } else {
        Err(StatsError::Angle(angle_deg))
    }
}

/// The k with `edges[k] < l <= edges[k+1]`, or [`OUTSIDE`].
fn bin_of(edges: &[f64], l: f64) -> u32 {
    let below = edges.partition_point(|&edge| edge < l);
    if below == 0 || below == edges.len() {
        OUTSIDE
    } else {
        below as u32 - 1
    }
}

#[cfg(test)]
#[path = "power_spectrum_tests.rs"]
mod tests;

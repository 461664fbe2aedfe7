//! Statistics of maps: how close generated maps are to real ones.
//!
//! Definitions are those of LensTools, to rounding: float64 throughout, square maps, periodic
//! boundaries, the second index the fast one, `angle_deg` the side of a map in degrees. Every
//! result is the same for any number of threads: work is cut up by the data alone, and sums are
//! taken in the order of the maps. [`MapStatistics`] measures all of them of each map; [`Reference`]
//! compares sets quickly. This module knows nothing of training; the training loop, the
//! selection of checkpoints and the reports call it.

mod bispectrum;
mod derivatives;
mod distribution;
mod edges;
mod error;
mod fourier;
mod map_statistics;
mod minkowski;
mod moments;
mod padded;
mod pdf;
mod peaks;
mod plan;
mod power_spectrum;
mod selection;
mod shape_noise;
mod smoothing;
mod thresholds;

#[cfg(test)]
mod testing;

pub use bispectrum::{Bispectrum, Triangles};
pub use distribution::{SortedSample, ks_statistic};
pub use edges::arange;
pub use error::StatsError;
pub use map_statistics::{MapStatistics, StatisticsScratch};
pub use moments::{MOMENT_NAMES, MOMENTS, Moments};
pub use peaks::{Peak, locate_peaks};
pub use plan::{Statistic, StatisticsPlan};
pub use power_spectrum::{MeanSpectrum, PowerSpectrum, Scratch, log_bins};
pub use selection::{
    Agreement, KS_SCALE, Reference, SPECTRUM_BINS, SPECTRUM_SCALE, white_noise_like,
};
pub use shape_noise::ShapeNoise;
pub use thresholds::{Thresholds, Unit};

//! Statistics of maps: how close generated maps are to real ones.
//!
//! Definitions are those of LensTools, to rounding: float64 throughout, square maps, periodic
//! boundaries, the second index the fast one, `angle_deg` the side of a map in degrees. Every
//! result is the same for any number of threads: work is cut up by the data alone, and sums are
//! taken in the order of the maps. [`MapStatistics`] measures all of them of each map; [`Reference`]
//! compares sets quickly. This module knows nothing of training; the training loop, the
//! selection of checkpoints and the reports call it.
//!
//! Tests of significance are calibrated by dealing whole parents anew ([`Parents`], [`Design`],
//! [`Resampler`], [`PixelTest`]) and summed up over many features ([`FeatureComparison`]). The
//! p-values of scipy ([`ks_2samp`], [`anderson_ksamp`]) stand beside them, right for independent
//! maps. Distances that are no tests: [`chi_squared`], [`CovarianceComparison`], [`Novelty`].

mod anderson;
mod bispectrum;
mod chi_squared;
mod comparison;
mod covariance;
mod data_vector;
mod derivatives;
mod distribution;
mod edges;
mod error;
mod fourier;
mod kolmogorov;
mod ks_test;
mod map_statistics;
mod minkowski;
mod moment_tests;
mod moments;
mod multiple;
mod neighbours;
mod novelty;
mod padded;
mod pairs;
mod parents;
mod pdf;
mod peaks;
mod pixel_test;
mod plan;
mod power_spectrum;
mod resampling;
mod selection;
mod shape_noise;
mod smoothing;
mod streamed_ks;
mod thresholds;

#[cfg(test)]
mod testing;

pub use anderson::{AndersonTest, AndersonVariant, Clipped, anderson_ksamp};
pub use bispectrum::{Bispectrum, Triangles};
pub use chi_squared::{ChiSquared, ChiSquaredReference, LARGEST_CONDITION, Refusal, chi_squared};
pub use comparison::{ComparedFeature, FeatureComparison, Outcome};
pub use covariance::{CovarianceComparison, correlation, covariance, feature_means, parent_means};
pub use data_vector::{DataVector, DataVectors, data_vectors, pixel_sigma};
pub use distribution::{SortedSample, ks_statistic};
pub use edges::arange;
pub use error::StatsError;
pub use kolmogorov::{kolmogorov_n_sf, kolmogorov_sf, smirnov_sf};
pub use ks_test::{Alternative, KsTest, Method, ks_2samp, ks_p_value};
pub use map_statistics::{MapStatistics, StatisticsScratch};
pub use moment_tests::{MomentTests, moment_tests};
pub use moments::{MOMENT_NAMES, MOMENTS, Moments};
pub use multiple::{
    FALSE_DISCOVERY_RATE, ManyTests, PAPER_STYLE_BINS, benjamini_hochberg, paper_style,
    paper_style_of_values,
};
pub use neighbours::{
    Element as PairElement, NearestMaps, Neighbour, Pair, log_features, nearest_features,
    nearest_vectors,
};
pub use novelty::{Diversity, Novelty, Repeats, Spread, expected_within};
pub use pairs::{
    ClosestPairs, Coarse, PairProgress, closest_coarse, closest_features, closest_maps,
    closest_vectors, turned_distance, typical_distance,
};
pub use parents::{Design, Parents};
pub use peaks::{Peak, locate_peaks};
pub use pixel_test::{PIXEL_BINS, PixelHistograms, PixelTest, pixel_edges};
pub use plan::{Statistic, StatisticsPlan};
pub use power_spectrum::{MeanSpectrum, PowerSpectrum, Scratch, log_bins};
pub use resampling::{FeatureTest, ResampledP, Resampler, Resampling};
pub use selection::{
    Agreement, KS_SCALE, Reference, SPECTRUM_BINS, SPECTRUM_SCALE, white_noise_like,
};
pub use shape_noise::ShapeNoise;
pub use streamed_ks::{PixelCounts, StreamedKs};
pub use thresholds::{Thresholds, Unit};

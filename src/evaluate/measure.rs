//! From maps to numbers: every statistic of every map of a set, piece by piece, so that memory holds the
//! numbers and one piece of the maps.

use std::ops::Range;

use super::error::EvaluateError;
use super::novelty::{Sketcher, Sketches};
use super::sets::MapSource;
use crate::stats::{
    DataVector, MOMENT_NAMES, MapStatistics, PixelCounts, ShapeNoise, Spread, Statistic,
    StatisticsPlan, StatsError, Thresholds, Unit, arange, log_bins,
};

/// Maps that are in memory at a time, pixels.
const PIXELS_AT_ONCE: usize = 1 << 24;
/// Edges of the fine distribution of pixels, in the common unit.
const FINE: (f64, f64, f64) = (-6.0, 20.0, 0.02);

/// What is done to every map before it is measured, and in which bins.
#[derive(Clone, Debug)]
pub struct Settings {
    pub angle_deg: f64,
    /// Edges of the power spectrum's bins (multipoles); `None`: one bin a fundamental.
    pub l_edges: Option<Vec<f64>>,
    pub smooth_arcmin: Option<f64>,
    /// Galaxies per square arc minute.
    pub shape_noise: Option<f64>,
    pub seed: u64,
    /// Whether bispectra are measured: they take longest.
    pub bispectrum: bool,
}

/// Tells of progress: what is being done, how much of it is done, of how much.
pub type Progress<'a> = dyn Fn(&'static str, usize, usize) -> Result<(), EvaluateError> + 'a;

/// Estimators of everything, in the common unit and in each map's own.
pub struct Estimators {
    pub side: usize,
    /// Power spectrum, thresholds in the common unit, moments, bispectra.
    pub common: MapStatistics,
    /// Minkowski functionals, peaks and pixel distribution at thresholds in each map's sigma.
    pub own: MapStatistics,
    /// Power in log bins.
    pub log: MapStatistics,
    /// The fine distribution of pixels.
    pub fine: MapStatistics,
}

/// The numbers of a set of maps.
pub struct Measured {
    pub maps: usize,
    pub units: Vec<u64>,
    pub units_known: bool,
    pub origin: String,
    /// Rows `[maps, ..]` of each estimator.
    pub common: Vec<f64>,
    pub own: Vec<f64>,
    pub log: Vec<f64>,
    pub fine: Vec<f64>,
    /// All pixels, as they are measured.
    pub pixels: PixelCounts,
    /// The first maps, `[.., S, S]`.
    pub examples: Vec<f32>,
    /// The scatter of each pixel over maps.
    pub spread: Spread,
    /// What is kept of the first maps, these and more.
    pub sketches: Sketches,
}

fn plan(settings: &Settings, side: usize) -> StatisticsPlan {
    // Each set is given noise of its own: the same noise in two sets would make them alike.
    StatisticsPlan {
        shape_noise: settings.shape_noise.map(|n_gal| ShapeNoise {
            n_gal,
            sigma_e: ShapeNoise::USUAL_SIGMA_E,
            seed: settings.seed,
        }),
        smooth_arcmin: settings.smooth_arcmin,
        ..StatisticsPlan::nothing(side, settings.angle_deg)
    }
}

/// One bin for each multiple of the fundamental up to Nyquist: no bin is empty.
fn usual_edges(side: usize, angle_deg: f64) -> Vec<f64> {
    let fundamental = 360.0 / angle_deg;
    (0..=side / 2)
        .map(|k| fundamental * (k as f64 + 0.5))
        .collect()
}

/// Standard deviation and mean of the pixels of a set, as they are measured: smoothed, with noise.
///
/// # Errors
/// Maps that cannot be read, are constant or hold what is not finite.
pub fn common_unit(
    source: &mut MapSource<'_>,
    settings: &Settings,
    progress: &Progress<'_>,
) -> Result<(f64, f64), EvaluateError> {
    let estimator = MapStatistics::new(StatisticsPlan {
        moments: true,
        ..plan(settings, source.side)
    })
    .map_err(EvaluateError::Compare)?;
    let size = source.side * source.side;
    let (mut variance, mut sum, mut squares) = (0.0, 0.0, 0.0);
    let maps = source.len();
    each_piece(
        source,
        0..maps,
        "measuring sigma",
        progress,
        |source, first, pixels| {
            let rows = estimator.measure_many(pixels, first);
            let rows = rows.map_err(|error| of_set(source, error))?;
            for row in rows.chunks_exact(estimator.row_len()) {
                variance += row[0] * row[0];
            }
            for map in pixels.chunks_exact(size) {
                let mean = map.iter().map(|&v| f64::from(v)).sum::<f64>() / size as f64;
                sum += mean;
                squares += mean * mean;
            }
            Ok(())
        },
    )?;
    let count = maps as f64;
    let mean = sum / count;
    let between = (squares / count - mean * mean).max(0.0);
    Ok(((variance / count + between).sqrt(), mean))
}

impl Estimators {
    /// Estimators for maps of `side` pixels, thresholds in units of `sigma` or of each map's own.
    ///
    /// # Errors
    /// Settings without meaning.
    pub fn new(side: usize, sigma: f64, settings: &Settings) -> Result<Self, StatsError> {
        let angle = settings.angle_deg;
        let l_edges = match &settings.l_edges {
            Some(edges) => edges.clone(),
            None => usual_edges(side, angle),
        };
        let thresholds = |unit: Unit| -> Result<StatisticsPlan, StatsError> {
            let edges = |(from, to, step)| Thresholds::new(&arange(from, to, step)?, unit);
            Ok(StatisticsPlan {
                minkowski: Some(edges(DataVector::FUNCTIONAL_EDGES)?),
                peak_count: Some(edges(DataVector::PEAK_EDGES)?),
                pdf: Some(edges((-3.0, 6.2, 0.5))?),
                ..plan(settings, side)
            })
        };
        let (fine_from, fine_to, fine_step) = FINE;
        let fine = arange(fine_from, fine_to, fine_step)?;
        let bispectrum = settings
            .bispectrum
            .then(|| log_bins(side, angle, 8))
            .transpose()?;
        Ok(Self {
            side,
            common: MapStatistics::new(StatisticsPlan {
                power_spectrum: Some(l_edges),
                moments: true,
                bispectrum_equilateral: bispectrum.clone(),
                bispectrum_folded: bispectrum.map(|edges| (edges, StatisticsPlan::USUAL_RATIO)),
                ..thresholds(Unit::Sigma(sigma))?
            })?,
            own: MapStatistics::new(thresholds(Unit::MapSigma)?)?,
            log: MapStatistics::new(StatisticsPlan {
                power_spectrum: Some(log_bins(side, angle, DataVector::SPECTRUM_BINS)?),
                ..plan(settings, side)
            })?,
            fine: MapStatistics::new(StatisticsPlan {
                pdf: Some(Thresholds::new(&fine, Unit::Sigma(sigma))?),
                ..plan(settings, side)
            })?,
        })
    }

    /// Measures the first `maps` maps of `source`, whose first noise is number `noise`, and keeps
    /// `examples` of them whole; all maps of it are sketched, as far as the sketcher keeps any.
    ///
    /// # Errors
    /// Maps that cannot be read or made, constant ones, pixels that are not finite.
    pub fn measure(
        &self,
        source: &mut MapSource<'_>,
        (maps, noise): (usize, usize),
        examples: usize,
        sketcher: &mut Sketcher<'_>,
        progress: &Progress<'_>,
    ) -> Result<Measured, EvaluateError> {
        let size = self.side * self.side;
        let maps = maps.min(source.len());
        let mut measured = Measured {
            maps,
            units: source.units[..maps].to_vec(),
            units_known: source.units_known,
            origin: source.origin.clone(),
            common: Vec::new(),
            own: Vec::new(),
            log: Vec::new(),
            fine: Vec::new(),
            pixels: PixelCounts::default(),
            examples: Vec::new(),
            spread: Spread::new(size),
            sketches: Sketches::default(),
        };
        let label = match source.set {
            "generated" => "generated maps",
            "real" => "real maps",
            _ => "second real set",
        };
        each_piece(source, 0..maps, label, progress, |source, first, pixels| {
            let all = [
                (&self.common, &mut measured.common),
                (&self.own, &mut measured.own),
                (&self.log, &mut measured.log),
                (&self.fine, &mut measured.fine),
            ];
            for (estimator, rows) in all {
                let found = estimator.measure_many(pixels, noise + first);
                rows.extend(found.map_err(|error| of_set(source, without(error, noise)))?);
            }
            let fault = |error| of_set(source, without(error, noise));
            let prepared = self.fine.prepared(pixels, noise + first).map_err(fault)?;
            measured.pixels.add(&prepared).map_err(fault)?;
            measured.spread.add(pixels).map_err(fault)?;
            let room = (examples * size).saturating_sub(measured.examples.len());
            measured.examples.extend(&pixels[..room.min(pixels.len())]);
            sketcher.add(pixels, &mut measured.sketches)
        })?;
        let more = maps..source.len().min(sketcher.most).max(maps);
        each_piece(source, more, "more maps", progress, |_, _, pixels| {
            sketcher.add(pixels, &mut measured.sketches)
        })?;
        Ok(measured)
    }

    /// Shows `take` all pixels of the first `maps` maps of `source` again, as they are measured.
    ///
    /// # Errors
    /// Maps that cannot be read or made.
    pub fn again(
        &self,
        source: &mut MapSource<'_>,
        (maps, noise): (usize, usize),
        progress: &Progress<'_>,
        mut take: impl FnMut(&[f32]),
    ) -> Result<(), EvaluateError> {
        let label = "pixels once more";
        each_piece(source, 0..maps, label, progress, |source, first, pixels| {
            let prepared = self.fine.prepared(pixels, noise + first);
            let fault = |error| of_set(source, without(error, noise));
            take(&prepared.map_err(fault)?);
            Ok(())
        })
    }

    /// The names of the moments.
    pub fn moment_names() -> Vec<String> {
        MOMENT_NAMES.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Edges of the bins of `statistic` in `estimator`.
    pub fn edges(estimator: &MapStatistics, statistic: Statistic) -> Vec<f64> {
        let plan = estimator.plan();
        let of = |thresholds: &Option<Thresholds>| {
            thresholds
                .as_ref()
                .map_or(Vec::new(), |t| t.edges().to_vec())
        };
        match statistic {
            Statistic::PowerSpectrum => plan.power_spectrum.clone().unwrap_or_default(),
            Statistic::MinkowskiV0 | Statistic::MinkowskiV1 | Statistic::MinkowskiV2 => {
                of(&plan.minkowski)
            }
            Statistic::PeakCount => of(&plan.peak_count),
            Statistic::Pdf => of(&plan.pdf),
            Statistic::Moments => Vec::new(),
            Statistic::BispectrumEquilateral => {
                plan.bispectrum_equilateral.clone().unwrap_or_default()
            }
            Statistic::BispectrumFolded => plan
                .bispectrum_folded
                .clone()
                .map_or(Vec::new(), |(edges, _)| edges),
        }
    }
}

/// Errors count from the first map of the set, noise from the first of all.
fn without(error: StatsError, noise: usize) -> StatsError {
    match error {
        StatsError::NotFinite { map, pixel, value } => StatsError::NotFinite {
            map: map.saturating_sub(noise),
            pixel,
            value,
        },
        StatsError::Constant { map, value } => StatsError::Constant {
            map: map.saturating_sub(noise),
            value,
        },
        other => other,
    }
}

fn of_set(source: &MapSource<'_>, error: StatsError) -> EvaluateError {
    EvaluateError::Stats {
        set: source.set,
        origin: source.origin.clone(),
        source: error,
    }
}

/// Calls `take` with the number of the first map of each piece of `range` and its pixels.
fn each_piece(
    source: &mut MapSource<'_>,
    range: Range<usize>,
    label: &'static str,
    progress: &Progress<'_>,
    mut take: impl FnMut(&MapSource<'_>, usize, &[f32]) -> Result<(), EvaluateError>,
) -> Result<(), EvaluateError> {
    let size = source.side * source.side;
    let at_once = (PIXELS_AT_ONCE / size).clamp(1, 256);
    let maps = range.len();
    let mut pixels = vec![0.0; at_once.min(maps) * size];
    for first in range.clone().step_by(at_once) {
        let count = at_once.min(range.end - first);
        let pixels = &mut pixels[..count * size];
        source.fill(first..first + count, pixels)?;
        take(source, first, pixels)?;
        progress(label, first + count - range.start, maps)?;
    }
    Ok(())
}

//! `cosmogan stats`: the statistics of every map, as LensTools defines them.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Error, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use ndarray::Array1;
use ndarray_npy::ReadNpyExt;
use rayon::prelude::*;

use super::parse::{Edges, edges};
use super::progress::CountBar;
use super::say;
use super::stats_file;
use cosmogan::data::{Maps, Place, Provenance};
use cosmogan::stats::{
    MapStatistics, ShapeNoise, StatisticsPlan, StatsError, Thresholds, Unit, arange, log_bins,
};
use cosmogan::train::Stop;

/// Bytes of pixels that are read at a time.
const BYTES_AT_ONCE: usize = 64 << 20;

/// Logarithmic bins of l, unless others are asked for.
const LOG_BINS: usize = 16;

/// Measure power spectra, Minkowski functionals, peaks and more of every map
///
/// Definitions and bins are those of LensTools: float64, periodic boundaries, no mean subtracted.
/// The .npz file holds power_spectrum, minkowski_v0, minkowski_v1, minkowski_v2, peak_count, pdf,
/// moments, bispectrum_equilateral and bispectrum_folded, each [maps, bins] in float64; their
/// abscissae l and thresholds (mid-points of the bins), l_edges, threshold_edges, mode_counts and
/// triangle counts. Bins without modes are NaN, with a count of 0. The moments are sigma0, sigma1,
/// S0, S1, S2, K0, K1, K2, K3, of derivatives in pixels.
#[derive(Args, Debug)]
#[command(allow_negative_numbers = true)]
pub struct StatsArgs {
    /// Maps of one size: .npy and FITS files, directories, quoted patterns
    #[arg(value_name = "MAPS", required = true)]
    maps: Vec<PathBuf>,
    /// Side of a map in degrees, where neither a header nor FILE.npy.json tells it
    #[arg(long, value_name = "DEGREES")]
    angle: Option<f64>,
    /// Edges of the bins of l, as numpy.arange(A, B, STEP) makes them; a mode is in a bin if
    /// edge < l <= next edge [default: 16 logarithmic bins up to the Nyquist multipole]
    #[arg(long, value_name = "A:B:STEP", value_parser = edges, allow_hyphen_values = true,
          conflicts_with = "l_edges_file")]
    l_edges: Option<Edges>,
    /// Edges of the bins of l: .npy, one axis
    #[arg(long, value_name = "FILE.npy")]
    l_edges_file: Option<PathBuf>,
    /// Edges of the bins of Minkowski functionals, peaks and pixels, as numpy.arange(A, B, STEP)
    /// makes them, in standard deviations of each map [default: -2:2:0.2]
    #[arg(long, value_name = "A:B:STEP", value_parser = edges, allow_hyphen_values = true,
          conflicts_with = "thresholds_file")]
    thresholds: Option<Edges>,
    /// Edges of the bins of Minkowski functionals, peaks and pixels: .npy, one axis
    #[arg(long, value_name = "FILE.npy")]
    thresholds_file: Option<PathBuf>,
    /// Take thresholds as values of the maps
    #[arg(long)]
    no_normalise: bool,
    /// Take thresholds in units of this, the same for all maps (such as the standard deviation of
    /// the real ones)
    #[arg(long, value_name = "SIGMA", conflicts_with = "no_normalise")]
    unit: Option<f64>,
    /// Ratio of the second side of folded triangles to their base, between 0 and 1
    #[arg(long, value_name = "X", default_value_t = StatisticsPlan::USUAL_RATIO)]
    folded_ratio: f64,
    /// Smooth each map with a Gaussian of this standard deviation first (periodic)
    #[arg(long, value_name = "ARCMIN")]
    smooth: Option<f64>,
    /// Add the shape noise of this many galaxies per square arc minute, before smoothing: normal
    /// noise of variance sigma_e^2 / (2 N_GAL A) in pixels of A square arc minutes
    #[arg(long, value_name = "N_GAL")]
    shape_noise: Option<f64>,
    /// Rms ellipticity of galaxies, both components together
    #[arg(long, value_name = "X", default_value_t = ShapeNoise::USUAL_SIGMA_E,
          requires = "shape_noise")]
    sigma_e: f64,
    /// Seed of the shape noise: that of map i is the same for every set
    #[arg(long, value_name = "N", default_value_t = 1, requires = "shape_noise")]
    seed: u64,
    /// Measure these alone [default: all]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<Part>,
    /// Where the statistics go
    #[arg(long, value_name = "FILE.npz", value_parser = npz_path)]
    out: PathBuf,
}

/// Statistics that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Part {
    PowerSpectrum,
    Minkowski,
    PeakCount,
    Pdf,
    Moments,
    Bispectrum,
}

fn npz_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension() {
        Some(ending) if ending.eq_ignore_ascii_case("npz") => Ok(path),
        _ => Err("the name must end in .npz".to_owned()),
    }
}

impl StatsArgs {
    fn plan(&self, pixels: usize, angle_deg: f64) -> Result<StatisticsPlan> {
        let l_edges = match (&self.l_edges, &self.l_edges_file) {
            (Some(Edges(edges)), _) => edges.clone(),
            (None, Some(file)) => read_edges(file)?,
            (None, None) => log_bins(pixels, angle_deg, LOG_BINS)?,
        };
        let thresholds = match (&self.thresholds, &self.thresholds_file) {
            (Some(Edges(edges)), _) => edges.clone(),
            (None, Some(file)) => read_edges(file)?,
            (None, None) if self.no_normalise => bail!(
                "--no-normalise takes thresholds as values of the maps: give them with \
                 --thresholds or --thresholds-file"
            ),
            (None, None) => arange(-2.0, 2.0, 0.2)?,
        };
        let unit = match self.unit {
            _ if self.no_normalise => Unit::Absolute,
            Some(sigma) => Unit::Sigma(sigma),
            None => Unit::MapSigma,
        };
        Thresholds::new(&thresholds, unit).context("cannot use the thresholds")?;
        let all = StatisticsPlan::everything(pixels, angle_deg, &l_edges, &thresholds, unit)?;
        let wanted = |part| self.only.is_empty() || self.only.contains(&part);
        let bispectrum = wanted(Part::Bispectrum);
        Ok(StatisticsPlan {
            power_spectrum: all.power_spectrum.filter(|_| wanted(Part::PowerSpectrum)),
            minkowski: all.minkowski.filter(|_| wanted(Part::Minkowski)),
            peak_count: all.peak_count.filter(|_| wanted(Part::PeakCount)),
            pdf: all.pdf.filter(|_| wanted(Part::Pdf)),
            moments: wanted(Part::Moments),
            bispectrum_equilateral: all.bispectrum_equilateral.filter(|_| bispectrum),
            bispectrum_folded: bispectrum.then_some((l_edges, self.folded_ratio)),
            smooth_arcmin: self.smooth,
            shape_noise: self.shape_noise.map(|n_gal| ShapeNoise {
                n_gal,
                sigma_e: self.sigma_e,
                seed: self.seed,
            }),
            ..StatisticsPlan::nothing(pixels, angle_deg)
        })
    }
}

/// Runs the command.
pub fn run(arguments: &StatsArgs) -> Result<()> {
    let maps = Maps::open(&arguments.maps)?;
    let pixels = common_side(&maps)?;
    if maps.channels() != 1 {
        let name = maps.place(0).path.display();
        bail!(
            "{name} has maps of {} channels; statistics are those of one: save it by itself",
            maps.channels()
        );
    }
    let angle_deg = angle(&maps, arguments.angle)?;
    stats_file::require_place(&arguments.out)?;
    let statistics = MapStatistics::new(arguments.plan(pixels, angle_deg)?)?;
    require_modes(&statistics)?;
    let stop = Stop::install().context("cannot listen for Ctrl-C")?;
    say(&format!(
        "{} maps of {pixels}x{pixels} pixels, {angle_deg:.4} degrees a side: {}",
        maps.len(),
        in_words(&statistics)
    ));
    let started = Instant::now();
    let rows = measure(&maps, &statistics, &stop)?;
    stats_file::write(&arguments.out, &statistics, &rows)?;
    let seconds = started.elapsed().as_secs_f64();
    say(&format!(
        "{}: {seconds:.1} s, {:.0} maps/s",
        arguments.out.display(),
        maps.len() as f64 / seconds
    ));
    Ok(())
}

/// The side in pixels of all maps.
fn common_side(maps: &Maps) -> Result<usize> {
    let first = maps.side(0);
    match (0..maps.len()).find(|&map| maps.side(map) != first) {
        None => Ok(first),
        Some(map) => bail!(
            "{} has maps of {first}x{first} pixels, but {} of {side}x{side}; maps that are measured \
             together must have one size",
            maps.place(0).path.display(),
            maps.place(map).path.display(),
            side = maps.side(map),
        ),
    }
}

/// The side of the maps in degrees: what is asked for, else what a file tells.
fn angle(maps: &Maps, asked: Option<f64>) -> Result<f64> {
    if let Some(angle) = asked.filter(|angle| !(*angle > 0.0 && *angle <= 180.0)) {
        bail!("--angle is {angle}; it must be the side of a map, above 0 and up to 180 degrees");
    }
    // Refuses files that contradict each other or the option.
    maps.common_provenance(&Provenance {
        side_deg: asked,
        ..Provenance::default()
    })?;
    let told = || (0..maps.len()).find_map(|map| maps.provenance(map).side_deg);
    asked.or_else(told).with_context(|| {
        let name = maps.place(0).path.display();
        format!("{name} does not tell the side of its maps in degrees: give --angle")
    })
}

/// One-axis `.npy` arrays of numbers, increasing.
fn read_edges(path: &Path) -> Result<Vec<f64>> {
    let name = path.display();
    let open = || File::open(path).map(BufReader::new);
    open().with_context(|| format!("cannot open {name}"))?;
    let edges = Array1::<f64>::read_npy(open()?)
        .or_else(|_| Ok(Array1::<f32>::read_npy(open()?)?.mapv(f64::from)))
        .or_else(|_: Error| Ok(Array1::<i64>::read_npy(open()?)?.mapv(|v| v as f64)))
        .map_err(|_: Error| {
            anyhow!("{name} is not a .npy array of one axis, of float64, float32 or int64")
        })?;
    let increasing = edges.as_slice().is_some_and(|edges| {
        edges.len() >= 2
            && edges.iter().all(|edge| edge.is_finite())
            && edges.windows(2).all(|pair| pair[0] < pair[1])
    });
    if !increasing {
        bail!("{name}: {}", StatsError::Edges);
    }
    Ok(edges.to_vec())
}

/// Refuses bins of l that hold nothing at all: the angle is not what the bins were made for.
fn require_modes(statistics: &MapStatistics) -> Result<()> {
    let Some(spectrum) = statistics.power_spectrum() else {
        return Ok(());
    };
    if spectrum.mode_counts().iter().any(|&count| count > 0) {
        return Ok(());
    }
    let edges = spectrum.l_edges();
    let plan = statistics.plan();
    let longest = 360.0 / plan.angle_deg;
    bail!(
        "no wave of these maps has l between {} and {}: theirs go from {longest:.0} to {:.0}. Is \
         the angle of {} degrees right?",
        edges[0],
        edges[edges.len() - 1],
        longest * (plan.pixels / 2) as f64 * std::f64::consts::SQRT_2,
        plan.angle_deg,
    )
}

/// Bins, and what is done to the maps first.
fn in_words(statistics: &MapStatistics) -> String {
    let plan = statistics.plan();
    let mut words = Vec::new();
    if let Some(spectrum) = statistics.power_spectrum() {
        let counts = spectrum.mode_counts().iter();
        let empty = counts.filter(|&&count| count == 0).count();
        words.push(match empty {
            0 => format!("{} bins of l", spectrum.bins()),
            _ => format!("{} bins of l ({empty} without modes: NaN)", spectrum.bins()),
        });
    }
    if let Some(thresholds) = plan.any_thresholds() {
        let unit = match thresholds.unit() {
            Unit::MapSigma => "standard deviations of each map".to_owned(),
            Unit::Sigma(sigma) => format!("units of {sigma}"),
            Unit::Absolute => "values of the maps".to_owned(),
        };
        words.push(format!(
            "{} bins of thresholds in {unit}",
            thresholds.bins()
        ));
    }
    if let Some(noise) = &plan.shape_noise {
        let (n_gal, sigma_e, seed) = (noise.n_gal, noise.sigma_e, noise.seed);
        words.push(format!(
            "shape noise of {n_gal} galaxies per square arc minute, sigma_e {sigma_e}, seed {seed}"
        ));
    }
    if let Some(arcmin) = plan.smooth_arcmin {
        words.push(format!("smoothed to {arcmin} arc minutes"));
    }
    words.join(", ")
}

/// The rows of all maps, read and measured piece by piece.
fn measure(maps: &Maps, statistics: &MapStatistics, stop: &Stop) -> Result<Vec<f64>> {
    let size = statistics.plan().pixels.pow(2);
    let at_once = (BYTES_AT_ONCE / 8 / size).max(1).min(maps.len());
    let mut rows = vec![0.0; maps.len() * statistics.row_len()];
    let mut pixels = vec![0.0f64; at_once * size];
    let bar = CountBar::new("measuring");
    for (piece, rows) in rows.chunks_mut(at_once * statistics.row_len()).enumerate() {
        if let Some(signal) = stop.requested() {
            bar.finish();
            bail!("stopped by {signal}; nothing was written");
        }
        let first = piece * at_once;
        let count = rows.len() / statistics.row_len();
        let pixels = &mut pixels[..count * size];
        pixels
            .par_chunks_mut(size)
            .enumerate()
            .for_each(|(index, map)| {
                maps.read_whole_f64(first + index, map);
            });
        statistics
            .measure_into(pixels, first, rows)
            .map_err(|error| of_file(maps, error))?;
        bar.show(first + count, maps.len());
    }
    bar.finish();
    Ok(rows)
}

/// The error with the place of the map that it is of.
fn of_file(maps: &Maps, error: StatsError) -> Error {
    let place = |map| {
        let Place { path, map } = maps.place(map);
        format!("{}: map {map}", path.display())
    };
    match error {
        StatsError::NotFinite { map, pixel, value } => {
            let side = maps.side(map);
            let (row, column) = (pixel / side, pixel % side);
            anyhow!(
                "{}, row {row}, column {column} is {value}; all pixels must be finite",
                place(map)
            )
        }
        StatsError::Constant { map, value } => anyhow!(
            "{}: all of its pixels are {value}; a constant map has no statistics",
            place(map)
        ),
        other => other.into(),
    }
}

//! `cosmogan synthesize`: random maps of a given cosmology, or of a given power spectrum.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Error, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::options::PictureArgs;
use super::parse::{MapFormat, map_format, map_path};
use super::progress::CountBar;
use super::{names_of, say};
use cosmogan::data::{
    FieldError, FieldKind, MapSet, Patch, Provenance, RandomField, Statistics, write_maps,
};
use cosmogan::report::maps_png;
use cosmogan::theory::{ConvergencePower, Cosmology, TheoryError};
use cosmogan::train::Stop;

/// Errors of the power of lognormal maps above this are told.
const TOLD_POWER_ERROR: f64 = 1e-3;

/// Make random convergence maps of any cosmology
///
/// Gaussian or lognormal maps on the flat sky whose power spectrum is the Limber C_l of the
/// cosmology: transfer function of Eisenstein & Hu 1998, halofit of Takahashi et al. 2012. They have
/// the right power and, if lognormal, skewness of the right size, but not the peaks and filaments
/// of simulations. The defaults are the CosmoGAN paper's cosmology and maps.
#[derive(Args, Debug)]
#[command(allow_negative_numbers = true)]
pub struct SynthesizeArgs {
    /// Side of a map in degrees
    #[arg(long, value_name = "DEGREES", default_value_t = 12f64.sqrt())]
    angle: f64,
    /// Side of a map in pixels
    #[arg(long, value_name = "N", default_value_t = 256)]
    pixels: usize,
    /// Number of maps
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Distribution of the values
    #[arg(long, value_name = "NAME", default_value = "lognormal")]
    kind: Kind,
    /// No value of a lognormal map is below minus this [default: 0.04]
    #[arg(long, value_name = "KAPPA")]
    shift: Option<f64>,
    /// Make maps whose edges continue at the opposite ones, instead of cutting each from a field
    /// twice as wide
    #[arg(long)]
    periodic: bool,
    /// Seed: map i of a seed is the same for every count
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Where the maps go: .npy (float32, [N, H, W], with what is known of them in FILE.npy.json),
    /// .fits (float32, with LensTools' header; maps.fits of one map, maps-00001.fits and so on of
    /// more) or .png (a grid of pictures)
    #[arg(long, value_name = "FILE", value_parser = map_path)]
    out: PathBuf,
    #[command(flatten)]
    picture: PictureArgs,
    #[command(flatten)]
    universe: Universe,
}

/// Options of the power spectrum.
#[derive(Args, Debug)]
#[command(next_help_heading = "Power spectrum (of a flat universe with massless neutrinos)")]
struct Universe {
    /// Density of all matter
    #[arg(long, value_name = "X", default_value_t = Cosmology::PAPER.omega_m)]
    omega_m: f64,
    /// Density of baryons, a part of all matter
    #[arg(long, value_name = "X", default_value_t = Cosmology::PAPER.omega_b)]
    omega_b: f64,
    /// Rms of linear density fluctuations in spheres of 8 Mpc/h
    #[arg(long = "sigma-8", value_name = "X", default_value_t = Cosmology::PAPER.sigma_8)]
    sigma_8: f64,
    /// H0 / (100 km/s/Mpc)
    #[arg(long = "h", value_name = "X", default_value_t = Cosmology::PAPER.h)]
    h: f64,
    /// Spectral index of primordial fluctuations
    #[arg(long, value_name = "X", default_value_t = Cosmology::PAPER.n_s)]
    n_s: f64,
    /// Equation of state of dark energy, constant
    #[arg(long, value_name = "X", default_value_t = Cosmology::PAPER.w)]
    w: f64,
    /// Redshift of the lensed sources
    #[arg(long, value_name = "Z", default_value_t = 1.0)]
    source_redshift: f64,
    /// A table instead: l and C_l in steradians, two numbers a line, separated by a comma or
    /// blanks; power laws between and beyond its points
    #[arg(long, value_name = "FILE", conflicts_with_all = UNIVERSE)]
    cl: Option<PathBuf>,
}

/// The names of a cosmology's options.
const UNIVERSE: [&str; 7] = [
    "omega_m",
    "omega_b",
    "sigma_8",
    "h",
    "n_s",
    "w",
    "source_redshift",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Gaussian,
    Lognormal,
}

impl Universe {
    fn cosmology(&self) -> Cosmology {
        Cosmology {
            omega_m: self.omega_m,
            omega_b: self.omega_b,
            sigma_8: self.sigma_8,
            h: self.h,
            n_s: self.n_s,
            w: self.w,
        }
    }
}

/// A power spectrum, and what a reader of the maps is told of it.
struct Source {
    power: ConvergencePower,
    provenance: Provenance,
    words: String,
}

impl SynthesizeArgs {
    fn kind(&self) -> Result<FieldKind> {
        match (self.kind, self.shift) {
            (Kind::Gaussian, None) => Ok(FieldKind::Gaussian),
            (Kind::Gaussian, Some(_)) => {
                bail!("--shift is the lowest value of lognormal maps; Gaussian ones have none")
            }
            (Kind::Lognormal, shift) => Ok(FieldKind::Lognormal {
                shift: shift.unwrap_or(FieldKind::USUAL_SHIFT),
            }),
        }
    }

    fn source(&self) -> Result<Source> {
        if let Some(path) = &self.universe.cl {
            return Ok(Source {
                power: read_table(path)?,
                provenance: Provenance {
                    side_deg: Some(self.angle),
                    ..Provenance::default()
                },
                words: format!("C_l of {}", path.display()),
            });
        }
        let (cosmology, z) = (self.universe.cosmology(), self.universe.source_redshift);
        let Cosmology {
            omega_m,
            omega_b,
            sigma_8,
            h,
            n_s,
            w,
        } = cosmology;
        Ok(Source {
            power: ConvergencePower::new(&cosmology, z).map_err(of_cosmology)?,
            provenance: Provenance::of(&cosmology, z, self.angle),
            words: format!(
                "Omega_m {omega_m}, Omega_b {omega_b}, sigma_8 {sigma_8}, h {h}, n_s {n_s}, w {w}, \
                 sources at z = {z}"
            ),
        })
    }

    /// What a sidecar tells of the maps besides their cosmology.
    fn extra(&self, field: &RandomField) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut tell = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        tell(
            "made_by",
            json!(concat!("cosmogan ", env!("CARGO_PKG_VERSION"))),
        );
        match field.kind() {
            FieldKind::Gaussian => tell("kind", json!("gaussian")),
            FieldKind::Lognormal { shift } => {
                tell("kind", json!("lognormal"));
                tell("shift", json!(shift));
                tell("power_error", json!(field.power_error()))
            }
        };
        match &self.universe.cl {
            Some(path) => tell("power", json!(path.display().to_string())),
            None => tell(
                "power",
                json!("Limber C_l, Eisenstein-Hu 1998, Takahashi 2012"),
            ),
        };
        tell("periodic", json!(self.periodic));
        tell("seed", json!(self.seed));
        fields
    }
}

/// Runs the command.
pub fn run(arguments: &SynthesizeArgs) -> Result<()> {
    let format = map_format(&arguments.out).context("--out must end in .fits, .npy or .png")?;
    let kind = arguments.kind()?;
    let patch = Patch {
        pixels: arguments.pixels,
        side_deg: arguments.angle,
        periodic: arguments.periodic,
    };
    patch.check().map_err(of_patch)?;
    let source = arguments.source()?;
    require_place(&arguments.out)?;
    let (count, pixels) = (arguments.count as usize, patch.pixels);
    say(&format!(
        "{count} {} of {pixels}x{pixels} pixels, {:.4} degrees a side: {}; seed {}",
        describe(kind, patch.periodic, count),
        patch.side_deg,
        source.words,
        arguments.seed,
    ));
    if let Some(line) = beyond_table(&source.power, &patch) {
        say(&line);
    }
    let stop = Stop::install().context("cannot listen for Ctrl-C")?;
    let started = Instant::now();
    let field = RandomField::new(kind, patch, |l| source.power.at(l)).map_err(of_patch)?;
    if field.power_error() > TOLD_POWER_ERROR {
        say(&format!(
            "so small a shift costs accuracy: power is up to {:.1}% off in an octave of l",
            100.0 * field.power_error()
        ));
    }
    let (files, statistics) = write(arguments, format, &field, &source.provenance, &stop)?;
    say(&format!(
        "{}: {:.1} s, rms {:.3e} (expected {:.3e})",
        names_of(&files),
        started.elapsed().as_secs_f64(),
        statistics.rms,
        field.rms(),
    ));
    Ok(())
}

/// Makes the maps and writes them; the files and the statistics of all pixels.
fn write(
    arguments: &SynthesizeArgs,
    format: MapFormat,
    field: &RandomField,
    provenance: &Provenance,
    stop: &Stop,
) -> Result<(Vec<PathBuf>, Statistics)> {
    let (count, pixels) = (arguments.count as usize, field.patch().pixels);
    let bar = CountBar::new("making maps");
    let mut statistics = Statistics::EMPTY;
    let mut make = |first: usize, maps: &mut Vec<f32>| -> io::Result<()> {
        if let Some(signal) = stop.requested() {
            let message = format!("stopped by {signal}; nothing was written");
            return Err(io::Error::new(io::ErrorKind::Interrupted, message));
        }
        let n = field.at_once().min(count - first);
        maps.resize(n * pixels * pixels, 0.0);
        field.realise_many(arguments.seed, first, maps);
        for map in maps.chunks_exact(pixels * pixels) {
            statistics = statistics.merge(Statistics::of(map));
        }
        bar.show(first + n, count);
        Ok(())
    };
    let files = match format {
        MapFormat::Values(format) => {
            let set = MapSet {
                maps: count,
                side: pixels,
                channels: 1,
                provenance,
                extra: arguments.extra(field),
            };
            write_maps(&arguments.out, format, &set, &mut make)?
        }
        MapFormat::Png => {
            let (mut all, mut maps) = (Vec::new(), Vec::new());
            for first in (0..count).step_by(field.at_once()) {
                make(first, &mut maps)?;
                all.extend_from_slice(&maps);
            }
            maps_png(&arguments.out, &all, count, pixels, arguments.picture.style)?;
            vec![arguments.out.clone()]
        }
    };
    bar.finish();
    Ok((files, statistics))
}

/// What the maps are called.
fn describe(kind: FieldKind, periodic: bool, count: usize) -> String {
    let periodic = if periodic { "periodic " } else { "" };
    let maps = if count == 1 { "map" } else { "maps" };
    match kind {
        FieldKind::Gaussian => format!("{periodic}Gaussian {maps}"),
        FieldKind::Lognormal { shift } => format!("{periodic}lognormal {maps} (shift {shift})"),
    }
}

/// A word on waves of the maps for which a table of C_l has no numbers.
fn beyond_table(power: &ConvergencePower, patch: &Patch) -> Option<String> {
    let ((first, last), (longest, shortest)) = (power.range(), patch.multipoles());
    let inside = first <= longest && shortest <= last;
    (!inside).then(|| {
        format!(
            "C_l is known from l = {first:.0} to {last:.0}; the maps go from {longest:.0} to \
             {shortest:.0}, with power laws beyond its ends"
        )
    })
}

/// Refuses an output that could only fail when all maps are made.
fn require_place(out: &Path) -> Result<()> {
    let directory = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        bail!(
            "cannot write {}: {} is no directory; make it first",
            out.display(),
            directory.display()
        );
    }
    if out.is_dir() {
        bail!("cannot write {}: it is a directory", out.display());
    }
    Ok(())
}

/// A parameter out of its range, by the name of its option.
fn of_option(field: &str, value: f64, accepted: &str) -> Error {
    let name = match field {
        "side_deg" => "angle".to_owned(),
        other => other.replace('_', "-"),
    };
    anyhow!("--{name} is {value}; it must be {accepted}")
}

fn of_cosmology(error: TheoryError) -> Error {
    match error {
        TheoryError::OutOfRange {
            field,
            value,
            accepted,
        } => of_option(field, value, accepted),
        other => other.into(),
    }
}

fn of_patch(error: FieldError) -> Error {
    match error {
        FieldError::OutOfRange {
            field,
            value,
            accepted,
        } => of_option(field, value, accepted),
        other => other.into(),
    }
}

/// Reads a table of l and C_l. Lines that are empty or begin with `#` are skipped, and a first line
/// without numbers is a heading.
fn read_table(path: &Path) -> Result<ConvergencePower> {
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    let lines = text.lines().enumerate();
    let filled = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let mut points = Vec::new();
    for (at, (index, line)) in filled.enumerate() {
        match point(line) {
            Some(point) => points.push(point),
            None if at == 0 => {}
            None => bail!(
                "{name}: line {} is not two numbers, l and C_l in steradians",
                index + 1
            ),
        }
    }
    ConvergencePower::from_table(&points).with_context(|| format!("cannot use {name}"))
}

fn point(line: &str) -> Option<(f64, f64)> {
    let separators = |c: char| c == ',' || c.is_whitespace();
    let mut numbers = line.split(separators).filter(|part| !part.is_empty());
    let (l, power) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    numbers.next().is_none().then_some((l, power))
}

//! `cosmogan evaluate`: how good generated maps are, with a report.

mod made;
mod real;

use std::cell::RefCell;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Args};

use super::options::{DeviceArgs, PictureArgs};
use super::progress::CountBar;
use super::say;
use cosmogan::data::{Maps, MapsProvenance, Provenance};
use cosmogan::evaluate::{
    CropRules, EvaluateError, Features, Grade, MapSource, Outcome, Pool, Request, Settings,
    evaluate, open, origin,
};
use cosmogan::report::strip::Strip;
use cosmogan::stats::arange;
use cosmogan::train::Stop;

use real::RealMaps;

/// Say how good generated maps are, with a report
///
/// Compares generated maps with held-out real ones in pixel distribution, power spectrum and its
/// covariance, Minkowski functionals, peak counts and moments, beside what two sets of real maps
/// show: real maps are dealt by parent into the set that generated maps are compared with and a second
/// set, the noise floor. Writes report.html, statistics.json, arrays.npz and figures into --out. With
/// --checkpoint alone, real maps are those that its run held out, and copies are looked for among those that
/// it was trained on.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("maps to judge").args(["generated", "checkpoint"]).required(true)))]
pub struct EvaluateArgs {
    /// Real maps, not trained on: files, directories or quoted patterns. Larger ones than the
    /// generated maps are cut into crops that do not overlap. Of files that the run of --checkpoint was
    /// trained on, only what it held out is taken [default: the test maps of that run]
    #[arg(long, value_name = "PATH", required_unless_present = "checkpoint", num_args = 1..)]
    real: Vec<PathBuf>,
    /// Generated maps
    #[arg(long, value_name = "PATH", num_args = 1..)]
    generated: Vec<PathBuf>,
    /// A generator to make them with instead: checkpoint file, or a run directory
    #[arg(long, value_name = "FILE|DIR")]
    checkpoint: Option<PathBuf>,
    /// Maps that the generator was trained on: says whether it remembers them [default: the
    /// training maps of the run of --checkpoint, if they can be had]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    train: Vec<PathBuf>,
    /// Side of a whole real map in degrees, where neither files nor the checkpoint tell it
    #[arg(long, value_name = "DEGREES", allow_negative_numbers = true)]
    angle: Option<f64>,
    /// Consecutive real maps of a file that were cut from one parent
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    crops_per_parent: Option<u32>,
    /// Most maps of each set [default: all real ones, and as many generated ones]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(4..))]
    maps: Option<u32>,
    /// Maps of each set among which pairs are looked for that are alike (the birthday paradox; the
    /// paper: 32768) [default: as many as are compared, 4096 at most]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(64..=65_536))]
    birthday: Option<u32>,
    /// Edges of the power spectrum's bins (multipoles) as in numpy.arange; the paper's are
    /// 200:50000:200 [default: one bin a multiple of 360 degrees over the side]
    #[arg(long, value_name = "A:B:STEP", value_parser = l_edges)]
    l_edges: Option<Edges>,
    /// Smooth all maps with a Gaussian of this standard deviation
    #[arg(long, value_name = "ARCMIN", allow_negative_numbers = true)]
    smooth: Option<f64>,
    /// Add the shape noise of this many galaxies a square arc minute to all maps
    #[arg(long, value_name = "N_GAL", allow_negative_numbers = true)]
    shape_noise: Option<f64>,
    /// Measure bispectra, too
    #[arg(long)]
    bispectrum: bool,
    /// Random permutations of parents behind each p-value
    #[arg(long, value_name = "N", default_value_t = 999,
          value_parser = clap::value_parser!(u32).range(19..=1_000_000))]
    permutations: u32,
    /// Seed of generated maps, of how real maps are dealt, and of permutations
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Directory of the report; made where it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    picture: PictureArgs,
    /// Maps made at a time
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Maps among which pairs are looked for where nobody said how many: seconds.
const BIRTHDAY: usize = 4096;

/// Edges of bins, `200:50000:200`, as `numpy.arange` has them.
fn l_edges(text: &str) -> Result<Edges, String> {
    let numbers: Result<Vec<f64>, _> = text.split(':').map(|part| part.trim().parse()).collect();
    let edges = match numbers.as_deref() {
        Ok([from, to, step]) => arange(*from, *to, *step).map_err(|error| error.to_string())?,
        _ => return Err("three numbers are needed, such as 200:50000:200".to_owned()),
    };
    Ok(Edges(edges))
}

/// Edges of bins: one value of an option.
#[derive(Clone, Debug)]
struct Edges(Vec<f64>);

/// Runs the command.
pub fn run(arguments: &EvaluateArgs) -> Result<()> {
    if arguments.out.exists() && !arguments.out.is_dir() {
        bail!("--out {} is no directory", arguments.out.display());
    }
    let stop = Stop::install().context("cannot listen for Ctrl-C")?;
    let outcome = match &arguments.checkpoint {
        Some(path) => made::of_checkpoint(arguments, path, &stop)?,
        None => of_files(arguments, &stop)?,
    };
    let page = outcome.write(&arguments.out)?;
    tell(&outcome);
    say(&format!("report: {}", page.display()));
    Ok(())
}

/// The verdict, as on the page.
fn tell(outcome: &Outcome) {
    let verdict = &outcome.evaluation.verdict;
    say(&verdict.headline);
    for sentence in &verdict.sentences {
        let word = match sentence.grade {
            Grade::Agrees => "agrees ",
            Grade::Slight => "small  ",
            Grade::Fails => "DIFFERS",
            Grade::Untestable => "unknown",
        };
        say(&format!("  {word}  {}", sentence.text));
    }
    for caveat in &verdict.caveats {
        say(&format!("  note     {caveat}"));
    }
}

fn of_files(arguments: &EvaluateArgs, stop: &Stop) -> Result<Outcome> {
    let maps = open("generated", &arguments.generated)?;
    let told = maps.common_provenance(&Provenance::default())?;
    let side = maps.side(0);
    let real = arguments.real_of_files(side)?;
    let settings = arguments.settings(&real.maps, told.pixel_deg, side)?;
    let rules = CropRules {
        crops_per_parent: Some(1),
        ..arguments.rules(side)
    };
    let [first, second] = &real.sets;
    let most = first.len().max(second.len());
    let generated = Pool::whole("generated", &maps, origin(&arguments.generated), rules)?;
    let sets = Sets {
        generated: generated.source(most.max(arguments.birthday_of(most)))?,
        compared: most,
        real,
        features: None,
        interpolation: None,
    };
    evaluate_sets(arguments, sets, settings, stop)
}

/// What is evaluated.
struct Sets<'a> {
    real: RealMaps,
    generated: MapSource<'a>,
    /// Generated maps that are compared with real ones.
    compared: usize,
    features: Option<Features<'a>>,
    interpolation: Option<Strip>,
}

fn evaluate_sets(
    arguments: &EvaluateArgs,
    sets: Sets<'_>,
    settings: Settings,
    stop: &Stop,
) -> Result<Outcome> {
    let [real, second_real] = sets.real.sets;
    let bar: RefCell<Option<(&'static str, CountBar)>> = RefCell::new(None);
    let progress = |label: &'static str, done: usize, of: usize| {
        if let Some(signal) = stop.requested() {
            return Err(EvaluateError::Stopped(signal.to_string()));
        }
        let mut bar = bar.borrow_mut();
        if bar.as_ref().is_none_or(|(last, _)| *last != label) {
            *bar = Some((label, CountBar::new(label)));
        }
        if let Some((_, bar)) = &*bar {
            bar.show(done, of);
            if done == of {
                bar.finish();
            }
        }
        Ok(())
    };
    let request = Request {
        training: sets.real.training,
        real,
        second_real,
        generated: sets.generated,
        compared: sets.compared,
        birthday: arguments.birthday_of(sets.compared),
        features: sets.features,
        settings,
        permutations: arguments.permutations as usize,
        style: arguments.picture.style,
        interpolation: sets.interpolation,
        notes: sets.real.notes,
        program: concat!("cosmogan ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    Ok(evaluate(request, &progress)?)
}

impl EvaluateArgs {
    /// Maps among which pairs are looked for, where `compared` are compared.
    fn birthday_of(&self, compared: usize) -> usize {
        self.birthday
            .map_or(compared.min(BIRTHDAY), |maps| maps as usize)
    }

    fn rules(&self, side: usize) -> CropRules {
        CropRules {
            side,
            crops_per_parent: self.crops_per_parent.map(|k| k as usize),
            seed: self.seed,
        }
    }

    /// What all sets are measured with; `told` are degrees a pixel of the generated maps.
    fn settings(&self, real: &Maps, told: Option<f64>, side: usize) -> Result<Settings> {
        let asked = Provenance {
            side_deg: self.angle,
            ..Provenance::default()
        };
        if let Some(angle) = self.angle
            && !(angle > 0.0 && angle <= 180.0)
        {
            bail!("--angle is {angle}: it is the side of a map, above 0 and up to 180 degrees");
        }
        for (name, value) in [
            ("--smooth", self.smooth),
            ("--shape-noise", self.shape_noise),
        ] {
            if let Some(value) = value
                && !(value > 0.0 && value.is_finite())
            {
                bail!("{name} is {value}: it must be above 0");
            }
        }
        let MapsProvenance { pixel_deg, .. } = real.common_provenance(&asked)?;
        let pixel_deg = match (pixel_deg, told) {
            (Some(real), Some(generated)) if (real / generated - 1.0).abs() > 1e-3 => {
                return Err(EvaluateError::Scale { generated, real }.into());
            }
            (Some(pixel), _) | (None, Some(pixel)) => pixel,
            (None, None) => return Err(EvaluateError::NoAngle.into()),
        };
        Ok(Settings {
            angle_deg: pixel_deg * side as f64,
            l_edges: self.l_edges.as_ref().map(|edges| edges.0.clone()),
            smooth_arcmin: self.smooth,
            shape_noise: self.shape_noise,
            seed: self.seed,
            bispectrum: self.bispectrum,
        })
    }
}

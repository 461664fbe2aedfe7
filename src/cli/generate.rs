//! `cosmogan generate`: maps from a trained generator.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use ndarray::Array2;
use ndarray_npy::ReadNpyExt;
use serde_json::{Value, json};

use super::device::{Work, with_batch_advice};
use super::options::{DeviceArgs, PictureArgs};
use super::parse::{MapFormat, map_format, map_path};
use super::progress::CountBar;
use super::{names_of, say};
use cosmogan::backend::{Backend, BackendError};
use cosmogan::data::{MapFormat as ValueFormat, MapSet, Transforms, write_maps};
use cosmogan::model::Architecture;
use cosmogan::report::{PictureStyle, maps_png};
use cosmogan::rng::Stream;
use cosmogan::train::checkpoint::Description;
use cosmogan::train::{
    CheckpointFile, LoadedGenerator, Stop, Weights, generator_arena_len, latents, locate,
    provenance_of, transform_of,
};

/// Generate maps with a trained generator
///
/// Uses the moving average of the generator's weights and its running statistics, and undoes the
/// transform of the training maps: the values are physical. Maps are written as they are made, over
/// what --out held before.
#[derive(Args, Debug)]
pub struct GenerateArgs {
    /// Checkpoint file, or a run directory: its best checkpoint, else its last
    #[arg(long, value_name = "FILE|DIR")]
    checkpoint: PathBuf,
    /// Number of maps
    #[arg(long, value_name = "N", required_unless_present = "latents",
          conflicts_with = "latents", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Seed of the latent vectors: map i of a seed is the same for every count and batch
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        conflicts_with = "latents"
    )]
    seed: u64,
    /// Latent vectors to use instead: .npy, float32, [N, latent]
    #[arg(long, value_name = "FILE.npy")]
    latents: Option<PathBuf>,
    /// Where the maps go: .npy (float32, [N, H, W], or [N, H, W, C] of several channels, with what
    /// is known of them in FILE.npy.json), .fits (float32, with LensTools' header; maps.fits of
    /// one map, maps-00001.fits and so on of more) or .png (a grid of pictures)
    #[arg(long, value_name = "FILE", value_parser = map_path)]
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

/// Latent vectors of the maps.
#[derive(Debug, PartialEq, Eq)]
pub enum Latents {
    Drawn { count: u64, seed: u64 },
    File(PathBuf),
}

/// What is to be generated from what.
#[derive(Debug)]
pub struct GeneratePlan {
    pub checkpoint: CheckpointFile,
    pub latents: Latents,
    pub out: PathBuf,
    pub format: MapFormat,
    pub batch: usize,
    pub device: DeviceArgs,
}

impl GenerateArgs {
    /// Opens the checkpoint; nothing is written.
    ///
    /// # Errors
    /// No checkpoint there, or one that cannot be read.
    pub fn plan(&self) -> Result<GeneratePlan> {
        let latents = match (&self.latents, self.count) {
            (Some(file), _) => Latents::File(file.clone()),
            (None, Some(count)) => Latents::Drawn {
                count,
                seed: self.seed,
            },
            (None, None) => bail!("give --count or --latents"),
        };
        let format = map_format(&self.out).context("--out must end in .fits, .npy or .png")?;
        Ok(GeneratePlan {
            checkpoint: open_checkpoint(&self.checkpoint)?,
            latents,
            out: self.out.clone(),
            format,
            batch: self.batch as usize,
            device: self.device,
        })
    }
}

/// The checkpoint that `path` means. A training that goes on may delete the one that was found before
/// it is opened: then another has taken its place.
pub fn open_checkpoint(path: &Path) -> Result<CheckpointFile> {
    let mut chances = 5;
    loop {
        let located = locate(path).context("cannot use --checkpoint")?;
        chances -= 1;
        match CheckpointFile::open(&located.path) {
            Err(error) if error.is_missing_file() && chances > 0 => {}
            opened => return Ok(opened?),
        }
    }
}

/// Runs the command.
pub fn run(arguments: &GenerateArgs) -> Result<()> {
    let mut plan = arguments.plan()?;
    let description = plan.checkpoint.description().clone();
    let architecture = &description.architecture;
    let (side, channels) = (architecture.map_size, architecture.channels);
    if channels != 1 && plan.format != MapFormat::Values(ValueFormat::Npy) {
        bail!("the generator makes maps of {channels} channels; only .npy files can hold them");
    }
    let provenance = provenance_of(&description)?;
    let latents = LatentSource::open(&plan.latents, architecture.latent)?;
    let count = latents.count();
    let transform = transform_of(&description)?;
    let weights = plan.checkpoint.generator_ema()?;
    let batch = plan.batch.min(count);
    let device = plan.device.select()?;
    let stop = Stop::install().context("cannot listen for Ctrl-C")?;
    say(&format!(
        "{count} maps of {side}x{side} pixels from the averaged generator of step {}, in {}, on {}",
        description.step,
        device.arithmetic().describe(),
        device.describe(),
    ));
    let made = device.run(Generating {
        plan: &plan,
        style: arguments.picture.style,
        architecture,
        weights: &weights,
        latents: &latents,
        transform: &transform,
        batch,
        set: MapSet {
            maps: count,
            side,
            channels,
            provenance: &provenance,
            extra: origin(&description, &plan.latents),
        },
        stop: &stop,
    });
    let arena_len = |batch| generator_arena_len(architecture, batch, device.precision());
    let (written, seconds) = made.map_err(|error| with_batch_advice(error, batch, arena_len))?;
    let rate = count as f64 / seconds;
    let names = names_of(&written);
    say(&format!("{names}: {seconds:.1} s, {rate:.1} maps/s"));
    let fits = plan.format == MapFormat::Values(ValueFormat::Fits);
    if fits && provenance.side_deg.is_none() {
        say(
            "the maps' side in degrees is unknown, so the header has no ANGLE, which LensTools \
             needs: training with --angle would have told it",
        );
    }
    Ok(())
}

/// The maps, on whichever device serves.
struct Generating<'a> {
    plan: &'a GeneratePlan,
    style: PictureStyle,
    architecture: &'a Architecture,
    weights: &'a Weights,
    latents: &'a LatentSource,
    transform: &'a Transforms,
    batch: usize,
    set: MapSet<'a>,
    stop: &'a Stop,
}

impl Work for Generating<'_> {
    /// The files, and how many seconds the maps took.
    type Output = (Vec<PathBuf>, f64);

    fn on<B: Backend>(self, backend: impl Fn() -> Result<B, BackendError>) -> Result<Self::Output> {
        let Self { batch, set, .. } = self;
        let count = set.maps;
        let mut generator =
            LoadedGenerator::new(backend()?, self.architecture, self.weights, batch)?;
        let bar = CountBar::new("generating");
        let started = Instant::now();
        let mut make = |first: usize, maps: &mut Vec<f32>| -> io::Result<()> {
            if let Some(signal) = self.stop.requested() {
                let message = format!("stopped by {signal}; nothing was written");
                return Err(io::Error::new(io::ErrorKind::Interrupted, message));
            }
            let n = batch.min(count - first);
            maps.resize(n * self.architecture.map_len(), 0.0);
            let latents = self.latents.get(first, n);
            generator
                .sampler
                .run(&mut generator.backend, &latents, maps)
                .map_err(io::Error::other)?;
            self.transform.inverse(maps);
            bar.show(first + n, count);
            Ok(())
        };
        let out = &self.plan.out;
        let written = match self.plan.format {
            MapFormat::Values(format) => write_maps(out, format, &set, &mut make)?,
            MapFormat::Png => {
                let (mut all, mut maps) = (Vec::new(), Vec::new());
                for first in (0..count).step_by(batch) {
                    make(first, &mut maps)?;
                    all.extend_from_slice(&maps);
                }
                maps_png(out, &all, count, set.side, self.style)?;
                vec![out.clone()]
            }
        };
        bar.finish();
        Ok((written, started.elapsed().as_secs_f64()))
    }
}

/// What a sidecar tells of generated maps besides their cosmology.
fn origin(description: &Description, latents: &Latents) -> serde_json::Map<String, Value> {
    let latents = match latents {
        Latents::Drawn { seed, .. } => json!({ "seed": seed }),
        Latents::File(path) => json!({ "file": path.display().to_string() }),
    };
    let program = concat!("cosmogan ", env!("CARGO_PKG_VERSION"));
    let fields = [
        ("made_by", json!(program)),
        ("generator_step", json!(description.step)),
        ("training_maps", description.data["source"].clone()),
        ("latents", latents),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    fields.into_iter().collect()
}

/// Latent vectors as they are asked for.
enum LatentSource {
    Drawn {
        seed: u64,
        count: usize,
        latent: usize,
    },
    Read(Array2<f32>),
}

impl LatentSource {
    fn open(latents: &Latents, latent: usize) -> Result<Self> {
        let path = match latents {
            Latents::Drawn { count, seed } => {
                let (seed, count) = (*seed, usize::try_from(*count)?);
                return Ok(Self::Drawn {
                    seed,
                    count,
                    latent,
                });
            }
            Latents::File(path) => path,
        };
        let name = path.display();
        let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
        let read = Array2::<f32>::read_npy(BufReader::new(file))
            .with_context(|| format!("{name} is not a float32 .npy array [N, {latent}]"))?;
        let (count, found) = read.dim();
        if found != latent || count == 0 {
            bail!("{name} has shape [{count}, {found}]; this generator needs [N, {latent}], N > 0");
        }
        if let Some(((vector, _), value)) = read.indexed_iter().find(|(_, v)| !v.is_finite()) {
            bail!("{name}: latent vector {vector} holds {value}");
        }
        Ok(Self::Read(read))
    }

    fn count(&self) -> usize {
        match self {
            Self::Drawn { count, .. } => *count,
            Self::Read(vectors) => vectors.nrows(),
        }
    }

    /// Vectors `first .. first + n`, `[n, latent]`.
    fn get(&self, first: usize, n: usize) -> Vec<f32> {
        match self {
            Self::Drawn { seed, latent, .. } => {
                latents(*seed, Stream::Generate, first as u64, n, *latent)
            }
            Self::Read(vectors) => {
                let rows = vectors.slice(ndarray::s![first..first + n, ..]);
                rows.iter().copied().collect()
            }
        }
    }
}

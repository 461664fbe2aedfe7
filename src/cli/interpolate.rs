//! `cosmogan interpolate`: maps along great circles between latent vectors.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::device::{Work, with_batch_advice};
use super::generate::open_checkpoint;
use super::options::{DeviceArgs, PictureArgs};
use super::progress::CountBar;
use super::say;
use cosmogan::backend::{Backend, BackendError};
use cosmogan::data::{MapFormat, MapSet, Transforms, write_maps};
use cosmogan::model::{Architecture, slerp};
use cosmogan::report::Stretch;
use cosmogan::report::strip::{Row, Strip};
use cosmogan::rng::Stream;
use cosmogan::train::{
    LoadedGenerator, Stop, Weights, generator_arena_len, latents, provenance_of, transform_of,
};

/// Draw maps on the way from one latent vector to another
///
/// Each strip walks along the great circle between two random latent vectors. A generator that learned
/// the distribution of maps changes them smoothly; one that remembers maps jumps from one to the next.
#[derive(Args, Debug)]
pub struct InterpolateArgs {
    /// Checkpoint file, or a run directory: its best checkpoint, else its last
    #[arg(long, value_name = "FILE|DIR")]
    checkpoint: PathBuf,
    /// Strips, each between two new vectors
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..=64))]
    strips: u32,
    /// Maps of a strip, its ends included
    #[arg(long, value_name = "N", default_value_t = 7,
          value_parser = clap::value_parser!(u32).range(2..=64))]
    frames: u32,
    /// Seed of the latent vectors: ends are maps that `cosmogan generate` makes of it
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Where it goes: .png or .svg (pictures), or .npy (float32, [strips * frames, H, W])
    #[arg(long, value_name = "FILE", value_parser = ending)]
    out: PathBuf,
    #[command(flatten)]
    picture: PictureArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

fn ending(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let known = |ending: &std::ffi::OsStr| ["png", "svg", "npy"].iter().any(|e| ending == *e);
    match path.extension() {
        Some(ending) if known(ending) => Ok(path),
        _ => Err("the name must end in .png, .svg (pictures) or .npy (values)".to_owned()),
    }
}

/// Latent vectors `[strips * frames, latent]` along great circles; strip i runs between vectors 2 i and
/// 2 i + 1 of the seed.
pub fn walks(seed: u64, strips: usize, frames: usize, latent: usize) -> Vec<f32> {
    let ends = latents(seed, Stream::Generate, 0, 2 * strips, latent);
    let mut vectors = Vec::with_capacity(strips * frames * latent);
    for pair in ends.chunks_exact(2 * latent) {
        let (from, to) = pair.split_at(latent);
        for frame in 0..frames {
            let share = frame as f64 / (frames - 1).max(1) as f64;
            vectors.extend(slerp(from, to, share));
        }
    }
    vectors
}

/// The strips of `maps` `[strips * frames, side, side]`.
pub fn strip_of(maps: &[f32], side: usize, frames: usize) -> Strip {
    let rows = maps
        .chunks(side * side * frames)
        .enumerate()
        .map(|(index, maps)| Row {
            label: format!("strip {}", index + 1),
            maps: maps
                .chunks(side * side)
                .enumerate()
                .map(|(frame, map)| {
                    let share = frame as f64 / (frames - 1).max(1) as f64;
                    (map.to_vec(), format!("t = {share:.2}"))
                })
                .collect(),
        });
    Strip {
        title: "Maps along great circles between two latent vectors".to_owned(),
        quantity: "convergence \u{3ba}".to_owned(),
        side,
        rows: rows.collect(),
    }
}

/// Runs the command.
pub fn run(arguments: &InterpolateArgs) -> Result<()> {
    let mut checkpoint = open_checkpoint(&arguments.checkpoint)?;
    let description = checkpoint.description().clone();
    let architecture = &description.architecture;
    let (side, channels) = (architecture.map_size, architecture.channels);
    if channels != 1 {
        bail!("the generator makes maps of {channels} channels; maps of one channel are drawn");
    }
    let provenance = provenance_of(&description)?;
    let transform = transform_of(&description)?;
    let weights = checkpoint.generator_ema()?;
    let device = arguments.device.select()?;
    let stop = Stop::install().context("cannot listen for Ctrl-C")?;
    let (strips, frames) = (arguments.strips as usize, arguments.frames as usize);
    let maps = strips * frames;
    say(&format!(
        "{strips} strips of {frames} maps of {side}x{side} pixels from the averaged generator of step {}, in {}, on {}",
        description.step,
        device.arithmetic().describe(),
        device.describe(),
    ));
    let batch = maps.min(64);
    let made = device.run(Walking {
        architecture,
        weights: &weights,
        transform: &transform,
        vectors: walks(arguments.seed, strips, frames, architecture.latent),
        batch,
        stop: &stop,
    });
    let arena_len = |batch| generator_arena_len(architecture, batch, device.precision());
    let values = made.map_err(|error| with_batch_advice(error, batch, arena_len))?;
    let out = &arguments.out;
    if out.extension().is_some_and(|ending| ending == "npy") {
        let set = MapSet {
            maps,
            side,
            channels,
            provenance: &provenance,
            extra: serde_json::Map::new(),
        };
        write_maps(out, MapFormat::Npy, &set, &mut |_, pixels| {
            pixels.clone_from(&values);
            Ok(())
        })?;
    } else {
        let stretch = Stretch::of(&values, arguments.picture.style)?;
        let canvas = strip_of(&values, side, frames).draw(&stretch, 160)?;
        match out.extension() {
            Some(ending) if ending == "svg" => canvas.write_svg(out)?,
            _ => canvas.write_png(out)?,
        }
    }
    say(&out.display().to_string());
    Ok(())
}

/// Maps of given latent vectors, on whichever device serves.
struct Walking<'a> {
    architecture: &'a Architecture,
    weights: &'a Weights,
    transform: &'a Transforms,
    vectors: Vec<f32>,
    batch: usize,
    stop: &'a Stop,
}

impl Work for Walking<'_> {
    type Output = Vec<f32>;

    fn on<B: Backend>(self, backend: impl Fn() -> Result<B, BackendError>) -> Result<Vec<f32>> {
        let mut generator =
            LoadedGenerator::new(backend()?, self.architecture, self.weights, self.batch)?;
        let (latent, map) = (self.architecture.latent, self.architecture.map_len());
        let count = self.vectors.len() / latent;
        let mut maps = vec![0.0; count * map];
        let bar = CountBar::new("generating");
        let pieces = self.vectors.chunks(self.batch * latent);
        for (index, (vectors, maps)) in pieces.zip(maps.chunks_mut(self.batch * map)).enumerate() {
            if let Some(signal) = self.stop.requested() {
                bail!("stopped by {signal}; nothing was written");
            }
            generator
                .sampler
                .run(&mut generator.backend, vectors, maps)?;
            self.transform.inverse(maps);
            bar.show(
                (index * self.batch + vectors.len() / latent).min(count),
                count,
            );
        }
        bar.finish();
        Ok(maps)
    }
}

//! `cosmogan generate`: maps from a trained generator.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::parse::{MapFormat, map_format, map_path, named};
use cosmogan::train::{CheckpointFile, DeviceChoice, locate};

/// Generate maps with a trained generator
///
/// Uses the moving average of the generator's weights and its running statistics, and undoes the
/// transform of the training maps: the values are physical. Maps are written as they are made.
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
    /// Where the maps go: .npy ([N, H, W], float32) or .png (a grid of pictures)
    #[arg(long, value_name = "FILE", value_parser = map_path)]
    out: PathBuf,
    /// Maps made at a time
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// Where to compute; auto takes a GPU if there is a usable one
    #[arg(long, value_name = "NAME", default_value = "auto",
          value_parser = named::<DeviceChoice>(&["auto", "cpu"]))]
    device: DeviceChoice,
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
    pub device: DeviceChoice,
}

impl GenerateArgs {
    /// Opens the checkpoint; nothing is written.
    ///
    /// # Errors
    /// No checkpoint there, or one that cannot be read.
    pub fn plan(&self) -> Result<GeneratePlan> {
        let located = locate(&self.checkpoint).context("cannot use --checkpoint")?;
        let latents = match (&self.latents, self.count) {
            (Some(file), _) => Latents::File(file.clone()),
            (None, Some(count)) => Latents::Drawn {
                count,
                seed: self.seed,
            },
            (None, None) => bail!("give --count or --latents"),
        };
        let format = map_format(&self.out).context("--out must end in .npy or .png")?;
        Ok(GeneratePlan {
            checkpoint: CheckpointFile::open(&located.path)?,
            latents,
            out: self.out.clone(),
            format,
            batch: self.batch as usize,
            device: self.device,
        })
    }
}

/// Runs the command.
pub fn run(arguments: &GenerateArgs) -> Result<()> {
    let plan = arguments.plan()?;
    let GeneratePlan {
        checkpoint,
        latents,
        out,
        format,
        batch,
        device,
    } = plan;
    bail!(
        "step {} is ready to make {latents:?} in batches of {batch} on {device:?} as {format:?} \
         in {}, but this build cannot generate yet",
        checkpoint.description().step,
        out.display()
    )
}

//! The maps of a checkpoint's generator, and what its discriminator sees in them.

use std::cell::RefCell;
use std::path::Path;

use anyhow::{Result, bail};

use super::super::device::{Work, with_batch_advice};
use super::super::generate::open_checkpoint;
use super::super::interpolate::{strip_of, walks};
use super::super::say;
use super::real::RealMaps;
use super::{EvaluateArgs, Sets, evaluate_sets};
use cosmogan::backend::{Backend, BackendError};
use cosmogan::data::Transforms;
use cosmogan::evaluate::{EvaluateError, Features, MapSource, Outcome, Settings};
use cosmogan::rng::Stream;
use cosmogan::train::{
    CheckpointFile, LoadedFeatures, LoadedGenerator, Stop, Weights, generator_arena_len, latents,
    provenance_of, transform_of,
};

/// Interpolations on the page, and maps of each.
const STRIPS: usize = 3;
const FRAMES: usize = 7;
/// Bytes of generated maps that stay in memory: making them again takes longer than all else.
const KEPT: usize = 1 << 30;

/// Makes the maps of the generator at `path` and evaluates them.
pub fn of_checkpoint(arguments: &EvaluateArgs, path: &Path, stop: &Stop) -> Result<Outcome> {
    let mut checkpoint = open_checkpoint(path)?;
    let description = checkpoint.description().clone();
    let architecture = &description.architecture;
    let (side, channels) = (architecture.map_size, architecture.channels);
    if channels != 1 {
        bail!("the generator makes maps of {channels} channels; maps of one channel are evaluated");
    }
    let told = provenance_of(&description)?.side_deg;
    let real = arguments.real_of_run(&description, checkpoint.path())?;
    let settings = arguments.settings(&real.maps, told.map(|angle| angle / side as f64), side)?;
    let transform = transform_of(&description)?;
    let weights = checkpoint.generator_ema()?;
    let judge = checkpoint.discriminator()?;
    let device = arguments.device.select()?;
    let maps = real.sets[0].len();
    let batch = (arguments.batch as usize).min(maps);
    say(&format!(
        "{maps} maps of {side}x{side} pixels from the averaged generator of step {}, in {}, on {}",
        description.step,
        device.arithmetic().describe(),
        device.describe(),
    ));
    let made = device.run(Evaluating {
        arguments,
        checkpoint: &checkpoint,
        weights: &weights,
        judge: &judge,
        transform: &transform,
        batch,
        real,
        settings,
        stop,
    });
    let arena_len = |batch| generator_arena_len(architecture, batch, device.precision());
    made.map_err(|error| with_batch_advice(error, batch, arena_len))
}

/// An evaluation of a generator, on whichever device serves.
struct Evaluating<'a> {
    arguments: &'a EvaluateArgs,
    checkpoint: &'a CheckpointFile,
    weights: &'a Weights,
    /// The discriminator.
    judge: &'a Weights,
    transform: &'a Transforms,
    batch: usize,
    real: RealMaps,
    settings: Settings,
    stop: &'a Stop,
}

impl Work for Evaluating<'_> {
    type Output = Outcome;

    fn on<B: Backend>(self, backend: impl Fn() -> Result<B, BackendError>) -> Result<Outcome> {
        let description = self.checkpoint.description();
        let architecture = &description.architecture;
        let generator = LoadedGenerator::new(backend()?, architecture, self.weights, self.batch)?;
        let generator = RefCell::new(generator);
        let seed = self.arguments.seed;
        let make = |vectors: &[f32], out: &mut [f32]| -> Result<(), BackendError> {
            let generator = &mut *generator.borrow_mut();
            let pieces = vectors.chunks(self.batch * architecture.latent);
            for (vectors, maps) in pieces.zip(out.chunks_mut(self.batch * architecture.map_len())) {
                let LoadedGenerator {
                    backend, sampler, ..
                } = &mut *generator;
                sampler.run(backend, vectors, maps)?;
                self.transform.inverse(maps);
            }
            Ok(())
        };
        let side = architecture.map_size;
        let vectors = walks(seed, STRIPS, FRAMES, architecture.latent);
        let mut walked = vec![0.0; STRIPS * FRAMES * architecture.map_len()];
        make(&vectors, &mut walked)?;
        let interpolation = strip_of(&walked, side, FRAMES);
        let maps = self.real.sets[0].len();
        let origin = format!("{}, seed {seed}", self.checkpoint.path().display());
        let fill = |indices: &[usize], out: &mut [f32]| {
            let vector =
                |&map: &usize| latents(seed, Stream::Generate, map as u64, 1, architecture.latent);
            let vectors: Vec<f32> = indices.iter().flat_map(vector).collect();
            make(&vectors, out).map_err(|error| EvaluateError::Generate(Box::new(error)))
        };
        let units = (0..maps.max(self.arguments.birthday_of(maps)) as u64).collect();
        let generated = MapSource::new("generated", origin, side, units, Box::new(fill));
        let mut judge = LoadedFeatures::new(backend()?, architecture, self.judge, self.batch)?;
        let transform = self.transform;
        let features = Features {
            len: judge.len(),
            words: judge.words(),
            of: Box::new(move |maps, out| {
                let mut maps = maps.to_vec();
                transform.forward(&mut maps);
                let failed = |error| EvaluateError::Generate(Box::new(error));
                judge.run(&maps, out).map_err(failed)
            }),
        };
        let sets = Sets {
            real: self.real,
            generated: generated.keep(KEPT),
            compared: maps,
            features: Some(features),
            interpolation: Some(interpolation),
        };
        evaluate_sets(self.arguments, sets, self.settings, self.stop)
    }
}

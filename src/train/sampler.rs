//! A generator at work: latent vectors to maps, batch by batch, with running statistics.

use std::sync::Arc;

use super::restore::Weights;
use super::step::Players;
use crate::backend::{Backend, BackendError, Precision, StepScalars, View};
use crate::model::{Architecture, discriminator, generator};
use crate::rng::{Philox, Stream};
use crate::tape::{Mode, NetworkMemory, Player, Program};

/// Runs a generator whose weights lie in a backend's arena.
pub struct Sampler {
    program: Program,
    latent: View,
    output: View,
    batch: usize,
    latent_len: usize,
    map_len: usize,
}

/// Latent vectors `[count, latent]`: vector `i` depends on the seed, the stream and `i` only.
pub fn latents(seed: u64, stream: Stream, first: u64, count: usize, latent: usize) -> Vec<f32> {
    let mut values = vec![0.0; count * latent];
    for (index, vector) in values.chunks_exact_mut(latent).enumerate() {
        Philox::new(seed, stream, first + index as u64).fill_normal(vector);
    }
    values
}

impl Sampler {
    /// Records a forward pass of the generator with the weights in `memory`, `batch` maps at a
    /// time, behind the memory of `players`.
    pub fn new(players: &Players, memory: &NetworkMemory, batch: usize) -> Self {
        let mut tape = players.tape();
        let network = &players.generator;
        let input = tape.input(batch * network.input_len());
        let pass = tape.forward(Player::Generator, memory, Mode::Infer, batch, input, None);
        tape.keep(pass.output);
        let program = tape.plan();
        Self {
            latent: program.resolve(input),
            output: program.resolve(pass.output),
            program,
            batch,
            latent_len: network.input_len(),
            map_len: network.output_len(),
        }
    }

    /// Values that the arena must hold.
    pub fn arena_len(&self) -> usize {
        self.program.arena_len()
    }

    /// Maps at a time.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Values of a map.
    pub fn map_len(&self) -> usize {
        self.map_len
    }

    /// One batch: `latents` `[n, latent]` with n up to the batch size, to `maps` `[n, S, S, C]` in
    /// the generator's range (-1, 1). Overwrites whatever tape ran last.
    ///
    /// # Errors
    /// What went wrong on the backend's device.
    pub fn run(
        &self,
        backend: &mut impl Backend,
        latents: &[f32],
        maps: &mut [f32],
    ) -> Result<(), BackendError> {
        // Behind the last latent vector there are zeros, whose maps are computed and not read.
        let rest = self.latent.len - latents.len();
        backend.upload(self.latent.part(0, latents.len()), latents)?;
        if rest > 0 {
            backend.upload(self.latent.part(latents.len(), rest), &vec![0.0; rest])?;
        }
        self.program.run(backend, &StepScalars::default())?;
        backend.download(self.output.part(0, maps.len()), maps)
    }

    /// Any number of latent vectors `[n, latent]` to maps `[n, S, S, C]`.
    ///
    /// # Errors
    /// What went wrong on the backend's device.
    pub fn run_all(
        &self,
        backend: &mut impl Backend,
        latents: &[f32],
    ) -> Result<Vec<f32>, BackendError> {
        let count = latents.len() / self.latent_len;
        let mut maps = vec![0.0; count * self.map_len];
        let batches = latents.chunks(self.batch * self.latent_len);
        for (latents, maps) in batches.zip(maps.chunks_mut(self.batch * self.map_len)) {
            self.run(backend, latents, maps)?;
        }
        Ok(maps)
    }
}

/// Measures the running statistics that belong to averaged weights.
///
/// Those of the training generator do not: the averaged weights make other activations. So they
/// are measured afresh whenever they are needed, over [`Calibration::BATCHES`] batches of fixed
/// latent vectors, each batch weighing the same: a pure function of the weights.
pub struct Calibration {
    program: Program,
    seed: u64,
}

impl Calibration {
    /// Batches that the statistics are averaged over.
    const BATCHES: usize = 16;

    /// Records the measurement for the generator in `memory`, with `batch` maps at a time.
    pub fn new(players: &Players, memory: &NetworkMemory, batch: usize, seed: u64) -> Self {
        let mut tape = players.tape();
        let len = batch * players.generator.input_len();
        let latents = tape.value(Self::BATCHES * len);
        tape.normals(latents, Stream::Calibration);
        for index in 0..Self::BATCHES {
            let mode = Mode::Train {
                groups: 1,
                momentum: 1.0 / (index + 1) as f64,
            };
            let input = latents.part(index * len, len);
            tape.forward(Player::Generator, memory, mode, batch, input, None);
        }
        let program = tape.plan();
        Self { program, seed }
    }

    /// Values that the arena must hold.
    pub fn arena_len(&self) -> usize {
        self.program.arena_len()
    }

    /// Sets the running statistics.
    ///
    /// # Errors
    /// What went wrong on the backend's device.
    pub fn run(&self, backend: &mut impl Backend) -> Result<(), BackendError> {
        let scalars = StepScalars {
            seed: self.seed,
            ..StepScalars::default()
        };
        self.program.run(backend, &scalars)
    }
}

/// Where a generator lies that nothing trains.
fn generator_alone(architecture: &Architecture, precision: Precision) -> Players {
    let network = generator(architecture);
    let mut end = 0;
    let memory = NetworkMemory::place(&network, false, &mut end);
    Players {
        generator: Arc::new(network),
        discriminator: Arc::new(discriminator(architecture)),
        generator_memory: memory,
        discriminator_memory: NetworkMemory::default(),
        average_memory: memory,
        end,
        precision,
    }
}

/// A generator alone, loaded for generating.
pub struct LoadedGenerator<B> {
    pub backend: B,
    pub sampler: Sampler,
    pub latent: usize,
}

/// Words of 4 bytes in the arena of a [`LoadedGenerator`] that makes `batch` maps at a time.
pub fn generator_arena_len(
    architecture: &Architecture,
    batch: usize,
    precision: Precision,
) -> usize {
    let players = generator_alone(architecture, precision);
    Sampler::new(&players, &players.generator_memory, batch).arena_len()
}

impl<B: Backend> LoadedGenerator<B> {
    /// Loads `weights` for `batch` maps at a time.
    ///
    /// # Errors
    /// Not enough memory, or a failing device.
    pub fn new(
        mut backend: B,
        architecture: &Architecture,
        weights: &Weights,
        batch: usize,
    ) -> Result<Self, BackendError> {
        let players = generator_alone(architecture, backend.precision());
        let memory = players.generator_memory;
        let sampler = Sampler::new(&players, &memory, batch);
        backend.reserve(sampler.arena_len())?;
        backend.upload(memory.parameters, &weights.parameters)?;
        backend.upload(memory.running, &weights.running)?;
        Ok(Self {
            backend,
            sampler,
            latent: architecture.latent,
        })
    }
}

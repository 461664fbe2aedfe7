//! A training step ready to run on any backend, with random weights and maps: for those who count and time.

use crate::backend::{Backend, BackendError, StepScalars};
use crate::model::{WhichNetwork, discriminator, generator, initial_parameters, initial_running};
use crate::rng::{Philox, Stream};
use crate::train::{Config, Options, Players, StepProgram};

/// Networks in a backend's memory and the program of their step.
pub struct Prepared {
    pub players: Players,
    pub step: StepProgram,
}

impl Prepared {
    /// The step of `config` at `batch`, not yet on any backend.
    pub fn new(config: &Config, batch: usize, precision: crate::backend::Precision) -> Self {
        let architecture = &config.architecture;
        let players = Players::place(
            generator(architecture),
            discriminator(architecture),
            precision,
        );
        let step = StepProgram::new(&players, &config.step, batch, Options::default());
        Self { players, step }
    }

    /// Writes weights, moments and maps to `backend`.
    ///
    /// # Errors
    /// Too little memory, or a failing device.
    pub fn upload<B: Backend>(&self, backend: &mut B, config: &Config) -> Result<(), BackendError> {
        let Self { players, step } = self;
        backend.reserve(step.program.arena_len())?;
        let (g, d) = (WhichNetwork::Generator, WhichNetwork::Discriminator);
        for (network, memory, which) in [
            (&players.generator, players.generator_memory, g),
            (&players.discriminator, players.discriminator_memory, d),
        ] {
            let parameters = initial_parameters(network, config.step.initialisation, 1, which);
            backend.upload(memory.parameters, &parameters)?;
            backend.upload(memory.running, &initial_running(network))?;
            for view in [memory.first_moment, memory.second_moment] {
                backend.upload(view, &vec![0.0; view.len])?;
            }
        }
        let average = players.average_memory.parameters;
        backend.upload(average, &vec![0.0; average.len])?;
        let mut real = vec![0.0; step.real.len];
        Philox::new(1, Stream::Benchmark, 0).fill_normal(&mut real);
        backend.upload(step.real, &real)
    }

    /// Makes step `number`, and gives its losses.
    ///
    /// # Errors
    /// A failing device.
    pub fn run<B: Backend>(&self, backend: &mut B, number: u64) -> Result<[f32; 3], BackendError> {
        self.start(backend, number)?;
        let mut losses = [0.0; 3];
        backend.download(self.step.losses, &mut losses)?;
        Ok(losses)
    }

    /// Begins step `number`.
    ///
    /// # Errors
    /// A failing device.
    pub fn start<B: Backend>(&self, backend: &mut B, number: u64) -> Result<(), BackendError> {
        let scalars = StepScalars {
            seed: 1,
            step: number,
            generator_rate: 2e-4,
            discriminator_rate: 2e-4,
            average_decay: 0.9,
        };
        self.step.program.run(backend, &scalars)
    }
}

//! The state of a training run on a backend: both networks, their optimisers, the average.

use std::collections::VecDeque;
use std::path::Path;

use super::checkpoint::{self, AdamSteps, CheckpointError, Description, NetworkState, Snapshot};
use super::config::Config;
use super::restore::{Checkpoint, TrainedNetwork};
use super::run::RunError;
use super::sampler::{Calibration, Sampler};
use super::step::{Options, Players, StepProgram};
use crate::backend::{Backend, BackendError, CropPlace, Posted, Precision, StepScalars, View};
use crate::data::TrainingSet;
use crate::model::{
    Network, WhichNetwork, discriminator, generator, initial_parameters, initial_running,
};
use crate::tape::NetworkMemory;

/// Losses of one step.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Losses {
    /// Of the discriminator: on real maps plus on generated ones.
    pub d_loss: f64,
    pub d_loss_real: f64,
    pub d_loss_fake: f64,
    /// Of the generator.
    pub g_loss: f64,
}

impl Losses {
    /// Whether training can go on from here.
    pub fn are_finite(&self) -> bool {
        self.d_loss.is_finite() && self.g_loss.is_finite()
    }
}

/// A planned step.
struct Planned {
    batch: usize,
    /// Whether its real maps are crops of those that the backend holds.
    held: bool,
    step: StepProgram,
}

/// Two networks in training.
pub struct Trainer<B> {
    backend: B,
    players: Players,
    /// Planned steps by batch size: the usual one, and that of an epoch's last batch.
    programs: Vec<Planned>,
    sampler: Sampler,
    calibration: Calibration,
    /// The step at which the average's running statistics were measured last.
    calibrated: Option<u64>,
    step: u64,
    seed: u64,
    average_decay: f64,
    step_config: super::StepConfig,
    /// What the configured learning rates are multiplied with.
    rate_factor: f64,
    /// The losses of steps that were asked for, oldest first.
    posted: VecDeque<Posted>,
}

/// Words of 4 bytes in the arena of a training with `config`, if it had `batch` maps in a step.
pub fn arena_len(config: &Config, batch: usize, precision: Precision) -> usize {
    let architecture = &config.architecture;
    let (generator, discriminator) = (generator(architecture), discriminator(architecture));
    let players = Players::place(generator, discriminator, precision);
    let average = &players.average_memory;
    let step = StepProgram::new(&players, &config.step, batch, Options::default());
    let lengths = [
        Sampler::new(&players, average, batch).arena_len(),
        Calibration::new(&players, average, batch, config.run.seed).arena_len(),
        step.program.arena_len(),
    ];
    lengths.into_iter().fold(0, usize::max)
}

impl<B: Backend> Trainer<B> {
    /// Two networks with their initial parameters.
    ///
    /// # Errors
    /// Not enough memory, or a failing device.
    pub fn new(backend: B, config: &Config) -> Result<Self, BackendError> {
        let mut trainer = Self::empty(backend, config)?;
        trainer.begin()?;
        Ok(trainer)
    }

    /// The networks as `checkpoint` holds them.
    ///
    /// # Errors
    /// Not enough memory, or a failing device.
    pub fn resume(
        backend: B,
        config: &Config,
        checkpoint: &Checkpoint,
    ) -> Result<Self, BackendError> {
        let mut trainer = Self::empty(backend, config)?;
        trainer.restore(checkpoint)?;
        Ok(trainer)
    }

    /// Goes to the initial state, with the configured learning rates.
    ///
    /// # Errors
    /// What went wrong on the device.
    pub fn begin(&mut self) -> Result<(), BackendError> {
        let Players {
            generator,
            discriminator,
            generator_memory,
            discriminator_memory,
            average_memory,
            ..
        } = self.players.clone();
        let (how, seed) = (self.step_config.initialisation, self.seed);
        let start = |network: &Network, which| {
            let parameters = initial_parameters(network, how, seed, which);
            (parameters, initial_running(network))
        };
        let g = start(&generator, WhichNetwork::Generator);
        let d = start(&discriminator, WhichNetwork::Discriminator);
        self.load(&generator_memory, &g.0, &g.1)?;
        self.load(&average_memory, &g.0, &g.1)?;
        self.load(&discriminator_memory, &d.0, &d.1)?;
        for memory in [generator_memory, discriminator_memory] {
            self.load_moments(&memory, &vec![0.0; memory.first_moment.len], None)?;
        }
        self.go_on_from(0, 1.0);
        Ok(())
    }

    /// Goes to the state of `checkpoint`, which fits the networks.
    ///
    /// # Errors
    /// What went wrong on the device.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), BackendError> {
        let Players {
            generator_memory,
            discriminator_memory,
            average_memory,
            ..
        } = self.players;
        let mut load = |memory: &NetworkMemory, network: &TrainedNetwork| {
            let weights = &network.weights;
            self.load(memory, &weights.parameters, &weights.running)?;
            self.load_moments(memory, &network.m, Some(&network.v))
        };
        load(&generator_memory, &checkpoint.generator)?;
        load(&discriminator_memory, &checkpoint.discriminator)?;
        let average = &checkpoint.generator_ema;
        self.load(&average_memory, &average.parameters, &average.running)?;
        let description = &checkpoint.description;
        self.go_on_from(description.step, description.recovery.rate_factor());
        Ok(())
    }

    fn go_on_from(&mut self, step: u64, rate_factor: f64) {
        self.step = step;
        self.rate_factor = rate_factor;
        self.calibrated = None;
        self.posted.clear();
    }

    /// From now on the configured learning rates are multiplied with `factor`.
    pub fn set_rate_factor(&mut self, factor: f64) {
        self.rate_factor = factor;
    }

    /// Learning rates of the generator and of the discriminator after `epochs` (with fractions).
    pub fn rates(&self, epochs: f64) -> [f64; 2] {
        let config = &self.step_config;
        [&config.generator_rate, &config.discriminator_rate]
            .map(|schedule| self.rate_factor * schedule.rate_at(epochs, self.step))
    }

    fn empty(mut backend: B, config: &Config) -> Result<Self, BackendError> {
        let architecture = &config.architecture;
        let (generator, discriminator) = (generator(architecture), discriminator(architecture));
        let players = Players::place(generator, discriminator, backend.precision());
        let sampler = Sampler::new(&players, &players.average_memory, config.run.batch);
        let average = &players.average_memory;
        let calibration = Calibration::new(&players, average, config.run.batch, config.run.seed);
        backend.reserve(sampler.arena_len().max(calibration.arena_len()))?;
        let mut trainer = Self {
            backend,
            players,
            programs: Vec::new(),
            sampler,
            calibration,
            calibrated: None,
            step: 0,
            seed: config.run.seed,
            average_decay: config.run.ema_decay,
            step_config: config.step.clone(),
            rate_factor: 1.0,
            posted: VecDeque::new(),
        };
        // Memory that a step lacks is told before anything is written.
        trainer.program(config.run.batch, false)?;
        Ok(trainer)
    }

    fn load(
        &mut self,
        memory: &NetworkMemory,
        parameters: &[f32],
        running: &[f32],
    ) -> Result<(), BackendError> {
        self.backend.upload(memory.parameters, parameters)?;
        self.backend.upload(memory.running, running)
    }

    fn load_moments(
        &mut self,
        memory: &NetworkMemory,
        first: &[f32],
        second: Option<&[f32]>,
    ) -> Result<(), BackendError> {
        self.backend.upload(memory.first_moment, first)?;
        self.backend
            .upload(memory.second_moment, second.unwrap_or(first))
    }

    /// The index of the planned step for `batch`, recorded now if this is its first use.
    fn program(&mut self, batch: usize, held: bool) -> Result<usize, BackendError> {
        let known = |planned: &Planned| (planned.batch, planned.held) == (batch, held);
        if let Some(index) = self.programs.iter().position(known) {
            return Ok(index);
        }
        let options = Options {
            held_maps: held,
            ..Options::default()
        };
        let step = StepProgram::new(&self.players, &self.step_config, batch, options);
        self.backend.reserve(step.program.arena_len())?;
        self.programs.push(Planned { batch, held, step });
        Ok(self.programs.len() - 1)
    }

    /// What the networks run on.
    pub fn backend(&mut self) -> &mut B {
        &mut self.backend
    }

    /// Steps done or asked for.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Makes one step on `real` `[batch, S, S, C]` in the generator's range; `epochs` done (with
    /// fractions) set the learning rates.
    ///
    /// # Errors
    /// Not enough memory for a batch size that was not met before, or a failing device.
    ///
    /// # Panics
    /// While the losses of another step have not been received.
    pub fn train(&mut self, real: &[f32], epochs: f64) -> Result<Losses, BackendError> {
        self.submit(real, epochs)?;
        assert_eq!(self.posted.len(), 1, "losses of an earlier step are left");
        self.receive()
    }

    /// Asks for a step (see [`Trainer::train`]) without waiting for it. At most
    /// [`Backend::POSTS_AHEAD`] + 1 steps may be under way.
    ///
    /// # Errors
    /// Not enough memory for a batch size that was not met before, or a failing device.
    pub fn submit(&mut self, real: &[f32], epochs: f64) -> Result<(), BackendError> {
        let batch = real.len() / self.players.discriminator.input_len();
        let index = self.program(batch, false)?;
        self.backend.upload(self.programs[index].step.real, real)?;
        self.submit_program(index, epochs)
    }

    /// Asks the backend to hold the maps of `set`; whether it does, and up to `batch` crops of
    /// them can be given to [`Trainer::submit_held`].
    ///
    /// # Errors
    /// A pixel that is not finite, or a failing device.
    pub fn hold(&mut self, set: &TrainingSet, batch: usize) -> Result<bool, RunError> {
        if !self.backend.hold(set.held_len(), batch)? {
            return Ok(false);
        }
        set.each_held(|offset, values| {
            Ok::<_, RunError>(self.backend.write_held(offset, values)?)
        })?;
        Ok(true)
    }

    /// [`Trainer::submit`] with crops of the maps that the backend holds.
    ///
    /// # Errors
    /// Not enough memory for a batch size that was not met before, or a failing device.
    pub fn submit_held(&mut self, real: &[CropPlace], epochs: f64) -> Result<(), BackendError> {
        let index = self.program(real.len(), true)?;
        self.backend.choose_crops(real)?;
        self.submit_program(index, epochs)
    }

    fn submit_program(&mut self, index: usize, epochs: f64) -> Result<(), BackendError> {
        let step = &self.programs[index].step;
        // At first the average follows faster than its decay allows: it would else remember the
        // initial weights for long.
        let done = self.step as f64;
        let [generator_rate, discriminator_rate] = self.rates(epochs);
        let scalars = StepScalars {
            seed: self.seed,
            step: self.step + 1,
            generator_rate,
            discriminator_rate,
            average_decay: self.average_decay.min((1.0 + done) / (10.0 + done)),
        };
        step.program.run(&mut self.backend, &scalars)?;
        self.posted.push_back(self.backend.post(step.losses)?);
        self.step += 1;
        Ok(())
    }

    /// Waits for the losses of the oldest step that was asked for.
    ///
    /// # Errors
    /// What went wrong on the device.
    ///
    /// # Panics
    /// If there is none.
    pub fn receive(&mut self) -> Result<Losses, BackendError> {
        let posted = self.posted.pop_front().expect("a step was asked for");
        let mut losses = [0.0f32; 3];
        self.backend.receive(posted, &mut losses)?;
        let [real, fake, generator] = losses.map(f64::from);
        Ok(Losses {
            d_loss: real + fake,
            d_loss_real: real,
            d_loss_fake: fake,
            g_loss: generator,
        })
    }

    /// Maps `[n, S, S, C]` in the generator's range that the averaged generator makes of
    /// `latents` `[n, latent]`.
    ///
    /// # Errors
    /// What went wrong on the device.
    pub fn sample(&mut self, latents: &[f32]) -> Result<Vec<f32>, BackendError> {
        self.calibrate()?;
        self.sampler.run_all(&mut self.backend, latents)
    }

    /// Measures the average's running statistics, unless they are those of this step.
    fn calibrate(&mut self) -> Result<(), BackendError> {
        if self.calibrated != Some(self.step) {
            self.calibration.run(&mut self.backend)?;
            self.calibrated = Some(self.step);
        }
        Ok(())
    }

    /// Writes a checkpoint. `describe` gets the number of steps done.
    ///
    /// # Errors
    /// A failure to write, or a value that is not finite: a diverged run replaces no checkpoint.
    pub fn save(
        &mut self,
        path: &Path,
        describe: impl FnOnce(u64, AdamSteps) -> Description,
    ) -> Result<(), CheckpointError> {
        self.calibrate()?;
        let steps = AdamSteps {
            generator: self.step,
            discriminator: self.step,
        };
        let description = describe(self.step, steps);
        let players = &self.players;
        let backend = &mut self.backend;
        let mut get = |view: View| -> Result<Vec<f32>, BackendError> {
            let mut values = vec![0.0; view.len];
            backend.download(view, &mut values)?;
            Ok(values)
        };
        let mut all = |memory: &NetworkMemory| -> Result<[Vec<f32>; 4], BackendError> {
            Ok([
                get(memory.parameters)?,
                get(memory.running)?,
                get(memory.first_moment)?,
                get(memory.second_moment)?,
            ])
        };
        let generator = all(&players.generator_memory)?;
        let discriminator = all(&players.discriminator_memory)?;
        let average_parameters = get(players.average_memory.parameters)?;
        let average_running = get(players.average_memory.running)?;
        checkpoint::write(
            path,
            &Snapshot {
                description: &description,
                generator: state(&self.players.generator, &generator),
                discriminator: state(&self.players.discriminator, &discriminator),
                average_parameters: &average_parameters,
                average_running: &average_running,
            },
        )
    }
}

fn state<'a>(network: &'a Network, values: &'a [Vec<f32>; 4]) -> NetworkState<'a> {
    let [parameters, running, m, v] = values;
    NetworkState {
        network,
        parameters,
        running,
        m,
        v,
    }
}

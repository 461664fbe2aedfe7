//! A training that leaves nothing behind: for comparisons of what it can be computed with.

use serde_json::Value;

use super::checkpoint::{AdamSteps, Description};
use super::config::Config;
use super::dataset::{Batches, Dataset};
use super::judge::Judge;
use super::restore::{Checkpoint, TrainedNetwork, Weights};
use super::run::RunError;
use super::trainer::{Losses, Trainer};
use crate::backend::Backend;
use crate::model::{
    Network, WhichNetwork, discriminator, generator, initial_parameters, initial_running,
};
use crate::rng::{Philox, Stream};
use crate::stats::Agreement;

/// What is trained, and from where.
#[derive(Clone, Copy)]
pub struct Trial<'a> {
    pub config: &'a Config,
    pub dataset: &'a Dataset,
    /// Steps that are made.
    pub steps: u64,
    /// The initial parameters are multiplied with 1 + this times N(0, 1) numbers, which are the same
    /// for the same seed.
    pub perturbation: f64,
}

/// What a trial came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// Of each step.
    pub losses: Vec<Losses>,
    /// The averaged generator behind the last step, against the validation maps; none where the
    /// losses stopped being finite, and the trial with them.
    pub agreement: Option<Agreement>,
}

impl Trial<'_> {
    /// Trains on `backend`. `progress` gets the number of steps done.
    ///
    /// # Errors
    /// Maps that cannot be read, too little memory, or a failing device.
    pub fn run<B: Backend>(
        &self,
        backend: B,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Tried, RunError> {
        let Self {
            config, dataset, ..
        } = *self;
        let mut trainer = Trainer::resume(backend, config, &self.beginning())?;
        let mut batches = dataset.batches(config, &mut trainer)?;
        // Of the training set's own epochs: rates that are given in epochs follow them.
        let (batch, drop_last) = (config.run.batch, config.step.drop_last);
        let per_epoch = dataset.training.steps_per_epoch(batch, drop_last) as f64;
        let mut losses = Vec::with_capacity(self.steps as usize);
        for step in 0..self.steps {
            let epochs = step as f64 / per_epoch;
            match &mut batches {
                Batches::Held(places) => trainer.submit_held(&places.of(step), epochs)?,
                Batches::Made(made) => trainer.submit(made.next(step)?, epochs)?,
            }
            let of_step = trainer.receive()?;
            losses.push(of_step);
            progress(step + 1);
            if !of_step.are_finite() {
                let agreement = None;
                return Ok(Tried { losses, agreement });
            }
        }
        let run = &config.run;
        let latent = config.architecture.latent;
        let judge = Judge::new(dataset, latent, run.seed, run.picture_style)?;
        let validation = judge.validate(|latents| trainer.sample(latents))?;
        Ok(Tried {
            losses,
            agreement: Some(validation.agreement),
        })
    }

    /// The initial state, perturbed.
    fn beginning(&self) -> Checkpoint {
        let architecture = &self.config.architecture;
        let start = |network: Network, which| {
            let weights = self.initial(&network, which);
            let moments = vec![0.0; weights.parameters.len()];
            TrainedNetwork {
                weights,
                m: moments.clone(),
                v: moments,
            }
        };
        let generator = start(generator(architecture), WhichNetwork::Generator);
        Checkpoint {
            description: Description {
                architecture: architecture.clone(),
                transform: Value::Null,
                config: String::new(),
                step: 0,
                adam_t: AdamSteps::default(),
                selection: Value::Null,
                data: Value::Null,
                recovery: Default::default(),
                precision: Default::default(),
            },
            generator_ema: generator.weights.clone(),
            generator,
            discriminator: start(discriminator(architecture), WhichNetwork::Discriminator),
        }
    }

    fn initial(&self, network: &Network, which: WhichNetwork) -> Weights {
        let (how, seed) = (self.config.step.initialisation, self.config.run.seed);
        let mut parameters = initial_parameters(network, how, seed, which);
        if self.perturbation != 0.0 {
            let mut factors = vec![0.0f32; parameters.len()];
            Philox::new(seed, Stream::Benchmark, which as u64).fill_normal(&mut factors);
            for (parameter, factor) in parameters.iter_mut().zip(factors) {
                *parameter *= 1.0 + self.perturbation as f32 * factor;
            }
        }
        Weights {
            parameters,
            running: initial_running(network),
        }
    }
}

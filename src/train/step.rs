//! One training step as a tape: the orders of update of the two conventions.

use std::sync::Arc;

use crate::backend::{Adam, FlipUnit, LabelFlip, Loss, Precision, Rate, Targets, View};
use crate::model::{Linear, Network};
use crate::rng::Stream;
use crate::tape::{Mode, NetworkMemory, Pass, Player, Program, Tape};

use super::{StepConfig, UpdateOrder};

/// The two networks and where they lie in the arena.
#[derive(Clone, Debug)]
pub struct Players {
    pub generator: Arc<Network>,
    pub discriminator: Arc<Network>,
    pub generator_memory: NetworkMemory,
    pub discriminator_memory: NetworkMemory,
    /// The exponential moving average of the generator.
    pub average_memory: NetworkMemory,
    /// First free place behind all of them.
    pub end: usize,
    /// Of what flows through them.
    pub precision: Precision,
}

impl Players {
    /// Lays out the lasting memory of both networks.
    pub fn place(generator: Network, discriminator: Network, precision: Precision) -> Self {
        let mut end = 0;
        let generator_memory = NetworkMemory::place(&generator, true, &mut end);
        let discriminator_memory = NetworkMemory::place(&discriminator, true, &mut end);
        let average_memory = NetworkMemory::place(&generator, false, &mut end);
        Self {
            generator: Arc::new(generator),
            discriminator: Arc::new(discriminator),
            generator_memory,
            discriminator_memory,
            average_memory,
            end,
            precision,
        }
    }

    /// An empty tape behind the networks' memory.
    pub fn tape(&self) -> Tape {
        let (generator, discriminator) = (&self.generator, &self.discriminator);
        let (generator, discriminator) = (Arc::clone(generator), Arc::clone(discriminator));
        Tape::new(generator, discriminator, self.end, self.precision)
    }
}

/// A training step for one batch size, planned.
pub struct StepProgram {
    pub program: Program,
    /// Real maps `[batch, S, S, channels]`, to be filled before each run.
    pub real: View,
    /// Latent vectors `[batch, latent]` of the (first) generator pass.
    pub latent: View,
    /// Latent vectors of the generator's half of an alternating step with fresh ones.
    pub generator_latent: Option<View>,
    /// What the (first) generator pass made.
    pub fake: View,
    /// What the generator's half of an alternating step with fresh latents made.
    pub generator_fake: Option<View>,
    /// Logits of the real and of the fake maps.
    pub real_logits: View,
    pub fake_logits: View,
    /// Logits of the generator's half of an alternating step.
    pub generator_logits: Option<View>,
    /// The gradient of the generator's loss with respect to the fake maps. It lasts only where
    /// [`StepProgram::new`] was asked to keep intermediate values.
    pub fake_gradient: View,
    /// [D on real, D on fake, G], one value each.
    pub losses: View,
}

/// What a recorder adds for tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The caller fills the latent vectors instead of the step drawing them.
    pub given_latents: bool,
    /// Values that a step would reuse the memory of stay readable after it.
    pub keep_values: bool,
    /// Real maps are crops of what the backend holds; nobody fills them.
    pub held_maps: bool,
}

struct Recorder<'a> {
    tape: Tape,
    players: &'a Players,
    config: &'a StepConfig,
    batch: usize,
    options: Options,
    losses: View,
    ones: View,
}

impl StepProgram {
    /// Records and plans a step on `batch` real and as many generated maps.
    pub fn new(players: &Players, config: &StepConfig, batch: usize, options: Options) -> Self {
        let mut tape = players.tape();
        let losses = tape.value(3);
        tape.keep(losses);
        let ones = tape.value(batch);
        let mut recorder = Recorder {
            tape,
            players,
            config,
            batch,
            options,
            losses,
            ones,
        };
        recorder.generator_targets();
        match config.update {
            UpdateOrder::Simultaneous => recorder.simultaneous(),
            UpdateOrder::Alternating => recorder.alternating(),
        }
    }
}

/// What both orders of update begin with.
struct Beginning {
    latent: View,
    real: View,
    fake: View,
    generator: Pass,
    discriminator: Pass,
}

impl Recorder<'_> {
    fn simultaneous(mut self) -> StepProgram {
        let start = self.begin();
        let batch = self.batch;
        let logits = start.discriminator.output;
        let fake_logits = logits.part(batch, batch);
        self.discriminator_gradient(&start.discriminator);
        let seed = self.generator_loss(fake_logits);
        let fake_gradient = self.tape.value(start.fake.len);
        let judged = (&start.discriminator, batch..2 * batch);
        self.generator_gradient(judged, &start.generator, seed, fake_gradient);
        self.update(Player::Discriminator);
        self.update(Player::Generator);
        self.finish(start, None, None, fake_gradient)
    }

    fn alternating(mut self) -> StepProgram {
        let start = self.begin();
        self.discriminator_gradient(&start.discriminator);
        self.update(Player::Discriminator);
        let (pass, fresh) = if self.config.fresh_latent {
            let (latent, pass) = self.generate(Stream::LatentGenerator, None);
            self.keep_if_asked(pass.output);
            let fresh = (latent, pass.output);
            (pass, Some(fresh))
        } else {
            (start.generator.clone(), None)
        };
        let memory = self.players.discriminator_memory;
        let mode = Mode::train(1);
        let (player, batch) = (Player::Discriminator, self.batch);
        let judged = self
            .tape
            .forward(player, &memory, mode, batch, pass.output, None);
        let seed = self.generator_loss(judged.output);
        let fake_gradient = self.tape.value(pass.output.len);
        self.generator_gradient((&judged, 0..batch), &pass, seed, fake_gradient);
        self.update(Player::Generator);
        self.finish(start, fresh, Some(judged.output), fake_gradient)
    }

    /// The targets of the generator's loss: 1, whatever the labels of the discriminator.
    fn generator_targets(&mut self) {
        let never = LabelFlip {
            probability: 0.0,
            per: FlipUnit::Batch,
        };
        self.tape.targets(Targets {
            real: self.ones,
            fake: View::default(),
            flip: never,
            smoothing: 0.0,
        });
    }

    fn generate(&mut self, stream: Stream, output: Option<View>) -> (View, Pass) {
        let len = self.batch * self.players.generator.input_len();
        let latent = if self.options.given_latents {
            self.tape.input(len)
        } else {
            let latent = self.tape.value(len);
            self.tape.normals(latent, stream);
            latent
        };
        let memory = self.players.generator_memory;
        let mode = Mode::train(1);
        let (player, batch) = (Player::Generator, self.batch);
        let pass = self
            .tape
            .forward(player, &memory, mode, batch, latent, output);
        (latent, pass)
    }

    /// One generator pass, and the discriminator on real and fake maps as one batch in two groups.
    fn begin(&mut self) -> Beginning {
        let len = self.batch * self.players.discriminator.input_len();
        let maps = self.tape.input(2 * len);
        let (real, fake) = (maps.part(0, len), maps.part(len, len));
        if self.options.held_maps {
            let (side, channels) = self.map_shape();
            self.tape.crops(real, side, channels);
        }
        let (latent, generator) = self.generate(Stream::Latent, Some(fake));
        let memory = self.players.discriminator_memory;
        let mode = Mode::train(2);
        let (player, batch) = (Player::Discriminator, 2 * self.batch);
        let discriminator = self.tape.forward(player, &memory, mode, batch, maps, None);
        self.keep_if_asked(maps);
        self.keep_if_asked(discriminator.output);
        Beginning {
            latent,
            real,
            fake,
            generator,
            discriminator,
        }
    }

    /// Side and channels of a map.
    fn map_shape(&self) -> (usize, usize) {
        match self.players.discriminator.blocks[0].linear {
            Linear::Conv(layer) => (2 * layer.small, layer.c_big),
            _ => unreachable!("a discriminator begins with a convolution"),
        }
    }

    /// Losses of the discriminator and the gradients of its parameters.
    fn discriminator_gradient(&mut self, pass: &Pass) {
        let batch = self.batch;
        let targets = self.tape.value(2 * batch);
        let seed = self.tape.value(2 * batch);
        self.tape.targets(Targets {
            real: targets.part(0, batch),
            fake: targets.part(batch, batch),
            flip: self.config.label_flip,
            smoothing: self.config.label_smoothing,
        });
        for (index, start) in [0, batch].into_iter().enumerate() {
            self.tape.loss(Loss {
                logits: pass.output.part(start, batch),
                targets: targets.part(start, batch),
                gradient: seed.part(start, batch),
                loss: self.losses.part(index, 1),
            });
        }
        let gradient = self.players.discriminator_memory.gradient;
        self.tape
            .backward(pass, 0..2 * batch, seed, Some(gradient), None);
    }

    /// The generator's loss; its gradient with respect to the logits.
    fn generator_loss(&mut self, logits: View) -> View {
        let seed = self.tape.value(self.batch);
        self.tape.loss(Loss {
            logits,
            targets: self.ones,
            gradient: seed,
            loss: self.losses.part(2, 1),
        });
        seed
    }

    fn generator_gradient(
        &mut self,
        judged: (&Pass, std::ops::Range<usize>),
        pass: &Pass,
        seed: View,
        fake_gradient: View,
    ) {
        let gradient = self.players.generator_memory.gradient;
        self.tape
            .backward_through(judged, pass, seed, fake_gradient, gradient);
        self.keep_if_asked(fake_gradient);
    }

    fn update(&mut self, player: Player) {
        let players = self.players;
        let (memory, rate, average) = match player {
            Player::Generator => {
                let average = players.average_memory.parameters;
                (players.generator_memory, Rate::Generator, Some(average))
            }
            Player::Discriminator => (players.discriminator_memory, Rate::Discriminator, None),
        };
        let call = Adam {
            rate,
            config: self.config.adam,
            parameters: memory.parameters,
            gradient: memory.gradient,
            first_moment: memory.first_moment,
            second_moment: memory.second_moment,
            average,
        };
        self.tape.adam(player, call);
    }

    fn keep_if_asked(&mut self, value: View) {
        if self.options.keep_values {
            self.tape.keep(value);
        }
    }

    fn finish(
        mut self,
        start: Beginning,
        fresh: Option<(View, View)>,
        generator_logits: Option<View>,
        fake_gradient: View,
    ) -> StepProgram {
        let batch = self.batch;
        let logits = start.discriminator.output;
        if let Some(logits) = generator_logits {
            self.keep_if_asked(logits);
        }
        let losses = self.losses;
        let program = self.tape.plan();
        let at = |view: View| program.resolve(view);
        StepProgram {
            real: at(start.real),
            latent: at(start.latent),
            generator_latent: fresh.map(|(latent, _)| at(latent)),
            fake: at(start.fake),
            generator_fake: fresh.map(|(_, fake)| at(fake)),
            real_logits: at(logits.part(0, batch)),
            fake_logits: at(logits.part(batch, batch)),
            generator_logits: generator_logits.map(at),
            fake_gradient: at(fake_gradient),
            losses: at(losses),
            program,
        }
    }
}

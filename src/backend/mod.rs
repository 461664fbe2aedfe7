//! The operations that the tape runs on.
//!
//! A [`Backend`] owns one arena of values; everything the tape names is a [`View`] into it. The
//! operations are whole blocks (linear layer, bias, batch norm, activation) and what surrounds
//! them in a training step, so that a backend may fuse inside a block.

pub mod cpu;
pub mod gpu;
mod knobs;

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::model::{Activation, Block};
use crate::rng::Stream;

pub use cpu::Cpu;
pub use knobs::{AdamConfig, EpsilonForm, FlipUnit, LabelFlip};

/// The number format of values. Of a whole step: that of activations and of the gradients that flow
/// back through them; weights, moments, statistics, losses and maps are always f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    #[default]
    F32,
    Bf16,
}

/// Adjacent values in a backend's arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct View {
    /// The first value's place, in words of 4 bytes.
    pub start: usize,
    /// Values.
    pub len: usize,
    pub precision: Precision,
}

impl View {
    /// `len` f32 values from word `start` on.
    pub fn new(start: usize, len: usize) -> Self {
        let precision = Precision::F32;
        Self {
            start,
            len,
            precision,
        }
    }

    /// Words of 4 bytes that the values take.
    pub fn words(self) -> usize {
        match self.precision {
            Precision::F32 => self.len,
            Precision::Bf16 => self.len.div_ceil(2),
        }
    }

    /// As a range of words.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start..self.start + self.words()
    }

    /// Values `start .. start + len` of this view.
    ///
    /// # Panics
    /// If they reach beyond it, or begin in the middle of a word.
    pub fn part(self, start: usize, len: usize) -> View {
        assert!(start + len <= self.len, "a part reaches beyond its view");
        let words = match self.precision {
            Precision::F32 => start,
            Precision::Bf16 => {
                assert!(start.is_multiple_of(2), "a part begins inside a word");
                start / 2
            }
        };
        View {
            start: self.start + words,
            len,
            ..self
        }
    }
}

/// Where batch norm takes its means and variances from.
#[derive(Clone, Copy, Debug)]
pub enum Statistics {
    /// The batch, in groups of samples; `[groups, 2, features]` (mean and 1/sqrt(variance + eps))
    /// are kept for the backward pass. Running averages `[2, features]` follow, group by group:
    /// `running = (1 - momentum) running + momentum batch`.
    Batch {
        saved: View,
        running: View,
        momentum: f64,
    },
    /// Running averages `[2, features]`; `saved` is scratch of the same size.
    Running { saved: View, running: View },
}

impl Statistics {
    /// `[groups, 2, features]`, one group where they are running averages.
    pub fn saved(self) -> View {
        match self {
            Statistics::Batch { saved, .. } | Statistics::Running { saved, .. } => saved,
        }
    }
}

/// Batch norm and activation, between a block's linear output and its output.
#[derive(Clone, Copy, Debug)]
pub struct Normalisation {
    pub activation: Activation,
    pub features: usize,
    pub groups: usize,
    /// `[groups, 2, features]`: mean and 1/sqrt(variance + eps).
    pub saved: View,
    /// `[2, features]`: gamma and beta.
    pub affine: View,
}

/// The forward pass of a block.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// The network's trained parameters.
    pub parameters: View,
    /// Samples.
    pub batch: usize,
    /// Groups of adjacent samples with statistics of their own.
    pub groups: usize,
    pub input: View,
    /// In mixed precision: the input is the linear output of the block below, to be normalised and
    /// activated as it is read.
    pub folded: Option<Normalisation>,
    /// The linear output before batch norm; equal to `output` where there is none, or where
    /// nothing will be differentiated.
    pub linear: View,
    /// Equal to `linear` where `deferred`.
    pub output: View,
    /// In mixed precision: the block above reads the linear output ([`Forward::folded`]), and of the
    /// batch norm only the statistics are wanted.
    pub deferred: bool,
    /// Present where the block has a batch norm.
    pub statistics: Option<Statistics>,
}

/// The backward pass of a block, for all samples of its forward pass or for whole groups of them.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    pub parameters: View,
    pub batch: usize,
    pub groups: usize,
    pub input: View,
    /// As in the forward pass.
    pub folded: Option<Normalisation>,
    pub linear: View,
    pub output: View,
    /// `[groups, 2, features]` of the forward pass.
    pub saved: Option<View>,
    /// The gradient of the output, or of the linear output where `prepared`; overwritten.
    pub gradient: View,
    /// Whether the block above has taken the gradient through activation and batch norm
    /// ([`Backward::below`]).
    pub prepared: bool,
    /// Where the gradient of the input goes, if it is wanted.
    pub input_gradient: Option<View>,
    /// In mixed precision: the block below, through whose activation and batch norm the gradient of
    /// the input goes on before it is written.
    pub below: Option<Below>,
    /// The network's gradients, and whether this is not their first write in the step.
    pub parameter_gradient: Option<(View, Accumulate)>,
}

/// The block that a gradient of the input flows back into, as far as its linear output.
#[derive(Clone, Copy, Debug)]
pub struct Below {
    pub activation: Activation,
    /// Its linear output.
    pub linear: View,
    /// Its output; where it has a batch norm, that may have been deferred and is not read.
    pub output: View,
    pub norm: Option<Normalisation>,
    /// `[2, features]`: the gradients of gamma and beta, where they are wanted.
    pub affine_gradient: Option<View>,
    /// The gradient of a bias without batch norm behind it, where it is wanted.
    pub bias_gradient: Option<View>,
}

/// Whether a gradient is set or added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accumulate {
    First,
    Later,
}

/// Binary cross-entropy of logits against one target a sample, mean over the batch.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    pub logits: View,
    pub targets: View,
    /// `(sigmoid(logit) - target) / batch`, batch being `logits.len`.
    pub gradient: View,
    /// One value.
    pub loss: View,
}

/// The discriminator's targets of one step: for `real` and `fake`, one value a sample.
#[derive(Clone, Copy, Debug)]
pub struct Targets {
    pub real: View,
    pub fake: View,
    pub flip: LabelFlip,
    pub smoothing: f64,
}

/// Which learning rate an update takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    Generator = 0,
    Discriminator = 1,
}

/// One Adam update of a network, and of the average of its parameters.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    pub rate: Rate,
    pub config: AdamConfig,
    pub parameters: View,
    pub gradient: View,
    pub first_moment: View,
    pub second_moment: View,
    /// The exponential moving average of the parameters, which follows with the step's decay:
    /// `average = decay average + (1 - decay) parameters`.
    pub average: Option<View>,
}

/// The numbers that change from step to step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepScalars {
    pub seed: u64,
    /// 1 for the first step: Adam's t, and the step of the random streams.
    pub step: u64,
    pub generator_rate: f64,
    pub discriminator_rate: f64,
    /// Weight of the old value in exponential moving averages.
    pub average_decay: f64,
}

impl StepScalars {
    /// The learning rate of an update.
    pub fn rate(&self, rate: Rate) -> f64 {
        match rate {
            Rate::Generator => self.generator_rate,
            Rate::Discriminator => self.discriminator_rate,
        }
    }
}

/// A square crop of values that a backend holds ([`Backend::hold`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CropPlace {
    /// The crop's first value.
    pub offset: usize,
    /// Values from one row to the next.
    pub row: usize,
    /// The number of one of the 8 rotations and flips.
    pub symmetry: usize,
}

/// Names a planned tape for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProgramId(u64);

impl ProgramId {
    /// A name that nothing else has.
    #[expect(clippy::new_without_default, reason = "each is another")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Values on their way out of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted(usize);

/// What runs a tape.
///
/// The operations, from [`Backend::crops`] on, are called within [`Backend::run`] alone. They
/// cannot fail there: a backend may only note them, to do them later or again. What went wrong is
/// told by `run` or by whatever waits for the results.
pub trait Backend {
    /// How many posts ([`Backend::post`]) may be under way while more work is asked for; 0 where
    /// `run` returns with the work done.
    const POSTS_AHEAD: usize;

    /// In which precision the tapes that it runs are recorded.
    fn precision(&self) -> Precision;

    /// Makes the arena at least `len` values long.
    ///
    /// # Errors
    /// If there is not enough memory.
    fn reserve(&mut self, len: usize) -> Result<(), BackendError>;

    /// Copies values into the arena, behind all work asked for before. It need not wait for that.
    ///
    /// # Errors
    /// What went wrong on the device.
    ///
    /// # Panics
    /// If there are more or fewer than the view holds.
    fn upload(&mut self, to: View, values: &[f32]) -> Result<(), BackendError>;

    /// Waits for all work and copies values out of the arena.
    ///
    /// # Errors
    /// What went wrong on the device.
    ///
    /// # Panics
    /// If there are more or fewer than the view holds.
    fn download(&mut self, from: View, values: &mut [f32]) -> Result<(), BackendError>;

    /// Begins to copy a few values out of the arena, behind all work asked for before. At most
    /// [`Backend::POSTS_AHEAD`] + 1 may be under way.
    ///
    /// # Errors
    /// What went wrong on the device.
    fn post(&mut self, from: View) -> Result<Posted, BackendError>;

    /// Waits for a post and copies its values.
    ///
    /// # Errors
    /// What went wrong on the device.
    ///
    /// # Panics
    /// If there are more or fewer than were posted.
    fn receive(&mut self, posted: Posted, values: &mut [f32]) -> Result<(), BackendError>;

    /// Makes room for `len` values of maps that up to `crops` crops a run are made of
    /// ([`Backend::crops`]), if this backend gains by it and has the memory.
    ///
    /// # Errors
    /// What went wrong on the device.
    fn hold(&mut self, len: usize, crops: usize) -> Result<bool, BackendError>;

    /// Copies values to their place, from `offset` on, in the room that [`Backend::hold`] made.
    ///
    /// # Errors
    /// What went wrong on the device.
    fn write_held(&mut self, offset: usize, values: &[f32]) -> Result<(), BackendError>;

    /// Which crops the next run makes.
    ///
    /// # Errors
    /// What went wrong on the device.
    fn choose_crops(&mut self, crops: &[CropPlace]) -> Result<(), BackendError>;

    /// Does the operations of `program`, which `record` calls in order. It calls the same ones each
    /// time that it is given with this name; a backend may record them once and then replay them
    /// with other `scalars`.
    ///
    /// # Errors
    /// What went wrong on the device.
    fn run(
        &mut self,
        program: ProgramId,
        scalars: &StepScalars,
        record: &dyn Fn(&mut Self),
    ) -> Result<(), BackendError>;

    /// What follows belongs to operation `operation` of the program: for those who count what each does.
    fn mark(&mut self, _operation: usize) {}
    /// Sets a view `[n, side, side, channels]` to the chosen crops, turned and flipped.
    fn crops(&mut self, to: View, side: usize, channels: usize);
    /// Sets a view to N(0, 1) numbers of `stream` at the step's number.
    fn normals(&mut self, to: View, stream: Stream);
    /// See [`Forward`].
    fn forward(&mut self, block: &Block, call: &Forward);
    /// See [`Backward`].
    fn backward(&mut self, block: &Block, call: &Backward);
    /// See [`Targets`].
    fn targets(&mut self, call: &Targets);
    /// See [`Loss`].
    fn loss(&mut self, call: &Loss);
    /// See [`Adam`].
    fn adam(&mut self, call: &Adam);
}

/// What can go wrong in a backend.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    #[error(
        "a step of this size needs {needed} bytes of memory, and they could not be had: \
         a smaller batch, map or number of base filters needs less"
    )]
    OutOfMemory { needed: usize },
    #[error(transparent)]
    Driver(#[from] gpu::driver::DriverError),
}

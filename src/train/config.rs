//! The configuration of a run: every choice that its result depends on, as one TOML file.
//!
//! [`Config::of_preset`] gives the defaults, [`resolve`](super::resolve) lays files over them, and
//! the command line has the last word. What a run resolved to is kept in its directory and can be
//! given back as `--config`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{
    ArithmeticChoice, ArithmeticError, Convention, DeviceChoice, KernelChoice, PrecisionChoice,
    Schedule, StepConfig,
};
use crate::backend::gpu::ops::DenseKernels;
use crate::model::{Architecture, ArchitectureError, Preset};
use crate::report::PictureStyle;

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names the run directory, `runs/<name>`, where no other is given.
    pub name: String,
    /// Where the defaults came from. The fields below are what counts.
    pub preset: Preset,
    /// Where the step's defaults came from. The fields of `step` are what counts.
    pub convention: Convention,
    pub architecture: Architecture,
    pub step: StepConfig,
    pub run: RunConfig,
    pub data: DataConfig,
}

/// How long, on what, and how often something is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Real maps in a step, and as many generated ones.
    pub batch: usize,
    pub seed: u64,
    /// Steps of the whole run, resumed parts included. With `epochs` given too, the shorter counts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub steps: Option<u64>,
    /// Epochs of the whole run, resumed parts included.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub epochs: Option<u64>,
    pub device: DeviceChoice,
    /// Generation of the convolution kernels, where a GPU or the emulator computes.
    #[serde(default)]
    pub kernels: KernelChoice,
    /// What multiplies the matrices of dense layers there.
    #[serde(default)]
    pub dense: DenseKernels,
    /// Number format of activations and of what flows back through them.
    #[serde(default)]
    pub precision: PrecisionChoice,
    /// Steps from one metrics line to the next.
    pub log_every: u64,
    /// Steps from one grid of samples to the next; 0 for the last step only.
    pub sample_every: u64,
    /// Colours of the pictures of maps.
    #[serde(default)]
    pub picture_style: PictureStyle,
    /// Steps from one checkpoint to the next; 0 for the last step only.
    pub checkpoint_every: u64,
    /// Checkpoints that are kept: the newest, and the best besides.
    pub keep: usize,
    /// Checkpoints of steps that are multiples of this are kept as well; 0 for none.
    #[serde(default)]
    pub keep_every: u64,
    /// What happens when the training diverges.
    #[serde(default)]
    pub on_divergence: OnDivergence,
    /// Whether a saturated discriminator and collapsed maps count as divergence; losses that are
    /// not finite always do.
    #[serde(default = "yes")]
    pub watch: bool,
    /// Whether metrics are written for TensorBoard, too.
    #[serde(default = "yes")]
    pub tensorboard: bool,
    /// Steps from one validation to the next; 0 for the last step only.
    pub validation_every: u64,
    /// Real and generated maps that a validation compares.
    pub validation_maps: usize,
    /// Whether the generator with the least chi-squared is offered, not the one with the best score.
    #[serde(default)]
    pub select: bool,
    /// Epochs at the end of the run whose generators compete; all if this is not given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub select_last_epochs: Option<u64>,
    /// Steps from one generator that competes to the next, besides those that are validated anyway.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub select_every: Option<u64>,
    /// Generated maps whose chi-squared a validation measures, against up to as many real ones;
    /// as many as validation maps if this is not given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub select_maps: Option<usize>,
    /// Decay of the moving average of the generator's weights, per step; 0 follows the weights.
    pub ema_decay: f64,
}

impl RunConfig {
    /// The arithmetic that is asked for.
    pub fn arithmetic(&self) -> ArithmeticChoice {
        ArithmeticChoice {
            precision: self.precision,
            kernels: self.kernels,
            dense: self.dense,
        }
    }
}

/// What happens when the training diverges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDivergence {
    /// The run ends with an error. Learning rates are the user's choice, so this is the default.
    #[default]
    Stop,
    /// It goes on from an earlier state with half the learning rates.
    Rollback,
}

/// Fields with a default are those that configurations of older versions lack.
fn yes() -> bool {
    true
}

/// Which maps, and what is done to them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// `.npy` and FITS files, directories of them, or patterns such as `maps/*.fits`. None:
    /// synthetic lognormal maps.
    pub paths: Vec<PathBuf>,
    /// Crops of each parent map: as many are drawn of each larger map in an epoch, 200 where this is
    /// not given; of maps that are exactly the network's size, as many consecutive ones of a file
    /// come from one parent and stay in one set.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub crops_per_parent: Option<usize>,
    /// Whether crops are turned by quarter turns and flipped at random.
    pub augment: bool,
    /// Shares of the parent maps for training, validation and test: they sum to 1.
    pub fractions: [f64; 3],
    /// The transform that is asked for; what was fitted is kept in checkpoints.
    pub transform: TransformChoice,
    /// Pixels that are read at the start to fit the transform and to find what is not finite; of
    /// larger sets a sample is read, and the rest is checked when it is drawn.
    pub scan_pixels: u64,
    /// Whether all pixels are checked before training begins.
    pub check: bool,
    /// Side of a whole parent map in degrees, where the files do not tell it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub angle_deg: Option<f64>,
    /// Redshift of the lensed sources, where the files do not tell it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source_redshift: Option<f64>,
}

/// How map values are brought into tanh's range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransformChoice {
    /// One that keeps the training maximum below 0.95.
    Auto,
    /// The values as they are.
    None,
    /// Scale and offset.
    Linear,
    /// s(x) = 2x/(x+a) - 1 (Tamosiunas et al. 2020).
    Rational,
    Log,
}

/// A configuration that cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{field} is {value}; {expected}")]
    Field {
        field: String,
        value: String,
        expected: &'static str,
    },
    #[error(transparent)]
    Arithmetic(#[from] ArithmeticError),
    #[error("[architecture] cannot be built: {0}")]
    Architecture(#[from] ArchitectureError),
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the configuration {} is not valid: {source}", path.display())]
    Parse {
        path: PathBuf,
        // Boxed: with its copy of the text it is far larger than the other errors.
        source: Box<toml::de::Error>,
    },
    #[error(
        "--{field} {asked} contradicts {field} = \"{given}\" in {}; leave one of them out",
        path.display()
    )]
    Contradiction {
        field: &'static str,
        asked: String,
        given: String,
        path: PathBuf,
    },
    #[error(
        "{field} is {run} in the run that is resumed, but {asked} is asked for; only the totals \
         (steps, epochs), how often something is written, how the generator is chosen (select), the \
         device, its kernels and the precision may change. Leave it out, or start a new run"
    )]
    Resume {
        field: String,
        run: String,
        asked: String,
    },
    #[error("the configuration cannot be written as TOML: {0}")]
    Write(#[from] toml::ser::Error),
}

impl Config {
    /// The defaults of `preset`, with the step of `convention` (the preset's own if `None`).
    pub fn of_preset(preset: Preset, convention: Option<Convention>) -> Self {
        let convention = convention.unwrap_or(default_convention(preset));
        let demo = preset == Preset::Demo;
        let cadence = if demo { 250 } else { 1000 };
        let mut step = convention.step();
        if demo && convention == Convention::Paper {
            step.generator_rate = demo_rate();
            step.discriminator_rate = demo_rate();
        }
        let (steps, epochs) = match (preset, convention) {
            (Preset::Demo, _) => (Some(7500), None),
            (_, Convention::Paper) => (None, Some(45)),
            (_, Convention::Torch) => (None, Some(50)),
        };
        Self {
            name: preset.name().to_owned(),
            preset,
            convention,
            architecture: preset.architecture(),
            step,
            run: RunConfig {
                batch: preset.batch(),
                seed: 1,
                steps,
                epochs,
                device: DeviceChoice::Auto,
                kernels: KernelChoice::Auto,
                dense: DenseKernels::default(),
                precision: PrecisionChoice::Auto,
                log_every: 10,
                sample_every: if demo { 1000 } else { cadence },
                picture_style: PictureStyle::default(),
                checkpoint_every: if demo { 500 } else { cadence },
                keep: 3,
                keep_every: 0,
                on_divergence: OnDivergence::Stop,
                watch: true,
                tensorboard: true,
                validation_every: if demo { 125 } else { cadence },
                validation_maps: if demo { 256 } else { 1024 },
                select: false,
                select_last_epochs: None,
                select_every: None,
                select_maps: None,
                ema_decay: EMA_DECAY,
            },
            data: DataConfig {
                paths: Vec::new(),
                crops_per_parent: None,
                augment: true,
                fractions: [0.7, 0.15, 0.15],
                transform: if preset.is_of_the_paper() {
                    TransformChoice::None
                } else {
                    TransformChoice::Auto
                },
                scan_pixels: 1 << 27,
                check: false,
                angle_deg: None,
                source_redshift: None,
            },
        }
    }

    /// The configuration as TOML, to be read back with [`resolve::load`](super::resolve::load).
    ///
    /// # Errors
    /// A value that TOML cannot hold.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        Ok(toml::to_string(self)?)
    }

    /// Steps of the whole run when an epoch has `steps_per_epoch`: the shorter of the two totals.
    pub fn total_steps(&self, steps_per_epoch: u64) -> u64 {
        let by_epochs = self
            .run
            .epochs
            .map(|epochs| epochs.saturating_mul(steps_per_epoch));
        self.run
            .steps
            .into_iter()
            .chain(by_epochs)
            .min()
            .unwrap_or(0)
    }
}

/// Over some 20 steps. A longer memory averages the fine texture of maps away as long as the
/// learning rate is high: with 0.99 and a rate of 2e-4 the demo's power at high l fell to 0.6 of
/// that of the generator itself (2026-11-23).
const EMA_DECAY: f64 = 0.95;

/// The paper's rate, lowered towards the end: the scores of a small network swing from one
/// validation to the next, and settle only at a lower rate.
fn demo_rate() -> Schedule {
    Schedule::in_steps(&[
        (4200.0, 2e-4),
        (1200.0, 1e-4),
        (1100.0, 4e-5),
        (1000.0, 1e-5),
    ])
}

/// The convention that goes with a preset where none is asked for.
pub fn default_convention(preset: Preset) -> Convention {
    match preset {
        Preset::Thesis256 => Convention::Torch,
        _ => Convention::Paper,
    }
}

//! Options that several commands share, each able to change the part of a configuration it is for.

use std::path::PathBuf;

use clap::Args;

use super::device::{SelectError, Selected};
use super::parse::{fractions, named, schedule};
use cosmogan::model::{Architecture, DenseNorm, Initialisation, PadLow, Preset};
use cosmogan::report::PictureStyle;
use cosmogan::train::{
    ArithmeticChoice, Config, Convention, DataConfig, DenseKernels, DeviceChoice, EpsilonForm,
    FlipUnit, KernelChoice, OnDivergence, PrecisionChoice, RunConfig, Schedule, StepConfig,
    TransformChoice, UpdateOrder, resolve,
};

/// Puts a value that was given into its field.
fn set<T: Clone>(field: &mut T, given: &Option<T>) {
    if let Some(value) = given {
        *field = value.clone();
    }
}

/// What the networks are.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// Pixels on a side of a map: a power of two
    #[arg(long, value_name = "PIXELS")]
    pub size: Option<usize>,
    /// Channels of a map (1; 3 for dark matter, gas and energy of one slice)
    #[arg(long, value_name = "N")]
    pub channels: Option<usize>,
    /// Strided layers of each network
    #[arg(long, value_name = "N")]
    pub layers: Option<usize>,
    /// Filters of the layer next to the map; they double from layer to layer
    #[arg(long, value_name = "FILTERS")]
    pub base: Option<usize>,
    /// Length of the latent vector
    #[arg(long, value_name = "N")]
    pub latent: Option<usize>,
    /// Biases in the strided layers
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub conv_bias: Option<bool>,
    /// A bias in the generator's dense layer
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub dense_bias: Option<bool>,
    /// Batch norm behind the dense layer: per channel (paper) or per feature (thesis)
    #[arg(long, value_name = "UNIT", value_parser = named::<DenseNorm>(&["channel", "feature"]))]
    pub dense_norm: Option<DenseNorm>,
    /// Padding before the first pixel: 1 (TensorFlow) or 2 (PyTorch)
    #[arg(long, value_name = "PIXELS", value_parser = |text: &str| {
        text.parse::<u8>().map_err(|e| e.to_string()).and_then(PadLow::try_from)
    })]
    pub pad_low: Option<PadLow>,
}

impl NetworkArgs {
    /// Changes what was given.
    pub fn apply(&self, architecture: &mut Architecture) {
        set(&mut architecture.map_size, &self.size);
        set(&mut architecture.channels, &self.channels);
        set(&mut architecture.layers, &self.layers);
        set(&mut architecture.base_filters, &self.base);
        set(&mut architecture.latent, &self.latent);
        set(&mut architecture.conv_bias, &self.conv_bias);
        set(&mut architecture.dense_bias, &self.dense_bias);
        set(&mut architecture.dense_norm, &self.dense_norm);
        set(&mut architecture.pad_low, &self.pad_low);
    }
}

/// Where the defaults come from.
#[derive(Args, Clone, Debug, Default)]
pub struct BaseArgs {
    /// Named network and defaults to begin with [default: demo; for info paper-256]
    #[arg(long, value_enum, help_heading = "Network")]
    pub preset: Option<Preset>,
    /// The training step of the paper's TensorFlow code or of its PyTorch variant [default: the
    /// preset's]
    #[arg(long, value_name = "NAME", help_heading = "Step",
          value_parser = named::<Convention>(&["paper", "torch"]))]
    pub convention: Option<Convention>,
}

/// What a training step does.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Step")]
pub struct StepArgs {
    /// Both updates from one forward pass, or the discriminator's first
    #[arg(long, value_name = "ORDER",
          value_parser = named::<UpdateOrder>(&["simultaneous", "alternating"]))]
    pub update: Option<UpdateOrder>,
    /// New latent vectors for the generator's half of an alternating step
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub fresh_latent: Option<bool>,
    /// Probability that the discriminator's labels are swapped
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub flip_probability: Option<f64>,
    /// What one draw swaps: the labels of the batch, or of one sample
    #[arg(long, value_name = "UNIT", value_parser = named::<FlipUnit>(&["batch", "sample"]))]
    pub flip_per: Option<FlipUnit>,
    /// The discriminator's label of real maps is 1 minus this
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub label_smoothing: Option<f64>,
    /// Learning rate of both networks: a number, segments EPOCHS:RATE,EPOCHS:RATE,...
    /// or segments Nsteps:RATE,Nsteps:RATE,...
    #[arg(long, value_name = "RATE", value_parser = schedule, allow_negative_numbers = true)]
    pub rate: Option<Schedule>,
    /// Learning rate of the generator alone
    #[arg(long, value_name = "RATE", value_parser = schedule, allow_negative_numbers = true)]
    pub generator_rate: Option<Schedule>,
    /// Learning rate of the discriminator alone
    #[arg(long, value_name = "RATE", value_parser = schedule, allow_negative_numbers = true)]
    pub discriminator_rate: Option<Schedule>,
    /// Adam's decay of the first moment
    #[arg(long, value_name = "B", allow_negative_numbers = true)]
    pub beta1: Option<f64>,
    /// Adam's decay of the second moment
    #[arg(long, value_name = "B", allow_negative_numbers = true)]
    pub beta2: Option<f64>,
    /// Adam's epsilon
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    pub epsilon: Option<f64>,
    /// Where epsilon is added: outside the bias correction (TensorFlow), or to the corrected root
    /// (PyTorch)
    #[arg(long, value_name = "FORM",
          value_parser = named::<EpsilonForm>(&["outside", "corrected"]))]
    pub epsilon_form: Option<EpsilonForm>,
    /// Initial weights: the paper's normal ones or PyTorch's uniform ones
    #[arg(long, value_name = "NAME", value_parser = named::<Initialisation>(&["paper", "torch"]))]
    pub init: Option<Initialisation>,
    /// Leave out the last incomplete batch of an epoch
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub drop_last: Option<bool>,
}

impl StepArgs {
    /// Refuses options of which one would silently have no effect.
    ///
    /// # Errors
    /// What contradicts what.
    pub fn check(&self) -> anyhow::Result<()> {
        let both = self.generator_rate.is_some() && self.discriminator_rate.is_some();
        if self.rate.is_some() && both {
            anyhow::bail!(
                "--rate has no effect beside both --generator-rate and --discriminator-rate; leave \
                 one of the three out"
            );
        }
        Ok(())
    }

    /// Changes what was given.
    pub fn apply(&self, step: &mut StepConfig) {
        set(&mut step.update, &self.update);
        if self.update == Some(UpdateOrder::Simultaneous) {
            // There is no second latent vector to be fresh: asking for the order is enough.
            step.fresh_latent = false;
        }
        set(&mut step.fresh_latent, &self.fresh_latent);
        set(&mut step.label_flip.probability, &self.flip_probability);
        set(&mut step.label_flip.per, &self.flip_per);
        set(&mut step.label_smoothing, &self.label_smoothing);
        set(&mut step.generator_rate, &self.rate);
        set(&mut step.discriminator_rate, &self.rate);
        set(&mut step.generator_rate, &self.generator_rate);
        set(&mut step.discriminator_rate, &self.discriminator_rate);
        set(&mut step.adam.beta1, &self.beta1);
        set(&mut step.adam.beta2, &self.beta2);
        set(&mut step.adam.epsilon, &self.epsilon);
        set(&mut step.adam.epsilon_form, &self.epsilon_form);
        set(&mut step.initialisation, &self.init);
        set(&mut step.drop_last, &self.drop_last);
    }
}

/// Which maps, and what is done to them.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// .npy and FITS files, directories of them, or quoted patterns such as 'maps/*.fits' [default:
    /// synthetic lognormal maps]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub data: Vec<PathBuf>,
    /// How values are brought into the generator's range -1..1 [default: auto; none for the
    /// paper's presets]
    #[arg(long, value_name = "NAME", value_parser =
          named::<TransformChoice>(&["auto", "none", "linear", "rational", "log"]))]
    pub transform: Option<TransformChoice>,
    /// Crops of each parent map. Of each larger map as many are drawn in an epoch [default: 200];
    /// in a file of maps of exactly the network's size as many consecutive ones come from one
    /// parent and stay in one set (1: each is its own parent) [default: unknown]
    #[arg(long, value_name = "K")]
    pub crops_per_parent: Option<usize>,
    /// Turn and flip crops at random
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub augment: Option<bool>,
    /// Read all maps before training and check every pixel; else this is done when pixels are
    /// drawn, for sets of more than data.scan_pixels (134 million)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub check_data: Option<bool>,
    /// Shares of the maps for training, validation and test
    #[arg(long, value_name = "A,B,C", value_parser = fractions, allow_negative_numbers = true)]
    pub fractions: Option<[f64; 3]>,
    /// Side of a whole map in degrees, where neither FITS headers (ANGLE) nor sidecars tell it:
    /// the scale of power spectra, kept with the generator
    #[arg(long = "angle", value_name = "DEGREES", allow_negative_numbers = true)]
    pub angle_deg: Option<f64>,
    /// Redshift of the lensed sources, where the files do not tell it
    #[arg(long, value_name = "Z", allow_negative_numbers = true)]
    pub source_redshift: Option<f64>,
}

impl DataArgs {
    /// Changes what was given, and makes all paths absolute: the configuration outlives the
    /// directory that the program was started in.
    ///
    /// # Errors
    /// The current directory is unknown, or a path is empty.
    pub fn apply(&self, data: &mut DataConfig) -> std::io::Result<()> {
        if !self.data.is_empty() {
            data.paths.clone_from(&self.data);
        }
        for path in &mut data.paths {
            *path = std::path::absolute(&*path)?;
        }
        set(&mut data.transform, &self.transform);
        if self.crops_per_parent.is_some() {
            data.crops_per_parent = self.crops_per_parent;
        }
        set(&mut data.check, &self.check_data);
        set(&mut data.augment, &self.augment);
        set(&mut data.fractions, &self.fractions);
        data.angle_deg = self.angle_deg.or(data.angle_deg);
        data.source_redshift = self.source_redshift.or(data.source_redshift);
        Ok(())
    }
}

/// How long, on what, and how often something is written.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Run")]
pub struct RunArgs {
    /// Name of the run
    #[arg(long)]
    pub name: Option<String>,
    /// Steps of the whole run, resumed parts included
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Epochs of the whole run; with --steps too, the shorter counts
    #[arg(long, value_name = "N")]
    pub epochs: Option<u64>,
    /// Real maps in a step, and as many generated ones
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Seed of all random numbers: the same one gives the same run
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Where to compute: auto (a CUDA GPU if one is usable, else the CPU), cpu, cuda, cuda:N, or
    /// emulator (the GPU's kernels on the CPU, for tests: very slow)
    #[arg(long, value_name = "NAME")]
    pub device: Option<DeviceChoice>,
    /// Convolution kernels of a GPU: v1 are plain and slow, v2 use shared memory, v3 tensor cores; v1
    /// and v2 are for f32, v3 for bf16 [default: auto, the newest for the precision]
    #[arg(long, value_name = "VERSION",
          value_parser = named::<KernelChoice>(&["auto", "v1", "v2", "v3"]))]
    pub kernels: Option<KernelChoice>,
    /// Matrix products of dense layers on a GPU: own kernels, or NVIDIA's cuBLAS, in f32, where it is
    /// installed
    /// [default: own]
    #[arg(long, value_name = "NAME", value_parser = named::<DenseKernels>(&["own", "cublas"]))]
    pub dense: Option<DenseKernels>,
    /// Number format of activations and of what flows back through them; weights, statistics, losses
    /// and maps are f32 always. bf16 needs a GPU of compute capability 8.0 or later [default: auto,
    /// bf16 where the device has it]
    #[arg(long, value_name = "NAME",
          value_parser = named::<PrecisionChoice>(&["auto", "f32", "bf16"]))]
    pub precision: Option<PrecisionChoice>,
    /// Steps between two lines of metrics
    #[arg(long, value_name = "STEPS")]
    pub log_every: Option<u64>,
    /// Steps between two pictures of samples; 0: at the end only
    #[arg(long, value_name = "STEPS")]
    pub sample_every: Option<u64>,
    /// Colours of pictures: asinh shows voids, filaments and peaks; log is the logarithm of positive
    /// values, as the CosmoGAN authors draw their maps
    #[arg(long, value_name = "NAME", value_parser = named::<PictureStyle>(&["asinh", "log"]))]
    pub picture_style: Option<PictureStyle>,
    /// Steps between two checkpoints; 0: at the end only
    #[arg(long, value_name = "STEPS")]
    pub checkpoint_every: Option<u64>,
    /// Newest checkpoints that are kept; the best one is kept besides
    #[arg(long, value_name = "N")]
    pub keep: Option<usize>,
    /// Keep the checkpoints of steps that are multiples of this for good; 0: none
    #[arg(long, value_name = "STEPS")]
    pub keep_every: Option<u64>,
    /// Steps between two validations; 0: at the end only
    #[arg(long, value_name = "STEPS")]
    pub validation_every: Option<u64>,
    /// Maps that a validation compares in pixels and spectra
    #[arg(long, value_name = "N")]
    pub validation_maps: Option<usize>,
    /// Offer the generator with the least chi-squared on validation maps (power spectrum, Minkowski
    /// functionals and peaks, as `evaluate` measures it), not the one with the best score
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub select: Option<bool>,
    /// With --select: only generators of the run's last N epochs compete [default: all]
    #[arg(long, value_name = "N")]
    pub select_last_epochs: Option<u64>,
    /// With --select: steps between two generators that compete, besides those that are validated
    /// anyway [default: none besides]. The paper's choice: --select --select-last-epochs 2
    /// --select-every 1 --select-maps 6400
    #[arg(long, value_name = "STEPS")]
    pub select_every: Option<u64>,
    /// With --select: generated maps whose chi-squared is measured, against up to as many validation
    /// maps [default: --validation-maps]
    #[arg(long, value_name = "N")]
    pub select_maps: Option<usize>,
    /// Decay per step of the moving average of the generator's weights
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    pub ema_decay: Option<f64>,
    /// When losses are not finite, the discriminator saturates or maps become all alike: stop with
    /// an error, or go on from an earlier checkpoint with half the learning rates [default: stop]
    #[arg(long, value_name = "WHAT",
          value_parser = named::<OnDivergence>(&["stop", "rollback"]))]
    pub on_divergence: Option<OnDivergence>,
    /// Watch for a saturated discriminator and for maps that are all alike [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub watch: Option<bool>,
    /// Write metrics and samples for TensorBoard, too [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub tensorboard: Option<bool>,
}

/// Where to compute, for commands without a configuration.
#[derive(Args, Clone, Copy, Debug)]
pub struct DeviceArgs {
    /// Where to compute: auto (a CUDA GPU if one is usable, else the CPU), cpu, cuda, cuda:N, or
    /// emulator (the GPU's kernels on the CPU, for tests: very slow)
    #[arg(long, value_name = "NAME", default_value_t = DeviceChoice::Auto)]
    pub device: DeviceChoice,
    /// Number format of activations; weights, statistics and maps are f32 always. bf16 needs a GPU of
    /// compute capability 8.0 or later; auto takes it where the device has it
    #[arg(long, value_name = "NAME", default_value = "auto",
          value_parser = named::<PrecisionChoice>(&["auto", "f32", "bf16"]))]
    pub precision: PrecisionChoice,
    /// Convolution kernels of a GPU: v1 are plain and slow, v2 use shared memory, v3 tensor cores; v1
    /// and v2 are for f32, v3 for bf16; auto are the newest for the precision
    #[arg(long, value_name = "VERSION", default_value = "auto",
          value_parser = named::<KernelChoice>(&["auto", "v1", "v2", "v3"]))]
    pub kernels: KernelChoice,
    /// Matrix products of dense layers on a GPU: own kernels, or NVIDIA's cuBLAS, in f32, where it is
    /// installed
    #[arg(long, value_name = "NAME", default_value = "own",
          value_parser = named::<DenseKernels>(&["own", "cublas"]))]
    pub dense: DenseKernels,
}

impl DeviceArgs {
    /// The device that these mean.
    ///
    /// # Errors
    /// One that was asked for by name and cannot be used, or an arithmetic that it has not.
    pub fn select(&self) -> Result<Selected, SelectError> {
        let arithmetic = ArithmeticChoice {
            precision: self.precision,
            kernels: self.kernels,
            dense: self.dense,
        };
        Selected::new(self.device, arithmetic)
    }
}

/// How maps are drawn, for commands without a configuration.
#[derive(Args, Clone, Debug)]
pub struct PictureArgs {
    /// Colours of pictures: asinh shows voids, filaments and peaks; log is the logarithm of positive
    /// values, as the CosmoGAN authors draw their maps
    #[arg(long = "picture-style", value_name = "NAME", default_value = "asinh",
          value_parser = named::<PictureStyle>(&["asinh", "log"]))]
    pub style: PictureStyle,
}

impl RunArgs {
    /// Changes what was given.
    pub fn apply(&self, config: &mut Config) {
        set(&mut config.name, &self.name);
        resolve::set_totals(config, self.steps, self.epochs);
        let run: &mut RunConfig = &mut config.run;
        set(&mut run.batch, &self.batch);
        set(&mut run.seed, &self.seed);
        set(&mut run.device, &self.device);
        set(&mut run.kernels, &self.kernels);
        set(&mut run.dense, &self.dense);
        set(&mut run.precision, &self.precision);
        set(&mut run.log_every, &self.log_every);
        set(&mut run.sample_every, &self.sample_every);
        set(&mut run.picture_style, &self.picture_style);
        set(&mut run.checkpoint_every, &self.checkpoint_every);
        set(&mut run.keep, &self.keep);
        set(&mut run.keep_every, &self.keep_every);
        set(&mut run.on_divergence, &self.on_divergence);
        set(&mut run.watch, &self.watch);
        set(&mut run.tensorboard, &self.tensorboard);
        set(&mut run.validation_every, &self.validation_every);
        set(&mut run.validation_maps, &self.validation_maps);
        set(&mut run.select, &self.select);
        if self.select == Some(false) {
            // What says how to choose has no meaning any more.
            (run.select_last_epochs, run.select_every, run.select_maps) = (None, None, None);
        }
        run.select_last_epochs = self.select_last_epochs.or(run.select_last_epochs);
        run.select_every = self.select_every.or(run.select_every);
        run.select_maps = self.select_maps.or(run.select_maps);
        set(&mut run.ema_decay, &self.ema_decay);
    }
}

//! What surrounds the blocks in a training step: targets, loss, Adam, averages; and the numbers
//! that change from step to step.

use bytemuck::{Pod, Zeroable};

use super::{Elements, line};
use crate::backend::gpu::driver::{Driver, Geometry, Pointer};
use crate::backend::gpu::launcher::Launcher;
use crate::backend::{AdamConfig, EpsilonForm, FlipUnit, LabelFlip, Rate, StepScalars};
use crate::rng::Stream;

/// Kernels of this file.
pub const KERNELS: &[&str] = &["adam", "targets", "loss"];

/// Adam's numbers of one step for one network.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct AdamValues {
    /// `rate sqrt(1 - beta2^t) / (1 - beta1^t)`
    pub scale: f32,
    /// What sqrt(v) gets, in either form.
    pub epsilon: f32,
}

impl AdamValues {
    fn new(config: &AdamConfig, rate: f64, step: u64) -> Self {
        let correction = |beta: f64| 1.0 - beta.powf(step as f64);
        let root = correction(config.beta2).sqrt();
        let epsilon = match config.epsilon_form {
            EpsilonForm::Outside => config.epsilon,
            EpsilonForm::Corrected => config.epsilon * root,
        };
        Self {
            scale: (rate / correction(config.beta1) * root) as f32,
            epsilon: epsilon as f32,
        }
    }
}

/// What changes from step to step. Kernels read it from device memory, so that a captured graph
/// stays as it is. Also kernels/step_values.cuh, field by field.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct StepValues {
    /// Low word first.
    pub seed: [u32; 2],
    /// Low word first.
    pub step: [u32; 2],
    /// Of the generator and of the discriminator.
    pub adam: [AdamValues; 2],
    pub average_decay: f32,
    /// `1 - average_decay`
    pub average_rest: f32,
}

impl StepValues {
    /// The values of a step; Adam's are those of the generator and of the discriminator.
    pub fn new(scalars: &StepScalars, adam: [Option<&AdamConfig>; 2]) -> Self {
        let words = |value: u64| [value as u32, (value >> 32) as u32];
        let [generator, discriminator] = adam;
        let values = |config: Option<&AdamConfig>, rate| {
            config.map_or(AdamValues::default(), |config| {
                AdamValues::new(config, scalars.rate(rate), scalars.step)
            })
        };
        Self {
            seed: words(scalars.seed),
            step: words(scalars.step),
            adam: [
                values(generator, Rate::Generator),
                values(discriminator, Rate::Discriminator),
            ],
            average_decay: scalars.average_decay as f32,
            average_rest: (1.0 - scalars.average_decay) as f32,
        }
    }
}

/// The argument of `adam`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct AdamParams {
    parameters: Pointer,
    gradient: Pointer,
    first: Pointer,
    second: Pointer,
    average: Pointer,
    values: Pointer,
    len: u32,
    vectors: u32,
    which: u32,
    beta1: f32,
    beta2: f32,
    rest1: f32,
    rest2: f32,
    unused: u32,
}

/// One Adam update of `len` parameters, and of their average.
#[derive(Clone, Copy, Debug)]
pub struct AdamCall {
    pub config: AdamConfig,
    /// Which of [`StepValues::adam`] holds.
    pub rate: Rate,
    pub len: usize,
    pub parameters: Pointer,
    pub gradient: Pointer,
    pub first: Pointer,
    pub second: Pointer,
    /// `average = decay average + (1 - decay) parameters`, if there is one.
    pub average: Option<Pointer>,
    /// [`StepValues`].
    pub values: Pointer,
}

/// See [`AdamCall`].
pub fn adam<D: Driver>(l: &mut Launcher<D>, call: &AdamCall) {
    let average = call.average.unwrap_or(Pointer::NULL);
    let tensors = [
        call.parameters,
        call.gradient,
        call.first,
        call.second,
        average,
    ];
    let elements = Elements::new(call.len, &tensors);
    let [parameters, gradient, first, second, average] = tensors;
    let params = AdamParams {
        parameters,
        gradient,
        first,
        second,
        average,
        values: call.values,
        len: elements.len,
        vectors: elements.vectors,
        which: call.rate as u32,
        beta1: call.config.beta1 as f32,
        beta2: call.config.beta2 as f32,
        rest1: (1.0 - call.config.beta1) as f32,
        rest2: (1.0 - call.config.beta2) as f32,
        unused: 0,
    };
    l.launch("adam", elements.geometry(), &params);
}

/// The argument of `targets`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct TargetsParams {
    real: Pointer,
    fake: Pointer,
    values: Pointer,
    real_len: u32,
    fake_len: u32,
    flip_below: u32,
    per_sample: u32,
    stream: u32,
    one: f32,
}

/// The discriminator's targets of one step, one value a sample.
#[derive(Clone, Copy, Debug)]
pub struct TargetsCall {
    pub real: Pointer,
    pub real_len: usize,
    pub fake: Pointer,
    pub fake_len: usize,
    pub flip: LabelFlip,
    pub smoothing: f64,
    /// [`StepValues`].
    pub values: Pointer,
}

/// 1 - smoothing for real and 0 for fake samples, swapped by chance.
pub fn targets<D: Driver>(l: &mut Launcher<D>, call: &TargetsCall) {
    let params = TargetsParams {
        real: call.real,
        fake: call.fake,
        values: call.values,
        real_len: call.real_len as u32,
        fake_len: call.fake_len as u32,
        // A uniform is a multiple of 2^-24: those below the probability are the first so many.
        flip_below: (call.flip.probability * f64::from(1 << 24)).ceil() as u32,
        per_sample: u32::from(call.flip.per == FlipUnit::Sample),
        stream: Stream::LabelFlip as u32,
        one: (1.0 - call.smoothing) as f32,
    };
    l.launch("targets", line(call.real_len + call.fake_len), &params);
}

/// The argument of `loss`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct LossParams {
    logits: Pointer,
    targets: Pointer,
    gradient: Pointer,
    loss: Pointer,
    len: u32,
    unused: u32,
}

/// Mean binary cross-entropy of `len` logits against their targets, one value at `loss`, and its
/// gradient `(sigmoid(logit) - target) / len`. One block does it: meant for some thousands.
pub fn loss<D: Driver>(
    l: &mut Launcher<D>,
    len: usize,
    logits: Pointer,
    targets: Pointer,
    gradient: Pointer,
    loss: Pointer,
) {
    let params = LossParams {
        logits,
        targets,
        gradient,
        loss,
        len: len as u32,
        unused: 0,
    };
    let geometry = Geometry {
        grid: [1; 3],
        block: [256, 1, 1],
    };
    l.launch("loss", geometry, &params);
}

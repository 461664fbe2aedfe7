//! What surrounds the blocks in a step, each kernel beside the CPU backend.

use rand::RngExt;

use super::draw::wide;
use super::{Check, Size, Stage, draw, pick, rounding};
use crate::backend::cpu::step as reference;
use crate::backend::gpu::driver::{Driver, DriverError};
use crate::backend::gpu::ops::step::{self, AdamCall, StepValues, TargetsCall};
use crate::backend::{
    AdamConfig, EpsilonForm, FlipUnit, LabelFlip, Rate, StepScalars, Targets, View,
};
use crate::rng::{Philox, Stream, uniform};

/// One kernel; Adam in each of its forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Adam(EpsilonForm),
    Targets(FlipUnit),
    Loss,
}

/// All of them.
pub fn checks() -> [Step; 5] {
    [
        Step::Adam(EpsilonForm::Outside),
        Step::Adam(EpsilonForm::Corrected),
        Step::Targets(FlipUnit::Batch),
        Step::Targets(FlipUnit::Sample),
        Step::Loss,
    ]
}

impl<D: Driver> Check<D> for Step {
    fn name(&self) -> String {
        match self {
            Self::Adam(EpsilonForm::Outside) => "adam, epsilon outside",
            Self::Adam(EpsilonForm::Corrected) => "adam, epsilon corrected",
            Self::Targets(FlipUnit::Batch) => "targets, flips of batches",
            Self::Targets(FlipUnit::Sample) => "targets, flips of samples",
            Self::Loss => "loss",
        }
        .to_owned()
    }

    fn run(&self, stage: &mut Stage<'_, D>, size: Size) -> Result<String, DriverError> {
        let random = &mut stage.random;
        let len = match (self, size) {
            (Self::Adam(_), Size::Paper) => pick(random, 1 << 20..=(1 << 23) + 3),
            _ => pick(random, 1..=1500),
        };
        let vector = random.random();
        let shift = draw::shift(random, vector);
        match *self {
            Self::Adam(form) => adam(stage, form, len, shift)?,
            Self::Targets(per) => targets(stage, per, len)?,
            Self::Loss => loss(stage, len)?,
        }
        Ok(format!("{len} values, {shift} off"))
    }
}

/// The numbers of a step, those of its beginning more often.
fn scalars<D: Driver>(stage: &mut Stage<'_, D>) -> StepScalars {
    let random = &mut stage.random;
    StepScalars {
        seed: random.random(),
        step: match random.random_range(0..3) {
            0 => 1,
            1 => random.random_range(1..100),
            _ => random.random_range(1..1 << 40),
        },
        generator_rate: random.random_range(1e-5..1e-2),
        discriminator_rate: random.random_range(1e-5..1e-2),
        average_decay: random.random_range(0.9..0.9999),
    }
}

fn adam<D: Driver>(
    stage: &mut Stage<'_, D>,
    form: EpsilonForm,
    len: usize,
    shift: usize,
) -> Result<(), DriverError> {
    let scalars = scalars(stage);
    let config = AdamConfig {
        beta1: stage.random.random_range(0.3..0.95),
        beta2: stage.random.random_range(0.9..0.9995),
        epsilon: 1e-8,
        epsilon_form: form,
    };
    let rate = [Rate::Generator, Rate::Discriminator][stage.random.random_range(0..2)];
    let parameters = stage.normals(len);
    // From gradients much smaller than epsilon to large ones.
    let sizes: Vec<f32> = (0..len)
        .map(|_| 10f32.powf(stage.random.random_range(-11.0..1.0)))
        .collect();
    let mut sized = |size: &[f32]| -> Vec<f32> {
        let values = stage.normals(len);
        values.iter().zip(size).map(|(v, s)| v * s).collect()
    };
    let (gradient, first) = (sized(&sizes), sized(&sizes));
    let second: Vec<f32> = sized(&sizes).iter().map(|v| v * v).collect();
    let mut expected = [&parameters, &first, &second].map(|values| wide(values));
    let [new_parameters, new_first, new_second] = &mut expected;
    reference::adam(
        &config,
        scalars.rate(rate),
        scalars.step,
        new_parameters,
        &wide(&gradient),
        new_first,
        new_second,
    );
    let averaged: bool = stage.random.random();
    let old = stage.normals(len);
    let mut new_average = wide(&old);
    reference::average(&mut new_average, new_parameters, scalars.average_decay);

    let values = StepValues::new(&scalars, [Some(&config); 2]);
    let now = values.adam[rate as usize];
    let call = AdamCall {
        config,
        rate,
        len,
        parameters: stage.input_at("parameters", &parameters, shift)?,
        gradient: stage.input_at("gradient", &gradient, shift)?,
        first: stage.input_at("first", &first, shift)?,
        second: stage.input_at("second", &second, shift)?,
        average: match averaged {
            true => Some(stage.input_at("average", &old, shift)?),
            false => None,
        },
        values: stage.input("values", &[values])?,
    };
    step::adam(stage.launcher, &call);
    let [new_parameters, new_first, new_second] = &expected;
    // The smallest f32 that is not subnormal: below it there are fewer digits.
    let least = f64::from(f32::MIN_POSITIVE);
    let size = |i: usize| f64::from(first[i]).abs() + f64::from(gradient[i]).abs();
    stage.compare("first", call.first, new_first, |i, _| {
        rounding(size(i)) + least
    })?;
    stage.compare("second", call.second, new_second, |_, value| {
        rounding(value) + least
    })?;
    let of_parameter = |i: usize| {
        let divisor = new_second[i].sqrt() + f64::from(now.epsilon);
        rounding(new_parameters[i]) + f64::from(now.scale) * rounding(size(i)) / divisor
    };
    stage.compare("parameters", call.parameters, new_parameters, |i, _| {
        of_parameter(i)
    })?;
    let Some(average) = call.average else {
        return Ok(());
    };
    stage.compare("average", average, &new_average, |i, _| {
        rounding(f64::from(old[i]).abs() + new_parameters[i].abs()) + of_parameter(i)
    })
}

fn targets<D: Driver>(
    stage: &mut Stage<'_, D>,
    per: FlipUnit,
    len: usize,
) -> Result<(), DriverError> {
    let scalars = scalars(stage);
    let (real_len, fake_len) = (len, pick(&mut stage.random, 1..=300));
    // One that equals the first draw, which then flips nothing.
    let word = Philox::new(scalars.seed, Stream::LabelFlip, scalars.step).block(0)[0];
    let probabilities = [0.0, 0.3, 0.5, 1.0, f64::from(uniform(word))];
    let probability = probabilities[stage.random.random_range(0..5)];
    let flip = LabelFlip { probability, per };
    let smoothing = [0.0, 0.1][stage.random.random_range(0..2)];
    let (mut real, mut fake) = (vec![0.0f32; real_len], vec![0.0f32; fake_len]);
    let call = Targets {
        real: View::default(),
        fake: View::default(),
        flip,
        smoothing,
    };
    reference::targets(&call, &scalars, &mut real, &mut fake);

    let call = TargetsCall {
        real: stage.output("real", real_len)?,
        real_len,
        fake: stage.output("fake", fake_len)?,
        fake_len,
        flip,
        smoothing,
        values: stage.input("values", &[StepValues::new(&scalars, [None; 2])])?,
    };
    step::targets(stage.launcher, &call);
    stage.compare_bits("real", call.real, &real)?;
    stage.compare_bits("fake", call.fake, &fake)
}

fn loss<D: Driver>(stage: &mut Stage<'_, D>, len: usize) -> Result<(), DriverError> {
    // A discriminator that knows nothing, one that errs badly, and one that is right and sure: its
    // loss is made of the smallest terms alone.
    let spread = [1.0, 30.0, 200.0][stage.random.random_range(0..3)];
    let sure = stage.random.random_range(0..3) == 0;
    let labels = [0.0, 0.9, 1.0];
    let targets: Vec<f32> = (0..len)
        .map(|_| labels[stage.random.random_range(0..if sure { 1 } else { 3 })])
        .collect();
    let logits: Vec<f32> = stage
        .normals(len)
        .iter()
        .map(|v| if sure { -10.0 - v.abs() } else { v * spread })
        .collect();
    let mut expected = vec![0.0; len];
    let mean = reference::loss(&wide(&logits), &wide(&targets), &mut expected);
    // Where a label is neither 0 nor 1, two products of the logit's size nearly cancel.
    let soft = |(logit, target): (&f32, &f32)| f64::from(logit * target * (1.0 - target)).abs();
    let cancelled = logits.iter().zip(&targets).map(soft).sum::<f64>() / len as f64;

    let logits = stage.input("logits", &logits)?;
    let targets = stage.input("targets", &targets)?;
    let gradient = stage.output("gradient", len)?;
    let loss = stage.output("loss", 1)?;
    step::loss(stage.launcher, len, logits, targets, gradient, loss);
    stage.compare("loss", loss, &[mean], |_, _| {
        rounding(mean + 20.0 * cancelled)
    })?;
    stage.compare("gradient", gradient, &expected, |_, _| {
        rounding(1.0 / len as f64)
    })
}

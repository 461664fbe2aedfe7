//! The element-wise kernels, each beside the CPU backend in f64.

use rand::RngExt;

use super::draw::wide;
use super::{Check, Size, Stage, draw, pick, rounding};
use crate::backend::cpu::norm as reference;
use crate::backend::gpu::driver::{Driver, DriverError};
use crate::backend::gpu::ops::elementwise;
use crate::model::Activation;

/// One kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elementwise {
    Fill,
    Activate,
    ActivationGradient,
}

/// All of them.
pub fn checks() -> [Elementwise; 3] {
    use Elementwise::{Activate, ActivationGradient, Fill};
    [Fill, Activate, ActivationGradient]
}

impl<D: Driver> Check<D> for Elementwise {
    fn name(&self) -> String {
        match self {
            Self::Fill => "fill",
            Self::Activate => "activate_in_place",
            Self::ActivationGradient => "activation_gradient",
        }
        .to_owned()
    }

    fn run(&self, stage: &mut Stage<'_, D>, size: Size) -> Result<String, DriverError> {
        let random = &mut stage.random;
        let len = match size {
            Size::Small => pick(random, 1..=3000),
            Size::Paper => pick(random, 1 << 20..=(1 << 24) + 3),
        };
        let vector = random.random();
        let shift = draw::shift(random, vector);
        let activation = draw::activation(random);
        match self {
            Self::Fill => fill(stage, len, shift)?,
            Self::Activate => activate(stage, activation, len, shift)?,
            Self::ActivationGradient => gradient(stage, activation, len, shift)?,
        }
        Ok(format!("{len} values, {shift} off, {activation:?}"))
    }
}

fn fill<D: Driver>(stage: &mut Stage<'_, D>, len: usize, shift: usize) -> Result<(), DriverError> {
    let value = stage.random.random();
    let to = stage.output_at("to", len, shift)?;
    elementwise::fill(stage.launcher, to, len, value);
    stage.compare_bits("to", to, &vec![value; len])
}

fn activate<D: Driver>(
    stage: &mut Stage<'_, D>,
    activation: Activation,
    len: usize,
    shift: usize,
) -> Result<(), DriverError> {
    let values = stage.normals(len);
    let mut expected = wide(&values);
    reference::activate_in_place(activation, &mut expected);
    let y = stage.input_at("y", &values, shift)?;
    elementwise::activate_in_place(stage.launcher, activation, len, y);
    stage.compare("y", y, &expected, |_, value| rounding(value))
}

fn gradient<D: Driver>(
    stage: &mut Stage<'_, D>,
    activation: Activation,
    len: usize,
    shift: usize,
) -> Result<(), DriverError> {
    let mut y = stage.normals(len);
    for y in &mut y {
        // An output of tanh; and zeros, where slopes have their corner.
        *y = if y.abs() < 0.1 { 0.0 } else { y.tanh() };
    }
    let values = stage.normals(len);
    let mut expected = wide(&values);
    reference::activation_gradient(activation, &wide(&y), &mut expected);
    let y = stage.input_at("y", &y, shift)?;
    let dy = stage.input_at("dy", &values, shift)?;
    elementwise::activation_gradient(stage.launcher, activation, len, y, dy);
    stage.compare("dy", dy, &expected, |i, _| rounding(f64::from(values[i])))
}

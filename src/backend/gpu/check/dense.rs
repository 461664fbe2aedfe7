//! The dense layer's kernels, each beside the CPU backend in f64.

use rand::RngExt;

use super::draw::wide;
use super::{Check, Size, Stage, draw, pick, sum};
use crate::backend::Accumulate;
use crate::backend::cpu::dense as reference;
use crate::backend::cpu::norm::activate_in_place;
use crate::backend::cpu::scratch::Scratch;
use crate::backend::gpu::driver::{Driver, DriverError};
use crate::backend::gpu::ops::dense::{self, DenseForward, DenseShape};
use crate::model::Activation;

/// The operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Forward,
    WeightGradient,
    InputGradient,
}

/// One operation; a layer with one output has kernels of its own.
#[derive(Clone, Copy, Debug)]
pub struct Dense {
    pub operation: Operation,
    pub single: bool,
}

/// All of them.
pub fn checks() -> Vec<Dense> {
    use Operation::{Forward, InputGradient, WeightGradient};
    [Forward, WeightGradient, InputGradient]
        .into_iter()
        .flat_map(|operation| [false, true].map(|single| Dense { operation, single }))
        .collect()
}

impl<D: Driver> Check<D> for Dense {
    fn name(&self) -> String {
        let name = match self.operation {
            Operation::Forward => "forward",
            Operation::WeightGradient => "weight_gradient",
            Operation::InputGradient => "input_gradient",
        };
        format!("dense_{}{name}", if self.single { "single_" } else { "" })
    }

    fn run(&self, stage: &mut Stage<'_, D>, size: Size) -> Result<String, DriverError> {
        let case = Case::draw(*self, stage, size);
        match self.operation {
            Operation::Forward => case.forward(stage)?,
            Operation::WeightGradient => case.weight_gradient(stage)?,
            Operation::InputGradient => case.input_gradient(stage)?,
        }
        let DenseShape {
            batch,
            inputs,
            outputs,
        } = case.shape;
        Ok(format!(
            "batch {batch}, {inputs} to {outputs}, {:?}",
            case.activation
        ))
    }
}

/// What is drawn besides the values.
struct Case {
    shape: DenseShape,
    biased: bool,
    activation: Activation,
    accumulate: Accumulate,
    /// Values by which parameters are off a multiple of 256 bytes.
    shift: usize,
}

impl Case {
    fn draw<D: Driver>(check: Dense, stage: &mut Stage<'_, D>, size: Size) -> Self {
        let random = &mut stage.random;
        let shape = match (size, check.single) {
            (Size::Small, true) => DenseShape {
                batch: pick(random, 1..=19),
                inputs: match random.random_range(0..3) {
                    0 => pick(random, 1..=40_000) * 4,
                    1 => pick(random, 1..=4000),
                    _ => pick(random, 1..=70),
                },
                outputs: 1,
            },
            (Size::Small, false) => Self::draw_small(check.operation, random),
            (Size::Paper, single) => {
                let (few, many) = (pick(random, 64..=256), 131_072);
                let (inputs, outputs) = if single { (many, 1) } else { (few, many) };
                let batch = pick(random, 1..=128);
                DenseShape {
                    batch,
                    inputs,
                    outputs,
                }
            }
        };
        let shape = match shape.inputs * shape.batch > 200_000 && size == Size::Small {
            true => DenseShape { batch: 1, ..shape },
            false => shape,
        };
        let vector = random.random();
        Self {
            shape,
            biased: random.random(),
            activation: draw::activation(random),
            accumulate: draw::accumulate(random),
            shift: draw::shift(random, vector),
        }
    }

    /// Around one tile or a few, or with a sum so long that it is split.
    fn draw_small(operation: Operation, random: &mut crate::rng::SequentialPhilox) -> DenseShape {
        let multiple = [1, 4][random.random_range(0..2)];
        let mut small = |largest| pick(random, 1..=largest / multiple) * multiple;
        let [mut batch, mut inputs, mut outputs] = [small(20), small(70), small(140).max(2)];
        let long = small(700);
        if long > 300 {
            match operation {
                Operation::Forward => inputs = long,
                Operation::WeightGradient => batch = long,
                Operation::InputGradient => outputs = long,
            }
        }
        DenseShape {
            batch,
            inputs,
            outputs,
        }
    }

    fn forward<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let DenseShape {
            batch,
            inputs,
            outputs,
        } = self.shape;
        let x = stage.normals(batch * inputs);
        let weights = stage.normals(inputs * outputs);
        let bias = self.biased.then(|| stage.normals(outputs));
        let mut expected = vec![0.0; batch * outputs];
        let mut scratch = Scratch::new();
        let (shared, threads) = reference::dense_scratch(inputs, outputs, batch);
        let scratch = scratch.reserve(threads, shared);
        let wide_bias = bias.as_deref().map(wide);
        let tensors = (wide(&x), wide(&weights));
        let sizes = (inputs, outputs);
        reference::forward(
            sizes,
            &tensors.0,
            &tensors.1,
            wide_bias.as_deref(),
            &mut expected,
            scratch,
        );
        activate_in_place(self.activation, &mut expected);

        let call = DenseForward {
            shape: self.shape,
            x: stage.input("x", &x)?,
            weights: stage.input_at("weights", &weights, self.shift)?,
            bias: stage.optional_at("bias", bias.as_deref(), self.shift)?,
            activation: self.activation,
            y: stage.output("y", expected.len())?,
        };
        dense::forward(stage.launcher, &call);
        stage.compare("y", call.y, &expected, |_, value| {
            sum(value, inputs + 1, 1.0, 1.0)
        })
    }

    fn weight_gradient<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let DenseShape {
            batch,
            inputs,
            outputs,
        } = self.shape;
        let x = stage.normals(batch * inputs);
        let dy = stage.normals(batch * outputs);
        let before = stage.normals(inputs * outputs);
        let mut expected = wide(&before);
        let write = draw::write(self.accumulate);
        reference::weight_gradient(
            (inputs, outputs),
            &wide(&x),
            &wide(&dy),
            &mut expected,
            write,
        );

        let x = stage.input("x", &x)?;
        let dy = stage.input("dy", &dy)?;
        let gradient = stage.gradient_at("gradient", &before, self.accumulate, self.shift)?;
        let (shape, accumulate) = (self.shape, self.accumulate);
        dense::weight_gradient(stage.launcher, shape, x, dy, gradient, accumulate);
        stage.compare("gradient", gradient, &expected, |_, value| {
            sum(value, batch + 1, 1.0, 1.0)
        })
    }

    fn input_gradient<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let DenseShape {
            batch,
            inputs,
            outputs,
        } = self.shape;
        let dy = stage.normals(batch * outputs);
        let weights = stage.normals(inputs * outputs);
        let mut expected = vec![0.0; batch * inputs];
        let mut scratch = Scratch::new();
        let (_, threads) = reference::dense_scratch(inputs, outputs, batch);
        let (threads, _) = scratch.reserve(threads, 0);
        let tensors = (wide(&dy), wide(&weights));
        let sizes = (inputs, outputs);
        reference::input_gradient(sizes, &tensors.0, &tensors.1, &mut expected, threads);

        let dy = stage.input("dy", &dy)?;
        let weights = stage.input_at("weights", &weights, self.shift)?;
        let dx = stage.output("dx", expected.len())?;
        dense::input_gradient(stage.launcher, self.shape, dy, weights, dx);
        stage.compare("dx", dx, &expected, |_, value| {
            sum(value, outputs, 1.0, 1.0)
        })
    }
}

//! What several checks draw.

use rand::RngExt;

use crate::backend::Accumulate;
use crate::backend::cpu::scalar::Write;
use crate::model::{Activation, StridedLayer};
use crate::rng::SequentialPhilox;

pub fn activation(random: &mut SequentialPhilox) -> Activation {
    use Activation::{Identity, LeakyRelu, Relu, Tanh};
    [Identity, Relu, LeakyRelu, Tanh][random.random_range(0..4)]
}

pub fn accumulate(random: &mut SequentialPhilox) -> Accumulate {
    [Accumulate::First, Accumulate::Later][random.random_range(0..2)]
}

/// By how many values a tensor is off a multiple of 256 bytes: `vector` says whether it can be read
/// four values at a time.
pub fn shift(random: &mut SequentialPhilox, vector: bool) -> usize {
    let shift = 4 * random.random_range(0..3);
    if vector {
        shift
    } else {
        shift + random.random_range(1..4)
    }
}

/// A layer in words.
pub fn layer(layer: &StridedLayer) -> String {
    let &StridedLayer {
        small,
        c_big,
        c_small,
        pad_low,
    } = layer;
    let pad_low = pad_low.pixels();
    format!("side {small}, channels {c_big} and {c_small}, pad_low {pad_low}")
}

/// How the CPU backend says [`Accumulate`].
pub fn write(accumulate: Accumulate) -> Write {
    match accumulate {
        Accumulate::First => Write::Set,
        Accumulate::Later => Write::Add,
    }
}

pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

pub fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

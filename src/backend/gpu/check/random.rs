//! The device's random numbers, beside those of the host: equal to the bit.

use bytemuck::cast_slice;
use rand::RngExt;

use super::{Check, Size, Stage, draw, pick};
use crate::backend::StepScalars;
use crate::backend::gpu::driver::{Driver, DriverError};
use crate::backend::gpu::ops::random;
use crate::backend::gpu::ops::step::StepValues;
use crate::rng::{Philox, Stream, box_muller, philox4x32_10};

/// One kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Random {
    Uniforms,
    Normals,
    Words,
}

/// All of them.
pub fn checks() -> [Random; 3] {
    [Random::Uniforms, Random::Normals, Random::Words]
}

impl<D: Driver> Check<D> for Random {
    fn name(&self) -> String {
        match self {
            Self::Uniforms => "uniforms",
            Self::Normals => "normals",
            Self::Words => "philox_words",
        }
        .to_owned()
    }

    fn run(&self, stage: &mut Stage<'_, D>, size: Size) -> Result<String, DriverError> {
        let len = match size {
            Size::Small => pick(&mut stage.random, 1..=3000),
            Size::Paper => pick(&mut stage.random, 1..=1 << 20),
        };
        match self {
            Self::Words => words(stage, len)?,
            _ => self.numbers(stage, len)?,
        }
        Ok(format!("{len} numbers"))
    }
}

impl Random {
    fn numbers<D: Driver>(self, stage: &mut Stage<'_, D>, len: usize) -> Result<(), DriverError> {
        let scalars = StepScalars {
            seed: stage.random.random(),
            step: stage.random.random(),
            ..StepScalars::default()
        };
        let vector = stage.random.random();
        let shift = draw::shift(&mut stage.random, vector);
        let stream = [Stream::Latent, Stream::Generate][stage.random.random_range(0..2)];
        let philox = Philox::new(scalars.seed, stream, scalars.step);
        let mut expected = vec![0.0; len];
        match self {
            Self::Normals => philox.fill_normal(&mut expected),
            _ => philox.fill_uniform(&mut expected),
        }
        let values = stage.input("values", &[StepValues::new(&scalars, [None; 2])])?;
        let to = stage.output_at("to", len, shift)?;
        match self {
            Self::Normals => random::normals(stage.launcher, to, len, stream, values),
            _ => random::uniforms(stage.launcher, to, len, stream, values),
        }
        stage.compare_bits("to", to, &expected)
    }
}

/// Random123's known answers for philox4x32-10 are for these counters and keys.
const PUBLISHED: [([u32; 4], [u32; 2]); 3] = [
    ([0; 4], [0; 2]),
    ([u32::MAX; 4], [u32::MAX; 2]),
    (
        [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
        [0xa409_3822, 0x299f_31d0],
    ),
];

/// The counters of the published words, words at the edges of what is computed from them, others.
fn words<D: Driver>(stage: &mut Stage<'_, D>, len: usize) -> Result<(), DriverError> {
    const EDGES: [u32; 12] = [
        0,
        1,
        127,
        u32::MAX,
        u32::MAX - 1,
        u32::MAX - 128,
        u32::MAX - 129,
        1 << 29,
        (1 << 29) - 1,
        1 << 30,
        1 << 31,
        3 << 29,
    ];
    let (mut counters, mut keys): (Vec<_>, Vec<_>) = PUBLISHED.into_iter().unzip();
    for first in EDGES {
        for second in EDGES {
            counters.push([first, second, second, first]);
            keys.push([first, second]);
        }
    }
    for _ in 0..len {
        counters.push(stage.random.random());
        keys.push(stage.random.random());
    }
    let len = counters.len();
    let pairs = counters.iter().zip(&keys);
    let words: Vec<[u32; 4]> = pairs.map(|(&c, &k)| philox4x32_10(c, k)).collect();
    let normal = |&[a, b, c, d]: &[u32; 4]| [box_muller(a, b), box_muller(c, d)];
    let normals: Vec<f32> = counters
        .iter()
        .flat_map(normal)
        .flat_map(|(a, b)| [a, b])
        .collect();

    let from = [
        stage.input("counters", &counters)?,
        stage.input("keys", &keys)?,
    ];
    let to = [
        stage.output("words", 4 * len)?,
        stage.output("normals", 4 * len)?,
    ];
    random::philox_words(stage.launcher, len, from, to);
    stage.compare_bits("words", to[0], cast_slice(&words))?;
    stage.compare_bits("normals", to[1], &normals)
}

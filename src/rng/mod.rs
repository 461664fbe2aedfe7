//! Counter-based random numbers: Philox 4x32-10 keyed by (seed, stream, step).
//!
//! Every random number of a run is a pure function of the seed, of what it is for ([`Stream`]), of
//! the step and of its index, so that a resumed run continues to the bit, and CPU, GPU and emulator
//! draw the same numbers. Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".

mod normal;
mod philox;

pub use normal::box_muller;
pub use philox::philox4x32_10;

use rand::rand_core::{Infallible, TryRng};

/// What a random number is for. The discriminants are part of the format of checkpoints: a resumed
/// run must draw the same numbers. Never renumber them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stream {
    /// Initial parameters; the step is the index of the parameter tensor.
    Init = 1,
    /// Latent vectors of a training step.
    Latent = 2,
    /// Fresh latent vectors of the generator's half of an alternating step.
    LatentGenerator = 3,
    /// Label flips.
    LabelFlip = 4,
    /// Which maps and crops a batch holds; the step is the epoch or the training step.
    Batches = 5,
    /// Rotations and flips of a batch's maps.
    Augmentation = 6,
    /// The split of parents into training, validation and test sets.
    Split = 7,
    /// Synthetic maps; the step is the index of the map.
    Synthetic = 8,
    /// Latent vectors of sample grids and of evaluation during training.
    FixedLatent = 9,
    /// Latent vectors of `cosmogan generate`.
    Generate = 10,
    /// Resampling and permutation in statistical tests.
    Bootstrap = 11,
    /// Latent vectors that calibrate the averaged generator's running statistics.
    Calibration = 13,
    /// Inputs of tests and benchmarks.
    Benchmark = 12,
    /// Shape noise of galaxies in maps; the step is the index of the map.
    ShapeNoise = 14,
}

/// A stream of random numbers at one step: an addressable array of 2^34 32-bit words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Philox {
    key: [u32; 2],
    step: u64,
    stream: u32,
}

impl Philox {
    /// The numbers of `stream` at `step` under `seed`.
    pub fn new(seed: u64, stream: Stream, step: u64) -> Self {
        Self {
            key: [seed as u32, (seed >> 32) as u32],
            step,
            stream: stream as u32,
        }
    }

    /// Words `4 * block .. 4 * block + 4` of the stream.
    pub fn block(&self, block: u32) -> [u32; 4] {
        let counter = [
            block,
            self.step as u32,
            (self.step >> 32) as u32,
            self.stream,
        ];
        philox4x32_10(counter, self.key)
    }

    /// Fills `out` with independent N(0, 1) numbers: element `i` depends on `i` only.
    pub fn fill_normal(&self, out: &mut [f32]) {
        for (block, values) in out.chunks_mut(4).enumerate() {
            let normals = self.normals(block as u32);
            values.copy_from_slice(&normals[..values.len()]);
        }
    }

    /// Four N(0, 1) numbers from the words of one block.
    pub fn normals(&self, block: u32) -> [f32; 4] {
        let words = self.block(block);
        let (a, b) = box_muller(words[0], words[1]);
        let (c, d) = box_muller(words[2], words[3]);
        [a, b, c, d]
    }

    /// Fills `out` with uniform numbers on [0, 1): element `i` depends on `i` only.
    pub fn fill_uniform(&self, out: &mut [f32]) {
        for (block, values) in out.chunks_mut(4).enumerate() {
            let words = self.block(block as u32);
            for (value, word) in values.iter_mut().zip(words) {
                *value = uniform(word);
            }
        }
    }

    /// The same words as a sequential generator for the `rand` crate.
    pub fn sequential(self) -> SequentialPhilox {
        SequentialPhilox {
            philox: self,
            next: 0,
            words: [0; 4],
        }
    }
}

/// The upper 24 bits of `word` as a uniform number on [0, 1), exact in f32.
pub fn uniform(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// A [`Philox`] stream read from its beginning, for `rand`'s distributions and shuffles.
#[derive(Clone, Debug)]
pub struct SequentialPhilox {
    philox: Philox,
    next: u64,
    words: [u32; 4],
}

impl TryRng for SequentialPhilox {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let lane = (self.next % 4) as usize;
        if lane == 0 {
            self.words = self.philox.block((self.next / 4) as u32);
        }
        self.next += 1;
        Ok(self.words[lane])
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let low = self.try_next_u32()?;
        let high = self.try_next_u32()?;
        Ok(u64::from(high) << 32 | u64::from(low))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(4) {
            let bytes = self.try_next_u32()?.to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    #[test]
    fn sequential_and_addressed_words_are_the_same() {
        let philox = Philox::new(7, Stream::Batches, 3);
        let mut sequential = philox.sequential();
        let drawn: Vec<u32> = (0..8).map(|_| sequential.random()).collect();
        assert_eq!(drawn[..4], philox.block(0));
        assert_eq!(drawn[4..], philox.block(1));
    }

    #[test]
    fn streams_steps_and_seeds_differ() {
        let base = Philox::new(1, Stream::Latent, 1).block(0);
        assert_ne!(base, Philox::new(2, Stream::Latent, 1).block(0));
        assert_ne!(base, Philox::new(1, Stream::Init, 1).block(0));
        assert_ne!(base, Philox::new(1, Stream::Latent, 2).block(0));
        assert_ne!(base, Philox::new(1, Stream::Latent, 1 << 32 | 1).block(0));
    }

    #[test]
    fn uniforms_lie_below_one_and_have_the_right_moments() {
        let mut values = vec![0.0; 100_003];
        Philox::new(11, Stream::Benchmark, 0).fill_uniform(&mut values);
        assert!(values.iter().all(|v| (0.0..1.0).contains(v)));
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
        assert!((mean - 0.5).abs() < 5.0 * (1.0f64 / 12.0 / values.len() as f64).sqrt());
    }
}

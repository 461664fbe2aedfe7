//! What a discriminator sees in maps: the output of its last convolution block, whatever the logit makes of
//! it. Evaluations compare maps by it.

use std::sync::Arc;

use super::restore::Weights;
use crate::backend::{Backend, BackendError, Precision, StepScalars, View};
use crate::model::{Architecture, Network, discriminator, generator};
use crate::tape::{Mode, NetworkMemory, Player, Program, Tape};

/// Cells along the side that features are averaged over, at most.
const CELLS: usize = 4;
/// Features of a map, where fewer cells can have it.
const MOST: usize = 2048;

/// How the last convolution's output `[side, side, channels]` becomes features `[cells, cells, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pooling {
    side: usize,
    channels: usize,
    cells: usize,
}

impl Pooling {
    fn new(architecture: &Architecture) -> Self {
        let (channels, side) = architecture.plane(architecture.layers);
        let fits = |cells: &usize| side.is_multiple_of(*cells) && channels * cells * cells <= MOST;
        let cells = (1..=CELLS.min(side)).rev().find(fits).unwrap_or(1);
        Self {
            side,
            channels,
            cells,
        }
    }

    fn len(&self) -> usize {
        self.cells * self.cells * self.channels
    }

    /// Means over the cells of one map.
    fn pool(&self, plane: &[f32], out: &mut [f32]) {
        let cell = self.side / self.cells;
        let mut sums = vec![0.0_f64; self.len()];
        for (pixel, values) in plane.chunks_exact(self.channels).enumerate() {
            let (y, x) = (pixel / self.side / cell, pixel % self.side / cell);
            let sums = &mut sums[(y * self.cells + x) * self.channels..][..self.channels];
            for (sum, &value) in sums.iter_mut().zip(values) {
                *sum += f64::from(value);
            }
        }
        let pixels = (cell * cell) as f64;
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = (sum / pixels) as f32;
        }
    }
}

/// A discriminator up to its last convolution block, loaded with its running statistics.
pub struct LoadedFeatures<B> {
    backend: B,
    program: Program,
    input: View,
    output: View,
    batch: usize,
    map_len: usize,
    pooling: Pooling,
}

impl<B: Backend> LoadedFeatures<B> {
    /// Loads `weights`, those of the whole discriminator, for `batch` maps at a time.
    ///
    /// # Errors
    /// Not enough memory, or a failing device.
    pub fn new(
        mut backend: B,
        architecture: &Architecture,
        weights: &Weights,
        batch: usize,
    ) -> Result<Self, BackendError> {
        let Network {
            mut blocks,
            inventory,
        } = discriminator(architecture);
        // The logit: its parameters lie behind all others and are left alone.
        blocks.pop();
        let network = Network { blocks, inventory };
        let mut end = 0;
        let memory = NetworkMemory::place(&network, false, &mut end);
        let (map_len, plane_len) = (network.input_len(), network.output_len());
        let mut tape = Tape::new(
            Arc::new(generator(architecture)),
            Arc::new(network),
            end,
            backend.precision(),
        );
        let input = tape.input(batch * map_len);
        let player = Player::Discriminator;
        // In mixed precision convolutions write bf16, this one as it does with the logit behind it.
        let output = tape.inner(batch * plane_len);
        tape.forward(player, &memory, Mode::Infer, batch, input, Some(output));
        tape.keep(output);
        let program = tape.plan();
        backend.reserve(program.arena_len())?;
        backend.upload(memory.parameters, &weights.parameters)?;
        backend.upload(memory.running, &weights.running)?;
        let pooling = Pooling::new(architecture);
        debug_assert_eq!(plane_len, pooling.side * pooling.side * pooling.channels);
        Ok(Self {
            input: program.resolve(input),
            output: program.resolve(output),
            backend,
            program,
            batch,
            map_len,
            pooling,
        })
    }

    /// Features of a map.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.pooling.len()
    }

    /// What the features are, in words.
    pub fn words(&self) -> String {
        let Pooling {
            side,
            channels,
            cells,
        } = self.pooling;
        format!(
            "the discriminator's last features ({channels} channels of {side} x {side} pixels behind its last \
             convolution, averaged over {cells} x {cells} cells; running averages in batch norm)"
        )
    }

    /// Features `[n, len]` of `maps` `[n, S, S, C]` in the generator's range.
    ///
    /// # Errors
    /// What went wrong on the backend's device.
    pub fn run(&mut self, maps: &[f32], out: &mut [f32]) -> Result<(), BackendError> {
        let plane_len = self.output.len / self.batch;
        let mut planes = vec![0.0; self.output.len];
        let pieces = maps.chunks(self.batch * self.map_len);
        for (maps, out) in pieces.zip(out.chunks_mut(self.batch * self.len())) {
            let rest = self.input.len - maps.len();
            self.backend.upload(self.input.part(0, maps.len()), maps)?;
            if rest > 0 {
                let unread = self.input.part(maps.len(), rest);
                self.backend.upload(unread, &vec![0.0; rest])?;
            }
            self.program
                .run(&mut self.backend, &StepScalars::default())?;
            self.download(&mut planes)?;
            let planes = &planes[..maps.len() / self.map_len * plane_len];
            let len = self.pooling.len();
            for (plane, out) in planes.chunks(plane_len).zip(out.chunks_mut(len)) {
                self.pooling.pool(plane, out);
            }
        }
        Ok(())
    }

    /// Reads the output of a whole batch, whichever numbers it has.
    fn download(&mut self, planes: &mut [f32]) -> Result<(), BackendError> {
        if self.output.precision == Precision::F32 {
            return self.backend.download(self.output, planes);
        }
        // Two bf16, the upper halves of f32, in each word.
        let words = View::new(self.output.start, self.output.words());
        let mut packed = vec![0.0; words.len];
        self.backend.download(words, &mut packed)?;
        for (values, word) in planes.chunks_mut(2).zip(packed) {
            let bits = word.to_bits();
            for (value, half) in values.iter_mut().zip([bits << 16, bits & 0xffff_0000]) {
                *value = f32::from_bits(half);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Cpu;
    use crate::backend::gpu::ops::KernelVersion;
    use crate::backend::gpu::{Emulated, EmulatedOptions, Gpu, ptx};
    use crate::model::{Linear, Preset};
    use crate::testing::{normals, random};

    fn architecture() -> Architecture {
        Architecture {
            map_size: 16,
            layers: 2,
            base_filters: 4,
            latent: 8,
            ..Preset::Demo.architecture()
        }
    }

    fn draw(number: u64, len: usize, scale: f64) -> Vec<f32> {
        let values = normals(&mut random(number), len);
        values.iter().map(|v| (v * scale) as f32).collect()
    }

    #[test]
    fn features_are_averaged_to_cells_that_keep_them_few() {
        let paper = Pooling::new(&Preset::Paper256.architecture());
        assert_eq!((paper.side, paper.channels, paper.cells), (16, 512, 2));
        let small = Pooling::new(&architecture());
        assert_eq!((small.side, small.channels, small.cells), (4, 8, 4));
        let pooling = Pooling {
            side: 4,
            channels: 2,
            cells: 2,
        };
        let plane: Vec<f32> = (0..32).map(|v| v as f32).collect();
        let mut out = [0.0; 8];
        pooling.pool(&plane, &mut out);
        // Pixels 0, 1, 4 and 5 of either channel, and so on.
        assert_eq!(out, [5.0, 6.0, 9.0, 10.0, 21.0, 22.0, 25.0, 26.0]);
    }

    fn weights(architecture: &Architecture) -> Weights {
        let network = discriminator(architecture);
        let mut running = draw(2, network.inventory.running_len(), 0.1);
        // Variances are positive.
        running.iter_mut().for_each(|v| *v = v.abs() + 0.3);
        Weights {
            parameters: draw(1, network.parameter_count(), 0.1),
            running,
        }
    }

    #[test]
    fn features_in_bf16_are_those_in_f32_to_its_rounding() {
        let architecture = architecture();
        let weights = weights(&architecture);
        // A batch that is not full.
        let maps = draw(3, 3 * 256, 0.4);
        fn of<B: Backend>(
            backend: B,
            architecture: &Architecture,
            weights: &Weights,
            maps: &[f32],
        ) -> Vec<f32> {
            let mut features = LoadedFeatures::new(backend, architecture, weights, 4).unwrap();
            let mut found = vec![0.0; 3 * features.len()];
            features.run(maps, &mut found).unwrap();
            found
        }
        let exact = of(Cpu::<f32>::new(), &architecture, &weights, &maps);
        let size = exact.iter().map(|v| v * v).sum::<f32>();
        for (kernels, tolerance) in [(KernelVersion::V2, 1e-5), (KernelVersion::V3, 2e-2)] {
            let driver = Emulated::new(EmulatedOptions::default());
            let gpu = Gpu::new(driver, ptx::committed(), kernels).unwrap();
            let found = of(gpu, &architecture, &weights, &maps);
            let pairs = found.iter().zip(&exact);
            let off = pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
            let share = (off / size).sqrt();
            println!("{kernels:?}: {share:.1e}");
            assert!(share < tolerance, "{kernels:?}: {share}");
        }
    }

    /// The logit's weights times the features are the logit that the whole network gives.
    #[test]
    fn the_logit_is_what_the_whole_discriminator_makes_of_the_same_features() {
        let architecture = architecture();
        let network = discriminator(&architecture);
        let weights = weights(&architecture);
        let maps = draw(3, 3 * 256, 0.4);
        let mut features =
            LoadedFeatures::new(Cpu::<f32>::new(), &architecture, &weights, 2).unwrap();
        assert_eq!(features.len(), 4 * 4 * 8);
        let mut found = vec![0.0; 3 * features.len()];
        features.run(&maps, &mut found).unwrap();
        let whole = {
            let mut end = 0;
            let memory = NetworkMemory::place(&network, false, &mut end);
            let network = Arc::new(network.clone());
            let other = Arc::new(generator(&architecture));
            let mut backend = Cpu::<f32>::new();
            let mut tape = Tape::new(other, network, end, backend.precision());
            let input = tape.input(maps.len());
            let player = Player::Discriminator;
            let pass = tape.forward(player, &memory, Mode::Infer, 3, input, None);
            tape.keep(pass.output);
            let program = tape.plan();
            backend.reserve(program.arena_len()).unwrap();
            backend
                .upload(memory.parameters, &weights.parameters)
                .unwrap();
            backend.upload(memory.running, &weights.running).unwrap();
            backend.upload(program.resolve(input), &maps).unwrap();
            program.run(&mut backend, &StepScalars::default()).unwrap();
            let mut logits = [0.0; 3];
            backend
                .download(program.resolve(pass.output), &mut logits)
                .unwrap();
            logits
        };
        let last = network.blocks.last().unwrap();
        assert!(matches!(last.linear, Linear::Dense { outputs: 1, .. }));
        let weight = &weights.parameters[last.weight..][..4 * 4 * 8];
        let bias = weights.parameters[last.bias.unwrap()];
        for (features, logit) in found.chunks(4 * 4 * 8).zip(whole) {
            let sum: f32 = features.iter().zip(weight).map(|(a, b)| a * b).sum();
            let expected = sum + bias;
            assert!((expected - logit).abs() < 1e-4, "{expected} {logit}");
            assert!(logit.abs() > 1e-3);
        }
    }
}

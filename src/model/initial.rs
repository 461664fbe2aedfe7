//! Initial parameters and running statistics.
//!
//! Each value is a pure function of (seed, network, tensor, place), so that neither the number of
//! threads nor the device changes it. A tensor's numbers come from [`Stream::Init`] at the step
//! [`WhichNetwork`] and tensor index give; the k-th redraw of a truncated normal adds `k << 32`.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Field, Linear, Network};
use crate::rng::{Philox, Stream, uniform};

/// Distributions of the initial parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Initialisation {
    /// Dense and transposed conv N(0, 0.02), conv N(0, 0.02) redrawn beyond 2 sigma, biases 0,
    /// gamma 1, beta 0.
    Paper,
    /// PyTorch's defaults: weights and biases uniform within 1/sqrt(fan in), gamma 1, beta 0.
    Torch,
}

/// Standard deviation of the paper's initial weights.
const DEVIATION: f32 = 0.02;
/// The paper's conv weights are redrawn beyond this many standard deviations.
const TRUNCATION: f32 = 2.0;
/// Values that one task draws; a multiple of the four numbers of a Philox block.
const CHUNK: usize = 1 << 14;

/// Which network of the pair: their tensors draw from different numbers. The discriminants are
/// part of what a seed means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichNetwork {
    Generator = 0,
    Discriminator = 1,
}

/// The initial trained parameters of `network`, `[parameter_count]`, in arena order.
pub fn initial_parameters(
    network: &Network,
    initialisation: Initialisation,
    seed: u64,
    which: WhichNetwork,
) -> Vec<f32> {
    let mut arena = vec![0.0; network.inventory.parameter_len()];
    for (index, parameter) in network.inventory.parameters.iter().enumerate() {
        // No network has 256 tensors: seven layers, four tensors each, and the dense one.
        let tensor = (which as u64) << 8 | index as u64;
        let stream = |attempt: u64| Philox::new(seed, Stream::Init, attempt << 32 | tensor);
        let out = &mut arena[parameter.range()];
        match (parameter.field, initialisation) {
            (Field::Gamma | Field::RunningVariance, _) => out.fill(1.0),
            (Field::Beta | Field::RunningMean, _) => out.fill(0.0),
            (Field::Bias, Initialisation::Paper) => out.fill(0.0),
            (Field::ConvWeight, Initialisation::Paper) => fill_truncated(out, &stream),
            (Field::DenseWeight | Field::TransposedConvWeight, Initialisation::Paper) => {
                fill(out, |block| stream(0).normals(block).map(|n| DEVIATION * n));
            }
            (_, Initialisation::Torch) => {
                let bound = 1.0 / (fan_in(network, parameter.start) as f32).sqrt();
                fill(out, |block| {
                    let words = stream(0).block(block);
                    words.map(|word| (2.0 * uniform(word) - 1.0) * bound)
                });
            }
        }
    }
    arena
}

/// The initial running statistics of `network`, `[running_len]`: means 0, variances 1.
pub fn initial_running(network: &Network) -> Vec<f32> {
    let mut arena = vec![0.0; network.inventory.running_len()];
    for parameter in &network.inventory.running {
        if parameter.field == Field::RunningVariance {
            arena[parameter.range()].fill(1.0);
        }
    }
    arena
}

fn fill(out: &mut [f32], block_of_four: impl Fn(u32) -> [f32; 4] + Sync) {
    out.par_chunks_mut(CHUNK)
        .enumerate()
        .for_each(|(chunk, values)| {
            for (block, values) in values.chunks_mut(4).enumerate() {
                let four = block_of_four((chunk * (CHUNK / 4) + block) as u32);
                values.copy_from_slice(&four[..values.len()]);
            }
        });
}

/// N(0, [`DEVIATION`]), each value redrawn until it lies within [`TRUNCATION`] deviations.
fn fill_truncated(out: &mut [f32], stream: &(impl Fn(u64) -> Philox + Sync)) {
    fill(out, |block| {
        let mut accepted = stream(0).normals(block);
        for attempt in 1.. {
            if accepted.iter().all(|n| n.abs() <= TRUNCATION) {
                break;
            }
            let redrawn = stream(attempt).normals(block);
            for (value, new) in accepted.iter_mut().zip(redrawn) {
                if value.abs() > TRUNCATION {
                    *value = new;
                }
            }
        }
        accepted.map(|n| DEVIATION * n)
    });
}

/// Inputs that PyTorch counts for the layer whose weight or bias starts at `start`: `size(1)` of
/// the weight times the filter's taps. For a transposed convolution, `[c_in, c_out, 5, 5]`, that
/// is the *output's* channels, hence the big plane's for both kinds of strided layer.
fn fan_in(network: &Network, start: usize) -> usize {
    let owner = network
        .blocks
        .iter()
        .rfind(|block| block.weight <= start)
        .map(|block| block.linear);
    match owner {
        Some(Linear::Dense { inputs, .. }) => inputs,
        Some(Linear::Conv(layer) | Linear::TransposedConv(layer)) => {
            layer.weight_len() / layer.c_small
        }
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Preset, discriminator, generator};

    fn tensor<'a>(network: &Network, arena: &'a [f32], name: &str) -> &'a [f32] {
        let mut all = network.inventory.parameters.iter();
        let parameter = all.find(|p| p.name == name).expect("a known name");
        &arena[parameter.range()]
    }

    fn moments(values: &[f32]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let square = |v: &f32| (f64::from(*v) - mean).powi(2);
        (mean, values.iter().map(square).sum::<f64>() / n)
    }

    fn close(values: &[f32], deviation: f64) {
        let (mean, variance) = moments(values);
        let n = values.len() as f64;
        assert!(mean.abs() < 5.0 * deviation / n.sqrt(), "mean {mean}");
        let ratio = variance / deviation.powi(2);
        assert!((ratio - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "{ratio}");
    }

    #[test]
    fn the_papers_weights_have_the_papers_distributions() {
        let architecture = Preset::Demo.architecture();
        let (g, d) = (generator(&architecture), discriminator(&architecture));
        let seed = 17;
        let of_g = initial_parameters(&g, Initialisation::Paper, seed, WhichNetwork::Generator);
        let of_d = initial_parameters(&d, Initialisation::Paper, seed, WhichNetwork::Discriminator);
        close(tensor(&g, &of_g, "lin.weight"), 0.02);
        close(tensor(&g, &of_g, "ct1.weight"), 0.02);
        close(tensor(&d, &of_d, "lin.weight"), 0.02);
        let beyond = |values: &[f32]| values.iter().filter(|v| v.abs() > 0.04).count();
        assert!(beyond(tensor(&g, &of_g, "ct1.weight")) > 0);
        let conv = tensor(&d, &of_d, "c3.weight");
        assert_eq!(beyond(conv), 0);
        // A normal distribution cut at 2 sigma has a variance of 0.774 sigma^2.
        close(conv, 0.02 * 0.773_741f64.sqrt());
        for name in ["c0.bias", "bn1.bias", "lin.bias"] {
            assert!(tensor(&d, &of_d, name).iter().all(|&v| v == 0.0), "{name}");
        }
        assert!(tensor(&g, &of_g, "bn0.weight").iter().all(|&v| v == 1.0));
    }

    #[test]
    fn a_redraw_is_addressed_by_element_and_attempt() {
        let network = discriminator(&Preset::Demo.architecture());
        let seed = 3;
        let arena = initial_parameters(
            &network,
            Initialisation::Paper,
            seed,
            WhichNetwork::Discriminator,
        );
        let mut all = network.inventory.parameters.iter().enumerate();
        let (index, parameter) = all.find(|(_, p)| p.name == "c2.weight").unwrap();
        for (i, &value) in arena[parameter.range()].iter().enumerate().rev().take(999) {
            let expected = (0u64..)
                .map(|k| Philox::new(seed, Stream::Init, k << 32 | 256 | index as u64))
                .map(|philox| philox.normals(i as u32 / 4)[i % 4])
                .find(|normal| normal.abs() <= 2.0)
                .unwrap();
            assert_eq!(value, 0.02 * expected, "element {i}");
        }
    }

    #[test]
    fn pytorchs_defaults_fill_a_uniform_range_of_its_fan_in() {
        let architecture = Preset::Thesis256.architecture();
        let small = crate::model::Architecture {
            map_size: 64,
            base_filters: 16,
            conv_bias: true,
            dense_bias: true,
            ..architecture
        };
        let (g, d) = (generator(&small), discriminator(&small));
        let torch = Initialisation::Torch;
        let of_g = initial_parameters(&g, torch, 1, WhichNetwork::Generator);
        let of_d = initial_parameters(&d, torch, 1, WhichNetwork::Discriminator);
        // Linear: inputs; Conv2d: in * 25; ConvTranspose2d: out * 25.
        for (network, arena, layer, fan_in) in [
            (&g, &of_g, "lin", 100.0f64),
            (&g, &of_g, "ct1", 64.0 * 25.0),
            (&g, &of_g, "ct3", 16.0 * 25.0),
            (&d, &of_d, "c1", 16.0 * 25.0),
            (&d, &of_d, "c3", 64.0 * 25.0),
            (&d, &of_d, "lin", 128.0 * 16.0),
        ] {
            let bound = 1.0 / fan_in.sqrt();
            let weights = tensor(network, arena, &format!("{layer}.weight"));
            let bias = tensor(network, arena, &format!("{layer}.bias"));
            let largest = |values: &[f32]| values.iter().fold(0.0f32, |a, v| a.max(v.abs()));
            assert!(f64::from(largest(weights)) <= bound * 1.000_001, "{layer}");
            assert!(f64::from(largest(weights)) > bound * 0.99, "{layer}");
            assert!(f64::from(largest(bias)) <= bound * 1.000_001, "{layer}");
            close_uniform(weights, bound);
        }
        assert!(tensor(&g, &of_g, "bn1.weight").iter().all(|&v| v == 1.0));
        assert!(tensor(&g, &of_g, "bn1.bias").iter().all(|&v| v == 0.0));
    }

    fn close_uniform(values: &[f32], bound: f64) {
        let (mean, variance) = moments(values);
        let (n, expected) = (values.len() as f64, bound * bound / 3.0);
        assert!(mean.abs() < 5.0 * (expected / n).sqrt());
        assert!((variance / expected - 1.0).abs() < 5.0 * (0.8 / n).sqrt());
    }

    #[test]
    fn the_number_of_threads_changes_nothing_and_seed_and_network_do() {
        let network = generator(&Preset::Demo.architecture());
        let draw = |seed, which| initial_parameters(&network, Initialisation::Paper, seed, which);
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| draw(5, WhichNetwork::Generator))
        };
        let one = with_threads(1);
        assert_eq!(one, with_threads(3));
        assert_ne!(one, draw(6, WhichNetwork::Generator));
        assert_ne!(one, draw(5, WhichNetwork::Discriminator));
    }

    #[test]
    fn running_statistics_begin_as_a_standard_normal() {
        let network = generator(&Preset::Demo.architecture());
        let arena = initial_running(&network);
        for parameter in &network.inventory.running {
            let expected = match parameter.field {
                Field::RunningVariance => 1.0,
                _ => 0.0,
            };
            assert!(arena[parameter.range()].iter().all(|&v| v == expected));
        }
    }
}

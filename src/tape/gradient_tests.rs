//! Gradients on the tape in f64: every kind of block against central differences. Everything that
//! a run should write holds NaN before.

use std::sync::Arc;

use super::*;
use crate::backend::{Backend, Cpu, Precision, StepScalars};
use crate::model::{
    Activation, BatchNorm, Block, Field, Inventory, Linear, PadLow, Parameter, StridedLayer,
    TorchLayout,
};
use crate::testing::{deviation, normals, random};

/// Samples of a group.
pub(super) const GROUP: usize = 5;
/// Step of a central difference.
const STEP: f64 = 1e-5;

/// A network of one block.
fn one_block(linear: Linear, norm: Option<BatchNorm>, activation: Activation) -> Network {
    let mut inventory = Inventory::default();
    let push = |list: &mut Vec<Parameter>, name: &str, field, len| {
        let start = list.last().map_or(0, |p| p.range().end);
        list.push(Parameter {
            name: name.to_owned(),
            field,
            start,
            len,
            layout: TorchLayout::Same,
        });
        start
    };
    let parameters = &mut inventory.parameters;
    let weight = push(
        parameters,
        "weight",
        Field::DenseWeight,
        linear.weight_len(),
    );
    let bias = push(parameters, "bias", Field::Bias, linear.bias_len());
    let mut block = Block {
        name: "block".to_owned(),
        linear,
        norm,
        activation,
        weight,
        bias: Some(bias),
        gamma: None,
        running: None,
    };
    if let Some(BatchNorm { features }) = norm {
        block.gamma = Some(push(parameters, "gamma", Field::Gamma, features));
        push(parameters, "beta", Field::Beta, features);
        let running = &mut inventory.running;
        block.running = Some(push(running, "mean", Field::RunningMean, features));
        push(running, "variance", Field::RunningVariance, features);
    }
    Network {
        blocks: vec![block],
        inventory,
    }
}

/// A planned forward (and backward) pass of a network, with all that it reads.
pub(super) struct Bench {
    pub program: Program,
    pub backend: Cpu<f64>,
    pub memory: NetworkMemory,
    pub input: View,
    pub seed: View,
    pub output: View,
    pub input_gradient: View,
    /// First place behind the network's memory.
    pub end: usize,
}

/// What a run reads: parameters, running statistics, input, and the gradient of the output.
#[derive(Clone)]
pub(super) struct Given {
    parameters: Vec<f64>,
    running: Vec<f64>,
    input: Vec<f64>,
    pub seed: Vec<f64>,
}

impl Given {
    pub fn draw(network: &Network, batch: usize, number: u64) -> Self {
        let mut random = random(number);
        let mut draw = |len| normals(&mut random, len);
        let running = network.inventory.running_len();
        Self {
            parameters: draw(network.parameter_count()),
            running: draw(running).iter().map(|v| v.abs()).collect(),
            input: draw(batch * network.input_len()),
            seed: draw(batch * network.output_len()),
        }
    }
}

impl Bench {
    /// One pass over `batch` samples in `groups`; backward over `samples` of it, if any.
    pub fn new(
        network: &Network,
        batch: usize,
        groups: usize,
        samples: Option<Range<usize>>,
        parameter_gradient: bool,
    ) -> Self {
        let network = Arc::new(network.clone());
        let mut end = 0;
        let memory = NetworkMemory::place(&network, true, &mut end);
        let mut tape = Tape::new(
            Arc::clone(&network),
            Arc::clone(&network),
            end,
            Precision::F32,
        );
        let input = tape.input(batch * network.input_len());
        let player = Player::Discriminator;
        let pass = tape.forward(player, &memory, Mode::train(groups), batch, input, None);
        tape.keep(pass.output);
        let (mut seed, mut input_gradient) = (View::default(), View::default());
        if let Some(samples) = samples {
            seed = tape.input(samples.len() * network.output_len());
            input_gradient = tape.value(samples.len() * network.input_len());
            tape.keep(input_gradient);
            let wanted = parameter_gradient.then_some(memory.gradient);
            tape.backward(&pass, samples, seed, wanted, Some(input_gradient));
        }
        let program = tape.plan();
        let mut backend = Cpu::new();
        backend.reserve(program.arena_len()).unwrap();
        Self {
            input: program.resolve(input),
            seed: program.resolve(seed),
            output: program.resolve(pass.output),
            input_gradient: program.resolve(input_gradient),
            program,
            backend,
            memory,
            end,
        }
    }

    /// Poisons the arena, fills in what is given, runs.
    pub fn run(&mut self, given: &Given) {
        let all = View::new(0, self.program.arena_len().max(self.end));
        self.backend.reserve(all.len).unwrap();
        self.backend.values_mut(all).fill(f64::NAN);
        for (view, values) in [
            (self.memory.parameters, &given.parameters),
            (self.memory.running, &given.running),
            (self.input, &given.input),
            (self.seed, &given.seed),
        ] {
            if view.len > 0 {
                self.backend.values_mut(view).copy_from_slice(values);
            }
        }
        self.program
            .run(&mut self.backend, &StepScalars::default())
            .unwrap();
    }

    pub fn gradient(&self) -> Vec<f64> {
        self.backend.values(self.memory.gradient).to_vec()
    }
}

/// The output's inner product with the seed, and on which side of zero each output lies.
fn functional(bench: &mut Bench, given: &Given) -> (f64, Vec<bool>) {
    bench.run(given);
    let output = bench.backend.values(bench.output);
    let value = output.iter().zip(&given.seed).map(|(y, s)| y * s).sum();
    (value, output.iter().map(|y| *y > 0.0).collect())
}

/// What a comparison of all entries found.
#[derive(Default)]
struct Found {
    worst: f64,
    compared: usize,
    skipped: usize,
}

/// Compares `gradient` with central differences in each of the values that `values` names.
fn compare(
    what: &str,
    bench: &mut Bench,
    given: &Given,
    gradient: &[f64],
    values: impl Fn(&mut Given) -> &mut Vec<f64>,
    found: &mut Found,
) {
    assert_eq!(gradient.len(), values(&mut given.clone()).len(), "{what}");
    for (index, &ours) in gradient.iter().enumerate() {
        let mut moved = given.clone();
        let mut at = |offset: f64| {
            let value = &mut values(&mut moved)[index];
            let before = *value;
            *value += offset;
            let result = functional(bench, &moved);
            values(&mut moved)[index] = before;
            result
        };
        let ((high, high_sides), (low, low_sides)) = (at(STEP), at(-STEP));
        if high_sides != low_sides {
            // A kink of ReLU lies in between: there is no derivative to compare.
            found.skipped += 1;
            continue;
        }
        let expected = (high - low) / (2.0 * STEP);
        let error = deviation(what, &[ours], &[expected]) / (1.0 + expected.abs());
        assert!(
            error < 1e-6,
            "{what}, value {index}: {ours} is not {expected}"
        );
        found.worst = found.worst.max(error);
        found.compared += 1;
    }
}

fn check(name: &str, network: &Network, groups: usize, number: u64, found: &mut Found) {
    let batch = groups * GROUP;
    let given = Given::draw(network, batch, number);
    let mut backward = Bench::new(network, batch, groups, Some(0..batch), true);
    backward.run(&given);
    let gradient = backward.gradient();
    let dx = backward.backend.values(backward.input_gradient).to_vec();
    let block = &network.blocks[0];
    if let (true, Some(at)) = (block.bias_is_cancelled(), block.bias) {
        let bias = &gradient[at..][..block.linear.bias_len()];
        assert!(bias.iter().all(|&g| g == 0.0), "{name}: {bias:?}");
    }
    let mut forward = Bench::new(network, batch, groups, None, false);
    let of_input = format!("{name}, input");
    compare(
        &of_input,
        &mut forward,
        &given,
        &dx,
        |g| &mut g.input,
        found,
    );
    let of_parameters = format!("{name}, parameters");
    compare(
        &of_parameters,
        &mut forward,
        &given,
        &gradient,
        |g| &mut g.parameters,
        found,
    );
}

/// Checks `linear` with every normalisation of `norms`, activation and number of groups, on one
/// thread: the blocks are tiny.
fn check_all(linears: &[Linear], norms: &[Option<usize>], seed: u64) {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let mut found = Found::default();
    let mut number = seed;
    use Activation::{Identity, LeakyRelu, Relu, Tanh};
    for &linear in linears {
        for norm in norms
            .iter()
            .map(|n| n.map(|features| BatchNorm { features }))
        {
            for activation in [Identity, Relu, LeakyRelu, Tanh] {
                for groups in [1, 2] {
                    number += 1;
                    let name = format!("{linear:?}, {norm:?}, {activation:?}, {groups} groups");
                    let network = one_block(linear, norm, activation);
                    pool.install(|| check(&name, &network, groups, number, &mut found));
                }
            }
        }
    }
    let Found {
        worst,
        compared,
        skipped,
    } = found;
    println!("{compared} derivatives, worst {worst:.1e}; {skipped} across a kink");
    assert!(
        compared > 1000 && skipped * 50 < compared,
        "{skipped} skipped"
    );
}

#[test]
fn gradients_of_dense_blocks_are_those_of_central_differences() {
    let linear = Linear::Dense {
        inputs: 5,
        outputs: 12,
    };
    // No norm; per channel, of 4 pixels with 3 channels; per feature.
    check_all(&[linear], &[None, Some(3), Some(12)], 1000);
    let many_inputs = Linear::Dense {
        inputs: 30,
        outputs: 2,
    };
    check_all(&[many_inputs], &[None, Some(2)], 1100);
}

fn layers() -> [StridedLayer; 2] {
    [(2, PadLow::One), (3, PadLow::Two)].map(|(small, pad_low)| StridedLayer {
        small,
        c_big: 2,
        c_small: 3,
        pad_low,
    })
}

#[test]
fn gradients_of_convolutions_are_those_of_central_differences() {
    check_all(&layers().map(Linear::Conv), &[None, Some(3)], 2000);
}

#[test]
fn gradients_of_transposed_convolutions_are_those_of_central_differences() {
    check_all(
        &layers().map(Linear::TransposedConv),
        &[None, Some(2)],
        3000,
    );
}

//! Criterion microbenchmarks of the CPU backend, operation by operation: each block of the paper's
//! 64-pixel networks forward and backward, and what surrounds the blocks in a step.
//!
//! A block is timed as a step runs it: linear layer, bias, batch norm and activation forward; all their
//! gradients backward. The rate is that of the linear layer's floating-point operations.

use std::ops::Range;

use cosmogan::backend::{
    Accumulate, Adam, AdamConfig, Backend, Backward, Cpu, EpsilonForm, Forward, Loss, ProgramId,
    Rate, Statistics, StepScalars, View,
};
use cosmogan::model::{
    BatchNorm, Block, Initialisation, Network, Preset, WhichNetwork, discriminator, generator,
    initial_parameters, initial_running,
};
use cosmogan::rng::{Philox, Stream};
use cosmogan::tape::NetworkMemory;
use cosmogan::train::Config;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const BATCH: usize = 16;

/// One block of a network with all that it reads and writes, filled with noise.
struct Bench {
    backend: Cpu<f32>,
    block: Block,
    forward: Forward,
    backward: Backward,
}

impl Bench {
    fn new(network: &Network, which: WhichNetwork, index: usize) -> Self {
        let block = network.blocks[index].clone();
        let mut end = 0;
        let memory = NetworkMemory::place(network, true, &mut end);
        let mut view = |len: usize| {
            let view = View::new(end, len);
            end += len;
            view
        };
        let [inputs, outputs] = [block.linear.input_len(), block.linear.output_len()];
        let (input, linear) = (view(BATCH * inputs), view(BATCH * outputs));
        let output = match block.norm {
            Some(_) => view(BATCH * outputs),
            None => linear,
        };
        let features = block.norm.map_or(0, |norm| norm.features);
        let saved = view(2 * features);
        let (gradient, input_gradient) = (view(BATCH * outputs), view(BATCH * inputs));
        let statistics = block.running.map(|at| Statistics::Batch {
            saved,
            running: memory.running.part(at, 2 * features),
            momentum: BatchNorm::MOMENTUM,
        });
        let forward = Forward {
            parameters: memory.parameters,
            batch: BATCH,
            groups: 1,
            input,
            folded: None,
            linear,
            output,
            deferred: false,
            statistics,
        };
        let backward = Backward {
            parameters: memory.parameters,
            batch: BATCH,
            groups: 1,
            input,
            folded: None,
            linear,
            output,
            saved: block.norm.map(|_| saved),
            gradient,
            prepared: false,
            input_gradient: Some(input_gradient),
            below: None,
            parameter_gradient: Some((memory.gradient, Accumulate::First)),
        };
        let mut backend = Cpu::new();
        backend.reserve(end).expect("memory for a block");
        for (stream, view) in [(0, input), (1, gradient)] {
            upload_noise(&mut backend, view, stream);
        }
        let parameters = initial_parameters(network, Initialisation::Paper, 1, which);
        upload(&mut backend, memory.parameters, &parameters);
        upload(&mut backend, memory.running, &initial_running(network));
        Self {
            backend,
            block,
            forward,
            backward,
        }
    }

    fn forward(&mut self) {
        let (block, call) = (&self.block, &self.forward);
        run(&mut self.backend, |backend| backend.forward(block, call));
    }

    fn backward(&mut self) {
        let (block, call) = (&self.block, &self.backward);
        run(&mut self.backend, |backend| backend.backward(block, call));
    }
}

fn upload(backend: &mut Cpu<f32>, view: View, values: &[f32]) {
    backend.upload(view, values).expect("the view is there");
}

fn upload_noise(backend: &mut Cpu<f32>, view: View, stream: u64) {
    let mut values = vec![0.0; view.len];
    Philox::new(1, Stream::Benchmark, stream).fill_normal(&mut values);
    upload(backend, view, &values);
}

fn run(backend: &mut Cpu<f32>, work: impl Fn(&mut Cpu<f32>)) {
    let scalars = StepScalars {
        seed: 1,
        step: 1,
        generator_rate: 2e-4,
        discriminator_rate: 2e-4,
        average_decay: 0.99,
    };
    backend
        .run(ProgramId::new(), &scalars, &work)
        .expect("the CPU does it");
}

fn blocks(criterion: &mut Criterion) {
    let architecture = Preset::Paper64.architecture();
    for (name, which, network) in [
        (
            "generator",
            WhichNetwork::Generator,
            generator(&architecture),
        ),
        (
            "discriminator",
            WhichNetwork::Discriminator,
            discriminator(&architecture),
        ),
    ] {
        let mut group = criterion.benchmark_group(format!("{name} block"));
        group.sample_size(10);
        for index in 0..network.blocks.len() {
            let mut bench = Bench::new(&network, which, index);
            let flop = BATCH as u64 * bench.block.linear.flop();
            group.throughput(Throughput::Elements(flop));
            let layer = &network.blocks[index].name;
            group.bench_function(BenchmarkId::new("forward", layer), |bencher| {
                bencher.iter(|| bench.forward());
            });
            // The gradients of the input and of the weights.
            group.throughput(Throughput::Elements(2 * flop));
            group.bench_function(BenchmarkId::new("backward", layer), |bencher| {
                bencher.iter(|| bench.backward());
            });
        }
        group.finish();
    }
}

fn around(criterion: &mut Criterion) {
    const LEN: usize = 1 << 22;
    let part = |place: usize| View::new(place * LEN, LEN);
    let [parameters, gradient, first, second, average] = [0, 1, 2, 3, 4].map(part);
    let mut backend = Cpu::<f32>::new();
    backend.reserve(5 * LEN).expect("memory for the values");
    for place in 0..5 {
        upload(&mut backend, part(place), &vec![0.01; LEN]);
    }
    let mut group = criterion.benchmark_group("around the blocks");
    group.sample_size(20);
    let config = Config::of_preset(Preset::Paper64, None).step.adam;
    let adam = |average| Adam {
        rate: Rate::Generator,
        config: AdamConfig {
            epsilon_form: EpsilonForm::Outside,
            ..config
        },
        parameters,
        gradient,
        first_moment: first,
        second_moment: second,
        average,
    };
    for (name, average, bytes) in [("adam", None, 28), ("adam and average", Some(average), 36)] {
        group.throughput(Throughput::Bytes((bytes * LEN) as u64));
        let call = adam(average);
        group.bench_function(name, |bencher| {
            bencher.iter(|| run(&mut backend, |backend| backend.adam(&call)));
        });
    }
    group.throughput(Throughput::Elements(LEN as u64));
    group.bench_function("normals", |bencher| {
        bencher.iter(|| {
            run(&mut backend, |backend| {
                backend.normals(gradient, Stream::Latent)
            })
        });
    });
    let logits = |range: Range<usize>| View::new(range.start, range.len());
    let loss = Loss {
        logits: logits(0..4096),
        targets: logits(4096..8192),
        gradient: logits(8192..12_288),
        loss: logits(12_288..12_289),
    };
    group.throughput(Throughput::Elements(4096));
    group.bench_function("loss of 4096 logits", |bencher| {
        bencher.iter(|| run(&mut backend, |backend| backend.loss(&loss)));
    });
    group.finish();
}

criterion_group!(benches, blocks, around);
criterion_main!(benches);

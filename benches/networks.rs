//! Criterion microbenchmarks on the CPU: a whole training step and the generator, for the demo's
//! and the paper's 64-pixel networks. `cosmogan bench` times the same without statistics.

use cosmogan::backend::Cpu;
use cosmogan::model::{
    Architecture, Preset, WhichNetwork, generator, initial_parameters, initial_running,
};
use cosmogan::rng::{Philox, Stream};
use cosmogan::train::{Config, LoadedGenerator, Trainer, Weights, latents};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const PRESETS: [(Preset, usize); 2] = [(Preset::Demo, 16), (Preset::Paper64, 16)];

fn random_maps(architecture: &Architecture, batch: usize) -> Vec<f32> {
    let mut maps = vec![0.0; batch * architecture.map_len()];
    Philox::new(1, Stream::Benchmark, 0).fill_normal(&mut maps);
    maps.iter_mut().for_each(|pixel| *pixel = pixel.tanh());
    maps
}

fn training_step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("training step");
    group.sample_size(10);
    for (preset, batch) in PRESETS {
        let mut config = Config::of_preset(preset, None);
        config.run.batch = batch;
        let real = random_maps(&config.architecture, batch);
        let mut trainer = Trainer::new(Cpu::<f32>::new(), &config).expect("memory for a step");
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new(preset.name(), batch), |bencher| {
            bencher.iter(|| trainer.train(&real, 0.0).expect("memory for a step"));
        });
    }
    group.finish();
}

fn generate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("generate");
    group.sample_size(10);
    for (preset, batch) in PRESETS {
        let config = Config::of_preset(preset, None);
        let architecture = &config.architecture;
        let network = generator(architecture);
        let how = config.step.initialisation;
        let weights = Weights {
            parameters: initial_parameters(&network, how, 1, WhichNetwork::Generator),
            running: initial_running(&network),
        };
        let mut loaded = LoadedGenerator::new(Cpu::<f32>::new(), architecture, &weights, batch)
            .expect("memory for the generator");
        let latents = latents(1, Stream::Benchmark, 0, batch, architecture.latent);
        let mut maps = vec![0.0; batch * architecture.map_len()];
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::new(preset.name(), batch), |bencher| {
            bencher.iter(|| {
                loaded
                    .sampler
                    .run(&mut loaded.backend, &latents, &mut maps)
                    .expect("memory for a batch")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, training_step, generate);
criterion_main!(benches);

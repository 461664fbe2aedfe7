//! Whole training steps of the kernels, on the emulator: against the CPU's f64, to the bit over
//! threads, schedules and a resumed run, and what the host does while they run.

mod common;

use std::path::Path;
use std::sync::Arc;

use cosmogan::backend::gpu::ops::KernelVersion;
use cosmogan::backend::gpu::{Call, Emulated, EmulatedOptions, Gpu};
use cosmogan::backend::{Backend, Cpu, View};
use cosmogan::data::{
    Maps, PerChannel, Places, Prefetch, Region, Sampling, Statistics, TrainingSet, TransformKind,
    Transforms,
};
use cosmogan::emulator::Schedule;
use cosmogan::model::{Architecture, DenseNorm, PadLow, Preset};
use cosmogan::rng::{Philox, Stream};
use cosmogan::train::checkpoint::Description;
use cosmogan::train::{CheckpointFile, Config, Convention, Losses, Trainer, UpdateOrder};

const BATCH: usize = 5;
const STEPS: u64 = 10;

/// Two layers up and down, nothing a multiple of anything.
fn config(convention: Convention, update: UpdateOrder, pad_low: PadLow) -> Config {
    let mut config = Config::of_preset(Preset::Demo, Some(convention));
    config.step.update = update;
    config.step.label_flip.probability = 0.3;
    config.architecture = Architecture {
        map_size: 16,
        channels: 1,
        layers: 2,
        base_filters: 6,
        latent: 7,
        conv_bias: true,
        dense_bias: true,
        dense_norm: match convention {
            Convention::Paper => DenseNorm::Channel,
            Convention::Torch => DenseNorm::Feature,
        },
        pad_low,
    };
    config.run.batch = BATCH;
    config
}

/// Four settings that have both orders of update, both conventions and both paddings.
fn configs() -> [Config; 4] {
    use Convention::{Paper, Torch};
    use UpdateOrder::{Alternating, Simultaneous};
    [
        config(Paper, Simultaneous, PadLow::One),
        config(Paper, Alternating, PadLow::Two),
        config(Torch, Simultaneous, PadLow::One),
        config(Torch, Alternating, PadLow::Two),
    ]
}

fn emulated(version: KernelVersion, options: EmulatedOptions) -> Gpu<Emulated> {
    Gpu::emulated(options, version).unwrap()
}

/// The kernels of f32 and those of mixed precision.
const BOTH: [KernelVersion; 2] = [KernelVersion::V2, KernelVersion::V3];

/// The real maps of a step. The last batch of an epoch may be smaller.
fn real(config: &Config, step: u64) -> Vec<f32> {
    let batch = if step == 4 { BATCH - 2 } else { BATCH };
    let mut maps = vec![0.0; batch * config.architecture.map_len()];
    Philox::new(17, Stream::Benchmark, step).fill_normal(&mut maps);
    maps.iter_mut()
        .for_each(|value| *value = (0.5 * *value).tanh());
    maps
}

fn describe(
    config: &Config,
) -> impl Fn(u64, cosmogan::train::checkpoint::AdamSteps) -> Description {
    let architecture = config.architecture.clone();
    move |step, adam_t| Description {
        architecture: architecture.clone(),
        transform: serde_json::Value::Null,
        config: String::new(),
        step,
        adam_t,
        selection: serde_json::Value::Null,
        data: serde_json::Value::Null,
        recovery: Default::default(),
        precision: Default::default(),
    }
}

fn save<B: Backend>(trainer: &mut Trainer<B>, config: &Config, path: &Path) {
    trainer.save(path, describe(config)).unwrap();
}

/// Losses of all steps, and the state after them: parameters, moments, statistics, a few maps.
fn trained<B: Backend>(backend: B, config: &Config) -> (Vec<Losses>, Vec<(String, Vec<f32>)>) {
    let mut trainer = Trainer::new(backend, config).unwrap();
    let losses = (0..STEPS)
        .map(|step| trainer.train(&real(config, step), 0.0).unwrap())
        .collect();
    let mut latents = vec![0.0; 3 * config.architecture.latent];
    Philox::new(18, Stream::Benchmark, 0).fill_normal(&mut latents);
    let maps = trainer.sample(&latents).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("after");
    save(&mut trainer, config, &path);
    let bytes = std::fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut state: Vec<(String, Vec<f32>)> = file
        .tensors()
        .into_iter()
        .map(|(name, tensor)| {
            let values = tensor.data().chunks_exact(4);
            let values = values.map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            (name, values.collect())
        })
        .collect();
    state.sort_by(|(a, _), (b, _)| a.cmp(b));
    state.push(("maps".to_owned(), maps));
    (losses, state)
}

/// The largest deviation of a tensor, as a share of the reference's largest magnitude.
fn deviation(name: &str, ours: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(ours.len(), reference.len(), "{name}");
    let magnitude = reference
        .iter()
        .fold(0.0f64, |m, v| m.max(f64::from(v.abs())));
    let mut worst = 0.0f64;
    for (a, b) in ours.iter().zip(reference) {
        let difference = f64::from(a - b).abs();
        assert!(difference.is_finite(), "{name}: {a} against {b}");
        worst = worst.max(difference);
    }
    worst / magnitude.max(1e-30)
}

#[test]
fn ten_steps_are_as_close_to_f64_as_those_of_the_cpu_in_f32() {
    for config in configs() {
        let (update, pad_low) = (config.step.update, config.architecture.pad_low);
        let (exact_losses, exact) = trained(Cpu::<f64>::new(), &config);
        let (_, cpu) = trained(Cpu::<f32>::new(), &config);
        for version in [KernelVersion::V1, KernelVersion::V2] {
            let gpu = Gpu::emulated(EmulatedOptions::default(), version).unwrap();
            let (losses, ours) = trained(gpu, &config);
            for (ours, exact) in losses.iter().zip(&exact_losses) {
                let close = |a: f64, b: f64| (a - b).abs() <= 1e-3 * b.abs().max(0.1);
                assert!(close(ours.d_loss, exact.d_loss), "{ours:?}, not {exact:?}");
                assert!(close(ours.g_loss, exact.g_loss), "{ours:?}, not {exact:?}");
            }
            let mut worst = (0.0, "");
            for (((name, ours), (_, cpu)), (_, exact)) in ours.iter().zip(&cpu).zip(&exact) {
                let (ours, cpu) = (deviation(name, ours, exact), deviation(name, cpu, exact));
                let tolerance = 10.0 * cpu.max(f64::from(f32::EPSILON));
                assert!(
                    ours <= tolerance,
                    "{version:?}, {update:?}, {pad_low:?}: {name} deviates by {ours:.1e} of its \
                     largest value, the CPU's f32 by {cpu:.1e}"
                );
                if ours / tolerance > worst.0 {
                    worst = (ours / tolerance, name);
                }
            }
            println!(
                "{version:?}, {update:?}, {pad_low:?}: worst {:.2} of the tolerance at {}",
                worst.0, worst.1
            );
        }
    }
}

#[test]
fn threads_and_schedules_change_no_bit() {
    let config = config(Convention::Paper, UpdateOrder::Simultaneous, PadLow::One);
    let run = |version, threads: usize, schedule: Schedule| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let options = EmulatedOptions {
            schedule,
            ..EmulatedOptions::default()
        };
        let pool = pool.build().unwrap();
        pool.install(|| trained(emulated(version, options), &config))
    };
    for version in BOTH {
        let first = run(version, 1, Schedule::Latest);
        for (threads, schedule) in [
            (3, Schedule::Latest),
            (2, Schedule::Earliest),
            (2, Schedule::Random(5)),
        ] {
            assert!(
                run(version, threads, schedule) == first,
                "{version:?}, {threads} threads, {schedule:?}"
            );
        }
    }
}

#[test]
fn a_whole_step_of_each_kind_is_free_of_races_and_other_faults() {
    let options = EmulatedOptions {
        races: true,
        ..EmulatedOptions::default()
    };
    for (config, version) in configs().iter().flat_map(|c| BOTH.map(|v| (c, v))) {
        let mut trainer = Trainer::new(emulated(version, options), config).unwrap();
        for step in 0..2 {
            trainer.train(&real(config, step), 0.0).unwrap();
        }
        trainer
            .sample(&vec![0.5; config.architecture.latent])
            .unwrap();
    }
}

#[test]
fn a_resumed_run_goes_on_to_the_bit() {
    let directory = tempfile::tempdir().unwrap();
    for (config, version) in configs().iter().flat_map(|c| BOTH.map(|v| (c, v))) {
        let [middle, end, resumed] = ["middle", "end", "resumed"].map(|n| directory.path().join(n));
        let gpu = || emulated(version, EmulatedOptions::default());
        let mut trainer = Trainer::new(gpu(), config).unwrap();
        for step in 0..3 {
            trainer.train(&real(config, step), 0.0).unwrap();
        }
        save(&mut trainer, config, &middle);
        for step in 3..6 {
            trainer.train(&real(config, step), 0.0).unwrap();
        }
        save(&mut trainer, config, &end);
        let checkpoint = CheckpointFile::open(&middle).unwrap().read_all().unwrap();
        let mut trainer = Trainer::resume(gpu(), config, &checkpoint).unwrap();
        for step in 3..6 {
            trainer.train(&real(config, step), 0.0).unwrap();
        }
        save(&mut trainer, config, &resumed);
        assert!(std::fs::read(&end).unwrap() == std::fs::read(&resumed).unwrap());
    }
}

#[test]
fn a_step_in_the_steady_state_is_one_graph_without_allocation_or_synchronisation() {
    for (config, version) in configs().iter().flat_map(|c| BOTH.map(|v| (c, v))) {
        let gpu = emulated(version, EmulatedOptions::default());
        let mut trainer = Trainer::new(gpu, config).unwrap();
        let maps = real(config, 0);
        for _ in 0..2 {
            trainer.train(&maps, 0.0).unwrap();
        }
        trainer.submit(&maps, 0.0).unwrap();
        trainer.backend().driver().clear_log();
        const MEASURED: usize = 5;
        for _ in 0..MEASURED {
            trainer.submit(&maps, 0.0).unwrap();
            assert!(trainer.receive().unwrap().are_finite());
        }
        let calls = trainer.backend().driver().calls().to_vec();
        let mut launches = None;
        let mut replays = 0;
        for call in &calls {
            assert!(!call.synchronises(), "a step synchronises: {call:?}");
            match call {
                Call::Replay { launches: count } => {
                    replays += 1;
                    launches = Some(*count);
                }
                Call::WritePinned { .. } | Call::ReadPinned { .. } => {}
                Call::Record | Call::Wait => {}
                other => panic!("a step in the steady state makes this call: {other:?}"),
            }
        }
        assert_eq!(replays, MEASURED);
        println!(
            "{version:?}, {:?}: one graph of {} kernel launches a step, {} calls of the driver a step",
            config.step.update,
            launches.unwrap(),
            calls.len() / MEASURED
        );
    }
}

/// The maps of a data set, in three strips of two parents.
fn training_set(directory: &Path) -> Arc<TrainingSet> {
    const SIDE: usize = 40;
    let mut pixels = vec![0.0; 2 * SIDE * SIDE];
    Philox::new(21, Stream::Benchmark, 0).fill_normal(&mut pixels);
    let path = directory.join("parents.npy");
    let pixels = ndarray::Array3::from_shape_vec((2, SIDE, SIDE), pixels).unwrap();
    ndarray_npy::write_npy(&path, &pixels).unwrap();
    let maps = Arc::new(Maps::open(&[path]).unwrap());
    let strip = |parent, rows| Region { parent, rows };
    let regions = [strip(0, 0..16), strip(0, 20..40), strip(1, 3..37)];
    let transforms = Transforms::fit(
        TransformKind::Linear,
        &PerChannel::from(Statistics::of(&[-4.0, 4.0])),
    )
    .unwrap();
    let sampling = Sampling {
        crops_per_parent: 7,
        ..Sampling::new(16, 5)
    };
    Arc::new(TrainingSet::new(maps, &regions, transforms, sampling).unwrap())
}

#[test]
fn maps_that_the_device_holds_train_to_the_same_bits_as_maps_that_are_sent() {
    let directory = tempfile::tempdir().unwrap();
    let set = training_set(directory.path());
    let config = config(Convention::Paper, UpdateOrder::Simultaneous, PadLow::One);
    let gpu = || emulated(KernelVersion::V3, EmulatedOptions::default());
    let trainer = || Trainer::new(gpu(), &config).unwrap();
    let (mut sent, mut held) = (trainer(), trainer());
    assert!(held.hold(&set, BATCH).unwrap());
    let places = Places::new(Arc::clone(&set), BATCH, false).unwrap();
    let mut made = Prefetch::new(Arc::clone(&set), BATCH, false).unwrap();
    // Into the second epoch, over its incomplete batch.
    for step in 0..7 {
        let losses = sent.train(made.next(step).unwrap(), 0.0).unwrap();
        held.submit_held(&places.of(step), 0.0).unwrap();
        assert_eq!(held.receive().unwrap(), losses, "step {step}");
    }
    let calls = held.backend().driver().calls();
    assert!(matches!(calls, [.., Call::Wait]));
}

#[test]
fn the_arena_keeps_its_values_when_it_grows() {
    let mut gpu = emulated(KernelVersion::V2, EmulatedOptions::default());
    gpu.reserve(100).unwrap();
    let values: Vec<f32> = (0..90).map(|i| i as f32).collect();
    let view = View::new(10, 90);
    gpu.upload(view, &values).unwrap();
    gpu.reserve(10_000).unwrap();
    let mut back = vec![0.0; 90];
    gpu.download(view, &mut back).unwrap();
    assert_eq!(back, values);
}

//! Whole steps: whose labels flip, and that threads change nothing.

use rand::RngExt;

use super::checkpoint::Description;
use super::{
    Config, Convention, FlipUnit, LabelFlip, Options, Players, StepConfig, StepProgram, Trainer,
    UpdateOrder,
};
use crate::backend::{Backend, Cpu, Precision, StepScalars, View};
use crate::model::{
    Architecture, DenseNorm, Initialisation, PadLow, Preset, WhichNetwork, initial_parameters,
    initial_running,
};
use crate::testing::{deviation, normals, random};

const BATCH: usize = 3;

fn architecture(pad_low: PadLow) -> Architecture {
    Architecture {
        map_size: 16,
        channels: 1,
        layers: 2,
        base_filters: 4,
        latent: 6,
        conv_bias: true,
        dense_bias: true,
        dense_norm: DenseNorm::Channel,
        pad_low,
    }
}

/// One step in f64 with given labels; real maps and latent vectors are those of `number`.
struct Stepped {
    step: StepProgram,
    players: Players,
    backend: Cpu<f64>,
}

impl Stepped {
    fn new(update: UpdateOrder, probability: f64, smoothing: f64, number: u64) -> Self {
        let architecture = architecture(PadLow::One);
        let generator = crate::model::generator(&architecture);
        let discriminator = crate::model::discriminator(&architecture);
        let players = Players::place(generator, discriminator, Precision::F32);
        let config = StepConfig {
            update,
            fresh_latent: false,
            label_flip: LabelFlip {
                probability,
                per: FlipUnit::Batch,
            },
            label_smoothing: smoothing,
            ..Convention::Paper.step()
        };
        let options = Options {
            given_latents: true,
            keep_values: true,
            held_maps: false,
        };
        let step = StepProgram::new(&players, &config, BATCH, options);
        let mut backend = Cpu::new();
        backend.reserve(step.program.arena_len()).unwrap();
        for (network, memory, which) in [
            (
                &players.generator,
                players.generator_memory,
                WhichNetwork::Generator,
            ),
            (
                &players.discriminator,
                players.discriminator_memory,
                WhichNetwork::Discriminator,
            ),
        ] {
            let start = initial_parameters(network, Initialisation::Torch, number, which);
            backend.upload(memory.parameters, &start).unwrap();
            backend
                .upload(memory.running, &initial_running(network))
                .unwrap();
        }
        let mut random = random(number);
        for view in [step.real, step.latent] {
            let values = normals(&mut random, view.len);
            backend.values_mut(view).copy_from_slice(&values);
        }
        let scalars = StepScalars {
            seed: random.random(),
            step: 1,
            generator_rate: 1e-3,
            discriminator_rate: 1e-3,
            average_decay: 0.9,
        };
        step.program.run(&mut backend, &scalars).unwrap();
        Self {
            step,
            players,
            backend,
        }
    }

    fn values(&self, view: View) -> Vec<f64> {
        self.backend.values(view).to_vec()
    }
}

/// Mean cross-entropy of `logits` against `target`, by its definition.
fn cross_entropy(logits: &[f64], target: f64) -> f64 {
    let each = logits.iter().map(|&logit| {
        let p = 1.0 / (1.0 + (-logit).exp());
        -target * p.ln() - (1.0 - target) * (1.0 - p).ln()
    });
    each.sum::<f64>() / logits.len() as f64
}

#[test]
fn a_flip_swaps_the_discriminators_labels_and_never_the_generators() {
    use UpdateOrder::{Alternating, Simultaneous};
    for (update, number) in [(Simultaneous, 1), (Alternating, 2)] {
        for (flip, smoothing) in [(0.0, 0.0), (1.0, 0.0), (0.0, 0.1), (1.0, 0.1)] {
            let run = Stepped::new(update, flip, smoothing, number);
            let real = run.values(run.step.real_logits);
            let fake = run.values(run.step.fake_logits);
            let judged = run.step.generator_logits.map(|view| run.values(view));
            let label = 1.0 - smoothing;
            let (on_real, on_fake) = if flip == 1.0 {
                (0.0, label)
            } else {
                (label, 0.0)
            };
            let expected = [
                cross_entropy(&real, on_real),
                cross_entropy(&fake, on_fake),
                cross_entropy(judged.as_ref().unwrap_or(&fake), 1.0),
            ];
            let losses = run.values(run.step.losses);
            let worst = deviation("losses", &losses, &expected);
            assert!(worst < 1e-14, "{update:?}, flip {flip}: {losses:?}");
        }
    }
}

#[test]
fn a_flip_changes_the_discriminators_step_and_not_the_generators() {
    let update = UpdateOrder::Simultaneous;
    let [plain, flipped] = [0.0, 1.0].map(|flip| Stepped::new(update, flip, 0.0, 3));
    let both =
        |view: fn(&Players) -> View| [&plain, &flipped].map(|run| run.values(view(&run.players)));
    let [a, b] = both(|p| p.generator_memory.gradient);
    assert_eq!(a, b);
    assert!(a.iter().any(|g| *g != 0.0));
    let [a, b] = both(|p| p.generator_memory.parameters);
    assert_eq!(a, b);
    let [a, b] = both(|p| p.discriminator_memory.gradient);
    assert_ne!(a, b);
    let [a, b] = both(|p| p.discriminator_memory.parameters);
    assert_ne!(a, b);
}

#[test]
fn biases_before_a_batch_norm_never_move() {
    let run = Stepped::new(UpdateOrder::Alternating, 0.0, 0.0, 4);
    let players = &run.players;
    let mut cancelled = 0;
    for (network, memory) in [
        (&players.generator, players.generator_memory),
        (&players.discriminator, players.discriminator_memory),
    ] {
        for block in network.blocks.iter().filter(|b| b.bias_is_cancelled()) {
            let Some(at) = block.bias else { continue };
            for view in [memory.gradient, memory.first_moment, memory.second_moment] {
                let bias = run.values(view.part(at, block.linear.bias_len()));
                assert!(bias.iter().all(|v| *v == 0.0), "{}: {bias:?}", block.name);
            }
            cancelled += 1;
        }
    }
    assert_eq!(cancelled, 2, "ct1 and c1");
}

/// The checkpoint after a few steps with whole and incomplete batches, and samples, in a pool of
/// `threads`.
fn trained(convention: Convention, threads: usize) -> (Vec<u8>, Vec<f32>) {
    let mut config = Config::of_preset(Preset::Demo, Some(convention));
    config.step = convention.step();
    // Enough pixels for several tiles and groups of every kernel, and more inputs and outputs of
    // the dense layers than one piece of their work has.
    config.architecture = Architecture {
        map_size: 32,
        layers: 2,
        base_filters: 20,
        dense_norm: match convention {
            Convention::Paper => DenseNorm::Channel,
            Convention::Torch => DenseNorm::Feature,
        },
        pad_low: PadLow::Two,
        ..architecture(PadLow::Two)
    };
    config.run.batch = 6;
    let map_len = config.architecture.map_len();
    let pool = rayon::ThreadPoolBuilder::new();
    let pool = pool.num_threads(threads).build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("after");
    pool.install(|| {
        let mut trainer = Trainer::new(Cpu::<f32>::new(), &config).unwrap();
        let mut random = random(9);
        for batch in [6, 6, 5, 6] {
            let real = normals(&mut random, batch * map_len);
            let real: Vec<f32> = real.iter().map(|v| 0.3 * *v as f32).collect();
            assert!(trainer.train(&real, 0.0).unwrap().are_finite());
        }
        let latents = normals(&mut random, 8 * config.architecture.latent);
        let latents: Vec<f32> = latents.iter().map(|v| *v as f32).collect();
        let maps = trainer.sample(&latents).unwrap();
        let describe = |step, adam_t| Description {
            architecture: config.architecture.clone(),
            transform: serde_json::Value::Null,
            config: String::new(),
            step,
            adam_t,
            selection: serde_json::Value::Null,
            data: serde_json::Value::Null,
            recovery: Default::default(),
            precision: Default::default(),
        };
        trainer.save(&path, describe).unwrap();
        (std::fs::read(&path).unwrap(), maps)
    })
}

#[test]
fn the_number_of_threads_changes_no_bit_of_parameters_moments_or_statistics() {
    for convention in [Convention::Paper, Convention::Torch] {
        let (one, maps) = trained(convention, 1);
        for threads in [2, 3] {
            let (more, more_maps) = trained(convention, threads);
            assert!(one == more, "{convention:?} with {threads} threads");
            assert!(maps == more_maps, "samples with {threads} threads");
        }
    }
}

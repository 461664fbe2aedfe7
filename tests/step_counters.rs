//! What a step of `paper-256` does in mixed precision, kernel by kernel: operations, bytes, shared memory
//! passes. The counts of a batch of 64 follow exactly from those of 1 and 2, since all tensors grow with
//! the batch; how the weight gradients' sums are split does not, and is known.
//!
//! The committed table is `tests/baseline/paper-256.csv`; `COSMOGAN_WRITE_BASELINE=1` writes it anew.

mod common;

use std::fmt::Write as _;
use std::path::PathBuf;

use cosmogan::backend::gpu::ops::KernelVersion;
use cosmogan::backend::gpu::ops::half::{few, wgrad};
use cosmogan::backend::gpu::{EmulatedOptions, Gpu};
use cosmogan::backend::{Backend, StepScalars};
use cosmogan::emulator::Counters;
use cosmogan::model::{
    Linear, Network, Preset, StridedLayer, WhichNetwork, discriminator, generator,
    initial_parameters, initial_running,
};
use cosmogan::rng::{Philox, Stream};
use cosmogan::train::{Config, Convention, Options, Players, StepProgram};

const BATCH: u64 = 64;

/// The kernels of one step on `batch` maps, and what they did.
fn measured(config: &Config, batch: usize) -> Vec<(String, Counters)> {
    let architecture = &config.architecture;
    // So few multiprocessors that one map keeps them as busy as 64 maps keep a real device: the forms
    // of kernels are then those of a batch of 64.
    let options = EmulatedOptions {
        multiprocessors: 1,
        ..EmulatedOptions::default()
    };
    let mut gpu = Gpu::emulated(options, KernelVersion::V3).unwrap();
    let players = Players::place(
        generator(architecture),
        discriminator(architecture),
        gpu.precision(),
    );
    let step = StepProgram::new(&players, &config.step, batch, Options::default());
    gpu.reserve(step.program.arena_len()).unwrap();
    let (g, d) = (WhichNetwork::Generator, WhichNetwork::Discriminator);
    for (network, memory, which) in [
        (&players.generator, players.generator_memory, g),
        (&players.discriminator, players.discriminator_memory, d),
    ] {
        let parameters = initial_parameters(network, config.step.initialisation, 1, which);
        gpu.upload(memory.parameters, &parameters).unwrap();
        gpu.upload(memory.running, &initial_running(network))
            .unwrap();
        for view in [memory.first_moment, memory.second_moment] {
            gpu.upload(view, &vec![0.0; view.len]).unwrap();
        }
    }
    let average = players.average_memory.parameters;
    gpu.upload(average, &vec![0.0; average.len]).unwrap();
    let mut real = vec![0.0; step.real.len];
    Philox::new(1, Stream::Benchmark, 0).fill_normal(&mut real);
    gpu.upload(step.real, &real).unwrap();
    gpu.driver().keep_launches();
    let scalars = StepScalars {
        seed: 1,
        step: 1,
        generator_rate: 2e-4,
        discriminator_rate: 2e-4,
        average_decay: 0.9,
    };
    step.program.run(&mut gpu, &scalars).unwrap();
    let mut losses = [0.0; 3];
    gpu.download(step.losses, &mut losses).unwrap();
    assert!(losses.iter().all(|loss| loss.is_finite()));
    gpu.driver().launches().to_vec()
}

/// Counts of one kernel at a batch of 64.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    kernel: String,
    tensor_flop: u64,
    simt_flop: u64,
    requested_bytes: u64,
    /// Bytes of the sectors that requests touched, a request at a time.
    sector_bytes: u64,
    /// Bytes of the sectors that the launch touched at all.
    footprint_bytes: u64,
    shared_wavefronts: u64,
    ideal_wavefronts: u64,
}

impl Row {
    fn new(kernel: &str, count: impl Fn(fn(&Counters) -> u64) -> u64) -> Self {
        Self {
            kernel: kernel.to_owned(),
            tensor_flop: count(|c| c.tensor_flop),
            simt_flop: count(|c| c.simt_flop),
            requested_bytes: count(|c| c.global_load_bytes + c.global_store_bytes),
            sector_bytes: count(|c| 32 * (c.global_load_sectors + c.global_store_sectors)),
            footprint_bytes: count(|c| {
                32 * (c.footprint_read_sectors + c.footprint_written_sectors)
            }),
            shared_wavefronts: count(|c| c.shared_load_wavefronts + c.shared_store_wavefronts),
            ideal_wavefronts: count(|c| {
                c.shared_load_ideal_wavefronts + c.shared_store_ideal_wavefronts
            }),
        }
    }

    fn is_product(&self) -> bool {
        self.tensor_flop > 0
    }

    fn line(&self) -> String {
        format!(
            "{},{},{},{},{},{},{},{}\n",
            self.kernel,
            self.tensor_flop,
            self.simt_flop,
            self.requested_bytes,
            self.sector_bytes,
            self.footprint_bytes,
            self.shared_wavefronts,
            self.ideal_wavefronts
        )
    }
}

const HEADER: &str = "kernel,tensor_flop,simt_flop,requested_bytes,sector_bytes,footprint_bytes,\
                      shared_wavefronts,ideal_wavefronts\n";

/// The strided layers in the order of the backward walk, with the samples of a gradient of theirs at
/// batch 1.
fn walked(config: &Config) -> Vec<(StridedLayer, usize, bool)> {
    let architecture = &config.architecture;
    let layers = |network: Network, samples: usize| {
        let blocks = network.blocks.into_iter().rev();
        blocks.filter_map(move |block| match block.linear {
            Linear::Conv(layer) | Linear::TransposedConv(layer) => {
                Some((layer, samples, layer.c_big == 1))
            }
            Linear::Dense { .. } => None,
        })
    };
    layers(discriminator(architecture), 2)
        .chain(layers(generator(architecture), 1))
        .collect()
}

/// The step's kernels at a batch of 64.
fn scaled(config: &Config) -> Vec<Row> {
    let (one, two) = (measured(config, 1), measured(config, 2));
    assert_eq!(one.len(), two.len());
    let mut gradients = walked(config).into_iter();
    let mut split = None;
    one.iter()
        .zip(&two)
        .map(|((kernel, one), (same, two))| {
            assert_eq!(kernel, same);
            let line = |at_one: u64, at_two: u64| {
                (at_one as i64 + (BATCH as i64 - 1) * (at_two as i64 - at_one as i64)) as u64
            };
            let mut row = Row::new(kernel, |count| line(count(one), count(two)));
            // Partial sums of weight gradients: as many as the sum has parts.
            let is_gradient = kernel.contains("wgrad");
            let partials = |layer: &StridedLayer, few: bool, samples: usize| {
                let parts = match few {
                    true => few::wgrad_parts(layer, samples, 1),
                    false => wgrad::parts(layer, samples),
                };
                4 * (layer.weight_len() * parts) as u64
            };
            if is_gradient {
                split = gradients.next();
            }
            if let (Some((layer, samples, few)), true) =
                (&split, is_gradient || kernel == "sum_partials")
            {
                let bytes = |batch: usize| partials(layer, *few, samples * batch);
                let (at_one, at_two, here) = (bytes(1), bytes(2), bytes(BATCH as usize));
                let correct = |value: &mut u64| *value = *value + here - line(at_one, at_two);
                correct(&mut row.requested_bytes);
                correct(&mut row.sector_bytes);
                correct(&mut row.footprint_bytes);
                if !is_gradient {
                    split = None;
                }
            }
            row
        })
        .collect()
}

fn table(rows: &[Row]) -> String {
    let mut text = HEADER.to_owned();
    for row in rows {
        text.push_str(&row.line());
    }
    text
}

#[test]
fn a_step_of_the_papers_networks_does_what_its_committed_table_says() {
    let config = Config::of_preset(Preset::Paper256, Some(Convention::Paper));
    let rows = scaled(&config);
    let useful = 2 * 25 * 64 * 64 * 64 * 128;
    let mut report = String::new();
    for row in rows.iter().filter(|row| row.is_product()) {
        // The three large layers have the same number of operations a sample.
        let samples = row.tensor_flop as f64 / useful as f64;
        let more = samples / (samples / BATCH as f64).floor() / BATCH as f64;
        let intensity = row.tensor_flop as f64 / row.requested_bytes as f64;
        let sectors = row.sector_bytes as f64 / row.requested_bytes as f64;
        let conflicts = row.shared_wavefronts as f64 / row.ideal_wavefronts as f64;
        writeln!(
            report,
            "{:24} {:6.1} GFLOP, {more:.3} of the useful, {intensity:5.1} FLOP a requested byte, \
             sectors {sectors:.3}, wavefronts {conflicts:.3}, footprint {:6.1} MB",
            row.kernel,
            row.tensor_flop as f64 / 1e9,
            row.footprint_bytes as f64 / 1e6
        )
        .unwrap();
        assert!(more <= 1.05, "{report}");
        assert!(intensity >= 64.0, "{report}");
        assert!(sectors <= 1.05, "{report}");
        assert!(conflicts <= 1.1, "{report}");
    }
    let bytes: u64 = rows.iter().map(|row| row.footprint_bytes).sum();
    println!(
        "{report}{} launches, {:.3} GB",
        rows.len(),
        bytes as f64 / 1e9
    );
    let mut by_kernel = std::collections::BTreeMap::new();
    for row in &rows {
        *by_kernel.entry(&row.kernel).or_insert(0) += row.footprint_bytes;
    }
    for (kernel, bytes) in by_kernel {
        println!("{kernel:32} {:8.1} MB", bytes as f64 / 1e6);
    }
    assert!(bytes <= 9_500_000_000, "a step moves {bytes} bytes");

    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/baseline/paper-256.csv");
    let now = table(&rows);
    if std::env::var_os("COSMOGAN_WRITE_BASELINE").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &now).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    for (number, (now, committed)) in now.lines().zip(committed.lines()).enumerate() {
        assert_eq!(now, committed, "line {} of {}", number + 1, path.display());
    }
    assert_eq!(now.lines().count(), committed.lines().count());
}

//! What a step of `paper-256` does in mixed precision, kernel by kernel, and what each version of the kernels
//! does at its layers: operations, bytes, shared memory passes. All at a batch of 64, from those of 1 and 2.
//!
//! The committed tables are `tests/baseline/paper-256.csv` and `kernels-paper-256.json`, and the counted part of
//! `docs/PERFORMANCE.md` is made of them. `COSMOGAN_WRITE_BASELINE=1` writes the tables anew; `COSMOGAN_ALL_KERNELS=1`
//! also counts the f32 kernels of all layers, which takes minutes, not only those that take seconds.

use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cosmogan::backend::Precision;
use cosmogan::backend::gpu::driver::Driver;
use cosmogan::backend::gpu::launcher::Launcher;
use cosmogan::backend::gpu::ops::KernelVersion;
use cosmogan::backend::gpu::{Emulated, EmulatedOptions, Gpu, ptx};
use cosmogan::model::{Architecture, PadLow, Preset, StridedLayer};
use cosmogan::performance::account::{floor, fusion};
use cosmogan::performance::kernel_count::count;
use cosmogan::performance::kernels::cases;
use cosmogan::performance::outline::Pass;
use cosmogan::performance::prepared::Prepared;
use cosmogan::performance::{
    Case, ConvOperation, Counts, GpuModel, KernelCount, Limit, StepCount, StepLaunch, bound,
    count_step, ladder, regression, report,
};
use cosmogan::train::{Config, Convention};
use rayon::prelude::*;

const BATCH: usize = 64;

fn config() -> Config {
    Config::of_preset(Preset::Paper256, Some(Convention::Paper))
}

fn architecture() -> Architecture {
    config().architecture
}

/// The step, counted once.
fn step() -> &'static StepCount {
    static STEP: OnceLock<StepCount> = OnceLock::new();
    STEP.get_or_init(|| count_step(&config(), BATCH, Precision::Bf16).unwrap())
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value == "1")
}

fn baseline(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/baseline");
    folder.join(name)
}

fn all_cases() -> Vec<Case> {
    use KernelVersion::{V1, V2, V3};
    cases(&architecture(), BATCH, &[V1, V2, V3])
}

/// Whether the emulator counts a case in seconds.
fn is_quick(case: &Case) -> bool {
    case.version == KernelVersion::V3
        || (case.version == KernelVersion::V2 && case.layer.c_big == 1)
}

/// The committed counts of the kernels.
fn kernels() -> Vec<KernelCount> {
    let text = std::fs::read_to_string(baseline("kernels-paper-256.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_step_of_the_papers_networks_does_what_its_committed_table_says() {
    let step = step();
    let is_product = |launch: &&StepLaunch| launch.counts.tensor_flop > 0;
    let useful = 2 * 25 * 64 * 64 * 64 * 128;
    let mut report = String::new();
    for launch in step.launches.iter().filter(is_product) {
        let counts = &launch.counts;
        // The three large layers have the same number of operations a sample.
        let samples = counts.tensor_flop as f64 / useful as f64;
        let more = samples / (samples / BATCH as f64).floor() / BATCH as f64;
        let intensity = counts.tensor_flop as f64 / counts.requested_bytes as f64;
        let sectors = counts.sector_bytes as f64 / counts.requested_bytes as f64;
        let conflicts = counts.shared_wavefronts as f64 / counts.ideal_wavefronts as f64;
        writeln!(
            report,
            "{:24} {:6.1} GFLOP, {more:.3} of the useful, {intensity:5.1} FLOP a requested byte, \
             sectors {sectors:.3}, wavefronts {conflicts:.3}, footprint {:6.1} MB",
            launch.kernel,
            counts.tensor_flop as f64 / 1e9,
            counts.footprint_bytes as f64 / 1e6
        )
        .unwrap();
        assert!(more <= 1.05, "{report}");
        assert!(intensity >= 64.0, "{report}");
        assert!(sectors <= 1.05, "{report}");
        assert!(conflicts <= 1.1, "{report}");
    }
    let bytes = step.total().footprint_bytes;
    println!(
        "{report}{} launches, {:.3} GB",
        step.launches.len(),
        bytes as f64 / 1e9
    );
    assert!(bytes <= 9_500_000_000, "a step moves {bytes} bytes");

    let path = baseline("paper-256.csv");
    let now = step.counted();
    if is_set("COSMOGAN_WRITE_BASELINE") {
        let table = now
            .iter()
            .map(|(kernel, counts)| (kernel.as_str(), *counts));
        std::fs::write(&path, regression::csv(table)).unwrap();
    }
    let committed = regression::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let moved = regression::moved(&committed, &now).unwrap();
    let moved: Vec<String> = moved.iter().map(ToString::to_string).collect();
    assert!(moved.is_empty(), "{}", moved.join("\n"));
}

#[test]
fn each_kernel_does_at_the_papers_layers_what_its_committed_table_says() {
    let path = baseline("kernels-paper-256.json");
    let write = is_set("COSMOGAN_WRITE_BASELINE");
    let all = is_set("COSMOGAN_ALL_KERNELS");
    let cases = all_cases();
    let counted: Vec<Option<KernelCount>> = cases
        .par_iter()
        .map(|case| (all || is_quick(case)).then(|| count(ptx::committed(), case).unwrap()))
        .collect();
    if write {
        let before = if all { Vec::new() } else { kernels() };
        let before = before.into_iter().map(Some).chain(std::iter::repeat(None));
        // What takes minutes stays as it was.
        let table: Vec<_> = counted
            .iter()
            .cloned()
            .zip(before)
            .map(|(now, before)| now.or(before).expect("all kernels, or a table of them"))
            .collect();
        let text = serde_json::to_string_pretty(&table).unwrap();
        std::fs::write(&path, text + "\n").unwrap();
    }
    let committed = kernels();
    assert_eq!(committed.len(), cases.len());
    let mut compared = 0;
    for (counted, committed) in counted.iter().zip(&committed) {
        let Some(counted) = counted else { continue };
        compared += 1;
        assert_eq!(counted, committed);
    }
    assert!(compared >= 15, "{compared}");
}

#[test]
fn the_page_on_performance_says_what_is_counted() {
    let in_f32 = count_step(&config(), BATCH, Precision::F32).unwrap();
    let now = report::counted(&architecture(), &kernels(), [step(), &in_f32]);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/PERFORMANCE.md");
    let page = std::fs::read_to_string(path).unwrap();
    let committed = report::counted_part(&page).expect("the page has a counted part");
    for (now, committed) in now.lines().zip(committed.lines()) {
        assert_eq!(
            now, committed,
            "run: cosmogan bench report --kernels tests/baseline/kernels-paper-256.json"
        );
    }
    assert_eq!(now.lines().count(), committed.lines().count());
}

#[test]
fn the_pages_picture_of_the_ladder_is_the_one_that_is_drawn_of_the_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ladder.png");
    ladder::counted(&kernels()).draw(&path).unwrap();
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs");
    let committed = pixels(&docs.join(report::LADDER));
    assert!(pixels(&path) == committed, "run: cosmogan bench report");
}

/// A picture's size and values: how these are compressed depends on what else is built.
fn pixels(path: &Path) -> ((u32, u32), Vec<u8>) {
    let decoder = png::Decoder::new(BufReader::new(File::open(path).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut values = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut values).unwrap();
    (reader.info().size(), values)
}

#[test]
fn counts_of_a_larger_batch_are_those_that_the_emulator_counts_there() {
    let versions = [KernelVersion::V1, KernelVersion::V2, KernelVersion::V3];
    let batch = 5;
    let mut l = Launcher::new(Emulated::new(EmulatedOptions::default()), ptx::committed()).unwrap();
    l.driver.keep_launches();
    for (small, c_big, c_small) in [(16, 16, 32), (32, 1, 16)] {
        let layer = StridedLayer {
            small,
            c_big,
            c_small,
            pad_low: PadLow::One,
        };
        for (operation, version) in ConvOperation::ALL
            .into_iter()
            .flat_map(|operation| versions.map(|version| (operation, version)))
        {
            let case = Case {
                operation,
                version,
                layer,
                batch,
            };
            let counted = count(ptx::committed(), &case).unwrap();
            let placed = case.place(&mut l, batch).unwrap();
            l.driver.synchronize().unwrap();
            l.driver.clear_log();
            case.launch(&mut l, &placed);
            l.check().unwrap();
            l.driver.synchronize().unwrap();
            let launched = l.driver.launches();
            let each: Vec<_> = launched.iter().map(|l| Counts::from(&l.counters)).collect();
            assert_eq!(launched[0].kernel, counted.kernel);
            // Footprints are whole sectors: those of small tensors' ends do not follow a line.
            let mut expected = each[0];
            let sectors = counted
                .counts
                .footprint_bytes
                .abs_diff(expected.footprint_bytes)
                / 32;
            assert!(
                sectors <= 4,
                "{sectors} sectors at {small} of {}",
                counted.kernel
            );
            expected.footprint_bytes = counted.counts.footprint_bytes;
            assert_eq!(counted.counts, expected, "{} at {small}", counted.kernel);
            assert_eq!(counted.merge, each.get(1).copied(), "{version:?}");
            placed.free(&mut l).unwrap();
        }
    }
}

/// `a` is within `share` of `b`.
fn near(what: &str, a: f64, b: f64, share: f64) {
    println!("{what}: counted {a:.4e}, by hand {b:.4e}, {:.4}", a / b);
    assert!((a / b - 1.0).abs() <= share, "{what}: {a:e} beside {b:e}");
}

/// The operations of a product of `m` x `k` by `k` x `n`.
fn product(m: u64, n: u64, k: u64) -> f64 {
    (2 * m * n * k) as f64
}

#[test]
fn operations_of_the_big_layers_are_those_of_the_hand_counts() {
    // fprop of 64 maps as an implicit product M x N x K: pixels of the small plane, its channels, and 25
    // taps of the big plane's channels. The other two operations have as many.
    //   64 <-> 128, small side 64:   M = 64 64 64 = 262,144, N = 128, K = 25  64 = 1600: 107.4 GFLOP
    //   128 <-> 256, small side 32:  M = 64 32 32 =  65,536, N = 256, K = 25 128 = 3200: 107.4 GFLOP
    //   256 <-> 512, small side 16:  M = 64 16 16 =  16,384, N = 512, K = 25 256 = 6400: 107.4 GFLOP
    let hand = [
        ("64-128 at 64", product(262_144, 128, 1600)),
        ("128-256 at 32", product(65_536, 256, 3200)),
        ("256-512 at 16", product(16_384, 512, 6400)),
    ];
    let kernels = kernels();
    for (layer, flop) in hand {
        assert_eq!(flop, 107_374_182_400.0);
        for operation in ConvOperation::ALL {
            let of = |k: &&KernelCount| k.layer == layer && k.operation == operation;
            let found: Vec<_> = kernels.iter().filter(of).collect();
            assert_eq!(found.len(), 3);
            for kernel in found {
                let what = format!("{layer} {}", kernel.kernel);
                assert_eq!(kernel.useful_flop as f64, flop);
                // Adding bias and statistics is less than 0.5% of the work. v1 leaves out the taps beyond
                // the edges, in each direction 3 of 5 x side: at a side of 16 3.75%, 7.4% in both.
                match kernel.version.as_str() {
                    "v3" => near(&what, kernel.counts.tensor_flop as f64, flop, 0.02),
                    "v2" => near(&what, kernel.counts.simt_flop as f64, flop, 0.02),
                    _ => near(&what, kernel.counts.simt_flop as f64, flop, 0.075),
                }
            }
        }
    }
    // 1 <-> 64, small side 128: M = 64 128 128 = 1,048,576, N = 64, K = 25: 3.4 GFLOP.
    let end = product(1_048_576, 64, 25);
    assert_eq!(end, 3_355_443_200.0);
    for kernel in kernels.iter().filter(|k| k.layer == "1-64 at 128") {
        assert_eq!(kernel.useful_flop as f64, end);
    }
}

#[test]
fn bytes_of_the_big_layers_are_those_of_the_hand_counts() {
    // Activations of the big side in bf16: 64 maps of 128 128 64 values are 134 MB, of 64 64 128 67 MB, of
    // 32 32 256 34 MB; the small side of each is the big side of the next, and of the last 64 16 16 512
    // values are 17 MB. Each operation touches both planes and the weights once: 2 bytes each of 25 C_big
    // C_small as they are packed, and for wgrad 4 bytes each and the same for each part of the split sum.
    let bytes = |side: u64, channels: u64| (2 * 64 * side * side * channels) as f64;
    let planes = [
        bytes(128, 64),
        bytes(64, 128),
        bytes(32, 256),
        bytes(16, 512),
    ];
    for (plane, megabytes) in planes.iter().zip([134.0, 67.0, 34.0, 17.0]) {
        near("activations, MB", plane / 1e6, megabytes, 0.02);
    }
    let layers = [(64, 128, 64), (128, 256, 32), (256, 512, 16)];
    let kernels = kernels();
    for (index, (c_big, c_small, side)) in layers.into_iter().enumerate() {
        let weights = (25 * c_big * c_small) as f64;
        let both = planes[index] + planes[index + 1];
        let layer = format!("{c_big}-{c_small} at {side}");
        for kernel in kernels
            .iter()
            .filter(|k| k.layer == layer && k.version == "v3")
        {
            let touched = kernel.counts.footprint_bytes as f64;
            let what = format!("{layer} {} touches", kernel.kernel);
            if kernel.operation == ConvOperation::Wgrad {
                // The main launch writes the parts, of which the second reads all and writes one.
                let merged = kernel.merge.unwrap().footprint_bytes as f64;
                let parts = merged / (4.0 * weights) - 1.0;
                near(&what, touched, both + 4.0 * weights * parts.round(), 0.02);
            } else {
                near(&what, touched, both + 2.0 * weights, 0.02);
            }
        }
    }
}

#[test]
fn a_step_is_thirty_big_products_and_small_ends() {
    // KERNELS.md: 30 big convolutions and small ends, 3.25 TFLOP, at least 6.4 GB.
    let step = step();
    let big = step
        .launches
        .iter()
        .map(|l| l.counts.tensor_flop)
        .sum::<u64>();
    near("big products", big as f64, 30.0 * 107_374_182_400.0, 0.02);
    let floor = floor(&architecture(), BATCH);
    near("operations of the floor", floor.flop as f64, 3.25e12, 0.02);
    near("bytes of the floor", floor.bytes as f64, 6.4e9, 0.05);
    // What is counted beyond it: the element-wise work, under 2% of the operations.
    near("operations", step.total().flop() as f64, 3.25e12, 0.02);

    // On an H100 products alone take 3.25 TFLOP / 989.4 TFLOP/s = 3.28 ms by its datasheet; KERNELS.md says 4.7
    // with 800 TFLOP/s and what memory adds.
    let h100 = GpuModel::named("H100").unwrap();
    for launch in step.launches.iter().filter(|l| l.counts.tensor_flop > 0) {
        let bound = bound(&launch.counts, h100).unwrap();
        assert_eq!(bound.limit, Limit::TensorCores, "{}", launch.kernel);
        let flop = launch.counts.tensor_flop as f64;
        near(&launch.kernel, bound.seconds, flop / 989.4e12, 0.001);
    }
}

#[test]
fn every_launch_of_a_step_is_accounted_for_and_fusion_saves_bytes() {
    let step = step();
    let of = |pass| step.launches.iter().filter(move |l| step.pass(l) == pass);
    // 4 strided layers and a dense one, forward: 5 products each network.
    assert_eq!(
        of(Pass::Forward)
            .filter(|l| !l.kernel.contains("merge"))
            .count(),
        10
    );
    assert_eq!(of(Pass::Adam).count(), 2);
    let big = |pass| of(pass).map(|l| l.counts.tensor_flop).sum::<u64>() as f64 / 107_374_182_400.0;
    // 3 layers: G and both halves of D forward, D's weights for both and G's; input gradients likewise, and
    // once more through D.
    near("forward", big(Pass::Forward), 9.0, 0.001);
    near("weight gradients", big(Pass::WeightGradient), 9.0, 0.001);
    near("input gradients", big(Pass::InputGradient), 12.0, 0.001);
    let fusion = fusion(&architecture(), step);
    assert!(fusion.left_bytes < fusion.separate_bytes / 2, "{fusion:?}");
    // What is in use at any time fits in the arena beside what the networks keep.
    for operation in &step.outline.operations {
        assert!(step.lasting_bytes + operation.live_bytes <= step.arena_bytes);
    }
}

#[test]
fn kernels_of_a_step_in_f32_do_the_same_when_the_strided_layers_are_left_out() {
    const BATCH: usize = 2;
    let mut config = Config::of_preset(Preset::Paper64, None);
    config.architecture.map_size = 32;
    config.architecture.layers = 2;
    config.architecture.base_filters = 8;
    config.validate().unwrap();
    let counted = count_step(&config, BATCH, Precision::F32).unwrap();

    let options = EmulatedOptions::default();
    let mut gpu = Gpu::emulated(options, KernelVersion::V2).unwrap();
    let prepared = Prepared::new(&config, BATCH, Precision::F32);
    prepared.upload(&mut gpu, &config).unwrap();
    gpu.driver().keep_launches();
    prepared.run(&mut gpu, 1).unwrap();
    let mut of_layer = false;
    let mut others = gpu.driver().launches().to_vec();
    let all = others.len();
    others.retain(|launch| {
        let is = ["fprop", "dgrad", "wgrad"]
            .iter()
            .any(|part| launch.kernel.contains(part));
        of_layer = is || (of_layer && launch.kernel == "sum_partials");
        !of_layer
    });
    assert!(others.len() + 10 < all, "{} of {all}", others.len());
    assert_eq!(counted.launches.len(), others.len());
    for (counted, whole) in counted.launches.iter().zip(&others) {
        assert_eq!(counted.kernel, whole.kernel);
        let (counted, whole) = (counted.counts, Counts::from(&whole.counters));
        assert_eq!(counted.simt_flop, whole.simt_flop, "{whole:?}");
        assert_eq!(counted.requested_bytes, whole.requested_bytes);
        assert_eq!(counted.barriers, whole.barriers);
        // Footprints are whole sectors.
        assert!(counted.footprint_bytes.abs_diff(whole.footprint_bytes) <= 4 * 32);
    }
}

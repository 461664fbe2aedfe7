//! The checks of fprop and dgrad on tensor cores, on the emulator.

use super::*;
use crate::backend::gpu::check::{Outcome, run};
use crate::backend::gpu::launcher::Launcher;
use crate::backend::gpu::{Emulated, EmulatedOptions, Launched, ptx};
use crate::emulator::{Counters, Schedule};
use crate::testing::{normals, random};

fn launcher(options: EmulatedOptions) -> Launcher<Emulated> {
    Launcher::new(Emulated::new(options), ptx::committed()).expect("the kernels load")
}

fn outcomes(cases: std::ops::Range<u64>, options: EmulatedOptions) -> Vec<Outcome> {
    let mut launcher = launcher(options);
    checks()
        .iter()
        .flat_map(|check| cases.clone().map(move |seed| (check, seed)))
        .map(|(check, seed)| run(&mut launcher, check, Size::Small, seed))
        .collect()
}

#[test]
fn fprop_and_dgrad_on_tensor_cores_agree_with_the_reference_without_races() {
    let options = EmulatedOptions {
        races: true,
        ..EmulatedOptions::default()
    };
    for outcome in outcomes(0..7, options) {
        assert!(outcome.passed(), "{outcome:#?}");
    }
}

#[test]
fn fprop_and_dgrad_on_tensor_cores_agree_with_the_reference_in_any_schedule() {
    let random = (0..10).map(Schedule::Random);
    for (i, schedule) in random.chain([Schedule::Earliest]).enumerate() {
        let options = EmulatedOptions {
            schedule,
            ..EmulatedOptions::default()
        };
        for outcome in outcomes(100 + i as u64..101 + i as u64, options) {
            assert!(outcome.passed(), "{schedule:?}: {outcome:#?}");
        }
    }
}

/// One layer's tensors on the emulator.
struct Bench {
    launcher: Launcher<Emulated>,
    layer: StridedLayer,
    batch: usize,
    operation: Operation,
    input: Pointer,
    packed: Pointer,
    bias: Pointer,
}

impl Bench {
    fn new(operation: Operation, layer: StridedLayer, batch: usize) -> Self {
        let mut launcher = launcher(EmulatedOptions::default());
        let mut random = random(34);
        let (input, packing) = match operation {
            Operation::Fprop => (layer.big_len(), Packing::Fprop),
            Operation::Dgrad => (layer.small_len(), Packing::Dgrad),
        };
        let input: Vec<bf16> = normals(&mut random, batch * input)
            .into_iter()
            .map(bf16::from_f64)
            .collect();
        let input = allocate(&mut launcher, bytemuck::cast_slice(&input));
        let mut floats = |len| {
            let values: Vec<f32> = normals(&mut random, len)
                .iter()
                .map(|&v| v as f32)
                .collect();
            allocate(&mut launcher, bytemuck::cast_slice(&values))
        };
        let weights = floats(layer.weight_len());
        let bias = floats(operation.channels(&layer).1);
        let packed = launcher
            .driver
            .allocate("packed", packed_bytes(&layer, packing))
            .unwrap()
            .address;
        pack(&mut launcher, &layer, weights, packing.only(packed));
        finish(&mut launcher, packed);
        Self {
            launcher,
            layer,
            batch,
            operation,
            input,
            packed,
            bias,
        }
    }

    fn output_len(&self) -> usize {
        match self.operation {
            Operation::Fprop => self.batch * self.layer.small_len(),
            Operation::Dgrad => self.batch * self.layer.big_len(),
        }
    }

    /// The bits of the output and of its moments.
    fn run(&mut self, form: Form) -> (Vec<u16>, Vec<u32>) {
        let parts = form.parts(self.operation, &self.layer, self.batch, 1);
        let mut output = vec![0u16; self.output_len()];
        let mut moments = vec![0u32; parts.moments_bytes() / 4];
        let places = [2 * output.len(), 4 * moments.len()]
            .map(|bytes| self.launcher.driver.allocate("output", bytes).unwrap());
        let call = StridedCall {
            layer: &self.layer,
            batch: self.batch,
            groups: 1,
            input: self.input,
            packed: self.packed,
            output: places[0].address,
            end: End::Forward {
                bias: Some(self.bias),
                activation: Activation::Identity,
                moments: Some(places[1].address),
            },
        };
        form.run(&mut self.launcher, self.operation, &call);
        let driver = &mut self.launcher.driver;
        let bytes = bytemuck::cast_slice_mut(&mut output);
        driver.read(places[0].address, bytes).unwrap();
        let bytes = bytemuck::cast_slice_mut(&mut moments);
        driver.read(places[1].address, bytes).unwrap();
        for place in places {
            driver.free(place).unwrap();
        }
        self.launcher.check().unwrap();
        (output, moments)
    }
}

/// Reads some of a tensor, so that what writes it has run.
fn finish(launcher: &mut Launcher<Emulated>, tensor: Pointer) {
    launcher.check().unwrap();
    launcher.driver.read(tensor, &mut [0; 4]).unwrap();
}

fn allocate(launcher: &mut Launcher<Emulated>, bytes: &[u8]) -> Pointer {
    let allocation = launcher.driver.allocate("tensor", bytes.len()).unwrap();
    launcher.driver.write(allocation.address, bytes).unwrap();
    allocation.address
}

fn layer(small: usize, c_big: usize, c_small: usize, pad_low: PadLow) -> StridedLayer {
    StridedLayer {
        small,
        c_big,
        c_small,
        pad_low,
    }
}

/// Multiprocessors of an H100.
const H100: usize = 132;

const OPERATIONS: [Operation; 2] = [Operation::Fprop, Operation::Dgrad];

#[test]
fn each_schedule_gives_the_same_bits_and_so_do_tiles_of_all_sizes() {
    for pad_low in [PadLow::One, PadLow::Two] {
        for operation in OPERATIONS {
            let mut bench = Bench::new(operation, layer(11, 40, 72, pad_low), 2);
            let expected = Form::ALL.map(|form| bench.run(form));
            for (form, (output, _)) in Form::ALL.iter().zip(&expected) {
                assert!(
                    *output == expected[0].0,
                    "{form:?} of {operation:?} differs"
                );
            }
            for seed in 0..10 {
                bench.launcher.driver.set_schedule(Schedule::Random(seed));
                for (form, expected) in Form::ALL.into_iter().zip(&expected) {
                    let same = bench.run(form) == *expected;
                    assert!(same, "{form:?} of {operation:?}, schedule {seed}");
                }
            }
        }
    }
}

#[test]
fn a_value_that_is_no_number_reaches_all_outputs_that_it_meets_and_no_others() {
    let (side, c_big, c_small) = (5, 8, 24);
    let nan = bytemuck::bytes_of(&bf16::NAN).to_vec();
    let count = |values: &[u16]| {
        let numbers = values.iter().map(|&bits| bf16::from_bits(bits));
        numbers.filter(|value| value.is_nan()).count()
    };
    for form in Form::ALL {
        // The places are even: addresses are counted in f32 values.
        for (operation, place, expected) in [
            // Row 0, column 5 of the second sample: tap rows 1 (of row 0), tap columns 0, 2 and 4.
            (
                Operation::Fprop,
                layer(side, c_big, c_small, PadLow::One).big_len() + 5 * c_big + 2,
                3 * c_small,
            ),
            // Small pixel (2, 3) of the first sample.
            (
                Operation::Dgrad,
                (2 * side + 3) * c_small + c_small - 2,
                25 * c_big,
            ),
        ] {
            let layer = layer(side, c_big, c_small, PadLow::One);
            let mut bench = Bench::new(operation, layer, 2);
            let at = bench.input.plus(place / 2);
            bench.launcher.driver.write(at, &nan).unwrap();
            let (output, _) = bench.run(form);
            assert_eq!(count(&output), expected, "{}", form.kernel(operation));
        }
    }
}

#[test]
fn the_papers_layers_get_tiles_that_fit() {
    use Form::{Any, Large, Medium, Small};
    let forms = |side, c_big, c_small, batch| {
        let layer = layer(side, c_big, c_small, PadLow::One);
        OPERATIONS.map(|operation| Form::of(operation, &layer, batch, 2, H100))
    };
    assert_eq!(forms(64, 64, 128, 128), [Large, Medium]);
    assert_eq!(forms(32, 128, 256, 128), [Large, Large]);
    assert_eq!(forms(16, 256, 512, 128), [Large, Large]);
    // 256 blocks for 264 places.
    let generator = layer(16, 256, 512, PadLow::One);
    assert_eq!(Form::of(Operation::Dgrad, &generator, 64, 1, H100), Large);
    // Few blocks, a small plane, channels that are no multiples of 8.
    assert_eq!(forms(16, 256, 512, 2), [Small, Small]);
    assert_eq!(forms(4, 256, 512, 128), [Small, Small]);
    assert_eq!(forms(64, 60, 128, 128), [Any, Any]);

    let layer = layer(64, 64, 128, PadLow::One);
    for operation in OPERATIONS {
        // 8 x 4 tiles of 8 x 16 pixels for each of 64 samples.
        let form = Form::of(operation, &layer, 128, 2, H100);
        assert_eq!(form.parts(operation, &layer, 128, 2).parts, 64 * 32);
        // Two samples are 64 tiles: three quarters of two on each of 42 multiprocessors.
        let of = |multiprocessors| Form::of(operation, &layer, 2, 2, multiprocessors);
        assert_ne!(of(42), Small);
        assert_eq!(of(43), Small);
    }
}

/// A sum's share, in words, of what is counted.
fn share(part: u64, of: u64) -> f64 {
    part as f64 / of as f64
}

fn print(name: &str, shape: &str, counters: &Counters, useful: u64) {
    println!(
        "{name:17} {shape:16} tensor flop/useful {:.3}, flop/requested byte {:5.1}, flop/byte of unique \
         sectors {:5.1}; sectors/bytes: loads {:.3}, stores {:.3}; wavefronts/ideal: loads {:.3}, stores \
         {:.3}; {:.2} MB asked for, {:.1} ldmatrix wavefronts and {:.2} barriers of a warp for 1000 mma",
        share(counters.tensor_flop, useful),
        share(
            useful,
            counters.global_load_bytes + counters.global_store_bytes
        ),
        share(
            useful,
            32 * (counters.footprint_read_sectors + counters.footprint_written_sectors)
        ),
        share(
            32 * counters.global_load_sectors,
            counters.global_load_bytes
        ),
        share(
            32 * counters.global_store_sectors,
            counters.global_store_bytes
        ),
        share(
            counters.shared_load_wavefronts,
            counters.shared_load_ideal_wavefronts
        ),
        share(
            counters.shared_store_wavefronts.max(1),
            counters.shared_store_ideal_wavefronts.max(1)
        ),
        counters.global_load_bytes as f64 * 1e-6,
        4096e3 * share(counters.shared_load_wavefronts, counters.tensor_flop),
        4096e3 * share(counters.barriers, counters.tensor_flop),
    );
}

#[test]
fn the_papers_layers_read_memory_in_whole_sectors_and_each_byte_for_many_products() {
    for (side, c_big, c_small) in [(64, 64, 128), (32, 128, 256), (16, 256, 512)] {
        for operation in OPERATIONS {
            let layer = layer(side, c_big, c_small, PadLow::One);
            let form = Form::of(operation, &layer, 128, 1, H100);
            let mut bench = Bench::new(operation, layer, 1);
            bench.launcher.driver.keep_launches();
            bench.launcher.driver.clear_log();
            bench.run(form);
            let Launched {
                kernel: name,
                counters,
                ..
            } = &bench.launcher.driver.launches()[0];
            let useful = 2 * 25 * (side * side * c_big * c_small) as u64;
            print(
                name,
                &format!("{side}: {c_big}-{c_small}"),
                counters,
                useful,
            );

            let asked = counters.global_load_bytes + counters.global_store_bytes;
            let sectors = counters.global_load_sectors + counters.global_store_sectors;
            assert!(counters.tensor_flop <= useful * 105 / 100, "{counters:#?}");
            assert!(share(useful, asked) >= 64.0, "{counters:#?}");
            assert!(
                (share(32 * sectors, asked) - 1.0).abs() <= 0.01,
                "{counters:#?}"
            );
            let wavefronts = counters.shared_load_wavefronts + counters.shared_store_wavefronts;
            let ideal =
                counters.shared_load_ideal_wavefronts + counters.shared_store_ideal_wavefronts;
            assert!(share(wavefronts, ideal) <= 1.1, "{counters:#?}");
        }
    }
}

#[test]
fn weights_are_packed_in_whole_sectors() {
    for packing in [Packing::Fprop, Packing::Dgrad] {
        let mut launcher = launcher(EmulatedOptions::default());
        let layer = layer(16, 64, 128, PadLow::One);
        let weights: Vec<f32> = normals(&mut random(35), layer.weight_len())
            .iter()
            .map(|&v| v as f32)
            .collect();
        let weights = allocate(&mut launcher, bytemuck::cast_slice(&weights));
        let bytes = packed_bytes(&layer, packing);
        let packed = launcher.driver.allocate("packed", bytes).unwrap().address;
        launcher.driver.keep_launches();
        pack(&mut launcher, &layer, weights, packing.only(packed));
        finish(&mut launcher, packed);
        let counters = &launcher.driver.launches()[0].counters;
        assert_eq!(counters.global_load_bytes, 4 * layer.weight_len() as u64);
        assert_eq!(counters.global_store_bytes, bytes as u64);
        assert_eq!(
            32 * counters.global_load_sectors,
            counters.global_load_bytes
        );
        assert_eq!(
            32 * counters.global_store_sectors,
            counters.global_store_bytes
        );
        assert_eq!(
            counters.shared_load_wavefronts + counters.shared_store_wavefronts,
            counters.shared_load_ideal_wavefronts + counters.shared_store_ideal_wavefronts
        );
    }
}

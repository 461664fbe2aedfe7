//! The strided layer's checks on the emulator.

use super::*;
use crate::backend::gpu::check::{Outcome, run};
use crate::backend::gpu::driver::Pointer;
use crate::backend::gpu::ops::KernelVersion;
use crate::backend::gpu::{Emulated, EmulatedOptions, Launched, ptx};
use crate::emulator::Schedule;
use crate::rng::SequentialPhilox;
use crate::testing::{normals, random};

fn launcher(options: EmulatedOptions) -> Launcher<Emulated> {
    Launcher::new(Emulated::new(options), ptx::committed()).expect("the kernels load")
}

fn outcomes(cases: u64, options: EmulatedOptions) -> Vec<Outcome> {
    let mut launcher = launcher(options);
    checks()
        .iter()
        .flat_map(|check| (0..cases).map(move |seed| (check, seed)))
        .map(|(check, seed)| run(&mut launcher, check, Size::Small, seed))
        .collect()
}

#[test]
fn every_strided_kernel_agrees_with_the_reference_without_races() {
    let options = EmulatedOptions {
        races: true,
        ..EmulatedOptions::default()
    };
    for outcome in outcomes(12, options) {
        assert!(outcome.passed(), "{outcome:#?}");
    }
}

#[test]
fn every_strided_kernel_agrees_with_the_reference_in_any_schedule() {
    for schedule in [Schedule::Earliest, Schedule::Random(7)] {
        let options = EmulatedOptions {
            schedule,
            ..EmulatedOptions::default()
        };
        for outcome in outcomes(4, options) {
            assert!(outcome.passed(), "{outcome:#?}");
        }
    }
}

/// One layer's tensors on the emulator.
struct Bench {
    launcher: Launcher<Emulated>,
    layer: StridedLayer,
    big: Pointer,
    small: Pointer,
    weights: Pointer,
}

const BATCH: usize = 2;

impl Bench {
    fn new(layer: StridedLayer, random: &mut SequentialPhilox) -> Self {
        let mut launcher = launcher(EmulatedOptions::default());
        let mut tensor = |len| {
            let values: Vec<f32> = normals(random, len).iter().map(|&v| v as f32).collect();
            let bytes = bytemuck::cast_slice(&values);
            let allocation = launcher.driver.allocate("tensor", bytes.len()).unwrap();
            launcher.driver.write(allocation.address, bytes).unwrap();
            allocation.address
        };
        Self {
            big: tensor(BATCH * layer.big_len()),
            small: tensor(BATCH * layer.small_len()),
            weights: tensor(layer.weight_len()),
            launcher,
            layer,
        }
    }

    /// What a form's kernel makes of the tensors.
    fn run(&mut self, form: Form, operation: Operation) -> Vec<f32> {
        let len = match operation {
            Operation::Fprop => BATCH * self.layer.small_len(),
            Operation::Dgrad => BATCH * self.layer.big_len(),
            Operation::Wgrad => self.layer.weight_len(),
        };
        let output = self.launcher.driver.allocate("output", 4 * len).unwrap();
        let call = |input| StridedCall {
            layer: &self.layer,
            batch: BATCH,
            input,
            weights: self.weights,
            bias: None,
            activation: Activation::Relu,
            output: output.address,
        };
        match operation {
            Operation::Fprop => form.fprop(&mut self.launcher, &call(self.big)),
            Operation::Dgrad => form.dgrad(&mut self.launcher, &call(self.small)),
            Operation::Wgrad => {
                let call = WgradCall {
                    layer: &self.layer,
                    batch: BATCH,
                    big: self.big,
                    small: self.small,
                    gradient: output.address,
                    accumulate: Accumulate::First,
                };
                form.wgrad(&mut self.launcher, &call);
            }
        }
        let mut values = vec![0.0f32; len];
        let driver = &mut self.launcher.driver;
        driver
            .read(output.address, bytemuck::cast_slice_mut(&mut values))
            .unwrap();
        driver.free(output).unwrap();
        self.launcher.check().unwrap();
        values
    }
}

fn layer(small: usize, c_big: usize, c_small: usize, pad_low: PadLow) -> StridedLayer {
    StridedLayer {
        small,
        c_big,
        c_small,
        pad_low,
    }
}

const OPERATIONS: [Operation; 3] = [Operation::Fprop, Operation::Dgrad, Operation::Wgrad];

#[test]
fn tiles_of_all_sizes_give_the_same_bits() {
    let mut random = random(31);
    for pad_low in [PadLow::One, PadLow::Two] {
        let mut bench = Bench::new(layer(7, 12, 20, pad_low), &mut random);
        for operation in OPERATIONS {
            let [first, others @ ..] = [Form::Any, Form::Small, Form::Medium, Form::Large];
            let expected = bench.run(first, operation);
            for form in others {
                let same = bench.run(form, operation) == expected;
                assert!(same, "{} differs", form.kernel(operation));
            }
        }
    }
}

#[test]
fn a_value_that_is_no_number_reaches_all_outputs_that_it_meets() {
    let mut random = random(32);
    for form in Form::ALL {
        let (side, c_small) = (5, 12);
        let mut bench = Bench::new(layer(side, 4, c_small, PadLow::One), &mut random);
        let nan = bytemuck::bytes_of(&f32::NAN);
        // Small pixel (2, 3) of the first sample, its last channel; a big pixel of the second.
        let small = (2 * side + 3) * c_small + c_small - 1;
        let big = bench.layer.big_len() + 5 * 4 + 1;
        let driver = &mut bench.launcher.driver;
        driver.write(bench.small.plus(small), nan).unwrap();
        let count = |values: &[f32]| values.iter().filter(|v| v.is_nan()).count();
        let from_small = count(&bench.run(form, Operation::Dgrad));
        assert_eq!(from_small, 25 * 4, "{}", form.kernel(Operation::Dgrad));
        let from_small = count(&bench.run(form, Operation::Wgrad));
        assert_eq!(from_small, 25 * 4, "{}", form.kernel(Operation::Wgrad));

        bench
            .launcher
            .driver
            .write(bench.big.plus(big), nan)
            .unwrap();
        // Row 0, column 5: tap rows 1 (of row 0), tap columns 0, 2 and 4 (of columns 3, 2 and 1).
        let from_big = count(&bench.run(form, Operation::Fprop));
        assert_eq!(from_big, 3 * c_small, "{}", form.kernel(Operation::Fprop));
    }
}

#[test]
fn the_papers_layers_get_tiles_that_fit() {
    const POINTER: Pointer = Pointer(256);
    fn call(layer: &StridedLayer, weights: Pointer) -> StridedCall<'_> {
        StridedCall {
            layer,
            batch: 64,
            input: POINTER,
            weights,
            bias: None,
            activation: Activation::Identity,
            output: POINTER,
        }
    }
    fn wgrad(layer: &StridedLayer) -> WgradCall<'_> {
        WgradCall {
            layer,
            batch: 64,
            big: POINTER,
            small: POINTER,
            gradient: POINTER.plus(1),
            accumulate: Accumulate::First,
        }
    }
    let forms = |side, c_big, c_small| {
        let layer = layer(side, c_big, c_small, PadLow::One);
        [
            Form::of_fprop(KernelVersion::V2, &call(&layer, POINTER)),
            Form::of_dgrad(KernelVersion::V2, &call(&layer, POINTER)),
            Form::of_wgrad(KernelVersion::V2, &wgrad(&layer)),
        ]
    };
    assert_eq!(forms(128, 1, 64), [Form::Few; 3]);
    assert_eq!(
        forms(64, 64, 128),
        [Form::Large, Form::Medium, Form::Medium]
    );
    assert_eq!(forms(32, 128, 256), [Form::Large; 3]);
    assert_eq!(forms(16, 256, 512), [Form::Large; 3]);
    // A small network's, and one whose channels are no multiples of 4.
    assert_eq!(forms(8, 8, 16), [Form::Small; 3]);
    assert_eq!(forms(8, 6, 16), [Form::Any; 3]);

    let layer = layer(32, 128, 256, PadLow::One);
    let shifted = call(&layer, POINTER.plus(1));
    assert_eq!(Form::of_fprop(KernelVersion::V2, &shifted), Form::Any);
    assert_eq!(Form::of_dgrad(KernelVersion::V1, &shifted), Form::Direct);
}

#[test]
fn tiles_read_memory_in_whole_sectors_and_shared_memory_without_conflicts() {
    let mut random = random(33);
    for (form, side, c_big, c_small) in [
        (Form::Large, 8, 64, 128),
        (Form::Medium, 8, 64, 128),
        (Form::Small, 8, 32, 64),
        (Form::Few, 32, 1, 64),
    ] {
        let mut bench = Bench::new(layer(side, c_big, c_small, PadLow::One), &mut random);
        bench.launcher.driver.keep_launches();
        for operation in OPERATIONS {
            bench.launcher.driver.clear_log();
            bench.run(form, operation);
            let Launched {
                kernel: name,
                counters,
                ..
            } = &bench.launcher.driver.launches()[0];
            let share = |part: u64, of: u64| part as f64 / of as f64;
            let sectors = 32 * counters.global_load_sectors;
            let stored = 32 * counters.global_store_sectors;
            let loads = share(sectors, counters.global_load_bytes);
            let stores = share(stored, counters.global_store_bytes);
            let reads = share(
                counters.shared_load_wavefronts,
                counters.shared_load_ideal_wavefronts,
            );
            let writes = share(
                counters.shared_store_wavefronts,
                counters.shared_store_ideal_wavefronts,
            );
            println!(
                "{name:18} {:5.2} flop/instruction, {:6.1} flop/requested byte; sectors/bytes: loads \
                 {loads:.2}, stores {stores:.2}; wavefronts/ideal: loads {reads:.2}, stores {writes:.2}",
                share(counters.simt_flop, counters.thread_instructions),
                share(counters.simt_flop, counters.global_load_bytes),
            );
            if form != Form::Few {
                // Rows of one warp that lie beyond the map's edge ask for nothing.
                assert!(loads <= 1.01 && stores <= 1.01, "{name}: {counters:#?}");
                assert!(reads <= 1.0 && writes <= 1.0, "{name}: {counters:#?}");
            }
        }
    }
}

//! The checks of wgrad on tensor cores, on the emulator.

use super::*;
use crate::backend::gpu::check::{Outcome, run};
use crate::backend::gpu::driver::Pointer;
use crate::backend::gpu::launcher::Launcher;
use crate::backend::gpu::{Emulated, EmulatedOptions, ptx};
use crate::emulator::{Counters, Schedule};
use crate::rng::SequentialPhilox;
use crate::testing::{normals, random};

fn launcher(options: EmulatedOptions) -> Launcher<Emulated> {
    Launcher::new(Emulated::new(options), ptx::committed()).expect("the kernels load")
}

fn pass(cases: std::ops::Range<u64>, options: EmulatedOptions) {
    let mut launcher = launcher(options);
    for check in checks() {
        for seed in cases.clone() {
            let outcome: Outcome = run(&mut launcher, &check, Size::Small, seed);
            assert!(outcome.passed(), "{outcome:#?}");
        }
    }
}

#[test]
fn every_form_agrees_with_the_reference_without_races() {
    let options = EmulatedOptions {
        races: true,
        ..EmulatedOptions::default()
    };
    pass(0..24, options);
}

#[test]
fn every_form_agrees_with_the_reference_in_any_schedule() {
    let random = (0..10).map(Schedule::Random);
    for (seed, schedule) in [Schedule::Earliest].into_iter().chain(random).enumerate() {
        let options = EmulatedOptions {
            schedule,
            races: true,
            ..EmulatedOptions::default()
        };
        let seed = 100 + seed as u64;
        pass(seed..seed + 2, options);
    }
}

/// One layer's planes on the emulator.
struct Bench {
    launcher: Launcher<Emulated>,
    layer: StridedLayer,
    batch: usize,
    big: Pointer,
    small: Pointer,
}

impl Bench {
    fn new(layer: StridedLayer, batch: usize, random: &mut SequentialPhilox) -> Self {
        let mut launcher = launcher(EmulatedOptions::default());
        let mut tensor = |len| {
            let normals = normals(random, len);
            let values: Vec<bf16> = normals.into_iter().map(bf16::from_f64).collect();
            let bytes = bytemuck::cast_slice(&values);
            let allocation = launcher.driver.allocate("tensor", bytes.len()).unwrap();
            launcher.driver.write(allocation.address, bytes).unwrap();
            allocation.address
        };
        Self {
            big: tensor(batch * layer.big_len()),
            small: tensor(batch * layer.small_len()),
            launcher,
            layer,
            batch,
        }
    }

    fn run(&mut self, form: Form) -> Vec<f32> {
        let len = self.layer.weight_len();
        let output = self.launcher.driver.allocate("gradient", 4 * len).unwrap();
        let call = WgradCall {
            layer: &self.layer,
            batch: self.batch,
            big: self.big,
            small: self.small,
            gradient: output.address,
            accumulate: Accumulate::First,
        };
        form.wgrad(&mut self.launcher, &call);
        let mut values = vec![0.0f32; len];
        let driver = &mut self.launcher.driver;
        let bytes = bytemuck::cast_slice_mut(&mut values);
        driver.read(output.address, bytes).unwrap();
        driver.free(output).unwrap();
        self.launcher.check().unwrap();
        values
    }

    /// What the launch of the form's kernel counted.
    fn counters(&mut self, form: Form) -> Counters {
        self.launcher.driver.keep_launches();
        self.run(form);
        let launches = self.launcher.driver.launches();
        let found = launches.iter().find(|l| l.kernel == form.kernel());
        found.expect("the kernel was launched").counters
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

#[test]
fn a_value_that_is_no_number_reaches_all_gradients_that_it_meets() {
    let mut random = random(41);
    for form in Form::ALL {
        // Small pixel (2, 3) of the first sample, its last channel. The upper half of an f32 NaN is
        // one of bf16; the lower half, of the channel before, is 0.
        let (side, c_big, c_small) = (8, 8, 24);
        let mut bench = Bench::new(layer(side, c_big, c_small, PadLow::One), 2, &mut random);
        let nan = bytemuck::bytes_of(&f32::NAN);
        let word = ((2 * side + 3) * c_small + c_small - 2) / 2;
        let driver = &mut bench.launcher.driver;
        driver.write(bench.small.plus(word), nan).unwrap();
        let count = bench.run(form).iter().filter(|v| v.is_nan()).count();
        assert_eq!(count, 25 * c_big, "{}", form.kernel());
    }
}

#[test]
fn the_planes_are_cut_so_that_little_lies_beyond_their_edge() {
    let form = |side, c_big, c_small, aligned| {
        Form::of(&layer(side, c_big, c_small, PadLow::One), aligned)
    };
    for (side, best) in [
        (64, Form::Wide),
        (32, Form::Wide),
        (16, Form::Wide),
        (15, Form::Wide),
        (20, Form::Narrow),
        (24, Form::Medium),
        (8, Form::Medium),
        (5, Form::Medium),
        (4, Form::Narrow),
        (1, Form::Narrow),
    ] {
        assert_eq!(form(side, 64, 128, true), best, "side {side}");
    }
    assert_eq!(form(64, 64, 100, true), Form::Any);
    assert_eq!(form(64, 3, 64, true), Form::Any);
    assert_eq!(form(64, 64, 128, false), Form::Any);
}

#[test]
fn the_papers_layers_waste_neither_products_nor_memory_accesses() {
    let mut random = random(42);
    for (form, side, c_big, c_small) in [
        (Form::Wide, 64, 64, 128),
        (Form::Wide, 32, 128, 256),
        (Form::Wide, 16, 256, 512),
        (Form::Medium, 8, 64, 64),
        (Form::Narrow, 4, 64, 64),
    ] {
        // Parts of as many pixels as a few samples give.
        let batch = if side < 16 { 4 } else { 1 };
        let pad_low = [PadLow::One, PadLow::Two][side / 16 % 2];
        let mut bench = Bench::new(layer(side, c_big, c_small, pad_low), batch, &mut random);
        let counted = bench.counters(form);
        let useful = 2 * 25 * batch * side * side * c_big * c_small;
        let share = |part: u64, of: u64| part as f64 / of as f64;
        let work = share(counted.tensor_flop, useful as u64);
        let per_byte = share(counted.tensor_flop, counted.global_load_bytes);
        let loads = share(32 * counted.global_load_sectors, counted.global_load_bytes);
        let stores = share(
            32 * counted.global_store_sectors,
            counted.global_store_bytes,
        );
        let reads = share(
            counted.shared_load_wavefronts,
            counted.shared_load_ideal_wavefronts,
        );
        let name = form.kernel();
        println!(
            "{name:12} side {side:2}: flop/useful {work:.3}, {per_byte:5.1} flop/requested byte, {} \
             bytes of partial sums; sectors/bytes: loads {loads:.3}, stores {stores:.3}; \
             wavefronts/ideal {reads:.3}",
            counted.global_store_bytes
        );
        assert!(work <= 1.05, "{name}: {counted:#?}");
        assert!(per_byte >= 85.0, "{name}: {counted:#?}");
        assert!(loads <= 1.01 && stores <= 1.01, "{name}: {counted:#?}");
        assert!(reads <= 1.0, "{name}: {counted:#?}");
        assert_eq!(
            counted.shared_store_requests, 0,
            "{name}: all comes by cp.async"
        );
    }
}

//! What holds for several operations, on the emulator.

use super::columns::column_sums;
use super::dense::{DenseForward, DenseShape};
use super::norm::{NormApply, NormBackward, NormShape};
use super::*;
use crate::backend::Accumulate;
use crate::backend::cpu::norm as cpu;
use crate::backend::gpu::launcher::Launcher;
use crate::backend::gpu::{Emulated, EmulatedOptions, driver::Driver, ptx};
use crate::model::BatchNorm;
use crate::testing;

struct Device(Launcher<Emulated>);

impl Device {
    fn new() -> Self {
        let driver = Emulated::new(EmulatedOptions::default());
        Self(Launcher::new(driver, ptx::committed()).expect("the kernels load"))
    }

    fn put(&mut self, values: &[f32]) -> Pointer {
        let driver = &mut self.0.driver;
        let bytes = bytemuck::cast_slice(values);
        let at = driver.allocate("test", bytes.len()).unwrap().address;
        driver.write(at, bytes).unwrap();
        at
    }

    fn get(&mut self, at: Pointer, len: usize) -> Vec<f32> {
        self.0.check().unwrap();
        let mut values = vec![0.0f32; len];
        let bytes = bytemuck::cast_slice_mut(&mut values);
        self.0.driver.read(at, bytes).unwrap();
        values
    }
}

const ACTIVATIONS: [Activation; 4] = [
    Activation::Identity,
    Activation::Relu,
    Activation::LeakyRelu,
    Activation::Tanh,
];

#[test]
fn activations_pass_on_what_is_not_a_number() {
    let values = [f32::NAN, -1.0, 0.0, 2.0];
    for activation in ACTIVATIONS {
        let mut device = Device::new();
        let shape = NormShape {
            groups: 1,
            rows: 1,
            features: 4,
        };
        let (u, y) = (device.put(&values), device.put(&values));
        let saved = device.put(&[0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
        let affine = device.put(&[1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        let call = NormApply {
            shape,
            activation,
            u,
            saved,
            affine,
            y,
        };
        norm::apply(&mut device.0, &call);
        let normalised = device.get(y, 4);
        elementwise::activate_in_place(&mut device.0, activation, 4, u);
        let activated = device.get(u, 4);
        // A layer that leaves values as they are.
        let (x, weight, out) = (
            device.put(&values),
            device.put(&[1.0]),
            device.put(&[0.0; 4]),
        );
        let call = DenseForward {
            shape: DenseShape {
                batch: 4,
                inputs: 1,
                outputs: 1,
            },
            x,
            weights: weight,
            bias: None,
            activation,
            y: out,
        };
        dense::forward(&mut device.0, &call);
        for y in [normalised, activated, device.get(out, 4)] {
            assert!(y[0].is_nan(), "{activation:?} makes {} of NaN", y[0]);
            assert!(
                y[1..].iter().all(|y| y.is_finite()),
                "{activation:?}: {y:?}"
            );
        }
    }
}

#[test]
fn one_value_that_is_not_a_number_spoils_every_sum_that_it_is_part_of() {
    const ROWS: usize = 5000;
    let mut device = Device::new();
    let mut values: Vec<f32> = (0..2 * ROWS).map(|i| (i % 7) as f32).collect();
    values[2 * 4321] = f32::NAN;
    let shape = NormShape {
        groups: 1,
        rows: ROWS,
        features: 2,
    };
    let u = device.put(&values);
    let ones = device.put(&[1.0; 2 * ROWS]);
    let [sums, saved, running, gamma] = [[0.5; 4]; 4].map(|values| device.put(&values));
    column_sums(&mut device.0, ROWS, 2, u, sums, Accumulate::First);
    norm::statistics(&mut device.0, shape, u, saved, running, 0.1);
    for (what, at) in [("sums", sums), ("saved", saved), ("running", running)] {
        let values = device.get(at, if at == sums { 2 } else { 4 });
        for (i, value) in values.iter().enumerate() {
            assert_eq!(value.is_nan(), i.is_multiple_of(2), "{what}: {values:?}");
        }
    }
    let call = NormBackward {
        shape,
        activation: Activation::Relu,
        u: ones,
        y: ones,
        saved: gamma,
        gamma,
        gradient: u,
        affine_gradient: Some((sums, Accumulate::First)),
    };
    norm::backward(&mut device.0, &call);
    let gradient = device.get(u, 2 * ROWS);
    assert!(
        gradient
            .iter()
            .enumerate()
            .all(|(i, g)| g.is_nan() == i.is_multiple_of(2))
    );

    let [logits, targets, gradient, loss] = [[f32::NAN, 1.0]; 4].map(|values| device.put(&values));
    step::loss(&mut device.0, 2, logits, targets, gradient, loss);
    assert!(device.get(loss, 1)[0].is_nan());
    assert!(device.get(gradient, 1)[0].is_nan());
}

/// The root mean square of what values are off by, as a share of the reference.
fn error(values: &[f32], expected: &[f64]) -> f64 {
    let pairs = values.iter().zip(expected);
    let sum: f64 = pairs.map(|(&v, e)| (f64::from(v) / e - 1.0).powi(2)).sum();
    (sum / expected.len() as f64).sqrt()
}

#[test]
fn long_sums_are_as_accurate_as_those_of_the_cpu() {
    const FEATURES: usize = 64;
    const ROWS: usize = 6000;
    let mut device = Device::new();
    let wide: Vec<f64> = testing::normals(&mut testing::random(900), ROWS * FEATURES);
    let wide: Vec<f64> = wide.iter().map(|v| f64::from((v + 30.0) as f32)).collect();
    let values: Vec<f32> = wide.iter().map(|&v| v as f32).collect();
    let u = device.put(&values);

    let mut partial = vec![0.0; cpu::norm_scratch(ROWS, FEATURES)];
    let mut expected = vec![0.0; 2 * FEATURES];
    cpu::column_sums(FEATURES, &wide, &mut expected, &mut partial);
    let mut narrow_partial = vec![0.0f32; partial.len()];
    let mut of_cpu = vec![0.0f32; 2 * FEATURES];
    cpu::column_sums(FEATURES, &values, &mut of_cpu, &mut narrow_partial);
    let sums = device.put(&[0.0; FEATURES]);
    column_sums(&mut device.0, ROWS, FEATURES, u, sums, Accumulate::First);
    let of_gpu = device.get(sums, FEATURES);
    compare("sums", &of_gpu, &of_cpu[..FEATURES], &expected[..FEATURES]);

    let norm = BatchNorm { features: FEATURES };
    let mut running = vec![0.0; 2 * FEATURES];
    let mut narrow_running = vec![0.0f32; 2 * FEATURES];
    cpu::statistics(
        norm,
        &wide,
        &mut expected,
        (&mut running, 0.1),
        &mut partial,
    );
    let averages = (&mut narrow_running[..], 0.1);
    cpu::statistics(norm, &values, &mut of_cpu, averages, &mut narrow_partial);
    let (saved, averages) = (device.put(&of_cpu), device.put(&[0.0; 2 * FEATURES]));
    let shape = NormShape {
        groups: 1,
        rows: ROWS,
        features: FEATURES,
    };
    norm::statistics(&mut device.0, shape, u, saved, averages, 0.1);
    let of_gpu = device.get(saved, 2 * FEATURES);
    for (what, range) in [("means", 0..FEATURES), ("scales", FEATURES..2 * FEATURES)] {
        let range = || range.clone();
        compare(what, &of_gpu[range()], &of_cpu[range()], &expected[range()]);
    }
}

fn compare(what: &str, of_gpu: &[f32], of_cpu: &[f32], expected: &[f64]) {
    let (gpu, cpu) = (error(of_gpu, expected), error(of_cpu, expected));
    println!("{what}: {gpu:.1e} here, {cpu:.1e} on the CPU");
    assert!(
        gpu <= 1.1 * cpu.max(4e-8),
        "{what}: {gpu:e} here, {cpu:e} on the CPU"
    );
}

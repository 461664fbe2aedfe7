//! Elementary functions against f64, within the errors that CUDA's programming guide documents.

use super::arithmetic::ragged;
use super::{Case, Random, Value, int, normals};

pub fn cases(random: &mut Random) -> Vec<Case> {
    vec![
        functions(random),
        functions64(random),
        fast_functions(random),
    ]
}

/// Units in the last place that the guide grants the least exact of these functions.
const ULPS: f64 = 4.0;

/// Within `ULPS` units in the last place of f32, or the same infinity.
fn close_f32(value: f32, expected: f64) -> bool {
    let unit = (expected.abs() / f64::from(1 << 23)).max(f64::from(f32::from_bits(1)));
    value == expected as f32 || (f64::from(value) - expected).abs() <= ULPS * unit
}

fn close_f64(value: f64, expected: f64) -> bool {
    value == expected || (value - expected).abs() <= ULPS * f64::EPSILON * expected.abs()
}

/// A check of each value by `close(index, value, expected)`.
fn all<T: Copy + std::fmt::Display>(
    expected: Vec<f64>,
    close: impl Fn(usize, T, f64) -> bool,
) -> impl Fn(&[T]) -> Result<(), String> {
    move |values| {
        let mut pairs = values.iter().zip(&expected).enumerate();
        match pairs.find(|(i, (value, expected))| !close(*i, **value, **expected)) {
            Some((i, (value, expected))) => Err(format!("value {i} is {value}, not {expected}")),
            None => Ok(()),
        }
    }
}

fn arguments(n: usize) -> [Value; 4] {
    [
        int(n as i32),
        Value::Of("x"),
        Value::Of("p"),
        Value::Of("out"),
    ]
}

fn functions(random: &mut Random) -> Case {
    let (n, blocks) = ragged(random);
    // From within a turn of the circle to arguments whose reduction needs every bit of 2 / pi.
    let scales = [1.0, 1.0, 30.0, 1e3, 1e6, 1e20];
    let spread = |(i, v): (usize, f32)| v * scales[i % scales.len()];
    let mut x: Vec<f32> = normals(random, n)
        .into_iter()
        .enumerate()
        .map(spread)
        .collect();
    let mut p: Vec<f32> = normals(random, n).iter().map(|v| v.abs() + 1e-6).collect();
    x[..6].copy_from_slice(&[0.0, -0.0, 1e-40, -1e-30, 88.7, -103.0]);
    p[..6].copy_from_slice(&[1.0, 1e-40, 1e-38, 3e38, 0.999_999_9, 1e-7]);
    let expected = x.iter().zip(&p).flat_map(|(&x, &p)| {
        let (u, v) = (f64::from(x), f64::from(p));
        [
            u.sin(),
            u.cos(),
            u.tanh(),
            u.exp(),
            u.exp_m1(),
            v.ln(),
            v.ln_1p(),
            v.sqrt(),
            1.0 / v.sqrt(),
            v.powf(f64::from(0.7f32)),
            1.0 / v,
            u.atan2(v),
        ]
    });
    let expected = expected.collect();
    Case::new("math", "functions", blocks, 128)
        .input("x", &x)
        .input("p", &p)
        .output_checked(
            "out",
            12 * n,
            all(expected, |_, value, expected| close_f32(value, expected)),
        )
        .arguments(arguments(n))
}

fn functions64(random: &mut Random) -> Case {
    let (n, blocks) = ragged(random);
    let drawn = normals(random, 2 * n);
    let x: Vec<f64> = drawn[..n].iter().map(|&v| 20.0 * f64::from(v)).collect();
    let p: Vec<f64> = drawn[n..]
        .iter()
        .map(|&v| f64::from(v).powi(4) + 1e-300)
        .collect();
    let expected = x
        .iter()
        .zip(&p)
        .flat_map(|(u, v)| [u.exp(), v.ln(), v.sqrt(), u / v, 1.0 / v.sqrt()]);
    let expected = expected.collect();
    Case::new("math", "functions64", blocks, 128)
        .input("x", &x)
        .input("p", &p)
        .output_checked(
            "out",
            5 * n,
            all(expected, |_, value, expected| close_f64(value, expected)),
        )
        .arguments(arguments(n))
}

fn fast_functions(random: &mut Random) -> Case {
    let (n, blocks) = ragged(random);
    let x: Vec<f32> = normals(random, n)
        .iter()
        .map(|v| v.clamp(-3.0, 3.0))
        .collect();
    let p: Vec<f32> = normals(random, n).iter().map(|v| v.abs() + 0.1).collect();
    let expected = x.iter().zip(&p).flat_map(|(&x, &p)| {
        let (u, v) = (f64::from(x), f64::from(p));
        [u.sin(), u.cos(), u.exp(), v.ln(), u / v, 1.0 / v.sqrt()]
    });
    let expected = expected.collect();
    let close = |i: usize, value: f32, expected: f64| match i % 6 {
        // Absolute errors: 2^-21.41, 2^-21.19, and 2^-21.41 for logarithms near 1.
        0 | 1 | 3 => (f64::from(value) - expected).abs() <= 4.2e-7 * expected.abs().max(1.0),
        2 => (f64::from(value) - expected).abs() <= 7.0 * f64::from(f32::EPSILON) * expected,
        5 => value == expected as f32,
        _ => close_f32(value, expected),
    };
    Case::new("math", "fast_functions", blocks, 128)
        .input("x", &x)
        .input("p", &p)
        .output_checked("out", 6 * n, all(expected, close))
        .arguments(arguments(n))
}

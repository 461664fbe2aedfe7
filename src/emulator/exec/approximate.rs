//! Operations with `.approx`: rounded correctly, or perturbed within the error that the PTX ISA
//! (version 9.1, "Floating Point Instructions") allows each of them.
//!
//! A perturbed result is a function of seed, sources and exact result alone, as it is on a GPU: the
//! same sources give the same result in every thread, schedule and launch. Left alone are f64, for
//! which the ISA gives no bound; sources and results that are zero, subnormal, infinite or NaN; and
//! sines and cosines beyond 100 pi. Sine, cosine and hyperbolic tangent stay within [-1, 1].

use std::f64::consts::PI;

use crate::emulator::launch::Approximations;
use crate::emulator::program::float::{Float, FloatType, Operation, Rounding};
use crate::rng::philox4x32_10;

use super::float;
use super::numbers::{BF16, F16, F32, Format, narrow, widen_bf16, widen_f16};
use super::registers::{Registers, lanes};

/// Runs an approximate operation in the lanes of `mask`.
pub fn execute<const WIDE: bool>(
    registers: &mut Registers,
    float: &Float,
    approximations: Approximations,
    mask: u32,
) {
    let seed = match approximations {
        Approximations::Perturbed(seed) if float.ty != FloatType::F64 => seed,
        _ => return float::execute::<WIDE>(registers, float, mask),
    };
    // Before the result overwrites them.
    let (a, b) = (*registers.row32(float.a), *registers.row32(float.b));
    float::execute::<WIDE>(registers, float, mask);
    let mut results = *registers.row32(float.d);
    for lane in lanes(mask) {
        results[lane] = perturbed(float, seed, [a[lane], b[lane]], results[lane]);
    }
    registers.set32(float.d, mask, &results);
}

fn perturbed(float: &Float, seed: u64, sources: [u32; 2], nearest: u32) -> u32 {
    let operation = float.operation;
    let pair = |format, widen| {
        let half = |shift: u32| {
            let sources = sources.map(|bits| bits >> shift & 0xffff);
            one(
                operation,
                format,
                widen,
                seed,
                sources,
                nearest >> shift & 0xffff,
            )
        };
        half(0) | half(16) << 16
    };
    match float.ty {
        FloatType::F32 => one(operation, F32, f32::from_bits, seed, sources, nearest),
        FloatType::F16 => one(operation, F16, widen_f16, seed, sources, nearest),
        FloatType::BF16 => one(operation, BF16, widen_bf16, seed, sources, nearest),
        FloatType::F16x2 => pair(F16, widen_f16),
        FloatType::BF16x2 => pair(BF16, widen_bf16),
        FloatType::F64 => nearest,
    }
}

/// Another result than the nearest one, if the bound admits the one drawn.
fn one(
    operation: Operation,
    format: Format,
    widen: fn(u32) -> f32,
    seed: u64,
    sources: [u32; 2],
    nearest: u32,
) -> u32 {
    let normal = |bits: u32| {
        let value = f64::from(widen(bits));
        value.is_finite() && value.abs() >= format.smallest_normal()
    };
    if !sources.into_iter().chain([nearest]).all(normal) {
        return nearest;
    }
    let [a, b] = sources.map(|bits| f64::from(widen(bits)));
    let Some((exact, bound)) = exact_and_bound(operation, format, a, b) else {
        return nearest;
    };
    // The exact value itself is that of f64, whose error is far below the part left out here.
    let bound = bound * (1.0 - f64::powi(2.0, -20));
    let key = [seed as u32, (seed >> 32) as u32];
    let word = philox4x32_10([sources[0], sources[1], nearest, 0], key)[0];
    let drawn = exact + bound * (f64::from(word) / f64::powi(2.0, 31) - 1.0);
    let drawn = match operation {
        Operation::Sin | Operation::Cos | Operation::Tanh => drawn.clamp(-1.0, 1.0),
        _ => drawn,
    };
    let bits = narrow(drawn, format, Rounding::Nearest);
    let error = (f64::from(widen(bits)) - exact).abs();
    if normal(bits) && error <= bound {
        bits
    } else {
        nearest
    }
}

/// The exact result and the largest error that the ISA allows, if it says.
fn exact_and_bound(operation: Operation, format: Format, a: f64, b: f64) -> Option<(f64, f64)> {
    let two_to = |exponent: f64| exponent.exp2();
    let single = format.is_f32();
    Some(match operation {
        // `.full` and `.approx` alike; where the divisor is beyond 2^126, `.approx` gives 0 on GPUs
        // and the exact quotient here.
        Operation::Div => (a / b, 2.0 * format.unit(a / b)),
        Operation::Reciprocal => (1.0 / a, format.unit(1.0 / a)),
        Operation::Sqrt => (a.sqrt(), a.sqrt() * two_to(-23.0)),
        Operation::ReciprocalSqrt => (1.0 / a.sqrt(), two_to(-22.9) / a.sqrt()),
        Operation::Exp2 if single => (a.exp2(), 2.0 * format.unit(a.exp2())),
        Operation::Exp2 if format.is_f16() => (a.exp2(), a.exp2() * two_to(-9.9)),
        Operation::Exp2 => (a.exp2(), a.exp2() * two_to(-7.0)),
        Operation::Log2 => {
            let near_one = a > 0.5 && a < 2.0;
            let scale = if near_one { 1.0 } else { a.log2().abs() };
            (a.log2(), scale * two_to(-22.0))
        }
        Operation::Sin => (a.sin(), circular_bound(a)?),
        Operation::Cos => (a.cos(), circular_bound(a)?),
        Operation::Tanh if single => (a.tanh(), a.tanh().abs() * two_to(-11.0)),
        Operation::Tanh if format.is_f16() => (a.tanh(), two_to(-10.987)),
        Operation::Tanh => (a.tanh(), two_to(-8.0)),
        _ => return None,
    })
}

/// The largest error of a sine or cosine.
fn circular_bound(a: f64) -> Option<f64> {
    match a.abs() {
        near if near <= 2.0 * PI => Some(f64::exp2(-20.5)),
        far if far <= 100.0 * PI => Some(f64::exp2(-14.7)),
        _ => None,
    }
}

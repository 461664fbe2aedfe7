//! Floating-point arithmetic, lane by lane.

use crate::emulator::program::Slot;
use crate::emulator::program::float::{Float, FloatType, Operation, Rounding};

use super::numbers::{
    self, BF16, F16, F32, Format, NAN_HALF, add_f32, add_odd, canonical, canonical64, div_odd,
    flush, fma_f32, narrow, saturate, sqrt_odd, widen_bf16, widen_f16,
};
use super::registers::{Registers, for_both_machines, map1, map2, map3};

for_both_machines! {
    /// Runs a floating-point instruction in the lanes of `mask`.
    execute = run(registers: &mut Registers, float: &Float, mask: u32)
}

#[inline(always)]
fn run<const WIDE: bool>(registers: &mut Registers, float: &Float, mask: u32) {
    let plain = float.rounding == Rounding::Nearest && !(float.ftz || float.saturate || float.relu);
    match float.ty {
        FloatType::F32 if plain => single(registers, float, mask),
        FloatType::F32 if float.ftz && !float.saturate && float.rounding == Rounding::Nearest => {
            single_flushed(registers, float, mask);
        }
        FloatType::F32 => single_any(registers, float, mask),
        FloatType::F64 => double(registers, float, mask),
        FloatType::F16 => map_half(registers, float, mask, half_f16),
        FloatType::BF16 => map_half(registers, float, mask, half_bf16),
        FloatType::F16x2 => map_half(registers, float, mask, pair_f16),
        FloatType::BF16x2 => map_half(registers, float, mask, pair_bf16),
    }
}

fn slots(float: &Float) -> ([Slot; 2], [Slot; 3], [Slot; 4]) {
    let &Float { d, a, b, c, .. } = float;
    ([d, a], [d, a, b], [d, a, b, c])
}

/// Nearest rounding, no clamping: the operations that kernels consist of.
#[inline(always)]
fn single(r: &mut Registers, float: &Float, mask: u32) {
    let (da, dab, dabc) = slots(float);
    match float.operation {
        Operation::Add => map2(r, mask, dab, |a: f32, b: f32| canonical(a + b)),
        Operation::Sub => map2(r, mask, dab, |a: f32, b: f32| canonical(a - b)),
        Operation::Mul => map2(r, mask, dab, |a: f32, b: f32| canonical(a * b)),
        Operation::Fma => map3(r, mask, dabc, |a: f32, b: f32, c: f32| {
            canonical(a.mul_add(b, c))
        }),
        Operation::Div => map2(r, mask, dab, |a: f32, b: f32| canonical(a / b)),
        Operation::Min { nan } => map2(r, mask, dab, move |a, b| numbers::min_f32(a, b, nan)),
        Operation::Max { nan } => map2(r, mask, dab, move |a, b| numbers::max_f32(a, b, nan)),
        Operation::Sqrt => map1(r, mask, da, |a: f32| canonical(a.sqrt())),
        Operation::Reciprocal => map1(r, mask, da, |a: f32| canonical(1.0 / a)),
        Operation::Abs => map1(r, mask, da, f32::abs),
        Operation::Neg => map1(r, mask, da, |a: f32| -a),
        // PTX: the sign of a, the magnitude of b; a NaN keeps its bits.
        Operation::CopySign => map2(r, mask, dab, |a: u32, b: u32| {
            a & 0x8000_0000 | b & 0x7fff_ffff
        }),
        _ => single_any(r, float, mask),
    }
}

/// As [`single`], with subnormal numbers flushed.
#[inline(always)]
fn single_flushed(r: &mut Registers, float: &Float, mask: u32) {
    let (_, dab, dabc) = slots(float);
    let finish = |x: f32| flush(canonical(x));
    match float.operation {
        Operation::Add => map2(r, mask, dab, |a, b| finish(flush(a) + flush(b))),
        Operation::Sub => map2(r, mask, dab, |a, b| finish(flush(a) - flush(b))),
        Operation::Mul => map2(r, mask, dab, |a, b| finish(flush(a) * flush(b))),
        Operation::Fma => map3(r, mask, dabc, |a, b, c| {
            finish(flush(a).mul_add(flush(b), flush(c)))
        }),
        _ => single_any(r, float, mask),
    }
}

/// Any rounding and clamping.
#[inline(never)]
fn single_any(r: &mut Registers, float: &Float, mask: u32) {
    let (_, _, dabc) = slots(float);
    let &Float {
        operation,
        rounding,
        ftz,
        saturate: clamp,
        ..
    } = float;
    map3(r, mask, dabc, move |a: f32, b: f32, c: f32| {
        let [a, b, c] = if ftz {
            [flush(a), flush(b), flush(c)]
        } else {
            [a, b, c]
        };
        let value = canonical(scalar(operation, rounding, a, b, c));
        let value = if ftz { flush(value) } else { value };
        if clamp { saturate(value) } else { value }
    });
}

/// One operation of f32.
#[inline(never)]
fn scalar(operation: Operation, rounding: Rounding, a: f32, b: f32, c: f32) -> f32 {
    let (x, y) = (f64::from(a), f64::from(b));
    let round = |x: f64| f32::from_bits(narrow(x, F32, rounding));
    let nearest = rounding == Rounding::Nearest;
    match operation {
        Operation::Add if nearest => a + b,
        Operation::Sub if nearest => a - b,
        Operation::Mul if nearest => a * b,
        Operation::Fma if nearest => a.mul_add(b, c),
        Operation::Add => add_f32(a, b, rounding),
        Operation::Sub => add_f32(a, -b, rounding),
        Operation::Mul => round(x * y),
        Operation::Fma => fma_f32(a, b, c, rounding),
        Operation::Div => round(div_odd(x, y)),
        Operation::Reciprocal => round(div_odd(1.0, x)),
        Operation::Sqrt => round(sqrt_odd(x)),
        Operation::ReciprocalSqrt => round(1.0 / x.sqrt()),
        Operation::Exp2 => round(x.exp2()),
        Operation::Log2 => round(x.log2()),
        Operation::Sin => round(x.sin()),
        Operation::Cos => round(x.cos()),
        Operation::Tanh => round(x.tanh()),
        Operation::Min { nan } => numbers::min_f32(a, b, nan),
        Operation::Max { nan } => numbers::max_f32(a, b, nan),
        Operation::Abs => a.abs(),
        Operation::Neg => -a,
        // PTX: the sign of a, the magnitude of b.
        Operation::CopySign => b.copysign(a),
    }
}

#[inline(always)]
fn double(r: &mut Registers, float: &Float, mask: u32) {
    let (da, dab, dabc) = slots(float);
    match float.operation {
        Operation::Add => map2(r, mask, dab, |a: f64, b: f64| canonical64(a + b)),
        Operation::Sub => map2(r, mask, dab, |a: f64, b: f64| canonical64(a - b)),
        Operation::Mul => map2(r, mask, dab, |a: f64, b: f64| canonical64(a * b)),
        Operation::Fma => map3(r, mask, dabc, |a: f64, b: f64, c: f64| {
            canonical64(a.mul_add(b, c))
        }),
        Operation::Div => map2(r, mask, dab, |a: f64, b: f64| canonical64(a / b)),
        Operation::Min { .. } => map2(r, mask, dab, numbers::min_f64),
        Operation::Max { .. } => map2(r, mask, dab, numbers::max_f64),
        Operation::Abs => map1(r, mask, da, f64::abs),
        Operation::Neg => map1(r, mask, da, |a: f64| -a),
        Operation::Sqrt => map1(r, mask, da, |a: f64| canonical64(a.sqrt())),
        Operation::Reciprocal if float.ftz => map1(r, mask, da, |a: f64| gross(a, |a| 1.0 / a)),
        Operation::Reciprocal => map1(r, mask, da, |a: f64| canonical64(1.0 / a)),
        Operation::ReciprocalSqrt if float.ftz => {
            map1(r, mask, da, |a: f64| gross(a, |a| 1.0 / a.sqrt()));
        }
        Operation::ReciprocalSqrt => map1(r, mask, da, |a: f64| canonical64(1.0 / a.sqrt())),
        Operation::Exp2 => map1(r, mask, da, f64::exp2),
        Operation::Log2 => map1(r, mask, da, f64::log2),
        Operation::Sin => map1(r, mask, da, f64::sin),
        Operation::Cos => map1(r, mask, da, f64::cos),
        Operation::Tanh => map1(r, mask, da, f64::tanh),
        Operation::CopySign => map2(r, mask, dab, |a: f64, b: f64| b.copysign(a)),
    }
}

/// `.approx.ftz.f64`: `f` from and to numbers of 20 mantissa bits, subnormal ones flushed.
fn gross(a: f64, f: impl Fn(f64) -> f64) -> f64 {
    let flush = |x: f64| {
        if x.is_subnormal() {
            0.0f64.copysign(x)
        } else {
            x
        }
    };
    let upper = |bits: u64| f64::from_bits(bits & !u64::from(u32::MAX));
    if a.is_nan() {
        return canonical64(a);
    }
    let result = f(upper(flush(a).to_bits()));
    if result.is_nan() {
        return canonical64(result);
    }
    flush(upper(result.to_bits() + (1 << 31)))
}

#[inline(never)]
fn map_half(r: &mut Registers, float: &Float, mask: u32, f: impl Fn(&Float, u32, u32, u32) -> u32) {
    let (_, _, dabc) = slots(float);
    map3(r, mask, dabc, move |a: u32, b: u32, c: u32| {
        f(float, a, b, c)
    });
}

fn half_f16(float: &Float, a: u32, b: u32, c: u32) -> u32 {
    half(float, F16, widen_f16, [a, b, c])
}

fn half_bf16(float: &Float, a: u32, b: u32, c: u32) -> u32 {
    half(float, BF16, widen_bf16, [a, b, c])
}

fn pair_f16(float: &Float, a: u32, b: u32, c: u32) -> u32 {
    half_f16(float, a & 0xffff, b & 0xffff, c & 0xffff)
        | half_f16(float, a >> 16, b >> 16, c >> 16) << 16
}

fn pair_bf16(float: &Float, a: u32, b: u32, c: u32) -> u32 {
    half_bf16(float, a & 0xffff, b & 0xffff, c & 0xffff)
        | half_bf16(float, a >> 16, b >> 16, c >> 16) << 16
}

/// One operation of f16 or bf16, rounded once.
fn half(float: &Float, format: Format, widen: fn(u32) -> f32, sources: [u32; 3]) -> u32 {
    let smallest_normal = match format.is_f16() {
        true => 0x0400,
        false => 0x0080,
    };
    let flushed = |bits: u32| {
        if float.ftz && bits & 0x7fff < smallest_normal {
            bits & 0x8000
        } else {
            bits
        }
    };
    let bits = sources.map(flushed);
    let [a, b, c] = bits.map(|bits| f64::from(widen(bits)));
    let value = match float.operation {
        Operation::Add => sum(a, b),
        Operation::Sub => sum(a, -b),
        Operation::Mul => a * b,
        Operation::Fma => sum(a * b, c),
        Operation::Exp2 => a.exp2(),
        Operation::Tanh => a.tanh(),
        Operation::Min { nan } => numbers::min_f32(a as f32, b as f32, nan).into(),
        Operation::Max { nan } => numbers::max_f32(a as f32, b as f32, nan).into(),
        Operation::Abs => return bits[0] & 0x7fff,
        Operation::Neg => return bits[0] ^ 0x8000,
        // Refused by the decoder.
        _ => f64::NAN,
    };
    // In f64 still: f32 would round a first time.
    let value = if float.saturate {
        if value > 0.0 { value.min(1.0) } else { 0.0 }
    } else if float.relu && value <= 0.0 {
        0.0
    } else {
        value
    };
    if value.is_nan() {
        return NAN_HALF;
    }
    flushed(narrow(value, format, Rounding::Nearest))
}

fn sum(a: f64, b: f64) -> f64 {
    add_odd(a, b)
}

#[cfg(test)]
mod tests {
    use super::gross;

    #[test]
    fn gross_reciprocals_keep_twenty_bits_and_flush_subnormal_numbers() {
        for i in 0..1000 {
            let x = 1.0 + f64::from(i) / 777.7;
            let y = gross(x, |x| 1.0 / x);
            assert_eq!(y.to_bits() as u32, 0);
            assert!((y * x - 1.0).abs() < f64::powi(2.0, -19), "{x}: {y}");
        }
        let reciprocal = |x: f64| gross(x, |x| 1.0 / x);
        assert_eq!(reciprocal(-1e-310), f64::NEG_INFINITY);
        assert_eq!(reciprocal(1.7e308).to_bits(), 0);
        assert_eq!(reciprocal(f64::NEG_INFINITY).to_bits(), (-0.0f64).to_bits());
        assert!(reciprocal(f64::from_bits(0x7ff0_0000_0000_0001)).is_nan());
        assert!(gross(-1.0, |x| 1.0 / x.sqrt()).is_nan());
    }
}

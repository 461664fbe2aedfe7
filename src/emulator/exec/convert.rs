//! Moves and conversions between types.

use crate::emulator::program::Slot;
use crate::emulator::program::convert::{Cast, Convert};
use crate::emulator::program::float::Rounding;
use crate::emulator::program::types::Type;

use super::numbers::{
    BF16, F16, F32, NAN_HALF, add_odd, canonical, canonical64, flush, narrow, saturate, widen_bf16,
    widen_f16,
};
use super::registers::{LANES, Registers, for_both_machines, map1, map2};

for_both_machines! {
    /// Runs a move or a conversion in the lanes of `mask`.
    execute = run(registers: &mut Registers, convert: &Convert, mask: u32)
}

#[inline(always)]
fn run<const WIDE: bool>(r: &mut Registers, convert: &Convert, mask: u32) {
    match *convert {
        Convert::Move32 { d, a } => map1(r, mask, [d, a], |x: u32| x),
        Convert::Move64 { d, a } => map1(r, mask, [d, a], |x: u64| x),
        Convert::Pack2x16 { d, parts: [a, b] } => {
            map2(r, mask, [d, a, b], |a: u32, b: u32| a | b << 16);
        }
        Convert::Pack2x32 { d, parts: [a, b] } => {
            map2(r, mask, [d, a, b], |a: u32, b: u32| {
                u64::from(a) | u64::from(b) << 32
            });
        }
        Convert::Pack4x16 { d, parts } => {
            let rows = parts.map(|part| *r.row32(part));
            let values = std::array::from_fn(|lane| {
                (0..4).fold(0, |all, i| all | u64::from(rows[i][lane]) << (16 * i))
            });
            r.set64(d, mask, &values);
        }
        Convert::Unpack2x16 { parts, a } => {
            let row = *r.row32(a);
            for (i, part) in parts.into_iter().enumerate() {
                r.set32(part, mask, &row.map(|x| x >> (16 * i) & 0xffff));
            }
        }
        Convert::Unpack4x16 { parts, a } => {
            let row = *r.row64(a);
            for (i, part) in parts.into_iter().enumerate() {
                r.set32(part, mask, &row.map(|x| (x >> (16 * i)) as u32 & 0xffff));
            }
        }
        Convert::Unpack2x32 { parts, a } => {
            let row = *r.row64(a);
            for (i, part) in parts.into_iter().enumerate() {
                r.set32(part, mask, &row.map(|x| (x >> (32 * i)) as u32));
            }
        }
        Convert::Cast {
            cast,
            d,
            wide_d,
            short_d,
            a,
            wide_a,
        } => cast_lanes(r, mask, &cast, [d, a], wide_d, short_d, wide_a),
        Convert::CastPair { cast, d, a, b } => {
            map2(r, mask, [d, a, b], move |a: u32, b: u32| {
                (convert_one(&cast, u64::from(a)) as u32) << 16
                    | convert_one(&cast, u64::from(b)) as u32
            });
        }
    }
}

/// The conversions that address arithmetic consists of get loops of their own.
#[inline(always)]
fn cast_lanes(
    r: &mut Registers,
    mask: u32,
    cast: &Cast,
    da: [Slot; 2],
    wide_d: bool,
    short_d: bool,
    wide_a: bool,
) {
    let plain = !(cast.saturate || cast.ftz || cast.integral || cast.relu)
        && cast.rounding == Rounding::Nearest;
    match (cast.from, cast.to, wide_a, wide_d) {
        (Type::S32, Type::S64 | Type::U64, false, true) if plain => {
            map1(r, mask, da, |x: i32| i64::from(x));
        }
        (Type::U32, Type::S64 | Type::U64, false, true) if plain => {
            map1(r, mask, da, |x: u32| u64::from(x));
        }
        (Type::S64 | Type::U64, Type::S32 | Type::U32, true, false) if plain => {
            map1(r, mask, da, |x: u64| x as u32);
        }
        (Type::S32, Type::F32, false, false) if plain => map1(r, mask, da, |x: i32| x as f32),
        (Type::F32, Type::F64, false, true) if plain => {
            map1(r, mask, da, |x: f32| canonical64(f64::from(x)));
        }
        (Type::F16, Type::F32, false, false) if plain => {
            map1(r, mask, da, |x: u32| canonical(widen_f16(x)));
        }
        (Type::BF16, Type::F32, false, false) if plain => {
            map1(r, mask, da, |x: u32| canonical(widen_bf16(x)));
        }
        _ => any_cast(r, mask, cast, da, wide_d, short_d, wide_a),
    }
}

#[inline(never)]
fn any_cast(
    r: &mut Registers,
    mask: u32,
    cast: &Cast,
    [d, a]: [Slot; 2],
    wide_d: bool,
    short_d: bool,
    wide_a: bool,
) {
    let sources: [u64; LANES] = if wide_a {
        *r.row64(a)
    } else {
        r.row32(a).map(u64::from)
    };
    let values = sources.map(|x| convert_one(cast, x));
    if wide_d {
        // Narrow signed results fill a wider register with their sign.
        r.set64(d, mask, &values.map(|x| extend(cast.to, x)));
    } else {
        let values = values.map(|x| extend(cast.to, x) as u32);
        let kept = if short_d { 0xffff } else { u32::MAX };
        r.set32(d, mask, &values.map(|x| x & kept));
    }
}

fn extend(ty: Type, x: u64) -> u64 {
    match ty {
        Type::S8 => i64::from(x as i8) as u64,
        Type::S16 => i64::from(x as i16) as u64,
        Type::S32 => i64::from(x as i32) as u64,
        _ => x,
    }
}

/// One value, its bits zero-extended, to the bits of the result.
#[inline(never)]
fn convert_one(cast: &Cast, x: u64) -> u64 {
    match (cast.from.is_float(), cast.to.is_float()) {
        (false, false) => integer_to_integer(cast, x),
        (false, true) => integer_to_float(cast, integer(cast.from, x)),
        (true, false) => float_to_integer(cast, float(cast, x)),
        (true, true) => float_to_float(cast, x),
    }
}

/// An integer of this type as a number.
fn integer(ty: Type, x: u64) -> i128 {
    match ty {
        Type::U8 => i128::from(x as u8),
        Type::S8 => i128::from(x as i8),
        Type::U16 => i128::from(x as u16),
        Type::S16 => i128::from(x as i16),
        Type::U32 => i128::from(x as u32),
        Type::S32 => i128::from(x as i32),
        Type::S64 => i128::from(x as i64),
        _ => i128::from(x),
    }
}

/// Smallest and largest integer of a type.
fn range(ty: Type) -> (i128, i128) {
    let bits = 8 * ty.bytes() as u32;
    if ty.is_signed() {
        (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    } else {
        (0, (1 << bits) - 1)
    }
}

fn truncate(ty: Type, x: i128) -> u64 {
    let bits = 8 * ty.bytes() as u32;
    x as u64 & u64::MAX >> (64 - bits)
}

fn integer_to_integer(cast: &Cast, x: u64) -> u64 {
    let value = integer(cast.from, x);
    let (low, high) = range(cast.to);
    let value = if cast.saturate {
        value.clamp(low, high)
    } else {
        value
    };
    truncate(cast.to, value)
}

fn integer_to_float(cast: &Cast, x: i128) -> u64 {
    let clamp = |x: f64| if cast.saturate { x.clamp(0.0, 1.0) } else { x };
    // Both halves are exact.
    let high = (x >> 32) as f64 * 4_294_967_296.0;
    let odd = add_odd(high, (x & 0xffff_ffff) as f64);
    if cast.to == Type::F64 {
        return clamp(integer_to_double(x, cast.rounding)).to_bits();
    }
    narrow_to(cast, clamp(odd))
}

fn integer_to_double(x: i128, rounding: Rounding) -> f64 {
    let nearest = x as f64;
    let above = nearest as i128 > x;
    let below = (nearest as i128) < x;
    match rounding {
        Rounding::Down if above => nearest.next_down(),
        Rounding::Up if below => nearest.next_up(),
        Rounding::Zero if above && x > 0 => nearest.next_down(),
        Rounding::Zero if below && x < 0 => nearest.next_up(),
        _ => nearest,
    }
}

/// A floating-point source as f64, which holds all of them.
fn float(cast: &Cast, x: u64) -> f64 {
    match cast.from {
        Type::F32 => {
            let x = f32::from_bits(x as u32);
            f64::from(if cast.ftz { flush(x) } else { x })
        }
        Type::F16 => f64::from(widen_f16(x as u32)),
        Type::BF16 => f64::from(widen_bf16(x as u32)),
        _ => f64::from_bits(x),
    }
}

fn to_integral(x: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest => x.round_ties_even(),
        Rounding::Zero => x.trunc(),
        Rounding::Down => x.floor(),
        Rounding::Up => x.ceil(),
    }
}

/// Clamped to the range of the type. NaN becomes 0, or the top bit alone where the source or the
/// result has 64 bits.
fn float_to_integer(cast: &Cast, x: f64) -> u64 {
    if x.is_nan() {
        let wide = cast.from.bytes() == 8 || cast.to.bytes() == 8;
        return u64::from(wide) << (8 * cast.to.bytes() - 1);
    }
    let (low, high) = range(cast.to);
    let value = to_integral(x, cast.rounding) as i128;
    truncate(cast.to, value.clamp(low, high))
}

fn float_to_float(cast: &Cast, x: u64) -> u64 {
    let mut value = float(cast, x);
    if cast.integral {
        value = to_integral(value, cast.rounding);
    }
    if cast.saturate {
        value = if value > 0.0 { value.min(1.0) } else { 0.0 };
    }
    // -0 too: `relu` is the larger of the result and +0.
    if cast.relu && value <= 0.0 {
        value = 0.0;
    }
    if cast.to == Type::F64 {
        return canonical64(value).to_bits();
    }
    narrow_to(cast, value)
}

fn narrow_to(cast: &Cast, value: f64) -> u64 {
    // An integral rounding has been done; what is left is exact.
    let rounding = if cast.integral {
        Rounding::Nearest
    } else {
        cast.rounding
    };
    let bits = match cast.to {
        Type::F16 if value.is_nan() => NAN_HALF,
        Type::BF16 if value.is_nan() => NAN_HALF,
        Type::F16 => narrow(value, F16, rounding),
        Type::BF16 => narrow(value, BF16, rounding),
        _ => {
            let single = canonical(f32::from_bits(narrow(value, F32, rounding)));
            let single = if cast.ftz { flush(single) } else { single };
            let single = if cast.saturate {
                saturate(single)
            } else {
                single
            };
            single.to_bits()
        }
    };
    u64::from(bits)
}

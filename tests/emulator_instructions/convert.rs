//! Conversions between all types.

use super::harness::{B16, B32, B64, check, f, single};
use half::f16;

#[test]
fn conversions_round_and_saturate() {
    macro_rules! to_integer {
        ($name:literal, $ty:ty, $class:literal) => {
            for (mode, round) in [
                ("rni", f64::round_ties_even as fn(f64) -> f64),
                ("rzi", f64::trunc),
                ("rmi", f64::floor),
                ("rpi", f64::ceil),
            ] {
                // A NaN gives zero, or the top bit alone where a type of 64 bits takes part.
                let whole = |x: f64, wide: bool| match x.is_nan() {
                    true => u64::from(wide) << (<$ty>::BITS - 1),
                    false => round(x) as $ty as u64,
                };
                check(
                    &format!("cvt.{mode}.{}.f32 $d, $a;", $name),
                    $class,
                    B32,
                    &|a, _, _| whole(f64::from(f(a)), <$ty>::BITS == 64),
                );
                check(
                    &format!("cvt.{mode}.{}.f64 $d, $a;", $name),
                    $class,
                    B64,
                    &|a, _, _| whole(f64::from_bits(a), true),
                );
            }
        };
    }
    to_integer!("s32", i32, "b32");
    to_integer!("u32", u32, "b32");
    to_integer!("s64", i64, "b64");
    to_integer!("u64", u64, "b64");
    to_integer!("u16", u16, "b16");
    check("cvt.rn.f32.s32 $d, $a;", "b32", B32, &|a, _, _| {
        single(a as i32 as f32)
    });
    check("cvt.rn.f32.u32 $d, $a;", "b32", B32, &|a, _, _| {
        single(a as u32 as f32)
    });
    check("cvt.rn.f32.s64 $d, $a;", "b32", B64, &|a, _, _| {
        single(a as i64 as f32)
    });
    check("cvt.rn.f32.u64 $d, $a;", "b32", B64, &|a, _, _| {
        single(a as f32)
    });
    check("cvt.rn.f64.s64 $d, $a;", "b64", B64, &|a, _, _| {
        (a as i64 as f64).to_bits()
    });
    check("cvt.rn.f64.u32 $d, $a;", "b64", B32, &|a, _, _| {
        (a as f64).to_bits()
    });
    check("cvt.rn.f32.f64 $d, $a;", "b32", B64, &|a, _, _| {
        single(f64::from_bits(a) as f32)
    });
    check("cvt.f32.f16 $d, $a;", "b32", B16, &|a, _, _| {
        single(f16::from_bits(a as u16).to_f32())
    });
    check("cvt.rni.f32.f32 $d, $a;", "b32", B32, &|a, _, _| {
        single(f(a).round_ties_even())
    });
    check("cvt.sat.f32.f32 $d, $a;", "b32", B32, &|a, _, _| {
        single(if f(a) > 0.0 { f(a).min(1.0) } else { 0.0 })
    });
    check("cvt.s64.s32 $d, $a;", "b64", B32, &|a, _, _| {
        a as i32 as i64 as u64
    });
    check("cvt.u64.u32 $d, $a;", "b64", B32, &|a, _, _| a);
    check("cvt.u32.u64 $d, $a;", "b32", B64, &|a, _, _| a);
    check("cvt.s32.s8 $d, $a;", "b32", B32, &|a, _, _| {
        a as i8 as i64 as u64
    });
    check("cvt.u16.u8 $d, $a;", "b16", B32, &|a, _, _| a & 0xff);
    check("cvt.sat.u8.s32 $d, $a;", "b32", B32, &|a, _, _| {
        (a as i32).clamp(0, 255) as u64
    });
    check("cvt.sat.s16.s32 $d, $a;", "b16", B32, &|a, _, _| {
        (a as i32).clamp(-32768, 32767) as u64
    });
    check("cvt.rn.bf16x2.f32 $d, $a, $b;", "b32", B32, &|a, b, _| {
        let half = |x: u64| match f(x).is_nan() {
            true => 0x7fff,
            false => {
                let (kept, rest) = (x >> 16, x & 0xffff);
                kept + u64::from(rest > 0x8000 || rest == 0x8000 && kept & 1 == 1)
            }
        };
        half(a) << 16 | half(b)
    });
}

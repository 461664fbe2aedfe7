//! f16 and bf16: one rounding of the exact result.

use super::harness::{B16, B32, check, f};
use half::{bf16, f16};

#[test]
fn half_precision_is_rounded_once() {
    // f64 holds sums and products of two f16 exactly.
    let nearest16 = |x: f64| -> u64 {
        let magnitude = x.abs();
        if x.is_nan() {
            return 0x7fff;
        }
        // 65520 lies half way between the largest number and 65536.
        let mut low = 0u16;
        let mut high = 0x7bffu16;
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if f16::from_bits(middle).to_f64() <= magnitude {
                low = middle
            } else {
                high = middle - 1
            }
        }
        let below = f16::from_bits(low).to_f64();
        let above = if low == 0x7bff {
            65536.0
        } else {
            f16::from_bits(low + 1).to_f64()
        };
        let (down, up) = (magnitude - below, above - magnitude);
        let bits = if down < up || down == up && low & 1 == 0 {
            low
        } else {
            low + 1
        };
        u64::from(bits) | if x.is_sign_negative() { 0x8000 } else { 0 }
    };
    let h = |x: u64| f16::from_bits(x as u16).to_f64();
    check("add.f16 $d, $a, $b;", "b16", B16, &|a, b, _| {
        nearest16(h(a) + h(b))
    });
    check("sub.f16 $d, $a, $b;", "b16", B16, &|a, b, _| {
        nearest16(h(a) - h(b))
    });
    check("mul.f16 $d, $a, $b;", "b16", B16, &|a, b, _| {
        nearest16(h(a) * h(b))
    });
    check("add.f16x2 $d, $a, $b;", "b32", B32, &|a, b, _| {
        let low = nearest16(h(a & 0xffff) + h(b & 0xffff));
        nearest16(h(a >> 16) + h(b >> 16)) << 16 | low
    });
    check(
        "cvt.rn.f16.f32 $d, $a;",
        "b16",
        ["b32", "b32", "b32"],
        &|a, _, _| nearest16(f64::from(f(a))),
    );
    // bf16 products are exact in f32 unless they leave its range; bf16's own tie rule follows.
    check("cvt.rn.bf16.f32 $d, $a;", "b16", B32, &|a, _, _| {
        if f(a).is_nan() {
            return 0x7fff;
        }
        let (kept, rest) = (a >> 16, a & 0xffff);
        kept + u64::from(rest > 0x8000 || rest == 0x8000 && kept & 1 == 1)
    });
    check("fma.rn.bf16 $d, $a, $b, $c;", "b16", B16, &|a, b, c| {
        let [a, b, c] = [a, b, c].map(|x| bf16::from_bits(x as u16).to_f64());
        let (product, sum) = (a * b, a * b + c);
        // Where f64 rounds the sum, the sign of the error decides ties.
        let error = (product - (sum - (sum - product))) + (c - (sum - product));
        let bits = sum.to_bits();
        let sticky = if error == 0.0 || !error.is_finite() {
            bits
        } else if (error > 0.0) == (sum > 0.0) {
            bits | 1
        } else {
            (bits - 1) | 1
        };
        let exact = f64::from_bits(sticky);
        if exact.is_nan() {
            return 0x7fff;
        }
        // The nearest by search, as above.
        let (mut low, mut high) = (0u16, 0x7f7fu16);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let value = bf16::from_bits(middle).to_f64();
            if value <= exact.abs() {
                low = middle
            } else {
                high = middle - 1
            }
        }
        let below = bf16::from_bits(low).to_f64();
        let above = match low {
            0x7f7f => 2f64.powi(128),
            _ => bf16::from_bits(low + 1).to_f64(),
        };
        let (down, up) = (exact.abs() - below, above - exact.abs());
        let bits = if down < up || down == up && low & 1 == 0 {
            low
        } else {
            low + 1
        };
        u64::from(bits) | if exact.is_sign_negative() { 0x8000 } else { 0 }
    });
}

//! Floating-point numbers of one lane: rounding, narrow formats, canonical NaNs.
//!
//! Operations of 16 and 32 bits are computed in f64 rounded to odd, which keeps all that a second
//! rounding must know (Boldo & Melquiond 2008, "Emulation of FMA and correctly rounded sums").

use crate::emulator::program::float::Rounding;

/// A format narrower than f64.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// Bits of the significand, the hidden one included.
    precision: u32,
    exponent_bits: u32,
}

impl Format {
    pub fn is_f16(self) -> bool {
        self.exponent_bits == 5
    }

    pub fn is_f32(self) -> bool {
        self.precision == 24
    }

    /// The smallest positive normal number.
    pub fn smallest_normal(self) -> f64 {
        f64::powi(2.0, 2 - (1 << (self.exponent_bits - 1)))
    }

    /// The unit in the last place of a normal number.
    pub fn unit(self, x: f64) -> f64 {
        let exponent = (x.to_bits() >> 52 & 0x7ff) as i32 - 1023;
        f64::powi(2.0, exponent - (self.precision as i32 - 1))
    }
}

pub const F32: Format = Format {
    precision: 24,
    exponent_bits: 8,
};
pub const F16: Format = Format {
    precision: 11,
    exponent_bits: 5,
};
pub const BF16: Format = Format {
    precision: 8,
    exponent_bits: 8,
};

/// The NaN that single-precision operations give.
pub const NAN_F32: u32 = 0x7fff_ffff;
pub const NAN_F64: u64 = 0x7ff8_0000_0000_0000;
pub const NAN_HALF: u32 = 0x7fff;

/// Rounds to a narrower format and returns its bits.
pub fn narrow(x: f64, format: Format, rounding: Rounding) -> u32 {
    let Format {
        precision,
        exponent_bits,
    } = format;
    let fraction = precision - 1;
    let sign = u32::from(x.is_sign_negative()) << (fraction + exponent_bits);
    let infinity: u32 = ((1 << exponent_bits) - 1) << fraction;
    if x.is_nan() {
        return infinity | ((1 << fraction) - 1);
    }
    if x.is_infinite() {
        return sign | infinity;
    }
    if x == 0.0 {
        return sign;
    }
    let bits = x.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32;
    let significand = bits & ((1 << 52) - 1) | u64::from(exponent != 0) << 52;
    // |x| = significand * 2^scale.
    let scale = exponent.max(1) - 1075;
    let bias = (1 << (exponent_bits - 1)) - 1;
    let top = 63 - significand.leading_zeros() as i32 + scale;
    let lowest = (1 - bias) - fraction as i32;
    let unit = (top - fraction as i32).max(lowest);
    let shift = unit - scale;
    let (whole, rest, half) = match shift {
        ..=0 => (significand << -shift, 0, 1),
        1..=63 => (
            significand >> shift,
            significand & ((1 << shift) - 1),
            1u64 << (shift - 1),
        ),
        _ => (0, 1, 2),
    };
    let up = match rounding {
        Rounding::Nearest => rest > half || rest == half && whole & 1 == 1,
        Rounding::Zero => false,
        Rounding::Down => rest != 0 && sign != 0,
        Rounding::Up => rest != 0 && sign == 0,
    };
    // A carry out of the significand moves into the exponent by itself.
    let magnitude = whole + u64::from(up) + (((unit - lowest) as u64) << fraction);
    if magnitude < u64::from(infinity) {
        return sign | magnitude as u32;
    }
    let to_infinity = match rounding {
        Rounding::Nearest => true,
        Rounding::Zero => false,
        Rounding::Down => sign != 0,
        Rounding::Up => sign == 0,
    };
    sign | if to_infinity { infinity } else { infinity - 1 }
}

/// a + b rounded to odd.
pub fn add_odd(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let b_part = sum - a;
    let error = (a - (sum - b_part)) + (b - b_part);
    to_odd(sum, error)
}

/// The odd neighbour of what `nearest` plus an error of this sign was rounded from.
fn to_odd(nearest: f64, error: f64) -> f64 {
    if error == 0.0 || !error.is_finite() || !nearest.is_finite() || nearest.to_bits() & 1 == 1 {
        return nearest;
    }
    let away = (error > 0.0) == (nearest > 0.0);
    let bits = nearest.to_bits();
    f64::from_bits(if away { bits + 1 } else { bits - 1 })
}

/// a / b rounded to odd; a and b are of f32 or narrower.
pub fn div_odd(a: f64, b: f64) -> f64 {
    let quotient = a / b;
    if !quotient.is_finite() || quotient == 0.0 {
        return quotient;
    }
    let rest = (-quotient).mul_add(b, a);
    to_odd(quotient, if b > 0.0 { rest } else { -rest })
}

/// The square root rounded to odd, of f32 or narrower.
pub fn sqrt_odd(a: f64) -> f64 {
    let root = a.sqrt();
    if !root.is_finite() || root == 0.0 {
        return root;
    }
    to_odd(root, (-root).mul_add(root, a))
}

/// The sum of f32 under any rounding.
pub fn add_f32(a: f32, b: f32, rounding: Rounding) -> f32 {
    sum_f32(f64::from(a), f64::from(b), rounding)
}

/// a b + c of f32 under any rounding.
pub fn fma_f32(a: f32, b: f32, c: f32, rounding: Rounding) -> f32 {
    sum_f32(f64::from(a) * f64::from(b), f64::from(c), rounding)
}

fn sum_f32(a: f64, b: f64, rounding: Rounding) -> f32 {
    let sum = add_odd(a, b);
    // Towards minus infinity, terms that cancel leave minus zero.
    if sum == 0.0 && rounding == Rounding::Down && a.is_sign_negative() != b.is_sign_negative() {
        return -0.0;
    }
    f32::from_bits(narrow(sum, F32, rounding))
}

/// Subnormal numbers become zeros of the same sign.
#[inline(always)]
pub fn flush(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits(if bits & 0x7f80_0000 == 0 {
        bits & 0x8000_0000
    } else {
        bits
    })
}

/// The one NaN for all NaNs. Told by integers: the compiler holds all NaNs of arithmetic for equal
/// and would drop a choice between them.
#[inline(always)]
pub fn canonical(x: f32) -> f32 {
    let bits = x.to_bits();
    let is_nan = bits & 0x7fff_ffff > 0x7f80_0000;
    f32::from_bits(if is_nan { NAN_F32 } else { bits })
}

/// As [`canonical`].
#[inline(always)]
pub fn canonical64(x: f64) -> f64 {
    let bits = x.to_bits();
    let is_nan = bits & (u64::MAX >> 1) > 0x7ff0_0000_0000_0000;
    f64::from_bits(if is_nan { NAN_F64 } else { bits })
}

/// Into [0, 1]; NaN becomes 0.
#[inline(always)]
pub fn saturate(x: f32) -> f32 {
    if x > 0.0 { x.min(1.0) } else { 0.0 }
}

/// An f16 as f32, by arithmetic that runs in vectors: the exponent is moved over by a product,
/// which makes subnormal numbers normal.
#[inline(always)]
pub fn widen_f16(bits: u32) -> f32 {
    let magnitude = (bits & 0x7fff) << 13;
    let value = f32::from_bits(magnitude) * f32::from_bits(0x7780_0000);
    let special = if magnitude >= 0x0f80_0000 {
        0x7f80_0000
    } else {
        0
    };
    f32::from_bits(value.to_bits() | special | (bits & 0x8000) << 16)
}

#[inline(always)]
pub fn widen_bf16(bits: u32) -> f32 {
    f32::from_bits(bits << 16)
}

/// The smaller number; of zeros the negative one. A NaN loses, or wins if `nan`.
#[inline(always)]
pub fn min_f32(a: f32, b: f32, nan: bool) -> f32 {
    let equal = f32::from_bits(a.to_bits() | b.to_bits());
    choose(a, b, nan, a < b, b < a, equal)
}

/// The larger number; of zeros the positive one. A NaN loses, or wins if `nan`.
#[inline(always)]
pub fn max_f32(a: f32, b: f32, nan: bool) -> f32 {
    let equal = f32::from_bits(a.to_bits() & b.to_bits());
    choose(a, b, nan, a > b, b > a, equal)
}

#[inline(always)]
fn choose(a: f32, b: f32, nan: bool, first: bool, second: bool, equal: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        let other = if a.is_nan() { b } else { a };
        return canonical(if nan { f32::NAN } else { other });
    }
    if first {
        a
    } else if second {
        b
    } else {
        equal
    }
}

/// As [`min_f32`].
pub fn min_f64(a: f64, b: f64) -> f64 {
    match (a.is_nan(), b.is_nan()) {
        (true, _) => canonical64(b),
        (_, true) => a,
        _ if a < b => a,
        _ if b < a => b,
        _ => f64::from_bits(a.to_bits() | b.to_bits()),
    }
}

/// As [`max_f32`].
pub fn max_f64(a: f64, b: f64) -> f64 {
    match (a.is_nan(), b.is_nan()) {
        (true, _) => canonical64(b),
        (_, true) => a,
        _ if a > b => a,
        _ if b > a => b,
        _ => f64::from_bits(a.to_bits() & b.to_bits()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use rand::RngExt;

    /// Every rounding of the exact value `numerator / 2^shift`, found by trying all neighbours.
    fn by_search(x: f64, format: Format, rounding: Rounding) -> f64 {
        let decode = |bits: u32| match format.precision {
            24 => f64::from(f32::from_bits(bits)),
            11 => f64::from(widen_f16(bits)),
            _ => f64::from(widen_bf16(bits)),
        };
        let infinity = ((1u32 << format.exponent_bits) - 1) << (format.precision - 1);
        // The largest magnitude that is not beyond |x|, by bisection.
        let (mut low, mut high) = (0, infinity);
        while low < high {
            let middle = (low + high).div_ceil(2);
            if decode(middle) <= x.abs() {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        let (below, above) = (decode(low), decode((low + 1).min(infinity)));
        let magnitude = if below == x.abs() {
            below
        } else {
            match rounding {
                Rounding::Zero => below,
                Rounding::Down if x > 0.0 => below,
                Rounding::Up if x < 0.0 => below,
                Rounding::Down | Rounding::Up => above,
                Rounding::Nearest => {
                    // Infinity stands for the number after the largest one.
                    let step = below - decode(low - u32::from(low > 0));
                    let above_number = if above.is_infinite() {
                        below + step
                    } else {
                        above
                    };
                    let (down, up) = (x.abs() - below, above_number - x.abs());
                    if down < up || down == up && low & 1 == 0 {
                        below
                    } else {
                        above
                    }
                }
            }
        };
        magnitude.copysign(x)
    }

    #[test]
    fn narrowing_agrees_with_a_search_of_all_neighbours() {
        let mut random = testing::random(110);
        let roundings = [
            Rounding::Nearest,
            Rounding::Zero,
            Rounding::Down,
            Rounding::Up,
        ];
        for format in [F32, F16, BF16] {
            let decode = |bits: u32| match format.precision {
                24 => f64::from(f32::from_bits(bits)),
                11 => f64::from(widen_f16(bits)),
                _ => f64::from(widen_bf16(bits)),
            };
            let all = (1u32 << (format.exponent_bits + format.precision - 1)) - 1;
            for _ in 0..20_000 {
                let a = decode(random.random::<u32>() & all);
                let b = decode(random.random::<u32>() & all);
                if !(a.is_finite() && b.is_finite()) {
                    continue;
                }
                let near = f64::from_bits(a.to_bits().wrapping_add(random.random_range(0..4)));
                let tie = (a + decode((narrow(a, format, Rounding::Zero) & all) + 1)) / 2.0;
                for x in [a, -a * b, near, -tie, tie * 1e-3] {
                    for rounding in roundings {
                        let expected = by_search(x, format, rounding);
                        if !x.is_finite() || expected.is_nan() {
                            continue;
                        }
                        let ours = decode(narrow(x.abs(), format, mirrored(rounding, x)) & all);
                        assert_eq!(
                            ours.copysign(x),
                            expected,
                            "{x:e} to {format:?} by {rounding:?}"
                        );
                    }
                }
            }
        }
    }

    /// The rounding of |x| that is this rounding of x.
    fn mirrored(rounding: Rounding, x: f64) -> Rounding {
        match rounding {
            Rounding::Down if x < 0.0 => Rounding::Up,
            Rounding::Up if x < 0.0 => Rounding::Down,
            other => other,
        }
    }

    #[test]
    fn every_narrow_number_widens_as_another_implementation_says() {
        for bits in 0..=u16::MAX {
            let same = |ours: f32, theirs: f32| {
                ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan()
            };
            assert!(same(
                widen_f16(bits.into()),
                half::f16::from_bits(bits).to_f32()
            ));
            assert!(same(
                widen_bf16(bits.into()),
                half::bf16::from_bits(bits).to_f32()
            ));
        }
    }

    #[test]
    fn rounding_to_nearest_agrees_with_the_machine() {
        let mut random = testing::random(111);
        for _ in 0..200_000 {
            let mut draw = || f32::from_bits(random.random());
            let (a, b, c) = (draw(), draw(), draw());
            let same = |ours: f32, machine: f32, what: &str| {
                let equal =
                    ours.to_bits() == machine.to_bits() || ours.is_nan() && machine.is_nan();
                assert!(
                    equal,
                    "{what} of {a:e}, {b:e}, {c:e}: {ours:e}, not {machine:e}"
                );
            };
            same(add_f32(a, b, Rounding::Nearest), a + b, "sum");
            same(fma_f32(a, b, c, Rounding::Nearest), a.mul_add(b, c), "fma");
            let quotient = div_odd(f64::from(a), f64::from(b));
            same(
                f32::from_bits(narrow(quotient, F32, Rounding::Nearest)),
                a / b,
                "quotient",
            );
            let root = sqrt_odd(f64::from(a));
            same(
                f32::from_bits(narrow(root, F32, Rounding::Nearest)),
                a.sqrt(),
                "root",
            );
        }
    }

    #[test]
    fn directed_sums_enclose_the_exact_one_as_neighbours() {
        let mut random = testing::random(112);
        for _ in 0..100_000 {
            let a = f32::from_bits(random.random_range(0x3000_0000..0x5000_0000u32));
            let b = -f32::from_bits(random.random_range(0x3000_0000..0x5000_0000u32));
            let down = add_f32(a, b, Rounding::Down);
            let up = add_f32(a, b, Rounding::Up);
            let nearest = a + b;
            assert!(down <= nearest && nearest <= up);
            let exact = {
                let b_part = nearest - a;
                (a - (nearest - b_part)) + (b - b_part) == 0.0
            };
            if exact && nearest != 0.0 {
                assert_eq!(down.to_bits(), up.to_bits());
            } else if !exact {
                assert_eq!(down.next_up(), up);
            }
        }
        assert!(add_f32(1.0, -1.0, Rounding::Down).is_sign_negative());
        assert!(add_f32(1.0, -1.0, Rounding::Up).is_sign_positive());
    }
}

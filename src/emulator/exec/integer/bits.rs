//! Bit fields, leading bits, permutations and truth tables, of one lane.

use crate::emulator::program::integer::PermuteMode;

use super::Int;

/// Position and length are the low bytes of b and c; what lies beyond the value is its sign.
pub fn bit_extract<T: Int>(a: T, b: u32, c: u32) -> T {
    let (position, length) = (b & 0xff, c & 0xff);
    if length == 0 {
        return T::from_bits(0);
    }
    let top = (position + length - 1).min(T::BITS - 1);
    let sign = a.is_negative_kind() && a.bits() >> top & 1 == 1;
    let field = if position >= T::BITS {
        0
    } else {
        a.bits() >> position
    };
    let kept = length.min(T::BITS.saturating_sub(position));
    let low = low_mask(kept);
    T::from_bits(if sign {
        field & low | !low
    } else {
        field & low
    })
}

pub fn bit_insert<T: Int>(field: T, base: T, position: u32, length: u32) -> T {
    let (position, length) = (position & 0xff, length & 0xff);
    if position >= T::BITS {
        return base;
    }
    let covered = low_mask(length) << position;
    T::from_bits(base.bits() & !covered | field.bits() << position & covered)
}

#[inline(always)]
fn low_mask(bits: u32) -> u64 {
    if bits >= 64 {
        u64::MAX
    } else {
        (1 << bits) - 1
    }
}

trait SignedKind {
    fn is_negative_kind(&self) -> bool;
}

impl<T: Int> SignedKind for T {
    /// Whether the type is signed at all.
    #[inline(always)]
    fn is_negative_kind(&self) -> bool {
        T::from_bits(u64::MAX).is_negative()
    }
}

pub fn find_leading<T: Int>(a: T, shift_amount: bool) -> u32 {
    let bits = if a.is_negative() {
        !a.bits() & low_mask(T::BITS)
    } else {
        a.bits()
    };
    if bits == 0 {
        return u32::MAX;
    }
    let position = 63 - bits.leading_zeros();
    if shift_amount {
        T::BITS - 1 - position
    } else {
        position
    }
}

pub fn permute(mode: PermuteMode, a: u32, b: u32, c: u32) -> u32 {
    let bytes = u64::from(b) << 32 | u64::from(a);
    let byte = |i: u32| (bytes >> (8 * (i & 7))) as u32 & 0xff;
    let s = c & 3;
    let select = |i: u32| match mode {
        PermuteMode::Index => {
            let selector = c >> (4 * i);
            let value = byte(selector & 7);
            if selector & 8 == 0 {
                value
            } else if value & 0x80 != 0 {
                0xff
            } else {
                0
            }
        }
        PermuteMode::Forward4 => byte(s + i),
        PermuteMode::Backward4 => byte(s.wrapping_sub(i)),
        PermuteMode::Replicate8 => byte(s),
        PermuteMode::EdgeLeft => byte(s.max(i)),
        PermuteMode::EdgeRight => byte(s.min(i)),
        PermuteMode::Replicate16 => byte(2 * (s & 1) + (i & 1)),
    };
    (0..4).fold(0, |all, i| all | select(i) << (8 * i))
}

#[inline(always)]
pub fn logic3(table: u8, a: u32, b: u32, c: u32) -> u32 {
    let term = |i: u8| {
        if table >> i & 1 == 0 {
            return 0;
        }
        let pick = |x: u32, bit: u8| if i >> bit & 1 == 1 { x } else { !x };
        pick(a, 2) & pick(b, 1) & pick(c, 0)
    };
    (0..8).fold(0, |all, i| all | term(i))
}

pub fn dot4(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool) -> u32 {
    let byte = |x: u32, i: u32, signed: bool| {
        let byte = (x >> (8 * i)) as u8;
        if signed {
            i32::from(byte as i8)
        } else {
            i32::from(byte)
        }
    };
    (0..4).fold(c, |sum, i| {
        sum.wrapping_add((byte(a, i, a_signed) * byte(b, i, b_signed)) as u32)
    })
}

//! Integer arithmetic, lane by lane.

use crate::emulator::program::Slot;
use crate::emulator::program::integer::{IntType, Integer, Operation, PermuteMode};

use super::registers::{Lane, Registers, for_both_machines, map1, map2, map3};

for_both_machines! {
    /// Runs an integer instruction in the lanes of `mask`.
    execute = run(registers: &mut Registers, integer: &Integer, mask: u32)
}

#[inline(always)]
fn run(registers: &mut Registers, integer: &Integer, mask: u32) {
    match integer.ty {
        IntType::U32 => typed::<u32>(registers, integer, mask),
        IntType::S32 => typed::<i32>(registers, integer, mask),
        IntType::U64 => typed::<u64>(registers, integer, mask),
        IntType::S64 => typed::<i64>(registers, integer, mask),
        IntType::U16 => typed::<u16>(registers, integer, mask),
        IntType::S16 => typed::<i16>(registers, integer, mask),
    }
}

/// What the types of integers have in common.
trait Int: Lane {
    type Wide: Lane;
    const BITS: u32;

    fn wrapping_add(self, other: Self) -> Self;
    fn wrapping_sub(self, other: Self) -> Self;
    fn wrapping_mul(self, other: Self) -> Self;
    fn mul_high(self, other: Self) -> Self;
    fn mul_wide(self, other: Self) -> Self::Wide;
    fn wide_add(a: Self::Wide, b: Self::Wide) -> Self::Wide;
    /// All ones for a division by zero, as GPUs do.
    fn divide(self, other: Self) -> Self;
    /// The dividend for a division by zero.
    fn remainder(self, other: Self) -> Self;
    fn least(self, other: Self) -> Self;
    fn greatest(self, other: Self) -> Self;
    fn magnitude(self) -> Self;
    fn difference(self, other: Self) -> Self;
    fn saturating_add(self, other: Self) -> Self;
    fn saturating_sub(self, other: Self) -> Self;
    /// Zero-extended.
    fn bits(self) -> u64;
    fn from_bits(bits: u64) -> Self;
    fn shl(self, distance: u32) -> Self;
    fn shr(self, distance: u32) -> Self;
    fn is_negative(self) -> bool;
}

macro_rules! int {
    ($ty:ty, $unsigned:ty, $double:ty, $wide:ty, $magnitude:expr, $negative:expr, $fill:expr) => {
        impl Int for $ty {
            type Wide = $wide;
            const BITS: u32 = <$ty>::BITS;

            #[inline(always)]
            fn wrapping_add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn wrapping_sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            #[inline(always)]
            fn wrapping_mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            #[inline(always)]
            fn mul_high(self, other: Self) -> Self {
                ((self as $double * other as $double) >> <$ty>::BITS) as $ty
            }
            #[inline(always)]
            fn mul_wide(self, other: Self) -> $wide {
                (self as $wide).wrapping_mul(other as $wide)
            }
            #[inline(always)]
            fn wide_add(a: $wide, b: $wide) -> $wide {
                a.wrapping_add(b)
            }
            #[inline(always)]
            fn divide(self, other: Self) -> Self {
                if other == 0 {
                    !0
                } else {
                    self.wrapping_div(other)
                }
            }
            #[inline(always)]
            fn remainder(self, other: Self) -> Self {
                if other == 0 {
                    self
                } else {
                    self.wrapping_rem(other)
                }
            }
            #[inline(always)]
            fn least(self, other: Self) -> Self {
                self.min(other)
            }
            #[inline(always)]
            fn greatest(self, other: Self) -> Self {
                self.max(other)
            }
            #[inline(always)]
            fn magnitude(self) -> Self {
                $magnitude(self)
            }
            #[inline(always)]
            fn difference(self, other: Self) -> Self {
                if self < other {
                    other.wrapping_sub(self)
                } else {
                    self.wrapping_sub(other)
                }
            }
            #[inline(always)]
            fn saturating_add(self, other: Self) -> Self {
                self.saturating_add(other)
            }
            #[inline(always)]
            fn saturating_sub(self, other: Self) -> Self {
                self.saturating_sub(other)
            }
            #[inline(always)]
            fn bits(self) -> u64 {
                self as $unsigned as u64
            }
            #[inline(always)]
            fn from_bits(bits: u64) -> Self {
                bits as $ty
            }
            #[inline(always)]
            fn shl(self, distance: u32) -> Self {
                if distance >= <$ty>::BITS {
                    0
                } else {
                    self << distance
                }
            }
            #[inline(always)]
            fn shr(self, distance: u32) -> Self {
                if distance >= <$ty>::BITS {
                    $fill(self)
                } else {
                    self >> distance
                }
            }
            #[inline(always)]
            fn is_negative(self) -> bool {
                $negative(self)
            }
        }
    };
}

macro_rules! unsigned {
    ($ty:ty, $double:ty, $wide:ty) => {
        int!($ty, $ty, $double, $wide, |x| x, |_| false, |_| 0);
    };
}
macro_rules! signed {
    ($ty:ty, $unsigned:ty, $double:ty, $wide:ty) => {
        int!(
            $ty,
            $unsigned,
            $double,
            $wide,
            |x: $ty| x.wrapping_abs(),
            |x: $ty| x < 0,
            |x: $ty| x >> (<$ty>::BITS - 1)
        );
    };
}
unsigned!(u16, u32, u32);
unsigned!(u32, u64, u64);
unsigned!(u64, u128, u64);
signed!(i16, u16, i32, i32);
signed!(i32, u32, i64, i64);
signed!(i64, u64, i128, i64);

#[inline(always)]
fn typed<T: Int>(registers: &mut Registers, integer: &Integer, mask: u32) {
    use Operation::*;
    let &Integer {
        operation,
        d,
        a,
        b,
        c,
        ..
    } = integer;
    let r = registers;
    let (da, dab, dabc) = ([d, a], [d, a, b], [d, a, b, c]);
    match operation {
        Add => map2(r, mask, dab, T::wrapping_add),
        Sub => map2(r, mask, dab, T::wrapping_sub),
        AddSaturating => map2(r, mask, dab, T::saturating_add),
        SubSaturating => map2(r, mask, dab, T::saturating_sub),
        AddCarry { read, write } => carry::<T>(r, mask, dabc, false, read, write),
        SubBorrow { read, write } => carry::<T>(r, mask, dabc, true, read, write),
        MulLow => map2(r, mask, dab, T::wrapping_mul),
        MulHigh => map2(r, mask, dab, T::mul_high),
        MulWide => map2(r, mask, dab, T::mul_wide),
        MadLow => map3(r, mask, dabc, |a: T, b: T, c: T| {
            a.wrapping_mul(b).wrapping_add(c)
        }),
        MadHigh => map3(r, mask, dabc, |a: T, b: T, c: T| {
            a.mul_high(b).wrapping_add(c)
        }),
        MadWide => map3(r, mask, dabc, |a: T, b: T, c: T::Wide| {
            T::wide_add(a.mul_wide(b), c)
        }),
        Sad => map3(r, mask, dabc, |a: T, b: T, c: T| {
            c.wrapping_add(a.difference(b))
        }),
        Div => map2(r, mask, dab, T::divide),
        Rem => map2(r, mask, dab, T::remainder),
        Min => map2(r, mask, dab, T::least),
        Max => map2(r, mask, dab, T::greatest),
        Abs => map1(r, mask, da, T::magnitude),
        Neg => map1(r, mask, da, |a: T| T::from_bits(0).wrapping_sub(a)),
        And => map2(r, mask, dab, |a: T, b: T| T::from_bits(a.bits() & b.bits())),
        Or => map2(r, mask, dab, |a: T, b: T| T::from_bits(a.bits() | b.bits())),
        Xor => map2(r, mask, dab, |a: T, b: T| T::from_bits(a.bits() ^ b.bits())),
        Not => map1(r, mask, da, |a: T| T::from_bits(!a.bits())),
        CNot => map1(r, mask, da, |a: T| T::from_bits(u64::from(a.bits() == 0))),
        Shl => map2(r, mask, dab, |a: T, b: u32| a.shl(b)),
        Shr => map2(r, mask, dab, |a: T, b: u32| a.shr(b)),
        BitExtract => map3(r, mask, dabc, bit_extract::<T>),
        BitInsert { length } => bit_insert::<T>(r, mask, dabc, length),
        BitReverse => map1(r, mask, da, |a: T| {
            T::from_bits(a.bits().reverse_bits() >> (64 - T::BITS))
        }),
        LeadingZeros => map1(r, mask, da, |a: T| {
            a.bits().leading_zeros() - (64 - T::BITS)
        }),
        PopCount => map1(r, mask, da, |a: T| a.bits().count_ones()),
        FindLeading { shift_amount } => {
            map1(r, mask, da, move |a: T| find_leading(a, shift_amount))
        }
        FunnelLeft { wrap } => map3(r, mask, dabc, move |a: u32, b: u32, c: u32| {
            let distance = if wrap { c & 31 } else { c.min(32) };
            let joined = u64::from(b) << 32 | u64::from(a);
            (joined << distance >> 32) as u32
        }),
        FunnelRight { wrap } => map3(r, mask, dabc, move |a: u32, b: u32, c: u32| {
            let distance = if wrap { c & 31 } else { c.min(32) };
            let joined = u64::from(b) << 32 | u64::from(a);
            (joined >> distance) as u32
        }),
        Permute(mode) => map3(r, mask, dabc, move |a: u32, b: u32, c: u32| {
            permute(mode, a, b, c)
        }),
        Logic3(table) => map3(r, mask, dabc, move |a: u32, b: u32, c: u32| {
            logic3(table, a, b, c)
        }),
        Dot4 { a_signed, b_signed } => map3(r, mask, dabc, move |a: u32, b: u32, c: u32| {
            dot4(a, b, c, a_signed, b_signed)
        }),
    }
}

#[inline(always)]
fn carry<T: Int>(
    registers: &mut Registers,
    mask: u32,
    [d, a, b, flag]: [Slot; 4],
    subtract: bool,
    read: bool,
    write: bool,
) {
    let carried = if read { registers.predicate(flag) } else { 0 };
    let (x, y) = (*T::row(registers, a), *T::row(registers, b));
    let mut out = x;
    let mut flags = 0;
    for lane in 0..x.len() {
        let (a, b) = (T::from_raw(x[lane]).bits(), T::from_raw(y[lane]).bits());
        let one = u128::from(carried >> lane & 1);
        let total = if subtract {
            u128::from(a).wrapping_sub(u128::from(b)).wrapping_sub(one)
        } else {
            u128::from(a) + u128::from(b) + one
        };
        out[lane] = T::from_bits(total as u64).to_raw();
        flags |= ((total >> T::BITS & 1) as u32) << lane;
    }
    T::set(registers, d, mask, &out);
    if write {
        registers.set_predicate(flag, mask, flags);
    }
}

/// Position and length are the low bytes of b and c; what lies beyond the value is its sign.
#[inline(always)]
fn bit_extract<T: Int>(a: T, b: u32, c: u32) -> T {
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

#[inline(always)]
fn bit_insert<T: Int>(registers: &mut Registers, mask: u32, [d, a, b, c]: [Slot; 4], length: Slot) {
    let lengths = *registers.row32(length);
    let positions = *registers.row32(c);
    let (fields, bases) = (*T::row(registers, a), *T::row(registers, b));
    let mut out = fields;
    for lane in 0..lengths.len() {
        let (position, length) = (positions[lane] & 0xff, lengths[lane] & 0xff);
        let base = T::from_raw(bases[lane]).bits();
        let field = T::from_raw(fields[lane]).bits();
        let value = if position >= T::BITS {
            base
        } else {
            let covered = low_mask(length.min(64)) << position;
            base & !covered | field << position & covered
        };
        out[lane] = T::from_bits(value).to_raw();
    }
    T::set(registers, d, mask, &out);
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

#[inline(always)]
fn find_leading<T: Int>(a: T, shift_amount: bool) -> u32 {
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

#[inline(always)]
fn permute(mode: PermuteMode, a: u32, b: u32, c: u32) -> u32 {
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
fn logic3(table: u8, a: u32, b: u32, c: u32) -> u32 {
    let term = |i: u8| {
        if table >> i & 1 == 0 {
            return 0;
        }
        let pick = |x: u32, bit: u8| if i >> bit & 1 == 1 { x } else { !x };
        pick(a, 2) & pick(b, 1) & pick(c, 0)
    };
    (0..8).fold(0, |all, i| all | term(i))
}

#[inline(always)]
fn dot4(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool) -> u32 {
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

//! Integer arithmetic, lane by lane.

mod bits;

use crate::emulator::program::Slot;
use crate::emulator::program::integer::{IntType, Integer, Operation};

use bits::{bit_extract, bit_insert, dot4, find_leading, logic3, permute};

use super::registers::{LANES, Lane, Registers, for_both_machines, map2, map3};

for_both_machines! {
    /// Runs an integer instruction in the lanes of `mask`.
    execute = run(registers: &mut Registers, integer: &Integer, mask: u32)
}

/// What address arithmetic and loops consist of gets vector loops of its own; the rest runs lane by
/// lane.
#[inline(always)]
fn run<const WIDE: bool>(registers: &mut Registers, integer: &Integer, mask: u32) {
    use IntType::{S16, S32, S64, U16, U32, U64};
    use Operation::*;
    let &Integer {
        operation,
        ty,
        d,
        a,
        b,
        c,
    } = integer;
    let r = registers;
    let (dab, dabc) = ([d, a, b], [d, a, b, c]);
    match (operation, ty) {
        (Add, U32 | S32) => map2(r, mask, dab, u32::wrapping_add),
        (Sub, U32 | S32) => map2(r, mask, dab, u32::wrapping_sub),
        (MulLow, U32 | S32) => map2(r, mask, dab, u32::wrapping_mul),
        (MadLow, U32 | S32) => map3(r, mask, dabc, |a: u32, b: u32, c: u32| {
            a.wrapping_mul(b).wrapping_add(c)
        }),
        (MulWide, U32) => map2(r, mask, dab, <u32 as Int>::mul_wide),
        (MulWide, S32) => map2(r, mask, dab, <i32 as Int>::mul_wide),
        (MulHigh, U32) => map2(r, mask, dab, <u32 as Int>::mul_high),
        (MadWide, S32) => map3(r, mask, dabc, |a: i32, b: i32, c: i64| {
            a.mul_wide(b).wrapping_add(c)
        }),
        (Add, U64 | S64) => map2(r, mask, dab, u64::wrapping_add),
        (Sub, U64 | S64) => map2(r, mask, dab, u64::wrapping_sub),
        (MulLow, U64 | S64) => map2(r, mask, dab, u64::wrapping_mul),
        (Min, S32) => map2(r, mask, dab, i32::min),
        (Max, S32) => map2(r, mask, dab, i32::max),
        (Min, U32) => map2(r, mask, dab, u32::min),
        (Max, U32) => map2(r, mask, dab, u32::max),
        (And, U32 | U16) => map2(r, mask, dab, |a: u32, b: u32| a & b),
        (Or, U32 | U16) => map2(r, mask, dab, |a: u32, b: u32| a | b),
        (Xor, U32 | U16) => map2(r, mask, dab, |a: u32, b: u32| a ^ b),
        (And, U64) => map2(r, mask, dab, |a: u64, b: u64| a & b),
        (Or, U64) => map2(r, mask, dab, |a: u64, b: u64| a | b),
        (Shl, U32 | S32) => map2(r, mask, dab, <u32 as Int>::shl),
        (Shl, U64 | S64) => map2(r, mask, dab, <u64 as Int>::shl),
        (Shr, U32) => map2(r, mask, dab, <u32 as Int>::shr),
        (Shr, S32) => map2(r, mask, dab, <i32 as Int>::shr),
        (Logic3(table), _) => map3(r, mask, dabc, move |a: u32, b: u32, c: u32| {
            logic3(table, a, b, c)
        }),
        (_, U32) => each_lane::<u32>(r, integer, mask),
        (_, S32) => each_lane::<i32>(r, integer, mask),
        (_, U64) => each_lane::<u64>(r, integer, mask),
        (_, S64) => each_lane::<i64>(r, integer, mask),
        (_, U16) => each_lane::<u16>(r, integer, mask),
        (_, S16) => each_lane::<i16>(r, integer, mask),
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
    /// Zero-extended.
    fn wide_bits(wide: Self::Wide) -> u64;
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
            fn wide_bits(wide: $wide) -> u64 {
                if <$ty>::BITS == 16 {
                    wide as u32 as u64
                } else {
                    wide as u64
                }
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

/// Whether sources and result of an operation on 64-bit values are of 64 bits too.
fn widths(operation: Operation, wide: bool) -> [bool; 4] {
    use Operation::*;
    match operation {
        Shl | Shr => [wide, wide, false, false],
        MulWide | MadWide => [true, false, false, true],
        BitExtract => [wide, wide, false, false],
        BitInsert { .. } => [wide, wide, wide, false],
        LeadingZeros | PopCount | FindLeading { .. } => [false, wide, wide, wide],
        _ => [wide; 4],
    }
}

#[inline(never)]
fn each_lane<T: Int>(registers: &mut Registers, integer: &Integer, mask: u32) {
    let &Integer {
        operation,
        d,
        a,
        b,
        c,
        ..
    } = integer;
    if let Operation::AddCarry { read, write } = operation {
        return carry::<T>(registers, mask, [d, a, b, c], false, read, write);
    }
    if let Operation::SubBorrow { read, write } = operation {
        return carry::<T>(registers, mask, [d, a, b, c], true, read, write);
    }
    // Products of 16 bits are of 32, which is the same file.
    let wide_product =
        T::BITS == 32 && matches!(operation, Operation::MulWide | Operation::MadWide);
    let [wide_d, wide_a, wide_b, wide_c] = if wide_product || T::BITS == 64 {
        widths(operation, T::BITS == 64)
    } else {
        [false; 4]
    };
    let source = |slot: Slot, wide: bool| -> [u64; LANES] {
        if wide {
            *registers.row64(slot)
        } else {
            registers.row32(slot).map(u64::from)
        }
    };
    let (a, b, c) = (source(a, wide_a), source(b, wide_b), source(c, wide_c));
    let lengths = match operation {
        Operation::BitInsert { length } => *registers.row32(length),
        _ => [0; LANES],
    };
    let mut out = [0; LANES];
    for lane in 0..LANES {
        out[lane] = one::<T>(operation, a[lane], b[lane], c[lane], lengths[lane]);
    }
    if wide_d {
        registers.set64(d, mask, &out);
    } else {
        registers.set32(d, mask, &out.map(|value| value as u32));
    }
}

/// One lane. Values are zero-extended, and so is the result.
fn one<T: Int>(operation: Operation, a: u64, b: u64, c: u64, length: u32) -> u64 {
    use Operation::*;
    let (x, y, z) = (T::from_bits(a), T::from_bits(b), T::from_bits(c));
    let wide = |value: T::Wide| T::wide_bits(value);
    match operation {
        Add => x.wrapping_add(y).bits(),
        Sub => x.wrapping_sub(y).bits(),
        AddSaturating => x.saturating_add(y).bits(),
        SubSaturating => x.saturating_sub(y).bits(),
        MulLow => x.wrapping_mul(y).bits(),
        MulHigh => x.mul_high(y).bits(),
        MulWide => wide(x.mul_wide(y)),
        MadLow => x.wrapping_mul(y).wrapping_add(z).bits(),
        MadHigh => x.mul_high(y).wrapping_add(z).bits(),
        MadWide => {
            let sum = wide(x.mul_wide(y)).wrapping_add(c);
            if T::BITS == 16 {
                sum & 0xffff_ffff
            } else {
                sum
            }
        }
        Sad => z.wrapping_add(x.difference(y)).bits(),
        Div => x.divide(y).bits(),
        Rem => x.remainder(y).bits(),
        Min => x.least(y).bits(),
        Max => x.greatest(y).bits(),
        Abs => x.magnitude().bits(),
        Neg => T::from_bits(0).wrapping_sub(x).bits(),
        And => a & b,
        Or => a | b,
        Xor => a ^ b,
        Not => T::from_bits(!a).bits(),
        CNot => u64::from(x.bits() == 0),
        Shl => x.shl(b as u32).bits(),
        Shr => x.shr(b as u32).bits(),
        BitExtract => bit_extract(x, b as u32, c as u32).bits(),
        BitInsert { .. } => bit_insert(x, y, c as u32, length).bits(),
        BitReverse => a.reverse_bits() >> (64 - T::BITS),
        LeadingZeros => u64::from(a.leading_zeros() - (64 - T::BITS)),
        PopCount => u64::from(a.count_ones()),
        FindLeading { shift_amount } => u64::from(find_leading(x, shift_amount)),
        FunnelLeft { wrap } => {
            let distance = if wrap { c & 31 } else { c.min(32) };
            (b << 32 | a) << distance >> 32
        }
        FunnelRight { wrap } => {
            let distance = if wrap { c & 31 } else { c.min(32) };
            (b << 32 | a) >> distance & 0xffff_ffff
        }
        Permute(mode) => u64::from(permute(mode, a as u32, b as u32, c as u32)),
        Logic3(table) => u64::from(logic3(table, a as u32, b as u32, c as u32)),
        Dot4 { a_signed, b_signed } => {
            u64::from(dot4(a as u32, b as u32, c as u32, a_signed, b_signed))
        }
        // These need the carry of their lane.
        AddCarry { .. } | SubBorrow { .. } => 0,
    }
}

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

//! A warp's registers and loops over its lanes.

use crate::emulator::program::types::Class;
use crate::emulator::program::{Kernel, SINK, Slot};

/// Lanes of a warp.
pub const LANES: usize = 32;

/// The mask of all lanes.
pub const FULL: u32 = u32::MAX;

/// One register of all lanes.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Row<T>(pub [T; LANES]);

/// The three register files of a warp.
#[derive(Clone, Debug, Default)]
pub struct Registers {
    pub r32: Vec<Row<u32>>,
    pub r64: Vec<Row<u64>>,
    pub predicates: Vec<u32>,
}

impl Registers {
    /// The registers of a warp: constants and parameters are set, all else is left to
    /// [`clear`](Self::clear).
    pub fn of_kernel(kernel: &Kernel, parameters: &[u8]) -> Self {
        let mut registers = Self {
            r32: vec![Row([0; LANES]); kernel.slots32],
            r64: vec![Row([0; LANES]); kernel.slots64],
            predicates: vec![0; kernel.predicates],
        };
        for &(slot, value) in &kernel.constants32 {
            registers.r32[usize::from(slot)].0 = [value; LANES];
        }
        for &(slot, value) in &kernel.constants64 {
            registers.r64[usize::from(slot)].0 = [value; LANES];
        }
        for (slot, part) in &kernel.parameter_slots {
            let value = part.value(parameters);
            match part.class {
                Class::R64 => registers.r64[usize::from(*slot)].0 = [value; LANES],
                _ => registers.r32[usize::from(*slot)].0 = [value as u32; LANES],
            }
        }
        registers
    }

    /// Sets to zero what instructions write; what they only read stays.
    pub fn clear(&mut self, kernel: &Kernel) {
        for range in &kernel.written32 {
            self.r32[range.clone()].fill(Row([0; LANES]));
        }
        for range in &kernel.written64 {
            self.r64[range.clone()].fill(Row([0; LANES]));
        }
        self.predicates.fill(0);
        for &(slot, value) in &kernel.constant_predicates {
            self.predicates[usize::from(slot)] = if value { FULL } else { 0 };
        }
    }

    #[inline(always)]
    pub fn row32(&self, slot: Slot) -> &[u32; LANES] {
        &self.r32[usize::from(slot)].0
    }

    #[inline(always)]
    pub fn row64(&self, slot: Slot) -> &[u64; LANES] {
        &self.r64[usize::from(slot)].0
    }

    #[inline(always)]
    pub fn predicate(&self, slot: Slot) -> u32 {
        self.predicates[usize::from(slot)]
    }

    /// Sets a predicate in the lanes of `mask`.
    #[inline(always)]
    pub fn set_predicate(&mut self, slot: Slot, mask: u32, value: u32) {
        let predicate = &mut self.predicates[usize::from(slot)];
        *predicate = *predicate & !mask | value & mask;
    }

    /// Sets a register of 32 bits in the lanes of `mask`; drops what goes to [`SINK`].
    #[inline(always)]
    pub fn set32(&mut self, slot: Slot, mask: u32, values: &[u32; LANES]) {
        if slot != SINK {
            blend(&mut self.r32[usize::from(slot)].0, mask, values);
        }
    }

    /// As [`set32`](Self::set32), of what `fill` writes: straight into the register where all lanes
    /// are set.
    #[inline(always)]
    pub fn fill32(&mut self, slot: Slot, mask: u32, fill: impl FnOnce(&mut [u32; LANES])) {
        let direct = mask == FULL && slot != SINK;
        let mut spare = [0; LANES];
        fill(if direct {
            &mut self.r32[usize::from(slot)].0
        } else {
            &mut spare
        });
        if !direct {
            self.set32(slot, mask, &spare);
        }
    }

    /// Sets a register of 64 bits in the lanes of `mask`; drops what goes to [`SINK`].
    #[inline(always)]
    pub fn set64(&mut self, slot: Slot, mask: u32, values: &[u64; LANES]) {
        if slot != SINK {
            blend(&mut self.r64[usize::from(slot)].0, mask, values);
        }
    }
}

#[inline(always)]
fn blend<T: Copy>(row: &mut [T; LANES], mask: u32, values: &[T; LANES]) {
    if mask == FULL {
        *row = *values;
        return;
    }
    for lane in 0..LANES {
        row[lane] = if mask >> lane & 1 == 1 {
            values[lane]
        } else {
            row[lane]
        };
    }
}

/// The lanes of a mask, lowest first.
pub fn lanes(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if mask == 0 {
            return None;
        }
        let lane = mask.trailing_zeros() as usize;
        mask &= mask - 1;
        Some(lane)
    })
}

/// A value as a lane of a register holds it.
pub trait Lane: Copy {
    /// What the register file holds.
    type Raw: Copy + Default;

    fn row(registers: &Registers, slot: Slot) -> &[Self::Raw; LANES];
    fn set(registers: &mut Registers, slot: Slot, mask: u32, values: &[Self::Raw; LANES]);
    fn from_raw(raw: Self::Raw) -> Self;
    fn to_raw(self) -> Self::Raw;
}

macro_rules! lane {
    ($ty:ty, $raw:ty, $row:ident, $set:ident, |$from:ident| $from_raw:expr, |$to:ident| $to_raw:expr) => {
        impl Lane for $ty {
            type Raw = $raw;

            #[inline(always)]
            fn row(registers: &Registers, slot: Slot) -> &[$raw; LANES] {
                registers.$row(slot)
            }

            #[inline(always)]
            fn set(registers: &mut Registers, slot: Slot, mask: u32, values: &[$raw; LANES]) {
                registers.$set(slot, mask, values);
            }

            #[inline(always)]
            fn from_raw($from: $raw) -> Self {
                $from_raw
            }

            #[inline(always)]
            fn to_raw(self) -> $raw {
                let $to = self;
                $to_raw
            }
        }
    };
}

lane!(u32, u32, row32, set32, |x| x, |x| x);
lane!(i32, u32, row32, set32, |x| x as i32, |x| x as u32);
lane!(u16, u32, row32, set32, |x| x as u16, |x| u32::from(x));
lane!(i16, u32, row32, set32, |x| x as i16, |x| u32::from(
    x as u16
));
lane!(u64, u64, row64, set64, |x| x, |x| x);
lane!(i64, u64, row64, set64, |x| x as i64, |x| x as u64);
lane!(f32, u32, row32, set32, |x| f32::from_bits(x), |x| x
    .to_bits());
lane!(f64, u64, row64, set64, |x| f64::from_bits(x), |x| x
    .to_bits());

/// `d = f(a)` in the lanes of `mask`. `f` is called for every lane and must bear any value.
#[inline(always)]
pub fn map1<A: Lane, D: Lane>(
    registers: &mut Registers,
    mask: u32,
    [d, a]: [Slot; 2],
    f: impl Fn(A) -> D,
) {
    let mut out = [D::Raw::default(); LANES];
    let a = A::row(registers, a);
    for lane in 0..LANES {
        out[lane] = f(A::from_raw(a[lane])).to_raw();
    }
    D::set(registers, d, mask, &out);
}

/// `d = f(a, b)`, as [`map1`].
#[inline(always)]
pub fn map2<A: Lane, B: Lane, D: Lane>(
    registers: &mut Registers,
    mask: u32,
    [d, a, b]: [Slot; 3],
    f: impl Fn(A, B) -> D,
) {
    let mut out = [D::Raw::default(); LANES];
    let (a, b) = (A::row(registers, a), B::row(registers, b));
    for lane in 0..LANES {
        out[lane] = f(A::from_raw(a[lane]), B::from_raw(b[lane])).to_raw();
    }
    D::set(registers, d, mask, &out);
}

/// `d = f(a, b, c)`, as [`map1`].
#[inline(always)]
pub fn map3<A: Lane, B: Lane, C: Lane, D: Lane>(
    registers: &mut Registers,
    mask: u32,
    [d, a, b, c]: [Slot; 4],
    f: impl Fn(A, B, C) -> D,
) {
    let mut out = [D::Raw::default(); LANES];
    let (a, b, c) = (
        A::row(registers, a),
        B::row(registers, b),
        C::row(registers, c),
    );
    for lane in 0..LANES {
        out[lane] = f(
            A::from_raw(a[lane]),
            B::from_raw(b[lane]),
            C::from_raw(c[lane]),
        )
        .to_raw();
    }
    D::set(registers, d, mask, &out);
}

/// The mask of the lanes where `f(a, b)` holds.
#[inline(always)]
pub fn test2<const WIDE: bool, A: Lane>(
    registers: &Registers,
    [a, b]: [Slot; 2],
    f: impl Fn(A, A) -> bool,
) -> u32 {
    let (a, b) = (A::row(registers, a), A::row(registers, b));
    let mut holds = [0; LANES];
    for lane in 0..LANES {
        let one = f(A::from_raw(a[lane]), A::from_raw(b[lane]));
        holds[lane] = if one { FULL } else { 0 };
    }
    signs::<WIDE>(&holds)
}

/// The mask of the lanes whose highest bit is set. The compiler does not find the instruction for
/// this by itself and takes the vectors apart instead.
#[inline(always)]
pub fn signs<const WIDE: bool>(values: &[u32; LANES]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if WIDE {
        // SAFETY: `WIDE` is chosen only where the CPU has AVX2.
        return unsafe { wide_signs(values) };
    }
    (values.iter().enumerate()).fold(0, |all, (lane, value)| all | value >> 31 << lane)
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
fn wide_signs(values: &[u32; LANES]) -> u32 {
    use std::arch::x86_64::{__m256, _mm256_movemask_ps};
    let (groups, _) = values.as_chunks::<8>();
    groups.iter().enumerate().fold(0, |all, (i, &group)| {
        let group: __m256 = bytemuck::cast(group);
        all | (_mm256_movemask_ps(group) as u32) << (8 * i)
    })
}

/// Defines a function that runs `$body` compiled for AVX2 and FMA where `WIDE`, which the caller
/// chooses once it has asked the CPU.
macro_rules! for_both_machines {
    ($(#[$doc:meta])* $name:ident $([$lifetime:lifetime])? = $body:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)?) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<$($lifetime,)? const WIDE: bool>($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            if WIDE {
                #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
                fn wide$(<$lifetime>)?($($arg: $ty),*) $(-> $ret)? {
                    $body::<true>($($arg),*)
                }
                // SAFETY: `WIDE` is chosen only where the CPU has all of these features.
                return unsafe { wide($($arg),*) };
            }
            $body::<false>($($arg),*)
        }
    };
}
pub(super) use for_both_machines;

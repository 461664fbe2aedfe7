//! Comparisons, predicates and selection.

use crate::emulator::program::Slot;
use crate::emulator::program::compare::{Compare, Condition, Logic, Property, Relation};
use crate::emulator::program::types::Type;

use super::numbers::{flush, widen_bf16, widen_f16};
use super::registers::{FULL, Lane, Registers, for_both_machines, map1, test2};

for_both_machines! {
    /// Runs a comparison, an operation on predicates or a selection in the lanes of `mask`.
    execute = run(registers: &mut Registers, compare: &Compare, mask: u32)
}

/// The lanes where a condition holds.
#[inline(always)]
pub fn holds(registers: &Registers, condition: Condition) -> u32 {
    registers.predicate(condition.slot) ^ condition.flip
}

#[inline(always)]
fn combine(logic: Logic, a: u32, b: u32) -> u32 {
    match logic {
        Logic::And => a & b,
        Logic::Or => a | b,
        Logic::Xor => a ^ b,
    }
}

#[inline(always)]
fn run<const WIDE: bool>(r: &mut Registers, compare: &Compare, mask: u32) {
    match *compare {
        Compare::Set {
            relation,
            ty,
            ftz,
            logic,
            with,
            p,
            q,
            a,
            b,
        } => {
            let outcome = outcome::<WIDE>(r, relation, ty, ftz, [a, b]);
            let with = holds(r, with);
            if let Some(p) = p {
                r.set_predicate(p, mask, combine(logic, outcome, with));
            }
            if let Some(q) = q {
                r.set_predicate(q, mask, combine(logic, !outcome, with));
            }
        }
        Compare::SetRegister {
            relation,
            ty,
            ftz,
            logic,
            with,
            one,
            d,
            a,
            b,
        } => {
            let outcome = combine(
                logic,
                outcome::<WIDE>(r, relation, ty, ftz, [a, b]),
                holds(r, with),
            );
            let values = std::array::from_fn(|lane| if outcome >> lane & 1 == 1 { one } else { 0 });
            r.set32(d, mask, &values);
        }
        Compare::Predicate { logic, d, a, b } => {
            let value = combine(logic, holds(r, a), holds(r, b));
            r.set_predicate(d, mask, value);
        }
        Compare::MovePredicate { d, a } => {
            let value = holds(r, a);
            r.set_predicate(d, mask, value);
        }
        Compare::Select32 { d, a, b, p } => select::<u32>(r, mask, [d, a, b], p),
        Compare::Select64 { d, a, b, p } => select::<u64>(r, mask, [d, a, b], p),
        Compare::Test {
            property,
            double,
            d,
            a,
        } => {
            let value = test::<WIDE>(r, property, double, a);
            r.set_predicate(d, mask, value);
        }
    }
}

#[inline(always)]
fn select<T: Lane>(r: &mut Registers, mask: u32, [d, a, b]: [Slot; 3], p: Condition) {
    let holds = holds(r, p);
    if holds & mask == mask {
        map1(r, mask, [d, a], |a: T| a);
        return;
    }
    let (a, b) = (T::row(r, a), T::row(r, b));
    let mut out = *a;
    for lane in 0..out.len() {
        out[lane] = if holds >> lane & 1 == 1 {
            a[lane]
        } else {
            b[lane]
        };
    }
    T::set(r, d, mask, &out);
}

#[inline(always)]
fn outcome<const WIDE: bool>(
    r: &Registers,
    relation: Relation,
    ty: Type,
    ftz: bool,
    ab: [Slot; 2],
) -> u32 {
    match ty {
        Type::U32 | Type::B32 | Type::U16 | Type::B16 => ordered::<WIDE, u32>(r, relation, ab),
        Type::S32 => ordered::<WIDE, i32>(r, relation, ab),
        Type::U64 | Type::B64 => ordered::<WIDE, u64>(r, relation, ab),
        Type::S64 => ordered::<WIDE, i64>(r, relation, ab),
        Type::F32 if !ftz => floats::<WIDE, _, _>(r, relation, ab, |x: f32| x),
        Type::F64 => floats::<WIDE, _, _>(r, relation, ab, |x: f64| x),
        _ => rare::<WIDE>(r, relation, ty, ftz, ab),
    }
}

/// Types that kernels seldom compare.
#[inline(never)]
fn rare<const WIDE: bool>(
    r: &Registers,
    relation: Relation,
    ty: Type,
    ftz: bool,
    ab: [Slot; 2],
) -> u32 {
    match ty {
        Type::S16 => ordered::<WIDE, i16>(r, relation, ab),
        Type::F32 => floats::<WIDE, _, _>(r, relation, ab, flush),
        Type::BF16 => floats::<WIDE, _, _>(r, relation, ab, widen_bf16),
        Type::F16 => floats::<WIDE, _, _>(r, relation, ab, move |x: u32| {
            let tiny = ftz && x & 0x7fff < 0x0400;
            widen_f16(if tiny { x & 0x8000 } else { x })
        }),
        // Refused by the decoder.
        _ => 0,
    }
}

#[inline(always)]
fn ordered<const WIDE: bool, T: Lane + Ord>(
    r: &Registers,
    relation: Relation,
    ab: [Slot; 2],
) -> u32 {
    match relation {
        Relation::Eq => test2::<WIDE, _>(r, ab, |a: T, b| a == b),
        Relation::Ne => !test2::<WIDE, _>(r, ab, |a: T, b| a == b),
        Relation::Lt => test2::<WIDE, _>(r, ab, |a: T, b| a < b),
        Relation::Le => !test2::<WIDE, _>(r, ab, |a: T, b| a > b),
        Relation::Gt => test2::<WIDE, _>(r, ab, |a: T, b| a > b),
        Relation::Ge => !test2::<WIDE, _>(r, ab, |a: T, b| a < b),
        // Of floating-point numbers alone.
        _ => 0,
    }
}

/// A comparison that a NaN fails is the contrary of one that a NaN fulfils.
#[inline(always)]
fn floats<const WIDE: bool, T: Lane, F: PartialOrd + Copy>(
    r: &Registers,
    relation: Relation,
    ab: [Slot; 2],
    value: impl Fn(T) -> F + Copy,
) -> u32 {
    let eq = || test2::<WIDE, _>(r, ab, |a, b| value(a) == value(b));
    let lt = || test2::<WIDE, _>(r, ab, |a, b| value(a) < value(b));
    let le = || test2::<WIDE, _>(r, ab, |a, b| value(a) <= value(b));
    let gt = || test2::<WIDE, _>(r, ab, |a, b| value(a) > value(b));
    let ge = || test2::<WIDE, _>(r, ab, |a, b| value(a) >= value(b));
    match relation {
        Relation::Eq => eq(),
        Relation::Ne => lt() | gt(),
        Relation::Lt => lt(),
        Relation::Le => le(),
        Relation::Gt => gt(),
        Relation::Ge => ge(),
        Relation::EqUnordered => !(lt() | gt()),
        Relation::NeUnordered => !eq(),
        Relation::LtUnordered => !ge(),
        Relation::LeUnordered => !gt(),
        Relation::GtUnordered => !le(),
        Relation::GeUnordered => !lt(),
        Relation::Numbers => le() | ge(),
        Relation::Nans => !(le() | ge()),
    }
}

fn test<const WIDE: bool>(r: &Registers, property: Property, double: bool, a: Slot) -> u32 {
    use std::num::FpCategory;
    let holds = |category: FpCategory| match property {
        Property::Finite => !matches!(category, FpCategory::Nan | FpCategory::Infinite),
        Property::Infinite => category == FpCategory::Infinite,
        Property::Number => category != FpCategory::Nan,
        Property::NotANumber => category == FpCategory::Nan,
        // PTX counts zero as normal.
        Property::Normal => matches!(category, FpCategory::Normal | FpCategory::Zero),
        Property::Subnormal => category == FpCategory::Subnormal,
    };
    let bits = if double {
        test2::<WIDE, _>(r, [a, a], |x: f64, _| holds(x.classify()))
    } else {
        test2::<WIDE, _>(r, [a, a], |x: f32, _| holds(x.classify()))
    };
    bits & FULL
}

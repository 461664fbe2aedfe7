//! Comparisons, logic on predicates and selection; runs in `exec/compare.rs`.

use crate::emulator::syntax::Operand;

use super::decoder::{Decoded, Decoder, exactly};
use super::types::{Class, Type};
use super::{ALWAYS, Modifiers, Op, Slot};

/// How two values are compared. Comparisons of floating-point numbers that end in `Unordered`
/// hold if either is a NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    EqUnordered,
    NeUnordered,
    LtUnordered,
    LeUnordered,
    GtUnordered,
    GeUnordered,
    /// Neither is a NaN.
    Numbers,
    /// Either is a NaN.
    Nans,
}

/// How the outcome is combined with another predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logic {
    And,
    Or,
    Xor,
}

/// A predicate that may be negated.
#[derive(Clone, Copy, Debug)]
pub struct Condition {
    pub slot: Slot,
    /// All ones if negated, else zero.
    pub flip: u32,
}

#[derive(Clone, Copy, Debug)]
pub enum Compare {
    /// `p = (a relation b) logic c`, and `q` the same of the negated comparison.
    Set {
        relation: Relation,
        ty: Type,
        ftz: bool,
        logic: Logic,
        with: Condition,
        p: Option<Slot>,
        q: Option<Slot>,
        a: Slot,
        b: Slot,
    },
    /// As `Set`, but the outcome is all ones, or 1.0, in a 32-bit register.
    SetRegister {
        relation: Relation,
        ty: Type,
        ftz: bool,
        logic: Logic,
        with: Condition,
        one: u32,
        d: Slot,
        a: Slot,
        b: Slot,
    },
    Predicate {
        logic: Logic,
        d: Slot,
        a: Condition,
        b: Condition,
    },
    MovePredicate {
        d: Slot,
        a: Condition,
    },
    Select32 {
        d: Slot,
        a: Slot,
        b: Slot,
        p: Condition,
    },
    Select64 {
        d: Slot,
        a: Slot,
        b: Slot,
        p: Condition,
    },
    Test {
        property: Property,
        double: bool,
        d: Slot,
        a: Slot,
    },
}

/// What `testp` asks of a floating-point number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    Finite,
    Infinite,
    Number,
    NotANumber,
    Normal,
    Subnormal,
}

/// Decodes a comparison, an operation on predicates or a selection.
pub fn decode(
    d: &mut Decoder,
    opcode: &str,
    m: &mut Modifiers,
    operands: &[Operand],
) -> Decoded<Op> {
    Ok(Op::Compare(match opcode {
        "setp" | "set" => set(d, opcode == "set", m, operands)?,
        "selp" => select(d, m, operands)?,
        "testp" => test(d, m, operands)?,
        "not" => {
            m.accept("pred");
            let [dst, a] = exactly(operands)?;
            let mut a = condition(d, a)?;
            a.flip = !a.flip;
            Compare::MovePredicate {
                d: d.destination(dst, Class::Pred)?,
                a,
            }
        }
        "and" | "or" | "xor" => {
            m.accept("pred");
            let [dst, a, b] = exactly(operands)?;
            Compare::Predicate {
                logic: logic(opcode).unwrap_or(Logic::And),
                a: condition(d, a)?,
                b: condition(d, b)?,
                d: d.destination(dst, Class::Pred)?,
            }
        }
        _ => return Err("the instruction is not supported".to_owned()),
    }))
}

/// A predicate, perhaps with `!`.
pub fn condition(d: &mut Decoder, operand: &Operand) -> Decoded<Condition> {
    match operand {
        Operand::Not(name) => Ok(Condition {
            slot: d.read_register(name, Class::Pred)?,
            flip: u32::MAX,
        }),
        other => Ok(Condition {
            slot: d.source(other, Type::Pred)?,
            flip: 0,
        }),
    }
}

fn logic(word: &str) -> Option<Logic> {
    Some(match word {
        "and" => Logic::And,
        "or" => Logic::Or,
        "xor" => Logic::Xor,
        _ => return None,
    })
}

fn relation(word: &str, ty: Type) -> Option<Relation> {
    use Relation::*;
    let float = ty.is_float();
    let unsigned = !float && !ty.is_signed() && !ty.is_bits();
    Some(match word {
        "eq" => Eq,
        "ne" => Ne,
        // `lo`, `ls`, `hi` and `hs` are the unsigned names.
        "lt" if !ty.is_bits() => Lt,
        "le" if !ty.is_bits() => Le,
        "gt" if !ty.is_bits() => Gt,
        "ge" if !ty.is_bits() => Ge,
        "lo" if unsigned => Lt,
        "ls" if unsigned => Le,
        "hi" if unsigned => Gt,
        "hs" if unsigned => Ge,
        "equ" if float => EqUnordered,
        "neu" if float => NeUnordered,
        "ltu" if float => LtUnordered,
        "leu" if float => LeUnordered,
        "gtu" if float => GtUnordered,
        "geu" if float => GeUnordered,
        "num" if float => Numbers,
        "nan" if float => Nans,
        _ => return None,
    })
}

fn set(
    d: &mut Decoder,
    to_register: bool,
    m: &mut Modifiers,
    operands: &[Operand],
) -> Decoded<Compare> {
    let word = m.take().ok_or("a comparison is missing")?;
    let combine = m.choose(logic);
    let ftz = m.accept("ftz");
    let one = if to_register {
        Some(m.require("u32, s32 or f32", |word| match word {
            "u32" | "s32" => Some(u32::MAX),
            "f32" => Some(1f32.to_bits()),
            _ => None,
        })?)
    } else {
        None
    };
    let ty = m.require("a type to compare", |word| {
        Type::named(word).filter(|ty| ty.bytes() >= 2 && !matches!(ty, Type::F16x2 | Type::BF16x2))
    })?;
    if ftz && !matches!(ty, Type::F32 | Type::F16) {
        return Err(".ftz needs f32 or f16".to_owned());
    }
    let relation =
        relation(word, ty).ok_or_else(|| format!("the comparison .{word} is not one of {ty:?}"))?;
    let (with, operands) = match (combine, operands) {
        (Some(_), [rest @ .., last]) => (condition(d, last)?, rest),
        (None, all) => (
            Condition {
                slot: ALWAYS,
                flip: 0,
            },
            all,
        ),
        _ => return Err("operands are missing".to_owned()),
    };
    let logic = combine.unwrap_or(Logic::And);
    let [dst, a, b] = exactly(operands)?;
    let (a, b) = (d.source(a, ty)?, d.source(b, ty)?);
    if let Some(one) = one {
        return Ok(Compare::SetRegister {
            relation,
            ty,
            ftz,
            logic,
            with,
            one,
            d: d.destination(dst, Class::R32)?,
            a,
            b,
        });
    }
    let mut predicate = |operand: &Operand| match operand {
        Operand::Sink => Ok(None),
        other => d.destination(other, Class::Pred).map(Some),
    };
    let (p, q) = match dst {
        Operand::Pair(p, q) => (predicate(p)?, predicate(q)?),
        other => (predicate(other)?, None),
    };
    Ok(Compare::Set {
        relation,
        ty,
        ftz,
        logic,
        with,
        p,
        q,
        a,
        b,
    })
}

fn select(d: &mut Decoder, m: &mut Modifiers, operands: &[Operand]) -> Decoded<Compare> {
    let ty = m.require("a type", |word| {
        Type::named(word).filter(|ty| ty.bytes() >= 2 && !ty.is_half())
    })?;
    let [dst, a, b, p] = exactly(operands)?;
    let (a, b) = (d.source(a, ty)?, d.source(b, ty)?);
    let p = condition(d, p)?;
    let class = ty.class();
    let d = d.destination(dst, class)?;
    Ok(match class {
        Class::R64 => Compare::Select64 { d, a, b, p },
        _ => Compare::Select32 { d, a, b, p },
    })
}

fn test(d: &mut Decoder, m: &mut Modifiers, operands: &[Operand]) -> Decoded<Compare> {
    let property = m.require("a property", |word| {
        Some(match word {
            "finite" => Property::Finite,
            "infinite" => Property::Infinite,
            "number" => Property::Number,
            "notanumber" => Property::NotANumber,
            "normal" => Property::Normal,
            "subnormal" => Property::Subnormal,
            _ => return None,
        })
    })?;
    let ty = m.require("f32 or f64", |word| {
        Type::named(word).filter(|ty| matches!(ty, Type::F32 | Type::F64))
    })?;
    let [dst, a] = exactly(operands)?;
    Ok(Compare::Test {
        property,
        double: ty == Type::F64,
        a: d.source(a, ty)?,
        d: d.destination(dst, Class::Pred)?,
    })
}

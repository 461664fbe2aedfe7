//! Integer arithmetic, logic and bit fields. Types of 16, 32 and 64 bits; runs in
//! `exec/integer/`.

use crate::emulator::syntax::Operand;

use super::decoder::{Decoded, Decoder, exactly};
use super::types::{Class, Type};
use super::{Modifiers, Op, Slot};

/// An integer type that is computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntType {
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
}

/// What is computed from a, b and c.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Add,
    Sub,
    /// Clamped to the type's range; of s32.
    AddSaturating,
    SubSaturating,
    /// With carry: c is the predicate that is read, `out` whether it is written.
    AddCarry {
        read: bool,
        write: bool,
    },
    SubBorrow {
        read: bool,
        write: bool,
    },
    MulLow,
    MulHigh,
    MulWide,
    MadLow,
    MadHigh,
    MadWide,
    /// c + |a - b|.
    Sad,
    Div,
    Rem,
    Min,
    Max,
    Abs,
    Neg,
    And,
    Or,
    Xor,
    Not,
    /// Logical negation: 1 for 0, else 0.
    CNot,
    Shl,
    Shr,
    FunnelLeft {
        wrap: bool,
    },
    FunnelRight {
        wrap: bool,
    },
    BitExtract,
    /// b is the base, a the field; position and length come from c and e.
    BitInsert {
        length: Slot,
    },
    BitReverse,
    LeadingZeros,
    PopCount,
    FindLeading {
        shift_amount: bool,
    },
    Permute(PermuteMode),
    /// Any function of three bits by its truth table.
    Logic3(u8),
    /// Dot product of four bytes; whether a and b are signed.
    Dot4 {
        a_signed: bool,
        b_signed: bool,
    },
}

/// How `prmt` reads its selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermuteMode {
    Index,
    Forward4,
    Backward4,
    Replicate8,
    EdgeLeft,
    EdgeRight,
    Replicate16,
}

/// `d = operation(a, b, c)`. Slots without a meaning repeat `a`.
#[derive(Clone, Copy, Debug)]
pub struct Integer {
    pub operation: Operation,
    pub ty: IntType,
    pub d: Slot,
    pub a: Slot,
    pub b: Slot,
    pub c: Slot,
}

fn int_type(ty: Type) -> Option<IntType> {
    Some(match ty {
        Type::U16 | Type::B16 => IntType::U16,
        Type::S16 => IntType::S16,
        Type::U32 | Type::B32 => IntType::U32,
        Type::S32 => IntType::S32,
        Type::U64 | Type::B64 => IntType::U64,
        Type::S64 => IntType::S64,
        _ => return None,
    })
}

/// Decodes an integer instruction; the last word is its type.
pub fn decode(
    d: &mut Decoder,
    opcode: &str,
    m: &mut Modifiers,
    operands: &[Operand],
) -> Decoded<Op> {
    match opcode {
        "add" | "sub" | "addc" | "subc" => sum(d, opcode, m, operands),
        "mul" | "mad" => product(d, opcode, m, operands),
        "popc" | "clz" | "bfind" => count(d, opcode, m, operands),
        "bfe" | "bfi" => bit_field(d, opcode, m, operands),
        "shf" | "prmt" | "lop3" | "dp4a" => word32(d, opcode, m, operands),
        "shl" | "shr" => {
            let ty = take_type(m, |ty| opcode == "shr" || ty.is_bits())?;
            let [dst, a, b] = exactly(operands)?;
            let operation = if opcode == "shl" {
                Operation::Shl
            } else {
                Operation::Shr
            };
            // The distance is of 32 bits whatever the type.
            let slots = [d.source(a, ty.0)?, d.source(b, Type::U32)?];
            let dst = d.destination(dst, ty.0.class())?;
            Ok(integer(operation, ty.1, dst, slots[0], slots[1], slots[0]))
        }
        _ => plain(d, opcode, m, operands),
    }
}

fn integer(operation: Operation, ty: IntType, d: Slot, a: Slot, b: Slot, c: Slot) -> Op {
    Op::Integer(Integer {
        operation,
        ty,
        d,
        a,
        b,
        c,
    })
}

fn take_type(m: &mut Modifiers, accept: impl Fn(Type) -> bool) -> Decoded<(Type, IntType)> {
    m.require("an integer type", |word| {
        let ty = Type::named(word)?;
        accept(ty).then_some((ty, int_type(ty)?))
    })
}

fn not_bits(ty: Type) -> bool {
    !ty.is_bits()
}

fn plain(d: &mut Decoder, opcode: &str, m: &mut Modifiers, operands: &[Operand]) -> Decoded<Op> {
    use Operation::*;
    let (operation, count, accept): (_, _, fn(Type) -> bool) = match opcode {
        "div" => (Div, 2, not_bits),
        "rem" => (Rem, 2, not_bits),
        "min" => (Min, 2, not_bits),
        "max" => (Max, 2, not_bits),
        "sad" => (Sad, 3, not_bits),
        "abs" => (Abs, 1, Type::is_signed),
        "neg" => (Neg, 1, Type::is_signed),
        "and" => (And, 2, Type::is_bits),
        "or" => (Or, 2, Type::is_bits),
        "xor" => (Xor, 2, Type::is_bits),
        "not" => (Not, 1, Type::is_bits),
        "cnot" => (CNot, 1, Type::is_bits),
        "brev" => (BitReverse, 1, |ty| matches!(ty, Type::B32 | Type::B64)),
        _ => return Err("the instruction is not supported".to_owned()),
    };
    let (ty, int) = take_type(m, accept)?;
    let (dst, [a, b, c]) = d.destination_and_sources(operands, count, ty)?;
    Ok(integer(operation, int, dst, a, b, c))
}

fn sum(d: &mut Decoder, opcode: &str, m: &mut Modifiers, operands: &[Operand]) -> Decoded<Op> {
    let read = opcode.ends_with('c');
    let saturating = !read && m.accept("sat");
    let write = !saturating && m.accept("cc");
    let (ty, int) = take_type(m, |ty| {
        not_bits(ty) && (!saturating || ty == Type::S32) && (!(read || write) || ty.bytes() >= 4)
    })?;
    let [dst, a, b] = exactly(operands)?;
    let (a, b) = (d.source(a, ty)?, d.source(b, ty)?);
    let dst = d.destination(dst, ty.class())?;
    let add = opcode.starts_with("add");
    let (operation, c) = match (saturating, read || write, add) {
        (true, _, true) => (Operation::AddSaturating, a),
        (true, _, false) => (Operation::SubSaturating, a),
        (_, true, true) => (Operation::AddCarry { read, write }, d.carry()?),
        (_, true, false) => (Operation::SubBorrow { read, write }, d.carry()?),
        (_, _, true) => (Operation::Add, a),
        (_, _, false) => (Operation::Sub, a),
    };
    Ok(integer(operation, int, dst, a, b, c))
}

fn product(d: &mut Decoder, opcode: &str, m: &mut Modifiers, operands: &[Operand]) -> Decoded<Op> {
    use Operation::*;
    let mad = opcode == "mad";
    let operation = m.require("lo, hi or wide", |word| {
        Some(match (word, mad) {
            ("lo", false) => MulLow,
            ("hi", false) => MulHigh,
            ("wide", false) => MulWide,
            ("lo", true) => MadLow,
            ("hi", true) => MadHigh,
            ("wide", true) => MadWide,
            _ => return None,
        })
    })?;
    let wide = matches!(operation, MulWide | MadWide);
    let (ty, int) = take_type(m, |ty| not_bits(ty) && (!wide || ty.bytes() < 8))?;
    let result = match (wide, ty) {
        (true, Type::U16) => Type::U32,
        (true, Type::S16) => Type::S32,
        (true, Type::U32) => Type::U64,
        (true, Type::S32) => Type::S64,
        _ => ty,
    };
    let (dst, a, b, c) = if mad {
        let [dst, a, b, c] = exactly(operands)?;
        (dst, a, b, Some(c))
    } else {
        let [dst, a, b] = exactly(operands)?;
        (dst, a, b, None)
    };
    let (a, b) = (d.source(a, ty)?, d.source(b, ty)?);
    let c = match c {
        Some(c) => d.source(c, result)?,
        None => a,
    };
    let dst = d.destination(dst, result.class())?;
    Ok(integer(operation, int, dst, a, b, c))
}

fn count(d: &mut Decoder, opcode: &str, m: &mut Modifiers, operands: &[Operand]) -> Decoded<Op> {
    let operation = match opcode {
        "popc" => Operation::PopCount,
        "clz" => Operation::LeadingZeros,
        _ => Operation::FindLeading {
            shift_amount: m.accept("shiftamt"),
        },
    };
    let find = opcode == "bfind";
    let (ty, int) = take_type(m, |ty| ty.bytes() >= 4 && ty.is_bits() != find)?;
    let [dst, a] = exactly(operands)?;
    let a = d.source(a, ty)?;
    let dst = d.destination(dst, Class::R32)?;
    Ok(integer(operation, int, dst, a, a, a))
}

fn bit_field(
    d: &mut Decoder,
    opcode: &str,
    m: &mut Modifiers,
    operands: &[Operand],
) -> Decoded<Op> {
    let insert = opcode == "bfi";
    let (ty, int) = take_type(m, |ty| ty.bytes() >= 4 && ty.is_bits() == insert)?;
    if insert {
        let [dst, field, base, position, length] = exactly(operands)?;
        let (a, b) = (d.source(field, ty)?, d.source(base, ty)?);
        let c = d.source(position, Type::U32)?;
        let length = d.source(length, Type::U32)?;
        let dst = d.destination(dst, ty.class())?;
        return Ok(integer(Operation::BitInsert { length }, int, dst, a, b, c));
    }
    let [dst, a, position, length] = exactly(operands)?;
    let a = d.source(a, ty)?;
    let b = d.source(position, Type::U32)?;
    let c = d.source(length, Type::U32)?;
    let dst = d.destination(dst, ty.class())?;
    Ok(integer(Operation::BitExtract, int, dst, a, b, c))
}

/// Instructions of 32 bits alone, with three sources.
fn word32(d: &mut Decoder, opcode: &str, m: &mut Modifiers, operands: &[Operand]) -> Decoded<Op> {
    let mut types = [Type::B32; 3];
    let operation = match opcode {
        "shf" => {
            let left = m.require("l or r", |word| match word {
                "l" => Some(true),
                "r" => Some(false),
                _ => None,
            })?;
            let wrap = m.require("clamp or wrap", |word| match word {
                "wrap" => Some(true),
                "clamp" => Some(false),
                _ => None,
            })?;
            types[2] = Type::U32;
            if left {
                Operation::FunnelLeft { wrap }
            } else {
                Operation::FunnelRight { wrap }
            }
        }
        "dp4a" => {
            let mut signed = || {
                m.require("u32 or s32", |word| match word {
                    "s32" => Some(true),
                    "u32" => Some(false),
                    _ => None,
                })
            };
            let (a_signed, b_signed) = (signed()?, signed()?);
            let [dst, a, b, c] = exactly(operands)?;
            let slots = [a, b, c].map(|source| d.source(source, Type::U32));
            let [a, b, c] = slots;
            let dst = d.destination(dst, Class::R32)?;
            let operation = Operation::Dot4 { a_signed, b_signed };
            return Ok(integer(operation, IntType::U32, dst, a?, b?, c?));
        }
        "prmt" => {
            m.require("b32", |word| (word == "b32").then_some(()))?;
            let mode = m.choose(permute_mode).unwrap_or(PermuteMode::Index);
            let [dst, a, b, c] = exactly(operands)?;
            let slots = [a, b, c].map(|source| d.source(source, Type::B32));
            let [a, b, c] = slots;
            let dst = d.destination(dst, Class::R32)?;
            let operation = Operation::Permute(mode);
            return Ok(integer(operation, IntType::U32, dst, a?, b?, c?));
        }
        _ => {
            m.require("b32", |word| (word == "b32").then_some(()))?;
            let [dst, a, b, c, table] = exactly(operands)?;
            let table = u8::try_from(d.literal(table)?)
                .map_err(|_| "the truth table is beyond 255".to_owned())?;
            let slots = [a, b, c].map(|source| d.source(source, Type::B32));
            let [a, b, c] = slots;
            let dst = d.destination(dst, Class::R32)?;
            return Ok(integer(
                Operation::Logic3(table),
                IntType::U32,
                dst,
                a?,
                b?,
                c?,
            ));
        }
    };
    m.require("b32", |word| (word == "b32").then_some(()))?;
    let [dst, a, b, c] = exactly(operands)?;
    let a = d.source(a, types[0])?;
    let b = d.source(b, types[1])?;
    let c = d.source(c, types[2])?;
    let dst = d.destination(dst, Class::R32)?;
    Ok(integer(operation, IntType::U32, dst, a, b, c))
}

fn permute_mode(word: &str) -> Option<PermuteMode> {
    Some(match word {
        "f4e" => PermuteMode::Forward4,
        "b4e" => PermuteMode::Backward4,
        "rc8" => PermuteMode::Replicate8,
        "ecl" => PermuteMode::EdgeLeft,
        "ecr" => PermuteMode::EdgeRight,
        "rc16" => PermuteMode::Replicate16,
        _ => return None,
    })
}

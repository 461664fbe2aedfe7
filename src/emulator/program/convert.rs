//! Moves and conversions between types; run in `exec/convert.rs`.

use crate::emulator::memory;
use crate::emulator::syntax::Operand;

use super::decoder::{Decoded, Decoder, exactly};
use super::float::Rounding;
use super::integer::{self, IntType, Integer};
use super::types::{Class, Type};
use super::{Modifiers, Op, SINK, Slot, compare};

/// Conversion of one value.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    pub from: Type,
    pub to: Type,
    pub rounding: Rounding,
    /// To an integral value.
    pub integral: bool,
    pub ftz: bool,
    pub saturate: bool,
    pub relu: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Convert {
    Move32 {
        d: Slot,
        a: Slot,
    },
    Move64 {
        d: Slot,
        a: Slot,
    },
    /// 16-bit parts into 32 bits, the lowest first.
    Pack2x16 {
        d: Slot,
        parts: [Slot; 2],
    },
    Pack4x16 {
        d: Slot,
        parts: [Slot; 4],
    },
    Pack2x32 {
        d: Slot,
        parts: [Slot; 2],
    },
    Unpack2x16 {
        parts: [Slot; 2],
        a: Slot,
    },
    Unpack4x16 {
        parts: [Slot; 4],
        a: Slot,
    },
    Unpack2x32 {
        parts: [Slot; 2],
        a: Slot,
    },
    /// The value's conversion, and whether the registers are of the 64-bit file; `short_d` if that
    /// of the result has 16 bits.
    Cast {
        cast: Cast,
        d: Slot,
        wide_d: bool,
        short_d: bool,
        a: Slot,
        wide_a: bool,
    },
    /// Two f32 to a pair of 16-bit numbers, `a` in the upper half.
    CastPair {
        cast: Cast,
        d: Slot,
        a: Slot,
        b: Slot,
    },
}

/// Decodes a move or a conversion.
pub fn decode(
    d: &mut Decoder,
    opcode: &str,
    m: &mut Modifiers,
    operands: &[Operand],
) -> Decoded<Op> {
    match opcode {
        "mov" => mov(d, m, operands),
        "cvta" => cvta(d, m, operands),
        _ => cvt(d, m, operands),
    }
}

fn mov(d: &mut Decoder, m: &mut Modifiers, operands: &[Operand]) -> Decoded<Op> {
    let ty = m.require("a type", |word| {
        Type::named(word).filter(|ty| ty.bytes() != 1 && !ty.is_half())
    })?;
    let [dst, a] = exactly(operands)?;
    let op = match (dst, a) {
        (Operand::Vector(parts), a) => {
            let a = d.source(a, ty)?;
            unpack(d, ty, parts, a)?
        }
        (dst, Operand::Vector(parts)) => {
            let dst = d.destination(dst, ty.class())?;
            pack(d, ty, dst, parts)?
        }
        (dst, a) if ty == Type::Pred => {
            let a = compare::condition(d, a)?;
            let d = d.destination(dst, Class::Pred)?;
            return Ok(Op::Compare(compare::Compare::MovePredicate { d, a }));
        }
        (dst, a) => {
            let a = d.source(a, ty)?;
            let d = d.destination(dst, ty.class())?;
            match ty.class() {
                Class::R64 => Convert::Move64 { d, a },
                _ => Convert::Move32 { d, a },
            }
        }
    };
    Ok(Op::Convert(op))
}

fn pack(d: &mut Decoder, ty: Type, dst: Slot, parts: &[Operand]) -> Decoded<Convert> {
    let part = |ty: Type, d: &mut Decoder| {
        parts
            .iter()
            .map(|part| d.source(part, ty))
            .collect::<Decoded<Vec<_>>>()
    };
    match (ty.class(), parts.len()) {
        (Class::R32, 2) => {
            let parts = part(Type::B16, d)?;
            Ok(Convert::Pack2x16 {
                d: dst,
                parts: [parts[0], parts[1]],
            })
        }
        (Class::R64, 4) => {
            let parts = part(Type::B16, d)?;
            Ok(Convert::Pack4x16 {
                d: dst,
                parts: [parts[0], parts[1], parts[2], parts[3]],
            })
        }
        (Class::R64, 2) => {
            let parts = part(Type::B32, d)?;
            Ok(Convert::Pack2x32 {
                d: dst,
                parts: [parts[0], parts[1]],
            })
        }
        (class, count) => Err(format!("{count} parts do not make a value of {class:?}")),
    }
}

fn unpack(d: &mut Decoder, ty: Type, parts: &[Operand], a: Slot) -> Decoded<Convert> {
    let part = |class: Class, d: &mut Decoder| {
        parts
            .iter()
            .map(|part| match part {
                Operand::Sink => Ok(SINK),
                part => d.destination(part, class),
            })
            .collect::<Decoded<Vec<_>>>()
    };
    match (ty.class(), parts.len()) {
        (Class::R32, 2) => {
            let parts = part(Class::R16, d)?;
            Ok(Convert::Unpack2x16 {
                parts: [parts[0], parts[1]],
                a,
            })
        }
        (Class::R64, 4) => {
            let parts = part(Class::R16, d)?;
            Ok(Convert::Unpack4x16 {
                parts: [parts[0], parts[1], parts[2], parts[3]],
                a,
            })
        }
        (Class::R64, 2) => {
            let parts = part(Class::R32, d)?;
            Ok(Convert::Unpack2x32 {
                parts: [parts[0], parts[1]],
                a,
            })
        }
        (class, count) => Err(format!("a value of {class:?} has not {count} parts")),
    }
}

fn cvta(d: &mut Decoder, m: &mut Modifiers, operands: &[Operand]) -> Decoded<Op> {
    let to = m.accept("to");
    let window = m.require("a state space", |word| {
        Some(match word {
            "global" | "const" => 0,
            "shared" | "shared::cta" => memory::SHARED_WINDOW,
            "local" => memory::LOCAL_WINDOW,
            "param" => memory::PARAM_WINDOW,
            _ => return None,
        })
    })?;
    m.require("u64", |word| (word == "u64").then_some(()))?;
    let [dst, a] = exactly(operands)?;
    let a = d.source(a, Type::U64)?;
    let dst = d.destination(dst, Class::R64)?;
    if window == 0 {
        return Ok(Op::Convert(Convert::Move64 { d: dst, a }));
    }
    let b = d.constant(Class::R64, memory::window_base(window))?;
    Ok(Op::Integer(Integer {
        operation: if to {
            integer::Operation::Sub
        } else {
            integer::Operation::Add
        },
        ty: IntType::U64,
        d: dst,
        a,
        b,
        c: a,
    }))
}

/// A register of at least the type's size, or a constant; and whether it is of the 64-bit file.
fn loose_source(d: &mut Decoder, operand: &Operand, ty: Type) -> Decoded<(Slot, bool)> {
    if let Operand::Name(name) = operand
        && let Some(class) = d.class(name)
    {
        if class == Class::Pred || class.bytes() < ty.bytes() {
            return Err(format!("{name} is too narrow for {ty:?}"));
        }
        return Ok((d.read_register(name, class)?, class == Class::R64));
    }
    Ok((d.source(operand, ty)?, ty.class() == Class::R64))
}

fn cvt(d: &mut Decoder, m: &mut Modifiers, operands: &[Operand]) -> Decoded<Op> {
    let mode = m.choose(|word| {
        Some(match word {
            "rn" => (Rounding::Nearest, false),
            "rz" => (Rounding::Zero, false),
            "rm" => (Rounding::Down, false),
            "rp" => (Rounding::Up, false),
            "rni" => (Rounding::Nearest, true),
            "rzi" => (Rounding::Zero, true),
            "rmi" => (Rounding::Down, true),
            "rpi" => (Rounding::Up, true),
            _ => return None,
        })
    });
    let relu = m.accept("relu");
    let ftz = m.accept("ftz");
    let saturate = m.accept("sat");
    let convertible = |word: &str| {
        Type::named(word).filter(|ty| *ty != Type::Pred && (!ty.is_bits() || word == "b16"))
    };
    let to = m.require("the type of the result", convertible)?;
    let from = m.require("the type of the source", convertible)?;
    let (rounding, integral) = mode.unwrap_or_default();
    let cast = |to: Type| Cast {
        from,
        to,
        rounding,
        integral,
        ftz,
        saturate,
        relu,
    };
    if matches!(to, Type::F16x2 | Type::BF16x2) {
        if from != Type::F32 || integral || mode.is_none() || ftz || saturate {
            return Err("this conversion to a pair is not supported".to_owned());
        }
        if !matches!(rounding, Rounding::Nearest | Rounding::Zero) {
            return Err("pairs are rounded by .rn or .rz".to_owned());
        }
        let [dst, a, b] = exactly(operands)?;
        let (a, b) = (d.source(a, from)?, d.source(b, from)?);
        let half = if to == Type::F16x2 {
            Type::F16
        } else {
            Type::BF16
        };
        return Ok(Op::Convert(Convert::CastPair {
            cast: cast(half),
            d: d.destination(dst, Class::R32)?,
            a,
            b,
        }));
    }
    check(&cast(to), mode.is_some())?;
    let [dst, a] = exactly(operands)?;
    let (a, wide_a) = loose_source(d, a, from)?;
    let (dst, class) = match dst {
        Operand::Name(name) => {
            let (class, slot) = d.any_register(name)?;
            if class == Class::Pred || class.bytes() < to.bytes() {
                return Err(format!("{name} is too narrow for {to:?}"));
            }
            if to.is_float() && class != to.class() {
                return Err(format!("{name} is no register for {to:?}"));
            }
            (slot, class)
        }
        other => (d.destination(other, to.class())?, to.class()),
    };
    Ok(Op::Convert(Convert::Cast {
        cast: cast(to),
        d: dst,
        wide_d: class == Class::R64,
        short_d: class == Class::R16,
        a,
        wide_a,
    }))
}

/// What the ISA says about roundings and types.
fn check(cast: &Cast, has_mode: bool) -> Decoded<()> {
    let (from, to) = (cast.from, cast.to);
    let packed = matches!(from, Type::F16x2 | Type::BF16x2);
    if packed || from.is_bits() || to.is_bits() {
        return Err("these types are not converted".to_owned());
    }
    let needed = match (from.is_float(), to.is_float()) {
        (false, false) => Some(false),
        (true, false) => (has_mode && cast.integral).then_some(true),
        (false, true) => (has_mode && !cast.integral).then_some(true),
        (true, true) if from == to => (!has_mode || cast.integral).then_some(has_mode),
        (true, true) if to.bytes() < from.bytes() || to.bytes() == from.bytes() => {
            (has_mode && !cast.integral).then_some(true)
        }
        (true, true) => Some(false),
    };
    if needed != Some(has_mode) {
        return Err("the rounding mode does not fit the types".to_owned());
    }
    let float32 = from == Type::F32 || to == Type::F32;
    if cast.ftz && !float32 {
        return Err(".ftz needs f32".to_owned());
    }
    if cast.relu && !(matches!(to, Type::F16 | Type::BF16) && from == Type::F32) {
        return Err(".relu needs a result of f16 or bf16 and a source of f32".to_owned());
    }
    let towards_infinity = matches!(cast.rounding, Rounding::Down | Rounding::Up);
    if towards_infinity && (cast.relu || to == Type::BF16) && !cast.integral {
        return Err(".relu and bf16 need .rn or .rz".to_owned());
    }
    if cast.relu && (cast.ftz || cast.saturate) || cast.ftz && to == Type::BF16 {
        return Err("these modifiers are not supported together".to_owned());
    }
    if cast.saturate && to == Type::BF16 {
        return Err(".sat is not supported for bf16".to_owned());
    }
    if (from == Type::BF16 && !matches!(to, Type::F32 | Type::BF16))
        || (to == Type::BF16 && !matches!(from, Type::F32 | Type::BF16))
    {
        return Err("bf16 is converted from and to f32 alone".to_owned());
    }
    Ok(())
}

//! Floating-point arithmetic: f32, f64, f16, bf16 and their pairs; runs in `exec/float.rs`.

use crate::emulator::syntax::Operand;

use super::decoder::{Decoded, Decoder};
use super::types::Type;
use super::{Modifiers, Op, Slot};

/// A floating-point type that is computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatType {
    F32,
    F64,
    F16,
    BF16,
    F16x2,
    BF16x2,
}

/// To which neighbour a result that lies between two numbers goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// Nearest, ties to even.
    #[default]
    Nearest,
    Zero,
    Down,
    Up,
}

/// What is computed from a, b and c.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Add,
    Sub,
    Mul,
    Fma,
    Div,
    /// `nan`: a NaN in any source gives a NaN.
    Min {
        nan: bool,
    },
    Max {
        nan: bool,
    },
    Abs,
    Neg,
    Sqrt,
    Reciprocal,
    ReciprocalSqrt,
    Exp2,
    Log2,
    Sin,
    Cos,
    Tanh,
    /// Sign of a, magnitude of b.
    CopySign,
}

/// `d = operation(a, b, c)`. Slots without a meaning repeat `a`.
#[derive(Clone, Copy, Debug)]
pub struct Float {
    pub operation: Operation,
    pub ty: FloatType,
    pub rounding: Rounding,
    /// Subnormal sources and results become zeros of the same sign.
    pub ftz: bool,
    /// Clamped to [0, 1], NaN to 0.
    pub saturate: bool,
    /// Negative results become 0.
    pub relu: bool,
    pub d: Slot,
    pub a: Slot,
    pub b: Slot,
    pub c: Slot,
}

/// A rounding modifier of arithmetic.
pub fn rounding(word: &str) -> Option<Rounding> {
    Some(match word {
        "rn" => Rounding::Nearest,
        "rz" => Rounding::Zero,
        "rm" => Rounding::Down,
        "rp" => Rounding::Up,
        _ => return None,
    })
}

fn float_type(word: &str) -> Option<(Type, FloatType)> {
    let ty = Type::named(word)?;
    Some((
        ty,
        match ty {
            Type::F32 => FloatType::F32,
            Type::F64 => FloatType::F64,
            Type::F16 => FloatType::F16,
            Type::BF16 => FloatType::BF16,
            Type::F16x2 => FloatType::F16x2,
            Type::BF16x2 => FloatType::BF16x2,
            _ => return None,
        },
    ))
}

/// Decodes a floating-point instruction and says how many operations it counts.
pub fn decode(
    d: &mut Decoder,
    opcode: &str,
    m: &mut Modifiers,
    operands: &[Operand],
) -> Decoded<(Op, u8)> {
    use Operation::*;
    let (mut operation, sources, flop) = match opcode {
        "add" => (Add, 2, 1),
        "sub" => (Sub, 2, 1),
        "mul" => (Mul, 2, 1),
        "fma" | "mad" => (Fma, 3, 2),
        "div" => (Div, 2, 1),
        "min" => (Min { nan: false }, 2, 1),
        "max" => (Max { nan: false }, 2, 1),
        "abs" => (Abs, 1, 0),
        "neg" => (Neg, 1, 0),
        "sqrt" => (Sqrt, 1, 1),
        "rcp" => (Reciprocal, 1, 1),
        "rsqrt" => (ReciprocalSqrt, 1, 1),
        "ex2" => (Exp2, 1, 1),
        "lg2" => (Log2, 1, 1),
        "sin" => (Sin, 1, 1),
        "cos" => (Cos, 1, 1),
        "tanh" => (Tanh, 1, 1),
        "copysign" => (CopySign, 2, 0),
        _ => return Err("the instruction is not supported".to_owned()),
    };
    let rounds = matches!(operation, Add | Sub | Mul | Fma | Div | Sqrt | Reciprocal);
    let approximate = matches!(
        operation,
        Div | Sqrt | Reciprocal | ReciprocalSqrt | Exp2 | Log2 | Sin | Cos | Tanh
    ) && (m.accept("approx") || operation == Div && m.accept("full"));
    let mode = if rounds && !approximate {
        m.choose(rounding)
    } else {
        None
    };
    let ftz = !matches!(operation, Tanh | CopySign) && m.accept("ftz");
    let relu = matches!(operation, Fma) && m.accept("relu");
    let saturate = matches!(operation, Add | Sub | Mul | Fma) && !relu && m.accept("sat");
    if let Min { nan } | Max { nan } = &mut operation {
        *nan = m.accept("NaN");
    }
    let (ty, float) = m.require("a floating-point type", float_type)?;
    let allowed = match float {
        FloatType::F32 => !relu,
        FloatType::F64 => {
            let transcendental = matches!(operation, Exp2 | Log2 | Sin | Cos | Tanh);
            let approximated = approximate && operation != ReciprocalSqrt;
            let gross = approximate && ftz && matches!(operation, Reciprocal | ReciprocalSqrt);
            gross
                || !(ftz || saturate || relu || transcendental || approximated)
                    && mode.unwrap_or_default() == Rounding::Nearest
                    && !matches!(operation, Min { nan: true } | Max { nan: true })
        }
        FloatType::F16 | FloatType::F16x2 => {
            matches!(
                operation,
                Add | Sub | Mul | Fma | Min { .. } | Max { .. } | Abs | Neg | Exp2 | Tanh
            ) && mode.unwrap_or_default() == Rounding::Nearest
                && opcode != "mad"
                && !(ftz && operation == Exp2)
        }
        FloatType::BF16 | FloatType::BF16x2 => {
            matches!(
                operation,
                Add | Sub | Mul | Fma | Min { .. } | Max { .. } | Abs | Neg | Exp2 | Tanh
            ) && mode.unwrap_or_default() == Rounding::Nearest
                && opcode != "mad"
                && !saturate
                && ftz == (operation == Exp2)
        }
    };
    let needs_mode =
        matches!(operation, Fma) || matches!(operation, Div | Sqrt | Reciprocal) && !approximate;
    if needs_mode && mode.is_none() {
        return Err("a rounding mode is missing".to_owned());
    }
    if matches!(operation, ReciprocalSqrt | Exp2 | Log2 | Sin | Cos | Tanh) && !approximate {
        return Err(".approx is missing".to_owned());
    }
    if !allowed {
        return Err("this combination of modifiers and type is not supported".to_owned());
    }
    let (dst, [a, b, c]) = d.destination_and_sources(operands, sources, ty)?;
    let pair = matches!(float, FloatType::F16x2 | FloatType::BF16x2);
    let float = Float {
        operation,
        ty: float,
        rounding: mode.unwrap_or_default(),
        ftz,
        saturate,
        relu,
        d: dst,
        a,
        b,
        c,
    };
    let op = if approximate {
        Op::Approximate(float)
    } else {
        Op::Float(float)
    };
    Ok((op, if pair { 2 * flop } else { flop }))
}

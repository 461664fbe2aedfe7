//! Atomic operations; run in `exec/atomics.rs`.

use crate::emulator::syntax::Operand;

use super::decoder::{Decoded, Decoder};
use super::memory::{Address, Order, Space, address, scope_word, space};
use super::types::Type;
use super::{Modifiers, Op, SINK, Slot};

/// What becomes of the old value and `b` (and `c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Exchange,
    /// `c` if the old value is `b`.
    CompareSwap,
    /// To 0 after `b`.
    Increment,
    /// To `b` from 0 or beyond `b`.
    Decrement,
}

#[derive(Clone, Copy, Debug)]
pub struct Atomic {
    pub operation: Operation,
    pub space: Space,
    pub order: Order,
    pub ty: Type,
    pub address: Address,
    /// Takes the old value; [`SINK`] if nothing reads it.
    pub d: Slot,
    pub b: Slot,
    pub c: Slot,
}

impl Atomic {
    /// Whether the outcome depends on the order in which blocks get there.
    pub fn depends_on_order(&self) -> bool {
        let sums_floats = self.operation == Operation::Add && self.ty.is_float();
        let overwrites = matches!(self.operation, Operation::Exchange | Operation::CompareSwap);
        // Memory shared by blocks is atomic in words of 32 bits.
        let wide = self.ty.bytes() != 4;
        self.space != Space::Shared && (self.d != SINK || sums_floats || overwrites || wide)
    }
}

/// Decodes `atom` or `red`.
pub fn decode(
    d: &mut Decoder,
    opcode: &str,
    m: &mut Modifiers,
    operands: &[Operand],
) -> Decoded<Op> {
    let order = m
        .choose(|word| {
            Some(match word {
                "relaxed" => Order::Strong,
                "acquire" | "acq_rel" if opcode == "atom" => Order::Acquire,
                "release" => Order::Release,
                _ => return None,
            })
        })
        .unwrap_or(Order::Strong);
    let scoped = m.choose(scope_word).is_some();
    let mut space = space(m);
    if !matches!(space, Space::Generic | Space::Global | Space::Shared) {
        return Err("atomic operations are of global and shared memory".to_owned());
    }
    // The scope may stand behind the space too, as older compilers wrote it.
    if !scoped {
        m.choose(scope_word);
    }
    let operation = m.require("an atomic operation", |word| {
        Some(match word {
            "add" => Operation::Add,
            "min" => Operation::Min,
            "max" => Operation::Max,
            "and" => Operation::And,
            "or" => Operation::Or,
            "xor" => Operation::Xor,
            "exch" if opcode == "atom" => Operation::Exchange,
            "cas" if opcode == "atom" => Operation::CompareSwap,
            "inc" => Operation::Increment,
            "dec" => Operation::Decrement,
            _ => return None,
        })
    })?;
    let noftz = m.accept("noftz");
    let ty = m.require("a type of this operation", |word| {
        Type::named(word).filter(|&ty| allowed(operation, ty))
    })?;
    if noftz != matches!(ty, Type::F16 | Type::BF16 | Type::F16x2 | Type::BF16x2) {
        return Err(".noftz goes with f16 and bf16".to_owned());
    }
    let (dst, operands) = if opcode == "red" {
        (None, operands)
    } else {
        let (dst, rest) = operands.split_first().ok_or("it takes operands")?;
        (Some(dst), rest)
    };
    let wanted = if operation == Operation::CompareSwap {
        3
    } else {
        2
    };
    let (Some(at), Some(b), true) = (operands.first(), operands.get(1), operands.len() == wanted)
    else {
        return Err("the number of operands does not fit".to_owned());
    };
    let address = address(d, at, &mut space, false)?;
    let b = d.source(b, ty)?;
    let c = match operands.get(2) {
        Some(c) => d.source(c, ty)?,
        None => b,
    };
    let dst = match dst {
        None | Some(Operand::Sink) => SINK,
        Some(dst) => d.destination(dst, ty.class())?,
    };
    let kernel = d.kernel_mut();
    if space != Space::Global {
        kernel.shared_granule = kernel.shared_granule.min(ty.bytes());
    }
    if space != Space::Shared {
        kernel.global_granule = kernel.global_granule.min(ty.bytes());
    }
    Ok(Op::Atomic(Atomic {
        operation,
        space,
        order,
        ty,
        address,
        d: dst,
        b,
        c,
    }))
}

fn allowed(operation: Operation, ty: Type) -> bool {
    use Operation::*;
    match operation {
        Add => matches!(
            ty,
            Type::U32
                | Type::S32
                | Type::U64
                | Type::S64
                | Type::F32
                | Type::F64
                | Type::F16
                | Type::F16x2
                | Type::BF16
                | Type::BF16x2
        ),
        Min | Max => matches!(ty, Type::U32 | Type::S32 | Type::U64 | Type::S64),
        And | Or | Xor | Exchange => matches!(ty, Type::B32 | Type::B64),
        CompareSwap => matches!(ty, Type::B16 | Type::B32 | Type::B64),
        Increment | Decrement => ty == Type::U32,
    }
}

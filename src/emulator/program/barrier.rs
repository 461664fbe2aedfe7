//! Barriers of a block and fences; run in `exec/barrier.rs`.

use crate::emulator::syntax::Operand;

use super::compare::{Condition, condition};
use super::decoder::{Decoded, Decoder, exactly};
use super::types::{Class, Type};
use super::{Modifiers, Op, Slot, warp};

/// What the threads at a barrier find out together.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    Nothing,
    Count { d: Slot, a: Condition },
    And { d: Slot, a: Condition },
    Or { d: Slot, a: Condition },
}

#[derive(Clone, Copy, Debug)]
pub enum Barrier {
    Sync {
        /// Register of the barrier's number.
        id: Slot,
        /// Register of the number of threads; all of the block if absent.
        count: Option<Slot>,
        /// Whether a warp must arrive as a whole.
        aligned: bool,
        outcome: Outcome,
    },
    Arrive {
        id: Slot,
        count: Slot,
        aligned: bool,
    },
    /// Orders the accesses of a thread; as other blocks see them if `wide`.
    Fence { wide: bool },
}

/// Decodes a barrier or a fence.
pub fn decode(
    d: &mut Decoder,
    opcode: &str,
    m: &mut Modifiers,
    operands: &[Operand],
) -> Decoded<Op> {
    match opcode {
        "membar" => {
            let wide = m.require("a scope", |word| match word {
                "cta" => Some(false),
                "gl" | "sys" => Some(true),
                _ => None,
            })?;
            exactly::<0>(operands)?;
            return Ok(Op::Barrier(Barrier::Fence { wide }));
        }
        "fence" => {
            m.choose(|word| matches!(word, "sc" | "acq_rel").then_some(()));
            let wide = !matches!(m.peek(), Some("cta" | "cluster"));
            m.require("a scope", super::memory::scope_word)?;
            exactly::<0>(operands)?;
            return Ok(Op::Barrier(Barrier::Fence { wide }));
        }
        _ => {}
    }
    if opcode == "bar" && m.accept("warp") {
        m.require("sync", |word| (word == "sync").then_some(()))?;
        let [members] = exactly(operands)?;
        let members = d.source(members, Type::B32)?;
        return Ok(Op::Warp(warp::Warp::Sync { members }));
    }
    m.accept("cta");
    let kind = m.take().ok_or("sync, arrive or red is missing")?;
    let aligned = opcode == "bar" || m.peek() == Some("aligned");
    if opcode == "barrier" {
        m.accept("aligned");
    }
    match kind {
        "sync" => {
            let (id, count) = match operands {
                [id] => (id, None),
                [id, count] => (id, Some(count)),
                _ => return Err("it takes a barrier and perhaps a number of threads".to_owned()),
            };
            sync(d, id, count, aligned, Outcome::Nothing)
        }
        "arrive" => {
            let [id, count] = exactly(operands)?;
            Ok(Op::Barrier(Barrier::Arrive {
                id: d.source(id, Type::U32)?,
                count: d.source(count, Type::U32)?,
                aligned,
            }))
        }
        "red" => reduce(d, m, operands, aligned),
        other => Err(format!(".{other} is not supported")),
    }
}

fn sync(
    d: &mut Decoder,
    id: &Operand,
    count: Option<&Operand>,
    aligned: bool,
    outcome: Outcome,
) -> Decoded<Op> {
    Ok(Op::Barrier(Barrier::Sync {
        id: d.source(id, Type::U32)?,
        count: match count {
            Some(count) => Some(d.source(count, Type::U32)?),
            None => None,
        },
        aligned,
        outcome,
    }))
}

fn reduce(
    d: &mut Decoder,
    m: &mut Modifiers,
    operands: &[Operand],
    mut aligned: bool,
) -> Decoded<Op> {
    let name = m.take().ok_or("popc, and or or is missing")?;
    aligned = aligned || m.accept("aligned");
    let ty = if name == "popc" { "u32" } else { "pred" };
    m.require(ty, |word| (word == ty).then_some(()))?;
    let (dst, id, count, a) = match operands {
        [dst, id, a] => (dst, id, None, a),
        [dst, id, count, a] => (dst, id, Some(count), a),
        _ => return Err("the number of operands does not fit".to_owned()),
    };
    let a = condition(d, a)?;
    let outcome = match name {
        "popc" => Outcome::Count {
            d: d.destination(dst, Class::R32)?,
            a,
        },
        "and" => Outcome::And {
            d: d.destination(dst, Class::Pred)?,
            a,
        },
        "or" => Outcome::Or {
            d: d.destination(dst, Class::Pred)?,
            a,
        },
        other => return Err(format!(".{other} is not supported")),
    };
    sync(d, id, count, aligned, outcome)
}

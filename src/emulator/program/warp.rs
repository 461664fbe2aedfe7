//! Exchanges between the lanes of a warp; run in `exec/warp.rs`.

use crate::emulator::syntax::Operand;

use super::compare::{Condition, condition};
use super::decoder::{Decoded, Decoder, exactly};
use super::types::{Class, Type};
use super::{Modifiers, Op, Slot};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vote {
    All,
    Any,
    Uniform,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    Add,
    MinUnsigned,
    MaxUnsigned,
    MinSigned,
    MaxSigned,
    And,
    Or,
    Xor,
}

/// One exchange. `members` is the register of the mask of the lanes that take part.
#[derive(Clone, Copy, Debug)]
pub enum Warp {
    Shuffle {
        mode: Shuffle,
        d: Slot,
        /// Whether the source lane was in range.
        p: Option<Slot>,
        a: Slot,
        b: Slot,
        c: Slot,
        members: Slot,
    },
    Vote {
        vote: Vote,
        d: Slot,
        a: Condition,
        members: Slot,
    },
    Ballot {
        d: Slot,
        a: Condition,
        members: Slot,
    },
    MatchAny {
        d: Slot,
        a: Slot,
        wide: bool,
        members: Slot,
    },
    MatchAll {
        d: Slot,
        p: Option<Slot>,
        a: Slot,
        wide: bool,
        members: Slot,
    },
    Reduce {
        reduction: Reduction,
        d: Slot,
        a: Slot,
        members: Slot,
    },
    Elect {
        d: Option<Slot>,
        p: Slot,
        members: Slot,
    },
    /// `bar.warp.sync`.
    Sync {
        members: Slot,
    },
    ActiveMask {
        d: Slot,
    },
}

impl Warp {
    /// The register of the member mask.
    pub fn members(&self) -> Option<Slot> {
        match *self {
            Self::Shuffle { members, .. }
            | Self::Vote { members, .. }
            | Self::Ballot { members, .. }
            | Self::MatchAny { members, .. }
            | Self::MatchAll { members, .. }
            | Self::Reduce { members, .. }
            | Self::Elect { members, .. }
            | Self::Sync { members } => Some(members),
            Self::ActiveMask { .. } => None,
        }
    }
}

fn word(m: &mut Modifiers, wanted: &'static str) -> Decoded<()> {
    m.require(wanted, |word| (word == wanted).then_some(()))
}

/// `d|p`, or `d` alone.
fn pair(operand: &Operand) -> (&Operand, Option<&Operand>) {
    match operand {
        Operand::Pair(d, p) => (d, Some(p)),
        d => (d, None),
    }
}

/// Decodes an exchange.
pub fn decode(
    d: &mut Decoder,
    opcode: &str,
    m: &mut Modifiers,
    operands: &[Operand],
) -> Decoded<Op> {
    Ok(Op::Warp(match opcode {
        "shfl" => shuffle(d, m, operands)?,
        "vote" => vote(d, m, operands)?,
        "match" => matching(d, m, operands)?,
        "redux" => reduce(d, m, operands)?,
        "elect" => {
            word(m, "sync")?;
            let [dst, members] = exactly(operands)?;
            let (dst, p) = pair(dst);
            let p = p.ok_or("elect gives d|p")?;
            Warp::Elect {
                members: d.source(members, Type::B32)?,
                d: match dst {
                    Operand::Sink => None,
                    dst => Some(d.destination(dst, Class::R32)?),
                },
                p: d.destination(p, Class::Pred)?,
            }
        }
        "activemask" => {
            word(m, "b32")?;
            let [dst] = exactly(operands)?;
            let d = d.destination(dst, Class::R32)?;
            Warp::ActiveMask { d }
        }
        _ => return Err("the instruction is not supported".to_owned()),
    }))
}

fn shuffle(d: &mut Decoder, m: &mut Modifiers, operands: &[Operand]) -> Decoded<Warp> {
    word(m, "sync")?;
    let mode = m.require("a mode", |word| {
        Some(match word {
            "up" => Shuffle::Up,
            "down" => Shuffle::Down,
            "bfly" => Shuffle::Butterfly,
            "idx" => Shuffle::Index,
            _ => return None,
        })
    })?;
    word(m, "b32")?;
    let [dst, a, b, c, members] = exactly(operands)?;
    let (dst, p) = pair(dst);
    let [a, b, c, members] = [a, b, c, members].map(|source| d.source(source, Type::B32));
    let (a, b, c, members) = (a?, b?, c?, members?);
    Ok(Warp::Shuffle {
        mode,
        p: match p {
            Some(p) => Some(d.destination(p, Class::Pred)?),
            None => None,
        },
        d: d.destination(dst, Class::R32)?,
        a,
        b,
        c,
        members,
    })
}

fn vote(d: &mut Decoder, m: &mut Modifiers, operands: &[Operand]) -> Decoded<Warp> {
    word(m, "sync")?;
    let vote = m.require("a mode", |word| {
        Some(match word {
            "all" => Some(Vote::All),
            "any" => Some(Vote::Any),
            "uni" => Some(Vote::Uniform),
            "ballot" => None,
            _ => return None,
        })
    })?;
    word(m, if vote.is_some() { "pred" } else { "b32" })?;
    let [dst, a, members] = exactly(operands)?;
    let a = condition(d, a)?;
    let members = d.source(members, Type::B32)?;
    Ok(match vote {
        Some(vote) => Warp::Vote {
            vote,
            d: d.destination(dst, Class::Pred)?,
            a,
            members,
        },
        None => Warp::Ballot {
            d: d.destination(dst, Class::R32)?,
            a,
            members,
        },
    })
}

fn matching(d: &mut Decoder, m: &mut Modifiers, operands: &[Operand]) -> Decoded<Warp> {
    let all = m.require("all or any", |word| match word {
        "all" => Some(true),
        "any" => Some(false),
        _ => None,
    })?;
    word(m, "sync")?;
    let ty = m.require("b32 or b64", |word| match word {
        "b32" => Some(Type::B32),
        "b64" => Some(Type::B64),
        _ => None,
    })?;
    let [dst, a, members] = exactly(operands)?;
    let a = d.source(a, ty)?;
    let members = d.source(members, Type::B32)?;
    let wide = ty == Type::B64;
    let (dst, p) = pair(dst);
    let p = match p {
        Some(_) if !all => return Err("match.any gives no predicate".to_owned()),
        Some(p) => Some(d.destination(p, Class::Pred)?),
        None => None,
    };
    let d = d.destination(dst, Class::R32)?;
    Ok(if all {
        Warp::MatchAll {
            d,
            p,
            a,
            wide,
            members,
        }
    } else {
        Warp::MatchAny {
            d,
            a,
            wide,
            members,
        }
    })
}

fn reduce(d: &mut Decoder, m: &mut Modifiers, operands: &[Operand]) -> Decoded<Warp> {
    word(m, "sync")?;
    let name = m.take().ok_or("an operation is missing")?;
    let ty = m.take().ok_or("a type is missing")?;
    let reduction = match (name, ty) {
        ("add", "u32" | "s32") => Reduction::Add,
        ("min", "u32") => Reduction::MinUnsigned,
        ("max", "u32") => Reduction::MaxUnsigned,
        ("min", "s32") => Reduction::MinSigned,
        ("max", "s32") => Reduction::MaxSigned,
        ("and", "b32") => Reduction::And,
        ("or", "b32") => Reduction::Or,
        ("xor", "b32") => Reduction::Xor,
        _ => return Err(format!(".{name}.{ty} is not supported")),
    };
    let [dst, a, members] = exactly(operands)?;
    let a = d.source(a, Type::B32)?;
    let members = d.source(members, Type::B32)?;
    let d = d.destination(dst, Class::R32)?;
    Ok(Warp::Reduce {
        reduction,
        d,
        a,
        members,
    })
}

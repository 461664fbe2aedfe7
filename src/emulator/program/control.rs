//! Branches and the ends of threads; run in `exec/warp_loop.rs`.

use crate::emulator::syntax::Operand;

use super::decoder::{Decoded, Decoder, exactly};
use super::types::Type;
use super::{Modifiers, Op, Slot};

#[derive(Clone, Debug)]
pub enum Control {
    /// To an index of the code.
    Branch { target: u32 },
    /// To one of several, picked by a register.
    BranchIndexed { index: Slot, targets: Box<[u32]> },
    /// The thread ends.
    Exit,
    /// The launch ends with a finding.
    Trap { assertion: bool },
    /// Nothing.
    Nop,
}

impl Control {
    /// All targets, to be replaced by indices once they are known.
    pub fn targets(&mut self) -> impl Iterator<Item = &mut u32> {
        match self {
            Self::Branch { target } => std::slice::from_mut(target).iter_mut(),
            Self::BranchIndexed { targets, .. } => targets.iter_mut(),
            _ => [].iter_mut(),
        }
    }
}

/// Decodes a branch or an end. Targets are labels still.
pub fn decode(
    d: &mut Decoder,
    opcode: &str,
    m: &mut Modifiers,
    operands: &[Operand],
) -> Decoded<Op> {
    let name = |operand: &Operand| match operand {
        Operand::Name(name) => Ok(name.clone()),
        other => Err(format!("{other:?} is no label")),
    };
    Ok(Op::Control(match opcode {
        "bra" => {
            m.accept("uni");
            let [target] = exactly(operands)?;
            let target = d.label(&name(target)?)?;
            Control::Branch { target }
        }
        "brx" => {
            m.require("idx", |word| (word == "idx").then_some(()))?;
            m.accept("uni");
            let [index, list] = exactly(operands)?;
            Control::BranchIndexed {
                index: d.source(index, Type::U32)?,
                targets: d.branch_targets(&name(list)?)?.into(),
            }
        }
        "exit" => Control::Exit,
        "trap" | "brkpt" => Control::Trap { assertion: false },
        // A pause is of no consequence for what a kernel computes.
        "nanosleep" => {
            m.require("u32", |word| (word == "u32").then_some(()))?;
            let [time] = exactly(operands)?;
            d.source(time, Type::U32)?;
            Control::Nop
        }
        _ => return Err("the instruction is not supported".to_owned()),
    }))
}

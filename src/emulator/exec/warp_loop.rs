//! Runs one warp until it must wait, ends, or its turn is over.
//!
//! Lanes that diverge become splits. The split with the lowest program counter goes first and
//! merges with those that it meets, which brings lanes together again at the latest where their
//! paths join.

use crate::emulator::finding::FindingKind;
use crate::emulator::program::control::Control;
use crate::emulator::program::{Instruction, Op};

use super::context::{Context, Stop};
use super::registers::lanes;
use super::warp_state::{Split, Waiting, WarpState};
use super::{
    approximate, async_copy, atomics, barrier, compare, convert, float, integer, memory, tensor,
    warp,
};

/// Why a warp has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Its turn is over.
    Turn,
    /// All of its lanes wait.
    Waiting,
    /// All of its lanes have ended.
    Done,
    /// It was the last to arrive at this barrier.
    Complete(u8),
}

/// What the lanes that executed an instruction do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    GoOn,
    /// Wait here for other lanes of the warp.
    Lanes,
    /// Wait here for the block.
    Barrier(u8),
    /// Wait here for the block, which is complete with them.
    CompleteHere(u8),
    /// Go on; the barrier is complete.
    CompleteAndGoOn(u8),
}

/// Runs a warp for at most `turn` instructions.
pub fn run<const WIDE: bool>(
    context: &mut Context,
    state: &mut WarpState,
    turn: u64,
) -> Result<Pause, Stop> {
    #[cfg(target_arch = "x86_64")]
    if WIDE {
        #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
        fn wide(context: &mut Context, state: &mut WarpState, turn: u64) -> Result<Pause, Stop> {
            run_here::<true>(context, state, turn)
        }
        // SAFETY: `WIDE` is chosen only where the CPU has all of these features.
        return unsafe { wide(context, state, turn) };
    }
    run_here::<WIDE>(context, state, turn)
}

#[inline(always)]
fn run_here<const WIDE: bool>(
    context: &mut Context,
    state: &mut WarpState,
    turn: u64,
) -> Result<Pause, Stop> {
    context.warp = state.index;
    let turn = turn.min(context.budget);
    let mut left = turn;
    let result = splits::<WIDE>(context, state, &mut left);
    context.budget -= turn - left;
    context.counters.warp_instructions += turn - left;
    if result? == Pause::Turn && context.budget == 0 {
        let limit = context.launch.options.instruction_limit;
        let message = format!("the block has executed {limit} warp instructions and not ended");
        context.report(FindingKind::InstructionLimit, None, None, message)?;
    }
    result
}

#[inline(always)]
fn splits<const WIDE: bool>(
    context: &mut Context,
    state: &mut WarpState,
    left: &mut u64,
) -> Result<Pause, Stop> {
    loop {
        let Some(at) = state.lowest() else {
            return stuck(context, state);
        };
        let mut split = state.splits.swap_remove(at);
        // Lanes that wait here have what they waited for: company.
        state.splits.retain(|other| {
            let here = other.pc == split.pc && !matches!(other.waiting, Waiting::Barrier(_));
            if here {
                split.mask |= other.mask;
            }
            !here
        });
        if let Some(pause) = straight::<WIDE>(context, state, split, left)? {
            return Ok(pause);
        }
    }
}

/// No lane can go on.
fn stuck(context: &mut Context, state: &WarpState) -> Result<Pause, Stop> {
    if state.is_done() {
        return Ok(Pause::Done);
    }
    let waits_for_block = |split: &Split| matches!(split.waiting, Waiting::Barrier(_));
    if !state.splits.iter().any(waits_for_block) {
        report_stuck(context, state)?;
    }
    Ok(Pause::Waiting)
}

/// Reports lanes that wait for others of their warp which do not come, if there are any.
pub fn report_stuck(context: &mut Context, state: &WarpState) -> Result<(), Stop> {
    let waiting = |split: &&Split| split.waiting == Waiting::Lanes;
    let Some(split) = state.splits.iter().filter(waiting).min_by_key(|s| s.pc) else {
        return Ok(());
    };
    context.warp = state.index;
    context.pc = split.pc;
    let others = state.live & !split.mask;
    let elsewhere: Vec<_> = state
        .splits
        .iter()
        .filter(|other| other.pc != split.pc)
        .map(|other| {
            let line = context
                .kernel
                .code
                .get(other.pc as usize)
                .map_or(0, |i| i.line);
            format!("lanes {:#010x} at PTX line {line}", other.mask)
        })
        .collect();
    let is_barrier = matches!(
        context.kernel.code.get(split.pc as usize),
        Some(Instruction {
            op: Op::Barrier(_),
            ..
        })
    );
    let kind = if is_barrier {
        FindingKind::BarrierDivergence
    } else {
        FindingKind::MemberMask
    };
    let message = format!(
        "lanes {:#010x} wait for lanes of their warp that do not come: {:#010x} live elsewhere ({})",
        split.mask,
        others,
        elsewhere.join(", ")
    );
    let lane = lanes(split.mask).next();
    context.report(kind, lane, None, message)
}

/// Runs lanes until they end, meet others, or wait.
#[inline(always)]
fn straight<const WIDE: bool>(
    context: &mut Context,
    state: &mut WarpState,
    split: Split,
    left: &mut u64,
) -> Result<Option<Pause>, Stop> {
    let mut tally = Tally {
        left: *left,
        ..Tally::default()
    };
    let result = step_on::<WIDE>(context, state, split, &mut tally);
    *left = tally.left;
    context.counters.thread_instructions += tally.thread_instructions;
    context.counters.simt_flop += tally.simt_flop;
    result
}

/// What is counted with every instruction; apart from all other counters it stays in the
/// processor's registers.
#[derive(Default)]
struct Tally {
    left: u64,
    thread_instructions: u64,
    simt_flop: u64,
}

#[inline(always)]
fn step_on<const WIDE: bool>(
    context: &mut Context,
    state: &mut WarpState,
    split: Split,
    tally: &mut Tally,
) -> Result<Option<Pause>, Stop> {
    let code = context.kernel.code.as_slice();
    let Split {
        mut pc, mut mask, ..
    } = split;
    let mut meeting = next_meeting(state);
    loop {
        if tally.left == 0 {
            state.join(pc, mask, Waiting::No);
            return Ok(Some(Pause::Turn));
        }
        tally.left -= 1;
        let instruction = &code[pc as usize];
        let active = mask & (state.registers.predicate(instruction.guard) ^ instruction.flip);
        tally.thread_instructions += u64::from(mask.count_ones());
        tally.simt_flop += u64::from(active.count_ones()) * u64::from(instruction.flop);
        context.pc = pc;
        if let Op::Control(control) = &instruction.op {
            match control {
                Control::Branch { target } => {
                    if active == mask {
                        pc = *target;
                    } else {
                        pc += 1;
                        if active != 0 {
                            state.join(*target, active, Waiting::No);
                            mask &= !active;
                            meeting = meeting.min(*target);
                        }
                    }
                }
                Control::BranchIndexed { index, targets } => {
                    branch_indexed(context, state, *index, targets, active)?;
                    state.join(pc + 1, mask & !active, Waiting::No);
                    return Ok(None);
                }
                Control::Exit => {
                    async_copy::finish(context, state, active)?;
                    state.live &= !active;
                    mask &= !active;
                    pc += 1;
                }
                Control::Trap { assertion } => {
                    if active != 0 {
                        trap(context, active, *assertion)?;
                    }
                    pc += 1;
                }
                Control::Nop => pc += 1,
            }
            if mask == 0 {
                return Ok(None);
            }
            if pc >= meeting {
                state.join(pc, mask, Waiting::No);
                return Ok(None);
            }
            continue;
        }
        let next = if active == 0 {
            Next::GoOn
        } else {
            dispatch::<WIDE>(context, state, &instruction.op, active)?
        };
        if next != Next::GoOn {
            return Ok(part(state, pc, mask, active, next));
        }
        pc += 1;
        if pc >= meeting {
            state.join(pc, mask, Waiting::No);
            return Ok(None);
        }
    }
}

/// The lowest program counter at which others can be met.
#[inline(always)]
fn next_meeting(state: &WarpState) -> u32 {
    state
        .splits
        .iter()
        .filter(|split| !matches!(split.waiting, Waiting::Barrier(_)))
        .map(|split| split.pc)
        .min()
        .unwrap_or(u32::MAX)
}

#[inline(always)]
fn dispatch<const WIDE: bool>(
    context: &mut Context,
    state: &mut WarpState,
    op: &Op,
    active: u32,
) -> Result<Next, Stop> {
    let registers = &mut state.registers;
    match op {
        Op::Integer(integer) => integer::execute::<WIDE>(registers, integer, active),
        Op::Float(float) => float::execute::<WIDE>(registers, float, active),
        Op::Approximate(float) => {
            let approximations = context.launch.options.approximations;
            approximate::execute::<WIDE>(registers, float, approximations, active);
        }
        Op::Convert(convert) => convert::execute::<WIDE>(registers, convert, active),
        Op::Compare(compare) => compare::execute::<WIDE>(registers, compare, active),
        Op::Memory(access) => memory::execute::<WIDE>(context, state, access, active)?,
        Op::Atomic(atomic) => atomics::execute(context, state, atomic, active)?,
        Op::AsyncCopy(copy) => async_copy::execute(context, state, copy, active)?,
        Op::Warp(exchange) => return warp::execute(context, state, exchange, active),
        Op::Tensor(tensor) => return tensor::execute::<WIDE>(context, state, tensor, active),
        Op::Barrier(barrier) => return barrier::execute(context, state, barrier, active),
        Op::Control(_) => {}
    }
    Ok(Next::GoOn)
}

/// Lanes that wait part from those whose guard did not hold.
fn part(state: &mut WarpState, pc: u32, mask: u32, active: u32, next: Next) -> Option<Pause> {
    state.join(pc + 1, mask & !active, Waiting::No);
    match next {
        Next::GoOn => None,
        Next::Lanes => {
            state.join(pc, active, Waiting::Lanes);
            None
        }
        Next::Barrier(id) => {
            state.join(pc, active, Waiting::Barrier(id));
            None
        }
        Next::CompleteHere(id) => {
            state.join(pc, active, Waiting::Barrier(id));
            Some(Pause::Complete(id))
        }
        Next::CompleteAndGoOn(id) => {
            state.join(pc + 1, active, Waiting::No);
            Some(Pause::Complete(id))
        }
    }
}

fn branch_indexed(
    context: &mut Context,
    state: &mut WarpState,
    index: u16,
    targets: &[u32],
    active: u32,
) -> Result<(), Stop> {
    let row = *state.registers.row32(index);
    for lane in lanes(active) {
        let Some(&target) = targets.get(row[lane] as usize) else {
            let message = format!(
                "the branch goes to target {} of a list of {}",
                row[lane],
                targets.len()
            );
            return context.report(FindingKind::Illegal, Some(lane), None, message);
        };
        state.join(target, 1 << lane, Waiting::No);
    }
    Ok(())
}

fn trap(context: &mut Context, active: u32, assertion: bool) -> Result<(), Stop> {
    let message = if assertion {
        "an assertion failed"
    } else {
        "a trap was executed"
    };
    let lane = lanes(active).next();
    context.report(FindingKind::Illegal, lane, None, message.to_owned())
}

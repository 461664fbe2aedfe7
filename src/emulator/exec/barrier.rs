//! Barriers of a block and fences.

use crate::emulator::finding::FindingKind;
use crate::emulator::program::Op;
use crate::emulator::program::barrier::{Barrier, Outcome};

use super::compare::holds;
use super::context::{Context, Stop};
use super::registers::{FULL, lanes};
use super::warp_loop::Next;
use super::warp_state::{Waiting, WarpState};

/// Barriers of a block.
const COUNT: usize = 16;

/// One barrier since it was last complete.
#[derive(Clone, Debug, Default)]
struct State {
    /// Threads that it waits for, by the first that arrived.
    expected: Option<u32>,
    /// Threads that have arrived; a whole warp counts 32.
    arrived: u32,
    /// What those that arrived know of each other's accesses.
    joined: Vec<u32>,
    /// Of the predicates that were brought: how many hold, whether all do, whether any does.
    count: u32,
    all: bool,
    any: bool,
}

/// All barriers of a block.
#[derive(Clone, Debug, Default)]
pub struct Barriers {
    states: [State; COUNT],
}

/// Runs a barrier or a fence.
pub fn execute(
    context: &mut Context,
    state: &mut WarpState,
    barrier: &Barrier,
    active: u32,
) -> Result<Next, Stop> {
    let (id, count, aligned, outcome, waits) = match *barrier {
        Barrier::Fence { wide } => {
            if wide && let Some(conflicts) = &mut context.conflicts {
                conflicts.fence();
            }
            return Ok(Next::GoOn);
        }
        Barrier::Sync {
            id,
            count,
            aligned,
            outcome,
        } => (id, count, aligned, outcome, true),
        Barrier::Arrive { id, count, aligned } => {
            (id, Some(count), aligned, Outcome::Nothing, false)
        }
    };
    if aligned && active != state.live {
        return Ok(Next::Lanes);
    }
    let uniform = |context: &mut Context, slot: u16, what: &str| {
        let row = state.registers.row32(slot);
        let first = row[active.trailing_zeros() as usize % 32];
        if let Some(lane) = lanes(active).find(|&lane| row[lane] != first) {
            let message = format!("lanes of a warp give different {what}");
            context.report(FindingKind::Illegal, Some(lane), None, message)?;
        }
        Ok(first)
    };
    let id = uniform(context, id, "barriers")?;
    let count = match count {
        Some(count) => Some(uniform(context, count, "thread counts")?),
        None => None,
    };
    if id as usize >= COUNT {
        let message = format!("there is no barrier {id}; a block has {COUNT}");
        context.report(FindingKind::Illegal, None, None, message)?;
    }
    arrive(context, state, active, id as usize, count, outcome, waits)
}

fn arrive(
    context: &mut Context,
    state: &WarpState,
    active: u32,
    id: usize,
    count: Option<u32>,
    outcome: Outcome,
    waits: bool,
) -> Result<Next, Stop> {
    let whole = context
        .launch
        .block
        .iter()
        .product::<u32>()
        .next_multiple_of(32);
    let wanted = count.unwrap_or(whole);
    if !wanted.is_multiple_of(32) || wanted == 0 || wanted > whole {
        let message = format!(
            "barrier {id} is given {wanted} threads; it takes a multiple of 32 up to the block's {whole}"
        );
        context.report(FindingKind::BarrierCount, None, None, message)?;
    }
    context.counters.barriers += 1;
    let barrier = &mut context.barriers.states[id];
    if barrier.arrived == 0 {
        *barrier = State {
            expected: Some(wanted),
            all: true,
            ..State::default()
        };
    }
    let expected = barrier.expected.unwrap_or(wanted);
    // Lanes that do not exist count with the last one that does.
    let top = state.exists & !(state.exists >> 1);
    let absent = if active & top != 0 { !state.exists } else { 0 };
    barrier.arrived += (active | absent).count_ones();
    if let Outcome::Count { a, .. } | Outcome::And { a, .. } | Outcome::Or { a, .. } = outcome {
        let values = holds(&state.registers, a) & active;
        barrier.count += values.count_ones();
        barrier.all &= values == active;
        barrier.any |= values != 0;
    }
    if let Some(race) = &mut context.race {
        race.release(state.index, &mut barrier.joined);
    }
    let arrived = barrier.arrived;
    if expected != wanted || arrived > expected {
        let message = format!(
            "barrier {id} waits for {expected} threads; {arrived} have arrived and this warp gives {wanted}"
        );
        context.report(FindingKind::BarrierCount, None, None, message)?;
    }
    let id = id as u8;
    Ok(match (waits, arrived == expected) {
        (true, true) => Next::CompleteHere(id),
        (true, false) => Next::Barrier(id),
        (false, true) => Next::CompleteAndGoOn(id),
        (false, false) => Next::GoOn,
    })
}

/// Lets all that wait at a complete barrier go on.
pub fn release(context: &mut Context, warps: &mut [WarpState], id: u8) {
    let done = std::mem::take(&mut context.barriers.states[usize::from(id)]);
    for warp in warps {
        let mut freed = Vec::new();
        warp.splits.retain(|split| {
            let here = split.waiting == Waiting::Barrier(id);
            if here {
                freed.push(*split);
            }
            !here
        });
        for split in &freed {
            let instruction = context.kernel.code.get(split.pc as usize);
            if let Some(Op::Barrier(Barrier::Sync { outcome, .. })) = instruction.map(|i| &i.op) {
                bring(warp, &done, *outcome, split.mask);
            }
            warp.join(split.pc + 1, split.mask, Waiting::No);
        }
        if !freed.is_empty()
            && let Some(race) = &mut context.race
        {
            race.acquire(warp.index, &done.joined);
        }
    }
}

fn bring(warp: &mut WarpState, done: &State, outcome: Outcome, mask: u32) {
    let all_lanes = |holds: bool| if holds { FULL } else { 0 };
    match outcome {
        Outcome::Nothing => {}
        Outcome::Count { d, .. } => warp.registers.set32(d, mask, &[done.count; 32]),
        Outcome::And { d, .. } => warp.registers.set_predicate(d, mask, all_lanes(done.all)),
        Outcome::Or { d, .. } => warp.registers.set_predicate(d, mask, all_lanes(done.any)),
    }
}

impl Barriers {
    /// Threads that have arrived at a barrier and those that it waits for.
    pub fn progress(&self, id: u8) -> (u32, u32) {
        let state = &self.states[usize::from(id)];
        (state.arrived, state.expected.unwrap_or(0))
    }
}

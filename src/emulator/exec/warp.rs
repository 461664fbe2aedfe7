//! Exchanges between the lanes of a warp.

use crate::emulator::finding::FindingKind;
use crate::emulator::memory::global::POISON;
use crate::emulator::program::Slot;
use crate::emulator::program::warp::{Reduction, Shuffle, Vote, Warp};

use super::compare::holds;
use super::context::{Context, Stop};
use super::registers::{LANES, Registers, lanes};
use super::warp_loop::Next;
use super::warp_state::WarpState;

/// Runs an exchange between the lanes of `active`, once all members are there.
pub fn execute(
    context: &mut Context,
    state: &mut WarpState,
    exchange: &Warp,
    active: u32,
) -> Result<Next, Stop> {
    if let Some(members) = exchange.members() {
        let masks = *state.registers.row32(members);
        if !gathered(context, state, &masks, active)? {
            return Ok(Next::Lanes);
        }
        if matches!(exchange, Warp::Sync { .. })
            && let Some(race) = &mut context.race
        {
            for group in groups(&masks, active) {
                race.sync_lanes(state.index, group, state.live);
            }
        }
    }
    run(&mut state.registers, exchange, active);
    Ok(Next::GoOn)
}

/// Whether all lanes that the masks name are here.
fn gathered(
    context: &mut Context,
    state: &WarpState,
    masks: &[u32; LANES],
    active: u32,
) -> Result<bool, Stop> {
    let mut wanted = 0;
    for lane in lanes(active) {
        if masks[lane] >> lane & 1 == 0 {
            let message = format!(
                "the mask {:#010x} leaves out the lane that uses it",
                masks[lane]
            );
            context.report(FindingKind::MemberMask, Some(lane), None, message)?;
        }
        wanted |= masks[lane];
    }
    let ended = wanted & state.exists & !state.live;
    if ended != 0 {
        let message =
            format!("the mask {wanted:#010x} names lanes {ended:#010x}, which have ended");
        context.report(FindingKind::MemberMask, lanes(active).next(), None, message)?;
    }
    let missing = wanted & state.live & !active;
    // Lanes that name each other must give the same mask.
    if missing == 0 {
        for lane in lanes(active) {
            for other in lanes(masks[lane] & active) {
                if masks[other] != masks[lane] {
                    let message = format!(
                        "the mask {:#010x} names lane {other}, whose mask is {:#010x}",
                        masks[lane], masks[other]
                    );
                    context.report(FindingKind::MemberMask, Some(lane), None, message)?;
                }
            }
        }
    }
    Ok(missing == 0)
}

/// The lanes of `active`, by the mask that they give.
fn groups(masks: &[u32; LANES], active: u32) -> impl Iterator<Item = u32> {
    let mut left = active;
    std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let mask = masks[left.trailing_zeros() as usize];
        let group = lanes(left)
            .filter(|&lane| masks[lane] == mask)
            .fold(0, |all, lane| all | 1 << lane);
        left &= !group;
        Some(group)
    })
}

fn run(r: &mut Registers, exchange: &Warp, active: u32) {
    match *exchange {
        Warp::Shuffle {
            mode,
            d,
            p,
            a,
            b,
            c,
            ..
        } => shuffle(r, active, mode, [d, a, b, c], p),
        Warp::Vote {
            vote,
            d,
            a,
            members,
            ..
        } => {
            let values = holds(r, a);
            let masks = *r.row32(members);
            let mut out = 0;
            for group in groups(&masks, active) {
                let here = values & group;
                let holds = match vote {
                    Vote::All => here == group,
                    Vote::Any => here != 0,
                    Vote::Uniform => here == 0 || here == group,
                };
                out |= if holds { group } else { 0 };
            }
            r.set_predicate(d, active, out);
        }
        Warp::Ballot { d, a, members } => {
            let values = holds(r, a);
            let masks = *r.row32(members);
            let mut out = [0; LANES];
            for group in groups(&masks, active) {
                lanes(group).for_each(|lane| out[lane] = values & group);
            }
            r.set32(d, active, &out);
        }
        Warp::MatchAny {
            d,
            a,
            wide,
            members,
        } => {
            let values = values(r, a, wide);
            let masks = *r.row32(members);
            let mut out = [0; LANES];
            for group in groups(&masks, active) {
                for lane in lanes(group) {
                    out[lane] = equal(&values, group, values[lane]);
                }
            }
            r.set32(d, active, &out);
        }
        Warp::MatchAll {
            d,
            p,
            a,
            wide,
            members,
        } => {
            let values = values(r, a, wide);
            let masks = *r.row32(members);
            let (mut out, mut all) = ([0; LANES], 0);
            for group in groups(&masks, active) {
                let first = values[group.trailing_zeros() as usize];
                if equal(&values, group, first) == group {
                    lanes(group).for_each(|lane| out[lane] = group);
                    all |= group;
                }
            }
            r.set32(d, active, &out);
            if let Some(p) = p {
                r.set_predicate(p, active, all);
            }
        }
        Warp::Reduce {
            reduction,
            d,
            a,
            members,
        } => {
            let values = *r.row32(a);
            let masks = *r.row32(members);
            let mut out = [0; LANES];
            for group in groups(&masks, active) {
                let reduced = lanes(group)
                    .map(|lane| values[lane])
                    .reduce(|a, b| reduce(reduction, a, b))
                    .unwrap_or(0);
                lanes(group).for_each(|lane| out[lane] = reduced);
            }
            r.set32(d, active, &out);
        }
        Warp::Elect { d, p, members } => {
            let masks = *r.row32(members);
            for group in groups(&masks, active) {
                let leader = group.trailing_zeros();
                r.set_predicate(p, group, 1 << leader);
                if let Some(d) = d {
                    r.set32(d, group, &[leader; LANES]);
                }
            }
        }
        Warp::ActiveMask { d } => r.set32(d, active, &[active; LANES]),
        Warp::Sync { .. } => {}
    }
}

fn values(r: &Registers, a: Slot, wide: bool) -> [u64; LANES] {
    if wide {
        *r.row64(a)
    } else {
        r.row32(a).map(u64::from)
    }
}

fn equal(values: &[u64; LANES], group: u32, value: u64) -> u32 {
    lanes(group)
        .filter(|&lane| values[lane] == value)
        .fold(0, |all, lane| all | 1 << lane)
}

fn reduce(reduction: Reduction, a: u32, b: u32) -> u32 {
    match reduction {
        Reduction::Add => a.wrapping_add(b),
        Reduction::MinUnsigned => a.min(b),
        Reduction::MaxUnsigned => a.max(b),
        Reduction::MinSigned => (a as i32).min(b as i32) as u32,
        Reduction::MaxSigned => (a as i32).max(b as i32) as u32,
        Reduction::And => a & b,
        Reduction::Or => a | b,
        Reduction::Xor => a ^ b,
    }
}

/// As the ISA's pseudocode: c holds the clamp in bits 0 to 4 and the segment mask in bits 8 to 12.
/// What a lane reads from one that does not take part is undefined: it gets poison.
fn shuffle(
    r: &mut Registers,
    active: u32,
    mode: Shuffle,
    [d, a, b, c]: [Slot; 4],
    p: Option<Slot>,
) {
    let (values, b, c) = (*r.row32(a), *r.row32(b), *r.row32(c));
    let (mut out, mut in_range) = ([0; LANES], 0);
    for lane in 0..LANES as u32 {
        let i = lane as usize;
        let (distance, clamp, segment) = (b[i] & 31, c[i] & 31, c[i] >> 8 & 31);
        let low = lane & segment;
        let high = low | clamp & !segment;
        let (source, inside) = match mode {
            Shuffle::Up => {
                let source = lane.wrapping_sub(distance);
                (source, source as i32 >= high as i32)
            }
            Shuffle::Down => (lane + distance, lane + distance <= high),
            Shuffle::Butterfly => (lane ^ distance, lane ^ distance <= high),
            Shuffle::Index => {
                let source = low | distance & !segment;
                (source, source <= high)
            }
        };
        let source = if inside { source } else { lane };
        in_range |= u32::from(inside) << lane;
        out[i] = if active >> source & 1 == 1 {
            values[source as usize]
        } else {
            POISON
        };
    }
    r.set32(d, active, &out);
    if let Some(p) = p {
        r.set_predicate(p, active, in_range);
    }
}

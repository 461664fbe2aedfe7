//! Atomic operations, one lane after the other.

use crate::emulator::finding::{BufferPlace, FindingKind};
use crate::emulator::memory::global::{Slot as Buffer, Touch};
use crate::emulator::memory::{self, SHARED_WINDOW};
use crate::emulator::program::atomics::{Atomic, Operation};
use crate::emulator::program::float::Rounding;
use crate::emulator::program::memory::Space;
use crate::emulator::program::types::{Class, Type};
use crate::emulator::program::{SHARED_BASE, SINK};

use crate::emulator::race::Conflict;

use super::context::{Context, Stop};
use super::memory::{addresses, check_address};
use super::numbers::{
    BF16, F16, add_odd, canonical, canonical64, flush, narrow, widen_bf16, widen_f16,
};
use super::registers::{LANES, Registers, lanes};
use super::warp_state::WarpState;

/// Runs an atomic operation in the lanes of `active`.
pub fn execute(
    context: &mut Context,
    state: &mut WarpState,
    atomic: &Atomic,
    active: u32,
) -> Result<(), Stop> {
    let all = addresses(&state.registers, atomic.address);
    let b = operand(&state.registers, atomic.b, atomic.ty);
    let c = operand(&state.registers, atomic.c, atomic.ty);
    let mut old = [0; LANES];
    for lane in lanes(active) {
        let update = |value: u64| apply(atomic, value, b[lane], c[lane]);
        let shared = match atomic.space {
            Space::Shared => Some(all[lane]),
            Space::Generic if memory::window(all[lane]) == SHARED_WINDOW => {
                Some(all[lane] & 0xffff_ffff)
            }
            _ => None,
        };
        old[lane] = match shared {
            Some(address) => in_shared(context, atomic, address, lane, update)?,
            None => in_global(context, atomic, all[lane], lane, |value| {
                apply_global(atomic, value, b[lane], c[lane])
            })?,
        };
    }
    if atomic.d != SINK {
        match atomic.ty.class() {
            Class::R64 => state.registers.set64(atomic.d, active, &old),
            _ => state
                .registers
                .set32(atomic.d, active, &old.map(|value| value as u32)),
        }
    }
    Ok(())
}

fn operand(registers: &Registers, slot: u16, ty: Type) -> [u64; LANES] {
    match ty.class() {
        Class::R64 => *registers.row64(slot),
        _ => registers.row32(slot).map(u64::from),
    }
}

fn in_shared(
    context: &mut Context,
    atomic: &Atomic,
    address: u64,
    lane: usize,
    update: impl Fn(u64) -> u64,
) -> Result<u64, Stop> {
    let bytes = atomic.ty.bytes();
    let offset = address.wrapping_sub(SHARED_BASE);
    let place = || BufferPlace::in_shared(offset as i64);
    let size = context.shared.len();
    if !offset.is_multiple_of(bytes as u64) {
        let message =
            format!("the thread updates {bytes} bytes at an offset that is no multiple of {bytes}");
        context.report(FindingKind::Misaligned, Some(lane), place(), message)?;
    }
    if offset
        .checked_add(bytes as u64)
        .is_none_or(|end| end > size as u64)
    {
        let message = format!(
            "the thread updates {bytes} bytes; the block has {size} bytes of shared memory"
        );
        context.report(FindingKind::OutOfBounds, Some(lane), place(), message)?;
    }
    context.counters.shared_atomics += 1;
    let at = offset as usize;
    if !context.shared.is_written(at, bytes) {
        let message = format!("the thread updates {bytes} bytes that no thread of the block wrote");
        context.report(FindingKind::UninitialisedRead, Some(lane), place(), message)?;
    }
    if let Some(race) = &mut context.race {
        let found = race.atomic(context.warp, lane, at as u32, bytes);
        context.report_race(found, Some(lane))?;
    }
    let old = context.shared.read(at, bytes);
    context.shared.write(at, bytes, update(old));
    Ok(old)
}

fn in_global(
    context: &mut Context,
    atomic: &Atomic,
    address: u64,
    lane: usize,
    update: impl Fn(u64) -> u64,
) -> Result<u64, Stop> {
    let bytes = atomic.ty.bytes();
    let Some(buffer) = check_address(context, address, lane, bytes, "updates")? else {
        return Ok(0);
    };
    let offset = (address - buffer.base) as usize;
    let place = || BufferPlace::in_buffer(buffer, offset as u64);
    if buffer.constant {
        let message = format!("the thread updates {bytes} bytes of constant memory");
        context.report(FindingKind::ReadOnlyWrite, Some(lane), place(), message)?;
    }
    context.counters.global_atomics += 1;
    buffer.touch(offset, bytes, Touch::Read);
    buffer.touch(offset, bytes, Touch::Write);
    if !buffer.is_written(offset, bytes) {
        let message = format!("the thread updates {bytes} bytes that nothing wrote");
        context.report(FindingKind::UninitialisedRead, Some(lane), place(), message)?;
        buffer.mark_written(offset, bytes);
    }
    track(context, atomic, buffer, address, lane)?;
    if bytes == 4 {
        let old = buffer.update(offset, |word| update(u64::from(word)) as u32);
        return Ok(u64::from(old));
    }
    // Kernels with such operations run one block after the other.
    let old = buffer.read(offset, bytes);
    buffer.write(offset, bytes, update(old));
    Ok(old)
}

fn track<'a>(
    context: &mut Context<'a>,
    atomic: &Atomic,
    buffer: &'a Buffer,
    address: u64,
    lane: usize,
) -> Result<(), Stop> {
    let Some(conflicts) = &mut context.conflicts else {
        return Ok(());
    };
    conflicts.synchronise(address, atomic.order, true, true);
    let offset = (address - buffer.base) as usize;
    let bytes = atomic.ty.bytes();
    let Some(Conflict { other, .. }) = conflicts.access(buffer, offset, bytes, true, true) else {
        return Ok(());
    };
    if context.is_known(FindingKind::BlockConflict) {
        return Ok(());
    }
    let place = BufferPlace::in_buffer(buffer, offset as u64);
    let message = format!("the thread updates what {other}, with nothing that orders them");
    context.report(FindingKind::BlockConflict, Some(lane), place, message)
}

/// The new value in global memory, where additions of f32 flush subnormal numbers; those in shared
/// memory do not.
fn apply_global(atomic: &Atomic, old: u64, b: u64, c: u64) -> u64 {
    if (atomic.operation, atomic.ty) != (Operation::Add, Type::F32) {
        return apply(atomic, old, b, c);
    }
    let flushed = |bits: u64| u64::from(flush(f32::from_bits(bits as u32)).to_bits());
    flushed(apply(atomic, flushed(old), flushed(b), c))
}

/// The new value.
fn apply(atomic: &Atomic, old: u64, b: u64, c: u64) -> u64 {
    let ty = atomic.ty;
    match atomic.operation {
        Operation::Add => add(ty, old, b),
        Operation::And => old & b,
        Operation::Or => old | b,
        Operation::Xor => old ^ b,
        Operation::Exchange => b,
        Operation::CompareSwap => {
            if old == b {
                c
            } else {
                old
            }
        }
        Operation::Increment => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        Operation::Decrement => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
        Operation::Min => pick(ty, old, b, true),
        Operation::Max => pick(ty, old, b, false),
    }
}

fn pick(ty: Type, a: u64, b: u64, smaller: bool) -> u64 {
    let first_is_smaller = match ty {
        Type::S32 => (a as i32) < b as i32,
        Type::S64 => (a as i64) < b as i64,
        _ => a < b,
    };
    if first_is_smaller == smaller { a } else { b }
}

fn add(ty: Type, a: u64, b: u64) -> u64 {
    let half = |a: u64, b: u64, ty: Type| -> u64 {
        let (format, widen): (_, fn(u32) -> f32) = match ty {
            Type::F16 | Type::F16x2 => (F16, widen_f16),
            _ => (BF16, widen_bf16),
        };
        let [a, b] = [a, b].map(|bits| f64::from(widen(bits as u32 & 0xffff)));
        u64::from(narrow(add_odd(a, b), format, Rounding::Nearest))
    };
    match ty {
        Type::F32 => {
            let sum = f32::from_bits(a as u32) + f32::from_bits(b as u32);
            u64::from(canonical(sum).to_bits())
        }
        Type::F64 => canonical64(f64::from_bits(a) + f64::from_bits(b)).to_bits(),
        Type::F16 | Type::BF16 => half(a, b, ty),
        Type::F16x2 | Type::BF16x2 => half(a, b, ty) | half(a >> 16, b >> 16, ty) << 16,
        Type::U64 | Type::S64 => a.wrapping_add(b),
        _ => u64::from((a as u32).wrapping_add(b as u32)),
    }
}

//! Shared memory: bounds, passes over the banks, races, and the words themselves.

use crate::emulator::finding::{BufferPlace, FindingKind};
use crate::emulator::program::SHARED_BASE;
use crate::emulator::program::memory::{Access, Address};
use crate::emulator::program::types::Class;

use super::super::context::{Context, Stop};
use super::super::registers::{FULL, LANES, Registers, lanes};
use super::super::warp_state::WarpState;
use super::{addresses, adjacent, fill, set_loaded, stored, verb};

/// Offsets in shared memory; an address beyond 32 bits becomes one that is out of bounds. Lanes
/// that are not active repeat an active one.
#[inline(always)]
pub fn shared_offsets(registers: &Registers, address: Address, mask: u32) -> [u32; LANES] {
    let mut out = [0; LANES];
    if address.wide {
        let all = addresses(registers, address);
        for lane in 0..LANES {
            out[lane] = shared_offset(all[lane]);
        }
    } else {
        let base = registers.row32(address.base);
        let offset = (address.offset as u32).wrapping_sub(SHARED_BASE as u32);
        for lane in 0..LANES {
            out[lane] = base[lane].wrapping_add(offset);
        }
    }
    fill(&mut out, mask);
    out
}

#[inline(always)]
pub(super) fn shared_offset(address: u64) -> u32 {
    u32::try_from(address.wrapping_sub(SHARED_BASE)).unwrap_or(u32::MAX)
}

/// Smallest and largest value and the bits that are set in any.
#[inline(always)]
fn spread(offsets: &[u32; LANES]) -> (u32, u32, u32) {
    let (mut low, mut high, mut bits) = (u32::MAX, 0, 0);
    for &offset in offsets {
        low = low.min(offset);
        high = high.max(offset);
        bits |= offset;
    }
    (low, high, bits)
}

fn shared_place(offset: u32) -> Option<BufferPlace> {
    Some(BufferPlace {
        buffer: "shared memory".to_owned(),
        offset: i64::from(offset as i32),
    })
}

/// Checks bounds and alignment of an access of `bytes` bytes a lane to shared memory.
#[inline(always)]
pub fn check_shared(
    context: &mut Context,
    offsets: &[u32; LANES],
    bytes: usize,
    verb: &str,
) -> Result<(), Stop> {
    let (_, high, bits) = spread(offsets);
    let inside = high as usize + bytes <= context.shared.len();
    if inside && bits & (bytes as u32 - 1) == 0 {
        return Ok(());
    }
    bad_shared(context, offsets, bytes, verb)
}

/// Passes over the banks of an access of `bytes` bytes a lane, and the fewest possible. Most
/// accesses stay within 32 adjacent words, of which no two share a bank.
#[inline(always)]
fn passes(
    context: &mut Context,
    offsets: &[u32; LANES],
    mask: u32,
    bytes: usize,
    run: bool,
) -> [u64; 2] {
    if bytes <= 4 {
        let (low, high, _) = spread(offsets);
        if high / 4 - low / 4 < 32 {
            return [1, 1];
        }
    } else if run {
        return [bytes as u64 / 4; 2];
    }
    context.wavefronts(offsets, mask, bytes)
}

#[cold]
fn bad_shared(
    context: &mut Context,
    offsets: &[u32; LANES],
    bytes: usize,
    verb: &str,
) -> Result<(), Stop> {
    let size = context.shared.len();
    for (lane, &offset) in offsets.iter().enumerate() {
        if !(offset as usize).is_multiple_of(bytes) {
            let message = format!(
                "the thread {verb} {bytes} bytes at an offset that is no multiple of {bytes}"
            );
            context.report(
                FindingKind::Misaligned,
                Some(lane),
                shared_place(offset),
                message,
            )?;
        }
        if offset as usize + bytes > size {
            let message = format!(
                "the thread {verb} {bytes} bytes; the block has {size} bytes of shared memory"
            );
            context.report(
                FindingKind::OutOfBounds,
                Some(lane),
                shared_place(offset),
                message,
            )?;
        }
    }
    Ok(())
}

#[inline(always)]
pub(super) fn shared(
    context: &mut Context,
    warp: &mut WarpState,
    access: &Access,
    mask: u32,
    offsets: &[u32; LANES],
) -> Result<(), Stop> {
    let (bytes, count) = (usize::from(access.bytes), usize::from(access.count));
    let total = bytes * count;
    check_shared(context, offsets, total, verb(access))?;
    let run = mask == FULL && adjacent(offsets, total);
    let [passes, ideal] = passes(context, offsets, mask, total, run);
    let counters = &mut context.counters;
    if access.store {
        counters.shared_store_requests += 1;
        counters.shared_store_wavefronts += passes;
        counters.shared_store_ideal_wavefronts += ideal;
    } else {
        counters.shared_load_requests += 1;
        counters.shared_load_wavefronts += passes;
        counters.shared_load_ideal_wavefronts += ideal;
    }
    track_shared(context, offsets, mask, total, access.store)?;
    if access.store {
        for i in 0..count {
            store_shared(context, warp, access, i, mask, offsets);
        }
        return Ok(());
    }
    if !context.shared.is_complete() {
        check_written(context, offsets, mask, total)?;
    }
    for i in 0..count {
        let at = (bytes * i) as u32;
        if bytes == 4 && access.class != Class::R64 {
            let row = shared_words(context.shared.words(), offsets, at, run && count == 1);
            warp.registers.set32(access.registers[i], mask, &row);
        } else {
            let values = offsets.map(|offset| context.shared.read((offset + at) as usize, bytes));
            set_loaded(&mut warp.registers, access, i, mask, &values);
        }
    }
    Ok(())
}

/// The words at offsets that have been checked.
#[inline(always)]
fn shared_words(words: &[u32], offsets: &[u32; LANES], at: u32, run: bool) -> [u32; LANES] {
    let first = offsets[0] as usize / 4;
    if run && let Some(Ok(row)) = words.get(first..first + LANES).map(TryInto::try_into) {
        return row;
    }
    let mut row = [0; LANES];
    for lane in 0..LANES {
        row[lane] = words[((offsets[lane] + at) / 4) as usize];
    }
    row
}

#[inline(always)]
fn store_shared(
    context: &mut Context,
    warp: &WarpState,
    access: &Access,
    i: usize,
    mask: u32,
    offsets: &[u32; LANES],
) {
    let bytes = usize::from(access.bytes);
    let at = bytes * i;
    if bytes == 4 && mask == FULL && access.class != Class::R64 {
        let row = warp.registers.row32(access.registers[i]);
        let words = context.shared.words_mut();
        for lane in 0..LANES {
            words[(offsets[lane] as usize + at) / 4] = row[lane];
        }
        if !context.shared.is_complete() {
            for offset in offsets {
                context.shared.mark_written(*offset as usize + at, bytes);
            }
        }
        return;
    }
    for lane in lanes(mask) {
        let value = stored(&warp.registers, access, i, lane);
        context
            .shared
            .write(offsets[lane] as usize + at, bytes, value);
    }
}

/// Tells the race shadow of an access to shared memory, if there is one.
#[inline(always)]
pub fn track_shared(
    context: &mut Context,
    offsets: &[u32; LANES],
    mask: u32,
    bytes: usize,
    write: bool,
) -> Result<(), Stop> {
    let Some(race) = &mut context.race else {
        return Ok(());
    };
    let found = race.access(context.warp, mask, offsets, bytes, write);
    match found {
        None => Ok(()),
        Some(found) => {
            if context.is_known(found.kind) {
                return Ok(());
            }
            let place = shared_place(found.offset);
            context.report(found.kind, Some(found.lane), place, found.message)
        }
    }
}

#[cold]
pub fn check_written(
    context: &mut Context,
    offsets: &[u32; LANES],
    mask: u32,
    bytes: usize,
) -> Result<(), Stop> {
    for lane in lanes(mask) {
        let offset = offsets[lane];
        if !context.shared.is_written(offset as usize, bytes) {
            let message =
                format!("the thread reads {bytes} bytes that no thread of the block wrote");
            context.report(
                FindingKind::UninitialisedRead,
                Some(lane),
                shared_place(offset),
                message,
            )?;
            break;
        }
    }
    Ok(())
}

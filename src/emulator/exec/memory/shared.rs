//! Shared memory: bounds, passes over the banks, races, and the words themselves.

use crate::emulator::finding::{BufferPlace, FindingKind};
use crate::emulator::program::SHARED_BASE;
use crate::emulator::program::memory::{Access, Address};
use crate::emulator::program::types::Class;

use super::super::context::{Context, Stop};
use super::super::registers::{FULL, LANES, Registers, for_both_machines, lanes};
use super::super::warp_state::WarpState;
use super::{GROUP, Group, Pattern, set_loaded, set_rows, stored, verb};

/// Where the lanes of `mask` go in shared memory; an address beyond 32 bits becomes one that is out
/// of bounds.
#[inline(always)]
pub fn shared_pattern<const WIDE: bool>(
    registers: &Registers,
    address: Address,
    mask: u32,
    bytes: usize,
) -> Pattern {
    let add = (address.offset as u64).wrapping_sub(SHARED_BASE);
    if address.wide {
        Pattern::wide::<WIDE>(registers.row64(address.base), add, mask, bytes)
    } else {
        Pattern::narrow::<WIDE>(registers.row32(address.base), add as u32, mask, bytes)
    }
}

fn shared_place(offset: u32) -> Option<BufferPlace> {
    BufferPlace::in_shared(i64::from(offset as i32))
}

/// Checks bounds and alignment of an access of `bytes` bytes a lane to shared memory.
#[inline(always)]
pub fn check_shared(
    context: &mut Context,
    pattern: &Pattern,
    bytes: usize,
    verb: &str,
) -> Result<(), Stop> {
    if pattern.fits(context.shared.len()) {
        return Ok(());
    }
    bad_shared(context, &pattern.offsets, bytes, verb)
}

/// Passes over the banks of an access of `bytes` bytes a lane, and the fewest possible. Most
/// accesses stay within 32 adjacent words, of which no two share a bank.
#[inline(always)]
fn passes(context: &mut Context, pattern: &Pattern, mask: u32, bytes: usize) -> [u64; 2] {
    if bytes <= 4 {
        if pattern.high / 4 - pattern.low / 4 < 32 {
            return [1, 1];
        }
    } else if mask == FULL && pattern.is_run() {
        return [bytes as u64 / 4; 2];
    }
    context.wavefronts(&pattern.offsets, mask, bytes)
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
pub(super) fn shared<const WIDE: bool>(
    context: &mut Context,
    warp: &mut WarpState,
    access: &Access,
    mask: u32,
    pattern: &Pattern,
) -> Result<(), Stop> {
    let (bytes, count) = (usize::from(access.bytes), usize::from(access.count));
    let total = bytes * count;
    check_shared(context, pattern, total, verb(access))?;
    let [passes, ideal] = passes(context, pattern, mask, total);
    let offsets = &pattern.offsets;
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
    if context.race.is_some() {
        track_shared::<WIDE>(context, pattern, mask, total, access.store)?;
    }
    if access.store {
        for i in 0..count {
            store_shared(context, warp, access, i, mask, pattern);
        }
        return Ok(());
    }
    if !context.shared.is_complete() {
        check_written(context, pattern, mask, total)?;
    }
    if bytes == 4 && access.class != Class::R64 {
        let words = context.shared.words();
        match count {
            1 => {
                let load = |row: &mut [u32; LANES]| load_words(words, pattern, row);
                warp.registers.fill32(access.registers[0], mask, load);
            }
            2 => set_rows(
                warp,
                access,
                mask,
                pattern.gather::<2, _>(words, |&word| word),
            ),
            _ => set_rows(
                warp,
                access,
                mask,
                pattern.gather::<4, _>(words, |&word| word),
            ),
        }
        return Ok(());
    }
    for i in 0..count {
        let at = (bytes * i) as u32;
        let values = offsets.map(|offset| context.shared.read((offset + at) as usize, bytes));
        set_loaded(&mut warp.registers, access, i, mask, &values);
    }
    Ok(())
}

/// The words at offsets that have been checked.
#[inline(always)]
fn load_words(words: &[u32], pattern: &Pattern, row: &mut [u32; LANES]) {
    let (to, _) = row.as_chunks_mut::<GROUP>();
    let (from, _) = pattern.offsets.as_chunks::<GROUP>();
    for ((to, from), group) in to.iter_mut().zip(from).zip(pattern.groups) {
        let first = from[0] as usize / 4;
        match group {
            Group::Same => *to = [words[first]; GROUP],
            Group::Run => to.copy_from_slice(&words[first..first + GROUP]),
            Group::Mixed => {
                for lane in 0..GROUP {
                    to[lane] = words[from[lane] as usize / 4];
                }
            }
        }
    }
}

#[inline(always)]
fn store_shared(
    context: &mut Context,
    warp: &WarpState,
    access: &Access,
    i: usize,
    mask: u32,
    pattern: &Pattern,
) {
    let offsets = &pattern.offsets;
    let bytes = usize::from(access.bytes);
    let at = bytes * i;
    if bytes == 4 && mask == FULL && access.class != Class::R64 {
        let (from, _) = warp
            .registers
            .row32(access.registers[i])
            .as_chunks::<GROUP>();
        let (to, _) = offsets.as_chunks::<GROUP>();
        for ((from, to), group) in from.iter().zip(to).zip(pattern.groups) {
            let first = (to[0] as usize + at) / 4;
            let words = context.shared.words_mut();
            if group == Group::Run && access.count == 1 {
                words[first..first + GROUP].copy_from_slice(from);
                context.shared.mark_written(4 * first, 4 * GROUP);
            } else {
                for lane in 0..GROUP {
                    words[(to[lane] as usize + at) / 4] = from[lane];
                }
                if !context.shared.is_complete() {
                    for offset in to {
                        context.shared.mark_written(*offset as usize + at, bytes);
                    }
                }
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

for_both_machines! {
    /// Tells the race shadow of an access to shared memory, if there is one.
    track_shared = track(
        context: &mut Context, pattern: &Pattern, mask: u32, bytes: usize, write: bool
    ) -> Result<(), Stop>
}

#[inline(always)]
fn track<const WIDE: bool>(
    context: &mut Context,
    pattern: &Pattern,
    mask: u32,
    bytes: usize,
    write: bool,
) -> Result<(), Stop> {
    let Some(race) = &mut context.race else {
        return Ok(());
    };
    let found = race.access(context.warp, mask, pattern, bytes, write);
    let lane = found.as_ref().map(|found| found.lane);
    context.report_race(found, lane)
}

/// Reports the first lane that reads what nothing wrote.
#[inline(always)]
fn check_written(
    context: &mut Context,
    pattern: &Pattern,
    mask: u32,
    bytes: usize,
) -> Result<(), Stop> {
    for part in pattern.parts(mask) {
        if bytes >= 4
            && let Some(length) = part.length(bytes)
            && context.shared.is_written(part.first as usize, length)
        {
            continue;
        }
        let unwritten =
            |&lane: &usize| !(context.shared).is_written(pattern.offsets[lane] as usize, bytes);
        if let Some(lane) = lanes(part.lanes).find(unwritten) {
            return report_unwritten(context, lane, pattern.offsets[lane], bytes);
        }
    }
    Ok(())
}

#[cold]
fn report_unwritten(
    context: &mut Context,
    lane: usize,
    offset: u32,
    bytes: usize,
) -> Result<(), Stop> {
    let message = format!("the thread reads {bytes} bytes that no thread of the block wrote");
    let kind = FindingKind::UninitialisedRead;
    context.report(kind, Some(lane), shared_place(offset), message)
}

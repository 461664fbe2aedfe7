//! Global and constant memory: the buffer of each lane, sectors, conflicts of blocks, and the
//! words themselves.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::emulator::finding::{BufferPlace, FindingKind};
use crate::emulator::memory;
use crate::emulator::memory::global::{SECTOR, Slot as Buffer, Touch};
use crate::emulator::program::memory::{Access, Order, Space};
use crate::emulator::program::types::Class;
use crate::emulator::race::Conflict;

use super::super::context::{Context, Stop};
use super::super::registers::{FULL, LANES, for_both_machines, lanes};
use super::super::warp_state::WarpState;
use super::{GROUP, Group, Pattern, addresses, set_loaded, set_rows, stored, verb};

#[inline(always)]
pub(super) fn global<const WIDE: bool>(
    context: &mut Context,
    warp: &mut WarpState,
    access: &Access,
    mask: u32,
) -> Result<(), Stop> {
    let total = access.lane_bytes();
    count_request(context, access, mask, total);
    let global = context.global;
    let add = access.address.offset as u64;
    let base = warp.registers.row64(access.address.base);
    let first = base[mask.trailing_zeros() as usize % LANES].wrapping_add(add);
    if let Some(buffer) = global.near(first)
        && allowed(buffer, access)
    {
        let add = add.wrapping_sub(buffer.base);
        let pattern = Pattern::wide::<WIDE>(base, add, mask, total);
        if pattern.fits(buffer.size) {
            return in_buffer::<WIDE>(context, warp, access, mask, buffer, &pattern);
        }
    }
    let addresses = addresses(&warp.registers, access.address);
    each_buffer(context, warp, access, mask, &addresses)
}

/// Lanes that address several buffers, or one that none may address like this.
#[cold]
fn each_buffer(
    context: &mut Context,
    warp: &mut WarpState,
    access: &Access,
    mask: u32,
    addresses: &[u64; LANES],
) -> Result<(), Stop> {
    let total = access.lane_bytes();
    let mut left = mask;
    while left != 0 {
        let first = left.trailing_zeros() as usize;
        let window = memory::window(addresses[first]);
        let together = lanes(left)
            .filter(|&lane| memory::window(addresses[lane]) == window)
            .fold(0, |all, lane| all | 1 << lane);
        for lane in lanes(together) {
            check_global(context, access, addresses[lane], lane, total)?;
        }
        if let Some(buffer) = context.global.near(addresses[first]) {
            let add = buffer.base.wrapping_neg();
            let pattern = Pattern::wide::<false>(addresses, add, together, total);
            if pattern.fits(buffer.size) {
                in_buffer::<false>(context, warp, access, together, buffer, &pattern)?;
            }
        }
        left &= !together;
    }
    Ok(())
}

/// Whether this kind of access may touch this buffer at all.
#[inline(always)]
fn allowed(buffer: &Buffer, access: &Access) -> bool {
    match access.space {
        Space::Const => buffer.constant,
        Space::Global => !buffer.constant,
        _ => !(buffer.constant && access.store),
    }
}

#[inline(always)]
fn count_request(context: &mut Context, access: &Access, mask: u32, total: usize) {
    if access.space == Space::Const {
        return;
    }
    let bytes = u64::from(mask.count_ones()) * total as u64;
    let counters = &mut context.counters;
    if access.store {
        counters.global_store_requests += 1;
        counters.global_store_bytes += bytes;
    } else {
        counters.global_load_requests += 1;
        counters.global_load_bytes += bytes;
    }
}

/// Reports what is wrong with one lane's access to global memory, if anything is.
#[cold]
fn check_global(
    context: &mut Context,
    access: &Access,
    address: u64,
    lane: usize,
    bytes: usize,
) -> Result<(), Stop> {
    let verb = verb(access);
    let Some(buffer) = check_address(context, address, lane, bytes, verb)? else {
        return Ok(());
    };
    if !allowed(buffer, access) {
        let place = place_in(buffer, address);
        let constant = buffer.constant;
        let (kind, what) = if access.store {
            (FindingKind::ReadOnlyWrite, "constant")
        } else if constant {
            (FindingKind::OutOfBounds, "constant, not global,")
        } else {
            (FindingKind::OutOfBounds, "global, not constant,")
        };
        let message = format!("the thread {verb} {bytes} bytes of {what} memory");
        context.report(kind, Some(lane), place, message)?;
    }
    Ok(())
}

fn place_in(buffer: &Buffer, address: u64) -> Option<BufferPlace> {
    BufferPlace::in_buffer(buffer, address.wrapping_sub(buffer.base))
}

/// The buffer of an address of global memory; reports what is misaligned or out of bounds.
pub fn check_address<'a>(
    context: &mut Context<'a>,
    address: u64,
    lane: usize,
    bytes: usize,
    verb: &str,
) -> Result<Option<&'a Buffer>, Stop> {
    let global = context.global;
    let Some(buffer) = global.near(address) else {
        let message = format!(
            "the thread {verb} {bytes} bytes at address {address:#x}, which lies in no buffer"
        );
        context.report(FindingKind::OutOfBounds, Some(lane), None, message)?;
        return Ok(None);
    };
    let place = place_in(buffer, address);
    let offset = address.wrapping_sub(buffer.base);
    if offset
        .checked_add(bytes as u64)
        .is_none_or(|end| end > buffer.size as u64)
    {
        let message = format!(
            "the thread {verb} {bytes} bytes; the buffer has {} bytes",
            buffer.size
        );
        context.report(FindingKind::OutOfBounds, Some(lane), place, message)?;
        return Ok(None);
    }
    if !address.is_multiple_of(bytes as u64) {
        let message =
            format!("the thread {verb} {bytes} bytes at an offset that is no multiple of {bytes}");
        context.report(FindingKind::Misaligned, Some(lane), place, message)?;
        return Ok(None);
    }
    Ok(Some(buffer))
}

#[inline(always)]
fn in_buffer<'a, const WIDE: bool>(
    context: &mut Context<'a>,
    warp: &mut WarpState,
    access: &Access,
    mask: u32,
    buffer: &'a Buffer,
    pattern: &Pattern,
) -> Result<(), Stop> {
    let (bytes, count) = (usize::from(access.bytes), usize::from(access.count));
    let total = bytes * count;
    let offsets = &pattern.offsets;
    let run = mask == FULL && pattern.is_run();
    let first = offsets[0] as usize;
    if !buffer.constant {
        let touch = match (access.store, access.read_only) {
            (true, _) => Touch::Write,
            (false, true) => Touch::ReadOnly,
            (false, false) => Touch::Read,
        };
        let sectors = if run {
            buffer.touch(first, total * LANES, touch);
            (first + total * LANES - 1) / SECTOR - first / SECTOR + 1
        } else {
            touch_groups(buffer, pattern, mask, total, touch)
        };
        let counters = &mut context.counters;
        if access.store {
            counters.global_store_sectors += sectors as u64;
        } else {
            counters.global_load_sectors += sectors as u64;
        }
        if access.read_only {
            buffer.note_read_only(context.pc);
        }
        if context.conflicts.is_some() {
            track_global::<WIDE>(context, access, mask, buffer, pattern, run)?;
        }
    }
    if buffer.is_complete() {
        // Nothing is left to be written or to be found unwritten.
    } else if access.store {
        if run {
            buffer.mark_written(first, total * LANES);
        } else {
            for lane in lanes(mask) {
                buffer.mark_written(offsets[lane] as usize, total);
            }
        }
    } else {
        let written = if run {
            buffer.is_written(first, total * LANES)
        } else {
            lanes(mask).all(|lane| buffer.is_written(offsets[lane] as usize, total))
        };
        if !written {
            unwritten(context, mask, buffer, offsets, total)?;
        }
    }
    let words = bytes == 4 && access.class != Class::R64;
    if words && !access.store {
        let words = buffer.words();
        let read = |word: &AtomicU32| word.load(Relaxed);
        match count {
            1 => {
                let load = |row: &mut [u32; LANES]| load_words(words, pattern, row);
                warp.registers.fill32(access.registers[0], mask, load);
            }
            2 => set_rows(warp, access, mask, pattern.gather::<2, _>(words, read)),
            _ => set_rows(warp, access, mask, pattern.gather::<4, _>(words, read)),
        }
        return Ok(());
    }
    for i in 0..count {
        let at = bytes * i;
        if words {
            let words = buffer.words().get(i..).unwrap_or_default();
            let row = warp.registers.row32(access.registers[i]);
            store_words(row, words, mask, pattern, count);
        } else if access.store {
            for lane in lanes(mask) {
                let value = stored(&warp.registers, access, i, lane);
                buffer.write(offsets[lane] as usize + at, bytes, value);
            }
        } else {
            let values = offsets.map(|offset| buffer.read(offset as usize + at, bytes));
            set_loaded(&mut warp.registers, access, i, mask, &values);
        }
    }
    Ok(())
}

/// The words at offsets that have been checked.
#[inline(always)]
fn load_words(words: &[AtomicU32], pattern: &Pattern, row: &mut [u32; LANES]) {
    let (to, _) = row.as_chunks_mut::<GROUP>();
    let (from, _) = pattern.offsets.as_chunks::<GROUP>();
    for ((to, from), group) in to.iter_mut().zip(from).zip(pattern.groups) {
        let first = from[0] as usize / 4;
        match group {
            Group::Same => *to = [words[first].load(Relaxed); GROUP],
            Group::Run => {
                for (to, word) in to.iter_mut().zip(&words[first..first + GROUP]) {
                    *to = word.load(Relaxed);
                }
            }
            Group::Mixed => {
                for lane in 0..GROUP {
                    to[lane] = words[from[lane] as usize / 4].load(Relaxed);
                }
            }
        }
    }
}

/// Writes words, the first of `count` adjacent ones of each lane. Of lanes that write the same word the last one wins.
#[inline(always)]
fn store_words(
    row: &[u32; LANES],
    words: &[AtomicU32],
    mask: u32,
    pattern: &Pattern,
    count: usize,
) {
    if mask != FULL {
        for lane in lanes(mask) {
            words[pattern.offsets[lane] as usize / 4].store(row[lane], Relaxed);
        }
        return;
    }
    let (from, _) = row.as_chunks::<GROUP>();
    let (to, _) = pattern.offsets.as_chunks::<GROUP>();
    for ((from, to), group) in from.iter().zip(to).zip(pattern.groups) {
        let first = to[0] as usize / 4;
        if group == Group::Run && count == 1 {
            for (value, word) in from.iter().zip(&words[first..first + GROUP]) {
                word.store(*value, Relaxed);
            }
        } else {
            for lane in 0..GROUP {
                words[to[lane] as usize / 4].store(from[lane], Relaxed);
            }
        }
    }
}

/// As [`touch_all`], group by group where each group lies behind the one before.
#[inline(always)]
fn touch_groups(
    buffer: &Buffer,
    pattern: &Pattern,
    mask: u32,
    bytes: usize,
    touch: Touch,
) -> usize {
    let offsets = &pattern.offsets;
    let mut ends = [(0, 0); LANES / GROUP];
    if mask != FULL {
        return touch_all(buffer, offsets, mask, touch);
    }
    for (end, part) in ends.iter_mut().zip(pattern.parts(mask)) {
        let first = part.first as usize;
        let Some(length) = part.length(bytes) else {
            return touch_all(buffer, offsets, mask, touch);
        };
        *end = (first / SECTOR, (first + length - 1) / SECTOR);
    }
    let mut count = 0;
    let mut last = None;
    for (first, end) in ends {
        let first = match last {
            Some(last) if last > first => return touch_all(buffer, offsets, mask, touch),
            Some(last) if last == first => first + 1,
            _ => first,
        };
        if first <= end {
            count += end + 1 - first;
            buffer.touch(first * SECTOR, (end + 1 - first) * SECTOR, touch);
        }
        last = Some(end);
    }
    count
}

/// Counts the distinct sectors of active lanes and notes them in the footprint. An access lies in
/// one sector.
pub fn touch_all(buffer: &Buffer, offsets: &[u32; LANES], mask: u32, touch: Touch) -> usize {
    let mut sectors = [0; LANES];
    let (mut count, mut ascending) = (0usize, true);
    for lane in lanes(mask) {
        let sector = offsets[lane] / SECTOR as u32;
        let before = count.checked_sub(1).map(|last| sectors[last]);
        if before != Some(sector) {
            ascending &= before < Some(sector);
            sectors[count] = sector;
            count += 1;
        }
    }
    let sectors = &mut sectors[..count];
    if !ascending {
        sectors.sort_unstable();
    }
    let mut count = 0;
    let mut last = None;
    for &sector in &*sectors {
        if last != Some(sector) {
            count += 1;
            last = Some(sector);
            buffer.touch(sector as usize * SECTOR, 1, touch);
        }
    }
    count
}

#[cold]
fn unwritten(
    context: &mut Context,
    mask: u32,
    buffer: &Buffer,
    offsets: &[u32; LANES],
    bytes: usize,
) -> Result<(), Stop> {
    if context.is_known(FindingKind::UninitialisedRead) {
        return Ok(());
    }
    for lane in lanes(mask) {
        let offset = offsets[lane];
        if !buffer.is_written(offset as usize, bytes) {
            let place = place_in(buffer, buffer.base + u64::from(offset));
            let message = format!("the thread reads {bytes} bytes that nothing wrote");
            return context.report(FindingKind::UninitialisedRead, Some(lane), place, message);
        }
    }
    Ok(())
}

for_both_machines! {
    /// Looks for what another block did in the same places.
    track_global['a] = track(
        context: &mut Context<'a>, access: &Access, mask: u32, buffer: &'a Buffer, pattern: &Pattern,
        run: bool
    ) -> Result<(), Stop>
}

#[inline(always)]
fn track<'a, const WIDE: bool>(
    context: &mut Context<'a>,
    access: &Access,
    mask: u32,
    buffer: &'a Buffer,
    pattern: &Pattern,
    run: bool,
) -> Result<(), Stop> {
    let total = access.lane_bytes();
    let offsets = &pattern.offsets;
    let strong = access.order != Order::Weak;
    let Some(conflicts) = &mut context.conflicts else {
        return Ok(());
    };
    let mut found = None;
    if run && !strong {
        let first = offsets[0] as usize;
        found = conflicts.access(buffer, first, total * LANES, access.store, false);
    } else {
        for part in pattern.parts(mask) {
            if !strong
                && part.is_whole()
                && let Some(length) = part.length(total)
            {
                let other =
                    conflicts.access(buffer, part.first as usize, length, access.store, false);
                found = found.or(other);
                continue;
            }
            for lane in lanes(part.lanes) {
                let offset = offsets[lane] as usize;
                if strong {
                    let address = buffer.base + offset as u64;
                    conflicts.synchronise(address, access.order, !access.store, access.store);
                }
                let other = conflicts.access(buffer, offset, total, access.store, strong);
                found = found.or(other);
            }
        }
    }
    let Some(Conflict { offset, other }) = found else {
        return Ok(());
    };
    if context.is_known(FindingKind::BlockConflict) {
        return Ok(());
    }
    let reaches =
        |&lane: &usize| (offsets[lane] as usize..offsets[lane] as usize + total).contains(&offset);
    let lane = lanes(mask).find(reaches);
    let place = place_in(buffer, buffer.base + offset as u64);
    let message = format!(
        "the thread {} what {other}, with nothing that orders them",
        verb(access)
    );
    context.report(FindingKind::BlockConflict, lane, place, message)
}

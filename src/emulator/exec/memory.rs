//! Loads and stores.

use crate::emulator::finding::{BufferPlace, FindingKind};
use crate::emulator::memory::global::{SECTOR, Slot as Buffer, Touch};
use crate::emulator::memory::{self, LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW};
use crate::emulator::program::memory::{Access, Address, Order, Space};
use crate::emulator::program::types::Class;
use crate::emulator::program::{LOCAL_BASE, SHARED_BASE};
use crate::emulator::race::Conflict;
use std::sync::atomic::Ordering::Relaxed;

use super::context::{Context, Stop};
use super::registers::{FULL, LANES, Registers, for_both_machines, lanes};
use super::warp_state::WarpState;

for_both_machines! {
    /// Runs a load or a store in the lanes of `mask`, of which there is at least one.
    execute = run(
        context: &mut Context, warp: &mut WarpState, access: &Access, mask: u32
    ) -> Result<(), Stop>
}

#[inline(always)]
fn run(
    context: &mut Context,
    warp: &mut WarpState,
    access: &Access,
    mask: u32,
) -> Result<(), Stop> {
    match access.space {
        Space::Shared => {
            let offsets = shared_offsets(&warp.registers, access.address, mask);
            shared(context, warp, access, mask, &offsets)
        }
        Space::Global | Space::Const => {
            let addresses = addresses(&warp.registers, access.address);
            global(context, warp, access, mask, &addresses)
        }
        Space::Local | Space::Frame => {
            let offsets = addresses(&warp.registers, access.address);
            local(context, warp, access, mask, &offsets)
        }
        Space::Param => {
            let offsets = addresses(&warp.registers, access.address);
            parameter(context, warp, access, mask, &offsets)
        }
        Space::Generic => generic(context, warp, access, mask),
    }
}

/// Base plus offset in each lane.
#[inline(always)]
pub fn addresses(registers: &Registers, address: Address) -> [u64; LANES] {
    let mut out = [0; LANES];
    if address.wide {
        let base = registers.row64(address.base);
        for lane in 0..LANES {
            out[lane] = base[lane].wrapping_add_signed(address.offset);
        }
    } else {
        let base = registers.row32(address.base);
        for lane in 0..LANES {
            out[lane] = u64::from(base[lane].wrapping_add(address.offset as u32));
        }
    }
    out
}

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
fn shared_offset(address: u64) -> u32 {
    u32::try_from(address.wrapping_sub(SHARED_BASE)).unwrap_or(u32::MAX)
}

/// Gives lanes that are not active the value of one that is.
#[inline(always)]
pub fn fill<T: Copy>(values: &mut [T; LANES], mask: u32) {
    if mask == FULL {
        return;
    }
    let active = values[mask.trailing_zeros() as usize % LANES];
    for (lane, value) in values.iter_mut().enumerate() {
        if mask >> lane & 1 == 0 {
            *value = active;
        }
    }
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

fn verb(access: &Access) -> &'static str {
    if access.store { "writes" } else { "reads" }
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
fn shared(
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

/// Puts loaded values into registers, extended as the type says.
#[inline(always)]
fn set_loaded(
    registers: &mut Registers,
    access: &Access,
    i: usize,
    mask: u32,
    values: &[u64; LANES],
) {
    let slot = access.registers[i];
    let unused = 64 - 8 * u32::from(access.bytes);
    let extended = if access.signed {
        values.map(|value| ((value << unused) as i64 >> unused) as u64)
    } else {
        *values
    };
    match access.class {
        Class::R64 => registers.set64(slot, mask, &extended),
        Class::R16 => registers.set32(slot, mask, &extended.map(|value| value as u32 & 0xffff)),
        _ => registers.set32(slot, mask, &extended.map(|value| value as u32)),
    }
}

/// The value that a lane stores; bytes beyond the access are ignored by whoever writes them.
#[inline(always)]
fn stored(registers: &Registers, access: &Access, i: usize, lane: usize) -> u64 {
    match access.class {
        Class::R64 => registers.row64(access.registers[i])[lane],
        _ => u64::from(registers.row32(access.registers[i])[lane]),
    }
}

/// Offsets in the one buffer that all lanes address, if they do and lie within it.
#[inline(always)]
pub fn offsets_in(buffer: &Buffer, addresses: &[u64; LANES], bytes: usize) -> Option<[u32; LANES]> {
    if bytes > buffer.size {
        return None;
    }
    let last = (buffer.size - bytes) as u64;
    let mut out = [0; LANES];
    let mut inside = true;
    for lane in 0..LANES {
        let offset = addresses[lane].wrapping_sub(buffer.base);
        inside &= offset <= last;
        out[lane] = offset as u32;
    }
    (inside && out.iter().fold(0, |all, offset| all | offset) & (bytes as u32 - 1) == 0)
        .then_some(out)
}

#[inline(always)]
fn global(
    context: &mut Context,
    warp: &mut WarpState,
    access: &Access,
    mask: u32,
    addresses: &[u64; LANES],
) -> Result<(), Stop> {
    let total = usize::from(access.bytes) * usize::from(access.count);
    let mut filled = *addresses;
    fill(&mut filled, mask);
    count_request(context, access, mask, total);
    let global = context.global;
    if let Some(buffer) = global.near(filled[0])
        && allowed(buffer, access)
        && let Some(offsets) = offsets_in(buffer, &filled, total)
    {
        return in_buffer(context, warp, access, mask, buffer, &offsets);
    }
    // Several buffers, or a fault.
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
        if let Some(buffer) = global.near(addresses[first]) {
            let mut some = *addresses;
            fill(&mut some, together);
            if let Some(offsets) = offsets_in(buffer, &some, total) {
                in_buffer(context, warp, access, together, buffer, &offsets)?;
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
    Some(BufferPlace {
        buffer: buffer.name.clone(),
        offset: address.wrapping_sub(buffer.base) as i64,
    })
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

/// Whether lanes follow each other without gaps.
#[inline(always)]
fn adjacent(offsets: &[u32; LANES], bytes: usize) -> bool {
    let mut gaps = 0;
    for lane in 0..LANES {
        gaps |= offsets[lane].wrapping_sub(offsets[0]) ^ (lane * bytes) as u32;
    }
    gaps == 0
}

#[inline(always)]
fn in_buffer(
    context: &mut Context,
    warp: &mut WarpState,
    access: &Access,
    mask: u32,
    buffer: &Buffer,
    offsets: &[u32; LANES],
) -> Result<(), Stop> {
    let (bytes, count) = (usize::from(access.bytes), usize::from(access.count));
    let total = bytes * count;
    let run = mask == FULL && adjacent(offsets, total);
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
            touch_all(buffer, offsets, touch)
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
            track_global(context, access, mask, buffer, offsets, run)?;
        }
    }
    if access.store {
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
    for i in 0..count {
        let at = bytes * i;
        if bytes == 4 && access.class != Class::R64 {
            if access.store {
                store_words(
                    warp,
                    access.registers[i],
                    mask,
                    buffer,
                    offsets,
                    at,
                    run && count == 1,
                );
            } else {
                let row = load_words(buffer, offsets, at, run && count == 1);
                warp.registers.set32(access.registers[i], mask, &row);
            }
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

#[inline(always)]
fn load_words(buffer: &Buffer, offsets: &[u32; LANES], at: usize, run: bool) -> [u32; LANES] {
    let words = buffer.words();
    let mut row = [0; LANES];
    let first = offsets[0] as usize / 4;
    if run && let Some(words) = words.get(first..first + LANES) {
        for (value, word) in row.iter_mut().zip(words) {
            *value = word.load(Relaxed);
        }
    } else {
        for lane in 0..LANES {
            row[lane] = words[(offsets[lane] as usize + at) / 4].load(Relaxed);
        }
    }
    row
}

#[inline(always)]
fn store_words(
    warp: &WarpState,
    register: u16,
    mask: u32,
    buffer: &Buffer,
    offsets: &[u32; LANES],
    at: usize,
    run: bool,
) {
    let row = warp.registers.row32(register);
    let words = buffer.words();
    let first = offsets[0] as usize / 4;
    if run && let Some(words) = words.get(first..first + LANES) {
        for (value, word) in row.iter().zip(words) {
            word.store(*value, Relaxed);
        }
    } else {
        for lane in lanes(mask) {
            words[(offsets[lane] as usize + at) / 4].store(row[lane], Relaxed);
        }
    }
}

/// Counts the distinct sectors and notes them in the footprint. An access lies in one sector.
pub fn touch_all(buffer: &Buffer, offsets: &[u32; LANES], touch: Touch) -> usize {
    let mut sectors = offsets.map(|offset| offset / SECTOR as u32);
    if !sectors.is_sorted() {
        sectors.sort_unstable();
    }
    let mut count = 0;
    let mut last = None;
    for sector in sectors {
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

#[inline(never)]
fn track_global(
    context: &mut Context,
    access: &Access,
    mask: u32,
    buffer: &Buffer,
    offsets: &[u32; LANES],
    run: bool,
) -> Result<(), Stop> {
    let total = usize::from(access.bytes) * usize::from(access.count);
    let strong = access.order != Order::Weak;
    let Some(conflicts) = &mut context.conflicts else {
        return Ok(());
    };
    let mut found = None;
    if run && !strong {
        let first = offsets[0] as usize;
        found = conflicts.access(buffer, first, total * LANES, access.store, false);
    } else {
        for lane in lanes(mask) {
            let offset = offsets[lane] as usize;
            if strong {
                let address = buffer.base + offset as u64;
                conflicts.synchronise(address, access.order, !access.store, access.store);
            }
            let other = conflicts.access(buffer, offset, total, access.store, strong);
            found = found.or(other);
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

#[inline(never)]
fn local(
    context: &mut Context,
    warp: &mut WarpState,
    access: &Access,
    mask: u32,
    addresses: &[u64; LANES],
) -> Result<(), Stop> {
    let (bytes, count) = (usize::from(access.bytes), usize::from(access.count));
    let total = bytes * count;
    if access.space != Space::Frame {
        context.counters.local_requests += 1;
    }
    let size = context.kernel.local_bytes as u64;
    let mut values = [[0u64; LANES]; 4];
    for lane in lanes(mask) {
        let offset = addresses[lane].wrapping_sub(LOCAL_BASE);
        let place = || {
            Some(BufferPlace {
                buffer: "local memory".to_owned(),
                offset: offset as i64,
            })
        };
        let verb = verb(access);
        if !offset.is_multiple_of(total as u64) {
            let message = format!(
                "the thread {verb} {total} bytes at an offset that is no multiple of {total}"
            );
            return context.report(FindingKind::Misaligned, Some(lane), place(), message);
        }
        if offset
            .checked_add(total as u64)
            .is_none_or(|end| end > size)
        {
            let message =
                format!("the thread {verb} {total} bytes; it has {size} bytes of local memory");
            return context.report(FindingKind::OutOfBounds, Some(lane), place(), message);
        }
        let at = lane * context.kernel.local_bytes.next_multiple_of(16) + offset as usize;
        if !access.store && !warp.local.is_written(at, total) {
            let message = format!("the thread reads {total} bytes that it never wrote");
            context.report(FindingKind::UninitialisedRead, Some(lane), place(), message)?;
        }
        for (i, values) in values.iter_mut().enumerate().take(count) {
            if access.store {
                let value = stored(&warp.registers, access, i, lane);
                warp.local.write(at + bytes * i, bytes, value);
            } else {
                values[lane] = warp.local.read(at + bytes * i, bytes);
            }
        }
    }
    if !access.store {
        for (i, values) in values.iter().enumerate().take(count) {
            set_loaded(&mut warp.registers, access, i, mask, values);
        }
    }
    Ok(())
}

#[inline(never)]
fn parameter(
    context: &mut Context,
    warp: &mut WarpState,
    access: &Access,
    mask: u32,
    offsets: &[u64; LANES],
) -> Result<(), Stop> {
    let (bytes, count) = (usize::from(access.bytes), usize::from(access.count));
    let total = bytes * count;
    let parameters = context.parameters;
    // Nearly always a constant offset: one lane stands for all.
    let first = offsets[mask.trailing_zeros() as usize % LANES];
    let uniform = lanes(mask).all(|lane| offsets[lane] == first);
    if uniform
        && count == 1
        && !access.store
        && first.is_multiple_of(bytes as u64)
        && let Some(value) = usize::try_from(first)
            .ok()
            .and_then(|first| parameters.get(first..)?.get(..bytes))
    {
        let value = (value.iter().rev()).fold(0, |all, &byte| all << 8 | u64::from(byte));
        set_loaded(&mut warp.registers, access, 0, mask, &[value; LANES]);
        return Ok(());
    }
    let lanes_read = if uniform {
        mask & mask.wrapping_neg()
    } else {
        mask
    };
    let mut values = [[0u64; LANES]; 4];
    for lane in lanes(lanes_read) {
        let offset = offsets[lane];
        let place = || {
            Some(BufferPlace {
                buffer: "parameters".to_owned(),
                offset: offset as i64,
            })
        };
        if access.store {
            let message = format!("the thread writes {total} bytes of the kernel's parameters");
            return context.report(FindingKind::ReadOnlyWrite, Some(lane), place(), message);
        }
        if !offset.is_multiple_of(total as u64) {
            let message = format!(
                "the thread reads {total} bytes at an offset that is no multiple of {total}"
            );
            return context.report(FindingKind::Misaligned, Some(lane), place(), message);
        }
        let Some(found) = usize::try_from(offset)
            .ok()
            .and_then(|offset| parameters.get(offset..)?.get(..total))
        else {
            let size = parameters.len();
            let message =
                format!("the thread reads {total} bytes; the parameters have {size} bytes");
            return context.report(FindingKind::OutOfBounds, Some(lane), place(), message);
        };
        for (values, element) in values.iter_mut().zip(found.chunks_exact(bytes)) {
            values[lane] = element
                .iter()
                .rev()
                .fold(0, |all, &byte| all << 8 | u64::from(byte));
            if uniform {
                *values = [values[lane]; LANES];
            }
        }
    }
    for (i, values) in values.iter().enumerate().take(count) {
        set_loaded(&mut warp.registers, access, i, mask, values);
    }
    Ok(())
}

#[inline(never)]
fn generic(
    context: &mut Context,
    warp: &mut WarpState,
    access: &Access,
    mask: u32,
) -> Result<(), Stop> {
    let all = addresses(&warp.registers, access.address);
    let mut left = mask;
    while left != 0 {
        let first = left.trailing_zeros() as usize;
        let kind = |lane: usize| match memory::window(all[lane]) {
            special @ (SHARED_WINDOW | LOCAL_WINDOW | PARAM_WINDOW) => special,
            _ => 0,
        };
        let window = kind(first);
        let together = lanes(left)
            .filter(|&lane| kind(lane) == window)
            .fold(0, |all, lane| all | 1 << lane);
        let low = all.map(|address| address & 0xffff_ffff);
        match window {
            SHARED_WINDOW => {
                let mut offsets = low.map(shared_offset);
                fill(&mut offsets, together);
                shared(context, warp, access, together, &offsets)?;
            }
            LOCAL_WINDOW => local(context, warp, access, together, &low)?,
            PARAM_WINDOW => parameter(context, warp, access, together, &low)?,
            _ => global(context, warp, access, together, &all)?,
        }
        left &= !together;
    }
    Ok(())
}

//! What each thread has for itself: local memory, and the kernel's parameters.

use crate::emulator::finding::{BufferPlace, FindingKind};
use crate::emulator::program::LOCAL_BASE;
use crate::emulator::program::memory::{Access, Space};

use super::super::context::{Context, Stop};
use super::super::registers::{LANES, lanes};
use super::super::warp_state::WarpState;
use super::{set_loaded, stored, verb};

#[inline(never)]
pub(super) fn local(
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
pub(super) fn parameter(
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

//! Asynchronous copies: each is a pending object that lands when the schedule says, at the latest
//! where its thread waits for it.

use crate::emulator::finding::{BufferPlace, FindingKind};
use crate::emulator::launch::Schedule;
use crate::emulator::memory::global::Touch;
use crate::emulator::program::async_copy::AsyncCopy;
use crate::emulator::program::memory::Address;

use super::compare::holds;
use super::context::{Context, Stop};
use super::memory::{addresses, check_address, check_shared, shared_pattern, touch_all};
use super::registers::lanes;
use super::warp_state::WarpState;

/// A copy of one thread that has not landed.
#[derive(Clone, Copy, Debug)]
struct Copy {
    lane: u8,
    bytes: u8,
    /// Bytes that are read; the rest is zero.
    read: u8,
    /// Number of the thread's group that it belongs to.
    group: u32,
    to: u32,
    from: u64,
    /// Whether the race shadow still waits for its thread to know of it.
    known: bool,
}

/// The copies of a warp's threads that have not landed, or of whose landing nobody knows yet.
#[derive(Debug, Default)]
pub struct Pending {
    copies: Vec<Copy>,
    /// Groups that each lane has committed.
    committed: [u32; 32],
}

impl Pending {
    pub fn clear(&mut self) {
        self.copies.clear();
        self.committed = [0; 32];
    }
}

/// Runs a copy, a commit or a wait in the lanes of `active`.
pub fn execute(
    context: &mut Context,
    state: &mut WarpState,
    copy: &AsyncCopy,
    active: u32,
) -> Result<(), Stop> {
    match *copy {
        AsyncCopy::Copy {
            to,
            from,
            bytes,
            read,
            ignore,
        } => {
            let mut sizes = [u32::from(bytes); 32];
            if let Some(read) = read {
                sizes = *state.registers.row32(read);
            }
            if let Some(ignore) = ignore {
                let ignored = holds(&state.registers, ignore);
                lanes(ignored).for_each(|lane| sizes[lane] = 0);
            }
            issue(context, state, active, to, from, usize::from(bytes), &sizes)
        }
        AsyncCopy::Commit => {
            lanes(active).for_each(|lane| state.copies.committed[lane] += 1);
            Ok(())
        }
        AsyncCopy::WaitGroup(left) => wait(context, state, active, left),
        AsyncCopy::WaitAll => {
            lanes(active).for_each(|lane| state.copies.committed[lane] += 1);
            wait(context, state, active, 0)
        }
    }
}

fn issue(
    context: &mut Context,
    state: &mut WarpState,
    active: u32,
    to: Address,
    from: Address,
    bytes: usize,
    sizes: &[u32; 32],
) -> Result<(), Stop> {
    let targets = shared_pattern::<false>(&state.registers, to, active, bytes);
    check_shared(context, &targets, bytes, "copies")?;
    let targets = targets.offsets;
    let sources = addresses(&state.registers, from);
    let mut reading = 0;
    for lane in lanes(active) {
        if sizes[lane] as usize > bytes {
            let message = format!("the copy reads {} of {bytes} bytes", sizes[lane]);
            context.report(FindingKind::Illegal, Some(lane), None, message)?;
        }
        reading |= u32::from(sizes[lane] > 0) << lane;
    }
    check_sources(context, reading, &sources, bytes, sizes)?;
    for lane in lanes(active) {
        if let Some(race) = &mut context.race {
            let found = race.issue(context.warp, lane, targets[lane], bytes);
            context.report_race(found, Some(lane))?;
        }
        context.counters.async_copy_bytes += u64::from(sizes[lane]);
        context.counters.async_zero_bytes += bytes as u64 - u64::from(sizes[lane]);
        let copy = Copy {
            lane: lane as u8,
            bytes: bytes as u8,
            read: sizes[lane] as u8,
            group: state.copies.committed[lane],
            to: targets[lane],
            from: sources[lane],
            known: false,
        };
        if context.launch.options.schedule == Schedule::Earliest {
            land(context, &copy);
        }
        state.copies.copies.push(copy);
    }
    Ok(())
}

fn check_sources(
    context: &mut Context,
    reading: u32,
    sources: &[u64; 32],
    bytes: usize,
    sizes: &[u32; 32],
) -> Result<(), Stop> {
    if reading == 0 {
        return Ok(());
    }
    for lane in lanes(reading) {
        let size = sizes[lane] as usize;
        if !sources[lane].is_multiple_of(bytes as u64) {
            check_address(context, sources[lane], lane, bytes, "copies")?;
        }
        // Only the bytes that are read must lie in a buffer.
        let Some(buffer) = context.global.near(sources[lane]) else {
            check_address(context, sources[lane], lane, bytes, "copies")?;
            continue;
        };
        let offset = sources[lane].wrapping_sub(buffer.base);
        let place = || BufferPlace::in_buffer(buffer, offset);
        if offset
            .checked_add(size as u64)
            .is_none_or(|end| end > buffer.size as u64)
        {
            let message = format!(
                "the thread copies {size} bytes; the buffer has {} bytes",
                buffer.size
            );
            context.report(FindingKind::OutOfBounds, Some(lane), place(), message)?;
        }
        if !buffer.is_written(offset as usize, size)
            && !context.is_known(FindingKind::UninitialisedRead)
        {
            let message = format!("the thread copies {size} bytes that nothing wrote");
            context.report(FindingKind::UninitialisedRead, Some(lane), place(), message)?;
        }
    }
    count_sources(context, reading, sources, sizes);
    Ok(())
}

fn count_sources(context: &mut Context, reading: u32, sources: &[u64; 32], sizes: &[u32; 32]) {
    let counters = &mut context.counters;
    counters.global_load_requests += 1;
    counters.global_load_bytes += lanes(reading)
        .map(|lane| u64::from(sizes[lane]))
        .sum::<u64>();
    let mut left = reading;
    while left != 0 {
        let first = left.trailing_zeros() as usize;
        let window = crate::emulator::memory::window(sources[first]);
        let together = lanes(left)
            .filter(|&lane| crate::emulator::memory::window(sources[lane]) == window)
            .fold(0, |all, lane| all | 1 << lane);
        left &= !together;
        if let Some(buffer) = context.global.near(sources[first]) {
            let offsets = sources.map(|address| address.wrapping_sub(buffer.base) as u32);
            let sectors = touch_all(buffer, &offsets, together, Touch::Read);
            context.counters.global_load_sectors += sectors as u64;
        }
    }
}

/// Lets a copy arrive.
fn land(context: &mut Context, copy: &Copy) {
    let (to, bytes, read) = (
        copy.to as usize,
        usize::from(copy.bytes),
        usize::from(copy.read),
    );
    let mut data = [0u8; 16];
    if read > 0
        && let Some(buffer) = context.global.near(copy.from)
    {
        let offset = (copy.from - buffer.base) as usize;
        buffer.download(offset, &mut data[..read]);
    }
    for (i, &word) in data.as_chunks::<4>().0.iter().enumerate().take(bytes / 4) {
        let word = u32::from_le_bytes(word);
        context.shared.write(to + 4 * i, 4, u64::from(word));
    }
}

/// Lets copies of `active` land until at most `left` groups of each lane are under way.
fn wait(context: &mut Context, state: &mut WarpState, active: u32, left: u32) -> Result<(), Stop> {
    let early = context.launch.options.schedule == Schedule::Earliest;
    let Pending { copies, committed } = &mut state.copies;
    copies.retain(|copy| {
        let lane = usize::from(copy.lane);
        let waited = active >> lane & 1 == 1 && copy.group + left < committed[lane];
        if waited {
            if !(early || copy.known) {
                land(context, copy);
            }
            if let Some(race) = &mut context.race {
                race.land(state.index, lane, copy.to, usize::from(copy.bytes));
            }
        }
        !waited
    });
    Ok(())
}

/// Threads end: their copies land.
pub fn finish(context: &mut Context, state: &mut WarpState, active: u32) -> Result<(), Stop> {
    if state.copies.copies.is_empty() {
        return Ok(());
    }
    lanes(active).for_each(|lane| state.copies.committed[lane] += 1);
    wait(context, state, active, 0)
}

/// Under the random schedule some copies land before they are waited for.
pub fn land_some(context: &mut Context, state: &mut WarpState) -> Result<(), Stop> {
    if state.copies.copies.is_empty() || context.draw(4) != 0 {
        return Ok(());
    }
    let mut copies = std::mem::take(&mut state.copies.copies);
    for copy in &mut copies {
        if !copy.known && context.draw(2) == 0 {
            land(context, copy);
            copy.known = true;
        }
    }
    state.copies.copies = copies;
    Ok(())
}

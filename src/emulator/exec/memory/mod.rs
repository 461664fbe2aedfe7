//! Loads and stores. An access goes to the file of its space; one with a generic address is split
//! by the windows that its lanes address.

mod global;
mod local;
mod pattern;
mod shared;

use crate::emulator::memory::{self, LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW};
use crate::emulator::program::SHARED_BASE;
use crate::emulator::program::memory::{Access, Address, Space};
use crate::emulator::program::types::Class;

use super::context::{Context, Stop};
use super::registers::{LANES, Registers, for_both_machines, lanes};
use super::warp_state::WarpState;
use global::global;
use local::{local, parameter};
use shared::shared;

pub use global::{check_address, touch_all};
pub use pattern::{GROUP, Group, Part, Pattern};
pub use shared::{check_shared, shared_pattern};

for_both_machines! {
    /// Runs a load or a store in the lanes of `mask`, of which there is at least one.
    execute = run(
        context: &mut Context, warp: &mut WarpState, access: &Access, mask: u32
    ) -> Result<(), Stop>
}

#[inline(always)]
fn run<const WIDE: bool>(
    context: &mut Context,
    warp: &mut WarpState,
    access: &Access,
    mask: u32,
) -> Result<(), Stop> {
    match access.space {
        Space::Shared => {
            let bytes = access.lane_bytes();
            let pattern = shared_pattern::<WIDE>(&warp.registers, access.address, mask, bytes);
            shared::<WIDE>(context, warp, access, mask, &pattern)
        }
        Space::Global | Space::Const => global::<WIDE>(context, warp, access, mask),
        Space::Local | Space::Frame => {
            let offsets = addresses(&warp.registers, access.address);
            local(context, warp, access, mask, &offsets)
        }
        Space::Param => {
            let offsets = addresses(&warp.registers, access.address);
            parameter(context, warp, access, mask, &offsets)
        }
        Space::Generic => generic::<WIDE>(context, warp, access, mask),
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

fn verb(access: &Access) -> &'static str {
    if access.store { "writes" } else { "reads" }
}

/// Puts loaded words into registers of 32 bits.
#[inline(always)]
fn set_rows<const N: usize>(
    warp: &mut WarpState,
    access: &Access,
    mask: u32,
    rows: [[u32; LANES]; N],
) {
    for (&register, row) in access.registers.iter().zip(&rows) {
        warp.registers.set32(register, mask, row);
    }
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

#[inline(never)]
fn generic<const WIDE: bool>(
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
                let add = SHARED_BASE.wrapping_neg();
                let bytes = access.lane_bytes();
                let pattern = Pattern::wide::<WIDE>(&low, add, together, bytes);
                shared::<WIDE>(context, warp, access, together, &pattern)?;
            }
            LOCAL_WINDOW => local(context, warp, access, together, &low)?,
            PARAM_WINDOW => parameter(context, warp, access, together, &low)?,
            _ => global::<WIDE>(context, warp, access, together)?,
        }
        left &= !together;
    }
    Ok(())
}

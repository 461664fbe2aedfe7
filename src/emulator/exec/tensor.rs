//! Matrices in registers: `ldmatrix`, `stmatrix`, `mma`.
//!
//! Lane 4 g + t of a warp holds, of an 8 x 8 matrix of 16-bit values, those of row g and columns
//! 2 t and 2 t + 1; all fragments are made of such matrices.

use crate::emulator::finding::{BufferPlace, FindingKind};
use crate::emulator::memory::{self, SHARED_WINDOW};
use crate::emulator::program::SHARED_BASE;
use crate::emulator::program::float::Rounding;
use crate::emulator::program::memory::Space;
use crate::emulator::program::tensor::{Matrices, Mma, Tensor};
use crate::emulator::program::types::Type;

use super::context::{Context, Stop};
use super::memory::addresses;
use super::numbers::{F16, canonical, narrow, widen_f16};
use super::registers::{FULL, LANES, Registers, for_both_machines};
use super::warp_loop::Next;
use super::warp_state::WarpState;

/// Bytes of a row of a matrix.
const ROW: usize = 16;

/// Runs a tensor instruction, once all lanes are there.
#[inline(always)]
pub fn execute<const WIDE: bool>(
    context: &mut Context,
    state: &mut WarpState,
    tensor: &Tensor,
    active: u32,
) -> Result<Next, Stop> {
    if active != FULL {
        if active != state.live {
            return Ok(Next::Lanes);
        }
        let message = format!("only lanes {active:#010x} are here; the whole warp must be");
        context.report(FindingKind::MemberMask, None, None, message)?;
    }
    match tensor {
        Tensor::Matrices(matrices) => {
            let rows = row_offsets(context, &state.registers, matrices)?;
            if matrices.store {
                store(context, &state.registers, matrices, &rows)?;
            } else {
                load(context, &mut state.registers, matrices, &rows)?;
            }
        }
        Tensor::Mma(mma) => {
            context.counters.tensor_flop += 2 * 16 * 8 * u64::from(mma.depth);
            multiply::<WIDE>(&mut state.registers, mma);
        }
    }
    Ok(Next::GoOn)
}

/// Offsets of the rows in shared memory: lane 8 j + i gives row i of matrix j.
fn row_offsets(
    context: &mut Context,
    registers: &Registers,
    matrices: &Matrices,
) -> Result<Vec<u32>, Stop> {
    let all = addresses(registers, matrices.address);
    let verb = if matrices.store { "writes" } else { "reads" };
    let size = context.shared.len();
    let mut rows = Vec::with_capacity(LANES);
    for (lane, &address) in all.iter().enumerate().take(8 * usize::from(matrices.count)) {
        let mut address = address;
        if matrices.space == Space::Generic {
            if memory::window(address) != SHARED_WINDOW {
                let message = format!("the row at address {address:#x} is not in shared memory");
                context.report(FindingKind::OutOfBounds, Some(lane), None, message)?;
            }
            address &= 0xffff_ffff;
        }
        let offset = address.wrapping_sub(SHARED_BASE);
        let place = || BufferPlace::in_shared(offset as i64);
        if !offset.is_multiple_of(ROW as u64) {
            let message =
                format!("the warp {verb} a row at an offset that is no multiple of {ROW} bytes");
            context.report(FindingKind::Misaligned, Some(lane), place(), message)?;
        }
        if offset
            .checked_add(ROW as u64)
            .is_none_or(|end| end > size as u64)
        {
            let message =
                format!("the warp {verb} a row; the block has {size} bytes of shared memory");
            context.report(FindingKind::OutOfBounds, Some(lane), place(), message)?;
        }
        rows.push(offset as u32);
    }
    let mut offsets = [rows.first().copied().unwrap_or(0); LANES];
    offsets[..rows.len()].copy_from_slice(&rows);
    let mask = FULL >> (LANES - rows.len());
    let [passes, ideal] = context.wavefronts(&offsets, mask, ROW);
    let counters = &mut context.counters;
    if matrices.store {
        counters.shared_store_requests += u64::from(matrices.count);
        counters.shared_store_wavefronts += passes;
        counters.shared_store_ideal_wavefronts += ideal;
    } else {
        counters.shared_load_requests += u64::from(matrices.count);
        counters.shared_load_wavefronts += passes;
        counters.shared_load_ideal_wavefronts += ideal;
    }
    if let Some(race) = &mut context.race {
        let found = race.access_together(context.warp, &rows, ROW, matrices.store);
        context.report_race(found, None)?;
    }
    Ok(rows)
}

fn load(
    context: &mut Context,
    registers: &mut Registers,
    matrices: &Matrices,
    rows: &[u32],
) -> Result<(), Stop> {
    for (lane, &offset) in rows.iter().enumerate() {
        if !context.shared.is_written(offset as usize, ROW) {
            let place = BufferPlace::in_shared(i64::from(offset));
            let message = "the warp reads a row with bytes that no thread of the block wrote";
            let kind = FindingKind::UninitialisedRead;
            context.report(kind, Some(lane), place, message.to_owned())?;
        }
    }
    for (rows, &register) in rows.chunks_exact(8).zip(&matrices.registers) {
        let element = |row: usize, column: usize| {
            context.shared.read(rows[row] as usize + 2 * column, 2) as u32
        };
        let values = std::array::from_fn(|lane| {
            let (g, t) = (lane / 4, lane % 4);
            if matrices.transposed {
                element(2 * t, g) | element(2 * t + 1, g) << 16
            } else {
                context.shared.words()[rows[g] as usize / 4 + t]
            }
        });
        registers.set32(register, FULL, &values);
    }
    Ok(())
}

fn store(
    context: &mut Context,
    registers: &Registers,
    matrices: &Matrices,
    rows: &[u32],
) -> Result<(), Stop> {
    for (rows, &register) in rows.chunks_exact(8).zip(&matrices.registers) {
        let values = registers.row32(register);
        for (lane, &value) in values.iter().enumerate() {
            let (g, t) = (lane / 4, lane % 4);
            for half in 0..2 {
                let (row, column) = if matrices.transposed {
                    (2 * t + half, g)
                } else {
                    (g, 2 * t + half)
                };
                let offset = rows[row] as usize + 2 * column;
                context
                    .shared
                    .write(offset, 2, u64::from(value >> (16 * half) & 0xffff));
            }
        }
    }
    Ok(())
}

for_both_machines! {
    /// Runs `mma` of a whole warp.
    multiply = run(registers: &mut Registers, mma: &Mma)
}

#[inline(always)]
fn run<const WIDE: bool>(registers: &mut Registers, mma: &Mma) {
    match mma.ty {
        Type::BF16 => product(registers, mma, |bits| f32::from_bits(bits << 16)),
        _ => product(registers, mma, widen_f16),
    }
}

/// The sum runs over k in ascending order in f32, each product and sum rounded once.
#[inline(always)]
fn product(registers: &mut Registers, mma: &Mma, widen: impl Fn(u32) -> f32) {
    let depth = usize::from(mma.depth);
    let mut a = [[0f32; 16]; 16];
    let mut b = [[0f32; 8]; 16];
    let mut sum = [[0f32; 8]; 16];
    for part in 0..depth / 4 {
        // Matrices of a: rows 0 and 8 of columns 0, then of columns 8.
        let values = registers.row32(mma.a[part]);
        let (top, left) = (8 * (part % 2), 8 * (part / 2));
        for (lane, &value) in values.iter().enumerate() {
            let (g, t) = (lane / 4, lane % 4);
            a[top + g][left + 2 * t] = widen(value & 0xffff);
            a[top + g][left + 2 * t + 1] = widen(value >> 16);
        }
    }
    for part in 0..depth / 8 {
        let values = registers.row32(mma.b[part]);
        for (lane, &value) in values.iter().enumerate() {
            let (g, t) = (lane / 4, lane % 4);
            b[8 * part + 2 * t][g] = widen(value & 0xffff);
            b[8 * part + 2 * t + 1][g] = widen(value >> 16);
        }
    }
    for half in 0..2 {
        for lane in 0..LANES {
            let (g, t) = (lane / 4, lane % 4);
            let row = &mut sum[8 * half + g];
            if mma.wide_c {
                row[2 * t] = f32::from_bits(registers.row32(mma.c[2 * half])[lane]);
                row[2 * t + 1] = f32::from_bits(registers.row32(mma.c[2 * half + 1])[lane]);
            } else {
                let pair = registers.row32(mma.c[half])[lane];
                row[2 * t] = widen_f16(pair & 0xffff);
                row[2 * t + 1] = widen_f16(pair >> 16);
            }
        }
    }
    for (row, sum) in a.iter().zip(&mut sum) {
        for k in 0..depth {
            for n in 0..8 {
                sum[n] = row[k].mul_add(b[k][n], sum[n]);
            }
        }
    }
    for half in 0..2 {
        let mut first = [0; LANES];
        let mut second = [0; LANES];
        for lane in 0..LANES {
            let (g, t) = (lane / 4, lane % 4);
            let row = &sum[8 * half + g];
            first[lane] = canonical(row[2 * t]).to_bits();
            second[lane] = canonical(row[2 * t + 1]).to_bits();
        }
        if mma.wide_d {
            registers.set32(mma.d[2 * half], FULL, &first);
            registers.set32(mma.d[2 * half + 1], FULL, &second);
        } else {
            let halve = |bits: u32| narrow(f32::from_bits(bits).into(), F16, Rounding::Nearest);
            let pairs = std::array::from_fn(|lane| halve(first[lane]) | halve(second[lane]) << 16);
            registers.set32(mma.d[half], FULL, &pairs);
        }
    }
}

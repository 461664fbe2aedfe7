//! A warp: registers, local memory, and where its lanes are.

use crate::emulator::memory::block::Scratch;
use crate::emulator::program::{Kernel, Special};

use super::async_copy::Pending;
use super::context::Context;
use super::registers::{FULL, LANES, Registers};

/// Why some lanes do not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// They can go on.
    No,
    /// For lanes of their own warp to come to the same instruction.
    Lanes,
    /// At a barrier of the block.
    Barrier(u8),
}

/// Lanes that are at the same instruction.
#[derive(Clone, Copy, Debug)]
pub struct Split {
    pub pc: u32,
    pub mask: u32,
    pub waiting: Waiting,
}

/// One warp of a block.
#[derive(Debug)]
pub struct WarpState {
    pub index: u32,
    pub registers: Registers,
    /// Local memory of the lanes, one after the other.
    pub local: Scratch,
    /// Lanes that exist, and those of them that have not ended.
    pub exists: u32,
    pub live: u32,
    /// All live lanes, in no order.
    pub splits: Vec<Split>,
    pub copies: Pending,
    /// Whether special registers have been set.
    begun: bool,
}

impl WarpState {
    pub fn new(index: u32, kernel: &Kernel, parameters: &[u8]) -> Self {
        Self {
            index,
            registers: Registers::of_kernel(kernel, parameters),
            local: Scratch::new(LANES * kernel.local_bytes.next_multiple_of(16)),
            exists: 0,
            live: 0,
            splits: Vec::new(),
            copies: Pending::default(),
            begun: false,
        }
    }

    /// Begins another block.
    pub fn begin(&mut self, context: &Context) {
        let [x, y, z] = context.launch.block;
        let first = self.index * LANES as u32;
        let here = (x * y * z).saturating_sub(first).min(LANES as u32);
        self.exists = if here == 0 { 0 } else { FULL >> (32 - here) };
        self.live = self.exists;
        self.splits.clear();
        self.splits.push(Split {
            pc: 0,
            mask: self.exists,
            waiting: Waiting::No,
        });
        self.copies.clear();
        if self.local.len() > 0 {
            self.local.clear();
        }
        self.registers.clear(context.kernel);
        self.set_specials(context, first);
    }

    /// Sets the special registers: all of them once, the block's position in every block.
    fn set_specials(&mut self, context: &Context, first: u32) {
        for &(slot, special) in &context.kernel.specials {
            let row = &mut self.registers.r32[usize::from(slot)].0;
            match special {
                Special::Ctaid(axis) => *row = [context.block[usize::from(axis % 3)]; LANES],
                _ if self.begun => {}
                _ => {
                    for (lane, value) in row.iter_mut().enumerate() {
                        *value = special_value(special, context, first + lane as u32);
                    }
                }
            }
        }
        self.begun = true;
    }

    /// Whether all lanes have ended.
    pub fn is_done(&self) -> bool {
        self.splits.is_empty()
    }

    /// The runnable lanes with the lowest program counter.
    pub fn lowest(&self) -> Option<usize> {
        (0..self.splits.len())
            .filter(|&i| self.splits[i].waiting == Waiting::No)
            .min_by_key(|&i| self.splits[i].pc)
    }

    /// Adds lanes at `pc`, merged with those that are there already.
    pub fn join(&mut self, pc: u32, mask: u32, waiting: Waiting) {
        if mask == 0 {
            return;
        }
        let meets = |split: &&mut Split| {
            split.pc == pc
                && !matches!(split.waiting, Waiting::Barrier(_))
                && waiting == Waiting::No
        };
        if let Some(split) = self.splits.iter_mut().find(meets) {
            split.mask |= mask;
            split.waiting = Waiting::No;
            return;
        }
        self.splits.push(Split { pc, mask, waiting });
    }
}

fn special_value(special: Special, context: &Context, thread: u32) -> u32 {
    let block = context.launch.block;
    let lane = thread % 32;
    let axis = |values: [u32; 3], axis: u8| values.get(usize::from(axis)).copied().unwrap_or(0);
    match special {
        Special::Tid(0) => thread % block[0],
        Special::Tid(1) => thread / block[0] % block[1],
        Special::Tid(_) => thread / block[0] / block[1],
        Special::Ntid(i) => axis(block, i),
        Special::Ctaid(i) => axis(context.block, i),
        Special::Nctaid(i) => axis(context.launch.grid, i),
        Special::LaneId => lane,
        Special::WarpId => thread / 32,
        Special::WarpCount => block.iter().product::<u32>().div_ceil(32),
        Special::LaneMaskEq => 1 << lane,
        Special::LaneMaskLt => (1 << lane) - 1,
        Special::LaneMaskLe => FULL >> (31 - lane),
        Special::LaneMaskGe => FULL << lane,
        Special::LaneMaskGt => !(FULL >> (31 - lane)),
        Special::DynamicSharedBytes => context.launch.shared_bytes as u32,
        Special::TotalSharedBytes => context.shared.len() as u32,
        Special::Zero => 0,
    }
}

//! One block: its warps take turns until all have ended.

use crate::emulator::finding::FindingKind;
use crate::emulator::launch::Schedule;

use super::context::{Context, Stop};
use super::warp_loop::{Pause, report_stuck, run};
use super::warp_state::{Waiting, WarpState};
use super::{async_copy, barrier};

/// Instructions of a turn: enough to reach a barrier, few enough for warps that wait for each
/// other in loops.
const TURN: u64 = 1 << 14;

/// The longest turn of the random schedule.
const RANDOM_TURN: u32 = 48;

/// A block and its warps, used for one block after the other.
pub struct Block<'a> {
    pub context: Context<'a>,
    warps: Vec<WarpState>,
}

impl<'a> Block<'a> {
    pub fn new(context: Context<'a>) -> Self {
        let threads: u32 = context.launch.block.iter().product();
        let kernel = context.kernel;
        Self {
            warps: (0..threads.div_ceil(32))
                .map(|index| WarpState::new(index, kernel, context.parameters))
                .collect(),
            context,
        }
    }

    /// Runs the block of this number to its end.
    ///
    /// # Errors
    /// [`Stop`] after a finding that ends the launch.
    pub fn run<const WIDE: bool>(&mut self, block_index: u64) -> Result<(), Stop> {
        let context = &mut self.context;
        context.begin(block_index);
        for warp in &mut self.warps {
            warp.begin(context);
        }
        match context.launch.options.schedule {
            Schedule::Random(_) => self.run_randomly::<WIDE>(),
            Schedule::Latest | Schedule::Earliest => self.run_in_turn::<WIDE>(),
        }
    }

    fn run_in_turn<const WIDE: bool>(&mut self) -> Result<(), Stop> {
        loop {
            let (mut moved, mut left) = (false, false);
            for i in 0..self.warps.len() {
                if self.warps[i].is_done() || self.warps[i].lowest().is_none() {
                    left |= !self.warps[i].is_done();
                    continue;
                }
                moved = true;
                left |= self.turn::<WIDE>(i, TURN)? != Pause::Done;
            }
            if !left {
                return Ok(());
            }
            if !moved {
                self.report_deadlock()?;
            }
        }
    }

    fn run_randomly<const WIDE: bool>(&mut self) -> Result<(), Stop> {
        loop {
            let ready: Vec<usize> = (0..self.warps.len())
                .filter(|&i| self.warps[i].lowest().is_some())
                .collect();
            if ready.is_empty() {
                if self.warps.iter().all(WarpState::is_done) {
                    return Ok(());
                }
                self.report_deadlock()?;
            }
            let pick = self.context.draw(ready.len() as u32) as usize;
            let turn = 1 + self.context.draw(RANDOM_TURN);
            let i = ready.get(pick).copied().unwrap_or(0);
            async_copy::land_some(&mut self.context, &mut self.warps[i])?;
            self.turn::<WIDE>(i, turn.into())?;
        }
    }

    fn turn<const WIDE: bool>(&mut self, i: usize, turn: u64) -> Result<Pause, Stop> {
        let pause = run::<WIDE>(&mut self.context, &mut self.warps[i], turn)?;
        if let Pause::Complete(id) = pause {
            barrier::release(&mut self.context, &mut self.warps, id);
        }
        Ok(pause)
    }

    /// Nothing can go on: says who waits for what.
    fn report_deadlock(&mut self) -> Result<(), Stop> {
        for warp in &self.warps {
            report_stuck(&mut self.context, warp)?;
        }
        let context = &mut self.context;
        let mut waiting = Vec::new();
        let mut barriers = Vec::new();
        for warp in &self.warps {
            for split in &warp.splits {
                if let Waiting::Barrier(id) = split.waiting {
                    let line = context
                        .kernel
                        .code
                        .get(split.pc as usize)
                        .map_or(0, |i| i.line);
                    waiting.push(format!(
                        "warp {} at barrier {id}, PTX line {line}",
                        warp.index
                    ));
                    barriers.push((id, warp.index, split.pc));
                }
            }
        }
        let ended: u32 = self
            .warps
            .iter()
            .map(|warp| (warp.exists & !warp.live).count_ones())
            .sum();
        let one = barriers.first().copied();
        if let Some((id, warp, pc)) = one
            && barriers.iter().all(|&(other, ..)| other == id)
            && ended > 0
        {
            (context.warp, context.pc) = (warp, pc);
            let (arrived, expected) = context.barriers.progress(id);
            let message = format!(
                "{arrived} of {expected} threads have arrived at barrier {id}, and {ended} threads \
                 of the block have ended without it"
            );
            return context.report(FindingKind::BarrierDivergence, None, None, message);
        }
        let message = format!("no thread can go on: {}", waiting.join("; "));
        context.report_block(FindingKind::Deadlock, message)
    }
}

//! What the instructions of a block share beside registers: memories, counters, findings.

use std::collections::HashMap;

use crate::emulator::counters::Counters;
use crate::emulator::finding::{BufferPlace, Finding, FindingKind};
use crate::emulator::launch::{Launch, Schedule};
use crate::emulator::memory::block::Scratch;
use crate::emulator::memory::global::GlobalMemory;
use crate::emulator::program::Kernel;
use crate::emulator::race::{Conflicts, Found, Shadow};
use crate::rng::philox4x32_10;

use super::barrier::Barriers;

/// The block has met a finding that ends the launch.
#[derive(Clone, Copy, Debug)]
pub struct Stop;

/// One block under way, without its warps.
pub struct Context<'a> {
    pub kernel: &'a Kernel,
    pub global: &'a GlobalMemory,
    pub parameters: &'a [u8],
    pub launch: &'a Launch,
    /// Position of the block in the grid, and its number with x running fastest.
    pub block: [u32; 3],
    pub block_index: u64,
    /// The warp and the instruction under way.
    pub warp: u32,
    pub pc: u32,
    /// Instructions that this block may still execute.
    pub budget: u64,
    pub shared: Scratch,
    pub barriers: Barriers,
    pub counters: Counters,
    /// Present if races are tracked.
    pub race: Option<Shadow>,
    /// Present if races are tracked: accesses of all blocks to global memory.
    pub conflicts: Option<Conflicts<'a>>,
    findings: Vec<Finding>,
    known: HashMap<(FindingKind, u32), usize>,
    /// For counting bank conflicts: the access that last touched a word of shared memory.
    touched: Vec<u32>,
    touches: u32,
    drawn: u32,
}

impl<'a> Context<'a> {
    pub fn new(
        kernel: &'a Kernel,
        global: &'a GlobalMemory,
        parameters: &'a [u8],
        launch: &'a Launch,
    ) -> Self {
        let shared = kernel.static_shared.next_multiple_of(16) + launch.shared_bytes;
        let shared = if launch.shared_bytes == 0 {
            kernel.static_shared
        } else {
            shared
        };
        let threads: u32 = launch.block.iter().product();
        Self {
            kernel,
            global,
            parameters,
            launch,
            block: [0; 3],
            block_index: 0,
            warp: 0,
            pc: 0,
            budget: 0,
            shared: Scratch::new(shared),
            barriers: Barriers::default(),
            counters: Counters::default(),
            race: launch
                .options
                .races
                .then(|| Shadow::new(shared, kernel.shared_granule, threads.div_ceil(32))),
            conflicts: launch
                .options
                .races
                .then(|| Conflicts::new(kernel.global_granule, global.numbers)),
            findings: Vec::new(),
            known: HashMap::new(),
            touched: vec![0; shared.div_ceil(4)],
            touches: 0,
            drawn: 0,
        }
    }

    /// Begins another block.
    pub fn begin(&mut self, block_index: u64) {
        let [x, y, _] = self.launch.grid.map(u64::from);
        self.block_index = block_index;
        self.block = [
            (block_index % x) as u32,
            (block_index / x % y) as u32,
            (block_index / x / y) as u32,
        ];
        self.budget = self.launch.options.instruction_limit;
        self.drawn = 0;
        self.shared.clear();
        self.barriers = Barriers::default();
        if let Some(race) = &mut self.race {
            race.begin();
        }
        if let Some(conflicts) = &mut self.conflicts {
            conflicts.begin(block_index);
        }
        self.counters.blocks += 1;
    }

    /// Notes a finding at the instruction under way.
    ///
    /// # Errors
    /// [`Stop`] if this kind ends the launch.
    pub fn report(
        &mut self,
        kind: FindingKind,
        lane: Option<usize>,
        place: Option<BufferPlace>,
        message: String,
    ) -> Result<(), Stop> {
        let instruction = self.kernel.code.get(self.pc as usize);
        let finding = Finding {
            kind,
            message,
            kernel: self.kernel.name.clone(),
            block: self.block,
            warp: Some(self.warp),
            lane: lane.map(|lane| lane as u32),
            place,
            ptx_line: instruction.map_or(0, |instruction| instruction.line),
            source: instruction.and_then(|instruction| self.kernel.source(instruction)),
            count: 1,
        };
        self.note(finding)
    }

    /// Notes a race in shared memory, if one was found, at `lane` of the instruction under way.
    ///
    /// # Errors
    /// [`Stop`] if this kind ends the launch.
    pub fn report_race(&mut self, found: Option<Found>, lane: Option<usize>) -> Result<(), Stop> {
        match found {
            Some(found) if !self.is_known(found.kind) => {
                let place = BufferPlace::in_shared(i64::from(found.offset));
                self.report(found.kind, lane, place, found.message)
            }
            _ => Ok(()),
        }
    }

    /// Notes a finding of a whole block.
    ///
    /// # Errors
    /// [`Stop`] if this kind ends the launch.
    pub fn report_block(&mut self, kind: FindingKind, message: String) -> Result<(), Stop> {
        let finding = Finding {
            kind,
            message,
            kernel: self.kernel.name.clone(),
            block: self.block,
            warp: None,
            lane: None,
            place: None,
            ptx_line: 0,
            source: None,
            count: 1,
        };
        self.note(finding)
    }

    fn note(&mut self, finding: Finding) -> Result<(), Stop> {
        let kind = finding.kind;
        let key = (kind, finding.ptx_line);
        match self.known.get(&key) {
            Some(&at) => self.findings[at].count += 1,
            None => {
                self.known.insert(key, self.findings.len());
                self.findings.push(finding);
            }
        }
        if kind.ends_launch() {
            Err(Stop)
        } else {
            Ok(())
        }
    }

    /// Whether a finding of this kind has been noted at the instruction under way: its message
    /// need not be written again.
    pub fn is_known(&mut self, kind: FindingKind) -> bool {
        let line = self.kernel.code.get(self.pc as usize);
        let key = (kind, line.map_or(0, |instruction| instruction.line));
        let known = self.known.get(&key).copied();
        if let Some(at) = known {
            self.findings[at].count += 1;
        }
        known.is_some()
    }

    /// Takes the findings so far.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        self.known.clear();
        std::mem::take(&mut self.findings)
    }

    /// A random number below `end` of this block, for the random schedule.
    pub fn draw(&mut self, end: u32) -> u32 {
        let Schedule::Random(seed) = self.launch.options.schedule else {
            return 0;
        };
        let key = [seed as u32, (seed >> 32) as u32];
        let counter = [
            self.drawn,
            0,
            self.block_index as u32,
            (self.block_index >> 32) as u32,
        ];
        self.drawn += 1;
        ((u64::from(philox4x32_10(counter, key)[0]) * u64::from(end)) >> 32) as u32
    }

    /// Passes over the banks that an access of `bytes` bytes a lane takes, and the fewest
    /// possible. Lanes share a pass in groups of 32, 16 or 8 for up to 4, 8 or 16 bytes.
    #[inline(never)]
    pub fn wavefronts(&mut self, offsets: &[u32; 32], mask: u32, bytes: usize) -> [u64; 2] {
        let group = match bytes {
            ..=4 => 32,
            8 => 16,
            _ => 8,
        };
        let mut passes = [0, 0];
        for first in (0..32).step_by(group) {
            if mask >> first & (u32::MAX >> (32 - group)) == 0 {
                continue;
            }
            passes[1] += 1;
            let lanes = first..first + group;
            let (mut low, mut high) = (u32::MAX, 0);
            for lane in lanes.clone() {
                low = low.min(offsets[lane]);
                high = high.max(offsets[lane]);
            }
            // Within 32 adjacent words no two share a bank.
            let spread = (high + bytes.max(4) as u32) / 4 - low / 4;
            passes[0] += if spread <= 32 {
                1
            } else {
                self.conflicting(&offsets[lanes], mask >> first, bytes)
            };
        }
        passes
    }

    /// The most distinct words that one bank is asked for.
    fn conflicting(&mut self, offsets: &[u32], mask: u32, bytes: usize) -> u64 {
        if self.touches == u32::MAX {
            self.touches = 0;
            self.touched.fill(0);
        }
        self.touches += 1;
        let mut asked = [0u8; 32];
        for (lane, &offset) in offsets.iter().enumerate() {
            if mask >> lane & 1 == 0 {
                continue;
            }
            let first = offset as usize / 4;
            for word in first..first + bytes.div_ceil(4) {
                if let Some(touched) = self.touched.get_mut(word)
                    && *touched != self.touches
                {
                    *touched = self.touches;
                    asked[word % 32] += 1;
                }
            }
        }
        asked.into_iter().max().unwrap_or(0).max(1).into()
    }
}

//! Conflicts of blocks in global memory: what one block wrote and another touched in the same
//! launch, with no chain of release and acquire from one to the other.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{MutexGuard, PoisonError};

use crate::emulator::memory::global::Slot;
use crate::emulator::program::memory::Order;

/// What blocks did to the granules of one buffer. Blocks have numbers that grow from launch to
/// launch, so that nothing need be cleared when a launch begins: a smaller number than the launch's
/// first is of an earlier one and stands for none.
#[derive(Debug, Default)]
pub struct Accesses {
    granule: usize,
    /// Twice the number of the block that wrote last, plus 1 if by an ordinary store.
    writers: Vec<u32>,
    /// The block that read by an ordinary load, or the number that stands for several.
    readers: Vec<u32>,
}

impl Accesses {
    /// Forgets all blocks.
    pub fn clear(&mut self) {
        self.writers.fill(0);
        self.readers.fill(0);
    }
}

/// The most numbers of blocks; a number must leave room for a bit.
const NUMBERS: u32 = 1 << 30;

/// Numbers for the blocks of launches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbers {
    /// Stands for several blocks of the launch; those of its blocks follow.
    first: u32,
    next: u32,
}

impl Numbers {
    /// Numbers for a launch of so many blocks. `None` if they are used up: all [`Accesses`] must be
    /// cleared before the next try.
    pub fn begin_launch(&mut self, blocks: u64) -> Option<()> {
        // Such a launch would take days.
        let needed = u32::try_from(blocks).unwrap_or(u32::MAX).min(NUMBERS / 2) + 1;
        self.first = self.next.max(1);
        self.next = self.first + needed;
        if self.next <= NUMBERS {
            return Some(());
        }
        self.next = 0;
        None
    }
}

/// What blocks did to global memory. Blocks run one after the other while this is kept.
#[derive(Debug)]
pub struct Conflicts<'a> {
    granule: usize,
    /// By the base of the buffer, that accessed last first; of each, those of this granule first.
    buffers: Vec<(u64, MutexGuard<'a, Vec<Accesses>>)>,
    numbers: Numbers,
    block: u32,
    /// Whether the block has written by ordinary stores since its last fence.
    dirty: bool,
    fenced: bool,
    /// Blocks whose earlier accesses are ordered before what this block does now.
    acquired: HashSet<u32>,
    /// Blocks that the next fence will add to those.
    observed: HashSet<u32>,
    /// By address: blocks that whoever reads there is ordered after.
    released: HashMap<u64, HashSet<u32>>,
}

impl<'a> Conflicts<'a> {
    /// For a kernel whose narrowest access to global memory has `granule` bytes.
    pub fn new(granule: usize, numbers: Numbers) -> Self {
        Self {
            granule: granule.max(1),
            buffers: Vec::new(),
            numbers,
            block: 0,
            dirty: false,
            fenced: false,
            acquired: HashSet::new(),
            observed: HashSet::new(),
            released: HashMap::new(),
        }
    }

    /// Another block begins.
    pub fn begin(&mut self, block: u64) {
        self.block = self.numbers.first + 1 + block as u32 % (NUMBERS / 2);
        self.dirty = false;
        self.fenced = false;
        self.acquired.clear();
        self.observed.clear();
    }

    /// The block has executed a fence.
    pub fn fence(&mut self) {
        self.dirty = false;
        self.fenced = true;
        self.acquired.extend(self.observed.drain());
    }

    /// The block has read (and written) a location that blocks use to synchronise.
    pub fn synchronise(&mut self, address: u64, order: Order, reads: bool, writes: bool) {
        if reads && let Some(blocks) = self.released.get(&address) {
            if order == Order::Acquire {
                self.acquired.extend(blocks);
            } else {
                self.observed.extend(blocks);
            }
        }
        let releases = matches!(order, Order::Acquire | Order::Release);
        if writes && (releases || self.fenced && !self.dirty) {
            let blocks = self.released.entry(address).or_default();
            blocks.insert(self.block);
            blocks.extend(&self.acquired);
        }
    }

    /// Whether what the block of this number did is ordered before what this block does.
    fn ordered(&self, other: u32) -> bool {
        other < self.numbers.first
            || other == self.block
            || other != self.numbers.first && self.acquired.contains(&other)
    }

    /// Brings the accesses to a buffer to the front.
    fn find(&mut self, buffer: &'a Slot) {
        match (self.buffers.iter()).position(|&(base, _)| base == buffer.base) {
            Some(at) => self.buffers.swap(0, at),
            None => {
                // A panic of another launch leaves numbers, which are valid at any time.
                let mut accesses = (buffer.accesses.lock()).unwrap_or_else(PoisonError::into_inner);
                let known = accesses
                    .iter()
                    .position(|known| known.granule == self.granule);
                match known {
                    Some(at) => accesses.swap(0, at),
                    None => {
                        let granules = buffer.size.div_ceil(self.granule);
                        accesses.insert(
                            0,
                            Accesses {
                                granule: self.granule,
                                writers: vec![0; granules],
                                readers: vec![0; granules],
                            },
                        );
                    }
                }
                self.buffers.insert(0, (buffer.base, accesses));
            }
        }
    }

    /// Checks and notes an access; says what another block did if it conflicts.
    #[inline(always)]
    pub fn access(
        &mut self,
        buffer: &'a Slot,
        offset: usize,
        bytes: usize,
        write: bool,
        strong: bool,
    ) -> Option<Conflict> {
        if write && !strong {
            self.dirty = true;
        }
        if self
            .buffers
            .first()
            .is_none_or(|&(base, _)| base != buffer.base)
        {
            self.find(buffer);
        }
        let (first, block) = (self.numbers.first, self.block);
        let range = offset / self.granule..(offset + bytes).div_ceil(self.granule);
        let accesses = self.buffers.first_mut()?.1.first_mut()?;
        let writers = accesses.writers.get_mut(range.clone())?;
        let readers = accesses.readers.get_mut(range.clone())?;
        if strong || !self.acquired.is_empty() {
            return self.access_each(range, write, strong);
        }
        // Of this block, or of none.
        let alone = |number: u32| (number == block) | (number < first);
        if !all(writers, |writer| alone(writer >> 1)) || write && !all(readers, alone) {
            return self.access_each(range, write, strong);
        }
        if write {
            writers.fill(2 * block + 1);
        } else {
            for_each(readers, |reader| if alone(reader) { block } else { first });
        }
        None
    }

    /// As [`access`](Self::access), granule by granule.
    #[inline(never)]
    fn access_each(&mut self, range: Range<usize>, write: bool, strong: bool) -> Option<Conflict> {
        let mut found = None;
        for granule in range {
            let accesses = self.buffers.first()?.1.first()?;
            let (writer, reader) = (accesses.writers[granule], accesses.readers[granule]);
            if found.is_none() {
                found = self
                    .conflict(writer, reader, write, strong)
                    .map(|other| Conflict {
                        offset: granule * self.granule,
                        other,
                    });
            }
            let forgotten = self.ordered(reader);
            let (first, block) = (self.numbers.first, self.block);
            let accesses = self.buffers.first_mut()?.1.first_mut()?;
            if write {
                accesses.writers[granule] = 2 * block + u32::from(!strong);
            } else if !strong {
                accesses.readers[granule] = if forgotten { block } else { first };
            }
        }
        found
    }

    fn conflict(&self, writer: u32, reader: u32, write: bool, strong: bool) -> Option<String> {
        let name = |number: u32| number - self.numbers.first - 1;
        let (number, weakly) = (writer >> 1, writer & 1 == 1);
        if (weakly || !strong) && !self.ordered(number) {
            return Some(format!("block {} wrote", name(number)));
        }
        if !write || self.ordered(reader) {
            return None;
        }
        Some(if reader == self.numbers.first {
            "several blocks read".to_owned()
        } else {
            format!("block {} read", name(reader))
        })
    }
}

/// Whether `holds` of all, eight at a time.
#[inline(always)]
fn all(numbers: &[u32], holds: impl Fn(u32) -> bool) -> bool {
    let (groups, rest) = numbers.as_chunks::<8>();
    let fails = |fails: u32, &number: &u32| fails | u32::from(!holds(number));
    groups.iter().all(|group| group.iter().fold(0, fails) == 0)
        && rest.iter().all(|&number| holds(number))
}

#[inline(always)]
fn for_each(numbers: &mut [u32], becomes: impl Fn(u32) -> u32) {
    let (groups, rest) = numbers.as_chunks_mut::<8>();
    for group in groups {
        for number in group {
            *number = becomes(*number);
        }
    }
    for number in rest {
        *number = becomes(*number);
    }
}

/// What an access to global memory conflicts with.
#[derive(Debug)]
pub struct Conflict {
    /// In the buffer, in bytes.
    pub offset: usize,
    /// What another block did.
    pub other: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::memory::global::GlobalMemory;

    /// What block `block` of the launch under way meets when it accesses the second word.
    fn access(memory: &GlobalMemory, block: u64, write: bool) -> Option<String> {
        let buffer = memory.slot(0).expect("a buffer");
        let mut conflicts = Conflicts::new(4, memory.numbers);
        conflicts.begin(block);
        let found = conflicts.access(buffer, 4, 4, write, false)?;
        assert_eq!(found.offset, 4);
        Some(found.other)
    }

    #[test]
    fn blocks_conflict_with_those_of_their_own_launch_alone() {
        let mut memory = GlobalMemory::default();
        memory.allocate("x", 64, false).unwrap();
        for _ in 0..3 {
            memory.begin_launch(10);
            assert_eq!(access(&memory, 7, true), None);
            assert_eq!(access(&memory, 7, false), None);
            assert_eq!(access(&memory, 8, false).unwrap(), "block 7 wrote");
            memory.begin_launch(10);
            assert_eq!(access(&memory, 0, false), None);
            assert_eq!(access(&memory, 0, true), None);
            memory.begin_launch(10);
            assert_eq!(access(&memory, 1, false), None);
            assert_eq!(access(&memory, 2, false), None);
            assert_eq!(access(&memory, 2, true).unwrap(), "several blocks read");
        }
    }

    #[test]
    fn numbers_of_blocks_that_come_round_again_are_of_nobody() {
        let mut memory = GlobalMemory::default();
        memory.allocate("x", 64, false).unwrap();
        memory.begin_launch(4);
        assert_eq!(access(&memory, 0, true), None);
        for _ in 0..5 {
            memory.begin_launch(u64::MAX);
            assert_eq!(access(&memory, 1, false), None);
            assert_eq!(access(&memory, 1, true), None);
        }
    }

    #[test]
    fn kernels_of_other_granules_keep_accesses_of_their_own() {
        let mut memory = GlobalMemory::default();
        memory.allocate("x", 64, false).unwrap();
        memory.begin_launch(1);
        let buffer = memory.slot(0).unwrap();
        for granule in [1, 4, 2, 4, 1] {
            let mut conflicts = Conflicts::new(granule, memory.numbers);
            conflicts.begin(0);
            assert!(conflicts.access(buffer, 8, 4, false, false).is_none());
        }
        assert_eq!(buffer.accesses.lock().unwrap().len(), 3);
    }
}

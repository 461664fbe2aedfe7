//! Conflicts of blocks in global memory: what one block wrote and another touched in the same
//! launch, with no chain of release and acquire from one to the other.

use std::collections::{HashMap, HashSet};

use crate::emulator::memory::global::Slot;
use crate::emulator::program::memory::Order;

/// Several blocks.
const MANY: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, Default)]
struct Touched {
    /// The block that wrote last, plus 1, and whether by an ordinary store.
    writer: u32,
    weakly: bool,
    /// The block that read by an ordinary load, plus 1, or [`MANY`].
    reader: u32,
}

/// What blocks did to global memory. Blocks run one after the other while this is kept.
#[derive(Debug, Default)]
pub struct Conflicts {
    granule: usize,
    /// By the base of the buffer.
    buffers: HashMap<u64, usize>,
    touched: Vec<Vec<Touched>>,
    /// The buffer that was accessed last.
    last: Option<(u64, usize)>,
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

impl Conflicts {
    /// For a kernel whose narrowest access to global memory has `granule` bytes.
    pub fn new(granule: usize) -> Self {
        Self {
            granule,
            ..Self::default()
        }
    }

    /// Another block begins.
    pub fn begin(&mut self, block: u32) {
        self.block = block + 1;
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

    fn ordered(&self, other: u32) -> bool {
        other == 0 || other == self.block || other != MANY && self.acquired.contains(&other)
    }

    fn entries(&mut self, buffer: &Slot) -> usize {
        if let Some((base, at)) = self.last
            && base == buffer.base
        {
            return at;
        }
        let granules = buffer.size.div_ceil(self.granule.max(1));
        let touched = &mut self.touched;
        let at = *self.buffers.entry(buffer.base).or_insert_with(|| {
            touched.push(vec![Touched::default(); granules]);
            touched.len() - 1
        });
        self.last = Some((buffer.base, at));
        at
    }

    /// Checks and notes an access; says what another block did if it conflicts.
    pub fn access(
        &mut self,
        buffer: &Slot,
        offset: usize,
        bytes: usize,
        write: bool,
        strong: bool,
    ) -> Option<Conflict> {
        if write && !strong {
            self.dirty = true;
        }
        let granule = self.granule.max(1);
        let at = self.entries(buffer);
        let mut entries = std::mem::take(&mut self.touched[at]);
        let mut found = None;
        let range = offset / granule..(offset + bytes).div_ceil(granule);
        let block = self.block;
        for (i, entry) in range.clone().zip(&mut entries[range]) {
            let before = *entry;
            let alone = (before.writer == 0 || before.writer == block)
                && (before.reader == 0 || before.reader == block);
            if !alone && found.is_none() {
                found = self.conflict(before, write, strong).map(|other| Conflict {
                    offset: i * granule,
                    other,
                });
            }
            if write {
                entry.writer = block;
                entry.weakly = !strong;
            } else if !strong {
                let forgotten = before.reader == 0 || self.ordered(before.reader);
                entry.reader = if forgotten { block } else { MANY };
            }
        }
        self.touched[at] = entries;
        found
    }

    fn conflict(&self, before: Touched, write: bool, strong: bool) -> Option<String> {
        let wrote = before.weakly || !strong;
        if wrote && !self.ordered(before.writer) {
            return Some(format!("block {} wrote", before.writer - 1));
        }
        if !write || self.ordered(before.reader) {
            return None;
        }
        Some(match before.reader {
            MANY => "several blocks read".to_owned(),
            reader => format!("block {} read", reader - 1),
        })
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

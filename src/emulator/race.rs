//! Which accesses are ordered: within a block for shared memory ([`Shadow`]), between blocks for
//! global memory ([`Conflicts`]).
//!
//! Each warp has a clock that moves on at every synchronisation, and knows up to which time of
//! every other warp it is ordered (a vector clock). Shared memory remembers the last writer and,
//! for every warp, the last readers of each granule. A granule is the narrowest access of the
//! kernel, so that the shadow is exact to the byte.

use std::collections::{HashMap, HashSet};

use super::finding::FindingKind;
use super::memory::global::Slot;
use super::program::memory::Order;

/// A race, as the later of the two accesses found it.
#[derive(Debug)]
pub struct Found {
    pub kind: FindingKind,
    pub lane: usize,
    /// In shared memory, in bytes.
    pub offset: u32,
    pub message: String,
}

/// The lane of an access that a warp makes as a whole, such as `ldmatrix`.
const TOGETHER: u8 = u8::MAX;

#[derive(Clone, Copy, Debug, Default)]
struct Write {
    clock: u32,
    warp: u8,
    lane: u8,
    atomic: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Reads {
    clock: u32,
    lanes: u32,
}

/// What a block's warps did to shared memory.
#[derive(Debug)]
pub struct Shadow {
    granule: usize,
    /// Binary logarithm of the granule.
    shift: u32,
    warps: usize,
    granules: usize,
    writes: Vec<Write>,
    /// Of each warp, granule by granule.
    reads: Vec<Reads>,
    clocks: Vec<u32>,
    /// `seen[w * warps + v]`: accesses of v before this time are ordered before what w does now.
    seen: Vec<u32>,
    /// Accesses of the warp's own lanes before this time are ordered for all of its lanes.
    synced: Vec<u32>,
    /// Where only some lanes have synchronised: `[warp][lane][other lane]`.
    lane_seen: Vec<Option<Box<[[u32; 32]; 32]>>>,
    /// Granules that an asynchronous copy is about to write: thread + 1.
    in_flight: Vec<u32>,
    flights: usize,
}

impl Shadow {
    /// For `bytes` bytes of shared memory and blocks of `warps` warps.
    pub fn new(bytes: usize, granule: usize, warps: u32) -> Self {
        let granules = bytes.div_ceil(granule);
        let warps = warps as usize;
        Self {
            granule,
            shift: granule.trailing_zeros(),
            warps,
            granules,
            writes: vec![Write::default(); granules],
            reads: vec![Reads::default(); granules * warps],
            clocks: vec![0; warps],
            seen: vec![0; warps * warps],
            synced: vec![0; warps],
            lane_seen: vec![None; warps],
            in_flight: vec![0; granules],
            flights: 0,
        }
    }

    /// A new block begins: whatever was before is ordered before it.
    pub fn begin(&mut self) {
        let mut now = self.clocks.iter().max().map_or(1, |clock| clock + 1);
        if now > u32::MAX / 2 {
            self.writes.fill(Write::default());
            self.reads.fill(Reads::default());
            now = 1;
        }
        self.clocks.fill(now);
        self.seen.fill(now);
        self.synced.fill(now);
        self.lane_seen.fill(None);
        if self.flights > 0 {
            self.in_flight.fill(0);
            self.flights = 0;
        }
    }

    /// What others that synchronise with this warp will know, merged into `joined`. The warp's own
    /// time moves on.
    pub fn release(&mut self, warp: u32, joined: &mut Vec<u32>) {
        let w = warp as usize;
        joined.resize(self.warps, 0);
        let seen = &self.seen[w * self.warps..][..self.warps];
        for (to, from) in joined.iter_mut().zip(seen) {
            *to = (*to).max(*from);
        }
        self.clocks[w] += 1;
        joined[w] = joined[w].max(self.clocks[w]);
    }

    /// The warp is ordered after all that `joined` knows, and its lanes after each other.
    pub fn acquire(&mut self, warp: u32, joined: &[u32]) {
        let w = warp as usize;
        let seen = &mut self.seen[w * self.warps..][..self.warps];
        for (to, from) in seen.iter_mut().zip(joined) {
            *to = (*to).max(*from);
        }
        self.synced[w] = self.clocks[w];
    }

    /// Lanes of a warp synchronise: all that live, or some.
    pub fn sync_lanes(&mut self, warp: u32, members: u32, live: u32) {
        let w = warp as usize;
        self.clocks[w] += 1;
        let now = self.clocks[w];
        if members & live == live {
            self.synced[w] = now;
            return;
        }
        let table = self.lane_seen[w].get_or_insert_with(|| Box::new([[0; 32]; 32]));
        let among = |lane: usize| members >> lane & 1 == 1;
        let mut joined = [0; 32];
        for lane in (0..32).filter(|&lane| among(lane)) {
            for other in 0..32 {
                joined[other] = table[lane][other].max(joined[other]);
            }
            joined[lane] = now;
        }
        for lane in (0..32).filter(|&lane| among(lane)) {
            table[lane] = joined;
        }
    }

    /// Whether an access of `lanes` of `warp` at `clock` is ordered before what `lane` of `own`
    /// does now.
    #[inline(always)]
    fn ordered(&self, own: usize, lane: u8, warp: usize, lanes: u32, clock: u32) -> bool {
        if warp != own {
            return clock < self.seen[own * self.warps + warp];
        }
        if clock < self.synced[own] {
            return true;
        }
        if lane == TOGETHER {
            return lanes == u32::MAX;
        }
        if lanes == 1 << lane {
            return true;
        }
        self.lane_seen[own].as_ref().is_some_and(|table| {
            (0..32).all(|other| {
                lanes >> other & 1 == 0
                    || other == usize::from(lane)
                    || clock < table[usize::from(lane)][other]
            })
        })
    }

    #[inline(always)]
    fn write_ordered(&self, own: usize, lane: u8, write: Write) -> bool {
        let lanes = if write.lane == TOGETHER {
            u32::MAX
        } else {
            1 << write.lane
        };
        self.ordered(own, lane, usize::from(write.warp), lanes, write.clock)
    }

    /// Checks and notes an access of each lane of `mask` to `bytes` bytes.
    pub fn access(
        &mut self,
        warp: u32,
        mask: u32,
        offsets: &[u32; 32],
        bytes: usize,
        write: bool,
    ) -> Option<Found> {
        if !write {
            return self.read(warp, mask, offsets, bytes);
        }
        let mut found = None;
        for (lane, &offset) in offsets.iter().enumerate() {
            if mask >> lane & 1 == 1 && found.is_none() {
                found = self.check(warp, lane as u8, offset, bytes, write);
            }
        }
        // Lanes of one instruction do not race with each other: all checks come first.
        for (lane, &offset) in offsets.iter().enumerate() {
            if mask >> lane & 1 == 1 {
                self.note(warp, lane as u8, offset, bytes, write);
            }
        }
        found
    }

    /// Reads do not race with each other: each is checked and noted at once. Lanes that follow each
    /// other and read the same are taken together.
    fn read(&mut self, warp: u32, mask: u32, offsets: &[u32; 32], bytes: usize) -> Option<Found> {
        let own = warp as usize;
        let (clock, synced) = (self.clocks[own], self.synced[own]);
        let mut found = None;
        let mut lane = 0;
        while lane < 32 {
            let offset = offsets[lane];
            let first = lane;
            let mut lanes = 0;
            while lane < 32 && offsets[lane] == offset {
                lanes |= mask & 1 << lane;
                lane += 1;
            }
            if lanes == 0 {
                continue;
            }
            for granule in self.granules_of(offset, bytes) {
                let known = self.writes[granule];
                let writer = usize::from(known.warp);
                let after = known.clock < synced
                    || writer != own && known.clock < self.seen[own * self.warps + writer];
                if !(after && self.flights == 0) && found.is_none() {
                    let at = (granule << self.shift) as u32;
                    found = (first..lane)
                        .filter(|&lane| lanes >> lane & 1 == 1)
                        .find_map(|lane| self.check(warp, lane as u8, at, 1, false));
                }
                let reads = &mut self.reads[own * self.granules + granule];
                // Readers that are ordered before these need not be remembered.
                if reads.clock == clock || reads.clock >= synced {
                    lanes |= reads.lanes;
                }
                *reads = Reads { clock, lanes };
            }
        }
        found
    }

    /// As [`access`](Self::access), of an access that the warp makes as a whole: one row of
    /// `bytes` bytes at each offset.
    pub fn access_together(
        &mut self,
        warp: u32,
        rows: &[u32],
        bytes: usize,
        write: bool,
    ) -> Option<Found> {
        let mut found = None;
        for &offset in rows {
            let problem = self.check(warp, TOGETHER, offset, bytes, write);
            found = found.or(problem);
        }
        for &offset in rows {
            self.note(warp, TOGETHER, offset, bytes, write);
        }
        found
    }

    #[inline(always)]
    fn granules_of(&self, offset: u32, bytes: usize) -> std::ops::Range<usize> {
        let first = offset as usize >> self.shift;
        let end = (offset as usize + bytes + self.granule - 1) >> self.shift;
        first.min(self.granules)..end.min(self.granules)
    }

    #[inline(always)]
    fn check(&self, warp: u32, lane: u8, offset: u32, bytes: usize, write: bool) -> Option<Found> {
        let own = warp as usize;
        for granule in self.granules_of(offset, bytes) {
            let known = self.writes[granule];
            if !self.write_ordered(own, lane, known) {
                return Some(self.found(own, lane, granule, write, Before::Write(known)));
            }
            if self.flights > 0 && self.in_flight[granule] != 0 {
                let thread = self.in_flight[granule] - 1;
                return Some(self.found(own, lane, granule, write, Before::Copy(thread)));
            }
            if !write {
                continue;
            }
            for other in 0..self.warps {
                let reads = self.reads[other * self.granules + granule];
                if reads.lanes != 0 && !self.ordered(own, lane, other, reads.lanes, reads.clock) {
                    return Some(self.found(
                        own,
                        lane,
                        granule,
                        write,
                        Before::Reads(other, reads),
                    ));
                }
            }
        }
        None
    }

    #[inline(always)]
    fn note(&mut self, warp: u32, lane: u8, offset: u32, bytes: usize, write: bool) {
        let own = warp as usize;
        let clock = self.clocks[own];
        for granule in self.granules_of(offset, bytes) {
            if write {
                self.writes[granule] = Write {
                    clock,
                    warp: own as u8,
                    lane,
                    atomic: false,
                };
                continue;
            }
            let lanes = if lane == TOGETHER {
                u32::MAX
            } else {
                1 << lane
            };
            let known = self.reads[own * self.granules + granule];
            let kept = known.clock == clock || known.clock >= self.synced[own];
            self.reads[own * self.granules + granule] = Reads {
                clock,
                lanes: if kept { known.lanes | lanes } else { lanes },
            };
        }
    }

    #[cold]
    fn found(&self, own: usize, lane: u8, granule: usize, write: bool, before: Before) -> Found {
        let (other, who, what) = match before {
            Before::Write(Write { warp, lane, .. }) => {
                let lanes = match lane {
                    TOGETHER => "together".to_owned(),
                    lane => format!("lane {lane}"),
                };
                (usize::from(warp), format!("warp {warp}, {lanes},"), "wrote")
            }
            Before::Reads(warp, reads) => {
                let lane = reads.lanes.trailing_zeros();
                (warp, format!("warp {warp}, lane {lane},"), "read")
            }
            Before::Copy(thread) => (
                usize::MAX,
                format!("cp.async of warp {}, lane {},", thread / 32, thread % 32),
                "is about to write",
            ),
        };
        let kind = if other == usize::MAX {
            FindingKind::AsyncCopyRace
        } else if other == own {
            FindingKind::WarpRace
        } else {
            FindingKind::SharedRace
        };
        let verb = if write { "writes" } else { "reads" };
        Found {
            kind,
            lane: usize::from(lane % 32),
            offset: (granule * self.granule) as u32,
            message: format!("the thread {verb} what {who} {what}, with nothing that orders them"),
        }
    }

    /// An atomic update by one thread: it does not race with other atomic updates.
    pub fn atomic(&mut self, warp: u32, lane: usize, offset: u32, bytes: usize) -> Option<Found> {
        let own = warp as usize;
        let mut found = None;
        for granule in self.granules_of(offset, bytes) {
            if !self.writes[granule].atomic {
                let at = (granule * self.granule) as u32;
                let problem = self.check(warp, lane as u8, at, self.granule, true);
                found = found.or(problem);
            }
            // As a read too, so that a later ordinary write looks at every warp's updates.
            self.note(warp, lane as u8, (granule * self.granule) as u32, 1, false);
            self.writes[granule] = Write {
                clock: self.clocks[own],
                warp: own as u8,
                lane: lane as u8,
                atomic: true,
            };
        }
        found
    }

    /// A thread has begun a copy to shared memory.
    pub fn issue(&mut self, warp: u32, lane: usize, offset: u32, bytes: usize) -> Option<Found> {
        let found = self.check(warp, lane as u8, offset, bytes, true);
        for granule in self.granules_of(offset, bytes) {
            self.flights += usize::from(self.in_flight[granule] == 0);
            self.in_flight[granule] = 32 * warp + lane as u32 + 1;
        }
        found
    }

    /// A thread knows that its copy has arrived.
    pub fn land(&mut self, warp: u32, lane: usize, offset: u32, bytes: usize) {
        for granule in self.granules_of(offset, bytes) {
            self.flights -= usize::from(self.in_flight[granule] != 0);
            self.in_flight[granule] = 0;
        }
        self.note(warp, lane as u8, offset, bytes, true);
    }
}

enum Before {
    Write(Write),
    Reads(usize, Reads),
    Copy(u32),
}

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

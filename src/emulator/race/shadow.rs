//! Races of a block's threads in shared memory.
//!
//! Each warp has a clock that moves on at every synchronisation, and knows up to which time of
//! every other warp it is ordered (a vector clock). Shared memory remembers the last writer and,
//! for every warp, the last readers of each granule. A granule is the narrowest access of the
//! kernel, so that the shadow is exact to the byte.

use crate::emulator::finding::FindingKind;

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

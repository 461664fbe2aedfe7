//! Races of a block's threads in shared memory.
//!
//! Each warp has a clock that moves on at every synchronisation, and knows up to which time of
//! every other warp it is ordered (a vector clock). Shared memory remembers the last writer and,
//! for every warp, the last readers of each granule. A granule is the narrowest access of the
//! kernel, so that the shadow is exact to the byte.

use std::ops::Range;

use crate::emulator::exec::{GROUP, Group, Part, Pattern, lanes};

use super::found::{Before, Found, Reads, TOGETHER, Write, Writer};

/// Clocks are set back where a block would begin beyond this.
const LATEST_BEGIN: u32 = u32::MAX / 4;

/// What a block's warps did to shared memory.
#[derive(Debug)]
pub struct Shadow {
    granule: usize,
    /// Binary logarithm of the granule.
    shift: u32,
    warps: usize,
    granules: usize,
    /// Of each granule, clock and writer apart so that clocks are compared in vectors.
    write_clocks: Vec<u32>,
    writers: Vec<Writer>,
    /// Of each warp, granule by granule.
    read_clocks: Vec<u32>,
    read_lanes: Vec<u32>,
    clocks: Vec<u32>,
    /// `seen[w * warps + v]`: accesses of v before this time are ordered before what w does now.
    seen: Vec<u32>,
    /// Accesses of the warp's own lanes before this time are ordered for all of its lanes.
    synced: Vec<u32>,
    /// Accesses of any warp before this time are ordered before what this warp does now: the
    /// smallest of `synced` and `seen`. After a barrier this is now, and one comparison tells of
    /// most accesses that they are in order.
    floors: Vec<u32>,
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
            write_clocks: vec![0; granules],
            writers: vec![Writer::default(); granules],
            read_clocks: vec![0; granules * warps],
            read_lanes: vec![0; granules * warps],
            clocks: vec![0; warps],
            seen: vec![0; warps * warps],
            synced: vec![0; warps],
            floors: vec![0; warps],
            lane_seen: vec![None; warps],
            in_flight: vec![0; granules],
            flights: 0,
        }
    }

    /// A new block begins: whatever was before is ordered before it.
    pub fn begin(&mut self) {
        let mut now = self.clocks.iter().max().map_or(1, |clock| clock + 1);
        if now > LATEST_BEGIN {
            self.write_clocks.fill(0);
            self.read_clocks.fill(0);
            now = 1;
        }
        self.clocks.fill(now);
        self.seen.fill(now);
        self.synced.fill(now);
        self.floors.fill(now);
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
        self.find_floor(w);
    }

    fn find_floor(&mut self, w: usize) {
        let seen = &self.seen[w * self.warps..][..self.warps];
        let others = (seen.iter().enumerate()).filter(|&(other, _)| other != w);
        self.floors[w] = others.fold(self.synced[w], |floor, (_, &seen)| floor.min(seen));
    }

    /// Lanes of a warp synchronise: all that live, or some.
    pub fn sync_lanes(&mut self, warp: u32, members: u32, live: u32) {
        let w = warp as usize;
        self.clocks[w] += 1;
        let now = self.clocks[w];
        if members & live == live {
            self.synced[w] = now;
            self.find_floor(w);
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
        let Writer { warp, lane: by, .. } = write.writer;
        let lanes = if by == TOGETHER { u32::MAX } else { 1 << by };
        self.ordered(own, lane, usize::from(warp), lanes, write.clock)
    }

    /// Checks and notes an access of each lane of `mask`.
    #[inline(always)]
    pub fn access(
        &mut self,
        warp: u32,
        mask: u32,
        pattern: &Pattern,
        bytes: usize,
        write: bool,
    ) -> Option<Found> {
        let mut found = None;
        // Reads do not race with each other: they may be noted at once.
        let mut late = if write { mask } else { 0 };
        let simple = !write && self.flights == 0 && bytes == self.granule;
        for part in pattern.parts(mask) {
            if simple && self.read_granules(warp as usize, &part) {
                continue;
            }
            if !write {
                late |= part.lanes;
            }
            if let Some(length) = part.length(bytes)
                && self.in_order(warp as usize, part.first, length, write)
            {
                continue;
            }
            for lane in lanes(part.lanes) {
                let offset = pattern.offsets[lane];
                if !self.in_order(warp as usize, offset, bytes, write) && found.is_none() {
                    found = self.check(warp, lane as u8, offset, bytes, write);
                }
            }
        }
        // Lanes of one instruction do not race with each other: all checks come first.
        for part in pattern.parts(late) {
            if write {
                self.note_writes(warp as usize, &part, pattern, bytes);
            } else {
                self.note_reads(warp as usize, &part, pattern, bytes);
            }
        }
        found
    }

    /// Checks and notes reads of one granule a lane that follow each other, or are all of one.
    /// False, and nothing is noted, where it takes more than one look to say that they are in
    /// order.
    #[inline(always)]
    fn read_granules(&mut self, own: usize, part: &Part) -> bool {
        let (clock, synced, floor) = (self.clocks[own], self.synced[own], self.floors[own]);
        let first = part.first as usize >> self.shift;
        let count = match part.group {
            Group::Same => 1,
            Group::Run if part.is_whole() => GROUP,
            _ => return false,
        };
        let row = own * self.granules + first;
        let (Some(written), Some(clocks), Some(known)) = (
            self.write_clocks.get(first..first + count),
            self.read_clocks.get_mut(row..row + count),
            self.read_lanes.get_mut(row..row + count),
        ) else {
            return false;
        };
        if let (Ok(written), Ok(clocks), Ok(known)) = (
            <&[u32; GROUP]>::try_from(written),
            <&mut [u32; GROUP]>::try_from(&mut *clocks),
            <&mut [u32; GROUP]>::try_from(&mut *known),
        ) {
            if !all_before(written, floor) {
                return false;
            }
            for i in 0..GROUP {
                let lanes = 1 << (part.lane + i);
                (clocks[i], known[i]) = read_by(clocks[i], known[i], lanes, clock, synced);
            }
        } else {
            if written[0] >= floor {
                return false;
            }
            (clocks[0], known[0]) = read_by(clocks[0], known[0], part.lanes, clock, synced);
        }
        true
    }

    /// Whether one look at the clocks shows that an access to these bytes is in order.
    #[inline(always)]
    fn in_order(&self, own: usize, offset: u32, bytes: usize, write: bool) -> bool {
        let range = self.granules_of(offset, bytes);
        let floor = self.floors[own];
        let before = |clocks: &[u32]| all_before(clocks, floor);
        before(&self.write_clocks[range.clone()])
            && (self.flights == 0
                || self.in_flight[range.clone()]
                    .iter()
                    .all(|&thread| thread == 0))
            && (!write
                || (0..self.warps).all(|other| {
                    let first = other * self.granules;
                    before(&self.read_clocks[first + range.start..first + range.end])
                }))
    }

    #[inline(always)]
    fn note_writes(&mut self, own: usize, part: &Part, pattern: &Pattern, bytes: usize) {
        let clock = self.clocks[own];
        let writer = |lane: usize| Writer {
            warp: own as u8,
            lane: lane as u8,
            atomic: false,
        };
        if part.group == Group::Run && part.is_whole() && bytes == self.granule {
            let range = self.granules_of(part.first, GROUP * bytes);
            self.write_clocks[range.clone()].fill(clock);
            for (i, to) in self.writers[range].iter_mut().enumerate() {
                *to = writer(part.lane + i);
            }
            return;
        }
        for lane in lanes(part.lanes) {
            for granule in self.granules_of(pattern.offsets[lane], bytes) {
                self.write_clocks[granule] = clock;
                self.writers[granule] = writer(lane);
            }
        }
    }

    #[inline(always)]
    fn note_reads(&mut self, own: usize, part: &Part, pattern: &Pattern, bytes: usize) {
        let (clock, synced) = (self.clocks[own], self.synced[own]);
        let row = own * self.granules;
        let mut note = |granule: usize, lanes: u32| {
            let (at, known) = (row + granule, self.read_lanes[row + granule]);
            (self.read_clocks[at], self.read_lanes[at]) =
                read_by(self.read_clocks[at], known, lanes, clock, synced);
        };
        match part.group {
            Group::Same => {
                let granules = granules(part.first, bytes, self.shift, self.granules);
                granules.for_each(|granule| note(granule, part.lanes));
            }
            _ => {
                for lane in lanes(part.lanes) {
                    granules(pattern.offsets[lane], bytes, self.shift, self.granules)
                        .for_each(|granule| note(granule, 1 << lane));
                }
            }
        }
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
    fn granules_of(&self, offset: u32, bytes: usize) -> Range<usize> {
        granules(offset, bytes, self.shift, self.granules)
    }

    #[inline(always)]
    fn write_of(&self, granule: usize) -> Write {
        Write {
            clock: self.write_clocks[granule],
            writer: self.writers[granule],
        }
    }

    fn set_write(&mut self, granule: usize, warp: usize, lane: u8, atomic: bool) {
        self.write_clocks[granule] = self.clocks[warp];
        self.writers[granule] = Writer {
            warp: warp as u8,
            lane,
            atomic,
        };
    }

    #[inline(never)]
    fn check(&self, warp: u32, lane: u8, offset: u32, bytes: usize, write: bool) -> Option<Found> {
        let own = warp as usize;
        let floor = self.floors[own];
        for granule in self.granules_of(offset, bytes) {
            let known = self.write_of(granule);
            if known.clock >= floor && !self.write_ordered(own, lane, known) {
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
                let reads = Reads {
                    clock: self.read_clocks[other * self.granules + granule],
                    lanes: self.read_lanes[other * self.granules + granule],
                };
                if reads.clock >= floor
                    && reads.lanes != 0
                    && !self.ordered(own, lane, other, reads.lanes, reads.clock)
                {
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

    fn note(&mut self, warp: u32, lane: u8, offset: u32, bytes: usize, write: bool) {
        let own = warp as usize;
        let clock = self.clocks[own];
        for granule in self.granules_of(offset, bytes) {
            if write {
                self.set_write(granule, own, lane, false);
                continue;
            }
            let lanes = if lane == TOGETHER {
                u32::MAX
            } else {
                1 << lane
            };
            let at = own * self.granules + granule;
            let (known_clock, known) = (self.read_clocks[at], self.read_lanes[at]);
            (self.read_clocks[at], self.read_lanes[at]) =
                read_by(known_clock, known, lanes, clock, self.synced[own]);
        }
    }

    #[cold]
    fn found(&self, own: usize, lane: u8, granule: usize, write: bool, before: Before) -> Found {
        let offset = (granule * self.granule) as u32;
        Found::new(own, lane, offset, write, before)
    }

    /// An atomic update by one thread: it does not race with other atomic updates.
    pub fn atomic(&mut self, warp: u32, lane: usize, offset: u32, bytes: usize) -> Option<Found> {
        let own = warp as usize;
        let mut found = None;
        for granule in self.granules_of(offset, bytes) {
            if !self.writers[granule].atomic {
                let at = (granule * self.granule) as u32;
                let problem = self.check(warp, lane as u8, at, self.granule, true);
                found = found.or(problem);
            }
            // As a read too, so that a later ordinary write looks at every warp's updates.
            self.note(warp, lane as u8, (granule * self.granule) as u32, 1, false);
            self.set_write(granule, own, lane as u8, true);
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

#[inline(always)]
fn granules(offset: u32, bytes: usize, shift: u32, count: usize) -> Range<usize> {
    let first = offset as usize >> shift;
    let end = (offset as usize + bytes + (1 << shift) - 1) >> shift;
    first.min(count)..end.min(count)
}

/// Whether all clocks are before `floor`. None is half of all numbers away from it, so that the
/// sign of the difference tells.
#[inline(always)]
fn all_before(clocks: &[u32], floor: u32) -> bool {
    match <&[u32; GROUP]>::try_from(clocks) {
        Ok(clocks) => {
            let sign = |all: u32, clock: &u32| all & clock.wrapping_sub(floor);
            clocks.iter().fold(u32::MAX, sign) >> 31 == 1
        }
        Err(_) => clocks.iter().all(|&clock| clock < floor),
    }
}

/// Clock and lanes of the last reads of a granule, once `lanes` have read it at `clock`. Readers
/// that are ordered before these need not be remembered.
#[inline(always)]
fn read_by(known_clock: u32, known: u32, lanes: u32, clock: u32, synced: u32) -> (u32, u32) {
    let kept = if known_clock >= synced { known } else { 0 };
    (clock, kept | lanes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::finding::FindingKind;

    /// Every lane at its own word.
    fn words() -> Pattern {
        Pattern::of(&std::array::from_fn(|lane| 4 * lane as u32), 4)
    }

    fn access(shadow: &mut Shadow, warp: u32, write: bool) -> Option<FindingKind> {
        let found = shadow.access(warp, u32::MAX, &words(), 4, write);
        found.map(|found| found.kind)
    }

    #[test]
    fn a_warp_that_synchronised_its_own_lanes_often_still_races_with_others() {
        for first_writes in [true, false] {
            let mut shadow = Shadow::new(128, 4, 2);
            shadow.begin();
            for _ in 0..5 {
                shadow.sync_lanes(0, u32::MAX, u32::MAX);
            }
            assert_eq!(access(&mut shadow, 1, first_writes), None);
            let found = access(&mut shadow, 0, !first_writes);
            assert_eq!(found, Some(FindingKind::SharedRace));
        }
    }

    #[test]
    fn accesses_on_both_sides_of_a_barrier_do_not_race() {
        let mut shadow = Shadow::new(128, 4, 3);
        for _ in 0..3 {
            shadow.begin();
            for writer in 0..3 {
                assert_eq!(access(&mut shadow, writer, true), None);
                let mut joined = Vec::new();
                (0..3).for_each(|warp| shadow.release(warp, &mut joined));
                (0..3).for_each(|warp| shadow.acquire(warp, &joined));
                for reader in 0..3 {
                    assert_eq!(access(&mut shadow, reader, false), None);
                }
                let mut joined = Vec::new();
                (0..3).for_each(|warp| shadow.release(warp, &mut joined));
                (0..3).for_each(|warp| shadow.acquire(warp, &joined));
            }
        }
    }

    #[test]
    fn a_warp_at_another_barrier_is_not_ordered() {
        let mut shadow = Shadow::new(128, 4, 3);
        shadow.begin();
        assert_eq!(access(&mut shadow, 0, true), None);
        let mut joined = Vec::new();
        (0..2).for_each(|warp| shadow.release(warp, &mut joined));
        (0..2).for_each(|warp| shadow.acquire(warp, &joined));
        assert_eq!(access(&mut shadow, 1, false), None);
        assert_eq!(access(&mut shadow, 2, false), Some(FindingKind::SharedRace));
    }
}

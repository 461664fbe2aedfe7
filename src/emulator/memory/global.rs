//! Global and constant memory: buffers far apart from each other, read and written by blocks that
//! run in parallel.
//!
//! Contents are words of 32 bits that are accessed atomically, so that conflicting blocks of a
//! faulty kernel are a finding and never undefined behaviour of the emulator itself.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::emulator::error::EmulatorError;
use crate::emulator::race::{Accesses, Numbers};

/// The upper half of the first buffer's address.
pub const FIRST_SLOT: u64 = 0x7000;

/// Where in its slot of 4 GiB a buffer begins: what lies before it belongs to nobody.
const GUARD: u64 = 1 << 28;

/// Bytes of the largest buffer; at least [`GUARD`] bytes behind it belong to nobody.
const LARGEST: usize = (1 << 32) - 2 * GUARD as usize;

/// What unwritten memory reads as: a NaN as f32 and as f64, and a large integer.
pub const POISON: u32 = 0x7fff_dead;

/// Bytes of a sector, the unit of global memory traffic.
pub const SECTOR: usize = 32;

/// One buffer of global memory, or one constant variable.
#[derive(Debug)]
pub struct Slot {
    pub name: String,
    pub constant: bool,
    /// Address of the first byte.
    pub base: u64,
    /// Bytes.
    pub size: usize,
    words: Vec<AtomicU32>,
    /// One bit a byte: whether it has been written.
    written: Vec<AtomicU32>,
    /// Of the launch under way: which sectors were read, written, and read with the promise that
    /// nothing writes them.
    read: Sectors,
    stored: Sectors,
    promised: Sectors,
    /// The first instruction that made the promise.
    read_only_by: AtomicU32,
    /// Whether every byte has been written.
    complete: AtomicBool,
    /// Which blocks accessed what, where that is tracked: one map for each granule.
    pub accesses: Mutex<Vec<Accesses>>,
}

fn atomics<T: Default>(len: usize) -> Vec<T> {
    std::iter::repeat_with(T::default).take(len).collect()
}

impl Slot {
    fn new(index: usize, name: &str, bytes: usize, constant: bool) -> Self {
        let sectors = bytes.div_ceil(SECTOR);
        Self {
            name: name.to_owned(),
            constant,
            base: ((FIRST_SLOT + index as u64) << 32) + GUARD,
            size: bytes,
            words: std::iter::repeat_with(|| AtomicU32::new(POISON))
                .take(bytes.div_ceil(4))
                .collect(),
            written: atomics(sectors),
            read: Sectors::new(sectors),
            stored: Sectors::new(sectors),
            promised: Sectors::new(sectors),
            read_only_by: AtomicU32::new(u32::MAX),
            complete: AtomicBool::new(bytes == 0),
            accesses: Mutex::default(),
        }
    }

    /// The words of the buffer, the last one perhaps beyond its end.
    #[inline(always)]
    pub fn words(&self) -> &[AtomicU32] {
        &self.words
    }

    /// The `bytes` (1, 2, 4 or 8) bytes at a multiple of their number.
    #[inline(always)]
    pub fn read(&self, offset: usize, bytes: usize) -> u64 {
        let word = |i: usize| self.words[i].load(Relaxed);
        match bytes {
            1 | 2 => {
                let shifted = word(offset / 4) >> (8 * (offset % 4));
                u64::from(shifted & if bytes == 1 { 0xff } else { 0xffff })
            }
            4 => u64::from(word(offset / 4)),
            _ => u64::from(word(offset / 4)) | u64::from(word(offset / 4 + 1)) << 32,
        }
    }

    /// Writes `bytes` (1, 2, 4 or 8) bytes at a multiple of their number.
    #[inline(always)]
    pub fn write(&self, offset: usize, bytes: usize, value: u64) {
        let word = &self.words[offset / 4];
        match bytes {
            1 | 2 => {
                let shift = 8 * (offset % 4);
                let mask = (if bytes == 1 { 0xffu32 } else { 0xffff }) << shift;
                let new = (value as u32) << shift;
                // Another block may be writing the other bytes of this word.
                word.fetch_xor((word.load(Relaxed) ^ new) & mask, Relaxed);
            }
            4 => word.store(value as u32, Relaxed),
            _ => {
                word.store(value as u32, Relaxed);
                self.words[offset / 4 + 1].store((value >> 32) as u32, Relaxed);
            }
        }
    }

    /// Replaces the word at `offset` by what `update` makes of it, atomically, and returns the
    /// word before.
    pub fn update(&self, offset: usize, mut update: impl FnMut(u32) -> u32) -> u32 {
        let word = &self.words[offset / 4];
        let mut old = word.load(Relaxed);
        loop {
            match word.compare_exchange_weak(old, update(old), Relaxed, Relaxed) {
                Ok(_) => return old,
                Err(now) => old = now,
            }
        }
    }

    /// Whether every byte has been written.
    #[inline(always)]
    pub fn is_complete(&self) -> bool {
        self.complete.load(Relaxed)
    }

    /// Whether all `bytes` bytes from `offset` have been written.
    #[inline(always)]
    pub fn is_written(&self, offset: usize, bytes: usize) -> bool {
        if self.is_complete() {
            return true;
        }
        bits(offset, bytes).all(|(i, mask)| self.written[i].load(Relaxed) & mask == mask)
    }

    /// Notes that `bytes` bytes from `offset` have been written.
    #[inline(always)]
    pub fn mark_written(&self, offset: usize, bytes: usize) {
        if self.is_complete() {
            return;
        }
        if bytes == self.size {
            self.complete.store(true, Relaxed);
        }
        for (i, mask) in bits(offset, bytes) {
            if self.written[i].load(Relaxed) & mask != mask {
                self.written[i].fetch_or(mask, Relaxed);
            }
        }
    }

    /// Notes that the sectors of `bytes` bytes from `offset` were read or written in this launch.
    #[inline(always)]
    pub fn touch(&self, offset: usize, bytes: usize, touch: Touch) {
        let (first, last) = (offset / SECTOR, (offset + bytes - 1) / SECTOR);
        match touch {
            Touch::Read => self.read.set(first, last),
            Touch::Write => self.stored.set(first, last),
            Touch::ReadOnly => {
                self.read.set(first, last);
                self.promised.set(first, last);
            }
        }
    }

    /// Notes which instruction made the promise; the lowest one is kept.
    pub fn note_read_only(&self, pc: u32) {
        if self.read_only_by.load(Relaxed) > pc {
            self.read_only_by.fetch_min(pc, Relaxed);
        }
    }

    /// The first byte of a sector that was read as read-only and written, and the instruction that
    /// promised otherwise.
    pub fn broken_promise(&self) -> Option<(usize, u32)> {
        let pc = self.read_only_by.load(Relaxed);
        let sector = self.promised.first_common(&self.stored)?;
        Some((sector * SECTOR, pc))
    }

    fn forget_sectors(&mut self) {
        *self.read_only_by.get_mut() = u32::MAX;
        self.read.clear();
        self.stored.clear();
        self.promised.clear();
    }
}

/// A set of sectors, one bit each. What it costs to count and to clear it depends on how many it
/// holds, not on the size of the buffer, which in training is one of many megabytes.
#[derive(Debug)]
struct Sectors {
    bits: Vec<AtomicU64>,
    /// One bit for each entry of `bits` that is not zero.
    used: Vec<AtomicU64>,
}

impl Sectors {
    fn new(sectors: usize) -> Self {
        let entries = sectors.div_ceil(64);
        Self {
            bits: atomics(entries),
            used: atomics(entries.div_ceil(64)),
        }
    }

    #[inline(always)]
    fn set(&self, first: usize, last: usize) {
        if first / 64 == last / 64 {
            let mask = (u64::MAX >> (63 - (last - first))) << (first % 64);
            if self.bits[first / 64].load(Relaxed) & mask != mask {
                self.add(first / 64, mask);
            }
        } else {
            for sector in first..=last {
                self.add(sector / 64, 1 << (sector % 64));
            }
        }
    }

    #[inline(always)]
    fn add(&self, entry: usize, mask: u64) {
        if self.bits[entry].fetch_or(mask, Relaxed) == 0 {
            self.used[entry / 64].fetch_or(1 << (entry % 64), Relaxed);
        }
    }

    /// The entries that are not zero, and where they stand.
    fn entries(&self) -> impl Iterator<Item = (usize, u64)> {
        let used = self.used.iter().enumerate();
        used.filter(|(_, used)| used.load(Relaxed) != 0)
            .flat_map(|(i, used)| ones(used.load(Relaxed)).map(move |bit| 64 * i + bit))
            .map(|entry| (entry, self.bits[entry].load(Relaxed)))
    }

    fn count(&self) -> u64 {
        self.entries()
            .map(|(_, bits)| u64::from(bits.count_ones()))
            .sum()
    }

    /// The lowest sector of both sets.
    fn first_common(&self, other: &Self) -> Option<usize> {
        self.entries().find_map(|(entry, bits)| {
            let both = bits & other.bits[entry].load(Relaxed);
            (both != 0).then(|| 64 * entry + both.trailing_zeros() as usize)
        })
    }

    fn clear(&mut self) {
        for (i, used) in self.used.iter_mut().enumerate() {
            let used = std::mem::take(used.get_mut());
            ones(used).for_each(|bit| *self.bits[64 * i + bit].get_mut() = 0);
        }
    }
}

/// Which bits are set, lowest first.
fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (bits != 0).then(|| bits.trailing_zeros() as usize);
        bits &= bits.wrapping_sub(1);
        bit
    })
}

/// What a launch does to a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    Read,
    /// Read with the promise that the kernel never writes it.
    ReadOnly,
    Write,
}

/// The bits of `bytes` bytes from `offset` in a map of one bit a byte: index and mask.
#[inline(always)]
fn bits(offset: usize, bytes: usize) -> impl Iterator<Item = (usize, u32)> {
    let end = offset + bytes;
    (offset / 32..end.div_ceil(32)).map(move |i| {
        let low = offset.max(32 * i) - 32 * i;
        let high = end.min(32 * i + 32) - 32 * i;
        (i, (u32::MAX >> (32 - (high - low))) << low)
    })
}

/// All buffers of a device.
#[derive(Debug, Default)]
pub struct GlobalMemory {
    slots: Vec<Option<Slot>>,
    /// Of the blocks of the launch under way.
    pub numbers: Numbers,
}

impl GlobalMemory {
    /// Makes a buffer of unwritten bytes and returns its index.
    pub fn allocate(
        &mut self,
        name: &str,
        bytes: usize,
        constant: bool,
    ) -> Result<usize, EmulatorError> {
        let refuse = |reason: &str| EmulatorError::Allocation {
            name: name.to_owned(),
            bytes,
            reason: reason.to_owned(),
        };
        if bytes > LARGEST {
            return Err(refuse(&format!("the largest buffer has {LARGEST}")));
        }
        if self.slots.len() >= 0x8000 {
            return Err(refuse("32,768 buffers have been made already"));
        }
        Vec::<u8>::new()
            .try_reserve_exact(bytes.saturating_add(bytes / 4))
            .map_err(|_| refuse("the machine has not that much memory"))?;
        let index = self.slots.len();
        self.slots
            .push(Some(Slot::new(index, name, bytes, constant)));
        Ok(index)
    }

    /// Gives a buffer's memory back; its addresses are never used again.
    pub fn free(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = None;
        }
    }

    /// The buffer of this index, unless it has been freed.
    #[inline(always)]
    pub fn slot(&self, index: usize) -> Option<&Slot> {
        self.slots.get(index)?.as_ref()
    }

    /// The buffer in whose slot an address lies, inside the buffer or beside it.
    #[inline(always)]
    pub fn near(&self, address: u64) -> Option<&Slot> {
        let index = (address >> 32).checked_sub(FIRST_SLOT)?;
        self.slot(usize::try_from(index).ok()?)
    }

    /// All buffers that have not been freed.
    pub fn buffers(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten()
    }

    /// Forgets which sectors were touched: a new launch of so many blocks begins.
    pub fn begin_launch(&mut self, blocks: u64) {
        if self.numbers.begin_launch(blocks).is_none() {
            for slot in self.slots.iter_mut().flatten() {
                let accesses = slot.accesses.get_mut();
                let accesses = accesses.unwrap_or_else(PoisonError::into_inner);
                accesses.iter_mut().for_each(Accesses::clear);
            }
            self.numbers.begin_launch(blocks);
        }
        self.slots
            .iter_mut()
            .flatten()
            .for_each(Slot::forget_sectors);
    }

    /// Unique sectors read and written since the launch began.
    pub fn footprint(&self) -> [u64; 2] {
        let slots = || self.slots.iter().flatten();
        [
            slots().map(|slot| slot.read.count()).sum(),
            slots().map(|slot| slot.stored.count()).sum(),
        ]
    }
}

impl Slot {
    /// Copies bytes in and notes them as written.
    pub fn upload(&self, offset: usize, bytes: &[u8]) {
        self.mark_written(offset, bytes.len());
        let head = (4 - offset % 4) % 4;
        let (head, rest) = bytes.split_at(head.min(bytes.len()));
        for (i, &byte) in head.iter().enumerate() {
            self.write(offset + i, 1, byte.into());
        }
        let start = offset + head.len();
        let (words, tail) = rest.as_chunks::<4>();
        for (slot, &word) in self.words[start / 4..].iter().zip(words) {
            slot.store(u32::from_le_bytes(word), Relaxed);
        }
        for (i, &byte) in tail.iter().enumerate() {
            self.write(start + 4 * words.len() + i, 1, byte.into());
        }
    }

    /// Copies bytes out.
    pub fn download(&self, offset: usize, out: &mut [u8]) {
        for (i, byte) in out.iter_mut().enumerate() {
            let at = offset + i;
            *byte = (self.words[at / 4].load(Relaxed) >> (8 * (at % 4))) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use rand::RngExt;
    use std::collections::HashSet;

    #[test]
    fn bytes_come_back_as_they_went_in_and_only_they_count_as_written() {
        let mut random = testing::random(100);
        for _ in 0..200 {
            let size = random.random_range(1..200usize);
            let start = random.random_range(0..size);
            let len = random.random_range(1..=size - start);
            let slot = Slot::new(0, "x", size, false);
            let bytes: Vec<u8> = (0..len).map(|_| random.random()).collect();
            slot.upload(start, &bytes);
            let mut all = vec![0; size];
            slot.download(0, &mut all);
            assert_eq!(&all[start..start + len], bytes);
            for (i, &byte) in all.iter().enumerate() {
                let inside = (start..start + len).contains(&i);
                assert_eq!(slot.is_written(i, 1), inside);
                let poison = (POISON >> (8 * (i % 4))) as u8;
                assert!(inside || byte == poison, "byte {i} changed");
            }
        }
    }

    #[test]
    fn the_footprint_counts_each_sector_once() {
        let mut memory = GlobalMemory::default();
        let a = memory.allocate("a", 10_000, false).unwrap();
        let slot = memory.slot(a).unwrap();
        slot.touch(0, 128, Touch::Read);
        slot.touch(31, 2, Touch::ReadOnly);
        slot.touch(2000, 200, Touch::Read);
        slot.touch(64, 4, Touch::Write);
        // 4 sectors, none new, sectors 62 to 68.
        assert_eq!(memory.footprint(), [4 + 7, 1]);
        memory.begin_launch(1);
        assert_eq!(memory.footprint(), [0, 0]);
    }

    #[test]
    fn sets_of_sectors_hold_what_was_put_in_and_nothing_once_cleared() {
        let mut random = testing::random(101);
        let sectors = random.random_range(1..40_000usize);
        let (mut ours, mut others) = (Sectors::new(sectors), Sectors::new(sectors));
        for _ in 0..20 {
            let mut draw = |set: &Sectors| -> HashSet<usize> {
                let mut held = HashSet::new();
                for _ in 0..random.random_range(0..60) {
                    let first = random.random_range(0..sectors);
                    let last = (first + random.random_range(0..100usize)).min(sectors - 1);
                    set.set(first, last);
                    held.extend(first..=last);
                }
                held
            };
            let (a, b) = (draw(&ours), draw(&others));
            assert_eq!(ours.count(), a.len() as u64);
            assert_eq!(
                ours.first_common(&others),
                a.intersection(&b).min().copied()
            );
            ours.clear();
            others.clear();
            assert_eq!(ours.count() + others.count(), 0);
            assert!(ours.bits.iter().all(|bits| bits.load(Relaxed) == 0));
        }
    }
}

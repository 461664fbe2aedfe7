//! What the addresses of one access have in common. Found once in vectors, it spares the rest of
//! the access a look at each lane: bounds, banks, race shadow and the words themselves are taken
//! eight lanes at a time where these follow each other or read the same word, as nearly all do.
//!
//! The compiler takes these loops apart into single lanes, three times as slow as all the rest of
//! a load from shared memory; hence the few functions written in vectors here.

use crate::emulator::exec::registers::{FULL, LANES};

/// Lanes of a group.
pub const GROUP: usize = 8;

/// How the lanes of a group address memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// All the same place.
    Same,
    /// One behind the other without gaps.
    Run,
    /// In any other way.
    Mixed,
}

/// Where the lanes of an access go, in one memory. Lanes that are not active repeat one that is.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    pub offsets: [u32; LANES],
    pub low: u32,
    pub high: u32,
    /// Whether all offsets are multiples of the bytes of a lane.
    aligned: bool,
    /// Bytes of each lane.
    bytes: u32,
    pub groups: [Group; LANES / GROUP],
}

impl Pattern {
    /// Accesses of `bytes` bytes at `base + add`.
    #[inline(always)]
    pub fn narrow<const WIDE: bool>(
        base: &[u32; LANES],
        add: u32,
        mask: u32,
        bytes: usize,
    ) -> Self {
        #[cfg(target_arch = "x86_64")]
        if WIDE {
            // SAFETY: `WIDE` is chosen only where the CPU has AVX2.
            return unsafe { avx2::narrow(base, add, mask, bytes) };
        }
        let mut offsets = base.map(|base| base.wrapping_add(add));
        fill(&mut offsets, mask);
        Self::of(&offsets, bytes)
    }

    /// As [`narrow`](Self::narrow), from 64 bits: an offset beyond 32 bits becomes the largest one.
    #[inline(always)]
    pub fn wide<const WIDE: bool>(base: &[u64; LANES], add: u64, mask: u32, bytes: usize) -> Self {
        #[cfg(target_arch = "x86_64")]
        if WIDE {
            // SAFETY: `WIDE` is chosen only where the CPU has AVX2.
            return unsafe { avx2::wide(base, add, mask, bytes) };
        }
        let mut offsets = base.map(|base| {
            let offset = base.wrapping_add(add);
            u32::try_from(offset).unwrap_or(u32::MAX)
        });
        fill(&mut offsets, mask);
        Self::of(&offsets, bytes)
    }

    /// Of offsets where lanes that are not active repeat one that is.
    #[inline(always)]
    pub fn of(offsets: &[u32; LANES], bytes: usize) -> Self {
        let groups = std::array::from_fn(|i| {
            let first = offsets[GROUP * i];
            let steps = |step: u32| {
                (0..GROUP)
                    .all(|lane| offsets[GROUP * i + lane].wrapping_sub(first) == lane as u32 * step)
            };
            match (steps(0), steps(bytes as u32)) {
                (true, _) => Group::Same,
                (_, true) => Group::Run,
                _ => Group::Mixed,
            }
        });
        let bits = offsets.iter().fold(0, |all, offset| all | offset);
        Self {
            offsets: *offsets,
            low: offsets
                .iter()
                .fold(u32::MAX, |all, &offset| all.min(offset)),
            high: offsets.iter().fold(0, |all, &offset| all.max(offset)),
            aligned: bits & (bytes as u32 - 1) == 0,
            bytes: bytes as u32,
            groups,
        }
    }

    /// The groups with lanes of `mask`.
    #[inline(always)]
    pub fn parts(&self, mask: u32) -> impl Iterator<Item = Part> {
        let part = move |i: usize| Part {
            group: self.groups[i],
            lane: GROUP * i,
            first: self.offsets[GROUP * i],
            lanes: mask & 0xff << (GROUP * i),
        };
        (0..LANES / GROUP).map(part).filter(|part| part.lanes != 0)
    }

    /// Whether every lane lies within `size` bytes, at a multiple of its bytes.
    #[inline(always)]
    pub fn fits(&self, size: usize) -> bool {
        self.aligned && self.high as usize + self.bytes as usize <= size
    }

    /// Reads `N` adjacent words of each lane: element i of lane l goes to `[i][l]`.
    #[inline(always)]
    pub fn gather<const N: usize, T>(
        &self,
        words: &[T],
        read: impl Fn(&T) -> u32,
    ) -> [[u32; LANES]; N] {
        let mut rows = [[0; LANES]; N];
        for (i, group) in self.groups.iter().enumerate() {
            let first = self.offsets[GROUP * i] as usize / 4;
            match group {
                Group::Same => {
                    let from = &words[first..first + N];
                    for (row, word) in rows.iter_mut().zip(from) {
                        row[GROUP * i..][..GROUP].fill(read(word));
                    }
                }
                Group::Run => {
                    let (from, _) = words[first..first + GROUP * N].as_chunks::<N>();
                    for (lane, from) in from.iter().enumerate() {
                        for (row, word) in rows.iter_mut().zip(from) {
                            row[GROUP * i + lane] = read(word);
                        }
                    }
                }
                Group::Mixed => {
                    for lane in GROUP * i..GROUP * (i + 1) {
                        let first = self.offsets[lane] as usize / 4;
                        for (row, word) in rows.iter_mut().zip(&words[first..first + N]) {
                            row[lane] = read(word);
                        }
                    }
                }
            }
        }
        rows
    }

    /// Whether all lanes follow each other without gaps.
    #[inline(always)]
    pub fn is_run(&self) -> bool {
        let follows = |i: usize| {
            let apart = self.offsets[GROUP * i].wrapping_sub(self.offsets[0]);
            self.groups[i] == Group::Run && apart == (GROUP * i) as u32 * self.bytes
        };
        (0..LANES / GROUP).all(follows)
    }
}

/// A group of which at least one lane is active.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub group: Group,
    /// The first lane, and the place that it addresses.
    pub lane: usize,
    pub first: u32,
    /// Those that are active, as bits of the warp.
    pub lanes: u32,
}

impl Part {
    /// Whether all lanes are active.
    #[inline(always)]
    pub fn is_whole(&self) -> bool {
        self.lanes.count_ones() as usize == GROUP
    }

    /// Bytes from `first` that the lanes, of `bytes` bytes each, cover without gaps.
    #[inline(always)]
    pub fn length(&self, bytes: usize) -> Option<usize> {
        match self.group {
            Group::Same => Some(bytes),
            Group::Run => Some(GROUP * bytes),
            Group::Mixed => None,
        }
    }
}

/// Gives lanes that are not active the value of one that is.
#[inline(always)]
fn fill<T: Copy>(values: &mut [T; LANES], mask: u32) {
    if mask == FULL {
        return;
    }
    let active = values[mask.trailing_zeros() as usize % LANES];
    for (lane, value) in values.iter_mut().enumerate() {
        if mask >> lane & 1 == 0 {
            *value = active;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm_cvtsi128_si32, _mm_max_epu32, _mm_shuffle_epi32, _mm256_add_epi32,
        _mm256_add_epi64, _mm256_and_si256, _mm256_blendv_epi8, _mm256_broadcastd_epi32,
        _mm256_castps_si256, _mm256_castsi256_ps, _mm256_castsi256_si128, _mm256_cmpeq_epi32,
        _mm256_extracti128_si256, _mm256_max_epu32, _mm256_min_epu32, _mm256_mullo_epi32,
        _mm256_or_si256, _mm256_permute4x64_epi64, _mm256_set1_epi32, _mm256_set1_epi64x,
        _mm256_setr_epi32, _mm256_setzero_si256, _mm256_shuffle_ps, _mm256_sub_epi32,
        _mm256_testz_si256, _mm256_xor_si256,
    };

    use super::{FULL, GROUP, Group, LANES, Pattern};

    // Eights are written out: closures and `map` are not compiled into their callers here.

    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn narrow(base: &[u32; LANES], add: u32, mask: u32, bytes: usize) -> Pattern {
        let base: [__m256i; LANES / GROUP] = bytemuck::cast(*base);
        let add = _mm256_set1_epi32(add as i32);
        let offsets = [
            _mm256_add_epi32(base[0], add),
            _mm256_add_epi32(base[1], add),
            _mm256_add_epi32(base[2], add),
            _mm256_add_epi32(base[3], add),
        ];
        pattern(offsets, mask, bytes)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn wide(base: &[u64; LANES], add: u64, mask: u32, bytes: usize) -> Pattern {
        let (base, _) = base.as_chunks::<GROUP>();
        let add = _mm256_set1_epi64x(add as i64);
        let offsets = [
            narrowed(&base[0], add),
            narrowed(&base[1], add),
            narrowed(&base[2], add),
            narrowed(&base[3], add),
        ];
        pattern(offsets, mask, bytes)
    }

    /// The sums, or the largest number where one does not fit.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn narrowed(base: &[u64; GROUP], add: __m256i) -> __m256i {
        let [a, b]: [__m256i; 2] = bytemuck::cast(*base);
        let a = _mm256_castsi256_ps(_mm256_add_epi64(a, add));
        let b = _mm256_castsi256_ps(_mm256_add_epi64(b, add));
        // Lower and upper halves in the order 0 1 4 5 2 3 6 7, then in that of the lanes.
        let low = _mm256_castps_si256(_mm256_shuffle_ps::<0b10_00_10_00>(a, b));
        let high = _mm256_castps_si256(_mm256_shuffle_ps::<0b11_01_11_01>(a, b));
        let inside = _mm256_cmpeq_epi32(high, _mm256_setzero_si256());
        let beyond = _mm256_xor_si256(inside, _mm256_set1_epi32(-1));
        _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_or_si256(low, beyond))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn pattern(mut offsets: [__m256i; LANES / GROUP], mask: u32, bytes: usize) -> Pattern {
        if mask != FULL {
            let all: [u32; LANES] = bytemuck::cast(offsets);
            let active = _mm256_set1_epi32(all[mask.trailing_zeros() as usize % LANES] as i32);
            offsets = [
                active_or(active, offsets[0], mask),
                active_or(active, offsets[1], mask >> GROUP),
                active_or(active, offsets[2], mask >> (2 * GROUP)),
                active_or(active, offsets[3], mask >> (3 * GROUP)),
            ];
        }
        let [a, b, c, d] = offsets;
        let bits = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
        let high = _mm256_max_epu32(_mm256_max_epu32(a, b), _mm256_max_epu32(c, d));
        let low = _mm256_min_epu32(_mm256_min_epu32(a, b), _mm256_min_epu32(c, d));
        // The smallest is the complement of the largest complement.
        let not_low = _mm256_xor_si256(low, _mm256_set1_epi32(-1));
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let steps = _mm256_mullo_epi32(lanes, _mm256_set1_epi32(bytes as i32));
        let below = _mm256_set1_epi32(bytes as i32 - 1);
        Pattern {
            offsets: bytemuck::cast(offsets),
            low: !largest(not_low),
            high: largest(high),
            aligned: _mm256_testz_si256(bits, below) == 1,
            bytes: bytes as u32,
            groups: [
                group(a, steps),
                group(b, steps),
                group(c, steps),
                group(d, steps),
            ],
        }
    }

    /// The offsets of the lanes of `mask`, and `active` in the others.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn active_or(active: __m256i, offsets: __m256i, mask: u32) -> __m256i {
        let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        let here = _mm256_and_si256(_mm256_set1_epi32(mask as i32), bits);
        _mm256_blendv_epi8(active, offsets, _mm256_cmpeq_epi32(here, bits))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn group(offsets: __m256i, steps: __m256i) -> Group {
        let first = _mm256_broadcastd_epi32(_mm256_castsi256_si128(offsets));
        let apart = _mm256_sub_epi32(offsets, first);
        let gaps = _mm256_xor_si256(apart, steps);
        if _mm256_testz_si256(gaps, gaps) == 1 {
            Group::Run
        } else if _mm256_testz_si256(apart, apart) == 1 {
            Group::Same
        } else {
            Group::Mixed
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn largest(values: __m256i) -> u32 {
        let upper = _mm256_extracti128_si256::<1>(values);
        let four = _mm_max_epu32(_mm256_castsi256_si128(values), upper);
        let two = _mm_max_epu32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
        let one = _mm_max_epu32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two));
        _mm_cvtsi128_si32(one) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use rand::RngExt;

    /// Offsets of groups that repeat, follow each other, or neither.
    fn draw(random: &mut impl RngExt, bytes: u32) -> [u32; LANES] {
        let mut offsets = [0u32; LANES];
        for group in offsets.chunks_mut(GROUP) {
            let first: u32 = random.random();
            let step = [0, bytes, 2 * bytes, 1][random.random_range(0..4usize)];
            for (i, offset) in group.iter_mut().enumerate() {
                *offset = first.wrapping_add(i as u32 * step);
            }
            if random.random_range(0..4) == 0 {
                group[random.random_range(0..GROUP)] = random.random();
            }
        }
        offsets
    }

    #[test]
    fn patterns_say_of_each_group_what_a_look_at_every_lane_says() {
        let mut random = testing::random(120);
        for _ in 0..2000 {
            let bytes = [1, 2, 4, 8, 16][random.random_range(0..5usize)];
            let offsets = draw(&mut random, bytes);
            let pattern = Pattern::of(&offsets, bytes as usize);
            for (i, group) in offsets.chunks(GROUP).enumerate() {
                let is = |step: u32| {
                    (group.iter().enumerate())
                        .all(|(i, &offset)| offset == group[0].wrapping_add(i as u32 * step))
                };
                assert_eq!(pattern.groups[i] == Group::Same, is(0));
                assert_eq!(pattern.groups[i] == Group::Run, is(bytes));
            }
            assert_eq!(Some(&pattern.low), offsets.iter().min());
            assert_eq!(Some(&pattern.high), offsets.iter().max());
            let aligned = offsets.iter().all(|offset| offset.is_multiple_of(bytes));
            assert_eq!(pattern.fits(1 << 33), aligned);
        }
    }

    #[test]
    fn vectors_and_single_lanes_find_the_same_patterns() {
        if !crate::emulator::exec::has_wide_vectors() {
            return;
        }
        let mut random = testing::random(121);
        let same = |a: Pattern, b: Pattern| assert_eq!(format!("{a:?}"), format!("{b:?}"));
        for _ in 0..2000 {
            let bytes = [1, 2, 4, 8, 16][random.random_range(0..5usize)];
            let (offsets, add) = (draw(&mut random, bytes), random.random());
            let (mask, bytes) = (random.random::<u32>() | 1, bytes as usize);
            let base = offsets.map(|offset: u32| offset.wrapping_sub(add));
            for mask in [mask, FULL] {
                same(
                    Pattern::narrow::<true>(&base, add, mask, bytes),
                    Pattern::narrow::<false>(&base, add, mask, bytes),
                );
                let add = u64::from(add) << random.random_range(0..20);
                let base = offsets.map(|offset| {
                    let beyond = u64::from(random.random_range(0..50) == 0) << 40;
                    (u64::from(offset) + beyond).wrapping_sub(add)
                });
                same(
                    Pattern::wide::<true>(&base, add, mask, bytes),
                    Pattern::wide::<false>(&base, add, mask, bytes),
                );
            }
        }
    }
}

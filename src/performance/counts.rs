//! Counts of one kernel at some batch, and how they follow from those of smaller batches.

use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

use crate::emulator::Counters;

/// What a launch did, as far as its time may depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Operations of tensor cores.
    pub tensor_flop: u64,
    /// All other floating-point operations.
    pub simt_flop: u64,
    /// Bytes that lanes asked global memory for, or stored there.
    pub requested_bytes: u64,
    /// Bytes of the 32-byte sectors that these requests touched, a request at a time.
    pub sector_bytes: u64,
    /// Bytes of the sectors that the launch touched at all: what memory must move at least once.
    pub footprint_bytes: u64,
    /// Passes over the banks of shared memory.
    pub shared_wavefronts: u64,
    /// Those that the same requests would take without bank conflicts.
    pub ideal_wavefronts: u64,
    /// Barriers of a block, once a warp that arrives.
    pub barriers: u64,
}

/// Names of the columns of [`Counts::fields`].
pub const FIELDS: [&str; 8] = [
    "tensor_flop",
    "simt_flop",
    "requested_bytes",
    "sector_bytes",
    "footprint_bytes",
    "shared_wavefronts",
    "ideal_wavefronts",
    "barriers",
];

impl From<&Counters> for Counts {
    fn from(c: &Counters) -> Self {
        Self {
            tensor_flop: c.tensor_flop,
            simt_flop: c.simt_flop,
            requested_bytes: c.global_load_bytes + c.global_store_bytes,
            sector_bytes: 32 * (c.global_load_sectors + c.global_store_sectors),
            footprint_bytes: 32 * (c.footprint_read_sectors + c.footprint_written_sectors),
            shared_wavefronts: c.shared_load_wavefronts + c.shared_store_wavefronts,
            ideal_wavefronts: c.shared_load_ideal_wavefronts + c.shared_store_ideal_wavefronts,
            barriers: c.barriers,
        }
    }
}

impl Counts {
    /// The counts in the order of [`FIELDS`].
    pub fn fields(&self) -> [u64; 8] {
        [
            self.tensor_flop,
            self.simt_flop,
            self.requested_bytes,
            self.sector_bytes,
            self.footprint_bytes,
            self.shared_wavefronts,
            self.ideal_wavefronts,
            self.barriers,
        ]
    }

    /// The reverse of [`Counts::fields`].
    pub fn from_fields(fields: [u64; 8]) -> Self {
        let [
            tensor_flop,
            simt_flop,
            requested_bytes,
            sector_bytes,
            footprint_bytes,
            shared_wavefronts,
            ideal_wavefronts,
            barriers,
        ] = fields;
        Self {
            tensor_flop,
            simt_flop,
            requested_bytes,
            sector_bytes,
            footprint_bytes,
            shared_wavefronts,
            ideal_wavefronts,
            barriers,
        }
    }

    /// Counts at `batch` of a launch that does the same for every sample, from those at `first` and at
    /// one sample more: what they differ by is a sample's, the rest (weights, most of all) is the launch's.
    /// Exact, but that footprints are whole sectors: the ends of small tensors may be a few sectors off.
    pub fn at(batch: usize, first: usize, one: &Self, next: &Self) -> Self {
        let (one, next) = (one.fields(), next.fields());
        Self::from_fields(std::array::from_fn(|i| line(batch, first, one[i], next[i])))
    }

    /// The same with `more` bytes of partial results, each written or read once.
    pub fn with_partials(mut self, more: i64) -> Self {
        for bytes in [
            &mut self.requested_bytes,
            &mut self.sector_bytes,
            &mut self.footprint_bytes,
        ] {
            *bytes = bytes.saturating_add_signed(more);
        }
        self
    }

    /// All floating-point operations.
    pub fn flop(&self) -> u64 {
        self.tensor_flop + self.simt_flop
    }

    /// Operations for each requested byte.
    pub fn intensity(&self) -> f64 {
        self.flop() as f64 / self.requested_bytes as f64
    }
}

/// The value at `batch` on the line through those at `first` and one more.
pub(super) fn line(batch: usize, first: usize, at_first: u64, at_next: u64) -> u64 {
    let more = batch as i64 - first as i64;
    (at_first as i64 + more * (at_next as i64 - at_first as i64)) as u64
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let (a, b) = (self.fields(), other.fields());
        Self::from_fields(std::array::from_fn(|i| a[i] + b[i]))
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Self::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_extended_along_a_line() {
        let of = |n: u64| Counts::from_fields([n, 0, 10 + 3 * n, 7, 100 - n, 2 * n, 1, 5]);
        assert_eq!(Counts::at(64, 1, &of(1), &of(2)), of(64));
        assert_eq!(Counts::at(64, 4, &of(4), &of(5)), of(64));
        assert_eq!(Counts::from_fields(of(3).fields()), of(3));
        assert_eq!([of(1), of(2)].into_iter().sum::<Counts>(), of(1) + of(2));
    }

    #[test]
    fn partial_results_are_requested_and_touched_once() {
        let counts = Counts::default().with_partials(64).with_partials(-24);
        assert_eq!(counts.fields(), [0, 0, 40, 40, 40, 0, 0, 0]);
    }
}

//! The exact Kolmogorov-Smirnov statistic of sets of pixels that do not fit into memory.
//!
//! Floats in ascending order have ascending bits, once those of negative ones are inverted: their leading 22
//! bits are bins that need no range and no width. A first pass counts both sets in these bins
//! ([`PixelCounts`]), which gives the difference of the distribution functions at the bins' ends exactly.
//! Within a bin it cannot leave what it has at the start, less all of the bin's pixels of the one set, or more
//! all of the other's: few bins can hold the maximum. A second pass looks at single values, there only
//! ([`StreamedKs`]). Memory: 32 MiB a set, and as much as the values in those bins take.

use std::collections::HashMap;

use rayon::prelude::*;

use super::StatsError;

/// Leading bits of a float that make a bin.
const LEADING: u32 = 22;
/// Pixels that one thread looks at in one go.
const CHUNK: usize = 1 << 20;

/// The bits of `value` in an order that is that of the values; both zeros are one.
fn key(value: f32) -> u32 {
    let bits = (value + 0.0).to_bits();
    match bits >> 31 {
        0 => bits | 1 << 31,
        _ => !bits,
    }
}

fn bin(key: u32) -> usize {
    (key >> (u32::BITS - LEADING)) as usize
}

/// The pixels of a set, counted by the leading bits of their values.
#[derive(Clone, Debug)]
pub struct PixelCounts {
    counts: Vec<u64>,
    total: u64,
}

impl Default for PixelCounts {
    fn default() -> Self {
        Self {
            counts: vec![0; 1 << LEADING],
            total: 0,
        }
    }
}

impl PixelCounts {
    /// Counts more pixels; infinite ones are values.
    ///
    /// # Errors
    /// A NaN, whose place among `pixels` is named.
    pub fn add(&mut self, pixels: &[f32]) -> Result<(), StatsError> {
        if let Some(index) = pixels.iter().position(|value| value.is_nan()) {
            return Err(StatsError::Nan(index));
        }
        for &pixel in pixels {
            self.counts[bin(key(pixel))] += 1;
        }
        self.total += pixels.len() as u64;
        Ok(())
    }

    /// Pixels that were counted.
    pub fn total(&self) -> u64 {
        self.total
    }
}

/// A bin in which the difference may be largest.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    bin: usize,
    /// Pixels of either set below it.
    below: [u64; 2],
    /// Pixels of either set in it.
    inside: [u64; 2],
}

/// D of two sets after the first pass, and what the second pass found.
#[derive(Clone, Debug)]
pub struct StreamedKs {
    totals: [u64; 2],
    /// The largest |F_x - F_y| n m at the ends of bins.
    largest: i128,
    candidates: Vec<Candidate>,
    /// One bit a bin.
    wanted: Vec<u64>,
    /// How often either set has a value, by its key, in the candidates.
    values: HashMap<u32, [u64; 2]>,
}

impl StreamedKs {
    /// From the counts of both sets.
    ///
    /// # Errors
    /// A set without pixels.
    pub fn new(first: &PixelCounts, second: &PixelCounts) -> Result<Self, StatsError> {
        let totals = [first.total, second.total];
        if totals.contains(&0) {
            return Err(StatsError::Empty);
        }
        let (n, m) = (i128::from(totals[0]), i128::from(totals[1]));
        let difference = |[x, y]: [u64; 2]| i128::from(x) * m - i128::from(y) * n;
        let mut largest = 0;
        let mut below = [0, 0];
        for (&x, &y) in first.counts.iter().zip(&second.counts) {
            below = [below[0] + x, below[1] + y];
            largest = difference(below).abs().max(largest);
        }
        let mut candidates = Vec::new();
        let mut wanted = vec![0_u64; (1 << LEADING) / 64];
        let mut below = [0, 0];
        for (bin, (&x, &y)) in first.counts.iter().zip(&second.counts).enumerate() {
            let start = difference(below);
            let (least, most) = (start - i128::from(y) * n, start + i128::from(x) * m);
            if (x > 0 || y > 0) && least.abs().max(most.abs()) > largest {
                candidates.push(Candidate {
                    bin,
                    below,
                    inside: [x, y],
                });
                wanted[bin / 64] |= 1 << (bin % 64);
            }
            below = [below[0] + x, below[1] + y];
        }
        Ok(Self {
            totals,
            largest,
            candidates,
            wanted,
            values: HashMap::new(),
        })
    }

    /// Bins that a second pass has to look into; without any, [`Self::finish`] knows D already.
    pub fn candidates(&self) -> usize {
        self.candidates.len()
    }

    /// D is at least this.
    pub fn at_least(&self) -> f64 {
        self.of(self.largest)
    }

    fn of(&self, difference: i128) -> f64 {
        let [n, m] = self.totals.map(i128::from);
        difference as f64 / (n * m) as f64
    }

    /// Looks at pixels of the first set again.
    pub fn add_first(&mut self, pixels: &[f32]) {
        self.add(0, pixels);
    }

    /// Looks at pixels of the second set again.
    pub fn add_second(&mut self, pixels: &[f32]) {
        self.add(1, pixels);
    }

    fn add(&mut self, set: usize, pixels: &[f32]) {
        if self.candidates.is_empty() {
            return;
        }
        let wanted = |key: &u32| self.wanted[bin(*key) / 64] >> (bin(*key) % 64) & 1 == 1;
        let mut keys: Vec<u32> = pixels
            .par_chunks(CHUNK)
            .flat_map_iter(|pixels| pixels.iter().map(|&pixel| key(pixel)).filter(wanted))
            .collect();
        keys.par_sort_unstable();
        for run in keys.chunk_by(|a, b| a == b) {
            self.values.entry(run[0]).or_default()[set] += run.len() as u64;
        }
    }

    /// D, exactly that of [`super::ks_statistic`].
    ///
    /// # Errors
    /// A second pass that did not see the pixels of the first.
    pub fn finish(self) -> Result<f64, StatsError> {
        let [n, m] = self.totals.map(i128::from);
        let mut values: Vec<(&u32, &[u64; 2])> = self.values.iter().collect();
        values.sort_unstable_by_key(|(key, _)| **key);
        let mut values = values.into_iter().peekable();
        let mut largest = self.largest;
        for candidate in &self.candidates {
            let mut below = candidate.below;
            while let Some((_, [x, y])) = values.next_if(|(key, _)| bin(**key) == candidate.bin) {
                below = [below[0] + x, below[1] + y];
                let difference = i128::from(below[0]) * m - i128::from(below[1]) * n;
                largest = difference.abs().max(largest);
            }
            let seen = [0, 1].map(|set| below[set] - candidate.below[set]);
            if seen != candidate.inside {
                return Err(StatsError::Length {
                    what: "pixels of a second pass",
                    got: seen.iter().sum::<u64>() as usize,
                    expected: candidate.inside.iter().sum::<u64>() as usize,
                });
            }
        }
        Ok(self.of(largest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::ks_statistic;
    use crate::testing::{normals, random};

    fn counted(pixels: &[f32]) -> PixelCounts {
        let mut counts = PixelCounts::default();
        for piece in pixels.chunks(777) {
            counts.add(piece).unwrap();
        }
        counts
    }

    fn streamed(x: &[f32], y: &[f32]) -> (f64, usize) {
        let mut ks = StreamedKs::new(&counted(x), &counted(y)).unwrap();
        let (least, candidates) = (ks.at_least(), ks.candidates());
        for piece in x.chunks(1000) {
            ks.add_first(piece);
        }
        for piece in y.chunks(999) {
            ks.add_second(piece);
        }
        let d = ks.finish().unwrap();
        assert!(least <= d);
        (d, candidates)
    }

    fn narrow(values: Vec<f64>) -> Vec<f32> {
        values.iter().map(|&v| v as f32).collect()
    }

    #[test]
    fn d_is_exactly_that_of_sorting_all_pixels() {
        let mut draw = random(81);
        let mut seen = 0;
        for (n, m, scale, shift) in [
            (30_000, 20_000, 1.0, 0.0),
            (30_000, 30_000, 1.0, 0.02),
            (50_000, 7, 1e-3, 1e-4),
            (20_000, 20_000, 1.0, 1000.0),
        ] {
            let x = narrow(normals(&mut draw, n).iter().map(|v| v * scale).collect());
            let y = normals(&mut draw, m);
            let y = narrow(y.iter().map(|v| v * scale + shift).collect());
            let (d, candidates) = streamed(&x, &y);
            assert_eq!(d, ks_statistic(&x, &y).unwrap(), "{n} {m} {scale} {shift}");
            seen += candidates;
        }
        assert!(seen > 0, "no bin needed a second look: nothing was tested");
        // Values that differ in their last bits only: all of them in one bin.
        let last = |bits: u32| f32::from_bits(1.0_f32.to_bits() + bits);
        let x: Vec<f32> = (0..300).map(|i| last(i % 40)).collect();
        let y: Vec<f32> = (0..200).map(|i| last(i % 30)).collect();
        let (d, candidates) = streamed(&x, &y);
        assert_eq!((d, candidates), (ks_statistic(&x, &y).unwrap(), 1));
        assert!(d > 0.1);
    }

    #[test]
    fn zeros_of_either_sign_are_ties_and_infinities_are_values() {
        assert_eq!(streamed(&[0.0, -0.0], &[-0.0, 0.0]).0, 0.0);
        let infinite = [f32::NEG_INFINITY, 1.0];
        assert_eq!(streamed(&infinite, &[1.0, f32::INFINITY]).0, 0.5);
        let signs = (vec![-2.0, -1.0, 1.0], vec![-1.5, 0.5, 2.0]);
        let d = ks_statistic(&signs.0, &signs.1).unwrap();
        assert_eq!(streamed(&signs.0, &signs.1).0, d);
    }

    #[test]
    fn faulty_pixels_and_another_second_pass_are_refused() {
        let nan = PixelCounts::default().add(&[1.0, f32::NAN]).unwrap_err();
        assert_eq!(nan, StatsError::Nan(1));
        let none = StreamedKs::new(&PixelCounts::default(), &counted(&[1.0])).unwrap_err();
        assert_eq!(none, StatsError::Empty);
        // All in one bin, in which the distributions differ.
        let last = |bits: u32| f32::from_bits(1.0_f32.to_bits() + bits);
        let x: Vec<f32> = (0..300).map(|i| last(i % 40)).collect();
        let y: Vec<f32> = (0..200).map(|i| last(i % 30)).collect();
        let mut ks = StreamedKs::new(&counted(&x), &counted(&y)).unwrap();
        assert!(ks.candidates() > 0);
        ks.add_first(&x);
        ks.add_second(&x);
        assert!(matches!(ks.finish(), Err(StatsError::Length { .. })));
    }
}

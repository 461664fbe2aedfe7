//! Which maps may trade places under the null hypothesis: whole parents, never single crops.
//!
//! Crops of one parent share its large-scale structure, so a test that shuffles crops takes them
//! for more evidence than they are. Here labels (real or generated, first or second sample) belong
//! to parents and are dealt anew among parents of equally many maps; where every map is its own
//! parent, that is the ordinary permutation test.

use super::StatsError;
use crate::rng::{Philox, Stream};
use rand::RngExt;
use std::collections::BTreeMap;

/// The parent of each map of a sample, in the order of the maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parents {
    /// Index of each map's parent, 0.. in order of first appearance.
    of_map: Vec<u32>,
    /// Maps of each parent.
    sizes: Vec<u32>,
}

impl Parents {
    /// `maps` independent maps: each its own parent.
    pub fn singles(maps: usize) -> Self {
        Self::blocks(maps, 1)
    }

    /// Consecutive groups of `size` maps (the last may be smaller): for independent maps that are
    /// compared with parents of `size` crops. A `size` of 0 is read as 1.
    ///
    /// Such blocks are not quite exchangeable with real parents, whose crops are alike: with equally
    /// many of both the test keeps its level (the scatter of the means that it assumes is then
    /// the true one), with unequal numbers it may be off.
    pub fn blocks(maps: usize, size: usize) -> Self {
        let size = size.max(1);
        Self::from_ids((0..maps).map(|map| (map / size) as u64))
    }

    /// From the identity of each map's parent (any numbers).
    pub fn from_ids(ids: impl IntoIterator<Item = u64>) -> Self {
        let mut index_of: BTreeMap<u64, u32> = BTreeMap::new();
        let (mut of_map, mut sizes) = (Vec::new(), Vec::new());
        for id in ids {
            let index = *index_of.entry(id).or_insert_with(|| {
                sizes.push(0);
                sizes.len() as u32 - 1
            });
            sizes[index as usize] += 1;
            of_map.push(index);
        }
        Self { of_map, sizes }
    }

    /// Number of maps.
    pub fn maps(&self) -> usize {
        self.of_map.len()
    }

    /// Number of parents.
    pub fn count(&self) -> usize {
        self.sizes.len()
    }

    /// The index of each map's parent.
    pub fn of_map(&self) -> &[u32] {
        &self.of_map
    }
}

/// Two samples of parents, and how labels are dealt among them: at random within each group of
/// parents of equal size, as many to either sample as it has there. The sizes n and m of the two
/// samples are therefore the same under every relabelling, and parents of a size that only one
/// sample has keep their label.
#[derive(Clone, Debug)]
pub struct Design {
    /// Parent of each map, first sample before second; parents of the second come after.
    of_map: Vec<u32>,
    first_maps: usize,
    first_parents: usize,
    /// Parents that may trade labels: those of one size, and how many are of the first sample.
    strata: Vec<Stratum>,
    parents: usize,
}

#[derive(Clone, Debug)]
struct Stratum {
    parents: Vec<u32>,
    first: usize,
}

impl Design {
    /// The design of `first` against `second`.
    ///
    /// # Errors
    /// An empty sample; samples without a parent of the same number of maps.
    pub fn new(first: &Parents, second: &Parents) -> Result<Self, StatsError> {
        if first.maps() == 0 || second.maps() == 0 {
            return Err(StatsError::Empty);
        }
        let offset = first.count() as u32;
        let mut by_size: BTreeMap<u32, Stratum> = BTreeMap::new();
        let sizes = first.sizes.iter().chain(&second.sizes);
        for (parent, &size) in sizes.enumerate() {
            let stratum = by_size.entry(size).or_insert(Stratum {
                parents: Vec::new(),
                first: 0,
            });
            stratum.parents.push(parent as u32);
            stratum.first += usize::from(parent < first.count());
        }
        let mut strata: Vec<Stratum> = by_size.into_values().collect();
        strata.retain(|stratum| (1..stratum.parents.len()).contains(&stratum.first));
        if strata.is_empty() {
            return Err(StatsError::NotExchangeable);
        }
        let second_of_map = second.of_map.iter().map(|parent| parent + offset);
        Ok(Self {
            of_map: first.of_map.iter().copied().chain(second_of_map).collect(),
            first_maps: first.maps(),
            first_parents: first.count(),
            strata,
            parents: first.count() + second.count(),
        })
    }

    /// Maps of the first and of the second sample.
    pub fn maps(&self) -> (usize, usize) {
        (self.first_maps, self.of_map.len() - self.first_maps)
    }

    /// Parents of the first and of the second sample.
    pub fn parents(&self) -> (usize, usize) {
        (self.first_parents, self.parents - self.first_parents)
    }

    /// The parent of each map, the first sample's before the second's.
    pub fn of_map(&self) -> &[u32] {
        &self.of_map
    }

    /// ln of the number of different relabellings. No p-value can be below its inverse: with few
    /// parents, no test rejects.
    pub fn ln_relabellings(&self) -> f64 {
        let ln_factorial = |n: usize| super::kolmogorov::ln_factorial(n as u64);
        let of = |s: &Stratum| {
            let all = s.parents.len();
            ln_factorial(all) - ln_factorial(s.first) - ln_factorial(all - s.first)
        };
        self.strata.iter().map(of).sum()
    }

    /// 1 for each parent of the first sample, 0 for the second's.
    pub fn observed(&self) -> Vec<bool> {
        (0..self.parents).map(|p| p < self.first_parents).collect()
    }

    /// Relabelling `repeat` of `seed`: true for each parent that is dealt to the first sample.
    pub fn relabelled(&self, seed: u64, repeat: usize) -> Vec<bool> {
        let mut random = Philox::new(seed, Stream::Bootstrap, 2 * repeat as u64).sequential();
        let mut labels = self.observed();
        for stratum in &self.strata {
            // Selection sampling: every subset of that size is equally likely.
            let mut wanted = stratum.first;
            for (index, &parent) in stratum.parents.iter().enumerate() {
                let left = stratum.parents.len() - index;
                let chosen = random.random_range(0..left as u64) < wanted as u64;
                labels[parent as usize] = chosen;
                wanted -= usize::from(chosen);
            }
        }
        labels
    }

    /// Bootstrap `repeat` of `seed`: how often each parent was drawn, with replacement from all
    /// parents of its size, for the first and for the second sample.
    pub(super) fn drawn(&self, seed: u64, repeat: usize) -> Vec<[u32; 2]> {
        let mut random = Philox::new(seed, Stream::Bootstrap, 2 * repeat as u64 + 1).sequential();
        let mut times: Vec<[u32; 2]> = self
            .observed()
            .into_iter()
            .map(|first| [u32::from(first), u32::from(!first)])
            .collect();
        for stratum in &self.strata {
            let parents = &stratum.parents;
            for &parent in parents {
                times[parent as usize] = [0, 0];
            }
            for draw in 0..parents.len() {
                let parent = parents[random.random_range(0..parents.len() as u64) as usize];
                times[parent as usize][usize::from(draw >= stratum.first)] += 1;
            }
        }
        times
    }
}

#[cfg(test)]
#[path = "parents_tests.rs"]
mod tests;

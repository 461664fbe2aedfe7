//! Validation and test maps: a fixed list of crops, neither turned nor flipped, in physical units
//! for statistics and transformed for the discriminator and for grids of samples.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::error::DataError;
use super::maps::Maps;
use super::parents::check_parents;
use super::shuffle::below;
use super::transform::Transform;
use crate::rng::{Philox, Stream};

/// Philox step of the positions of overlapping crops; step 0 of the stream is the split itself.
const POSITIONS_STEP: u64 = 1;

/// A fixed list of maps of validation or test parents.
///
/// First come crops that do not overlap, laid evenly over each parent, one of every parent before
/// a second of any: the list of a smaller set is the beginning of that of a larger one. When these
/// are used up, crops at random positions follow; they overlap others, and their statistics are
/// not independent of them. Parents of exactly the network's size give one map each.
#[derive(Debug)]
pub struct HeldOutSet {
    maps: Arc<Maps>,
    transform: Transform,
    map_size: usize,
    /// (parent, y0, x0).
    crops: Vec<(usize, usize, usize)>,
    disjoint: usize,
}

impl HeldOutSet {
    /// The first `count` maps of `parents`; fewer where the parents, all of the network's size,
    /// hold fewer different ones.
    ///
    /// # Errors
    /// No parents or `count` 0, a parent smaller than the network, a transform without meaning.
    pub fn new(
        maps: Arc<Maps>,
        parents: &[usize],
        transform: Transform,
        map_size: usize,
        count: usize,
        seed: u64,
    ) -> Result<Self, DataError> {
        check_parents(&maps, parents, map_size)?;
        transform.check()?;
        if count == 0 {
            return Err(DataError::Setting {
                field: "maps of a held-out set",
                value: 0,
                accepted: "it must be at least 1",
            });
        }
        let mut crops = disjoint_crops(&maps, parents, map_size, count);
        let disjoint = crops.len();
        let larger: Vec<usize> = parents
            .iter()
            .copied()
            .filter(|&parent| maps.side(parent) > map_size)
            .collect();
        if !larger.is_empty() {
            let philox = Philox::new(seed, Stream::Split, POSITIONS_STEP);
            for i in disjoint..count {
                let parent = larger[i % larger.len()];
                let positions = maps.side(parent) - map_size + 1;
                let [y, x, ..] = philox.block(i as u32);
                crops.push((parent, below(y, positions), below(x, positions)));
            }
        }
        Ok(Self {
            maps,
            transform,
            map_size,
            crops,
            disjoint,
        })
    }

    /// The number of maps, at least 1.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.crops.len()
    }

    /// How many of the maps, from the first, do not overlap each other.
    pub fn disjoint(&self) -> usize {
        self.disjoint
    }

    /// The side S of a map in pixels.
    pub fn map_size(&self) -> usize {
        self.map_size
    }

    /// Fills `out` `[range, S, S]` with maps in physical units.
    ///
    /// # Panics
    /// Where the set has no such maps or `out` has another length.
    pub fn fill_physical(&self, range: Range<usize>, out: &mut [f32]) {
        let size = self.map_size;
        let crops = &self.crops[range];
        assert_eq!(out.len(), crops.len() * size * size, "length of the batch");
        out.par_chunks_exact_mut(size * size)
            .zip(crops)
            .for_each(|(map, &(parent, y0, x0))| {
                self.maps.read_window(parent, y0, x0, size, map);
            });
    }

    /// Fills `out` `[range, S, S, 1]` with maps in the generator's range.
    ///
    /// # Panics
    /// As [`fill_physical`](Self::fill_physical).
    pub fn fill_transformed(&self, range: Range<usize>, out: &mut [f32]) {
        self.fill_physical(range, out);
        out.par_chunks_mut(self.map_size * self.map_size)
            .for_each(|map| self.transform.forward(map));
    }

    /// All maps in physical units, `[len, S, S]`.
    pub fn physical(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.len() * self.map_size * self.map_size];
        self.fill_physical(0..self.len(), &mut out);
        out
    }
}

/// At most `count` crops that do not overlap: the k-th tile of every parent before the next of any.
fn disjoint_crops(
    maps: &Maps,
    parents: &[usize],
    map_size: usize,
    count: usize,
) -> Vec<(usize, usize, usize)> {
    let tiles_across = |parent| maps.side(parent) / map_size;
    let most = parents.iter().map(|&p| tiles_across(p).pow(2)).max();
    let tiles = (0..most.unwrap_or(0)).flat_map(|tile| {
        parents.iter().filter_map(move |&parent| {
            let across = tiles_across(parent);
            let spread = |k: usize| {
                // The remainder of a side that is no multiple goes between the tiles.
                let free = maps.side(parent) - map_size;
                if across > 1 {
                    k * free / (across - 1)
                } else {
                    free / 2
                }
            };
            (tile < across * across).then(|| (parent, spread(tile / across), spread(tile % across)))
        })
    });
    tiles.take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::super::statistics::ScannedMaps;
    use super::super::testing::{shared, write_maps};
    use super::*;

    fn maps(directory: &tempfile::TempDir, side: usize) -> Arc<Maps> {
        let path = write_maps(directory.path(), "held.npy", 4, side, |m, y, x| {
            (m * 10_000 + y * 100 + x) as f32
        });
        Arc::new(Maps::open(&[path]).unwrap())
    }

    fn set(maps: &Arc<Maps>, size: usize, count: usize) -> HeldOutSet {
        let transform = Transform::Linear {
            scale: 1e-3,
            offset: 5.0,
        };
        HeldOutSet::new(Arc::clone(maps), &[1, 3], transform, size, count, 1).unwrap()
    }

    #[test]
    fn maps_do_not_overlap_until_all_room_is_used_and_stay_within_their_parents() {
        let directory = tempfile::tempdir().unwrap();
        let maps = maps(&directory, 50);
        let held = set(&maps, 16, 40);
        assert_eq!((held.len(), held.disjoint()), (40, 18));
        for (i, &(p, y, x)) in held.crops.iter().enumerate() {
            assert!([1, 3].contains(&p) && y <= 34 && x <= 34);
            for &(q, v, u) in &held.crops[..i.min(18)] {
                let apart = p != q || y.abs_diff(v) >= 16 || x.abs_diff(u) >= 16;
                assert!(apart || i >= 18, "crop {i}");
            }
        }
        let shorter = set(&maps, 16, 25);
        assert_eq!(shorter.crops, held.crops[..25]);
        let parents: Vec<usize> = held.crops[..4].iter().map(|crop| crop.0).collect();
        assert_eq!(parents, [1, 3, 1, 3]);
    }

    #[test]
    fn physical_maps_are_the_files_pixels_and_transformed_ones_their_transform() {
        let directory = tempfile::tempdir().unwrap();
        let maps = maps(&directory, 50);
        let held = set(&maps, 16, 20);
        let physical = held.physical();
        let (parent, y0, x0) = held.crops[19];
        let corner = (parent * 10_000 + y0 * 100 + x0) as f32;
        assert_eq!(physical[19 * 256], corner);
        assert_eq!(physical[19 * 256 + 17], corner + 101.0);
        let mut transformed = vec![0.0; 2 * 256];
        held.fill_transformed(18..20, &mut transformed);
        let expected = (f64::from(corner) - 5.0) * 1e-3;
        assert_eq!(transformed[256], expected as f32);
    }

    #[test]
    fn parents_of_the_networks_size_give_one_map_each() {
        let directory = tempfile::tempdir().unwrap();
        let maps = maps(&directory, 32);
        let held = set(&maps, 32, 100);
        assert_eq!((held.len(), held.disjoint()), (2, 2));
    }

    #[test]
    fn an_empty_set_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let maps = maps(&directory, 32);
        let new = |parents: &[usize], count| {
            HeldOutSet::new(Arc::clone(&maps), parents, Transform::None {}, 16, count, 0)
        };
        assert!(new(&[], 1).is_err());
        assert!(
            new(&[0], 0)
                .unwrap_err()
                .to_string()
                .contains("held-out set is 0")
        );
    }

    #[test]
    fn simulated_maps_come_back_from_the_default_transform_within_a_hundred_thousandth() {
        let Some(data) = shared("data/simulated") else {
            return;
        };
        let maps = Arc::new(Maps::open(&[data]).unwrap());
        let scanned = ScannedMaps::scan(&maps).unwrap();
        let train = scanned.of(&[0, 1, 2, 3, 4, 5]);
        let transform = Transform::fit_default(&train).unwrap();
        let held = HeldOutSet::new(maps, &[6, 7], transform, 256, 32, 1).unwrap();
        let physical = held.physical();
        let mut transformed = vec![0.0; physical.len()];
        held.fill_transformed(0..32, &mut transformed);
        assert!(transformed.iter().all(|y| y.abs() < 1.0));
        transform.inverse(&mut transformed);
        let pairs = transformed.iter().zip(&physical);
        let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let share = f64::from(worst) / (train.max - train.min);
        println!("worst round trip: {share:.1e} of the range");
        assert!(share < 1e-5, "{share}");
    }
}

//! Validation and test maps: a fixed list of crops, neither turned nor flipped, in physical units
//! for statistics and transformed for the discriminator and for grids of samples.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::error::DataError;
use super::maps::Maps;
use super::region::{Region, check_set, read_checked};
use super::shuffle::below;
use super::transform::Transforms;
use crate::rng::{Philox, Stream};

/// Philox step of the positions of overlapping crops; step 0 of the stream is the split itself.
const POSITIONS_STEP: u64 = 1;

/// A fixed list of maps of validation or test parents.
///
/// First come crops that do not overlap, laid evenly over each region, one of every region before
/// a second of any: the list of a smaller set is the beginning of that of a larger one. When these
/// are used up, crops at random positions follow; they overlap others, and their statistics are
/// not independent of them. Regions of exactly the network's size give one map each.
#[derive(Debug)]
pub struct HeldOutSet {
    maps: Arc<Maps>,
    transforms: Transforms,
    map_size: usize,
    /// (parent, y0, x0).
    crops: Vec<(usize, usize, usize)>,
    disjoint: usize,
}

impl HeldOutSet {
    /// The first `count` maps of `regions`; fewer where the regions, all of the network's size,
    /// hold fewer different ones. `transforms` has one for each channel.
    ///
    /// # Errors
    /// No regions or `count` 0, a region smaller than the network, a transform without meaning.
    pub fn new(
        maps: Arc<Maps>,
        regions: &[Region],
        transforms: Transforms,
        map_size: usize,
        count: usize,
        seed: u64,
    ) -> Result<Self, DataError> {
        check_set(&maps, regions, map_size, &transforms)?;
        if count == 0 {
            return Err(DataError::Setting {
                field: "maps of a held-out set",
                value: 0,
                accepted: "it must be at least 1",
            });
        }
        let mut crops = disjoint_crops(&maps, regions, map_size, count);
        let disjoint = crops.len();
        let larger: Vec<&Region> = regions
            .iter()
            .filter(|region| !region.is_exact(&maps, map_size))
            .collect();
        if !larger.is_empty() {
            let philox = Philox::new(seed, Stream::Split, POSITIONS_STEP);
            for i in disjoint..count {
                let region = larger[i % larger.len()];
                let (down, across) = region.positions(&maps, map_size);
                let [y, x, ..] = philox.block(i as u32);
                let y0 = region.rows.start + below(y, down);
                crops.push((region.parent, y0, below(x, across)));
            }
        }
        Ok(Self {
            maps,
            transforms,
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

    /// The parent of each map.
    pub fn parents(&self) -> impl Iterator<Item = usize> + '_ {
        self.crops.iter().map(|&(parent, _, _)| parent)
    }

    /// Channels of a map.
    pub fn channels(&self) -> usize {
        self.maps.channels()
    }

    /// Values of a map: pixels times channels.
    pub fn map_len(&self) -> usize {
        self.map_size * self.map_size * self.channels()
    }

    /// Fills `out` `[range, S, S, C]` with maps in physical units.
    ///
    /// # Errors
    /// The first pixel that is not finite, by its place in the file.
    ///
    /// # Panics
    /// Where the set has no such maps or `out` has another length.
    pub fn fill_physical(&self, range: Range<usize>, out: &mut [f32]) -> Result<(), DataError> {
        let (size, map_len) = (self.map_size, self.map_len());
        let crops = &self.crops[range];
        assert_eq!(out.len(), crops.len() * map_len, "length of the batch");
        let failed = out
            .par_chunks_exact_mut(map_len)
            .zip(crops)
            .find_map_first(|(map, &crop)| read_checked(&self.maps, crop, size, map).err());
        failed.map_or(Ok(()), Err)
    }

    /// Fills `out` `[range, S, S, C]` with maps in the generator's range.
    ///
    /// # Errors
    /// As [`fill_physical`](Self::fill_physical).
    ///
    /// # Panics
    /// As [`fill_physical`](Self::fill_physical).
    pub fn fill_transformed(&self, range: Range<usize>, out: &mut [f32]) -> Result<(), DataError> {
        self.fill_physical(range, out)?;
        out.par_chunks_mut(self.map_len())
            .for_each(|map| self.transforms.forward(map));
        Ok(())
    }

    /// All maps in physical units, `[len, S, S, C]`.
    ///
    /// # Errors
    /// As [`fill_physical`](Self::fill_physical).
    pub fn physical(&self) -> Result<Vec<f32>, DataError> {
        let mut out = vec![0.0; self.len() * self.map_len()];
        self.fill_physical(0..self.len(), &mut out)?;
        Ok(out)
    }

    /// Reads all maps, to find what is wrong with them before it is too late.
    ///
    /// # Errors
    /// As [`fill_physical`](Self::fill_physical).
    pub fn check(&self) -> Result<(), DataError> {
        let (size, map_len) = (self.map_size, self.map_len());
        let failed = self
            .crops
            .par_iter()
            .map_init(
                || vec![0.0; map_len],
                |map, &crop| read_checked(&self.maps, crop, size, map).err(),
            )
            .find_map_first(|error| error);
        failed.map_or(Ok(()), Err)
    }
}

/// At most `count` crops that do not overlap: the k-th tile of every region before the next of any.
fn disjoint_crops(
    maps: &Maps,
    regions: &[Region],
    map_size: usize,
    count: usize,
) -> Vec<(usize, usize, usize)> {
    let tiles = |region: &Region| {
        let across = maps.side(region.parent) / map_size;
        (region.rows.len() / map_size, across)
    };
    let most = regions.iter().map(|region| {
        let (down, across) = tiles(region);
        down * across
    });
    // The remainder of a side that is no multiple goes between the tiles.
    let spread = |k: usize, tiles: usize, positions: usize| {
        let free = positions - 1;
        if tiles > 1 {
            k * free / (tiles - 1)
        } else {
            free / 2
        }
    };
    let crops = (0..most.max().unwrap_or(0)).flat_map(|tile| {
        regions.iter().filter_map(move |region| {
            let (down, across) = tiles(region);
            let (free_down, free_across) = region.positions(maps, map_size);
            let y0 = spread(tile / across, down, free_down);
            let x0 = spread(tile % across, across, free_across);
            (tile < down * across).then_some((region.parent, region.rows.start + y0, x0))
        })
    });
    crops.take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::super::statistics::survey;
    use super::super::testing::{shared, write_maps};
    use super::super::transform::Transform;
    use super::*;

    fn whole(maps: &Maps, parents: &[usize]) -> Vec<Region> {
        parents.iter().map(|&p| Region::whole(maps, p)).collect()
    }

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
        let regions = whole(maps, &[1, 3]);
        HeldOutSet::new(Arc::clone(maps), &regions, transform.into(), size, count, 1).unwrap()
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
        let physical = held.physical().unwrap();
        let (parent, y0, x0) = held.crops[19];
        let corner = (parent * 10_000 + y0 * 100 + x0) as f32;
        assert_eq!(physical[19 * 256], corner);
        assert_eq!(physical[19 * 256 + 17], corner + 101.0);
        let mut transformed = vec![0.0; 2 * 256];
        held.fill_transformed(18..20, &mut transformed).unwrap();
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
            let (regions, none) = (whole(&maps, parents), Transform::None {}.into());
            HeldOutSet::new(Arc::clone(&maps), &regions, none, 16, count, 0)
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
        let regions = whole(&maps, &[0, 1, 2, 3, 4, 5]);
        let train = survey(&maps, &regions, u64::MAX, 1).unwrap().statistics[0];
        let transform = Transform::fit_default(&train).unwrap();
        let regions = whole(&maps, &[6, 7]);
        let held = HeldOutSet::new(maps, &regions, transform.into(), 256, 32, 1).unwrap();
        let physical = held.physical().unwrap();
        let mut transformed = vec![0.0; physical.len()];
        held.fill_transformed(0..32, &mut transformed).unwrap();
        assert!(transformed.iter().all(|y| y.abs() < 1.0));
        transform.inverse(&mut transformed);
        let pairs = transformed.iter().zip(&physical);
        let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let share = f64::from(worst) / (train.max - train.min);
        println!("worst round trip: {share:.1e} of the range");
        assert!(share < 1e-5, "{share}");
    }
}

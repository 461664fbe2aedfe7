//! Batches of training maps: random crops of parents, turned and flipped, transformed to the
//! generator's range. Which map a row of an epoch is depends on the seed, the epoch and the row
//! alone, so that a resumed run goes on with the maps it would have seen.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::maps::Maps;
use super::region::{Region, check_set, not_finite, read_checked};
use super::shuffle::{below, shuffle};
use super::symmetry::Symmetry;
use super::transform::Transforms;
use crate::backend::CropPlace;
use crate::rng::{Philox, Stream};

/// The first Philox block of crop positions; those below belong to the epoch's shuffle.
const CROP_BLOCKS: u32 = 1 << 31;

/// How training maps are drawn from parents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// The network's map size S in pixels.
    pub map_size: usize,
    /// Whether each map is turned and flipped at random (8 orientations).
    pub augment: bool,
    /// Crops of each larger parent (or strip of one) in an epoch; the paper's epoch has 200. Maps
    /// of exactly the network's size come once.
    pub crops_per_parent: usize,
    pub seed: u64,
}

impl Sampling {
    /// 200 crops of each parent an epoch, augmented.
    pub fn new(map_size: usize, seed: u64) -> Self {
        Self {
            map_size,
            augment: true,
            crops_per_parent: 200,
            seed,
        }
    }
}

/// The training maps of a run.
///
/// An epoch is a shuffled list of `crops_per_parent` crops of each region that is larger than the
/// network, and of each region of exactly the network's size once. Positions are uniform over all
/// that lie whole within the region: crops do not wrap around its edges, since a map of the sky is
/// not periodic.
#[derive(Debug)]
pub struct TrainingSet {
    maps: Arc<Maps>,
    /// Regions that hold one crop, then larger ones.
    regions: Vec<Region>,
    /// The number of regions that hold one crop.
    exact: usize,
    /// The first value of each region where all lie one after the other, and the end of the last.
    held_starts: Vec<usize>,
    transforms: Transforms,
    sampling: Sampling,
    order: Mutex<Arc<EpochOrder>>,
}

/// The shuffled rows of one epoch: numbers of exact regions, then of crops of the larger ones,
/// one of each before a second of any.
#[derive(Debug)]
struct EpochOrder {
    epoch: u64,
    rows: Vec<u32>,
}

/// Which pixels of which parent a row of an epoch shows, and how they are turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    pub parent: usize,
    pub y0: usize,
    pub x0: usize,
    pub symmetry: Symmetry,
}

impl TrainingSet {
    /// The training set of `regions` of `maps`; `transforms` has one for each channel.
    ///
    /// # Errors
    /// Regions smaller than the network, none at all, no crops, an epoch of 2^31 maps or more,
    /// or a transform without meaning.
    pub fn new(
        maps: Arc<Maps>,
        regions: &[Region],
        transforms: Transforms,
        sampling: Sampling,
    ) -> Result<Self, DataError> {
        check_set(&maps, regions, sampling.map_size, &transforms)?;
        let is_exact = |region: &Region| region.is_exact(&maps, sampling.map_size);
        let (mut ordered, larger): (Vec<_>, Vec<_>) = regions.iter().cloned().partition(is_exact);
        let exact = ordered.len();
        let crops = (larger.len() as u64).saturating_mul(sampling.crops_per_parent as u64);
        let length = crops.saturating_add(exact as u64);
        let none = !larger.is_empty() && crops == 0;
        if none || length >= u64::from(CROP_BLOCKS) {
            return Err(DataError::Setting {
                field: "crops_per_parent",
                value: sampling.crops_per_parent as u64,
                accepted: "it must be at least 1, and an epoch shorter than 2^31 maps",
            });
        }
        ordered.extend(larger);
        let order = epoch_order(sampling.seed, 0, length as u32);
        let mut held_starts = vec![0];
        for region in &ordered {
            let len = region.rows.len() * maps.side(region.parent) * maps.channels();
            held_starts.push(held_starts[held_starts.len() - 1] + len);
        }
        Ok(Self {
            held_starts,
            maps,
            regions: ordered,
            exact,
            transforms,
            sampling,
            order: Mutex::new(Arc::new(order)),
        })
    }

    /// Maps in an epoch.
    pub fn epoch_len(&self) -> usize {
        self.exact + (self.regions.len() - self.exact) * self.sampling.crops_per_parent
    }

    /// Batches of `batch` maps in an epoch; without `drop_last` the last may be smaller.
    pub fn steps_per_epoch(&self, batch: usize, drop_last: bool) -> usize {
        if drop_last {
            self.epoch_len() / batch
        } else {
            self.epoch_len().div_ceil(batch)
        }
    }

    /// The rows of an epoch that make up its `step`-th batch, counted from 0: `batch` of them, or
    /// what is left of the epoch.
    pub fn rows(&self, step: usize, batch: usize) -> Range<usize> {
        let length = self.epoch_len();
        (step * batch).min(length)..((step + 1) * batch).min(length)
    }

    /// The network's map size S in pixels.
    pub fn map_size(&self) -> usize {
        self.sampling.map_size
    }

    /// Values of a map: pixels times channels.
    pub fn map_len(&self) -> usize {
        self.map_size() * self.map_size() * self.maps.channels()
    }

    /// How pixels become the generator's range.
    pub fn transforms(&self) -> &Transforms {
        &self.transforms
    }

    /// What row `row` of `epoch` shows.
    ///
    /// # Panics
    /// Where the epoch has no such row.
    pub fn crop(&self, epoch: u64, row: usize) -> Crop {
        self.crop_in(&self.epoch_order(epoch), row)
    }

    /// Values of all regions together.
    pub fn held_len(&self) -> usize {
        self.held_starts[self.regions.len()]
    }

    /// Values of a row of a region.
    fn held_row(&self, region: &Region) -> usize {
        self.maps.side(region.parent) * self.maps.channels()
    }

    /// Hands all regions, transformed, one after the other to `take` in pieces of whole rows, with
    /// the place of their first value (see [`TrainingSet::crop_places`]).
    ///
    /// # Errors
    /// The first pixel that is not finite, by its place in the file; what `take` says.
    pub fn each_held<E: From<DataError>>(
        &self,
        mut take: impl FnMut(usize, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        const PIECE: usize = 1 << 20;
        let channels = self.maps.channels();
        let mut values = Vec::new();
        for (region, start) in self.regions.iter().zip(&self.held_starts) {
            let row = self.held_row(region);
            let rows = (PIECE / row).max(1);
            for first in region.rows.clone().step_by(rows) {
                let last = (first + rows).min(region.rows.end);
                values.resize((last - first) * row, 0.0);
                for (y, values) in (first..last).zip(values.chunks_exact_mut(row)) {
                    self.maps.read_row(region.parent, y, 0, values);
                    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                        let at = (y, index / channels);
                        let error = not_finite(&self.maps, region.parent, at, index, values[index]);
                        return Err(error.into());
                    }
                }
                self.transforms.forward(&mut values);
                take(start + (first - region.rows.start) * row, &values)?;
            }
        }
        Ok(())
    }

    /// Where the maps of `rows` of `epoch` lie among the values of [`TrainingSet::each_held`].
    ///
    /// # Panics
    /// Where the epoch has no such rows.
    pub fn crop_places(&self, epoch: u64, rows: Range<usize>) -> Vec<CropPlace> {
        let order = self.epoch_order(epoch);
        rows.map(|row| {
            let number = self.region_of(&order, row);
            let (region, crop) = (&self.regions[number], self.crop_in(&order, row));
            let width = self.held_row(region);
            let down = crop.y0 - region.rows.start;
            CropPlace {
                offset: self.held_starts[number] + down * width + crop.x0 * self.maps.channels(),
                row: width,
                symmetry: crop.symmetry.index(),
            }
        })
        .collect()
    }

    /// Fills `out` `[rows, S, S, C]` with the transformed maps of `rows` of `epoch` (see
    /// [`rows`](Self::rows)), on all cores.
    ///
    /// # Errors
    /// The first pixel that is not finite, by its place in the file.
    ///
    /// # Panics
    /// Where the epoch has no such rows or `out` has another length.
    pub fn fill(&self, epoch: u64, rows: Range<usize>, out: &mut [f32]) -> Result<(), DataError> {
        assert_eq!(
            out.len(),
            rows.len() * self.map_len(),
            "length of the batch"
        );
        let order = self.epoch_order(epoch);
        let failed = out
            .par_chunks_exact_mut(self.map_len())
            .zip(rows)
            .find_map_first(|(map, row)| self.fill_one(&order, row, map).err());
        failed.map_or(Ok(()), Err)
    }

    fn fill_one(&self, order: &EpochOrder, row: usize, map: &mut [f32]) -> Result<(), DataError> {
        let size = self.map_size();
        let crop = self.crop_in(order, row);
        read_checked(&self.maps, (crop.parent, crop.y0, crop.x0), size, map)?;
        crop.symmetry.apply(map, size, self.maps.channels());
        self.transforms.forward(map);
        Ok(())
    }

    /// The index of the region that a row of an epoch shows.
    fn region_of(&self, order: &EpochOrder, row: usize) -> usize {
        let number = order.rows[row] as usize;
        match number.checked_sub(self.exact) {
            None => number,
            Some(crop) => self.exact + crop % (self.regions.len() - self.exact),
        }
    }

    fn crop_in(&self, order: &EpochOrder, row: usize) -> Crop {
        let region = &self.regions[self.region_of(order, row)];
        let (down, across) = region.positions(&self.maps, self.sampling.map_size);
        let Sampling { seed, augment, .. } = self.sampling;
        let position = Philox::new(seed, Stream::Batches, order.epoch);
        let [y, x, ..] = position.block(CROP_BLOCKS + row as u32);
        let symmetry = if augment {
            let [word, ..] = Philox::new(seed, Stream::Augmentation, order.epoch).block(row as u32);
            Symmetry::from_word(word)
        } else {
            Symmetry::IDENTITY
        };
        Crop {
            parent: region.parent,
            y0: region.rows.start + below(y, down),
            x0: below(x, across),
            symmetry,
        }
    }

    /// The order of `epoch`, shuffled once and kept until another epoch is asked for.
    fn epoch_order(&self, epoch: u64) -> Arc<EpochOrder> {
        // The order is replaced whole, so that a panic elsewhere cannot leave half of one.
        let mut cached = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.epoch != epoch {
            let length = self.epoch_len() as u32;
            *cached = Arc::new(epoch_order(self.sampling.seed, epoch, length));
        }
        Arc::clone(&cached)
    }
}

fn epoch_order(seed: u64, epoch: u64, length: u32) -> EpochOrder {
    let mut rows: Vec<u32> = (0..length).collect();
    shuffle(&mut rows, &Philox::new(seed, Stream::Batches, epoch));
    EpochOrder { epoch, rows }
}

#[cfg(test)]
mod tests {
    use super::super::testing::write_maps;
    use super::super::transform::Transform;
    use super::*;

    const SIDE: usize = 40;

    /// 5 parents whose pixels say where they come from: parent + y/64 + x/4096.
    fn parents(directory: &tempfile::TempDir) -> Arc<Maps> {
        let path = write_maps(directory.path(), "parents.npy", 5, SIDE, |m, y, x| {
            m as f32 + y as f32 / 64.0 + x as f32 / 4096.0
        });
        Arc::new(Maps::open(&[path]).unwrap())
    }

    fn whole(maps: &Maps, parents: &[usize]) -> Vec<Region> {
        parents.iter().map(|&p| Region::whole(maps, p)).collect()
    }

    fn set(maps: &Arc<Maps>, parents: &[usize], sampling: Sampling) -> TrainingSet {
        let (regions, none) = (whole(maps, parents), Transform::None {}.into());
        TrainingSet::new(Arc::clone(maps), &regions, none, sampling).unwrap()
    }

    #[test]
    fn an_epoch_shows_every_training_parent_equally_often_in_a_new_order() {
        let directory = tempfile::tempdir().unwrap();
        let maps = parents(&directory);
        let set = set(&maps, &[0, 2, 3], Sampling::new(16, 1));
        assert_eq!(set.epoch_len(), 600);
        let shown =
            |epoch| -> Vec<usize> { (0..600).map(|row| set.crop(epoch, row).parent).collect() };
        let (first, second) = (shown(0), shown(1));
        assert_ne!(first, second);
        for parent in [0, 2, 3] {
            for epoch in [&first, &second] {
                assert_eq!(epoch.iter().filter(|&&p| p == parent).count(), 200);
            }
        }
    }

    #[test]
    fn crops_reach_every_position_and_orientation_and_never_wrap() {
        let directory = tempfile::tempdir().unwrap();
        let maps = parents(&directory);
        let sampling = Sampling {
            crops_per_parent: 2000,
            ..Sampling::new(32, 2)
        };
        let set = set(&maps, &[1], sampling);
        let mut seen = std::collections::HashMap::new();
        for row in 0..set.epoch_len() {
            let crop = set.crop(3, row);
            assert!(crop.y0 <= SIDE - 32 && crop.x0 <= SIDE - 32);
            *seen.entry(("position", crop.y0, crop.x0)).or_insert(0u32) += 1;
            *seen.entry(("turn", crop.symmetry.index(), 0)).or_insert(0) += 1;
        }
        let counts = |what| {
            seen.iter()
                .filter(move |(key, _)| key.0 == what)
                .map(|e| *e.1)
        };
        assert_eq!(counts("position").count(), 81);
        assert_eq!(counts("turn").count(), 8);
        assert!(counts("turn").all(|n| (180..320).contains(&n)), "{seen:?}");
    }

    #[test]
    fn a_batch_holds_the_pixels_of_its_crops_turned_and_transformed() {
        let directory = tempfile::tempdir().unwrap();
        let maps = parents(&directory);
        let transform = Transform::Linear {
            scale: 0.5,
            offset: 2.0,
        };
        let sampling = Sampling::new(16, 3);
        let set = TrainingSet::new(
            Arc::clone(&maps),
            &whole(&maps, &[0, 4]),
            transform.into(),
            sampling,
        )
        .unwrap();
        let mut batch = vec![f32::NAN; 7 * 256];
        set.fill(2, 30..37, &mut batch).unwrap();
        for (row, map) in (30..).zip(batch.chunks_exact(256)) {
            let crop = set.crop(2, row);
            let mut expected = vec![0.0; 256];
            maps.read_window(crop.parent, crop.y0, crop.x0, 16, &mut expected);
            crop.symmetry.apply(&mut expected, 16, 1);
            expected.iter_mut().for_each(|v| *v = (*v - 2.0) * 0.5);
            assert_eq!(map, expected);
        }
    }

    #[test]
    fn a_row_is_the_same_in_any_batch_after_any_history_and_on_one_thread() {
        let directory = tempfile::tempdir().unwrap();
        let maps = parents(&directory);
        let sampling = Sampling::new(16, 4);
        let all = [0, 1, 2, 3, 4];
        let run = set(&maps, &all, sampling);
        let mut whole = vec![0.0; 64 * 256];
        run.fill(0, 0..64, &mut whole).unwrap();
        run.fill(6, 0..64, &mut whole).unwrap();
        let resumed = set(&maps, &all, sampling);
        let mut part = vec![0.0; 10 * 256];
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        pool.install(|| resumed.fill(6, 20..30, &mut part)).unwrap();
        assert_eq!(part, whole[20 * 256..30 * 256]);
        let other = set(
            &maps,
            &all,
            Sampling {
                seed: 5,
                ..sampling
            },
        );
        other.fill(6, 20..30, &mut part).unwrap();
        assert_ne!(part, whole[20 * 256..30 * 256]);
    }

    #[test]
    fn maps_of_the_networks_size_come_once_an_epoch() {
        let directory = tempfile::tempdir().unwrap();
        let maps = parents(&directory);
        let set = set(&maps, &[0, 1, 2, 3, 4], Sampling::new(SIDE, 6));
        assert_eq!(set.epoch_len(), 5);
        let mut shown: Vec<usize> = (0..5).map(|row| set.crop(9, row).parent).collect();
        shown.sort_unstable();
        assert_eq!(shown, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn the_last_incomplete_batch_is_kept_or_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let maps = parents(&directory);
        let sampling = Sampling {
            crops_per_parent: 10,
            ..Sampling::new(16, 7)
        };
        let set = set(&maps, &[0, 1, 2, 3, 4], sampling);
        assert_eq!(set.steps_per_epoch(16, true), 3);
        assert_eq!(set.steps_per_epoch(16, false), 4);
        assert_eq!(set.rows(2, 16), 32..48);
        assert_eq!(set.rows(3, 16), 48..50);
    }

    #[test]
    fn sets_without_maps_and_parents_too_small_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let maps = parents(&directory);
        let new = |parents: &[usize], sampling| {
            let (regions, none) = (whole(&maps, parents), Transform::None {}.into());
            let made = TrainingSet::new(Arc::clone(&maps), &regions, none, sampling);
            made.unwrap_err().to_string()
        };
        assert!(new(&[0], Sampling::new(64, 0)).contains("parents.npy: maps are 40x40"));
        assert!(new(&[], Sampling::new(16, 0)).contains("at least one parent"));
        let none = Sampling {
            crops_per_parent: 0,
            ..Sampling::new(16, 0)
        };
        assert!(new(&[0], none).contains("crops_per_parent is 0"));
    }
}

//! The sets of maps that are compared: real ones, dealt by parent into two, and generated ones, from a
//! file or from whatever makes them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::EvaluateError;
use crate::data::{HeldOutSet, Maps, Region, Transform, shuffle};
use crate::rng::{Philox, Stream};

/// Maps that are read, or made, piece by piece.
pub struct MapSource<'a> {
    /// Which set it is, in errors.
    pub set: &'static str,
    /// Where the maps come from.
    pub origin: String,
    /// Independent unit of each map, in the order of the maps.
    pub units: Vec<u64>,
    pub units_known: bool,
    /// Pixels along the side of a map.
    pub side: usize,
    fill: Box<FillMaps<'a>>,
    /// The first maps, once they were made, as far as there is room.
    kept: Vec<f32>,
    /// Maps that may be kept.
    room: usize,
}

/// Puts the maps of the given numbers, `[n, S, S]`, into a slice.
pub type FillMaps<'a> = dyn FnMut(&[usize], &mut [f32]) -> Result<(), EvaluateError> + 'a;

impl<'a> MapSource<'a> {
    /// Maps that `fill` makes in pieces, each of the independent unit that `units` names.
    pub fn new(
        set: &'static str,
        origin: String,
        side: usize,
        units: Vec<u64>,
        fill: Box<FillMaps<'a>>,
    ) -> Self {
        Self {
            set,
            origin,
            units,
            units_known: true,
            side,
            fill,
            kept: Vec::new(),
            room: 0,
        }
    }

    /// Keeps the first maps in memory once they were made, up to so many bytes: they are wanted more than
    /// once.
    pub fn keep(mut self, bytes: usize) -> Self {
        self.room = bytes / (self.side * self.side * size_of::<f32>()).max(1);
        self
    }

    /// The number of maps.
    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Keeps the first maps, `most` at most.
    pub fn truncate(&mut self, most: usize) {
        self.units.truncate(most);
    }

    /// Fills `out` `[range, S, S]`.
    ///
    /// # Errors
    /// Maps that cannot be read or made; a pixel that is not finite, where it lies in a file.
    pub fn fill(&mut self, range: Range<usize>, out: &mut [f32]) -> Result<(), EvaluateError> {
        self.pick(&range.collect::<Vec<usize>>(), out)
    }

    /// Fills `out` `[indices, S, S]` with single maps, in the order asked for.
    ///
    /// # Errors
    /// As [`fill`](Self::fill).
    pub fn pick(&mut self, indices: &[usize], out: &mut [f32]) -> Result<(), EvaluateError> {
        let size = self.side * self.side;
        let kept = self.kept.len() / size;
        if indices.iter().all(|&index| index < kept) {
            for (map, &index) in out.chunks_exact_mut(size).zip(indices) {
                map.copy_from_slice(&self.kept[index * size..(index + 1) * size]);
            }
            return Ok(());
        }
        (self.fill)(indices, out)?;
        let next = indices.iter().zip(kept..self.room);
        let in_order = next.take_while(|(index, next)| **index == *next).count();
        self.kept.extend(&out[..in_order * size]);
        Ok(())
    }
}

/// What crops are to be taken from files of maps.
#[derive(Clone, Copy, Debug)]
pub struct CropRules {
    /// Pixels along the side of a crop.
    pub side: usize,
    /// Consecutive maps of a file that come from one parent, where maps have the crop's side.
    pub crops_per_parent: Option<usize>,
    pub seed: u64,
}

/// Opens a set of files of one size.
///
/// # Errors
/// What opening says; maps of several sizes or channels.
pub fn open(set: &'static str, paths: &[PathBuf]) -> Result<Arc<Maps>, EvaluateError> {
    let maps = Maps::open(paths)?;
    let (smallest, largest) = maps.sides();
    if smallest != largest {
        return Err(EvaluateError::MixedSides {
            set,
            origin: origin(paths),
            smallest,
            largest,
        });
    }
    if maps.channels() != 1 {
        return Err(EvaluateError::Channels {
            set,
            origin: origin(paths),
            channels: maps.channels(),
        });
    }
    Ok(Arc::new(maps))
}

/// The names of files in a phrase.
pub fn origin(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    match &names[..] {
        [first, _, _, _, ..] => format!("{first} and {} others", names.len() - 1),
        _ => names.join(", "),
    }
}

/// Maps to draw a set from, parent by parent.
#[derive(Clone, Debug)]
pub struct Pool {
    set: &'static str,
    maps: Arc<Maps>,
    origin: String,
    rules: CropRules,
    /// Parents, or single maps where parents are not known, in the order of the files.
    units: Vec<Unit>,
    known: bool,
}

/// What is kept together.
#[derive(Clone, Debug)]
struct Unit {
    id: u64,
    regions: Vec<Region>,
}

impl Pool {
    /// All of `maps`.
    ///
    /// # Errors
    /// Maps smaller than the crops, files that do not hold whole groups.
    pub fn whole(
        set: &'static str,
        maps: &Arc<Maps>,
        origin: String,
        rules: CropRules,
    ) -> Result<Self, EvaluateError> {
        let all = (0..maps.len()).map(|map| Region::whole(maps, map));
        Self::of(set, maps, origin, all.collect(), rules)
    }

    /// Some `regions` of `maps`.
    ///
    /// # Errors
    /// As [`whole`](Self::whole).
    pub fn of(
        set: &'static str,
        maps: &Arc<Maps>,
        origin: String,
        mut regions: Vec<Region>,
        rules: CropRules,
    ) -> Result<Self, EvaluateError> {
        let (side, _) = maps.sides();
        if side < rules.side {
            return Err(EvaluateError::Smaller {
                set,
                origin,
                side,
                generated: rules.side,
            });
        }
        let (ids, known) = unit_of_map(set, maps, &origin, &rules)?;
        regions.sort_by_key(|region| (region.parent, region.rows.start));
        let mut units: Vec<Unit> = Vec::new();
        for region in regions {
            let id = ids[region.parent];
            match units.last_mut() {
                Some(unit) if unit.id == id => unit.regions.push(region),
                _ => units.push(Unit {
                    id,
                    regions: vec![region],
                }),
            }
        }
        Ok(Self {
            set,
            maps: Arc::clone(maps),
            origin,
            rules,
            units,
            known,
        })
    }

    /// Independent units: parents, or single maps where parents are not known.
    pub fn units(&self) -> usize {
        self.units.len()
    }

    /// Crops that do not overlap.
    pub fn crops(&self) -> usize {
        let across = |region: &Region| self.maps.side(region.parent) / self.rules.side;
        let crops = |region: &Region| region.rows.len() / self.rules.side * across(region);
        let regions = self.units.iter().flat_map(|unit| &unit.regions);
        regions.map(crops).sum()
    }

    /// Two sets of different parents, as equal in size as can be, of at most `most` maps each.
    ///
    /// Parents are dealt at random; maps whose parents are not known stay in the order of the files,
    /// the first half against the second, so that few parents have crops in both.
    ///
    /// # Errors
    /// Fewer than 4 parents; what [`source`](Self::source) says.
    pub fn halves<'a>(mut self, most: usize) -> Result<[MapSource<'a>; 2], EvaluateError> {
        self.require(self.units())?;
        if self.known {
            let philox = Philox::new(self.rules.seed, Stream::Split, 2);
            shuffle(&mut self.units, &philox);
        }
        let mut second = self.clone();
        second.set = "second real";
        second.units = self.units.split_off(self.units.len() / 2);
        for half in [&mut self, &mut second] {
            half.units.sort_by_key(|unit| unit.id);
        }
        Ok([self.source(most)?, second.source(most)?])
    }

    /// Two sets from this one and from maps of other parents, `beside`, which are taken for the second
    /// set; of few such parents a better second set is half of this one.
    ///
    /// # Errors
    /// As [`halves`](Self::halves).
    pub fn with_second<'a>(
        self,
        mut beside: Self,
        most: usize,
    ) -> Result<[MapSource<'a>; 2], EvaluateError> {
        if !self.takes_second(&beside) {
            return self.halves(most);
        }
        self.require(self.units() + beside.units())?;
        beside.set = "second real";
        Ok([self.source(most)?, beside.source(most)?])
    }

    /// Whether [`with_second`](Self::with_second) takes `beside` for the second set: it has at least
    /// half as many parents.
    pub fn takes_second(&self, beside: &Self) -> bool {
        beside.units() > 0 && 2 * beside.units() >= self.units()
    }

    fn require(&self, units: usize) -> Result<(), EvaluateError> {
        match units {
            0..4 => Err(EvaluateError::TooFewReal {
                origin: self.origin.clone(),
                units,
            }),
            _ => Ok(()),
        }
    }

    /// Crops that do not overlap, `most` at most: one of every map before a second of any.
    ///
    /// # Errors
    /// Files that changed since they were opened.
    pub fn source<'a>(self, most: usize) -> Result<MapSource<'a>, EvaluateError> {
        let regions: Vec<Region> = self
            .units
            .iter()
            .flat_map(|unit| unit.regions.iter().cloned())
            .collect();
        let id_of: BTreeMap<usize, u64> = self
            .units
            .iter()
            .flat_map(|unit| unit.regions.iter().map(|region| (region.parent, unit.id)))
            .collect();
        let held = HeldOutSet::new(
            Arc::clone(&self.maps),
            &regions,
            Transform::None {}.into(),
            self.rules.side,
            self.crops().min(most),
            self.rules.seed,
        )?;
        let units = held.parents().map(|map| id_of[&map]).collect();
        let size = self.rules.side * self.rules.side;
        Ok(MapSource {
            set: self.set,
            origin: self.origin,
            units,
            units_known: self.known,
            side: self.rules.side,
            kept: Vec::new(),
            room: 0,
            fill: Box::new(move |indices, out| {
                let mut rest = out;
                for run in indices.chunk_by(|a, b| a + 1 == *b) {
                    let (maps, behind) = rest.split_at_mut(run.len() * size);
                    held.fill_physical(run[0]..run[0] + run.len(), maps)?;
                    rest = behind;
                }
                Ok(())
            }),
        })
    }
}

/// The unit that each map belongs to, and whether units are known to be independent.
fn unit_of_map(
    set: &'static str,
    maps: &Maps,
    origin: &str,
    rules: &CropRules,
) -> Result<(Vec<u64>, bool), EvaluateError> {
    let count = maps.len();
    let mut ids = Vec::with_capacity(count);
    let mut known = true;
    let mut first = 0;
    while first < count {
        let path = maps.place(first).path;
        let of_file = (first..count).take_while(|&map| maps.place(map).path == path);
        let in_file = of_file.count();
        let exact = maps.side(first) == rules.side;
        let group = match rules.crops_per_parent {
            Some(group) if exact => group.max(1),
            _ => 1,
        };
        if !in_file.is_multiple_of(group) {
            return Err(EvaluateError::Groups {
                set,
                origin: origin.to_owned(),
                maps: count,
                crops_per_parent: group,
            });
        }
        known &= !exact || rules.crops_per_parent.is_some() || in_file == 1;
        ids.extend((0..in_file).map(|map| (first + map - map % group) as u64));
        first += in_file;
    }
    Ok((ids, known))
}

#[cfg(test)]
#[path = "sets_tests.rs"]
mod tests;

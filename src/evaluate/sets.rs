//! The sets of maps that are compared: real ones, dealt by parent into two, and generated ones, from a
//! file or from whatever makes them.

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
}

/// Puts the maps of a range `[n, S, S]` into a slice.
pub type FillMaps<'a> = dyn FnMut(Range<usize>, &mut [f32]) -> Result<(), EvaluateError> + 'a;

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
        }
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
        (self.fill)(range, out)
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

/// What is kept together: maps of the file list, and how their crops are numbered.
fn units(
    set: &'static str,
    maps: &Maps,
    origin: &str,
    rules: &CropRules,
) -> Result<(Vec<Range<usize>>, bool), EvaluateError> {
    let count = maps.len();
    let exact = maps.side(0) == rules.side;
    let group = match rules.crops_per_parent {
        Some(group) if exact => group.max(1),
        _ => 1,
    };
    let whole = (0..count).step_by(group).all(|first| {
        let last = first + group - 1;
        last < count && maps.place(first).path == maps.place(last).path
    });
    if !whole {
        return Err(EvaluateError::Groups {
            set,
            origin: origin.to_owned(),
            maps: count,
            crops_per_parent: group,
        });
    }
    let alone = maps.files() == count;
    let known = !exact || rules.crops_per_parent.is_some() || alone;
    let units = (0..count).step_by(group).map(|first| first..first + group);
    Ok((units.collect(), known))
}

/// Real maps as two sets of different parents, as equal in size as can be.
///
/// Parents are dealt at random; maps whose parents are not known stay in the order of the files, the
/// first half against the second, so that few parents have crops in both.
///
/// # Errors
/// Fewer than 4 parents, maps smaller than the crops, files that do not hold whole groups.
pub fn halves<'a>(
    maps: &Arc<Maps>,
    paths: &[PathBuf],
    rules: &CropRules,
    most: usize,
) -> Result<[MapSource<'a>; 2], EvaluateError> {
    let origin = origin(paths);
    check_side("real", maps, &origin, rules)?;
    let (mut units, known) = units("real", maps, &origin, rules)?;
    if units.len() < 4 {
        let units = units.len();
        return Err(EvaluateError::TooFewReal { origin, units });
    }
    if known {
        shuffle(&mut units, &Philox::new(rules.seed, Stream::Split, 2));
    }
    let second = units.split_off(units.len() / 2);
    let make = |set, mut units: Vec<Range<usize>>| {
        units.sort_by_key(|unit| unit.start);
        source(set, maps, &origin, rules, &units, known, most)
    };
    let real = make("real", units)?;
    Ok([real, make("second real", second)?])
}

/// All maps of a set of files, or crops of them.
///
/// # Errors
/// Maps smaller than the crops.
pub fn all<'a>(
    set: &'static str,
    maps: &Arc<Maps>,
    paths: &[PathBuf],
    rules: &CropRules,
    most: usize,
) -> Result<MapSource<'a>, EvaluateError> {
    let origin = origin(paths);
    check_side(set, maps, &origin, rules)?;
    let (units, known) = units(set, maps, &origin, rules)?;
    source(set, maps, &origin, rules, &units, known, most)
}

fn check_side(
    set: &'static str,
    maps: &Maps,
    origin: &str,
    rules: &CropRules,
) -> Result<(), EvaluateError> {
    let side = maps.side(0);
    if side >= rules.side {
        return Ok(());
    }
    Err(EvaluateError::Smaller {
        set,
        origin: origin.to_owned(),
        side,
        generated: rules.side,
    })
}

fn source<'a>(
    set: &'static str,
    maps: &Arc<Maps>,
    origin: &str,
    rules: &CropRules,
    units: &[Range<usize>],
    units_known: bool,
    most: usize,
) -> Result<MapSource<'a>, EvaluateError> {
    let regions: Vec<Region> = units
        .iter()
        .flat_map(|unit| unit.clone())
        .map(|map| Region::whole(maps, map))
        .collect();
    let unit_of = |map: usize| units.partition_point(|unit| unit.end <= map) as u64;
    let tiles = (maps.side(0) / rules.side).pow(2);
    let held = HeldOutSet::new(
        Arc::clone(maps),
        &regions,
        Transform::None {}.into(),
        rules.side,
        (regions.len() * tiles).min(most),
        rules.seed,
    )?;
    let units = held.parents().map(unit_of).collect();
    Ok(MapSource {
        set,
        origin: origin.to_owned(),
        units,
        units_known,
        side: rules.side,
        fill: Box::new(move |range, out| Ok(held.fill_physical(range, out)?)),
    })
}

#[cfg(test)]
#[path = "sets_tests.rs"]
mod tests;

//! What a set may draw crops from: whole parents, or some rows of them.

use std::ops::Range;

use super::error::DataError;
use super::maps::Maps;
use super::transform::Transforms;

/// Rows of a parent, across its whole width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// The number of the parent.
    pub parent: usize,
    /// All of its rows, or a strip of them.
    pub rows: Range<usize>,
}

impl Region {
    /// The whole of `parent`.
    pub fn whole(maps: &Maps, parent: usize) -> Self {
        Self {
            parent,
            rows: 0..maps.side(parent),
        }
    }

    /// Whether it holds one crop of `map_size` pixels and no other.
    pub(super) fn is_exact(&self, maps: &Maps, map_size: usize) -> bool {
        self.rows.len() == map_size && maps.side(self.parent) == map_size
    }

    /// The number of places of a crop of `map_size` pixels, down and across.
    pub(super) fn positions(&self, maps: &Maps, map_size: usize) -> (usize, usize) {
        let across = maps.side(self.parent) - map_size + 1;
        (self.rows.len() - map_size + 1, across)
    }
}

/// Checks that there are regions, that each holds a map of `map_size` pixels, and that there is a
/// transform with a meaning for each channel.
pub(super) fn check_set(
    maps: &Maps,
    regions: &[Region],
    map_size: usize,
    transforms: &Transforms,
) -> Result<(), DataError> {
    transforms.check()?;
    if transforms.len() != maps.channels() {
        return Err(DataError::Setting {
            field: "the number of transforms",
            value: transforms.len() as u64,
            accepted: "there must be one for each channel of the maps",
        });
    }
    if regions.is_empty() || map_size == 0 {
        let (field, accepted) = if map_size == 0 {
            ("map_size", "it must be at least 1")
        } else {
            ("parents of the set", "a set needs at least one parent map")
        };
        return Err(DataError::Setting {
            field,
            value: 0,
            accepted,
        });
    }
    let small = |region: &&Region| {
        let side = maps.side(region.parent);
        assert!(region.rows.end <= side, "rows {:?} of {side}", region.rows);
        side.min(region.rows.len()) < map_size
    };
    match regions.iter().find(small) {
        None => Ok(()),
        Some(small) => Err(DataError::TooSmall {
            path: maps.place(small.parent).path.to_owned(),
            side: maps.side(small.parent),
            map_size,
        }),
    }
}

/// Copies the crop `[size, size, C]` of `parent` into `out` and checks its pixels.
///
/// # Errors
/// The first pixel that is not finite, by its place in the file.
///
/// # Panics
/// As [`Maps::read_window`].
pub(super) fn read_checked(
    maps: &Maps,
    (parent, y0, x0): (usize, usize, usize),
    size: usize,
    out: &mut [f32],
) -> Result<(), DataError> {
    maps.read_window(parent, y0, x0, size, out);
    match out.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => {
            let pixel = index / maps.channels();
            let at = (y0 + pixel / size, x0 + pixel % size);
            Err(not_finite(maps, parent, at, index, out[index]))
        }
    }
}

/// The error of a value that is not finite: number `index` of an interleaved array.
pub(super) fn not_finite(
    maps: &Maps,
    parent: usize,
    (row, column): (usize, usize),
    index: usize,
    value: f32,
) -> DataError {
    let place = maps.place(parent);
    let channels = maps.channels();
    DataError::NotFinite {
        path: place.path.to_owned(),
        map: place.map,
        row,
        column,
        channel: (channels > 1).then_some(index % channels),
        value,
    }
}

//! What training and held-out sets alike ask of their parents.

use super::error::DataError;
use super::maps::Maps;

/// Checks that there are parents and that each holds a map of `map_size` pixels.
pub(super) fn check_parents(
    maps: &Maps,
    parents: &[usize],
    map_size: usize,
) -> Result<(), DataError> {
    if parents.is_empty() || map_size == 0 {
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
    match parents.iter().find(|&&p| maps.side(p) < map_size) {
        None => Ok(()),
        Some(&small) => Err(DataError::TooSmall {
            path: maps.place(small).path.to_owned(),
            side: maps.side(small),
            map_size,
        }),
    }
}

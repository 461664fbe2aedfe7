//! What can go wrong between a user's files and a batch: each error names the file, the field and
//! what would be right.

use std::io;
use std::path::PathBuf;

use super::field_error::FieldError;
use crate::theory::TheoryError;

/// An error of the data module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    #[error("{path}: cannot {action}: {source}")]
    Io {
        path: PathBuf,
        action: &'static str,
        source: io::Error,
    },
    #[error("{0}: no such file or directory; name .npy files or directories that hold them")]
    Missing(PathBuf),
    #[error("{0}: the directory holds no .npy files")]
    NoFiles(PathBuf),
    #[error("no map files were named; name .npy files or directories that hold them")]
    NothingNamed,
    #[error("{0}: named twice; each map must be a parent of its own, or the split would leak")]
    NamedTwice(PathBuf),
    #[error("{path}: not a map file that this program reads: {found}; accepted: {accepted}")]
    Format {
        path: PathBuf,
        found: String,
        accepted: &'static str,
    },
    #[error("{path}: the header's {field} is {found}; accepted: {accepted}")]
    Header {
        path: PathBuf,
        field: &'static str,
        found: String,
        accepted: &'static str,
    },
    #[error(
        "{path}: the header promises {expected} bytes, the file has {found}; {}",
        if found < expected { "it is truncated: copy it again" } else { "it holds more than one array" }
    )]
    Length {
        path: PathBuf,
        expected: u64,
        found: u64,
    },
    #[error(
        "{path}: maps are {side}x{side} pixels, smaller than the network's {map_size}x{map_size}; \
         give larger maps or choose a smaller map_size"
    )]
    TooSmall {
        path: PathBuf,
        side: usize,
        map_size: usize,
    },
    #[error(
        "{path}: map {map}, row {row}, column {column} is {value}; every pixel must be a finite \
         32-bit number"
    )]
    NotFinite {
        path: PathBuf,
        map: usize,
        row: usize,
        column: usize,
        value: f32,
    },
    #[error(
        "the data hold {0} parent map(s); training, validation and test sets need at least 3, \
         because crops of one parent overlap and must stay in one set"
    )]
    TooFewParents(usize),
    #[error("split.{field} is {value}; {accepted}")]
    Fraction {
        field: &'static str,
        value: f64,
        accepted: &'static str,
    },
    #[error("transform.{field} is {value}; {accepted}")]
    Transform {
        field: &'static str,
        value: f64,
        accepted: &'static str,
    },
    #[error("{field} is {value}; {accepted}")]
    Setting {
        field: &'static str,
        value: u64,
        accepted: &'static str,
    },
    #[error("synthetic maps cannot be made: {0}")]
    Field(#[from] FieldError),
    #[error("synthetic maps cannot be made: {0}")]
    Theory(#[from] TheoryError),
    #[error(
        "{path}: cannot {action} the cache of synthetic maps: {source}; set COSMOGAN_CACHE to a \
         directory with room for {megabytes} MB"
    )]
    Cache {
        path: PathBuf,
        action: &'static str,
        megabytes: u64,
        source: io::Error,
    },
}

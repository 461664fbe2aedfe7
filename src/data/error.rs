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
    #[error(
        "{0}: no such file or directory; name .npy or .fits files, directories that hold them, or \
         patterns such as 'maps/*.fits'"
    )]
    Missing(PathBuf),
    #[error("{0}: the directory holds no .npy files and no .fits, .fit or .fts files either")]
    NoFiles(PathBuf),
    #[error("{0}: no .npy, .fits, .fit or .fts file matches this pattern")]
    NoMatch(PathBuf),
    #[error("{path}: not a pattern of file names: {reason}; put [ and ] around a literal * or ?")]
    Pattern { path: PathBuf, reason: &'static str },
    #[error("no map files were named; name .npy or .fits files, or directories that hold them")]
    NothingNamed,
    #[error(
        "{found} map files were named, but the system maps no more than {most} at a time; join them \
         into .npy stacks [N, H, W]"
    )]
    TooManyFiles { found: usize, most: usize },
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
        "{path}: maps of {channels} channels cannot be written as FITS, which is read one \
         image a file; name a .npy file"
    )]
    FitsChannels { path: PathBuf, channels: usize },
    #[error(
        "{path} is no part of the {maps} maps that are to be written, but would be taken for one; \
         remove it, or choose another name"
    )]
    LeftOver { path: PathBuf, maps: usize },
    /// Something told of maps, in a header or a sidecar, that makes no sense.
    #[error("{path}: {field} is {found}; it must be {accepted}")]
    Told {
        path: PathBuf,
        field: &'static str,
        found: String,
        accepted: &'static str,
    },
    #[error(
        "{path}: not a description of maps: {reason}; it must be one JSON object, such as \
             {{\"side_deg\": 3.5, \"source_redshift\": 1.0}}. Correct it, or rename it if it is about \
             something else"
    )]
    Sidecar { path: PathBuf, reason: String },
    #[error(
        "{field}: {second_teller} says {second}, but {first_teller} says {first}; all maps of a \
         training must agree, to 1 in 10000. Correct the wrong one, or leave maps out"
    )]
    Conflict {
        field: &'static str,
        first: f64,
        first_teller: String,
        second: f64,
        second_teller: String,
    },
    #[error(
        "--angle (data.angle_deg) is the side of a whole map, but maps have {smallest} to {largest} \
         pixels a side; leave it out and tell the side of each file in its FITS header (ANGLE) or \
         its sidecar ({{\"side_deg\": ...}} in <file name>.json)"
    )]
    AmbiguousAngle { smallest: usize, largest: usize },
    #[error(
        "{path} has maps of {channels} channel(s), but {first_path} of {first_channels}; all maps \
         of a training must have as many channels"
    )]
    Channels {
        path: PathBuf,
        channels: usize,
        first_path: PathBuf,
        first_channels: usize,
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
        "{path}: map {map}, row {row}, column {column}{} is {value}; every pixel must be a finite \
         32-bit number",
        channel.map_or(String::new(), |channel| format!(", channel {channel}"))
    )]
    NotFinite {
        path: PathBuf,
        map: usize,
        row: usize,
        column: usize,
        /// Where maps have several.
        channel: Option<usize>,
        value: f32,
    },
    #[error(
        "the data hold {parents} parent map(s); training, validation and test sets need at least 3, \
         because crops of one parent overlap and must stay in one set. Fewer are cut into three \
         strips of rows a map of the network apart, which needs 5 of its maps along a side: 5 x \
         {map_size} = {} pixels, but those of {path} have {side}; give more or larger maps{}",
        5 * map_size,
        group.map_or(String::new(), |k| format!(
            ", or a data.crops_per_parent below {k}, if fewer maps than that come from one parent"
        ))
    )]
    TooFewParents {
        parents: usize,
        path: PathBuf,
        side: usize,
        map_size: usize,
        /// Maps of the network's size that were counted as one parent.
        group: Option<usize>,
    },
    #[error(
        "{path} holds {maps} map(s) of the network's size, which is no multiple of \
         data.crops_per_parent = {crops_per_parent}: as many consecutive maps of a file should come \
         from one parent. Give the number that was cut from each parent (1 where each map is its \
         own), and files that begin and end with a whole parent"
    )]
    Groups {
        path: PathBuf,
        maps: usize,
        crops_per_parent: usize,
    },
    #[error(
        "{path} records how this run's maps were split, and {found}: what trained then could be \
         tested on now. Give the maps of the run, or start a new one"
    )]
    SplitChanged { path: PathBuf, found: String },
    #[error("cannot start the thread that reads maps: {0}")]
    Thread(io::Error),
    #[error("channel {channel}: {source}")]
    Channel {
        channel: usize,
        source: Box<DataError>,
    },
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

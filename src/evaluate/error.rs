//! Why an evaluation cannot be.

use std::io;
use std::path::PathBuf;

use crate::data::DataError;
use crate::report::ReportError;
use crate::stats::StatsError;

/// Maps cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    #[error(transparent)]
    Data(#[from] DataError),
    /// A statistic cannot be computed of a set of maps.
    #[error("the {set} maps ({origin}): {source}")]
    Stats {
        set: &'static str,
        /// Where the maps come from.
        origin: String,
        source: StatsError,
    },
    /// A comparison cannot be made.
    #[error("the sets cannot be compared: {0}")]
    Compare(#[from] StatsError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error(
        "the {set} maps ({origin}) have {smallest} to {largest} pixels a side; all maps of a set must \
         have one size. Evaluate files of each size by themselves"
    )]
    MixedSides {
        set: &'static str,
        origin: String,
        smallest: usize,
        largest: usize,
    },
    #[error(
        "the {set} maps ({origin}) have {channels} channels; maps of one channel are evaluated"
    )]
    Channels {
        set: &'static str,
        origin: String,
        channels: usize,
    },
    #[error(
        "the {set} maps ({origin}) have {side} pixels a side, the generated ones {generated}; real maps must \
         be as large as the generated ones, or larger, to cut crops from"
    )]
    Smaller {
        set: &'static str,
        origin: String,
        side: usize,
        generated: usize,
    },
    #[error(
        "{units} independent real map(s) ({origin}) cannot be dealt into two sets; at least 4 parents (maps \
         that were not cut from one another) are needed, and hundreds for tests that can tell much"
    )]
    TooFewReal { origin: String, units: usize },
    #[error(
        "{maps} generated map(s) are too few: at least 4 are needed, and hundreds to tell much"
    )]
    TooFewGenerated { maps: usize },
    #[error(
        "the side of a map in degrees is unknown: give --angle DEGREES, the side of a whole real map (no file, \
         sidecar or checkpoint tells it)"
    )]
    NoAngle,
    #[error(
        "the generated maps have {generated} degrees a pixel and the real ones {real}: they cannot be compared. \
         Correct --angle, or the side_deg of the sidecar or the ANGLE of the header that is wrong"
    )]
    Scale { generated: f64, real: f64 },
    #[error(
        "{maps} maps of the {set} set cannot be grouped by --crops-per-parent {crops_per_parent}: {origin} does \
         not hold whole groups"
    )]
    Groups {
        set: &'static str,
        origin: String,
        maps: usize,
        crops_per_parent: usize,
    },
    #[error("{path}: cannot {action}: {source}")]
    Io {
        path: PathBuf,
        action: &'static str,
        source: io::Error,
    },
    /// What makes maps failed.
    #[error("maps cannot be generated: {0}")]
    Generate(Box<dyn std::error::Error + Send + Sync>),
    #[error("stopped by {0}; nothing was written")]
    Stopped(String),
}

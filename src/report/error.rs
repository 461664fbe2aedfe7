//! Why a picture was not made.

use crate::stats::StatsError;
use std::path::PathBuf;

/// A picture could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The pixels are not a whole number of maps.
    #[error(
        "{got} pixels of the maps called \"{label}\" are not a whole number (at least one) of maps of {side} x {side}"
    )]
    Shape {
        /// What the maps are called in the picture.
        label: String,
        /// Pixels found.
        got: usize,
        /// Pixels along the side of a map.
        side: usize,
    },
    /// No rows, no columns, or more pixels than a picture can have.
    #[error(
        "a picture of {width} x {height} pixels cannot be made: between 1 and {limit} a side are possible"
    )]
    Size {
        /// Width asked for, pixels.
        width: usize,
        /// Height asked for, pixels.
        height: usize,
        /// The largest side allowed.
        limit: usize,
    },
    /// No pixel of the maps that set the range of colours can have a colour of its own.
    #[error("the maps called \"{label}\" have no {needed} pixel to take a range of colours from")]
    NoRange {
        /// What the maps are called in the picture.
        label: String,
        /// What a pixel would have to be.
        needed: &'static str,
    },
    /// A statistic of the maps cannot be computed.
    #[error("the {label} maps cannot be measured: {source}")]
    Stats {
        /// Which maps.
        label: String,
        /// What is wrong with them.
        source: StatsError,
    },
    /// Drawing failed.
    #[error("the picture cannot be drawn: {0}")]
    Draw(String),
    /// Writing failed.
    #[error("{path} cannot be written: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

//! Maps on their way to the networks: files opened as numbered parents, checked and measured.

mod error;
mod maps;
mod npy;
mod shuffle;
mod split;
mod statistics;
#[cfg(test)]
mod testing;
mod transform;
mod transform_kind;

pub use error::DataError;
pub use maps::{Maps, Place};
pub use split::{Fractions, Split, SplitSummary};
pub use statistics::{ScannedMaps, Statistics};
pub use transform::Transform;
pub use transform_kind::TransformKind;

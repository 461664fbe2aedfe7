//! Maps on their way to the networks: files opened as numbered parents, checked and measured.

mod batches;
mod error;
mod held_out;
mod maps;
mod npy;
mod parents;
mod shuffle;
mod split;
mod statistics;
mod symmetry;
#[cfg(test)]
mod testing;
mod transform;
mod transform_kind;

pub use batches::{Crop, Sampling, TrainingSet};
pub use error::DataError;
pub use held_out::HeldOutSet;
pub use maps::{Maps, Place};
pub use split::{Fractions, Split, SplitSummary};
pub use statistics::{ScannedMaps, Statistics};
pub use symmetry::Symmetry;
pub use transform::Transform;
pub use transform_kind::TransformKind;

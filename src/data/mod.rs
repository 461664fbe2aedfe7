//! Maps on their way to the networks: files opened as numbered parents ([`Maps`]), checked and
//! measured ([`ScannedMaps`]), split by parent ([`Split`]), brought into the generator's range
//! ([`Transform`]) and drawn as batches ([`TrainingSet`], [`HeldOutSet`]). A user without data gets
//! lognormal maps of the paper's cosmology ([`SyntheticSet`]). Called by training and by reports;
//! knows nothing of networks but the side of their maps.

mod batches;
mod error;
mod fft2;
mod field;
mod field_error;
mod held_out;
mod maps;
mod npy;
mod npy_write;
mod parents;
mod patch;
mod provenance;
mod shuffle;
mod split;
mod statistics;
mod symmetry;
mod synthetic;
#[cfg(test)]
mod testing;
mod transform;
mod transform_kind;

pub use batches::{Crop, Sampling, TrainingSet};
pub use error::DataError;
pub use field::{Field, FieldKind};
pub use field_error::FieldError;
pub use held_out::HeldOutSet;
pub use maps::{Maps, Place};
pub use npy_write::{write_npy_header, write_npy_pixels};
pub use patch::Patch;
pub use provenance::Provenance;
pub use split::{Fractions, Split, SplitSummary};
pub use statistics::{ScannedMaps, Statistics};
pub use symmetry::Symmetry;
pub use synthetic::{SyntheticMaps, SyntheticSet, cache_directory};
pub use transform::Transform;
pub use transform_kind::TransformKind;

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
mod fits;
mod fits_header;
mod fits_write;
mod held_out;
mod listing;
mod maps;
mod npy;
mod npy_write;
mod parents;
mod patch;
mod pixels;
mod provenance;
mod shuffle;
mod sidecar;
mod split;
mod statistics;
mod symmetry;
mod synthetic;
#[cfg(test)]
mod testing;
mod transform;
mod transform_kind;
mod write;

pub use batches::{Crop, Sampling, TrainingSet};
pub use error::DataError;
pub use field::{FieldKind, RandomField};
pub use field_error::FieldError;
pub use held_out::HeldOutSet;
pub use listing::MapFormat;
pub use maps::{Maps, Place};
pub use npy_write::{write_npy_header, write_npy_pixels};
pub use patch::Patch;
pub use provenance::{MapsProvenance, Provenance};
pub use split::{Fractions, Split, SplitSummary};
pub use statistics::{ScannedMaps, Statistics};
pub use symmetry::Symmetry;
pub use synthetic::{SyntheticMaps, SyntheticSet, cache_directory};
pub use transform::Transform;
pub use transform_kind::TransformKind;
pub use write::{MakeMaps, MapSet, write_maps};

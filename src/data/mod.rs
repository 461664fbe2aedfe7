//! Maps on their way to the networks: files opened as numbered parents ([`Maps`]), checked and
//! measured ([`survey`]), split by parent ([`Split`]), brought into the generator's range
//! ([`Transforms`]) and drawn as batches ([`TrainingSet`] through [`Prefetch`], [`HeldOutSet`]). A user without data gets
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
mod patch;
mod per_channel;
mod pixels;
mod prefetch;
mod provenance;
mod region;
mod shuffle;
mod sidecar;
mod split;
mod split_record;
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
pub use per_channel::{PerChannel, channel_of};
pub use prefetch::{Places, Prefetch};
pub use provenance::{MapsProvenance, Provenance};
pub use region::Region;
pub use shuffle::shuffle;
pub use split::{FileShape, Fractions, Split, SplitKind, SplitRules, SplitSummary, Strips};
pub use split_record::{Placed, SplitRecord};
pub use statistics::{Statistics, Survey, check_finite, pixels_of, survey};
pub use symmetry::Symmetry;
pub use synthetic::{SyntheticMaps, SyntheticSet, cache_directory};
pub use transform::{Transform, Transforms};
pub use transform_kind::TransformKind;
pub use write::{MakeMaps, MapSet, write_maps};

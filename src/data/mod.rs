//! Maps on their way to the networks: files opened as numbered parents, checked and measured.

mod error;
mod maps;
mod npy;
mod statistics;
#[cfg(test)]
mod testing;

pub use error::DataError;
pub use maps::{Maps, Place};
pub use statistics::{ScannedMaps, Statistics};

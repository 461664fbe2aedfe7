//! What the networks are: sizes, layers, parameters, presets and initial values.
//!
//! Nothing here knows of devices: an [`Architecture`] becomes two [`Network`]s, each a list of
//! [`Block`]s and an inventory of [`Parameter`]s in one flat arena.

mod architecture;
mod block;
pub mod cost;
mod initial;
mod interpolation;
mod inventory;
mod network;
mod presets;

pub use architecture::{Architecture, ArchitectureError, DenseNorm, LEAKY_SLOPE, PadLow};
pub use block::{Activation, BatchNorm, Block, Linear, StridedLayer};
pub use initial::{Initialisation, WhichNetwork, initial_parameters, initial_running};
pub use interpolation::slerp;
pub use inventory::{Field, Inventory, Parameter, TorchLayout};
pub use network::{Network, discriminator, generator};
pub use presets::Preset;

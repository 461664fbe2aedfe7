//! The GPU backend: hand-written kernels behind one driver seam.
//!
//! [`Gpu`] keeps the arena in device memory and runs the tape's operations as launches ([`ops`]).
//! What runs them is a [`Driver`](driver::Driver): CUDA, or the emulator on any machine.

pub mod check;
mod cuda;
pub mod driver;
mod emulated;
pub mod launcher;
pub mod ops;
mod ptx;

pub use cuda::Cuda;
pub use emulated::{Call, Emulated, EmulatedOptions};

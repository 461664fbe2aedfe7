//! CosmoGAN: deep convolutional GANs that emulate weak-lensing convergence maps.
//!
//! The library trains the networks ([`train`]), runs them ([`model`], [`tape`], [`backend`]), judges what
//! they make ([`stats`], [`evaluate`], [`report`]) and counts what its kernels do ([`performance`]).
//! Dependencies point one way only: `train`/`evaluate` -> `report` -> `tape`/`stats`/`data` -> `backend`;
//! `performance` stands beside `train`, on the backend; `stats` knows nothing of training and `model` nothing
//! of devices.

pub mod backend;
pub mod data;
pub mod emulator;
pub mod evaluate;
pub mod files;
pub mod model;
pub mod performance;
pub mod report;
pub mod rng;
pub mod stats;
pub mod tape;
#[cfg(test)]
mod testing;
pub mod theory;
pub mod train;

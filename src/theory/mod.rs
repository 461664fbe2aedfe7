//! Theory of weak lensing: from a [`Cosmology`] to the power spectrum of convergence
//! ([`ConvergencePower`]), by way of distances and growth, the linear power spectrum and its
//! nonlinear correction. Called where synthetic maps are made; knows nothing of maps and networks.

mod background;
mod convergence;
mod cosmology;
mod error;
mod halofit;
mod linear;
mod quadrature;
mod transfer;

#[cfg(test)]
mod testing;

pub use convergence::ConvergencePower;
pub use cosmology::Cosmology;
pub use error::TheoryError;

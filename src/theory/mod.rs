//! Theory of weak lensing: from a cosmology to the power spectrum of convergence. Called where
//! synthetic maps are made; knows nothing of maps and networks.

mod cosmology;

pub use cosmology::Cosmology;

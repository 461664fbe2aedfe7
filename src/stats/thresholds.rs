//! Thresholds of Minkowski functionals, peaks and pixel distributions: edges of bins, and the unit
//! that they are in.

use super::StatsError;
use super::edges::{check_edges, midpoints};

/// What thresholds are multiples of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    /// The standard deviation of each map (population, about its mean): LensTools' `norm=True`.
    /// The mean is not subtracted from the map.
    MapSigma,
    /// One standard deviation for all maps, such as that of the real set's pixels: only then do
    /// statistics of two sets see a difference in variance.
    Sigma(f64),
    /// 1: thresholds are values of convergence, LensTools' `norm=False`.
    Absolute,
}

/// Edges of bins in a [`Unit`].
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    edges: Vec<f64>,
    unit: Unit,
}

impl Thresholds {
    /// `edges.len() - 1` bins.
    ///
    /// # Errors
    /// Edges that are not at least two finite, strictly increasing numbers; a common sigma that is
    /// not positive and finite.
    pub fn new(edges: &[f64], unit: Unit) -> Result<Self, StatsError> {
        check_edges(edges)?;
        if let Unit::Sigma(sigma) = unit
            && !(sigma > 0.0 && sigma.is_finite())
        {
            return Err(StatsError::Sigma(sigma));
        }
        let edges = edges.to_vec();
        Ok(Self { edges, unit })
    }

    /// The edges, in their unit.
    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    /// What they are multiples of.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// Number of bins.
    pub fn bins(&self) -> usize {
        self.edges.len() - 1
    }

    /// Abscissae as LensTools returns them: mid-points of the edges, in their unit.
    pub fn midpoints(&self) -> Vec<f64> {
        midpoints(&self.edges)
    }

    /// The unit in convergence, of a map of this standard deviation.
    pub(super) fn scale(&self, map_sigma: f64) -> f64 {
        match self.unit {
            Unit::MapSigma => map_sigma,
            Unit::Sigma(sigma) => sigma,
            Unit::Absolute => 1.0,
        }
    }
}

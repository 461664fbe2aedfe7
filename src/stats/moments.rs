//! The nine moments of a map and its derivatives, as LensTools' `ConvergenceMap.moments` measures
//! them. With k the map (mean not subtracted), g its gradient and lap = hxx + hyy, in pixel units.

use super::derivatives::RowDerivatives;
use super::padded::LANES;

/// Moments of one map; their order in arrays is that of the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// Standard deviation of k, about its mean.
    pub sigma0: f64,
    /// sqrt of the mean of |g|^2.
    pub sigma1: f64,
    /// <k^3>
    pub s0: f64,
    /// <k^2 lap>
    pub s1: f64,
    /// <|g|^2 lap>
    pub s2: f64,
    /// <k^4>
    pub k0: f64,
    /// <k^3 lap>
    pub k1: f64,
    /// <k |g|^2 lap>
    pub k2: f64,
    /// <|g|^4>
    pub k3: f64,
}

/// Number of moments.
pub const MOMENTS: usize = 9;

/// Their names, in order.
pub const MOMENT_NAMES: [&str; MOMENTS] =
    ["sigma0", "sigma1", "S0", "S1", "S2", "K0", "K1", "K2", "K3"];

impl Moments {
    /// From their array.
    pub fn from_array(array: [f64; MOMENTS]) -> Self {
        let [sigma0, sigma1, s0, s1, s2, k0, k1, k2, k3] = array;
        Self {
            sigma0,
            sigma1,
            s0,
            s1,
            s2,
            k0,
            k1,
            k2,
            k3,
        }
    }

    /// In order: sigma0, sigma1, S0, S1, S2, K0, K1, K2, K3.
    pub fn to_array(self) -> [f64; MOMENTS] {
        [
            self.sigma0,
            self.sigma1,
            self.s0,
            self.s1,
            self.s2,
            self.k0,
            self.k1,
            self.k2,
            self.k3,
        ]
    }

    /// Without what a Gaussian field of the same sigmas has: only the quartic ones change.
    pub fn connected(self) -> Self {
        let (variance, gradient) = (self.sigma0.powi(2), self.sigma1.powi(2));
        Self {
            k0: self.k0 - 3.0 * variance * variance,
            k1: self.k1 + 3.0 * variance * gradient,
            k2: self.k2 + gradient * gradient,
            k3: self.k3 - 2.0 * gradient * gradient,
            ..self
        }
    }

    /// Divided by the powers of sigma0 and sigma1 that leave no unit; sigma0 and sigma1 become 1.
    /// Not finite for a constant map.
    pub fn dimensionless(self) -> Self {
        let (sigma, variance) = (self.sigma0, self.sigma0.powi(2));
        let (gradient, gradient2) = (self.sigma1.powi(2), self.sigma1.powi(4));
        Self {
            sigma0: 1.0,
            sigma1: 1.0,
            s0: self.s0 / (variance * sigma),
            s1: self.s1 / (sigma * gradient),
            s2: self.s2 * (sigma / gradient2),
            k0: self.k0 / (variance * variance),
            k1: self.k1 / (variance * gradient),
            k2: self.k2 / gradient2,
            k3: self.k3 / gradient2,
        }
    }
}

/// Sums over the rows of one map, in the order |g|^2, then S0 to K3.
#[derive(Clone, Debug, Default)]
pub(super) struct MomentSums {
    sums: [f64; 8],
}

impl MomentSums {
    /// Adds a row of pixels.
    pub fn add(&mut self, row: &[f64], of: &RowDerivatives) {
        let mut lanes = [[0.0; LANES]; 8];
        let n = row.len();
        let (hxx, hyy) = (&of.hxx[..n], &of.hyy[..n]);
        let squared = &of.gradient_squared[..n];
        let whole = n - n % LANES;
        let mut term = |lane: usize, x: usize| {
            let (k, lap, g2) = (row[x], hxx[x] + hyy[x], squared[x]);
            let k2 = k * k;
            let terms = [
                g2,
                k2 * k,
                k2 * lap,
                g2 * lap,
                k2 * k2,
                k2 * k * lap,
                k * g2 * lap,
                g2 * g2,
            ];
            for (lanes, term) in lanes.iter_mut().zip(terms) {
                lanes[lane] += term;
            }
        };
        for first in (0..whole).step_by(LANES) {
            for lane in 0..LANES {
                term(lane, first + lane);
            }
        }
        for x in whole..n {
            term(x - whole, x);
        }
        for (sum, lanes) in self.sums.iter_mut().zip(&lanes) {
            *sum += lanes.iter().sum::<f64>();
        }
    }

    /// The moments of a map of `pixels` and standard deviation `sigma0`.
    pub fn finish(&self, pixels: f64, sigma0: f64) -> Moments {
        let [gradient, s0, s1, s2, k0, k1, k2, k3] = self.sums.map(|sum| sum / pixels);
        Moments {
            sigma0,
            sigma1: gradient.sqrt(),
            s0,
            s1,
            s2,
            k0,
            k1,
            k2,
            k3,
        }
    }
}

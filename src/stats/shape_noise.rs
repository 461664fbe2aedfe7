//! Shape noise: the white noise that the intrinsic shapes of galaxies leave in a convergence map.

use super::StatsError;
use super::padded::PaddedMap;
use super::power_spectrum::fundamental;
use crate::rng::{Philox, Stream};

/// Gaussian noise of variance sigma_e^2 / (2 n_gal A_pixel) in each pixel (van Waerbeke 2000, MNRAS
/// 313, 524).
///
/// `sigma_e` is the rms of the whole intrinsic ellipticity; one of its two components has
/// sigma_e / sqrt 2. (LensTools' `getShapeNoise` takes 0.15 + 0.035 z for that component.) Map i
/// of a seed has the same noise in any set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShapeNoise {
    /// Galaxies per square arc minute.
    pub n_gal: f64,
    /// Rms of the intrinsic ellipticity, both components together.
    pub sigma_e: f64,
    /// Seed of the noise.
    pub seed: u64,
}

impl ShapeNoise {
    /// An rms ellipticity that surveys find: 0.3.
    pub const USUAL_SIGMA_E: f64 = 0.3;

    /// The standard deviation of the noise of a pixel.
    ///
    /// # Errors
    /// A density or an ellipticity that is not positive and finite, a bad angle, no pixels.
    pub fn sigma(&self, pixels: usize, angle_deg: f64) -> Result<f64, StatsError> {
        fundamental(angle_deg)?;
        if pixels == 0 {
            return Err(StatsError::TooSmall(pixels));
        }
        let area = (60.0 * angle_deg / pixels as f64).powi(2);
        let sigma = (self.sigma_e.powi(2) / (2.0 * self.n_gal * area)).sqrt();
        let usable = self.n_gal > 0.0 && self.sigma_e > 0.0 && sigma > 0.0;
        if usable && sigma.is_finite() {
            Ok(sigma)
        } else {
            let (n_gal, sigma_e) = (self.n_gal, self.sigma_e);
            Err(StatsError::ShapeNoise { n_gal, sigma_e })
        }
    }

    /// Adds the noise of map `index` of the seed, `sigma` strong; the rows of `map` are then to be
    /// continued afresh.
    pub(super) fn add(&self, sigma: f64, index: u64, map: &mut PaddedMap, side: usize) {
        let philox = Philox::new(self.seed, Stream::ShapeNoise, index);
        let mut normals = [0.0f32; 4];
        for y in 0..side {
            for (x, value) in map.row_mut(y).iter_mut().enumerate() {
                let pixel = y * side + x;
                if pixel.is_multiple_of(4) {
                    normals = philox.normals((pixel / 4) as u32);
                }
                *value += sigma * f64::from(normals[pixel % 4]);
            }
        }
    }
}

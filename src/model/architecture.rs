//! The CosmoGAN family: every size that a user may choose.

use serde::{Deserialize, Serialize};

/// Slope of the discriminator's LeakyReLU for negative inputs.
pub const LEAKY_SLOPE: f64 = 0.2;

/// Pixels of padding before the first row and column of the big plane of a 5x5 stride-2 layer.
///
/// TensorFlow's "SAME" pads 1 before and 2 after, PyTorch's `padding=2` the other way round. The
/// planes have the same shapes, but lie one pixel apart: weights are not interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum PadLow {
    /// TensorFlow "SAME": `big = 2 * small + k - 1`.
    One,
    /// PyTorch `padding=2`: `big = 2 * small + k - 2`.
    Two,
}

impl PadLow {
    /// The number of pixels.
    pub fn pixels(self) -> usize {
        match self {
            PadLow::One => 1,
            PadLow::Two => 2,
        }
    }
}

impl TryFrom<u8> for PadLow {
    type Error = String;

    fn try_from(pixels: u8) -> Result<Self, String> {
        match pixels {
            1 => Ok(PadLow::One),
            2 => Ok(PadLow::Two),
            other => Err(format!(
                "pad_low is 1 (TensorFlow) or 2 (PyTorch), not {other}"
            )),
        }
    }
}

impl From<PadLow> for u8 {
    fn from(pad: PadLow) -> u8 {
        pad.pixels() as u8
    }
}

/// What shares one mean and variance in the batch norm behind the generator's dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DenseNorm {
    /// All pixels of a channel, as in the paper.
    Channel,
    /// Each output of its own, as in the thesis.
    Feature,
}

/// The sizes of a generator and its discriminator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Side of a map in pixels: a power of two, 16 to 1024.
    pub map_size: usize,
    /// Channels of a map: 1 for convergence, 1 to 16.
    pub channels: usize,
    /// Strided layers of each network.
    pub layers: usize,
    /// Filters of the layer next to the map; each further layer has twice as many.
    pub base_filters: usize,
    /// Length of the latent vector.
    pub latent: usize,
    /// Whether strided layers add a bias.
    pub conv_bias: bool,
    /// Whether the generator's dense layer adds a bias. The discriminator's always does.
    pub dense_bias: bool,
    /// The batch norm behind the generator's dense layer.
    pub dense_norm: DenseNorm,
    /// Padding convention of the strided layers.
    pub pad_low: PadLow,
}

/// An architecture that cannot be built.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ArchitectureError {
    #[error("map_size is {0}; it must be a power of two from 16 to 1024")]
    MapSize(usize),
    #[error("channels is {0}; it must be 1 to 16")]
    Channels(usize),
    #[error("layers is {layers}; for {map_size}-pixel maps it must be 1 to {most}")]
    Layers {
        layers: usize,
        map_size: usize,
        most: usize,
    },
    #[error("base_filters is {0}; it must be 1 to 512")]
    BaseFilters(usize),
    #[error("latent is {0}; it must be 1 to 65536")]
    Latent(usize),
}

impl Architecture {
    /// Checks every size.
    ///
    /// # Errors
    /// The first size that is out of range, with the range.
    pub fn validate(&self) -> Result<(), ArchitectureError> {
        if !self.map_size.is_power_of_two() || !(16..=1024).contains(&self.map_size) {
            return Err(ArchitectureError::MapSize(self.map_size));
        }
        if !(1..=16).contains(&self.channels) {
            return Err(ArchitectureError::Channels(self.channels));
        }
        // The innermost plane keeps at least two pixels a side; beyond seven layers the filters
        // (64 times the base) outgrow any use.
        let most = (self.map_size.ilog2() as usize - 1).min(7);
        if !(1..=most).contains(&self.layers) {
            return Err(ArchitectureError::Layers {
                layers: self.layers,
                map_size: self.map_size,
                most,
            });
        }
        if !(1..=512).contains(&self.base_filters) {
            return Err(ArchitectureError::BaseFilters(self.base_filters));
        }
        if !(1..=65_536).contains(&self.latent) {
            return Err(ArchitectureError::Latent(self.latent));
        }
        Ok(())
    }

    /// Channels and side of the plane `depth` strided layers away from the map (0 is the map).
    pub fn plane(&self, depth: usize) -> (usize, usize) {
        let channels = match depth {
            0 => self.channels,
            _ => self.base_filters << (depth - 1),
        };
        (channels, self.map_size >> depth)
    }

    /// Values of one map.
    pub fn map_len(&self) -> usize {
        self.map_size * self.map_size * self.channels
    }
}

//! A square piece of the flat sky, and the periodic grid that its fields are made on.

use serde::{Deserialize, Serialize};

use super::field_error::FieldError;

/// Points along the side of the largest grid: its transforms take 1.6 GB of memory.
const MOST_POINTS: usize = 8192;

/// A square of `pixels` x `pixels` pixels and `side_deg` degrees a side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Patch {
    pub pixels: usize,
    pub side_deg: f64,
    /// Whether its left edge continues at its right one, and its upper edge at its lower one. One
    /// that is not is cut from a periodic field twice as wide, where no two of its pixels are
    /// nearer to each other around the edge than across the patch.
    pub periodic: bool,
}

impl Patch {
    /// Whether fields can be made on it.
    ///
    /// # Errors
    /// Pixels or an angle out of range.
    pub fn check(&self) -> Result<(), FieldError> {
        let most = if self.periodic {
            MOST_POINTS
        } else {
            MOST_POINTS / 2
        };
        if !(8..=most).contains(&self.pixels) {
            return Err(FieldError::OutOfRange {
                field: "pixels",
                value: self.pixels as f64,
                accepted: if self.periodic {
                    "8 to 8192"
                } else {
                    "8 to 4096 (8192 if periodic)"
                },
            });
        }
        if !(0.01..=30.0).contains(&self.side_deg) {
            return Err(FieldError::OutOfRange {
                field: "side_deg",
                value: self.side_deg,
                accepted: "0.01 to 30 degrees (the sky is taken to be flat)",
            });
        }
        Ok(())
    }

    /// Points along the side of the periodic grid.
    pub(super) fn grid(&self) -> usize {
        if self.periodic {
            self.pixels
        } else {
            2 * self.pixels
        }
    }

    /// The multipoles of the longest and the shortest wave of its fields.
    pub fn multipoles(&self) -> (f64, f64) {
        let corner = (self.grid() / 2) as f64 * std::f64::consts::SQRT_2;
        (self.fundamental(), self.fundamental() * corner)
    }

    /// The multipole of the grid's longest wave.
    pub(super) fn fundamental(&self) -> f64 {
        let grid_deg = self.side_deg * (self.grid() / self.pixels) as f64;
        360.0 / grid_deg
    }
}

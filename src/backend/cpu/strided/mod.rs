//! The 5x5 stride-2 layer: fprop, dgrad and wgrad as matrix products over gathered windows.
//!
//! Pixels of the small plane are numbered across the batch, `m = (n S + h) S + w`. Each kernel
//! works on tiles of pixels: the window of a pixel (the input values that it meets) is copied into
//! a row of a cache-resident tile, and one matrix product for a group of taps does the arithmetic.
//! Tiles depend on shapes only, so that results do not depend on the number of threads.

mod dgrad;
mod fprop;
mod wgrad;
mod windows;

pub use dgrad::{dgrad, dgrad_scratch};
pub use fprop::{fprop, fprop_scratch};
pub use wgrad::{wgrad, wgrad_scratch};

/// Values that a tile of windows may hold: 256 KiB of f32, half of a common second-level cache.
const TILE_VALUES: usize = 1 << 16;

/// Pixels in a tile whose windows have `window` values: a multiple of 12, which the register
/// blocks of the common vector widths divide.
fn tile_pixels(window: usize) -> usize {
    (TILE_VALUES / window / 12 * 12).clamp(12, 384)
}

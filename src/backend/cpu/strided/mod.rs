//! The 5x5 stride-2 layer: fprop, dgrad and wgrad as matrix products over gathered windows.
//!
//! Pixels of the small plane are numbered across the batch, `m = (n S + h) S + w`. Each kernel
//! works on tiles of pixels: the window of a pixel (the input values that it meets) is copied into
//! a row of a cache-resident tile, and one matrix product for a group of taps does the arithmetic.
//! Tiles depend on shapes only, so that results do not depend on the number of threads.

mod dgrad;
mod few;
mod fprop;
#[cfg(test)]
mod reference_tests;
mod wgrad;
mod windows;
mod winograd;

pub use dgrad::{dgrad, dgrad_scratch};
pub use fprop::{fprop, fprop_scratch};
pub use wgrad::{wgrad, wgrad_scratch};

/// Values that a tile of windows may hold: 1 MiB of f32. It is streamed, not kept in cache; what a
/// larger tile saves is packing the weights once more for each.
const TILE_VALUES: usize = 1 << 18;

/// Tiles to aim for, so that all threads have work to the end.
const TILES: usize = 24;

/// Pixels in a tile whose windows have `window` values, of `total` pixels: a multiple of 12, which
/// the register blocks of the common vector widths divide.
fn tile_pixels(window: usize, total: usize) -> usize {
    let most = (TILE_VALUES / window).min(total.div_ceil(TILES));
    (most / 12 * 12).clamp(24, 384)
}

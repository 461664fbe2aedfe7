//! What the tests of this module share.

use std::path::{Path, PathBuf};

use ndarray::Array3;
use ndarray_npy::WriteNpyExt;

pub use crate::testing::shared;

/// Writes `maps` maps of `side` pixels, `value(map, y, x)`, as float32 `[N, H, W]`.
pub fn write_maps(
    directory: &Path,
    name: &str,
    maps: usize,
    side: usize,
    value: impl Fn(usize, usize, usize) -> f32,
) -> PathBuf {
    let path = directory.join(name);
    let array = Array3::from_shape_fn((maps, side, side), |(m, y, x)| value(m, y, x));
    array
        .write_npy(std::fs::File::create(&path).unwrap())
        .unwrap();
    path
}

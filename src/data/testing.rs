//! What the tests of this module share.

use std::path::{Path, PathBuf};

use ndarray::Array3;
use ndarray_npy::WriteNpyExt;

/// `name` in the folder of reference data beside the repository, if that is there. A test that
/// gets `None` returns; with `COSMOGAN_REQUIRE_SHARED=1` its absence is a failure.
pub fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared")
        .join(name);
    if path.exists() {
        return Some(path);
    }
    let required = std::env::var_os("COSMOGAN_REQUIRE_SHARED").is_some_and(|v| v == "1");
    assert!(!required, "{} is missing", path.display());
    println!("skipped: {} is missing", path.display());
    None
}

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

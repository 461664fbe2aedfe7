//! What several end-to-end tests need.

#![allow(dead_code)] // Each test binary uses its own part.

pub mod maps;
pub mod place;
#[cfg(target_os = "linux")]
pub mod tmpfs;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::cargo::CommandCargoExt;
use ndarray::Array3;
use ndarray_npy::WriteNpyExt;

/// The folder `../shared/<name>`, or `variable`'s value when that is set. Where it is absent the
/// test prints a word and is skipped, unless `COSMOGAN_REQUIRE_SHARED=1` makes that a failure.
pub fn shared(name: &str, variable: Option<&str>) -> Option<PathBuf> {
    let path = variable.and_then(std::env::var_os).map_or_else(
        || {
            PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join("../shared")
                .join(name)
        },
        PathBuf::from,
    );
    if path.exists() {
        return Some(path);
    }
    let required = std::env::var("COSMOGAN_REQUIRE_SHARED").is_ok_and(|value| value == "1");
    assert!(!required, "{} is absent and required", path.display());
    println!("skipped: {} is absent", path.display());
    None
}

/// Writes `maps` maps of `side` pixels with some structure, float32 `[N, H, W]`: sums of two waves
/// a map, all different.
pub fn write_maps(path: &Path, maps: usize, side: usize) {
    write_npy(path, maps, side, |map, y, x| {
        let (y, x, map) = (y as f32, x as f32, map as f32);
        0.02 * (0.7 * y + 1.3 * map).sin() * (0.3 * x + map).cos()
            + 0.01 * (x * y * (map + 1.0)).sin()
    });
}

/// Writes `value(map, y, x)` as float32 `[N, H, W]`.
pub fn write_npy(
    path: &Path,
    maps: usize,
    side: usize,
    value: impl Fn(usize, usize, usize) -> f32,
) {
    let array = Array3::from_shape_fn((maps, side, side), |(map, y, x)| value(map, y, x));
    array.write_npy(File::create(path).unwrap()).unwrap();
}

/// The program, with a cache of synthetic maps and a working directory of its own.
pub fn program(directory: &Path) -> Command {
    let mut command = Command::cargo_bin("cosmogan").unwrap();
    command
        .current_dir(directory)
        .env("COSMOGAN_CACHE", directory.join("cache"))
        .env("RAYON_NUM_THREADS", "2");
    command
}

/// What a finished program left.
#[derive(Debug)]
pub struct Outcome {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `command` to its end. It must not panic.
pub fn outcome(command: &mut Command) -> Outcome {
    let output = command.output().unwrap();
    let outcome = Outcome {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!outcome.stderr.contains("panicked"), "{outcome:?}");
    outcome
}

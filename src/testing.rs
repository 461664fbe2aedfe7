//! What the unit tests of several modules share.

use std::path::{Path, PathBuf};

use rand::RngExt;

use crate::rng::{Philox, SequentialPhilox, Stream};

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

/// The largest deviation of `ours` from `expected`. Refuses other lengths and what is not finite.
pub fn deviation(what: &str, ours: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(ours.len(), expected.len(), "{what}: lengths");
    let mut worst = 0.0f64;
    for (i, (a, b)) in ours.iter().zip(expected).enumerate() {
        let difference = (a - b).abs();
        assert!(difference.is_finite(), "{what}: value {i} is {a}, not {b}");
        worst = worst.max(difference);
    }
    worst
}

/// Random numbers of test `number`.
pub fn random(number: u64) -> SequentialPhilox {
    Philox::new(20_250_607, Stream::Benchmark, number).sequential()
}

/// `len` numbers of N(0, 1), exact in f32.
pub fn normals(random: &mut SequentialPhilox, len: usize) -> Vec<f64> {
    let mut values = vec![0.0f32; len];
    Philox::new(random.random(), Stream::Benchmark, 0).fill_normal(&mut values);
    values.into_iter().map(f64::from).collect()
}

#[test]
#[should_panic(expected = "value 1 is NaN")]
fn the_comparator_refuses_nan() {
    deviation("test", &[0.0, f64::NAN], &[0.0, f64::NAN]);
}

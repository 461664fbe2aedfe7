//! What the tests of this module share: where the reference numbers are, and the map of
//! known values.

use std::fs::File;
use std::path::{Path, PathBuf};

use ndarray::{Array3, ArrayD};
use ndarray_npy::{NpzReader, ReadNpyExt};

use crate::rng::{Philox, Stream};
pub use crate::testing::shared;

/// The 32 x 32 map whose LensTools statistics are written down in the tests: cubes of uniform
/// numbers from a linear congruential generator.
pub fn golden_map() -> Vec<f64> {
    let mut state = 12345_u64;
    let mut pixel = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let u = ((state >> 40) as f64 - 8_388_608.0) / 8_388_608.0;
        f64::from((u * u * u) as f32)
    };
    (0..32 * 32).map(|_| pixel()).collect()
}

/// One recorded comparison of scipy: two samples, and what its tests said of them.
pub struct GoldenCase {
    pub name: String,
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    pub record: serde_json::Value,
}

/// scipy's two-sample tests in the folder of reference data, if that is there.
pub fn golden_cases() -> Option<Vec<GoldenCase>> {
    let file = std::fs::File::open(shared("golden/tests/ks_ad_scipy.json")?).unwrap();
    let golden: serde_json::Value = serde_json::from_reader(file).unwrap();
    let cases = golden["cases"].as_object().unwrap();
    assert!(cases.len() >= 7);
    let numbers = |values: &serde_json::Value| -> Vec<f64> {
        let values = values.as_array().unwrap();
        values.iter().map(|v| v.as_f64().unwrap()).collect()
    };
    let case = |(name, record): (&String, &serde_json::Value)| GoldenCase {
        name: name.clone(),
        x: numbers(&record["x"]),
        y: numbers(&record["y"]),
        record: record.clone(),
    };
    Some(cases.iter().map(case).collect())
}

/// A file of LensTools' numbers: in the folder that `COSMOGAN_GOLDEN_STATS` names, else in
/// `golden/stats` of the shared folder.
pub fn golden_stats(name: &str) -> Option<PathBuf> {
    match std::env::var_os("COSMOGAN_GOLDEN_STATS") {
        Some(folder) => Some(Path::new(&folder).join(name)),
        None => shared(&format!("golden/stats/{name}")),
    }
}

/// LensTools' arrays by name, and the crops that they are of with their sides in degrees.
pub struct Golden {
    arrays: NpzReader<File>,
    pub crops: Vec<(f64, Vec<f32>)>,
}

impl Golden {
    pub fn open() -> Option<Self> {
        let open = |name| golden_stats(name).map(|path| File::open(path).unwrap());
        let (crops, about) = (open("crops_256.npy")?, open("crops_256.json")?);
        let about: serde_json::Value = serde_json::from_reader(about).unwrap();
        let crops = Array3::<f32>::read_npy(crops).unwrap();
        let crops = crops.outer_iter().enumerate().map(|(index, crop)| {
            let angle = about[index]["side_deg"].as_f64().unwrap();
            (angle, crop.iter().copied().collect())
        });
        Some(Self {
            arrays: NpzReader::new(open("lenstools.npz")?).unwrap(),
            crops: crops.collect(),
        })
    }

    pub fn array(&mut self, name: &str) -> Vec<f64> {
        let array: ArrayD<f64> = self.arrays.by_name(name).unwrap();
        array.iter().copied().collect()
    }
}

/// The largest difference over the largest magnitude of `expected`. A bin that is empty here (NaN)
/// must be 0 there, which LensTools leaves in such bins.
pub fn worst_difference(name: &str, ours: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(ours.len(), expected.len(), "{name}");
    let largest = expected.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    assert!(largest > 0.0, "{name} is all zero");
    let mut worst = 0.0f64;
    for (ours, expected) in ours.iter().zip(expected) {
        if ours.is_nan() {
            assert_eq!(*expected, 0.0, "{name}");
        } else {
            worst = worst.max((ours - expected).abs());
        }
    }
    worst / largest
}

/// `count` independent N(0, 1) numbers.
pub fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut pixels = vec![0.0; count];
    Philox::new(seed, Stream::Benchmark, 1).fill_normal(&mut pixels);
    pixels
}

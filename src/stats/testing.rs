//! What the tests of this module share: where the reference numbers are, and the map of
//! known values.

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

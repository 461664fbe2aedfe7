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

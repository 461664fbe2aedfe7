//! How far f32 may be from f64.

/// Half the distance between 1 and the next f32.
const EPSILON: f64 = 1.0 / 16_777_216.0;

/// Terms that are added one after the other before partial sums are merged, at most.
const CHAIN: f64 = 4096.0;

/// Of a value that comes from a few roundings.
pub fn rounding(expected: f64) -> f64 {
    8.0 * EPSILON * expected.abs()
}

/// Of a sum of `terms` products, each of size `rms_a * rms_b`: partial sums grow as a random walk
/// does, and each of them is rounded.
pub fn sum(expected: f64, terms: usize, rms_a: f64, rms_b: f64) -> f64 {
    let terms = terms as f64;
    let walk = terms.sqrt() * terms.min(CHAIN).sqrt();
    rounding(expected) + 4.0 * EPSILON * walk * rms_a * rms_b
}

/// Of a sum like that of [`sum`], rounded to bf16 in the end.
pub fn half_sum(expected: f64, terms: usize, rms_a: f64, rms_b: f64) -> f64 {
    half_rounding(expected) + sum(expected, terms, rms_a, rms_b)
}

/// Of a value that comes from a few roundings in f32 and a last one to bf16.
pub fn half_rounding(expected: f64) -> f64 {
    /// Half the distance between 1 and the next bf16.
    const HALF_EPSILON: f64 = 1.0 / 256.0;
    HALF_EPSILON * expected.abs() + rounding(expected)
}

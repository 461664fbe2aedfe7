//! Box-Muller from two random words, written so that every device gives the same bits.
//!
//! Only operations that IEEE 754 rounds correctly are used (conversion, fma, square root), in one
//! fixed order; the polynomials were fitted to the functions at Chebyshev points. A CUDA kernel
//! that repeats these lines with `fmaf` and `sqrtf` returns the same numbers to the bit.

/// Coefficients of Q in `ln(1 + f) = f - f^2/2 + f^3 Q(f)`, f in [sqrt(1/2) - 1, sqrt(2) - 1].
const LOG: [f32; 9] = [
    0.333_333_3,
    -0.249_999_9,
    0.200_007_08,
    -0.166_684_8,
    0.142_499_37,
    -0.124_110_5,
    0.116_615_11,
    -0.115_712_01,
    0.071_497_54,
];

/// Coefficients of S in `sin(pi x / 2) = x S(x^2)`, |x| <= 1/2.
const SIN: [f32; 5] = [
    1.570_796_4,
    -0.645_964_1,
    0.079_692_58,
    -0.004_681_266_4,
    0.000_158_206_52,
];

/// Coefficients of C in `cos(pi x / 2) = C(x^2)`, |x| <= 1/2.
const COS: [f32; 5] = [
    1.0,
    -1.233_700_5,
    0.253_669_2,
    -0.020_860_07,
    0.000_903_629_9,
];

fn horner(coefficients: &[f32], x: f32) -> f32 {
    let (last, rest) = coefficients.split_last().expect("a polynomial has terms");
    rest.iter().rev().fold(*last, |sum, &c| sum.mul_add(x, c))
}

/// Natural logarithm of a positive normal number.
fn ln(x: f32) -> f32 {
    const SQRT_HALF_BITS: u32 = 0x3f35_04f3;
    let bits = x.to_bits();
    let exponent = (bits.wrapping_sub(SQRT_HALF_BITS) as i32) >> 23;
    let mantissa = f32::from_bits(bits.wrapping_sub((exponent as u32) << 23));
    let f = mantissa - 1.0;
    let square = f * f;
    let tail = square.mul_add(-0.5, square * f * horner(&LOG, f));
    (exponent as f32).mul_add(std::f32::consts::LN_2, f + tail)
}

/// Two independent N(0, 1) numbers from two random words: radius from the first, angle from the
/// second. The largest magnitude is sqrt(-2 ln 2^-33) = 6.76.
pub fn box_muller(radius_word: u32, angle_word: u32) -> (f32, f32) {
    const TWO_POW_MINUS_32: f32 = 1.0 / 4_294_967_296.0;
    let u = (radius_word as f32).mul_add(TWO_POW_MINUS_32, 0.5 * TWO_POW_MINUS_32);
    let radius = (-2.0 * ln(u)).max(0.0).sqrt();

    // The angle in quarter turns: the nearest whole quarter and what is left, in [-1/2, 1/2].
    let quarter = angle_word.wrapping_add(1 << 29) >> 30;
    let rest = angle_word.wrapping_sub(quarter << 30) as i32 as f32 * (4.0 * TWO_POW_MINUS_32);
    let square = rest * rest;
    let sine = rest * horner(&SIN, square);
    let cosine = horner(&COS, square);
    let (cosine, sine) = match quarter & 3 {
        0 => (cosine, sine),
        1 => (-sine, cosine),
        2 => (-cosine, -sine),
        _ => (sine, -cosine),
    };
    (radius * cosine, radius * sine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Philox, Stream};

    fn reference(radius_word: u32, angle_word: u32) -> (f64, f64) {
        let u = (f64::from(radius_word) + 0.5) / 4_294_967_296.0;
        let radius = (-2.0 * u.ln()).sqrt();
        let angle = std::f64::consts::TAU * f64::from(angle_word) / 4_294_967_296.0;
        (radius * angle.cos(), radius * angle.sin())
    }

    #[test]
    fn it_follows_the_formula_in_double_precision() {
        let philox = Philox::new(3, Stream::Benchmark, 0);
        let mut worst = 0.0f64;
        for block in 0..50_000 {
            let [a, b, ..] = philox.block(block);
            let (x, y) = box_muller(a, b);
            let (rx, ry) = reference(a, b);
            worst = worst
                .max((f64::from(x) - rx).abs())
                .max((f64::from(y) - ry).abs());
        }
        // u itself is rounded to f32, which moves the radius most where u is close to 1.
        assert!(worst < 5e-4, "largest deviation {worst}");
    }

    #[test]
    fn the_extreme_words_give_finite_numbers() {
        for a in [0, 1, u32::MAX, u32::MAX - 1, 1 << 31] {
            for b in [
                0,
                1,
                u32::MAX,
                1 << 29,
                (1 << 29) - 1,
                3 << 29,
                1 << 30,
                1 << 31,
            ] {
                let (x, y) = box_muller(a, b);
                assert!(x.is_finite() && y.is_finite(), "{a:#x} {b:#x} gave {x} {y}");
                let (rx, ry) = reference(a, b);
                assert!((f64::from(x) - rx).abs() < 1e-3 && (f64::from(y) - ry).abs() < 1e-3);
            }
        }
    }

    #[test]
    fn moments_and_quartiles_are_those_of_a_normal_distribution() {
        let mut values = vec![0.0f32; 400_000];
        Philox::new(5, Stream::Latent, 9).fill_normal(&mut values);
        let n = values.len() as f64;
        let moment = |p: i32| values.iter().map(|&v| f64::from(v).powi(p)).sum::<f64>() / n;
        assert!(moment(1).abs() < 5.0 / n.sqrt());
        assert!((moment(2) - 1.0).abs() < 5.0 * (2.0 / n).sqrt());
        assert!(moment(3).abs() < 5.0 * (15.0 / n).sqrt());
        assert!((moment(4) - 3.0).abs() < 5.0 * (96.0 / n).sqrt());
        let below = values.iter().filter(|&&v| v < -0.674_489_75).count() as f64 / n;
        assert!((below - 0.25).abs() < 5.0 * (0.1875 / n).sqrt());
    }

    #[test]
    fn numbers_never_change_between_releases() {
        let philox = Philox::new(42, Stream::Latent, 1);
        let bits: Vec<u32> = philox.normals(0).iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits, RECORDED, "{bits:#010x?}");
    }

    const RECORDED: [u32; 4] = [0x4022_0d00, 0xbe9c_9fa2, 0xbb76_f705, 0x3f03_1b5d];
}

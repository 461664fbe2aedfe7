//! From the value of a pixel to its colour: one stretch for all maps of a picture.
//!
//! Convergence is strongly skewed: half of the pixels lie within a small part of the range that
//! the peaks span. On a linear scale that keeps the peaks, filaments and voids are one dark
//! plane. So colours follow asinh((v - median) / softening): linear about the median, where
//! filaments and voids are, logarithmic in the peaks (Lupton et al. 2004, PASP 116:133).

use crate::stats::{SortedSample, StatsError};

/// The colour of pixels that are NaN or infinite: in no part of the colour map.
pub const NOT_FINITE: [u8; 3] = [0, 200, 255];

/// A map from values to colours of `MAGMA`, fixed by a set of (real) maps.
///
/// The ends are the [`Stretch::LOW`] and [`Stretch::HIGH`] quantiles of their pixels; the
/// softening is half the distance between the 16% and 84% quantiles, a robust standard deviation.
/// Values beyond the ends get the end colours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// Value of the darkest colour.
    pub low: f64,
    /// Value of the brightest colour.
    pub high: f64,
    median: f64,
    softening: f64,
}

impl Stretch {
    /// Quantile of the darkest colour.
    pub const LOW: f64 = 0.005;
    /// Quantile of the brightest colour.
    pub const HIGH: f64 = 0.999;

    /// The stretch of these pixels; those that are not finite are left out.
    ///
    /// # Errors
    /// No pixel is finite.
    pub fn of(pixels: &[f32]) -> Result<Self, StatsError> {
        let finite: Vec<f32> = pixels.iter().copied().filter(|v| v.is_finite()).collect();
        let sorted = SortedSample::new(&finite)?;
        let quantile = |fraction| f64::from(sorted.quantile(fraction));
        let median = quantile(0.5);
        // Constant maps have a range too: a narrow one about their value.
        let least = (median.abs() * 1e-6).max(1e-12);
        let softening = (0.5 * (quantile(0.84) - quantile(0.16))).max(least);
        Ok(Self {
            low: quantile(Self::LOW).min(median - least),
            high: quantile(Self::HIGH).max(median + least),
            median,
            softening,
        })
    }

    /// Where a value lies between the ends, 0 to 1.
    pub fn position(&self, value: f64) -> f64 {
        let stretched = |v: f64| ((v - self.median) / self.softening).asinh();
        let (low, high) = (stretched(self.low), stretched(self.high));
        ((stretched(value) - low) / (high - low)).clamp(0.0, 1.0)
    }

    /// The value at a position: the inverse of [`Self::position`].
    pub fn value(&self, position: f64) -> f64 {
        let stretched = |v: f64| ((v - self.median) / self.softening).asinh();
        let (low, high) = (stretched(self.low), stretched(self.high));
        (low + position * (high - low)).sinh() * self.softening + self.median
    }

    /// The colour of a value, RGB.
    pub fn colour(&self, value: f64) -> [u8; 3] {
        if value.is_finite() {
            Self::colour_at(self.position(value))
        } else {
            NOT_FINITE
        }
    }

    /// The colour at a position, RGB.
    pub fn colour_at(position: f64) -> [u8; 3] {
        let colour = colorous::MAGMA.eval_continuous(position);
        [colour.r, colour.g, colour.b]
    }

    /// Round values between the ends, ascending, no two nearer than `apart` in position: 1, 2 and
    /// 5 times powers of ten and zero, the roundest first.
    pub fn ticks(&self, apart: f64) -> Vec<f64> {
        let mut candidates = vec![0.0];
        let largest = self.low.abs().max(self.high.abs());
        let decade = largest.log10().floor() as i32;
        for digit in [1.0, 5.0, 2.0] {
            for power in (decade - 4..=decade).rev() {
                let value = digit * 10_f64.powi(power);
                candidates.extend([value, -value]);
            }
        }
        let mut ticks: Vec<f64> = Vec::new();
        for value in candidates {
            let inside = value >= self.low && value <= self.high;
            let here = self.position(value);
            let free = |&tick: &f64| (self.position(tick) - here).abs() >= apart;
            if inside && ticks.iter().all(free) {
                ticks.push(value);
            }
        }
        ticks.sort_by(f64::total_cmp);
        ticks
    }
}

/// A round number, as short as it is exact to three digits, with a true minus sign.
pub fn label(value: f64) -> String {
    let plain = if value == 0.0 || (1e-3..1e4).contains(&value.abs()) {
        let digits = (2 - value.abs().max(1e-300).log10().floor() as i32).clamp(0, 6);
        let fixed = format!("{value:.*}", digits as usize);
        if fixed.contains('.') {
            fixed.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            fixed
        }
    } else {
        format!("{value:.0e}")
    };
    plain.replace('-', "\u{2212}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skewed() -> Vec<f32> {
        (0..10_000)
            .map(|i| (i as f32 * 0.0004).exp() * 0.01 - 0.03)
            .collect()
    }

    #[test]
    fn colours_rise_with_values_and_clip_at_the_ends() {
        let stretch = Stretch::of(&skewed()).unwrap();
        let positions: Vec<f64> = (0..100)
            .map(|i| stretch.position(-0.1 + f64::from(i) * 0.01))
            .collect();
        assert!(positions.is_sorted());
        assert_eq!(positions[0], 0.0);
        assert_eq!(positions[99], 1.0);
        assert_eq!(stretch.colour(f64::NAN), NOT_FINITE);
    }

    #[test]
    fn value_is_the_inverse_of_position() {
        let stretch = Stretch::of(&skewed()).unwrap();
        for i in 0..=10 {
            let position = f64::from(i) / 10.0;
            assert!((stretch.position(stretch.value(position)) - position).abs() < 1e-12);
        }
    }

    #[test]
    fn ticks_are_apart_and_include_zero() {
        let stretch = Stretch::of(&skewed()).unwrap();
        let ticks = stretch.ticks(0.08);
        assert!(ticks.contains(&0.0) && ticks.len() >= 4, "{ticks:?}");
        for pair in ticks.windows(2) {
            assert!(stretch.position(pair[1]) - stretch.position(pair[0]) >= 0.08);
        }
    }

    #[test]
    fn constant_maps_have_a_range_and_maps_without_a_number_have_none() {
        let stretch = Stretch::of(&[0.3, 0.3, f32::NAN]).unwrap();
        assert!(stretch.low < stretch.high);
        assert!((0.0..=1.0).contains(&stretch.position(f64::from(0.3_f32))));
        assert_eq!(Stretch::of(&[f32::NAN]), Err(StatsError::Empty));
    }

    #[test]
    fn labels_are_short_and_exact() {
        let expected = [
            (0.0, "0"),
            (0.05, "0.05"),
            (-0.02, "\u{2212}0.02"),
            (100.0, "100"),
            (1e-5, "1e\u{2212}5"),
        ];
        for (value, words) in expected {
            assert_eq!(label(value), words);
        }
    }
}

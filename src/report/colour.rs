//! From the value of a pixel to its colour: one stretch for all maps of a picture.
//!
//! Convergence is strongly skewed: half of the pixels lie within a small part of the range that
//! the peaks span. On a linear scale that keeps the peaks, filaments and voids are one dark
//! plane. So colours follow asinh((v - median) / softening): linear about the median, where
//! filaments and voids are, logarithmic in the peaks (Lupton et al. 2004, PASP 116:133).

use serde::{Deserialize, Serialize};

use crate::stats::{SortedSample, StatsError};

/// The colour of pixels that are NaN or infinite: in no part of the colour map.
pub const NOT_FINITE: [u8; 3] = [0, 200, 255];

/// How values become colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PictureStyle {
    /// The asinh stretch of this module's head, in `MAGMA`: shows voids, filaments and peaks.
    #[default]
    Asinh,
    /// The logarithm of positive values in `BLUES`, from 1e-4 to the maximum, as in the figures of
    /// the CosmoGAN authors' notebooks and talks: all that is below 1e-4 looks alike.
    Log,
}

/// A map from values to colours, fixed by a set of (real) maps. Values beyond the ends get the end
/// colours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// Value of the first colour.
    pub low: f64,
    /// Value of the last colour.
    pub high: f64,
    scale: Scale,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    /// The softening is half the distance between the 16% and 84% quantiles, a robust standard
    /// deviation.
    Asinh {
        median: f64,
        softening: f64,
    },
    Log,
}

impl Stretch {
    /// Quantile of the first colour of [`PictureStyle::Asinh`].
    pub const LOW: f64 = 0.005;
    /// Quantile of its last colour.
    pub const HIGH: f64 = 0.999;
    /// Value of the first colour of [`PictureStyle::Log`].
    pub const LOG_LOW: f64 = 1e-4;

    /// The stretch of these pixels; those that are not finite are left out.
    ///
    /// # Errors
    /// No pixel is finite; for [`PictureStyle::Log`] none is positive.
    pub fn of(pixels: &[f32], style: PictureStyle) -> Result<Self, StatsError> {
        match style {
            PictureStyle::Asinh => Self::asinh(pixels),
            PictureStyle::Log => Self::log(pixels),
        }
    }

    fn asinh(pixels: &[f32]) -> Result<Self, StatsError> {
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
            scale: Scale::Asinh { median, softening },
        })
    }

    fn log(pixels: &[f32]) -> Result<Self, StatsError> {
        let positive = pixels.iter().filter(|v| v.is_finite() && **v > 0.0);
        let high = f64::from(positive.copied().fold(0.0, f32::max));
        if high == 0.0 {
            return Err(StatsError::Empty);
        }
        Ok(Self {
            // Maps in other units have three decades at least.
            low: Self::LOG_LOW.min(high * 1e-3),
            high,
            scale: Scale::Log,
        })
    }

    fn stretched(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Asinh { median, softening } => ((value - median) / softening).asinh(),
            Scale::Log => value.max(self.low).ln(),
        }
    }

    /// Where a value lies between the ends, 0 to 1.
    pub fn position(&self, value: f64) -> f64 {
        let (low, high) = (self.stretched(self.low), self.stretched(self.high));
        ((self.stretched(value) - low) / (high - low)).clamp(0.0, 1.0)
    }

    /// The value at a position: the inverse of [`Self::position`].
    pub fn value(&self, position: f64) -> f64 {
        let (low, high) = (self.stretched(self.low), self.stretched(self.high));
        let stretched = low + position * (high - low);
        match self.scale {
            Scale::Asinh { median, softening } => stretched.sinh() * softening + median,
            Scale::Log => stretched.exp(),
        }
    }

    /// The colour of a value, RGB.
    pub fn colour(&self, value: f64) -> [u8; 3] {
        if value.is_finite() {
            self.colour_at(self.position(value))
        } else {
            NOT_FINITE
        }
    }

    /// The colour at a position, RGB.
    pub fn colour_at(&self, position: f64) -> [u8; 3] {
        let gradient = match self.scale {
            Scale::Asinh { .. } => colorous::MAGMA,
            Scale::Log => colorous::BLUES,
        };
        let colour = gradient.eval_continuous(position);
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
        let stretch = Stretch::of(&skewed(), PictureStyle::Asinh).unwrap();
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
        for style in [PictureStyle::Asinh, PictureStyle::Log] {
            let stretch = Stretch::of(&skewed(), style).unwrap();
            for i in 0..=10 {
                let position = f64::from(i) / 10.0;
                assert!((stretch.position(stretch.value(position)) - position).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn the_log_style_has_equal_colours_for_equal_factors_and_none_below_its_floor() {
        let stretch = Stretch::of(&[-0.3, 0.0, 0.1, f32::INFINITY], PictureStyle::Log).unwrap();
        assert_eq!((stretch.low, stretch.high), (1e-4, f64::from(0.1_f32)));
        for (value, position) in [(1e-3, 1.0 / 3.0), (1e-2, 2.0 / 3.0), (1e-4, 0.0)] {
            assert!((stretch.position(value) - position).abs() < 1e-6);
        }
        assert_eq!(stretch.colour(-0.3), stretch.colour(1e-4));
        assert_eq!(stretch.colour(0.0), stretch.colour_at(0.0));
        let brightness = |p| stretch.colour_at(p).map(u32::from).iter().sum::<u32>();
        assert!(brightness(0.0) > brightness(0.5) && brightness(0.5) > brightness(1.0));
        let faint = Stretch::of(&[1e-6], PictureStyle::Log).unwrap();
        assert!((faint.high / faint.low - 1e3).abs() < 1e-6);
    }

    #[test]
    fn ticks_are_apart_and_include_zero() {
        let stretch = Stretch::of(&skewed(), PictureStyle::Asinh).unwrap();
        let ticks = stretch.ticks(0.08);
        assert!(ticks.contains(&0.0) && ticks.len() >= 4, "{ticks:?}");
        for pair in ticks.windows(2) {
            assert!(stretch.position(pair[1]) - stretch.position(pair[0]) >= 0.08);
        }
    }

    #[test]
    fn constant_maps_have_a_range_and_maps_without_a_number_have_none() {
        let stretch = Stretch::of(&[0.3, 0.3, f32::NAN], PictureStyle::Asinh).unwrap();
        assert!(stretch.low < stretch.high);
        assert!((0.0..=1.0).contains(&stretch.position(f64::from(0.3_f32))));
        for style in [PictureStyle::Asinh, PictureStyle::Log] {
            assert_eq!(Stretch::of(&[f32::NAN], style), Err(StatsError::Empty));
        }
        let negative = Stretch::of(&[-1.0, 0.0], PictureStyle::Log);
        assert_eq!(negative, Err(StatsError::Empty));
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

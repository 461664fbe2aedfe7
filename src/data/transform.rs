//! The map between physical pixels and the generator's range (-1, 1), and back. Fitted to the
//! training set, kept in checkpoints, applied by the samplers and undone by whoever writes maps.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::per_channel::PerChannel;
use super::statistics::Statistics;
use super::transform_kind::TransformKind;

/// Where a fitted transform puts the training set's minimum and maximum: within 0.95, because
/// tanh reaches 1 only at infinity and its gradient vanishes on the way.
const REACH: f64 = 0.9;

/// [`Transform::Log`] takes no pixel below `-(1 - FLOOR) * width`, where its slope is 1000 times
/// that at 0.
const FLOOR: f64 = 1e-3;

/// A monotonic function of one pixel. Computed in f64 and rounded once; forward and back again
/// stays within 1e-5 of the training data's range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Transform {
    /// y = x, as in the CosmoGAN paper.
    None {},
    /// y = (x - offset) * scale.
    Linear { scale: f64, offset: f64 },
    /// y = 2x / (x + a) - 1 (Tamosiunas et al. 2020), for x >= 0 only: negative pixels become
    /// y = -1, and the inverse takes y at most to 1 - 2^-24.
    Rational { a: f64 },
    /// y = scale * ln(1 + x / width) + offset, for x > -width: pixels below -0.999 width become
    /// -0.999 width.
    Log { width: f64, scale: f64, offset: f64 },
}

impl Transform {
    /// The transform for convergence maps whose user named none: [`TransformKind::DEFAULT`].
    ///
    /// # Errors
    /// Those of [`fit`](Self::fit).
    pub fn fit_default(stats: &Statistics) -> Result<Self, DataError> {
        Self::fit(TransformKind::DEFAULT, stats)
    }

    /// A transform of the named kind with numbers from the training set's statistics.
    ///
    /// Linear and log put the minimum at -0.9 and the maximum at 0.9. Rational puts the mean at 0,
    /// unless the maximum would then pass 0.95.
    ///
    /// # Errors
    /// Maps that are constant, or negative pixels for rational.
    pub fn fit(kind: TransformKind, stats: &Statistics) -> Result<Self, DataError> {
        let Statistics {
            min,
            max,
            mean,
            rms,
            ..
        } = *stats;
        let spread = max - min;
        if kind != TransformKind::None && !(spread > 0.0 && spread.is_finite()) {
            return Err(DataError::Transform {
                field: "fit (the training maps' maximum - minimum)",
                value: spread,
                accepted: "maps must hold more than one value",
            });
        }
        let fitted = match kind {
            TransformKind::None => Self::None {},
            TransformKind::Linear => Self::Linear {
                scale: 2.0 * REACH / spread,
                offset: 0.5 * (min + max),
            },
            TransformKind::Rational if min < 0.0 => {
                return Err(DataError::Transform {
                    field: "fit (the training maps' minimum)",
                    value: min,
                    accepted: "rational needs pixels of at least 0; use log or linear",
                });
            }
            TransformKind::Rational => Self::Rational {
                a: mean.max(max / 39.0),
            },
            TransformKind::Log => {
                let width = (4.0 * rms).max(-1.25 * min);
                let (low, high) = ((min / width).ln_1p(), (max / width).ln_1p());
                let scale = 2.0 * REACH / (high - low);
                Self::Log {
                    width,
                    scale,
                    offset: REACH - scale * high,
                }
            }
        };
        fitted.check()?;
        Ok(fitted)
    }

    /// Checks the numbers of a transform that was read from a file or typed by a user.
    ///
    /// # Errors
    /// The number that has no meaning.
    pub fn check(&self) -> Result<(), DataError> {
        let positive = |field, value: f64| require(field, value, value > 0.0, "it must be above 0");
        let finite = |field, value: f64| require(field, value, true, "it must be finite");
        match *self {
            Self::None {} => Ok(()),
            Self::Linear { scale, offset } => {
                positive("scale", scale).and_then(|()| finite("offset", offset))
            }
            Self::Rational { a } => positive("a", a),
            Self::Log {
                width,
                scale,
                offset,
            } => positive("width", width)
                .and_then(|()| positive("scale", scale))
                .and_then(|()| finite("offset", offset)),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> TransformKind {
        match self {
            Self::None {} => TransformKind::None,
            Self::Linear { .. } => TransformKind::Linear,
            Self::Rational { .. } => TransformKind::Rational,
            Self::Log { .. } => TransformKind::Log,
        }
    }

    /// Physical units to the generator's range, in place.
    pub fn forward(&self, values: &mut [f32]) {
        self.forward_each(values.iter_mut());
    }

    /// The generator's range to physical units, in place. Finite for every finite input.
    pub fn inverse(&self, values: &mut [f32]) {
        self.inverse_each(values.iter_mut());
    }

    fn forward_each<'a>(&self, values: impl Iterator<Item = &'a mut f32>) {
        match *self {
            Self::None {} => {}
            Self::Linear { scale, offset } => map(values, |x| (x - offset) * scale),
            Self::Rational { a } => map(values, |x| {
                let x = x.max(0.0);
                2.0 * x / (x + a) - 1.0
            }),
            Self::Log {
                width,
                scale,
                offset,
            } => {
                let inverse_width = 1.0 / width;
                // 1 + x/w rounds to 1e-16, far below f32: no need for the slower ln_1p.
                map(values, |x| {
                    scale * (1.0 + x * inverse_width).max(FLOOR).ln() + offset
                });
            }
        }
    }

    fn inverse_each<'a>(&self, values: impl Iterator<Item = &'a mut f32>) {
        match *self {
            Self::None {} => {}
            Self::Linear { scale, offset } => map(values, |y| y / scale + offset),
            Self::Rational { a } => map(values, |y| {
                let y = y.clamp(-1.0, 1.0 - f64::from(f32::EPSILON) / 2.0);
                a * (1.0 + y) / (1.0 - y)
            }),
            Self::Log {
                width,
                scale,
                offset,
            } => {
                map(values, |y| width * ((y - offset) / scale).exp_m1());
            }
        }
    }
}

/// The transforms of all channels of a map. Checkpoints hold one table for one channel, a list for
/// more.
pub type Transforms = PerChannel<Transform>;

impl PerChannel<Transform> {
    /// Transforms of the named kind, each fitted to its own channel.
    ///
    /// # Errors
    /// Those of [`Transform::fit`], with the channel where there are several.
    pub fn fit(kind: TransformKind, stats: &PerChannel<Statistics>) -> Result<Self, DataError> {
        stats.try_map(|stats| Transform::fit(kind, stats))
    }

    /// [`Transform::check`] of every channel.
    ///
    /// # Errors
    /// The number that has no meaning, with its channel where there are several.
    pub fn check(&self) -> Result<(), DataError> {
        self.try_map(Transform::check).map(|_| ())
    }

    /// Physical units to the generator's range, in place: maps `[.., C]`, C the number of channels.
    pub fn forward(&self, maps: &mut [f32]) {
        if let [only] = &self[..] {
            return only.forward(maps);
        }
        for (channel, transform) in self.iter().enumerate() {
            transform.forward_each(maps.iter_mut().skip(channel).step_by(self.len()));
        }
    }

    /// The generator's range to physical units, in place: maps `[.., C]`, C the number of channels.
    /// Finite for every finite input.
    pub fn inverse(&self, maps: &mut [f32]) {
        if let [only] = &self[..] {
            return only.inverse(maps);
        }
        for (channel, transform) in self.iter().enumerate() {
            transform.inverse_each(maps.iter_mut().skip(channel).step_by(self.len()));
        }
    }
}

impl fmt::Display for PerChannel<Transform> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = &self[..] {
            return only.fmt(f);
        }
        for (channel, transform) in self.iter().enumerate() {
            let separator = if channel == 0 { "" } else { "; " };
            write!(f, "{separator}channel {channel} {transform}")?;
        }
        Ok(())
    }
}

/// f64 arithmetic, then one rounding into the finite numbers of f32.
fn map<'a>(values: impl Iterator<Item = &'a mut f32>, function: impl Fn(f64) -> f64) {
    const LARGEST: f64 = f32::MAX as f64;
    for value in values {
        *value = function(f64::from(*value)).clamp(-LARGEST, LARGEST) as f32;
    }
}

fn require(
    field: &'static str,
    value: f64,
    holds: bool,
    accepted: &'static str,
) -> Result<(), DataError> {
    if holds && value.is_finite() {
        return Ok(());
    }
    Err(DataError::Transform {
        field,
        value,
        accepted,
    })
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::None {} => write!(f, "none: y = x, pixels as they are (the paper's choice)"),
            Self::Linear { scale, offset } => write!(
                f,
                "linear: y = (x - {offset:.5}) * {scale:.5} (simple; rare peaks set the scale)"
            ),
            Self::Rational { a } => write!(
                f,
                "rational: y = 2x/(x + {a:.5}) - 1 (for densities, which are never negative)"
            ),
            Self::Log {
                width,
                scale,
                offset,
            } => write!(
                f,
                "log: y = {scale:.5} ln(1 + x/{width:.5}) {sign} {offset:.5} (keeps the highest \
                 peaks in range without squeezing the bulk of pixels)",
                sign = if offset < 0.0 { '-' } else { '+' },
                offset = offset.abs(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kappa() -> Statistics {
        Statistics {
            pixels: 1 << 20,
            min: -0.03,
            max: 0.29,
            mean: 0.0,
            rms: 0.0145,
        }
    }

    fn density() -> Statistics {
        Statistics {
            pixels: 1 << 20,
            min: 0.0,
            max: 310.0,
            mean: 1.0,
            rms: 4.0,
        }
    }

    fn apply(transform: Transform, x: f64) -> f32 {
        let mut value = [x as f32];
        transform.forward(&mut value);
        value[0]
    }

    #[test]
    fn the_default_puts_kappas_extremes_at_nine_tenths_and_spreads_its_bulk() {
        let fitted = Transform::fit_default(&kappa()).unwrap();
        assert_eq!(fitted.kind(), TransformKind::Log);
        assert!((apply(fitted, -0.03) + 0.9).abs() < 1e-6);
        assert!((apply(fitted, 0.29) - 0.9).abs() < 1e-6);
        let spread = |t| apply(t, 0.0145) - apply(t, -0.0145);
        let linear = Transform::fit(TransformKind::Linear, &kappa()).unwrap();
        assert!(spread(fitted) > 1.5 * spread(linear));
        assert_eq!(
            fitted.to_string(),
            "log: y = 0.71429 ln(1 + x/0.05800) - 0.37983 (keeps the highest peaks in range \
             without squeezing the bulk of pixels)"
        );
    }

    proptest! {
        #[test]
        fn forward_and_back_returns_every_pixel_of_the_data(
            share in 0.0f64..=1.0, min in -0.2f64..0.1, spread in 1e-3f64..3.0, rms in 0.01f64..0.3
        ) {
            let stats = Statistics {
                pixels: 1, min, max: min + spread, mean: min + 0.1 * spread, rms: rms * spread,
            };
            for kind in ["none", "linear", "log", "rational"] {
                let kind: TransformKind = kind.parse().unwrap();
                if kind == TransformKind::Rational && min < 0.0 {
                    continue;
                }
                let transform = Transform::fit(kind, &stats).unwrap();
                let pixel = (min + share * spread) as f32;
                let mut value = [pixel];
                transform.forward(&mut value);
                prop_assert!(kind == TransformKind::None || value[0].abs() < 1.0);
                transform.inverse(&mut value);
                // Data far from 0 lose what f32 itself cannot hold.
                let error = f64::from((value[0] - pixel).abs());
                prop_assert!(error <= 1e-5 * spread, "{transform} at {pixel}: {}", value[0]);
            }
        }
    }

    #[test]
    fn pixels_outside_of_the_domain_are_clamped_to_its_edge() {
        let log = Transform::fit_default(&kappa()).unwrap();
        assert_eq!(apply(log, -5.0), apply(log, -0.058));
        assert!(apply(log, f64::from(f32::MAX)).is_finite());
        let rational = Transform::fit(TransformKind::Rational, &density()).unwrap();
        assert_eq!(apply(rational, -3.0), -1.0);
        for transform in [log, rational] {
            for extreme in [-1.0, 1.0, -40.0, 40.0, f32::MAX, f32::MIN] {
                let mut value = [extreme];
                transform.inverse(&mut value);
                assert!(value[0].is_finite(), "{transform} at {extreme}");
            }
        }
    }

    #[test]
    fn rational_puts_the_mean_at_zero_or_the_maximum_at_the_top() {
        let mild = Statistics {
            max: 12.0,
            ..density()
        };
        let fitted = Transform::fit(TransformKind::Rational, &mild).unwrap();
        assert_eq!(apply(fitted, 1.0), 0.0);
        let fitted = Transform::fit(TransformKind::Rational, &density()).unwrap();
        assert!((apply(fitted, 310.0) - 0.95).abs() < 1e-6);
    }

    #[test]
    fn data_and_numbers_without_a_fit_are_refused() {
        let flat = Statistics {
            min: 0.5,
            max: 0.5,
            mean: 0.5,
            rms: 0.0,
            pixels: 9,
        };
        let error = Transform::fit_default(&flat).unwrap_err().to_string();
        assert!(error.contains("more than one value"), "{error}");
        let error = Transform::fit(TransformKind::Rational, &kappa()).unwrap_err();
        assert!(error.to_string().contains("use log"), "{error}");
        let typed = Transform::Log {
            width: 0.0,
            scale: 1.0,
            offset: 0.0,
        };
        let error = typed.check().unwrap_err().to_string();
        assert!(error.contains("transform.width is 0"), "{error}");
        let nan = Transform::Linear {
            scale: f64::NAN,
            offset: 0.0,
        };
        assert!(nan.check().is_err());
        assert!(
            "sqrt"
                .parse::<TransformKind>()
                .unwrap_err()
                .contains("rational or log")
        );
    }

    #[test]
    fn it_survives_toml_and_json_to_the_bit_and_refuses_unknown_fields() {
        for transform in [
            Transform::None {},
            Transform::fit(TransformKind::Linear, &kappa()).unwrap(),
            Transform::fit(TransformKind::Rational, &density()).unwrap(),
            Transform::fit_default(&kappa()).unwrap(),
        ] {
            let text = toml::to_string(&transform).unwrap();
            assert_eq!(toml::from_str::<Transform>(&text).unwrap(), transform);
            let text = serde_json::to_string(&transform).unwrap();
            assert_eq!(serde_json::from_str::<Transform>(&text).unwrap(), transform);
        }
        let typo = "kind = \"linear\"\nscale = 1.0\noffset = 0.0\nofset = 1.0";
        assert!(toml::from_str::<Transform>(typo).is_err());
        assert!(toml::from_str::<Transform>("kind = \"none\"\na = 1.0").is_err());
    }
}

//! Whether a generator invents maps or remembers those that it was trained on, and whether it repeats
//! itself.

mod nearest;
mod repeats;
mod result;
mod sketch;
mod words;

pub use nearest::QUERIES;
pub use result::{Kind, NearestKind, NearestResult, NoveltyResult, PairFound, PairsResult};
pub use sketch::{Features, FillFeatures, Sketcher, Sketches};
pub use words::{ABOUT, methods, rows, sentence};

use super::error::EvaluateError;
use super::measure::{Measured, Progress};
use super::sets::MapSource;
use crate::report::strip::Strip;
use crate::stats::{Diversity, Spread};

/// The sets whose novelty is judged, with what was kept of their maps.
pub struct Sets<'a, 'm> {
    pub real: (&'a Measured, &'a mut MapSource<'m>),
    pub second_real: (&'a Measured, &'a mut MapSource<'m>),
    pub generated: (&'a Measured, &'a mut MapSource<'m>),
    pub training: Option<&'a mut MapSource<'m>>,
    /// Standard deviation of the real maps' pixels.
    pub sigma: f64,
}

/// The numbers, and pictures: of the closest pairs, and of the nearest training maps.
pub struct Found {
    pub result: NoveltyResult,
    pub pairs: Strip,
    pub nearest: Option<Strip>,
}

/// Looks for pairs of generated maps that are alike, for the training maps nearest to them, and at how much
/// they vary, beside real maps.
///
/// # Errors
/// Maps that cannot be read or made again; maps that do not vary.
pub fn novelty(
    sketcher: &mut Sketcher<'_>,
    mut sets: Sets<'_, '_>,
    progress: &Progress<'_>,
) -> Result<Found, EvaluateError> {
    let (pairs, pairs_strip) = repeats::repeats(sketcher, &mut sets, progress)?;
    let spectra =
        |measured: &Measured| Spread::of_features(sketcher.log_spectra(&measured.sketches).view());
    let (real, generated) = (sets.real.0, sets.generated.0);
    let pixel_diversity = Diversity::new(&real.spread, &generated.spread)?.mean;
    let spectral_diversity = Diversity::new(&spectra(real)?, &spectra(generated)?)?.mean;
    let nearest = nearest::nearest(sketcher, &mut sets, progress)?;
    let (nearest, nearest_strip) = nearest.unzip();
    Ok(Found {
        result: NoveltyResult {
            nearest,
            pairs,
            pixel_diversity,
            spectral_diversity,
        },
        pairs: pairs_strip,
        nearest: nearest_strip,
    })
}

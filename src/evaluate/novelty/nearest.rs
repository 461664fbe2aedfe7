//! The training maps nearest to generated maps, and to real maps that were not trained on.

use super::super::error::EvaluateError;
use super::super::measure::Progress;
use super::Sets;
use super::result::{Kind, NearestKind, NearestResult};
use super::sketch::Sketcher;
use crate::data::Symmetry;
use crate::report::strip::{Row, Strip};
use crate::stats::{
    NearestMaps, Neighbour, Novelty, StatsError, nearest_features, nearest_vectors,
    typical_distance,
};

/// Maps of either set whose nearest training maps are looked for.
pub const QUERIES: usize = 64;
/// Training maps whose features are looked at: a pass through the discriminator takes as long as making
/// a map.
const MOST_FEATURES: usize = 4096;
/// Pixels of training maps that are in memory at a time.
const PIXELS_AT_ONCE: usize = 1 << 24;
/// Rows of the picture, and neighbours of each kind in a row.
const SHOWN: (usize, usize) = (3, 2);

/// Neighbours of generated and of real maps, by one kind of distance.
struct Both {
    kind: Kind,
    training_maps: usize,
    generated: Vec<Vec<Neighbour>>,
    real: Vec<Vec<Neighbour>>,
    /// What distances are divided by.
    unit: f64,
}

/// The nearest training maps, where there are any, and a picture of them.
///
/// # Errors
/// Training maps that cannot be read.
pub fn nearest(
    sketcher: &mut Sketcher<'_>,
    sets: &mut Sets<'_, '_>,
    progress: &Progress<'_>,
) -> Result<Option<(NearestResult, Strip)>, EvaluateError> {
    let Some(training) = &mut sets.training else {
        return Ok(None);
    };
    let (generated, real) = (sets.generated.0, sets.real.0);
    let (side, size) = (sketcher.side, sketcher.side * sketcher.side);
    let queries = [generated, real].map(|set| {
        let maps = set.maps.min(QUERIES).min(set.examples.len() / size);
        &set.examples[..maps * size]
    });
    let nearest = |maps: &[f32]| NearestMaps::new(maps, side, SHOWN.1);
    let mut by_pixels = [nearest(queries[0])?, nearest(queries[1])?];
    let mut spectra = Vec::new();
    let mut features = Vec::new();
    let maps = training.len();
    let at_once = (PIXELS_AT_ONCE / size).clamp(1, 2048);
    let mut pixels = vec![0.0; at_once.min(maps) * size];
    for first in (0..maps).step_by(at_once) {
        let count = at_once.min(maps - first);
        let pixels = &mut pixels[..count * size];
        training.fill(first..first + count, pixels)?;
        for search in &mut by_pixels {
            search.add(pixels)?;
        }
        spectra.extend(sketcher.spectra(pixels)?);
        if let Some(made) = &mut sketcher.features {
            let count = count.min(MOST_FEATURES.saturating_sub(first));
            let start = features.len();
            features.resize(start + count * made.len, 0.0_f32);
            if count > 0 {
                (made.of)(&pixels[..count * size], &mut features[start..])?;
            }
        }
        progress("training maps", first + count, maps)?;
    }
    let bins = sketcher.bins();
    let table = |values: Vec<f64>| {
        ndarray::Array2::from_shape_vec((values.len() / bins, bins), values).unwrap_or_default()
    };
    let spectra = table(spectra);
    let by_spectrum = queries.map(|set| {
        nearest_features(
            table(sketcher.spectra(set)?).view(),
            spectra.view(),
            SHOWN.1,
        )
    });
    let [generated_pixels, real_pixels] = by_pixels.map(NearestMaps::finish);
    let [generated_spectra, real_spectra] = by_spectrum;
    let mut kinds = vec![
        Both {
            kind: Kind::Pixels,
            training_maps: maps,
            generated: generated_pixels,
            real: real_pixels,
            // A map that is 1 sigma away in every pixel is 1 away.
            unit: sets.sigma * side as f64,
        },
        Both {
            kind: Kind::PowerSpectrum,
            training_maps: maps,
            generated: generated_spectra?,
            real: real_spectra?,
            unit: 1.0,
        },
    ];
    if let Some(made) = &sketcher.features {
        let of = |set: &super::super::measure::Measured| {
            let maps = set.sketches.maps.min(QUERIES);
            let queries = &set.sketches.features[..maps * made.len];
            nearest_vectors(queries, &features, made.len, SHOWN.1)
        };
        kinds.push(Both {
            kind: Kind::DiscriminatorFeatures,
            training_maps: features.len() / made.len,
            generated: of(generated)?,
            real: of(real)?,
            unit: typical_distance(&real.sketches.features, made.len),
        });
    }
    let result = NearestResult {
        training_source: training.origin.clone(),
        searched: kinds[0].generated.len(),
        held_out_searched: kinds[0].real.len(),
        kinds: kinds.iter().map(Both::result).collect::<Result<_, _>>()?,
    };
    let mut rows = Vec::new();
    for query in 0..SHOWN.0.min(kinds[0].generated.len()) {
        let map = generated.examples[query * size..(query + 1) * size].to_vec();
        let mut maps = vec![(map, format!("generated {}", query + 1))];
        for both in &kinds {
            for neighbour in both.generated.get(query).into_iter().flatten() {
                let mut map = vec![0.0; size];
                training.pick(&[neighbour.index], &mut map)?;
                back(neighbour.symmetry).apply(&mut map, side, 1);
                let short = match both.kind {
                    Kind::Pixels => "\u{3c3}, pixels",
                    Kind::PowerSpectrum => "in ln P",
                    Kind::DiscriminatorFeatures => "features",
                };
                maps.push((
                    map,
                    format!("{:.2} {short}", neighbour.distance / both.unit),
                ));
            }
        }
        let words: Vec<&str> = kinds.iter().map(|both| both.kind.words()).collect();
        rows.push(Row {
            label: format!(
                "generated map {}, its {} nearest training maps by {}",
                query + 1,
                SHOWN.1,
                super::super::phrases::list(&words)
            ),
            maps,
        });
    }
    let strip = Strip {
        title: "Nearest training maps".into(),
        quantity: "convergence \u{3ba}".into(),
        side,
        rows,
    };
    Ok(Some((result, strip)))
}

impl Both {
    fn result(&self) -> Result<NearestKind, StatsError> {
        let found = Novelty::new(&self.generated, &self.real)?;
        Ok(NearestKind {
            kind: self.kind,
            training_maps: self.training_maps,
            smallest: found.least / self.unit,
            median: found.median / self.unit,
            real_smallest: found.floor_least / self.unit,
            real_median: found.floor_median / self.unit,
            nearer_than_real: found.nearer_than_floor,
            expected_nearer: found.expected_nearer,
        })
    }
}

/// What undoes the symmetry of that number.
fn back(number: usize) -> Symmetry {
    let of = |number: usize| Symmetry::from_word((number as u32) << 29);
    let map = [0.0, 1.0, 2.0, 3.0];
    let undoes = |other: &usize| {
        let mut turned = map;
        of(number).apply(&mut turned, 2, 1);
        of(*other).apply(&mut turned, 2, 1);
        turned == map
    };
    (0..8).find(undoes).map_or(Symmetry::IDENTITY, of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_symmetry_is_undone() {
        for number in 0..8 {
            let map: Vec<f32> = (0..25).map(|v| v as f32).collect();
            let mut turned = map.clone();
            Symmetry::from_word((number as u32) << 29).apply(&mut turned, 5, 1);
            back(number).apply(&mut turned, 5, 1);
            assert_eq!(turned, map, "{number}");
        }
    }
}

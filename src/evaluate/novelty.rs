//! Whether a generator invents maps or remembers those that it was trained on, and whether it repeats
//! itself.

use ndarray::Array2;

use super::error::EvaluateError;
use super::evaluation::NoveltyResult;
use super::measure::{Estimators, Measured, Progress};
use super::sets::MapSource;
use crate::data::Symmetry;
use crate::report::strip::{Row, Strip};
use crate::stats::{
    Diversity, NearestMaps, Novelty, PowerSpectrum, Repeats, Spread, StatsError, closest_maps,
    log_features, nearest_features,
};

/// Maps of either set whose nearest training maps are looked for.
const QUERIES: usize = 64;
/// Multiplications that the search for pairs may take.
const MOST_WORK: f64 = 5e10;
/// Pairs that are counted at most.
pub const MOST_PAIRS: usize = 1000;
/// Rows of the picture, and neighbours of each kind in a row.
const SHOWN: (usize, usize) = (3, 3);

/// How many of a set's maps are looked at, of `side` pixels a side.
pub fn maps_needed(side: usize) -> usize {
    let pairs = (MOST_WORK / (8.0 * (side * side) as f64)).sqrt() as usize;
    pairs.clamp(QUERIES, 4000)
}

/// Looks for the training maps nearest to generated and to real maps that were not trained on.
///
/// # Errors
/// Training maps that cannot be read, or fewer than one.
pub fn novelty(
    estimators: &Estimators,
    training: &mut MapSource<'_>,
    real: &Measured,
    generated: &Measured,
    sigma: f64,
    progress: &Progress<'_>,
) -> Result<(NoveltyResult, Strip), EvaluateError> {
    let side = estimators.side;
    let size = side * side;
    let stats = EvaluateError::Compare;
    let queries = |set: &Measured| {
        let maps = (set.examples.len() / size).min(QUERIES);
        set.examples[..maps * size].to_vec()
    };
    let sets = [queries(generated), queries(real)];
    let nearest = |maps: &[f32]| NearestMaps::new(maps, side, SHOWN.1).map_err(stats);
    let mut by_pixels = [nearest(&sets[0])?, nearest(&sets[1])?];
    // Spectra of the maps as they are, whatever is done to the statistics.
    let edges = estimators
        .log
        .power_spectrum()
        .map(|p| p.l_edges().to_vec())
        .unwrap_or_default();
    let angle = estimators.log.plan().angle_deg;
    let spectrum = PowerSpectrum::new(side, angle, &edges).map_err(stats)?;
    let logs = |power: Vec<f64>| -> Result<Array2<f64>, StatsError> {
        let maps = power.len() / spectrum.bins();
        let table = Array2::from_shape_vec((maps, spectrum.bins()), power);
        log_features(table.unwrap_or_default().view())
    };
    let mut spectra = Vec::new();
    let maps = training.len();
    let at_once = ((1 << 24) / size).clamp(1, 2048);
    let mut pixels = vec![0.0; at_once.min(maps) * size];
    for first in (0..maps).step_by(at_once) {
        let count = at_once.min(maps - first);
        let pixels = &mut pixels[..count * size];
        training.fill(first..first + count, pixels)?;
        for search in &mut by_pixels {
            search.add(pixels).map_err(stats)?;
        }
        spectra.extend(spectrum.measure_many(pixels).map_err(stats)?);
        progress("training maps", first + count, maps)?;
    }
    let spectra = logs(spectra).map_err(stats)?;
    let by_spectrum = sets.each_ref().map(|set| {
        let queries = logs(spectrum.measure_many(set)?)?;
        nearest_features(queries.view(), spectra.view(), SHOWN.1)
    });
    let [generated_spectra, real_spectra] = by_spectrum;
    let (generated_spectra, real_spectra) = (
        generated_spectra.map_err(stats)?,
        real_spectra.map_err(stats)?,
    );
    let [generated_pixels, real_pixels] = by_pixels.map(NearestMaps::finish);
    let pixels_found = Novelty::new(&generated_pixels, &real_pixels).map_err(stats)?;
    let spectra_found = Novelty::new(&generated_spectra, &real_spectra).map_err(stats)?;
    let some = (generated.examples.len().min(real.examples.len()) / size).min(maps_needed(side));
    let pairs = |set: &Measured| closest_maps(&set.examples[..some * size], side, MOST_PAIRS);
    progress("duplicates", 0, 1)?;
    let repeats = Repeats::new(
        some,
        &pairs(generated).map_err(stats)?,
        &pairs(real).map_err(stats)?,
    );
    let repeats = repeats.map_err(stats)?;
    progress("duplicates", 1, 1)?;
    // A map of unit sigma everywhere away is 1 sigma a pixel away.
    let unit = sigma * side as f64;
    let pixel_diversity = {
        let spread = |set: &Measured| -> Result<Spread, StatsError> {
            let mut spread = Spread::new(size);
            spread.add(&set.examples)?;
            Ok(spread)
        };
        Diversity::new(
            &spread(real).map_err(stats)?,
            &spread(generated).map_err(stats)?,
        )
    };
    let spectral_diversity = {
        let spread = |set: &Measured| -> Result<Spread, StatsError> {
            Spread::of_features(logs(spectrum.measure_many(&set.examples)?)?.view())
        };
        Diversity::new(
            &spread(real).map_err(stats)?,
            &spread(generated).map_err(stats)?,
        )
    };
    let result = NoveltyResult {
        training_source: training.origin.clone(),
        training_maps: maps,
        searched: generated_pixels.len(),
        held_out_searched: real_pixels.len(),
        nearest_smallest: pixels_found.least / unit,
        nearest_median: pixels_found.median / unit,
        real_nearest_smallest: pixels_found.floor_least / unit,
        real_nearest_median: pixels_found.floor_median / unit,
        nearer_than_real: pixels_found.nearer_than_floor,
        expected_nearer: pixels_found.expected_nearer,
        spectrum_nearest_median: spectra_found.median,
        real_spectrum_nearest_median: spectra_found.floor_median,
        duplicates_searched: some,
        closest_pair: repeats.least / unit,
        real_closest_pair: repeats.floor_least / unit,
        duplicates: repeats.pairs,
        pixel_diversity: pixel_diversity.map_err(stats)?.mean,
        spectral_diversity: spectral_diversity.map_err(stats)?.mean,
    };
    let mut rows = Vec::new();
    for query in 0..SHOWN.0.min(generated_pixels.len()) {
        let mut maps = vec![(
            generated.examples[query * size..(query + 1) * size].to_vec(),
            "generated".to_owned(),
        )];
        let kinds = [
            (&generated_pixels[query], unit, "\u{3c3}, pixels"),
            (&generated_spectra[query], 1.0, "in ln P"),
        ];
        for (found, unit, words) in kinds {
            for neighbour in found.iter().take(SHOWN.1) {
                let mut map = vec![0.0; size];
                training.fill(neighbour.index..neighbour.index + 1, &mut map)?;
                back(neighbour.symmetry).apply(&mut map, side, 1);
                maps.push((map, format!("{:.2} {words}", neighbour.distance / unit)));
            }
        }
        rows.push(Row {
            label: format!(
                "generated map {}, its {} nearest training maps by pixels, and by power spectrum",
                query + 1,
                SHOWN.1
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
    Ok((result, strip))
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

//! The birthday paradox: among n maps, a generator of n^2 / 2 different ones has about one pair alike. The
//! closest pairs of generated maps beside those of real ones, in three kinds of distance.

use rayon::prelude::*;

use super::super::error::EvaluateError;
use super::super::measure::Progress;
use super::Sets;
use super::result::{Kind, PairFound, PairsResult};
use super::sketch::{Sketcher, Sketches};
use crate::data::Symmetry;
use crate::report::strip::{Row, Strip};
use crate::stats::{
    ClosestPairs, Pair, PairElement, Repeats, StatsError, closest_coarse, closest_vectors,
    expected_within, turned_distance, typical_distance,
};

/// Pairs that are listed, and whose maps are compared pixel by pixel.
pub const MOST_PAIRS: usize = 1000;
/// Pairs of each kind in the results.
const TOLD: usize = 10;
/// Pairs whose maps are in memory together.
const AT_ONCE: usize = 128;

/// Fills `[n, S, S]` with the maps of those numbers.
type Pick<'a> = dyn FnMut(&[usize], &mut [f32]) -> Result<(), EvaluateError> + 'a;

/// Pairs of generated and of real maps by one kind of distance, ascending.
struct Both {
    kind: Kind,
    generated: ClosestPairs,
    real: ClosestPairs,
    typical: [f64; 2],
    /// What distances are divided by.
    unit: f64,
    how: String,
}

/// The closest pairs by each kind of distance, and a picture of them.
///
/// # Errors
/// Maps that cannot be read or made again.
pub fn repeats(
    sketcher: &Sketcher<'_>,
    sets: &mut Sets<'_, '_>,
    progress: &Progress<'_>,
) -> Result<(Vec<PairsResult>, Strip), EvaluateError> {
    let generated = &sets.generated.0.sketches;
    let (first, second) = (sets.real.0, sets.second_real.0);
    let real = first.sketches.joined(&second.sketches, sketcher.most);
    // Numbers of real maps count on from the first set to what was kept of the second.
    let of_first = first.sketches.maps;
    let (first_source, second_source) = (&mut *sets.real.1, &mut *sets.second_real.1);
    let size = sketcher.side * sketcher.side;
    let mut pick_real = |indices: &[usize], out: &mut [f32]| {
        for (&index, map) in indices.iter().zip(out.chunks_exact_mut(size)) {
            match index.checked_sub(of_first) {
                None => first_source.pick(&[index], map)?,
                Some(index) => second_source.pick(&[index], map)?,
            }
        }
        Ok(())
    };
    let source = &mut *sets.generated.1;
    let mut pick = |indices: &[usize], out: &mut [f32]| source.pick(indices, out);
    let unit = sets.sigma * sketcher.side as f64;
    let mut kinds = vec![
        Both {
            kind: Kind::Pixels,
            generated: by_pixels(sketcher, generated, &mut pick, progress)?,
            real: by_pixels(sketcher, &real, &mut pick_real, progress)?,
            typical: [
                coarse_typical(sketcher, generated),
                coarse_typical(sketcher, &real),
            ],
            unit,
            how: pixels_in_words(sketcher),
        },
        Both {
            kind: Kind::PowerSpectrum,
            generated: by_vectors(&generated.spectra, sketcher.bins(), progress)?,
            real: by_vectors(&real.spectra, sketcher.bins(), progress)?,
            typical: [generated, &real].map(|s| typical_distance(&s.spectra, sketcher.bins())),
            unit: 1.0,
            how: format!(
                "L2 of ln P in {} log bins; all pairs were measured",
                sketcher.bins()
            ),
        },
    ];
    if let Some(features) = &sketcher.features {
        let typical = [generated, &real].map(|s| typical_distance(&s.features, features.len));
        kinds.push(Both {
            kind: Kind::DiscriminatorFeatures,
            generated: by_vectors(&generated.features, features.len, progress)?,
            real: by_vectors(&real.features, features.len, progress)?,
            typical,
            unit: typical[1],
            how: format!(
                "L2 of {}, over the root mean square of that distance between real maps; all pairs were measured",
                features.words
            ),
        });
    }
    let results = kinds
        .iter()
        .map(|both| both.result(generated.maps, real.maps))
        .collect::<Result<_, _>>()?;
    let mut rows = Vec::new();
    for both in &kinds {
        rows.push(both.row(sketcher.side, &mut pick, &mut pick_real)?);
    }
    let strip = Strip {
        title: "Pairs that are most alike".into(),
        quantity: "convergence \u{3ba}".into(),
        side: sketcher.side,
        rows,
    };
    Ok((results, strip))
}

/// Of the pixels themselves there is nothing left: block averages stand for them.
fn coarse_typical(sketcher: &Sketcher<'_>, sketches: &Sketches) -> f64 {
    typical_distance(&sketches.coarse, sketcher.coarse.len())
}

fn pixels_in_words(sketcher: &Sketcher<'_>) -> String {
    let (blocks, block) = (sketcher.coarse.blocks(), sketcher.coarse.block());
    let rms = "root mean square of the differences of pixels in the real maps' sigma, modulo the 8 rotations and flips";
    match block {
        1 => format!("{rms}; all pairs were measured"),
        _ => format!(
            "{rms}. Distances of averages over blocks of {block} x {block} pixels ({blocks} x {blocks} of them), which are \
             lower bounds, were measured of all pairs; the {MOST_PAIRS} pairs with the smallest were measured pixel by \
             pixel, and no other pair is closer than complete_below. The typical distance is that of the averages"
        ),
    }
}

fn by_vectors<T: PairElement>(
    vectors: &[T],
    len: usize,
    progress: &Progress<'_>,
) -> Result<ClosestPairs, EvaluateError> {
    let mut found = closest_vectors(vectors, len, MOST_PAIRS, &mut |done, all| {
        progress("pairs alike", done, all)
    })?;
    // Nothing that is not listed is closer than what is.
    found.complete_below = f64::INFINITY;
    Ok(found)
}

fn by_pixels(
    sketcher: &Sketcher<'_>,
    sketches: &Sketches,
    pick: &mut Pick<'_>,
    progress: &Progress<'_>,
) -> Result<ClosestPairs, EvaluateError> {
    let blocks = sketcher.coarse.blocks();
    let mut found = closest_coarse(&sketches.coarse, blocks, MOST_PAIRS, &mut |done, all| {
        progress("pairs alike", done, all)
    })?;
    if sketcher.coarse.block() == 1 {
        found.complete_below = f64::INFINITY;
        return Ok(found);
    }
    let (side, size) = (sketcher.side, sketcher.side * sketcher.side);
    // Neighbours in the list of maps share what is read or made.
    found
        .pairs
        .sort_by_key(|pair| (pair.first, pair.second.index));
    let all = found.pairs.len();
    let mut done = 0;
    for pairs in found.pairs.chunks_mut(AT_ONCE) {
        let mut needed: Vec<usize> = pairs
            .iter()
            .flat_map(|pair| [pair.first, pair.second.index])
            .collect();
        needed.sort_unstable();
        needed.dedup();
        let mut maps = vec![0.0; needed.len() * size];
        pick(&needed, &mut maps)?;
        let map = |index: usize| {
            let place = needed.partition_point(|&other| other < index);
            &maps[place * size..(place + 1) * size]
        };
        pairs.par_iter_mut().for_each(|pair| {
            let second = &mut pair.second;
            let (distance, symmetry) = turned_distance(map(pair.first), map(second.index), side);
            (second.distance, second.symmetry) = (distance, symmetry);
        });
        done += pairs.len();
        progress("pairs pixel by pixel", done, all)?;
    }
    found.pairs.sort_by(|a, b| {
        let by_distance = a.second.distance.total_cmp(&b.second.distance);
        by_distance.then((a.first, a.second.index).cmp(&(b.first, b.second.index)))
    });
    Ok(found)
}

impl Both {
    fn result(&self, maps: usize, real_maps: usize) -> Result<PairsResult, StatsError> {
        let told = |found: &ClosestPairs| -> Vec<PairFound> {
            let pairs = found.pairs.iter().take(TOLD);
            pairs
                .map(|pair| PairFound {
                    first: pair.first,
                    second: pair.second.index,
                    distance: pair.second.distance / self.unit,
                })
                .collect()
        };
        let complete = |found: &ClosestPairs| {
            let below = found.complete_below / self.unit;
            below.is_finite().then_some(below)
        };
        let (generated, real) = (&self.generated.pairs, &self.real.pairs);
        let repeats = Repeats::new((maps, generated), (real_maps, real))?;
        Ok(PairsResult {
            kind: self.kind,
            definition: self.how.clone(),
            maps,
            real_maps,
            closest: told(&self.generated),
            real_closest: told(&self.real),
            complete_below: complete(&self.generated),
            real_complete_below: complete(&self.real),
            typical: self.typical[0] / self.unit,
            real_typical: self.typical[1] / self.unit,
            closer_than_real: repeats.pairs,
            expected_closer: repeats.expected,
            expected_as_close: expected_within(
                repeats.least * self.typical[1] / self.typical[0],
                real,
                repeats.expected,
            ),
        })
    }

    /// The closest generated pair, and the closest real one.
    fn row(
        &self,
        side: usize,
        pick: &mut Pick<'_>,
        pick_real: &mut Pick<'_>,
    ) -> Result<Row, EvaluateError> {
        let mut maps = Vec::new();
        let mut add = |pair: &Pair, pick: &mut Pick<'_>, name: &str| -> Result<(), EvaluateError> {
            let size = side * side;
            let mut both = vec![0.0; 2 * size];
            pick(&[pair.first, pair.second.index], &mut both)?;
            let (first, second) = both.split_at_mut(size);
            let symmetry = Symmetry::from_word((pair.second.symmetry as u32) << 29);
            symmetry.apply(first, side, 1);
            let distance = pair.second.distance / self.unit;
            maps.push((first.to_vec(), format!("{name} {}", pair.first + 1)));
            maps.push((
                second.to_vec(),
                format!("{}: {distance:.3}", pair.second.index + 1),
            ));
            Ok(())
        };
        if let Some(pair) = self.generated.pairs.first() {
            add(pair, pick, "generated")?;
        }
        if let Some(pair) = self.real.pairs.first() {
            add(pair, pick_real, "real")?;
        }
        Ok(Row {
            label: format!(
                "by {} ({}): the closest generated pair, and the closest real one",
                self.kind.words(),
                self.kind.unit()
            ),
            maps,
        })
    }
}

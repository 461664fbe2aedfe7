//! How far apart the distributions of all pixels are: an exact D, and its p-value by permuting parents.

use rayon::prelude::*;

use super::compare::Pair;
use super::error::EvaluateError;
use super::evaluation::PixelResult;
use super::measure::{Estimators, Measured, Progress};
use super::sets::MapSource;
use crate::stats::{Statistic, StreamedKs};

/// A set whose pixels can be looked at again: its numbers, its maps, and the number of its first noise.
pub struct Again<'a, 'm>(pub &'a Measured, pub &'a mut MapSource<'m>, pub usize);

/// D of generated and of real maps, and of two sets of real maps. Where the counts of the first pass do
/// not settle D, all maps are read, or made, once more.
///
/// # Errors
/// Maps that cannot be read or made, or that are others than before.
pub fn pixel_result(
    estimators: &Estimators,
    (generated, floor): (&Pair<'_>, &Pair<'_>),
    sets: [Again<'_, '_>; 3],
    progress: &Progress<'_>,
) -> Result<PixelResult, EvaluateError> {
    let [real, second_real, made] = sets;
    let mut against = StreamedKs::new(&real.0.pixels, &made.0.pixels)?;
    let mut beside = StreamedKs::new(&real.0.pixels, &second_real.0.pixels)?;
    let (look, look_beside) = (against.candidates() > 0, beside.candidates() > 0);
    if look || look_beside {
        let Again(measured, source, noise) = real;
        estimators.again(source, (measured.maps, noise), progress, |pixels| {
            against.add_first(pixels);
            beside.add_first(pixels);
        })?;
    }
    if look {
        let Again(measured, source, noise) = made;
        let maps = (measured.maps, noise);
        estimators.again(source, maps, progress, |pixels| against.add_second(pixels))?;
    }
    if look_beside {
        let Again(measured, source, noise) = second_real;
        let maps = (measured.maps, noise);
        estimators.again(source, maps, progress, |pixels| beside.add_second(pixels))?;
    }
    let edges = Estimators::edges(&estimators.fine, Statistic::Pdf);
    let widths: Vec<f64> = edges.windows(2).map(|pair| pair[1] - pair[0]).collect();
    Ok(PixelResult {
        test: "Kolmogorov-Smirnov D of all pixels as float32, exact; p from D on a grid of 0.02 sigma, from -6 to 20, \
               under permutations of whole parents"
            .into(),
        d: against.finish()?,
        p: p_value(generated, &widths),
        floor_d: beside.finish()?,
        floor_p: p_value(floor, &widths),
    })
}

/// The p-value of D from densities of single maps.
fn p_value(pair: &Pair<'_>, widths: &[f64]) -> f64 {
    let bins = widths.len();
    let design = pair.design();
    let parents = design.parents();
    let parents = parents.0 + parents.1;
    // Distribution functions, summed over the maps of each parent.
    let mut of_parent = vec![0.0; parents * bins];
    let mut maps = vec![0.0; parents];
    let rows = pair
        .first
        .fine
        .chunks_exact(bins)
        .chain(pair.second.fine.chunks_exact(bins));
    for (row, &parent) in rows.zip(design.of_map()) {
        let parent = parent as usize;
        maps[parent] += 1.0;
        let mut below = 0.0;
        let sums = &mut of_parent[parent * bins..(parent + 1) * bins];
        for ((sum, density), width) in sums.iter_mut().zip(row).zip(widths) {
            below += density * width;
            *sum += below;
        }
    }
    let distance = |labels: &[bool]| {
        let mut sums = [vec![0.0; bins], vec![0.0; bins]];
        let mut counts = [0.0; 2];
        for ((row, label), count) in of_parent.chunks_exact(bins).zip(labels).zip(&maps) {
            let side = usize::from(!label);
            counts[side] += count;
            sums[side]
                .iter_mut()
                .zip(row)
                .for_each(|(sum, value)| *sum += value);
        }
        let [first, second] = &sums;
        let each = first.iter().zip(second);
        each.map(|(a, b)| (a / counts[0] - b / counts[1]).abs())
            .fold(0.0, f64::max)
    };
    let observed = distance(&design.observed());
    // Thousands of parents times thousands of bins: fewer relabellings do.
    let repeats = pair.permutations().min(999);
    let larger = (0..repeats)
        .into_par_iter()
        .filter(|&repeat| {
            distance(&design.relabelled(pair.seed(), repeat)) >= observed * (1.0 - 1e-9)
        })
        .count();
    (1 + larger) as f64 / (1 + repeats) as f64
}

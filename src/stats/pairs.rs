//! The closest pairs of one set of thousands of maps, for the birthday paradox.
//!
//! Among n maps there are n^2 / 2 pairs: 5 x 10^8 of 32,768, far too many to compare pixel by pixel. Averages over
//! blocks of b x b pixels do it: a map's block averages, times b, are its projection onto b^2 times fewer
//! directions, so that their distance times b is never above the distance of the maps themselves, whichever of
//! the 8 rotations and flips is applied to both. [`closest_coarse`] therefore lists the pairs that are
//! closest in block averages, and whatever is not on its list is known to be no closer than the list's end.
//! [`closest_vectors`] does the same for spectra and other features, which are compared as they are.
//!
//! Results do not depend on the number of threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ndarray::{Array2, ArrayView2, ArrayViewMut1, Axis, s};
use rayon::prelude::*;

use super::StatsError;
use super::neighbours::{Element, Neighbour, Pair, SYMMETRIES, squared_distance, squared_norm};
use crate::data::Symmetry;

/// Vectors of the one and of the other side of a matrix product.
const FIRST_BLOCK: usize = 64;
const SECOND_BLOCK: usize = 256;
/// Matrix products between two reports of progress.
const AT_ONCE: usize = 256;

/// Block averages of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coarse {
    side: usize,
    /// Blocks along the side.
    blocks: usize,
}

impl Coarse {
    /// Maps of `side` pixels in the most blocks along the side that divide it and are not more than `most`.
    pub fn new(side: usize, most: usize) -> Self {
        let divides = |blocks: &usize| side.is_multiple_of(*blocks);
        let blocks = (1..=most.min(side)).rev().find(divides).unwrap_or(1);
        Self { side, blocks }
    }

    /// Averages of one map.
    pub fn len(&self) -> usize {
        self.blocks * self.blocks
    }

    /// Whether maps have no pixels.
    pub fn is_empty(&self) -> bool {
        self.side == 0
    }

    /// Blocks along the side of a map.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Pixels along the side of a block.
    pub fn block(&self) -> usize {
        self.side / self.blocks
    }

    /// The averages `[n, blocks, blocks]` of maps `[n, side, side]`, each times the side of a block: distances
    /// between them are lower bounds of those between maps. Parts of a map are left out.
    pub fn of(&self, maps: &[f32]) -> Vec<f32> {
        let (side, block) = (self.side, self.block());
        let scale = 1.0 / block as f64;
        maps.par_chunks_exact((side * side).max(1))
            .flat_map_iter(|map| {
                let mut sums = vec![0.0_f64; self.len()];
                for (y, row) in map.chunks_exact(side).enumerate() {
                    let sums = &mut sums[y / block * self.blocks..][..self.blocks];
                    for (sum, pixels) in sums.iter_mut().zip(row.chunks_exact(block)) {
                        *sum += pixels.iter().map(|&v| f64::from(v)).sum::<f64>();
                    }
                }
                sums.into_iter().map(move |sum| (sum * scale) as f32)
            })
            .collect()
    }
}

/// The closest pairs of a set, ascending.
#[derive(Clone, Debug, PartialEq)]
pub struct ClosestPairs {
    pub pairs: Vec<Pair>,
    /// Pairs that are not listed are at least this far apart; infinite where all are listed.
    pub complete_below: f64,
}

/// Tells how many of how many blocks of pairs are done; an error ends the search.
pub type PairProgress<'a, E> = dyn FnMut(usize, usize) -> Result<(), E> + 'a;

/// The `keep` pairs of `maps` `[n, blocks, blocks]` ([`Coarse::of`]) that are closest modulo the 8 rotations and
/// flips. 4 n^2 blocks^2 multiplications; memory for a few hundred maps in 8 orientations, besides `maps`.
///
/// # Errors
/// Fewer than 2 maps, or a part of one; a value that is not finite; what `progress` says.
pub fn closest_coarse<E: From<StatsError>>(
    maps: &[f32],
    blocks: usize,
    keep: usize,
    progress: &mut PairProgress<'_, E>,
) -> Result<ClosestPairs, E> {
    let len = blocks * blocks;
    let rows = whole(maps, len)?;
    let turn = |mut row: ArrayViewMut1<'_, f32>, variant: usize| {
        if let Some(pixels) = row.as_slice_mut() {
            Symmetry::from_word((variant as u32) << 29).apply(pixels, blocks, 1);
        }
    };
    closest(rows, SYMMETRIES, &turn, keep, progress)
}

/// The `keep` pairs of `vectors` `[n, len]` that are closest in L2; n^2 len / 2 multiplications.
///
/// # Errors
/// As [`closest_coarse`].
pub fn closest_vectors<T: Element, E: From<StatsError>>(
    vectors: &[T],
    len: usize,
    keep: usize,
    progress: &mut PairProgress<'_, E>,
) -> Result<ClosestPairs, E> {
    closest(whole(vectors, len)?, 1, &|_, _| {}, keep, progress)
}

/// The `keep` closest pairs of `maps` `[n, side, side]`, by pixels and modulo the 8 rotations and
/// flips. The work is 4 n^2 `side`^2 multiplications: for more than some thousand maps, list pairs by
/// block averages first ([`closest_coarse`]).
///
/// # Errors
/// Fewer than 2 maps or a part of one, a pixel that is not finite.
pub fn closest_maps(maps: &[f32], side: usize, keep: usize) -> Result<Vec<Pair>, StatsError> {
    super::neighbours::checked(maps, side, 0)?;
    Ok(closest_coarse(maps, side, keep, &mut |_, _| Ok::<_, StatsError>(()))?.pairs)
}

/// The `keep` closest pairs of `features` `[n, bins]` in L2: of ln P, say. Empty bins (NaN in every
/// map) are left out.
///
/// # Errors
/// Fewer than 2 maps; a bin that is not finite in some maps only.
pub fn closest_features(
    features: ArrayView2<'_, f64>,
    keep: usize,
) -> Result<Vec<Pair>, StatsError> {
    let bins = super::covariance::filled_bins(features, 2)?;
    let filled: Vec<f64> = features.select(Axis(1), &bins).iter().copied().collect();
    let quiet = &mut |_, _| Ok::<_, StatsError>(());
    Ok(closest_vectors(&filled, bins.len(), keep, quiet)?.pairs)
}

fn whole<T: Element>(values: &[T], len: usize) -> Result<ArrayView2<'_, T>, StatsError> {
    let count = values.len().checked_div(len).unwrap_or(0);
    let shape = StatsError::Length {
        what: "values of the last map",
        got: values.len().checked_rem(len).unwrap_or(0),
        expected: len,
    };
    if values.len() != count * len {
        return Err(shape);
    }
    if count < 2 {
        return Err(StatsError::TooFew {
            what: "maps",
            got: count,
            needed: 2,
        });
    }
    if let Some(index) = values.iter().position(|&v| !v.into().is_finite()) {
        return Err(StatsError::Feature {
            map: index / len,
            bin: index % len,
            value: values[index].into(),
        });
    }
    ArrayView2::from_shape((count, len), values).map_err(|_| shape)
}

/// Pairs that are the closest so far, by squared distance.
struct Shortest {
    keep: usize,
    list: Vec<(f64, usize, usize, usize)>,
    /// What a pair must not be above to come onto the list.
    limit: f64,
}

impl Shortest {
    fn new(keep: usize) -> Self {
        Self {
            keep,
            list: Vec::new(),
            limit: f64::INFINITY,
        }
    }

    fn add(&mut self, found: (f64, usize, usize, usize)) {
        self.list.push(found);
        if self.list.len() >= 2 * self.keep.max(64) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let order = |a: &(f64, usize, usize, usize), b: &(f64, usize, usize, usize)| {
            a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2)))
        };
        self.list.sort_unstable_by(order);
        self.list.truncate(self.keep);
        if let Some(last) = self.list.get(self.keep - 1) {
            self.limit = last.0;
        }
    }
}

/// The turned and untouched rows are compared in blocks; `limit`, the squared distance of the last pair on the
/// list, only falls, and what is strictly above it cannot come onto the list, in whichever order blocks
/// are done.
fn closest<T: Element, E: From<StatsError>>(
    rows: ArrayView2<'_, T>,
    variants: usize,
    turn: &(impl Fn(ArrayViewMut1<'_, T>, usize) + Sync),
    keep: usize,
    progress: &mut PairProgress<'_, E>,
) -> Result<ClosestPairs, E> {
    if keep == 0 {
        return Err(StatsError::NoRepeats("pairs").into());
    }
    let count = rows.nrows();
    let norms: Vec<f64> = rows
        .axis_iter(Axis(0))
        .map(|row| row.iter().map(|&v| v.into() * v.into()).sum())
        .collect();
    let tasks: Vec<(usize, usize)> = (0..count)
        .step_by(FIRST_BLOCK)
        .flat_map(|first| {
            let start = first / SECOND_BLOCK * SECOND_BLOCK;
            (start..count)
                .step_by(SECOND_BLOCK)
                .map(move |second| (first, second))
        })
        .collect();
    let best = Mutex::new(Shortest::new(keep));
    let limit = AtomicU64::new(f64::INFINITY.to_bits());
    let mut done = 0;
    for group in tasks.chunks(AT_ONCE) {
        group.par_iter().for_each(|&(first, second)| {
            let found = block(rows, &norms, (first, second), variants, turn, keep, &limit);
            if found.is_empty() {
                return;
            }
            let mut best = match best.lock() {
                Ok(best) => best,
                // A thread that fails ends the program's work anyway.
                Err(poisoned) => poisoned.into_inner(),
            };
            best.list.extend(found);
            best.cut();
            limit.store(best.limit.to_bits(), Ordering::Relaxed);
        });
        done += group.len();
        progress(done, tasks.len())?;
    }
    let best = match best.into_inner() {
        Ok(best) => best,
        Err(poisoned) => poisoned.into_inner(),
    };
    let all = count * (count - 1) / 2;
    let complete_below = match best.list.last() {
        Some(last) if best.list.len() < all => last.0.sqrt(),
        _ => f64::INFINITY,
    };
    let pair = |&(squared, first, index, symmetry): &(f64, usize, usize, usize)| Pair {
        first,
        second: Neighbour {
            index,
            distance: squared.sqrt(),
            symmetry,
        },
    };
    Ok(ClosestPairs {
        pairs: best.list.iter().map(pair).collect(),
        complete_below,
    })
}

/// Pairs of one block that may come onto the list.
fn block<T: Element>(
    rows: ArrayView2<'_, T>,
    norms: &[f64],
    (first, second): (usize, usize),
    variants: usize,
    turn: &(impl Fn(ArrayViewMut1<'_, T>, usize) + Sync),
    keep: usize,
    limit: &AtomicU64,
) -> Vec<(f64, usize, usize, usize)> {
    let (count, len) = rows.dim();
    let queries = first..(first + FIRST_BLOCK).min(count);
    let others = second..(second + SECOND_BLOCK).min(count);
    let mut turned = Array2::from_shape_fn((queries.len() * variants, len), |(row, column)| {
        rows[[queries.start + row / variants, column]]
    });
    if variants > 1 {
        for (index, row) in turned.axis_iter_mut(Axis(0)).enumerate() {
            turn(row, index % variants);
        }
    }
    let products = turned.dot(&rows.slice(s![others.clone(), ..]).t());
    let mut shortest = Shortest::new(keep);
    for query in queries.clone() {
        let own = (query - queries.start) * variants;
        for other in others.clone().filter(|other| *other > query) {
            let column = other - others.start;
            let product = |variant: usize| -> f64 { products[[own + variant, column]].into() };
            let largest = (0..variants).map(product).fold(f64::NEG_INFINITY, f64::max);
            let sum = norms[query] + norms[other];
            // Twice |a| |b| is at most |a|^2 + |b|^2.
            let slack = T::SLACK * sum;
            let most = f64::from_bits(limit.load(Ordering::Relaxed)).min(shortest.limit);
            if sum - 2.0 * largest - slack > most {
                continue;
            }
            let exact = (0..variants)
                .filter(|&variant| product(variant) >= largest - slack)
                .map(|variant| {
                    let squared = squared_distance(turned.row(own + variant), rows.row(other));
                    (squared, variant)
                })
                .min_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((squared, variant)) = exact {
                shortest.add((squared, query, other, variant));
            }
        }
    }
    shortest.cut();
    shortest.list
}

/// The distance of two maps `[side, side]` modulo the 8 rotations and flips, and the one that turns the first
/// towards the second.
pub fn turned_distance(first: &[f32], second: &[f32], side: usize) -> (f64, usize) {
    let distance = |variant: usize| {
        let mut turned = first.to_vec();
        Symmetry::from_word((variant as u32) << 29).apply(&mut turned, side, 1);
        let squares = turned.iter().zip(second).map(|(&a, &b)| {
            let difference = f64::from(a) - f64::from(b);
            difference * difference
        });
        (squares.sum::<f64>(), variant)
    };
    let all = (0..SYMMETRIES).map(distance);
    let nearest = all.min_by(|a, b| a.0.total_cmp(&b.0));
    nearest.map_or((0.0, 0), |(squared, variant)| (squared.sqrt(), variant))
}

/// The root mean square distance of all pairs of `vectors` `[n, len]`, as they are.
pub fn typical_distance<T: Element>(vectors: &[T], len: usize) -> f64 {
    let maps = (vectors.len() / len.max(1)) as f64;
    let mut sums = vec![0.0; len];
    let mut squares = 0.0;
    for vector in vectors.chunks_exact(len.max(1)) {
        squares += squared_norm(vector);
        for (sum, &value) in sums.iter_mut().zip(vector) {
            *sum += value.into();
        }
    }
    let mean: f64 = sums.iter().map(|sum| sum * sum).sum::<f64>() / maps;
    (2.0 * (squares - mean).max(0.0) / (maps - 1.0)).sqrt()
}

#[cfg(test)]
#[path = "pairs_tests.rs"]
mod tests;

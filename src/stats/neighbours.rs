//! Nearest neighbours: has the generator learnt maps by heart, and does it repeat itself?
//!
//! [`NearestMaps`] finds the training maps nearest to generated ones by pixels, modulo the 8
//! rotations and flips; [`nearest_features`] and [`nearest_vectors`] by spectra or any other features.
//! [`super::closest_coarse`] and its kin find the closest pairs within one set. All distances
//! are exact: |a|^2 + |b|^2 - 2 a b from a matrix product finds candidates, with room for its
//! rounding, and those are measured again by subtraction in f64. Results do not depend on the
//! number of threads, nor on how a set is cut into pieces.

use super::StatsError;
use crate::data::Symmetry;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, LinalgScalar, s};
use rayon::prelude::*;
use serde::Serialize;

/// Symmetries of a square.
pub(super) const SYMMETRIES: usize = 8;
/// Queries, and vectors of the set, that share a matrix product.
const QUERY_BLOCK: usize = 16;
const SET_BLOCK: usize = 256;

/// A map of a set that is close to the one asked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Neighbour {
    /// Its index in the set.
    pub index: usize,
    /// sqrt(sum of squared differences) over pixels or features.
    pub distance: f64,
    /// The [`Symmetry::index`] that turns the query towards it; 0 for features.
    pub symmetry: usize,
}

/// Two members of one set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// Index of the first.
    pub first: usize,
    /// The second, and how far it is.
    pub second: Neighbour,
}

/// A number whose products are summed by a matrix product, and its rounding there.
pub trait Element: LinalgScalar + Into<f64> + Send + Sync {
    /// Bound on the error of a product a b, in units of |a| |b|.
    const SLACK: f64;
}

impl Element for f32 {
    /// Sums run over blocks of a few hundred terms, then over blocks: 65,536 pixels lose less than
    /// 512 roundings of 6e-8.
    const SLACK: f64 = 1e-4;
}

impl Element for f64 {
    const SLACK: f64 = 1e-11;
}

/// Vectors to find neighbours of, each in `variants` versions of equal norm.
struct Queries<T> {
    variants: usize,
    /// `[queries * variants, elements]`.
    rows: Array2<T>,
    norms: Vec<f64>,
}

pub(super) fn squared_norm<T: Element>(vector: &[T]) -> f64 {
    vector.iter().map(|&v| v.into() * v.into()).sum()
}

pub(super) fn squared_distance<T: Element>(a: ArrayView1<'_, T>, b: ArrayView1<'_, T>) -> f64 {
    let difference = |(&a, &b): (&T, &T)| (a.into() - b.into()) * (a.into() - b.into());
    a.iter().zip(b).map(difference).sum()
}

impl<T: Element> Queries<T> {
    fn len(&self) -> usize {
        self.norms.len()
    }

    /// The `keep` nearest of `set` `[n, elements]` to each query, in ascending order; vector i has
    /// index `offset + i`.
    fn nearest(&self, set: ArrayView2<'_, T>, offset: usize, keep: usize) -> Vec<Vec<Neighbour>> {
        let norms: Vec<f64> = set
            .rows()
            .into_iter()
            .map(|row| row.iter().map(|&v| v.into() * v.into()).sum())
            .collect();
        let query_blocks = self.len().div_ceil(QUERY_BLOCK);
        let set_blocks = set.nrows().div_ceil(SET_BLOCK);
        let found: Vec<(usize, Vec<Vec<Neighbour>>)> = (0..query_blocks * set_blocks)
            .into_par_iter()
            .map(|task| {
                let first_query = task % query_blocks * QUERY_BLOCK;
                let queries = first_query..(first_query + QUERY_BLOCK).min(self.len());
                let first = task / query_blocks * SET_BLOCK;
                let block = first..(first + SET_BLOCK).min(set.nrows());
                let rows = queries.start * self.variants..queries.end * self.variants;
                let vectors = set.slice(s![block.clone(), ..]);
                let products = self.rows.slice(s![rows, ..]).dot(&vectors.t());
                let lists = queries.clone().map(|query| {
                    let start = (query - queries.start) * self.variants;
                    let products = products.slice(s![start..start + self.variants, ..]);
                    let norms = &norms[block.clone()];
                    let index = |i: usize| offset + first + i;
                    self.refine(query, products, vectors, norms, keep, index)
                });
                (first_query, lists.collect())
            })
            .collect();
        let mut best = vec![Vec::new(); self.len()];
        for (first_query, lists) in found {
            for (query, list) in lists.into_iter().enumerate() {
                merge(&mut best[first_query + query], list, keep);
            }
        }
        best
    }

    /// Measures the candidates of one block exactly, in the order in which they seem near, until
    /// the rest cannot be nearer.
    fn refine(
        &self,
        query: usize,
        products: ArrayView2<'_, T>,
        vectors: ArrayView2<'_, T>,
        norms: &[f64],
        keep: usize,
        index: impl Fn(usize) -> usize,
    ) -> Vec<Neighbour> {
        let norm = self.norms[query];
        let largest = |i: usize| {
            let of_variants = products.column(i);
            of_variants
                .iter()
                .fold(f64::NEG_INFINITY, |most, &p| most.max(p.into()))
        };
        // Twice |a| |b| is at most |a|^2 + |b|^2.
        let slack = |i: usize| T::SLACK * (norm + norms[i]);
        let least = |i: usize| norm + norms[i] - 2.0 * largest(i) - slack(i);
        let mut order: Vec<(f64, usize)> = (0..norms.len()).map(|i| (least(i), i)).collect();
        order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut best: Vec<Neighbour> = Vec::new();
        for (least, i) in order {
            if best.len() == keep && best.last().is_none_or(|b| least > b.distance.powi(2)) {
                break;
            }
            let vector = vectors.row(i);
            let near = largest(i) - slack(i);
            let measured = (0..self.variants)
                .filter(|&variant| products[[variant, i]].into() >= near)
                .map(|variant| {
                    let row = self.rows.row(query * self.variants + variant);
                    (squared_distance(row, vector), variant)
                });
            let nearest = measured.min_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((squared, symmetry)) = nearest {
                let found = Neighbour {
                    index: index(i),
                    distance: squared.sqrt(),
                    symmetry,
                };
                merge(&mut best, vec![found], keep);
            }
        }
        best
    }
}

/// Adds neighbours to a list, which stays sorted by distance, then index, and not longer than `keep`.
fn merge(best: &mut Vec<Neighbour>, more: Vec<Neighbour>, keep: usize) {
    best.extend(more);
    best.sort_by(|a, b| {
        let by_distance = a.distance.total_cmp(&b.distance);
        by_distance.then(a.index.cmp(&b.index))
    });
    best.truncate(keep);
}

/// The nearest of a set of maps, which arrives in pieces, to each of a few maps, by pixels and
/// modulo the 8 rotations and flips.
pub struct NearestMaps {
    side: usize,
    keep: usize,
    queries: Queries<f32>,
    best: Vec<Vec<Neighbour>>,
    seen: usize,
}

impl NearestMaps {
    /// Looks for the `keep` nearest of each of `maps` `[k, side, side]`; 32 k `side`^2 bytes.
    ///
    /// # Errors
    /// No maps or a part of one, a pixel that is not finite, nothing to keep.
    pub fn new(maps: &[f32], side: usize, keep: usize) -> Result<Self, StatsError> {
        if keep == 0 {
            return Err(StatsError::NoRepeats("neighbours"));
        }
        let queries = turned(maps, side)?;
        Ok(Self {
            side,
            keep,
            best: vec![Vec::new(); queries.len()],
            queries,
            seen: 0,
        })
    }

    /// Looks through the next maps of the set, `[n, side, side]`. Thousands at a time are best.
    ///
    /// # Errors
    /// No maps or a part of one, a pixel that is not finite.
    pub fn add(&mut self, maps: &[f32]) -> Result<(), StatsError> {
        let set = checked(maps, self.side, self.seen)?;
        let found = self.queries.nearest(set, self.seen, self.keep);
        for (best, found) in self.best.iter_mut().zip(found) {
            merge(best, found, self.keep);
        }
        self.seen += set.nrows();
        Ok(())
    }

    /// The neighbours of each map, nearest first; fewer where the set was smaller.
    pub fn finish(self) -> Vec<Vec<Neighbour>> {
        self.best
    }
}

/// The `keep` nearest of `set` `[n, bins]` to each of `queries` `[k, bins]`, in L2: of ln P
/// ([`log_features`]), where every factor counts alike, or of P, where the largest scales decide.
/// Bins that are NaN throughout both are left out.
///
/// # Errors
/// Other numbers of bins; no maps; a bin that is not finite in some maps only.
pub fn nearest_features(
    queries: ArrayView2<'_, f64>,
    set: ArrayView2<'_, f64>,
    keep: usize,
) -> Result<Vec<Vec<Neighbour>>, StatsError> {
    let bins = super::covariance::filled_bins(queries, 1)?;
    let set_bins = super::covariance::filled_bins(set, 1)?;
    if queries.ncols() != set.ncols() || bins != set_bins {
        return Err(StatsError::Length {
            what: "bins of the set that hold values",
            got: set_bins.len(),
            expected: bins.len(),
        });
    }
    let queries = plain(queries.select(Axis(1), &bins));
    let set = plain(set.select(Axis(1), &bins));
    Ok(queries.nearest(set.rows.view(), 0, keep))
}

/// The `keep` nearest of `set` `[n, len]` to each of `queries` `[k, len]`, in L2, of features that have a
/// value everywhere.
///
/// # Errors
/// No vectors, or a part of one; a value that is not finite.
pub fn nearest_vectors(
    queries: &[f32],
    set: &[f32],
    len: usize,
    keep: usize,
) -> Result<Vec<Vec<Neighbour>>, StatsError> {
    let rows = |values: &[f32]| -> Result<Array2<f32>, StatsError> {
        if len == 0 || values.is_empty() {
            return Err(StatsError::Empty);
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(StatsError::Feature {
                map: index / len,
                bin: index % len,
                value: f64::from(values[index]),
            });
        }
        let (got, maps) = (values.len(), values.len() / len);
        Array2::from_shape_vec((maps, len), values.to_vec()).map_err(|_| StatsError::Length {
            what: "values of the last map",
            got: got % len,
            expected: len,
        })
    };
    let (queries, set) = (plain(rows(queries)?), rows(set)?);
    Ok(queries.nearest(set.view(), 0, keep))
}

/// Natural logarithms of positive features (powers), NaN staying NaN.
///
/// # Errors
/// A feature that is zero, negative or infinite.
pub fn log_features(features: ArrayView2<'_, f64>) -> Result<Array2<f64>, StatsError> {
    for ((map, bin), &value) in features.indexed_iter() {
        if value <= 0.0 || value.is_infinite() {
            return Err(StatsError::Feature { map, bin, value });
        }
    }
    Ok(features.mapv(f64::ln))
}

fn plain<T: Element>(features: Array2<T>) -> Queries<T> {
    let rows = features.as_standard_layout().into_owned();
    let norm = |row: ArrayView1<'_, T>| row.iter().map(|&v| v.into() * v.into()).sum();
    Queries {
        variants: 1,
        norms: rows.rows().into_iter().map(norm).collect(),
        rows,
    }
}

pub(super) fn checked(
    maps: &[f32],
    side: usize,
    before: usize,
) -> Result<ArrayView2<'_, f32>, StatsError> {
    let pixels = side * side;
    let shape = StatsError::Shape {
        got: maps.len(),
        pixels: side,
    };
    if pixels == 0 || maps.is_empty() || !maps.len().is_multiple_of(pixels) {
        return Err(shape);
    }
    if let Some(at) = maps.iter().position(|value| !value.is_finite()) {
        return Err(StatsError::NotFinite {
            map: before + at / pixels,
            pixel: at % pixels,
            value: f64::from(maps[at]),
        });
    }
    ArrayView2::from_shape((maps.len() / pixels, pixels), maps).map_err(|_| shape)
}

/// Every map in its 8 orientations.
fn turned(maps: &[f32], side: usize) -> Result<Queries<f32>, StatsError> {
    let set = checked(maps, side, 0)?;
    let mut rows = Array2::zeros((SYMMETRIES * set.nrows(), side * side));
    for (mut row, index) in rows.rows_mut().into_iter().zip(0..) {
        row.assign(&set.row(index / SYMMETRIES));
        if let Some(pixels) = row.as_slice_mut() {
            let word = (index % SYMMETRIES) as u32;
            Symmetry::from_word(word << 29).apply(pixels, side, 1);
        }
    }
    let norms = maps.chunks_exact(side * side).map(squared_norm).collect();
    Ok(Queries {
        variants: SYMMETRIES,
        rows,
        norms,
    })
}

#[cfg(test)]
#[path = "neighbours_tests.rs"]
mod tests;

//! Pixel intensities of two sets of maps: D, and its p-value by permuting parents.
//!
//! Pixels of a map are correlated, and pixels of one parent's crops too: a test that takes them
//! for independent rejects everything. Here D alone describes the pixels, and its significance
//! comes from dealing whole parents anew. D itself is exact ([`super::SortedSample`]); the permuted
//! D, and the one they are compared with, are taken on a grid of pixel values, which makes the
//! p-value no less valid and at most slightly less sharp.

use super::{Design, Parents, Resampling, SortedSample, StatsError};
use ndarray::{Array2, s};
use rayon::prelude::*;
use serde::Serialize;
use std::ops::Range;

/// Bins of the common grid: as many quantiles of either set, so that no bin holds more than about
/// 2 / PIXEL_BINS of either set (equal pixels apart).
pub const PIXEL_BINS: usize = 2048;

/// Relabellings that share a matrix product.
const REPEATS: usize = 32;
/// Bins that share a matrix product.
const COLUMNS: usize = 256;

/// The pixels of two sets of maps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PixelTest {
    /// Two-sample Kolmogorov-Smirnov statistic of all pixels, exact.
    pub d: f64,
    /// The same, looked for at the grid's edges only: `d - resolution <= d_on_grid <= d`.
    pub d_on_grid: f64,
    /// The largest share of either set in one bin.
    pub resolution: f64,
    /// (1 + relabellings whose D on the grid is at least `d_on_grid`) / (1 + relabellings).
    pub p_value: f64,
    /// Relabellings of whole parents.
    pub permutations: usize,
}

/// The pixels of each parent, counted on a common grid.
#[derive(Clone, Debug)]
pub struct PixelHistograms {
    /// Upper edges of all bins but the last, which has none. A pixel equal to one is below it.
    edges: Vec<f32>,
    of_map: Vec<u32>,
    /// `[parents, bins]`.
    counts: Array2<u64>,
}

/// The common grid of two sets: [`PIXEL_BINS`] / 2 quantiles of each, equal ones joined.
pub fn pixel_edges(first: &SortedSample<f32>, second: &SortedSample<f32>) -> Vec<f32> {
    let half = PIXEL_BINS / 2;
    let quantiles = |sample: &SortedSample<f32>| -> Vec<f32> {
        let fraction = |i: usize| i as f64 / half as f64;
        (1..half).map(|i| sample.quantile(fraction(i))).collect()
    };
    let mut edges = [quantiles(first), quantiles(second)].concat();
    edges.sort_unstable_by(f32::total_cmp);
    edges.dedup();
    edges
}

impl PixelHistograms {
    /// No pixels yet; `edges` ascending ([`pixel_edges`]).
    ///
    /// # Errors
    /// Edges that do not increase, or none.
    pub fn new(edges: &[f32], parents: &Parents) -> Result<Self, StatsError> {
        if edges.is_empty() || !edges.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(StatsError::Edges);
        }
        Ok(Self {
            edges: edges.to_vec(),
            of_map: parents.of_map().to_vec(),
            counts: Array2::zeros((parents.count(), edges.len() + 1)),
        })
    }

    /// Counts the pixels of map number `map`.
    ///
    /// # Errors
    /// A map that has no parent; a pixel that is not finite.
    pub fn add(&mut self, map: usize, pixels: &[f32]) -> Result<(), StatsError> {
        let &parent = self.of_map.get(map).ok_or(StatsError::Length {
            what: "maps with pixels",
            got: map + 1,
            expected: self.of_map.len(),
        })?;
        if let Some(pixel) = pixels.iter().position(|value| !value.is_finite()) {
            let value = f64::from(pixels[pixel]);
            return Err(StatsError::NotFinite { map, pixel, value });
        }
        let mut counts = self.counts.row_mut(parent as usize);
        for &pixel in pixels {
            counts[self.edges.partition_point(|&edge| edge < pixel)] += 1;
        }
        Ok(())
    }
}

impl PixelTest {
    /// Tests maps `[n, pixels_per_map]` against `[m, pixels_per_map]`, all in memory.
    ///
    /// # Errors
    /// Not a whole number of maps, or other numbers than the design has; a pixel that is not
    /// finite; all pixels equal; no permutations.
    pub fn of_maps(
        first: &[f32],
        second: &[f32],
        pixels_per_map: usize,
        parents: (&Parents, &Parents),
        options: Resampling,
    ) -> Result<Self, StatsError> {
        let sorted = (SortedSample::new(first)?, SortedSample::new(second)?);
        let d = sorted.0.ks_sorted(&sorted.1);
        let edges = pixel_edges(&sorted.0, &sorted.1);
        drop(sorted);
        let count = |maps: &[f32], parents: &Parents| {
            let expected = parents.maps() * pixels_per_map;
            if maps.len() != expected {
                let (what, got) = ("pixels of all maps", maps.len());
                return Err(StatsError::Length {
                    what,
                    got,
                    expected,
                });
            }
            let mut histograms = PixelHistograms::new(&edges, parents)?;
            for (map, pixels) in maps.chunks_exact(pixels_per_map.max(1)).enumerate() {
                histograms.add(map, pixels)?;
            }
            Ok(histograms)
        };
        let (a, b) = rayon::join(|| count(first, parents.0), || count(second, parents.1));
        Self::new(d, &a?, &b?, &Design::new(parents.0, parents.1)?, options)
    }

    /// Tests sets that were counted map by map; `d` is their exact statistic.
    ///
    /// # Errors
    /// Histograms of different grids, or of other parents than the design's; all pixels in one
    /// bin; no permutations.
    pub fn new(
        d: f64,
        first: &PixelHistograms,
        second: &PixelHistograms,
        design: &Design,
        options: Resampling,
    ) -> Result<Self, StatsError> {
        if options.permutations == 0 {
            return Err(StatsError::NoRepeats("permutations"));
        }
        if first.edges != second.edges {
            return Err(StatsError::Edges);
        }
        let (got, expected) = (first.counts.nrows(), design.parents().0);
        if got != expected || second.counts.nrows() != design.parents().1 {
            let what = "parents with pixels";
            return Err(StatsError::Length {
                what,
                got,
                expected,
            });
        }
        let total = |histograms: &PixelHistograms| histograms.counts.sum();
        let (n, m) = (total(first), total(second));
        if n == 0 || m == 0 {
            return Err(StatsError::Empty);
        }
        let largest = |h: &PixelHistograms, all: u64| {
            let of_bin = h.counts.columns().into_iter().map(|column| column.sum());
            of_bin.max().unwrap_or(0) as f64 / all as f64
        };
        let resolution = largest(first, n).max(largest(second, m));
        let cumulative = cumulative(first, second);
        let pooled = cumulative.sum_axis(ndarray::Axis(0));
        if pooled.iter().all(|&c| c == 0 || c == n + m) {
            return Err(StatsError::AllEqual);
        }
        let observed = differences(&[design.observed()], &cumulative, &pooled.to_vec());
        let permutations = options.permutations;
        let count: usize = (0..permutations.div_ceil(REPEATS))
            .into_par_iter()
            .map(|block| {
                let repeats = block * REPEATS..((block + 1) * REPEATS).min(permutations);
                let labels: Vec<Vec<bool>> = repeats
                    .map(|repeat| design.relabelled(options.seed, repeat))
                    .collect();
                let found = differences(&labels, &cumulative, &pooled.to_vec());
                found.iter().filter(|&&d| d >= observed[0]).count()
            })
            .sum();
        Ok(Self {
            d,
            d_on_grid: observed[0],
            resolution,
            p_value: (1 + count) as f64 / (1 + permutations) as f64,
            permutations,
        })
    }
}

/// Pixels of each parent, first set's before second's, up to the end of each bin: the last column
/// holds all of them. `[parents, bins]`.
fn cumulative(first: &PixelHistograms, second: &PixelHistograms) -> Array2<u64> {
    let parents = first.counts.nrows() + second.counts.nrows();
    let mut out = Array2::zeros((parents, first.counts.ncols()));
    let rows = first.counts.rows().into_iter().chain(second.counts.rows());
    for (mut out, counts) in out.rows_mut().into_iter().zip(rows) {
        let mut sum = 0;
        for (out, &count) in out.iter_mut().zip(counts) {
            sum += count;
            *out = sum;
        }
    }
    out
}

/// D of each labelling: labels times counts is a matrix product, exact because all numbers are
/// whole and far below 2^53.
fn differences(labels: &[Vec<bool>], cumulative: &Array2<u64>, pooled: &[u64]) -> Vec<f64> {
    let (parents, bins) = cumulative.dim();
    let labels = Array2::from_shape_fn((labels.len(), parents), |(repeat, parent)| {
        f64::from(u8::from(labels[repeat][parent]))
    });
    let counts_of = |bins: Range<usize>| {
        let counts = cumulative.slice(s![.., bins]);
        labels.dot(&counts.mapv(|count| count as f64))
    };
    let all = i128::from(pooled[bins - 1]);
    let first_pixels: Vec<i128> = counts_of(bins - 1..bins)
        .iter()
        .map(|&n| n as i128)
        .collect();
    let mut largest = vec![0; labels.nrows()];
    for start in (0..bins).step_by(COLUMNS) {
        let end = (start + COLUMNS).min(bins);
        let below = counts_of(start..end);
        for ((row, &n), largest) in below
            .rows()
            .into_iter()
            .zip(&first_pixels)
            .zip(&mut largest)
        {
            for (&first, &pooled) in row.iter().zip(&pooled[start..end]) {
                // (F_x - F_y) n m = c_x m - (c - c_x) n = c_x (n + m) - c n.
                let difference = first as i128 * all - i128::from(pooled) * n;
                *largest = difference.abs().max(*largest);
            }
        }
    }
    let d = |(largest, n): (i128, i128)| largest as f64 / (n * (all - n)) as f64;
    largest.into_iter().zip(first_pixels).map(d).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::ks_statistic;
    use crate::testing::{normals, random};

    /// Maps of 36 pixels whose pixels share the mean of their map and of their parent.
    fn maps(number: u64, parents: &Parents, shift: f64) -> Vec<f32> {
        let mut draw = random(number);
        let of_parent = normals(&mut draw, parents.count());
        let mut pixels = Vec::new();
        for &parent in parents.of_map() {
            let common = of_parent[parent as usize] + normals(&mut draw, 1)[0] + shift;
            let own = normals(&mut draw, 36);
            pixels.extend(own.iter().map(|v| (0.5 * common + v) as f32));
        }
        pixels
    }

    fn options(seed: u64) -> Resampling {
        Resampling {
            seed,
            permutations: 199,
            bootstraps: 0,
        }
    }

    #[test]
    fn d_is_exact_and_the_grid_comes_within_its_resolution() {
        let parents = Parents::blocks(40, 4);
        let (x, y) = (maps(1, &parents, 0.0), maps(2, &parents, 3.0));
        let found = PixelTest::of_maps(&x, &y, 36, (&parents, &parents), options(1)).unwrap();
        assert_eq!(found.d, ks_statistic(&x, &y).unwrap());
        assert!(found.d_on_grid <= found.d && found.d_on_grid >= found.d - found.resolution);
        assert!(found.resolution < 3.0 / PIXEL_BINS as f64, "{found:?}");
        assert_eq!(found.p_value, 1.0 / 200.0);
    }

    #[test]
    fn the_p_value_is_that_of_pooling_the_pixels_of_every_relabelling() {
        let parents = Parents::from_ids([1, 1, 2, 3, 3, 4]);
        let (x, y) = (maps(3, &parents, 0.0), maps(4, &parents, 0.4));
        // So few values that every one is an edge: the grid is exact.
        let round =
            |pixels: Vec<f32>| -> Vec<f32> { pixels.iter().map(|v| (v * 2.0).round()).collect() };
        let (x, y) = (round(x), round(y));
        let found = PixelTest::of_maps(&x, &y, 36, (&parents, &parents), options(5)).unwrap();
        assert!((found.d_on_grid - found.d).abs() < 1e-15);
        let design = Design::new(&parents, &parents).unwrap();
        let all = [x, y].concat();
        let count = (0..199)
            .filter(|&repeat| {
                let labels = design.relabelled(5, repeat);
                let mut samples = [Vec::new(), Vec::new()];
                for (map, pixels) in all.chunks(36).enumerate() {
                    let first = labels[design.of_map()[map] as usize];
                    samples[usize::from(!first)].extend_from_slice(pixels);
                }
                ks_statistic(&samples[0], &samples[1]).unwrap() >= found.d - 1e-12
            })
            .count();
        assert_eq!(found.p_value, (1 + count) as f64 / 200.0);
    }

    #[test]
    fn it_rejects_as_often_as_it_says_though_pixels_are_correlated() {
        let parents = Parents::blocks(24, 2);
        let p: Vec<f64> = (0..600)
            .into_par_iter()
            .map(|i| {
                let (x, y) = (
                    maps(1000 + 2 * i, &parents, 0.0),
                    maps(1001 + 2 * i, &parents, 0.0),
                );
                let both = (&parents, &parents);
                PixelTest::of_maps(&x, &y, 36, both, options(i))
                    .unwrap()
                    .p_value
            })
            .collect();
        for level in [0.05, 0.1, 0.5] {
            let rate = p.iter().filter(|&&p| p <= level).count() as f64 / p.len() as f64;
            println!("pixels: {rate} at {level}");
            let deviation = (level * (1.0 - level) / p.len() as f64).sqrt();
            assert!((rate - level).abs() < 4.0 * deviation, "{rate} at {level}");
        }
    }

    #[test]
    fn faulty_pixels_are_refused() {
        let parents = Parents::singles(2);
        let test = |x: &[f32], y: &[f32]| {
            PixelTest::of_maps(x, y, 2, (&parents, &parents), options(1)).unwrap_err()
        };
        let good = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(test(&good, &[1.0, f32::NAN, 0.0, 0.0]), StatsError::Nan(1));
        assert!(matches!(test(&good, &good[..3]), StatsError::Length { .. }));
        assert_eq!(test(&[1.0; 4], &[1.0; 4]), StatsError::AllEqual);
        assert_eq!(test(&good, &[]), StatsError::Empty);
        let infinite = test(&good, &[1.0, 2.0, 3.0, f32::INFINITY]);
        assert!(matches!(
            infinite,
            StatsError::NotFinite {
                map: 1,
                pixel: 1,
                ..
            }
        ));
    }
}

//! Minimum, maximum, mean and rms of maps in one streaming pass, which is also where a pixel that
//! is not finite comes to light. Called when data are opened; the training set's statistics fit
//! the [`Transform`](super::Transform).

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::maps::Maps;

/// One-point statistics of pixels, in the units of the maps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    pub pixels: u64,
    pub min: f64,
    pub max: f64,
    pub mean: f64,
    /// Root mean square about the mean (population standard deviation).
    pub rms: f64,
}

impl Statistics {
    /// The statistics of no pixels; the neutral element of [`merge`](Self::merge).
    pub const EMPTY: Self = Self {
        pixels: 0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        mean: 0.0,
        rms: 0.0,
    };

    /// The statistics of `values`, two passes over a slice that fits in cache.
    pub fn of(values: &[f32]) -> Self {
        if values.is_empty() {
            return Self::EMPTY;
        }
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let mut about_mean = 0.0;
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        for &value in values {
            let value = f64::from(value);
            min = min.min(value);
            max = max.max(value);
            about_mean += (value - mean) * (value - mean);
        }
        Self {
            pixels: values.len() as u64,
            min,
            max,
            mean,
            rms: (about_mean / n).sqrt(),
        }
    }

    /// The statistics of both sets of pixels (Chan, Golub & LeVeque 1979).
    pub fn merge(self, other: Self) -> Self {
        let pixels = self.pixels + other.pixels;
        if other.pixels == 0 || self.pixels == 0 {
            return if self.pixels == 0 { other } else { self };
        }
        let weight = other.pixels as f64 / pixels as f64;
        let step = other.mean - self.mean;
        let variance = self.rms * self.rms * (1.0 - weight)
            + other.rms * other.rms * weight
            + step * step * weight * (1.0 - weight);
        Self {
            pixels,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            mean: self.mean + step * weight,
            rms: variance.sqrt(),
        }
    }
}

/// The [`Statistics`] of every parent of some [`Maps`].
#[derive(Clone, Debug, PartialEq)]
pub struct ScannedMaps {
    per_parent: Vec<Statistics>,
}

impl ScannedMaps {
    /// Reads all pixels of all parents once, on all cores. The result does not depend on the
    /// number of threads.
    ///
    /// # Errors
    /// The first pixel that is not finite in f32, by file, map, row and column.
    pub fn scan(maps: &Maps) -> Result<Self, DataError> {
        // Blocks of rows, so that one large map keeps all cores busy too.
        const ROWS: usize = 128;
        let blocks: Vec<(usize, usize)> = (0..maps.len())
            .flat_map(|parent| {
                (0..maps.side(parent))
                    .step_by(ROWS)
                    .map(move |y| (parent, y))
            })
            .collect();
        let scanned: Vec<Result<Statistics, DataError>> = blocks
            .par_iter()
            .map_init(Vec::new, |row, &(parent, start)| {
                let side = maps.side(parent);
                row.resize(side, 0.0);
                let mut block = Statistics::EMPTY;
                for y in start..side.min(start + ROWS) {
                    maps.read_row(parent, y, 0, row);
                    check_finite(maps, parent, y, row)?;
                    block = block.merge(Statistics::of(row));
                }
                Ok(block)
            })
            .collect();
        let mut per_parent = vec![Statistics::EMPTY; maps.len()];
        for ((parent, _), block) in blocks.into_iter().zip(scanned) {
            per_parent[parent] = per_parent[parent].merge(block?);
        }
        Ok(Self { per_parent })
    }

    /// The statistics of `parents` together.
    ///
    /// # Panics
    /// Where a parent is not one of the maps that were scanned.
    pub fn of(&self, parents: &[usize]) -> Statistics {
        parents.iter().fold(Statistics::EMPTY, |sum, &parent| {
            sum.merge(self.per_parent[parent])
        })
    }

    /// The statistics of all parents together.
    pub fn all(&self) -> Statistics {
        let each = self.per_parent.iter().copied();
        each.fold(Statistics::EMPTY, Statistics::merge)
    }
}

fn check_finite(maps: &Maps, parent: usize, y: usize, row: &[f32]) -> Result<(), DataError> {
    match row.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(column) => {
            let place = maps.place(parent);
            Err(DataError::NotFinite {
                path: place.path.to_owned(),
                map: place.map,
                row: y,
                column,
                value: row[column],
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{shared, write_maps};
    use super::*;
    use crate::rng::{Philox, Stream};

    fn close(a: Statistics, b: Statistics) {
        assert_eq!((a.pixels, a.min, a.max), (b.pixels, b.min, b.max));
        assert!((a.mean - b.mean).abs() < 1e-12 * b.rms, "{a:?} {b:?}");
        assert!((a.rms - b.rms).abs() < 1e-12 * b.rms, "{a:?} {b:?}");
    }

    #[test]
    fn the_streamed_statistics_are_those_of_all_pixels_on_any_number_of_threads() {
        let directory = tempfile::tempdir().unwrap();
        let mut pixels = vec![0.0; 3 * 200 * 200];
        Philox::new(4, Stream::Benchmark, 0).fill_normal(&mut pixels);
        pixels.iter_mut().for_each(|v| *v = 7.0 + 0.01 * *v);
        let path = write_maps(directory.path(), "a.npy", 3, 200, |m, y, x| {
            pixels[(m * 200 + y) * 200 + x]
        });
        let maps = Maps::open(&[path]).unwrap();
        let scanned = ScannedMaps::scan(&maps).unwrap();
        close(scanned.all(), Statistics::of(&pixels));
        close(scanned.of(&[1]), Statistics::of(&pixels[40_000..80_000]));
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let alone = alone.unwrap().install(|| ScannedMaps::scan(&maps));
        assert_eq!(alone.unwrap(), scanned);
    }

    #[test]
    fn the_first_pixel_that_is_not_finite_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = write_maps(directory.path(), "bad.npy", 4, 300, |m, y, x| {
            match (m, y, x) {
                (2, 250, 17) => f32::NAN,
                (2, 251, 3) | (3, 0, 0) => f32::INFINITY,
                _ => 0.1,
            }
        });
        let maps = Maps::open(&[path]).unwrap();
        let message = ScannedMaps::scan(&maps).unwrap_err().to_string();
        assert!(
            message.contains("bad.npy: map 2, row 250, column 17 is NaN"),
            "{message}"
        );
    }

    #[test]
    fn the_shared_simulations_have_the_moments_that_their_readme_states() {
        let Some(data) = shared("data/simulated") else {
            return;
        };
        let all = ScannedMaps::scan(&Maps::open(&[data]).unwrap())
            .unwrap()
            .all();
        assert!((all.rms - 0.0145).abs() < 0.0005, "{all:?}");
        assert!(all.min > -0.04 && all.max > 0.2 && all.max < 0.3, "{all:?}");
    }
}

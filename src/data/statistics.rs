//! Minimum, maximum, mean and rms of maps in one streaming pass, which is also where a pixel that
//! is not finite comes to light. Called when data are opened; the training set's statistics fit
//! the [`Transform`](super::Transform).

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::maps::Maps;
use super::per_channel::{PerChannel, channel_of};
use super::region::{Region, not_finite};
use super::shuffle::below;
use crate::rng::{Philox, Stream};

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

/// Rows that are read at a time, so that one large map keeps all cores busy too.
const BLOCK_ROWS: usize = 128;

/// Philox step of the rows that a sample takes; steps 0 and 1 of the stream are the split's.
const SAMPLE_STEP: u64 = 2;

/// What is known of the training maps.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    /// Of each channel.
    pub statistics: PerChannel<Statistics>,
    /// How many pixels the regions hold; the statistics may be of fewer.
    pub pixels: u64,
}

/// Measures the pixels of `regions`: all of them, or, where they are more than `budget`, a sample
/// of about `budget` that is spread evenly, whole blocks of 128 rows (or single rows of a budget so
/// small) whose places depend on `seed`. The result does not depend on the number of threads.
///
/// # Errors
/// The first pixel read that is not finite in f32, by file, map, row and column.
pub fn survey(
    maps: &Maps,
    regions: &[Region],
    budget: u64,
    seed: u64,
) -> Result<Survey, DataError> {
    let pixels = pixels_of(maps, regions);
    let mut blocks = blocks_of(regions, BLOCK_ROWS);
    if pixels > budget {
        let mean = pixels / blocks.len().max(1) as u64;
        if mean.saturating_mul(64) > budget {
            blocks = blocks_of(regions, 1);
        }
        blocks = sample(&blocks, pixels.div_ceil(budget.max(1)), seed);
    }
    let channels = maps.channels();
    let measured: Vec<_> = blocks
        .par_iter()
        .map_init(Vec::new, |row, block| measure(maps, block, row))
        .collect();
    let mut all = vec![Statistics::EMPTY; channels];
    let mut of_region = vec![Statistics::EMPTY; channels];
    let mut last = None;
    // Region by region, as the sum of blocks: the order is part of the result.
    for (block, measured) in blocks.iter().zip(measured) {
        if last != Some(block.parent) {
            merge_each(&mut all, &of_region);
            of_region.fill(Statistics::EMPTY);
            last = Some(block.parent);
        }
        merge_each(&mut of_region, &measured?);
    }
    merge_each(&mut all, &of_region);
    let statistics = PerChannel::new(all).ok_or(DataError::NothingNamed)?;
    Ok(Survey { statistics, pixels })
}

/// Reads all pixels of `regions` once, on all cores; `progress(done, total)` counts regions.
///
/// # Errors
/// The first pixel that is not finite in f32, by file, map, row and column.
pub fn check_finite(
    maps: &Maps,
    regions: &[Region],
    progress: &dyn Fn(usize, usize),
) -> Result<(), DataError> {
    // Between two of these the progress is told.
    const AT_A_TIME: usize = 64;
    for (number, some) in regions.chunks(AT_A_TIME).enumerate() {
        let failed = blocks_of(some, BLOCK_ROWS)
            .par_iter()
            .map_init(Vec::new, |row, block| measure(maps, block, row).err())
            .find_map_first(|error| error);
        failed.map_or(Ok(()), Err)?;
        progress(number * AT_A_TIME + some.len(), regions.len());
    }
    Ok(())
}

/// The number of pixels of `regions`, each channel by itself.
pub fn pixels_of(maps: &Maps, regions: &[Region]) -> u64 {
    let pixels = regions
        .iter()
        .map(|region| (region.rows.len() * maps.side(region.parent)) as u64);
    pixels.sum::<u64>() * maps.channels() as u64
}

/// The regions in pieces of up to `rows` rows.
fn blocks_of(regions: &[Region], rows: usize) -> Vec<Region> {
    let pieces = regions.iter().flat_map(|region| {
        let Region { parent, rows: all } = region;
        all.clone().step_by(rows).map(|start| Region {
            parent: *parent,
            rows: start..all.end.min(start + rows),
        })
    });
    pieces.collect()
}

/// One of each `stride` consecutive blocks, at random: a fixed step could follow the maps' own.
fn sample(blocks: &[Region], stride: u64, seed: u64) -> Vec<Region> {
    let stride = usize::try_from(stride).unwrap_or(usize::MAX);
    let philox = Philox::new(seed, Stream::Split, SAMPLE_STEP);
    let groups = blocks.chunks(stride).enumerate();
    let chosen = groups.map(|(number, group)| {
        let [word, ..] = philox.block(number as u32);
        group[below(word, group.len())].clone()
    });
    chosen.collect()
}

/// The statistics of the pixels of `block`, by channel; `row` is scratch.
fn measure(maps: &Maps, block: &Region, row: &mut Vec<f32>) -> Result<Vec<Statistics>, DataError> {
    let channels = maps.channels();
    row.resize(maps.side(block.parent) * channels, 0.0);
    let mut sums = vec![Statistics::EMPTY; channels];
    for y in block.rows.clone() {
        maps.read_row(block.parent, y, 0, row);
        if let Some(index) = row.iter().position(|value| !value.is_finite()) {
            let at = (y, index / channels);
            return Err(not_finite(maps, block.parent, at, index, row[index]));
        }
        for (channel, sum) in sums.iter_mut().enumerate() {
            let of_row = match channels {
                1 => Statistics::of(row),
                _ => Statistics::of(&channel_of(row, channel, channels)),
            };
            *sum = sum.merge(of_row);
        }
    }
    Ok(sums)
}

fn merge_each(into: &mut [Statistics], from: &[Statistics]) {
    for (sum, part) in into.iter_mut().zip(from) {
        *sum = sum.merge(*part);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{shared, write_maps};
    use super::*;

    fn close(a: Statistics, b: Statistics) {
        assert_eq!((a.pixels, a.min, a.max), (b.pixels, b.min, b.max));
        assert!((a.mean - b.mean).abs() < 1e-12 * b.rms, "{a:?} {b:?}");
        assert!((a.rms - b.rms).abs() < 1e-12 * b.rms, "{a:?} {b:?}");
    }

    fn all(maps: &Maps) -> Vec<Region> {
        (0..maps.len()).map(|p| Region::whole(maps, p)).collect()
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
        let whole = survey(&maps, &all(&maps), u64::MAX, 1).unwrap();
        assert_eq!(whole.pixels, 120_000);
        close(whole.statistics[0], Statistics::of(&pixels));
        let strip = [Region {
            parent: 1,
            rows: 20..190,
        }];
        let strip = survey(&maps, &strip, u64::MAX, 1).unwrap();
        close(strip.statistics[0], Statistics::of(&pixels[44_000..78_000]));
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let alone = alone.unwrap();
        let alone = alone.install(|| survey(&maps, &all(&maps), u64::MAX, 1));
        assert_eq!(alone.unwrap(), whole);
    }

    #[test]
    fn beyond_the_budget_a_sample_from_all_over_stands_for_the_whole() {
        let directory = tempfile::tempdir().unwrap();
        let mut noise = vec![0.0; 40 * 64 * 64];
        Philox::new(5, Stream::Benchmark, 0).fill_normal(&mut noise);
        // The mean drifts from map to map and from row to row: a sample of one corner would show.
        let path = write_maps(directory.path(), "a.npy", 40, 64, |m, y, x| {
            noise[(m * 64 + y) * 64 + x] + 0.1 * m as f32 + 0.05 * y as f32
        });
        let maps = Maps::open(&[path]).unwrap();
        let whole = survey(&maps, &all(&maps), u64::MAX, 1).unwrap().statistics[0];
        for budget in [1 << 10, 1 << 14, 1 << 16] {
            let sampled = survey(&maps, &all(&maps), budget, 1).unwrap();
            assert_eq!(sampled, survey(&maps, &all(&maps), budget, 1).unwrap());
            assert_eq!(sampled.pixels, 40 * 4096);
            let sampled = sampled.statistics[0];
            println!("{budget}: {sampled:?} of {whole:?}");
            assert!(sampled.pixels <= budget && 2 * sampled.pixels >= budget);
            assert!((sampled.mean - whole.mean).abs() < 0.3 * whole.rms);
            assert!((sampled.rms / whole.rms - 1.0).abs() < 0.1);
        }
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
        let surveyed = survey(&maps, &all(&maps), u64::MAX, 1).unwrap_err();
        let checked = check_finite(&maps, &all(&maps), &|_, _| ()).unwrap_err();
        for message in [surveyed.to_string(), checked.to_string()] {
            assert!(
                message.contains("bad.npy: map 2, row 250, column 17 is NaN"),
                "{message}"
            );
        }
        check_finite(&maps, &all(&maps)[..2], &|_, _| ()).unwrap();
    }

    #[test]
    fn the_shared_simulations_have_the_moments_that_their_readme_states() {
        let Some(data) = shared("data/simulated") else {
            return;
        };
        let maps = Maps::open(&[data]).unwrap();
        let all = survey(&maps, &all(&maps), u64::MAX, 1).unwrap().statistics[0];
        assert!((all.rms - 0.0145).abs() < 0.0005, "{all:?}");
        assert!(all.min > -0.04 && all.max > 0.2 && all.max < 0.3, "{all:?}");
    }
}

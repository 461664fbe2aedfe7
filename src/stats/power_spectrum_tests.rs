//! The power spectrum against LensTools' own numbers, and the rules of its bins.

use super::*;
use crate::rng::{Philox, Stream};
use crate::stats::testing::{golden_map, golden_stats};
use ndarray::{Array1, Array3};
use ndarray_npy::{NpzReader, ReadNpyExt};
use std::fs::File;

fn relative(a: f64, b: f64) -> f64 {
    (a - b).abs() / b.abs()
}

fn noise(count: usize) -> Vec<f32> {
    let mut pixels = vec![0.0; count];
    Philox::new(5, Stream::Benchmark, 1).fill_normal(&mut pixels);
    pixels
}

#[test]
fn the_golden_map_has_the_power_that_lenstools_measures() {
    let edges: Vec<f64> = (0..20).map(|k| 100.0 + 150.0 * f64::from(k)).collect();
    let estimator = PowerSpectrum::new(32, 3.5, &edges).unwrap();
    let power = estimator.mean(&golden_map()).unwrap();
    let expected = [
        (0, 175.0, 4.900770419120e-07),
        (1, 325.0, 8.524569505860e-07),
        (2, 475.0, 6.540802138717e-07),
        (5, 925.0, 6.026830267346e-07),
    ];
    for (bin, l, value) in expected {
        assert_eq!(estimator.l()[bin], l);
        assert!(relative(power[bin], value) < 1e-12, "l={l}: {}", power[bin]);
    }
}

#[test]
fn four_crops_have_the_power_that_lenstools_measures() {
    let (Some(crops), Some(golden)) =
        (golden_stats("crops_256.npy"), golden_stats("lenstools.npz"))
    else {
        return;
    };
    let about = golden_stats("crops_256.json").unwrap();
    let about: serde_json::Value = serde_json::from_reader(File::open(about).unwrap()).unwrap();
    let crops = Array3::<f32>::read_npy(File::open(crops).unwrap()).unwrap();
    let mut golden = NpzReader::new(File::open(golden).unwrap()).unwrap();
    let mut array = |name: String| -> Vec<f64> {
        let values: Array1<f64> = golden.by_name(&name).unwrap();
        values.to_vec()
    };
    let (mut worst, mut compared): (f64, usize) = (0.0, 0);
    for (index, crop) in crops.outer_iter().enumerate() {
        let angle = about[index]["side_deg"].as_f64().unwrap();
        for kind in ["lin", "log"] {
            let edges = array(format!("crop{index}/ps_{kind}_edges"));
            let estimator = PowerSpectrum::new(256, angle, &edges).unwrap();
            let power = estimator.mean(crop.as_slice().unwrap()).unwrap();
            let l = array(format!("crop{index}/ps_{kind}_l"));
            let expected = array(format!("crop{index}/ps_{kind}_P"));
            assert_eq!(power.len(), expected.len());
            for bin in 0..power.len() {
                assert!(relative(estimator.l()[bin], l[bin]) < 1e-14);
                if estimator.mode_counts()[bin] == 0 {
                    assert!(power[bin].is_nan() && expected[bin] == 0.0);
                } else {
                    worst = worst.max(relative(power[bin], expected[bin]));
                    compared += 1;
                }
            }
        }
    }
    println!("{compared} bins, largest relative difference {worst:e}");
    assert!(compared > 100 && worst < 1e-11, "{worst:e}");
}

#[test]
fn an_empty_bin_is_nan_and_has_no_modes() {
    // The paper's bins of 200 on a crop of 0.866 degrees: bins 0 and 2 hold no mode.
    let edges: Vec<f64> = (1..250).map(|k| 200.0 * f64::from(k)).collect();
    let estimator = PowerSpectrum::new(256, 12_f64.sqrt() / 4.0, &edges).unwrap();
    let empty: Vec<usize> = (0..248)
        .filter(|&bin| estimator.mode_counts()[bin] == 0)
        .collect();
    assert_eq!(empty, [0, 2]);
    let power = estimator.mean(&noise(256 * 256)).unwrap();
    for (bin, value) in power.iter().enumerate() {
        assert_eq!(value.is_nan(), empty.contains(&bin));
    }
}

#[test]
fn log_bins_hold_every_mode_from_the_fundamental_to_nyquist() {
    for (pixels, angle) in [(32, 3.5), (64, 0.1), (64, 1.0), (256, 0.866), (30, 7.3)] {
        let edges = log_bins(pixels, angle, 5).unwrap();
        let estimator = PowerSpectrum::new(pixels, angle, &edges).unwrap();
        let half = pixels / 2;
        let inside = (0..=half)
            .flat_map(|y| (0..pixels).map(move |x| (x.min(pixels - x), y)))
            .filter(|(x, y)| (1..=half * half).contains(&(x * x + y * y)))
            .count();
        assert_eq!(estimator.mode_counts().iter().sum::<usize>(), inside);
        assert!(estimator.mode_counts().iter().all(|&count| count > 0));
        for (l, bin) in estimator.mean_l().iter().zip(edges.windows(2)) {
            assert!(bin[0] < *l && *l <= bin[1]);
        }
    }
}

#[test]
fn white_noise_has_the_same_power_at_every_scale() {
    let (pixels, angle) = (64, 2.0_f64);
    let edges = log_bins(pixels, angle, 6).unwrap();
    let estimator = PowerSpectrum::new(pixels, angle, &edges).unwrap();
    let maps = 200;
    let power = estimator.mean(&noise(maps * pixels * pixels)).unwrap();
    let expected = (angle.to_radians() / pixels as f64).powi(2);
    for (value, &count) in power.iter().zip(estimator.mode_counts()) {
        let sigma = (2.0 / (maps * count) as f64).sqrt();
        assert!((value / expected - 1.0).abs() < 5.0 * sigma);
    }
}

#[test]
fn the_mean_depends_neither_on_threads_nor_on_pieces() {
    let edges = log_bins(32, 1.0, 6).unwrap();
    let estimator = PowerSpectrum::new(32, 1.0, &edges).unwrap();
    let maps = noise(300 * 32 * 32);
    let whole = estimator.mean(&maps).unwrap();
    let one_thread = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    assert_eq!(whole, one_thread.install(|| estimator.mean(&maps)).unwrap());
    let mut pieces = MeanSpectrum::new(&estimator);
    for piece in maps.chunks(7 * 32 * 32) {
        pieces.add(piece).unwrap();
    }
    assert_eq!(whole, pieces.finish().unwrap());
}

#[test]
fn a_pixel_that_is_not_finite_is_named() {
    let edges = log_bins(16, 1.0, 3).unwrap();
    let estimator = PowerSpectrum::new(16, 1.0, &edges).unwrap();
    let mut maps = noise(300 * 256);
    maps[299 * 256 + 17] = f32::NAN;
    maps[270 * 256 + 3] = f32::INFINITY;
    let error = estimator.mean(&maps).unwrap_err();
    let expected = StatsError::NotFinite {
        map: 270,
        pixel: 3,
        value: f64::INFINITY,
    };
    assert_eq!(error, expected);
}

#[test]
fn impossible_estimators_are_refused() {
    let new = |pixels, angle, edges: &[f64]| PowerSpectrum::new(pixels, angle, edges).err();
    assert_eq!(new(1, 1.0, &[1.0, 2.0]), Some(StatsError::TooSmall(1)));
    assert_eq!(new(8, 0.0, &[1.0, 2.0]), Some(StatsError::Angle(0.0)));
    assert!(matches!(
        new(8, f64::NAN, &[1.0, 2.0]),
        Some(StatsError::Angle(_))
    ));
    for edges in [&[][..], &[1.0], &[1.0, 1.0], &[2.0, 1.0], &[1.0, f64::NAN]] {
        assert_eq!(new(8, 1.0, edges), Some(StatsError::Edges));
    }
    let estimator = PowerSpectrum::new(8, 1.0, &[1.0, 2.0]).unwrap();
    for length in [0, 63, 65] {
        let error = estimator.mean(&vec![0.0_f32; length]).unwrap_err();
        let expected = StatsError::Shape {
            got: length,
            pixels: 8,
        };
        assert_eq!(error, expected);
    }
}

//! All statistics of random fields: against theory, under the symmetries of their definitions, and
//! of what they refuse.

use std::f64::consts::PI;

use super::*;
use crate::stats::testing::{noise, shared, worst_difference};
use crate::stats::{Thresholds, Unit, arange, log_bins};
use ndarray::Array3;
use ndarray_npy::ReadNpyExt;

fn thresholds(edges: &[f64], unit: Unit) -> Option<Thresholds> {
    Some(Thresholds::new(edges, unit).unwrap())
}

fn everything(side: usize, unit: Unit) -> StatisticsPlan {
    // Below the Nyquist multipole: the modes on it have no mirror image of their own.
    let edges = arange(180.0, 180.0 * (side / 2) as f64, 540.0).unwrap();
    let nu = arange(-2.5, 3.5, 0.37).unwrap();
    StatisticsPlan::everything(side, 2.0, &edges, &nu, unit).unwrap()
}

/// The complementary error function (Press et al., Numerical Recipes: to 1.2e-7).
fn erfc(x: f64) -> f64 {
    let z = x.abs();
    let t = 2.0 / (2.0 + z);
    let coefficients = [
        -1.26551223,
        1.00002368,
        0.37409196,
        0.09678418,
        -0.18628806,
        0.27886807,
        -1.13520398,
        1.48851587,
        -0.82215223,
        0.17087277,
    ];
    let sum = coefficients.iter().rev().fold(0.0, |sum, c| sum * t + c);
    let tail = t * (-z * z + sum).exp();
    if x >= 0.0 { tail } else { 2.0 - tail }
}

/// Mean over maps, and its standard error.
fn mean_and_error(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let values: Vec<f64> = values.collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0) / n).sqrt())
}

#[test]
fn gaussian_fields_have_the_analytic_minkowski_functionals() {
    let (side, maps) = (128, 300);
    let edges = arange(-3.0, 3.2, 0.25).unwrap();
    let plan = StatisticsPlan {
        minkowski: thresholds(&edges, Unit::MapSigma),
        moments: true,
        smooth_arcmin: Some(1.4),
        ..StatisticsPlan::nothing(side, 1.0)
    };
    let statistics = MapStatistics::new(plan).unwrap();
    let pixels = noise(21, maps * side * side);
    let rows = statistics.measure_many(&pixels, 0).unwrap();
    let of_map = |map: usize, statistic: Statistic| {
        &rows[map * statistics.row_len()..][statistics.columns(statistic)]
    };
    let mut worst = 0.0f64;
    for (bin, edges) in edges.windows(2).enumerate() {
        let mean_of = |f: &dyn Fn(f64) -> f64| {
            let at = |k: i32| f(edges[0] + (edges[1] - edges[0]) * (f64::from(k) + 0.5) / 64.0);
            (0..64).map(at).sum::<f64>() / 64.0
        };
        let nu = 0.5 * (edges[0] + edges[1]);
        let bell = mean_of(&|nu| (-nu * nu / 2.0).exp());
        let odd = mean_of(&|nu| nu * (-nu * nu / 2.0).exp());
        // Each map beside the curve of its own sigmas, which scatter more than the functionals do.
        let difference = |statistic: Statistic, curve: &dyn Fn(f64, f64) -> f64| {
            mean_and_error((0..maps).map(|map| {
                let moments = of_map(map, Statistic::Moments);
                of_map(map, statistic)[bin] - curve(moments[0], moments[1])
            }))
        };
        let area = 0.5 * erfc(nu / 2f64.sqrt());
        let differences = [
            difference(Statistic::MinkowskiV0, &|_, _| area),
            difference(Statistic::MinkowskiV1, &|_, s1| {
                s1 / (8.0 * 2f64.sqrt()) * bell
            }),
            difference(Statistic::MinkowskiV2, &|s0, s1| {
                s1 * s1 / (2.0 * (2.0 * PI).powf(1.5) * s0) * odd
            }),
        ];
        for (mean, error) in differences {
            worst = worst.max(mean.abs() / error);
        }
    }
    println!("largest of 72 deviations: {worst:.1} standard errors");
    assert!(worst < 4.5, "{worst}");
}

#[test]
fn gaussian_fields_have_normal_pixels_and_no_connected_moments() {
    let side = 128;
    let plan = StatisticsPlan {
        shape_noise: Some(ShapeNoise {
            n_gal: 20.0,
            sigma_e: 0.4,
            seed: 3,
        }),
        ..everything(side, Unit::Sigma(0.3))
    };
    let sigma = plan.shape_noise.unwrap().sigma(side, 2.0).unwrap();
    assert!((sigma - 0.4 / (2.0 * 20.0 * (120.0f64 / 128.0).powi(2)).sqrt()).abs() < 1e-15);
    // A faint map in strong noise.
    let map: Vec<f32> = noise(4, side * side).iter().map(|v| v * 1e-4).collect();
    let statistics = MapStatistics::new(plan).unwrap();
    let row = statistics.measure_many(&map, 0).unwrap();
    let get = |statistic| &row[statistics.columns(statistic)];
    let n = (side * side) as f64;
    let moments: [f64; MOMENTS] = get(Statistic::Moments).try_into().unwrap();
    let moments = crate::stats::Moments::from_array(moments);
    assert!((moments.sigma0 / sigma - 1.0).abs() < 5.0 / (2.0 * n).sqrt());
    let connected = moments.connected().dimensionless();
    for (value, variance) in [(connected.s0, 15.0), (connected.k0, 96.0)] {
        assert!(value.abs() < 5.0 * (variance / n).sqrt(), "{connected:?}");
    }
    // White noise has the power sigma^2 A_pixel at every scale.
    let expected = sigma * sigma * (2f64.to_radians() / side as f64).powi(2);
    let counts = statistics.power_spectrum().unwrap().mode_counts();
    for (power, &count) in get(Statistic::PowerSpectrum).iter().zip(counts) {
        assert!((power / expected - 1.0).abs() < 5.0 * (2.0 / count as f64).sqrt());
    }
    // Its noise is that of its number and of the seed.
    let other = statistics.measure_many(&map, 1).unwrap();
    assert_ne!(row, other);
    let two = statistics.measure_many(&[&map[..], &map].concat(), 0);
    assert_eq!(two.unwrap(), [row, other].concat());
}

#[test]
fn maps_of_a_known_spectrum_have_it() {
    let names = ["gaussian_256.npy", "lognormal_512.npy", "input_cl.csv"];
    let mut paths = Vec::new();
    for name in names {
        let Some(path) = shared(&format!("data/known_spectrum/{name}")) else {
            return;
        };
        paths.push(path);
    }
    let table = std::fs::read_to_string(&paths[2]).unwrap();
    let points: Vec<(f64, f64)> = table
        .lines()
        .skip(1)
        .map(|line| {
            let (l, power) = line.split_once(',').unwrap();
            let logarithm = |text: &str| text.trim().parse::<f64>().unwrap().ln();
            (logarithm(l), logarithm(power))
        })
        .collect();
    let power_at = |l: f64| {
        let above = points.partition_point(|point| point.0 < l.ln());
        let above = above.clamp(1, points.len() - 1);
        let ((l0, p0), (l1, p1)) = (points[above - 1], points[above]);
        (p0 + (p1 - p0) * (l.ln() - l0) / (l1 - l0)).exp()
    };
    for (path, side, angle, deviations) in [
        (&paths[0], 256, 0.8660254037844386, 4.5),
        // Few lognormal maps tell their own error badly.
        (&paths[1], 512, 1.7320508075688772, 7.0),
    ] {
        let maps = Array3::<f32>::read_npy(std::fs::File::open(path).unwrap()).unwrap();
        let edges = log_bins(side, angle, 12).unwrap();
        let plan = StatisticsPlan {
            power_spectrum: Some(edges.clone()),
            ..StatisticsPlan::nothing(side, angle)
        };
        let statistics = MapStatistics::new(plan).unwrap();
        let rows = statistics
            .measure_many(maps.as_slice().unwrap(), 0)
            .unwrap();
        let fundamental = 360.0 / angle;
        let (mut expected, mut counts) = (vec![0.0; 12], vec![0usize; 12]);
        for i in 0..side {
            for j in 0..=side / 2 {
                let l = (i.min(side - i) as f64).hypot(j as f64) * fundamental;
                let below = edges.partition_point(|&edge| edge < l);
                if (1..13).contains(&below) {
                    expected[below - 1] += power_at(l);
                    counts[below - 1] += 1;
                }
            }
        }
        assert_eq!(counts, statistics.power_spectrum().unwrap().mode_counts());
        for bin in 0..12 {
            let expected = expected[bin] / counts[bin] as f64;
            let (mean, of_maps) = mean_and_error(rows.chunks(12).map(|row| row[bin]));
            // Scatter of Gaussian modes; half of those on the edge of the half plane are repeated.
            let of_modes = expected * (2.0 / (counts[bin] * maps.dim().0) as f64).sqrt();
            let error = of_modes.max(if deviations > 5.0 { of_maps } else { 0.0 });
            let off = (mean - expected) / error;
            println!("bin {bin}: ratio {:.4}, {off:.2} sigma", mean / expected);
            assert!(off.abs() < deviations, "{path:?} bin {bin}: {off}");
        }
    }
}

/// Pixel `(y, x)` of what `from(y, x)` names in `map`.
fn moved(map: &[f32], side: usize, from: impl Fn(usize, usize) -> (usize, usize)) -> Vec<f32> {
    let pixel = |k: usize| {
        let (y, x) = from(k / side, k % side);
        map[(y % side) * side + x % side]
    };
    (0..side * side).map(pixel).collect()
}

fn agree(statistics: &MapStatistics, a: &[f64], b: &[f64], which: &[Statistic], what: &str) {
    for &statistic in which {
        let columns = statistics.columns(statistic);
        let name = format!("{} {what}", statistic.name());
        let (a, b) = (&a[columns.clone()], &b[columns]);
        let difference = worst_difference(&name, a, b);
        assert!(difference < 1e-11, "{name}: {difference:e}");
    }
}

#[test]
fn statistics_do_not_change_under_rolls_and_the_symmetries_they_have() {
    use Statistic::*;
    for (side, seed) in [(32, 1), (33, 2), (40, 3)] {
        let statistics = MapStatistics::new(everything(side, Unit::MapSigma)).unwrap();
        // Skewed, or the bispectra would be noise about 0.
        let map: Vec<f32> = noise(seed, side * side)
            .iter()
            .map(|v| (0.7 * v).exp())
            .collect();
        let of = |map: &[f32]| statistics.measure_many(map, 0).unwrap();
        let original = of(&map);
        for (dy, dx) in [(1, 0), (0, 1), (7, side - 3), (side / 2, 5)] {
            let rolled = of(&moved(&map, side, |y, x| (y + dy, x + dx)));
            agree(&statistics, &original, &rolled, &Statistic::ALL, "rolled");
        }
        let last = side - 1;
        let local = [
            MinkowskiV0,
            MinkowskiV1,
            MinkowskiV2,
            PeakCount,
            Pdf,
            Moments,
        ];
        let flips = [PowerSpectrum, BispectrumFolded];
        for symmetry in 0..8usize {
            let [flip_y, flip_x, swap] = [1, 2, 4].map(|bit| symmetry & bit != 0);
            let turned = of(&moved(&map, side, |y, x| {
                let (y, x) = if swap { (x, y) } else { (y, x) };
                let y = if flip_y { last - y } else { y };
                (y, if flip_x { last - x } else { x })
            }));
            let what = format!("symmetry {symmetry}");
            agree(&statistics, &original, &turned, &local, &what);
            // The stored half plane is not that of the turned map, so that weights of modes on its
            // edge change; triangles are turned one way only.
            if !swap {
                agree(&statistics, &original, &turned, &flips, &what);
            }
            if !swap && flip_x == flip_y {
                agree(
                    &statistics,
                    &original,
                    &turned,
                    &[BispectrumEquilateral],
                    &what,
                );
            }
        }
    }
}

#[test]
fn units_only_name_thresholds() {
    let side = 48;
    let map = noise(8, side * side);
    let of = |unit, edges: &[f64]| {
        let plan = StatisticsPlan {
            minkowski: thresholds(edges, unit),
            peak_count: thresholds(edges, unit),
            pdf: thresholds(edges, unit),
            moments: true,
            ..StatisticsPlan::nothing(side, 1.0)
        };
        let statistics = MapStatistics::new(plan).unwrap();
        let row = statistics.measure_many(&map, 0).unwrap();
        Statistic::ALL.map(|statistic| row[statistics.columns(statistic)].to_vec())
    };
    let nu = arange(-2.0, 3.0, 0.5).unwrap();
    let by_map = of(Unit::MapSigma, &nu);
    let sigma = by_map[Statistic::Moments as usize][0];
    let common = of(Unit::Sigma(sigma), &nu);
    assert_eq!(by_map, common);
    let kappa: Vec<f64> = nu.iter().map(|nu| nu * sigma).collect();
    let absolute = of(Unit::Absolute, &kappa);
    for statistic in [Statistic::MinkowskiV1, Statistic::PeakCount, Statistic::Pdf] {
        let (a, b) = (&by_map[statistic as usize], &absolute[statistic as usize]);
        for (a, b) in a.iter().zip(b) {
            assert!((a - b * sigma).abs() <= 1e-11 * a.abs(), "{statistic:?}");
        }
    }
    assert_eq!(by_map[1], absolute[1]);
}

#[test]
fn the_pdf_closes_its_last_bin_and_peaks_and_functionals_do_not() {
    let mut map = vec![0.0f64; 64];
    map[9] = 1.0;
    map[36] = 2.0;
    let edges = [0.0, 1.0, 2.0];
    let plan = StatisticsPlan {
        minkowski: thresholds(&edges, Unit::Absolute),
        peak_count: thresholds(&edges, Unit::Absolute),
        pdf: thresholds(&edges, Unit::Absolute),
        ..StatisticsPlan::nothing(8, 1.0)
    };
    let statistics = MapStatistics::new(plan).unwrap();
    let row = statistics.measure_many(&map, 0).unwrap();
    let get = |statistic| &row[statistics.columns(statistic)];
    assert_eq!(get(Statistic::Pdf), [62.0 / 64.0, 2.0 / 64.0]);
    assert_eq!(get(Statistic::PeakCount), [0.0, 1.0]);
    assert_eq!(get(Statistic::MinkowskiV0), [2.0 / 64.0, 1.0 / 64.0]);
    assert!(get(Statistic::MinkowskiV1)[1] == 0.0, "the peak is flat");
}

#[test]
fn the_power_of_a_map_with_itself_is_its_power_and_with_another_is_symmetric() {
    let (side, size) = (24, 24 * 24);
    let edges = log_bins(side, 1.0, 5).unwrap();
    let estimator = PowerSpectrum::new(side, 1.0, &edges).unwrap();
    let maps = noise(6, 2 * size);
    let (a, b) = maps.split_at(size);
    let mut scratch = estimator.scratch();
    let mut cross = |maps| {
        let mut power = vec![0.0; estimator.bins()];
        estimator
            .measure_cross(&mut scratch, maps, &mut power)
            .unwrap();
        power
    };
    assert_eq!(cross([a, a]), estimator.mean(a).unwrap());
    assert_eq!(cross([a, b]), cross([b, a]));
    let sum: Vec<f32> = a.iter().zip(b).map(|(a, b)| a + b).collect();
    let of_sum = estimator.mean(&sum).unwrap();
    let (of_a, of_b) = (estimator.mean(a).unwrap(), estimator.mean(b).unwrap());
    for (bin, cross) in cross([a, b]).into_iter().enumerate() {
        let expected = 0.5 * (of_sum[bin] - of_a[bin] - of_b[bin]);
        assert!((cross - expected).abs() < 1e-6 * of_sum[bin]);
    }
}

#[test]
fn smoothing_is_the_gaussian_of_its_formula() {
    let (side, angle, arcmin) = (32, 1.0, 3.0);
    let edges = arange(180.0, 360.0 * 16.0, 360.0).unwrap();
    let plan = |smooth_arcmin| StatisticsPlan {
        power_spectrum: Some(edges.clone()),
        smooth_arcmin,
        ..StatisticsPlan::nothing(side, angle)
    };
    // One wave: a single mode, whose power falls by exp(-l^2 sigma^2).
    let wave = |k: usize| (2.0 * PI * 3.0 * (k % side) as f64 / side as f64).cos();
    let map: Vec<f64> = (0..side * side).map(wave).collect();
    let power = |plan| {
        MapStatistics::new(plan)
            .unwrap()
            .measure_many(&map, 0)
            .unwrap()
    };
    let (before, after) = (power(plan(None)), power(plan(Some(arcmin))));
    let sigma = (arcmin / 60.0f64).to_radians();
    let expected = (-(3.0 * 360.0 * sigma).powi(2)).exp();
    assert!((after[2] / before[2] / expected - 1.0).abs() < 1e-12);
}

#[test]
fn results_depend_neither_on_threads_nor_on_company() {
    let side = 20;
    let statistics = MapStatistics::new(everything(side, Unit::MapSigma)).unwrap();
    let maps = noise(9, 50 * side * side);
    let all = statistics.measure_many(&maps, 0).unwrap();
    let one_thread = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let alone = one_thread.install(|| statistics.measure_many(&maps, 0));
    let same = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
    assert!(same(&all, &alone.unwrap()));
    let last = &maps[49 * side * side..];
    let last = statistics.measure_many(last, 49).unwrap();
    assert!(same(&all[49 * statistics.row_len()..], &last));
    let pdf = statistics.array(&all, Statistic::Pdf);
    assert_eq!(pdf.len(), 50 * statistics.columns(Statistic::Pdf).len());
    assert_eq!(
        pdf[pdf.len() - 1],
        last[statistics.columns(Statistic::Pdf)][pdf.len() / 50 - 1]
    );
}

#[test]
fn what_cannot_be_measured_is_named() {
    let (side, size) = (16, 256);
    let statistics = MapStatistics::new(everything(side, Unit::MapSigma)).unwrap();
    let mut maps = noise(1, 12 * size);
    maps[10 * size + 7] = f32::NAN;
    let error = statistics.measure_many(&maps, 100).unwrap_err();
    assert!(matches!(
        error,
        StatsError::NotFinite {
            map: 110,
            pixel: 7,
            ..
        }
    ));
    // Not exactly the mean of as many numbers as these.
    maps[5 * size..6 * size].fill(0.1);
    let error = statistics.measure_many(&maps, 0).unwrap_err();
    let value = f64::from(0.1f32);
    assert_eq!(error, StatsError::Constant { map: 5, value });
    for length in [0, size - 1, size + 1] {
        let error = statistics.measure_many(&maps[..length], 0).unwrap_err();
        let (got, pixels) = (length, side);
        assert_eq!(error, StatsError::Shape { got, pixels });
    }
    let refused = |plan: StatisticsPlan| MapStatistics::new(plan).err().unwrap();
    let plan = || everything(side, Unit::MapSigma);
    assert_eq!(
        refused(StatisticsPlan {
            pixels: 3,
            ..plan()
        }),
        StatsError::TooSmall(3)
    );
    for angle_deg in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = refused(StatisticsPlan {
            angle_deg,
            ..plan()
        });
        assert!(matches!(error, StatsError::Angle(_)));
    }
    for smooth in [0.0, -1.0, f64::NAN, 120.0] {
        let error = refused(StatisticsPlan {
            smooth_arcmin: Some(smooth),
            ..plan()
        });
        assert!(matches!(error, StatsError::Smoothing { .. }));
    }
    for (n_gal, sigma_e) in [(0.0, 0.3), (-1.0, 0.3), (20.0, f64::NAN), (20.0, -0.3)] {
        let noise = ShapeNoise {
            n_gal,
            sigma_e,
            seed: 0,
        };
        let error = refused(StatisticsPlan {
            shape_noise: Some(noise),
            ..plan()
        });
        assert!(matches!(error, StatsError::ShapeNoise { .. }));
    }
    for ratio in [0.0, 1.0, f64::NAN] {
        let error = refused(StatisticsPlan {
            bispectrum_folded: Some((vec![200.0, 400.0], ratio)),
            ..plan()
        });
        assert!(matches!(error, StatsError::Ratio(_)));
    }
    assert_eq!(
        Thresholds::new(&[1.0, 1.0], Unit::Absolute),
        Err(StatsError::Edges)
    );
    for sigma in [0.0, -1.0, f64::INFINITY] {
        let thresholds = Thresholds::new(&[0.0, 1.0], Unit::Sigma(sigma));
        assert_eq!(thresholds, Err(StatsError::Sigma(sigma)));
    }
}

#[test]
fn empty_bins_are_nan_and_have_no_modes() {
    let edges = [1.0, 2.0, 400.0, 800.0];
    let plan = StatisticsPlan {
        power_spectrum: Some(edges.to_vec()),
        bispectrum_equilateral: Some(edges.to_vec()),
        bispectrum_folded: Some((edges.to_vec(), 0.5)),
        ..StatisticsPlan::nothing(16, 1.0)
    };
    let statistics = MapStatistics::new(plan).unwrap();
    let row = statistics.measure_many(&noise(2, 256), 0).unwrap();
    assert_eq!(statistics.power_spectrum().unwrap().mode_counts()[0], 0);
    let folded = statistics.bispectrum_folded().unwrap().triangle_counts();
    assert_eq!(folded[0], 0);
    for statistic in [
        Statistic::PowerSpectrum,
        Statistic::BispectrumEquilateral,
        Statistic::BispectrumFolded,
    ] {
        let values = &row[statistics.columns(statistic)];
        assert!(values[0].is_nan() && values[1].is_finite(), "{values:?}");
    }
}

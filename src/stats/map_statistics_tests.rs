//! All statistics against LensTools' own numbers.

use super::*;
use crate::stats::testing::{Golden, golden_map, worst_difference};
use crate::stats::{Thresholds, Unit, arange, locate_peaks};

/// What LensTools' numbers are met to, of the largest of an array.
const TOLERANCE: f64 = 1e-10;

fn thresholds(edges: &[f64], unit: Unit) -> Option<Thresholds> {
    Some(Thresholds::new(edges, unit).unwrap())
}

/// The statistics of one map by name.
struct Measured {
    statistics: MapStatistics,
    row: Vec<f64>,
}

impl Measured {
    fn of<T: Copy + Into<f64> + Sync>(plan: StatisticsPlan, map: &[T]) -> Self {
        let statistics = MapStatistics::new(plan).unwrap();
        let row = statistics.measure_many(map, 0).unwrap();
        Self { statistics, row }
    }

    fn get(&self, statistic: Statistic) -> &[f64] {
        &self.row[self.statistics.columns(statistic)]
    }
}

#[test]
fn the_golden_map_has_the_statistics_that_lenstools_measures() {
    let map = golden_map();
    let edges: Vec<f64> = (0..20).map(|k| 100.0 + 150.0 * f64::from(k)).collect();
    let plan = StatisticsPlan {
        peak_count: thresholds(&arange(-1.0, 6.0, 1.0).unwrap(), Unit::MapSigma),
        ..StatisticsPlan::everything(
            32,
            3.5,
            &edges,
            &arange(-2.0, 2.0, 0.2).unwrap(),
            Unit::MapSigma,
        )
        .unwrap()
    };
    let measured = Measured::of(plan, &map);
    let mut worst = 0.0f64;
    let mut meets = |statistic: Statistic, bin: usize, expected: f64| {
        let ours = measured.get(statistic)[bin];
        let relative = ((ours - expected) / expected).abs();
        assert!(relative < 1e-12, "{statistic:?} {bin}: {ours} {expected}");
        worst = worst.max(relative);
    };
    use Statistic::*;
    // The digits of LensTools 1.2 with NumPy 1.23.5, 2026-11-26.
    for (bin, v0, v1, v2) in [
        (0, 0.9609375, 0.006672155493063662, -0.0057133492635610215),
        (5, 0.86328125, 0.009989987364752095, -0.0029230536499580562),
        (9, 0.6708984375, 0.08344807557037312, -0.0009321460141872945),
        (
            10,
            0.3447265625,
            0.09043543498606718,
            -0.0018171791855502986,
        ),
        (14, 0.1767578125, 0.010497763252989378, 0.00151443193027617),
    ] {
        meets(MinkowskiV0, bin, v0);
        meets(MinkowskiV1, bin, v1);
        meets(MinkowskiV2, bin, v2);
    }
    for (l, power) in [
        (175.0, 4.900770419119849e-07),
        (325.0, 8.524569505859798e-07),
        (475.0, 6.540802138716883e-07),
        (925.0, 6.026830267345635e-07),
        (1825.0, 5.535921207146854e-07),
    ] {
        let l_of = measured.statistics.abscissae(PowerSpectrum);
        let bin = l_of.iter().position(|&of| of == l).unwrap();
        meets(PowerSpectrum, bin, power);
    }
    for (l, equilateral, folded) in [
        (175.0, 2.5850249877513084e-11, 3.687326268487383e-11),
        (325.0, -5.427275845823329e-12, 3.119761061453428e-12),
        (475.0, 6.468540687772256e-12, 1.4720505302430529e-12),
        (925.0, 3.7479348142863455e-12, 9.673514652327603e-13),
        (1825.0, -2.8471901191214606e-12, -3.238654447247071e-12),
    ] {
        let l_of = measured.statistics.abscissae(BispectrumFolded);
        let bin = l_of.iter().position(|&of| of == l).unwrap();
        meets(BispectrumEquilateral, bin, equilateral);
        meets(BispectrumFolded, bin, folded);
    }
    assert_eq!(measured.get(PeakCount), [0.0, 30.0, 47.0, 41.0, 0.0, 0.0]);
    let moments = [
        0.38505235530217513,
        0.38879119643868315,
        0.018992481371797987,
        -0.015426350457145141,
        -0.002118451854028338,
        0.0799478882470085,
        -0.08108335198763059,
        -0.02357275319918726,
        0.04739811368407466,
    ];
    for (bin, expected) in moments.into_iter().enumerate() {
        meets(Moments, bin, expected);
    }
    println!("largest relative difference {worst:e}");
}

/// One array of the crops beside LensTools'.
fn compare(worst: &mut f64, name: &str, ours: &[f64], expected: &[f64]) {
    let difference = worst_difference(name, ours, expected);
    assert!(difference < TOLERANCE, "{name}: {difference:e}");
    *worst = worst.max(difference);
}

#[test]
fn four_crops_have_the_statistics_that_lenstools_measures() {
    let Some(mut golden) = Golden::open() else {
        return;
    };
    use Statistic::*;
    let (nu, kappa) = (golden.array("nu_edges"), golden.array("kappa_edges"));
    let (peak, pdf) = (golden.array("peak_edges"), golden.array("pdf_edges"));
    let (mut worst, mut arrays) = (0.0f64, 0);
    for (index, (angle, crop)) in golden.crops.clone().into_iter().enumerate() {
        let mut array = |name: &str| golden.array(&format!("crop{index}/{name}"));
        let bispectrum_edges = array("bispec_eq_edges");
        let absolute = StatisticsPlan {
            power_spectrum: Some(array("ps_lin_edges")),
            minkowski: thresholds(&kappa, Unit::Absolute),
            peak_count: thresholds(&peak, Unit::Absolute),
            pdf: thresholds(&pdf, Unit::Absolute),
            moments: true,
            bispectrum_equilateral: Some(bispectrum_edges),
            ..StatisticsPlan::nothing(256, angle)
        };
        let in_sigma = StatisticsPlan {
            power_spectrum: Some(array("ps_log_edges")),
            minkowski: thresholds(&nu, Unit::MapSigma),
            peak_count: thresholds(&nu, Unit::MapSigma),
            ..StatisticsPlan::nothing(256, angle)
        };
        let absolute = Measured::of(absolute, &crop);
        let in_sigma = Measured::of(in_sigma, &crop);
        let pairs = [
            (&absolute, PowerSpectrum, "ps_lin_P", "ps_lin_l"),
            (&absolute, MinkowskiV0, "mf_kappa_V0", "mf_kappa_mid"),
            (&absolute, MinkowskiV1, "mf_kappa_V1", "mf_kappa_mid"),
            (&absolute, MinkowskiV2, "mf_kappa_V2", "mf_kappa_mid"),
            (&absolute, PeakCount, "peaks_dN_dkappa", "peaks_mid"),
            (&absolute, Pdf, "pdf", "pdf_mid"),
            (&absolute, BispectrumEquilateral, "bispec_eq_B", ""),
            (&in_sigma, PowerSpectrum, "ps_log_P", "ps_log_l"),
            (&in_sigma, MinkowskiV0, "mf_nu_V0", "mf_nu_mid"),
            (&in_sigma, MinkowskiV1, "mf_nu_V1", "mf_nu_mid"),
            (&in_sigma, MinkowskiV2, "mf_nu_V2", "mf_nu_mid"),
            (&in_sigma, PeakCount, "peaks_nu_dN_dnu", "peaks_nu_mid"),
        ];
        for (measured, statistic, name, middle) in pairs {
            compare(&mut worst, name, measured.get(statistic), &array(name));
            if !middle.is_empty() {
                let abscissae = measured.statistics.abscissae(statistic);
                compare(&mut worst, middle, &abscissae, &array(middle));
            }
            arrays += 1;
        }
        let moments = absolute.get(Moments).try_into().unwrap();
        let moments = crate::stats::Moments::from_array(moments);
        let connected = moments.connected().dimensionless().to_array();
        compare(
            &mut worst,
            "moments",
            &moments.to_array(),
            &array("moments"),
        );
        let name = "moments_connected_dimensionless";
        compare(&mut worst, name, &connected, &array(name));
        let peaks = locate_peaks(&crop, 256).unwrap();
        // LensTools goes through columns first, and positions are (x, y) in degrees.
        let mut ours: Vec<_> = peaks.iter().map(|p| (p.column, p.row, p.height)).collect();
        ours.sort_by_key(|&(column, row, _)| (column, row));
        let (values, places) = (array("peak_values"), array("peak_pos_deg"));
        assert_eq!(peaks.len(), values.len());
        for ((column, row, height), (value, place)) in
            ours.into_iter().zip(values.iter().zip(places.chunks(2)))
        {
            assert_eq!(height, *value);
            for (pixel, degrees) in [column, row].into_iter().zip(place) {
                assert!((pixel as f64 * angle / 256.0 - degrees).abs() < 1e-9);
            }
        }
        arrays += 4;
    }
    println!("{arrays} arrays, largest difference {worst:e} of an array's largest value");
    assert_eq!(arrays, 64);
}

#[test]
fn smoothed_crops_have_the_statistics_that_lenstools_measures() {
    let Some(mut golden) = Golden::open() else {
        return;
    };
    let (nu, peak) = (golden.array("nu_edges"), golden.array("peak_edges"));
    let mut worst = 0.0;
    for index in [0, 2] {
        let (angle, crop) = golden.crops[index].clone();
        let plan = StatisticsPlan {
            minkowski: thresholds(&nu, Unit::MapSigma),
            peak_count: thresholds(&peak, Unit::Absolute),
            smooth_arcmin: Some(1.0),
            ..StatisticsPlan::nothing(256, angle)
        };
        let measured = Measured::of(plan, &crop);
        let functionals = golden.array(&format!("crop{index}/smooth_1.0_mf_nu"));
        let names = [
            Statistic::MinkowskiV0,
            Statistic::MinkowskiV1,
            Statistic::MinkowskiV2,
        ];
        for (statistic, expected) in names.into_iter().zip(functionals.chunks(19).skip(1)) {
            let name = statistic.name();
            compare(&mut worst, name, measured.get(statistic), expected);
        }
        let peaks = golden.array(&format!("crop{index}/smooth_1.0_peaks"));
        compare(
            &mut worst,
            "peaks",
            measured.get(Statistic::PeakCount),
            &peaks,
        );
    }
    println!("largest difference {worst:e}");
}

#[test]
fn gradients_and_hessian_are_those_of_lenstools() {
    let Some(golden) = Golden::open() else {
        return;
    };
    let mut arrays = ndarray_npy::NpzReader::new(
        std::fs::File::open(crate::stats::testing::golden_stats("lenstools.npz").unwrap()).unwrap(),
    )
    .unwrap();
    let mut map = PaddedMap::new(256);
    map.fill(&golden.crops[0].1).unwrap();
    map.continue_rows();
    let mut row = RowDerivatives::new(256);
    let mut expected = |name: &str| -> ndarray::Array2<f64> {
        arrays.by_name(&format!("crop0/deriv_{name}")).unwrap()
    };
    let names = ["gx", "gy", "hxx", "hyy", "hxy"];
    let all = names.map(&mut expected);
    for y in 0..64 {
        row.set(&map, y);
        let ours = [&row.gx, &row.gy, &row.hxx, &row.hyy, &row.hxy];
        for (name, (ours, expected)) in names.iter().zip(ours.into_iter().zip(&all)) {
            let expected = expected.row(y).to_vec();
            assert!(
                worst_difference(name, &ours[..64], &expected) < 1e-14,
                "{name}"
            );
        }
    }
}

#[test]
fn prepared_maps_are_the_maps_that_are_measured() {
    let map: Vec<f32> = golden_map().iter().map(|&v| v as f32).collect();
    let plan = |noise, smooth| StatisticsPlan {
        shape_noise: noise,
        smooth_arcmin: smooth,
        moments: true,
        ..StatisticsPlan::nothing(32, 3.5)
    };
    let noise = crate::stats::ShapeNoise {
        n_gal: 30.0,
        sigma_e: crate::stats::ShapeNoise::USUAL_SIGMA_E,
        seed: 4,
    };
    let two = [map.clone(), map.clone()].concat();
    let as_is = MapStatistics::new(plan(None, None)).unwrap();
    assert_eq!(as_is.prepared(&two, 5).unwrap(), &two[..]);
    let changed = MapStatistics::new(plan(Some(noise), Some(5.0))).unwrap();
    let prepared = changed.prepared(&two, 5).unwrap();
    assert_ne!(prepared[..1024], prepared[1024..]);
    let (expected, found) = (
        changed.measure_many(&two, 5).unwrap(),
        as_is.measure_many(&prepared, 0).unwrap(),
    );
    for (a, b) in expected.iter().zip(found) {
        assert!((a - b).abs() < 1e-5 * a.abs().max(1e-6), "{a} {b}");
    }
    let flat = changed.prepared(&[0.5; 2048], 5).unwrap_err();
    assert!(
        matches!(flat, StatsError::Constant { map: 5, .. }),
        "{flat}"
    );
}

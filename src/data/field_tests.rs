use super::super::testing::shared;
use super::*;
use crate::stats::{PowerSpectrum, log_bins};
use crate::theory::{ConvergencePower, Cosmology};

const MAPS: usize = 200;

const LOGNORMAL: FieldKind = FieldKind::Lognormal { shift: 0.04 };

fn patch(pixels: usize, side_deg: f64, periodic: bool) -> Patch {
    Patch {
        pixels,
        side_deg,
        periodic,
    }
}

fn paper_power() -> ConvergencePower {
    ConvergencePower::new(&Cosmology::PAPER, 1.0).unwrap()
}

fn field(kind: FieldKind, patch: Patch, power: &ConvergencePower) -> RandomField {
    RandomField::new(kind, patch, |l| power.at(l)).unwrap()
}

/// `MAPS` realisations under `seed`.
fn realisations(field: &RandomField, seed: u64) -> Vec<f32> {
    let mut maps = vec![0.0; MAPS * field.patch.pixels.pow(2)];
    field.realise_many(seed, 0, &mut maps);
    maps
}

/// Mean of `values` and its standard error.
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let spread = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (spread / n).sqrt())
}

/// The expected power, in steradians, of each stored mode of a map `[N, N]` of a field that has
/// `power`: the spectrum itself where the map is the whole periodic grid, else that of a piece, which
/// is the Fourier transform of the correlation function times the number of pairs of pixels at each
/// separation.
fn expected_modes(patch: &Patch, power: &ConvergencePower) -> Vec<f64> {
    let area = patch.side_deg.to_radians().powi(2);
    let powers = mode_powers(patch, |l| power.at(l)).unwrap();
    if patch.periodic {
        return powers.into_iter().map(|power| power * area).collect();
    }
    let (n, grid) = (patch.pixels, patch.grid());
    let fft = Fft2::<f64>::new(grid);
    let mut pairs = inverse(&fft, &powers);
    let overlap = |d: usize| (n - d.min(grid - d)) as f64;
    for (at, xi) in pairs.iter_mut().enumerate() {
        *xi *= overlap(at / grid) * overlap(at % grid);
    }
    let modes = fft.forward(&mut pairs);
    // The waves of the piece are every second one of the grid.
    let stored = (0..n).flat_map(|i| (0..=n / 2).map(move |j| (i, j)));
    let normalised = stored.map(|(i, j)| modes[2 * i * fft.half() + 2 * j].re);
    normalised
        .map(|sum| sum * area / (n as f64).powi(4))
        .collect()
}

/// Means of `modes` in the bins of `estimator`, by its definition.
fn binned(modes: &[f64], pixels: usize, side_deg: f64, edges: &[f64]) -> Vec<f64> {
    let mut sums = vec![(0.0, 0.0); edges.len() - 1];
    for (at, mode) in modes.iter().enumerate() {
        let (i, j) = (at / (pixels / 2 + 1), at % (pixels / 2 + 1));
        let l = 360.0 / side_deg * (i.min(pixels - i) as f64).hypot(j as f64);
        let bin = edges
            .windows(2)
            .position(|edge| edge[0] < l && l <= edge[1]);
        if let Some(bin) = bin {
            sums[bin].0 += mode;
            sums[bin].1 += 1.0;
        }
    }
    sums.into_iter().map(|(sum, count)| sum / count).collect()
}

/// The mean spectrum of many maps agrees with the expected one within 4 standard errors in every bin,
/// and these are small.
fn check_spectrum(kind: FieldKind, patch: Patch, power: &ConvergencePower, seed: u64) {
    let field = field(kind, patch, power);
    assert!(field.power_error() < 1e-3, "{}", field.power_error());
    let maps = realisations(&field, seed);
    let edges = log_bins(patch.pixels, patch.side_deg, 7).unwrap();
    let estimator = PowerSpectrum::new(patch.pixels, patch.side_deg, &edges).unwrap();
    let measured = estimator.measure_many(&maps).unwrap();
    let modes = expected_modes(&patch, power);
    let expected = binned(&modes, patch.pixels, patch.side_deg, &edges);
    let mut smallest = f64::INFINITY;
    for (bin, expected) in expected.into_iter().enumerate() {
        let of_bin = measured.iter().skip(bin).step_by(estimator.bins());
        let ratios: Vec<f64> = of_bin.map(|power| power / expected).collect();
        let (ratio, error) = mean_and_error(&ratios);
        println!("{kind:?}, {patch:?}, bin {bin}: {ratio:.4} +- {error:.4}");
        assert!(
            (ratio - 1.0).abs() < 4.0 * error,
            "bin {bin}: {ratio} +- {error}"
        );
        assert!(
            error < 0.2,
            "bin {bin} measures nothing: {ratio} +- {error}"
        );
        smallest = smallest.min(error);
    }
    assert!(smallest < 0.01, "{smallest}");
}

#[test]
fn the_mean_spectrum_of_periodic_maps_is_the_input_within_sampling_error() {
    let other = Cosmology {
        omega_m: 0.35,
        sigma_8: 0.7,
        w: -0.8,
        ..Cosmology::PAPER
    };
    let other = ConvergencePower::new(&other, 0.7).unwrap();
    check_spectrum(
        FieldKind::Gaussian,
        patch(128, 3.464, true),
        &paper_power(),
        1,
    );
    check_spectrum(FieldKind::Gaussian, patch(75, 1.0, true), &other, 2);
    check_spectrum(LOGNORMAL, patch(128, 1.732, true), &paper_power(), 3);
    check_spectrum(LOGNORMAL, patch(99, 5.0, true), &other, 4);
}

#[test]
fn the_mean_spectrum_of_cut_maps_is_that_of_a_piece_of_the_sky_within_sampling_error() {
    let other = Cosmology {
        omega_m: 0.2,
        sigma_8: 0.9,
        n_s: 1.0,
        ..Cosmology::PAPER
    };
    let other = ConvergencePower::new(&other, 1.5).unwrap();
    check_spectrum(
        FieldKind::Gaussian,
        patch(128, 0.866, false),
        &paper_power(),
        5,
    );
    check_spectrum(FieldKind::Gaussian, patch(61, 10.0, false), &other, 6);
    check_spectrum(LOGNORMAL, patch(128, 3.464, false), &paper_power(), 7);
    check_spectrum(LOGNORMAL, patch(90, 2.0, false), &other, 8);
}

#[test]
fn one_point_moments_are_those_of_the_distribution() {
    let power = paper_power();
    for (kind, patch) in [
        (LOGNORMAL, patch(128, 1.732, true)),
        (LOGNORMAL, patch(101, 3.0, false)),
        (FieldKind::Lognormal { shift: 0.015 }, patch(96, 3.0, true)),
        (FieldKind::Gaussian, patch(99, 1.732, true)),
    ] {
        let field = field(kind, patch, &power);
        // Of the spectrum alone; a lognormal field's mean adds a little.
        let all = mode_powers(&patch, |l| power.at(l)).unwrap();
        let rms = whole_plane_sum(patch.grid(), all.into_iter()).sqrt();
        assert!(
            (field.rms() / rms - 1.0).abs() < 0.01,
            "{} {rms}",
            field.rms()
        );
        let maps = realisations(&field, 22);
        let rms = field.rms();
        let skewness = match kind {
            FieldKind::Gaussian => 0.0,
            FieldKind::Lognormal { shift } => {
                assert!(maps.iter().all(|&value| value > -shift as f32));
                let y = rms / shift;
                3.0 * y + y.powi(3)
            }
        };
        let expected = [0.0, rms.powi(2), skewness * rms.powi(3)];
        for (power, expected) in (1..).zip(expected) {
            let moments = maps.chunks_exact(patch.pixels.pow(2)).map(|map| {
                let sum: f64 = map.iter().map(|&k| f64::from(k).powi(power)).sum();
                sum / map.len() as f64
            });
            let (mean, error) = mean_and_error(&moments.collect::<Vec<_>>());
            let units = rms.powi(power);
            println!(
                "{kind:?}, {patch:?}, moment {power}: {:.4} +- {:.4}, expected {:.4}",
                mean / units,
                error / units,
                expected / units
            );
            // Periodic Gaussian maps have a mean of 0 but for rounding.
            let allowed = 4.0 * error + 1e-6 * units;
            assert!((mean - expected).abs() < allowed, "moment {power}");
            assert!(
                error < 0.2 * units.max(expected),
                "moment {power} measures nothing"
            );
        }
    }
}

#[test]
fn maps_have_no_preferred_row_or_column() {
    for side in [64, 45] {
        let field = field(LOGNORMAL, patch(side, 1.2, true), &paper_power());
        let [mut rows, mut columns] = [Vec::new(), Vec::new()];
        for index in 0..300 {
            let k = field.realise(23, index);
            let step = |dy: usize, dx: usize| {
                let products = (0..side * side).map(|at| {
                    let (y, x) = (at / side, at % side);
                    let shifted = (y + dy) % side * side + (x + dx) % side;
                    f64::from(k[at]) * f64::from(k[shifted])
                });
                products.sum::<f64>()
            };
            rows.push(step(3, 0) - step(0, 3));
            columns.push(step(3, 3) - step(side - 3, 3));
        }
        for difference in [rows, columns] {
            let (mean, error) = mean_and_error(&difference);
            assert!(mean.abs() < 4.0 * error, "{mean} +- {error}");
        }
    }
}

#[test]
fn a_cut_map_is_a_part_of_a_periodic_one_twice_as_wide_and_does_not_continue_at_its_edges() {
    let power = paper_power();
    let [cut, whole] = [(33, 1.0, false), (66, 2.0, true)]
        .map(|(n, side, periodic)| field(LOGNORMAL, patch(n, side, periodic), &power));
    let map = cut.realise(1, 5);
    for (row, periodic) in map
        .chunks_exact(33)
        .zip(whole.realise(1, 5).chunks_exact(66))
    {
        assert_eq!(row, &periodic[..33]);
    }
    assert_ne!(map, cut.realise(1, 6));
    assert_ne!(map, cut.realise(2, 5));
    // The correlation of the first column with the last, over that of neighbours.
    let around_the_edge = |field: &RandomField, n: usize| {
        let (mut edge, mut inside) = (0.0, 0.0);
        for index in 0..MAPS as u64 {
            for row in field.realise(3, index).chunks_exact(n) {
                edge += f64::from(row[0] * row[n - 1]);
                inside += f64::from(row[0] * row[1]);
            }
        }
        edge / inside
    };
    let [cut, whole] = [around_the_edge(&cut, 33), around_the_edge(&whole, 66)];
    assert!(cut.abs() < 0.3, "{cut}");
    assert!((whole - 1.0).abs() < 0.1, "{whole}");
}

/// Maps of a known spectrum by another program (powerbox), which tie the units of C_l, the shift and
/// the estimator to an independent reader's.
#[test]
fn fields_agree_with_those_of_another_program_in_spectrum_and_rms() {
    let (Some(table), Some(maps)) = (
        shared("data/known_spectrum/input_cl.csv"),
        shared("data/known_spectrum/gaussian_256.npy"),
    ) else {
        return;
    };
    let text = std::fs::read_to_string(table).unwrap();
    let points = text.lines().skip(1).map(|line| {
        let (l, power) = line.split_once(',').unwrap();
        (l.parse().unwrap(), power.parse().unwrap())
    });
    let power = ConvergencePower::from_table(&points.collect::<Vec<(f64, f64)>>()).unwrap();
    let patch = patch(256, 12_f64.sqrt() / 4.0, true);
    let maps: ndarray::Array3<f32> =
        ndarray_npy::ReadNpyExt::read_npy(std::fs::File::open(maps).unwrap()).unwrap();
    let edges = log_bins(patch.pixels, patch.side_deg, 7).unwrap();
    let estimator = PowerSpectrum::new(patch.pixels, patch.side_deg, &edges).unwrap();
    let measured = estimator.mean(maps.as_slice().unwrap()).unwrap();
    let expected = expected_modes(&patch, &power);
    let expected = binned(&expected, patch.pixels, patch.side_deg, &edges);
    for (bin, (theirs, ours)) in measured.iter().zip(expected).enumerate() {
        // Each of the stored modes of 8 maps scatters by its own power.
        let error = 1.5 / (8.0 * estimator.mode_counts()[bin] as f64).sqrt();
        let ratio = theirs / ours;
        println!("bin {bin}: {ratio:.4} +- {error:.4}");
        assert!(
            (ratio - 1.0).abs() < 4.0 * error,
            "bin {bin}: {ratio} +- {error}"
        );
    }
    let rms = field(FieldKind::Gaussian, patch, &power).rms();
    assert!((0.0206..0.0222).contains(&rms), "{rms}");
    let theory = field(FieldKind::Gaussian, patch, &paper_power()).rms();
    assert!((theory / rms - 1.0).abs() < 0.015, "{theory}, not {rms}");
}

#[test]
fn a_shift_too_small_for_the_spectrum_is_refused_with_one_that_is_not() {
    let power = paper_power();
    let patch = patch(64, 3.464, false);
    let new = |shift| RandomField::new(FieldKind::Lognormal { shift }, patch, |l| power.at(l));
    for (shift, error) in [(0.04, 0.0..1e-9), (0.01, 0.0..1e-9), (0.002, 0.001..0.05)] {
        let found = new(shift).unwrap().power_error();
        assert!(error.contains(&found), "shift {shift}: {found}");
    }
    let Err(FieldError::Shift { least, .. }) = new(1e-4) else {
        panic!("a shift without meaning was taken");
    };
    assert!(new(least).is_ok() && new(0.97 * least).is_err());
    for shift in [0.0, -0.04, f64::NAN, f64::INFINITY] {
        let error = new(shift).err().unwrap().to_string();
        assert!(error.starts_with("shift is "), "{error}");
    }
}

#[test]
fn patches_and_spectra_without_meaning_are_refused() {
    let new = |patch, power: f64| {
        let field = RandomField::new(FieldKind::Gaussian, patch, |_| power);
        field
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    for (pixels, periodic) in [
        (0, true),
        (7, false),
        (4097, false),
        (8193, true),
        (usize::MAX, false),
    ] {
        let error = new(patch(pixels, 1.0, periodic), 1e-9);
        assert!(error.starts_with("pixels is "), "{error}");
    }
    for side_deg in [0.0, -1.0, f64::NAN, f64::INFINITY, 31.0] {
        let error = new(patch(64, side_deg, false), 1e-9);
        assert!(error.starts_with("side_deg is "), "{error}");
    }
    for power in [f64::NAN, f64::INFINITY, -1e-12, 1e300] {
        let error = new(patch(64, 1.0, false), power);
        assert!(error.starts_with("the power spectrum is "), "{error}");
    }
}

//! The distance of Gaussian vectors of known covariance, and what it refuses.

use super::*;
use crate::testing::{normals, random};
use ndarray::s;
use rayon::prelude::*;

/// `maps` vectors of `bins` elements, neighbours correlated, in very different units.
fn vectors(number: u64, maps: usize, bins: usize) -> Array2<f64> {
    let white = normals(&mut random(number), maps * (bins + 1));
    Array2::from_shape_fn((maps, bins), |(map, bin)| {
        let at = map * (bins + 1) + bin;
        10_f64.powi(bin as i32 % 7 - 3) * (white[at] + 0.8 * white[at + 1] + 5.0)
    })
}

#[test]
fn its_mean_is_the_number_of_elements() {
    let (bins, maps, repeats) = (20, 60, 1000_u64);
    let values: Vec<f64> = (0..repeats)
        .into_par_iter()
        .map(|i| {
            let real = vectors(100_000 + 2 * i, maps, bins);
            let generated = vectors(100_001 + 2 * i, 2 * maps, bins);
            let found = chi_squared(real.view(), generated.view()).unwrap();
            assert!(
                found.refusal().is_none() && found.bins() == bins,
                "{found:?}"
            );
            found.value()
        })
        .collect();
    let count = repeats as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0);
    println!(
        "chi^2 of {bins} elements: mean {mean:.3} +- {:.3}",
        (variance / count).sqrt()
    );
    assert!(
        (mean - bins as f64).abs() < 4.0 * (variance / count).sqrt(),
        "{mean}"
    );
    // Without the factor it would be (N-1)/(N-p-2) = 1.55 times as much.
    assert!(mean < 1.2 * bins as f64);
}

#[test]
fn it_is_that_of_the_formula_in_the_units_given() {
    let (real, generated) = (vectors(1, 40, 6), vectors(2, 25, 6));
    let c = covariance(real.view()).unwrap() * (1.0 / 40.0 + 1.0 / 25.0);
    let d = feature_means(generated.view()).unwrap() - feature_means(real.view()).unwrap();
    let inverse = DMatrix::from_fn(6, 6, |i, j| c[[i, j]])
        .try_inverse()
        .unwrap();
    let d = DVector::from_iterator(6, d);
    let expected = (40.0 - 6.0 - 2.0) / 39.0 * (d.transpose() * inverse * &d)[0];
    let found = chi_squared(real.view(), generated.view()).unwrap();
    assert!(
        (found.value() / expected - 1.0).abs() < 1e-9,
        "{found:?} {expected}"
    );
    let shifted = generated.mapv(|v| 1.3 * v);
    let found = chi_squared(real.view(), shifted.view()).unwrap();
    assert!(found.value() > 20.0, "{found:?}");
}

#[test]
fn too_few_maps_and_singular_matrices_get_the_diagonal_form_and_are_told_so() {
    let (real, generated) = (vectors(3, 30, 8), vectors(4, 30, 8));
    let few = chi_squared(real.slice(s![..10, ..]), generated.view()).unwrap();
    let why = Refusal::TooFewMaps { maps: 10, bins: 8 };
    assert_eq!(few.refusal(), Some(why));
    assert!(why.to_string().contains("10 real maps are too few"));
    let enough = chi_squared(real.slice(s![..11, ..]), generated.view()).unwrap();
    assert!(enough.refusal().is_none());

    let mut twice = real.clone();
    let copy = twice.column(0).to_owned();
    twice.column_mut(3).assign(&copy);
    let found = chi_squared(twice.view(), generated.view()).unwrap();
    assert!(
        matches!(found.refusal(), Some(Refusal::Condition { condition }) if condition > 1e8),
        "{found:?}"
    );
    twice.column_mut(3).fill(1.0);
    let found = chi_squared(twice.view(), generated.view()).unwrap();
    assert!(
        matches!(found, ChiSquared::Diagonal { bins: 7, .. }),
        "{found:?}"
    );
    let mut sum = 0.0;
    for bin in (0..8).filter(|&bin| bin != 3) {
        let d = generated.column(bin).mean().unwrap() - twice.column(bin).mean().unwrap();
        sum += d * d / (twice.column(bin).var(1.0) * (2.0 / 30.0));
    }
    assert!((found.value() / sum - 1.0).abs() < 1e-10);
}

#[test]
fn empty_elements_are_left_out_and_faults_are_refused() {
    let (mut real, mut generated) = (vectors(5, 30, 5), vectors(6, 20, 5));
    let whole = chi_squared(real.slice(s![.., ..4]), generated.slice(s![.., ..4])).unwrap();
    real.column_mut(4).fill(f64::NAN);
    let error = chi_squared(real.view(), generated.view()).unwrap_err();
    assert!(matches!(
        error,
        StatsError::Length {
            got: 5,
            expected: 4,
            ..
        }
    ));
    generated.column_mut(4).fill(f64::NAN);
    assert_eq!(chi_squared(real.view(), generated.view()).unwrap(), whole);
    generated[[3, 2]] = f64::INFINITY;
    let error = chi_squared(real.view(), generated.view()).unwrap_err();
    assert!(matches!(error, StatsError::Feature { map: 3, bin: 2, .. }));
    assert!(chi_squared(real.view(), generated.slice(s![.., ..3])).is_err());
    assert!(chi_squared(real.slice(s![..1, ..]), real.view()).is_err());
    let same = Array2::from_elem((30, 3), 2.0);
    assert_eq!(
        chi_squared(same.view(), same.view()),
        Err(StatsError::AllEqual)
    );
}

#[test]
fn one_reference_gives_the_distances_of_many_sets_in_the_form_it_was_told() {
    let real = vectors(11, 40, 6);
    let reference = ChiSquaredReference::new(real.view()).unwrap();
    assert_eq!((reference.refusal(), reference.elements()), (None, 6));
    let why = Refusal::TooFewMaps { maps: 5, bins: 6 };
    let diagonal = reference.clone().diagonal(why);
    assert_eq!(diagonal.refusal(), Some(why));
    for number in 12..15 {
        let generated = vectors(number, 25, 6);
        let expected = chi_squared(real.view(), generated.view());
        assert_eq!(reference.distance(generated.view()), expected);
        let c = covariance(real.view()).unwrap() * (1.0 / 40.0 + 1.0 / 25.0);
        let d = feature_means(generated.view()).unwrap() - feature_means(real.view()).unwrap();
        let sum: f64 = (0..6).map(|i| d[i] * d[i] / c[[i, i]]).sum();
        let found = diagonal.distance(generated.view()).unwrap();
        assert!((found.value() / sum - 1.0).abs() < 1e-12, "{found:?}");
        assert_eq!((found.bins(), found.refusal()), (6, Some(why)));
    }
}

//! The Anderson-Darling test against scipy's recorded values.

use super::*;
use crate::stats::testing::golden_cases;

#[test]
fn every_recorded_test_of_scipy_comes_out() {
    let Some(cases) = golden_cases() else { return };
    for case in &cases {
        for (key, variant) in [
            ("midrank", AndersonVariant::Midrank),
            ("right", AndersonVariant::Right),
            ("continuous", AndersonVariant::Continuous),
        ] {
            let found = anderson_ksamp(&[&case.x, &case.y], variant).unwrap();
            let expected = &case.record[&format!("anderson_ksamp/{key}")];
            let number = |field: &str| expected[field].as_f64().unwrap();
            let what = format!("{} {key}: {found:?} {expected}", case.name);
            assert!(
                (found.statistic - number("statistic")).abs() < 1e-9,
                "{what}"
            );
            assert!((found.p_value - number("pvalue")).abs() < 1e-9, "{what}");
            let clipped = match number("pvalue") {
                0.25 => Clipped::AtCeiling,
                0.001 => Clipped::AtFloor,
                _ => Clipped::No,
            };
            assert_eq!(found.clipped, clipped, "{what}");
        }
    }
}

/// Three samples with ties; scipy 1.17.1.
#[test]
fn three_samples_with_ties_have_the_statistic_of_scipy() {
    let a = [1.0, 2.0, 2.0, 3.0, 5.0, 8.0, 8.0];
    let b = [2.0, 3.0, 3.0, 4.0, 9.0];
    let c = [5.0, 6.0, 8.0, 9.0, 9.0, 10.0];
    for (variant, statistic, p_value) in SCIPY {
        let found = anderson_ksamp(&[&a, &b, &c], variant).unwrap();
        assert!((found.statistic - statistic).abs() < 1e-9, "{found:?}");
        assert!((found.p_value - p_value).abs() < 1e-9, "{found:?}");
    }
}

#[test]
fn faulty_samples_are_refused() {
    let test = |samples: &[&[f64]]| anderson_ksamp(samples, AndersonVariant::Midrank).unwrap_err();
    assert_eq!(test(&[&[1.0, 2.0], &[1.0, f64::NAN]]), StatsError::Nan(1));
    assert_eq!(test(&[&[1.0, 2.0, 3.0, 4.0], &[]]), StatsError::Empty);
    assert_eq!(test(&[&[1.0; 4], &[1.0; 4]]), StatsError::AllEqual);
    assert!(matches!(test(&[&[1.0, 2.0]]), StatsError::TooFew { .. }));
    assert!(matches!(
        test(&[&[1.0, 2.0], &[3.0]]),
        StatsError::TooFew { .. }
    ));
}

const SCIPY: [(AndersonVariant, f64, f64); 3] = [
    (
        AndersonVariant::Midrank,
        2.4627887752037703,
        0.02833304255912678,
    ),
    (
        AndersonVariant::Right,
        2.1002322903624973,
        0.041949811639841905,
    ),
    (
        AndersonVariant::Continuous,
        2.5997054709454988,
        0.02443215371376033,
    ),
];

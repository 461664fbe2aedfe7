//! The two-sample test against scipy's recorded values, and its exact p-value against counting.

use super::*;
use crate::stats::kolmogorov_sf;
use crate::stats::testing::golden_cases;

fn by_name(name: &str) -> (Alternative, Method) {
    let alternative = match name.rsplit('/').next() {
        Some("less") => Alternative::Less,
        Some("greater") => Alternative::Greater,
        _ => Alternative::TwoSided,
    };
    let method = match name.split('/').nth(1) {
        Some("exact") => Method::Exact,
        Some("asymp") => Method::Asymptotic,
        _ => Method::Auto,
    };
    (alternative, method)
}

#[test]
fn every_recorded_test_of_scipy_comes_out() {
    let Some(cases) = golden_cases() else { return };
    let mut compared = 0;
    for case in &cases {
        for (key, expected) in case.record.as_object().unwrap() {
            if !key.starts_with("ks_2samp/") {
                continue;
            }
            let (alternative, method) = by_name(key);
            let found = ks_2samp(&case.x, &case.y, alternative, method).unwrap();
            let what = format!("{} {key}: {found:?} {expected}", case.name);
            let number = |field: &str| expected[field].as_f64().unwrap();
            assert!(
                (found.statistic - number("statistic")).abs() < 1e-12,
                "{what}"
            );
            assert!((found.p_value - number("pvalue")).abs() < 1e-9, "{what}");
            assert_eq!(f64::from(found.sign), number("sign"), "{what}");
            assert_eq!(found.location, number("location"), "{what}");
            compared += 1;
        }
        let d = ks_2samp(&case.x, &case.y, Alternative::TwoSided, Method::Exact).unwrap();
        let (n, m) = (case.x.len() as f64, case.y.len() as f64);
        let p = kolmogorov_sf(d.statistic * (n * m / (n + m)).sqrt());
        let expected = case.record["kstwobign_sf_sqrt_n_D"].as_f64().unwrap();
        assert!((p - expected).abs() < 1e-9, "{}: {p} {expected}", case.name);
    }
    assert!(compared >= 7 * 5, "{compared}");
}

/// The p-value by its definition: all ways to deal n of n + m ranks to x.
fn by_counting(d: f64, n: usize, m: usize, alternative: Alternative) -> f64 {
    let (mut all, mut outside) = (0_u32, 0_u32);
    for choice in 0_u32..1 << (n + m) {
        if choice.count_ones() as usize != n {
            continue;
        }
        all += 1;
        let (mut i, mut j, mut largest) = (0.0, 0.0, 0.0_f64);
        for rank in 0..n + m {
            if choice >> rank & 1 == 1 {
                i += 1.0;
            } else {
                j += 1.0;
            }
            let difference: f64 = i / n as f64 - j / m as f64;
            largest = largest.max(match alternative {
                Alternative::TwoSided => difference.abs(),
                Alternative::Greater => difference,
                Alternative::Less => -difference,
            });
        }
        outside += u32::from(largest > d - 1e-12);
    }
    f64::from(outside) / f64::from(all)
}

#[test]
fn exact_p_values_are_those_of_counting_all_orders() {
    for (n, m) in [(5, 5), (4, 6), (7, 5), (1, 6), (6, 3)] {
        for step in 1..=n * m {
            let d = step as f64 / (n * m) as f64;
            // Only multiples of 1/lcm can occur; others round to one.
            if step % gcd(n, m) != 0 {
                continue;
            }
            for side in [
                Alternative::TwoSided,
                Alternative::Less,
                Alternative::Greater,
            ] {
                let (p, method) = ks_p_value(d, n, m, side, Method::Exact);
                assert_eq!(method, Method::Exact);
                let expected = by_counting(d, n, m, side);
                assert!(
                    (p - expected).abs() < 1e-13,
                    "{n} {m} {d} {side:?}: {p} {expected}"
                );
            }
        }
    }
}

#[test]
fn small_p_values_keep_their_digits_and_large_samples_their_speed() {
    let (p, _) = ks_p_value(1.0, 40, 50, Alternative::TwoSided, Method::Exact);
    // Two orders of C(90, 40).
    let log = ln_factorial(90) - ln_factorial(40) - ln_factorial(50);
    assert!((p / (2.0 * (-log).exp()) - 1.0).abs() < 1e-11, "{p:e}");
    let (exact, method) = ks_p_value(0.025, 6400, 6399, Alternative::TwoSided, Method::Auto);
    assert_eq!(method, Method::Exact);
    let (square, _) = ks_p_value(0.025, 6400, 6400, Alternative::TwoSided, Method::Auto);
    assert!((exact / square - 1.0).abs() < 0.05, "{exact} {square}");
    let (asymptotic, method) = ks_p_value(0.025, 64_000, 6400, Alternative::TwoSided, Method::Auto);
    assert_eq!(method, Method::Asymptotic);
    assert!(asymptotic > 0.0 && asymptotic < exact);
}

#[test]
fn faulty_samples_are_refused() {
    let test = |x: &[f64], y: &[f64]| ks_2samp(x, y, Alternative::TwoSided, Method::Auto);
    assert_eq!(test(&[], &[1.0]).unwrap_err(), StatsError::Empty);
    assert_eq!(test(&[1.0], &[f64::NAN]).unwrap_err(), StatsError::Nan(0));
    // A constant sample is a sample: all of it is one tie.
    let constant = test(&[1.0; 5], &[1.0; 7]).unwrap();
    assert_eq!((constant.statistic, constant.p_value), (0.0, 1.0));
}

//! Kolmogorov's distributions against scipy 1.17's and against each other.

use super::*;

/// (n, d, `scipy.stats.kstwo.sf(d, n)`, `scipy.special.smirnov(n, d)`), scipy 1.17.1, in every
/// range of the algorithm.
const SCIPY: [(u64, f64, f64, f64); 23] = [
    (7, 0.05, 1.0, 0.93299521796875),
    (7, 0.1, 0.9999899731574429, 0.8228439),
    (20, 0.03, 1.0, 0.947394818407687),
    (20, 0.2, 0.352720173623415, 0.1771853932104659),
    (100, 0.08, 0.5182193645480672, 0.2638568897514003),
    (100, 0.25, 5.408871776434847e-06, 2.7044358882174237e-06),
    (140, 0.17, 0.0005246108687519814, 0.0002623054343759907),
    (141, 0.05, 0.854845693009663, 0.47825576606563275),
    (200, 0.02, 0.9999948480179858, 0.8410019387016985),
    (200, 0.08, 0.1463961356372503, 0.07322575739297707),
    (600, 0.03, 0.6414443759886659, 0.332931870741805),
    (600, 0.06, 0.025508315250604485, 0.012754167419857278),
    (600, 0.0603333, 0.024302849682065975, 0.012151430265877824),
    (3200, 0.01, 0.9029391404683546, 0.5238046946313972),
    (3200, 0.02, 0.15248639128204022, 0.07627696374267062),
    (3200, 0.03, 0.006172754059449753, 0.0030863770297248766),
    (50000, 0.004, 0.3994316646755731, 0.20135912950638482),
    (50000, 0.006, 0.05442749636006261, 0.027214296518248433),
    (10, 0.7, 1.9544800000000034e-05, 9.772400000000017e-06),
    (10, 0.95, 1.9531250000000172e-13, 9.765625000000086e-14),
    (200, 0.7, 9.389465176622686e-99, 4.694732588311343e-99),
    (2000000, 0.0005, 0.6991771101944894, 0.3677568249110604),
    (2000000, 0.0012, 0.006297183259583361, 0.0031485916297916807),
];

#[test]
fn finite_samples_have_the_probabilities_of_scipy() {
    for (n, d, two_sided, one_sided) in SCIPY {
        let found = kolmogorov_n_sf(n, d);
        assert!((found - two_sided).abs() < 1e-10, "n={n} d={d}: {found}");
        let found = smirnov_sf(n, d);
        assert!((found - one_sided).abs() < 1e-10, "n={n} d={d}: {found}");
        // Where nothing cancels, small numbers are right as well.
        if two_sided < 1e-3 {
            assert!(
                (found / one_sided - 1.0).abs() < 1e-10,
                "n={n} d={d}: {found}"
            );
        }
    }
}

#[test]
fn the_expansion_for_large_n_agrees_with_the_exact_matrix() {
    for n in [150_u64, 300, 600, 1200] {
        for z in [0.4, 0.6, 0.8, 1.0, 1.2, 1.45] {
            let d = z / (n as f64).sqrt();
            let difference = (pelz_good_cdf(n, d) - matrix_cdf(n, d)).abs();
            // The next order is 1/n^2.
            assert!(
                difference < 0.1 / (n * n) as f64,
                "n={n} z={z}: {difference:e}"
            );
        }
    }
}

#[test]
fn the_limit_is_kolmogorovs_distribution() {
    let scipy = [
        (0.2, 0.999999999999495),
        (0.5, 0.9639452436648751),
        (0.9, 0.3927307079406543),
        (1.0, 0.26999967167735456),
        (1.3, 0.06809222184476636),
        (2.0, 0.0006709252557796953),
    ];
    for (z, expected) in scipy {
        assert!((kolmogorov_sf(z) - expected).abs() < 1e-14, "{z}");
        let finite = kolmogorov_n_sf(90_000_000, z / 90_000_000_f64.sqrt());
        assert!((finite - expected).abs() < 1e-4, "{z}: {finite}");
    }
    assert_eq!(kolmogorov_sf(0.0), 1.0);
    assert!(kolmogorov_sf(f64::NAN).is_nan() && kolmogorov_n_sf(5, f64::NAN).is_nan());
}

#[test]
fn factorials_are_continuous_where_the_series_takes_over() {
    let exact: f64 = (2..=25).map(|i| f64::from(i).ln()).sum();
    assert!((ln_factorial(25) - exact).abs() < 1e-13 * exact);
    assert!((ln_factorial(20) - ln_factorial(19) - 20_f64.ln()).abs() < 1e-13);
}

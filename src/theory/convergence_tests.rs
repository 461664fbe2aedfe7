use rand::RngExt;

use super::super::testing::{Table, worst_ratio};
use super::*;
use crate::testing::random;

fn power(cosmology: &Cosmology, source_redshift: f64) -> ConvergencePower {
    ConvergencePower::new(cosmology, source_redshift).unwrap()
}

#[test]
fn c_l_is_that_of_camb_within_3_percent_from_l_100_to_20000() {
    let Some(table) = Table::open("cl_kappa_zs1.csv") else {
        return;
    };
    let mut cosmologies = 0;
    for (omega_m, sigma_8) in [(0.26, 0.798), (0.2, 0.8), (0.26, 0.7), (0.26, 0.9)] {
        let ours = power(
            &Cosmology {
                omega_m,
                sigma_8,
                ..Cosmology::PAPER
            },
            1.0,
        );
        let prefix = format!("Om{omega_m:.3}_s8{sigma_8:.3}");
        for (suffix, tolerance) in [("camb_halofit", 0.03), ("ccl_eisenstein_hu_halofit", 1e-3)] {
            let name = format!("{prefix}/{suffix}");
            let rows = table.column(&name);
            let rows = rows.filter(|(l, _)| (100.0..=20_000.0).contains(l));
            worst_ratio(&name, tolerance, rows.map(|(l, c)| (l, ours.at(l), c)));
        }
        cosmologies += 1;
    }
    let all = table.names().iter();
    let all = all.filter(|name| name.ends_with("/camb_halofit"));
    assert_eq!(
        all.count(),
        cosmologies,
        "a cosmology of the table is left out"
    );
}

/// C_l of P(k, z) by CAMB 2.0.5 (Takahashi's halofit, massless neutrinos, PPF dark energy), summed
/// over the line of sight with 400 points, at l = 100, 300, 1000, 3000, 10000 and 20000:
/// [Omega_m, Omega_b, sigma_8, h, n_s, w], z_s, C_l.
const CAMB: [([f64; 6], f64, [f64; 6]); 5] = [
    (
        [0.3, 0.05, 0.8, 0.7, 0.965, -0.8],
        1.0,
        [
            6.807815e-09,
            1.585355e-09,
            3.766199e-10,
            8.519852e-11,
            9.377584e-12,
            2.121931e-12,
        ],
    ),
    (
        [0.3, 0.05, 0.8, 0.7, 0.965, -1.2],
        1.0,
        [
            7.865982e-09,
            1.803828e-09,
            4.125379e-10,
            9.273515e-11,
            1.015661e-11,
            2.277385e-12,
        ],
    ),
    (
        [0.3, 0.05, 0.8, 0.7, 0.965, -0.6],
        2.0,
        [
            1.812180e-08,
            4.404163e-09,
            9.212570e-10,
            2.310480e-10,
            3.297692e-11,
            8.345328e-12,
        ],
    ),
    (
        [0.32, 0.045, 0.85, 0.67, 0.99, -1.0],
        0.5,
        [
            2.343140e-09,
            6.287166e-10,
            1.540406e-10,
            2.614854e-11,
            2.156591e-12,
            4.575597e-13,
        ],
    ),
    (
        [0.4, 0.04, 0.6, 0.65, 0.93, -1.0],
        2.0,
        [
            1.449008e-08,
            3.757250e-09,
            6.773150e-10,
            1.570987e-10,
            2.418041e-11,
            6.498229e-12,
        ],
    ),
];

#[test]
fn c_l_follows_every_parameter_the_sources_and_w_as_camb_does() {
    for ([omega_m, omega_b, sigma_8, h, n_s, w], source_redshift, expected) in CAMB {
        let cosmology = Cosmology {
            omega_m,
            omega_b,
            sigma_8,
            h,
            n_s,
            w,
        };
        let ours = power(&cosmology, source_redshift);
        let ells = [100.0, 300.0, 1000.0, 3000.0, 10_000.0, 20_000.0];
        let pairs = ells.into_iter().zip(expected);
        let what = format!("{cosmology:?}, z_s {source_redshift}");
        worst_ratio(&what, 0.03, pairs.map(|(l, c)| (l, ours.at(l), c)));
    }
}

#[test]
fn c_l_between_the_points_of_the_table_is_as_close_as_the_table_claims() {
    // The error of interpolation falls with the square of the step.
    let all = power(&Cosmology::PAPER, 1.0);
    let half = ConvergencePower {
        table: all.table.iter().copied().step_by(2).collect(),
    };
    let pairs = all
        .table
        .iter()
        .map(|&(x, y)| (x.exp(), half.at(x.exp()), y.exp()));
    worst_ratio("half a table", 4.0 * 5e-4, pairs);
}

#[test]
fn tables_go_on_as_power_laws_beyond_both_ends_and_have_no_mean() {
    let power = ConvergencePower::from_table(&[(10.0, 4.0), (20.0, 8.0), (40.0, 2.0)]).unwrap();
    for (l, expected) in [
        (5.0, 2.0),
        (10.0, 4.0),
        (20.0, 8.0),
        (80.0, 0.5),
        (0.0, 0.0),
    ] {
        assert!((power.at(l) - expected).abs() < 1e-12, "{l}");
    }
    assert!((power.at(200.0_f64.sqrt()) - 32.0_f64.sqrt()).abs() < 1e-12);
    assert!(power.at(f64::NAN).is_nan());
    for bad in [
        vec![(1.0, 1.0)],
        vec![(1.0, 1.0), (1.0, 2.0)],
        vec![(1.0, 1.0), (2.0, 0.0)],
        vec![(0.0, 1.0), (2.0, 1.0)],
        vec![(1.0, f64::NAN), (2.0, 1.0)],
        vec![(1.0, 1.0), (f64::INFINITY, 1.0)],
    ] {
        assert!(ConvergencePower::from_table(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn every_cosmology_in_range_has_a_finite_positive_spectrum() {
    let mut random = random(3);
    for trial in 0..64 {
        // Half of the draws lie in the corners.
        let mut draw = |low: f64, high: f64| match (trial % 2, random.random::<bool>()) {
            (0, true) => low,
            (0, false) => high,
            _ => random.random_range(low..=high),
        };
        let omega_m = draw(0.05, 1.0);
        let cosmology = Cosmology {
            omega_m,
            omega_b: draw(0.001, omega_m),
            sigma_8: draw(0.1, 2.0),
            h: draw(0.3, 1.5),
            n_s: draw(0.5, 1.5),
            w: draw(-2.0, -0.35),
        };
        let source_redshift = draw(0.01, 10.0);
        let power = power(&cosmology, source_redshift);
        for l in [1e-3, 1.0, 100.0, 1e4, 1e6, 1e8] {
            let c = power.at(l);
            assert!(
                c.is_finite() && c > 0.0,
                "{cosmology:?}, {source_redshift}: C_{l} = {c}"
            );
        }
    }
}

#[test]
fn numbers_without_meaning_are_refused_by_name() {
    for hostile in [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -1e300,
        1e300,
        0.0,
    ] {
        type Set = fn(&mut Cosmology, f64);
        let set: [(&str, Set); 6] = [
            ("omega_m", |c, v| c.omega_m = v),
            ("omega_b", |c, v| c.omega_b = v),
            ("sigma_8", |c, v| c.sigma_8 = v),
            ("h", |c, v| c.h = v),
            ("n_s", |c, v| c.n_s = v),
            ("w", |c, v| c.w = v),
        ];
        for (name, set) in set {
            let mut cosmology = Cosmology::PAPER;
            set(&mut cosmology, hostile);
            let error = ConvergencePower::new(&cosmology, 1.0)
                .unwrap_err()
                .to_string();
            assert!(error.starts_with(&format!("{name} is ")), "{error}");
        }
        let error = ConvergencePower::new(&Cosmology::PAPER, hostile).unwrap_err();
        assert!(
            error.to_string().starts_with("source_redshift is "),
            "{error}"
        );
    }
    let error = Cosmology {
        omega_b: 0.3,
        ..Cosmology::PAPER
    }
    .check();
    let error = error.unwrap_err().to_string();
    assert_eq!(
        error,
        "omega_b is 0.3; it must be at most omega_m, of which baryons are a part"
    );
}

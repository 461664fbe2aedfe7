use super::super::testing::{Table, worst_ratio};
use super::*;

/// The universe of `omega_m`, `w` and no radiation.
fn without_radiation(omega_m: f64, w: f64) -> Background {
    let cosmology = Cosmology {
        omega_m,
        w,
        ..Cosmology::PAPER
    };
    Background::with_radiation(&cosmology, 0.0)
}

const REDSHIFTS: [f64; 6] = [0.01, 0.3, 1.0, 2.0, 5.0, 10.0];

#[test]
fn distance_growth_and_expansion_are_those_of_ccl() {
    let Some(table) = Table::open("background_ccl.csv") else {
        return;
    };
    let ours = Background::new(&Cosmology::PAPER);
    let compare = |name: &str, tolerance, ours: &dyn Fn(f64) -> f64| {
        let rows = table.column(name);
        worst_ratio(
            name,
            tolerance,
            rows.map(|(z, theirs)| (z, ours(z), theirs)),
        );
    };
    compare("chi[Mpc]", 1e-5, &|z| ours.distance(z));
    compare("E", 1e-5, &|z| ours.e_squared(1.0 / (1.0 + z)).sqrt());
    compare("D(D(0)=1)", 1e-4, &|z| ours.growth(z));
}

#[test]
fn a_universe_of_matter_alone_has_the_distance_and_growth_of_einstein_and_de_sitter() {
    let background = without_radiation(1.0, -1.0);
    for z in REDSHIFTS {
        let distance = 2.0 * background.hubble_distance * (1.0 - (1.0 + z).powf(-0.5));
        assert!(
            (background.distance(z) / distance - 1.0).abs() < 1e-10,
            "{z}"
        );
        assert!((background.growth(z) * (1.0 + z) - 1.0).abs() < 1e-8, "{z}");
    }
}

#[test]
fn dark_energy_that_dilutes_as_curvature_has_a_distance_in_closed_form() {
    // With w = -1/3, H^2 is that of an open universe without dark energy.
    let omega_m = 0.3;
    let background = without_radiation(omega_m, -1.0 / 3.0);
    let primitive = |z: f64| ((1.0 - omega_m) / omega_m / (1.0 + z)).sqrt().asinh();
    for z in REDSHIFTS {
        let distance = 2.0 * background.hubble_distance / (1.0_f64 - omega_m).sqrt()
            * (primitive(0.0) - primitive(z));
        assert!(
            (background.distance(z) / distance - 1.0).abs() < 1e-10,
            "{z}"
        );
    }
}

/// Growth with a constant w and no radiation, not normalised: a times Gauss' hypergeometric
/// function 2F1(-1/3w, (w-1)/2w; 1-5/6w; x), x = -(1 - Omega_m)/Omega_m a^-3w (Silveira & Waga 1994),
/// summed as a series in x / (x - 1) by Pfaff's transformation.
fn hypergeometric_growth(omega_m: f64, w: f64, z: f64) -> f64 {
    let a = 1.0 / (1.0 + z);
    let x = -(1.0 - omega_m) / omega_m * a.powf(-3.0 * w);
    let (p, q, r) = (
        -1.0 / (3.0 * w),
        (w - 1.0) / (2.0 * w),
        1.0 - 5.0 / (6.0 * w),
    );
    let u = x / (x - 1.0);
    let (mut sum, mut term) = (0.0, 1.0);
    for n in 0..20_000 {
        sum += term;
        let n = f64::from(n);
        term *= (p + n) * (r - q + n) / ((r + n) * (n + 1.0)) * u;
    }
    a * (1.0 - x).powf(-p) * sum
}

#[test]
fn growth_with_any_constant_w_is_the_hypergeometric_function() {
    for (omega_m, w) in [
        (0.26, -1.0),
        (0.3, -0.8),
        (0.2, -1.3),
        (0.4, -0.5),
        (0.1, -2.0),
    ] {
        let background = without_radiation(omega_m, w);
        let today = hypergeometric_growth(omega_m, w, 0.0);
        for z in REDSHIFTS {
            let expected = hypergeometric_growth(omega_m, w, z) / today;
            let error = (background.growth(z) / expected - 1.0).abs();
            assert!(error < 2e-5, "omega_m {omega_m}, w {w}, z {z}: {error}");
        }
    }
}

#[test]
fn the_slope_of_distance_is_its_derivative() {
    let background = Background::new(&Cosmology {
        w: -0.7,
        ..Cosmology::PAPER
    });
    for z in REDSHIFTS {
        let step = 1e-4 * z;
        let difference = background.distance(z + step) - background.distance(z - step);
        let error = difference / (2.0 * step) / background.distance_slope(z) - 1.0;
        assert!(error.abs() < 1e-7, "{z}: {error}");
    }
}

use super::super::background::Background;
use super::super::testing::{Table, worst_ratio};
use super::*;

#[test]
fn the_spectrum_is_that_of_ccl_with_the_same_transfer_function() {
    let linear = LinearPower::new(&Cosmology::PAPER);
    let background = Background::new(&Cosmology::PAPER);
    for z in [0.0, 0.3, 0.5, 1.0] {
        let Some(table) = Table::open(&format!("pk_ccl_eisenstein_hu_z{z:.1}.csv")) else {
            return;
        };
        let growth = background.growth(z);
        let rows = table.column("P_lin[Mpc^3]");
        let pairs = rows.map(|(k, theirs)| (k, growth * growth * linear.at(k), theirs));
        worst_ratio(&format!("linear P(k) at z = {z}"), 1e-3, pairs);
    }
}

#[test]
fn the_spectrum_is_that_of_camb_within_the_accuracy_of_the_transfer_function() {
    let Some(table) = Table::open("pk_ccl_boltzmann_camb_z0.0.csv") else {
        return;
    };
    let linear = LinearPower::new(&Cosmology::PAPER);
    let rows = table.column("P_lin[Mpc^3]");
    let rows = rows.filter(|(k, _)| (1e-3..10.0).contains(k));
    let pairs = rows.map(|(k, theirs)| (k, linear.at(k), theirs));
    worst_ratio("linear P(k) beside CAMB", 0.06, pairs);
}

#[test]
fn sigma_8_is_the_rms_in_spheres_of_8_mpc_over_h() {
    for (sigma_8, h) in [(0.798, 0.72), (0.6, 0.5), (1.1, 0.9)] {
        let linear = LinearPower::new(&Cosmology {
            sigma_8,
            h,
            ..Cosmology::PAPER
        });
        // A sum of its own: equal steps in k, not in ln k.
        let (radius, step) = (8.0 / h, 2e-5);
        let terms = (0..400_000).map(|i| {
            let k = (f64::from(i) + 0.5) * step;
            let x = k * radius;
            let window = 3.0 / (x * x) * (x.sin() / x - x.cos());
            linear.delta_squared(k) * window * window / k
        });
        let rms = (terms.sum::<f64>() * step).sqrt();
        assert!((rms / sigma_8 - 1.0).abs() < 1e-3, "{rms}, not {sigma_8}");
    }
}

#[test]
fn slope_and_curvature_are_the_derivatives_of_the_variance() {
    let linear = LinearPower::new(&Cosmology::PAPER);
    for radius in [0.01, 1.0, 5.0, 30.0] {
        let step = 1e-3_f64;
        let ln = |by: f64| linear.gaussian_variance(radius * by.exp()).variance.ln();
        let window = linear.gaussian_variance(radius);
        let slope = -(ln(step) - ln(-step)) / (2.0 * step);
        let curvature = -(ln(step) - 2.0 * ln(0.0) + ln(-step)) / (step * step);
        assert!((window.slope - slope).abs() < 1e-5, "{radius}");
        assert!((window.curvature - curvature).abs() < 1e-5, "{radius}");
    }
}

use super::super::cosmology::Cosmology;
use super::super::testing::{Table, worst_ratio};
use super::*;

#[test]
fn the_nonlinear_spectrum_is_that_of_ccl_with_the_same_transfer_function() {
    let linear = LinearPower::new(&Cosmology::PAPER);
    let background = Background::new(&Cosmology::PAPER);
    for z in [0.0, 0.3, 0.5, 1.0] {
        let Some(table) = Table::open(&format!("pk_ccl_eisenstein_hu_z{z:.1}.csv")) else {
            return;
        };
        let halofit = Halofit::new(&linear, &background, -1.0, z);
        let power = |k: f64| {
            let volume = 2.0 * std::f64::consts::PI.powi(2) * k.powi(-3);
            volume * halofit.delta_squared(&linear, k)
        };
        let rows = table.column("P_halofit[Mpc^3]");
        let pairs = rows.map(|(k, theirs)| (k, power(k), theirs));
        worst_ratio(&format!("halofit P(k) at z = {z}"), 1e-3, pairs);
    }
}

#[test]
fn fluctuations_that_are_linear_on_all_scales_keep_the_linear_spectrum() {
    let faint = Cosmology {
        sigma_8: 0.1,
        n_s: 0.5,
        ..Cosmology::PAPER
    };
    let linear = LinearPower::new(&faint);
    let background = Background::new(&faint);
    let halofit = Halofit::new(&linear, &background, -1.0, 10.0);
    assert!(halofit.fit.is_none());
    let growth = background.growth(10.0);
    for k in [1e-3, 1.0, 100.0] {
        let expected = growth * growth * linear.delta_squared(k);
        assert_eq!(halofit.delta_squared(&linear, k), expected);
    }
}

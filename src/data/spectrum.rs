//! The angular power spectrum of convergence in the paper's cosmology, from a table. The synthetic
//! maps are made of it.

/// (l, C_l in steradians) for sources at z = 1 in flat LCDM with Omega_m 0.26, Omega_b 0.046,
/// h 0.72, n_s 0.96, sigma_8 0.798: CAMB 2.0.5 with Halofit, Limber approximation.
#[rustfmt::skip]
const KAPPA_ZS1: [(f64, f64); 61] = [
    (100.0, 6.249632e-9), (111.0, 5.440577e-9), (123.0, 4.724148e-9), (136.0, 4.102609e-9),
    (151.0, 3.540262e-9), (168.0, 3.051057e-9), (186.0, 2.652761e-9), (206.0, 2.307186e-9),
    (229.0, 1.995288e-9), (254.0, 1.730367e-9), (282.0, 1.501426e-9), (312.0, 1.313263e-9),
    (347.0, 1.143950e-9), (384.0, 1.004592e-9), (426.0, 8.813825e-10), (473.0, 7.745612e-10),
    (524.0, 6.838152e-10), (582.0, 6.027571e-10), (645.0, 5.333873e-10), (716.0, 4.713684e-10),
    (794.0, 4.171409e-10), (880.0, 3.692465e-10), (976.0, 3.262728e-10), (1083.0, 2.877045e-10),
    (1201.0, 2.533789e-10), (1332.0, 2.225732e-10), (1478.0, 1.948289e-10), (1639.0, 1.701192e-10),
    (1818.0, 1.479574e-10), (2016.0, 1.282275e-10), (2236.0, 1.106361e-10), (2480.0, 9.504066e-11),
    (2751.0, 8.125556e-11), (3051.0, 6.916649e-11), (3384.0, 5.858835e-11), (3753.0, 4.939732e-11),
    (4163.0, 4.143532e-11), (4617.0, 3.460104e-11), (5121.0, 2.875353e-11), (5680.0, 2.378472e-11),
    (6300.0, 1.958718e-11), (6987.0, 1.606449e-11), (7750.0, 1.311813e-11), (8595.0, 1.067412e-11),
    (9533.0, 8.652482e-12), (10574.0, 6.989228e-12), (11728.0, 5.628763e-12), (13007.0, 4.520820e-12),
    (14427.0, 3.620649e-12), (16001.0, 2.893221e-12), (17748.0, 2.306615e-12), (19685.0, 1.835536e-12),
    (21833.0, 1.458193e-12), (24215.0, 1.156675e-12), (26858.0, 9.161584e-13), (29789.0, 7.247926e-13),
    (33040.0, 5.727756e-13), (36646.0, 4.521971e-13), (40645.0, 3.567115e-13), (45080.0, 2.811797e-13),
    (50000.0, 2.214784e-13),
];

/// C_l of convergence in steradians at multipole `l` > 0: the table, interpolated as power laws
/// between its points (which is within 0.1% of a table twice as dense) and continued beyond both
/// ends, l = 100 and 50,000, with the last power law.
pub fn kappa_power(l: f64) -> f64 {
    let above = KAPPA_ZS1.partition_point(|&(point, _)| point < l);
    let above = above.clamp(1, KAPPA_ZS1.len() - 1);
    let ((l0, c0), (l1, c1)) = (KAPPA_ZS1[above - 1], KAPPA_ZS1[above]);
    let slope = (c1 / c0).ln() / (l1 / l0).ln();
    c0 * (l / l0).powf(slope)
}

#[cfg(test)]
mod tests {
    use super::super::testing::shared;
    use super::*;

    #[test]
    fn the_table_follows_the_reference_spectrum_within_half_a_percent() {
        let Some(path) = shared("golden/theory/cl_kappa_zs1.csv") else {
            return;
        };
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines = text.lines();
        let wanted = "Om0.260_s80.798/camb_halofit";
        let mut names = lines.next().unwrap().split(',');
        let column = names.position(|name| name == wanted).unwrap();
        let mut worst = 0.0f64;
        let mut points = 0;
        for line in lines {
            let numbers: Vec<f64> = line.split(',').map(|n| n.parse().unwrap()).collect();
            worst = worst.max((kappa_power(numbers[0]) / numbers[column] - 1.0).abs());
            points += 1;
        }
        assert!(
            points > 100 && worst < 0.005,
            "{points} points, worst {worst}"
        );
    }

    #[test]
    fn it_goes_on_beyond_both_ends_as_a_falling_power_law() {
        for pair in [[10.0, 50.0], [50.0, 100.0], [5e4, 1e5], [1e5, 1e6]] {
            let [a, b] = pair.map(kappa_power);
            assert!(a > b && b > 0.0);
        }
        let slope = |l: f64| (kappa_power(2.0 * l) / kappa_power(l)).log2();
        assert!((slope(6e4) - slope(6e5)).abs() < 1e-9);
    }
}

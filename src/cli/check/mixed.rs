//! A training step in mixed precision against the CPU in double precision: losses and gradients.
//!
//! Rounding to bf16 moves single values by up to 0.4%, and a ReLU that it opens or closes moves a
//! gradient by more. What training needs is that losses agree and that each parameter's gradient, as
//! a whole, points where f64's does.

use cosmogan::model::{Architecture, Network, discriminator, generator};

use super::steps::Named;

/// How much a loss may deviate, as a share of itself.
const LOSS: f64 = 0.005;
/// How much the cosine between a parameter's gradient and f64's may be below 1, with two strided layers,
/// and how much more with each further one: activations that change sides add up. PyTorch's autocast in
/// bf16 is 0.002 to 0.004, 0.004 to 0.014 and 0.015 below 1 with two, three and four
/// (benches/peers/bf16_gradients.py).
const COSINE: [f64; 2] = [0.005, 0.01];
/// Gradients below this share of the network's largest are none: those of biases before a batch norm
/// are rounding alone.
const NEGLIGIBLE: f64 = 1e-6;

/// What deviates most after one step, as a share of what is tolerated.
pub fn worst(ours: &[Named], exact: &[Named], architecture: &Architecture) -> (f64, String) {
    let find = |state: &[Named], wanted: &str| -> Vec<f32> {
        let found = state.iter().find(|(name, _)| *name == wanted);
        found.map_or(Vec::new(), |(_, values)| values.clone())
    };
    let mut worst = (0.0, String::new());
    let mut count = |share: f64, name: String| {
        // A NaN is above nothing, and would pass.
        let share = if share.is_nan() { f64::INFINITY } else { share };
        if share >= worst.0 {
            worst = (share, name);
        }
    };
    let (losses, exact_losses) = (find(ours, "losses"), find(exact, "losses"));
    for (ours, exact) in losses.iter().zip(&exact_losses) {
        let deviation = f64::from(ours - exact).abs() / f64::from(exact.abs());
        count(deviation / LOSS, "losses".to_owned());
    }
    for (who, network) in [
        ("generator", generator(architecture)),
        ("discriminator", discriminator(architecture)),
    ] {
        // After one step from nothing the first moments are the gradients, but for a factor.
        let moments = format!("{who}'s first moments");
        let (ours, exact) = (find(ours, &moments), find(exact, &moments));
        for (parameter, cosine) in cosines(&network, &ours, &exact) {
            let further = architecture.layers.saturating_sub(2) as f64;
            let tolerated = COSINE[0] + COSINE[1] * further;
            count((1.0 - cosine) / tolerated, format!("{who}'s {parameter}"));
        }
    }
    worst
}

/// The cosine between two gradients of each parameter that has one; NaN where a value is none.
fn cosines(network: &Network, ours: &[f32], exact: &[f32]) -> Vec<(String, f64)> {
    let product = |a: &[f32], b: &[f32]| -> f64 {
        let pairs = a.iter().zip(b);
        pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let parameters = &network.inventory.parameters;
    let mean_square = |range: std::ops::Range<usize>| {
        let values = &exact[range];
        product(values, values) / values.len() as f64
    };
    let squares = parameters.iter().map(|p| mean_square(p.range()));
    let largest = squares.fold(0.0, f64::max);
    let counted = parameters
        .iter()
        .filter(|p| mean_square(p.range()) > NEGLIGIBLE.powi(2) * largest);
    counted
        .map(|parameter| {
            let (ours, exact) = (&ours[parameter.range()], &exact[parameter.range()]);
            let lengths = (product(ours, ours) * product(exact, exact)).sqrt();
            (parameter.name.clone(), product(ours, exact) / lengths)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cosmogan::model::Preset;
    use cosmogan::rng::{Philox, Stream};

    fn state(architecture: &Architecture) -> Vec<Named> {
        let normals = |len: usize, step| {
            let mut values = vec![0.0; len];
            Philox::new(3, Stream::Benchmark, step).fill_normal(&mut values);
            values
        };
        let len = |network: Network| network.inventory.parameter_len();
        vec![
            ("losses", vec![1.4, 0.7]),
            (
                "generator's first moments",
                normals(len(generator(architecture)), 0),
            ),
            (
                "discriminator's first moments",
                normals(len(discriminator(architecture)), 1),
            ),
        ]
    }

    #[test]
    fn a_loss_or_a_gradient_that_is_too_far_is_the_worst_and_is_named() {
        let architecture = Preset::Demo.architecture();
        let exact = state(&architecture);
        assert_eq!(worst(&exact, &exact, &architecture).0.max(1e-6), 1e-6);

        let mut near = exact.clone();
        near[0].1[1] *= 1.004;
        let (share, name) = worst(&near, &exact, &architecture);
        assert!(
            (0.7..0.9).contains(&share) && name == "losses",
            "{share}, {name}"
        );

        let network = discriminator(&architecture);
        let parameter = &network.inventory.parameters[0];
        let mut far = exact.clone();
        let other = &exact[1].1;
        for (value, noise) in far[2].1[parameter.range()].iter_mut().zip(other) {
            *value += 0.3 * noise;
        }
        let (share, name) = worst(&far, &exact, &architecture);
        assert!(share > 1.0, "{share}");
        assert_eq!(name, format!("discriminator's {}", parameter.name));

        let mut none = exact.clone();
        none[1].1[0] = f32::NAN;
        assert_eq!(worst(&none, &exact, &architecture).0, f64::INFINITY);
    }

    #[test]
    fn gradients_that_are_rounding_alone_are_not_compared() {
        let architecture = Preset::Demo.architecture();
        let network = generator(&architecture);
        let parameter = &network.inventory.parameters[1];
        let (mut ours, mut exact) = (state(&architecture), state(&architecture));
        for (index, place) in parameter.range().enumerate() {
            exact[1].1[place] = 1e-9;
            ours[1].1[place] = if index % 2 == 0 { 1e-7 } else { -1e-7 };
        }
        let (share, name) = worst(&ours, &exact, &architecture);
        assert!(share < 1e-6, "{share}, {name}");
    }
}

//! Gradients of parts of a pass, and sums over several passes, on the tape in f64.

use std::sync::Arc;

use rand::RngExt;

use super::gradient_tests::{Bench, GROUP, Given};
use super::*;
use crate::backend::Cpu;
use crate::model::{Architecture, DenseNorm, PadLow, discriminator};
use crate::testing::{deviation, random};

fn small_discriminator(pad_low: PadLow) -> Network {
    discriminator(&Architecture {
        map_size: 16,
        channels: 2,
        layers: 3,
        base_filters: 3,
        latent: 4,
        conv_bias: true,
        dense_bias: true,
        dense_norm: DenseNorm::Channel,
        pad_low,
    })
}

/// The walk of the generator's half of a simultaneous step: over the fakes of a pass on both.
#[test]
fn walking_one_group_of_a_pass_gives_its_part_and_leaves_parameter_gradients_alone() {
    let network = small_discriminator(PadLow::One);
    let (batch, half) = (2 * GROUP, GROUP);
    let given = Given::draw(&network, batch, 4000);
    let mut whole = Bench::new(&network, batch, 2, Some(0..batch), true);
    whole.run(&given);
    let expected = whole.backend.values(whole.input_gradient).to_vec();
    for samples in [0..half, half..batch] {
        let mut part = Bench::new(&network, batch, 2, Some(samples.clone()), false);
        let mut given = given.clone();
        given.seed = given.seed[samples.clone()].to_vec();
        part.run(&given);
        let len = network.input_len();
        let expected = &expected[samples.start * len..samples.end * len];
        assert_eq!(part.backend.values(part.input_gradient), expected);
        assert!(part.gradient().iter().all(|g| g.is_nan()));
    }
}

#[test]
fn gradients_of_two_passes_add_up_to_those_of_one_pass_in_two_groups() {
    for (number, pad_low) in [(5000, PadLow::One), (5001, PadLow::Two)] {
        let network = Arc::new(small_discriminator(pad_low));
        let batch = random(number).random_range(2..7);
        let given = Given::draw(&network, 2 * batch, number);
        let mut together = Bench::new(&network, 2 * batch, 2, Some(0..2 * batch), true);
        together.run(&given);

        let mut end = 0;
        let memory = NetworkMemory::place(&network, true, &mut end);
        let mut tape = Tape::new(
            Arc::clone(&network),
            Arc::clone(&network),
            end,
            Precision::F32,
        );
        let len = network.input_len();
        let input = tape.input(2 * batch * len);
        let seed = tape.input(2 * batch);
        let player = Player::Discriminator;
        let mode = Mode::train(1);
        let passes = [0, batch].map(|first| {
            let input = input.part(first * len, batch * len);
            let pass = tape.forward(player, &memory, mode, batch, input, None);
            (pass, seed.part(first, batch))
        });
        for (pass, seed) in &passes {
            let gradient = Some(memory.gradient);
            tape.backward(pass, 0..batch, *seed, gradient, None);
        }
        let program = tape.plan();
        let mut apart = Bench {
            input: program.resolve(input),
            seed: program.resolve(seed),
            output: View::default(),
            input_gradient: View::default(),
            backend: Cpu::new(),
            program,
            memory,
            end,
        };
        apart.run(&given);
        let expected = together.gradient();
        let largest = expected.iter().fold(0.0f64, |most, g| most.max(g.abs()));
        let worst = deviation("gradient", &apart.gradient(), &expected);
        println!("two passes against two groups: {:.1e}", worst / largest);
        assert!(worst <= 1e-12 * largest, "{worst:e} of {largest:e}");
        let running = |bench: &Bench| bench.backend.values(bench.memory.running).to_vec();
        assert_eq!(running(&apart), running(&together));
    }
}

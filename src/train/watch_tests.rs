//! What the watch lets pass and what it does not.

use super::trainer::Losses;
use super::watch::{Spread, Trouble, WINDOW, WatchState};
use crate::rng::{Philox, Stream};

fn losses(real: f64, fake: f64, g_loss: f64) -> Losses {
    Losses {
        d_loss: real + fake,
        d_loss_real: real,
        d_loss_fake: fake,
        g_loss,
    }
}

/// Uniform numbers from 0 to 1.
fn uniform(len: usize, step: u64) -> Vec<f32> {
    let mut random = Philox::new(40, Stream::Benchmark, step).sequential();
    (0..len)
        .map(|_| rand::RngExt::random::<f32>(&mut random))
        .collect()
}

#[test]
fn losses_that_are_no_numbers_or_explode_are_seen_at_once() {
    for (bad, certain) in [
        (losses(f64::NAN, 0.5, 1.0), true),
        (losses(0.5, 0.5, f64::INFINITY), true),
        (losses(0.5, 3e4, 1.0), false),
        (losses(0.0, 0.0, 3e4), false),
    ] {
        let trouble = WatchState::default().losses(7, &bad).unwrap();
        assert_eq!(trouble.is_certain(), certain, "{trouble}");
    }
    assert_eq!(
        WatchState::default().losses(7, &losses(20.0, 9.0, 30.0)),
        None
    );
}

#[test]
fn a_discriminator_without_anything_to_learn_is_seen_within_a_window() {
    let mut watch = WatchState::default();
    for step in 1..=1000 {
        assert_eq!(watch.losses(step, &losses(0.3, 0.2, 2.0)), None);
    }
    let start = 1001;
    let mut seen = None;
    for step in start..start + WINDOW {
        // One step in twenty has swapped labels, which a sure discriminator is far off.
        let losses = match step % 20 {
            0 => losses(14.0, 15.0, 12.0),
            _ => losses(1e-4, 3e-5, 12.0),
        };
        if let Some(trouble) = watch.losses(step, &losses) {
            seen = Some((step, trouble));
            break;
        }
    }
    let (step, trouble) = seen.unwrap();
    assert!(matches!(trouble, Trouble::Saturated { .. }));
    assert!(step - start > WINDOW * 9 / 10 - 1, "{step}");
    assert!(
        watch.sound_until(step, Some(&trouble)) < start,
        "the way back leads behind it"
    );
    watch.begin_anew(900);
    assert_eq!(watch.losses(901, &losses(1e-4, 3e-5, 12.0)), None);
}

#[test]
fn a_sure_discriminator_that_still_learns_is_none() {
    let mut watch = WatchState::default();
    let draws = uniform(20_000, 0);
    for (step, draws) in draws.chunks_exact(2).enumerate() {
        // From 0.02 to 0.5 on real maps, as low as it likes on generated ones.
        let real = 0.02 + 0.48 * f64::from(draws[0]);
        let losses = losses(real, 1e-3 * f64::from(draws[1]), 5.0);
        assert_eq!(watch.losses(step as u64 + 1, &losses), None);
    }
}

/// `count` maps of 64 pixels: a mean map, a part that is common to all pixels of a map, and noise.
fn maps(count: usize, common: f32, noise: f32) -> Vec<f32> {
    let mean = uniform(64, 1);
    let draws = uniform(count * 65, 2);
    let maps = draws.chunks_exact(65).flat_map(|draws| {
        let pixels = mean.iter().zip(&draws[1..]);
        pixels.map(|(mean, draw)| mean + common * draws[0] + noise * draw)
    });
    maps.collect()
}

#[test]
fn maps_that_are_all_alike_or_constant_are_seen() {
    let real = Spread::of(&maps(100, 0.5, 0.5), 64);
    let judge = |maps: &[f32]| WatchState::default().maps(5, &Spread::of(maps, 64), &real);
    assert_eq!(judge(&maps(30, 0.2, 0.2)), None);
    let alike = judge(&maps(30, 0.01, 0.005)).unwrap();
    assert!(alike.to_string().contains("nearly identical"), "{alike}");
    let constant = judge(&[0.7; 640]).unwrap();
    assert!(constant.to_string().contains("are constant"), "{constant}");
    let mut broken = maps(30, 0.2, 0.2);
    broken[77] = f32::NAN;
    assert_eq!(judge(&broken), Some(Trouble::NotFiniteMaps));
}

#[test]
fn the_way_back_from_a_collapse_is_the_last_step_with_varied_maps() {
    let real = Spread::of(&maps(100, 0.5, 0.5), 64);
    let mut watch = WatchState::default();
    assert_eq!(watch.way_back(70), 0);
    assert_eq!(watch.maps(100, &real, &real), None);
    let same = Spread::of(&[0.0; 640], 64);
    let trouble = watch.maps(200, &same, &real).unwrap();
    assert_eq!(watch.sound_until(200, Some(&trouble)), 100);
    assert_eq!(watch.way_back(180), 100);
}

#[test]
fn variances_are_those_of_their_definition() {
    // Two maps of two pixels: across 1 and 4, within 0.25 and 6.25.
    let spread = Spread::of(&[1.0, 2.0, 3.0, -2.0], 2);
    assert_eq!(spread.across, (1.0 + 4.0) / 2.0);
    assert_eq!(spread.within, (0.25 + 6.25) / 2.0);
}

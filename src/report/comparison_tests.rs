//! The picture of statistics is made, and bad maps are refused before a file is written.

use super::*;
use crate::rng::{Philox, Stream};

fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut pixels = vec![0.0; count];
    Philox::new(seed, Stream::Benchmark, 3).fill_normal(&mut pixels);
    pixels
}

fn comparison<'a>(real: &'a [f32], generated: &'a [f32]) -> Comparison<'a> {
    Comparison {
        title: "noise",
        quantity: "noise",
        side: 32,
        angle_deg: 1.0,
        generated,
        real,
    }
}

#[test]
fn a_picture_of_the_same_maps_is_the_same_file() {
    let directory = tempfile::tempdir().unwrap();
    let (real, generated) = (noise(20 * 1024, 1), noise(16 * 1024, 2));
    let paths = ["a.png", "b.png"].map(|name| directory.path().join(name));
    for path in &paths {
        comparison_figure(path, &comparison(&real, &generated)).unwrap();
    }
    let files = paths.map(|path| std::fs::read(path).unwrap());
    assert!(files[0] == files[1] && files[0].len() > 10_000);
}

#[test]
fn collapsed_and_wild_maps_are_drawn() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.png");
    let real = noise(4 * 1024, 1);
    let wild: Vec<f32> = real.iter().map(|value| value * 1e37).collect();
    for other in [vec![0.5; 1024], vec![0.0; 1024], vec![-1e30; 1024], wild] {
        comparison_figure(&path, &comparison(&real, &other)).unwrap();
        comparison_figure(&path, &comparison(&other, &real)).unwrap();
    }
}

#[test]
fn maps_that_are_not_finite_are_named_and_leave_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.png");
    let real = noise(4 * 1024, 1);
    let mut broken = real.clone();
    broken[2000] = f32::NAN;
    let error = comparison_figure(&path, &comparison(&real, &broken)).unwrap_err();
    assert!(error.to_string().contains("generated"), "{error}");
    assert!(!path.exists());
}

#[test]
fn logarithmic_axes_have_a_few_round_marks() {
    assert_eq!(
        log_ticks(&(300.0..6000.0), 8),
        [500.0, 1000.0, 2000.0, 5000.0]
    );
    assert_eq!(log_ticks(&(0.05..2e4), 8).len(), 6);
    assert!(log_ticks(&(1e-30..1e30), 8).len() <= 8);
}

#[test]
fn numbers_on_a_logarithmic_axis_are_powers_of_ten() {
    let expected = [
        (1000.0, "1000"),
        (1e-4, "10\u{207b}\u{2074}"),
        (2e-13, "2\u{b7}10\u{207b}\u{b9}\u{b3}"),
        (1e6, "10\u{2076}"),
    ];
    for (value, words) in expected {
        assert_eq!(axis_number(value), words);
    }
}

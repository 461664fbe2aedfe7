//! Panels are drawn from any arrays, empty bins and constant ones too, and PNG and SVG hold the same.

use super::*;
use crate::rng::{Philox, Stream};

fn normals(count: usize, seed: u64) -> Vec<f64> {
    let mut values = vec![0.0; count];
    Philox::new(seed, Stream::Benchmark, 1).fill_normal(&mut values);
    values.into_iter().map(f64::from).collect()
}

fn curve(set: Set, factor: f64) -> Curve {
    let mean: Vec<f64> = (1..=40)
        .map(|k| factor * 1e-9 / f64::from(k).powf(1.3))
        .collect();
    Curve {
        set,
        deviation: mean.iter().map(|value| 0.3 * value).collect(),
        mean,
    }
}

fn bands() -> Bands {
    Bands {
        title: "Power spectrum, mean \u{b1} one deviation of single maps".into(),
        x_name: "multipole \u{2113}".into(),
        y_name: "P(\u{2113})  [sr]".into(),
        x_log: true,
        y_log: true,
        x: (1..=40).map(|k| 400.0 * f64::from(k)).collect(),
        curves: vec![
            curve(Set::Real, 1.0),
            curve(Set::SecondReal, 1.02),
            curve(Set::Generated, 1.2),
        ],
        marked: vec![0, 10, 30],
    }
}

/// Writes pictures where COSMOGAN_PICTURES says, to be looked at.
fn keep(canvas: &Canvas, name: &str) {
    if let Some(directory) = std::env::var_os("COSMOGAN_PICTURES") {
        let path = std::path::Path::new(&directory).join(name);
        canvas.write_png(&path.with_extension("png")).unwrap();
        canvas.write_svg(&path.with_extension("svg")).unwrap();
    }
}

#[test]
fn bands_are_drawn_as_png_and_svg() {
    let canvas = bands().draw().unwrap();
    keep(&canvas, "bands");
    let svg = canvas.svg().unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("aria-label=\"second real set\""));
    assert!(svg.matches("<polyline").count() > 5 && !svg.contains("NaN"));
    assert!(canvas.png().unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn empty_bins_and_constant_statistics_are_drawn() {
    let mut odd = bands();
    for curve in &mut odd.curves {
        curve.mean[0] = f64::NAN;
        curve.deviation[5] = 0.0;
        curve.mean[39] = 0.0;
    }
    odd.draw().unwrap();
    for (x_log, y_log) in [(false, false), (false, true)] {
        odd.x_log = x_log;
        odd.y_log = y_log;
        odd.draw().unwrap();
    }
    for curve in &mut odd.curves {
        curve.mean.fill(f64::NAN);
        curve.deviation.fill(0.0);
    }
    let canvas = odd.draw().unwrap();
    assert!(!canvas.svg().unwrap().contains("NaN"));
}

#[test]
fn distributions_are_drawn_of_any_sample() {
    let panel = |samples| Distribution {
        title: "\u{2113} = 4200".into(),
        x_name: "P(\u{2113}) [sr]".into(),
        samples,
        note: "KS D = 0.031, p = 0.42; floor D = 0.028".into(),
    };
    let shifted: Vec<f64> = normals(500, 3)
        .iter()
        .map(|value| value * 0.7 + 0.5)
        .collect();
    let canvas = panel(vec![
        (Set::Real, normals(500, 1)),
        (Set::SecondReal, normals(500, 2)),
        (Set::Generated, shifted),
    ])
    .draw()
    .unwrap();
    keep(&canvas, "distribution");
    for values in [vec![], vec![3.0], vec![0.0; 50], vec![f64::NAN, 1.0]] {
        panel(vec![(Set::Real, values)]).draw().unwrap();
    }
    let area = density(&[0.1, 0.6, 0.6, 7.0], &[0.0, 0.5, 1.0]);
    assert_eq!(area, [0.5, 1.0]);
}

#[test]
fn matrices_and_strips_of_maps_are_drawn() {
    let n = 30;
    let values = (0..n * n).map(|k| (-(((k / n) as f64 - (k % n) as f64) / 6.0).powi(2)).exp());
    let mut matrix = crate::report::matrix::Matrix {
        title: "Correlation of P(\u{2113}), real".into(),
        name: "multipole \u{2113}".into(),
        bins: (0..n).map(|k| 415.7 * (k + 1) as f64).collect(),
        values: values.collect(),
        range: 1.0,
    };
    keep(&matrix.draw().unwrap(), "matrix");
    matrix.values.pop();
    assert!(matrix.draw().is_err());
    let maps: Vec<f32> = normals(8 * 1024, 5)
        .iter()
        .map(|v| (0.5 * v).exp() as f32)
        .collect();
    let stretch = crate::report::Stretch::of(&maps, crate::report::PictureStyle::Asinh).unwrap();
    let row = |label: &str, words: &str| crate::report::strip::Row {
        label: label.into(),
        maps: maps
            .chunks(1024)
            .take(4)
            .map(|map| (map.to_vec(), words.to_owned()))
            .collect(),
    };
    let strip = crate::report::strip::Strip {
        title: "Maps, all in the same colours".into(),
        quantity: "convergence \u{3ba}".into(),
        side: 32,
        rows: vec![row("real", ""), row("generated", "d = 1.02")],
    };
    keep(&strip.draw(&stretch, 192).unwrap(), "strip");
}

//! From the numbers of one statistic to its panel.

use super::error::EvaluateError;
use super::evaluation::{Axis, Spread, StatisticResult};
use super::phrases::capital;
use crate::report::Canvas;
use crate::report::panel::{Bands, Curve, Set};

/// Three bins, spread over those that are tested.
pub fn chosen(result: &StatisticResult) -> Vec<usize> {
    let open: Vec<usize> = (0..result.bins.len())
        .filter(|&bin| !result.bins[bin].empty)
        .collect();
    let mut chosen: Vec<usize> = [1, 3, 5]
        .map(|sixth| open[sixth * (open.len() - 1) / 6])
        .to_vec();
    chosen.dedup();
    chosen
}

/// The bin whose distributions are furthest apart.
pub fn worst(result: &StatisticResult) -> usize {
    let d = |bin: &usize| result.generated_against_real.ks.effect[*bin].unwrap_or(-1.0);
    let bins = 0..result.bins.len();
    let open = bins.filter(|&bin| !result.bins[bin].empty);
    open.max_by(|a, b| d(a).total_cmp(&d(b))).unwrap_or(0)
}

/// What a statistic's axis is called.
pub fn axis_name(result: &StatisticResult) -> String {
    match result.name.as_str() {
        "power_spectrum" => "P(\u{2113})  [sr]".into(),
        _ => capital(&result.title),
    }
}

/// The panel of a statistic, and what it shows in words.
///
/// # Errors
/// Drawing fails.
pub fn bands(
    result: &StatisticResult,
    title: &str,
    marked: &[usize],
) -> Result<(String, Canvas), EvaluateError> {
    let curve = |set, spreads: &[Option<Spread>]| {
        let value = |f: fn(&Spread) -> f64| -> Vec<f64> {
            spreads
                .iter()
                .map(|s| s.as_ref().map_or(f64::NAN, f))
                .collect()
        };
        Curve {
            set,
            mean: value(|spread| spread.mean),
            deviation: value(|spread| spread.deviation),
        }
    };
    let positive = result.real.iter().flatten().all(|spread| spread.mean > 0.0);
    let multipole = result.axis == Axis::Multipole;
    let peaks = result.name.starts_with("peak_count");
    let bands = Bands {
        title: title.into(),
        x_name: match result.axis {
            Axis::Multipole => "multipole \u{2113}".into(),
            _ if result.name.ends_with("_per_map") => "threshold / \u{3c3} of each map".into(),
            _ => "threshold / \u{3c3} of the real maps".into(),
        },
        y_name: axis_name(result),
        x_log: multipole,
        y_log: positive && (multipole || peaks),
        x: result.bins.iter().map(|bin| bin.at).collect(),
        curves: vec![
            curve(Set::Real, &result.real),
            curve(Set::SecondReal, &result.second_real),
            curve(Set::Generated, &result.generated),
        ],
        marked: marked.to_vec(),
    };
    Ok((
        format!("{title}: mean and scatter of real and generated maps"),
        bands.draw()?,
    ))
}

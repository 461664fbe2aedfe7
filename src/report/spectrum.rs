//! The plot of mean power spectra, real and generated, with their ratio beneath.

use super::ReportError;
use super::canvas::{Area, drawing};
use super::comparison::{
    GENERATED, LEGEND, LogAxis, REAL, axis_number, axis_style, legend, log_axis, log_range,
};
use crate::stats::{PowerSpectrum, SortedSample, StatsError, log_bins};
use plotters::prelude::*;
use std::f64::consts::PI;

/// Log bins asked for; those without modes are left out.
const BINS: usize = 20;
/// The ratio panel's scale: factors beyond it are drawn at its edge.
const RATIO: std::ops::Range<f64> = 0.4..2.5;

/// What the plot shows, bin by bin (bins without modes left out), as l(l+1)P/2pi: dimensionless.
pub struct Spectra {
    /// Mean multipole of the modes of each bin.
    pub l: Vec<f64>,
    /// Mean over the real maps.
    pub real: Vec<f64>,
    /// Mean over the generated maps.
    pub generated: Vec<f64>,
    /// 16% and 84% quantiles of single real maps.
    pub scatter: Vec<(f64, f64)>,
}

impl Spectra {
    /// Measures both sets of maps `[n, side, side]`.
    pub fn measure(
        real: &[f32],
        generated: &[f32],
        side: usize,
        angle_deg: f64,
    ) -> Result<Self, (&'static str, StatsError)> {
        let of_real = |error| ("real", error);
        let edges = log_bins(side, angle_deg, BINS).map_err(of_real)?;
        let estimator = PowerSpectrum::new(side, angle_deg, &edges).map_err(of_real)?;
        let single = estimator.measure_many(real).map_err(of_real)?;
        let real = estimator.mean(real).map_err(of_real)?;
        let generated = estimator
            .mean(generated)
            .map_err(|error| ("generated", error))?;
        let mut spectra = Self {
            l: Vec::new(),
            real: Vec::new(),
            generated: Vec::new(),
            scatter: Vec::new(),
        };
        for (bin, &l) in estimator.mean_l().iter().enumerate() {
            if estimator.mode_counts()[bin] == 0 {
                continue;
            }
            let scale = l * (l + 1.0) / (2.0 * PI);
            let values = single[bin..].iter().step_by(estimator.bins());
            let values: Vec<f64> = values.map(|power| power * scale).collect();
            let values = SortedSample::new(&values).map_err(of_real)?;
            spectra.l.push(l);
            spectra.real.push(real[bin] * scale);
            spectra.generated.push(generated[bin] * scale);
            let scatter = (values.quantile(0.16), values.quantile(0.84));
            spectra.scatter.push(scatter);
        }
        Ok(spectra)
    }

    fn points<'a>(&'a self, values: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
        self.l.iter().copied().zip(values.iter().copied())
    }
}

/// Draws the spectra and the ratio on `area`.
pub fn draw(area: &Area<'_>, spectra: &Spectra) -> Result<(), ReportError> {
    let height = area.dim_in_pixel().1 as i32;
    let (upper, lower) = area.split_vertically(height * 62 / 100);
    draw_spectra(&upper, spectra)?;
    draw_ratio(&lower, spectra)
}

/// The axis of multipoles, the same in both panels.
fn l_axis(spectra: &Spectra) -> LogAxis {
    log_axis(&log_range(spectra.l.iter().copied(), 1.1), 8)
}

fn draw_spectra(area: &Area<'_>, spectra: &Spectra) -> Result<(), ReportError> {
    let ends = spectra.scatter.iter().flat_map(|&(low, high)| [low, high]);
    let range = log_range(ends.chain(spectra.real.iter().copied()), 2.5);
    let clip = |(l, value): (f64, f64)| (l, value.clamp(range.start, range.end));
    let mut chart = ChartBuilder::on(area)
        .margin_left(18)
        .margin_right(20)
        .margin_top(LEGEND)
        .margin_bottom(4)
        .x_label_area_size(6)
        .y_label_area_size(84)
        .build_cartesian_2d(l_axis(spectra), log_axis(&range, 8))
        .map_err(drawing)?;
    let mut mesh = chart.configure_mesh();
    axis_style(&mut mesh)
        .x_label_formatter(&|_| String::new())
        .y_label_formatter(&|value| axis_number(*value))
        .y_desc("\u{2113}(\u{2113}+1) P(\u{2113}) / 2\u{3c0}")
        .draw()
        .map_err(drawing)?;
    let low = spectra
        .l
        .iter()
        .zip(&spectra.scatter)
        .map(|(l, s)| (*l, s.0));
    let high = spectra
        .l
        .iter()
        .zip(&spectra.scatter)
        .map(|(l, s)| (*l, s.1));
    let band: Vec<_> = low.chain(high.rev()).map(clip).collect();
    chart
        .draw_series([Polygon::new(band, REAL.mix(0.18))])
        .map_err(drawing)?;
    for (values, colour) in [(&spectra.real, REAL), (&spectra.generated, GENERATED)] {
        let line = spectra.points(values).map(clip);
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)))
            .map_err(drawing)?;
        let dots = spectra.points(values).map(clip);
        chart
            .draw_series(dots.map(|at| Circle::new(at, 3, colour.filled())))
            .map_err(drawing)?;
    }
    legend(area, 104, "real, mean", REAL, false)?;
    legend(area, 254, "generated, mean", GENERATED, false)?;
    let band = "real, 16\u{2013}84% of single maps";
    legend(area, 448, band, REAL, true)
}

fn draw_ratio(area: &Area<'_>, spectra: &Spectra) -> Result<(), ReportError> {
    let mut chart = ChartBuilder::on(area)
        .margin_left(18)
        .margin_right(20)
        .margin_top(4)
        .margin_bottom(6)
        .x_label_area_size(56)
        .y_label_area_size(84)
        .build_cartesian_2d(
            l_axis(spectra),
            RATIO
                .log_scale()
                .with_key_points(vec![0.5, 0.7, 1.0, 1.5, 2.0]),
        )
        .map_err(drawing)?;
    let mut mesh = chart.configure_mesh();
    axis_style(&mut mesh)
        .x_label_formatter(&|value| axis_number(*value))
        .y_label_formatter(&|value| format!("{value}"))
        .x_desc("multipole \u{2113}")
        .y_desc("generated / real")
        .draw()
        .map_err(drawing)?;
    let ratio = |value: f64, real: f64| (value / real).clamp(RATIO.start, RATIO.end);
    let each = || spectra.l.iter().zip(&spectra.real);
    let low = each()
        .zip(&spectra.scatter)
        .map(|((l, r), s)| (*l, ratio(s.0, *r)));
    let high = each()
        .zip(&spectra.scatter)
        .map(|((l, r), s)| (*l, ratio(s.1, *r)));
    let band: Vec<_> = low.chain(high.rev()).collect();
    chart
        .draw_series([Polygon::new(band, REAL.mix(0.18))])
        .map_err(drawing)?;
    let one = spectra.l.iter().map(|&l| (l, 1.0));
    chart
        .draw_series(LineSeries::new(one, REAL.stroke_width(2)))
        .map_err(drawing)?;
    let line = || {
        each()
            .zip(&spectra.generated)
            .map(|((l, real), generated)| (*l, ratio(*generated, *real)))
    };
    chart
        .draw_series(LineSeries::new(line(), GENERATED.stroke_width(2)))
        .map_err(drawing)?;
    chart
        .draw_series(line().map(|at| Circle::new(at, 3, GENERATED.filled())))
        .map_err(drawing)?;
    Ok(())
}

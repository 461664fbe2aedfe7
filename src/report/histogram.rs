//! The plot of the distribution of pixels, real and generated, on a logarithmic scale.

use super::ReportError;
use super::canvas::{Area, Text, drawing, write_text};
use super::colour::label;
use super::comparison::{
    GENERATED, LEGEND, REAL, axis_number, axis_style, legend, log_axis, log_range,
};
use crate::stats::{SortedSample, StatsError};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

const BINS: usize = 80;
/// The tail fraction of real pixels beyond either end of the axis, before padding.
const TAIL: f64 = 2e-5;

/// Densities of pixels, per unit of the maps' values.
pub struct Histograms {
    /// Equal bins: `BINS + 1` edges, from the real pixels' tails with 15% of room on either side.
    pub edges: Vec<f64>,
    /// Density of real pixels in each bin. All pixels count in the norm, also those outside.
    pub real: Vec<f64>,
    /// Density of generated pixels.
    pub generated: Vec<f64>,
    /// The two-sample Kolmogorov-Smirnov statistic of all pixels.
    pub ks: f64,
}

impl Histograms {
    /// Counts the pixels of both sets.
    pub fn measure(real: &[f32], generated: &[f32]) -> Result<Self, (&'static str, StatsError)> {
        let real = SortedSample::new(real).map_err(|error| ("real", error))?;
        let generated = SortedSample::new(generated).map_err(|error| ("generated", error))?;
        let (low, high) = (real.quantile(TAIL), real.quantile(1.0 - TAIL));
        let (low, high) = (f64::from(low), f64::from(high));
        let room = (0.15 * (high - low)).max(low.abs() * 1e-6).max(1e-12);
        let width = (high - low + 2.0 * room) / BINS as f64;
        let edges: Vec<f64> = (0..=BINS).map(|k| low - room + width * k as f64).collect();
        let density = |sample: &SortedSample<f32>| -> Vec<f64> {
            let values = sample.values();
            let below = |edge: f64| values.partition_point(|&value| f64::from(value) < edge);
            let norm = width * values.len() as f64;
            let count = |pair: &[f64]| (below(pair[1]) - below(pair[0])) as f64;
            edges.windows(2).map(|pair| count(pair) / norm).collect()
        };
        Ok(Self {
            real: density(&real),
            generated: density(&generated),
            ks: real.ks_sorted(&generated),
            edges,
        })
    }
}

/// Draws the histograms on `area`; `quantity` names the horizontal axis.
pub fn draw(area: &Area<'_>, histograms: &Histograms, quantity: &str) -> Result<(), ReportError> {
    let both = || histograms.real.iter().chain(&histograms.generated);
    let range = log_range(both().copied(), 2.0);
    let edges = &histograms.edges;
    let mut chart = ChartBuilder::on(area)
        .margin_left(18)
        .margin_right(24)
        .margin_top(LEGEND)
        .margin_bottom(6)
        .x_label_area_size(56)
        .y_label_area_size(84)
        .build_cartesian_2d(edges[0]..edges[BINS], log_axis(&range, 6))
        .map_err(drawing)?;
    let mut mesh = chart.configure_mesh();
    axis_style(&mut mesh)
        .x_labels(7)
        .x_label_formatter(&|value| label(round(*value, edges[BINS] - edges[0])))
        .y_label_formatter(&|value| axis_number(*value))
        .x_desc(quantity)
        .y_desc("probability density")
        .draw()
        .map_err(drawing)?;
    let real = runs(edges, &histograms.real, range.start);
    let generated = runs(edges, &histograms.generated, range.start);
    let filled = real.iter().cloned();
    chart
        .draw_series(filled.map(|run| Polygon::new(run, REAL.mix(0.12))))
        .map_err(drawing)?;
    for (lines, colour) in [(real, REAL), (generated, GENERATED)] {
        let lines = lines.into_iter();
        chart
            .draw_series(lines.map(|mut run| {
                // Pixels go on beyond the axis: the line ends there and does not fall.
                run.pop_if(|end| end.0 >= edges[BINS]);
                PathElement::new(run, colour.stroke_width(2))
            }))
            .map_err(drawing)?;
    }
    legend(area, 104, "real", REAL, false)?;
    legend(area, 204, "generated", GENERATED, false)?;
    let words = format!("Kolmogorov\u{2013}Smirnov D = {:.4}", histograms.ks);
    let text = Text {
        at: (area.dim_in_pixel().0 as i32 - 24, LEGEND / 2),
        align: HPos::Right,
        size: 18,
        upwards: false,
    };
    write_text(area, &words, &text)
}

/// The outline of each run of bins that hold pixels: up from `floor`, along, and down to it.
fn runs(edges: &[f64], values: &[f64], floor: f64) -> Vec<Vec<(f64, f64)>> {
    let mut runs: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut open = false;
    for (pair, &value) in edges.windows(2).zip(values) {
        if value > 0.0 {
            if !open {
                runs.push(vec![(pair[0], floor)]);
            }
            if let Some(run) = runs.last_mut() {
                run.extend([(pair[0], value), (pair[1], value)]);
            }
        } else if let (true, Some(run)) = (open, runs.last_mut()) {
            run.push((pair[0], floor));
        }
        open = value > 0.0;
    }
    if let (true, Some(run), Some(&end)) = (open, runs.last_mut(), edges.last()) {
        run.push((end, floor));
    }
    runs
}

/// A tick that rounding left at 1e-17 is zero.
fn round(value: f64, range: f64) -> f64 {
    if value.abs() < 1e-9 * range {
        0.0
    } else {
        value
    }
}

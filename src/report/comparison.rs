//! One picture of the statistics of generated maps beside real ones: mean power spectra with
//! their ratio on the left, the distribution of pixels on the right.

use super::ReportError;
use super::canvas::{Area, Canvas, FONT, INK, Text, drawing, write_text};
use super::histogram::{self, Histograms};
use super::spectrum::{self, Spectra};
use plotters::chart::MeshStyle;
use plotters::coord::combinators::WithKeyPoints;
use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use std::ops::Range;
use std::path::Path;

/// The colour of real maps.
pub const REAL: RGBColor = RGBColor(40, 60, 90);
/// The colour of generated maps: told from [`REAL`] by all common forms of colour blindness.
pub const GENERATED: RGBColor = RGBColor(213, 94, 0);

/// The height of the strip above a plot that holds its legend, pixels.
pub const LEGEND: i32 = 36;

const WIDTH: usize = 1480;
const HEIGHT: usize = 700;
const TITLE: u32 = 56;

/// What a picture of statistics compares.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// Above the picture.
    pub title: &'a str,
    /// The name of the maps' quantity and its unit, on the axis of the pixel distribution.
    pub quantity: &'a str,
    /// Pixels along the side of a map.
    pub side: usize,
    /// The side of a map in degrees.
    pub angle_deg: f64,
    /// Generated maps `[n, side, side]`.
    pub generated: &'a [f32],
    /// Real maps `[m, side, side]`; m need not be n.
    pub real: &'a [f32],
}

/// Writes the picture to `path`.
///
/// Left: l(l+1)P(l)/2pi in up to 20 log bins, mean over the maps of each set, with the band that
/// holds 16 to 84% of single real maps; beneath, generated over real. Curves that leave a panel (a
/// ratio beyond 0.4 or 2.5) are drawn along its edge. Right: the density of
/// pixels on a logarithmic scale, and the two-sample Kolmogorov-Smirnov statistic of all pixels.
///
/// # Errors
/// Maps of another shape than said, pixels that are not finite, a file that cannot be written.
pub fn comparison_figure(path: &Path, figure: &Comparison<'_>) -> Result<(), ReportError> {
    let (real, generated) = (figure.real, figure.generated);
    let failed = |(label, source): (&str, _)| ReportError::Stats {
        label: label.to_owned(),
        source,
    };
    let spectra =
        Spectra::measure(real, generated, figure.side, figure.angle_deg).map_err(failed)?;
    let histograms = Histograms::measure(real, generated).map_err(failed)?;
    let mut canvas = Canvas::new(WIDTH, HEIGHT)?;
    canvas.draw(|area| {
        let (title, plots) = area.split_vertically(TITLE);
        let text = Text {
            at: (24, TITLE as i32 / 2),
            align: HPos::Left,
            size: 25,
            upwards: false,
        };
        write_text(&title, figure.title, &text)?;
        let (left, right) = plots.split_horizontally((WIDTH / 2) as u32);
        spectrum::draw(&left, &spectra)?;
        histogram::draw(&right, &histograms, figure.quantity)
    })?;
    canvas.write_png(path)
}

/// One entry of the legend above a plot: a line (or a band) in `colour` at `x`, and its name.
pub fn legend(
    area: &Area<'_>,
    x: i32,
    words: &str,
    colour: RGBColor,
    band: bool,
) -> Result<(), ReportError> {
    let y = LEGEND / 2;
    let (half, colour) = if band {
        (7, colour.mix(0.18))
    } else {
        (1, colour.mix(1.0))
    };
    let sample = Rectangle::new([(x, y - half), (x + 28, y + half)], colour.filled());
    area.draw(&sample).map_err(drawing)?;
    let text = Text {
        at: (x + 36, y),
        align: HPos::Left,
        size: 18,
        upwards: false,
    };
    write_text(area, words, &text)
}

/// The range of the positive values, `room` times wider on either side; 1 to 10 where none is.
pub fn log_range(values: impl Iterator<Item = f64>, room: f64) -> Range<f64> {
    let positive = values.filter(|value| value.is_finite() && *value > 0.0);
    let (low, high) = positive.fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if low > high {
        1.0..10.0
    } else {
        low / room..high * room
    }
}

/// A logarithmic axis with marks of our choice.
pub type LogAxis = WithKeyPoints<LogCoord<f64>>;

/// The logarithmic axis of `range` with at most `most` marks.
pub fn log_axis(range: &Range<f64>, most: usize) -> LogAxis {
    let ticks = log_ticks(range, most);
    range.clone().log_scale().with_key_points(ticks)
}

/// Where to mark a logarithmic axis: 1, 2 and 5 times powers of ten, or powers of ten only where
/// there would be more than `most` of those, or every so many powers.
pub(super) fn log_ticks(range: &Range<f64>, most: usize) -> Vec<f64> {
    let powers = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
    let marks = |digits: &[f64], every: usize| -> Vec<f64> {
        let powers = powers.clone().filter(|p| p.rem_euclid(every as i32) == 0);
        let values = powers.flat_map(|power| digits.iter().map(move |d| d * 10_f64.powi(power)));
        values.filter(|value| range.contains(value)).collect()
    };
    let fine = marks(&[1.0, 2.0, 5.0], 1);
    if fine.len() <= most {
        return fine;
    }
    let decades = marks(&[1.0], 1);
    let every = decades.len().div_ceil(most).max(1);
    marks(&[1.0], every)
}

/// The look of all panels: axis names and values, a faint grid at the values only.
pub(super) fn axis_style<'m, 'a, 'b, X: Ranged, Y: Ranged, D: DrawingBackend>(
    mesh: &'m mut MeshStyle<'a, 'b, X, Y, D>,
) -> &'m mut MeshStyle<'a, 'b, X, Y, D> {
    mesh.axis_desc_style((FONT, 21).into_font().color(&INK))
        .label_style((FONT, 17).into_font().color(&INK))
        .y_label_offset(4)
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.1))
        .axis_style(INK)
}

/// A number on a logarithmic axis: a power of ten where it is one, else with its factor.
pub fn axis_number(value: f64) -> String {
    let power = (value.log10() + 1e-9).floor() as i32;
    let factor = (value / 10_f64.powi(power) * 100.0).round() / 100.0;
    if (0..=4).contains(&power) {
        return format!("{}", (value * 100.0).round() / 100.0);
    }
    let superscript = superscript(power);
    if factor == 1.0 {
        format!("10{superscript}")
    } else {
        format!("{factor}\u{b7}10{superscript}")
    }
}

/// A power in small raised digits.
pub(super) fn superscript(power: i32) -> String {
    let raised = |digit: char| match digit.to_digit(10) {
        Some(1) => '\u{b9}',
        Some(2) => '\u{b2}',
        Some(3) => '\u{b3}',
        Some(digit) => char::from_u32(0x2070 + digit).unwrap_or('?'),
        None => '\u{207b}',
    };
    power.to_string().chars().map(raised).collect()
}

#[cfg(test)]
#[path = "comparison_tests.rs"]
mod tests;

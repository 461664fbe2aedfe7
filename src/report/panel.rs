//! The panels that figures are made of: curves with bands over a residual, and distributions of one
//! number over maps. Each is drawn from plain arrays, and small enough to be read on a phone.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::ReportError;
use super::axis::Axis;
use super::canvas::{Area, Canvas, INK, Text, drawing, write_text};
use super::comparison::{GENERATED, REAL, axis_style};

/// The width of a panel, pixels.
pub const WIDTH: usize = 640;
const BANDS_HEIGHT: usize = 600;
const DISTRIBUTION_HEIGHT: usize = 420;
const TITLE: usize = 34;
const LEGEND: usize = 30;

/// Whose curve it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Real maps that the generated ones are compared with.
    Real,
    /// A second, independent set of real maps.
    SecondReal,
    Generated,
}

impl Set {
    /// Its colour: told apart by all common forms of colour blindness.
    pub fn colour(self) -> RGBColor {
        match self {
            Self::Real => REAL,
            Self::SecondReal => RGBColor(86, 180, 233),
            Self::Generated => GENERATED,
        }
    }

    /// Its name in legends.
    pub fn name(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::SecondReal => "second real set",
            Self::Generated => "generated",
        }
    }
}

/// The mean of a statistic over the maps of a set, bin by bin; bins without a value are NaN.
#[derive(Clone, Debug)]
pub struct Curve {
    pub set: Set,
    pub mean: Vec<f64>,
    /// Standard deviation over single maps: the half width of the band.
    pub deviation: Vec<f64>,
}

/// Curves over their differences.
#[derive(Clone, Debug)]
pub struct Bands {
    pub title: String,
    pub x_name: String,
    pub y_name: String,
    pub x_log: bool,
    pub y_log: bool,
    pub x: Vec<f64>,
    /// The first is that of the real maps; differences are to it.
    pub curves: Vec<Curve>,
    /// Bins that are marked: those whose distributions stand beneath.
    pub marked: Vec<usize>,
}

/// The distribution of one number over the maps of each set.
#[derive(Clone, Debug)]
pub struct Distribution {
    pub title: String,
    pub x_name: String,
    pub samples: Vec<(Set, Vec<f64>)>,
    /// A line beneath the title: what a test says.
    pub note: String,
}

fn text(at: (i32, i32), align: HPos, size: i32) -> Text {
    Text {
        at,
        align,
        size,
        upwards: false,
    }
}

fn heading(area: &Area<'_>, words: &str) -> Result<(), ReportError> {
    write_text(
        area,
        words,
        &text((16, TITLE as i32 / 2 + 2), HPos::Left, 21),
    )
}

fn legend(area: &Area<'_>, sets: impl Iterator<Item = Set>) -> Result<(), ReportError> {
    let y = (TITLE + LEGEND / 2) as i32;
    let mut x = 20;
    for set in sets {
        let line = Rectangle::new([(x, y - 1), (x + 26, y + 1)], set.colour().filled());
        area.draw(&line).map_err(drawing)?;
        write_text(area, set.name(), &text((x + 34, y), HPos::Left, 17))?;
        x += 60 + 10 * set.name().chars().count() as i32;
    }
    Ok(())
}

impl Bands {
    /// Draws the curves, each with a band of one standard deviation of single maps, over their
    /// differences to the first in units of its standard deviation.
    ///
    /// # Errors
    /// Drawing fails.
    pub fn draw(&self) -> Result<Canvas, ReportError> {
        let mut canvas = Canvas::new(WIDTH, BANDS_HEIGHT)?;
        canvas.draw(|area| {
            heading(area, &self.title)?;
            legend(area, self.curves.iter().map(|curve| curve.set))?;
            let (_, plots) = area.split_vertically((TITLE + LEGEND) as u32);
            let (upper, lower) = plots.split_vertically(340);
            let x = Axis::of(self.x.iter().copied(), self.x_log, 0.02, 8);
            self.draw_curves(&upper, &x)?;
            self.draw_differences(&lower, &x)
        })?;
        Ok(canvas)
    }

    /// Positions of the bins that have a value.
    fn points<'a>(
        &'a self,
        x: &'a Axis,
        y: &'a Axis,
        value: impl Fn(usize) -> f64 + 'a,
    ) -> Vec<(f64, f64)> {
        let each = self.x.iter().enumerate();
        each.map(|(bin, at)| (x.at(*at), value(bin)))
            .filter(|(_, value)| value.is_finite())
            .map(|(at, value)| (at, y.at(value)))
            .collect()
    }

    fn draw_curves(&self, area: &Area<'_>, x: &Axis) -> Result<(), ReportError> {
        let ends = self.curves.iter().flat_map(|curve| {
            let pairs = curve.mean.iter().zip(&curve.deviation);
            let low = pairs.clone().map(|(mean, deviation)| {
                let low = mean - deviation;
                // A band that reaches below zero would make a logarithmic axis endless.
                if self.y_log { low.max(mean * 0.2) } else { low }
            });
            low.chain(pairs.map(|(mean, deviation)| mean + deviation))
        });
        let y = Axis::of(ends, self.y_log, 0.05, 7);
        let mut chart = ChartBuilder::on(area)
            .margin_left(10)
            .margin_right(16)
            .margin_top(4)
            .margin_bottom(4)
            .x_label_area_size(4)
            .y_label_area_size(88)
            .build_cartesian_2d(x.clone(), y.clone())
            .map_err(drawing)?;
        axis_style(&mut chart.configure_mesh())
            .x_label_formatter(&|_| String::new())
            .y_label_formatter(&|position| y.words(*position))
            .y_desc(y.named(&self.y_name))
            .draw()
            .map_err(drawing)?;
        let (bottom, top) = y.ends();
        for &bin in &self.marked {
            let at = x.at(self.x[bin]);
            let line = PathElement::new(vec![(at, bottom), (at, top)], INK.mix(0.35));
            chart.draw_series([line]).map_err(drawing)?;
        }
        for curve in &self.curves {
            let at = |sign: f64| {
                self.points(x, &y, move |bin| {
                    curve.mean[bin] + sign * curve.deviation[bin]
                })
            };
            let band: Vec<_> = at(-1.0)
                .into_iter()
                .chain(at(1.0).into_iter().rev())
                .collect();
            if band.len() > 2 {
                let shade = curve.set.colour().mix(0.16);
                chart
                    .draw_series([Polygon::new(band, shade)])
                    .map_err(drawing)?;
            }
        }
        // The real maps' line lies over that of the second set, which it mostly covers.
        let order = |curve: &&Curve| match curve.set {
            Set::SecondReal => 0,
            Set::Real => 1,
            Set::Generated => 2,
        };
        let mut ordered: Vec<&Curve> = self.curves.iter().collect();
        ordered.sort_by_key(order);
        for curve in ordered {
            let line = self.points(x, &y, |bin| curve.mean[bin]);
            let style = curve.set.colour().stroke_width(2);
            chart
                .draw_series([PathElement::new(line, style)])
                .map_err(drawing)?;
        }
        Ok(())
    }

    fn draw_differences(&self, area: &Area<'_>, x: &Axis) -> Result<(), ReportError> {
        let Some((real, others)) = self.curves.split_first() else {
            return Ok(());
        };
        let difference =
            |curve: &Curve, bin: usize| (curve.mean[bin] - real.mean[bin]) / real.deviation[bin];
        let bins = 0..self.x.len();
        let all = others
            .iter()
            .flat_map(|curve| bins.clone().map(move |bin| difference(curve, bin).abs()));
        let largest = all.filter(|value| value.is_finite()).fold(0.5, f64::max);
        let most = (largest * 1.15).min(10.0);
        let y = Axis::linear(-most..most, 5);
        let mut chart = ChartBuilder::on(area)
            .margin_left(10)
            .margin_right(16)
            .margin_top(2)
            .margin_bottom(4)
            .x_label_area_size(52)
            .y_label_area_size(88)
            .build_cartesian_2d(x.clone(), y.clone())
            .map_err(drawing)?;
        axis_style(&mut chart.configure_mesh())
            .x_label_formatter(&|position| x.words(*position))
            .y_label_formatter(&|position| y.words(*position))
            .x_desc(x.named(&self.x_name))
            .y_desc("difference / \u{3c3}")
            .draw()
            .map_err(drawing)?;
        let (left, right) = x.ends();
        let zero = PathElement::new(vec![(left, 0.0), (right, 0.0)], REAL.stroke_width(2));
        chart.draw_series([zero]).map_err(drawing)?;
        for curve in others {
            let line = self.points(x, &y, |bin| difference(curve, bin));
            let style = curve.set.colour().stroke_width(2);
            chart
                .draw_series([PathElement::new(line, style)])
                .map_err(drawing)?;
        }
        Ok(())
    }
}

impl Distribution {
    /// Draws a density histogram of each set, all in the same bins.
    ///
    /// # Errors
    /// Drawing fails.
    pub fn draw(&self) -> Result<Canvas, ReportError> {
        let edges = self.edges();
        let densities: Vec<Vec<f64>> = self
            .samples
            .iter()
            .map(|(_, values)| density(values, &edges))
            .collect();
        let highest = densities.iter().flatten().copied().fold(0.0, f64::max);
        let y = Axis::linear(0.0..1.08 * if highest > 0.0 { highest } else { 1.0 }, 5);
        let (low, high) = (edges[0], edges[edges.len() - 1]);
        let x = Axis::linear(low..high, 5);
        let mut canvas = Canvas::new(WIDTH, DISTRIBUTION_HEIGHT)?;
        canvas.draw(|area| {
            heading(area, &self.title)?;
            let at = (20, (TITLE + LEGEND / 2) as i32);
            write_text(area, &self.note, &text(at, HPos::Left, 17))?;
            let (_, plot) = area.split_vertically((TITLE + LEGEND) as u32);
            let mut chart = ChartBuilder::on(&plot)
                .margin_left(10)
                .margin_right(16)
                .margin_top(4)
                .margin_bottom(4)
                .x_label_area_size(52)
                .y_label_area_size(88)
                .build_cartesian_2d(x.clone(), y.clone())
                .map_err(drawing)?;
            axis_style(&mut chart.configure_mesh())
                .x_label_formatter(&|position| x.words(*position))
                .y_label_formatter(&|position| y.words(*position))
                .x_desc(x.named(&self.x_name))
                .y_desc(y.named("density over maps"))
                .draw()
                .map_err(drawing)?;
            for ((set, _), densities) in self.samples.iter().zip(&densities) {
                let mut outline = vec![(edges[0], 0.0)];
                for (pair, &value) in edges.windows(2).zip(densities) {
                    outline.extend([(pair[0], value), (pair[1], value)]);
                }
                outline.push((high, 0.0));
                if *set == Set::Real {
                    let shade = set.colour().mix(0.14);
                    let filled = Polygon::new(outline.clone(), shade);
                    chart.draw_series([filled]).map_err(drawing)?;
                }
                let line = PathElement::new(outline, set.colour().stroke_width(2));
                chart.draw_series([line]).map_err(drawing)?;
            }
            Ok(())
        })?;
        Ok(canvas)
    }

    /// Equal bins over what all sets hold, a few in a thousand at either end left out.
    fn edges(&self) -> Vec<f64> {
        let values = self.samples.iter().flat_map(|(_, values)| values);
        let mut sorted: Vec<f64> = values.copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |fraction: f64| {
            let last = sorted.len().saturating_sub(1) as f64;
            sorted
                .get((fraction * last).round() as usize)
                .copied()
                .unwrap_or(0.0)
        };
        let (low, high) = (at(0.002), at(0.998));
        // Counts: bins of equally many whole numbers, or some would look empty.
        if sorted.iter().all(|value| value.fract() == 0.0) && high - low < 1e6 {
            let width = ((high - low + 1.0) / 30.0).ceil();
            let bins = ((high - low + 1.0) / width).ceil() as usize;
            return (0..=bins.max(1))
                .map(|k| low - 0.5 + width * k as f64)
                .collect();
        }
        let least = (low.abs().max(high.abs()) * 1e-6).max(1e-300);
        let room = (0.04 * (high - low)).max(least);
        let single = self.samples.first().map_or(1, |(_, values)| values.len());
        // About as many as Rice's rule gives, so that bins of small sets are not all noise.
        let bins = (2.0 * (single as f64).cbrt()).round().clamp(8.0, 30.0) as usize;
        let width = (high - low + 2.0 * room) / bins as f64;
        (0..=bins).map(|k| low - room + width * k as f64).collect()
    }
}

/// Density of `values` in the bins of `edges`; values outside count in the norm.
fn density(values: &[f64], edges: &[f64]) -> Vec<f64> {
    let mut counts = vec![0.0; edges.len() - 1];
    for value in values {
        let bin = edges.partition_point(|edge| edge <= value);
        if let Some(count) = bin.checked_sub(1).and_then(|bin| counts.get_mut(bin)) {
            *count += 1.0;
        }
    }
    let norm = (edges[1] - edges[0]) * values.len().max(1) as f64;
    counts.iter().map(|count| count / norm).collect()
}

#[cfg(test)]
#[path = "panel_tests.rs"]
mod tests;

//! The kernel ladder as a picture: how a quantity changes from each version of a kernel to the next.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::ReportError;
use super::canvas::{Area, Canvas, FONT, INK, Text, drawing, write_text};
use super::comparison::{GENERATED, REAL, axis_number, log_axis, log_range};

const WIDTH: usize = 370;
const HEIGHT: usize = 340;
const TITLE: usize = 48;
const LEGEND: usize = 34;

/// Told apart by all common forms of colour blindness.
const COLOURS: [RGBColor; 5] = [
    REAL,
    GENERATED,
    RGBColor(0, 158, 115),
    RGBColor(86, 180, 233),
    INK,
];

/// One quantity of one operation: a line for each layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Rungs {
    /// The operation.
    pub name: String,
    /// The quantity and its unit.
    pub quantity: String,
    /// By layer, in the order of [`Ladder::layers`]: the versions that have a value, counted from 1.
    pub lines: Vec<Vec<(u32, f64)>>,
}

/// Rows of panels, one for each quantity, with a column for each operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Ladder {
    pub title: String,
    pub layers: Vec<String>,
    pub rows: Vec<Vec<Rungs>>,
}

fn text(at: (i32, i32), size: i32) -> Text {
    Text {
        at,
        align: HPos::Left,
        size,
        upwards: false,
    }
}

impl Ladder {
    /// Writes the picture to `path`; quantities are on logarithmic axes.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn draw(&self, path: &Path) -> Result<(), ReportError> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let rows = self.rows.len().max(1);
        let mut canvas = Canvas::new(columns * WIDTH, TITLE + LEGEND + rows * HEIGHT)?;
        canvas.draw(|area| {
            write_text(area, &self.title, &text((24, TITLE as i32 / 2), 20))?;
            self.draw_legend(area)?;
            let (_, plots) = area.split_vertically((TITLE + LEGEND) as u32);
            let cells = plots.split_evenly((rows, columns));
            for (row, panels) in self.rows.iter().enumerate() {
                for (column, panel) in panels.iter().enumerate() {
                    panel.draw(&cells[row * columns + column])?;
                }
            }
            Ok(())
        })?;
        canvas.write_png(path)
    }

    fn draw_legend(&self, area: &Area<'_>) -> Result<(), ReportError> {
        let y = (TITLE + LEGEND / 2) as i32 - 6;
        let mut x = 24;
        for (layer, colour) in self.layers.iter().zip(COLOURS.iter().cycle()) {
            let line = Rectangle::new([(x, y - 1), (x + 26, y + 1)], colour.filled());
            area.draw(&line).map_err(drawing)?;
            write_text(area, layer, &text((x + 34, y), 17))?;
            x += 60 + 10 * layer.chars().count() as i32;
        }
        Ok(())
    }
}

impl Rungs {
    fn draw(&self, area: &Area<'_>) -> Result<(), ReportError> {
        let points = || self.lines.iter().flatten();
        let last = points().map(|point| point.0).max().unwrap_or(1);
        let x = 0.6..f64::from(last) + 0.4;
        let y = log_range(points().map(|point| point.1), 1.6);
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .caption(&self.name, (FONT, 18))
            .x_label_area_size(30)
            .y_label_area_size(72)
            .build_cartesian_2d(x, log_axis(&y, 6))
            .map_err(drawing)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(last as usize)
            .y_desc(&self.quantity)
            .axis_style(INK)
            .light_line_style(TRANSPARENT)
            .bold_line_style(INK.mix(0.1))
            .label_style((FONT, 15))
            .x_label_formatter(&|version| format!("v{version}"))
            .y_label_formatter(&|value| axis_number(*value))
            .draw()
            .map_err(drawing)?;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let points = || line.iter().map(|&(version, y)| (f64::from(version), y));
            chart
                .draw_series(LineSeries::new(points(), colour.stroke_width(2)))
                .map_err(drawing)?;
            let dots = points().map(|point| Circle::new(point, 4, colour.filled()));
            chart.draw_series(dots).map_err(drawing)?;
        }
        Ok(())
    }
}

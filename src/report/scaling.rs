//! How time and memory of a training step grow: one panel for each size that grows.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::ReportError;
use super::canvas::{Area, Canvas, FONT, INK, Text, drawing, write_text};
use super::comparison::{GENERATED, REAL, log_axis, log_range};

const PANEL: usize = 370;
const TITLE: u32 = 50;

/// One size that grows.
#[derive(Clone, Debug, PartialEq)]
pub struct Growth {
    /// As `maps in a batch`.
    pub name: String,
    /// The size, seconds of a step, bytes in memory.
    pub points: Vec<(f64, f64, f64)>,
}

/// Writes the picture to `path`: above the times, beneath the memory, both axes logarithmic.
///
/// # Errors
/// A file that cannot be written.
pub fn scaling_figure(path: &Path, title: &str, growths: &[Growth]) -> Result<(), ReportError> {
    let columns = growths.len().max(1);
    let mut canvas = Canvas::new(columns * PANEL, 2 * PANEL + TITLE as usize)?;
    canvas.draw(|area| {
        let (head, plots) = area.split_vertically(TITLE);
        let text = Text {
            at: (24, TITLE as i32 / 2),
            align: HPos::Left,
            size: 20,
            upwards: false,
        };
        write_text(&head, title, &text)?;
        let cells = plots.split_evenly((2, columns));
        for (column, growth) in growths.iter().enumerate() {
            let times: Vec<_> = growth.points.iter().map(|&(x, s, _)| (x, s)).collect();
            let memory: Vec<_> = growth
                .points
                .iter()
                .map(|&(x, _, b)| (x, b / 1e9))
                .collect();
            panel(
                &cells[column],
                &growth.name,
                "seconds a step",
                &times,
                GENERATED,
            )?;
            panel(
                &cells[columns + column],
                &growth.name,
                "memory, GB",
                &memory,
                REAL,
            )?;
        }
        Ok(())
    })?;
    canvas.write_png(path)
}

fn panel(
    area: &Area<'_>,
    x_name: &str,
    y_name: &str,
    points: &[(f64, f64)],
    colour: RGBColor,
) -> Result<(), ReportError> {
    let x = log_range(points.iter().map(|point| point.0), 1.3);
    let y = log_range(points.iter().map(|point| point.1), 2.0);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(
            // The values themselves, which are powers of two.
            x.log_scale()
                .with_key_points(points.iter().map(|point| point.0).collect()),
            log_axis(&y, 6),
        )
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .x_desc(x_name)
        .y_desc(y_name)
        .axis_style(INK)
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.1))
        .label_style((FONT, 15))
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| format!("{}", (value * 1e6).round() / 1e6))
        .draw()
        .map_err(drawing)?;
    chart
        .draw_series(LineSeries::new(
            points.iter().copied(),
            colour.stroke_width(2),
        ))
        .map_err(drawing)?;
    let dots = points
        .iter()
        .map(|&point| Circle::new(point, 4, colour.filled()));
    chart.draw_series(dots).map_err(drawing)?;
    Ok(())
}

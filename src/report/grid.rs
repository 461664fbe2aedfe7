//! Grids of maps as PNG: generated beside real ones with a colour bar, or maps only.

use super::ReportError;
use super::canvas::{Area, Canvas, INK, Text, drawing, frame, write_text};
use super::colour::{PictureStyle, Stretch, label};
use plotters::prelude::PathElement;
use plotters::style::text_anchor::HPos;
use std::path::Path;

/// Maps are magnified by a whole number until they are at least this wide.
const SHOWN_SIDE: usize = 192;
const GAP: usize = 6;
const MARGIN: usize = 24;
/// Between the two panels.
const GUTTER: usize = 36;
const TITLE: usize = 44;
const HEADING: usize = 34;
const BAR: usize = 20;
/// Right of the colour bar, for its values and its name.
const BAR_LABELS: usize = 96;

/// One half of a [`SampleGrid`].
#[derive(Clone, Copy, Debug)]
pub struct Panel<'a> {
    /// What the maps are, set above them.
    pub label: &'a str,
    /// The maps `[n, side, side]`, row-major in physical units; the first `rows * columns` are
    /// shown, and cells without a map stay empty.
    pub maps: &'a [f32],
}

/// What a picture of generated beside real maps shows.
#[derive(Clone, Copy, Debug)]
pub struct SampleGrid<'a> {
    /// Above the picture; may be empty.
    pub title: &'a str,
    /// The name of the quantity and its unit, along the colour bar.
    pub quantity: &'a str,
    pub style: PictureStyle,
    /// Pixels along the side of a map.
    pub side: usize,
    /// Rows of maps in each panel.
    pub rows: usize,
    /// Columns of maps in each panel.
    pub columns: usize,
    /// Generated maps, on the left.
    pub generated: Panel<'a>,
    /// Real maps, on the right; all of them, shown or not, set the range of colours.
    pub real: Panel<'a>,
}

/// Writes a picture of generated maps beside real ones to `path`: one range of colours for both
/// (see [`Stretch`]), set by the real ones, a heading above each, a colour bar with values.
/// Maps below 192 pixels are magnified by a whole number; pixels that are not finite are cyan.
///
/// # Errors
/// Maps of another shape than said, a picture larger than 16384 pixels a side, real maps without
/// a finite pixel, a file that cannot be written.
pub fn sample_grid(path: &Path, grid: &SampleGrid<'_>) -> Result<(), ReportError> {
    let stretch = stretch_of(&grid.real, grid.side, grid.style)?;
    check(&grid.generated, grid.side)?;
    let cells = Cells::new(grid.side, grid.rows, grid.columns);
    let title = if grid.title.is_empty() { 0 } else { TITLE };
    let top = MARGIN / 2 + title + HEADING;
    let right = MARGIN + cells.width + GUTTER;
    let bar = right + cells.width + MARGIN;
    let mut canvas = Canvas::new(bar + BAR + BAR_LABELS, top + cells.height + MARGIN)?;
    let panels = [(&grid.generated, MARGIN), (&grid.real, right)];
    for (panel, left) in panels {
        cells.paint(&mut canvas, (left, top), panel.maps, &stretch);
    }
    for y in 0..cells.height {
        let position = 1.0 - (y as f64 + 0.5) / cells.height as f64;
        for x in bar..bar + BAR {
            canvas.set(x, top + y, stretch.colour_at(position));
        }
    }
    canvas.draw(|area| {
        if title > 0 {
            let at = (MARGIN as i32, (MARGIN / 2 + TITLE / 2) as i32);
            write_text(area, grid.title, &text(at, HPos::Left, 25))?;
        }
        for (panel, left) in panels {
            let at = (left as i32, (top - HEADING / 2) as i32 - 1);
            write_text(area, panel.label, &text(at, HPos::Left, 21))?;
        }
        bar_scale(area, (bar, top), cells.height, &stretch, grid.quantity)
    })?;
    canvas.write_png(path)
}

/// Writes the first `n` of the maps `[.., side, side]` to `path` as a grid about as wide as high,
/// and nothing else; colours as in [`sample_grid`], the range set by all maps given.
///
/// # Errors
/// As [`sample_grid`]; n = 0 is a picture without size.
pub fn maps_png(
    path: &Path,
    maps: &[f32],
    n: usize,
    side: usize,
    style: PictureStyle,
) -> Result<(), ReportError> {
    let panel = Panel {
        label: "maps",
        maps,
    };
    let stretch = stretch_of(&panel, side, style)?;
    let n = n.min(maps.len() / (side * side));
    let columns = (n as f64).sqrt().ceil() as usize;
    let cells = Cells::new(side, n.div_ceil(columns.max(1)), columns);
    let mut canvas = Canvas::new(cells.width, cells.height)?;
    cells.paint(&mut canvas, (0, 0), &maps[..n * side * side], &stretch);
    canvas.write_png(path)
}

fn check(panel: &Panel<'_>, side: usize) -> Result<(), ReportError> {
    let size = side * side;
    if size == 0 || panel.maps.is_empty() || !panel.maps.len().is_multiple_of(size) {
        return Err(ReportError::Shape {
            label: panel.label.to_owned(),
            got: panel.maps.len(),
            side,
        });
    }
    Ok(())
}

fn stretch_of(panel: &Panel<'_>, side: usize, style: PictureStyle) -> Result<Stretch, ReportError> {
    check(panel, side)?;
    Stretch::of(panel.maps, style).map_err(|_| ReportError::NoRange {
        label: panel.label.to_owned(),
        needed: match style {
            PictureStyle::Asinh => "finite",
            PictureStyle::Log => "positive",
        },
    })
}

/// The values and the name of the colour bar whose upper left is `(left, top)`.
pub(super) fn bar_scale(
    area: &Area<'_>,
    (left, top): (usize, usize),
    height: usize,
    stretch: &Stretch,
    quantity: &str,
) -> Result<(), ReportError> {
    let right = (left + BAR) as i32;
    let bottom = (top + height) as i32;
    frame(area, (left as i32, top as i32), (right, bottom))?;
    for tick in stretch.ticks(24.0 / height as f64) {
        let y = bottom - (stretch.position(tick) * height as f64).round() as i32;
        let mark = PathElement::new(vec![(right, y), (right + 5, y)], INK);
        area.draw(&mark).map_err(drawing)?;
        write_text(area, &label(tick), &text((right + 10, y), HPos::Left, 17))?;
    }
    let middle = (
        (left + BAR + BAR_LABELS - 18) as i32,
        (top + height / 2) as i32,
    );
    let name = Text {
        upwards: true,
        ..text(middle, HPos::Center, 19)
    };
    write_text(area, quantity, &name)
}

fn text(at: (i32, i32), align: HPos, size: i32) -> Text {
    Text {
        at,
        align,
        size,
        upwards: false,
    }
}

/// The layout of one panel of maps.
struct Cells {
    side: usize,
    columns: usize,
    rows: usize,
    magnification: usize,
    width: usize,
    height: usize,
}

impl Cells {
    fn new(side: usize, rows: usize, columns: usize) -> Self {
        let magnification = SHOWN_SIDE.div_ceil(side.max(1)).max(1);
        let shown = side * magnification;
        let length = |count: usize| (count * (shown + GAP)).saturating_sub(GAP);
        Self {
            side,
            columns,
            rows,
            magnification,
            width: length(columns),
            height: length(rows),
        }
    }

    fn paint(
        &self,
        canvas: &mut Canvas,
        (left, top): (usize, usize),
        maps: &[f32],
        stretch: &Stretch,
    ) {
        let shown = self.side * self.magnification;
        let maps = maps.chunks(self.side * self.side);
        for (cell, map) in maps.take(self.rows * self.columns).enumerate() {
            let x0 = left + cell % self.columns * (shown + GAP);
            let y0 = top + cell / self.columns * (shown + GAP);
            for y in 0..shown {
                let row = &map[y / self.magnification * self.side..][..self.side];
                for x in 0..shown {
                    let value = f64::from(row[x / self.magnification]);
                    canvas.set(x0 + x, y0 + y, stretch.colour(value));
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "grid_tests.rs"]
mod tests;

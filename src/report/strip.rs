//! Rows of maps beside each other in common colours, each map with a caption: samples, nearest
//! neighbours, interpolations.

use plotters::style::text_anchor::HPos;

use super::ReportError;
use super::canvas::{Canvas, Text, write_text};
use super::colour::Stretch;
use super::grid::bar_scale;

const GAP: usize = 8;
const MARGIN: usize = 16;
const TITLE: usize = 36;
const LABEL: usize = 30;
const CAPTION: usize = 26;
const BAR: usize = 20;
const BAR_LABELS: usize = 96;

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    pub label: String,
    /// Maps `[side, side]` with the words beneath each, which may be empty.
    pub maps: Vec<(Vec<f32>, String)>,
}

/// Rows of maps.
#[derive(Clone, Debug)]
pub struct Strip {
    pub title: String,
    /// The name of the maps' quantity, along the colour bar.
    pub quantity: String,
    /// Pixels along the side of a map.
    pub side: usize,
    pub rows: Vec<Row>,
}

impl Strip {
    /// Draws the rows in the colours of `stretch`, maps `shown` pixels wide at least (whole multiples
    /// of their pixels).
    ///
    /// # Errors
    /// A map of another shape, or a picture that is too large.
    pub fn draw(&self, stretch: &Stretch, shown: usize) -> Result<Canvas, ReportError> {
        let side = self.side;
        for (map, _) in self.rows.iter().flat_map(|row| &row.maps) {
            if map.len() != side * side || side == 0 {
                return Err(ReportError::Shape {
                    label: self.title.clone(),
                    got: map.len(),
                    side,
                });
            }
        }
        let magnification = shown.div_ceil(side.max(1)).max(1);
        let shown = side * magnification;
        let columns = self
            .rows
            .iter()
            .map(|row| row.maps.len())
            .max()
            .unwrap_or(0);
        let captions: Vec<usize> = self
            .rows
            .iter()
            .map(
                |row| match row.maps.iter().all(|(_, words)| words.is_empty()) {
                    true => 0,
                    false => CAPTION,
                },
            )
            .collect();
        let heights = captions.iter().map(|caption| LABEL + shown + caption + GAP);
        let height: usize = heights.clone().sum();
        let bar = MARGIN + columns * (shown + GAP) + GAP;
        let mut canvas = Canvas::new(bar + BAR + BAR_LABELS, TITLE + height + MARGIN)?;
        let mut tops = Vec::new();
        let mut top = TITLE;
        for (row, height) in self.rows.iter().zip(heights) {
            tops.push(top);
            for (column, (map, _)) in row.maps.iter().enumerate() {
                let left = MARGIN + column * (shown + GAP);
                for y in 0..shown {
                    let pixels = &map[y / magnification * side..][..side];
                    for x in 0..shown {
                        let value = f64::from(pixels[x / magnification]);
                        canvas.set(left + x, top + LABEL + y, stretch.colour(value));
                    }
                }
            }
            top += height;
        }
        let (first, last) = (TITLE + LABEL, (top - GAP).max(TITLE + LABEL + 2));
        let last = last - captions.last().copied().unwrap_or(0);
        let bar_height = (last - first).min(2 * shown + LABEL);
        for y in 0..bar_height {
            let position = 1.0 - (y as f64 + 0.5) / bar_height as f64;
            for x in bar..bar + BAR {
                canvas.set(x, first + y, stretch.colour_at(position));
            }
        }
        canvas.draw(|area| {
            let words = |at, align, size| Text {
                at,
                align,
                size,
                upwards: false,
            };
            let at = (MARGIN as i32, TITLE as i32 / 2 + 2);
            write_text(area, &self.title, &words(at, HPos::Left, 21))?;
            for (row, top) in self.rows.iter().zip(&tops) {
                let at = (MARGIN as i32, (top + LABEL / 2) as i32);
                write_text(area, &row.label, &words(at, HPos::Left, 18))?;
                for (column, (_, caption)) in row.maps.iter().enumerate() {
                    let x = MARGIN + column * (shown + GAP) + shown / 2;
                    let at = (x as i32, (top + LABEL + shown + CAPTION / 2) as i32);
                    write_text(area, caption, &words(at, HPos::Center, 16))?;
                }
            }
            bar_scale(area, (bar, first), bar_height, stretch, &self.quantity)
        })?;
        Ok(canvas)
    }
}

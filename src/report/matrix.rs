//! The picture of a matrix: correlations between bins, or the difference of two such.

use plotters::prelude::PathElement;
use plotters::style::text_anchor::HPos;

use super::ReportError;
use super::canvas::{Canvas, INK, Text, drawing, frame, write_text};
use super::colour::label;

const SHOWN: usize = 420;
const LEFT: usize = 84;
const TOP: usize = 44;
const BAR: usize = 20;

/// A symmetric matrix, its first row at the top.
#[derive(Clone, Debug)]
pub struct Matrix {
    pub title: String,
    /// The axes' name.
    pub name: String,
    /// What the bins are, one a row.
    pub bins: Vec<f64>,
    /// `[bins, bins]`; NaN is drawn grey.
    pub values: Vec<f64>,
    /// The value of the last colour, and minus it that of the first.
    pub range: f64,
}

impl Matrix {
    /// Draws the matrix with a colour bar: blue is negative, red positive, white zero.
    ///
    /// # Errors
    /// A matrix that is not of that shape, or drawing fails.
    pub fn draw(&self) -> Result<Canvas, ReportError> {
        let n = self.bins.len();
        if n == 0 || self.values.len() != n * n {
            return Err(ReportError::Draw(format!(
                "a matrix of {} values for {n} bins",
                self.values.len()
            )));
        }
        let range = if self.range > 0.0 { self.range } else { 1.0 };
        let colour = |value: f64| {
            if !value.is_finite() {
                return [200; 3];
            }
            let position = (0.5 - 0.5 * value / range).clamp(0.0, 1.0);
            let colour = colorous::RED_BLUE.eval_continuous(position);
            [colour.r, colour.g, colour.b]
        };
        let bar = LEFT + SHOWN + 20;
        let mut canvas = Canvas::new(super::panel::WIDTH, TOP + SHOWN + 66)?;
        for y in 0..SHOWN {
            for x in 0..SHOWN {
                let (row, column) = (y * n / SHOWN, x * n / SHOWN);
                canvas.set(LEFT + x, TOP + y, colour(self.values[row * n + column]));
            }
            let value = range * (1.0 - 2.0 * (y as f64 + 0.5) / SHOWN as f64);
            for x in 0..BAR {
                canvas.set(bar + x, TOP + y, colour(value));
            }
        }
        let (left, top) = (LEFT as i32, TOP as i32);
        let (shown, bar) = (SHOWN as i32, bar as i32);
        canvas.draw(|area| {
            let words = |at, align, size| Text {
                at,
                align,
                size,
                upwards: false,
            };
            write_text(area, &self.title, &words((16, 22), HPos::Left, 21))?;
            frame(area, (left, top), (left + shown, top + shown))?;
            frame(area, (bar, top), (bar + BAR as i32, top + shown))?;
            for k in 0..5 {
                let bin = k * (n - 1) / 4;
                let middle = ((2 * bin + 1) * SHOWN / (2 * n)) as i32;
                let value = short(self.bins[bin]);
                let (x, y) = (left + middle, top + middle);
                let under = top + shown;
                for mark in [[(x, under), (x, under + 5)], [(left - 5, y), (left, y)]] {
                    let mark = PathElement::new(mark.to_vec(), INK);
                    area.draw(&mark).map_err(drawing)?;
                }
                write_text(area, &value, &words((x, under + 16), HPos::Center, 16))?;
                write_text(area, &value, &words((left - 10, y), HPos::Right, 16))?;
                let y = top + k as i32 * shown / 4;
                let value = label(range * (1.0 - 0.5 * k as f64));
                let right = bar + BAR as i32;
                let mark = PathElement::new(vec![(right, y), (right + 5, y)], INK);
                area.draw(&mark).map_err(drawing)?;
                write_text(area, &value, &words((right + 9, y), HPos::Left, 16))?;
            }
            let under = (left + shown / 2, top + shown + 44);
            write_text(area, &self.name, &words(under, HPos::Center, 19))
        })?;
        Ok(canvas)
    }
}

/// To three digits, without a power of ten where whole numbers are short enough.
fn short(value: f64) -> String {
    if !(1e3..1e6).contains(&value.abs()) {
        return label(value);
    }
    let unit = 10_f64.powf(value.abs().log10().floor() - 2.0);
    format!("{:.0}", (value / unit).round() * unit)
}

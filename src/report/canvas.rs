//! A picture in memory: maps as pixels, over them what was drawn, text in the embedded font, and the
//! ways to PNG and SVG files.
//!
//! Drawing goes through `plotters`; maps are copied into a buffer as they are.

use super::ReportError;
use super::record::{Item, Recorder};
use super::svg;
use crate::files::write_atomic;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontTransform, register_font};
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;

/// The name under which the embedded font is known to `plotters`.
pub const FONT: &str = "sans-serif";
/// The colour of text, axes and frames.
pub const INK: RGBColor = RGBColor(34, 34, 34);
/// The longest side of a picture, pixels.
const LIMIT: usize = 16_384;

/// The part of a [`Canvas`] that is drawn on.
pub type Area<'a> = DrawingArea<Recorder<'a>, Shift>;

/// A picture `[height, width, 3]` of bytes, white at first.
pub struct Canvas {
    pub width: usize,
    pub height: usize,
    rgb: Vec<u8>,
    /// Whether a pixel was set.
    painted: bool,
    items: Vec<Item>,
}

/// Where text stands and how: `at` is the middle of its height, and in width what `align` says.
pub struct Text {
    pub at: (i32, i32),
    pub align: HPos,
    /// Height of a line, pixels.
    pub size: i32,
    /// Reads upwards.
    pub upwards: bool,
}

impl Canvas {
    pub fn new(width: usize, height: usize) -> Result<Self, ReportError> {
        if !(1..=LIMIT).contains(&width) || !(1..=LIMIT).contains(&height) {
            return Err(ReportError::Size {
                width,
                height,
                limit: LIMIT,
            });
        }
        Ok(Self {
            width,
            height,
            rgb: vec![255; width * height * 3],
            painted: false,
            items: Vec::new(),
        })
    }

    /// Sets one pixel; (0, 0) is the upper left.
    pub fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        let at = (y * self.width + x) * 3;
        self.rgb[at..at + 3].copy_from_slice(&colour);
        self.painted = true;
    }

    /// Draws on the whole picture, over what was set and drawn before.
    pub fn draw(
        &mut self,
        draw: impl FnOnce(&Area<'_>) -> Result<(), ReportError>,
    ) -> Result<(), ReportError> {
        use_embedded_font()?;
        let size = (self.width as u32, self.height as u32);
        let area = Recorder::new(&mut self.items, size).into_drawing_area();
        draw(&area)
    }

    /// Places `other` with its upper left at `(x, y)`; what does not fit is left out of the pixels.
    pub fn place(&mut self, other: &Self, (x, y): (usize, usize)) {
        if other.painted {
            let width = other.width.min(self.width.saturating_sub(x));
            let rows = other.rgb.chunks_exact(other.width * 3);
            for (row, pixels) in rows.enumerate().take(self.height.saturating_sub(y)) {
                let at = ((y + row) * self.width + x) * 3;
                self.rgb[at..at + 3 * width].copy_from_slice(&pixels[..3 * width]);
            }
            self.painted = true;
        }
        let moved = other
            .items
            .iter()
            .map(|item| item.moved((x as i32, y as i32)));
        self.items.extend(moved);
    }

    /// The bytes of a PNG file.
    pub fn png(&self) -> Result<Vec<u8>, ReportError> {
        let mut rgb = self.rgb.clone();
        let size = (self.width as u32, self.height as u32);
        let mut pixels = BitMapBackend::with_buffer_and_format(&mut rgb, size).map_err(drawing)?;
        for item in &self.items {
            item.draw(&mut pixels)?;
        }
        pixels.present().map_err(drawing)?;
        drop(pixels);
        self.encode(&rgb)
    }

    fn encode(&self, rgb: &[u8]) -> Result<Vec<u8>, ReportError> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(drawing)?;
        writer.write_image_data(rgb).map_err(drawing)?;
        writer.finish().map_err(drawing)?;
        Ok(file)
    }

    /// The text of an SVG file.
    pub fn svg(&self) -> Result<String, ReportError> {
        let under = match self.painted {
            true => Some(self.encode(&self.rgb)?),
            false => None,
        };
        svg::document((self.width, self.height), under.as_deref(), &self.items)
    }

    /// Writes the picture as PNG: the whole file or nothing.
    pub fn write_png(&self, path: &Path) -> Result<(), ReportError> {
        write(path, &self.png()?)
    }

    /// Writes the picture as SVG: the whole file or nothing.
    pub fn write_svg(&self, path: &Path) -> Result<(), ReportError> {
        write(path, self.svg()?.as_bytes())
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    write_atomic(path, |file| file.write_all(bytes)).map_err(|source: io::Error| {
        ReportError::Write {
            path: path.to_owned(),
            source,
        }
    })
}

/// Writes `words` on `area`.
pub fn write_text(area: &Area<'_>, words: &str, text: &Text) -> Result<(), ReportError> {
    // `plotters` centres a box whose baseline is not where its box says: capitals of DejaVu Sans
    // would stand a fifth of their line too high.
    let down = (f64::from(text.size) * 0.2).round() as i32;
    let (x, y) = text.at;
    let mut style = (FONT, text.size)
        .into_text_style(area)
        .color(&INK)
        .pos(Pos::new(text.align, VPos::Center));
    let at = if text.upwards {
        style = style.transform(FontTransform::Rotate270);
        (x + down, y)
    } else {
        (x, y + down)
    };
    area.draw_text(words, &style, at).map_err(drawing)
}

/// The frame of a rectangle from `(x0, y0)` to `(x1, y1)`, inclusive.
pub fn frame(area: &Area<'_>, from: (i32, i32), to: (i32, i32)) -> Result<(), ReportError> {
    area.draw(&Rectangle::new([from, to], INK.stroke_width(1)))
        .map_err(drawing)
}

/// What `plotters` says when it cannot draw.
pub fn drawing(error: impl Display) -> ReportError {
    ReportError::Draw(error.to_string())
}

fn use_embedded_font() -> Result<(), ReportError> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let registered = REGISTERED
        .get_or_init(|| register_font(FONT, FontStyle::Normal, dejavu::sans::regular()).is_ok());
    if *registered {
        Ok(())
    } else {
        Err(ReportError::Draw("the embedded font is unreadable".into()))
    }
}

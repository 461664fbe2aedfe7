//! What was drawn, as a list: `plotters` draws into a [`Recorder`], and the list is then replayed
//! into pixels or written as SVG, so that both show the same.

use std::convert::Infallible;

use plotters::backend::BitMapBackend;
use plotters::prelude::{DrawingBackend, FontDesc, FontFamily, TextStyle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, FontTransform};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingErrorKind,
};

use super::ReportError;
use super::canvas::{FONT, drawing};

/// One thing that was drawn; coordinates are pixels from the upper left.
#[derive(Clone)]
pub enum Item {
    /// An open path.
    Path(Vec<BackendCoord>, Stroke),
    Polygon(Vec<BackendCoord>, BackendColor),
    Rectangle {
        from: BackendCoord,
        to: BackendCoord,
        stroke: Stroke,
        fill: bool,
    },
    Circle {
        at: BackendCoord,
        radius: u32,
        stroke: Stroke,
        fill: bool,
    },
    Words(Words),
}

/// The look of a line.
#[derive(Clone, Copy)]
pub struct Stroke {
    pub colour: BackendColor,
    pub width: u32,
}

impl BackendStyle for Stroke {
    fn color(&self) -> BackendColor {
        self.colour
    }

    fn stroke_width(&self) -> u32 {
        self.width
    }
}

impl Stroke {
    fn of(style: &impl BackendStyle) -> Self {
        Self {
            colour: style.color(),
            width: style.stroke_width(),
        }
    }
}

/// A line of text in the embedded font.
#[derive(Clone)]
pub struct Words {
    pub text: String,
    pub size: f64,
    pub colour: BackendColor,
    pub at: BackendCoord,
    /// From `at` to where the text begins and its box ends above, before it is turned.
    pub shift: (i32, i32),
    pub upwards: bool,
}

impl Item {
    /// The same, `(x, y)` further right and down.
    pub fn moved(&self, (x, y): (i32, i32)) -> Self {
        let there = |at: &BackendCoord| (at.0 + x, at.1 + y);
        let all = |points: &[BackendCoord]| points.iter().map(there).collect();
        let mut item = self.clone();
        match &mut item {
            Self::Path(points, _) | Self::Polygon(points, _) => *points = all(points),
            Self::Rectangle { from, to, .. } => (*from, *to) = (there(from), there(to)),
            Self::Circle { at, .. } => *at = there(at),
            Self::Words(words) => words.at = there(&words.at),
        }
        item
    }

    /// Draws it into pixels.
    pub fn draw(&self, pixels: &mut BitMapBackend<'_>) -> Result<(), ReportError> {
        match self {
            Self::Path(points, stroke) => pixels.draw_path(points.iter().copied(), stroke),
            Self::Polygon(points, colour) => pixels.fill_polygon(points.iter().copied(), colour),
            Self::Rectangle {
                from,
                to,
                stroke,
                fill,
            } => pixels.draw_rect(*from, *to, stroke, *fill),
            Self::Circle {
                at,
                radius,
                stroke,
                fill,
            } => pixels.draw_circle(*at, *radius, stroke, *fill),
            Self::Words(words) => {
                let (x, y) = words.shift;
                let (transform, moved) = if words.upwards {
                    (FontTransform::Rotate270, (y, -x))
                } else {
                    (FontTransform::None, (x, y))
                };
                let font = FontDesc::new(FontFamily::from(FONT), words.size, FontStyle::Normal);
                let style = TextStyle {
                    font: font.transform(transform),
                    color: words.colour,
                    pos: Pos::new(HPos::Left, VPos::Top),
                };
                let at = (words.at.0 + moved.0, words.at.1 + moved.1);
                pixels.draw_text(&words.text, &style, at)
            }
        }
        .map_err(drawing)
    }
}

/// A backend of `plotters` that keeps what is drawn.
pub struct Recorder<'a> {
    items: &'a mut Vec<Item>,
    size: (u32, u32),
}

impl<'a> Recorder<'a> {
    /// Adds to `items` what is drawn on a picture of `size` pixels.
    pub fn new(items: &'a mut Vec<Item>, size: (u32, u32)) -> Self {
        Self { items, size }
    }
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for Recorder<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, at: BackendCoord, colour: BackendColor) -> Drawn {
        let stroke = Stroke { colour, width: 1 };
        self.draw_rect(at, at, &stroke, true)
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        self.items.push(Item::Rectangle {
            from,
            to,
            stroke: Stroke::of(style),
            fill,
        });
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        let points: Vec<_> = path.into_iter().collect();
        // Faint grids are drawn as paths of no colour where there are none.
        if points.len() > 1 && style.color().alpha > 0.0 {
            self.items.push(Item::Path(points, Stroke::of(style)));
        }
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        at: BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Drawn {
        self.items.push(Item::Circle {
            at,
            radius,
            stroke: Stroke::of(style),
            fill,
        });
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        points: I,
        style: &S,
    ) -> Drawn {
        let points = points.into_iter().collect();
        self.items.push(Item::Polygon(points, style.color()));
        Ok(())
    }

    fn draw_text<T: BackendTextStyle>(&mut self, text: &str, style: &T, at: BackendCoord) -> Drawn {
        let ((left, top), (right, bottom)) = style
            .layout_box(text)
            .map_err(|error| DrawingErrorKind::FontError(Box::new(error)))?;
        let (width, height) = (right - left, bottom - top);
        let across = match style.anchor().h_pos {
            HPos::Left => 0,
            HPos::Right => -width,
            HPos::Center => -width / 2,
        };
        let down = match style.anchor().v_pos {
            VPos::Top => 0,
            VPos::Center => -height / 2,
            VPos::Bottom => -height,
        };
        self.items.push(Item::Words(Words {
            text: text.to_owned(),
            size: style.size(),
            colour: style.color(),
            at,
            shift: (across - left, down - top),
            upwards: matches!(style.transform(), FontTransform::Rotate270),
        }));
        Ok(())
    }
}

//! Pictures as SVG. Text is written as outlines of the embedded font, so that it looks as in the
//! PNG wherever it is opened; each line of it is named for those who listen to the page.

use std::collections::BTreeMap;
use std::fmt::Write;

use ab_glyph::{Font, FontRef, GlyphId, OutlineCurve, Point, ScaleFont};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plotters_backend::BackendColor;

use super::ReportError;
use super::record::{Item, Words};

/// The SVG document of `items` over the picture `png`, where there is one.
pub fn document(
    (width, height): (usize, usize),
    png: Option<&[u8]>,
    items: &[Item],
) -> Result<String, ReportError> {
    let font = FontRef::try_from_slice(dejavu::sans::regular())
        .map_err(|_| ReportError::Draw("the embedded font is unreadable".into()))?;
    let mut body = String::new();
    let mut glyphs = BTreeMap::new();
    for item in items {
        write_item(&mut body, item, &font, &mut glyphs);
    }
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\">\n<rect width=\"{width}\" height=\"{height}\" \
         fill=\"#fff\"/>\n"
    );
    if let Some(png) = png {
        let data = STANDARD.encode(png);
        text += &format!(
            "<image width=\"{width}\" height=\"{height}\" style=\"image-rendering:pixelated\" \
             href=\"data:image/png;base64,{data}\"/>\n"
        );
    }
    text += "<defs>";
    for (id, path) in &glyphs {
        text += &format!("<path id=\"g{}\" d=\"{path}\"/>", id.0);
    }
    text += "</defs>\n";
    text += &body;
    text += "</svg>\n";
    Ok(text)
}

fn write_item(
    out: &mut String,
    item: &Item,
    font: &FontRef<'_>,
    glyphs: &mut BTreeMap<GlyphId, String>,
) {
    // Pixels lie between coordinates in SVG, and on them in a bitmap.
    let points = |points: &[(i32, i32)]| {
        let mut text = String::new();
        for (x, y) in points {
            let _ = write!(text, "{x}.5,{y}.5 ");
        }
        text.truncate(text.trim_end().len());
        text
    };
    // Writing into a string cannot fail.
    let _ = match item {
        Item::Path(path, stroke) => writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\"{} stroke-width=\"{}\" stroke-linejoin=\"round\"/>",
            points(path),
            paint("stroke", stroke.colour),
            stroke.width
        ),
        Item::Polygon(path, colour) => writeln!(
            out,
            "<polygon points=\"{}\"{}/>",
            points(path),
            paint("fill", *colour)
        ),
        Item::Rectangle {
            from,
            to,
            stroke,
            fill,
        } => {
            let (x, y) = (from.0.min(to.0), from.1.min(to.1));
            let (width, height) = ((from.0 - to.0).abs(), (from.1 - to.1).abs());
            if *fill {
                writeln!(
                    out,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\"{}/>",
                    width + 1,
                    height + 1,
                    paint("fill", stroke.colour)
                )
            } else {
                writeln!(
                    out,
                    "<rect x=\"{x}.5\" y=\"{y}.5\" width=\"{width}\" height=\"{height}\" \
                     fill=\"none\"{} stroke-width=\"{}\"/>",
                    paint("stroke", stroke.colour),
                    stroke.width
                )
            }
        }
        Item::Circle {
            at: (x, y),
            radius,
            stroke,
            fill,
        } => {
            let paint = if *fill {
                paint("fill", stroke.colour)
            } else {
                format!(" fill=\"none\"{}", paint("stroke", stroke.colour))
            };
            writeln!(
                out,
                "<circle cx=\"{x}.5\" cy=\"{y}.5\" r=\"{radius}\"{paint}/>"
            )
        }
        Item::Words(words) => {
            write_words(out, words, font, glyphs);
            Ok(())
        }
    };
}

/// Places glyphs where `plotters` places them in a bitmap.
fn write_words(
    out: &mut String,
    words: &Words,
    font: &FontRef<'_>,
    glyphs: &mut BTreeMap<GlyphId, String>,
) {
    let scaled = font.as_scaled(words.size as f32);
    let (x, y) = words.at;
    let turned = if words.upwards { " rotate(-90)" } else { "" };
    let baseline = f64::from(words.shift.1) + words.size / 2.0;
    let scale = words.size / f64::from(font.height_unscaled());
    let _ = write!(
        out,
        "<g role=\"img\" aria-label=\"{}\"{} transform=\"translate({x} {y}){turned} \
         translate({} {baseline:.2}) scale({scale:.6} -{scale:.6})\">",
        escape(&words.text),
        paint("fill", words.colour),
        words.shift.0
    );
    let mut right = 0.0;
    let mut before = None;
    for letter in words.text.chars() {
        let id = scaled.glyph_id(letter);
        if let Some(before) = before {
            right += scaled.kern(before, id);
        }
        before = Some(id);
        if let Some(outline) = font.outline(id) {
            glyphs.entry(id).or_insert_with(|| path_of(&outline.curves));
            let _ = write!(
                out,
                "<use href=\"#g{}\" x=\"{:.0}\"/>",
                id.0,
                f64::from(right) / scale
            );
        }
        right += scaled.h_advance(id);
    }
    *out += "</g>\n";
}

fn path_of(curves: &[OutlineCurve]) -> String {
    let mut path = String::new();
    let mut pen: Option<Point> = None;
    let at = |point: &Point| format!("{:.0} {:.0}", point.x, point.y);
    for curve in curves {
        let (from, end) = match curve {
            OutlineCurve::Line(from, end)
            | OutlineCurve::Quad(from, _, end)
            | OutlineCurve::Cubic(from, _, _, end) => (from, end),
        };
        if pen != Some(*from) {
            path += &format!("M{}", at(from));
        }
        path += &match curve {
            OutlineCurve::Line(_, end) => format!("L{}", at(end)),
            OutlineCurve::Quad(_, a, end) => format!("Q{} {}", at(a), at(end)),
            OutlineCurve::Cubic(_, a, b, end) => format!("C{} {} {}", at(a), at(b), at(end)),
        };
        pen = Some(*end);
    }
    path + "Z"
}

fn paint(what: &str, colour: BackendColor) -> String {
    let (r, g, b) = colour.rgb;
    let opacity = if colour.alpha < 1.0 {
        format!(" {what}-opacity=\"{:.3}\"", colour.alpha)
    } else {
        String::new()
    };
    format!(" {what}=\"#{r:02x}{g:02x}{b:02x}\"{opacity}")
}

/// `text` as the text or an attribute of HTML, SVG or XML.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            // Not allowed in XML, whatever its spelling.
            control if control.is_control() && !matches!(control, '\n' | '\t') => {}
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_markup_is_escaped() {
        assert_eq!(
            escape("<a href='x'>\"1 & 2\"\u{7}</a>"),
            "&lt;a href=&#39;x&#39;&gt;&quot;1 &amp; 2&quot;&lt;/a&gt;"
        );
    }
}

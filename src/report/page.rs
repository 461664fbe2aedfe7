//! A page that needs nothing but itself: one HTML file with its style and its pictures inside, for a
//! browser without a network, a phone and a printer. Everything that is put in is escaped.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::svg::escape;

/// A page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub title: String,
    /// The first words, in large letters.
    pub headline: String,
    pub blocks: Vec<Block>,
    /// Small print at the end.
    pub footer: String,
}

/// How a line of a list is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Good,
    Fair,
    Bad,
    Unknown,
}

/// A part of a page.
#[derive(Clone, Debug)]
pub enum Block {
    Heading(String),
    Paragraph(String),
    /// Lines with a word before each that says how good it is.
    Marked(Vec<(Mark, &'static str, String)>),
    List(Vec<String>),
    Table(Table),
    /// A table that is folded until it is asked for.
    Folded(String, Table),
    Figure(Figure),
}

/// A table; its first column are names.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// Pictures under one caption.
#[derive(Clone, Debug)]
pub struct Figure {
    pub caption: String,
    /// What can be seen on each, and its SVG document.
    pub pictures: Vec<(String, String)>,
    /// Whether each takes the whole width, however wide the page.
    pub wide: bool,
    /// Pictures side by side on paper, 2 or 3, where they do not take the whole width.
    pub columns: usize,
}

const STYLE: &str = "\
:root{color-scheme:light}\
body{margin:0 auto;max-width:76rem;padding:1rem 1.2rem 3rem;background:#fff;color:#222;\
font:16px/1.5 system-ui,'DejaVu Sans',Verdana,Arial,sans-serif}\
h1{font-size:1.15rem;color:#555;font-weight:600;margin:.4rem 0}\
h2{font-size:1.25rem;margin:2.2rem 0 .6rem;border-bottom:1px solid #ddd;padding-bottom:.2rem}\
.headline{font-size:1.35rem;line-height:1.4;margin:.4rem 0 1.2rem;max-width:60rem}\
p,ul{max-width:60rem}ul{padding-left:1.2rem}li{margin:.3rem 0}\
.marked{list-style:none;padding:0}.marked li{display:flex;gap:.7rem;align-items:baseline}\
.mark{flex:0 0 6.2em;text-align:center;border-radius:.3rem;font-size:.85rem;font-weight:600;padding:.05rem .2rem}\
.good{background:#d7eedd;color:#14532d}.fair{background:#fdf0c8;color:#6b4a00}\
.bad{background:#fbdcd0;color:#7f1d1d}.unknown{background:#e5e7eb;color:#374151}\
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.88rem;margin:.4rem 0}\
th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #e5e5e5;white-space:nowrap}\
th{border-bottom:2px solid #bbb;vertical-align:bottom;white-space:normal}td:first-child,th:first-child{text-align:left}\
.long{text-align:left;white-space:normal;min-width:20rem}\
figure{margin:1rem 0 1.6rem}figcaption{font-size:.92rem;color:#444;max-width:60rem;margin-top:.4rem}\
.panels{display:grid;gap:.6rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,21rem),1fr))}\
.wide{grid-template-columns:1fr}img{width:100%;height:auto;display:block}\
.panels img{max-width:40rem}.wide img{max-width:64rem}\
details{margin:.5rem 0}summary{cursor:pointer;color:#1d4e89}footer{margin-top:3rem;font-size:.85rem;color:#666}\
@media(max-width:40rem){body{padding:.6rem .7rem 2rem}.headline{font-size:1.15rem}\
.marked li{display:block}.mark{display:inline-block;min-width:6.2em;margin-right:.5rem}}\
@media print{body{max-width:none;padding:0;font-size:10pt}h2{margin-top:1.2rem;break-inside:avoid;break-after:avoid}\
.headline{font-size:1.2rem}figure,tr,li{break-inside:avoid}thead{display:table-header-group}\
.scroll{overflow:visible}table{width:100%;font-size:7.5pt}th,td{white-space:normal;padding:.15rem .3rem}\
td:first-child{min-width:9em}\
figure{margin:.5rem 0 .8rem}figcaption{font-size:8.5pt}.panels{gap:.3rem;grid-template-columns:repeat(2,1fr)}\
.three{grid-template-columns:repeat(3,1fr)}.wide{grid-template-columns:1fr}\
details{display:none}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}";

impl Page {
    /// The HTML document.
    pub fn html(&self) -> String {
        let mut html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
             <p class=\"headline\">{}</p>\n",
            escape(&self.headline),
            title = escape(&self.title)
        );
        for block in &self.blocks {
            block.write(&mut html);
        }
        html += &format!(
            "<footer>{}</footer>\n</body>\n</html>\n",
            escape(&self.footer)
        );
        html
    }
}

impl Block {
    fn write(&self, html: &mut String) {
        *html += &match self {
            Self::Heading(words) => format!("<h2>{}</h2>\n", escape(words)),
            Self::Paragraph(words) => format!("<p>{}</p>\n", escape(words)),
            Self::List(lines) => {
                let lines = lines
                    .iter()
                    .map(|line| format!("<li>{}</li>\n", escape(line)));
                format!("<ul>\n{}</ul>\n", lines.collect::<String>())
            }
            Self::Marked(lines) => {
                let lines = lines.iter().map(|(mark, word, line)| {
                    let class = match mark {
                        Mark::Good => "good",
                        Mark::Fair => "fair",
                        Mark::Bad => "bad",
                        Mark::Unknown => "unknown",
                    };
                    let (word, line) = (escape(word), escape(line));
                    format!(
                        "<li><span class=\"mark {class}\">{word}</span> <span>{line}</span></li>\n"
                    )
                });
                format!(
                    "<ul class=\"marked\">\n{}</ul>\n",
                    lines.collect::<String>()
                )
            }
            Self::Table(table) => table.html(),
            Self::Folded(summary, table) => format!(
                "<details><summary>{}</summary>\n{}</details>\n",
                escape(summary),
                table.html()
            ),
            Self::Figure(figure) => figure.html(),
        };
    }
}

impl Table {
    fn html(&self) -> String {
        // Columns of sentences are read from the left and broken into lines.
        let is_long = |column: usize| {
            let cells = self.rows.iter().filter_map(|cells| cells.get(column));
            cells.into_iter().any(|cell| cell.chars().count() > 60)
        };
        let row = |cells: &[String], tag: &str| -> String {
            let cells = cells.iter().enumerate().map(|(column, cell)| {
                let class = if is_long(column) {
                    " class=\"long\""
                } else {
                    ""
                };
                format!("<{tag}{class}>{}</{tag}>", escape(cell))
            });
            format!("<tr>{}</tr>\n", cells.collect::<String>())
        };
        let rows: String = self.rows.iter().map(|cells| row(cells, "td")).collect();
        format!(
            "<div class=\"scroll\"><table>\n<thead>{}</thead>\n<tbody>\n{rows}</tbody></table></div>\n",
            row(&self.head, "th")
        )
    }
}

impl Figure {
    fn html(&self) -> String {
        let pictures = self.pictures.iter().map(|(words, svg)| {
            format!(
                "<img alt=\"{}\" src=\"data:image/svg+xml;base64,{}\">\n",
                escape(words),
                STANDARD.encode(svg)
            )
        });
        format!(
            "<figure>\n<div class=\"panels{}\">\n{}</div>\n<figcaption>{}</figcaption>\n</figure>\n",
            match (self.wide, self.columns) {
                (true, _) => " wide",
                (false, 3) => " three",
                (false, _) => "",
            },
            pictures.collect::<String>(),
            escape(&self.caption)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_one_file_and_what_is_put_in_is_escaped() {
        let evil = "<script>alert('x')</script>".to_owned();
        let table = Table {
            head: vec![evil.clone()],
            rows: vec![vec![evil.clone()]],
        };
        let page = Page {
            title: evil.clone(),
            headline: evil.clone(),
            blocks: vec![
                Block::Heading(evil.clone()),
                Block::Paragraph(evil.clone()),
                Block::List(vec![evil.clone()]),
                Block::Marked(vec![(Mark::Bad, "fails", evil.clone())]),
                Block::Table(table.clone()),
                Block::Folded(evil.clone(), table),
                Block::Figure(Figure {
                    caption: evil.clone(),
                    pictures: vec![(evil.clone(), evil.clone())],
                    wide: true,
                    columns: 1,
                }),
            ],
            footer: evil,
        };
        let html = page.html();
        assert!(!html.contains("<script"));
        assert_eq!(html.matches("&lt;script&gt;").count(), 15);
        for outside in ["http://", "https://", "url(", "@import", "<link"] {
            assert!(!html.contains(outside), "{outside}");
        }
    }
}

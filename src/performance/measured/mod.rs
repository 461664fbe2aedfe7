//! The results that are kept in `benches/results`, as tables and figures.

mod cpu;
mod gpu;
mod pytorch;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use cpu::cpu;
pub use gpu::{GpuResults, GpuTime, gpu, times};

use super::ladder;
use crate::report::{Growth, Ladder, ReportError, scaling_figure};
use cpu::ScalingResults;

/// What was timed.
#[derive(Deserialize)]
pub(super) struct Shape {
    what: String,
    size: usize,
    base: usize,
    batch: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            size,
            base,
            batch,
        } = self;
        write!(f, "{what} {size}/{base}/{batch}")
    }
}

/// The results in a folder and the folders in it that can be read as such, in the order of their names,
/// which are paths from the folder.
fn results<T: for<'a> Deserialize<'a>>(folder: &Path) -> std::io::Result<Vec<(String, T)>> {
    let mut found = Vec::new();
    for path in json_files(folder)? {
        let text = std::fs::read_to_string(&path)?;
        let name = path.strip_prefix(folder).unwrap_or(&path);
        // Results of other kinds lie there, too.
        if let Ok(results) = serde_json::from_str(&text) {
            found.push((name.to_string_lossy().into_owned(), results));
        }
    }
    Ok(found)
}

fn json_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.is_dir() {
            paths.extend(json_files(&path)?);
        } else if path.extension().is_some_and(|ending| ending == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The picture of the results `name`, from the page's folder.
fn picture(name: &str) -> String {
    let name = name.trim_end_matches(".json").replace('/', "-");
    format!("pictures/{name}.png")
}

/// A figure of the page.
pub struct Figure {
    /// Its file, from the page's folder.
    picture: String,
    drawing: Drawing,
}

enum Drawing {
    Scaling { title: String, growths: Vec<Growth> },
    Ladder(Ladder),
}

impl Figure {
    /// Draws it into the page's folder.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn draw(&self, docs: &Path) -> Result<(), ReportError> {
        let path = docs.join(&self.picture);
        match &self.drawing {
            Drawing::Scaling { title, growths } => scaling_figure(&path, title, growths),
            Drawing::Ladder(ladder) => ladder.draw(&path),
        }
    }
}

/// The figures of the page.
///
/// # Errors
/// The folder cannot be read.
pub fn figures(folder: &Path) -> std::io::Result<Vec<Figure>> {
    let scaling = results::<ScalingResults>(folder)?.into_iter();
    let scaling = scaling.map(|(name, scaling)| Figure {
        picture: picture(&name),
        drawing: Drawing::Scaling {
            title: format!("A training step: {}", scaling.machine),
            growths: scaling.growths(),
        },
    });
    let times = results::<GpuResults>(folder)?.into_iter();
    let times = times.map(|(name, times)| Figure {
        picture: picture(&name),
        drawing: Drawing::Ladder(ladder::measured(&times.device, &times.kernels)),
    });
    Ok(scaling.chain(times).collect())
}

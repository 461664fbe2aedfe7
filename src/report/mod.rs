//! Pictures: grids of maps, and the statistics of generated maps beside those of real ones.
//!
//! Every picture is drawn in memory and written whole ([`crate::files::write_atomic`]) as a PNG.
//! Text is set in an embedded font (DejaVu Sans), so a picture is the same on every machine. The
//! training loop and the commands that generate and judge maps call this module.

mod axis;
mod canvas;
mod colour;
mod comparison;
mod error;
mod grid;
mod histogram;
mod ladder;
pub mod matrix;
pub mod page;
pub mod panel;
mod record;
mod scaling;
mod spectrum;
pub mod strip;
mod svg;

pub use canvas::Canvas;
pub use colour::{PictureStyle, Stretch};
pub use comparison::{Comparison, comparison_figure};
pub use error::ReportError;
pub use grid::{Panel, SampleGrid, maps_png, sample_grid};
pub use ladder::{Ladder, Rungs};
pub use scaling::{Growth, scaling_figure};

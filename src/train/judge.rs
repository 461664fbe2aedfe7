//! Validation during training, and the report at its end: the averaged generator against real
//! maps that it has not seen, beside what real maps and white noise score.

use std::path::Path;

use serde::Serialize;

use super::dataset::Dataset;
use super::run::RunError;
use super::sampler::latents;
use crate::data::Transform;
use crate::report::{
    Comparison, Panel, PictureStyle, ReportError, SampleGrid, comparison_figure, sample_grid,
};
use crate::rng::Stream;
use crate::stats::{Agreement, Reference, StatsError, white_noise_like};

/// Maps a side of each half of a sample grid.
const GRID: usize = 4;
/// Name of what the maps show.
const QUANTITY: &str = "convergence κ";

/// Real maps, and the latent vectors whose maps are set beside them.
pub struct Judge {
    transform: Transform,
    side: usize,
    angle_deg: f64,
    latent_len: usize,
    seed: u64,
    style: PictureStyle,
    validation: Vec<f32>,
    reference: Reference,
}

/// The test report: each set against the same real maps.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Maps in each set.
    pub maps: usize,
    /// Generated maps.
    pub generated: Agreement,
    /// Real maps of other parents: the noise floor.
    pub real: Agreement,
    /// White noise of the real maps' mean and rms.
    pub white_noise: Agreement,
}

impl Judge {
    /// Prepares the validation maps of `dataset`.
    ///
    /// # Errors
    /// Maps without structure.
    pub fn new(
        dataset: &Dataset,
        latent_len: usize,
        seed: u64,
        style: PictureStyle,
    ) -> Result<Self, StatsError> {
        let validation = dataset.validation.physical();
        let side = dataset.validation.map_size();
        let angle_deg = dataset.description.angle_deg();
        Ok(Self {
            transform: *dataset.training.transform(),
            side,
            angle_deg,
            latent_len,
            seed,
            style,
            reference: Reference::new(&validation, side, angle_deg)?,
            validation,
        })
    }

    /// Latent vectors `[n, latent]`, the same at every validation.
    fn latents(&self, count: usize) -> Vec<f32> {
        latents(self.seed, Stream::FixedLatent, 0, count, self.latent_len)
    }

    /// Generated maps in physical units, `[n, S, S]`: `generate` makes maps in the generator's
    /// range of latent vectors.
    fn generate(&self, count: usize, generate: impl FnOnce(&[f32]) -> Vec<f32>) -> Vec<f32> {
        let mut maps = generate(&self.latents(count));
        self.transform.inverse(&mut maps);
        maps
    }

    fn count(&self) -> usize {
        self.validation.len() / (self.side * self.side)
    }

    /// As many generated maps as there are validation maps, against these.
    ///
    /// # Errors
    /// A generated pixel that is not finite.
    pub fn validate(
        &self,
        generate: impl FnOnce(&[f32]) -> Vec<f32>,
    ) -> Result<Agreement, StatsError> {
        let maps = self.generate(self.count(), generate);
        self.reference.compare(&maps)
    }

    /// Draws maps of fixed latent vectors beside real ones.
    ///
    /// # Errors
    /// The picture cannot be written.
    pub fn draw_samples(
        &self,
        path: &Path,
        title: &str,
        generate: impl FnOnce(&[f32]) -> Vec<f32>,
    ) -> Result<(), ReportError> {
        let maps = self.generate(GRID * GRID, generate);
        sample_grid(
            path,
            &SampleGrid {
                title,
                quantity: QUANTITY,
                style: self.style,
                side: self.side,
                rows: GRID,
                columns: GRID,
                generated: Panel {
                    label: "generated",
                    maps: &maps,
                },
                real: Panel {
                    label: "real (validation)",
                    maps: &self.validation,
                },
            },
        )
    }

    /// Compares generated maps with the test maps, and draws the comparison to `figure`.
    ///
    /// # Errors
    /// A generated pixel that is not finite, or a picture that cannot be written.
    pub fn report(
        &self,
        dataset: &Dataset,
        figure: &Path,
        generate: impl FnOnce(&[f32]) -> Vec<f32>,
    ) -> Result<Report, RunError> {
        let test = dataset.test.physical();
        let reference = Reference::new(&test, self.side, self.angle_deg)?;
        let count = test.len() / (self.side * self.side);
        let generated = self.generate(count, generate);
        let noise = white_noise_like(&test, self.seed)?;
        let report = Report {
            maps: count,
            generated: reference.compare(&generated)?,
            real: reference.compare(&self.validation)?,
            white_noise: reference.compare(&noise)?,
        };
        comparison_figure(
            figure,
            &Comparison {
                title: "Generated against test maps",
                quantity: QUANTITY,
                side: self.side,
                angle_deg: self.angle_deg,
                generated: &generated,
                real: &test,
            },
        )?;
        Ok(report)
    }
}

impl Report {
    /// The report as lines for a person.
    pub fn lines(&self) -> Vec<String> {
        let row = |name: &str, agreement: &Agreement| {
            let ratios: Vec<String> = agreement
                .spectrum_ratio
                .iter()
                .map(|ratio| format!("{ratio:6.2}"))
                .collect();
            format!(
                "  {name:<26} {:8.4}  {}   {:6.2}",
                agreement.pixel_ks,
                ratios.join(" "),
                agreement.score
            )
        };
        let bins = self.generated.spectrum_ratio.len();
        let spectra = format!("P(l) over that of test maps, {bins} log bins");
        let width = (7 * bins).saturating_sub(1);
        vec![
            format!("against {} test maps:", self.maps),
            format!("  {:<26} pixel KS  {spectra:<width$}    score", ""),
            row("generated", &self.generated),
            row("real (validation maps)", &self.real),
            row("white noise, same mean, rms", &self.white_noise),
        ]
    }
}

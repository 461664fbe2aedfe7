//! Validation during training, and the report at its end: the averaged generator against real
//! maps that it has not seen, beside what real maps and white noise score. Maps of several channels
//! are judged channel by channel, and are as good as the worst.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::dataset::Dataset;
use super::distance::{Distance, MAPS_AT_ONCE, RealVectors};
use super::run::RunError;
use super::sampler::latents;
use super::selection::Criterion;
use crate::backend::BackendError;
use crate::data::{Transforms, channel_of};
use crate::report::{Comparison, Panel, PictureStyle, SampleGrid, comparison_figure, sample_grid};
use crate::rng::Stream;
use crate::stats::{Agreement, Reference, StatsError, pixel_sigma, white_noise_like};

/// Maps a side of each half of a sample grid.
const GRID: usize = 4;

/// Real maps, and the latent vectors whose maps are set beside them.
pub struct Judge {
    transforms: Transforms,
    side: usize,
    angle_deg: f64,
    latent_len: usize,
    seed: u64,
    style: PictureStyle,
    /// Validation maps `[n, S, S]` of each channel.
    validation: Vec<Vec<f32>>,
    /// The same, prepared.
    references: Vec<Reference>,
    /// The real side of chi-squared, or why there is none.
    distances: Result<RealVectors, StatsError>,
}

/// What a validation measures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Validation {
    #[serde(flatten)]
    pub agreement: Agreement,
    /// Not there where the validation maps have no chi-squared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chi_squared: Option<Distance>,
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
    /// Maps that cannot be read, or without structure.
    pub fn new(
        dataset: &Dataset,
        latent_len: usize,
        seed: u64,
        style: PictureStyle,
    ) -> Result<Self, RunError> {
        let side = dataset.validation.map_size();
        let angle_deg = dataset.description.angle_deg();
        let validation = apart(
            &dataset.validation.physical()?,
            dataset.validation.channels(),
        );
        let sigmas: Vec<f64> = validation.iter().map(|maps| pixel_sigma(maps)).collect();
        let distances = match RealVectors::new(&dataset.compared, angle_deg, &sigmas) {
            Ok(real) => Ok(real),
            Err(RunError::Stats(why)) => Err(why),
            Err(error) => return Err(error),
        };
        Ok(Self {
            distances,
            transforms: dataset.training.transforms().clone(),
            side,
            angle_deg,
            latent_len,
            seed,
            style,
            references: references(&validation, side, angle_deg)?,
            validation,
        })
    }

    /// What chi-squared is measured against.
    ///
    /// # Errors
    /// Why the validation maps have none.
    pub(super) fn distances(&self) -> Result<&RealVectors, &StatsError> {
        self.distances.as_ref()
    }

    /// The criterion of these distances, if there are any.
    pub(super) fn criterion(&self) -> Option<Criterion> {
        let real = self.distances.as_ref().ok()?;
        Some(Criterion::ChiSquared {
            maps: real.generated(),
            against: real.against(),
        })
    }

    /// Generated maps `range` in physical units, `[n, S, S]` of each channel: `generate` makes maps
    /// in the generator's range of latent vectors, which are the same at every validation.
    fn generate(
        &self,
        range: Range<usize>,
        generate: impl FnOnce(&[f32]) -> Result<Vec<f32>, BackendError>,
    ) -> Result<Vec<Vec<f32>>, BackendError> {
        let (stream, len) = (Stream::FixedLatent, self.latent_len);
        let latents = latents(self.seed, stream, range.start as u64, range.len(), len);
        let mut maps = generate(&latents)?;
        self.transforms.inverse(&mut maps);
        Ok(apart(&maps, self.transforms.len()))
    }

    /// The number of maps whose channels are `maps`.
    fn count(&self, maps: &[Vec<f32>]) -> usize {
        maps[0].len() / (self.side * self.side)
    }

    /// As many generated maps as there are validation maps, against these, and the chi-squared of
    /// as many as it is measured of. The first call of `generate` makes the former; the latter
    /// begin with them, and what is left is made piece by piece.
    ///
    /// # Errors
    /// A generated pixel that is not finite, or what `generate` says.
    pub fn validate(
        &self,
        mut generate: impl FnMut(&[f32]) -> Result<Vec<f32>, BackendError>,
    ) -> Result<Validation, RunError> {
        let count = self.count(&self.validation);
        let maps = self.generate(0..count, &mut generate)?;
        let agreement = compare(&self.references, &maps)?;
        let Ok(real) = &self.distances else {
            let chi_squared = None;
            return Ok(Validation {
                agreement,
                chi_squared,
            });
        };
        let mut measuring = real.measure();
        measuring.add(&maps, self.side)?;
        drop(maps);
        let generated = real.generated();
        for first in (count..generated).step_by(MAPS_AT_ONCE) {
            let piece = first..generated.min(first + MAPS_AT_ONCE);
            measuring.add(&self.generate(piece, &mut generate)?, self.side)?;
        }
        Ok(Validation {
            agreement,
            chi_squared: Some(measuring.finish()),
        })
    }

    /// Draws maps of fixed latent vectors beside real ones, each channel to a file of its own (see
    /// [`picture_of_channel`]): channels differ too much in range for common colours. Returns the
    /// files.
    ///
    /// # Errors
    /// The picture cannot be written, or what `generate` says.
    pub fn draw_samples(
        &self,
        path: &Path,
        title: &str,
        generate: impl FnOnce(&[f32]) -> Result<Vec<f32>, BackendError>,
    ) -> Result<Vec<PathBuf>, RunError> {
        let generated = self.generate(0..GRID * GRID, generate)?;
        let channels = generated.len();
        let mut drawn = Vec::with_capacity(channels);
        for (channel, (generated, real)) in generated.iter().zip(&self.validation).enumerate() {
            let picture = picture_of_channel(path, channel, channels);
            sample_grid(
                &picture,
                &SampleGrid {
                    title,
                    quantity: &quantity(channel, channels),
                    style: self.style,
                    side: self.side,
                    rows: GRID,
                    columns: GRID,
                    generated: Panel {
                        label: "generated",
                        maps: generated,
                    },
                    real: Panel {
                        label: "real (validation)",
                        maps: real,
                    },
                },
            )?;
            drawn.push(picture);
        }
        Ok(drawn)
    }

    /// Compares generated maps with the test maps, and draws the comparison to `figure`, or each
    /// channel's to a file of its own (see [`picture_of_channel`]).
    ///
    /// # Errors
    /// Test maps that cannot be read, a generated pixel that is not finite, or a picture that
    /// cannot be written.
    pub fn report(
        &self,
        dataset: &Dataset,
        figure: &Path,
        generate: impl FnOnce(&[f32]) -> Result<Vec<f32>, BackendError>,
    ) -> Result<Report, RunError> {
        let channels = dataset.test.channels();
        let test = apart(&dataset.test.physical()?, channels);
        let references = references(&test, self.side, self.angle_deg)?;
        let count = self.count(&test);
        let generated = self.generate(0..count, generate)?;
        let noise: Result<Vec<_>, _> = test
            .iter()
            .map(|maps| white_noise_like(maps, self.seed))
            .collect();
        let report = Report {
            maps: count,
            generated: compare(&references, &generated)?,
            real: compare(&references, &self.validation)?,
            white_noise: compare(&references, &noise?)?,
        };
        for (channel, (generated, real)) in generated.iter().zip(&test).enumerate() {
            comparison_figure(
                &picture_of_channel(figure, channel, channels),
                &Comparison {
                    title: "Generated against test maps",
                    quantity: &quantity(channel, channels),
                    side: self.side,
                    angle_deg: self.angle_deg,
                    generated,
                    real,
                },
            )?;
        }
        Ok(report)
    }
}

/// Where the picture of one channel goes: `samples.png`, or of several channels
/// `samples-channel-0.png` and so on.
pub fn picture_of_channel(path: &Path, channel: usize, channels: usize) -> PathBuf {
    if channels == 1 {
        return path.to_owned();
    }
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().display().to_string();
    let (stem, ending) = (text(path.file_stem()), text(path.extension()));
    path.with_file_name(format!("{stem}-channel-{channel}.{ending}"))
}

/// What the maps show: convergence, unless there is more than one thing.
fn quantity(channel: usize, channels: usize) -> String {
    match channels {
        1 => "convergence κ".to_owned(),
        _ => format!("channel {channel}"),
    }
}

/// Maps `[n, S, S, C]` channel by channel.
fn apart(maps: &[f32], channels: usize) -> Vec<Vec<f32>> {
    (0..channels)
        .map(|channel| channel_of(maps, channel, channels))
        .collect()
}

fn references(
    channels: &[Vec<f32>],
    side: usize,
    angle_deg: f64,
) -> Result<Vec<Reference>, StatsError> {
    let channels = channels.iter();
    channels
        .map(|maps| Reference::new(maps, side, angle_deg))
        .collect()
}

fn compare(references: &[Reference], maps: &[Vec<f32>]) -> Result<Agreement, StatsError> {
    let each = references.iter().zip(maps);
    let each: Result<Vec<_>, _> = each.map(|(real, maps)| real.compare(maps)).collect();
    Agreement::worst_of(each?).ok_or(StatsError::Empty)
}

impl Report {
    /// The report as lines for a person.
    pub fn lines(&self) -> Vec<String> {
        let sets = [
            ("generated", &self.generated),
            ("real (validation maps)", &self.real),
            ("white noise, same mean, rms", &self.white_noise),
        ];
        let bins = self.generated.spectrum_ratio.len();
        let spectra = format!("P(l) over that of test maps, {bins} log bins");
        let width = (7 * bins).saturating_sub(1);
        let head = |name: &str| format!("  {name:<27} pixel KS  {spectra:<width$}    score");
        let mut lines = vec![format!("against {} test maps:", self.maps)];
        let channels = self.generated.channels.len();
        if channels == 0 {
            lines.push(head(""));
            lines.extend(sets.map(|(name, agreement)| row(name, agreement)));
        }
        for channel in 0..channels {
            lines.push(head(&format!("channel {channel}")));
            lines.extend(sets.map(|(name, agreement)| row(name, &agreement.channels[channel])));
        }
        lines
    }
}

fn row(name: &str, agreement: &Agreement) -> String {
    let ratios: Vec<String> = agreement
        .spectrum_ratio
        .iter()
        .map(|ratio| format!("{ratio:6.2}"))
        .collect();
    format!(
        "  {name:<27} {:8.4}  {}   {:6.2}",
        agreement.pixel_ks,
        ratios.join(" "),
        agreement.score
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_of_one_of_several_channels_says_which() {
        let path = Path::new("runs/a.b/step-1.png");
        assert_eq!(picture_of_channel(path, 0, 1), path);
        let second = picture_of_channel(path, 1, 3);
        assert_eq!(second, Path::new("runs/a.b/step-1-channel-1.png"));
    }
}

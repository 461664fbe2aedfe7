//! The evaluation from end to end: measure three sets, compare them, find words, draw, write.

use std::fs;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2};
use ndarray_npy::NpzWriter;

use super::compare::{Pair, Which, all_statistics, statistic_result};
use super::distances::{chi_squared_result, covariances};
use super::error::EvaluateError;
use super::evaluation::{Evaluation, SetInfo, Verdict};
use super::figures::{Figure, Material};
use super::measure::{Estimators, Measured, Progress, Settings, common_unit};
use super::novelty::{Features, QUERIES, Sets, Sketcher, novelty};
use super::pages;
use super::paper::paper_counts;
use super::pixels::{Again, pixel_result};
use super::sets::MapSource;
use super::words;
use crate::files::write_atomic;
use crate::report::PictureStyle;
use crate::report::strip::Strip;

/// What is to be evaluated.
pub struct Request<'a> {
    pub real: MapSource<'a>,
    /// Real maps of other parents.
    pub second_real: MapSource<'a>,
    pub generated: MapSource<'a>,
    /// Generated maps that are compared with real ones: the first.
    pub compared: usize,
    /// Maps of each set among which pairs are looked for that are alike, as far as there are so many.
    pub birthday: usize,
    /// The last features of a discriminator, by which maps are compared, too.
    pub features: Option<Features<'a>>,
    /// Maps that the generator was trained on.
    pub training: Option<MapSource<'a>>,
    pub settings: Settings,
    /// Random permutations behind each p-value.
    pub permutations: usize,
    pub style: PictureStyle,
    /// Interpolated maps, where there is a generator.
    pub interpolation: Option<Strip>,
    /// What else limits the verdict.
    pub notes: Vec<String>,
    /// Name and version of the program.
    pub program: String,
}

/// What came of it.
pub struct Outcome {
    pub evaluation: Evaluation,
    figures: Vec<Figure>,
    arrays: Vec<(String, Array)>,
}

/// An array of `arrays.npz`.
enum Array {
    Line(Vec<f64>),
    Table(Array2<f64>),
}

/// Measures and compares the sets.
///
/// # Errors
/// Maps that cannot be read, made, measured or compared; settings without meaning.
pub fn evaluate(
    mut request: Request<'_>,
    progress: &Progress<'_>,
) -> Result<Outcome, EvaluateError> {
    let compared = request.compared.min(request.generated.len());
    if compared < 4 {
        return Err(EvaluateError::TooFewGenerated { maps: compared });
    }
    let settings = &request.settings;
    let (sigma, mean) = common_unit(&mut request.real, settings, progress)?;
    let side = request.real.side;
    let estimators = Estimators::new(side, sigma, settings).map_err(EvaluateError::Compare)?;
    let most = request.birthday.max(QUERIES);
    let mut sketcher = Sketcher::new(side, settings.angle_deg, most, request.features)?;
    let (n, m) = (request.real.len(), request.second_real.len());
    let mut measure = |source: &mut MapSource<'_>, maps, noise| {
        estimators.measure(source, (maps, noise), QUERIES, &mut sketcher, progress)
    };
    let real = measure(&mut request.real, n, 0)?;
    let second_real = measure(&mut request.second_real, m, n)?;
    let generated = measure(&mut request.generated, compared, n + m)?;
    let (seed, permutations) = (settings.seed, request.permutations);
    let against = Pair::new(&real, &generated, permutations, seed)?;
    let floor = Pair::new(&real, &second_real, permutations, seed)?;
    let which = all_statistics(&estimators);
    let mut statistics = Vec::with_capacity(which.len());
    for (index, which_one) in which.iter().enumerate() {
        statistics.push(statistic_result(which_one, &against, &floor)?);
        progress("testing", index + 1, which.len())?;
    }
    let sets = [
        Again(&real, &mut request.real, 0),
        Again(&second_real, &mut request.second_real, n),
        Again(&generated, &mut request.generated, n + m),
    ];
    let pixels = pixel_result(&estimators, (&against, &floor), sets, progress)?;
    let info = |measured: &Measured, units: usize| SetInfo {
        source: measured.origin.clone(),
        maps: measured.maps,
        units,
        units_known: measured.units_known,
    };
    let mut evaluation = Evaluation {
        program: request.program.clone(),
        verdict: Verdict::default(),
        real: info(&real, against.units().0),
        second_real: info(&second_real, floor.units().1),
        generated: info(&generated, against.units().1),
        side,
        angle_deg: settings.angle_deg,
        smooth_arcmin: settings.smooth_arcmin,
        shape_noise_n_gal: settings.shape_noise,
        sigma,
        mean,
        seed,
        permutations,
        least_p: against.least_p(),
        pixels,
        paper_counts: paper_counts(&statistics),
        covariance: None,
        chi_squared: Some(chi_squared_result(&estimators, &against, &floor)?),
        novelty: None,
        statistics,
    };
    let spectrum = which.iter().zip(&evaluation.statistics);
    if let Some((which, result)) = spectrum
        .into_iter()
        .find(|(w, _)| w.name == "power_spectrum")
    {
        let sets = [&real, &second_real, &generated];
        evaluation.covariance = covariances(which, result, sets)?;
    }
    let sets = Sets {
        real: (&real, &mut request.real),
        second_real: (&second_real, &mut request.second_real),
        generated: (&generated, &mut request.generated),
        training: request.training.as_mut(),
        sigma,
    };
    let found = novelty(&mut sketcher, sets, progress)?;
    evaluation.novelty = Some(found.result);
    evaluation.verdict = words::verdict(&evaluation);
    evaluation.verdict.caveats.extend(request.notes);
    let material = Material {
        evaluation: &evaluation,
        estimators: &estimators,
        statistics: &which,
        real: &real,
        second_real: &second_real,
        generated: &generated,
        style: request.style,
        neighbours: found.nearest,
        pairs: Some(found.pairs),
        interpolation: request.interpolation,
    };
    let figures = material.figures()?;
    let arrays = arrays(
        &which,
        [
            ("real", &real),
            ("second_real", &second_real),
            ("generated", &generated),
        ],
    );
    Ok(Outcome {
        evaluation,
        figures,
        arrays,
    })
}

/// Every statistic of every map, with its abscissae.
fn arrays(which: &[Which<'_>], sets: [(&str, &Measured); 3]) -> Vec<(String, Array)> {
    let mut arrays = Vec::new();
    for which in which {
        let bins = which.estimator.columns(which.statistic).len();
        let abscissae = which.estimator.abscissae(which.statistic);
        if !abscissae.is_empty() {
            arrays.push((format!("{}_at", which.name), Array::Line(abscissae)));
        }
        for (set, measured) in sets {
            let rows = which
                .estimator
                .array((which.rows)(measured), which.statistic);
            // Whole rows by construction.
            if let Ok(table) = Array2::from_shape_vec((rows.len() / bins, bins), rows) {
                arrays.push((format!("{set}_{}", which.name), Array::Table(table)));
            }
        }
    }
    arrays
}

impl Outcome {
    /// Writes `report.html`, `statistics.json`, `arrays.npz` and `figures/` into `directory`, which is
    /// made where it is missing; each file whole or not at all. Returns the page's path.
    ///
    /// # Errors
    /// What cannot be drawn or written.
    pub fn write(&self, directory: &Path) -> Result<PathBuf, EvaluateError> {
        let io = |path: &Path, action| {
            let path = path.to_owned();
            move |source| EvaluateError::Io {
                path,
                action,
                source,
            }
        };
        let pictures = directory.join("figures");
        fs::create_dir_all(&pictures).map_err(io(&pictures, "create"))?;
        for figure in &self.figures {
            let whole = figure.whole()?;
            whole.write_png(&pictures.join(format!("{}.png", figure.name)))?;
            whole.write_svg(&pictures.join(format!("{}.svg", figure.name)))?;
        }
        let path = directory.join("arrays.npz");
        write_atomic(&path, |file| self.write_arrays(file)).map_err(io(&path, "write"))?;
        let path = directory.join("statistics.json");
        write_atomic(&path, |file| {
            serde_json::to_writer_pretty(&mut *file, &self.evaluation)?;
            file.write_all(b"\n")
        })
        .map_err(io(&path, "write"))?;
        let html = pages::page(&self.evaluation, &self.figures)?.html();
        let path = directory.join("report.html");
        write_atomic(&path, |file| file.write_all(html.as_bytes())).map_err(io(&path, "write"))?;
        Ok(path)
    }

    fn write_arrays<W: Write + Seek>(&self, file: &mut BufWriter<W>) -> io::Result<()> {
        let mut npz = NpzWriter::new(file);
        for (name, array) in &self.arrays {
            match array {
                Array::Line(values) => npz.add_array(name, &Array1::from(values.clone())),
                Array::Table(table) => npz.add_array(name, table),
            }
            .map_err(io::Error::other)?;
        }
        npz.finish().map_err(io::Error::other)?;
        Ok(())
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;

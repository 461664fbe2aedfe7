//! The evaluation from end to end: measure three sets, compare them, find words, draw, write.

use std::fs;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2};
use ndarray_npy::NpzWriter;

use super::compare::{Pair, Which, all_statistics, pixel_result, statistic_result};
use super::error::EvaluateError;
use super::evaluation::{
    CovarianceNumbers, CovarianceResult, Evaluation, SetInfo, StatisticResult, Verdict,
};
use super::figures::{Figure, Material, correlation};
use super::measure::{Estimators, Measured, Progress, Settings, common_unit};
use super::pages;
use super::sets::MapSource;
use super::words;
use crate::files::write_atomic;
use crate::report::PictureStyle;
use crate::report::strip::Strip;

/// Maps of each set that are kept for pictures.
const EXAMPLES: usize = 16;

/// What is to be evaluated.
pub struct Request<'a> {
    pub real: MapSource<'a>,
    /// Real maps of other parents.
    pub second_real: MapSource<'a>,
    pub generated: MapSource<'a>,
    pub settings: Settings,
    /// Random permutations behind each p-value.
    pub permutations: usize,
    pub style: PictureStyle,
    /// Interpolated maps, where there is a generator.
    pub interpolation: Option<Strip>,
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
    if request.generated.len() < 4 {
        let maps = request.generated.len();
        return Err(EvaluateError::TooFewGenerated { maps });
    }
    let settings = &request.settings;
    let (sigma, mean) = common_unit(&mut request.real, settings, progress)?;
    let side = request.real.side;
    let estimators = Estimators::new(side, sigma, settings).map_err(EvaluateError::Compare)?;
    let (n, m) = (request.real.len(), request.second_real.len());
    let measure =
        |source: &mut MapSource<'_>, noise| estimators.measure(source, noise, EXAMPLES, progress);
    let real = measure(&mut request.real, 0)?;
    let second_real = measure(&mut request.second_real, n)?;
    let generated = measure(&mut request.generated, n + m)?;
    let (seed, permutations) = (settings.seed, request.permutations);
    let against = Pair::new(&real, &generated, permutations, seed)?;
    let floor = Pair::new(&real, &second_real, permutations, seed)?;
    let which = all_statistics(&estimators);
    let mut statistics = Vec::with_capacity(which.len());
    for (index, which_one) in which.iter().enumerate() {
        statistics.push(statistic_result(which_one, &against, &floor)?);
        progress("testing", index + 1, which.len())?;
    }
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
        pixels: pixel_result(&estimators, &against, &floor)?,
        covariance: covariance(&which, &statistics, [&real, &second_real, &generated]),
        chi_squared: None,
        novelty: None,
        statistics,
    };
    evaluation.verdict = words::verdict(&evaluation);
    let material = Material {
        evaluation: &evaluation,
        estimators: &estimators,
        statistics: &which,
        real: &real,
        second_real: &second_real,
        generated: &generated,
        style: request.style,
        neighbours: None,
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

/// Covariances of the power spectrum in numbers.
fn covariance(
    which: &[Which<'_>],
    statistics: &[StatisticResult],
    sets: [&Measured; 3],
) -> Option<CovarianceResult> {
    let which = which.iter().find(|which| which.name == "power_spectrum")?;
    let result = statistics
        .iter()
        .find(|result| result.name == "power_spectrum")?;
    let bins = result.bins.len();
    let open: Vec<usize> = (0..bins).filter(|&bin| !result.bins[bin].empty).collect();
    if open.len() < 2 {
        return None;
    }
    let matrices = sets.map(|set| {
        let mut rows = which.estimator.array((which.rows)(set), which.statistic);
        let correlations = correlation(&rows, bins, &open);
        // Of ln P, so that no bin outweighs the others.
        rows.iter_mut().for_each(|power| *power = power.ln());
        let deviations: Vec<f64> = super::compare::spreads(&rows, bins)
            .iter()
            .map(|spread| spread.deviation)
            .collect();
        let deviations: Vec<f64> = open.iter().map(|&bin| deviations[bin]).collect();
        let logs = correlation(&rows, bins, &open);
        (correlations, deviations, logs)
    });
    let n = open.len();
    let largest = |(_, deviations, logs): &(Vec<f64>, Vec<f64>, Vec<f64>)| {
        largest_eigenvalue(n, |i, j| logs[i * n + j] * deviations[i] * deviations[j])
    };
    let compare = |set: usize| {
        let (real, other) = (&matrices[0], &matrices[set]);
        let differences = real.0.iter().zip(&other.0).map(|(a, b)| (a - b).abs());
        let squares: f64 = differences.clone().map(|d| d * d).sum();
        let logs = real.1.iter().zip(&other.1).map(|(a, b)| 2.0 * (b / a).ln());
        CovarianceNumbers {
            largest_correlation_difference: differences.fold(0.0, f64::max),
            rms_correlation_difference: (squares / (n * (n - 1)) as f64).sqrt(),
            variance_ratio: (logs.sum::<f64>() / n as f64).exp(),
            largest_eigenvalue_ratio: largest(other) / largest(real),
        }
    };
    Some(CovarianceResult {
        l: open.iter().map(|&bin| result.bins[bin].at).collect(),
        second_real_against_real: compare(1),
        generated_against_real: compare(2),
    })
}

/// The largest eigenvalue of a positive semi-definite matrix, by powers.
fn largest_eigenvalue(n: usize, element: impl Fn(usize, usize) -> f64) -> f64 {
    let mut vector = vec![1.0 / (n as f64).sqrt(); n];
    let mut value = 0.0;
    for _ in 0..500 {
        let next: Vec<f64> = (0..n)
            .map(|i| (0..n).map(|j| element(i, j) * vector[j]).sum())
            .collect();
        let norm = next.iter().map(|x| x * x).sum::<f64>().sqrt();
        if norm == 0.0 || !norm.is_finite() {
            return norm;
        }
        vector = next.iter().map(|x| x / norm).collect();
        if (norm - value).abs() <= 1e-12 * norm {
            break;
        }
        value = norm;
    }
    value
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

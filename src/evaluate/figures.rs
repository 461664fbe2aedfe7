//! The figures of an evaluation, after those of the paper: maps, pixels, power spectra, correlations,
//! Minkowski functionals, peaks, nearest neighbours, interpolations.

use super::compare::{Which, spreads};
use super::distances::correlations;
use super::error::EvaluateError;
use super::evaluation::{Axis, Evaluation, StatisticResult};
use super::measure::{Estimators, Measured};
use super::panels::{axis_name, bands, chosen, worst};
use super::phrases::{capital, p_value};
use crate::report::matrix::Matrix;
use crate::report::panel::{Bands, Curve, Distribution, Set};
use crate::report::strip::{Row, Strip};
use crate::report::{Canvas, PictureStyle, ReportError, Stretch};
use crate::stats::Statistic;

/// Bins of the fine pixel distribution that are joined for the picture.
const JOINED: usize = 20;
/// Between pictures of a figure's file.
const GAP: usize = 12;

/// A figure: pictures that belong together.
pub struct Figure {
    /// The name of its files, without an ending.
    pub name: String,
    pub heading: String,
    pub caption: String,
    /// What each shows, in words, and the picture.
    pub pictures: Vec<(String, Canvas)>,
    /// Pictures side by side in the file.
    pub columns: usize,
    /// Whether each picture takes the width of the page.
    pub wide: bool,
}

impl Figure {
    /// All pictures on one canvas.
    ///
    /// # Errors
    /// A canvas that is too large.
    pub fn whole(&self) -> Result<Canvas, ReportError> {
        let columns = self.columns.max(1);
        let rows: Vec<&[(String, Canvas)]> = self.pictures.chunks(columns).collect();
        let height_of =
            |row: &[(String, Canvas)]| row.iter().map(|(_, c)| c.height).max().unwrap_or(0);
        let width_of = |row: &[(String, Canvas)]| {
            let widths: usize = row.iter().map(|(_, canvas)| canvas.width).sum();
            widths + GAP * (row.len() - 1)
        };
        let width = rows.iter().map(|row| width_of(row)).max().unwrap_or(1);
        let height: usize = rows.iter().map(|row| height_of(row) + GAP).sum();
        let mut canvas = Canvas::new(width, height.max(1))?;
        let mut top = 0;
        for row in rows {
            let mut left = 0;
            for (_, picture) in row {
                canvas.place(picture, (left, top));
                left += picture.width + GAP;
            }
            top += height_of(row) + GAP;
        }
        Ok(canvas)
    }
}

/// What figures are made of, besides the numbers.
pub struct Material<'a> {
    pub evaluation: &'a Evaluation,
    pub estimators: &'a Estimators,
    pub statistics: &'a [Which<'a>],
    pub real: &'a Measured,
    pub second_real: &'a Measured,
    pub generated: &'a Measured,
    pub style: PictureStyle,
    /// Rows of nearest neighbours, where training maps were given.
    pub neighbours: Option<Strip>,
    /// Rows of pairs that are alike.
    pub pairs: Option<Strip>,
    /// Rows of interpolated maps, where there is a generator.
    pub interpolation: Option<Strip>,
}

impl Material<'_> {
    /// All figures, in the order of the paper.
    ///
    /// # Errors
    /// Drawing fails.
    pub fn figures(&self) -> Result<Vec<Figure>, EvaluateError> {
        let mut figures = vec![self.maps()?, self.pixels()?];
        let mut add = |figure: Option<Figure>| figures.extend(figure);
        add(self.power()?);
        add(self.correlations()?);
        let functionals = ["minkowski_v0", "minkowski_v1", "minkowski_v2"];
        add(self.thresholds("minkowski", "Minkowski functionals", &functionals)?);
        let own = [
            "minkowski_v0_per_map",
            "minkowski_v1_per_map",
            "minkowski_v2_per_map",
        ];
        let heading = "Minkowski functionals in each map's own \u{3c3} (LensTools)";
        add(self.thresholds("minkowski-per-map", heading, &own)?);
        add(self.thresholds(
            "peaks",
            "Peak counts",
            &["peak_count", "peak_count_per_map"],
        )?);
        let bispectra = ["bispectrum_equilateral", "bispectrum_folded"];
        add(self.thresholds("bispectrum", "Bispectrum", &bispectra)?);
        let stretch = self.stretch()?;
        for (strip, name, heading, caption) in [
            (
                &self.neighbours,
                "neighbours",
                "Nearest training maps",
                "Generated maps and the training maps nearest to them: by pixels (modulo rotations and flips, undone \
                 in the picture), by power spectrum and, where there is a discriminator, by its last features. Copies \
                 would look alike.",
            ),
            (
                &self.pairs,
                "pairs",
                "Pairs that are most alike",
                "The pair of generated maps with the smallest distance, beside the closest pair of real maps; by pixels \
                 the first of a pair is turned towards the second. Beneath: the numbers of the maps, from 1, and the \
                 distance. A generator that repeats itself shows the same map twice.",
            ),
            (
                &self.interpolation,
                "interpolation",
                "Interpolation",
                "Maps along the great circle between two latent vectors: a generator that learned the distribution \
                 changes smoothly, one that remembers maps jumps.",
            ),
        ] {
            if let Some(strip) = strip {
                figures.push(Figure {
                    name: name.into(),
                    heading: heading.into(),
                    caption: caption.into(),
                    pictures: vec![(heading.into(), strip.draw(&stretch, 160)?)],
                    columns: 1,
                    wide: true,
                });
            }
        }
        for (index, figure) in figures.iter_mut().enumerate() {
            figure.name = format!("{:02}-{}", index + 1, figure.name);
        }
        Ok(figures)
    }

    /// The colours of all maps: set by the real ones.
    fn stretch(&self) -> Result<Stretch, ReportError> {
        Stretch::of(&self.real.examples, self.style).map_err(|source| ReportError::Stats {
            label: "real".into(),
            source,
        })
    }

    fn maps(&self) -> Result<Figure, EvaluateError> {
        let side = self.estimators.side;
        let row = |label: &str, measured: &Measured| Row {
            label: label.into(),
            maps: measured
                .examples
                .chunks(side * side)
                .take(4)
                .map(|map| (map.to_vec(), String::new()))
                .collect(),
        };
        let strip = Strip {
            title: "Maps, all in the same colours".into(),
            quantity: "convergence \u{3ba}".into(),
            side,
            rows: vec![row("real", self.real), row("generated", self.generated)],
        };
        Ok(Figure {
            name: "maps".into(),
            heading: "Maps".into(),
            caption: "The first real and the first generated maps, not chosen. One range of colours, set by the real \
                      maps."
                .into(),
            pictures: vec![(
                "Four real maps above four generated ones".into(),
                strip.draw(&self.stretch()?, 224)?,
            )],
            columns: 1,
            wide: true,
        })
    }

    fn sets(&self) -> [(Set, &Measured); 3] {
        [
            (Set::Real, self.real),
            (Set::SecondReal, self.second_real),
            (Set::Generated, self.generated),
        ]
    }

    /// The fine distribution of pixels in coarser bins.
    fn pixels(&self) -> Result<Figure, EvaluateError> {
        let edges = Estimators::edges(&self.estimators.fine, Statistic::Pdf);
        let bins = edges.len() - 1;
        let joined = bins / JOINED;
        let x: Vec<f64> = (0..joined)
            .map(|k| 0.5 * (edges[k * JOINED] + edges[(k + 1) * JOINED]))
            .collect();
        let coarse = |rows: &[f64]| -> Vec<f64> {
            let rows = rows.chunks_exact(bins);
            let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
            rows.flat_map(|row| row.chunks_exact(JOINED).map(mean).collect::<Vec<_>>())
                .collect()
        };
        let mut curves: Vec<Curve> = Vec::new();
        for (set, measured) in self.sets() {
            let spreads = spreads(&coarse(&measured.fine), joined);
            curves.push(Curve {
                set,
                mean: spreads.iter().map(|spread| spread.mean).collect(),
                deviation: spreads.iter().map(|spread| spread.deviation).collect(),
            });
        }
        // Where some set has pixels.
        let filled = |k: usize| curves.iter().any(|curve| curve.mean[k] > 0.0);
        let first = (0..joined).find(|&k| filled(k)).unwrap_or(0);
        let last = (0..joined).rfind(|&k| filled(k)).unwrap_or(joined - 1);
        let shown = first..last + 1;
        for curve in &mut curves {
            curve.mean = curve.mean[shown.clone()].to_vec();
            curve.deviation = curve.deviation[shown.clone()].to_vec();
            for mean in &mut curve.mean {
                // Nothing to be drawn on a logarithmic axis.
                if *mean <= 0.0 {
                    *mean = f64::NAN;
                }
            }
        }
        let panel = |title: &str, y_log: bool| Bands {
            title: title.into(),
            x_name: "pixel value / \u{3c3} of the real maps".into(),
            y_name: "probability density".into(),
            x_log: false,
            y_log,
            x: x[shown.clone()].to_vec(),
            curves: curves.clone(),
            marked: Vec::new(),
        };
        let pixels = &self.evaluation.pixels;
        Ok(Figure {
            name: "pixels".into(),
            heading: "Pixel intensities".into(),
            caption: format!(
                "Distribution of pixels, mean and standard deviation over maps; beneath, the difference to the real maps \
                 in standard deviations of single maps. Kolmogorov-Smirnov D = {:.4} (p = {}, parents permuted); two \
                 sets of real maps: D = {:.4} (p = {}).",
                pixels.d,
                p_value(pixels.p),
                pixels.floor_d,
                p_value(pixels.floor_p)
            ),
            pictures: vec![
                (
                    "Distribution of pixels on a logarithmic axis".into(),
                    panel("Pixel distribution, logarithmic", true).draw()?,
                ),
                (
                    "Distribution of pixels on a linear axis".into(),
                    panel("Pixel distribution, linear", false).draw()?,
                ),
            ],
            columns: 2,
            wide: false,
        })
    }

    /// Which and its numbers.
    fn find(&self, name: &str) -> Option<(&Which<'_>, &StatisticResult)> {
        let which = self.statistics.iter().find(|which| which.name == name)?;
        let result = self.evaluation.statistic(name)?;
        (result.tested() > 1).then_some((which, result))
    }

    fn power(&self) -> Result<Option<Figure>, EvaluateError> {
        let Some((which, result)) = self.find("power_spectrum") else {
            return Ok(None);
        };
        let chosen = chosen(result);
        let mut pictures = vec![bands(result, "Power spectrum", &chosen)?];
        for &bin in &chosen {
            pictures.push(self.distribution(which, result, bin)?);
        }
        Ok(Some(Figure {
            name: "power-spectrum".into(),
            heading: "Power spectrum".into(),
            caption: "Mean power spectrum with a band of one standard deviation of single maps; beneath, differences of \
                      means in such deviations, generated and noise floor. Then its distribution over maps at the three \
                      marked multipoles."
                .into(),
            pictures,
            columns: 2,
            wide: false,
        }))
    }

    fn distribution(
        &self,
        which: &Which<'_>,
        result: &StatisticResult,
        bin: usize,
    ) -> Result<(String, Canvas), EvaluateError> {
        let bins = result.bins.len();
        let of = |measured: &Measured| -> Vec<f64> {
            let rows = which
                .estimator
                .array((which.rows)(measured), which.statistic);
            rows.iter().skip(bin).step_by(bins).copied().collect()
        };
        let at = match result.axis {
            Axis::Multipole => format!("\u{2113} = {:.0}", result.bins[bin].at),
            _ => format!("\u{3bd} = {:.1}", result.bins[bin].at + 0.0).replace('-', "\u{2212}"),
        };
        let title = format!("{} at {at}", capital(&result.title));
        let ks = |of_set: &super::evaluation::Comparison| {
            let value = |values: &[Option<f64>]| values.get(bin).copied().flatten();
            (value(&of_set.ks.effect), value(&of_set.ks.p))
        };
        let (d, p) = ks(&result.generated_against_real);
        let (floor, _) = ks(&result.second_real_against_real);
        let note = match (d, p, floor) {
            (Some(d), Some(p), Some(floor)) => {
                format!(
                    "KS D = {d:.3}, p = {}; real against real D = {floor:.3}",
                    p_value(p)
                )
            }
            _ => String::new(),
        };
        let distribution = Distribution {
            x_name: axis_name(result),
            samples: self
                .sets()
                .map(|(set, measured)| (set, of(measured)))
                .to_vec(),
            title: title.clone(),
            note,
        };
        Ok((
            format!("Distribution over maps of {title}"),
            distribution.draw()?,
        ))
    }

    fn thresholds(
        &self,
        name: &str,
        heading: &str,
        members: &[&str],
    ) -> Result<Option<Figure>, EvaluateError> {
        let found: Vec<_> = members
            .iter()
            .filter_map(|member| self.find(member))
            .collect();
        if found.is_empty() {
            return Ok(None);
        }
        let mut pictures = Vec::new();
        let mut beneath = Vec::new();
        for (which, result) in &found {
            let bin = worst(result);
            pictures.push(bands(result, &capital(&result.title), &[bin])?);
            beneath.push(self.distribution(which, result, bin)?);
        }
        let columns = pictures.len();
        pictures.extend(beneath);
        Ok(Some(Figure {
            name: name.into(),
            heading: heading.into(),
            caption: "Mean over maps with a band of one standard deviation of single maps; beneath, differences of means \
                      in such deviations. Then the distribution over maps where generated and real ones differ most."
                .into(),
            pictures,
            columns,
            wide: false,
        }))
    }

    fn correlations(&self) -> Result<Option<Figure>, EvaluateError> {
        let Some((which, result)) = self.find("power_spectrum") else {
            return Ok(None);
        };
        let open: Vec<usize> = (0..result.bins.len())
            .filter(|&bin| !result.bins[bin].empty)
            .collect();
        let matrix_of = |measured| -> Result<Vec<f64>, EvaluateError> {
            let found = correlations(which, result, measured).map_err(EvaluateError::Compare)?;
            Ok(found.into_iter().collect())
        };
        let matrices = [
            matrix_of(self.real)?,
            matrix_of(self.second_real)?,
            matrix_of(self.generated)?,
        ];
        let difference: Vec<f64> = matrices[2]
            .iter()
            .zip(&matrices[0])
            .map(|(a, b)| a - b)
            .collect();
        let floor = matrices[1]
            .iter()
            .zip(&matrices[0])
            .map(|(a, b)| (a - b).abs());
        let floor = floor.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let largest = difference.iter().map(|value| value.abs());
        let largest = largest
            .filter(|value| value.is_finite())
            .fold(0.0, f64::max);
        let [real, second, generated] = matrices;
        let matrix = |title: &str, values: Vec<f64>, range: f64| -> Result<_, EvaluateError> {
            let matrix = Matrix {
                title: title.into(),
                name: "multipole \u{2113}".into(),
                bins: open.iter().map(|&bin| result.bins[bin].at).collect(),
                values,
                range,
            };
            Ok((format!("Correlation matrix: {title}"), matrix.draw()?))
        };
        Ok(Some(Figure {
            name: "correlations".into(),
            heading: "Correlation matrices of the power spectrum".into(),
            caption: format!(
                "Correlations between multipoles over single maps. The largest difference of an element is {largest:.2} \
                 for generated maps and {floor:.2} for a second set of real maps (the noise floor)."
            ),
            pictures: vec![
                matrix("real", real, 1.0)?,
                matrix("second real set", second, 1.0)?,
                matrix("generated", generated, 1.0)?,
                matrix(
                    "generated less real",
                    difference,
                    largest.max(floor).max(0.05),
                )?,
            ],
            columns: 2,
            wide: false,
        }))
    }
}

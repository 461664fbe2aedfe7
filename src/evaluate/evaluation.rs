//! All numbers of an evaluation, as they stand in `statistics.json`. Figures, tables and words are
//! made of these and of nothing else.

use serde::{Deserialize, Serialize};

use super::novelty::NoveltyResult;
use super::paper::PaperCount;

/// A set of maps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetInfo {
    /// Where the maps came from.
    pub source: String,
    pub maps: usize,
    /// Independent units: parents that maps were cut from, or single maps.
    pub units: usize,
    /// Whether the units are known to be independent. Where parents of crops are not known, single
    /// maps are taken for units, and p-values may be too small.
    pub units_known: bool,
}

/// Mean and standard deviation of one number over the maps of a set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub mean: f64,
    pub deviation: f64,
}

/// One bin of a statistic.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Where it is drawn: mean multipole of its modes, middle threshold.
    pub at: f64,
    pub low: f64,
    pub high: f64,
    /// Fourier modes in it, of spectra.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub modes: Option<usize>,
    /// Whether it is empty: without modes, or the same number in all maps of all sets. Empty bins
    /// are reported and never tested.
    pub empty: bool,
}

/// One question put to every bin of a statistic; `None` for empty bins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tests {
    /// What was tested and how the p-values came about.
    pub test: String,
    /// How large the difference is, in the unit that `test` names.
    pub effect: Vec<Option<f64>>,
    /// Calibrated p-values.
    pub p: Vec<Option<f64>>,
    /// The same, adjusted for the number of bins (Benjamini and Hochberg).
    pub adjusted: Vec<Option<f64>>,
}

/// Bootstrapped p-values, as the paper gives them; `None` for empty bins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BootstrapTests {
    /// How they came about.
    pub test: String,
    /// Of the Kolmogorov-Smirnov D.
    pub ks: Vec<Option<f64>>,
    /// Of the Anderson-Darling statistic.
    pub ad: Vec<Option<f64>>,
}

/// A set of maps against the real ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Difference of the means, in standard deviations of single real maps.
    pub mean: Tests,
    /// Ratio of the variances.
    pub scatter: Tests,
    /// Kolmogorov-Smirnov distance D.
    pub ks: Tests,
    /// Anderson-Darling statistic, normalised as by Scholz and Stephens.
    pub ad: Tests,
    /// Bootstrapped p-values of the same D and A.
    pub bootstrap: BootstrapTests,
    /// scipy's p-value of the Kolmogorov-Smirnov test of two histograms' counts: not calibrated, for
    /// comparison with numbers of that kind in the literature.
    pub paper_style_uncalibrated: Vec<Option<f64>>,
}

/// What kind of abscissa a statistic has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    Multipole,
    Threshold,
    /// Names instead of numbers.
    Name,
}

/// One statistic of all three sets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatisticResult {
    /// Its name in files.
    pub name: String,
    /// Its name in sentences.
    pub title: String,
    /// What its abscissae are.
    pub axis: Axis,
    /// The unit of thresholds, in words; empty for others.
    pub unit: String,
    /// What the bins are called, where the axis is of names.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub names: Vec<String>,
    pub bins: Vec<Bin>,
    pub real: Vec<Option<Spread>>,
    pub second_real: Vec<Option<Spread>>,
    pub generated: Vec<Option<Spread>>,
    /// Generated maps against real ones.
    pub generated_against_real: Comparison,
    /// The noise floor: the second set of real maps against the first.
    pub second_real_against_real: Comparison,
}

/// The distribution of all pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PixelResult {
    pub test: String,
    /// Kolmogorov-Smirnov distance D of generated and real pixels, exact.
    pub d: f64,
    pub p: f64,
    /// The same of the second set of real maps.
    pub floor_d: f64,
    pub floor_p: f64,
}

/// Covariances of the power spectrum, compared as numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CovarianceResult {
    /// Multipoles of the bins, empty ones left out.
    pub l: Vec<f64>,
    pub generated_against_real: CovarianceNumbers,
    pub second_real_against_real: CovarianceNumbers,
}

/// Two covariance matrices in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CovarianceNumbers {
    /// Geometric mean of the variances' ratios.
    pub variance_ratio: f64,
    /// Largest eigenvalue of the covariance over that of the real maps, in units of their scatter.
    pub largest_eigenvalue_ratio: f64,
    /// The same of the correlation matrices.
    pub correlation_eigenvalue_ratio: f64,
    /// Largest difference between elements of the correlation matrices.
    pub largest_correlation_difference: f64,
    /// Mean difference, off the diagonal.
    pub mean_correlation_difference: f64,
}

/// The chi-squared distance of means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChiSquaredResult {
    /// The data vector and the formula.
    pub definition: String,
    /// Elements of the data vector.
    pub elements: usize,
    /// Maps that the covariance is estimated from.
    pub covariance_maps: usize,
    /// Whether the full covariance was used; else its diagonal, with the reason in `note`.
    pub full_covariance: bool,
    pub note: String,
    pub generated: f64,
    pub second_real: f64,
}

/// How well something agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// No difference was found.
    Agrees,
    /// A difference was found, and it is small.
    Slight,
    /// A large difference was found.
    Fails,
    /// Too few maps for a test to say anything.
    Untestable,
}

/// One sentence of the verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sentence {
    pub about: String,
    pub grade: Grade,
    pub text: String,
}

/// How good the generator is, in words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub headline: String,
    pub sentences: Vec<Sentence>,
    /// What limits the verdict.
    pub caveats: Vec<String>,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub program: String,
    pub verdict: Verdict,
    pub real: SetInfo,
    /// Real maps of other parents: the noise floor.
    pub second_real: SetInfo,
    pub generated: SetInfo,
    /// Pixels along the side of a map.
    pub side: usize,
    pub angle_deg: f64,
    pub smooth_arcmin: Option<f64>,
    /// Galaxies per square arc minute of the shape noise that was added.
    pub shape_noise_n_gal: Option<f64>,
    /// The common unit of thresholds: standard deviation of the real maps' pixels.
    pub sigma: f64,
    /// Mean of the real maps' pixels.
    pub mean: f64,
    pub seed: u64,
    /// Random permutations behind each calibrated p-value.
    pub permutations: usize,
    /// The smallest p-value that these permutations can give, of generated against real maps.
    pub least_p: f64,
    pub pixels: PixelResult,
    pub statistics: Vec<StatisticResult>,
    /// p-values counted as the paper counts its own.
    pub paper_counts: Vec<PaperCount>,
    pub covariance: Option<CovarianceResult>,
    pub chi_squared: Option<ChiSquaredResult>,
    pub novelty: Option<NoveltyResult>,
}

impl Evaluation {
    /// The statistic of that name.
    pub fn statistic(&self, name: &str) -> Option<&StatisticResult> {
        self.statistics.iter().find(|result| result.name == name)
    }
}

impl StatisticResult {
    /// Bins that are not empty.
    pub fn tested(&self) -> usize {
        self.bins.iter().filter(|bin| !bin.empty).count()
    }
}

impl Tests {
    /// The bins whose adjusted p-value is at most `level`.
    pub fn rejected(&self, level: f64) -> Vec<usize> {
        let each = self.adjusted.iter().enumerate();
        each.filter(|(_, p)| p.is_some_and(|p| p <= level))
            .map(|(bin, _)| bin)
            .collect()
    }

    /// The smallest p-value, not adjusted.
    pub fn smallest_p(&self) -> Option<f64> {
        self.p.iter().flatten().copied().reduce(f64::min)
    }
}

//! Two sets of maps in numbers: every bin of every statistic tested for its mean, its scatter and its
//! whole distribution, with p-values from permutations of whole parents.

use super::error::EvaluateError;
use super::evaluation::{Axis, Bin, BootstrapTests, Comparison, Spread, StatisticResult, Tests};
use super::measure::{Estimators, Measured};
use crate::stats::{
    Design, MapStatistics, Parents, Resampler, Resampling, Statistic, StatsError,
    benjamini_hochberg, moment_tests,
};

/// How bootstrapped p-values come about.
const BOOTSTRAP: &str = "share of pairs of samples, drawn with replacement from the parents of both sets together, whose \
                         statistic is at least the observed one; not adjusted. For many parents close to the permutation's \
                         p-value, for few not calibrated; the paper's own recipe is not published";

/// Two sets, and how their parents trade places.
pub struct Pair<'a> {
    pub first: &'a Measured,
    pub second: &'a Measured,
    resampler: Resampler,
    permutations: usize,
    seed: u64,
}

/// What a statistic is called and where it stands.
pub struct Which<'a> {
    pub statistic: Statistic,
    pub estimator: &'a MapStatistics,
    pub name: &'static str,
    pub title: &'static str,
    pub axis: Axis,
    pub unit: &'static str,
    /// Picks the rows of the estimator from a set.
    pub rows: fn(&Measured) -> &[f64],
}

/// All statistics that `estimators` measure.
pub fn all_statistics(estimators: &Estimators) -> Vec<Which<'_>> {
    use Statistic::{
        BispectrumEquilateral, BispectrumFolded, MinkowskiV0, MinkowskiV1, MinkowskiV2, Moments,
        Pdf, PeakCount, PowerSpectrum,
    };
    let common = |statistic, name, title, axis, unit| Which {
        statistic,
        estimator: &estimators.common,
        name,
        title,
        axis,
        unit,
        rows: |measured| &measured.common,
    };
    let own = |statistic, name, title| Which {
        statistic,
        estimator: &estimators.own,
        name,
        title,
        axis: Axis::Threshold,
        unit: "standard deviation of each map (LensTools)",
        rows: |measured| &measured.own,
    };
    let sigma = "standard deviation of the real maps' pixels";
    let threshold = |statistic, name, title| common(statistic, name, title, Axis::Threshold, sigma);
    let multipole = |statistic, name, title| common(statistic, name, title, Axis::Multipole, "");
    let all = vec![
        multipole(PowerSpectrum, "power_spectrum", "P(\u{2113})"),
        Which {
            estimator: &estimators.log,
            rows: |measured| &measured.log,
            ..multipole(
                PowerSpectrum,
                "power_spectrum_wide",
                "P(\u{2113}) in wide bins",
            )
        },
        threshold(MinkowskiV0, "minkowski_v0", "V\u{2080}"),
        threshold(MinkowskiV1, "minkowski_v1", "V\u{2081}"),
        threshold(MinkowskiV2, "minkowski_v2", "V\u{2082}"),
        threshold(PeakCount, "peak_count", "peak counts"),
        threshold(Pdf, "pdf", "pixel distribution"),
        common(Moments, "moments", "moments", Axis::Name, ""),
        own(
            MinkowskiV0,
            "minkowski_v0_per_map",
            "V\u{2080}, per-map unit",
        ),
        own(
            MinkowskiV1,
            "minkowski_v1_per_map",
            "V\u{2081}, per-map unit",
        ),
        own(
            MinkowskiV2,
            "minkowski_v2_per_map",
            "V\u{2082}, per-map unit",
        ),
        own(PeakCount, "peak_count_per_map", "peak counts, per-map unit"),
        own(Pdf, "pdf_per_map", "pixel distribution, per-map unit"),
        multipole(
            BispectrumEquilateral,
            "bispectrum_equilateral",
            "equilateral bispectrum",
        ),
        multipole(BispectrumFolded, "bispectrum_folded", "folded bispectrum"),
    ];
    let measured = |which: &Which<'_>| !which.estimator.columns(which.statistic).is_empty();
    all.into_iter().filter(measured).collect()
}

/// The parents of a set; independent maps are joined to blocks as large as the parents of `like`, which
/// they are compared with.
fn parents(measured: &Measured, like: &Measured) -> Parents {
    let own = Parents::from_ids(measured.units.iter().copied());
    if own.count() < own.maps() {
        return own;
    }
    let other = Parents::from_ids(like.units.iter().copied());
    Parents::blocks(measured.maps, other.maps().div_ceil(other.count()))
}

impl<'a> Pair<'a> {
    /// Deals the labels.
    ///
    /// # Errors
    /// Sets whose parents cannot trade places, or too few maps.
    pub fn new(
        first: &'a Measured,
        second: &'a Measured,
        permutations: usize,
        seed: u64,
    ) -> Result<Self, EvaluateError> {
        let make = || -> Result<Resampler, StatsError> {
            let design = Design::new(&parents(first, second), &parents(second, first))?;
            let options = Resampling {
                seed,
                permutations,
                bootstraps: permutations,
            };
            Resampler::new(design, options)
        };
        Ok(Self {
            first,
            second,
            resampler: make().map_err(EvaluateError::Compare)?,
            permutations,
            seed,
        })
    }

    /// The parents of both sets.
    pub fn parents(&self) -> [Parents; 2] {
        [
            parents(self.first, self.second),
            parents(self.second, self.first),
        ]
    }

    /// How parents trade places.
    pub fn design(&self) -> &Design {
        self.resampler.design()
    }

    /// Random permutations behind each p-value.
    pub fn permutations(&self) -> usize {
        self.permutations
    }

    /// The seed of the permutations.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Independent units of both sets.
    pub fn units(&self) -> (usize, usize) {
        self.resampler.design().parents()
    }

    /// The smallest p-value that there can be: each relabelling has a mirror image.
    pub fn least_p(&self) -> f64 {
        let (n, m) = self.units();
        let mirrored = if n == m { 2.0 } else { 1.0 };
        let exact = mirrored * (-self.resampler.design().ln_relabellings()).exp();
        exact.max(1.0 / (1.0 + self.permutations as f64)).min(1.0)
    }

    /// Tests the bins of one statistic that are not empty.
    fn comparison(&self, which: &Which<'_>, empty: &[bool]) -> Result<Comparison, StatsError> {
        let bins = empty.len();
        let open: Vec<usize> = (0..bins).filter(|&bin| !empty[bin]).collect();
        if open.is_empty() {
            return Ok(Comparison::default());
        }
        let pick = |measured: &Measured| -> Vec<f64> {
            let rows = which
                .estimator
                .array((which.rows)(measured), which.statistic);
            let rows = rows.chunks_exact(bins);
            rows.flat_map(|row| open.iter().map(|&bin| row[bin]))
                .collect()
        };
        let (first, second) = (pick(self.first), pick(self.second));
        let design = self.resampler.design();
        let moments = moment_tests(
            &first,
            &second,
            open.len(),
            design,
            self.permutations,
            self.seed,
        )?;
        let column = |rows: &[f64], k: usize| -> Vec<f64> {
            rows.iter().skip(k).step_by(open.len()).copied().collect()
        };
        let mut features = Vec::with_capacity(open.len());
        for k in 0..open.len() {
            features.push(
                match self.resampler.test(&column(&first, k), &column(&second, k)) {
                    Err(StatsError::AllEqual) => None,
                    other => Some(other?),
                },
            );
        }
        let spread = |values: &[f64]| -> Vec<Option<f64>> {
            let mut all = vec![None; bins];
            for (&bin, value) in open.iter().zip(values) {
                all[bin] = value.is_finite().then_some(*value);
            }
            all
        };
        let tests = |test: &str, effect: &[f64], p: &[f64]| {
            let adjusted = benjamini_hochberg(p);
            Tests {
                test: test.to_owned(),
                effect: spread(effect),
                p: spread(p),
                adjusted: spread(&adjusted),
            }
        };
        let of = |value: fn(&crate::stats::FeatureTest) -> f64| -> Vec<f64> {
            let each = features.iter();
            each.map(|found| found.as_ref().map_or(f64::NAN, value))
                .collect()
        };
        Ok(Comparison {
            mean: tests(
                "difference of means in standard deviations of single real maps; Welch's t, permutation of parents",
                &moments.shift,
                &moments.shift_p,
            ),
            scatter: tests(
                "ratio of variances over that of real maps; squared deviations, permutation of parents",
                &moments.ratio,
                &moments.ratio_p,
            ),
            ks: tests(
                "Kolmogorov-Smirnov D; permutation of parents",
                &of(|found| found.ks),
                &of(|found| found.permutation.ks),
            ),
            ad: tests(
                "standardised Anderson-Darling statistic (midrank); permutation of parents",
                &of(|found| found.ad),
                &of(|found| found.permutation.ad),
            ),
            bootstrap: BootstrapTests {
                test: BOOTSTRAP.into(),
                ks: spread(&of(|found| found.bootstrap.map_or(f64::NAN, |p| p.ks))),
                ad: spread(&of(|found| found.bootstrap.map_or(f64::NAN, |p| p.ad))),
            },
            paper_style_uncalibrated: spread(&of(|found| found.paper_style)),
        })
    }
}

/// Everything about one statistic, of generated maps and of the noise floor.
///
/// # Errors
/// Numbers that are not finite.
pub fn statistic_result(
    which: &Which<'_>,
    generated: &Pair<'_>,
    floor: &Pair<'_>,
) -> Result<StatisticResult, EvaluateError> {
    let sets = [generated.first, floor.second, generated.second];
    let bins = which.estimator.columns(which.statistic).len();
    let arrays = sets.map(|set| which.estimator.array((which.rows)(set), which.statistic));
    let spreads = arrays.each_ref().map(|array| spreads(array, bins));
    let modes: Option<Vec<usize>> = match which.statistic {
        Statistic::PowerSpectrum => {
            let estimator = which.estimator.power_spectrum();
            estimator.map(|estimator| estimator.mode_counts().to_vec())
        }
        _ => None,
    };
    let empty: Vec<bool> = (0..bins)
        .map(|bin| {
            let without_modes = modes.as_ref().is_some_and(|modes| modes[bin] == 0);
            let value = |array: &[f64]| array[bin];
            let first = value(&arrays[0]);
            let all = |array: &Vec<f64>| array[bin..].iter().step_by(bins).all(|v| *v == first);
            let not_finite = arrays
                .iter()
                .any(|a| a[bin..].iter().step_by(bins).any(|v| !v.is_finite()));
            without_modes || not_finite || arrays.iter().all(all)
        })
        .collect();
    let edges = Estimators::edges(which.estimator, which.statistic);
    let middle = which.estimator.abscissae(which.statistic);
    let mean_l = which
        .estimator
        .power_spectrum()
        .map(|estimator| estimator.mean_l());
    let bin = |index: usize| {
        let at = middle.get(index).copied().unwrap_or(index as f64);
        let mean = mean_l.filter(|_| which.statistic == Statistic::PowerSpectrum);
        let mean = mean
            .and_then(|mean| mean.get(index).copied())
            .filter(|l| l.is_finite());
        Bin {
            at: mean.unwrap_or(at),
            low: edges.get(index).copied().unwrap_or(index as f64),
            high: edges.get(index + 1).copied().unwrap_or(index as f64),
            modes: modes.as_ref().map(|modes| modes[index]),
            empty: empty[index],
        }
    };
    let compare = |pair: &Pair<'_>| {
        pair.comparison(which, &empty)
            .map_err(EvaluateError::Compare)
    };
    let shown = |spreads: &[Spread]| -> Vec<Option<Spread>> {
        let each = spreads.iter().zip(&empty);
        each.map(|(spread, empty)| (!empty).then_some(*spread))
            .collect()
    };
    Ok(StatisticResult {
        name: which.name.to_owned(),
        title: which.title.to_owned(),
        axis: which.axis,
        unit: which.unit.to_owned(),
        names: match which.axis {
            Axis::Name => Estimators::moment_names(),
            _ => Vec::new(),
        },
        bins: (0..bins).map(bin).collect(),
        real: shown(&spreads[0]),
        second_real: shown(&spreads[1]),
        generated: shown(&spreads[2]),
        generated_against_real: compare(generated)?,
        second_real_against_real: compare(floor)?,
    })
}

/// Mean and standard deviation of each column.
pub fn spreads(rows: &[f64], columns: usize) -> Vec<Spread> {
    let maps = (rows.len() / columns.max(1)).max(1) as f64;
    (0..columns)
        .map(|column| {
            let values = || rows[column..].iter().step_by(columns);
            let mean = values().sum::<f64>() / maps;
            let variance = values().map(|v| (v - mean).powi(2)).sum::<f64>() / maps;
            Spread {
                mean,
                deviation: variance.sqrt(),
            }
        })
        .collect()
}

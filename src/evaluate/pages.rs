//! The page of an evaluation: the verdict first, then what was compared, the figures, and every number.

use super::evaluation::{Axis, Evaluation, Grade, StatisticResult, Tests};
use super::figures::Figure;
use super::novelty;
use super::paper;
use super::phrases::p_value;
use super::words::{LARGE_RATIO, LARGE_SHIFT, LEVEL};
use crate::report::ReportError;
use crate::report::page::{self, Block, Mark, Page, Table};

/// The page.
///
/// # Errors
/// A picture that cannot be written as SVG.
pub fn page(evaluation: &Evaluation, figures: &[Figure]) -> Result<Page, ReportError> {
    let verdict = &evaluation.verdict;
    let mut blocks = vec![Block::Marked(
        verdict
            .sentences
            .iter()
            .map(|sentence| {
                let (mark, word) = match sentence.grade {
                    Grade::Agrees => (Mark::Good, "agrees"),
                    Grade::Slight => (Mark::Fair, "small"),
                    Grade::Fails => (Mark::Bad, "differs"),
                    Grade::Untestable => (Mark::Unknown, "unknown"),
                };
                (mark, word, sentence.text.clone())
            })
            .collect(),
    )];
    if !verdict.caveats.is_empty() {
        blocks.push(Block::List(verdict.caveats.clone()));
    }
    blocks.push(Block::Heading("What was compared".into()));
    blocks.push(Block::Table(sets(evaluation)));
    blocks.push(Block::Heading("Summary, beside the noise floor".into()));
    blocks.push(Block::Paragraph(format!(
        "Each cell: how many bins differ, and the largest difference; in brackets the same of a second set of real maps \
         (the noise floor). A bin differs where its p-value, adjusted by Benjamini and Hochberg over the bins of the \
         statistic, is at most {LEVEL}. \u{3c3} is the standard deviation of single real maps. The last column imitates the paper's test; it is \
         not calibrated and proves nothing."
    )));
    blocks.push(Block::Table(summary(evaluation)));
    blocks.extend(numbers(evaluation));
    blocks.push(Block::Heading("Counted as in the paper".into()));
    blocks.push(Block::Paragraph(paper::WORDS.into()));
    blocks.push(Block::Table(paper::table(&evaluation.paper_counts)));
    for figure in figures {
        blocks.push(Block::Heading(figure.heading.clone()));
        let mut pictures = Vec::with_capacity(figure.pictures.len());
        for (words, canvas) in &figure.pictures {
            pictures.push((words.clone(), canvas.svg()?));
        }
        blocks.push(Block::Figure(page::Figure {
            caption: figure.caption.clone(),
            pictures,
            wide: figure.wide,
            columns: figure.columns,
        }));
    }
    blocks.push(Block::Heading("Every number".into()));
    blocks.push(Block::Paragraph(
        "All of these, with the tests behind them, are in statistics.json; the statistics of every single map are in \
         arrays.npz."
            .into(),
    ));
    for result in &evaluation.statistics {
        let summary = format!("{} ({} bins)", result.title, result.bins.len());
        blocks.push(Block::Folded(summary, bins(result)));
    }
    blocks.push(Block::Heading("How".into()));
    blocks.push(Block::List(methods(evaluation)));
    Ok(Page {
        title: "Generated against real maps".into(),
        headline: verdict.headline.clone(),
        blocks,
        footer: format!("Made by {}.", evaluation.program),
    })
}

fn words(text: &[&str]) -> Vec<String> {
    text.iter().map(|word| (*word).to_owned()).collect()
}

fn sets(evaluation: &Evaluation) -> Table {
    let rows = [
        ("real", &evaluation.real),
        ("second real set", &evaluation.second_real),
        ("generated", &evaluation.generated),
    ];
    let rows = rows.map(|(name, set)| {
        let known = if set.units_known {
            ""
        } else {
            " (parents unknown)"
        };
        vec![
            name.to_owned(),
            set.maps.to_string(),
            format!("{}{known}", set.units),
            set.source.clone(),
        ]
    });
    Table {
        head: words(&["set", "maps", "independent units", "from"]),
        rows: rows.to_vec(),
    }
}

/// How many bins differ, and by how much at most.
fn cell(tests: [&Tests; 2], effect: impl Fn(f64) -> f64, words: impl Fn(f64) -> String) -> String {
    let part = |tests: &Tests| {
        let largest = tests.effect.iter().flatten().copied();
        let largest = largest.reduce(|a, b| if effect(a) >= effect(b) { a } else { b });
        let largest = largest.map_or("none".into(), &words);
        format!("{}; {largest}", tests.rejected(LEVEL).len())
    };
    format!("{} ({})", part(tests[0]), part(tests[1]))
}

fn summary(evaluation: &Evaluation) -> Table {
    let row = |result: &StatisticResult| {
        let (a, b) = (
            &result.generated_against_real,
            &result.second_real_against_real,
        );
        let paper = a.paper_style_uncalibrated.iter().flatten();
        let high = paper.clone().filter(|p| **p > 0.99).count();
        vec![
            result.title.clone(),
            format!("{} of {}", result.tested(), result.bins.len()),
            cell([&a.mean, &b.mean], f64::abs, signed),
            cell(
                [&a.scatter, &b.scatter],
                |ratio| ratio.max(1e-300).ln().abs(),
                |ratio| format!("{ratio:.2}"),
            ),
            cell([&a.ks, &b.ks], |d| d, |d| format!("{d:.3}")),
            cell([&a.ad, &b.ad], |a| a, |a| format!("{a:.1}")),
            format!("{high} of {}", paper.count()),
        ]
    };
    Table {
        head: words(&[
            "statistic",
            "bins tested",
            "mean: shift / \u{3c3}",
            "scatter: variance ratio",
            "Kolmogorov-Smirnov D",
            "Anderson-Darling A",
            "paper-style p > 0.99 (uncalibrated)",
        ]),
        rows: evaluation.statistics.iter().map(row).collect(),
    }
}

/// Covariance, chi-squared and novelty.
fn numbers(evaluation: &Evaluation) -> Vec<Block> {
    let mut rows = Vec::new();
    let mut row = |name: &str, generated: String, floor: String| {
        rows.push(vec![name.to_owned(), generated, floor]);
    };
    let pixels = &evaluation.pixels;
    row(
        "pixels, Kolmogorov-Smirnov D, exact (p)",
        format!("{:.4} ({})", pixels.d, p_value(pixels.p)),
        format!("{:.4} ({})", pixels.floor_d, p_value(pixels.floor_p)),
    );
    if let Some(covariance) = &evaluation.covariance {
        let (a, b) = (
            &covariance.generated_against_real,
            &covariance.second_real_against_real,
        );
        for (name, of) in [
            (
                "covariance of P(\u{2113}): mean ratio of variances",
                (|n| n.variance_ratio) as fn(&super::evaluation::CovarianceNumbers) -> f64,
            ),
            ("covariance: largest eigenvalue, ratio", |n| {
                n.largest_eigenvalue_ratio
            }),
            ("correlation: largest difference", |n| {
                n.largest_correlation_difference
            }),
            ("correlation: mean difference", |n| {
                n.mean_correlation_difference
            }),
            ("correlation: largest eigenvalue, ratio", |n| {
                n.correlation_eigenvalue_ratio
            }),
        ] {
            row(name, format!("{:.3}", of(a)), format!("{:.3}", of(b)));
        }
    }
    if let Some(chi) = &evaluation.chi_squared {
        let name = format!(
            "chi-squared of {} elements ({})",
            chi.elements,
            if chi.full_covariance {
                "full covariance"
            } else {
                "diagonal only"
            }
        );
        row(
            &name,
            format!("{:.1}", chi.generated),
            format!("{:.1}", chi.second_real),
        );
    }
    for [name, generated, floor] in evaluation.novelty.iter().flat_map(novelty::rows) {
        row(&name, generated, floor);
    }
    vec![Block::Table(Table {
        head: words(&["", "generated", "real against real"]),
        rows,
    })]
}

fn signed(value: f64) -> String {
    if value.abs() > 10.0 {
        return if value > 0.0 { "> 10" } else { "< \u{2212}10" }.to_owned();
    }
    format!("{value:+.2}").replace('-', "\u{2212}")
}

fn bins(result: &StatisticResult) -> Table {
    let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.3e}"));
    let p = |tests: &Tests, bin: usize| {
        let p = tests.adjusted.get(bin).copied().flatten();
        p.map_or(String::new(), p_value)
    };
    let effect = |tests: &Tests, bin: usize| tests.effect.get(bin).copied().flatten();
    let rows = (0..result.bins.len()).map(|index| {
        let bin = &result.bins[index];
        let place = match result.axis {
            Axis::Name => result.names.get(index).cloned().unwrap_or_default(),
            Axis::Multipole => format!("{:.0} to {:.0}", bin.low, bin.high),
            Axis::Threshold => format!("{:.1} to {:.1}", bin.low + 0.0, bin.high + 0.0),
        };
        let (a, b) = (
            &result.generated_against_real,
            &result.second_real_against_real,
        );
        let mut row = vec![place.replace('-', "\u{2212}")];
        if bin.empty {
            row.push("empty, not tested".into());
            row.resize(10, String::new());
            return row;
        }
        row.push(number(result.real[index].map(|spread| spread.mean)));
        row.push(number(result.generated[index].map(|spread| spread.mean)));
        let shift = |tests: &Tests| effect(tests, index).map_or(String::new(), signed);
        row.push(format!("{} ({})", shift(&a.mean), shift(&b.mean)));
        row.push(p(&a.mean, index));
        let ratio =
            |tests: &Tests| effect(tests, index).map_or(String::new(), |r| format!("{r:.2}"));
        row.push(format!("{} ({})", ratio(&a.scatter), ratio(&b.scatter)));
        row.push(p(&a.scatter, index));
        let d = |tests: &Tests| effect(tests, index).map_or(String::new(), |d| format!("{d:.3}"));
        row.push(format!("{} ({})", d(&a.ks), d(&b.ks)));
        row.push(p(&a.ks, index));
        let raw = |values: &[Option<f64>]| {
            let p = values.get(index).copied().flatten();
            p.map_or(String::new(), p_value)
        };
        row.push(format!(
            "{}, {}",
            raw(&a.bootstrap.ks),
            raw(&a.bootstrap.ad)
        ));
        row
    });
    Table {
        head: words(&[
            "bin",
            "real mean",
            "generated mean",
            "shift / \u{3c3} (floor)",
            "adjusted p",
            "variance ratio (floor)",
            "adjusted p",
            "KS D (floor)",
            "adjusted p",
            "bootstrapped p: KS, AD",
        ]),
        rows: rows.collect(),
    }
}

fn methods(evaluation: &Evaluation) -> Vec<String> {
    let mut lines = vec![
        format!(
            "Maps of {side} x {side} pixels, {angle:.4} degrees a side. Statistics are defined as in LensTools: periodic \
             boundaries, no apodisation. Thresholds are in units of \u{3c3} = {sigma:.4e}, the standard deviation of the real \
             maps' pixels (mean {mean:.1e}, not subtracted), or of each map's own where so said.",
            side = evaluation.side,
            angle = evaluation.angle_deg,
            sigma = evaluation.sigma,
            mean = evaluation.mean
        ),
        match (evaluation.smooth_arcmin, evaluation.shape_noise_n_gal) {
            (None, None) => "Maps were neither smoothed nor made noisy.".to_owned(),
            (smooth, noise) => {
                let noise = noise.map(|n| {
                    format!("Gaussian shape noise of {n} galaxies a square arc minute was added to every map")
                });
                let smooth = smooth.map(|arcmin| {
                    format!("every map was smoothed by a Gaussian of {arcmin} arc minutes (standard deviation)")
                });
                let parts: Vec<String> = noise.into_iter().chain(smooth).collect();
                format!(
                    "{}, to all sets alike. Pictures show maps as they are in the files.",
                    parts.join("; then ")
                )
            }
        },
        format!(
            "p-values: {} random permutations of whole parents (crops of one map trade places together), seed {}; the \
             smallest possible is {:.1e}. Means: Welch's t. Scatter: squared deviations from the own set's mean. \
             Benjamini-Hochberg over the bins of each statistic. Empty bins, and those with the same number in all maps, \
             are reported and never tested.",
            evaluation.permutations, evaluation.seed, evaluation.least_p
        ),
        format!(
            "Bootstrapped p-values: {} pairs of samples, drawn with replacement from the parents of both sets together; \
             not adjusted, and no verdict rests on them.",
            evaluation.permutations
        ),
        format!(
            "Words: a difference is found where the adjusted p-value is at most {LEVEL}; it is called large where a mean is \
             off by {LARGE_SHIFT} \u{3c3} or a variance by a factor of {LARGE_RATIO} or more."
        ),
    ];
    lines.push(format!("Pixels: {}.", evaluation.pixels.test));
    lines.extend(evaluation.novelty.iter().flat_map(novelty::methods));
    if let Some(chi) = &evaluation.chi_squared {
        lines.push(format!("Chi-squared: {}. {}", chi.definition, chi.note));
    }
    lines
}

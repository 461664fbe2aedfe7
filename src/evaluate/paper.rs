//! p-values counted as the paper counts its own: of so many modes or thresholds, so many above 0.99, and so on.
//!
//! These counts are no test. A p-value that is calibrated is above 0.99 in 1% of the bins, however
//! good the generator; the paper's come from a bootstrap that was not published. What can be compared is
//! the generated maps' count with that of a second set of real maps.

use serde::{Deserialize, Serialize};

use super::evaluation::{Comparison, StatisticResult};
use crate::report::page::Table;

/// Counts of one kind of p-value over the bins of some statistics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PaperCount {
    /// The statistics whose bins are counted.
    pub about: String,
    /// Which p-values are counted, and whether they are calibrated.
    pub p_value: String,
    /// Bins that were tested.
    pub tested: usize,
    /// Falling limits, the paper's.
    pub above: [f64; 3],
    /// Bins with p above the first limit, between it and the second, between that and the third, and
    /// not above the third: generated against real maps.
    pub generated: [usize; 4],
    /// The same of a second set of real maps against the first.
    pub second_real: [usize; 4],
    /// What the paper has there (Mustafa et al. 2019); 248 modes, 57 thresholds.
    pub paper: Option<[usize; 4]>,
}

/// Some statistics and what the paper says of them.
struct Counted {
    about: &'static str,
    members: &'static [&'static str],
    above: [f64; 3],
    /// By Kolmogorov-Smirnov and by Anderson-Darling.
    paper: [[usize; 4]; 2],
}

const COUNTED: [Counted; 2] = [
    Counted {
        about: "modes of the power spectrum",
        members: &["power_spectrum"],
        above: [0.99, 0.95, 0.8],
        // "The rest > 0.8": 248 modes in all.
        paper: [[236, 10, 2, 0], [205, 26, 17, 0]],
    },
    Counted {
        about: "thresholds of the Minkowski functionals",
        members: &["minkowski_v0", "minkowski_v1", "minkowski_v2"],
        above: [0.95, 0.9, 0.6],
        // "The rest > 0.6": 19 thresholds of 3 functionals.
        paper: [[40, 7, 10, 0], [32, 6, 19, 0]],
    },
];

/// A kind of p-value: its name, how to get it, and what the paper has by it.
type Column = (
    &'static str,
    fn(&Comparison) -> &[Option<f64>],
    Option<usize>,
);

const COLUMNS: [Column; 5] = [
    (
        "Kolmogorov-Smirnov, bootstrapped",
        |c| &c.bootstrap.ks,
        Some(0),
    ),
    (
        "Anderson-Darling, bootstrapped",
        |c| &c.bootstrap.ad,
        Some(1),
    ),
    (
        "Kolmogorov-Smirnov, parents permuted (calibrated)",
        |c| &c.ks.p,
        None,
    ),
    (
        "Anderson-Darling, parents permuted (calibrated)",
        |c| &c.ad.p,
        None,
    ),
    (
        "Kolmogorov-Smirnov of histogram counts (uncalibrated)",
        |c| &c.paper_style_uncalibrated,
        None,
    ),
];

/// The counts of `statistics`.
pub fn paper_counts(statistics: &[StatisticResult]) -> Vec<PaperCount> {
    let mut counts = Vec::new();
    for counted in COUNTED {
        let found: Vec<&StatisticResult> = statistics
            .iter()
            .filter(|result| counted.members.contains(&result.name.as_str()))
            .collect();
        for (name, of, paper) in COLUMNS {
            let count = |comparison: fn(&StatisticResult) -> &Comparison| {
                let p = found.iter().flat_map(|result| of(comparison(result)));
                bands(p.flatten().copied(), counted.above)
            };
            let generated = count(|result| &result.generated_against_real);
            let tested = generated.iter().sum();
            if tested == 0 {
                continue;
            }
            counts.push(PaperCount {
                about: counted.about.into(),
                p_value: name.into(),
                tested,
                above: counted.above,
                generated,
                second_real: count(|result| &result.second_real_against_real),
                paper: paper.map(|index| counted.paper[index]),
            });
        }
    }
    counts
}

/// What the table says, and what it does not.
pub const WORDS: &str = "How many bins have a p-value above the limits that Mustafa et al. (2019) count by. This is no \
    test: a calibrated p-value is above 0.99 in 1% of the bins however good the generator is, and the paper's \
    bootstrap is not published. Compare the generated maps' counts with those of two sets of real maps beside \
    them. Bootstrapped p-values are drawn with whole parents; those of histogram counts are not calibrated at all.";

/// The counts, each as above the first, second and third limit and below.
pub fn table(counts: &[PaperCount]) -> Table {
    let four = |counts: &[usize; 4]| counts.map(|count| count.to_string()).join(" / ");
    let rows = counts.iter().map(|count| {
        let [first, second, third] = count.above;
        vec![
            format!("{}: {}", count.about, count.p_value),
            count.tested.to_string(),
            format!("> {first} / > {second} / > {third} / rest"),
            four(&count.generated),
            four(&count.second_real),
            count.paper.as_ref().map_or(String::new(), four),
        ]
    });
    Table {
        head: [
            "p-values",
            "bins",
            "counted",
            "generated",
            "real against real",
            "the paper",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: rows.collect(),
    }
}

fn bands(p: impl Iterator<Item = f64>, above: [f64; 3]) -> [usize; 4] {
    let mut counts = [0; 4];
    for p in p {
        let band = above.iter().position(|limit| p > *limit).unwrap_or(3);
        counts[band] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_p_value_is_in_one_band_and_the_papers_add_up() {
        let p = [0.999, 0.99, 0.96, 0.95, 0.81, 0.8, 0.0];
        assert_eq!(bands(p.into_iter(), [0.99, 0.95, 0.8]), [1, 2, 2, 2]);
        for (counted, all) in COUNTED.iter().zip([248, 57]) {
            for paper in counted.paper {
                assert_eq!(paper.iter().sum::<usize>(), all);
            }
        }
    }
}

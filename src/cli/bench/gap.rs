//! How far trainings in bf16 and in f32 are from each other, and whether that is near enough.

use anyhow::{Result, bail};
use serde::Serialize;

use cosmogan::stats::Agreement;
use cosmogan::train::{Losses, Tried};

/// How many times as far from f32 as another f32 run bf16 may be.
const MOST: f64 = 3.0;
/// How much a loss of the first step in bf16 may differ from f32's, as a share of it.
const MOST_AT_FIRST: f64 = 0.005;

/// How a training is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    F32,
    F32Perturbed,
    Bf16,
}

impl Kind {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Kind::F32 => "f32",
            Kind::F32Perturbed => "f32, perturbed",
            Kind::Bf16 => "bf16",
        }
    }
}

/// One training.
#[derive(Debug, Serialize)]
pub struct Trained {
    pub seed: u64,
    pub kind: Kind,
    pub d_loss: Vec<f64>,
    pub g_loss: Vec<f64>,
    /// None where the losses stopped being finite.
    pub agreement: Option<Agreement>,
}

/// How far trainings are from those in f32: means over steps and seeds of |difference|.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gap {
    /// Between the two in f32.
    f32: f64,
    bf16: Option<f64>,
    /// The second over the first.
    ratio: Option<f64>,
}

/// What a training came to.
pub fn of_trial(seed: u64, kind: Kind, tried: Tried) -> Trained {
    let each = |loss: fn(&Losses) -> f64| tried.losses.iter().map(loss).collect();
    Trained {
        seed,
        kind,
        d_loss: each(|losses| losses.d_loss),
        g_loss: each(|losses| losses.g_loss),
        agreement: tried.agreement,
    }
}

/// A training in a line.
pub fn line(trained: &Trained) -> String {
    let steps = trained.d_loss.len();
    let last = |losses: &[f64]| losses.last().copied().unwrap_or(f64::NAN);
    let end = match &trained.agreement {
        Some(agreement) => format!(
            "pixel KS {:.4}, P(l) within a factor {:.3}, score {:.3}",
            agreement.pixel_ks, agreement.worst_spectrum_factor, agreement.score
        ),
        None => format!("NOT FINITE at step {steps}"),
    };
    format!(
        "seed {} {:<14} step {steps}: D {:.4}, G {:.4}; {end}",
        trained.seed,
        trained.kind.name(),
        last(&trained.d_loss),
        last(&trained.g_loss),
    )
}

/// The gaps of one loss. What stopped early has an infinite one.
pub fn gap(trained: &[Trained], loss: impl Fn(&Trained) -> &Vec<f64>) -> Gap {
    let of = |kind: Kind| trained.iter().filter(move |t| t.kind == kind);
    let mean = |kind: Kind| -> Option<f64> {
        let gaps: Vec<f64> = of(kind)
            .zip(of(Kind::F32))
            .map(|(other, exact)| distance(loss(other), loss(exact)))
            .collect();
        (!gaps.is_empty()).then(|| gaps.iter().sum::<f64>() / gaps.len() as f64)
    };
    let f32 = mean(Kind::F32Perturbed).unwrap_or(f64::INFINITY);
    let bf16 = mean(Kind::Bf16);
    Gap {
        f32,
        bf16,
        ratio: bf16.map(|bf16| bf16 / f32),
    }
}

/// The largest share by which a loss of the first step differs between bf16 and f32, if there is bf16.
pub fn first_step(trained: &[Trained]) -> Option<f64> {
    let of = |kind: Kind| trained.iter().filter(move |t| t.kind == kind);
    let firsts = |t: &Trained| [t.d_loss[0], t.g_loss[0]];
    of(Kind::Bf16)
        .zip(of(Kind::F32))
        .flat_map(|(half, exact)| firsts(half).into_iter().zip(firsts(exact)))
        .map(|(half, exact)| (half / exact - 1.0).abs())
        .reduce(|a, b| if a.is_nan() || a > b { a } else { b })
}

/// The mean of |a - b|; infinite where one of them stopped or is not finite.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum();
    let mean = sum / a.len() as f64;
    match a.len() == b.len() && mean.is_finite() {
        true => mean,
        false => f64::INFINITY,
    }
}

/// A gap in a line.
pub fn gap_line(name: &str, gap: &Gap) -> String {
    let mut line = format!(
        "{name}'s loss: f32 from perturbed weights is {:.5} from f32 in the mean over steps and seeds",
        gap.f32
    );
    if let (Some(bf16), Some(ratio)) = (gap.bf16, gap.ratio) {
        line += &format!("; bf16 is {bf16:.5}, {ratio:.2} times as far");
    }
    line
}

/// Scores in bf16 beside the least and the greatest of f32.
pub fn score_lines(trained: &[Trained]) -> Vec<String> {
    type Score = fn(&Agreement) -> f64;
    let scores: [(&str, Score); 4] = [
        ("pixel KS", |a| a.pixel_ks),
        ("P(l)'s worst factor", |a| a.worst_spectrum_factor),
        ("rms of ln P(l)'s ratios", |a| a.log_spectrum_rms),
        ("score", |a| a.score),
    ];
    let lines = scores.iter().map(|(name, score)| {
        let of = |half: bool| -> Vec<f64> {
            let kind = trained.iter().filter(|t| (t.kind == Kind::Bf16) == half);
            kind.filter_map(|t| t.agreement.as_ref().map(score))
                .collect()
        };
        let (exact, half) = (of(false), of(true));
        let least = exact.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = exact.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let inside = half
            .iter()
            .filter(|score| (least..=greatest).contains(score));
        let shown: Vec<_> = half.iter().map(|score| format!("{score:.4}")).collect();
        format!(
            "{name}: f32 from {least:.4} to {greatest:.4}; bf16 {} ({} of {} inside)",
            shown.join(" "),
            inside.count(),
            half.len(),
        )
    });
    lines.collect()
}

/// Whether the trainings are as near as they should be.
///
/// # Errors
/// What is too far.
pub fn judge(trained: &[Trained], gaps: &[Gap], first_step: Option<f64>) -> Result<()> {
    if let Some(stopped) = trained.iter().find(|trained| trained.agreement.is_none()) {
        bail!(
            "the losses of seed {} in {} stopped being finite at step {}",
            stopped.seed,
            stopped.kind.name(),
            stopped.d_loss.len()
        );
    }
    let worst = gaps.iter().filter_map(|gap| gap.ratio);
    let worst = worst.fold(0.0, f64::max);
    if worst.is_nan() || worst > MOST {
        bail!("bf16 is {worst:.2} times as far from f32 as f32 is from itself; {MOST} is the most");
    }
    let first = first_step.unwrap_or(0.0);
    if first.is_nan() || first > MOST_AT_FIRST {
        let [share, most] = [first, MOST_AT_FIRST].map(|share| 100.0 * share);
        bail!("a loss of the first step in bf16 differs by {share:.3}%; {most}% is the most");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trained(kind: Kind, d_loss: &[f64]) -> Trained {
        Trained {
            seed: 1,
            kind,
            d_loss: d_loss.to_vec(),
            g_loss: vec![0.7; d_loss.len()],
            agreement: None,
        }
    }

    #[test]
    fn gaps_are_means_over_steps_and_seeds_and_their_ratio() {
        let mut all = vec![
            trained(Kind::F32, &[1.0, 2.0]),
            trained(Kind::F32Perturbed, &[1.1, 1.9]),
            trained(Kind::F32, &[3.0, 1.0]),
            trained(Kind::F32Perturbed, &[3.3, 0.9]),
        ];
        let found = gap(&all, |t| &t.d_loss);
        assert!((found.f32 - 0.15).abs() < 1e-12 && found.ratio.is_none());
        all.insert(2, trained(Kind::Bf16, &[1.2, 2.2]));
        all.push(trained(Kind::Bf16, &[2.5, 1.3]));
        let found = gap(&all, |t| &t.d_loss);
        assert!((found.ratio.unwrap() - 2.0).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn the_first_steps_are_compared_as_shares() {
        let mut all = vec![trained(Kind::F32, &[2.0, 1.0])];
        assert_eq!(first_step(&all), None);
        all.push(trained(Kind::Bf16, &[1.98, 5.0]));
        all.push(trained(Kind::F32, &[1.0]));
        all.push(trained(Kind::Bf16, &[1.001]));
        assert!((first_step(&all).unwrap() - 0.01).abs() < 1e-12);
        all[3].d_loss[0] = f64::NAN;
        assert!(first_step(&all).unwrap().is_nan());
    }

    #[test]
    fn a_training_that_stopped_or_diverged_is_infinitely_far() {
        assert_eq!(distance(&[1.0], &[1.0, 2.0]), f64::INFINITY);
        assert_eq!(distance(&[1.0, f64::NAN], &[1.0, 2.0]), f64::INFINITY);
        assert_eq!(distance(&[1.0, 2.5], &[1.0, 2.0]), 0.25);
        let stopped = [trained(Kind::Bf16, &[1.0, f64::NAN])];
        let told = judge(&stopped, &[], None).unwrap_err().to_string();
        assert!(
            told.contains("bf16 stopped being finite at step 2"),
            "{told}"
        );
    }

    #[test]
    fn more_than_three_times_as_far_and_another_first_step_are_errors() {
        let gap = |bf16: f64| Gap {
            f32: 0.1,
            bf16: Some(bf16),
            ratio: Some(bf16 / 0.1),
        };
        let judge = |gaps: [Gap; 2], first| judge(&[], &gaps, Some(first));
        judge([gap(0.29), gap(0.01)], 0.004).unwrap();
        assert!(judge([gap(0.01), gap(0.31)], 0.0).is_err());
        assert!(judge([gap(f64::INFINITY), gap(0.1)], 0.0).is_err());
        assert!(judge([gap(0.1), gap(0.1)], 0.006).is_err());
        assert!(judge([gap(0.1), gap(0.1)], f64::NAN).is_err());
    }
}

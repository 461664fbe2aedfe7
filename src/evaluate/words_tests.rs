//! The words follow from the numbers alone.

use super::*;
use crate::evaluate::evaluation::{Bin, Comparison, PixelResult, SetInfo, Spread, StatisticResult};
use crate::evaluate::novelty::{
    Kind, NearestKind, NearestResult, NoveltyResult, PairFound, PairsResult,
};
use crate::evaluate::phrases::thousands;

const BINS: usize = 20;

fn tests(effect: impl Fn(usize) -> f64, adjusted: impl Fn(usize) -> f64) -> Tests {
    let p: Vec<Option<f64>> = (0..BINS)
        .map(|bin| (bin > 0).then(|| adjusted(bin)))
        .collect();
    Tests {
        test: "a test".into(),
        effect: (0..BINS)
            .map(|bin| (bin > 0).then(|| effect(bin)))
            .collect(),
        adjusted: p.clone(),
        p,
    }
}

fn none() -> Comparison {
    Comparison {
        mean: tests(|_| 0.05, |_| 0.6),
        scatter: tests(|_| 1.05, |_| 0.6),
        ..Comparison::default()
    }
}

/// A statistic in 20 bins, the first of which is empty.
fn statistic(name: &str, title: &str, axis: Axis, generated: Comparison) -> StatisticResult {
    let (from, step) = if axis == Axis::Multipole {
        (0.0, 500.0)
    } else {
        (-2.0, 0.2)
    };
    let edge = |bin: usize| from + step * bin as f64;
    let spread = Some(Spread {
        mean: 1.0,
        deviation: 0.1,
    });
    StatisticResult {
        name: name.into(),
        title: title.into(),
        axis,
        unit: String::new(),
        names: Vec::new(),
        bins: (0..BINS)
            .map(|bin| Bin {
                at: edge(bin) + step / 2.0,
                low: edge(bin),
                high: edge(bin + 1),
                modes: None,
                empty: bin == 0,
            })
            .collect(),
        real: vec![spread; BINS],
        second_real: vec![spread; BINS],
        generated: vec![spread; BINS],
        generated_against_real: generated,
        second_real_against_real: none(),
    }
}

fn evaluation(statistics: Vec<StatisticResult>) -> Evaluation {
    let set = SetInfo {
        source: "maps.npy".into(),
        maps: 1000,
        units: 1000,
        units_known: true,
    };
    Evaluation {
        program: "test".into(),
        verdict: Verdict::default(),
        real: set.clone(),
        second_real: set.clone(),
        generated: set,
        side: 64,
        angle_deg: 3.5,
        smooth_arcmin: None,
        shape_noise_n_gal: None,
        sigma: 0.015,
        mean: 0.0,
        seed: 1,
        permutations: 2000,
        least_p: 1.0 / 2001.0,
        pixels: PixelResult {
            test: "a test".into(),
            d: 0.004,
            p: 0.4,
            floor_d: 0.005,
            floor_p: 0.3,
        },
        statistics,
        paper_counts: Vec::new(),
        covariance: None,
        chi_squared: None,
        novelty: None,
    }
}

fn about<'a>(verdict: &'a Verdict, words: &str) -> &'a Sentence {
    let found = verdict.sentences.iter().find(|s| s.about.contains(words));
    found.unwrap_or_else(|| panic!("nothing about {words}: {verdict:?}"))
}

#[test]
fn gaussian_fields_of_the_same_spectrum_agree_in_its_mean_and_fail_elsewhere() {
    let spectrum = Comparison {
        scatter: tests(
            |bin| if bin > 9 { 0.3 } else { 1.0 },
            |bin| if bin > 9 { 0.001 } else { 0.5 },
        ),
        ..none()
    };
    let minkowski = Comparison {
        mean: tests(
            |bin| if bin < 5 { 1.4 } else { 0.01 },
            |bin| if bin < 5 { 0.001 } else { 0.5 },
        ),
        ..none()
    };
    let peaks = Comparison {
        mean: tests(
            |bin| if bin > 15 { -2.0 } else { 0.01 },
            |bin| if bin > 15 { 0.001 } else { 0.5 },
        ),
        ..none()
    };
    let verdict = verdict(&evaluation(vec![
        statistic("power_spectrum", "P(l)", Axis::Multipole, spectrum),
        statistic("minkowski_v0", "V0", Axis::Threshold, minkowski),
        statistic("peak_count", "peaks", Axis::Threshold, peaks),
    ]));
    println!("{verdict:#?}");
    assert_eq!(
        about(&verdict, "the mean power spectrum").grade,
        Grade::Agrees
    );
    let scatter = about(&verdict, "covariance");
    assert_eq!(scatter.grade, Grade::Fails);
    assert!(
        scatter.text.contains("too small at \u{2113} > 5,000"),
        "{}",
        scatter.text
    );
    let minkowski = about(&verdict, "the Minkowski functionals");
    assert_eq!(minkowski.grade, Grade::Fails);
    assert!(
        minkowski
            .text
            .contains("V0 too large at \u{3bd} < \u{2212}1.0"),
        "{}",
        minkowski.text
    );
    let peaks = about(&verdict, "the peak counts");
    assert!(
        peaks.text.contains("too few at \u{3bd} > 1.2"),
        "{}",
        peaks.text
    );
    for (words, order) in [
        ("fail in part", 0),
        ("covariance", 1),
        ("No difference was found in", 2),
    ] {
        assert!(
            verdict.headline.contains(words),
            "{order} {}",
            verdict.headline
        );
    }
}

#[test]
fn perfect_maps_are_praised_and_small_differences_are_called_small() {
    let same = statistic("power_spectrum", "P(l)", Axis::Multipole, none());
    let good = verdict(&evaluation(vec![same]));
    assert!(
        good.headline.starts_with("No difference between"),
        "{}",
        good.headline
    );
    assert!(
        good.sentences
            .iter()
            .all(|sentence| sentence.grade == Grade::Agrees)
    );
    let small = Comparison {
        mean: tests(|_| 0.15, |_| 0.001),
        ..none()
    };
    let slight = statistic("power_spectrum", "P(l)", Axis::Multipole, small);
    let slight = verdict(&evaluation(vec![slight]));
    assert_eq!(
        about(&slight, "the mean power spectrum").grade,
        Grade::Slight
    );
    assert!(
        slight.headline.starts_with("Small differences"),
        "{}",
        slight.headline
    );
    assert!(about(&slight, "the mean").text.contains("at all \u{2113}"));
}

#[test]
fn few_parents_are_no_agreement() {
    let mut few = evaluation(vec![statistic(
        "power_spectrum",
        "P(l)",
        Axis::Multipole,
        none(),
    )]);
    few.real.units = 4;
    few.generated.units = 4;
    few.least_p = 1.0 / 70.0;
    few.pixels.p = 0.2;
    let spectrum = verdict(&few);
    // Half of the bins at 1/70 would be rejected: it is a test, if a weak one.
    assert_eq!(about(&spectrum, "the mean").grade, Grade::Agrees);
    assert!(spectrum.caveats[0].contains("Samples are small"));
    few.real.units = 3;
    few.generated.units = 3;
    few.least_p = 1.0 / 20.0;
    let spectrum = verdict(&few);
    assert_eq!(about(&spectrum, "the mean").grade, Grade::Untestable);
    assert!(
        about(&spectrum, "the mean")
            .text
            .contains("too few independent maps")
    );
}

#[test]
fn remembered_and_repeated_maps_fail() {
    let pair = |distance| PairFound {
        first: 3,
        second: 8,
        distance,
    };
    let pairs = |kind, closest, real_closest| PairsResult {
        kind,
        definition: "a distance".into(),
        maps: 500,
        real_maps: 400,
        closest: vec![pair(closest)],
        real_closest: vec![pair(real_closest)],
        complete_below: None,
        real_complete_below: None,
        typical: 1.2,
        real_typical: 1.0,
        closer_than_real: 3,
        expected_closer: 1.5,
        expected_as_close: closest,
    };
    let nearest = |kind, smallest| NearestKind {
        kind,
        training_maps: 100,
        smallest,
        median: 1.3,
        real_smallest: 1.2,
        real_median: 1.4,
        nearer_than_real: 10,
        expected_nearer: 0.9,
    };
    let novelty = |smallest, closest, diversity| {
        let mut evaluation = evaluation(vec![]);
        evaluation.novelty = Some(NoveltyResult {
            nearest: Some(NearestResult {
                training_source: "train".into(),
                searched: 10,
                held_out_searched: 10,
                kinds: vec![
                    nearest(Kind::Pixels, smallest),
                    nearest(Kind::PowerSpectrum, 0.1),
                    nearest(Kind::DiscriminatorFeatures, smallest),
                ],
            }),
            pairs: vec![
                pairs(Kind::Pixels, closest, 1.0),
                pairs(Kind::PowerSpectrum, closest, 1.0),
                pairs(Kind::DiscriminatorFeatures, closest, 1.0),
            ],
            pixel_diversity: diversity,
            spectral_diversity: 0.9,
        });
        let verdict = verdict(&evaluation);
        about(&verdict, "novelty").clone()
    };
    let copied = novelty(0.1, 0.9, 1.0);
    assert_eq!(copied.grade, Grade::Fails);
    for words in [
        "10 of 10 generated",
        "by pixels",
        "by discriminator features",
    ] {
        assert!(copied.text.contains(words), "{}", copied.text);
    }
    assert!(!copied.text.contains("spectrum") && !copied.text.contains("pairs"));
    let repeated = novelty(1.1, 0.0, 1.0);
    for words in [
        "3 pairs among 500",
        "by pixels",
        "by power spectrum",
        "by discriminator",
        "0e0 such pairs",
    ] {
        assert!(repeated.text.contains(words), "{}", repeated.text);
    }
    let narrow = novelty(1.1, 0.9, 0.7);
    assert!(narrow.text.contains("vary less"), "{}", narrow.text);
    let good = novelty(1.1, 0.9, 1.0);
    assert_eq!(good.grade, Grade::Agrees);
    for words in ["no copies", "no two of 500", "of 400 real maps 1.00"] {
        assert!(good.text.contains(words), "{}", good.text);
    }
}

#[test]
fn ranges_bridge_single_bins_and_give_up_on_scattered_ones() {
    let result = statistic("power_spectrum", "P(l)", Axis::Multipole, none());
    assert_eq!(ranges(&result, &[1, 2, 4], &[]), "at \u{2113} < 2,500");
    assert_eq!(
        ranges(&result, &[6, 7, 18, 19], &[]),
        "at 3,000 < \u{2113} < 4,000 and at \u{2113} > 9,000"
    );
    let interrupted = ranges(&result, &[1, 2, 4], &[3]);
    assert!(
        interrupted.ends_with("at 2,000 < \u{2113} < 2,500"),
        "{interrupted}"
    );
    let scattered = ranges(&result, &[2, 6, 10, 14, 18], &[]);
    assert!(scattered.contains("5 of 19 bins"), "{scattered}");
    assert_eq!(thousands(12_345.0), "12,300");
    assert_eq!(thousands(412.0), "412");
}

//! The verdict: from numbers to sentences, by rules that are written here and nowhere else.
//!
//! A difference counts as found where its Benjamini-Hochberg adjusted p-value is at most
//! [`LEVEL`]. It is large where a mean is off by [`LARGE_SHIFT`] standard deviations of single maps or
//! more, or a variance by a factor of [`LARGE_RATIO`] or more. Where sets are so small that no p-value
//! could be that small, the sentence says so and compares with the noise floor instead.

use super::evaluation::{
    Axis, Evaluation, Grade, Sentence, SetInfo, StatisticResult, Tests, Verdict,
};
use super::novelty;
use super::phrases::{capital, list, p_value, ranges};

/// The level of tests, after adjustment.
pub const LEVEL: f64 = 0.05;
/// The least shift of a mean that is called large, in standard deviations of single real maps.
pub const LARGE_SHIFT: f64 = 0.2;
/// The least factor between variances that is called large.
pub const LARGE_RATIO: f64 = 1.25;
/// The least pixel D that is called large, where it is significant.
pub const LARGE_D: f64 = 0.03;

const SPECTRUM: &str = "the power spectrum";

/// Statistics that are spoken of together.
const FAMILIES: [(&str, &[&str]); 5] = [
    (SPECTRUM, &["power_spectrum"]),
    (
        "the Minkowski functionals",
        &["minkowski_v0", "minkowski_v1", "minkowski_v2"],
    ),
    ("the peak counts", &["peak_count"]),
    ("the moments", &["moments"]),
    (
        "the bispectrum",
        &["bispectrum_equilateral", "bispectrum_folded"],
    ),
];

/// Which question is put.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aspect {
    Mean,
    Scatter,
}

/// The verdict on `evaluation`, whose own verdict is not read.
pub fn verdict(evaluation: &Evaluation) -> Verdict {
    let mut sentences = Vec::new();
    for (name, members) in FAMILIES {
        let find = |names: &[&str]| -> Vec<&StatisticResult> {
            let found = names.iter().filter_map(|name| evaluation.statistic(name));
            found.filter(|result| result.tested() > 0).collect()
        };
        let found = find(members);
        if found.is_empty() {
            continue;
        }
        if name == SPECTRUM {
            let mean = "the mean power spectrum".to_owned();
            sentences.push(sentence(evaluation, mean, &found, Aspect::Mean));
            // Wide bins see what single modes do not: that all of them rise and fall together.
            let wide = find(&["power_spectrum_wide"]);
            let members = if wide.is_empty() { found } else { wide };
            let scatter =
                "the power spectrum's covariance (its scatter from map to map)".to_owned();
            sentences.push(sentence(evaluation, scatter, &members, Aspect::Scatter));
            continue;
        }
        let mean = sentence(evaluation, name.to_owned(), &found, Aspect::Mean);
        let fails = mean.grade == Grade::Fails;
        sentences.push(mean);
        let scatter = format!("the scatter of {}", &name[4..]);
        let scatter = sentence(evaluation, scatter, &found, Aspect::Scatter);
        // Where means are wrong, scatter is, too: that is no news.
        if !fails && matches!(scatter.grade, Grade::Slight | Grade::Fails) {
            sentences.push(scatter);
        }
    }
    sentences.insert(0, pixels(evaluation));
    sentences.extend(evaluation.novelty.as_ref().map(novelty::sentence));
    Verdict {
        headline: headline(&sentences),
        caveats: caveats(evaluation),
        sentences,
    }
}

fn headline(sentences: &[Sentence]) -> String {
    let of = |grade: Grade| -> Vec<&str> {
        let wanted = |s: &&Sentence| s.grade == grade && s.about != novelty::ABOUT;
        let each = sentences.iter().filter(wanted);
        each.map(|sentence| sentence.about.as_str()).collect()
    };
    let (agrees, slight, fails) = (of(Grade::Agrees), of(Grade::Slight), of(Grade::Fails));
    let untestable = of(Grade::Untestable);
    let mut parts = Vec::new();
    if fails.is_empty() && slight.is_empty() && agrees.is_empty() {
        return "There are too few maps to say how good the generated maps are.".to_owned();
    }
    if fails.is_empty() && slight.is_empty() {
        parts.push(format!(
            "No difference between generated and real maps was found in {}.",
            list(&agrees)
        ));
    } else {
        if !fails.is_empty() {
            let verb = if agrees.is_empty() && slight.is_empty() {
                "The generated maps fail:"
            } else {
                "The generated maps fail in part:"
            };
            parts.push(format!(
                "{verb} {} differ clearly from real maps.",
                list(&fails)
            ));
        }
        if !slight.is_empty() {
            parts.push(format!(
                "Small differences were found in {}.",
                list(&slight)
            ));
        }
        if !agrees.is_empty() {
            parts.push(format!("No difference was found in {}.", list(&agrees)));
        }
    }
    if !untestable.is_empty() {
        parts.push(format!("Too few maps to test {}.", list(&untestable)));
    }
    let remembers = |s: &Sentence| s.about == novelty::ABOUT && s.grade == Grade::Fails;
    if sentences.iter().any(remembers) {
        parts.push("The maps are not as new and varied as real ones.".to_owned());
    }
    parts.join(" ")
}

fn pixels(evaluation: &Evaluation) -> Sentence {
    let pixels = &evaluation.pixels;
    let numbers = format!(
        "D = {:.4} (p = {}), two sets of real maps {:.4}",
        pixels.d,
        p_value(pixels.p),
        pixels.floor_d
    );
    let (grade, text) = if too_few(evaluation, 1) && pixels.p > LEVEL {
        let times = pixels.d / pixels.floor_d.max(1e-9);
        (
            Grade::Untestable,
            format!(
                "Pixel values: too few independent maps for a test; {numbers}, {times:.1} times less."
            ),
        )
    } else if pixels.p > LEVEL {
        let text = format!("Pixel values: no difference was found; Kolmogorov-Smirnov {numbers}.");
        (Grade::Agrees, text)
    } else if pixels.d < LARGE_D {
        let text = format!("Pixel values: a small difference; Kolmogorov-Smirnov {numbers}.");
        (Grade::Slight, text)
    } else {
        let text = format!("Pixel values: they differ; Kolmogorov-Smirnov {numbers}.");
        (Grade::Fails, text)
    };
    Sentence {
        about: "the distribution of pixels".into(),
        grade,
        text,
    }
}

/// Whether no adjusted p-value of `bins` tests could be called significant, were half of them as
/// small as they can be.
fn too_few(evaluation: &Evaluation, bins: usize) -> bool {
    let factor = if bins > 1 { 2.0 } else { 1.0 };
    factor * evaluation.least_p > LEVEL
}

/// One bin of one member that differs.
struct Found<'a> {
    result: &'a StatisticResult,
    bin: usize,
    effect: f64,
}

fn sentence(
    evaluation: &Evaluation,
    about: String,
    members: &[&StatisticResult],
    aspect: Aspect,
) -> Sentence {
    let tests = |result: &StatisticResult, floor: bool| -> Tests {
        let comparison = if floor {
            &result.second_real_against_real
        } else {
            &result.generated_against_real
        };
        match aspect {
            Aspect::Mean => comparison.mean.clone(),
            Aspect::Scatter => comparison.scatter.clone(),
        }
    };
    let tested: usize = members.iter().map(|result| result.tested()).sum();
    let (mut found, mut large, mut floor_found) = (0, Vec::new(), 0);
    let (mut largest, mut floor_largest) = (0.0_f64, 0.0_f64);
    let mut smallest_found: Vec<Found> = Vec::new();
    for &result in members {
        let generated = tests(result, false);
        let floor = tests(result, true);
        floor_found += floor.rejected(LEVEL).len();
        let sizes = |tests: &Tests| {
            let each = tests.effect.iter().flatten();
            each.map(|effect| size(*effect, aspect)).fold(0.0, f64::max)
        };
        largest = largest.max(sizes(&generated));
        floor_largest = floor_largest.max(sizes(&floor));
        for bin in generated.rejected(LEVEL) {
            let Some(effect) = generated.effect[bin] else {
                continue;
            };
            found += 1;
            let one = Found {
                result,
                bin,
                effect,
            };
            if size(effect, aspect) >= size(threshold(aspect), aspect) {
                large.push(one);
            } else {
                smallest_found.push(one);
            }
        }
    }
    let title = capital(&about);
    let floor = format!(
        "two sets of real maps: {}",
        amount(floor_largest, aspect, "up to ")
    );
    let (grade, text) = if found == 0 && too_few(evaluation, tested) {
        (
            Grade::Untestable,
            format!(
                "{title}: too few independent maps for a test of {tested} bins; the largest difference is \
                 {} ({floor}).",
                amount(largest, aspect, "")
            ),
        )
    } else if found == 0 {
        (
            Grade::Agrees,
            format!(
                "{title}: no difference was found in {tested} bins; {} ({floor}).",
                amount(largest, aspect, "up to ")
            ),
        )
    } else {
        let all_small = large.is_empty();
        let told = if all_small { &smallest_found } else { &large };
        let grade = if all_small {
            Grade::Slight
        } else {
            Grade::Fails
        };
        let kind = if all_small {
            "small differences"
        } else {
            "differs clearly"
        };
        (
            grade,
            format!(
                "{title}: {kind} in {} of {tested} bins: {} ({floor}{}).",
                told.len(),
                places(told, aspect),
                match floor_found {
                    0 => String::new(),
                    n => format!(", {n} bins of which differ, too"),
                }
            ),
        )
    };
    Sentence { about, grade, text }
}

fn threshold(aspect: Aspect) -> f64 {
    match aspect {
        Aspect::Mean => LARGE_SHIFT,
        Aspect::Scatter => LARGE_RATIO,
    }
}

/// How far an effect is from none, comparable within an aspect.
fn size(effect: f64, aspect: Aspect) -> f64 {
    match aspect {
        Aspect::Mean => effect.abs(),
        Aspect::Scatter => effect.max(1e-300).ln().abs(),
    }
}

/// A size in words.
fn amount(size: f64, aspect: Aspect, up_to: &str) -> String {
    match aspect {
        Aspect::Mean => format!("means {up_to}{size:.2} \u{3c3} apart"),
        Aspect::Scatter => format!("variances {up_to}a factor of {:.2} apart", size.exp()),
    }
}

/// Where the differences are and which way they go, statistic by statistic.
fn places(found: &[Found], aspect: Aspect) -> String {
    let mut phrases = Vec::new();
    let mut rest = found;
    while let Some(first) = rest.first() {
        let result = first.result;
        let count = rest
            .iter()
            .take_while(|one| one.result.name == result.name)
            .count();
        let (group, behind) = rest.split_at(count);
        rest = behind;
        let up = |one: &Found| match aspect {
            Aspect::Mean => one.effect > 0.0,
            Aspect::Scatter => one.effect > 1.0,
        };
        let part = |words: &str, wanted: &dyn Fn(&Found) -> bool| -> Option<String> {
            let (group, others): (Vec<&Found>, Vec<&Found>) =
                group.iter().partition(|one| wanted(one));
            let others: Vec<usize> = others.iter().map(|one| one.bin).collect();
            let bins: Vec<usize> = group.iter().map(|one| one.bin).collect();
            let furthest = group.into_iter().map(|one| one.effect);
            let furthest = furthest.max_by(|a, b| size(*a, aspect).total_cmp(&size(*b, aspect)))?;
            Some(format!(
                "{words} {} ({})",
                ranges(result, &bins, &others),
                extent(furthest, aspect)
            ))
        };
        let peaks = result.name.starts_with("peak_count") && aspect == Aspect::Mean;
        // The functionals of a field that is too narrow are too large here and too small there.
        let together = aspect == Aspect::Mean && result.axis != Axis::Multipole && !peaks;
        let both = group.iter().any(up) && !group.iter().all(up);
        let (high, low) = match (peaks, aspect) {
            (true, _) => ("too many", "too few"),
            (_, Aspect::Mean) => ("too large", "too small"),
            (_, Aspect::Scatter) => ("too large", "too small"),
        };
        let parts: Vec<String> = if both && together {
            part("wrong", &|_| true).into_iter().collect()
        } else {
            let high = part(high, &|one| up(one));
            let low = part(low, &|one| !up(one));
            high.into_iter().chain(low).collect()
        };
        let name = match result.name.as_str() {
            "power_spectrum" | "power_spectrum_wide" | "peak_count" | "moments" => String::new(),
            _ => format!("{} ", result.title),
        };
        phrases.push(format!("{name}{}", parts.join(" and ")));
    }
    phrases.join("; ")
}

/// An effect in words.
fn extent(effect: f64, aspect: Aspect) -> String {
    match aspect {
        Aspect::Mean if effect.abs() >= 10.0 => "more than 10 \u{3c3}".to_owned(),
        Aspect::Mean => format!("up to {:.2} \u{3c3}", effect.abs()),
        Aspect::Scatter if effect > 10.0 => "variance more than 10 times the real".to_owned(),
        Aspect::Scatter if effect > 1.0 => format!("variance up to {effect:.2} times the real"),
        Aspect::Scatter => format!("variance down to {effect:.2} of the real"),
    }
}

fn caveats(evaluation: &Evaluation) -> Vec<String> {
    let mut caveats = Vec::new();
    let Evaluation {
        real, generated, ..
    } = evaluation;
    let least = real
        .units
        .min(evaluation.second_real.units)
        .min(generated.units);
    if least < 30 {
        caveats.push(format!(
            "Samples are small: {} generated maps against {} real maps of {}. The smallest possible p-value is \
             {:.1e}; differences that are not large may go unnoticed.",
            generated.maps,
            real.maps,
            units(real),
            evaluation.least_p
        ));
    }
    let detectable = 2.8 * (1.0 / real.units as f64 + 1.0 / generated.units as f64).sqrt();
    caveats.push(format!(
        "In a single bin, shifts of a mean below about {detectable:.2} standard deviations of a map would mostly go \
         unnoticed with samples of this size."
    ));
    for (set, name) in [(real, "real"), (generated, "generated")] {
        if !set.units_known {
            caveats.push(format!(
                "The parents of the {name} maps are not known, so that each map counts as independent: if they were cut \
                 from fewer parents, p-values are too small (say --crops-per-parent K)."
            ));
        }
    }
    if let Some(chi) = evaluation
        .chi_squared
        .as_ref()
        .filter(|chi| !chi.full_covariance)
    {
        caveats.push(format!(
            "The chi-squared uses the diagonal of the covariance only: {}.",
            chi.note
        ));
    }
    caveats
}

/// The units of a set in words.
pub fn units(set: &SetInfo) -> String {
    if set.units == set.maps {
        format!(
            "as many {}",
            if set.units_known {
                "parents"
            } else {
                "single maps"
            }
        )
    } else {
        format!("{} parents", set.units)
    }
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;

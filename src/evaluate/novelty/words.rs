//! Novelty in words, and as rows of the page's table.

use super::repeats::MOST_PAIRS;
use super::result::{Kind, NearestKind, NoveltyResult, PairsResult};
use crate::evaluate::evaluation::{Grade, Sentence};

/// What the sentence is about.
pub const ABOUT: &str = "novelty";

/// Whether a generator remembers, repeats itself or varies too little.
pub fn sentence(novelty: &NoveltyResult) -> Sentence {
    let mut parts = Vec::new();
    if let Some(nearest) = &novelty.nearest {
        let searched = nearest.searched;
        let copied = nearest
            .kinds
            .iter()
            .filter_map(|kind| copied(kind, searched));
        parts.extend(copied);
    }
    parts.extend(novelty.pairs.iter().filter_map(repeated));
    if novelty.pixel_diversity < 0.9 || novelty.spectral_diversity < 0.8 {
        parts.push(format!(
            "they vary less than real maps (pixels {:.2}, spectra {:.2} of the real standard deviation)",
            novelty.pixel_diversity, novelty.spectral_diversity
        ));
    }
    let (grade, text) = match parts.is_empty() {
        true => (Grade::Agrees, nothing_found(novelty)),
        false => (Grade::Fails, format!("Novelty: {}.", parts.join("; "))),
    };
    Sentence {
        about: ABOUT.into(),
        grade,
        text,
    }
}

fn nothing_found(novelty: &NoveltyResult) -> String {
    let nearest = novelty.nearest.as_ref().and_then(|n| n.kind(Kind::Pixels));
    let copies = match nearest {
        Some(kind) => format!(
            "no copies; the nearest of {} training maps is {:.2} \u{3c3} a pixel away (median; {:.2} for real maps that \
             were not trained on), and ",
            kind.training_maps, kind.median, kind.real_median
        ),
        None => "copies of training maps were not looked for; ".to_owned(),
    };
    let pairs = match novelty.pairs_by(Kind::Pixels) {
        Some(pairs) => format!(
            "no two of {} generated maps are suspiciously alike (the closest {:.2} \u{3c3} a pixel apart; of {} real maps \
             {:.2})",
            pairs.maps,
            pairs.least(),
            pairs.real_maps,
            pairs.real_least()
        ),
        None => "pairs that are alike were not looked for".to_owned(),
    };
    format!("Novelty: {copies}{pairs}.")
}

/// Generated maps that are nearer to training maps than they should be.
fn copied(kind: &NearestKind, searched: usize) -> Option<String> {
    let near = kind.smallest < 0.5 * kind.real_smallest;
    let many = kind.nearer_than_real as f64 > 10.0 * kind.expected_nearer.max(1.0);
    let found = match kind.kind {
        Kind::Pixels => near || many,
        // Features of generated and of real maps differ for other reasons, too.
        Kind::DiscriminatorFeatures => near,
        // Many maps share a spectrum.
        Kind::PowerSpectrum => false,
    };
    found.then(|| {
        format!(
            "{} of {searched} generated maps are nearer to a training map, by {}, than any real map that was not \
             trained on (the nearest {:.2} {}; of real maps {:.2})",
            kind.nearer_than_real,
            kind.kind.words(),
            kind.smallest,
            kind.kind.unit(),
            kind.real_smallest
        )
    })
}

/// Pairs of spectra and of features as close as the closest one, of a perfect generator, below which it is
/// called a repetition: once in a thousand evaluations by chance.
const UNLIKELY: f64 = 1e-3;

/// Pairs that are more alike than they should be.
fn repeated(pairs: &PairsResult) -> Option<String> {
    let (kind, unit) = (pairs.kind.words(), pairs.kind.unit());
    let (maps, real_maps) = (pairs.maps, pairs.real_maps);
    let (least, real_least) = (pairs.least(), pairs.real_least());
    if pairs.kind != Kind::Pixels {
        // Many more maps than real ones have a closer pair for that alone.
        return (pairs.expected_as_close < UNLIKELY).then(|| {
            format!(
                "two of {maps} generated maps are {least:.3} {unit} apart by {kind}, where a perfect generator would \
                 have {:.0e} such pairs (the closest of {real_maps} real maps: {real_least:.3})",
                pairs.expected_as_close
            )
        });
    }
    let many = pairs.closer_than_real as f64 > 20.0 * pairs.expected_closer.max(1.0);
    let at_least = match pairs.closer_than_real >= MOST_PAIRS {
        true => "at least ",
        false => "",
    };
    (many || least < 0.5 * real_least).then(|| {
        format!(
            "{at_least}{} pairs among {maps} generated maps are more alike, by {kind}, than any two of {real_maps} real \
             ones (the closest {least:.3} {unit}; of real maps {real_least:.3})",
            pairs.closer_than_real
        )
    })
}

/// Name, generated maps, real maps.
pub fn rows(novelty: &NoveltyResult) -> Vec<[String; 3]> {
    let mut rows = Vec::new();
    if let Some(nearest) = &novelty.nearest {
        for kind in &nearest.kinds {
            rows.push([
                format!(
                    "nearest of {} training maps by {}, median (smallest), {}",
                    kind.training_maps,
                    kind.kind.words(),
                    kind.kind.unit()
                ),
                format!("{:.3} ({:.3})", kind.median, kind.smallest),
                format!("{:.3} ({:.3})", kind.real_median, kind.real_smallest),
            ]);
            rows.push([
                format!(
                    "nearer by {} than any real one (expected)",
                    kind.kind.words()
                ),
                format!(
                    "{} of {} ({:.1})",
                    kind.nearer_than_real, nearest.searched, kind.expected_nearer
                ),
                String::new(),
            ]);
        }
    }
    for pairs in &novelty.pairs {
        let many = |maps: usize, least: f64, typical: f64| {
            format!("{least:.3} of {maps} maps (all pairs {typical:.2})")
        };
        rows.push([
            format!(
                "closest pair by {}, {} (rms)",
                pairs.kind.words(),
                pairs.kind.unit()
            ),
            many(pairs.maps, pairs.least(), pairs.typical),
            many(pairs.real_maps, pairs.real_least(), pairs.real_typical),
        ]);
        let listed = match pairs.closer_than_real >= MOST_PAIRS {
            true => format!("{MOST_PAIRS} or more"),
            false => pairs.closer_than_real.to_string(),
        };
        rows.push([
            format!(
                "pairs closer by {} than any real one (expected)",
                pairs.kind.words()
            ),
            format!("{listed} ({:.1})", pairs.expected_closer),
            String::new(),
        ]);
    }
    rows.push([
        "diversity of pixels, of spectra".into(),
        format!(
            "{:.3}, {:.3}",
            novelty.pixel_diversity, novelty.spectral_diversity
        ),
        "1".into(),
    ]);
    rows
}

/// What was compared, and how thoroughly.
pub fn methods(novelty: &NoveltyResult) -> Vec<String> {
    let line = |pairs: &PairsResult| {
        let complete = match pairs.complete_below {
            Some(below) => format!(" Complete below {below:.3}."),
            None => String::new(),
        };
        format!(
            "Pairs by {}: {}.{complete}",
            pairs.kind.words(),
            pairs.definition
        )
    };
    novelty.pairs.iter().map(line).collect()
}

//! The numbers of novelty, as they stand in `statistics.json`.

use serde::{Deserialize, Serialize};

/// Whether the generator invents or remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NoveltyResult {
    /// The training maps nearest to generated ones; `None` where there are no training maps.
    pub nearest: Option<NearestResult>,
    /// The pairs of generated maps that are most alike, by each kind of distance.
    pub pairs: Vec<PairsResult>,
    /// Standard deviation of a pixel over generated maps, over that of real maps (mean over pixels).
    pub pixel_diversity: f64,
    /// The same of ln P(l), mean over bins.
    pub spectral_diversity: f64,
}

/// What two maps are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Root mean square of the differences of pixels, in the real maps' sigma, modulo the 8 rotations
    /// and flips.
    Pixels,
    /// L2 of ln P(l) in log bins.
    PowerSpectrum,
    /// L2 of the discriminator's last features, in units of the root mean square of that distance over
    /// all pairs of real maps.
    DiscriminatorFeatures,
}

impl Kind {
    /// Its name in sentences.
    pub fn words(self) -> &'static str {
        match self {
            Self::Pixels => "pixels",
            Self::PowerSpectrum => "power spectrum",
            Self::DiscriminatorFeatures => "discriminator features",
        }
    }

    /// The unit of its distances in captions.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Pixels => "\u{3c3} a pixel",
            Self::PowerSpectrum => "in ln P",
            Self::DiscriminatorFeatures => "of rms real",
        }
    }
}

/// The training maps nearest to generated maps, and to real ones that were not trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearestResult {
    pub training_source: String,
    /// Generated maps whose nearest training map was looked for.
    pub searched: usize,
    /// Real maps for which the same was done.
    pub held_out_searched: usize,
    pub kinds: Vec<NearestKind>,
}

/// Distances to the nearest training map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearestKind {
    pub kind: Kind,
    /// Training maps (crops that do not overlap) that were looked through.
    pub training_maps: usize,
    /// Smallest and median of generated maps.
    pub smallest: f64,
    pub median: f64,
    /// The same of real maps.
    pub real_smallest: f64,
    pub real_median: f64,
    /// Generated maps nearer to a training map than any of the real ones, and how many of a perfect
    /// generator are on average.
    pub nearer_than_real: usize,
    pub expected_nearer: f64,
}

/// The pairs of a set that are most alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairsResult {
    pub kind: Kind,
    /// What is compared, and how thoroughly pairs were looked for.
    pub definition: String,
    /// Generated and real maps among which pairs were looked for.
    pub maps: usize,
    pub real_maps: usize,
    /// The closest pairs of generated maps, ascending, and of real ones.
    pub closest: Vec<PairFound>,
    pub real_closest: Vec<PairFound>,
    /// All pairs of generated maps that are closer than this are known; `None` where all pairs were
    /// measured. The same of real ones.
    pub complete_below: Option<f64>,
    pub real_complete_below: Option<f64>,
    /// Root mean square distance of all pairs of generated maps (not turned), and of real ones.
    pub typical: f64,
    pub real_typical: f64,
    /// Pairs of generated maps that are closer than any pair of real ones, as far as they are listed;
    /// no more than 1000 are.
    pub closer_than_real: usize,
    /// How many a perfect generator has on average: its pairs over the pairs of the real set.
    pub expected_closer: f64,
    /// How many pairs as close as its closest one a perfect generator would have, extrapolated from the
    /// closest real pairs; distances over the typical one of either set.
    pub expected_as_close: f64,
}

/// Two maps of one set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairFound {
    /// Numbers of the maps, from 0; of real maps, those of the second set come behind the first's.
    pub first: usize,
    pub second: usize,
    pub distance: f64,
}

impl NearestResult {
    /// The distances of `kind`.
    pub fn kind(&self, kind: Kind) -> Option<&NearestKind> {
        self.kinds.iter().find(|found| found.kind == kind)
    }
}

impl NoveltyResult {
    /// The pairs by distances of `kind`.
    pub fn pairs_by(&self, kind: Kind) -> Option<&PairsResult> {
        self.pairs.iter().find(|found| found.kind == kind)
    }
}

impl PairsResult {
    /// The distance of the closest pair of generated maps; infinite where there is none.
    pub fn least(&self) -> f64 {
        self.closest.first().map_or(f64::INFINITY, |p| p.distance)
    }

    /// The same of real maps.
    pub fn real_least(&self) -> f64 {
        let first = self.real_closest.first();
        first.map_or(f64::INFINITY, |p| p.distance)
    }
}

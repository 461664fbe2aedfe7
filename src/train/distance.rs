//! The chi-squared distance of generated maps from validation maps, as `evaluate` measures it: the
//! side of the real maps is prepared once, generated ones are measured piece by piece as they are
//! made. Maps of several channels are judged channel by channel, and are as far away as the worst.

use ndarray::ArrayView2;
use serde::{Deserialize, Deserializer, Serialize};

use super::dataset::ComparedSet;
use super::run::RunError;
use crate::data::channel_of;
use crate::stats::{
    ChiSquaredReference, DataVector, DataVectors, Parents, Refusal, StatsError, parent_means,
};

/// Maps that are in memory at a time.
pub const MAPS_AT_ONCE: usize = 256;
/// Rows that a covariance is measured from at least: of three, the variances say next to nothing.
pub const LEAST_ROWS: usize = 4;

/// Validation maps, prepared for measuring the distance of generated ones.
pub struct RealVectors {
    /// Of each channel.
    channels: Vec<(DataVectors, ChiSquaredReference)>,
    /// Parents of the validation maps.
    parents: usize,
    /// Generated maps of a measurement.
    generated: usize,
    /// Generated maps whose mean is one row, as many as a real row has.
    block: usize,
    against: Against,
}

/// What generated maps are compared with. Distances from the same are comparable, others are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Against {
    /// Validation maps.
    pub real_maps: usize,
    /// Independent rows of them, the covariance's N: one a parent.
    pub rows: usize,
    /// Elements of the data vector, the mean of chi-squared for a perfect generator; with several
    /// channels the largest number.
    pub elements: usize,
    /// Whether the full covariance is inverted; else correlations are ignored.
    pub full: bool,
}

/// A distance, as metrics and checkpoints hold it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distance {
    /// Chi-squared; with several channels the largest one. Infinite (null in JSON) where it could
    /// not be measured.
    #[serde(deserialize_with = "null_is_infinite")]
    pub value: f64,
    /// Generated maps.
    pub maps: usize,
    #[serde(flatten)]
    pub against: Against,
    /// Of each channel, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub channels: Vec<f64>,
    /// Why it is not of the full form, or could not be measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<String>,
}

fn null_is_infinite<'de, D: Deserializer<'de>>(value: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or(f64::INFINITY))
}

/// Generated maps that are being measured.
pub struct Measuring<'a> {
    real: &'a RealVectors,
    /// Data vectors of each channel, one after the other.
    vectors: Vec<Vec<f64>>,
    maps: usize,
    /// What no distance can be measured for.
    failed: Option<StatsError>,
}

impl RealVectors {
    /// Prepares the maps of `compared`. `sigmas` is the standard deviation of the pixels of each
    /// channel, the unit of thresholds.
    ///
    /// Crops of one parent are one row: their mean. With fewer than [`LEAST_ROWS`] parents each map
    /// is one.
    ///
    /// # Errors
    /// Maps that cannot be read, are constant, or are fewer than [`LEAST_ROWS`].
    pub fn new(compared: &ComparedSet, angle_deg: f64, sigmas: &[f64]) -> Result<Self, RunError> {
        let set = &compared.maps;
        let mut parents = Parents::from_ids(compared.parents.iter().copied());
        let known = parents.count();
        if parents.count() < LEAST_ROWS {
            parents = Parents::singles(parents.maps());
        }
        if parents.count() < LEAST_ROWS {
            return Err(RunError::Stats(StatsError::TooFew {
                what: "validation maps",
                got: parents.count(),
                needed: LEAST_ROWS,
            }));
        }
        let estimators: Result<Vec<_>, _> = sigmas
            .iter()
            .map(|&sigma| DataVectors::new(set.map_size(), angle_deg, sigma))
            .collect();
        let estimators = estimators?;
        let mut vectors = vec![Vec::new(); sigmas.len()];
        let mut maps = vec![0.0; set.len().min(MAPS_AT_ONCE) * set.map_len()];
        for first in (0..set.len()).step_by(MAPS_AT_ONCE) {
            let count = MAPS_AT_ONCE.min(set.len() - first);
            let maps = &mut maps[..count * set.map_len()];
            set.fill_physical(first..first + count, maps)?;
            for (channel, (estimator, vectors)) in estimators.iter().zip(&mut vectors).enumerate() {
                let maps = channel_of(maps, channel, set.channels());
                vectors.extend(estimator.measure(&maps, first)?);
            }
        }
        let mut references = Vec::with_capacity(vectors.len());
        for vectors in &vectors {
            let rows = parent_means(view(vectors)?, &parents)?;
            references.push(ChiSquaredReference::new(rows.view())?);
        }
        // Channels of different forms could not be compared with each other.
        if let Some(why) = references.iter().find_map(ChiSquaredReference::refusal) {
            references = references.into_iter().map(|r| r.diagonal(why)).collect();
        }
        let elements = references.iter().map(ChiSquaredReference::elements).max();
        Ok(Self {
            against: Against {
                real_maps: set.len(),
                rows: parents.count(),
                elements: elements.unwrap_or(0),
                full: references.iter().all(|r| r.refusal().is_none()),
            },
            channels: estimators.into_iter().zip(references).collect(),
            parents: known,
            generated: compared.generated,
            block: parents.maps().div_ceil(parents.count()),
        })
    }

    /// Generated maps of a measurement.
    pub fn generated(&self) -> usize {
        self.generated
    }

    /// What they are compared with.
    pub fn against(&self) -> Against {
        self.against
    }

    /// Why correlations are ignored, if they are.
    fn refusal(&self) -> Option<String> {
        let mut refusals = self.channels.iter().map(|(_, r)| r.refusal());
        Some(match refusals.find_map(|refusal| refusal)? {
            Refusal::TooFewMaps { maps, bins } => {
                let rows = match self.parents == maps {
                    true => "parents",
                    false => "maps",
                };
                format!(
                    "{maps} {rows} are too few for a covariance of {bins} elements, more than {} are \
                     needed",
                    bins + 2
                )
            }
            why @ Refusal::Condition { .. } => why.to_string(),
        })
    }

    /// A measurement of no maps so far.
    pub fn measure(&self) -> Measuring<'_> {
        Measuring {
            real: self,
            vectors: vec![Vec::new(); self.channels.len()],
            maps: 0,
            failed: None,
        }
    }

    /// What distances are of and from, for a person.
    pub fn describe(&self) -> String {
        let Against {
            real_maps,
            rows,
            elements,
            full,
        } = self.against;
        let of = match (self.parents, rows) {
            (parents, _) if parents == real_maps => "each a row of its own".to_owned(),
            (parents, rows) if parents == rows => {
                format!("of {parents} parents, whose means count")
            }
            (parents, _) => format!(
                "of only {parents} parent(s): each map counts as independent, and the number is too \
                 large"
            ),
        };
        let form = match self.refusal() {
            Some(why) if !full => format!("diagonal form, correlations ignored: {why}"),
            _ => "full covariance".to_owned(),
        };
        format!(
            "chi-squared: {} generated against {real_maps} validation maps ({of}); {elements} elements, \
             {form}",
            self.generated
        )
    }
}

impl Measuring<'_> {
    /// Adds maps of each channel, `[n, S, S]`; those beyond the measurement's number are left out.
    ///
    /// # Errors
    /// A pixel that is not finite.
    pub fn add(&mut self, channels: &[Vec<f32>], side: usize) -> Result<(), StatsError> {
        let size = side * side;
        let given = channels.first().map_or(0, |maps| maps.len() / size);
        let count = given.min(self.real.generated - self.maps);
        if count == 0 || self.failed.is_some() {
            return Ok(());
        }
        let each = self.real.channels.iter().zip(channels);
        for (((estimator, _), maps), vectors) in each.zip(&mut self.vectors) {
            match estimator.measure(&maps[..count * size], self.maps) {
                Ok(found) => vectors.extend(found),
                Err(error @ StatsError::NotFinite { .. }) => return Err(error),
                Err(error) => self.failed = Some(error),
            }
        }
        self.maps += count;
        Ok(())
    }

    /// The distance of the maps that were added. Maps that have none, such as constant ones, are
    /// infinitely far away.
    pub fn finish(self) -> Distance {
        let (values, failed) = match self.distances() {
            Ok(values) => (values, None),
            Err(error) => (vec![f64::INFINITY; self.real.channels.len()], Some(error)),
        };
        Distance {
            value: values
                .iter()
                .copied()
                .max_by(f64::total_cmp)
                .unwrap_or(f64::INFINITY),
            maps: self.real.generated,
            against: self.real.against,
            channels: match values.len() {
                1 => Vec::new(),
                _ => values,
            },
            why: failed.map(|e| e.to_string()).or(self.real.refusal()),
        }
    }

    fn distances(&self) -> Result<Vec<f64>, StatsError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let blocks = Parents::blocks(self.maps, self.real.block);
        let each = self.real.channels.iter().zip(&self.vectors);
        each.map(|((_, reference), vectors)| {
            let rows = parent_means(view(vectors)?, &blocks)?;
            Ok(reference.distance(rows.view())?.value())
        })
        .collect()
    }
}

impl Distance {
    /// The distance for a person.
    pub fn describe(&self) -> String {
        let Against { elements, full, .. } = self.against;
        match (self.value.is_finite(), &self.why) {
            (false, Some(why)) => format!("no chi-squared: {why}"),
            _ => format!(
                "chi-squared {} for {elements} elements{}",
                rounded(self.value),
                if full { "" } else { ", diagonal" }
            ),
        }
    }
}

/// A chi-squared for a person.
pub fn rounded(value: f64) -> String {
    let digits = if value < 1000.0 { 1 } else { 0 };
    format!("{value:.digits$}")
}

fn view(vectors: &[f64]) -> Result<ArrayView2<'_, f64>, StatsError> {
    let shape = (vectors.len() / DataVector::LEN, DataVector::LEN);
    ArrayView2::from_shape(shape, vectors).map_err(|_| StatsError::Empty)
}

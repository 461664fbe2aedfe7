//! Training, validation and test sets, split by parent and never by crop: crops of one map
//! overlap, and a validation crop that was trained on measures nothing.

use std::ops::Range;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::maps::Maps;
use super::region::Region;
use super::shuffle::shuffle;
use crate::rng::{Philox, Stream};

/// The shares of the three sets, each above 0, together 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fractions {
    pub train: f64,
    pub validation: f64,
    pub test: f64,
}

impl Default for Fractions {
    /// 70 / 15 / 15 (Pellizzari 2024).
    fn default() -> Self {
        Self {
            train: 0.70,
            validation: 0.15,
            test: 0.15,
        }
    }
}

/// What a split depends on, besides the maps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SplitRules {
    /// The network's map size S in pixels.
    pub map_size: usize,
    /// How many consecutive maps of a file come from one parent, where they have exactly the
    /// network's size; `None` where that is unknown.
    pub crops_per_parent: Option<usize>,
    pub fractions: Fractions,
    pub seed: u64,
}

/// What a split needs to know of a file: `maps` maps of `side` x `side` pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileShape {
    pub path: PathBuf,
    pub maps: usize,
    pub side: usize,
}

/// What was kept together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum SplitKind {
    /// Parents, dealt at random.
    Parents,
    /// Groups of consecutive maps of the network's size that come from one parent, and larger
    /// parents if there are any, dealt at random.
    Groups { crops_per_parent: usize },
    /// Nothing, for the parents of maps of the network's size are unknown: in the order of the
    /// files the first maps train, the next validate, the last test.
    Blocks,
    /// Too few parents: strips of the rows of each parent, one map of the network apart.
    Strips { strips: Vec<Strips> },
}

/// The rows of one parent in each set; `start` to before `end`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strips {
    pub train: Range<usize>,
    pub validation: Range<usize>,
    pub test: Range<usize>,
}

/// Where the crops of each set may lie, in rising order of parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    pub kind: SplitKind,
    pub train: Vec<Region>,
    pub validation: Vec<Region>,
    pub test: Vec<Region>,
}

/// How many maps (or strips of maps) each set has; for records of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitSummary {
    pub train: usize,
    pub validation: usize,
    pub test: usize,
}

impl FileShape {
    /// The files of `maps`, in order.
    pub fn of(maps: &Maps) -> Vec<Self> {
        let mut files: Vec<Self> = Vec::with_capacity(maps.files());
        for parent in 0..maps.len() {
            let place = maps.place(parent);
            match files.last_mut() {
                Some(file) if place.map > 0 => file.maps += 1,
                _ => files.push(Self {
                    path: place.path.to_owned(),
                    maps: 1,
                    side: maps.side(parent),
                }),
            }
        }
        files
    }
}

impl Split {
    /// Splits the maps of `files`; no set is empty.
    ///
    /// A parent is a map larger than the network, the only map of its file, or, among maps of
    /// exactly the network's size, `crops_per_parent` consecutive ones. Parents are dealt out at
    /// random, keyed by the seed. Where a file holds several maps of the network's size and
    /// `crops_per_parent` is not given, maps are dealt in the order of the files instead; where
    /// there are fewer than 3 parents, each is cut into strips.
    ///
    /// # Errors
    /// Fractions that are not positive or do not add up to 1, a file that does not hold whole
    /// groups, or too few parents, and those too small for strips.
    pub fn new(files: &[FileShape], rules: &SplitRules) -> Result<Self, DataError> {
        check(rules.fractions)?;
        let (units, kind) = units(files, rules)?;
        if units.len() < 3 {
            return strips(files, rules, units.len());
        }
        let [_, validation, test] = apportion(units.len(), rules.fractions, 1);
        let mut order: Vec<usize> = (0..units.len()).collect();
        if kind != SplitKind::Blocks {
            shuffle(&mut order, &Philox::new(rules.seed, Stream::Split, 0));
        }
        let sides: Vec<usize> = files
            .iter()
            .flat_map(|file| std::iter::repeat_n(file.side, file.maps))
            .collect();
        let regions = |mut set: Vec<usize>| -> Vec<Region> {
            set.sort_unstable();
            let parents = set.into_iter().flat_map(|unit| units[unit].clone());
            let whole = |parent| Region {
                parent,
                rows: 0..sides[parent],
            };
            parents.map(whole).collect()
        };
        let mut take = |count: usize| order.split_off(order.len() - count);
        let (validation, test) = match kind {
            SplitKind::Blocks => {
                let test = take(test);
                (take(validation), test)
            }
            _ => (take(validation), take(test)),
        };
        Ok(Self {
            kind,
            train: regions(order),
            validation: regions(validation),
            test: regions(test),
        })
    }

    /// The sizes of the sets.
    pub fn summary(&self) -> SplitSummary {
        SplitSummary {
            train: self.train.len(),
            validation: self.validation.len(),
            test: self.test.len(),
        }
    }

    /// All regions: of training, of validation, of test.
    pub fn regions(&self) -> impl Iterator<Item = &Region> {
        let held_out = self.validation.iter().chain(&self.test);
        self.train.iter().chain(held_out)
    }
}

impl SplitKind {
    /// What was kept together and how much each set got, in words.
    pub fn describe(&self, summary: &SplitSummary) -> String {
        let SplitSummary {
            train,
            validation,
            test,
        } = summary;
        match self {
            Self::Parents => {
                format!("split by parent: {train} train, {validation} validate, {test} test")
            }
            Self::Groups { crops_per_parent } => format!(
                "split by parent, of each {crops_per_parent} consecutive maps: {train} maps \
                 train, {validation} validate, {test} test"
            ),
            Self::Blocks => format!(
                "split in the order of the files: the first {train} maps train, the next \
                 {validation} validate, the last {test} test"
            ),
            Self::Strips { strips } => {
                let strip = |Strips {
                                 train,
                                 validation,
                                 test,
                             }: &Strips| {
                    format!("{train:?} train, {validation:?} validate, {test:?} test")
                };
                let mut words: Vec<String> = strips.iter().map(strip).collect();
                words.dedup();
                format!("split by strips of rows: {}", words.join("; then "))
            }
        }
    }
}

/// What must stay in one set: runs of parents, and why.
fn units(
    files: &[FileShape],
    rules: &SplitRules,
) -> Result<(Vec<Range<usize>>, SplitKind), DataError> {
    let mut units = Vec::new();
    let mut kind = SplitKind::Parents;
    let mut first = 0;
    for file in files {
        let end = first + file.maps;
        let exact = file.side == rules.map_size;
        let group = match rules.crops_per_parent {
            Some(k) if exact && (k == 0 || !file.maps.is_multiple_of(k)) => {
                return Err(DataError::Groups {
                    path: file.path.clone(),
                    maps: file.maps,
                    crops_per_parent: k,
                });
            }
            Some(k) if exact => k,
            _ => 1,
        };
        if group > 1 {
            kind = SplitKind::Groups {
                crops_per_parent: group,
            };
        } else if exact && rules.crops_per_parent.is_none() && file.maps > 1 {
            kind = SplitKind::Blocks;
        }
        units.extend(
            (first..end)
                .step_by(group)
                .map(|start| start..start + group),
        );
        first = end;
    }
    Ok((units, kind))
}

/// Strips of each of `parents` parents.
fn strips(files: &[FileShape], rules: &SplitRules, parents: usize) -> Result<Split, DataError> {
    let size = rules.map_size;
    let mut split = Split {
        kind: SplitKind::Parents,
        train: Vec::new(),
        validation: Vec::new(),
        test: Vec::new(),
    };
    let mut strips = Vec::new();
    let sides = files
        .iter()
        .flat_map(|file| std::iter::repeat_n(file, file.maps));
    for (parent, file) in sides.enumerate() {
        if file.side < 5 * size {
            return Err(DataError::TooFewParents {
                parents,
                path: file.path.clone(),
                side: file.side,
                map_size: size,
                group: rules
                    .crops_per_parent
                    .filter(|&k| k > 1 && file.side == size),
            });
        }
        let [train, validation, test] = apportion(file.side - 2 * size, rules.fractions, size);
        let behind = |rows: &Range<usize>, len: usize| rows.end + size..rows.end + size + len;
        let train = 0..train;
        let validation = behind(&train, validation);
        let test = behind(&validation, test);
        let rows = Strips {
            train,
            validation,
            test,
        };
        for (set, rows) in [
            (&mut split.train, &rows.train),
            (&mut split.validation, &rows.validation),
            (&mut split.test, &rows.test),
        ] {
            set.push(Region {
                parent,
                rows: rows.clone(),
            });
        }
        strips.push(rows);
    }
    split.kind = SplitKind::Strips { strips };
    Ok(split)
}

/// `total` in three shares of at least `least`, which 3 times must not exceed it.
fn apportion(total: usize, fractions: Fractions, least: usize) -> [usize; 3] {
    let most = total - 2 * least;
    let share = |fraction: f64| ((total as f64 * fraction).round() as usize).clamp(least, most);
    let (mut validation, mut test) = (share(fractions.validation), share(fractions.test));
    while validation + test > total - least {
        let larger = if validation > test {
            &mut validation
        } else {
            &mut test
        };
        *larger -= 1;
    }
    [total - validation - test, validation, test]
}

fn check(fractions: Fractions) -> Result<(), DataError> {
    let Fractions {
        train,
        validation,
        test,
    } = fractions;
    for (field, value) in [("train", train), ("validation", validation), ("test", test)] {
        if !(value > 0.0 && value < 1.0) {
            return Err(DataError::Fraction {
                field,
                value,
                accepted: "each set's fraction must lie between 0 and 1, for example 0.7, 0.15, \
                           0.15",
            });
        }
    }
    let sum = train + validation + test;
    if (sum - 1.0).abs() > 1e-6 {
        return Err(DataError::Fraction {
            field: "train + validation + test",
            value: sum,
            accepted: "the three fractions must add up to 1",
        });
    }
    Ok(())
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;

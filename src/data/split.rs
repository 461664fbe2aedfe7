//! Training, validation and test sets, split by parent and never by crop: crops of one map
//! overlap, and a validation crop that was trained on measures nothing.

use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::shuffle::shuffle;
use crate::rng::{Philox, Stream};

/// The shares of parents in the three sets, each above 0, together 1.
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

/// The parents of each set, in rising order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    pub train: Vec<usize>,
    pub validation: Vec<usize>,
    pub test: Vec<usize>,
}

/// How many parents each set has; for records of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitSummary {
    pub train: usize,
    pub validation: usize,
    pub test: usize,
}

impl Split {
    /// Deals `parents` parents out at random, keyed by `seed`; at least one to each set.
    ///
    /// # Errors
    /// Fewer than 3 parents, or fractions that are not positive or do not add up to 1.
    pub fn by_parent(parents: usize, fractions: Fractions, seed: u64) -> Result<Self, DataError> {
        check(fractions)?;
        if parents < 3 {
            return Err(DataError::TooFewParents(parents));
        }
        let share = |fraction: f64| ((parents as f64 * fraction).round() as usize).max(1);
        let mut validation = share(fractions.validation).min(parents - 2);
        let mut test = share(fractions.test).min(parents - 2);
        while validation + test > parents - 1 {
            let larger = if validation > test {
                &mut validation
            } else {
                &mut test
            };
            *larger -= 1;
        }
        let mut order: Vec<usize> = (0..parents).collect();
        shuffle(&mut order, &Philox::new(seed, Stream::Split, 0));
        let mut take = |count: usize| {
            let mut set = order.split_off(order.len() - count);
            set.sort_unstable();
            set
        };
        let (validation, test) = (take(validation), take(test));
        order.sort_unstable();
        Ok(Self {
            train: order,
            validation,
            test,
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
mod tests {
    use super::*;

    #[test]
    fn every_parent_lands_in_exactly_one_set_and_no_set_is_empty() {
        let lopsided = Fractions {
            train: 0.01,
            validation: 0.01,
            test: 0.98,
        };
        for fractions in [Fractions::default(), lopsided] {
            for parents in 3..300 {
                let split = Split::by_parent(parents, fractions, 5).unwrap();
                let sets = [&split.train, &split.validation, &split.test];
                assert!(sets.iter().all(|set| !set.is_empty()), "{parents}");
                let mut all: Vec<usize> = sets.into_iter().flatten().copied().collect();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..parents));
            }
        }
    }

    #[test]
    fn the_thousand_maps_of_the_paper_split_700_150_150() {
        let summary = Split::by_parent(1000, Fractions::default(), 1)
            .unwrap()
            .summary();
        let expected = SplitSummary {
            train: 700,
            validation: 150,
            test: 150,
        };
        assert_eq!(summary, expected);
    }

    #[test]
    fn the_seed_alone_decides() {
        let split = |seed| Split::by_parent(100, Fractions::default(), seed).unwrap();
        assert_eq!(split(1), split(1));
        assert_ne!(split(1), split(2));
    }

    #[test]
    fn two_parents_and_wrong_fractions_are_refused_with_the_reason() {
        let default = Fractions::default();
        let two = Split::by_parent(2, default, 0).unwrap_err().to_string();
        assert!(
            two.contains("2 parent map(s)") && two.contains("at least 3"),
            "{two}"
        );
        let zero = Fractions {
            test: 0.0,
            ..default
        };
        let zero = Split::by_parent(9, zero, 0).unwrap_err().to_string();
        assert!(zero.contains("split.test is 0"), "{zero}");
        let sum = Fractions {
            train: 0.8,
            ..default
        };
        let sum = Split::by_parent(9, sum, 0).unwrap_err().to_string();
        assert!(sum.contains("add up to 1"), "{sum}");
        let nan = Fractions {
            train: f64::NAN,
            ..default
        };
        assert!(Split::by_parent(9, nan, 0).is_err());
    }
}

//! What the tests of this module share: the tables of reference numbers.

use crate::testing::shared;

/// A table of numbers under names of columns.
pub struct Table {
    names: Vec<String>,
    rows: Vec<Vec<f64>>,
}

impl Table {
    /// The table `golden/theory/<name>` of reference data, where that is at hand.
    pub fn open(name: &str) -> Option<Self> {
        let text = std::fs::read_to_string(shared(&format!("golden/theory/{name}"))?).unwrap();
        let mut lines = text.lines();
        let names = lines.next().unwrap().split(',').map(str::to_owned);
        let numbers = |line: &str| line.split(',').map(|n| n.parse().unwrap()).collect();
        Some(Self {
            names: names.collect(),
            rows: lines.map(numbers).collect(),
        })
    }

    /// The names of the columns after the first.
    pub fn names(&self) -> &[String] {
        &self.names[1..]
    }

    /// (first column, column `name`) of each row; at least a hundred of them.
    pub fn column(&self, name: &str) -> impl Iterator<Item = (f64, f64)> {
        let at = self.names.iter().position(|found| found == name).unwrap();
        assert!(self.rows.len() > 100);
        self.rows.iter().map(move |row| (row[0], row[at]))
    }
}

/// The largest |ours / expected - 1|, which must be below `tolerance`, and where it is; printed.
pub fn worst_ratio(
    what: &str,
    tolerance: f64,
    pairs: impl Iterator<Item = (f64, f64, f64)>,
) -> f64 {
    let (mut worst, mut place) = (0.0, f64::NAN);
    for (at, ours, expected) in pairs {
        let error = (ours / expected - 1.0).abs();
        assert!(error.is_finite(), "{what} at {at}: {ours}, not {expected}");
        if error >= worst {
            (worst, place) = (error, at);
        }
    }
    println!("{what}: worst {worst:.2e} at {place}");
    assert!(worst < tolerance, "{what}: {worst} at {place}");
    worst
}

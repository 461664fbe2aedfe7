//! What the CPU's kernels do, counted: operations of matrix products, and values that everything else loads
//! and stores. Counts follow from shapes alone; a [`Meter`] tells them, and the time, part by part of a program.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Work done by all backends of this process: the difference of two readings is what lay between.
static PRODUCT_FLOP: AtomicU64 = AtomicU64::new(0);
static MOVED_VALUES: AtomicU64 = AtomicU64::new(0);

/// Counts a matrix product. Once a product: the counter costs nothing beside it.
pub(super) fn count_product(rows: usize, cols: usize, depth: usize) {
    let flop = 2 * (rows * cols * depth) as u64;
    PRODUCT_FLOP.fetch_add(flop, Ordering::Relaxed);
}

/// Counts values that a pass loads and stores, outside of products. Once a piece of work.
pub(super) fn count_moved(values: usize) {
    MOVED_VALUES.fetch_add(values as u64, Ordering::Relaxed);
}

/// Counted work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Floating-point operations of matrix products, as they are made.
    pub product_flop: u64,
    /// Values that passes load and store: copies of windows, transforms, normalisation, Adam.
    pub moved_values: u64,
}

impl Work {
    fn so_far() -> Self {
        Self {
            product_flop: PRODUCT_FLOP.load(Ordering::Relaxed),
            moved_values: MOVED_VALUES.load(Ordering::Relaxed),
        }
    }
}

/// What a part of a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The linear layer, its bias and what follows it where there is no batch norm.
    Forward,
    InputGradient,
    WeightGradient,
    /// Statistics, normalising, activations and their gradients, gradients of biases.
    Norm,
    /// Adam, and the moving average.
    Adam,
    /// Random numbers, targets, losses.
    Rest,
}

impl Part {
    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Part::Forward => "forward",
            Part::InputGradient => "input gradient",
            Part::WeightGradient => "weight gradient",
            Part::Norm => "norm",
            Part::Adam => "Adam",
            Part::Rest => "rest",
        }
    }
}

/// What a part of an operation came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Metered {
    pub seconds: f64,
    pub work: Work,
}

/// Times and counts the parts of a program's operations. Other backends that work in the same process
/// at the same time are counted as well.
#[derive(Debug)]
pub struct Meter {
    operation: usize,
    since: Instant,
    before: Work,
    parts: BTreeMap<(usize, Part), Metered>,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            operation: 0,
            since: Instant::now(),
            before: Work::so_far(),
            parts: BTreeMap::new(),
        }
    }
}

impl Meter {
    /// What follows belongs to `operation` of the program.
    pub(super) fn mark(&mut self, operation: usize) {
        self.operation = operation;
        self.since = Instant::now();
        self.before = Work::so_far();
    }

    /// What was done since the last call is `part` of the operation.
    pub(super) fn lap(&mut self, part: Part) {
        let (now, work) = (Instant::now(), Work::so_far());
        let metered = self.parts.entry((self.operation, part)).or_default();
        metered.seconds += (now - self.since).as_secs_f64();
        let Work {
            product_flop,
            moved_values,
        } = &mut metered.work;
        *product_flop += work.product_flop - self.before.product_flop;
        *moved_values += work.moved_values - self.before.moved_values;
        (self.since, self.before) = (now, work);
    }

    /// All parts, by number of the operation.
    pub fn parts(&self) -> &BTreeMap<(usize, Part), Metered> {
        &self.parts
    }
}

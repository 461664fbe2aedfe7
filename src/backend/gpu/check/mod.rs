//! Every kernel against the f64 reference, on random shapes and data.
//!
//! A [`Check`] draws a shape, puts its tensors on the device ([`Stage`]), launches one operation and
//! compares what it wrote. [`run`] does so twice for each case, and the bits must be the same. The
//! tests run the checks on the emulator; `cosmogan check` runs them on any device.

pub mod crop;
pub mod dense;
mod draw;
pub mod elementwise;
pub mod half;
pub mod norm;
pub mod random;
mod stage;
pub mod step;
pub mod strided;
#[cfg(test)]
mod tests;
mod tolerance;
pub mod vendor;

use rand::RngExt;
use serde::Serialize;

use super::driver::{Driver, DriverError};
use super::launcher::Launcher;
use super::ops;
use crate::rng::{Philox, Stream};

pub use stage::Stage;
pub use tolerance::{half_rounding, half_sum, rounding, sum};

/// What shapes are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Small and odd ones, for the emulator.
    Small,
    /// The paper's layers with batches like the paper's, for a GPU.
    Paper,
}

/// One operation that is checked.
pub trait Check<D: Driver> {
    /// Operation and version.
    fn name(&self) -> String;

    /// Draws a shape, runs the operation and compares its results, all through `stage`. Returns a
    /// description of the shape.
    ///
    /// # Errors
    /// Whatever the device says.
    fn run(&self, stage: &mut Stage<'_, D>, size: Size) -> Result<String, DriverError>;
}

/// One tensor that an operation wrote, beside its reference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub tensor: String,
    /// The largest deviation, as a share of what is tolerated; infinite for a value that is not
    /// finite.
    pub worst: f64,
    /// Where that is, and what was expected.
    pub place: String,
}

impl Comparison {
    /// Whether every value is close enough.
    pub fn passed(&self) -> bool {
        self.worst <= 1.0
    }
}

/// What a case came to.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub operation: String,
    pub shape: String,
    /// The case can be run again by this number.
    pub seed: u64,
    pub comparisons: Vec<Comparison>,
    /// What went wrong besides: an error of the device, a finding, other bits on the second run.
    pub error: Option<String>,
}

impl Outcome {
    /// Whether the operation did what it should.
    pub fn passed(&self) -> bool {
        self.error.is_none()
            && !self.comparisons.is_empty()
            && self.comparisons.iter().all(Comparison::passed)
    }
}

/// One case of a check, twice.
pub fn run<D: Driver>(
    launcher: &mut Launcher<D>,
    check: &dyn Check<D>,
    size: Size,
    seed: u64,
) -> Outcome {
    let mut outcome = Outcome {
        operation: check.name(),
        shape: String::new(),
        seed,
        comparisons: Vec::new(),
        error: None,
    };
    let mut bits = Vec::new();
    for _ in 0..2 {
        let random = Philox::new(seed, Stream::Benchmark, 0).sequential();
        let mut stage = Stage::new(launcher, random);
        let result = check.run(&mut stage, size);
        let finished = stage.finish();
        match result.and_then(|shape| finished.map(|written| (shape, written))) {
            Ok((shape, written)) => {
                outcome.shape = shape;
                outcome.comparisons = written.comparisons;
                bits.push(written.digest);
            }
            Err(error) => {
                outcome.error = Some(error.to_string());
                return outcome;
            }
        }
    }
    if bits[0] != bits[1] {
        outcome.error = Some("two runs gave different bits".to_owned());
    }
    outcome
}

/// All checks of the kernels that a device of this compute capability runs.
pub fn all<D: Driver>(capability: (u32, u32)) -> Vec<Box<dyn Check<D>>> {
    let mut checks: Vec<Box<dyn Check<D>>> = Vec::new();
    for check in strided::checks() {
        checks.push(Box::new(check));
    }
    for check in dense::checks() {
        checks.push(Box::new(check));
    }
    for check in norm::checks() {
        checks.push(Box::new(check));
    }
    for check in elementwise::checks() {
        checks.push(Box::new(check));
    }
    for check in step::checks() {
        checks.push(Box::new(check));
    }
    for check in random::checks() {
        checks.push(Box::new(check));
    }
    checks.push(Box::new(crop::Crop));
    if capability >= ops::half::CAPABILITY {
        checks.extend(half::checks());
    }
    checks
}

/// A number from a range; the ends come up more often than they would by chance.
pub fn pick(
    random: &mut crate::rng::SequentialPhilox,
    range: std::ops::RangeInclusive<usize>,
) -> usize {
    match random.random_range(0..8) {
        0 => *range.start(),
        1 => *range.end(),
        _ => random.random_range(range),
    }
}

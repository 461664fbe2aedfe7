//! One operation of a version of the strided layer's kernels, counted on the emulator.
//!
//! Counts of a large batch follow from those of 1 and 2 samples in the form that serves the large batch
//! ([`Counts::at`]); the sums of partial weight gradients are run as they are. Where blocks take several
//! tiles of a map, which depends on the batch, the whole batch is run.

use serde::{Deserialize, Serialize};

use super::counts::line;
use super::step::CountError;
use super::tensors::Tensors;
use super::{Case, ConvOperation, Counts};
use crate::backend::Accumulate;
use crate::backend::gpu::driver::{Driver, DriverError};
use crate::backend::gpu::launcher::Launcher;
use crate::backend::gpu::ops::strided::sum_partials;
use crate::backend::gpu::ptx::PtxModule;
use crate::backend::gpu::{Emulated, EmulatedOptions, Launched};

/// What a case came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelCount {
    pub operation: ConvOperation,
    pub version: String,
    pub layer: String,
    pub batch: usize,
    pub kernel: String,
    /// Threads of a block.
    pub threads: u32,
    pub counts: Counts,
    /// Of the launch that adds partial sums, where there is one.
    pub merge: Option<Counts>,
    pub useful_flop: u64,
    pub compulsory_bytes: u64,
}

impl KernelCount {
    /// Both launches.
    pub fn total(&self) -> Counts {
        self.counts + self.merge.unwrap_or_default()
    }
}

/// Counts `case` on the emulator with the kernels of `modules`.
///
/// # Errors
/// Findings of the emulator; too little memory.
pub fn count(modules: &[PtxModule], case: &Case) -> Result<KernelCount, CountError> {
    let mut l = Launcher::new(Emulated::new(EmulatedOptions::default()), modules)?;
    l.driver.keep_launches();
    let whole = case.must_be_whole();
    let [first, second] = if whole { [case.batch; 2] } else { [1, 2] };
    let (one, parts) = run(&mut l, case, first)?;
    let two = match whole {
        true => one.clone(),
        false => run(&mut l, case, second)?.0,
    };
    let [at_one, at_two] = [&one, &two].map(|launched| Counts::from(&launched[0].counters));
    let mut counts = match whole {
        true => at_one,
        false => Counts::at(case.batch, 1, &at_one, &at_two),
    };
    let mut merge = None;
    if let Some([one, two, whole]) = parts {
        let bytes = |parts: usize| 4 * (case.layer.weight_len() * parts) as u64;
        let extended = line(case.batch, 1, bytes(one), bytes(two));
        counts = counts.with_partials(bytes(whole) as i64 - extended as i64);
        merge = Some(count_merge(&mut l, case.layer.weight_len(), whole)?);
    }
    Ok(KernelCount {
        operation: case.operation,
        version: case.version_name().to_owned(),
        layer: case.layer_name(),
        batch: case.batch,
        kernel: one[0].kernel.clone(),
        threads: one[0].geometry.block.iter().product(),
        counts,
        merge,
        useful_flop: case.useful_flop(),
        compulsory_bytes: case.compulsory_bytes(),
    })
}

/// Runs the case on `samples` samples: its launches, and of a wgrad the parts at 1, 2 and all samples.
fn run(
    l: &mut Launcher<Emulated>,
    case: &Case,
    samples: usize,
) -> Result<(Vec<Launched>, Option<[usize; 3]>), CountError> {
    let placed = case.place(l, samples)?;
    l.driver.synchronize()?;
    l.driver.clear_log();
    case.launch(l, &placed);
    l.check()?;
    l.driver.synchronize()?;
    let launched = l.driver.launches().to_vec();
    let parts = (case.operation == ConvOperation::Wgrad)
        .then(|| [1, 2, case.batch].map(|batch| case.parts(&placed, batch)));
    placed.free(l)?;
    if launched.is_empty() {
        let what = format!("{} launched nothing", case.operation.name());
        return Err(CountError::Unsuitable { what });
    }
    Ok((launched, parts))
}

fn count_merge(
    l: &mut Launcher<Emulated>,
    weights: usize,
    parts: usize,
) -> Result<Counts, DriverError> {
    let mut tensors = Tensors {
        l,
        tensors: Vec::new(),
    };
    let partial = tensors.plane(weights * parts, false, true, 5)?;
    let gradient = tensors.plane(weights, false, false, 0)?;
    let allocations = std::mem::take(&mut tensors.tensors);
    l.driver.clear_log();
    sum_partials(l, partial, parts, weights, gradient, Accumulate::First);
    l.check()?;
    l.driver.synchronize()?;
    let counts = l
        .driver
        .launches()
        .iter()
        .map(|l| Counts::from(&l.counters));
    let counts = counts.sum();
    for allocation in allocations {
        l.driver.free(allocation)?;
    }
    Ok(counts)
}

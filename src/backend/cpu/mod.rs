//! The CPU backend: f32 for training, f64 as the oracle of every other implementation.
//!
//! Work is cut into pieces by shape alone and sums are ordered, so that results are the same to
//! the bit for any number of threads. After the first step nothing the size of a tensor is
//! allocated: values live in the arena, working memory in [`scratch::Scratch`].

mod block;
pub(super) mod dense;
pub mod meter;
pub(super) mod norm;
pub mod scalar;
pub(super) mod scratch;
pub(super) mod step;
#[cfg(test)]
mod step_tests;
pub(super) mod strided;

use std::mem::size_of;
use std::ops::Range;

use meter::{Meter, Part};
use scalar::Scalar;
use scratch::Scratch;

use super::{
    Adam, Backend, BackendError, Backward, CropPlace, Forward, Loss, Posted, Precision, ProgramId,
    StepScalars, Targets, View,
};
use crate::model::Block;
use crate::rng::{Philox, Stream};

/// A backend that computes in `T` on the threads of the current rayon pool.
pub struct Cpu<T> {
    arena: Vec<T>,
    scratch: Scratch<T>,
    /// Where normals are drawn, always in f32.
    normals: Vec<f32>,
    scalars: StepScalars,
    posted: Vec<f32>,
}

impl<T: Scalar> Default for Cpu<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Scalar> Cpu<T> {
    /// An empty backend.
    pub fn new() -> Self {
        Self {
            arena: Vec::new(),
            scratch: Scratch::new(),
            normals: Vec::new(),
            scalars: StepScalars::default(),
            posted: Vec::new(),
        }
    }

    /// Times and counts from now on what it does.
    pub fn start_meter(&mut self) {
        self.scratch.meter = Some(Meter::default());
    }

    /// What was timed and counted, if it was.
    pub fn meter(&self) -> Option<&Meter> {
        self.scratch.meter.as_ref()
    }

    /// The values of a view.
    pub fn values(&self, view: View) -> &[T] {
        &self.arena[view.range()]
    }

    /// The values of a view, to be changed.
    pub fn values_mut(&mut self, view: View) -> &mut [T] {
        &mut self.arena[view.range()]
    }
}

/// Disjoint parts of the arena. Reads are borrowed mutably too: what one operation reads is never
/// what it writes, nor two of its inputs the same, and this checks it.
///
/// # Panics
/// If two of them overlap: a fault of the planner.
fn disjoint<T, const N: usize>(arena: &mut [T], views: [View; N]) -> [&mut [T]; N] {
    let ranges: [Range<usize>; N] = views.map(View::range);
    arena
        .get_disjoint_mut(ranges)
        .unwrap_or_else(|error| panic!("the planner let views overlap ({error}): {views:?}"))
}

impl<T: Scalar> Backend for Cpu<T> {
    const POSTS_AHEAD: usize = 0;

    fn precision(&self) -> Precision {
        Precision::F32
    }

    fn reserve(&mut self, len: usize) -> Result<(), BackendError> {
        let more = len.saturating_sub(self.arena.len());
        self.arena
            .try_reserve_exact(more)
            .map_err(|_| BackendError::OutOfMemory {
                needed: len.saturating_mul(size_of::<T>()),
            })?;
        self.arena.resize(self.arena.len().max(len), T::zero());
        Ok(())
    }

    fn upload(&mut self, to: View, values: &[f32]) -> Result<(), BackendError> {
        assert_eq!(to.len, values.len(), "an upload fills its view");
        for (to, &value) in self.values_mut(to).iter_mut().zip(values) {
            *to = T::of(f64::from(value));
        }
        Ok(())
    }

    fn download(&mut self, from: View, values: &mut [f32]) -> Result<(), BackendError> {
        assert_eq!(from.len, values.len(), "a download takes the whole view");
        for (to, value) in values.iter_mut().zip(self.values(from)) {
            *to = value.wide() as f32;
        }
        Ok(())
    }

    fn post(&mut self, from: View) -> Result<Posted, BackendError> {
        let values = self.arena[from.range()].iter();
        self.posted.clear();
        self.posted.extend(values.map(|value| value.wide() as f32));
        Ok(Posted(0))
    }

    fn receive(&mut self, _: Posted, values: &mut [f32]) -> Result<(), BackendError> {
        values.copy_from_slice(&self.posted);
        Ok(())
    }

    /// Pages of files that are in memory serve as well.
    fn hold(&mut self, _: usize, _: usize) -> Result<bool, BackendError> {
        Ok(false)
    }

    fn write_held(&mut self, _: usize, _: &[f32]) -> Result<(), BackendError> {
        unreachable!("the CPU holds no maps")
    }

    fn choose_crops(&mut self, _: &[CropPlace]) -> Result<(), BackendError> {
        unreachable!("the CPU holds no maps")
    }

    fn run(
        &mut self,
        _: ProgramId,
        scalars: &StepScalars,
        record: &dyn Fn(&mut Self),
    ) -> Result<(), BackendError> {
        self.scalars = *scalars;
        record(self);
        Ok(())
    }

    fn crops(&mut self, _: View, _: usize, _: usize) {
        unreachable!("the CPU holds no maps")
    }

    fn mark(&mut self, operation: usize) {
        if let Some(meter) = &mut self.scratch.meter {
            meter.mark(operation);
        }
    }

    fn normals(&mut self, to: View, stream: Stream) {
        let StepScalars { seed, step, .. } = self.scalars;
        if self.normals.len() < to.len {
            self.normals.resize(to.len, 0.0);
        }
        let normals = &mut self.normals[..to.len];
        Philox::new(seed, stream, step).fill_normal(normals);
        for (to, &value) in self.arena[to.range()].iter_mut().zip(&*normals) {
            *to = T::of(f64::from(value));
        }
        self.scratch.lap(Part::Rest);
    }

    fn forward(&mut self, block: &Block, call: &Forward) {
        block::forward(&mut self.arena, &mut self.scratch, block, call);
    }

    fn backward(&mut self, block: &Block, call: &Backward) {
        block::backward(&mut self.arena, &mut self.scratch, block, call);
    }

    fn targets(&mut self, call: &Targets) {
        let [real, fake] = disjoint(&mut self.arena, [call.real, call.fake]);
        step::targets(call, &self.scalars, real, fake);
        self.scratch.lap(Part::Rest);
    }

    fn loss(&mut self, call: &Loss) {
        let views = [call.logits, call.targets, call.gradient, call.loss];
        let [logits, targets, gradient, loss] = disjoint(&mut self.arena, views);
        loss[0] = step::loss(logits, targets, gradient);
        self.scratch.lap(Part::Rest);
    }

    fn adam(&mut self, call: &Adam) {
        let (rate, step) = (self.scalars.rate(call.rate), self.scalars.step);
        let views = [
            call.parameters,
            call.gradient,
            call.first_moment,
            call.second_moment,
        ];
        let [parameters, gradient, first, second] = disjoint(&mut self.arena, views);
        step::adam(
            &call.config,
            rate,
            step,
            parameters,
            gradient,
            first,
            second,
        );
        if let Some(average) = call.average {
            let decay = self.scalars.average_decay;
            let [average, values] = disjoint(&mut self.arena, [average, call.parameters]);
            step::average(average, values, decay);
        }
        self.scratch.lap(Part::Adam);
    }
}

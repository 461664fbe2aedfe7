//! Working memory of the CPU kernels: grown when an operation first needs it, never after.

use std::sync::{Mutex, PoisonError};

use super::meter::{Meter, Part};
use super::scalar::Scalar;

/// One buffer for each thread of the pool, and one that all threads share within an operation.
pub struct Scratch<T> {
    per_thread: Vec<Mutex<Vec<T>>>,
    pub shared: Vec<T>,
    pub meter: Option<Meter>,
}

/// The per-thread buffers alone, so that the shared one can be borrowed beside them.
#[derive(Clone, Copy)]
pub struct ThreadScratch<'a, T> {
    buffers: &'a [Mutex<Vec<T>>],
}

impl<T: Scalar> Scratch<T> {
    /// Buffers for the threads of the current rayon pool.
    pub fn new() -> Self {
        // One more for a caller outside the pool.
        let threads = rayon::current_num_threads() + 1;
        Self {
            per_thread: (0..threads).map(|_| Mutex::default()).collect(),
            shared: Vec::new(),
            meter: None,
        }
    }

    /// What was done since the last call is `part` of the operation, where a meter runs.
    pub fn lap(&mut self, part: Part) {
        if let Some(meter) = &mut self.meter {
            meter.lap(part);
        }
    }

    /// Makes every thread's buffer at least `per_thread` and the shared one `shared` long.
    pub fn reserve(
        &mut self,
        per_thread: usize,
        shared: usize,
    ) -> (ThreadScratch<'_, T>, &mut [T]) {
        for buffer in &mut self.per_thread {
            let buffer = buffer.get_mut().unwrap_or_else(PoisonError::into_inner);
            if buffer.len() < per_thread {
                buffer.resize(per_thread, T::zero());
            }
        }
        if self.shared.len() < shared {
            self.shared.resize(shared, T::zero());
        }
        let buffers = &self.per_thread;
        (ThreadScratch { buffers }, &mut self.shared[..shared])
    }
}

impl<T> ThreadScratch<'_, T> {
    /// Runs `work` with the calling thread's buffer.
    pub fn with<R>(&self, work: impl FnOnce(&mut [T]) -> R) -> R {
        let outside = self.buffers.len() - 1;
        let thread = rayon::current_thread_index().map_or(outside, |i| i.min(outside));
        let mut buffer = self.buffers[thread]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        work(&mut buffer)
    }
}

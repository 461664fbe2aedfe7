//! Batches made ahead: while a step computes, a thread of its own reads, turns and transforms the
//! maps of the next one. What a batch holds depends on the step alone.
//!
//! The thread hands its maps out to the cores that compute the step: where these idle, as beside a
//! GPU, all of them serve. On a busy CPU the gain is small, for a batch costs little. On two cores
//! shared with other programs (2026-11-23, Zen 3, medians) a batch of 16 at 64 x 64 took 0.8 ms and
//! a step 107 ms, 95 ms with batches made ahead; a batch of 8 at 256 x 256 took 7 ms and a step of
//! 4 base filters 377 ms, 313 ms made ahead; most of that difference is the noise of the other
//! programs. The quickest steps, which these disturbed least: 96 and 88 ms, 231 and 225 ms.

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::batches::TrainingSet;
use super::error::DataError;
use crate::backend::CropPlace;

/// The batches of a run in order, two buffers in turns: nothing is allocated after the first.
#[derive(Debug)]
pub struct Prefetch {
    /// `None` when the thread is told to end.
    requests: Option<SyncSender<Batch>>,
    made: Receiver<Batch>,
    thread: Option<JoinHandle<()>>,
    /// The step whose batch is being made, or lies ready.
    expected: Option<u64>,
    /// The buffer that the thread does not have.
    current: Vec<f32>,
    plan: Plan,
}

/// Which rows a step sees.
#[derive(Clone, Debug)]
struct Plan {
    set: Arc<TrainingSet>,
    batch: usize,
    steps_per_epoch: u64,
}

/// A batch on its way to be made, or back.
#[derive(Debug)]
struct Batch {
    step: u64,
    maps: Vec<f32>,
    result: Result<(), DataError>,
}

impl Plan {
    fn new(set: Arc<TrainingSet>, batch: usize, drop_last: bool) -> Result<Self, DataError> {
        let steps_per_epoch = set.steps_per_epoch(batch, drop_last) as u64;
        if steps_per_epoch == 0 {
            return Err(DataError::Setting {
                field: "maps in an epoch",
                value: set.epoch_len() as u64,
                accepted: "there must be enough for a batch",
            });
        }
        Ok(Self {
            set,
            batch,
            steps_per_epoch,
        })
    }

    fn rows(&self, step: u64) -> (u64, Range<usize>) {
        let (epoch, within) = (step / self.steps_per_epoch, step % self.steps_per_epoch);
        (epoch, self.set.rows(within as usize, self.batch))
    }

    /// Values of the batch of `step`.
    fn len(&self, step: u64) -> usize {
        self.rows(step).1.len() * self.set.map_len()
    }
}

/// Where the maps of a run's batches lie, for a backend that holds all of them.
#[derive(Debug)]
pub struct Places(Plan);

impl Places {
    /// The batches that [`Prefetch::new`] would make.
    ///
    /// # Errors
    /// An epoch without a batch.
    pub fn new(set: Arc<TrainingSet>, batch: usize, drop_last: bool) -> Result<Self, DataError> {
        Ok(Self(Plan::new(set, batch, drop_last)?))
    }

    /// The maps of `step`, counted from 0 over all epochs.
    pub fn of(&self, step: u64) -> Vec<CropPlace> {
        let (epoch, rows) = self.0.rows(step);
        self.0.set.crop_places(epoch, rows)
    }
}

impl Prefetch {
    /// Batches of up to `batch` maps of `set`; without `drop_last` the last of an epoch may be
    /// smaller. Nothing is read before the first [`next`](Self::next).
    ///
    /// # Errors
    /// An epoch without a batch, or a system without another thread.
    pub fn new(set: Arc<TrainingSet>, batch: usize, drop_last: bool) -> Result<Self, DataError> {
        let plan = Plan::new(set, batch, drop_last)?;
        let (requests, asked) = sync_channel::<Batch>(1);
        let (ready, made) = sync_channel(1);
        let of_thread = plan.clone();
        let work = move || {
            for mut batch in asked {
                let (epoch, rows) = of_thread.rows(batch.step);
                let len = of_thread.len(batch.step);
                let maps = &mut batch.maps[..len];
                batch.result = of_thread.set.fill(epoch, rows, maps);
                if ready.send(batch).is_err() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new()
            .name("batches".to_owned())
            .spawn(work);
        let thread = thread.map_err(DataError::Thread)?;
        Ok(Self {
            requests: Some(requests),
            made,
            thread: Some(thread),
            expected: None,
            current: Vec::new(),
            plan,
        })
    }

    /// The batch of `step` `[n, S, S, C]`, counted from 0 over all epochs, in the generator's
    /// range. The batch of the next step is begun; another step may be asked for all the same.
    ///
    /// # Errors
    /// The first pixel of this batch that is not finite, by its place in the file.
    pub fn next(&mut self, step: u64) -> Result<&[f32], DataError> {
        let longest = self.plan.batch * self.plan.set.map_len();
        let mut batch = match self.expected.take() {
            Some(ahead) => {
                let batch = self.receive();
                if ahead == step {
                    batch
                } else {
                    self.make(step, batch.maps)
                }
            }
            None => {
                self.current.resize(longest, 0.0);
                self.make(step, vec![0.0; longest])
            }
        };
        std::mem::swap(&mut self.current, &mut batch.maps);
        self.request(step + 1, batch.maps);
        self.expected = Some(step + 1);
        batch.result?;
        Ok(&self.current[..self.plan.len(step)])
    }

    fn make(&mut self, step: u64, maps: Vec<f32>) -> Batch {
        self.request(step, maps);
        self.receive()
    }

    fn request(&mut self, step: u64, maps: Vec<f32>) {
        let batch = Batch {
            step,
            maps,
            result: Ok(()),
        };
        let sent = self.requests.as_ref().map(|requests| requests.send(batch));
        if !matches!(sent, Some(Ok(()))) {
            self.ended();
        }
    }

    fn receive(&mut self) -> Batch {
        match self.made.recv() {
            Ok(batch) => batch,
            Err(_) => self.ended(),
        }
    }

    /// The thread ends early only by a panic, which is handed on.
    fn ended(&mut self) -> ! {
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => resume_unwind(panic),
            _ => unreachable!("the thread lasts as long as its requests"),
        }
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A batch that lies ready is taken, lest the thread wait for it to be.
            while self.made.recv().is_ok() {}
            // A panic of its own has been handed on or is of no interest any more.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::batches::Sampling;
    use super::super::maps::Maps;
    use super::super::region::Region;
    use super::super::testing::write_maps;
    use super::super::transform::Transform;
    use super::*;

    /// 4 maps of 24 pixels, one pixel NaN where `bad` says so; an epoch has 4 x 5 crops.
    fn set(bad: Option<(usize, usize, usize)>) -> Arc<TrainingSet> {
        let directory = tempfile::tempdir().unwrap();
        let path = write_maps(directory.path(), "maps.npy", 4, 24, |m, y, x| {
            if bad == Some((m, y, x)) {
                f32::NAN
            } else {
                (m * 576 + y * 24 + x) as f32
            }
        });
        let maps = Arc::new(Maps::open(&[path]).unwrap());
        let regions: Vec<Region> = (0..4).map(|p| Region::whole(&maps, p)).collect();
        let sampling = Sampling {
            crops_per_parent: 5,
            ..Sampling::new(16, 3)
        };
        let linear = Transform::Linear {
            scale: 1e-3,
            offset: 3.0,
        };
        Arc::new(TrainingSet::new(maps, &regions, linear.into(), sampling).unwrap())
    }

    /// The batch of `step` made on the spot, of up to 6 maps.
    fn direct(set: &TrainingSet, step: u64, drop_last: bool) -> Result<Vec<f32>, String> {
        let per_epoch = set.steps_per_epoch(6, drop_last) as u64;
        let rows = set.rows((step % per_epoch) as usize, 6);
        let mut maps = vec![0.0; rows.len() * set.map_len()];
        let filled = set.fill(step / per_epoch, rows, &mut maps);
        filled.map(|()| maps).map_err(|error| error.to_string())
    }

    #[test]
    fn batches_are_those_of_their_steps_in_any_order() {
        let set = set(None);
        for drop_last in [false, true] {
            let mut batches = Prefetch::new(Arc::clone(&set), 6, drop_last).unwrap();
            // In order over two epochs, back, again, far ahead, and on.
            for step in [0, 1, 2, 3, 4, 5, 2, 3, 3, 100, 101, 0] {
                let expected = direct(&set, step, drop_last).unwrap();
                assert_eq!(batches.next(step).unwrap(), expected, "step {step}");
            }
        }
    }

    #[test]
    fn a_pixel_that_is_not_finite_fails_its_own_batches_only() {
        let set = set(Some((2, 7, 9)));
        let mut batches = Prefetch::new(Arc::clone(&set), 6, true).unwrap();
        let mut failed = 0;
        for step in 0..12 {
            match (batches.next(step), direct(&set, step, true)) {
                (Ok(maps), Ok(expected)) => assert_eq!(maps, expected),
                (Err(error), Err(expected)) => {
                    let error = error.to_string();
                    assert_eq!(error, expected);
                    let place = "maps.npy: map 2, row 7, column 9 is NaN";
                    assert!(error.contains(place), "{error}");
                    failed += 1;
                }
                (got, expected) => panic!("step {step}: {got:?} for {expected:?}"),
            }
        }
        assert!((1..12).contains(&failed), "{failed}");
    }

    #[test]
    fn it_ends_whether_a_batch_is_asked_for_being_made_or_ready() {
        let set = set(None);
        drop(Prefetch::new(Arc::clone(&set), 6, true).unwrap());
        for wait in [0, 20] {
            let mut batches = Prefetch::new(Arc::clone(&set), 6, true).unwrap();
            batches.next(0).unwrap();
            thread::sleep(std::time::Duration::from_millis(wait));
            drop(batches);
        }
        assert_eq!(Arc::strong_count(&set), 1, "the threads have ended");
    }

    #[test]
    fn an_epoch_without_a_batch_is_refused() {
        let message = Prefetch::new(set(None), 64, true).unwrap_err().to_string();
        assert!(message.contains("maps in an epoch is 20"), "{message}");
    }
}

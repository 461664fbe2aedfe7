//! Copies between host and device that run behind the work asked for before, through page-locked
//! memory, while the host goes on.

use super::driver::{Driver, DriverError, Event, Pinned, Pointer};

/// A piece of page-locked memory and the event that says when the stream is done with it.
#[derive(Clone, Copy, Debug)]
struct Slot {
    memory: Pinned,
    done: Event,
}

fn slots<D: Driver>(
    driver: &mut D,
    bytes: usize,
    events: [usize; 2],
) -> Result<[Slot; 2], DriverError> {
    let mut slot = |event| -> Result<Slot, DriverError> {
        Ok(Slot {
            memory: driver.pin(bytes)?,
            done: Event(event),
        })
    };
    Ok([slot(events[0])?, slot(events[1])?])
}

/// Copies to the device. Two pieces take turns: one is filled while the other is on its way.
#[derive(Debug)]
pub struct Uploads {
    slots: [Slot; 2],
    bytes: usize,
    next: usize,
}

impl Uploads {
    /// Uploads in pieces of `bytes` bytes; `events` are its own.
    pub fn new<D: Driver>(
        driver: &mut D,
        bytes: usize,
        events: [usize; 2],
    ) -> Result<Self, DriverError> {
        let slots = slots(driver, bytes, events)?;
        Ok(Self {
            slots,
            bytes,
            next: 0,
        })
    }

    /// Copies `bytes` to the device. They may be changed when this returns.
    pub fn write<D: Driver>(
        &mut self,
        driver: &mut D,
        to: Pointer,
        bytes: &[u8],
    ) -> Result<(), DriverError> {
        for (piece, to) in bytes.chunks(self.bytes).zip((to.0..).step_by(self.bytes)) {
            let Slot { memory, done } = self.slots[self.next];
            self.next = 1 - self.next;
            driver.wait(done)?;
            driver.pinned_mut(memory)[..piece.len()].copy_from_slice(piece);
            driver.write_pinned(Pointer(to), memory, piece.len())?;
            driver.record(done)?;
        }
        Ok(())
    }
}

/// Copies of a few values to the host, two of them under way at most.
#[derive(Debug)]
pub struct Posts {
    slots: [Slot; 2],
    next: usize,
}

impl Posts {
    /// The most bytes of one copy.
    const BYTES: usize = 4096;

    /// Posts with `events` of their own.
    pub fn new<D: Driver>(driver: &mut D, events: [usize; 2]) -> Result<Self, DriverError> {
        let slots = slots(driver, Self::BYTES, events)?;
        Ok(Self { slots, next: 0 })
    }

    /// Begins to copy `bytes` bytes; the number is for [`Posts::receive`].
    pub fn send<D: Driver>(
        &mut self,
        driver: &mut D,
        from: Pointer,
        bytes: usize,
    ) -> Result<usize, DriverError> {
        assert!(bytes <= Self::BYTES, "a post is a few values");
        let index = self.next;
        self.next = 1 - self.next;
        let Slot { memory, done } = self.slots[index];
        driver.read_pinned(memory, from, bytes)?;
        driver.record(done)?;
        Ok(index)
    }

    /// Waits for a copy and takes it.
    pub fn receive<D: Driver>(
        &mut self,
        driver: &mut D,
        index: usize,
        bytes: &mut [u8],
    ) -> Result<(), DriverError> {
        let Slot { memory, done } = self.slots[index];
        driver.wait(done)?;
        bytes.copy_from_slice(&driver.pinned(memory)[..bytes.len()]);
        Ok(())
    }
}

//! Page-locked memory of the host.

use std::ptr::NonNull;
use std::slice;

use cudarc::driver::result;
use cudarc::driver::result::DriverError as Status;

/// A block of page-locked memory. Not write-combined: it is read back, too.
pub struct HostBlock {
    start: NonNull<u8>,
    len: usize,
}

impl HostBlock {
    /// Zeroed memory of the current context.
    ///
    /// # Errors
    /// Not enough memory.
    pub fn new(len: usize) -> Result<Self, Status> {
        // SAFETY: the memory is zeroed below, before anybody sees it. CUDA refuses 0 bytes.
        let start = unsafe { result::malloc_host(len.max(1), 0) }?;
        let refused = cudarc::driver::sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY;
        let start = NonNull::new(start.cast::<u8>()).ok_or(Status(refused))?;
        // SAFETY: at least `len` bytes were allocated at `start`.
        unsafe { start.write_bytes(0, len) };
        Ok(Self { start, len })
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes that live as long as `self`. The device writes to them only
        // in copies whose end the caller has waited for (`Driver::pinned`).
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; `self` is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// Gives the memory back.
    ///
    /// # Safety
    /// No copy from or to it is under way, its context is current, and it is not used again.
    pub unsafe fn free(&self) -> Result<(), Status> {
        // SAFETY: the memory came from `malloc_host`; the rest is the caller's promise.
        unsafe { result::free_host(self.start.as_ptr().cast()) }
    }
}

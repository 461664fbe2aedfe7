//! Tensors of random numbers on a device, for those who count and time.

use half::bf16;

use crate::backend::gpu::driver::{Allocation, Driver, DriverError, Pointer};
use crate::backend::gpu::launcher::Launcher;
use crate::rng::{Philox, Stream};

/// Allocations as they are made.
pub struct Tensors<'a, D: Driver> {
    pub l: &'a mut Launcher<D>,
    pub tensors: Vec<Allocation>,
}

impl<D: Driver> Tensors<'_, D> {
    /// Memory for `bytes` bytes, with nothing in it.
    ///
    /// # Errors
    /// Not enough memory.
    pub fn bytes(&mut self, bytes: usize) -> Result<Pointer, DriverError> {
        let allocation = self.l.driver.allocate("a benchmark's tensor", bytes)?;
        self.tensors.push(allocation);
        Ok(allocation.address)
    }

    /// `len` values; those that are read are N(0, 1) (4 M of them, over and over), since zeros take less power
    /// and run faster.
    ///
    /// # Errors
    /// Not enough memory, or a failing device.
    pub fn plane(
        &mut self,
        len: usize,
        half: bool,
        read: bool,
        seed: u64,
    ) -> Result<Pointer, DriverError> {
        let pointer = self.bytes(len * if half { 2 } else { 4 })?;
        if read {
            write_normals(self.l, pointer, len, half, seed)?;
        }
        Ok(pointer)
    }
}

/// Writes `len` numbers of N(0, 1), in pieces: a large tensor need not lie in the host's memory too.
///
/// # Errors
/// A failing device.
pub fn write_normals<D: Driver>(
    l: &mut Launcher<D>,
    to: Pointer,
    len: usize,
    half: bool,
    seed: u64,
) -> Result<(), DriverError> {
    /// A multiple of what one counter gives.
    const PIECE: usize = 1 << 22;
    let bytes = if half { 2 } else { 4 };
    let mut values = vec![0.0; PIECE.min(len)];
    Philox::new(seed, Stream::Benchmark, 0).fill_normal(&mut values);
    let halves: Vec<bf16> = match half {
        true => values.iter().copied().map(bf16::from_f32).collect(),
        false => Vec::new(),
    };
    for start in (0..len).step_by(PIECE) {
        let count = PIECE.min(len - start);
        let to = Pointer(to.0 + (bytes * start) as u64);
        match half {
            true => l.driver.write(to, bytemuck::cast_slice(&halves[..count]))?,
            false => l.driver.write(to, bytemuck::cast_slice(&values[..count]))?,
        }
    }
    Ok(())
}

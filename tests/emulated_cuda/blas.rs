//! cuBLAS, emulated: the one product that this project calls, with the settings that it must make.

use std::ffi::{c_int, c_uint};

use super::state::{INVALID_VALUE, State, Status, Work};
use super::{on_context, set};

/// Settings of the handle.
#[derive(Clone, Copy, Default)]
pub struct Settings {
    pedantic: bool,
    without_atomics: bool,
    /// Given after the stream, which takes it away.
    workspace: bool,
}

/// A product as cuBLAS counts: columns after columns.
#[derive(Clone, Copy)]
pub struct Product {
    pub transpose: [bool; 2],
    /// m, n, k.
    pub sizes: [usize; 3],
    pub alpha: f32,
    pub beta: f32,
    /// A, B and C: address and distance of the columns.
    pub matrices: [(u64, usize); 3],
}

impl Product {
    pub fn run(&self, state: &mut State) -> Result<(), Status> {
        let [m, n, k] = self.sizes;
        let columns = [
            if self.transpose[0] { m } else { k },
            if self.transpose[1] { k } else { n },
            n,
        ];
        let mut values = [Vec::new(), Vec::new(), Vec::new()];
        for ((values, (address, pitch)), columns) in
            values.iter_mut().zip(self.matrices).zip(columns)
        {
            *values = vec![0f32; pitch * columns];
            state.download(address, bytemuck::cast_slice_mut(values))?;
        }
        let [a, b, c] = &mut values;
        let [pitch_a, pitch_b, pitch_c] = self.matrices.map(|(_, pitch)| pitch);
        for column in 0..n {
            for row in 0..m {
                let products = (0..k).map(|i| {
                    let a = match self.transpose[0] {
                        false => a[row + i * pitch_a],
                        true => a[i + row * pitch_a],
                    };
                    let b = match self.transpose[1] {
                        false => b[i + column * pitch_b],
                        true => b[column + i * pitch_b],
                    };
                    f64::from(a) * f64::from(b)
                });
                let sum = self.alpha * products.sum::<f64>() as f32;
                let to = &mut c[row + column * pitch_c];
                // C is not read where beta is 0: it may be NaN.
                *to = match self.beta {
                    0.0 => sum,
                    beta => sum + beta * *to,
                };
            }
        }
        state.upload(self.matrices[2].0, bytemuck::cast_slice(&values[2]))
    }
}

/// CUDA's result as one of cuBLAS.
fn on_blas(f: impl FnOnce(&mut State) -> Result<(), Status>) -> Status {
    const EXECUTION_FAILED: Status = 13;
    match on_context(f) {
        0 => 0,
        _ => EXECUTION_FAILED,
    }
}

driver! {
    fn cublasCreate_v2(handle: *mut usize) in on_blas |state| {
        state.outside_of_capture()?;
        state.blas = Settings::default();
        set(handle, 1)
    }
    fn cublasDestroy_v2(_handle: usize) in on_blas |_| {
        Ok(())
    }
    fn cublasSetStream_v2(_handle: usize, _stream: usize) in on_blas |state| {
        state.blas.workspace = false;
        Ok(())
    }
    fn cublasSetWorkspace_v2(_handle: usize, workspace: u64, bytes: usize) in on_blas |state| {
        state.locate(workspace, bytes)?;
        state.blas.workspace = true;
        Ok(())
    }
    fn cublasSetMathMode(_handle: usize, mode: c_uint) in on_blas |state| {
        state.blas.pedantic = mode == 2;
        Ok(())
    }
    fn cublasSetAtomicsMode(_handle: usize, mode: c_uint) in on_blas |state| {
        state.blas.without_atomics = mode == 0;
        Ok(())
    }
    fn cublasSgemm_v2(_handle: usize, transpose_a: c_uint, transpose_b: c_uint, m: c_int, n: c_int, k: c_int, alpha: *const f32, a: u64, pitch_a: c_int, b: u64, pitch_b: c_int, beta: *const f32, c: u64, pitch_c: c_int) in on_blas |state| {
        let Settings { pedantic, without_atomics, workspace } = state.blas;
        // Otherwise two runs may differ.
        if !(pedantic && without_atomics && workspace) {
            return Err(INVALID_VALUE);
        }
        state.add(Work::Product(Product {
            transpose: [transpose_a == 1, transpose_b == 1],
            sizes: [m, n, k].map(|size| size as usize),
            alpha: *alpha,
            beta: *beta,
            matrices: [(a, pitch_a as usize), (b, pitch_b as usize), (c, pitch_c as usize)],
        }));
        Ok(())
    }
}

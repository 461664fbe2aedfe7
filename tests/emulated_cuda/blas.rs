//! cuBLAS, emulated: the products that this project calls, with the settings that it must make.

use std::ffi::{c_int, c_uint};

use super::state::{Element, INVALID_VALUE, State, Status, Work};
use super::{on_context, set};

/// Settings of the handle.
#[derive(Clone, Copy, Default)]
pub struct Settings {
    math: c_uint,
    without_atomics: bool,
    /// Given after the stream, which takes it away.
    workspace: bool,
}

impl Settings {
    /// Refuses settings with which two runs may differ, or units other than are meant.
    fn require(&self, math: c_uint) -> Result<(), Status> {
        match self.math == math && self.without_atomics && self.workspace {
            true => Ok(()),
            false => Err(INVALID_VALUE),
        }
    }
}

/// Modes of mathematics.
const DEFAULT: c_uint = 0;
const PEDANTIC: c_uint = 2;

/// A product as cuBLAS counts: columns after columns.
#[derive(Clone, Copy)]
pub struct Product {
    pub element: Element,
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
            *values = state.values(address, pitch * columns, self.element)?;
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
                    a * b
                });
                let sum = self.alpha * products.sum::<f64>() as f32;
                let to = &mut c[row + column * pitch_c];
                // C is not read where beta is 0: it may be NaN.
                *to = f64::from(match self.beta {
                    0.0 => sum,
                    beta => sum + beta * *to as f32,
                });
            }
        }
        state.store(self.matrices[2].0, &values[2], self.element)
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
        state.blas.math = mode;
        Ok(())
    }
    fn cublasSetAtomicsMode(_handle: usize, mode: c_uint) in on_blas |state| {
        state.blas.without_atomics = mode == 0;
        Ok(())
    }
    fn cublasSgemm_v2(_handle: usize, transpose_a: c_uint, transpose_b: c_uint, m: c_int, n: c_int, k: c_int, alpha: *const f32, a: u64, pitch_a: c_int, b: u64, pitch_b: c_int, beta: *const f32, c: u64, pitch_c: c_int) in on_blas |state| {
        state.blas.require(PEDANTIC)?;
        state.add(Work::Product(Product {
            element: Element::F32,
            transpose: [transpose_a == 1, transpose_b == 1],
            sizes: [m, n, k].map(|size| size as usize),
            alpha: *alpha,
            beta: *beta,
            matrices: [(a, pitch_a as usize), (b, pitch_b as usize), (c, pitch_c as usize)],
        }));
        Ok(())
    }
    fn cublasGemmEx(_handle: usize, transpose_a: c_uint, transpose_b: c_uint, m: c_int, n: c_int, k: c_int, alpha: *const f32, a: u64, a_type: c_uint, pitch_a: c_int, b: u64, b_type: c_uint, pitch_b: c_int, beta: *const f32, c: u64, c_type: c_uint, pitch_c: c_int, compute: c_uint, algorithm: c_int) in on_blas |state| {
        const BF16: c_uint = 14;
        const COMPUTE_32F: c_uint = 68;
        state.blas.require(DEFAULT)?;
        if [a_type, b_type, c_type] != [BF16; 3] || compute != COMPUTE_32F || algorithm != -1 {
            return Err(INVALID_VALUE);
        }
        state.add(Work::Product(Product {
            element: Element::Bf16,
            transpose: [transpose_a == 1, transpose_b == 1],
            sizes: [m, n, k].map(|size| size as usize),
            alpha: *alpha,
            beta: *beta,
            matrices: [(a, pitch_a as usize), (b, pitch_b as usize), (c, pitch_c as usize)],
        }));
        Ok(())
    }
}

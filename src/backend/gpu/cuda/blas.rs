//! cuBLAS: products of f32 matrices by NVIDIA's library, where it is installed.
//!
//! It serves as another implementation of the dense layers and as the yardstick of measurements.
//! Settings are those that give the same bits on every run: full f32 arithmetic, no atomic
//! additions, one stream, and a workspace of its own of a fixed size.

use cudarc::cublas::result::{self, CublasError};
use cudarc::cublas::sys::{
    self, cublasAtomicsMode_t, cublasHandle_t, cublasMath_t, cublasOperation_t,
};
use cudarc::driver::sys::CUstream;

use super::library::find_cublas;
use crate::backend::gpu::driver::{Allocation, DriverError, Gemm};

/// Bytes of workspace: what NVIDIA recommends for Hopper; older devices need less.
pub const WORKSPACE: usize = 32 << 20;

/// A handle of the library on one stream.
pub struct Blas {
    handle: cublasHandle_t,
}

fn failed(action: &'static str) -> impl Fn(CublasError) -> DriverError {
    move |status| DriverError::Call {
        action,
        reason: format!("{:?}", status.0),
    }
}

impl Blas {
    /// Opens the library on `stream` of the current context, with `workspace` of [`WORKSPACE`] bytes.
    ///
    /// # Errors
    /// No cuBLAS, or one that does not start.
    pub fn open(stream: CUstream, workspace: Allocation) -> Result<Self, DriverError> {
        find_cublas()?;
        let handle = result::create_handle().map_err(failed("starting cuBLAS"))?;
        let blas = Self { handle };
        match blas.configure(stream, workspace) {
            Ok(()) => Ok(blas),
            Err(error) => {
                // SAFETY: the handle was created above and is not used again.
                let _ = unsafe { blas.close() };
                Err(failed("setting cuBLAS up")(error))
            }
        }
    }

    fn configure(&self, stream: CUstream, workspace: Allocation) -> Result<(), CublasError> {
        let (memory, bytes) = (workspace.address.0 as *mut _, workspace.bytes);
        // SAFETY: handle, stream and workspace are alive, and stay so until the driver is dropped.
        unsafe {
            // Setting the stream takes the workspace away again: it comes first.
            result::set_stream(self.handle, stream.cast())?;
            sys::cublasSetWorkspace_v2(self.handle, memory, bytes).result()?;
            let mode = cublasMath_t::CUBLAS_PEDANTIC_MATH;
            sys::cublasSetMathMode(self.handle, mode).result()?;
            let atomics = cublasAtomicsMode_t::CUBLAS_ATOMICS_NOT_ALLOWED;
            sys::cublasSetAtomicsMode(self.handle, atomics).result()
        }
    }

    /// Adds a product to the stream.
    ///
    /// # Errors
    /// Sizes beyond 2^31, or a failing library.
    pub fn gemm(&self, call: &Gemm) -> Result<(), DriverError> {
        let size = |size: usize| {
            i32::try_from(size).map_err(|_| DriverError::Call {
                action: "a product of cuBLAS",
                reason: format!("a matrix has {size} rows or columns; cuBLAS takes 2^31 - 1"),
            })
        };
        let (m, n, k) = (size(call.m)?, size(call.n)?, size(call.k)?);
        let transposed = |yes| match yes {
            true => cublasOperation_t::CUBLAS_OP_T,
            false => cublasOperation_t::CUBLAS_OP_N,
        };
        let row_of_a = if call.transpose_a { m } else { k };
        let row_of_b = if call.transpose_b { k } else { n };
        // cuBLAS counts by columns, where our matrices are their transposes: C' = op(B)' op(A)'.
        // SAFETY: the handle is open; the three matrices have the sizes of the call, which the
        // caller vouches for as for the parameters of any launch; alpha and beta are read before
        // the call returns, since scalars are given by host pointers (cuBLAS' default).
        let result = unsafe {
            result::sgemm(
                self.handle,
                transposed(call.transpose_b),
                transposed(call.transpose_a),
                n,
                m,
                k,
                &call.alpha,
                call.b.0 as *const f32,
                row_of_b,
                call.a.0 as *const f32,
                row_of_a,
                &call.beta,
                call.c.0 as *mut f32,
                n,
            )
        };
        result.map_err(failed("a product of cuBLAS"))
    }

    /// Closes the library.
    ///
    /// # Safety
    /// The stream has done all products, and `self` is not used again.
    pub unsafe fn close(&self) -> Result<(), CublasError> {
        // SAFETY: the handle is open; the rest is the caller's promise.
        unsafe { result::destroy_handle(self.handle) }
    }
}

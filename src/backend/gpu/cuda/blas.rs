//! cuBLAS: products of matrices by NVIDIA's library, where it is installed.
//!
//! It serves as another implementation of the dense layers and as the yardstick of measurements.
//! Settings are those that give the same bits on every run: no atomic additions, one stream, and a
//! workspace of its own of a fixed size; for f32 full f32 arithmetic besides. Products of bf16 are
//! for measurements alone, and take tensor cores.

use cudarc::cublas::result::{self, CublasError};
use cudarc::cublas::sys::{
    self, cublasAtomicsMode_t, cublasComputeType_t, cublasGemmAlgo_t, cublasHandle_t, cublasMath_t,
    cublasOperation_t, cudaDataType,
};
use cudarc::driver::sys::CUstream;

use super::library::find_cublas;
use crate::backend::gpu::driver::{Allocation, DriverError, Element, Gemm};

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
            self.set_math(cublasMath_t::CUBLAS_PEDANTIC_MATH)?;
            let atomics = cublasAtomicsMode_t::CUBLAS_ATOMICS_NOT_ALLOWED;
            sys::cublasSetAtomicsMode(self.handle, atomics).result()
        }
    }

    /// Which units and roundings the products that follow may use.
    fn set_math(&self, mode: cublasMath_t) -> Result<(), CublasError> {
        // SAFETY: the handle is open.
        unsafe { sys::cublasSetMathMode(self.handle, mode) }.result()
    }

    /// Adds a product to the stream.
    ///
    /// # Errors
    /// Sizes beyond 2^31, or a failing library.
    pub fn gemm(&self, call: &Gemm) -> Result<(), DriverError> {
        let columns = Columns::of(call)?;
        let result = match call.element {
            Element::F32 => self.single(call, &columns),
            Element::Bf16 => {
                let default = self.set_math(cublasMath_t::CUBLAS_DEFAULT_MATH);
                let product = default.and_then(|()| self.half(call, &columns));
                // Pedantic again, whatever became of it: products of f32 rely on it.
                let restored = self.set_math(cublasMath_t::CUBLAS_PEDANTIC_MATH);
                product.and(restored)
            }
        };
        result.map_err(failed("a product of cuBLAS"))
    }

    fn single(&self, call: &Gemm, columns: &Columns) -> Result<(), CublasError> {
        let Columns {
            operations: [first, second],
            sizes: [m, n, k],
            pitches: [pitch_first, pitch_second, pitch_c],
        } = *columns;
        // SAFETY: the handle is open; the three matrices have the sizes of the call, which the
        // caller vouches for as for the parameters of any launch; alpha and beta are read before
        // the call returns, since scalars are given by host pointers (cuBLAS' default).
        unsafe {
            result::sgemm(
                self.handle,
                first,
                second,
                m,
                n,
                k,
                &call.alpha,
                call.b.0 as *const f32,
                pitch_first,
                call.a.0 as *const f32,
                pitch_second,
                &call.beta,
                call.c.0 as *mut f32,
                pitch_c,
            )
        }
    }

    fn half(&self, call: &Gemm, columns: &Columns) -> Result<(), CublasError> {
        const HALF: cudaDataType = cudaDataType::CUDA_R_16BF;
        let Columns {
            operations: [first, second],
            sizes: [m, n, k],
            pitches: [pitch_first, pitch_second, pitch_c],
        } = *columns;
        // SAFETY: as in `single`; alpha and beta are f32, the type of the sums.
        unsafe {
            result::gemm_ex(
                self.handle,
                first,
                second,
                m,
                n,
                k,
                (&raw const call.alpha).cast(),
                call.b.0 as *const _,
                HALF,
                pitch_first,
                call.a.0 as *const _,
                HALF,
                pitch_second,
                (&raw const call.beta).cast(),
                call.c.0 as *mut _,
                HALF,
                pitch_c,
                cublasComputeType_t::CUBLAS_COMPUTE_32F,
                cublasGemmAlgo_t::CUBLAS_GEMM_DFALT,
            )
        }
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

/// A product as cuBLAS counts it, by columns, where our matrices are their transposes:
/// C' = op(B)' op(A)', so that B comes first.
struct Columns {
    operations: [cublasOperation_t; 2],
    /// m, n and k of that product.
    sizes: [i32; 3],
    /// Distances of the columns of B', A' and C'.
    pitches: [i32; 3],
}

impl Columns {
    fn of(call: &Gemm) -> Result<Self, DriverError> {
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
        Ok(Self {
            operations: [transposed(call.transpose_b), transposed(call.transpose_a)],
            sizes: [n, m, k],
            pitches: [row_of_b, row_of_a, n],
        })
    }
}

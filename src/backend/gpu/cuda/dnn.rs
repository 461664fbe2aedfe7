//! cuDNN: the strided layer's convolutions by NVIDIA's library, where it is installed.
//!
//! It is a yardstick of measurements, and nothing else uses it. Which of its algorithms is fastest
//! the caller finds out; some of them add in any order and give other bits on every run.

mod algorithms;

use std::ffi::{c_int, c_void};
use std::ptr;

use cudarc::cudnn::result::{self, CudnnError};
use cudarc::cudnn::sys::{
    self, cudnnConvolutionDescriptor_t, cudnnConvolutionMode_t, cudnnDataType_t,
    cudnnFilterDescriptor_t, cudnnHandle_t, cudnnMathType_t, cudnnTensorDescriptor_t,
    cudnnTensorFormat_t,
};
use cudarc::driver::sys::CUstream;

use super::library::{DnnVersion, find_cudnn};
use crate::backend::gpu::driver::{
    Algorithm, Convolution, ConvolutionTensors, DriverError, Element,
};
use crate::backend::gpu::ops::strided_form::Operation;
use algorithms::{DGRAD, Expectation, FPROP, MATH, WGRAD, known};

/// Pixels of padding on each side.
const PAD: c_int = 2;
const STRIDE: c_int = 2;
const TAPS: c_int = 5;

/// Expectations that are asked for: more than cuDNN has.
const MOST: usize = 64;

fn refused(action: &'static str) -> impl Fn(CudnnError) -> DriverError {
    move |status| DriverError::NoAlgorithm {
        reason: format!("{action}: {:?}", status.0),
    }
}

/// A handle of the library on one stream.
pub struct Dnn {
    handle: cudnnHandle_t,
    pub version: DnnVersion,
    prepared: Option<Prepared>,
}

impl Dnn {
    /// Opens the library on `stream` of the current context.
    ///
    /// # Errors
    /// No cuDNN 9, or one that does not start.
    pub fn open(stream: CUstream) -> Result<Self, DriverError> {
        let version = find_cudnn()?;
        let fails = |status: CudnnError| DriverError::NoDnn {
            reason: format!("version {version} does not start: {:?}", status.0),
        };
        let handle = result::create_handle().map_err(fails)?;
        let dnn = Self {
            handle,
            version,
            prepared: None,
        };
        // SAFETY: handle and stream are alive, and stay so until the driver is dropped.
        match unsafe { result::set_stream(handle, stream.cast()) } {
            Ok(()) => Ok(dnn),
            Err(status) => {
                // SAFETY: the handle was created above, and nothing uses it.
                let _ = unsafe { dnn.close() };
                Err(fails(status))
            }
        }
    }

    /// Makes a convolution ready in place of the one before, and tells how it can be done.
    ///
    /// # Errors
    /// What cuDNN does not do, or not in this shape.
    pub fn prepare(&mut self, convolution: &Convolution) -> Result<Vec<Algorithm>, DriverError> {
        self.prepared = None;
        let prepared = Prepared::new(convolution)?;
        let algorithms = prepared.algorithms(self.handle)?;
        self.prepared = Some(prepared);
        Ok(algorithms)
    }

    /// Adds the convolution that was made ready to the stream.
    ///
    /// # Errors
    /// None was made ready, too little workspace, or an algorithm that cuDNN refuses now.
    pub fn convolve(
        &self,
        algorithm: &Algorithm,
        tensors: &ConvolutionTensors,
    ) -> Result<(), DriverError> {
        let given = tensors.workspace.map_or(0, |memory| memory.bytes);
        let fault = match &self.prepared {
            Some(_) if given < algorithm.workspace => format!(
                "{algorithm} wants {} bytes of workspace, not {given}",
                algorithm.workspace
            ),
            Some(prepared) => {
                let run = prepared.run(self.handle, algorithm, tensors);
                return run.map_err(refused("running it"));
            }
            None => "none was made ready".to_owned(),
        };
        Err(DriverError::Call {
            action: "a convolution of cuDNN",
            reason: fault,
        })
    }

    /// Closes the library.
    ///
    /// # Safety
    /// The stream has done all convolutions.
    pub unsafe fn close(mut self) -> Result<(), CudnnError> {
        self.prepared = None;
        // SAFETY: the handle is open, and goes with `self`; the rest is the caller's promise.
        unsafe { result::destroy_handle(self.handle) }
    }
}

/// One of cuDNN's descriptors.
struct Descriptor<T: Copy> {
    raw: T,
    // SAFETY: it takes what `raw` holds, once and in `drop` alone.
    destroy: unsafe fn(T) -> Result<(), CudnnError>,
}

impl<T: Copy> Descriptor<T> {
    /// Creates one and fills it.
    fn new(
        create: fn() -> Result<T, CudnnError>,
        // SAFETY: it is cudarc's counterpart of `create`, and takes what that gave.
        destroy: unsafe fn(T) -> Result<(), CudnnError>,
        fill: impl FnOnce(T) -> Result<(), CudnnError>,
    ) -> Result<Self, DriverError> {
        let raw = create().map_err(refused("describing it"))?;
        let descriptor = Self { raw, destroy };
        fill(raw).map_err(refused("describing it"))?;
        Ok(descriptor)
    }
}

impl<T: Copy> Drop for Descriptor<T> {
    fn drop(&mut self) {
        // SAFETY: it was created in `new` and is destroyed once. Work under way has its own copy.
        let _ = unsafe { (self.destroy)(self.raw) };
    }
}

/// A convolution as cuDNN has it.
struct Prepared {
    operation: Operation,
    element: Element,
    big: Descriptor<cudnnTensorDescriptor_t>,
    small: Descriptor<cudnnTensorDescriptor_t>,
    weights: Descriptor<cudnnFilterDescriptor_t>,
    convolution: Descriptor<cudnnConvolutionDescriptor_t>,
}

impl Prepared {
    fn new(convolution: &Convolution) -> Result<Self, DriverError> {
        let size = |size: usize| {
            c_int::try_from(size).map_err(|_| DriverError::NoAlgorithm {
                reason: format!("it takes sizes up to 2^31 - 1, not {size}"),
            })
        };
        let (batch, side) = (size(convolution.batch)?, size(convolution.small)?);
        let (c_big, c_small) = (size(convolution.c_big)?, size(convolution.c_small)?);
        let big_side = size(2 * convolution.small)?;
        let data = match convolution.element {
            Element::F32 => cudnnDataType_t::CUDNN_DATA_FLOAT,
            Element::Bf16 => cudnnDataType_t::CUDNN_DATA_BFLOAT16,
        };
        let nhwc = cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;
        let tensor = |shape| {
            let (create, destroy) = (
                result::create_tensor_descriptor,
                result::destroy_tensor_descriptor,
            );
            Descriptor::new(create, destroy, |raw| {
                // SAFETY: the descriptor was created just now.
                unsafe { result::set_tensor4d_descriptor(raw, nhwc, data, shape) }
            })
        };
        let small_shape = [batch, c_small, side, side];
        let prepared = Self {
            operation: convolution.operation,
            element: convolution.element,
            big: tensor([batch, c_big, big_side, big_side])?,
            small: tensor(small_shape)?,
            weights: Descriptor::new(
                result::create_filter_descriptor,
                result::destroy_filter_descriptor,
                |raw| {
                    let shape = [c_small, c_big, TAPS, TAPS];
                    // SAFETY: the descriptor was created just now.
                    unsafe { result::set_filter4d_descriptor(raw, data, nhwc, shape) }
                },
            )?,
            convolution: Descriptor::new(
                result::create_convolution_descriptor,
                result::destroy_convolution_descriptor,
                |raw| {
                    let mode = cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
                    let sums = cudnnDataType_t::CUDNN_DATA_FLOAT;
                    // SAFETY: the descriptor was created just now.
                    unsafe {
                        result::set_convolution2d_descriptor(
                            raw, PAD, PAD, STRIDE, STRIDE, 1, 1, mode, sums,
                        )
                    }
                },
            )?,
        };
        let made = prepared.small_shape().map_err(refused("describing it"))?;
        if made != small_shape {
            return Err(DriverError::NoAlgorithm {
                reason: format!("it makes {made:?} of it, not {small_shape:?}"),
            });
        }
        Ok(prepared)
    }

    /// What fprop makes of the big plane: N, C, H, W.
    fn small_shape(&self) -> Result<[c_int; 4], CudnnError> {
        let [mut n, mut c, mut h, mut w] = [0; 4];
        let (convolution, big, weights) = (self.convolution.raw, self.big.raw, self.weights.raw);
        // SAFETY: the descriptors are alive and filled, and the numbers outlive the call.
        let status = unsafe {
            sys::cudnnGetConvolution2dForwardOutputDim(
                convolution,
                big,
                weights,
                &mut n,
                &mut c,
                &mut h,
                &mut w,
            )
        };
        status.result().map(|()| [n, c, h, w])
    }

    /// The algorithms that cuDNN expects to work.
    fn algorithms(&self, handle: cudnnHandle_t) -> Result<Vec<Algorithm>, DriverError> {
        // Heuristics go by what the descriptor permits. In f32 the default would permit TF32.
        let permitted = match self.element {
            Element::F32 => cudnnMathType_t::CUDNN_FMA_MATH,
            Element::Bf16 => cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
        };
        self.set_math(permitted).map_err(refused("describing it"))?;
        let expected = self.expectations(handle);
        let expected = expected.map_err(refused("asking for algorithms"))?;
        let mut algorithms: Vec<Algorithm> = Vec::new();
        for expectation in expected.iter().filter(|expected| expected.status == 0) {
            let (number, math) = match self.element {
                Element::F32 => (expectation.number, permitted as u32),
                Element::Bf16 => (expectation.number, expectation.math),
            };
            if algorithms
                .iter()
                .any(|a| (a.number, a.math) == (number, math))
            {
                continue;
            }
            // The size is asked for with the arithmetic that is used in the end.
            let workspace = known(&MATH, math)
                .and_then(|math| self.set_math(math))
                .and_then(|()| self.workspace(handle, number));
            if let Ok(workspace) = workspace {
                algorithms.push(Algorithm {
                    number,
                    math,
                    workspace,
                    is_deterministic: expectation.determinism == 1,
                });
            }
        }
        match algorithms.is_empty() {
            false => Ok(algorithms),
            true => Err(DriverError::NoAlgorithm {
                reason: format!("none of its {} algorithms takes it", expected.len()),
            }),
        }
    }

    fn set_math(&self, math: cudnnMathType_t) -> Result<(), CudnnError> {
        // SAFETY: the descriptor is alive.
        unsafe { result::set_convolution_math_type(self.convolution.raw, math) }
    }

    /// What cuDNN's heuristics say of the operation, the fastest first.
    fn expectations(&self, handle: cudnnHandle_t) -> Result<Vec<Expectation>, CudnnError> {
        let mut found = vec![Expectation::default(); MOST];
        let (most, mut count) = (MOST as c_int, 0);
        let (to, counted) = (found.as_mut_ptr(), &raw mut count);
        let (big, small) = (self.big.raw, self.small.raw);
        let (weights, convolution) = (self.weights.raw, self.convolution.raw);
        // SAFETY: handle and descriptors are alive and filled; there is room for `MOST` structs of the
        // layout that cuDNN has for each operation.
        let status = unsafe {
            match self.operation {
                Operation::Fprop => sys::cudnnGetConvolutionForwardAlgorithm_v7(
                    handle,
                    big,
                    weights,
                    convolution,
                    small,
                    most,
                    counted,
                    to.cast(),
                ),
                Operation::Dgrad => sys::cudnnGetConvolutionBackwardDataAlgorithm_v7(
                    handle,
                    weights,
                    small,
                    convolution,
                    big,
                    most,
                    counted,
                    to.cast(),
                ),
                Operation::Wgrad => sys::cudnnGetConvolutionBackwardFilterAlgorithm_v7(
                    handle,
                    big,
                    small,
                    convolution,
                    weights,
                    most,
                    counted,
                    to.cast(),
                ),
            }
        };
        status.result()?;
        found.truncate(usize::try_from(count).unwrap_or(0));
        Ok(found)
    }

    /// Bytes that an algorithm wants with the arithmetic that is set.
    fn workspace(&self, handle: cudnnHandle_t, number: u32) -> Result<usize, CudnnError> {
        let mut bytes = 0;
        let (big, small) = (self.big.raw, self.small.raw);
        let (weights, convolution) = (self.weights.raw, self.convolution.raw);
        // SAFETY: handle and descriptors are alive and filled, and `bytes` outlives the call.
        let status = unsafe {
            match self.operation {
                Operation::Fprop => sys::cudnnGetConvolutionForwardWorkspaceSize(
                    handle,
                    big,
                    weights,
                    convolution,
                    small,
                    known(&FPROP, number)?,
                    &mut bytes,
                ),
                Operation::Dgrad => sys::cudnnGetConvolutionBackwardDataWorkspaceSize(
                    handle,
                    weights,
                    small,
                    convolution,
                    big,
                    known(&DGRAD, number)?,
                    &mut bytes,
                ),
                Operation::Wgrad => sys::cudnnGetConvolutionBackwardFilterWorkspaceSize(
                    handle,
                    big,
                    small,
                    convolution,
                    weights,
                    known(&WGRAD, number)?,
                    &mut bytes,
                ),
            }
        };
        status.result().map(|()| bytes)
    }

    fn run(
        &self,
        handle: cudnnHandle_t,
        algorithm: &Algorithm,
        tensors: &ConvolutionTensors,
    ) -> Result<(), CudnnError> {
        self.set_math(known(&MATH, algorithm.math)?)?;
        let number = algorithm.number;
        let (memory, bytes): (*mut c_void, usize) = match tensors.workspace {
            Some(workspace) => (workspace.address.0 as *mut _, workspace.bytes),
            None => (ptr::null_mut(), 0),
        };
        let [big, small, weights] =
            [tensors.big, tensors.small, tensors.weights].map(|at| at.0 as *mut c_void);
        let (one, zero) = (1.0f32, 0.0f32);
        let (one, zero) = ((&raw const one).cast(), (&raw const zero).cast());
        let convolution = self.convolution.raw;
        let (big_form, small_form, form) = (self.big.raw, self.small.raw, self.weights.raw);
        // The caller vouches for the tensors' shapes as for the parameters of any launch. The factors are
        // f32 for f32 and for bf16, and read before the call returns.
        // SAFETY: handle and descriptors are alive and filled; tensors and workspace are as large as is told.
        let status = unsafe {
            match self.operation {
                Operation::Fprop => {
                    let with = known(&FPROP, number)?;
                    sys::cudnnConvolutionForward(
                        handle,
                        one,
                        big_form,
                        big,
                        form,
                        weights,
                        convolution,
                        with,
                        memory,
                        bytes,
                        zero,
                        small_form,
                        small,
                    )
                }
                Operation::Dgrad => {
                    let with = known(&DGRAD, number)?;
                    sys::cudnnConvolutionBackwardData(
                        handle,
                        one,
                        form,
                        weights,
                        small_form,
                        small,
                        convolution,
                        with,
                        memory,
                        bytes,
                        zero,
                        big_form,
                        big,
                    )
                }
                Operation::Wgrad => {
                    let with = known(&WGRAD, number)?;
                    sys::cudnnConvolutionBackwardFilter(
                        handle,
                        one,
                        big_form,
                        big,
                        small_form,
                        small,
                        convolution,
                        with,
                        memory,
                        bytes,
                        zero,
                        form,
                        weights,
                    )
                }
            }
        };
        status.result()
    }
}

//! cuDNN's numbers for its algorithms, and what its heuristics say of one.

use std::ffi::c_int;

use cudarc::cudnn::result::CudnnError;
use cudarc::cudnn::sys::{
    self, cudnnConvolutionBwdDataAlgo_t as DgradAlgorithm,
    cudnnConvolutionBwdFilterAlgo_t as WgradAlgorithm, cudnnConvolutionFwdAlgo_t as FpropAlgorithm,
    cudnnMathType_t, cudnnStatus_t,
};

/// cuDNN's algorithms, by its numbers for them.
pub const FPROP: [FpropAlgorithm; 8] = [
    FpropAlgorithm::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM,
    FpropAlgorithm::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM,
    FpropAlgorithm::CUDNN_CONVOLUTION_FWD_ALGO_GEMM,
    FpropAlgorithm::CUDNN_CONVOLUTION_FWD_ALGO_DIRECT,
    FpropAlgorithm::CUDNN_CONVOLUTION_FWD_ALGO_FFT,
    FpropAlgorithm::CUDNN_CONVOLUTION_FWD_ALGO_FFT_TILING,
    FpropAlgorithm::CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD,
    FpropAlgorithm::CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED,
];
pub const DGRAD: [DgradAlgorithm; 6] = [
    DgradAlgorithm::CUDNN_CONVOLUTION_BWD_DATA_ALGO_0,
    DgradAlgorithm::CUDNN_CONVOLUTION_BWD_DATA_ALGO_1,
    DgradAlgorithm::CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT,
    DgradAlgorithm::CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT_TILING,
    DgradAlgorithm::CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD,
    DgradAlgorithm::CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED,
];
pub const WGRAD: [WgradAlgorithm; 7] = [
    WgradAlgorithm::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0,
    WgradAlgorithm::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1,
    WgradAlgorithm::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT,
    WgradAlgorithm::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3,
    WgradAlgorithm::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD,
    WgradAlgorithm::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED,
    WgradAlgorithm::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT_TILING,
];
pub const MATH: [cudnnMathType_t; 4] = [
    cudnnMathType_t::CUDNN_DEFAULT_MATH,
    cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
    cudnnMathType_t::CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION,
    cudnnMathType_t::CUDNN_FMA_MATH,
];

/// What cuDNN expects of an algorithm. cudarc has this struct once for each operation, and enums where
/// it has numbers; a later cuDNN may have other numbers, which those must not hold.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Expectation {
    pub number: u32,
    pub status: u32,
    _milliseconds: f32,
    _memory: usize,
    pub determinism: u32,
    pub math: u32,
    _reserved: [c_int; 3],
}

const _: () = {
    let ours = size_of::<Expectation>();
    assert!(ours == size_of::<sys::cudnnConvolutionFwdAlgoPerf_t>());
    assert!(ours == size_of::<sys::cudnnConvolutionBwdDataAlgoPerf_t>());
    assert!(ours == size_of::<sys::cudnnConvolutionBwdFilterAlgoPerf_t>());
};

/// The one of `table` that cuDNN means by `number`.
pub fn known<T: Copy>(table: &[T], number: u32) -> Result<T, CudnnError> {
    let found = table.get(number as usize).copied();
    found.ok_or(CudnnError(cudnnStatus_t::CUDNN_STATUS_NOT_SUPPORTED))
}

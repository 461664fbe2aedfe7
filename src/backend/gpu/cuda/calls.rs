//! CUDA's results as errors with CUDA's own words.

use std::ffi::CStr;

use cudarc::driver::result::DriverError as Status;
use cudarc::driver::sys::CUresult;

use crate::backend::gpu::driver::DriverError;

/// The name and the text that CUDA has for a result.
pub fn words(status: Status) -> String {
    let name = status.error_name().map(CStr::to_string_lossy);
    let text = status.error_string().map(CStr::to_string_lossy);
    match (name, text) {
        (Ok(name), Ok(text)) => format!("{name}: {text}"),
        _ => format!("CUDA's error {}", status.0 as u32),
    }
}

/// Turns a result into an error of `action`.
pub fn failed(action: &'static str) -> impl Fn(Status) -> DriverError {
    move |status| DriverError::Call {
        action,
        reason: words(status),
    }
}

/// Whether this result says that a kernel failed which was launched before: then the context is
/// lost, and every later call tells the same.
pub fn is_of_earlier_work(status: Status) -> bool {
    matches!(
        status.0,
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
            | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
            | CUresult::CUDA_ERROR_ASSERT
            | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
            | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUresult::CUDA_ERROR_INVALID_PC
            | CUresult::CUDA_ERROR_LAUNCH_FAILED
            | CUresult::CUDA_ERROR_ECC_UNCORRECTABLE
    )
}

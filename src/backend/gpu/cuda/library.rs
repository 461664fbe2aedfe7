//! NVIDIA's libraries, which are found when the program runs or not at all.
//!
//! cudarc panics where a library or one of its functions is missing, so both are asked for first.

use std::sync::OnceLock;

use cudarc::cublas::sys as cublas;
use cudarc::cudnn::sys as cudnn;
use cudarc::driver::{result, sys};

use super::calls::{failed, words};
use crate::backend::gpu::driver::DriverError;

/// Functions of the driver that are called here, by their names in the library.
const DRIVER_FUNCTIONS: [&str; 39] = [
    "cuCtxSetCurrent",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDeviceTotalMem_v2",
    "cuDriverGetVersion",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventElapsedTime",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuFuncGetAttribute",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuInit",
    "cuLaunchKernel",
    "cuMemAlloc_v2",
    "cuMemFreeHost",
    "cuMemFree_v2",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemcpyDtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuModuleGetFunction",
    "cuModuleLoadDataEx",
    "cuModuleUnload",
    "cuStreamBeginCapture_v2",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamEndCapture",
    "cuStreamSynchronize",
];

/// Functions of cuBLAS that are called here.
const CUBLAS_FUNCTIONS: [&str; 8] = [
    "cublasCreate_v2",
    "cublasDestroy_v2",
    "cublasGemmEx",
    "cublasSetAtomicsMode",
    "cublasSetMathMode",
    "cublasSetStream_v2",
    "cublasSetWorkspace_v2",
    "cublasSgemm_v2",
];

/// Functions of cuDNN that are called here.
const CUDNN_FUNCTIONS: [&str; 24] = [
    "cudnnConvolutionBackwardData",
    "cudnnConvolutionBackwardFilter",
    "cudnnConvolutionForward",
    "cudnnCreate",
    "cudnnCreateConvolutionDescriptor",
    "cudnnCreateFilterDescriptor",
    "cudnnCreateTensorDescriptor",
    "cudnnDestroy",
    "cudnnDestroyConvolutionDescriptor",
    "cudnnDestroyFilterDescriptor",
    "cudnnDestroyTensorDescriptor",
    "cudnnGetConvolution2dForwardOutputDim",
    "cudnnGetConvolutionBackwardDataAlgorithm_v7",
    "cudnnGetConvolutionBackwardDataWorkspaceSize",
    "cudnnGetConvolutionBackwardFilterAlgorithm_v7",
    "cudnnGetConvolutionBackwardFilterWorkspaceSize",
    "cudnnGetConvolutionForwardAlgorithm_v7",
    "cudnnGetConvolutionForwardWorkspaceSize",
    "cudnnGetVersion",
    "cudnnSetConvolution2dDescriptor",
    "cudnnSetConvolutionMathType",
    "cudnnSetFilter4dDescriptor",
    "cudnnSetStream",
    "cudnnSetTensor4dDescriptor",
];

/// What the loader is asked for, in messages.
#[cfg(not(windows))]
const DRIVER_LIBRARY: &str = "libcuda.so.1";
#[cfg(windows)]
const DRIVER_LIBRARY: &str = "nvcuda.dll";

/// Whether a library serves; looked at once, since every look loads it.
#[derive(Clone, Copy)]
enum Presence {
    Absent,
    Lacks(&'static str),
    Usable,
}

impl Presence {
    /// Refuses a library that does not serve, in words; `versions` would.
    fn require(self, library: &str, versions: &str) -> Result<(), String> {
        match self {
            Self::Absent => Err(format!("{library} ({versions}) was not found")),
            Self::Lacks(function) => Err(format!(
                "the {library} that was found has no {function}; {versions} is needed"
            )),
            Self::Usable => Ok(()),
        }
    }
}

/// Makes the driver ready, once for all devices.
///
/// # Errors
/// No driver, one that is too old, or one that does not start.
pub fn start_driver() -> Result<(), DriverError> {
    static PRESENCE: OnceLock<Presence> = OnceLock::new();
    let presence = PRESENCE.get_or_init(|| {
        // SAFETY: loading NVIDIA's driver runs its initialisers, which is what it is for.
        if !unsafe { sys::is_culib_present() } {
            return Presence::Absent;
        }
        lacking(&DRIVER_FUNCTIONS, |name| {
            // SAFETY: the library is present; the address is looked at and never called.
            unsafe { sys::culib().get::<unsafe extern "C" fn()>(name).is_ok() }
        })
    });
    match *presence {
        Presence::Absent => Err(DriverError::NoDriver {
            library: DRIVER_LIBRARY,
        }),
        Presence::Lacks(function) => Err(DriverError::DriverLacks { function }),
        Presence::Usable => match result::init() {
            Err(status) if status.0 == sys::CUresult::CUDA_ERROR_NO_DEVICE => {
                Err(DriverError::NoDevice {
                    index: 0,
                    found: "the driver finds no device at all".to_owned(),
                })
            }
            Err(status) => Err(DriverError::Call {
                action: "starting CUDA",
                reason: words(status),
            }),
            Ok(()) => Ok(()),
        },
    }
}

/// Whether cuBLAS can be called.
///
/// # Errors
/// It is not there, or too old.
pub fn find_cublas() -> Result<(), DriverError> {
    static PRESENCE: OnceLock<Presence> = OnceLock::new();
    let presence = PRESENCE.get_or_init(|| {
        // SAFETY: loading cuBLAS runs its initialisers, which is what it is for.
        if !unsafe { cublas::is_culib_present() } {
            return Presence::Absent;
        }
        lacking(&CUBLAS_FUNCTIONS, |name| {
            // SAFETY: the library is present; the address is looked at and never called.
            unsafe { cublas::culib().get::<unsafe extern "C" fn()>(name).is_ok() }
        })
    });
    let usable = presence.require("libcublas", "CUDA 11 or 12");
    usable.map_err(|reason| DriverError::NoBlas { reason })
}

/// Whether cuDNN can be called, and which one it is.
///
/// # Errors
/// It is not there, or not version 9.
pub fn find_cudnn() -> Result<DnnVersion, DriverError> {
    static PRESENCE: OnceLock<Presence> = OnceLock::new();
    let presence = PRESENCE.get_or_init(|| {
        // SAFETY: loading cuDNN runs its initialisers, which is what it is for.
        if !unsafe { cudnn::is_culib_present() } {
            return Presence::Absent;
        }
        lacking(&CUDNN_FUNCTIONS, |name| {
            // SAFETY: the library is present; the address is looked at and never called.
            unsafe { cudnn::culib().get::<unsafe extern "C" fn()>(name).is_ok() }
        })
    });
    let usable = presence.require("libcudnn", "version 9");
    usable.map_err(|reason| DriverError::NoDnn { reason })?;
    let version = DnnVersion(cudarc::cudnn::result::get_version());
    match version.parts() {
        // Results of others have other numbers, which these bindings do not know.
        (9, ..) => Ok(version),
        _ => Err(DriverError::NoDnn {
            reason: format!("it is version {version}, and 9 is needed"),
        }),
    }
}

/// cuDNN's number for its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnnVersion(usize);

impl DnnVersion {
    /// Major, minor and patch.
    fn parts(self) -> (usize, usize, usize) {
        // Before version 9 the major one stood at the thousands.
        let major = if self.0 < 90_000 { 1_000 } else { 10_000 };
        let minor = self.0 % major / 100;
        (self.0 / major, minor, self.0 % 100)
    }
}

impl std::fmt::Display for DnnVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (major, minor, patch) = self.parts();
        write!(f, "{major}.{minor}.{patch}")
    }
}

fn lacking(functions: &[&'static str], has: impl Fn(&[u8]) -> bool) -> Presence {
    let lacking = functions.iter().find(|name| !has(name.as_bytes()));
    lacking.map_or(Presence::Usable, |name| Presence::Lacks(name))
}

/// The CUDA version that the driver is for, major and minor.
///
/// # Errors
/// A failing driver.
pub fn driver_version() -> Result<(u32, u32), DriverError> {
    let mut version = 0;
    // SAFETY: the driver is present and `version` outlives the call.
    let status = unsafe { sys::cuDriverGetVersion(&mut version) };
    status
        .result()
        .map_err(failed("asking for CUDA's version"))?;
    let version = version.unsigned_abs();
    Ok((version / 1000, version % 1000 / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_refused_for_the_first_function_that_it_lacks() {
        let all = |_: &[u8]| true;
        assert!(matches!(lacking(&DRIVER_FUNCTIONS, all), Presence::Usable));
        let without = |name: &[u8]| name != b"cuGraphLaunch";
        let presence = lacking(&DRIVER_FUNCTIONS, without);
        assert!(matches!(presence, Presence::Lacks("cuGraphLaunch")));
        let told = presence.require("libcuda", "CUDA 12").unwrap_err();
        assert!(told.contains("no cuGraphLaunch"), "{told}");
    }

    #[test]
    fn versions_of_cudnn_are_told_as_nvidia_tells_them() {
        let told = |number| DnnVersion(number).to_string();
        assert_eq!([told(91_002), told(8_907)], ["9.10.2", "8.9.7"]);
    }
}

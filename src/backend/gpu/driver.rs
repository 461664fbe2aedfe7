//! The seam between the GPU backend and what runs its kernels: CUDA, or the emulator.
//!
//! A driver is one device and one stream of work in order. Calls that say so wait for the stream;
//! the others only add to it. What fails in the stream is told by a later call that waits.

use super::ops::strided_form::Operation;
use crate::emulator::{EmulatorError, Finding};

/// An address on the device; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Pointer(pub u64);

impl Pointer {
    /// No address.
    pub const NULL: Self = Self(0);

    /// The address of the f32 `index` places further on.
    pub fn plus(self, index: usize) -> Self {
        Self(self.0 + 4 * index as u64)
    }
}

/// Memory on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    pub address: Pointer,
    pub bytes: usize,
}

/// Page-locked memory of the host, that copies in the stream can use while the host goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinned(pub(super) usize);

/// A kernel that was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelHandle(pub(super) usize);

/// A point in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event(pub(super) usize);

/// Work that was captured and can be launched as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Graph(pub(super) usize);

/// Blocks of a launch, threads of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub grid: [u32; 3],
    pub block: [u32; 3],
}

/// What is known of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The vendor's name of the model.
    pub name: String,
    /// Compute capability, major and minor.
    pub capability: (u32, u32),
    /// Bytes of memory.
    pub memory: u64,
    pub multiprocessors: u32,
    /// Bytes of the second-level cache.
    pub cache: u64,
}

/// Type of the values that the vendor's libraries read and write. Their sums are in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    F32,
    Bf16,
}

impl Element {
    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

/// A product of matrices in row-major order, `C = alpha op(A) op(B) + beta C`, where `op`
/// transposes or does not. In f32 all arithmetic is f32; in bf16 it is on tensor cores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gemm {
    /// Of all three matrices.
    pub element: Element,
    /// A is `[k, m]` instead of `[m, k]`.
    pub transpose_a: bool,
    /// B is `[n, k]` instead of `[k, n]`.
    pub transpose_b: bool,
    /// Rows and columns of C, and the length of the sums.
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub alpha: f32,
    pub beta: f32,
    pub a: Pointer,
    pub b: Pointer,
    /// Not read where beta is 0.
    pub c: Pointer,
}

/// A 5x5 convolution of stride 2 in NHWC, or one of its gradients, as the vendor's library does it: in
/// f32 without shorter arithmetic (no TF32), in bf16 on tensor cores.
///
/// The library pads both sides alike, so it pads by 2 where a layer of ours may pad 1 before and 2
/// behind. That costs the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    pub operation: Operation,
    /// Of both planes and the weights.
    pub element: Element,
    pub batch: usize,
    /// Side of the small plane; the big one's is twice that.
    pub small: usize,
    pub c_big: usize,
    pub c_small: usize,
}

/// What a [`Convolution`] reads, and the one of them that its operation writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvolutionTensors {
    /// `[batch, 2 small, 2 small, c_big]`
    pub big: Pointer,
    /// `[batch, small, small, c_small]`
    pub small: Pointer,
    /// `[c_small, 5, 5, c_big]` (the library's KRSC), or the gradient of it.
    pub weights: Pointer,
    /// At least as large as the algorithm wants it.
    pub workspace: Option<Allocation>,
}

/// One way in which the vendor's library does a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithm {
    /// The library's number for it.
    pub(super) number: u32,
    /// The library's number for the arithmetic that it may use.
    pub(super) math: u32,
    /// Bytes of memory that it wants.
    pub workspace: usize,
    /// Whether all runs give the same bits.
    pub is_deterministic: bool,
}

impl Algorithm {
    /// Bytes of workspace beyond which an algorithm is out of the question.
    pub const MOST_WORKSPACE: usize = 1 << 30;
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let math = match self.math {
            0 => "default math",
            1 => "tensor-core math",
            2 => "tensor-core math with conversion",
            _ => "FMA math",
        };
        write!(f, "algorithm {}, {math}", self.number)
    }
}

/// A device and its stream.
pub trait Driver {
    /// What the device is.
    fn info(&self) -> &DeviceInfo;

    /// Whether reads of unwritten memory and accesses beyond an allocation are found here.
    fn finds_faults(&self) -> bool;

    /// Bytes of device memory that are free now.
    ///
    /// # Errors
    /// A failing device.
    fn free_memory(&self) -> Result<u64, DriverError>;

    /// Device memory of `bytes` bytes, uninitialised, at a multiple of 256. `name` is for messages.
    ///
    /// # Errors
    /// Not enough memory; a capture under way.
    fn allocate(&mut self, name: &str, bytes: usize) -> Result<Allocation, DriverError>;

    /// Gives memory back, once the stream has done all work so far.
    ///
    /// # Errors
    /// A failing device; a capture under way.
    fn free(&mut self, allocation: Allocation) -> Result<(), DriverError>;

    /// Loads a module of kernels.
    ///
    /// # Errors
    /// PTX that the device does not take, with the compiler's own words.
    fn load(&mut self, file: &str, ptx: &str) -> Result<(), DriverError>;

    /// Looks a kernel of the loaded modules up.
    ///
    /// # Errors
    /// No kernel of this name.
    fn kernel(&mut self, name: &str) -> Result<KernelHandle, DriverError>;

    /// Adds a launch to the stream; `parameters` are the bytes of the kernel's one argument, a
    /// `#[repr(C)]` struct.
    ///
    /// # Errors
    /// A geometry that the device does not take; parameters of another size.
    fn launch(
        &mut self,
        kernel: KernelHandle,
        geometry: Geometry,
        parameters: &[u8],
    ) -> Result<(), DriverError>;

    /// Launches that follow belong to operation `operation` of a program. Nothing comes of it but what a
    /// driver that counts says of them.
    fn mark(&mut self, _operation: usize) {}

    /// Copies bytes to the device and waits until they may be changed.
    ///
    /// # Errors
    /// A failing device; a capture under way.
    fn write(&mut self, to: Pointer, bytes: &[u8]) -> Result<(), DriverError>;

    /// Waits for the stream and copies bytes from the device.
    ///
    /// # Errors
    /// Whatever failed in the stream; a capture under way.
    fn read(&mut self, from: Pointer, bytes: &mut [u8]) -> Result<(), DriverError>;

    /// Adds a copy within the device to the stream. The two places do not overlap.
    ///
    /// # Errors
    /// A failing device.
    fn copy(&mut self, to: Pointer, from: Pointer, bytes: usize) -> Result<(), DriverError>;

    /// Page-locked host memory, zeroed. It lives as long as the driver.
    ///
    /// # Errors
    /// Not enough memory; a capture under way.
    fn pin(&mut self, bytes: usize) -> Result<Pinned, DriverError>;

    /// Page-locked memory, to be read. The caller has waited for the copies into it.
    fn pinned(&self, pinned: Pinned) -> &[u8];

    /// Page-locked memory, to be filled. The caller has waited for the copies from it.
    fn pinned_mut(&mut self, pinned: Pinned) -> &mut [u8];

    /// Adds a copy of the first `bytes` bytes of page-locked memory to the device to the stream.
    ///
    /// # Errors
    /// A failing device.
    fn write_pinned(&mut self, to: Pointer, from: Pinned, bytes: usize) -> Result<(), DriverError>;

    /// Adds a copy of `bytes` bytes from the device to page-locked memory to the stream.
    ///
    /// # Errors
    /// A failing device.
    fn read_pinned(&mut self, to: Pinned, from: Pointer, bytes: usize) -> Result<(), DriverError>;

    /// Marks a point in the stream: `slot` is where (a driver has [`EVENTS`] of them), and an
    /// earlier mark there is forgotten.
    ///
    /// # Errors
    /// A failing device.
    fn record(&mut self, slot: Event) -> Result<(), DriverError>;

    /// Waits until the stream has passed the point; at once if nothing was recorded there.
    ///
    /// # Errors
    /// Whatever failed in the stream before it.
    fn wait(&mut self, slot: Event) -> Result<(), DriverError>;

    /// Waits for the second of two marks and tells the seconds from the first to it. Both are [`TIMED`].
    ///
    /// # Errors
    /// A driver that does not tell the time; whatever failed in the stream.
    fn elapsed(&mut self, _marks: [Event; 2]) -> Result<f64, DriverError> {
        Err(DriverError::Call {
            action: "timing",
            reason: format!("{} does not tell the time of kernels", self.info().name),
        })
    }

    /// Waits for all work of the stream.
    ///
    /// # Errors
    /// Whatever failed in it.
    fn synchronize(&mut self) -> Result<(), DriverError>;

    /// From now on work is captured instead of done.
    ///
    /// # Errors
    /// A capture under way.
    fn begin_capture(&mut self) -> Result<(), DriverError>;

    /// Ends the capture.
    ///
    /// # Errors
    /// No capture under way, or work that cannot be captured.
    fn end_capture(&mut self) -> Result<Graph, DriverError>;

    /// Adds captured work to the stream, as one launch.
    ///
    /// # Errors
    /// A failing device.
    fn replay(&mut self, graph: Graph) -> Result<(), DriverError>;

    /// Forgets captured work, once the stream has done it.
    ///
    /// # Errors
    /// A failing device.
    fn forget(&mut self, graph: Graph) -> Result<(), DriverError>;

    /// Makes the vendor's matrix library ready, for [`Driver::gemm`]. It takes memory, and waits.
    ///
    /// # Errors
    /// This driver has none, or it is not installed; a capture under way.
    fn open_gemm(&mut self) -> Result<(), DriverError> {
        Err(DriverError::NoBlas {
            reason: format!("{} has none", self.info().name),
        })
    }

    /// Adds a product by the vendor's library to the stream: the same bits on every run.
    ///
    /// # Errors
    /// [`Driver::open_gemm`] was not called or failed; a failing library.
    fn gemm(&mut self, _call: &Gemm) -> Result<(), DriverError> {
        Err(DriverError::NoBlas {
            reason: "it was not opened".to_owned(),
        })
    }

    /// Makes the vendor's convolution library ready, and tells its version. It takes memory, and waits.
    ///
    /// # Errors
    /// This driver has none, or it is not installed or too old; a capture under way.
    fn open_dnn(&mut self) -> Result<String, DriverError> {
        Err(DriverError::NoDnn {
            reason: format!("{} has none", self.info().name),
        })
    }

    /// Makes a convolution ready for [`Driver::convolve`] in place of the one before: the algorithms
    /// that the library has for it, first those that it expects to be fast.
    ///
    /// # Errors
    /// [`Driver::open_dnn`] was not called or failed; a convolution that the library does not do.
    fn prepare_convolution(
        &mut self,
        _convolution: &Convolution,
    ) -> Result<Vec<Algorithm>, DriverError> {
        Err(DriverError::NoDnn {
            reason: "it was not opened".to_owned(),
        })
    }

    /// Adds the convolution that was made ready to the stream, by one of its algorithms.
    ///
    /// # Errors
    /// None was made ready; an algorithm that the library refuses after all.
    fn convolve(
        &mut self,
        _algorithm: &Algorithm,
        _tensors: &ConvolutionTensors,
    ) -> Result<(), DriverError> {
        Err(DriverError::NoDnn {
            reason: "it was not opened".to_owned(),
        })
    }
}

/// Events that a driver has.
pub const EVENTS: usize = 8;

/// Those of them that know when they were passed.
pub const TIMED: [Event; 2] = [Event(6), Event(7)];

/// What can go wrong on a device.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error(
        "no CUDA driver is installed ({library} was not found); install NVIDIA's driver, or use --device cpu"
    )]
    NoDriver { library: &'static str },
    #[error("there is no CUDA device {index}; {found}")]
    NoDevice { index: usize, found: String },
    #[error(
        "{name} has compute capability {major}.{minor}; the kernels need 7.5 or later (a T4, an RTX 20 or anything newer)"
    )]
    Unsupported {
        name: String,
        major: u32,
        minor: u32,
    },
    #[error("the CUDA driver is too old (it has no {function}); update NVIDIA's driver")]
    DriverLacks { function: &'static str },
    #[error("the driver does not take the kernels of {file}: {log}")]
    Module { file: String, log: String },
    #[error(
        "the CUDA driver is too old: it is for CUDA {}.{}, and the kernels of {file} (PTX {}.{}) need \
         one for CUDA {}.{} or later; update NVIDIA's driver. It said: {log}",
        has.0, has.1, version.0, version.1, needs.0, needs.1
    )]
    OldDriver {
        file: String,
        /// The CUDA version of the driver.
        has: (u32, u32),
        /// The version of the PTX, and the first CUDA that takes it.
        version: (u32, u32),
        needs: (u32, u32),
        log: String,
    },
    #[error("there is no cuBLAS to use: {reason}")]
    NoBlas { reason: String },
    #[error("there is no cuDNN to use: {reason}")]
    NoDnn { reason: String },
    #[error("cuDNN does not do this convolution: {reason}")]
    NoAlgorithm { reason: String },
    #[error("the loaded modules have no kernel {name}")]
    NoKernel { name: String },
    #[error("{name} needs {needed} bytes of device memory; {free} are free")]
    OutOfMemory {
        name: String,
        needed: usize,
        free: u64,
    },
    #[error("{action} failed: {reason}")]
    Call {
        action: &'static str,
        reason: String,
    },
    #[error("{action} is not possible while work is captured")]
    Captured { action: &'static str },
    #[error("kernel {kernel}: {}", list(.findings))]
    Findings {
        kernel: String,
        findings: Vec<Finding>,
    },
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
}

fn list(findings: &[Finding]) -> String {
    let mut lines: Vec<String> = findings.iter().take(5).map(ToString::to_string).collect();
    if findings.len() > lines.len() {
        lines.push(format!("and {} more", findings.len() - lines.len()));
    }
    lines.join("\n")
}

//! NVIDIA's libraries timed beside a kernel, launched and timed as [`super::timing`] does it.
//!
//! Their values are of the type of the version's products: f32 for v1 and v2, bf16 for v3. They do the
//! bare operation, where the kernels add a bias and v3 leaves the batch norm's statistics as well.

use super::Case;
use super::kernels::ConvOperation;
use super::tensors::write_normals;
use super::timing::{cold, median};
use crate::backend::gpu::driver::{
    Algorithm, Convolution, ConvolutionTensors, Driver, DriverError, Element, Gemm, Pointer,
};
use crate::backend::gpu::launcher::Launcher;
use crate::backend::gpu::ops::KernelVersion;
use crate::backend::gpu::ops::strided_form::Operation;
use crate::model::StridedLayer;

/// Taps of the filter.
const TAPS: usize = StridedLayer::TAPS * StridedLayer::TAPS;

/// What the libraries compute with beside a version.
pub fn element(version: KernelVersion) -> Element {
    match version {
        KernelVersion::V1 | KernelVersion::V2 => Element::F32,
        KernelVersion::V3 => Element::Bf16,
    }
}

/// The median seconds of cuBLAS' product with as many operations as `case`: the matrix that an implicit
/// product makes on its way lies in memory here.
///
/// # Errors
/// A driver that does not tell the time; there is no cuBLAS; no memory for the matrix; a failing device.
pub fn time_product<D: Driver>(
    l: &mut Launcher<D>,
    case: &Case,
    repeats: usize,
) -> Result<f64, DriverError> {
    l.driver.open_gemm()?;
    let layer = &case.layer;
    let pixels = case.batch * layer.small * layer.small;
    let (m, n, k) = match case.operation {
        ConvOperation::Fprop => (pixels, layer.c_small, TAPS * layer.c_big),
        ConvOperation::Dgrad => (pixels, TAPS * layer.c_big, layer.c_small),
        ConvOperation::Wgrad => (TAPS * layer.c_big, layer.c_small, pixels),
    };
    let element = element(case.version);
    with_tensors(l, element, [m * k, k * n, m * n], |l, [a, b, c]| {
        let call = Gemm {
            element,
            transpose_a: false,
            transpose_b: false,
            m,
            n,
            k,
            alpha: 1.0,
            beta: 0.0,
            a,
            b,
            c,
        };
        let seconds = cold(l, repeats, |l| l.driver.gemm(&call))?;
        Ok(median(&seconds))
    })
}

/// The best that cuDNN does.
#[derive(Clone, Debug, PartialEq)]
pub struct Fastest {
    /// Median.
    pub seconds: f64,
    /// By what, in words.
    pub algorithm: String,
}

/// cuDNN's time for the operation of `case`, by the fastest of all the algorithms that its heuristics
/// name and that want no more than 1 GiB of workspace. Some of those add in any order, which our
/// kernels never do.
///
/// # Errors
/// A driver that does not tell the time; there is no cuDNN, or it does not do this; too little memory;
/// a failing device.
pub fn time_convolution<D: Driver>(
    l: &mut Launcher<D>,
    case: &Case,
    repeats: usize,
) -> Result<Fastest, DriverError> {
    l.driver.open_dnn()?;
    let (layer, element) = (&case.layer, element(case.version));
    let algorithms = l.driver.prepare_convolution(&Convolution {
        operation: match case.operation {
            ConvOperation::Fprop => Operation::Fprop,
            ConvOperation::Dgrad => Operation::Dgrad,
            ConvOperation::Wgrad => Operation::Wgrad,
        },
        element,
        batch: case.batch,
        small: layer.small,
        c_big: layer.c_big,
        c_small: layer.c_small,
    })?;
    let lens = [
        case.batch * layer.big_len(),
        case.batch * layer.small_len(),
        layer.weight_len(),
    ];
    with_tensors(l, element, lens, |l, [big, small, weights]| {
        let tensors = ConvolutionTensors {
            big,
            small,
            weights,
            workspace: None,
        };
        let mut fastest: Option<Fastest> = None;
        let mut refusals = Vec::new();
        for algorithm in &algorithms {
            let refusal = match time_algorithm(l, algorithm, tensors, repeats) {
                Ok(seconds) => {
                    if fastest.as_ref().is_none_or(|best| seconds < best.seconds) {
                        let algorithm = algorithm.to_string();
                        fastest = Some(Fastest { seconds, algorithm });
                    }
                    continue;
                }
                Err(DriverError::NoAlgorithm { reason }) => reason,
                Err(error @ DriverError::OutOfMemory { .. }) => error.to_string(),
                Err(error) => return Err(error),
            };
            // A refusal leaves the device as it was; what does not is told here.
            l.driver.synchronize()?;
            refusals.push(format!("{algorithm}: {refusal}"));
        }
        fastest.ok_or_else(|| DriverError::NoAlgorithm {
            reason: refusals.join("; "),
        })
    })
}

/// The median seconds of one of cuDNN's algorithms.
fn time_algorithm<D: Driver>(
    l: &mut Launcher<D>,
    algorithm: &Algorithm,
    tensors: ConvolutionTensors,
    repeats: usize,
) -> Result<f64, DriverError> {
    let workspace = match algorithm.workspace {
        0 => None,
        bytes if bytes > Algorithm::MOST_WORKSPACE => {
            return Err(DriverError::NoAlgorithm {
                reason: format!("it wants {bytes} bytes of workspace"),
            });
        }
        bytes => Some(l.driver.allocate("cuDNN's workspace", bytes)?),
    };
    let tensors = ConvolutionTensors {
        workspace,
        ..tensors
    };
    // Once without the time: what cuDNN refuses only here is passed over at once.
    let first = l.driver.convolve(algorithm, &tensors);
    let seconds = first.and_then(|()| cold(l, repeats, |l| l.driver.convolve(algorithm, &tensors)));
    let freed = workspace.map_or(Ok(()), |workspace| l.driver.free(workspace));
    seconds.and_then(|seconds| freed.map(|()| median(&seconds)))
}

/// Calls `f` with tensors of so many numbers of N(0, 1), which are given back whatever comes of it.
fn with_tensors<D: Driver, T, const N: usize>(
    l: &mut Launcher<D>,
    element: Element,
    lens: [usize; N],
    f: impl FnOnce(&mut Launcher<D>, [Pointer; N]) -> Result<T, DriverError>,
) -> Result<T, DriverError> {
    let mut allocations = Vec::with_capacity(N);
    let result = (|| {
        let mut pointers = [Pointer::NULL; N];
        for ((pointer, len), seed) in pointers.iter_mut().zip(lens).zip(1..) {
            let allocation = l
                .driver
                .allocate("a library's tensor", element.bytes() * len)?;
            allocations.push(allocation);
            *pointer = allocation.address;
            write_normals(l, *pointer, len, element == Element::Bf16, seed)?;
        }
        f(l, pointers)
    })();
    let freed = allocations
        .into_iter()
        .try_for_each(|allocation| l.driver.free(allocation));
    result.and_then(|value| freed.map(|()| value))
}

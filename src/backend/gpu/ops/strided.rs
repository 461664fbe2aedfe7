//! The 5x5 stride-2 layer: fprop, dgrad and wgrad.
//!
//! Tensors stay below 2^31 values: the kernels count in 32 bits.

use bytemuck::{Pod, Zeroable};

use super::{KernelVersion, activation_code};
use crate::backend::Accumulate;
use crate::backend::gpu::driver::{Driver, Geometry, Pointer};
use crate::backend::gpu::launcher::Launcher;
use crate::model::{Activation, StridedLayer};

/// Kernels of this file.
pub const KERNELS: &[&str] = &["fprop_v1", "dgrad_v1", "wgrad_v1", "sum_partials"];

/// The argument of the fprop and dgrad kernels.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct StridedParams {
    input: Pointer,
    weights: Pointer,
    bias: Pointer,
    output: Pointer,
    batch: u32,
    side: u32,
    c_big: u32,
    c_small: u32,
    pad_low: u32,
    activation: u32,
}

/// The argument of the wgrad kernels.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct WgradParams {
    big: Pointer,
    small: Pointer,
    partial: Pointer,
    batch: u32,
    side: u32,
    c_big: u32,
    c_small: u32,
    pad_low: u32,
    chunk: u32,
}

/// The argument of `sum_partials`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct SumPartialsParams {
    partial: Pointer,
    output: Pointer,
    len: u32,
    parts: u32,
    accumulate: u32,
    unused: u32,
}

/// One fprop or dgrad: `output = activation(sum + bias)`.
#[derive(Clone, Copy, Debug)]
pub struct StridedCall<'a> {
    pub layer: &'a StridedLayer,
    pub batch: usize,
    /// The big plane for fprop, the small plane for dgrad.
    pub input: Pointer,
    /// `[5, 5, c_big, c_small]`.
    pub weights: Pointer,
    /// One value for each channel of the output.
    pub bias: Option<Pointer>,
    pub activation: Activation,
    /// The small plane for fprop, the big plane for dgrad.
    pub output: Pointer,
}

impl StridedCall<'_> {
    fn params(&self) -> StridedParams {
        let layer = self.layer;
        let largest = self.batch * layer.big_len().max(layer.small_len());
        debug_assert!(largest.max(layer.weight_len()) < 1 << 31, "{self:?}");
        StridedParams {
            input: self.input,
            weights: self.weights,
            bias: self.bias.unwrap_or(Pointer::NULL),
            output: self.output,
            batch: self.batch as u32,
            side: layer.small as u32,
            c_big: layer.c_big as u32,
            c_small: layer.c_small as u32,
            pad_low: layer.pad_low.pixels() as u32,
            activation: activation_code(self.activation),
        }
    }
}

/// One wgrad: the gradient `[5, 5, c_big, c_small]` is set or added to.
#[derive(Clone, Copy, Debug)]
pub struct WgradCall<'a> {
    pub layer: &'a StridedLayer,
    pub batch: usize,
    pub big: Pointer,
    pub small: Pointer,
    pub gradient: Pointer,
    pub accumulate: Accumulate,
}

/// Big plane to small plane.
pub fn fprop<D: Driver>(l: &mut Launcher<D>, version: KernelVersion, call: &StridedCall) {
    Form::of(version).fprop(l, call);
}

/// Small plane to big plane.
pub fn dgrad<D: Driver>(l: &mut Launcher<D>, version: KernelVersion, call: &StridedCall) {
    Form::of(version).dgrad(l, call);
}

/// Both planes to the gradient of the weights.
pub fn wgrad<D: Driver>(l: &mut Launcher<D>, version: KernelVersion, call: &WgradCall) {
    Form::of(version).wgrad(l, call);
}

/// The kernels that there are for each operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The definition, one thread for each value.
    Direct,
    Few,
}

/// The kernels of a form.
pub struct Names {
    pub fprop: &'static str,
    pub dgrad: &'static str,
    pub wgrad: &'static str,
}

impl Form {
    /// All forms.
    pub const ALL: [Self; 1] = [Self::Direct];

    fn of(_version: KernelVersion) -> Self {
        Self::Direct
    }

    /// Its kernels.
    pub fn names(self) -> Names {
        Names {
            fprop: "fprop_v1",
            dgrad: "dgrad_v1",
            wgrad: "wgrad_v1",
        }
    }

    /// Whether channels must be multiples of 4 and tensors lie at multiples of 16 bytes.
    pub fn needs_vectors(self) -> bool {
        false
    }

    /// Products that the kernels compute, those of ragged tiles' empty places included.
    pub fn cost(self, layer: &StridedLayer, batch: usize) -> usize {
        batch * layer.small * layer.small * layer.weight_len()
    }

    /// [`fprop`] in this form.
    pub fn fprop<D: Driver>(self, l: &mut Launcher<D>, call: &StridedCall) {
        let outputs = call.batch * call.layer.small_len();
        l.launch(self.names().fprop, line(outputs), &call.params());
    }

    /// [`dgrad`] in this form.
    pub fn dgrad<D: Driver>(self, l: &mut Launcher<D>, call: &StridedCall) {
        let outputs = call.batch * call.layer.big_len();
        l.launch(self.names().dgrad, line(outputs), &call.params());
    }

    /// [`wgrad`] in this form.
    pub fn wgrad<D: Driver>(self, l: &mut Launcher<D>, call: &WgradCall) {
        let weights = call.layer.weight_len();
        // Enough threads for the largest devices, and few enough parts for the workspace.
        let split = Split::new(call, (1_usize << 20).div_ceil(weights), 64);
        let mut geometry = line(weights);
        geometry.grid[1] = split.parts;
        split.launch(l, self.names().wgrad, geometry);
    }
}

/// One thread for each of `values`.
fn line(values: usize) -> Geometry {
    const THREADS: u32 = 256;
    Geometry {
        grid: [(values as u32).div_ceil(THREADS), 1, 1],
        block: [THREADS, 1, 1],
    }
}

/// A wgrad whose sum over pixels is split. How, depends on shapes only: so do the bits.
struct Split<'a> {
    call: &'a WgradCall<'a>,
    parts: u32,
    /// Pixels of a part.
    chunk: u32,
}

impl<'a> Split<'a> {
    /// Pixels that one thread sums at most, so that f32 sums stay exact enough.
    const LONGEST: usize = 2048;

    /// About `parts` parts, of at least `shortest` pixels.
    fn new(call: &'a WgradCall<'a>, parts: usize, shortest: usize) -> Self {
        let pixels = call.batch * call.layer.small * call.layer.small;
        let chunk = pixels.div_ceil(parts).clamp(shortest, Self::LONGEST);
        Self {
            call,
            parts: pixels.div_ceil(chunk) as u32,
            chunk: chunk as u32,
        }
    }

    /// Launches `kernel`, which leaves one partial sum a part, and the second pass.
    fn launch<D: Driver>(&self, l: &mut Launcher<D>, kernel: &'static str, geometry: Geometry) {
        let (call, layer) = (self.call, self.call.layer);
        let weights = layer.weight_len();
        let partial = l.workspace(4 * weights * self.parts as usize);
        let params = WgradParams {
            big: call.big,
            small: call.small,
            partial,
            batch: call.batch as u32,
            side: layer.small as u32,
            c_big: layer.c_big as u32,
            c_small: layer.c_small as u32,
            pad_low: layer.pad_low.pixels() as u32,
            chunk: self.chunk,
        };
        l.launch(kernel, geometry, &params);
        sum_partials(
            l,
            partial,
            self.parts as usize,
            weights,
            call.gradient,
            call.accumulate,
        );
    }
}

/// `output [len]` is set to, or increased by, the sum of `partial [parts, len]` over its parts.
pub fn sum_partials<D: Driver>(
    l: &mut Launcher<D>,
    partial: Pointer,
    parts: usize,
    len: usize,
    output: Pointer,
    accumulate: Accumulate,
) {
    let params = SumPartialsParams {
        partial,
        output,
        len: len as u32,
        parts: parts as u32,
        accumulate: u32::from(accumulate == Accumulate::Later),
        unused: 0,
    };
    let block = if parts < 32 { [256, 1, 1] } else { [32, 16, 1] };
    let geometry = Geometry {
        grid: [(len as u32).div_ceil(block[0]), 1, 1],
        block,
    };
    l.launch("sum_partials", geometry, &params);
}

//! The 5x5 stride-2 layer: fprop, dgrad and wgrad.
//!
//! Tensors stay below 2^31 values: the kernels count in 32 bits.

use bytemuck::{Pod, Zeroable};

use super::strided_form::{Form, Operation, few};
use super::{KernelVersion, activation_code};
use crate::backend::Accumulate;
use crate::backend::gpu::driver::{Driver, Geometry, Pointer};
use crate::backend::gpu::launcher::Launcher;
use crate::model::{Activation, StridedLayer};

/// Kernels of this file.
pub const KERNELS: &[&str] = &[
    "fprop_v1",
    "fprop_v2_128x128",
    "fprop_v2_128x64",
    "fprop_v2_64x32",
    "fprop_v2_any",
    "few_fprop",
    "dgrad_v1",
    "dgrad_v2_128x128",
    "dgrad_v2_128x64",
    "dgrad_v2_64x32",
    "dgrad_v2_any",
    "few_dgrad",
    "wgrad_v1",
    "wgrad_v2_128x128",
    "wgrad_v2_64x128",
    "wgrad_v2_64x32",
    "wgrad_v2_any",
    "few_wgrad",
    "sum_partials",
];

/// Taps of the filter.
const TAPS: usize = StridedLayer::TAPS * StridedLayer::TAPS;

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

impl WgradCall<'_> {
    /// Independent products of big by small channels that the tiled kernels compute.
    pub(super) fn tiled_copies(&self) -> usize {
        TAPS * tiled_split(self.layer, self.batch).parts
    }
}

/// Big plane to small plane.
pub fn fprop<D: Driver>(l: &mut Launcher<D>, version: KernelVersion, call: &StridedCall) {
    Form::of_fprop(version, call).fprop(l, call);
}

/// Small plane to big plane.
pub fn dgrad<D: Driver>(l: &mut Launcher<D>, version: KernelVersion, call: &StridedCall) {
    Form::of_dgrad(version, call).dgrad(l, call);
}

/// Both planes to the gradient of the weights.
pub fn wgrad<D: Driver>(l: &mut Launcher<D>, version: KernelVersion, call: &WgradCall) {
    Form::of_wgrad(version, call).wgrad(l, call);
}

impl Form {
    /// [`fprop`] in this form.
    pub fn fprop<D: Driver>(self, l: &mut Launcher<D>, call: &StridedCall) {
        let (layer, pixels) = (call.layer, call.batch * call.layer.small * call.layer.small);
        let geometry = match self {
            Form::Direct => line(pixels * layer.c_small),
            Form::Few => Geometry {
                grid: [
                    (call.batch * few::tiles(layer.small, few::FPROP_TILE)) as u32,
                    layer.c_small.div_ceil(few::CHANNELS) as u32,
                    1,
                ],
                block: [256, 1, 1],
            },
            _ => self
                .tile(Operation::Fprop)
                .geometry(pixels, layer.c_small, 1),
        };
        l.launch(self.kernel(Operation::Fprop), geometry, &call.params());
    }

    /// [`dgrad`] in this form.
    pub fn dgrad<D: Driver>(self, l: &mut Launcher<D>, call: &StridedCall) {
        const PARITIES: usize = 4;
        let (layer, pixels) = (call.layer, call.batch * call.layer.small * call.layer.small);
        let geometry = match self {
            Form::Direct => line(PARITIES * pixels * layer.c_big),
            // Positions 0 to S: the tiles cover one row and one column more.
            Form::Few => Geometry {
                grid: [
                    (call.batch * few::tiles(layer.small + 1, few::DGRAD_TILE)) as u32,
                    1,
                    1,
                ],
                block: [128, 1, 1],
            },
            _ => self
                .tile(Operation::Dgrad)
                .geometry(pixels, layer.c_big, PARITIES),
        };
        l.launch(self.kernel(Operation::Dgrad), geometry, &call.params());
    }

    /// How the sum over `batch` samples is split, in chunks as large as those of `like` samples.
    fn wgrad_split(self, layer: &StridedLayer, batch: usize, like: usize) -> Split {
        let pixels = |samples: usize| samples * layer.small * layer.small;
        let tiles = |samples: usize| samples * few::tiles(layer.small, few::WGRAD_TILE);
        let (items, chunk, groups) = match self {
            Form::Direct => {
                let parts = (1_usize << 20).div_ceil(layer.weight_len());
                (pixels(batch), Split::new(pixels(like), parts, 1).chunk, 1)
            }
            Form::Few => {
                let split = Split::new(tiles(like), 1024, few::WGRAD_TILE_PIXELS);
                (tiles(batch), split.chunk, few::WGRAD_GROUPS)
            }
            _ => (pixels(batch), tiled_split(layer, like).chunk, 1),
        };
        Split {
            parts: items.div_ceil(chunk) * groups,
            chunk,
        }
    }

    /// Partial sums that [`Form::wgrad_like`] leaves of each weight before they are merged.
    pub fn wgrad_parts(self, layer: &StridedLayer, batch: usize, like: usize) -> usize {
        self.wgrad_split(layer, batch, like).parts
    }

    /// [`wgrad`] in this form.
    pub fn wgrad<D: Driver>(self, l: &mut Launcher<D>, call: &WgradCall) {
        self.wgrad_like(l, call, call.batch);
    }

    /// The same, its sum split into chunks as large as those of `like` samples: for those who count what
    /// so many would do.
    pub fn wgrad_like<D: Driver>(self, l: &mut Launcher<D>, call: &WgradCall, like: usize) {
        let layer = call.layer;
        let weights = layer.weight_len();
        let split = self.wgrad_split(layer, call.batch, like);
        let geometry = match self {
            Form::Direct => {
                let mut geometry = line(weights);
                geometry.grid[1] = split.parts as u32;
                geometry
            }
            Form::Few => Geometry {
                grid: [
                    (split.parts / few::WGRAD_GROUPS) as u32,
                    layer.c_small.div_ceil(few::CHANNELS) as u32,
                    layer.c_big as u32,
                ],
                block: [240, 1, 1],
            },
            _ => {
                let copies = TAPS * split.parts;
                let tile = self.tile(Operation::Wgrad);
                tile.geometry(layer.c_big, layer.c_small, copies)
            }
        };
        let partial = l.workspace(4 * weights * split.parts);
        let params = WgradParams {
            big: call.big,
            small: call.small,
            partial,
            batch: call.batch as u32,
            side: layer.small as u32,
            c_big: layer.c_big as u32,
            c_small: layer.c_small as u32,
            pad_low: layer.pad_low.pixels() as u32,
            chunk: split.chunk as u32,
        };
        l.launch(self.kernel(Operation::Wgrad), geometry, &params);
        sum_partials(
            l,
            partial,
            split.parts,
            weights,
            call.gradient,
            call.accumulate,
        );
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

/// How a sum is split into parts. Shapes alone decide, and so do they over the bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Split {
    parts: usize,
    /// Items of a part; the last one may have fewer.
    chunk: usize,
}

impl Split {
    /// Pixels that are summed in f32 before partial sums are merged, at most.
    const LONGEST: usize = 2048;
    /// Pixels for which a part is worth its second pass.
    const SHORTEST: usize = 64;

    /// About `parts` parts of `items` items, each of `pixels` pixels.
    fn new(items: usize, parts: usize, pixels: usize) -> Self {
        let shortest = Self::SHORTEST.div_ceil(pixels);
        let longest = (Self::LONGEST / pixels).max(shortest);
        let chunk = items.div_ceil(parts).clamp(shortest, longest);
        Self {
            parts: items.div_ceil(chunk),
            chunk,
        }
    }
}

/// The parts of a tiled wgrad: the same for all tiles, so that they give the same bits.
fn tiled_split(layer: &StridedLayer, batch: usize) -> Split {
    const BLOCKS: usize = 1024;
    let tiles = TAPS * layer.c_big.div_ceil(128) * layer.c_small.div_ceil(128);
    let pixels = batch * layer.small * layer.small;
    Split::new(pixels, BLOCKS.div_ceil(tiles), 1)
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

//! The outermost layer in mixed precision: maps in f32 on the big plane, of any number of channels and
//! best of one to four, joined with a small plane in bf16.
//!
//! Tensors stay below 2^31 values: the kernels count in 32 bits.

use bytemuck::{Pod, Zeroable};

use super::{Below, End, Input, Parts};
use crate::backend::Accumulate;
use crate::backend::gpu::driver::{Driver, Geometry, Pointer};
use crate::backend::gpu::launcher::Launcher;
use crate::backend::gpu::ops::strided::sum_partials;
use crate::backend::gpu::ops::{activation_code, aligned, small};
use crate::model::{Activation, PadLow, StridedLayer};

/// Kernels of this file.
pub const KERNELS: &[&str] = &[
    "few_fprop_v3_forward",
    "few_fprop_v3_forward_any",
    "few_fprop_v3_moments",
    "few_fprop_v3_moments_any",
    "few_fprop_v3_backward",
    "few_fprop_v3_backward_any",
    "few_fprop_v3_applied",
    "few_fprop_v3_applied_any",
    "few_dgrad_v3_one_pad1",
    "few_dgrad_v3_one_pad2",
    "few_dgrad_v3_four_pad1",
    "few_dgrad_v3_four_pad2",
    "few_dgrad_v3_any_pad1",
    "few_dgrad_v3_any_pad2",
    "few_wgrad_v3",
    "few_wgrad_v3_any",
];

/// Small channels of a block of fprop and wgrad.
const CHANNELS: usize = 64;

/// Rows and columns of small pixels of a tile.
const FPROP_TILE: (usize, usize) = (8, 32);
const WGRAD_TILE: (usize, usize) = (4, 32);

/// Parts that a long sum is split into, about: blocks that keep the largest devices busy.
const PARTS: usize = 1024;

/// Tiles of a part at most, which are summed in f32 before parts are merged.
const LONGEST: usize = 64;

/// The argument of the fprop kernels.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct FewFpropParams {
    big: Pointer,
    weights: Pointer,
    bias: Pointer,
    value: Pointer,
    saved: Pointer,
    affine: Pointer,
    totals: Pointer,
    output: Pointer,
    parts: Pointer,
    samples: u32,
    side: u32,
    c_big: u32,
    c_small: u32,
    pad_low: u32,
    activation: u32,
    chunk: u32,
    unused: u32,
}

/// The argument of the dgrad kernels.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct FewDgradParams {
    input: Pointer,
    saved: Pointer,
    affine: Pointer,
    weights: Pointer,
    bias: Pointer,
    output: Pointer,
    value: Pointer,
    samples: u32,
    side: u32,
    c_big: u32,
    c_small: u32,
    activation: u32,
    input_activation: u32,
}

/// The argument of the wgrad kernels.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct FewWgradParams {
    big: Pointer,
    small: Pointer,
    saved: Pointer,
    affine: Pointer,
    partial: Pointer,
    samples: u32,
    side: u32,
    c_big: u32,
    c_small: u32,
    pad_low: u32,
    activation: u32,
    chunk: u32,
    parts: u32,
}

/// One fprop: maps to the small plane.
#[derive(Clone, Copy, Debug)]
pub struct FewFprop<'a> {
    pub layer: &'a StridedLayer,
    pub batch: usize,
    /// Equal parts of the batch; each has statistics of its own.
    pub groups: usize,
    /// f32.
    pub big: Pointer,
    /// `[5, 5, c_big, c_small]`, f32.
    pub weights: Pointer,
    /// The small plane, bf16.
    pub output: Pointer,
    pub end: End,
}

/// One dgrad: `maps = activation(sum + bias)`, or `sum slope` for the gradient of maps.
#[derive(Clone, Copy, Debug)]
pub struct FewDgrad<'a> {
    pub layer: &'a StridedLayer,
    pub batch: usize,
    /// The small plane.
    pub input: Input,
    /// `[5, 5, c_big, c_small]`, f32.
    pub weights: Pointer,
    /// One f32 for each channel of the maps.
    pub bias: Option<Pointer>,
    pub activation: Activation,
    /// The maps, f32.
    pub output: Pointer,
    /// The output, f32, of the block that made the maps, whose activation it is: the gradient of its
    /// linear output is then wanted, and there is no bias.
    pub value: Option<Pointer>,
}

/// One wgrad: the gradient `[5, 5, c_big, c_small]`, f32, is set or added to.
#[derive(Clone, Copy, Debug)]
pub struct FewWgrad<'a> {
    pub layer: &'a StridedLayer,
    pub batch: usize,
    /// f32.
    pub big: Pointer,
    pub small: Input,
    pub gradient: Pointer,
    pub accumulate: Accumulate,
}

/// How a group's tiles are split into parts: shapes alone decide, and so do they over the bits.
#[derive(Clone, Copy, Debug)]
struct Split {
    /// Of a group.
    parts: usize,
    /// Tiles of a part; the last one may have fewer.
    chunk: usize,
}

impl Split {
    fn new(samples: usize, side: usize, (rows, columns): (usize, usize), parts: usize) -> Self {
        let tiles = samples * side.div_ceil(rows) * side.div_ceil(columns);
        let chunk = tiles.div_ceil(parts).clamp(1, LONGEST);
        Self {
            parts: tiles.div_ceil(chunk),
            chunk,
        }
    }

    fn of_fprop(layer: &StridedLayer, batch: usize, groups: usize) -> Self {
        let blocks = groups * layer.c_small.div_ceil(CHANNELS);
        Self::new(
            batch / groups,
            layer.small,
            FPROP_TILE,
            PARTS.div_ceil(blocks),
        )
    }
}

/// What all calls ask of a layer's tensors.
fn assert_small(layer: &StridedLayer, batch: usize, groups: usize) {
    let largest = batch * layer.big_len().max(layer.small_len());
    debug_assert!(small(largest.max(layer.weight_len())), "{layer:?}");
    debug_assert!(
        groups > 0 && batch.is_multiple_of(groups),
        "{groups} groups of {batch}"
    );
}

/// Whether the kernels that move 8 channels at once take the layer, whose bf16 tensors are `halves`.
fn vectors(layer: &StridedLayer, halves: &[Pointer], activation: Activation) -> bool {
    layer.c_small.is_multiple_of(8) && aligned(halves) && activation != Activation::Tanh
}

/// An input's pointers and numbers, as the kernels want them.
struct Source {
    values: Pointer,
    saved: Pointer,
    affine: Pointer,
    groups: usize,
    activation: Activation,
}

impl From<Input> for Source {
    fn from(input: Input) -> Self {
        match input {
            Input::Stored(values) => Self {
                values,
                saved: Pointer::NULL,
                affine: Pointer::NULL,
                groups: 1,
                activation: Activation::Identity,
            },
            Input::Normed {
                u,
                norm,
                groups,
                activation,
            } => Self {
                values: u,
                saved: norm.saved,
                affine: norm.affine,
                groups,
                activation,
            },
        }
    }
}

/// Parts of the moments or sums that [`fprop`] leaves.
pub fn fprop_parts(layer: &StridedLayer, batch: usize, groups: usize) -> Parts {
    Parts {
        groups,
        parts: Split::of_fprop(layer, batch, groups).parts,
        features: layer.c_small,
    }
}

/// Maps to the small plane.
pub fn fprop<D: Driver>(l: &mut Launcher<D>, call: &FewFprop) {
    let &FewFprop {
        layer,
        batch,
        groups,
        big,
        weights,
        output,
        end,
    } = call;
    let pass = Pass {
        layer,
        batch,
        groups,
        big,
        weights,
    };
    match end {
        End::Forward {
            bias,
            activation,
            moments,
        } => {
            let kernels = match moments {
                None => ["few_fprop_v3_forward", "few_fprop_v3_forward_any"],
                Some(_) => ["few_fprop_v3_moments", "few_fprop_v3_moments_any"],
            };
            let params = FewFpropParams {
                bias: bias.unwrap_or(Pointer::NULL),
                parts: moments.unwrap_or(Pointer::NULL),
                output,
                ..pass.params(activation)
            };
            pass.launch(l, kernels, activation, &params);
        }
        End::Backward(below) => pass.backward(l, &below, output),
    }
}

/// The sums of `below` alone: first of the two passes of a gradient that is cheaper to make twice
/// than to keep. Nothing is stored.
pub fn fprop_sums<D: Driver>(
    l: &mut Launcher<D>,
    layer: &StridedLayer,
    batch: usize,
    groups: usize,
    big: Pointer,
    weights: Pointer,
    below: &Below,
) {
    debug_assert!(below.sums.is_some(), "sums that nobody wants");
    let pass = Pass {
        layer,
        batch,
        groups,
        big,
        weights,
    };
    pass.backward(l, below, Pointer::NULL);
}

/// The second pass: the gradient of the linear output,
/// `gamma scale (g - (total_g + xhat total_gxhat) / rows)`, bf16. `totals [groups, 2, c_small]`, f32,
/// are the sums of `g` and `g xhat` over the group's rows. Without a batch norm it is `g`.
#[expect(
    clippy::too_many_arguments,
    reason = "those of `fprop_sums` and two more"
)]
pub fn fprop_applied<D: Driver>(
    l: &mut Launcher<D>,
    layer: &StridedLayer,
    batch: usize,
    groups: usize,
    big: Pointer,
    weights: Pointer,
    below: &Below,
    totals: Pointer,
    output: Pointer,
) {
    let pass = Pass {
        layer,
        batch,
        groups,
        big,
        weights,
    };
    if below.norm.is_none() {
        let below = Below {
            sums: None,
            ..*below
        };
        return pass.backward(l, &below, output);
    }
    let params = FewFpropParams {
        totals,
        output,
        parts: Pointer::NULL,
        ..pass.below(below)
    };
    let kernels = ["few_fprop_v3_applied", "few_fprop_v3_applied_any"];
    pass.launch(l, kernels, below.activation, &params);
}

/// What all kinds of fprop have.
struct Pass<'a> {
    layer: &'a StridedLayer,
    batch: usize,
    groups: usize,
    big: Pointer,
    weights: Pointer,
}

impl Pass<'_> {
    fn params(&self, activation: Activation) -> FewFpropParams {
        let layer = self.layer;
        assert_small(layer, self.batch, self.groups);
        FewFpropParams {
            big: self.big,
            weights: self.weights,
            samples: (self.batch / self.groups) as u32,
            side: layer.small as u32,
            c_big: layer.c_big as u32,
            c_small: layer.c_small as u32,
            pad_low: layer.pad_low.pixels() as u32,
            activation: activation_code(activation),
            chunk: self.split().chunk as u32,
            ..FewFpropParams::zeroed()
        }
    }

    fn split(&self) -> Split {
        Split::of_fprop(self.layer, self.batch, self.groups)
    }

    fn below(&self, below: &Below) -> FewFpropParams {
        FewFpropParams {
            value: below.value,
            saved: below.norm.map_or(Pointer::NULL, |norm| norm.saved),
            affine: below.norm.map_or(Pointer::NULL, |norm| norm.affine),
            parts: below.sums.unwrap_or(Pointer::NULL),
            ..self.params(below.activation)
        }
    }

    fn backward<D: Driver>(&self, l: &mut Launcher<D>, below: &Below, output: Pointer) {
        let params = FewFpropParams {
            output,
            ..self.below(below)
        };
        let kernels = ["few_fprop_v3_backward", "few_fprop_v3_backward_any"];
        self.launch(l, kernels, below.activation, &params);
    }

    fn launch<D: Driver>(
        &self,
        l: &mut Launcher<D>,
        [vector, any]: [&'static str; 2],
        activation: Activation,
        params: &FewFpropParams,
    ) {
        let vectors = vectors(self.layer, &[params.value, params.output], activation);
        let geometry = Geometry {
            grid: [
                self.split().parts as u32,
                self.layer.c_small.div_ceil(CHANNELS) as u32,
                self.groups as u32,
            ],
            block: [256, 1, 1],
        };
        l.launch(if vectors { vector } else { any }, geometry, params);
    }
}

/// Small plane to maps.
pub fn dgrad<D: Driver>(l: &mut Launcher<D>, call: &FewDgrad) {
    /// Columns of positions of a tile.
    const COLUMNS: usize = 32;
    /// Channels of the maps that are made at once where there is more than one.
    const FOUR: usize = 4;
    let layer = call.layer;
    let source = Source::from(call.input);
    assert_small(layer, call.batch, source.groups);
    let vectors = vectors(layer, &[source.values], source.activation)
        && aligned(&[call.output, call.value.unwrap_or(Pointer::NULL)]);
    let (kernels, rows, channels) = match (vectors, layer.c_big) {
        (false, _) => (["few_dgrad_v3_any_pad1", "few_dgrad_v3_any_pad2"], 16, 1),
        (true, 1) => (["few_dgrad_v3_one_pad1", "few_dgrad_v3_one_pad2"], 16, 1),
        _ => (
            ["few_dgrad_v3_four_pad1", "few_dgrad_v3_four_pad2"],
            8,
            FOUR,
        ),
    };
    let tiles = layer.small.div_ceil(rows) * layer.small.div_ceil(COLUMNS);
    let geometry = Geometry {
        grid: [
            (call.batch * tiles) as u32,
            layer.c_big.div_ceil(channels) as u32,
            1,
        ],
        block: [128, 1, 1],
    };
    let params = FewDgradParams {
        input: source.values,
        saved: source.saved,
        affine: source.affine,
        weights: call.weights,
        bias: call.bias.unwrap_or(Pointer::NULL),
        output: call.output,
        value: call.value.unwrap_or(Pointer::NULL),
        samples: (call.batch / source.groups) as u32,
        side: layer.small as u32,
        c_big: layer.c_big as u32,
        c_small: layer.c_small as u32,
        activation: activation_code(call.activation),
        input_activation: activation_code(source.activation),
    };
    let kernel = match layer.pad_low {
        PadLow::One => kernels[0],
        PadLow::Two => kernels[1],
    };
    l.launch(kernel, geometry, &params);
}

/// Blocks of a [`wgrad`] across the channels of the small and of the big plane.
fn wgrad_tiles(layer: &StridedLayer) -> [usize; 2] {
    /// Big channels of a block.
    const MOST_BIG: usize = 4;
    [
        layer.c_small.div_ceil(CHANNELS),
        layer.c_big.div_ceil(MOST_BIG),
    ]
}

fn wgrad_split(layer: &StridedLayer, batch: usize, groups: usize) -> Split {
    let [columns, bigs] = wgrad_tiles(layer);
    let wanted = PARTS.div_ceil(groups * columns * bigs);
    Split::new(batch / groups, layer.small, WGRAD_TILE, wanted)
}

/// Partial sums that [`wgrad`] leaves of each weight before they are merged.
pub fn wgrad_parts(layer: &StridedLayer, batch: usize, groups: usize) -> usize {
    groups * wgrad_split(layer, batch, groups).parts
}

/// Both planes to the gradient of the weights.
pub fn wgrad<D: Driver>(l: &mut Launcher<D>, call: &FewWgrad) {
    let layer = call.layer;
    let source = Source::from(call.small);
    assert_small(layer, call.batch, source.groups);
    let samples = call.batch / source.groups;
    let [columns, bigs] = wgrad_tiles(layer);
    let split = wgrad_split(layer, call.batch, source.groups);
    let (parts, weights) = (source.groups * split.parts, layer.weight_len());
    let partial = l.workspace(4 * weights * parts);
    let geometry = Geometry {
        grid: [parts as u32, columns as u32, bigs as u32],
        block: [256, 1, 1],
    };
    let params = FewWgradParams {
        big: call.big,
        small: source.values,
        saved: source.saved,
        affine: source.affine,
        partial,
        samples: samples as u32,
        side: layer.small as u32,
        c_big: layer.c_big as u32,
        c_small: layer.c_small as u32,
        pad_low: layer.pad_low.pixels() as u32,
        activation: activation_code(source.activation),
        chunk: split.chunk as u32,
        parts: split.parts as u32,
    };
    let kernel = match vectors(layer, &[source.values], source.activation) {
        true => "few_wgrad_v3",
        false => "few_wgrad_v3_any",
    };
    l.launch(kernel, geometry, &params);
    sum_partials(l, partial, parts, weights, call.gradient, call.accumulate);
}

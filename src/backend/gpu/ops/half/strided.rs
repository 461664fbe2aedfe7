//! The 5x5 stride-2 layer on tensor cores: fprop and dgrad.
//!
//! Tensors stay below 2^31 values: the kernels count in 32 bits.

use bytemuck::{Pod, Zeroable};

use super::{End, Parts};
use crate::backend::gpu::driver::{Driver, Geometry, Pointer};
use crate::backend::gpu::launcher::Launcher;
use crate::backend::gpu::ops::activation_code;
use crate::model::StridedLayer;

/// Kernels of this file.
pub const KERNELS: &[&str] = &[
    "fprop_v3_128x128",
    "fprop_v3_128x64",
    "fprop_v3_64x64",
    "fprop_v3_any",
    "dgrad_v3_128x128",
    "dgrad_v3_128x64",
    "dgrad_v3_64x64",
    "dgrad_v3_any",
];

/// The argument of the kernels.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct HalfStridedParams {
    input: Pointer,
    weights: Pointer,
    output: Pointer,
    bias: Pointer,
    value: Pointer,
    saved: Pointer,
    affine: Pointer,
    sums: Pointer,
    samples: u32,
    groups: u32,
    side: u32,
    c_in: u32,
    c_out: u32,
    pad_low: u32,
    activation: u32,
    backward: u32,
    columns: u32,
    unused: u32,
}

/// One fprop or dgrad. Tensors lie at multiples of 16 bytes, those of parameters at multiples of 4.
#[derive(Clone, Copy, Debug)]
pub struct StridedCall<'a> {
    pub layer: &'a StridedLayer,
    pub batch: usize,
    /// Groups of samples with statistics of their own; they divide the batch.
    pub groups: usize,
    /// bf16: the big plane for fprop, the small plane for dgrad.
    pub input: Pointer,
    /// The weights, packed for this operation ([`super::pack`]).
    pub packed: Pointer,
    /// bf16: the small plane for fprop, the big plane for dgrad.
    pub output: Pointer,
    pub end: End,
}

/// The two operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Fprop,
    Dgrad,
}

impl Operation {
    /// Summed channels and output channels.
    pub fn channels(self, layer: &StridedLayer) -> (usize, usize) {
        match self {
            Operation::Fprop => (layer.c_big, layer.c_small),
            Operation::Dgrad => (layer.c_small, layer.c_big),
        }
    }
}

/// The kernels that there are for each operation: small pixels by output channels of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// 128 x 128.
    Large,
    /// 128 x 64.
    Medium,
    /// 64 x 64.
    Small,
    /// 64 x 64, for any channel counts.
    Any,
}

/// The small pixels of a block: `images` samples of one group, each of `rows` x `columns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    pub images: usize,
    pub rows: usize,
    pub columns: usize,
}

impl Tile {
    /// Tiles of a group; they are numbered column by column, row by row, then by samples.
    pub fn count(&self, side: usize, samples: usize) -> usize {
        samples.div_ceil(self.images) * side.div_ceil(self.rows) * side.div_ceil(self.columns)
    }
}

impl Form {
    /// All forms.
    pub const ALL: [Self; 4] = [Self::Large, Self::Medium, Self::Small, Self::Any];

    /// The form's kernel.
    pub fn kernel(self, operation: Operation) -> &'static str {
        use Operation::{Dgrad, Fprop};
        match (self, operation) {
            (Form::Large, Fprop) => "fprop_v3_128x128",
            (Form::Medium, Fprop) => "fprop_v3_128x64",
            (Form::Small, Fprop) => "fprop_v3_64x64",
            (Form::Any, Fprop) => "fprop_v3_any",
            (Form::Large, Dgrad) => "dgrad_v3_128x128",
            (Form::Medium, Dgrad) => "dgrad_v3_128x64",
            (Form::Small, Dgrad) => "dgrad_v3_64x64",
            (Form::Any, Dgrad) => "dgrad_v3_any",
        }
    }

    /// Whether the form takes a layer.
    pub fn takes(self, layer: &StridedLayer) -> bool {
        let eights = layer.c_big.is_multiple_of(8) && layer.c_small.is_multiple_of(8);
        eights || self == Form::Any
    }

    /// The form for a shape on a device of so many multiprocessors.
    pub fn of(
        operation: Operation,
        layer: &StridedLayer,
        batch: usize,
        groups: usize,
        multiprocessors: usize,
    ) -> Self {
        /// Blocks of the larger forms that a multiprocessor holds.
        const HELD: usize = 2;
        if !Form::Small.takes(layer) {
            return Form::Any;
        }
        let (_, outputs) = operation.channels(layer);
        let larger = match outputs.div_ceil(64) % 2 {
            0 => Form::Large,
            _ => Form::Medium,
        };
        let blocks = larger.blocks(operation, layer, batch, groups);
        // A tile that is mostly empty does more work than one that fits; where three quarters of a wave
        // are full, the larger form's fewer bytes weigh more than the rest.
        if layer.small > 4 && 4 * blocks >= 3 * HELD * multiprocessors {
            larger
        } else {
            Form::Small
        }
    }

    /// Warps of a block.
    fn warps(self) -> usize {
        match self {
            Form::Large => 4,
            Form::Medium | Form::Small | Form::Any => 2,
        }
    }

    /// Output channels of a block.
    fn width(self) -> usize {
        32 * self.warps()
    }

    /// The tile for a small plane: rows of 16 pixels of one sample or of several.
    pub fn tile(self, side: usize) -> Tile {
        let rows = match self {
            Form::Large | Form::Medium => 8,
            Form::Small | Form::Any => 4,
        };
        let columns = side.next_power_of_two().clamp(rows, 16);
        Tile {
            images: 16 / columns,
            rows,
            columns,
        }
    }

    /// Blocks of a call.
    fn blocks(
        self,
        operation: Operation,
        layer: &StridedLayer,
        batch: usize,
        groups: usize,
    ) -> usize {
        let (_, outputs) = operation.channels(layer);
        let tiles = self.tile(layer.small).count(layer.small, batch / groups);
        groups * tiles * outputs.div_ceil(self.width())
    }

    /// Products that a call computes, those of the tiles' empty places included.
    pub fn products(
        self,
        operation: Operation,
        layer: &StridedLayer,
        batch: usize,
        groups: usize,
    ) -> usize {
        let (inputs, _) = operation.channels(layer);
        let tile = self.tile(layer.small);
        let pixels = tile.images * tile.rows * tile.columns;
        let blocks = self.blocks(operation, layer, batch, groups);
        let taps = StridedLayer::TAPS * StridedLayer::TAPS;
        blocks * pixels * self.width() * taps * inputs.next_multiple_of(16)
    }

    /// Parts of the statistics that this form leaves.
    pub fn parts(
        self,
        operation: Operation,
        layer: &StridedLayer,
        batch: usize,
        groups: usize,
    ) -> Parts {
        Parts {
            groups,
            parts: self.tile(layer.small).count(layer.small, batch / groups),
            features: operation.channels(layer).1,
        }
    }

    /// The operation in this form.
    pub fn run<D: Driver>(self, l: &mut Launcher<D>, operation: Operation, call: &StridedCall) {
        let blocks = self.blocks(operation, call.layer, call.batch, call.groups);
        let geometry = Geometry {
            grid: [blocks as u32, 1, 1],
            block: [32 * self.warps() as u32, 1, 1],
        };
        l.launch(
            self.kernel(operation),
            geometry,
            &self.params(operation, call),
        );
    }

    fn params(self, operation: Operation, call: &StridedCall) -> HalfStridedParams {
        let layer = call.layer;
        let largest = call.batch * layer.big_len().max(layer.small_len());
        debug_assert!(largest < 1 << 31, "{call:?}");
        debug_assert!(call.batch.is_multiple_of(call.groups), "{call:?}");
        let (c_in, c_out) = operation.channels(layer);
        let samples = call.batch / call.groups;
        let columns = self.tile(layer.small).columns;
        let mut params = HalfStridedParams {
            input: call.input,
            weights: call.packed,
            output: call.output,
            samples: samples as u32,
            groups: call.groups as u32,
            side: layer.small as u32,
            c_in: c_in as u32,
            c_out: c_out as u32,
            pad_low: layer.pad_low.pixels() as u32,
            columns: columns.ilog2(),
            ..HalfStridedParams::zeroed()
        };
        match call.end {
            End::Forward {
                bias,
                activation,
                moments,
            } => {
                params.bias = bias.unwrap_or(Pointer::NULL);
                params.activation = activation_code(activation);
                params.sums = moments.unwrap_or(Pointer::NULL);
            }
            End::Backward(below) => {
                params.backward = 1;
                params.activation = activation_code(below.activation);
                params.value = below.value;
                params.sums = below.sums.unwrap_or(Pointer::NULL);
                if let Some(norm) = below.norm {
                    params.saved = norm.saved;
                    params.affine = norm.affine;
                }
            }
        }
        params
    }
}

/// Big plane to small plane.
pub fn fprop<D: Driver>(l: &mut Launcher<D>, call: &StridedCall) {
    run(l, Operation::Fprop, call);
}

/// Small plane to big plane.
pub fn dgrad<D: Driver>(l: &mut Launcher<D>, call: &StridedCall) {
    run(l, Operation::Dgrad, call);
}

fn run<D: Driver>(l: &mut Launcher<D>, operation: Operation, call: &StridedCall) {
    let device = l.multiprocessors();
    let form = Form::of(operation, call.layer, call.batch, call.groups, device);
    form.run(l, operation, call);
}

/// Parts of the statistics that [`fprop`] or [`dgrad`] leaves.
pub fn parts<D: Driver>(
    l: &Launcher<D>,
    operation: Operation,
    layer: &StridedLayer,
    batch: usize,
    groups: usize,
) -> Parts {
    let device = l.multiprocessors();
    Form::of(operation, layer, batch, groups, device).parts(operation, layer, batch, groups)
}

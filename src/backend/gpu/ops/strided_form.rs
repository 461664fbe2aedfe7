//! Which kernels there are for the strided layer, and which of them takes a call.

use super::strided::{StridedCall, WgradCall};
use super::{KernelVersion, aligned};
use crate::backend::gpu::driver::Geometry;
use crate::model::StridedLayer;

/// The layer's operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Fprop,
    Dgrad,
    Wgrad,
}

/// The kernels that there are for each operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The definition, one thread for each value.
    Direct,
    /// 1 to 4 big channels.
    Few,
    /// Tiles of 128 x 128.
    Large,
    /// Tiles of 128 pixels x 64 channels; for wgrad of 64 x 128 channels.
    Medium,
    /// Tiles of 64 x 32.
    Small,
    /// Tiles of 64 x 32, for any channel counts and addresses.
    Any,
}

/// The geometry of the kernels for few big channels.
pub(super) mod few {
    /// Big channels that the kernels take.
    pub const MOST_BIG: usize = 4;
    /// Small channels of a block.
    pub const CHANNELS: usize = 64;
    /// Rows and columns of small pixels of a block.
    pub const FPROP_TILE: (usize, usize) = (8, 16);
    pub const DGRAD_TILE: (usize, usize) = (8, 16);
    pub const WGRAD_TILE: (usize, usize) = (6, 32);
    /// Partial sums that a block of wgrad leaves.
    pub const WGRAD_GROUPS: usize = 3;
    /// Pixels of a tile that one of them takes.
    pub const WGRAD_TILE_PIXELS: usize = WGRAD_TILE.0 * WGRAD_TILE.1 / WGRAD_GROUPS;

    /// Tiles that cover a square.
    pub fn tiles(side: usize, (rows, columns): (usize, usize)) -> usize {
        side.div_ceil(rows) * side.div_ceil(columns)
    }
}

/// A tile of a matrix product.
pub struct Tile {
    pub rows: usize,
    pub columns: usize,
    pub threads: u32,
}

impl Tile {
    fn blocks(&self, rows: usize, columns: usize) -> usize {
        rows.div_ceil(self.rows) * columns.div_ceil(self.columns)
    }

    /// Blocks for `copies` products of `rows` x `columns`.
    pub fn geometry(&self, rows: usize, columns: usize, copies: usize) -> Geometry {
        Geometry {
            grid: [(self.blocks(rows, columns) * copies) as u32, 1, 1],
            block: [self.threads, 1, 1],
        }
    }
}

impl Form {
    /// All forms.
    pub const ALL: [Self; 6] = [
        Self::Direct,
        Self::Few,
        Self::Large,
        Self::Medium,
        Self::Small,
        Self::Any,
    ];

    /// The form's kernel.
    pub fn kernel(self, operation: Operation) -> &'static str {
        use Operation::{Dgrad, Fprop, Wgrad};
        match (self, operation) {
            (Form::Direct, Fprop) => "fprop_v1",
            (Form::Few, Fprop) => "few_fprop",
            (Form::Large, Fprop) => "fprop_v2_128x128",
            (Form::Medium, Fprop) => "fprop_v2_128x64",
            (Form::Small, Fprop) => "fprop_v2_64x32",
            (Form::Any, Fprop) => "fprop_v2_any",
            (Form::Direct, Dgrad) => "dgrad_v1",
            (Form::Few, Dgrad) => "few_dgrad",
            (Form::Large, Dgrad) => "dgrad_v2_128x128",
            (Form::Medium, Dgrad) => "dgrad_v2_128x64",
            (Form::Small, Dgrad) => "dgrad_v2_64x32",
            (Form::Any, Dgrad) => "dgrad_v2_any",
            (Form::Direct, Wgrad) => "wgrad_v1",
            (Form::Few, Wgrad) => "few_wgrad",
            (Form::Large, Wgrad) => "wgrad_v2_128x128",
            (Form::Medium, Wgrad) => "wgrad_v2_64x128",
            (Form::Small, Wgrad) => "wgrad_v2_64x32",
            (Form::Any, Wgrad) => "wgrad_v2_any",
        }
    }

    /// Whether the form takes a layer whose tensors lie at multiples of 16 bytes or, if `aligned`
    /// is false, at any of 4.
    pub fn takes(self, layer: &StridedLayer, aligned: bool) -> bool {
        match self {
            Form::Direct | Form::Any => true,
            Form::Few => layer.c_big <= few::MOST_BIG,
            Form::Large | Form::Medium | Form::Small => {
                aligned && layer.c_big.is_multiple_of(4) && layer.c_small.is_multiple_of(4)
            }
        }
    }

    /// Whether the form moves four values at once, and takes nothing else.
    pub fn needs_vectors(self) -> bool {
        matches!(self, Form::Large | Form::Medium | Form::Small)
    }

    /// The tile of the forms that have one.
    pub fn tile(self, operation: Operation) -> Tile {
        let (rows, columns, threads) = match self {
            Form::Large => (128, 128, 256),
            Form::Medium if operation == Operation::Wgrad => (64, 128, 128),
            Form::Medium => (128, 64, 128),
            _ => (64, 32, 128),
        };
        Tile {
            rows,
            columns,
            threads,
        }
    }

    /// The form for an fprop.
    pub fn of_fprop(version: KernelVersion, call: &StridedCall) -> Self {
        let (layer, aligned) = (
            call.layer,
            aligned(&[call.input, call.weights, call.output]),
        );
        let pixels = call.batch * layer.small * layer.small;
        Self::choose(version, layer, aligned, |form| {
            form.tile(Operation::Fprop).blocks(pixels, layer.c_small)
        })
    }

    /// The form for a dgrad.
    pub fn of_dgrad(version: KernelVersion, call: &StridedCall) -> Self {
        let (layer, aligned) = (
            call.layer,
            aligned(&[call.input, call.weights, call.output]),
        );
        let pixels = call.batch * layer.small * layer.small;
        Self::choose(version, layer, aligned, |form| {
            4 * form.tile(Operation::Dgrad).blocks(pixels, layer.c_big)
        })
    }

    /// The form for a wgrad.
    pub fn of_wgrad(version: KernelVersion, call: &WgradCall) -> Self {
        let (layer, aligned) = (call.layer, aligned(&[call.big, call.small]));
        let copies = call.tiled_copies();
        Self::choose(version, layer, aligned, |form| {
            copies
                * form
                    .tile(Operation::Wgrad)
                    .blocks(layer.c_big, layer.c_small)
        })
    }

    fn choose(
        version: KernelVersion,
        layer: &StridedLayer,
        aligned: bool,
        blocks: impl Fn(Form) -> usize,
    ) -> Self {
        // Blocks that keep the larger devices busy.
        const ENOUGH: usize = 256;
        if version == KernelVersion::V1 {
            return Form::Direct;
        }
        if Form::Few.takes(layer, aligned) {
            return Form::Few;
        }
        if !Form::Small.takes(layer, aligned) {
            return Form::Any;
        }
        // A tile that is mostly empty does more work than one that fits: it has no more blocks.
        let worth = |larger: Form, smaller: Form, ratio: usize| {
            let count = blocks(larger);
            count >= ENOUGH && blocks(smaller) > count * ratio
        };
        if worth(Form::Large, Form::Medium, 1) {
            Form::Large
        } else if worth(Form::Medium, Form::Small, 2) {
            Form::Medium
        } else {
            Form::Small
        }
    }
}

//! The gradient of the 5x5 stride-2 layer's weights, on tensor cores.

use bytemuck::{Pod, Zeroable};

use super::super::aligned;
use super::super::strided::sum_partials;
use crate::backend::Accumulate;
use crate::backend::gpu::driver::{Driver, Geometry, Pointer};
use crate::backend::gpu::launcher::Launcher;
use crate::model::StridedLayer;

/// Kernels of this file.
pub const KERNELS: &[&str] = &["wgrad_v3_16", "wgrad_v3_8", "wgrad_v3_4", "wgrad_v3_any"];

/// Channels of a block's tile, of the big as of the small plane.
const CHANNELS: usize = 64;

/// Small pixels of a stage.
const PIXELS: usize = 32;

const THREADS: u32 = 128;

/// The argument of the kernels.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct WgradV3Params {
    big: Pointer,
    small: Pointer,
    partial: Pointer,
    lines: u32,
    side: u32,
    c_big: u32,
    c_small: u32,
    pad_low: u32,
    chunk: u32,
    stages: u32,
    unused: u32,
}

/// One wgrad: the gradient `[5, 5, c_big, c_small]`, f32, is set or added to.
#[derive(Clone, Copy, Debug)]
pub struct WgradCall<'a> {
    pub layer: &'a StridedLayer,
    pub batch: usize,
    /// `[batch, 2S, 2S, c_big]`, bf16.
    pub big: Pointer,
    /// `[batch, S, S, c_small]`, bf16.
    pub small: Pointer,
    /// At any multiple of 4 bytes.
    pub gradient: Pointer,
    pub accumulate: Accumulate,
}

/// How the planes are cut: see kernels/strided_wgrad_v3.cu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Stripes of 16 small columns.
    Wide,
    /// Stripes of 8.
    Medium,
    /// Stripes of 4.
    Narrow,
    /// Stripes of 4, for any channel counts and addresses.
    Any,
}

impl Form {
    /// All forms.
    pub const ALL: [Self; 4] = [Self::Wide, Self::Medium, Self::Narrow, Self::Any];

    /// The form's kernel.
    pub fn kernel(self) -> &'static str {
        match self {
            Form::Wide => "wgrad_v3_16",
            Form::Medium => "wgrad_v3_8",
            Form::Narrow => "wgrad_v3_4",
            Form::Any => "wgrad_v3_any",
        }
    }

    /// Small columns of a stripe.
    fn columns(self) -> usize {
        match self {
            Form::Wide => 16,
            Form::Medium => 8,
            Form::Narrow | Form::Any => 4,
        }
    }

    /// Whether the form takes a layer whose planes lie at multiples of 16 bytes or, if `aligned` is
    /// false, anywhere.
    pub fn takes(self, layer: &StridedLayer, aligned: bool) -> bool {
        let whole = layer.c_big.is_multiple_of(8) && layer.c_small.is_multiple_of(8);
        self == Form::Any || aligned && whole
    }

    /// The form for a layer whose planes lie at multiples of 16 bytes, or may lie anywhere: of those with the fewest columns beyond the plane's edge the widest,
    /// since wide stripes have the fewest big pixels a small one.
    pub fn of(layer: &StridedLayer, aligned: bool) -> Self {
        if !Form::Narrow.takes(layer, aligned) {
            return Form::Any;
        }
        let covered = |form: Form| layer.small.next_multiple_of(form.columns());
        [Form::Medium, Form::Narrow]
            .into_iter()
            .fold(Form::Wide, |best, form| {
                match covered(form) < covered(best) {
                    true => form,
                    false => best,
                }
            })
    }

    /// [`wgrad`] in this form.
    pub fn wgrad<D: Driver>(self, l: &mut Launcher<D>, call: &WgradCall) {
        let layer = call.layer;
        let weights = layer.weight_len();
        let split = self.split(layer, call.batch);
        let partial = l.workspace(4 * weights * split.parts);
        let params = WgradV3Params {
            big: call.big,
            small: call.small,
            partial,
            lines: (call.batch * layer.small) as u32,
            side: layer.small as u32,
            c_big: layer.c_big as u32,
            c_small: layer.c_small as u32,
            pad_low: layer.pad_low.pixels() as u32,
            chunk: split.chunk as u32,
            stages: split.stages as u32,
            unused: 0,
        };
        let geometry = Geometry {
            grid: [(tiles(layer) * split.parts) as u32, 1, 1],
            block: [THREADS, 1, 1],
        };
        l.launch(self.kernel(), geometry, &params);
        sum_partials(
            l,
            partial,
            split.parts,
            weights,
            call.gradient,
            call.accumulate,
        );
    }

    /// Stages that cover the planes, those of a stripe for all stripes, and their parts.
    fn split(self, layer: &StridedLayer, batch: usize) -> Split {
        let side = layer.small;
        let lines = PIXELS / self.columns();
        let stages = side.div_ceil(self.columns()) * (batch * side).div_ceil(lines);
        Split::new(stages, tiles(layer))
    }
}

/// Blocks of a part.
fn tiles(layer: &StridedLayer) -> usize {
    StridedLayer::TAPS * layer.c_big.div_ceil(CHANNELS) * layer.c_small.div_ceil(CHANNELS)
}

/// Partial sums that [`wgrad`] leaves of each weight before they are merged.
pub fn parts(layer: &StridedLayer, batch: usize) -> usize {
    Form::of(layer, true).split(layer, batch).parts
}

/// Both planes to the gradient of the weights.
pub fn wgrad<D: Driver>(l: &mut Launcher<D>, call: &WgradCall) {
    debug_assert!(
        call.batch * call.layer.big_len().max(call.layer.small_len()) < 1 << 31,
        "{call:?}"
    );
    Form::of(call.layer, aligned(&[call.big, call.small])).wgrad(l, call);
}

/// How the sum over the stages is split into parts. Shapes alone decide, and so do they over the bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Split {
    stages: usize,
    parts: usize,
    /// Stages of a part; the last one may have fewer.
    chunk: usize,
}

impl Split {
    /// Blocks that run at a time: two on each of the 132 multiprocessors of an H100.
    const WAVE: usize = 264;
    /// What a stage takes, where 1 is what the partial sums of a block take to be written, read and
    /// added: 1.3 MFLOP of a 264th of 420 TFLOP/s beside 164 KiB at 3 TB/s.
    const STAGE: usize = 15;
    /// Stages that are summed in f32 before partial sums are merged, at most: 32768 pixels.
    const LONGEST: usize = 1024;

    /// The fastest split by this account of a sum over `stages` stages, each of them by `tiles` blocks.
    fn new(stages: usize, tiles: usize) -> Self {
        let of = |parts: usize| {
            let chunk = stages.div_ceil(parts);
            // Empty parts are left out.
            let parts = stages.div_ceil(chunk);
            Self {
                stages,
                parts,
                chunk,
            }
        };
        let fewest = stages.div_ceil(Self::LONGEST);
        let most = fewest.max(2 * Self::WAVE / tiles);
        let splits = (fewest..=most.min(stages)).map(of);
        let cost = |split: &Self| {
            let blocks = split.parts * tiles;
            Self::STAGE * blocks.div_ceil(Self::WAVE) * split.chunk + blocks
        };
        splits.min_by_key(cost).unwrap_or(of(1))
    }
}

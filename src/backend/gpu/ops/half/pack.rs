//! bf16 copies of the weights in the order in which the convolutions read them.

use bytemuck::{Pod, Zeroable};

use crate::backend::gpu::driver::{Driver, Geometry, Pointer};
use crate::backend::gpu::launcher::Launcher;
use crate::model::StridedLayer;

/// Kernels of this file.
pub const KERNELS: &[&str] = &["half_pack"];

/// Summed channels of a step.
const DEPTH: usize = 16;

/// Output channels of a group.
const WIDTH: usize = 32;

/// Which operation reads the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Sums over the big plane's channels.
    Fprop,
    /// Sums over the small plane's channels.
    Dgrad,
}

/// The argument of `half_pack`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PackParams {
    weights: Pointer,
    packed: Pointer,
    c_big: u32,
    c_small: u32,
    dgrad: u32,
    unused: u32,
}

/// Bytes of the packed weights of a layer: both numbers of channels are rounded up.
pub fn packed_bytes(layer: &StridedLayer, packing: Packing) -> usize {
    let (summed, outputs) = match packing {
        Packing::Fprop => (layer.c_big, layer.c_small),
        Packing::Dgrad => (layer.c_small, layer.c_big),
    };
    let taps = StridedLayer::TAPS * StridedLayer::TAPS;
    2 * taps * summed.next_multiple_of(DEPTH) * outputs.next_multiple_of(WIDTH)
}

/// The copy of the f32 weights `[5, 5, c_big, c_small]`, of [`packed_bytes`] at a multiple of 16.
pub fn pack<D: Driver>(
    l: &mut Launcher<D>,
    layer: &StridedLayer,
    packing: Packing,
    weights: Pointer,
    to: Pointer,
) {
    /// Channels of a block, of either plane.
    const EXTENT: usize = 32;
    debug_assert!(layer.weight_len() < 1 << 31, "{layer:?}");
    debug_assert!(to.0.is_multiple_of(16), "{to:?}");
    let taps = StridedLayer::TAPS * StridedLayer::TAPS;
    let blocks = taps * layer.c_big.div_ceil(EXTENT) * layer.c_small.div_ceil(EXTENT);
    let params = PackParams {
        weights,
        packed: to,
        c_big: layer.c_big as u32,
        c_small: layer.c_small as u32,
        dgrad: u32::from(packing == Packing::Dgrad),
        unused: 0,
    };
    let geometry = Geometry {
        grid: [blocks as u32, 1, 1],
        block: [128, 1, 1],
    };
    l.launch("half_pack", geometry, &params);
}

//! bf16 copies of the weights in the order in which the convolutions read them.

use bytemuck::{Pod, Zeroable};

use crate::backend::gpu::driver::{Driver, Geometry, Pointer};
use crate::backend::gpu::launcher::Launcher;
use crate::backend::gpu::ops::aligned;
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

impl Packing {
    /// This one alone, as [`pack`] wants it.
    pub fn only(self, to: Pointer) -> [Option<Pointer>; 2] {
        match self {
            Packing::Fprop => [Some(to), None],
            Packing::Dgrad => [None, Some(to)],
        }
    }
}

/// The argument of `half_pack`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PackParams {
    weights: Pointer,
    fprop: Pointer,
    dgrad: Pointer,
    c_big: u32,
    c_small: u32,
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

/// The copies of the f32 weights `[5, 5, c_big, c_small]` for fprop and for dgrad, those that are wanted,
/// of [`packed_bytes`] at multiples of 16.
pub fn pack<D: Driver>(
    l: &mut Launcher<D>,
    layer: &StridedLayer,
    weights: Pointer,
    [fprop, dgrad]: [Option<Pointer>; 2],
) {
    /// Channels of a block, of either plane.
    const EXTENT: usize = 32;
    debug_assert!(layer.weight_len() < 1 << 31, "{layer:?}");
    let [fprop, dgrad] = [fprop, dgrad].map(|to| to.unwrap_or(Pointer::NULL));
    debug_assert!(aligned(&[fprop, dgrad]), "{fprop:?}, {dgrad:?}");
    let taps = StridedLayer::TAPS * StridedLayer::TAPS;
    let blocks = taps * layer.c_big.div_ceil(EXTENT) * layer.c_small.div_ceil(EXTENT);
    let params = PackParams {
        weights,
        fprop,
        dgrad,
        c_big: layer.c_big as u32,
        c_small: layer.c_small as u32,
    };
    let geometry = Geometry {
        grid: [blocks as u32, 1, 1],
        block: [128, 1, 1],
    };
    l.launch("half_pack", geometry, &params);
}

//! Batches of crops from maps that lie in device memory.

use bytemuck::{Pod, Zeroable};

use super::small;
use crate::backend::gpu::driver::{Driver, Geometry, Pointer};
use crate::backend::gpu::launcher::Launcher;

/// Kernels of this file.
pub const KERNELS: &[&str] = &["crop"];

/// The most crops of a launch: one for each block along z.
pub const MOST: usize = (1 << 16) - 1;

/// Where one crop lies and how it is turned. Also kernels/crop.cu, field by field.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct CropDescriptor {
    /// Of its first pixel in the parents, in values.
    pub offset: u64,
    /// Values from one row of its parent to the next.
    pub row: u32,
    /// [`Symmetry::index`](crate::data::Symmetry::index).
    pub symmetry: u32,
}

/// The argument of `crop`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct CropParams {
    parents: Pointer,
    descriptors: Pointer,
    to: Pointer,
    side: u32,
    channels: u32,
}

/// Copies a batch of crops to `to [batch, side, side, channels]`. At `descriptors` lie `batch`
/// [`CropDescriptor`]s. A crop's rows span less than 2^32 values of its parent.
pub fn crop<D: Driver>(
    l: &mut Launcher<D>,
    [parents, descriptors, to]: [Pointer; 3],
    batch: usize,
    side: usize,
    channels: usize,
) {
    const TILE: usize = 32;
    debug_assert!(small(batch * side * side * channels), "{batch} crops");
    debug_assert!(batch <= MOST, "{batch} crops");
    let params = CropParams {
        parents,
        descriptors,
        to,
        side: side as u32,
        channels: channels as u32,
    };
    let tiles = side.div_ceil(TILE) as u32;
    let geometry = Geometry {
        grid: [tiles, tiles, batch as u32],
        block: [TILE as u32, 8, 1],
    };
    l.launch("crop", geometry, &params);
}

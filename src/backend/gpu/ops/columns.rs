//! The geometry of passes over rows of `features` values, and sums of columns.

use bytemuck::{Pod, Zeroable};

use super::strided::sum_partials;
use super::{aligned, small};
use crate::backend::Accumulate;
use crate::backend::gpu::driver::{Driver, Geometry, Pointer};
use crate::backend::gpu::launcher::Launcher;

/// Kernels of this file.
pub const KERNELS: &[&str] = &["column_sums_x1", "column_sums_x4"];

/// Threads of a block: `COLUMN_THREADS` of kernels/columns.cuh.
const THREADS: usize = 256;

/// Rows that a thread sums at most, one after the other.
const LONGEST: usize = 128;

/// Blocks that keep the largest devices busy.
const BLOCKS: usize = 1024;

/// How `groups` groups of `rows` rows are cut into tiles. Shapes and alignment alone decide, and so
/// the bits are those of any device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    /// Whether a thread takes 16 bytes of features at once.
    pub vector: bool,
    lanes: usize,
    tiles: usize,
    /// Rows of a chunk.
    pub chunk: usize,
    pub chunks: usize,
    groups: usize,
}

impl Columns {
    /// The tiles of `groups` groups of `rows` rows; `vector` says that all pointers are aligned.
    ///
    /// Tensors stay below 2^31 values: the kernels count in 32 bits.
    pub fn new(groups: usize, rows: usize, features: usize, vector: bool) -> Self {
        Self::of_width(groups, rows, features, if vector { 4 } else { 1 })
    }

    /// The same for bf16, of which 16 bytes hold eight.
    pub fn half(groups: usize, rows: usize, features: usize, vector: bool) -> Self {
        Self::of_width(groups, rows, features, if vector { 8 } else { 1 })
    }

    fn of_width(groups: usize, rows: usize, features: usize, width: usize) -> Self {
        debug_assert!(small(groups * rows * features), "{rows} rows of {features}");
        let vector = width > 1 && features.is_multiple_of(width);
        let width = if vector { width } else { 1 };
        let lanes = features.div_ceil(width).next_power_of_two().min(32);
        let tiles = features.div_ceil(width * lanes);
        debug_assert!(tiles < 1 << 16 && groups < 1 << 16, "{features} features");
        // Chunks are made of what a block's threads read in two goes: 8 rows each and each time.
        let step = 16 * THREADS / lanes;
        let wanted = BLOCKS.div_ceil(tiles * groups);
        let longest = LONGEST * THREADS / lanes;
        let chunk = rows.div_ceil(wanted).next_multiple_of(step).min(longest);
        Self {
            vector,
            lanes,
            tiles,
            chunk,
            chunks: rows.div_ceil(chunk),
            groups,
        }
    }

    pub fn geometry(&self) -> Geometry {
        let grid = [self.chunks, self.tiles, self.groups];
        Geometry {
            grid: grid.map(|n| n as u32),
            block: [self.lanes as u32, (THREADS / self.lanes) as u32, 1],
        }
    }

    /// The geometry of the kernels that merge chunks, a column of threads a feature.
    pub fn merge_geometry(&self, features: usize) -> Geometry {
        let block = if self.chunks < 16 {
            [256, 1, 1]
        } else {
            [16, 32, 1]
        };
        Geometry {
            grid: [(features as u32).div_ceil(block[0]), 1, 1],
            block,
        }
    }

    /// One of two kernels: for one feature a thread, or for 16 bytes of them.
    pub fn pick(&self, [single, vector]: [&'static str; 2]) -> &'static str {
        if self.vector { vector } else { single }
    }
}

/// The argument of the `column_sums` kernels.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ColumnSumsParams {
    values: Pointer,
    sums: Pointer,
    rows: u32,
    features: u32,
    chunk: u32,
    accumulate: u32,
}

/// `sums [features]` is set to, or increased by, the sums of the columns of
/// `values [rows, features]`: the gradient of a bias.
pub fn column_sums<D: Driver>(
    l: &mut Launcher<D>,
    rows: usize,
    features: usize,
    values: Pointer,
    sums: Pointer,
    accumulate: Accumulate,
) {
    let columns = Columns::new(1, rows, features, aligned(&[values, sums]));
    let parts = columns.chunks;
    let partial = (parts > 1).then(|| l.workspace(4 * parts * features));
    let params = ColumnSumsParams {
        values,
        sums: partial.unwrap_or(sums),
        rows: rows as u32,
        features: features as u32,
        chunk: columns.chunk as u32,
        accumulate: u32::from(partial.is_none() && accumulate == Accumulate::Later),
    };
    let kernel = columns.pick(["column_sums_x1", "column_sums_x4"]);
    l.launch(kernel, columns.geometry(), &params);
    if let Some(partial) = partial {
        sum_partials(l, partial, parts, features, sums, accumulate);
    }
}

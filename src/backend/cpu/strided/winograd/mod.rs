//! The three kernels with half the products: Winograd's minimal filtering (Lavin & Gray 2016).
//!
//! By pixel parity the 5x5 stride-2 layer is four stride-1 layers between the small plane and the four
//! phases of the big one, of 3 or 2 taps a dimension (see [`super::dgrad`]). Each is F(2, 3): two
//! outputs of a 3-tap filter from four products instead of six,
//!
//! ```text
//! y = A^T ((G g) * (B^T x))     B^T x = [x0 - x2, x1 + x2, x2 - x1, x1 - x3]
//!                               G g   = [g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2]
//!                               A^T m = [m0 + m1 + m2, m1 - m2 - m3]
//! ```
//!
//! and of 2 taps it is the same with one of the four components zero, so that all phases share one
//! transform of the small plane. In two dimensions a tile of 2x2 small pixels (4x4 big ones) takes 16,
//! 12, 12 and 9 products: 49 where the definition has 100. A *component* is one of the 4x4, a *slot* a
//! component of one phase that is not zero. Products of all tiles in one slot are a matrix product
//! over channels. Transforms add and subtract at most four values a dimension: errors grow by a small
//! factor over those of plain sums ([`reference_tests`](super) measures it).
//!
//! f64, the oracle of everything else, is computed by the definition instead.

mod dgrad;
mod fprop;
mod slots;
mod transform;
mod wgrad;

pub use dgrad::{dgrad, dgrad_scratch};
pub use fprop::{fprop, fprop_scratch};
pub use wgrad::{wgrad, wgrad_scratch};

use std::ops::Range;

use rayon::prelude::*;

use crate::backend::cpu::scalar::Scalar;
use crate::model::StridedLayer;
use dgrad::PHASES;
use slots::{COMPONENTS, SLOTS};
use transform::Phase;

/// Channels of either plane from which on this form is the faster one: below, the transforms cost
/// more than the products that they save.
const LEAST_CHANNELS: usize = 16;

/// Values that the transformed planes of one chunk may have, where that leaves enough tiles: 6 MiB of f32,
/// which outer caches hold.
const CHUNK_VALUES: usize = 3 << 19;
/// Tiles of a chunk at least: each chunk reads all transformed weights once more.
const LEAST_TILES: usize = 256;

/// Whether the kernels of `layer` are computed in `T` by this form.
pub fn serves<T: Scalar>(layer: &StridedLayer) -> bool {
    T::FEWER_PRODUCTS && layer.c_big.min(layer.c_small) >= LEAST_CHANNELS
}

/// How the tiles of a batch are cut into chunks: whole samples, or rows of tiles of one sample.
#[derive(Clone, Copy, Debug)]
pub struct Chunks {
    /// Tiles in a row, and rows of tiles in a sample.
    pub across: usize,
    /// Samples of a chunk.
    pub samples: usize,
    /// Rows of tiles of a chunk in each of its samples.
    pub rows: usize,
}

impl Chunks {
    /// Chunks of `batch` samples, by shape alone.
    pub fn new(layer: &StridedLayer, batch: usize) -> Self {
        let across = layer.small.div_ceil(2);
        let values = SLOTS * layer.c_big + COMPONENTS * layer.c_small;
        let tiles = (CHUNK_VALUES / values).max(LEAST_TILES);
        let of_sample = across * across;
        if of_sample <= tiles {
            // As even as whole samples can be.
            let chunks = batch.div_ceil(tiles / of_sample).max(1);
            Self {
                across,
                samples: batch.div_ceil(chunks).max(1),
                rows: across,
            }
        } else {
            let chunks = of_sample.div_ceil(tiles);
            Self {
                across,
                samples: 1,
                rows: across.div_ceil(chunks),
            }
        }
    }

    /// Tiles of a whole chunk.
    pub fn tiles(&self) -> usize {
        self.samples * self.rows * self.across
    }
}

/// Calls `work` for each row of tiles of a chunk, with the number of its first tile in the chunk and the
/// rows of the output that it makes. `samples` are the outputs of the chunk's samples, `sample_len` values
/// each; a row of tiles makes `row_len` of them, the last of an odd side fewer.
fn each_row<T: Scalar>(
    samples: &mut [T],
    (sample_len, row_len): (usize, usize),
    rows: Range<usize>,
    across: usize,
    work: impl Fn(usize, &mut [T]) + Sync,
) {
    let work = &work;
    samples
        .par_chunks_mut(sample_len)
        .enumerate()
        .for_each(|(sample, out)| {
            let end = (rows.end * row_len).min(out.len());
            out[rows.start * row_len..end]
                .par_chunks_mut(row_len)
                .enumerate()
                .for_each(|(row, out)| work((sample * rows.len() + row) * across, out));
        });
}

/// Calls `transform` for each tile of a row of them and each phase of a sample's big plane: with the phase, the tile's
/// column, and the places that the components of the phase have in the tile's `[49, c_big]` of `out`.
#[inline(always)]
fn each_phase<T: Scalar>(
    layer: &StridedLayer,
    big: &[T],
    out: &mut [T],
    places: &[[Option<usize>; COMPONENTS]; 4],
    transform: impl Fn(&Phase<'_, T>, usize, &[Option<usize>; COMPONENTS], &mut [T]),
) {
    let (side, channels) = (layer.small, layer.c_big);
    for (column, out) in out.chunks_exact_mut(SLOTS * channels).enumerate() {
        for (places, first) in places.iter().zip(PHASES) {
            let phase = Phase {
                plane: big,
                side,
                channels,
                step: 2,
                first,
            };
            transform(&phase, column, places, out);
        }
    }
}

/// Tiles of one product: large pieces that still give all threads work.
pub fn piece(tiles: usize) -> usize {
    tiles.div_ceil(tiles.div_ceil(256)).max(1)
}

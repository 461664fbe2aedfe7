//! The dense layer in mixed precision: parameters, latent vectors and logits in f32, the tensor on the
//! convolutions' side in bf16.
//!
//! The layer of several outputs makes the first plane of a generator from its latent vectors; the one
//! with one output makes a discriminator's logits from its last plane, whose features are the fastest
//! index of the inputs. Tensors stay below 2^31 values.

use bytemuck::{Pod, Zeroable};

use super::{Below, Input, Parts};
use crate::backend::Accumulate;
use crate::backend::gpu::driver::{Driver, Geometry, Pointer};
use crate::backend::gpu::launcher::Launcher;
use crate::backend::gpu::ops::dense::{DenseShape, End, Product, merge_activated};
use crate::backend::gpu::ops::{activation_code, aligned};
use crate::model::Activation;

/// Kernels of this file.
pub const KERNELS: &[&str] = &[
    "half_dense_forward",
    "half_dense_weight_gradient",
    "half_dense_merge",
    "half_single_forward_x1",
    "half_single_forward_x8",
    "half_single_forward_normed_x1",
    "half_single_forward_normed_x8",
    "half_single_weight_gradient_x1",
    "half_single_weight_gradient_x8",
    "half_single_weight_gradient_normed_x1",
    "half_single_weight_gradient_normed_x8",
    "half_single_input_gradient_x1",
    "half_single_input_gradient_x8",
    "half_single_input_gradient_normed_x1",
    "half_single_input_gradient_normed_x8",
];

/// Threads of a block of the kernels for one output.
const THREADS: usize = 256;

/// Values that a thread takes at once where rows are whole 16 bytes.
const WIDE: usize = 8;

/// `y = activation(x W + bias)`, `y [batch, outputs]` in bf16, `x [batch, inputs]` and
/// `weights [inputs, outputs]` in f32; `bias [outputs]`.
pub fn forward<D: Driver>(
    l: &mut Launcher<D>,
    shape: DenseShape,
    x: Pointer,
    weights: Pointer,
    bias: Option<Pointer>,
    activation: Activation,
    y: Pointer,
) {
    shape.check();
    let DenseShape {
        batch,
        inputs,
        outputs,
    } = shape;
    let bias = bias.unwrap_or(Pointer::NULL);
    let product = Product {
        kernel: "half_dense_forward",
        a: (x, inputs),
        b: (weights, outputs),
        sizes: [batch, outputs, inputs],
    };
    let parts = product.parts();
    if parts == 1 {
        product.whole(l, y, End::Activated(bias, activation));
        return;
    }
    // Parts of sums are f32 here as well.
    let product = Product {
        kernel: "dense_forward",
        ..product
    };
    let partial = (product.partial(l, parts), parts);
    let sizes = [batch * outputs, outputs];
    merge_activated(l, "half_dense_merge", partial, sizes, y, (bias, activation));
}

/// `gradient [inputs, outputs] = x^T dy` in f32, set or added to; `x [batch, inputs]` in f32,
/// `dy [batch, outputs]` in bf16.
pub fn weight_gradient<D: Driver>(
    l: &mut Launcher<D>,
    shape: DenseShape,
    x: Pointer,
    dy: Pointer,
    gradient: Pointer,
    accumulate: Accumulate,
) {
    shape.check();
    let product = Product {
        kernel: "half_dense_weight_gradient",
        a: (x, shape.inputs),
        b: (dy, shape.outputs),
        sizes: [shape.inputs, shape.outputs, shape.batch],
    };
    product.tiled(l, gradient, End::Stored(accumulate));
}

/// The argument of the kernels that read the input of a layer with one output.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct HalfSingleParams {
    x: Pointer,
    saved: Pointer,
    affine: Pointer,
    by: Pointer,
    to: Pointer,
    samples: u32,
    groups: u32,
    inputs: u32,
    features: u32,
    activation: u32,
    accumulate: u32,
}

/// The input of a layer with one output, and which kernels read it.
struct Source {
    params: HalfSingleParams,
    /// Of the names of kernels: x1, x8, normed_x1, normed_x8.
    kernel: usize,
    width: usize,
}

impl Source {
    fn new(shape: DenseShape, x: Input, features: usize) -> Self {
        shape.check();
        debug_assert!(shape.outputs == 1, "{shape:?}");
        let mut params = HalfSingleParams {
            groups: 1,
            inputs: shape.inputs as u32,
            ..HalfSingleParams::zeroed()
        };
        // What has to be whole 16 bytes.
        let (normed, row) = match x {
            Input::Stored(x) => {
                params.x = x;
                (false, shape.inputs)
            }
            Input::Normed {
                u,
                norm,
                groups,
                activation,
            } => {
                debug_assert!(shape.inputs.is_multiple_of(features), "{features} features");
                debug_assert!(shape.batch.is_multiple_of(groups), "{groups} groups");
                params.x = u;
                params.saved = norm.saved;
                params.affine = norm.affine;
                params.groups = groups as u32;
                params.features = features as u32;
                params.activation = activation_code(activation);
                (true, features)
            }
        };
        params.samples = shape.batch as u32 / params.groups;
        let vector = row.is_multiple_of(WIDE) && aligned(&[params.x]);
        Self {
            params,
            kernel: 2 * usize::from(normed) + usize::from(vector),
            width: if vector { WIDE } else { 1 },
        }
    }
}

/// The logits `y [batch] = x w + bias` in f32, of `x [batch, inputs]`, `weights [inputs]` and one bias.
/// Input `i` has the batch norm of feature `i % features`; where `x` is stored, `features` does not
/// matter.
pub fn single_forward<D: Driver>(
    l: &mut Launcher<D>,
    shape: DenseShape,
    x: Input,
    features: usize,
    weights: Pointer,
    bias: Option<Pointer>,
    y: Pointer,
) {
    /// `SAMPLES` and `STEPS` of kernels/half_dense_single.cu.
    const SAMPLES: u32 = 8;
    const STEPS: usize = 2;
    let kernels = [
        "half_single_forward_x1",
        "half_single_forward_x8",
        "half_single_forward_normed_x1",
        "half_single_forward_normed_x8",
    ];
    let source = Source::new(shape, x, features);
    let parts = shape.inputs.div_ceil(THREADS * source.width * STEPS);
    let partial = l.workspace(4 * parts * shape.batch);
    let params = HalfSingleParams {
        by: weights,
        to: partial,
        ..source.params
    };
    let geometry = Geometry {
        grid: [
            parts as u32,
            params.samples.div_ceil(SAMPLES),
            params.groups,
        ],
        block: [THREADS as u32, 1, 1],
    };
    l.launch(kernels[source.kernel], geometry, &params);
    let end = (bias.unwrap_or(Pointer::NULL), Activation::Identity);
    let sizes = [shape.batch, 1];
    merge_activated(l, "dense_merge", (partial, parts), sizes, y, end);
}

/// `gradient [inputs] = x^T dy` in f32, set or added to, of `dy [batch]` in f32 and the input of
/// [`single_forward`].
pub fn single_weight_gradient<D: Driver>(
    l: &mut Launcher<D>,
    shape: DenseShape,
    x: Input,
    features: usize,
    dy: Pointer,
    gradient: Pointer,
    accumulate: Accumulate,
) {
    /// Threads of a row of a block.
    const LANES: usize = 32;
    let kernels = [
        "half_single_weight_gradient_x1",
        "half_single_weight_gradient_x8",
        "half_single_weight_gradient_normed_x1",
        "half_single_weight_gradient_normed_x8",
    ];
    let source = Source::new(shape, x, features);
    let params = HalfSingleParams {
        by: dy,
        to: gradient,
        accumulate: u32::from(accumulate == Accumulate::Later),
        ..source.params
    };
    let blocks = shape.inputs.div_ceil(LANES * source.width);
    let geometry = Geometry {
        grid: [blocks as u32, 1, 1],
        block: [LANES as u32, (THREADS / LANES) as u32, 1],
    };
    l.launch(kernels[source.kernel], geometry, &params);
}

/// The argument of the `half_single_input_gradient` kernels.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct HalfSingleInputParams {
    dy: Pointer,
    weights: Pointer,
    value: Pointer,
    saved: Pointer,
    affine: Pointer,
    g: Pointer,
    sums: Pointer,
    samples: u32,
    positions: u32,
    features: u32,
    chunk: u32,
    chunks: u32,
    activation: u32,
}

/// How the gradient of a group is cut into blocks. Shapes alone decide, and so do they over the bits.
#[derive(Clone, Copy, Debug)]
struct Tiles {
    wide: bool,
    /// Threads of a row of a block, each with one feature or with 8.
    lanes: usize,
    /// Rows of a block, each with one position.
    rows: usize,
    /// Blocks across the features and the positions.
    across: usize,
    down: usize,
    /// Samples of a block, and blocks for all of a group.
    chunk: usize,
    chunks: usize,
}

impl Tiles {
    fn new(shape: DenseShape, features: usize, groups: usize) -> Self {
        /// Blocks that keep the largest devices busy.
        const BLOCKS: usize = 1024;
        /// Samples that a thread takes one after the other, at least and at most.
        const SHORTEST: usize = 8;
        const LONGEST: usize = 64;
        let wide = features.is_multiple_of(WIDE);
        let threads = features.div_ceil(if wide { WIDE } else { 1 });
        let lanes = threads.next_power_of_two().min(32);
        let rows = THREADS / lanes;
        let across = threads.div_ceil(lanes);
        let down = (shape.inputs / features).div_ceil(rows);
        let samples = shape.batch / groups;
        let wanted = BLOCKS.div_ceil(across * down * groups);
        let chunk = samples.div_ceil(wanted).clamp(SHORTEST, LONGEST);
        Self {
            wide,
            lanes,
            rows,
            across,
            down,
            chunk,
            chunks: samples.div_ceil(chunk),
        }
    }

    fn parts(&self) -> usize {
        self.down * self.chunks
    }
}

/// Parts of the sums that [`single_input_gradient`] leaves.
pub fn single_input_parts(shape: DenseShape, features: usize, groups: usize) -> Parts {
    Parts {
        groups,
        parts: Tiles::new(shape, features, groups).parts(),
        features,
    }
}

/// With `dx [batch, inputs] = dy w`, `g = dx slope` of the block `below`, in bf16; `dy [batch]` and
/// `weights [inputs]` in f32. `g` and the block's value are at multiples of 16 bytes where `features`
/// is a multiple of 8.
#[expect(
    clippy::too_many_arguments,
    reason = "the layer's shape and that of the sums, three tensors and the block below"
)]
pub fn single_input_gradient<D: Driver>(
    l: &mut Launcher<D>,
    shape: DenseShape,
    features: usize,
    groups: usize,
    dy: Pointer,
    weights: Pointer,
    below: &Below,
    g: Pointer,
) {
    shape.check();
    debug_assert!(shape.outputs == 1, "{shape:?}");
    debug_assert!(shape.inputs.is_multiple_of(features), "{features} features");
    debug_assert!(shape.batch.is_multiple_of(groups), "{groups} groups");
    let kernels = [
        "half_single_input_gradient_x1",
        "half_single_input_gradient_x8",
        "half_single_input_gradient_normed_x1",
        "half_single_input_gradient_normed_x8",
    ];
    let tiles = Tiles::new(shape, features, groups);
    debug_assert!(
        !tiles.wide || aligned(&[below.value, g]),
        "{below:?}, {g:?}"
    );
    debug_assert!(tiles.across < 1 << 16 && groups < 1 << 16, "{shape:?}");
    let params = HalfSingleInputParams {
        dy,
        weights,
        value: below.value,
        saved: below.norm.map_or(Pointer::NULL, |norm| norm.saved),
        affine: below.norm.map_or(Pointer::NULL, |norm| norm.affine),
        g,
        sums: below.sums.unwrap_or(Pointer::NULL),
        samples: (shape.batch / groups) as u32,
        positions: (shape.inputs / features) as u32,
        features: features as u32,
        chunk: tiles.chunk as u32,
        chunks: tiles.chunks as u32,
        activation: activation_code(below.activation),
    };
    let grid = [tiles.parts(), tiles.across, groups];
    let geometry = Geometry {
        grid: grid.map(|n| n as u32),
        block: [tiles.lanes as u32, tiles.rows as u32, 1],
    };
    let kernel = 2 * usize::from(below.norm.is_some()) + usize::from(tiles.wide);
    l.launch(kernels[kernel], geometry, &params);
}

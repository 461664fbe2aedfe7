//! The dense layer `y [batch, outputs] = x [batch, inputs] W [inputs, outputs]` and its gradients.
//!
//! One tiled matrix product does all of it, its long sums cut into parts; a layer with one output,
//! where moving x is all the work, has kernels of its own. Tensors stay below 2^31 values.

use bytemuck::{Pod, Zeroable};

use super::strided::sum_partials;
use super::{activation_code, aligned, line, small};
use crate::backend::Accumulate;
use crate::backend::gpu::driver::{Driver, Element, Gemm, Geometry, Pointer};
use crate::backend::gpu::launcher::Launcher;
use crate::model::Activation;

/// Kernels of this file.
pub const KERNELS: &[&str] = &[
    "dense_forward",
    "dense_weight_gradient",
    "dense_input_gradient",
    "dense_merge",
    "dense_single_forward_x1",
    "dense_single_forward_x4",
    "dense_single_weight_gradient_x1",
    "dense_single_weight_gradient_x4",
    "dense_single_input_gradient_x1",
    "dense_single_input_gradient_x4",
];

/// The argument of the tiled product.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct DenseParams {
    a: Pointer,
    b: Pointer,
    bias: Pointer,
    c: Pointer,
    m: u32,
    n: u32,
    k: u32,
    part: u32,
    vectors: u32,
    activation: u32,
    accumulate: u32,
    unused: u32,
}

/// The argument of `dense_merge`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct DenseMergeParams {
    partial: Pointer,
    bias: Pointer,
    c: Pointer,
    len: u32,
    n: u32,
    parts: u32,
    activation: u32,
}

/// The argument of the kernels for one output.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct DenseSingleParams {
    x: Pointer,
    by: Pointer,
    to: Pointer,
    batch: u32,
    inputs: u32,
    accumulate: u32,
    unused: u32,
}

/// The sizes of a dense layer.
#[derive(Clone, Copy, Debug)]
pub struct DenseShape {
    pub batch: usize,
    pub inputs: usize,
    pub outputs: usize,
}

impl DenseShape {
    pub(super) fn check(&self) {
        let largest = self.inputs.max(self.outputs) * self.batch;
        debug_assert!(small(largest.max(self.inputs * self.outputs)), "{self:?}");
    }

    /// Whether the layer has one output, and if so, whether it is read four values at a time.
    fn single(&self, pointers: &[Pointer]) -> Option<bool> {
        let vector = aligned(pointers) && self.inputs.is_multiple_of(4);
        (self.outputs == 1).then_some(vector)
    }
}

/// One forward pass.
#[derive(Clone, Copy, Debug)]
pub struct DenseForward {
    pub shape: DenseShape,
    pub x: Pointer,
    pub weights: Pointer,
    /// `[outputs]`
    pub bias: Option<Pointer>,
    pub activation: Activation,
    pub y: Pointer,
}

/// `y = activation(x W + bias)`.
pub fn forward<D: Driver>(l: &mut Launcher<D>, call: &DenseForward) {
    let shape = call.shape;
    shape.check();
    let end = End::Activated(call.bias.unwrap_or(Pointer::NULL), call.activation);
    if let Some(vector) = shape.single(&[call.x, call.weights]) {
        single_forward(l, call, vector, end);
        return;
    }
    let product = Product {
        kernel: "dense_forward",
        a: (call.x, shape.inputs),
        b: (call.weights, shape.outputs),
        sizes: [shape.batch, shape.outputs, shape.inputs],
    };
    product.launch(l, call.y, end);
}

/// `gradient [inputs, outputs] = x^T dy`, set or added to.
pub fn weight_gradient<D: Driver>(
    l: &mut Launcher<D>,
    shape: DenseShape,
    x: Pointer,
    dy: Pointer,
    gradient: Pointer,
    accumulate: Accumulate,
) {
    shape.check();
    if let Some(vector) = shape.single(&[x, gradient]) {
        let kernels = [
            "dense_single_weight_gradient_x1",
            "dense_single_weight_gradient_x4",
        ];
        let geometry = single_geometry(&shape, vector, 1);
        let params = single_params(&shape, [x, dy, gradient], accumulate);
        l.launch(kernels[usize::from(vector)], geometry, &params);
        return;
    }
    let product = Product {
        kernel: "dense_weight_gradient",
        a: (x, shape.inputs),
        b: (dy, shape.outputs),
        sizes: [shape.inputs, shape.outputs, shape.batch],
    };
    product.launch(l, gradient, End::Stored(accumulate));
}

/// `dx [batch, inputs] = dy W^T`.
pub fn input_gradient<D: Driver>(
    l: &mut Launcher<D>,
    shape: DenseShape,
    dy: Pointer,
    weights: Pointer,
    dx: Pointer,
) {
    shape.check();
    if let Some(vector) = shape.single(&[weights, dx]) {
        let kernels = [
            "dense_single_input_gradient_x1",
            "dense_single_input_gradient_x4",
        ];
        let geometry = single_geometry(&shape, vector, SINGLE_SAMPLES);
        let params = single_params(&shape, [weights, dy, dx], Accumulate::First);
        l.launch(kernels[usize::from(vector)], geometry, &params);
        return;
    }
    let product = Product {
        kernel: "dense_input_gradient",
        a: (dy, shape.outputs),
        b: (weights, shape.outputs),
        sizes: [shape.batch, shape.inputs, shape.outputs],
    };
    product.launch(l, dx, End::Stored(Accumulate::First));
}

/// What becomes of the sums.
#[derive(Clone, Copy)]
pub(super) enum End {
    /// Set or added to.
    Stored(Accumulate),
    /// With bias and activation.
    Activated(Pointer, Activation),
}

/// A tiled product C [m, n] = A [m, k] B [k, n].
#[derive(Clone, Copy)]
pub(super) struct Product {
    pub kernel: &'static str,
    /// The operands, with the length of their rows in memory.
    pub a: (Pointer, usize),
    pub b: (Pointer, usize),
    /// m, n, k.
    pub sizes: [usize; 3],
}

impl Product {
    /// Side of a tile, and what lengths of parts are multiples of.
    const TILE: usize = 64;
    const STEP: usize = 16;
    /// Products that are added one after the other: at least (but for short sums), at most.
    const SHORTEST: usize = 256;
    const LONGEST: usize = 2048;
    /// Blocks that keep the largest devices busy.
    const BLOCKS: usize = 512;

    fn launch<D: Driver>(&self, l: &mut Launcher<D>, c: Pointer, end: End) {
        if l.multiplies_by_vendor() {
            self.by_vendor(l, c, end);
        } else {
            self.tiled(l, c, end);
        }
    }

    /// By the kernel, whose C is f32.
    pub fn tiled<D: Driver>(&self, l: &mut Launcher<D>, c: Pointer, end: End) {
        let parts = self.parts();
        if parts == 1 {
            self.whole(l, c, end);
            return;
        }
        let [m, n, _] = self.sizes;
        let partial = self.partial(l, parts);
        merge(l, partial, parts, [m * n, n], c, end);
    }

    /// Parts that the sums are cut into.
    pub fn parts(&self) -> usize {
        self.sizes[2].div_ceil(self.part())
    }

    /// Length of a part.
    fn part(&self) -> usize {
        let [m, n, k] = self.sizes;
        let tiles = m.div_ceil(Self::TILE) * n.div_ceil(Self::TILE);
        k.div_ceil(Self::BLOCKS.div_ceil(tiles))
            .clamp(Self::SHORTEST, Self::LONGEST)
            .next_multiple_of(Self::STEP)
    }

    /// Stores the sums' parts `[parts, m, n]`, f32, in the workspace.
    pub fn partial<D: Driver>(&self, l: &mut Launcher<D>, parts: usize) -> Pointer {
        let [m, n, _] = self.sizes;
        let partial = l.workspace(4 * parts * m * n);
        self.whole(l, partial, End::Stored(Accumulate::First));
        partial
    }

    /// What the kernel makes, whole sums or parts of them, goes to `c`.
    pub fn whole<D: Driver>(&self, l: &mut Launcher<D>, c: Pointer, end: End) {
        let [m, n, k] = self.sizes;
        let [rows, columns] = [m, n].map(|size| size.div_ceil(Self::TILE));
        let parts = self.parts();
        debug_assert!(rows < 1 << 16 && parts < 1 << 16, "{m} x {n} x {k}");
        let (bias, activation, accumulate) = match end {
            End::Stored(accumulate) => (Pointer::NULL, Activation::Identity, accumulate),
            End::Activated(bias, activation) => (bias, activation, Accumulate::First),
        };
        let vector = |(pointer, pitch): (Pointer, usize)| {
            u32::from(aligned(&[pointer]) && pitch.is_multiple_of(4))
        };
        let params = DenseParams {
            a: self.a.0,
            b: self.b.0,
            bias,
            c,
            m: m as u32,
            n: n as u32,
            k: k as u32,
            part: self.part() as u32,
            vectors: vector(self.a) | vector(self.b) << 1,
            activation: activation_code(activation),
            accumulate: u32::from(accumulate == Accumulate::Later),
            unused: 0,
        };
        let geometry = Geometry {
            grid: [columns as u32, rows as u32, parts as u32],
            block: [256, 1, 1],
        };
        l.launch(self.kernel, geometry, &params);
    }
}

impl Product {
    /// The product by the vendor's library, then what is to become of it.
    fn by_vendor<D: Driver>(&self, l: &mut Launcher<D>, c: Pointer, end: End) {
        let [m, n, k] = self.sizes;
        let (to, beta) = match end {
            End::Stored(Accumulate::First) => (c, 0.0),
            End::Stored(Accumulate::Later) => (c, 1.0),
            End::Activated(..) => (l.workspace(4 * m * n), 0.0),
        };
        l.gemm(&Gemm {
            element: Element::F32,
            transpose_a: self.kernel == "dense_weight_gradient",
            transpose_b: self.kernel == "dense_input_gradient",
            m,
            n,
            k,
            alpha: 1.0,
            beta,
            a: self.a.0,
            b: self.b.0,
            c: to,
        });
        if matches!(end, End::Activated(..)) {
            merge(l, to, 1, [m * n, n], c, end);
        }
    }
}

/// Adds the parts of `partial [parts, len]`.
fn merge<D: Driver>(
    l: &mut Launcher<D>,
    partial: Pointer,
    parts: usize,
    sizes: [usize; 2],
    c: Pointer,
    end: End,
) {
    match end {
        End::Stored(accumulate) => sum_partials(l, partial, parts, sizes[0], c, accumulate),
        End::Activated(bias, activation) => {
            let end = (bias, activation);
            merge_activated(l, "dense_merge", (partial, parts), sizes, c, end);
        }
    }
}

/// The same with bias and activation; the kernel decides on the type of `c [len]`, rows of `n`.
pub(super) fn merge_activated<D: Driver>(
    l: &mut Launcher<D>,
    kernel: &'static str,
    (partial, parts): (Pointer, usize),
    [len, n]: [usize; 2],
    c: Pointer,
    (bias, activation): (Pointer, Activation),
) {
    let params = DenseMergeParams {
        partial,
        bias,
        c,
        len: len as u32,
        n: n as u32,
        parts: parts as u32,
        activation: activation_code(activation),
    };
    let geometry = Geometry {
        grid: [(len as u32).div_ceil(16), 1, 1],
        block: [16, 32, 1],
    };
    l.launch(kernel, geometry, &params);
}

/// Samples that a block takes: `SAMPLES` of kernels/dense_single.cu.
const SINGLE_SAMPLES: usize = 8;

/// A thread for each input (or four), a row of blocks for so many samples.
fn single_geometry(shape: &DenseShape, vector: bool, samples: usize) -> Geometry {
    let mut geometry = line(shape.inputs.div_ceil(if vector { 4 } else { 1 }));
    geometry.grid[1] = match samples {
        1 => 1,
        _ => shape.batch.div_ceil(samples) as u32,
    };
    geometry
}

fn single_params(
    shape: &DenseShape,
    [x, by, to]: [Pointer; 3],
    accumulate: Accumulate,
) -> DenseSingleParams {
    DenseSingleParams {
        x,
        by,
        to,
        batch: shape.batch as u32,
        inputs: shape.inputs as u32,
        accumulate: u32::from(accumulate == Accumulate::Later),
        unused: 0,
    }
}

fn single_forward<D: Driver>(l: &mut Launcher<D>, call: &DenseForward, vector: bool, end: End) {
    /// Values that a thread takes one after the other: `STEPS` of kernels/dense_single.cu.
    const STEPS: usize = 4;
    let shape = call.shape;
    let kernels = ["dense_single_forward_x1", "dense_single_forward_x4"];
    let mut geometry = single_geometry(&shape, vector, SINGLE_SAMPLES);
    geometry.grid[0] = geometry.grid[0].div_ceil(STEPS as u32);
    let parts = geometry.grid[0] as usize;
    let partial = l.workspace(4 * parts * shape.batch);
    let params = single_params(&shape, [call.x, call.weights, partial], Accumulate::First);
    l.launch(kernels[usize::from(vector)], geometry, &params);
    merge(l, partial, parts, [shape.batch, 1], call.y, end);
}

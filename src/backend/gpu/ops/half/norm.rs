//! Batch normalisation of bf16 tensors: passes over their rows, and the merging of what kernels leave
//! of parts of the rows.

use bytemuck::{Pod, Zeroable};

use super::{Below, BelowNorm, Parts};
use crate::backend::Accumulate;
use crate::backend::gpu::driver::{Driver, Geometry, Pointer};
use crate::backend::gpu::launcher::Launcher;
use crate::backend::gpu::ops::columns::Columns;
use crate::backend::gpu::ops::norm::NormShape;
use crate::backend::gpu::ops::{activation_code, aligned};
use crate::model::{Activation, BatchNorm};

/// Kernels of this file.
pub const KERNELS: &[&str] = &[
    "half_gradient_x1",
    "half_gradient_x8",
    "half_moments_merge",
    "half_norm_apply_x1",
    "half_norm_apply_x8",
    "half_norm_backward_x1",
    "half_norm_backward_x8",
    "half_norm_gradient_x1",
    "half_norm_gradient_x8",
    "half_norm_moments_x1",
    "half_norm_moments_x8",
    "half_slices",
    "half_sums_merge",
];

/// The argument of the `half_norm_moments` kernels.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct HalfMomentsParams {
    u: Pointer,
    moments: Pointer,
    counts: Pointer,
    rows: u32,
    features: u32,
    chunk: u32,
    unused: u32,
}

/// The argument of the `half_norm_apply` kernels.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct HalfNormApplyParams {
    u: Pointer,
    saved: Pointer,
    affine: Pointer,
    y: Pointer,
    rows: u32,
    features: u32,
    chunk: u32,
    activation: u32,
}

/// The argument of the `half_gradient` and `half_norm_gradient` kernels.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct HalfGradientParams {
    g: Pointer,
    value: Pointer,
    saved: Pointer,
    affine: Pointer,
    sums: Pointer,
    rows: u32,
    features: u32,
    chunk: u32,
    activation: u32,
}

/// The argument of the `half_norm_backward` kernels.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct HalfNormBackwardParams {
    dy: Pointer,
    u: Pointer,
    saved: Pointer,
    gamma: Pointer,
    sums: Pointer,
    rows: u32,
    features: u32,
    chunk: u32,
    unused: u32,
}

/// What the merging kernels read, and the argument of `half_slices`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PartsParams {
    parts: Pointer,
    counts: Pointer,
    slices: Pointer,
    features: u32,
    len: u32,
    slice: u32,
    slices_len: u32,
}

/// The argument of `half_moments_merge`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct HalfMomentsMergeParams {
    from: PartsParams,
    saved: Pointer,
    running: Pointer,
    momentum: f64,
    epsilon: f64,
    groups: u32,
    unused: u32,
}

/// The argument of `half_sums_merge`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct HalfSumsMergeParams {
    from: PartsParams,
    totals: Pointer,
    affine: Pointer,
    bias: Pointer,
    groups: u32,
    add_affine: u32,
    add_bias: u32,
    unused: u32,
}

/// Tensors whose features are a multiple of 8 lie at multiples of 16 bytes.
fn columns(shape: NormShape, tensors: &[Pointer]) -> Columns {
    let columns = Columns::half(shape.groups, shape.rows, shape.features, true);
    debug_assert!(
        !columns.vector || aligned(tensors),
        "{shape:?} at {tensors:?}"
    );
    columns
}

fn parts(shape: NormShape) -> Parts {
    Parts {
        groups: shape.groups,
        parts: columns(shape, &[]).chunks,
        features: shape.features,
    }
}

/// What [`moments`] leaves.
pub fn moment_parts(shape: NormShape) -> Parts {
    parts(shape)
}

/// The moments of `u`, where the kernel that made it left none.
pub fn moments<D: Driver>(l: &mut Launcher<D>, shape: NormShape, u: Pointer, moments: Pointer) {
    let columns = columns(shape, &[u]);
    let params = HalfMomentsParams {
        u,
        moments,
        counts: parts(shape).counts(moments),
        rows: shape.rows as u32,
        features: shape.features as u32,
        chunk: columns.chunk as u32,
        unused: 0,
    };
    let kernel = columns.pick(["half_norm_moments_x1", "half_norm_moments_x8"]);
    l.launch(kernel, columns.geometry(), &params);
}

/// `y = activation(gamma (u - mean) scale + beta)`; `y` may be `u`.
pub fn apply<D: Driver>(
    l: &mut Launcher<D>,
    shape: NormShape,
    activation: Activation,
    u: Pointer,
    norm: BelowNorm,
    y: Pointer,
) {
    let columns = columns(shape, &[u, y]);
    let params = HalfNormApplyParams {
        u,
        saved: norm.saved,
        affine: norm.affine,
        y,
        rows: shape.rows as u32,
        features: shape.features as u32,
        chunk: columns.chunk as u32,
        activation: activation_code(activation),
    };
    let kernel = columns.pick(["half_norm_apply_x1", "half_norm_apply_x8"]);
    l.launch(kernel, columns.geometry(), &params);
}

/// What [`gradient`] leaves.
pub fn gradient_parts(shape: NormShape) -> Parts {
    parts(shape)
}

/// `g = dy slope` in place of dy, with its sums where `below` wants them: for gradients that no kernel
/// has taken through the block below.
pub fn gradient<D: Driver>(l: &mut Launcher<D>, shape: NormShape, below: &Below, dy_to_g: Pointer) {
    let columns = columns(shape, &[below.value, dy_to_g]);
    let (saved, affine) = below
        .norm
        .map_or((Pointer::NULL, Pointer::NULL), |n| (n.saved, n.affine));
    let params = HalfGradientParams {
        g: dy_to_g,
        value: below.value,
        saved,
        affine,
        sums: below.sums.unwrap_or(Pointer::NULL),
        rows: shape.rows as u32,
        features: shape.features as u32,
        chunk: columns.chunk as u32,
        activation: activation_code(below.activation),
    };
    let kernel = match below.norm {
        Some(_) => columns.pick(["half_norm_gradient_x1", "half_norm_gradient_x8"]),
        None => columns.pick(["half_gradient_x1", "half_gradient_x8"]),
    };
    l.launch(kernel, columns.geometry(), &params);
}

/// `du = gamma scale (g - (total_g + xhat total_gxhat) / rows)` in place of g, the totals being
/// `[groups, 2, features]`.
pub fn apply_gradient<D: Driver>(
    l: &mut Launcher<D>,
    shape: NormShape,
    u: Pointer,
    norm: BelowNorm,
    totals: Pointer,
    g_to_du: Pointer,
) {
    let columns = columns(shape, &[u, g_to_du]);
    let params = HalfNormBackwardParams {
        dy: g_to_du,
        u,
        saved: norm.saved,
        gamma: norm.affine,
        sums: totals,
        rows: shape.rows as u32,
        features: shape.features as u32,
        chunk: columns.chunk as u32,
        unused: 0,
    };
    let kernel = columns.pick(["half_norm_backward_x1", "half_norm_backward_x8"]);
    l.launch(kernel, columns.geometry(), &params);
}

/// How the merging of parts is spread over blocks.
struct Merging {
    parts: Parts,
    /// Parts of a slice.
    slice: usize,
    slices: usize,
}

impl Merging {
    fn new(parts: Parts) -> Self {
        let slice = Parts::SLICE;
        Self {
            parts,
            slice,
            slices: parts.slices(),
        }
    }

    /// Blocks across the features; 8 of them, a sector, where a feature has parts for many threads.
    fn geometry(&self, others: [usize; 2]) -> Geometry {
        let block = if self.parts.parts < 8 {
            [256, 1, 1]
        } else {
            [8, 64, 1]
        };
        let across = (self.parts.features as u32).div_ceil(block[0]);
        Geometry {
            grid: [across, others[0] as u32, others[1] as u32],
            block,
        }
    }

    /// Adds the parts of each slice, where there are several.
    fn begin<D: Driver>(
        &self,
        l: &mut Launcher<D>,
        at: Pointer,
        counts: Option<Pointer>,
    ) -> PartsParams {
        let Parts {
            groups,
            parts,
            features,
        } = self.parts;
        let several = self.slices > 1;
        let params = PartsParams {
            parts: at,
            counts: counts.unwrap_or(Pointer::NULL),
            slices: match several {
                true => self.parts.slices_at(at),
                false => Pointer::NULL,
            },
            features: features as u32,
            len: parts as u32,
            slice: self.slice as u32,
            slices_len: self.slices as u32,
        };
        if several {
            l.launch("half_slices", self.geometry([self.slices, groups]), &params);
        }
        params
    }
}

/// Merges the moments of any producer, which lie in room for [`Parts::room_bytes`]: `saved
/// [groups, 2, features]`, mean and 1/sqrt(variance + epsilon), and group by group the running averages
/// `[2, features]`, `running = (1 - momentum) running + momentum batch` with the unbiased variance.
pub fn merge_moments<D: Driver>(
    l: &mut Launcher<D>,
    parts: Parts,
    moments: Pointer,
    saved: Pointer,
    running: Pointer,
    momentum: f64,
) {
    let merging = Merging::new(parts);
    let params = HalfMomentsMergeParams {
        from: merging.begin(l, moments, Some(parts.counts(moments))),
        saved,
        running,
        momentum,
        epsilon: BatchNorm::EPSILON,
        groups: parts.groups as u32,
        unused: 0,
    };
    l.launch("half_moments_merge", merging.geometry([1, 1]), &params);
}

/// Merges the sums of any producer, which lie in room for [`Parts::room_bytes`]: `totals
/// [groups, 2, features]`, plain sums; over all groups the gradients of gamma and beta `[2, features]`, or
/// from the first sum that of a bias `[features]`.
pub fn merge_sums<D: Driver>(
    l: &mut Launcher<D>,
    parts: Parts,
    sums: Pointer,
    totals: Option<Pointer>,
    affine_gradient: Option<(Pointer, Accumulate)>,
    bias_gradient: Option<(Pointer, Accumulate)>,
) {
    let merging = Merging::new(parts);
    let at = |gradient: Option<(Pointer, Accumulate)>| gradient.map_or(Pointer::NULL, |(at, _)| at);
    let adds = |gradient| u32::from(matches!(gradient, Some((_, Accumulate::Later))));
    let params = HalfSumsMergeParams {
        from: merging.begin(l, sums, None),
        totals: totals.unwrap_or(Pointer::NULL),
        affine: at(affine_gradient),
        bias: at(bias_gradient),
        groups: parts.groups as u32,
        add_affine: adds(affine_gradient),
        add_bias: adds(bias_gradient),
        unused: 0,
    };
    l.launch("half_sums_merge", merging.geometry([1, 1]), &params);
}

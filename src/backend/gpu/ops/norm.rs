//! Batch normalisation over rows of `features` values, with the activation that follows it.

use bytemuck::{Pod, Zeroable};

use super::columns::Columns;
use super::{activation_code, aligned, line};
use crate::backend::Accumulate;
use crate::backend::gpu::driver::{Driver, Pointer};
use crate::backend::gpu::launcher::Launcher;
use crate::model::{Activation, BatchNorm};

/// Kernels of this file.
pub const KERNELS: &[&str] = &[
    "norm_statistics_x1",
    "norm_statistics_x4",
    "norm_statistics_merge",
    "norm_running",
    "norm_apply_x1",
    "norm_apply_x4",
    "norm_backward_sums_x1",
    "norm_backward_sums_x4",
    "norm_backward_merge",
    "norm_backward_apply_x1",
    "norm_backward_apply_x4",
];

/// Rows of `features` values, `groups` times `rows` of them; each group is a batch of its own.
#[derive(Clone, Copy, Debug)]
pub struct NormShape {
    pub groups: usize,
    /// Rows of one group.
    pub rows: usize,
    pub features: usize,
}

impl NormShape {
    fn columns(&self, pointers: &[Pointer]) -> Columns {
        Columns::new(self.groups, self.rows, self.features, aligned(pointers))
    }
}

/// The argument of the `norm_statistics` kernels.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormStatisticsParams {
    u: Pointer,
    partial: Pointer,
    rows: u32,
    features: u32,
    chunk: u32,
    unused: u32,
}

/// The argument of `norm_statistics_merge`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormStatisticsMergeParams {
    partial: Pointer,
    saved: Pointer,
    running: Pointer,
    momentum: f64,
    epsilon: f64,
    rows: u32,
    features: u32,
    chunk: u32,
    chunks: u32,
    groups: u32,
    unused: u32,
}

/// Mean and 1/sqrt(variance + epsilon) of each feature of `u`, into `saved [groups, 2, features]`;
/// and the update of `running [2, features]`, whose variance is the unbiased one, group by group:
/// `running = (1 - momentum) running + momentum batch`.
pub fn statistics<D: Driver>(
    l: &mut Launcher<D>,
    shape: NormShape,
    u: Pointer,
    saved: Pointer,
    running: Pointer,
    momentum: f64,
) {
    let NormShape {
        groups,
        rows,
        features,
    } = shape;
    let columns = shape.columns(&[u]);
    let partial = l.workspace(8 * groups * columns.chunks * features);
    let params = NormStatisticsParams {
        u,
        partial,
        rows: rows as u32,
        features: features as u32,
        chunk: columns.chunk as u32,
        unused: 0,
    };
    let kernel = columns.pick(["norm_statistics_x1", "norm_statistics_x4"]);
    l.launch(kernel, columns.geometry(), &params);
    let params = NormStatisticsMergeParams {
        partial,
        saved,
        running,
        momentum,
        epsilon: BatchNorm::EPSILON,
        rows: rows as u32,
        features: features as u32,
        chunk: columns.chunk as u32,
        chunks: columns.chunks as u32,
        groups: groups as u32,
        unused: 0,
    };
    let geometry = columns.merge_geometry(features);
    l.launch("norm_statistics_merge", geometry, &params);
}

/// The argument of `norm_running`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormRunningParams {
    running: Pointer,
    saved: Pointer,
    epsilon: f64,
    features: u32,
    unused: u32,
}

/// Mean and 1/sqrt(variance + epsilon), into `saved [2, features]`, from running averages
/// `[2, features]`.
pub fn running_statistics<D: Driver>(
    l: &mut Launcher<D>,
    features: usize,
    running: Pointer,
    saved: Pointer,
) {
    let params = NormRunningParams {
        running,
        saved,
        epsilon: BatchNorm::EPSILON,
        features: features as u32,
        unused: 0,
    };
    l.launch("norm_running", line(features), &params);
}

/// The argument of the `norm_apply` kernels.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormApplyParams {
    u: Pointer,
    saved: Pointer,
    affine: Pointer,
    y: Pointer,
    rows: u32,
    features: u32,
    chunk: u32,
    activation: u32,
}

/// One `y = activation(gamma (u - mean) scale + beta)`. With running averages there is one group.
#[derive(Clone, Copy, Debug)]
pub struct NormApply {
    pub shape: NormShape,
    pub activation: Activation,
    pub u: Pointer,
    /// `[groups, 2, features]`: mean, scale.
    pub saved: Pointer,
    /// `[2, features]`: gamma, beta.
    pub affine: Pointer,
    /// May be `u`.
    pub y: Pointer,
}

/// See [`NormApply`].
pub fn apply<D: Driver>(l: &mut Launcher<D>, call: &NormApply) {
    let &NormApply {
        shape,
        activation,
        u,
        saved,
        affine,
        y,
    } = call;
    let columns = shape.columns(&[u, saved, affine, y]);
    let params = NormApplyParams {
        u,
        saved,
        affine,
        y,
        rows: shape.rows as u32,
        features: shape.features as u32,
        chunk: columns.chunk as u32,
        activation: activation_code(activation),
    };
    let kernel = columns.pick(["norm_apply_x1", "norm_apply_x4"]);
    l.launch(kernel, columns.geometry(), &params);
}

/// The argument of the `norm_backward` kernels.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormBackwardParams {
    dy: Pointer,
    u: Pointer,
    y: Pointer,
    saved: Pointer,
    gamma: Pointer,
    sums: Pointer,
    rows: u32,
    features: u32,
    chunk: u32,
    activation: u32,
}

/// The argument of `norm_backward_merge`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormBackwardMergeParams {
    partial: Pointer,
    sums: Pointer,
    gradient: Pointer,
    features: u32,
    chunks: u32,
    groups: u32,
    accumulate: u32,
}

/// The backward pass of batch norm and activation.
#[derive(Clone, Copy, Debug)]
pub struct NormBackward {
    pub shape: NormShape,
    pub activation: Activation,
    pub u: Pointer,
    pub y: Pointer,
    /// `[groups, 2, features]`: mean, scale.
    pub saved: Pointer,
    /// `[features]`
    pub gamma: Pointer,
    /// The gradient of `y`; that of `u` takes its place.
    pub gradient: Pointer,
    /// `[2, features]`, the gradients of gamma and beta, where they are wanted.
    pub affine_gradient: Option<(Pointer, Accumulate)>,
}

/// See [`NormBackward`].
pub fn backward<D: Driver>(l: &mut Launcher<D>, call: &NormBackward) {
    let NormShape {
        groups,
        rows,
        features,
    } = call.shape;
    let columns = call
        .shape
        .columns(&[call.u, call.y, call.saved, call.gamma, call.gradient]);
    let sums_len = 2 * groups * features;
    let sums = l.workspace(4 * sums_len * (1 + columns.chunks));
    let partial = sums.plus(sums_len);
    let mut params = NormBackwardParams {
        dy: call.gradient,
        u: call.u,
        y: call.y,
        saved: call.saved,
        gamma: call.gamma,
        sums: partial,
        rows: rows as u32,
        features: features as u32,
        chunk: columns.chunk as u32,
        activation: activation_code(call.activation),
    };
    let kernel = columns.pick(["norm_backward_sums_x1", "norm_backward_sums_x4"]);
    l.launch(kernel, columns.geometry(), &params);
    let merge = NormBackwardMergeParams {
        partial,
        sums,
        gradient: call.affine_gradient.map_or(Pointer::NULL, |(at, _)| at),
        features: features as u32,
        chunks: columns.chunks as u32,
        groups: groups as u32,
        accumulate: u32::from(matches!(call.affine_gradient, Some((_, Accumulate::Later)))),
    };
    let geometry = columns.merge_geometry(features);
    l.launch("norm_backward_merge", geometry, &merge);
    params.sums = sums;
    let kernel = columns.pick(["norm_backward_apply_x1", "norm_backward_apply_x4"]);
    l.launch(kernel, columns.geometry(), &params);
}

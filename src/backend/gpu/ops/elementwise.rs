//! Element-wise passes: fill, activation and its gradient.

use bytemuck::{Pod, Zeroable};

use super::{Elements, activation_code};
use crate::backend::gpu::driver::{Driver, Pointer};
use crate::backend::gpu::launcher::Launcher;
use crate::model::Activation;

/// Kernels of this file.
pub const KERNELS: &[&str] = &["fill", "activate_in_place", "activation_gradient"];

/// The argument of `fill`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct FillParams {
    to: Pointer,
    len: u32,
    vectors: u32,
    value: f32,
    unused: u32,
}

/// Sets `len` values.
pub fn fill<D: Driver>(l: &mut Launcher<D>, to: Pointer, len: usize, value: f32) {
    let elements = Elements::new(len, &[to]);
    let params = FillParams {
        to,
        len: elements.len,
        vectors: elements.vectors,
        value,
        unused: 0,
    };
    l.launch("fill", elements.geometry(), &params);
}

/// The argument of the activation kernels.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ActivationParams {
    values: Pointer,
    y: Pointer,
    len: u32,
    vectors: u32,
    activation: u32,
    unused: u32,
}

/// `y = activation(y)` in place.
pub fn activate_in_place<D: Driver>(
    l: &mut Launcher<D>,
    activation: Activation,
    len: usize,
    y: Pointer,
) {
    launch(l, "activate_in_place", activation, len, [y, y]);
}

/// `dy = dy activation'(y)` in place.
pub fn activation_gradient<D: Driver>(
    l: &mut Launcher<D>,
    activation: Activation,
    len: usize,
    y: Pointer,
    dy: Pointer,
) {
    launch(l, "activation_gradient", activation, len, [dy, y]);
}

fn launch<D: Driver>(
    l: &mut Launcher<D>,
    kernel: &'static str,
    activation: Activation,
    len: usize,
    [values, y]: [Pointer; 2],
) {
    if activation == Activation::Identity {
        return;
    }
    let elements = Elements::new(len, &[values, y]);
    let params = ActivationParams {
        values,
        y,
        len: elements.len,
        vectors: elements.vectors,
        activation: activation_code(activation),
        unused: 0,
    };
    l.launch(kernel, elements.geometry(), &params);
}

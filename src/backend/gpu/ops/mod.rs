//! The operations of a step as launches: one file for each kind, with the parameter structs that
//! its kernels take and the geometry that they are launched with.
//!
//! Pointers are to f32 values unless their names say otherwise.

pub mod strided;
pub mod strided_form;

use crate::model::Activation;

/// Names of all kernels, by file.
pub const KERNELS: &[&[&str]] = &[strided::KERNELS];

/// Which generation of the convolution kernels is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelVersion {
    /// One thread makes one value: slow, and plain enough to trust.
    V1,
    /// Tiles in shared memory.
    #[default]
    V2,
}

/// How kernels/activation.cuh numbers the activations.
fn activation_code(activation: Activation) -> u32 {
    match activation {
        Activation::Identity => 0,
        Activation::Relu => 1,
        Activation::LeakyRelu => 2,
        Activation::Tanh => 3,
    }
}

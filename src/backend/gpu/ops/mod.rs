//! The operations of a step as launches: one file for each kind, with the parameter structs that
//! its kernels take and the geometry that they are launched with.
//!
//! Pointers are to f32 values unless their names say otherwise.

pub mod columns;
pub mod crop;
pub mod dense;
pub mod elementwise;
pub mod half;
pub mod norm;
pub mod random;
pub mod step;
pub mod strided;
pub mod strided_form;

use super::driver::{Geometry, Pointer};
use crate::model::Activation;

/// Names of all kernels, by file.
pub const KERNELS: &[&[&str]] = &[
    columns::KERNELS,
    crop::KERNELS,
    dense::KERNELS,
    elementwise::KERNELS,
    norm::KERNELS,
    random::KERNELS,
    step::KERNELS,
    strided::KERNELS,
];

/// What multiplies the matrices of dense layers with more than one output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DenseKernels {
    #[default]
    Own,
    /// The vendor's library, where it is installed.
    Cublas,
}

/// Which generation of the convolution kernels is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelVersion {
    /// One thread makes one value: slow, and plain enough to trust.
    V1,
    /// Tiles in shared memory.
    #[default]
    V2,
    /// bf16 on tensor cores, the element-wise work folded in ([`half`]): of compute capability 8.0 on.
    V3,
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

/// Whether a tensor's values can be counted in 31 bits, as the kernels do.
fn small(values: usize) -> bool {
    values < 1 << 31
}

/// Whether all of these can be read four values at a time.
fn aligned(pointers: &[Pointer]) -> bool {
    pointers.iter().all(|pointer| pointer.0.is_multiple_of(16))
}

/// One thread for each of `count` things.
fn line(count: usize) -> Geometry {
    const THREADS: u32 = 256;
    Geometry {
        grid: [(count as u32).div_ceil(THREADS), 1, 1],
        block: [THREADS, 1, 1],
    }
}

/// An element-wise pass: see `elementwise` of kernels/vector.cuh.
struct Elements {
    len: u32,
    /// Threads that take four values, the first ones.
    vectors: u32,
}

impl Elements {
    /// A pass over `len` values of each of `pointers`.
    fn new(len: usize, pointers: &[Pointer]) -> Self {
        debug_assert!(small(len), "{len} values");
        let vectors = if aligned(pointers) { len / 4 } else { 0 };
        Self {
            len: len as u32,
            vectors: vectors as u32,
        }
    }

    fn geometry(&self) -> Geometry {
        line((self.len - 3 * self.vectors) as usize)
    }
}

#[cfg(test)]
mod tests;

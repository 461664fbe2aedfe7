//! The operations of mixed precision, as launches: activations and what flows back through them in
//! bf16; maps, weights, statistics, sums and gradients of parameters in f32.
//!
//! Its kernels need compute capability 8.0. Sums are taken in f32 and rounded once, where a tensor is
//! stored. What a batch norm needs of a tensor is summed by the kernel that makes the tensor, in
//! parts that are merged in a fixed order.

pub mod dense;
pub mod few;
pub mod norm;
pub mod pack;
pub mod strided;
pub mod wgrad;

use crate::backend::gpu::driver::Pointer;
use crate::model::Activation;

/// The least compute capability that has bf16 tensor cores and `cp.async`.
pub const CAPABILITY: (u32, u32) = (8, 0);

/// Names of the kernels for devices of [`CAPABILITY`] and later, by file.
pub const KERNELS: &[&[&str]] = &[
    dense::KERNELS,
    few::KERNELS,
    norm::KERNELS,
    pack::KERNELS,
    strided::KERNELS,
    wgrad::KERNELS,
];

/// Rows of `features` values in groups, and how many partial results a kernel leaves of each group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    pub groups: usize,
    /// Parts of one group.
    pub parts: usize,
    pub features: usize,
}

impl Parts {
    /// Bytes of `[groups, parts, 2, features]` and of `[groups, parts]` behind it, both f32: mean and
    /// centred sum of squares of a part's rows, and their number.
    pub fn moments_bytes(&self) -> usize {
        self.sums_bytes() + 4 * self.groups * self.parts
    }

    /// Where the numbers of rows begin.
    pub fn counts(&self, moments: Pointer) -> Pointer {
        moments.plus(2 * self.groups * self.parts * self.features)
    }

    /// Bytes of two sums `[groups, parts, 2, features]`, f32.
    pub fn sums_bytes(&self) -> usize {
        8 * self.groups * self.parts * self.features
    }

    /// Parts that are merged at once, by one block for each few features.
    const SLICE: usize = 256;

    /// Slices that the parts of a group are merged in.
    fn slices(&self) -> usize {
        self.parts.div_ceil(Self::SLICE)
    }

    /// Where what is merged of each slice goes: behind moments, or sums.
    fn slices_at(&self, parts: Pointer) -> Pointer {
        Pointer(parts.0 + self.moments_bytes().next_multiple_of(8) as u64)
    }

    /// Bytes of moments or sums and of what is needed to merge them: `[groups, slices, 3, features]`,
    /// f64.
    pub fn room_bytes(&self) -> usize {
        let slices = match self.slices() {
            0 | 1 => 0,
            several => 24 * self.groups * several * self.features,
        };
        self.moments_bytes().next_multiple_of(8) + slices
    }
}

/// What a kernel does with the values that it has summed, before it stores them.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// `activation(sum + bias)`, the bias being one f32 a channel.
    Forward {
        bias: Option<Pointer>,
        activation: Activation,
        /// Where the moments of the stored values go ([`Parts::moments_bytes`]); the activation is then
        /// the identity.
        moments: Option<Pointer>,
    },
    /// The sum is the gradient of a block's output.
    Backward(Below),
}

/// The block that a gradient flows back into. With `dy` the gradient of its output, the kernel stores
/// `g = dy slope`, the slope being that of the activation.
#[derive(Clone, Copy, Debug)]
pub struct Below {
    pub activation: Activation,
    /// Of the gradient's shape, bf16: the linear output where the block has a batch norm, else the
    /// block's output.
    pub value: Pointer,
    pub norm: Option<BelowNorm>,
    /// Where the sums of `g` and of `g xhat` go ([`Parts::sums_bytes`]); without a batch norm the
    /// second one is 0.
    pub sums: Option<Pointer>,
}

/// A batch norm: `xhat = (u - mean) scale`, and gamma xhat + beta enters the activation.
#[derive(Clone, Copy, Debug)]
pub struct BelowNorm {
    /// `[groups, 2, features]`: mean, scale; f32.
    pub saved: Pointer,
    /// `[2, features]`: gamma, beta; f32.
    pub affine: Pointer,
}

/// Activations that a kernel reads.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// As they are stored, bf16.
    Stored(Pointer),
    /// `activation(gamma (u - mean) scale + beta)`, rounded to bf16, of the linear output `u`, bf16.
    Normed {
        u: Pointer,
        norm: BelowNorm,
        groups: usize,
        activation: Activation,
    },
}

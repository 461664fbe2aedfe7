//! Random numbers of a stream at the present step, equal to the bit to those of
//! [`Philox`](crate::rng::Philox).

use bytemuck::{Pod, Zeroable};

use super::{aligned, line, small};
use crate::backend::gpu::driver::{Driver, Pointer};
use crate::backend::gpu::launcher::Launcher;
use crate::rng::Stream;

/// Kernels of this file.
pub const KERNELS: &[&str] = &["uniforms", "normals", "philox_words"];

/// The argument of `uniforms` and `normals`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct RandomParams {
    to: Pointer,
    values: Pointer,
    len: u32,
    stream: u32,
    aligned: u32,
    unused: u32,
}

/// `len` uniform numbers on [0, 1). Seed and step are those of the
/// [`StepValues`](super::step::StepValues) at `values`.
pub fn uniforms<D: Driver>(
    l: &mut Launcher<D>,
    to: Pointer,
    len: usize,
    stream: Stream,
    values: Pointer,
) {
    launch(l, "uniforms", to, len, stream, values);
}

/// `len` N(0, 1) numbers. Seed and step are those of the
/// [`StepValues`](super::step::StepValues) at `values`.
pub fn normals<D: Driver>(
    l: &mut Launcher<D>,
    to: Pointer,
    len: usize,
    stream: Stream,
    values: Pointer,
) {
    launch(l, "normals", to, len, stream, values);
}

fn launch<D: Driver>(
    l: &mut Launcher<D>,
    kernel: &'static str,
    to: Pointer,
    len: usize,
    stream: Stream,
    values: Pointer,
) {
    debug_assert!(small(len), "{len} random numbers");
    let params = RandomParams {
        to,
        values,
        len: len as u32,
        stream: stream as u32,
        aligned: u32::from(aligned(&[to])),
        unused: 0,
    };
    l.launch(kernel, line(len.div_ceil(4)), &params);
}

/// The argument of `philox_words`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PhiloxWordsParams {
    counters: Pointer,
    keys: Pointer,
    words: Pointer,
    normals: Pointer,
    len: u32,
    unused: u32,
}

/// What the numbers are made of, for checks: the words of `len` `counters [len, 4]` under
/// `keys [len, 2]`, and the normals `[len, 4]` of the counters taken as words. All at multiples of
/// 16 bytes.
pub fn philox_words<D: Driver>(
    l: &mut Launcher<D>,
    len: usize,
    [counters, keys]: [Pointer; 2],
    [words, normals]: [Pointer; 2],
) {
    let params = PhiloxWordsParams {
        counters,
        keys,
        words,
        normals,
        len: len as u32,
        unused: 0,
    };
    l.launch("philox_words", line(len), &params);
}

//! cuDNN 9, emulated: convolutions in NHWC as this project asks for them. What it does not ask for, and
//! descriptors that do not fit each other, are refused.
//!
//! Each operation has the same algorithms: some that heuristics name and that fail in one way or another,
//! a slow one that needs no workspace, and the one to find.

use std::collections::HashMap;
use std::ffi::{c_int, c_uint};
use std::io::Write;

use super::state::{Element, State, Status, Work};
use super::{on_context, on_driver, set};

const BAD_PARAM: Status = 2000;
const SHAPE_MISMATCH: Status = 2008;
const NOT_SUPPORTED: Status = 3000;
const EXECUTION_FAILED: Status = 5000;

const NHWC: c_uint = 1;
const CROSS_CORRELATION: c_uint = 1;
const FLOAT: c_uint = 0;
const TENSOR_OP_MATH: c_uint = 1;
const FMA_MATH: c_uint = 3;

/// An algorithm: its number, what heuristics say, what running it says, bytes of workspace, whether it gives
/// the same bits every time, and milliseconds.
type Algorithm = (c_uint, Status, Status, usize, bool, usize);

const ALGORITHMS: [Algorithm; 5] = [
    (2, 0, NOT_SUPPORTED, 0, true, 1),
    (3, 0, 0, 2 << 30, true, 1),
    (0, 0, 0, 0, false, 2),
    (1, 0, 0, 1000, true, 1),
    (5, NOT_SUPPORTED, 0, 0, true, 1),
];

/// What heuristics say of an algorithm.
#[repr(C)]
pub struct Performance {
    algorithm: c_uint,
    status: Status,
    milliseconds: f32,
    memory: usize,
    determinism: c_uint,
    math: c_uint,
    reserved: [c_int; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Fprop,
    Dgrad,
    Wgrad,
}

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Self::Fprop => "fprop",
            Self::Dgrad => "dgrad",
            Self::Wgrad => "wgrad",
        }
    }
}

/// N, C, H, W of a tensor; K, C, R, S of a filter.
#[derive(Clone, Copy)]
pub struct Shape {
    element: Element,
    sizes: [usize; 4],
}

impl Shape {
    fn new(element: c_uint, format: c_uint, sizes: [c_int; 4]) -> Result<Self, Status> {
        let element = match (element, format) {
            (0, NHWC) => Element::F32,
            (9, NHWC) => Element::Bf16,
            _ => return Err(NOT_SUPPORTED),
        };
        if sizes.iter().any(|size| *size < 1) {
            return Err(BAD_PARAM);
        }
        let sizes = sizes.map(|size| size as usize);
        Ok(Self { element, sizes })
    }

    fn len(&self) -> usize {
        self.sizes.iter().product()
    }

    /// Where a value lies: channels last.
    fn at(&self, [n, c, h, w]: [usize; 4]) -> usize {
        let [_, channels, rows, columns] = self.sizes;
        ((n * rows + h) * columns + w) * channels + c
    }
}

/// Padding and stride, on both axes, and the arithmetic that is permitted.
#[derive(Clone, Copy)]
pub struct Form {
    pad: usize,
    stride: usize,
    math: c_uint,
}

/// What a descriptor holds, once it was set.
pub enum Descriptor {
    Tensor(Option<Shape>),
    Filter(Option<Shape>),
    Convolution(Option<Form>),
}

/// The descriptors that are alive.
pub type Descriptors = HashMap<usize, Descriptor>;

/// Descriptors that belong together.
struct Problem {
    big: Shape,
    small: Shape,
    weights: Shape,
    form: Form,
}

impl Problem {
    /// `descriptors` are those of big plane, small plane, weights and convolution.
    fn new(state: &State, descriptors: [usize; 4]) -> Result<Self, Status> {
        let [big, small, weights, form] = descriptors.map(|descriptor| state.dnn.get(&descriptor));
        let (
            Some(Descriptor::Tensor(Some(big))),
            Some(Descriptor::Tensor(Some(small))),
            Some(Descriptor::Filter(Some(weights))),
            Some(Descriptor::Convolution(Some(form))),
        ) = (big, small, weights, form)
        else {
            return Err(BAD_PARAM);
        };
        let problem = Self {
            big: *big,
            small: *small,
            weights: *weights,
            form: *form,
        };
        let element = big.element;
        if small.element != element || weights.element != element {
            return Err(BAD_PARAM);
        }
        if made(big, weights, form)? != small.sizes {
            return Err(SHAPE_MISMATCH);
        }
        // Otherwise f32 would be TF32, and bf16 would not be on tensor cores.
        let permitted = match element {
            Element::F32 => FMA_MATH,
            Element::Bf16 => TENSOR_OP_MATH,
        };
        match form.math == permitted {
            true => Ok(problem),
            false => Err(NOT_SUPPORTED),
        }
    }
}

/// The shape that fprop makes.
fn made(big: &Shape, weights: &Shape, form: &Form) -> Result<[usize; 4], Status> {
    let ([n, c, h, w], [k, c_weights, r, s]) = (big.sizes, weights.sizes);
    let side = |size: usize, taps: usize| {
        let room = (size + 2 * form.pad).checked_sub(taps);
        room.map(|room| room / form.stride + 1).ok_or(BAD_PARAM)
    };
    match c == c_weights {
        true => Ok([n, k, side(h, r)?, side(w, s)?]),
        false => Err(SHAPE_MISMATCH),
    }
}

/// A convolution in the stream.
#[derive(Clone, Copy)]
pub struct Convolution {
    operation: Operation,
    /// Shape and address of big plane, small plane and weights.
    tensors: [(Shape, u64); 3],
    pad: usize,
    stride: usize,
    /// Address and bytes.
    workspace: (u64, usize),
}

impl Convolution {
    pub fn run(&self, state: &mut State) -> Result<(), Status> {
        let (at, bytes) = self.workspace;
        if bytes > 0 {
            // Whatever lay there is lost.
            state.upload(at, &vec![0xff; bytes])?;
        }
        let writes = match self.operation {
            Operation::Dgrad => 0,
            Operation::Fprop => 1,
            Operation::Wgrad => 2,
        };
        let mut values = [Vec::new(), Vec::new(), Vec::new()];
        for (index, (values, (shape, address))) in values.iter_mut().zip(self.tensors).enumerate() {
            *values = match index == writes {
                true => vec![0.0; shape.len()],
                false => state.values(address, shape.len(), shape.element)?,
            };
        }
        self.add(&mut values);
        let (shape, address) = self.tensors[writes];
        state.store(address, &values[writes], shape.element)
    }

    /// Adds each product of the convolution to the value that it belongs to.
    fn add(&self, [big, small, weights]: &mut [Vec<f64>; 3]) {
        let [(big_shape, _), (small_shape, _), (filter, _)] = self.tensors;
        let [samples, c_big, rows, columns] = big_shape.sizes;
        let [_, c_small, small_rows, small_columns] = small_shape.sizes;
        let [_, _, taps_down, taps_across] = filter.sizes;
        let place = |small: usize, tap: usize, most: usize| {
            let place = (small * self.stride + tap).checked_sub(self.pad);
            place.filter(|place| *place < most)
        };
        for n in 0..samples {
            for (p, r) in pairs(small_rows, taps_down) {
                let Some(h) = place(p, r, rows) else { continue };
                for (q, s) in pairs(small_columns, taps_across) {
                    let Some(w) = place(q, s, columns) else {
                        continue;
                    };
                    for (k, c) in pairs(c_small, c_big) {
                        let x = &mut big[big_shape.at([n, c, h, w])];
                        let y = &mut small[small_shape.at([n, k, p, q])];
                        let f = &mut weights[filter.at([k, c, r, s])];
                        match self.operation {
                            Operation::Fprop => *y += *x * *f,
                            Operation::Dgrad => *x += *y * *f,
                            Operation::Wgrad => *f += *x * *y,
                        }
                    }
                }
            }
        }
    }
}

/// All of the first with all of the second.
fn pairs(first: usize, second: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..first).flat_map(move |a| (0..second).map(move |b| (a, b)))
}

/// CUDA's result as one of cuDNN.
fn as_dnn(status: Status) -> Status {
    match status {
        1..1000 => EXECUTION_FAILED,
        status => status,
    }
}

fn on_handle(f: impl FnOnce(&mut State) -> Result<(), Status>) -> Status {
    as_dnn(on_context(f))
}

/// Descriptors need no device.
fn on_descriptor(f: impl FnOnce(&mut State) -> Result<(), Status>) -> Status {
    as_dnn(on_driver(f))
}

fn destroy(state: &mut State, descriptor: usize) -> Result<(), Status> {
    state.dnn.remove(&descriptor).map(drop).ok_or(BAD_PARAM)
}

/// Tells the heuristics' view of all algorithms.
///
/// SAFETY: the caller gives room for `asked` results.
unsafe fn expect(
    state: &mut State,
    operation: Operation,
    descriptors: [usize; 4],
    asked: c_int,
    count: *mut c_int,
    results: *mut Performance,
) -> Result<(), Status> {
    let problem = Problem::new(state, descriptors)?;
    let refuses = state.pretence.cudnn_refuses == operation.name();
    let told = ALGORITHMS.len().min(asked as usize);
    for (index, algorithm) in ALGORITHMS.iter().take(told).enumerate() {
        let (number, status, _, memory, deterministic, milliseconds) = *algorithm;
        let performance = Performance {
            algorithm: number,
            status: if refuses { NOT_SUPPORTED } else { status },
            milliseconds: milliseconds as f32,
            memory,
            determinism: c_uint::from(deterministic),
            math: problem.form.math,
            reserved: [0; 3],
        };
        // SAFETY: see above.
        unsafe { results.add(index).write(performance) };
    }
    // SAFETY: as in `set`.
    unsafe { set(count, told as c_int) }
}

fn find(number: c_uint) -> Result<Algorithm, Status> {
    let found = ALGORITHMS.iter().find(|algorithm| algorithm.0 == number);
    found.copied().ok_or(NOT_SUPPORTED)
}

/// Bytes of workspace of an algorithm.
fn wants(state: &State, descriptors: [usize; 4], number: c_uint) -> Result<usize, Status> {
    Problem::new(state, descriptors)?;
    find(number).map(|algorithm| algorithm.3)
}

/// Puts a convolution into the stream. `factors` are alpha and beta.
fn convolve(
    state: &mut State,
    operation: Operation,
    descriptors: [usize; 4],
    addresses: [u64; 3],
    number: c_uint,
    workspace: (u64, usize),
    factors: [f32; 2],
) -> Result<(), Status> {
    let problem = Problem::new(state, descriptors)?;
    let (_, expected, runs, wanted, _, milliseconds) = find(number)?;
    if expected != 0 || runs != 0 || factors != [1.0, 0.0] {
        return Err(NOT_SUPPORTED);
    }
    if workspace.1 < wanted {
        return Err(BAD_PARAM);
    }
    if workspace.1 > 0 {
        state.locate(workspace.0, workspace.1)?;
    }
    let [big, small, weights] = addresses;
    // A wrong one pads less.
    let wrong = state.pretence.cudnn_wrong == operation.name();
    let work = Work::Convolution(Convolution {
        operation,
        tensors: [
            (problem.big, big),
            (problem.small, small),
            (problem.weights, weights),
        ],
        pad: problem.form.pad - usize::from(wrong),
        stride: problem.form.stride,
        workspace,
    });
    // Each piece of work takes a millisecond.
    for _ in 0..milliseconds {
        state.add(work.clone());
    }
    Ok(())
}

/// cuDNN's number for its version.
#[unsafe(no_mangle)]
pub extern "C" fn cudnnGetVersion() -> usize {
    let mut version = 0;
    on_driver(|state| {
        version = state.pretence.cudnn_version;
        Ok(())
    });
    version
}

driver! {
    fn cudnnCreate(handle: *mut usize) in on_handle |state| {
        state.outside_of_capture()?;
        set(handle, 1)
    }
    fn cudnnDestroy(_handle: usize) in on_handle |state| {
        let left = state.dnn.len();
        if left > 0 {
            let _ = writeln!(std::io::stderr(), "emulated cuDNN: {left} descriptors are left");
        }
        Ok(())
    }
    fn cudnnSetStream(_handle: usize, _stream: usize) in on_handle |_| {
        Ok(())
    }
    fn cudnnCreateTensorDescriptor(descriptor: *mut usize) in on_descriptor |state| {
        let handle = state.handle();
        state.dnn.insert(handle, Descriptor::Tensor(None));
        set(descriptor, handle)
    }
    fn cudnnDestroyTensorDescriptor(descriptor: usize) in on_descriptor |state| {
        destroy(state, descriptor)
    }
    fn cudnnSetTensor4dDescriptor(descriptor: usize, format: c_uint, element: c_uint, n: c_int, c: c_int, h: c_int, w: c_int) in on_descriptor |state| {
        match state.dnn.get_mut(&descriptor) {
            Some(Descriptor::Tensor(shape)) => *shape = Some(Shape::new(element, format, [n, c, h, w])?),
            _ => return Err(BAD_PARAM),
        }
        Ok(())
    }
    fn cudnnCreateFilterDescriptor(descriptor: *mut usize) in on_descriptor |state| {
        let handle = state.handle();
        state.dnn.insert(handle, Descriptor::Filter(None));
        set(descriptor, handle)
    }
    fn cudnnDestroyFilterDescriptor(descriptor: usize) in on_descriptor |state| {
        destroy(state, descriptor)
    }
    fn cudnnSetFilter4dDescriptor(descriptor: usize, element: c_uint, format: c_uint, k: c_int, c: c_int, r: c_int, s: c_int) in on_descriptor |state| {
        match state.dnn.get_mut(&descriptor) {
            Some(Descriptor::Filter(shape)) => *shape = Some(Shape::new(element, format, [k, c, r, s])?),
            _ => return Err(BAD_PARAM),
        }
        Ok(())
    }
    fn cudnnCreateConvolutionDescriptor(descriptor: *mut usize) in on_descriptor |state| {
        let handle = state.handle();
        state.dnn.insert(handle, Descriptor::Convolution(None));
        set(descriptor, handle)
    }
    fn cudnnDestroyConvolutionDescriptor(descriptor: usize) in on_descriptor |state| {
        destroy(state, descriptor)
    }
    fn cudnnSetConvolution2dDescriptor(descriptor: usize, pad_h: c_int, pad_w: c_int, stride_h: c_int, stride_w: c_int, dilation_h: c_int, dilation_w: c_int, mode: c_uint, sums: c_uint) in on_descriptor |state| {
        let Some(Descriptor::Convolution(form)) = state.dnn.get_mut(&descriptor) else {
            return Err(BAD_PARAM);
        };
        if pad_h < 0 || stride_h < 1 {
            return Err(BAD_PARAM);
        }
        if (pad_h, stride_h) != (pad_w, stride_w) || (dilation_h, dilation_w, mode, sums) != (1, 1, CROSS_CORRELATION, FLOAT) {
            return Err(NOT_SUPPORTED);
        }
        *form = Some(Form { pad: pad_h as usize, stride: stride_h as usize, math: 0 });
        Ok(())
    }
    fn cudnnSetConvolutionMathType(descriptor: usize, math: c_uint) in on_descriptor |state| {
        match state.dnn.get_mut(&descriptor) {
            Some(Descriptor::Convolution(Some(form))) if math <= FMA_MATH => form.math = math,
            _ => return Err(BAD_PARAM),
        }
        Ok(())
    }
    fn cudnnGetConvolution2dForwardOutputDim(convolution: usize, big: usize, weights: usize, n: *mut c_int, c: *mut c_int, h: *mut c_int, w: *mut c_int) in on_descriptor |state| {
        let found = [convolution, big, weights].map(|descriptor| state.dnn.get(&descriptor));
        let [Some(Descriptor::Convolution(Some(form))), Some(Descriptor::Tensor(Some(big))), Some(Descriptor::Filter(Some(weights)))] = found else {
            return Err(BAD_PARAM);
        };
        let made = made(big, weights, form)?;
        for (to, size) in [n, c, h, w].into_iter().zip(made) {
            set(to, size as c_int)?;
        }
        Ok(())
    }
    fn cudnnGetConvolutionForwardAlgorithm_v7(_handle: usize, big: usize, weights: usize, convolution: usize, small: usize, asked: c_int, count: *mut c_int, results: *mut Performance) in on_handle |state| {
        expect(state, Operation::Fprop, [big, small, weights, convolution], asked, count, results)
    }
    fn cudnnGetConvolutionBackwardDataAlgorithm_v7(_handle: usize, weights: usize, small: usize, convolution: usize, big: usize, asked: c_int, count: *mut c_int, results: *mut Performance) in on_handle |state| {
        expect(state, Operation::Dgrad, [big, small, weights, convolution], asked, count, results)
    }
    fn cudnnGetConvolutionBackwardFilterAlgorithm_v7(_handle: usize, big: usize, small: usize, convolution: usize, weights: usize, asked: c_int, count: *mut c_int, results: *mut Performance) in on_handle |state| {
        expect(state, Operation::Wgrad, [big, small, weights, convolution], asked, count, results)
    }
    fn cudnnGetConvolutionForwardWorkspaceSize(_handle: usize, big: usize, weights: usize, convolution: usize, small: usize, algorithm: c_uint, bytes: *mut usize) in on_handle |state| {
        set(bytes, wants(state, [big, small, weights, convolution], algorithm)?)
    }
    fn cudnnGetConvolutionBackwardDataWorkspaceSize(_handle: usize, weights: usize, small: usize, convolution: usize, big: usize, algorithm: c_uint, bytes: *mut usize) in on_handle |state| {
        set(bytes, wants(state, [big, small, weights, convolution], algorithm)?)
    }
    fn cudnnGetConvolutionBackwardFilterWorkspaceSize(_handle: usize, big: usize, small: usize, convolution: usize, weights: usize, algorithm: c_uint, bytes: *mut usize) in on_handle |state| {
        set(bytes, wants(state, [big, small, weights, convolution], algorithm)?)
    }
    fn cudnnConvolutionForward(_handle: usize, alpha: *const f32, big_form: usize, big: u64, weights_form: usize, weights: u64, convolution: usize, algorithm: c_uint, workspace: u64, bytes: usize, beta: *const f32, small_form: usize, small: u64) in on_handle |state| {
        let descriptors = [big_form, small_form, weights_form, convolution];
        convolve(state, Operation::Fprop, descriptors, [big, small, weights], algorithm, (workspace, bytes), [*alpha, *beta])
    }
    fn cudnnConvolutionBackwardData(_handle: usize, alpha: *const f32, weights_form: usize, weights: u64, small_form: usize, small: u64, convolution: usize, algorithm: c_uint, workspace: u64, bytes: usize, beta: *const f32, big_form: usize, big: u64) in on_handle |state| {
        let descriptors = [big_form, small_form, weights_form, convolution];
        convolve(state, Operation::Dgrad, descriptors, [big, small, weights], algorithm, (workspace, bytes), [*alpha, *beta])
    }
    fn cudnnConvolutionBackwardFilter(_handle: usize, alpha: *const f32, big_form: usize, big: u64, small_form: usize, small: u64, convolution: usize, algorithm: c_uint, workspace: u64, bytes: usize, beta: *const f32, weights_form: usize, weights: u64) in on_handle |state| {
        let descriptors = [big_form, small_form, weights_form, convolution];
        convolve(state, Operation::Wgrad, descriptors, [big, small, weights], algorithm, (workspace, bytes), [*alpha, *beta])
    }
}

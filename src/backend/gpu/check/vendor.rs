//! NVIDIA's libraries, which kernels are measured beside: a yardstick that computes something else
//! measures nothing.

use half::bf16;
use rand::RngExt;

use super::draw::{self, wide};
use super::{Check, Size, Stage, half_sum, pick, sum};
use crate::backend::cpu::norm::activate_in_place;
use crate::backend::cpu::scalar::Write;
use crate::backend::cpu::scratch::Scratch;
use crate::backend::cpu::strided as reference;
use crate::backend::gpu::driver::{
    Algorithm, Convolution, ConvolutionTensors, Driver, DriverError, Element, Gemm, Pointer,
};
use crate::backend::gpu::ops::half::CAPABILITY;
use crate::backend::gpu::ops::strided_form::Operation;
use crate::model::{Activation, PadLow, StridedLayer};

/// Taps of the filter.
const TAPS: usize = StridedLayer::TAPS * StridedLayer::TAPS;

/// What the libraries compute with on a device of this compute capability.
fn elements(capability: (u32, u32)) -> &'static [Element] {
    match capability >= CAPABILITY {
        true => &[Element::F32, Element::Bf16],
        false => &[Element::F32],
    }
}

/// One operation of the strided layer by cuDNN, in each of its algorithms.
#[derive(Clone, Copy, Debug)]
pub struct ByCudnn {
    operation: Operation,
    element: Element,
}

/// cuDNN's convolutions on a device of this compute capability. The library is open.
pub fn convolutions<D: Driver>(capability: (u32, u32)) -> Vec<Box<dyn Check<D>>> {
    let mut checks: Vec<Box<dyn Check<D>>> = Vec::new();
    for &element in elements(capability) {
        for operation in [Operation::Fprop, Operation::Dgrad, Operation::Wgrad] {
            checks.push(Box::new(ByCudnn { operation, element }));
        }
    }
    checks
}

impl<D: Driver> Check<D> for ByCudnn {
    fn name(&self) -> String {
        let operation = match self.operation {
            Operation::Fprop => "fprop",
            Operation::Dgrad => "dgrad",
            Operation::Wgrad => "wgrad",
        };
        format!("{operation} by cuDNN in {}", self.element.name())
    }

    fn run(&self, stage: &mut Stage<'_, D>, _size: Size) -> Result<String, DriverError> {
        let random = &mut stage.random;
        // Multiples of 8 channels, which are those that tensor cores take.
        let mut channels = || 8 * pick(random, 1..=4);
        let layer = StridedLayer {
            c_big: channels(),
            c_small: channels(),
            small: pick(random, 1..=9),
            pad_low: PadLow::Two,
        };
        let batch = pick(random, 1..=4);
        let drawn = Drawn::new(*self, layer, batch, stage);
        let convolution = Convolution {
            operation: self.operation,
            element: self.element,
            batch,
            small: layer.small,
            c_big: layer.c_big,
            c_small: layer.c_small,
        };
        let algorithms = stage.launcher.driver.prepare_convolution(&convolution)?;
        let tensors = drawn.place(stage)?;
        // Nobody uses the others.
        let usable = |algorithm: &&Algorithm| algorithm.workspace <= Algorithm::MOST_WORKSPACE;
        for algorithm in algorithms.iter().filter(usable) {
            drawn.check(stage, algorithm, tensors)?;
        }
        let count = algorithms.len();
        let layer = draw::layer(&layer);
        Ok(format!("batch {batch}, {layer}, {count} algorithms"))
    }
}

/// The tensors of a case on the host: the one that is written as the reference has it.
struct Drawn {
    check: ByCudnn,
    big: Vec<f64>,
    small: Vec<f64>,
    /// As cuDNN has them.
    weights: Vec<f64>,
    terms: usize,
}

impl Drawn {
    fn new<D: Driver>(
        check: ByCudnn,
        layer: StridedLayer,
        batch: usize,
        stage: &mut Stage<'_, D>,
    ) -> Self {
        let mut values = |len| match check.element {
            Element::F32 => wide(&stage.normals(len)),
            Element::Bf16 => {
                let rounded = stage.half_normals(len).into_iter();
                rounded.map(f64::from).collect()
            }
        };
        let mut big: Vec<f64> = values(batch * layer.big_len());
        let mut small = values(batch * layer.small_len());
        let mut weights = values(layer.weight_len());
        let mut scratch = Scratch::new();
        let none = |tile: &mut [f64]| activate_in_place(Activation::Identity, tile);
        let terms = match check.operation {
            Operation::Fprop => {
                let (shared, threads) = reference::fprop_scratch::<f64>(&layer, batch);
                let scratch = scratch.reserve(threads, shared);
                reference::fprop(&layer, &big, &weights, None, &mut small, scratch, none);
                TAPS * layer.c_big
            }
            Operation::Dgrad => {
                let (shared, threads) = reference::dgrad_scratch::<f64>(&layer, batch);
                let scratch = scratch.reserve(threads, shared);
                reference::dgrad(&layer, &small, &weights, None, &mut big, scratch, none);
                9 * layer.c_small
            }
            Operation::Wgrad => {
                let (shared, threads) = reference::wgrad_scratch::<f64>(&layer, batch);
                let scratch = scratch.reserve(threads, shared);
                let write = Write::Set;
                reference::wgrad(&layer, &big, &small, &mut weights, write, scratch);
                batch * layer.small * layer.small
            }
        };
        Self {
            check,
            big,
            small,
            weights: krsc(&layer, &weights),
            terms,
        }
    }

    /// Puts on the device what the operation reads.
    fn place<D: Driver>(
        &self,
        stage: &mut Stage<'_, D>,
    ) -> Result<ConvolutionTensors, DriverError> {
        let element = self.check.element;
        let mut input = |name, values: &[f64], writer| {
            if self.check.operation == writer {
                return Ok(Pointer::NULL);
            }
            self::input(stage, element, name, values)
        };
        Ok(ConvolutionTensors {
            big: input("big", &self.big, Operation::Dgrad)?,
            small: input("small", &self.small, Operation::Fprop)?,
            weights: input("weights", &self.weights, Operation::Wgrad)?,
            workspace: None,
        })
    }

    /// Runs one algorithm and compares what it wrote.
    fn check<D: Driver>(
        &self,
        stage: &mut Stage<'_, D>,
        algorithm: &Algorithm,
        mut tensors: ConvolutionTensors,
    ) -> Result<(), DriverError> {
        let (expected, written) = match self.check.operation {
            Operation::Fprop => (&self.small, &mut tensors.small),
            Operation::Dgrad => (&self.big, &mut tensors.big),
            Operation::Wgrad => (&self.weights, &mut tensors.weights),
        };
        let output = output(stage, self.check.element, expected.len())?;
        *written = output;
        let driver = &mut stage.launcher.driver;
        tensors.workspace = match algorithm.workspace {
            0 => None,
            bytes => Some(driver.allocate("cuDNN's workspace", bytes)?),
        };
        let done = driver.convolve(algorithm, &tensors);
        let freed = tensors
            .workspace
            .map_or(Ok(()), |workspace| driver.free(workspace));
        match done.and(freed) {
            Ok(()) => {}
            // Heuristics name it, the library refuses it: nobody measures it then.
            Err(DriverError::NoAlgorithm { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        let name = format!("output of {algorithm}");
        let (single, half) = (
            |_: usize, expected| sum(expected, self.terms, 1.0, 1.0),
            |_: usize, expected| half_sum(expected, self.terms, 1.0, 1.0),
        );
        match (self.check.element, algorithm.is_deterministic) {
            (Element::F32, true) => stage.compare(&name, output, expected, single),
            (Element::F32, false) => stage.compare_once::<f32>(&name, output, expected, single),
            (Element::Bf16, true) => stage.compare_half(&name, output, expected, half),
            (Element::Bf16, false) => stage.compare_once::<bf16>(&name, output, expected, half),
        }
    }
}

/// Weights `[5, 5, c_big, c_small]` as cuDNN has them: `[c_small, 5, 5, c_big]`.
fn krsc(layer: &StridedLayer, weights: &[f64]) -> Vec<f64> {
    let mut turned = Vec::with_capacity(weights.len());
    for channel in 0..layer.c_small {
        turned.extend(weights.iter().skip(channel).step_by(layer.c_small));
    }
    turned
}

/// A tensor that a library reads. Its values are of the type.
fn input<D: Driver>(
    stage: &mut Stage<'_, D>,
    element: Element,
    name: &str,
    values: &[f64],
) -> Result<Pointer, DriverError> {
    let values = values.iter().copied();
    match element {
        Element::F32 => {
            let values: Vec<f32> = values.map(|value| value as f32).collect();
            stage.input(name, &values)
        }
        Element::Bf16 => {
            let values: Vec<bf16> = values.map(bf16::from_f64).collect();
            stage.input(name, &values)
        }
    }
}

/// A tensor that a library should write.
fn output<D: Driver>(
    stage: &mut Stage<'_, D>,
    element: Element,
    len: usize,
) -> Result<Pointer, DriverError> {
    match element {
        Element::F32 => stage.output("output", len),
        Element::Bf16 => stage.half_output("output", len),
    }
}

/// cuBLAS' products that no layer's check meets, on a device of this compute capability. The library is
/// open.
pub fn products<D: Driver>(capability: (u32, u32)) -> Vec<Box<dyn Check<D>>> {
    match capability >= CAPABILITY {
        true => vec![Box::new(HalfProduct)],
        false => Vec::new(),
    }
}

/// A product of bf16 by cuBLAS. Those of f32 are in the dense layers' checks.
#[derive(Clone, Copy, Debug)]
pub struct HalfProduct;

impl<D: Driver> Check<D> for HalfProduct {
    fn name(&self) -> String {
        "product by cuBLAS in bf16".to_owned()
    }

    fn run(&self, stage: &mut Stage<'_, D>, _size: Size) -> Result<String, DriverError> {
        let random = &mut stage.random;
        let [m, n, k] = [(); 3].map(|()| pick(random, 1..=70));
        let (transpose_a, transpose_b): (bool, bool) = (random.random(), random.random());
        let (a, b) = (stage.half_normals(m * k), stage.half_normals(k * n));
        let mut expected = vec![0.0; m * n];
        for row in 0..m {
            for column in 0..n {
                let products = (0..k).map(|i| {
                    let a = a[if transpose_a {
                        i * m + row
                    } else {
                        row * k + i
                    }];
                    let b = b[if transpose_b {
                        column * k + i
                    } else {
                        i * n + column
                    }];
                    f64::from(a) * f64::from(b)
                });
                expected[row * n + column] = products.sum();
            }
        }
        let c = output(stage, Element::Bf16, m * n)?;
        let call = Gemm {
            element: Element::Bf16,
            transpose_a,
            transpose_b,
            m,
            n,
            k,
            alpha: 1.0,
            beta: 0.0,
            a: stage.input("a", &a)?,
            b: stage.input("b", &b)?,
            c,
        };
        stage.launcher.driver.gemm(&call)?;
        stage.compare_half("c", c, &expected, |_, expected| {
            half_sum(expected, k, 1.0, 1.0)
        })?;
        Ok(format!("{m} x {n}, sums of {k}"))
    }
}

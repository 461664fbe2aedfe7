//! The gradient of the strided layer's weights on tensor cores, beside the CPU backend in f64.

use half::bf16;
use rand::RngExt;

use crate::backend::Accumulate;
use crate::backend::cpu::scratch::Scratch;
use crate::backend::cpu::strided as reference;
use crate::backend::gpu::check::{Check, Size, Stage, draw, pick, sum};
use crate::backend::gpu::driver::{Driver, DriverError};
use crate::backend::gpu::ops::half::wgrad::{Form, WgradCall, wgrad};
use crate::model::{PadLow, StridedLayer};

/// The operation in one form, or in the form that it chooses.
#[derive(Clone, Copy, Debug)]
pub struct Wgrad {
    pub form: Option<Form>,
}

/// All of them.
pub fn checks() -> Vec<Wgrad> {
    let forms = Form::ALL.map(Some);
    let all = forms.into_iter().chain([None]);
    all.map(|form| Wgrad { form }).collect()
}

impl<D: Driver> Check<D> for Wgrad {
    fn name(&self) -> String {
        self.form.map_or("wgrad_v3", Form::kernel).to_owned()
    }

    fn run(&self, stage: &mut Stage<'_, D>, size: Size) -> Result<String, DriverError> {
        let case = Case::draw(self.form, stage, size);
        case.run(self.form, stage)?;
        let layer = draw::layer(&case.layer);
        Ok(format!("batch {}, {layer}", case.batch))
    }
}

/// What is drawn besides the values.
struct Case {
    layer: StridedLayer,
    batch: usize,
    accumulate: Accumulate,
    /// f32 values by which tensors are off a multiple of 256 bytes.
    shift: usize,
    gradient_shift: usize,
}

/// Layers of the paper's networks: side, big channels, small channels.
const PAPER: [(usize, usize, usize); 3] = [(64, 64, 128), (32, 128, 256), (16, 256, 512)];

/// Products of one case on the emulator.
const MOST_PRODUCTS: usize = 12_000_000;

impl Case {
    fn draw<D: Driver>(form: Option<Form>, stage: &mut Stage<'_, D>, size: Size) -> Self {
        let random = &mut stage.random;
        let (layer, batch, whole) = loop {
            let whole = random.random_range(0..4) != 0;
            let (small, c_big, c_small, batch) = match size {
                Size::Small => {
                    let multiple = if whole { 8 } else { 1 };
                    let most = if random.random_range(0..4) == 0 {
                        136
                    } else {
                        72
                    };
                    let mut channels = || pick(random, 1..=most / multiple) * multiple;
                    let (c_big, c_small) = (channels(), channels());
                    let small = match random.random_range(0..4) {
                        0 => 1 << random.random_range(0..6),
                        1 => pick(random, 10..=34),
                        _ => pick(random, 1..=9),
                    };
                    (small, c_big, c_small, pick(random, 1..=5))
                }
                Size::Paper => {
                    let (small, c_big, c_small) = PAPER[random.random_range(0..PAPER.len())];
                    (small, c_big, c_small, pick(random, 1..=64))
                }
            };
            let layer = StridedLayer {
                small,
                c_big,
                c_small,
                pad_low: [PadLow::One, PadLow::Two][random.random_range(0..2)],
            };
            let products = 25 * batch * small * small * c_big * c_small;
            let affordable = size == Size::Paper || products < MOST_PRODUCTS;
            if affordable && form.is_none_or(|form| form.takes(&layer, whole)) {
                break (layer, batch, whole);
            }
        };
        let aligned = form.is_some_and(|form| form != Form::Any) || whole;
        Self {
            layer,
            batch,
            accumulate: draw::accumulate(random),
            shift: draw::shift(random, aligned),
            gradient_shift: random.random_range(0..8),
        }
    }

    fn run<D: Driver>(
        &self,
        form: Option<Form>,
        stage: &mut Stage<'_, D>,
    ) -> Result<(), DriverError> {
        let layer = &self.layer;
        let big = stage.half_normals(self.batch * layer.big_len());
        let small = stage.half_normals(self.batch * layer.small_len());
        let before = stage.normals(layer.weight_len());
        let mut expected = draw::wide(&before);
        let mut scratch = Scratch::new();
        let (shared, threads) = reference::wgrad_scratch::<f64>(layer, self.batch);
        reference::wgrad(
            layer,
            &wide(&big),
            &wide(&small),
            &mut expected,
            draw::write(self.accumulate),
            scratch.reserve(threads, shared),
        );

        let gradient =
            stage.gradient_at("gradient", &before, self.accumulate, self.gradient_shift)?;
        let call = WgradCall {
            layer,
            batch: self.batch,
            big: stage.input_at("big", &big, self.shift)?,
            small: stage.input_at("small", &small, self.shift)?,
            gradient,
            accumulate: self.accumulate,
        };
        match form {
            Some(form) => form.wgrad(stage.launcher, &call),
            None => wgrad(stage.launcher, &call),
        }
        let terms = self.batch * layer.small * layer.small;
        stage.compare("gradient", gradient, &expected, |_, expected| {
            sum(expected, terms, 1.0, 1.0)
        })
    }
}

fn wide(values: &[bf16]) -> Vec<f64> {
    values.iter().map(|&value| value.to_f64()).collect()
}

#[cfg(test)]
#[path = "wgrad_tests.rs"]
mod tests;

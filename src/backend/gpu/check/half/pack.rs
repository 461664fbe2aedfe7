//! The packing of weights, to the bit: each value has one place.

use half::bf16;
use rand::RngExt;

use crate::backend::gpu::check::{Check, Size, Stage, pick};
use crate::backend::gpu::driver::{Driver, DriverError};
use crate::backend::gpu::ops::half::pack::{Packing, pack, packed_bytes};
use crate::model::{PadLow, StridedLayer};

/// The packings for some operations.
#[derive(Clone, Copy, Debug)]
pub struct Pack(&'static [Packing]);

/// Each alone, and both at once.
pub fn checks() -> [Pack; 3] {
    const BOTH: [Packing; 2] = [Packing::Fprop, Packing::Dgrad];
    [Pack(&BOTH[..1]), Pack(&BOTH[1..]), Pack(&BOTH)]
}

impl<D: Driver> Check<D> for Pack {
    fn name(&self) -> String {
        match self.0 {
            [Packing::Fprop] => "half_pack_fprop".to_owned(),
            [Packing::Dgrad] => "half_pack_dgrad".to_owned(),
            _ => "half_pack_both".to_owned(),
        }
    }

    fn run(&self, stage: &mut Stage<'_, D>, size: Size) -> Result<String, DriverError> {
        let random = &mut stage.random;
        let (c_big, c_small) = match size {
            Size::Small => (pick(random, 1..=70), pick(random, 1..=70)),
            Size::Paper => [(64, 128), (128, 256), (256, 512)][random.random_range(0..3)],
        };
        let shift = random.random_range(0..8);
        let layer = StridedLayer {
            small: 1,
            c_big,
            c_small,
            pad_low: PadLow::One,
        };
        let weights = stage.normals(layer.weight_len());
        let at = stage.input_at("weights", &weights, shift)?;
        let mut packed = [None; 2];
        for &packing in self.0 {
            let to = stage.half_output("packed", packed_bytes(&layer, packing) / 2)?;
            packed[usize::from(packing == Packing::Dgrad)] = Some(to);
        }
        pack(stage.launcher, &layer, at, packed);
        for &packing in self.0 {
            let words: Vec<f32> = expected(packing, &layer, &weights)
                .chunks_exact(2)
                .map(|pair| {
                    let [low, high] = [pair[0], pair[1]].map(|half| u32::from(half.to_bits()));
                    f32::from_bits(low | high << 16)
                })
                .collect();
            let to = packed[usize::from(packing == Packing::Dgrad)].unwrap_or_default();
            stage.compare_bits("packed", to, &words)?;
        }
        Ok(format!("channels {c_big} and {c_small}"))
    }
}

/// The order that kernels/pack.cu describes, walked through from its first value to its last.
fn expected(packing: Packing, layer: &StridedLayer, weights: &[f32]) -> Vec<bf16> {
    let dgrad = packing == Packing::Dgrad;
    let (summed, outputs) = match dgrad {
        false => (layer.c_big, layer.c_small),
        true => (layer.c_small, layer.c_big),
    };
    let chunks = summed.div_ceil(16);
    let mut steps = Vec::new();
    for vertical in 0..2 {
        // Rows k = vertical + 2 i of the filter; dgrad takes them from behind.
        let taps = |parity: usize| -> Vec<usize> {
            let rising = (parity..5).step_by(2);
            if dgrad {
                rising.rev().collect()
            } else {
                rising.collect()
            }
        };
        let column = |steps: &mut Vec<_>, chunk: usize, horizontal: usize| {
            for x in taps(horizontal) {
                steps.extend(taps(vertical).into_iter().map(|y| (y, x, chunk)));
            }
        };
        if dgrad {
            for horizontal in 0..2 {
                (0..chunks).for_each(|chunk| column(&mut steps, chunk, horizontal));
            }
        } else {
            for chunk in 0..chunks {
                (0..2).for_each(|horizontal| column(&mut steps, chunk, horizontal));
            }
        }
    }
    let value = |(y, x): (usize, usize), k: usize, output: usize| {
        if k >= summed || output >= outputs {
            return bf16::ZERO;
        }
        let (big, small) = if dgrad { (output, k) } else { (k, output) };
        bf16::from_f32(weights[((5 * y + x) * layer.c_big + big) * layer.c_small + small])
    };
    let mut packed = Vec::with_capacity(packed_bytes(layer, packing) / 2);
    for (y, x, chunk) in steps {
        for first in (0..outputs).step_by(32) {
            for half in 0..2 {
                for lane in 0..32 {
                    let (g, t) = (lane / 4, lane % 4);
                    for tile in [2 * half, 2 * half + 1] {
                        let output = first + 8 * (g / 2) + 2 * tile + g % 2;
                        for k in [2 * t, 2 * t + 1, 2 * t + 8, 2 * t + 9] {
                            packed.push(value((y, x), 16 * chunk + k, output));
                        }
                    }
                }
            }
        }
    }
    packed
}

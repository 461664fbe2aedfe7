//! The implicit-GEMM convolution on tensor cores, in bf16 and f16, with ragged sizes.

use bytemuck::Pod;
use half::{bf16, f16};
use rand::RngExt;

use super::{Case, Random, Value, int, normals, signed};

pub fn cases(random: &mut Random) -> Vec<Case> {
    let integers = |random: &mut Random, len| {
        let drawn = signed(random, len, 4);
        drawn.into_iter().map(|v| v as f32).collect()
    };
    let sizes = [(); 3].map(|()| Size::drawn(random));
    vec![
        // Sums of small integers are exact in any order, so that every bit counts.
        convolution(
            random,
            "conv_bf16",
            &sizes[0],
            integers,
            bf16::from_f32,
            0.0,
        ),
        convolution(
            random,
            "conv_bf16",
            &sizes[1],
            normals,
            bf16::from_f32,
            4e-6,
        ),
        convolution(random, "conv_f16", &sizes[2], normals, f16::from_f32, 4e-6),
    ]
}

struct Size {
    n: usize,
    height: usize,
    width: usize,
    inputs: usize,
    outputs: usize,
    pad_low: usize,
}

impl Size {
    fn drawn(random: &mut Random) -> Self {
        Self {
            n: 3,
            height: random.random_range(10..15),
            width: random.random_range(10..15),
            inputs: random.random_range(17..30),
            outputs: random.random_range(33..45),
            pad_low: random.random_range(1..3),
        }
    }
}

/// `tolerance` is relative to the sum of the products' sizes.
fn convolution<T: Pod + Into<f64>>(
    random: &mut Random,
    kernel: &'static str,
    size: &Size,
    draw: impl Fn(&mut Random, usize) -> Vec<f32>,
    round: impl Fn(f32) -> T,
    tolerance: f64,
) -> Case {
    let Size {
        n,
        height,
        width,
        inputs,
        outputs,
        pad_low,
    } = *size;
    let mut rounded = |len| -> Vec<T> { draw(random, len).into_iter().map(&round).collect() };
    let x = rounded(n * height * width * inputs);
    let w = rounded(25 * inputs * outputs);
    let (out_height, out_width) = (height.div_ceil(2), width.div_ceil(2));
    let pixels = n * out_height * out_width;
    let mut y = vec![0.0f64; pixels * outputs];
    let mut sizes = vec![0.0f64; pixels * outputs];
    for (i, (y, sizes)) in y.iter_mut().zip(&mut sizes).enumerate() {
        let (output, pixel) = (i % outputs, i / outputs);
        let (ox, oy, image) = (
            pixel % out_width,
            pixel / out_width % out_height,
            pixel / (out_width * out_height),
        );
        for (r, s) in (0..5).flat_map(|r| (0..5).map(move |s| (r, s))) {
            let row = (2 * oy + r).wrapping_sub(pad_low);
            let column = (2 * ox + s).wrapping_sub(pad_low);
            if row >= height || column >= width {
                continue;
            }
            for input in 0..inputs {
                let from = ((image * height + row) * width + column) * inputs + input;
                let weight = ((r * 5 + s) * inputs + input) * outputs + output;
                let product: f64 = x[from].into() * w[weight].into();
                *y += product;
                *sizes += product.abs();
            }
        }
    }
    let tolerance = sizes.into_iter().map(|size| tolerance * size).collect();
    // Nothing wrote the channels between `inputs` and the pitch: zero-fill must replace them.
    let (x_pitch, w_pitch) = (inputs.next_multiple_of(8), outputs.next_multiple_of(8));
    let numbers = [n, height, width, inputs, x_pitch, outputs, w_pitch, pad_low];
    Case::new("conv", kernel, 0, 0)
        .shape(
            [pixels.div_ceil(64) as u32, outputs.div_ceil(32) as u32, 1],
            [128, 1, 1],
        )
        .pitched("x", &x, inputs, x_pitch)
        .pitched("w", &w, outputs, w_pitch)
        .close("y", y, tolerance)
        .arguments([Value::Struct(
            ["x", "w", "y"]
                .map(Value::Of)
                .into_iter()
                .chain(numbers.map(|number| int(number as i32)))
                .collect(),
        )])
}

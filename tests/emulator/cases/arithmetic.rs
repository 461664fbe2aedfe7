//! One thread an element: saxpy, Adam, Philox, halves, calls.

use bytemuck::Pod;
use cosmogan::emulator::Argument;
use cosmogan::rng::{Philox, Stream, philox4x32_10};
use half::{bf16, f16};
use rand::RngExt;

use super::{Case, Random, Value, float, int, normals};

pub fn cases(random: &mut Random) -> Vec<Case> {
    let mut cases = vec![
        saxpy(random, "saxpy"),
        saxpy(random, "saxpy_grid_stride"),
        saxpy(random, "saxpy_struct"),
        saxpy_float4(random),
        adam(random),
        philox_words(random),
        philox_uniform(random),
        half_pairs(random),
        half_row_norms(random),
        bfloat_pairs(random),
        leaky_bfloat(random),
        polynomials(random),
        divisors(random),
        sorted_bytes(random),
        local_gather(random),
    ];
    cases.extend([2, 32, 33].map(|stride| saxpy_strided(random, stride)));
    cases
}

/// A size that no block size divides, and the blocks of 128 threads that cover it.
pub fn ragged(random: &mut Random) -> (usize, u32) {
    let n = random.random_range(1..9) * 128 + random.random_range(1..128usize);
    (n, n.div_ceil(128) as u32)
}

fn saxpy(random: &mut Random, kernel: &'static str) -> Case {
    let (n, blocks) = ragged(random);
    let a: f32 = random.random();
    let (x, y) = (normals(random, n), normals(random, n));
    let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| a.mul_add(*x, *y)).collect();
    let pointers = [Value::Of("x"), Value::Of("y")];
    let numbers = [int(n as i32), float(a)];
    let blocks = if kernel == "saxpy_grid_stride" {
        2
    } else {
        blocks
    };
    Case::new("saxpy", kernel, blocks, 128)
        .input("x", &x)
        .inout("y", &y, &expected)
        .arguments(if kernel == "saxpy_struct" {
            vec![Value::Struct([pointers, numbers].concat())]
        } else {
            [numbers, pointers].concat()
        })
}

fn saxpy_float4(random: &mut Random) -> Case {
    let (n, blocks) = ragged(random);
    let a: f32 = random.random();
    let (x, y) = (normals(random, 4 * n), normals(random, 4 * n));
    let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| a.mul_add(*x, *y)).collect();
    Case::new("saxpy", "saxpy_float4", blocks, 128)
        .input("x", &x)
        .inout("y", &y, &expected)
        .arguments([int(n as i32), float(a), Value::Of("x"), Value::Of("y")])
}

fn saxpy_strided(random: &mut Random, stride: usize) -> Case {
    let (n, blocks) = ragged(random);
    let a: f32 = random.random();
    let len = (n - 1) * stride + 1;
    let (x, y) = (normals(random, len), normals(random, len));
    let mut expected = y.clone();
    for i in (0..len).step_by(stride) {
        expected[i] = a.mul_add(x[i], y[i]);
    }
    Case::new("saxpy", "saxpy_strided", blocks, 128)
        .input("x", &x)
        .inout("y", &y, &expected)
        .arguments([
            int(n as i32),
            int(stride as i32),
            float(a),
            Value::Of("x"),
            Value::Of("y"),
        ])
}

fn adam(random: &mut Random) -> Case {
    let (n, _) = ragged(random);
    let [parameters, gradients, first] = [(); 3].map(|()| normals(random, n));
    let second: Vec<f32> = normals(random, n).iter().map(|v| v * v).collect();
    let (beta1, beta2, epsilon) = (0.5f32, 0.999f32, 1e-8f32);
    let [rate, correction1, correction2] = [2e-4f32, 0.9375, 0.003_994];
    let mut after = [parameters.clone(), first.clone(), second.clone()];
    for i in 0..n {
        let g = gradients[i];
        let m = beta1.mul_add(first[i], (1.0 - beta1) * g);
        let v = beta2.mul_add(second[i], (1.0 - beta2) * g * g);
        let step = m / correction1 / ((v / correction2).sqrt() + epsilon);
        after[0][i] = (-rate).mul_add(step, parameters[i]);
        after[1][i] = m;
        after[2][i] = v;
    }
    let pointers = ["parameters", "gradients", "first", "second", "scalars"].map(Value::Of);
    let numbers = [float(beta1), float(beta2), float(epsilon)];
    let members = pointers.into_iter().chain(numbers);
    let count = Value::Plain(Argument::U64(n as u64));
    Case::new("adam", "adam", 3, 128)
        .inout("parameters", &parameters, &after[0])
        .input("gradients", &gradients)
        .inout("first", &first, &after[1])
        .inout("second", &second, &after[2])
        .input("scalars", &[rate, correction1, correction2])
        .arguments([Value::Struct(members.chain([count]).collect())])
}

fn philox_words(random: &mut Random) -> Case {
    // The known-answer vectors that Random123 publishes come first.
    let mut counters = vec![
        [0; 4],
        [u32::MAX; 4],
        [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
    ];
    let mut keys = vec![[0; 2], [u32::MAX; 2], [0xa409_3822, 0x299f_31d0]];
    let mut expected = vec![
        [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
        [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
    ];
    let (n, blocks) = ragged(random);
    for _ in counters.len()..n {
        let (counter, key): ([u32; 4], [u32; 2]) = (random.random(), random.random());
        counters.push(counter);
        keys.push(key);
        expected.push(philox4x32_10(counter, key));
    }
    Case::new("philox", "philox_words", blocks, 128)
        .input("counters", &counters)
        .input("keys", &keys)
        .output("words", &expected)
        .elements(n)
}

fn philox_uniform(random: &mut Random) -> Case {
    let n: usize = random.random_range(1000..2000);
    let (seed, step): (u64, u64) = (random.random(), random.random());
    let mut expected = vec![0.0f32; n];
    Philox::new(seed, Stream::Latent, step).fill_uniform(&mut expected);
    Case::new("philox", "philox_uniform", n.div_ceil(4 * 64) as u32, 64)
        .output("out", &expected)
        .arguments([
            int(n as i32),
            Value::Plain(Argument::Bytes(seed.to_le_bytes().to_vec())),
            Value::Plain(Argument::U64(step)),
            Value::Plain(Argument::U32(Stream::Latent as u32)),
            Value::Of("out"),
        ])
}

/// Numbers whose products and sums are exact in f64, so that one rounding is the right one.
fn moderate(random: &mut Random, len: usize) -> Vec<f64> {
    normals(random, len)
        .iter()
        .map(|v| f64::from(v.clamp(-4.0, 4.0)) + 1.0 / 16.0)
        .collect()
}

fn half_pairs(random: &mut Random) -> Case {
    pairs("half", "half_pairs", random, f16::from_f64, |u, v, w| {
        [
            u * v + w,
            u + v,
            u * v,
            u - v,
            u.max(v),
            if u > v { u } else { -v },
        ]
    })
}

fn bfloat_pairs(random: &mut Random) -> Case {
    pairs(
        "bfloat",
        "bfloat_pairs",
        random,
        bf16::from_f64,
        |u, v, w| [u * v + w, u.max(v), u.min(v), u * v],
    )
}

/// `results` of each half of the pairs a, b and c.
fn pairs<T: Pod + Into<f64>, const N: usize>(
    file: &'static str,
    kernel: &'static str,
    random: &mut Random,
    round: fn(f64) -> T,
    results: impl Fn(f64, f64, f64) -> [f64; N],
) -> Case {
    let (n, blocks) = ragged(random);
    let [a, b, c] =
        [(); 3].map(|()| -> Vec<T> { moderate(random, 2 * n).into_iter().map(round).collect() });
    let mut out = vec![T::zeroed(); 2 * N * n];
    for i in 0..2 * n {
        let results = results(a[i].into(), b[i].into(), c[i].into());
        for (j, result) in results.into_iter().enumerate() {
            out[i / 2 * 2 * N + 2 * j + i % 2] = round(result);
        }
    }
    Case::new(file, kernel, blocks, 128)
        .input("a", &a)
        .input("b", &b)
        .input("c", &c)
        .output("out", &out)
        .elements(n)
}

fn half_row_norms(random: &mut Random) -> Case {
    let rows: usize = random.random_range(33..100);
    let x: Vec<f16> = normals(random, 64 * rows)
        .into_iter()
        .map(f16::from_f32)
        .collect();
    let y: Vec<f16> = x
        .chunks(64)
        .map(|row| {
            let add = |sum: f32, v: &f16| v.to_f32().mul_add(v.to_f32(), sum);
            f16::from_f32(row.iter().fold(0.0, add))
        })
        .collect();
    Case::new("half", "half_row_norms", rows.div_ceil(32) as u32, 32)
        .input("x", &x)
        .output("y", &y)
        .elements(rows)
}

fn leaky_bfloat(random: &mut Random) -> Case {
    let (n, blocks) = ragged(random);
    let x = normals(random, n);
    let y: Vec<bf16> = x
        .iter()
        .map(|&x| bf16::from_f32(if x > 0.0 { x } else { 0.2 * x }))
        .collect();
    Case::new("bfloat", "leaky_bfloat", blocks, 128)
        .input("x", &x)
        .output("y", &y)
        .arguments([int(n as i32), float(0.2), Value::Of("x"), Value::Of("y")])
}

const COEFFICIENTS: [[f32; 5]; 4] = [
    [1.0, -2.0, 0.5, 3.0, -0.25],
    [0.0, 1.0, 4.0, -1.5, 2.0],
    [-3.0, 0.125, 1.0, 1.0, 1.0],
    [2.0, 2.0, -2.0, -2.0, 0.75],
];

fn polynomials(random: &mut Random) -> Case {
    let (n, blocks) = ragged(random);
    let x = normals(random, n);
    let y: Vec<f32> = x
        .iter()
        .enumerate()
        .map(|(i, &x)| {
            let powers = COEFFICIENTS[i % 4].iter().rev();
            powers.fold(0.0f32, |sum, &coefficient| sum.mul_add(x, coefficient))
        })
        .collect();
    Case::new("calls", "polynomials", blocks, 128)
        .input("x", &x)
        .output("y", &y)
        .elements(n)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn divisors(random: &mut Random) -> Case {
    let (n, blocks) = ragged(random);
    let mut draw = || -> Vec<u32> { (0..n).map(|_| random.random_range(0..100_000)).collect() };
    let (a, b) = (draw(), draw());
    let out: Vec<u32> = (0..n)
        .map(|i| match (i % 2, i % 3) {
            (1, _) => gcd(a[i], b[i]),
            (_, 0) => a[i],
            _ => gcd(b[i], a[i] + 1),
        })
        .collect();
    Case::new("calls", "divisors", blocks, 128)
        .input("a", &a)
        .input("b", &b)
        .output("out", &out)
        .elements(n)
}

fn sorted_bytes(random: &mut Random) -> Case {
    let (n, blocks) = ragged(random);
    let input: Vec<[u8; 8]> = (0..n).map(|_| random.random()).collect();
    let mut sorted = input.clone();
    sorted.iter_mut().for_each(|bytes| bytes.sort_unstable());
    Case::new("calls", "sorted_bytes", blocks, 128)
        .input("in", &input)
        .output("out", &sorted)
        .elements(n)
}

fn local_gather(random: &mut Random) -> Case {
    let (n, blocks) = ragged(random);
    let x = normals(random, n);
    let order: Vec<u8> = (0..n).map(|_| random.random()).collect();
    let out: Vec<f32> = (0..n)
        .map(|i| {
            (0..16).fold(0.0f32, |sum, j| {
                let from = usize::from(order[(i + j) % n] % 16);
                sum.mul_add(0.5, x[(i + from) % n])
            })
        })
        .collect();
    Case::new("calls", "local_gather", blocks, 128)
        .input("x", &x)
        .input("order", &order)
        .output("out", &out)
        .elements(n)
}

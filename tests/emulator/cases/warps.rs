//! What lanes of a warp tell each other.

use rand::RngExt;

use super::{Case, Random, Value, int, signed, words};

pub fn cases(random: &mut Random) -> Vec<Case> {
    vec![
        shuffles(random),
        votes(random),
        matches(random),
        divergent_sums(random),
        scan_syncwarp(random),
        redux(random),
        stmatrix(random),
    ]
}

const THREADS: usize = 3 * 256;

/// A launch over `THREADS` values whose warps are mapped to outputs one by one.
fn by_warp<const OUT: usize>(
    file: &'static str,
    kernel: &'static str,
    x: &[i32],
    warp: impl Fn(&[i32], usize) -> [i32; OUT],
) -> Case {
    let out: Vec<i32> = x
        .chunks(32)
        .flat_map(|values| {
            (0..32)
                .flat_map(|lane| warp(values, lane))
                .collect::<Vec<_>>()
        })
        .collect();
    Case::new(file, kernel, 3, 256)
        .input("x", x)
        .output("out", &out)
        .arguments([Value::Of("x"), Value::Of("out")])
}

fn shuffles(random: &mut Random) -> Case {
    let x = signed(random, THREADS, i32::MAX);
    by_warp("warps", "shuffles", &x, |values, lane| {
        let own = values[lane];
        let group = lane % 8;
        [
            if lane + 3 < 32 { values[lane + 3] } else { own },
            if lane >= 5 { values[lane - 5] } else { own },
            values[lane ^ 17],
            values[(own & 31) as usize],
            if group + 3 < 8 { values[lane + 3] } else { own },
            if group >= 2 { values[lane - 2] } else { own },
        ]
    })
}

fn votes(random: &mut Random) -> Case {
    let mut x = signed(random, THREADS, 100);
    x[..32].fill(90);
    x[32..64].fill(-90);
    let limit = random.random_range(-50..50);
    let mut case = by_warp("warps", "votes", &x, |values, _| {
        let ballot = mask(values, |v| v > limit);
        let (any, all) = (ballot != 0, ballot == u32::MAX);
        [ballot as i32, any.into(), all.into(), (all || !any).into()]
    });
    case.arguments.insert(0, int(limit));
    case
}

/// The lanes whose value satisfies `test`.
fn mask(values: &[i32], test: impl Fn(i32) -> bool) -> u32 {
    let bit = |(lane, v): (usize, &i32)| u32::from(test(*v)) << lane;
    values.iter().enumerate().map(bit).sum()
}

fn matches(random: &mut Random) -> Case {
    let mut x = signed(random, THREADS, 1000);
    x[..32].iter_mut().for_each(|v| *v &= 3);
    let any: Vec<u32> = x
        .chunks(32)
        .flat_map(|values| values.iter().map(|own| mask(values, |v| v == *own)))
        .collect();
    let all: Vec<u32> = x
        .chunks(32)
        .flat_map(|values| {
            let same = mask(values, |v| v >> 8 == values[0] >> 8) == u32::MAX;
            [if same { u32::MAX } else { 0 }; 32]
        })
        .collect();
    Case::new("warps", "matches", 3, 256)
        .input("x", &x)
        .output("any", &any)
        .output("all", &all)
        .arguments([Value::Of("x"), Value::Of("any"), Value::Of("all")])
}

fn divergent_sums(random: &mut Random) -> Case {
    let x = signed(random, THREADS, 1000);
    by_warp("warps", "divergent_sums", &x, |values, lane| {
        let other = values[lane ^ 1];
        let same = values
            .iter()
            .filter(|v| (**v ^ other) & 1 == 0)
            .sum::<i32>();
        let sum = if other & 1 == 1 { same } else { -same };
        [2 * sum + (lane & 1) as i32]
    })
}

fn scan_syncwarp(random: &mut Random) -> Case {
    let x = signed(random, THREADS, 10_000_000);
    by_warp("warps", "scan_syncwarp", &x, |values, lane| {
        [values[..=lane].iter().sum()]
    })
}

fn redux(random: &mut Random) -> Case {
    let mut x = signed(random, THREADS, i32::MAX);
    x[..32].fill(-5);
    by_warp("redux", "redux", &x, |values, lane| {
        let unsigned = || values.iter().map(|v| *v as u32);
        let positive = values.iter().filter(|v| **v > 0);
        [
            values.iter().fold(0, |sum, v| sum.wrapping_add(*v)),
            *values.iter().min().unwrap(),
            *values.iter().max().unwrap(),
            unsigned().min().unwrap() as i32,
            unsigned().max().unwrap() as i32,
            unsigned().fold(u32::MAX, |and, v| and & (v | 0xf0)) as i32,
            unsigned().fold(0, |or, v| or | v & 0xff00) as i32,
            if values[lane] > 0 {
                positive.fold(0, |xor, v| xor ^ v)
            } else {
                0
            },
        ]
    })
}

fn stmatrix(random: &mut Random) -> Case {
    let plain = words(random, 4 * 32);
    let halves: &[u16] = bytemuck::cast_slice(&plain);
    let transposed: Vec<u16> = (0..4 * 64)
        .map(|i| halves[i / 64 * 64 + i % 8 * 8 + i % 64 / 8])
        .collect();
    Case::new("stmatrix", "stmatrix", 1, 32)
        .input("x", &plain)
        .output("plain", &plain)
        .output("transposed", &transposed)
        .arguments([Value::Of("x"), Value::Of("plain"), Value::Of("transposed")])
}

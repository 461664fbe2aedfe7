//! Integer instructions and conversions, with edge values.

use rand::RngExt;

use super::arithmetic::ragged;
use super::{Case, Random, normals, words};

pub fn cases(random: &mut Random) -> Vec<Case> {
    vec![bits32(random), words64(random), conversions(random)]
}

fn bits32(random: &mut Random) -> Case {
    let (n, blocks) = ragged(random);
    let (mut a, mut b) = (words(random, n), words(random, n));
    let edges = [0, 1, 31, 32, 33, 63, 0x7fff_ffff, 0x8000_0000, u32::MAX];
    for (i, (x, y)) in edges
        .iter()
        .flat_map(|x| edges.map(|y| (*x, y)))
        .enumerate()
    {
        (a[i], b[i]) = (x, y);
    }
    let out: Vec<u32> = a.iter().zip(&b).flat_map(|(&x, &y)| bits(x, y)).collect();
    Case::new("bits", "bits32", blocks, 128)
        .input("a", &a)
        .input("b", &b)
        .output("out", &out)
        .elements(n)
}

/// What `bits32` makes of one pair.
fn bits(x: u32, y: u32) -> [u32; 12] {
    let both = u64::from(y) << 32 | u64::from(x);
    let bytes = both.to_le_bytes();
    let permuted = [0, 4, 8, 12].map(|shift| bytes[(y >> shift & 7) as usize]);
    let (position, length) = (y % 32, x % 32);
    let inserted = (0..length)
        .filter(|bit| position + bit < 32)
        .fold(y, |word, bit| {
            word & !(1 << (position + bit)) | (x >> bit & 1) << (position + bit)
        });
    let (sx, sy) = (x as i32, y as i32);
    [
        x.count_ones(),
        x.leading_zeros(),
        x.reverse_bits(),
        if x == 0 { 0 } else { x.trailing_zeros() + 1 },
        u32::from_le_bytes(permuted),
        (both << (y % 32) >> 32) as u32,
        (both >> (y % 64).min(32)) as u32,
        x.checked_shl(y % 64).unwrap_or(0),
        (sx >> (y % 64).min(31)) as u32,
        signed_field(x, y % 32, y / 32 % 32),
        inserted,
        (x ^ y)
            .wrapping_add(sx.abs_diff(sy))
            .wrapping_add(sx.min(sy) as u32)
            .wrapping_sub(x.max(y)),
    ]
}

/// `length` bits of `x` from `position` on, sign-extended; bits beyond the word are the sign.
fn signed_field(x: u32, position: u32, length: u32) -> u32 {
    if length == 0 {
        return 0;
    }
    let wide = i64::from(x as i32) >> position;
    (wide << (64 - length) >> (64 - length)) as u32
}

fn words64(random: &mut Random) -> Case {
    let (n, blocks) = ragged(random);
    let mut draw = || -> Vec<i64> {
        (0..n)
            .map(|_| random.random::<i64>() >> random.random_range(0..64))
            .collect()
    };
    let (a, mut b) = (draw(), draw());
    b.iter_mut()
        .for_each(|b| *b = if *b == 0 { -1 } else { *b });
    let out: Vec<i64> = a
        .iter()
        .zip(&b)
        .flat_map(|(&x, &y)| {
            [
                x.wrapping_mul(y).wrapping_add(1),
                ((i128::from(x) * i128::from(y)) >> 64) as i64,
                (x as u64 / y as u64) as i64,
                (x as u64 % y as u64) as i64,
                x >> 7 ^ ((y as u64) << (x & 63)) as i64,
                i64::from(x.count_ones() + y.leading_zeros()),
            ]
        })
        .collect();
    Case::new("bits", "words64", blocks, 128)
        .input("a", &a)
        .input("b", &b)
        .output("out", &out)
        .elements(n)
}

fn conversions(random: &mut Random) -> Case {
    let (n, blocks) = ragged(random);
    let mut x: Vec<f32> = normals(random, n).iter().map(|v| v * 1e5).collect();
    let edges = [
        0.0,
        -0.0,
        0.5,
        1.5,
        2.5,
        -0.5,
        -1.5,
        -2.5,
        1e-40,
        -1e-40,
        8_388_607.5,
        2_147_483_648.0,
        -2_147_483_648.0,
        2_147_483_520.0,
        4_294_967_040.0,
        4_294_967_296.0,
        1e30,
        -1e30,
        f32::INFINITY,
        f32::NEG_INFINITY,
    ];
    x[..edges.len()].copy_from_slice(&edges);
    let out: Vec<i32> = x
        .iter()
        .flat_map(|&value| {
            [
                value.round_ties_even() as i32,
                value as i32,
                value.floor() as i32,
                value.ceil() as i32,
                value.round_ties_even() as u32 as i32,
                (value.to_bits() as i32 as f32).to_bits() as i32,
                value.round_ties_even().to_bits() as i32,
                (value.floor().to_bits() ^ value.ceil().to_bits()) as i32,
            ]
        })
        .collect();
    Case::new("bits", "conversions", blocks, 128)
        .input("x", &x)
        .output("out", &out)
        .elements(n)
}

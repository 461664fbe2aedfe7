//! Tiles in shared memory: products of matrices, transposition, asynchronous copies, barriers.

use rand::RngExt;

use super::{Case, Random, Value, int, normals, signed, words};

pub fn cases(random: &mut Random) -> Vec<Case> {
    vec![
        sgemm(random),
        transpose(random, "transpose_conflicts"),
        transpose(random, "transpose_padded"),
        smooth(random, "smooth4", 128),
        smooth(random, "smooth8", 256),
        smooth(random, "smooth16", 512),
        pairs_wait_all(random),
        producer_consumer(random),
        reversed_groups(random),
        voting_barriers(random),
    ]
}

fn sgemm(random: &mut Random) -> Case {
    let mut size = || 64 + random.random_range(1..64usize);
    let (m, n, k) = (size(), size(), size() / 2 + 5);
    let (a, b) = (normals(random, m * k), normals(random, k * n));
    let mut c = vec![0.0f32; m * n];
    for (row, values) in c.chunks_mut(n).enumerate() {
        for (column, value) in values.iter_mut().enumerate() {
            *value = (0..k).fold(0.0, |sum: f32, i| {
                a[row * k + i].mul_add(b[i * n + column], sum)
            });
        }
    }
    Case::new("sgemm", "sgemm", 0, 0)
        .shape(
            [n.div_ceil(64) as u32, m.div_ceil(64) as u32, 1],
            [16, 16, 1],
        )
        .input("a", &a)
        .input("b", &b)
        .output("c", &c)
        .arguments([
            int(m as i32),
            int(n as i32),
            int(k as i32),
            Value::Of("a"),
            Value::Of("b"),
            Value::Of("c"),
        ])
}

fn transpose(random: &mut Random, kernel: &'static str) -> Case {
    let rows = 32 + random.random_range(1..64usize);
    let columns = 32 + random.random_range(1..64usize);
    let x = words(random, rows * columns);
    let y: Vec<u32> = (0..rows * columns)
        .map(|i| x[i % rows * columns + i / rows])
        .collect();
    Case::new("transpose", kernel, 0, 0)
        .shape(
            [columns.div_ceil(32) as u32, rows.div_ceil(32) as u32, 1],
            [32, 8, 1],
        )
        .input("x", &x)
        .output("y", &y)
        .arguments([
            int(rows as i32),
            int(columns as i32),
            Value::Of("x"),
            Value::Of("y"),
        ])
}

fn smooth(random: &mut Random, kernel: &'static str, tile: usize) -> Case {
    let rows: usize = random.random_range(2..5);
    let n = random.random_range(3..6) * tile + random.random_range(1..tile);
    let pitch = n.next_multiple_of(4) + 4;
    let x = normals(random, rows * n);
    let y: Vec<f32> = x
        .chunks(n)
        .flat_map(|row| {
            (0..n).map(|i| {
                let before = if i == 0 { 0.0 } else { row[i - 1] };
                let after = row.get(i + 1).copied().unwrap_or(0.0);
                2.0f32.mul_add(row[i], before) + after
            })
        })
        .collect();
    Case::new("async_copy", kernel, rows as u32, 128)
        .pitched("x", &x, n, pitch)
        .output("y", &y)
        .arguments([
            int(n as i32),
            int(pitch as i32),
            Value::Of("x"),
            Value::Of("y"),
        ])
}

fn pairs_wait_all(random: &mut Random) -> Case {
    let x = normals(random, 3 * 128);
    let out: Vec<f32> = x
        .chunks(128)
        .flat_map(|block| (0..128).map(|i| block[i] + block.get(i + 1).copied().unwrap_or(0.0)))
        .collect();
    Case::new("async_copy", "pairs_wait_all", 3, 128)
        .input("x", &x)
        .output("out", &out)
        .arguments([Value::Of("x"), Value::Of("out")])
}

fn producer_consumer(random: &mut Random) -> Case {
    let chunks: usize = random.random_range(5..9);
    let x = signed(random, 2 * chunks * 64, 30_000);
    let y: Vec<i32> = x
        .chunks(64)
        .flat_map(|chunk| (0..64).map(|i| chunk[i] * chunk[i] + chunk[(i + 1) % 64].pow(2)))
        .collect();
    Case::new("barriers", "producer_consumer", 2, 128)
        .input("x", &x)
        .output("y", &y)
        .arguments([int(chunks as i32), Value::Of("x"), Value::Of("y")])
}

fn reversed_groups(random: &mut Random) -> Case {
    let x = signed(random, 2 * 512, i32::MAX);
    let y: Vec<i32> = x
        .chunks(64)
        .flat_map(|group| group.iter().rev().copied())
        .collect();
    Case::new("barriers", "reversed_groups", 2, 512)
        .input("x", &x)
        .output("y", &y)
        .arguments([Value::Of("x"), Value::Of("y")])
}

fn voting_barriers(random: &mut Random) -> Case {
    let n = 4 * 96 - random.random_range(1..64usize);
    let mut x = signed(random, n, 5);
    x[..96].fill(3);
    x[96..192].fill(-3);
    let out: Vec<i32> = (0..4)
        .flat_map(|block| {
            let values = &x[block * 96..n.min(block * 96 + 96)];
            let count = values.iter().filter(|v| **v > 0).count() as i32;
            [count, i32::from(count == 96), i32::from(count > 0)]
        })
        .collect();
    Case::new("barriers", "voting_barriers", 4, 96)
        .input("x", &x)
        .output("out", &out)
        .arguments([int(n as i32), Value::Of("x"), Value::Of("out")])
}

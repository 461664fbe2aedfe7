//! Sums, extrema, histograms and statistics over a block, a grid or a column.

use cosmogan::emulator::Argument;
use rand::RngExt;

use super::{Case, Random, Value, int, normals, signed, words};

pub fn cases(random: &mut Random) -> Vec<Case> {
    vec![
        sum_shuffle(random),
        sum_tree(random),
        sum_atomic_float(random),
        sum_atomic_double(random),
        extrema_atomic_int(random),
        sum_last_block(random),
        max_compare_and_swap(random),
        histogram(random),
        compact(random),
        pass_on(random),
        turns(random),
        product64(random),
        batch_statistics(random),
        softmax(random),
    ]
}

const BLOCK: usize = 256;

fn ragged(random: &mut Random) -> usize {
    random.random_range(2..6) * BLOCK + random.random_range(1..BLOCK)
}

fn blocks(n: usize) -> u32 {
    n.div_ceil(BLOCK) as u32
}

/// Lane 0 of a chain of `shfl.down` additions: 16, 8, 4, 2, 1 apart.
fn warp_sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0; 32];
    lanes[..values.len()].copy_from_slice(values);
    for half in [16, 8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

/// What each block of 256 threads sums up, in the order of two levels of warps.
fn block_sums(x: &[f32]) -> Vec<f32> {
    x.chunks(BLOCK)
        .map(|block| {
            let warps: Vec<f32> = block.chunks(32).map(warp_sum).collect();
            warp_sum(&warps)
        })
        .collect()
}

fn sum_shuffle(random: &mut Random) -> Case {
    let n = ragged(random);
    let x = normals(random, n);
    Case::new("reduce", "sum_shuffle", blocks(n), BLOCK as u32)
        .input("x", &x)
        .output("partial", &block_sums(&x))
        .arguments([int(n as i32), Value::Of("x"), Value::Of("partial")])
}

fn sum_tree(random: &mut Random) -> Case {
    let n = ragged(random);
    let x = normals(random, n);
    let partial: Vec<f32> = x
        .chunks(BLOCK)
        .map(|block| {
            let mut tree = [0.0; BLOCK];
            tree[..block.len()].copy_from_slice(block);
            for half in [128, 64, 32, 16, 8, 4, 2, 1] {
                for t in 0..half {
                    tree[t] += tree[t + half];
                }
            }
            tree[0]
        })
        .collect();
    Case::new("reduce", "sum_tree", blocks(n), BLOCK as u32)
        .shared(4 * BLOCK)
        .input("x", &x)
        .output("partial", &partial)
        .arguments([int(n as i32), Value::Of("x"), Value::Of("partial")])
}

fn sum_atomic_float(random: &mut Random) -> Case {
    let n = ragged(random);
    let x = normals(random, n);
    let exact: f64 = 3.0 + x.iter().map(|&v| f64::from(v)).sum::<f64>();
    let size: f64 = x.iter().map(|&v| f64::from(v.abs())).sum();
    Case::new("reduce", "sum_atomic_float", blocks(n), BLOCK as u32)
        .input("x", &x)
        .checked("sum", &[3.0f32], move |sum| {
            super::near(sum, &[exact], &[1e-5 * size])
        })
        .arguments([int(n as i32), Value::Of("x"), Value::Of("sum")])
}

fn sum_atomic_double(random: &mut Random) -> Case {
    let n = ragged(random);
    // Sums of multiples of 2^-20 are exact in any order.
    let x: Vec<f64> = signed(random, n, 1 << 30)
        .into_iter()
        .map(|v| f64::from(v) / f64::from(1 << 20))
        .collect();
    Case::new("reduce", "sum_atomic_double", blocks(n), BLOCK as u32)
        .input("x", &x)
        .inout("sum", &[-1.0], &[x.iter().sum::<f64>() - 1.0])
        .arguments([int(n as i32), Value::Of("x"), Value::Of("sum")])
}

fn extrema_atomic_int(random: &mut Random) -> Case {
    let n = ragged(random);
    let x = signed(random, n, i32::MAX);
    let before = [17i32, 0, 0, 0, -1, 0x5555];
    let after = x.iter().fold(before, |[sum, min, max, or, and, xor], &v| {
        [
            sum.wrapping_add(v),
            min.min(v),
            max.max(v),
            or | v,
            and & v,
            xor ^ v,
        ]
    });
    Case::new("reduce", "extrema_atomic_int", blocks(n), BLOCK as u32)
        .input("x", &x)
        .inout("out", &before, &after)
        .arguments([int(n as i32), Value::Of("x"), Value::Of("out")])
}

fn sum_last_block(random: &mut Random) -> Case {
    let n = ragged(random);
    let x = normals(random, n);
    let partial = block_sums(&x);
    let sum = partial.iter().fold(0.0f32, |sum, v| sum + v);
    Case::new("reduce", "sum_last_block", blocks(n), BLOCK as u32)
        .input("x", &x)
        .output("partial", &partial)
        .inout("ticket", &[0u32], &[0])
        .output("sum", &[sum])
        .arguments([
            int(n as i32),
            Value::Of("x"),
            Value::Of("partial"),
            Value::Of("ticket"),
            Value::Of("sum"),
        ])
}

fn max_compare_and_swap(random: &mut Random) -> Case {
    let n = ragged(random);
    let x: Vec<f32> = normals(random, n).iter().map(|v| v.abs()).collect();
    let top = x.iter().fold(0.0f32, |top, &v| top.max(v));
    Case::new("reduce", "max_compare_and_swap", blocks(n), BLOCK as u32)
        .input("x", &x)
        .inout("best", &[0.0], &[top])
        .arguments([int(n as i32), Value::Of("x"), Value::Of("best")])
}

fn histogram(random: &mut Random) -> Case {
    let n = ragged(random);
    let bins: usize = random.random_range(300..400);
    let values = words(random, n);
    let before = words(random, bins);
    let mut after = before.clone();
    for value in &values {
        let count = &mut after[*value as usize % bins];
        *count = count.wrapping_add(1);
    }
    Case::new("histogram", "histogram", 3, BLOCK as u32)
        .shared(4 * bins)
        .input("values", &values)
        .inout("counts", &before, &after)
        .arguments([
            int(n as i32),
            int(bins as i32),
            Value::Of("values"),
            Value::Of("counts"),
        ])
}

/// Whether `values`, sorted, are `expected`.
fn sorted_are<T: Ord + Copy + std::fmt::Debug>(values: &[T], expected: &[T]) -> Result<(), String> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    match sorted.iter().zip(expected).position(|(a, b)| a != b) {
        Some(i) => Err(format!(
            "the {i}th smallest value is {:?}, not {:?}",
            sorted[i], expected[i]
        )),
        None => Ok(()),
    }
}

fn compact(random: &mut Random) -> Case {
    let n = ragged(random);
    let x = normals(random, n);
    let positive = x.iter().enumerate().filter(|(_, v)| **v > 0.0);
    let indices: Vec<i32> = positive.map(|(i, _)| i as i32).collect();
    let count = indices.len();
    Case::new("atomics", "compact", blocks(n), BLOCK as u32)
        .input("x", &x)
        .inout("count", &[0u32], &[count as u32])
        .output_checked("out", count, move |out: &[i32]| sorted_are(out, &indices))
        .arguments([
            int(n as i32),
            Value::Of("x"),
            Value::Of("count"),
            Value::Of("out"),
        ])
}

fn pass_on(random: &mut Random) -> Case {
    let n = ragged(random);
    // The number that stays in the box is any of 1..=n, so that the others and 0 are taken.
    Case::new("atomics", "pass_on", blocks(n), BLOCK as u32)
        .checked("box", &[0u32], move |left| {
            let last = left[0] as usize;
            (1..=n)
                .contains(&last)
                .then_some(())
                .ok_or_else(|| format!("{last} was left"))
        })
        .output_checked("taken", n, move |taken: &[u32]| {
            let mut sorted = taken.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            let whole = sorted.len() == n && sorted[0] == 0 && sorted[n - 1] as usize <= n;
            whole
                .then_some(())
                .ok_or_else(|| "not n different numbers of 0..=n".to_owned())
        })
        .arguments([int(n as i32), Value::Of("box"), Value::Of("taken")])
}

fn turns(random: &mut Random) -> Case {
    let n = ragged(random);
    let limit: u32 = random.random_range(3..40);
    let period = limit as usize + 1;
    let mut drawn: Vec<u32> = (0..n).map(|i| (i % period) as u32).collect();
    drawn.sort_unstable();
    let mut falling: Vec<u32> = (0..n).map(|i| limit - (i % period) as u32).collect();
    falling.sort_unstable();
    Case::new("atomics", "turns", blocks(n), BLOCK as u32)
        .inout("up", &[0u32], &[(n % period) as u32])
        .inout("down", &[limit], &[limit - (n % period) as u32])
        .output_checked("round_robin", n, move |out: &[u32]| sorted_are(out, &drawn))
        .output_checked("countdown", n, move |out: &[u32]| sorted_are(out, &falling))
        .arguments([
            int(n as i32),
            Value::Plain(Argument::U32(limit)),
            Value::Of("up"),
            Value::Of("down"),
            Value::Of("round_robin"),
            Value::Of("countdown"),
        ])
}

fn product64(random: &mut Random) -> Case {
    let n: usize = random.random_range(40..100);
    let x: Vec<u64> = (0..n).map(|_| random.random::<u64>() | 1).collect();
    let first = random.random::<u64>() | 1;
    let product = x.iter().fold(first, |product, v| product.wrapping_mul(*v));
    Case::new("atomics", "product64", n.div_ceil(32) as u32, 32)
        .input("x", &x)
        .inout("product", &[first], &[product])
        .arguments([int(n as i32), Value::Of("x"), Value::Of("product")])
}

fn batch_statistics(random: &mut Random) -> Case {
    let pixels: usize = random.random_range(200..500);
    let channels: usize = random.random_range(3..9);
    // A mean that is large beside the spread: the difference of E[x^2] and E[x]^2 would lose it.
    let x: Vec<f32> = normals(random, pixels * channels)
        .iter()
        .map(|v| 100.0 + v)
        .collect();
    let count = pixels as f64;
    let column = |c: usize| x.iter().skip(c).step_by(channels).map(|&v| f64::from(v));
    let mean: Vec<f64> = (0..channels)
        .map(|c| column(c).sum::<f64>() / count)
        .collect();
    let variance: Vec<f64> = (0..channels)
        .map(|c| column(c).map(|v| (v - mean[c]).powi(2)).sum::<f64>() / count)
        .collect();
    let close = |expected: Vec<f64>| {
        move |values: &[f64]| {
            let off = values.iter().zip(&expected).find(|(a, b)| {
                let difference = (**a - **b).abs();
                difference.is_nan() || difference > 1e-12 * b.abs()
            });
            off.map_or(Ok(()), |(a, b)| Err(format!("{a}, not {b}")))
        }
    };
    Case::new("statistics", "batch_statistics", channels as u32, 128)
        .input("x", &x)
        .output_checked("mean", channels, close(mean))
        .output_checked("variance", channels, close(variance))
        .arguments([
            int(pixels as i32),
            int(channels as i32),
            Value::Of("x"),
            Value::Of("mean"),
            Value::Of("variance"),
        ])
}

fn softmax(random: &mut Random) -> Case {
    let rows: usize = random.random_range(5..20);
    let columns: usize = random.random_range(33..150);
    let x = normals(random, rows * columns);
    let y: Vec<f64> = x
        .chunks(columns)
        .flat_map(|row| {
            let top = row.iter().fold(f32::NEG_INFINITY, |top, &v| top.max(v));
            let powers: Vec<f64> = row.iter().map(|v| f64::from(v - top).exp()).collect();
            let sum: f64 = powers.iter().sum();
            powers.into_iter().map(move |power| power / sum)
        })
        .collect();
    // f32 scaling by log2(e) loses eps |x|, ex2.approx two units in the last place.
    let tolerance = y.iter().map(|y| 2e-6 * y).collect();
    Case::new("statistics", "softmax", rows.div_ceil(4) as u32, 128)
        .input("x", &x)
        .close("y", y, tolerance)
        .arguments([
            int(rows as i32),
            int(columns as i32),
            Value::Of("x"),
            Value::Of("y"),
        ])
}

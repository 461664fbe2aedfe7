//! The three kernels against loops written down from the definition, `big = 2 small + k - pad_low`
//! with zeros outside, in f64. Whatever a kernel should write holds NaN before.

use std::sync::Mutex;

use rand::RngExt;

use super::*;
use crate::backend::cpu::scalar::{Scalar, Write};
use crate::backend::cpu::scratch::Scratch;
use crate::model::{PadLow, StridedLayer};
use crate::rng::SequentialPhilox;
use crate::testing::{deviation, normals, random};

/// Visits every product of the layer: indices of a big value, of the `c_small` weights that it
/// meets, and of as many small values.
fn products(layer: &StridedLayer, batch: usize, mut visit: impl FnMut(usize, usize, usize)) {
    let (side, big_side, pad) = (layer.small, 2 * layer.small, layer.pad_low.pixels());
    let inside =
        |small: usize, k: usize| (2 * small + k).checked_sub(pad).filter(|&b| b < big_side);
    for n in 0..batch {
        for (h, r) in (0..side).flat_map(|h| (0..5).map(move |r| (h, r))) {
            let Some(y) = inside(h, r) else { continue };
            for (w, s) in (0..side).flat_map(|w| (0..5).map(move |s| (w, s))) {
                let Some(x) = inside(w, s) else { continue };
                let small = ((n * side + h) * side + w) * layer.c_small;
                for c in 0..layer.c_big {
                    let big = ((n * big_side + y) * big_side + x) * layer.c_big + c;
                    visit(big, ((r * 5 + s) * layer.c_big + c) * layer.c_small, small);
                }
            }
        }
    }
}

struct Case {
    layer: StridedLayer,
    batch: usize,
    big: Vec<f64>,
    small: Vec<f64>,
    weights: Vec<f64>,
    big_bias: Option<Vec<f64>>,
    small_bias: Option<Vec<f64>>,
    /// What the weight gradient is added to.
    gradient: Vec<f64>,
}

impl Case {
    fn new(random: &mut SequentialPhilox, layer: StridedLayer, batch: usize) -> Self {
        let mut draw = |len| normals(random, len);
        let (big_bias, small_bias) = (draw(layer.c_big), draw(layer.c_small));
        let biased = batch.is_multiple_of(2) || layer.small.is_multiple_of(2);
        Self {
            big: draw(batch * layer.big_len()),
            small: draw(batch * layer.small_len()),
            weights: draw(layer.weight_len()),
            gradient: draw(layer.weight_len()),
            big_bias: biased.then_some(big_bias),
            small_bias: biased.then_some(small_bias),
            layer,
            batch,
        }
    }

    fn expected_small(&self) -> Vec<f64> {
        let mut out = start(&self.small_bias, self.small.len());
        products(&self.layer, self.batch, |big, weight, small| {
            for c in 0..self.layer.c_small {
                out[small + c] += self.big[big] * self.weights[weight + c];
            }
        });
        out
    }

    fn expected_big(&self) -> Vec<f64> {
        let mut out = start(&self.big_bias, self.big.len());
        products(&self.layer, self.batch, |big, weight, small| {
            for c in 0..self.layer.c_small {
                out[big] += self.small[small + c] * self.weights[weight + c];
            }
        });
        out
    }

    fn expected_gradient(&self, write: Write) -> Vec<f64> {
        let mut out = match write {
            Write::Set => vec![0.0; self.gradient.len()],
            Write::Add => self.gradient.clone(),
        };
        products(&self.layer, self.batch, |big, weight, small| {
            for c in 0..self.layer.c_small {
                out[weight + c] += self.big[big] * self.small[small + c];
            }
        });
        out
    }

    /// The largest deviation of each kernel, in units of `epsilon (terms of a sum + 10)`.
    fn deviations<T: Scalar>(&self, epsilon: f64) -> [f64; 4] {
        let layer = &self.layer;
        let name = format!("{layer:?}, batch {}", self.batch);
        let (big, small) = (narrow::<T>(&self.big), narrow::<T>(&self.small));
        let weights = narrow::<T>(&self.weights);
        let (big_bias, small_bias) = (self.big_bias.as_deref(), self.small_bias.as_deref());
        let (big_bias, small_bias) = (big_bias.map(narrow), small_bias.map(narrow));
        let mut scratch = Scratch::new();

        let mut out = poison::<T>(small.len());
        let (shared, threads) = fprop_scratch::<T>(layer, self.batch);
        let scratches = poisoned(&mut scratch, threads, shared);
        let tiles = Mutex::default();
        let finish = |tile: &mut [T]| note(&tiles, tile);
        let bias = small_bias.as_deref();
        fprop(layer, &big, &weights, bias, &mut out, scratches, finish);
        whole(tiles, &out);
        let terms = (25 * layer.c_big) as f64;
        let unit = epsilon * (terms + 10.0);
        let fprop = deviation(&name, &wide(&out), &self.expected_small()) / unit;

        let mut out = poison::<T>(big.len());
        let (shared, threads) = dgrad_scratch::<T>(layer, self.batch);
        let scratches = poisoned(&mut scratch, threads, shared);
        let tiles = Mutex::default();
        let finish = |tile: &mut [T]| note(&tiles, tile);
        let bias = big_bias.as_deref();
        dgrad(layer, &small, &weights, bias, &mut out, scratches, finish);
        whole(tiles, &out);
        let terms = (9 * layer.c_small) as f64;
        let unit = epsilon * (terms + 10.0);
        let dgrad = deviation(&name, &wide(&out), &self.expected_big()) / unit;

        let terms = (self.batch * layer.small * layer.small) as f64;
        let unit = epsilon * (terms + 10.0);
        let [set, add] = [Write::Set, Write::Add].map(|write| {
            let mut out = match write {
                Write::Set => poison(weights.len()),
                Write::Add => narrow::<T>(&self.gradient),
            };
            let (shared, threads) = wgrad_scratch::<T>(layer, self.batch);
            let scratches = poisoned(&mut scratch, threads, shared);
            wgrad(layer, &big, &small, &mut out, write, scratches);
            deviation(&name, &wide(&out), &self.expected_gradient(write)) / unit
        });
        [fprop, dgrad, set, add]
    }
}

fn start(bias: &Option<Vec<f64>>, len: usize) -> Vec<f64> {
    match bias {
        Some(bias) => bias.iter().copied().cycle().take(len).collect(),
        None => vec![0.0; len],
    }
}

fn narrow<T: Scalar>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&v| T::of(v)).collect()
}

fn wide<T: Scalar>(values: &[T]) -> Vec<f64> {
    values.iter().map(|v| v.wide()).collect()
}

fn poison<T: Scalar>(len: usize) -> Vec<T> {
    vec![T::nan(); len]
}

/// Scratch full of NaN.
fn poisoned<T: Scalar>(
    scratch: &mut Scratch<T>,
    threads: usize,
    shared: usize,
) -> (crate::backend::cpu::scratch::ThreadScratch<'_, T>, &mut [T]) {
    let (threads, shared) = scratch.reserve(threads, shared);
    shared.fill(T::nan());
    rayon::broadcast(|_| threads.with(|buffer| buffer.fill(T::nan())));
    threads.with(|buffer| buffer.fill(T::nan()));
    (threads, shared)
}

/// Notes a finished tile, which must be written whole.
fn note<T: Scalar>(tiles: &Mutex<Vec<(usize, usize)>>, tile: &[T]) {
    assert!(tile.iter().all(|v| v.is_finite()), "a tile is not written");
    tiles
        .lock()
        .unwrap()
        .push((tile.as_ptr().addr(), tile.len()));
}

/// All tiles together must be the output, each value once.
fn whole<T>(tiles: Mutex<Vec<(usize, usize)>>, out: &[T]) {
    let mut tiles = tiles.into_inner().unwrap();
    tiles.sort_unstable();
    let start = out.as_ptr().addr();
    let end = tiles.iter().fold(start, |end, &(first, count)| {
        assert_eq!(first, end, "tiles leave a gap or overlap");
        end + count * size_of::<T>()
    });
    assert_eq!(end, start + size_of_val(out), "tiles end early or late");
}

fn check(cases: impl Iterator<Item = Case>) {
    let (mut worst64, mut worst32) = ([0.0f64; 4], [0.0f64; 4]);
    let mut count = 0;
    for case in cases {
        let name = format!("{:?}, batch {}", case.layer, case.batch);
        let wide = case.deviations::<f64>(f64::EPSILON);
        let narrow = case.deviations::<f32>(f64::from(f32::EPSILON));
        for (worst, new) in [(&mut worst64, wide), (&mut worst32, narrow)] {
            assert!(new.iter().all(|d| *d < LIMIT), "{name}: {new:?} > {LIMIT}");
            worst.iter_mut().zip(new).for_each(|(w, n)| *w = w.max(n));
        }
        count += 1;
    }
    println!("{count} shapes; fprop, dgrad, wgrad set, wgrad add, in eps (terms + 10):");
    println!("f64 {worst64:.2?}, f32 {worst32:.2?}");
}

/// Allowed deviation: n products of normal numbers sum up to some sqrt(n), with n roundings, whose
/// sum grows like their root. One product that is left out or too many is about 1.
const LIMIT: f64 = 4.0;

#[test]
fn the_kernels_follow_the_definition_for_any_small_shape() {
    let mut random = random(1);
    check((0..240).map(|index| {
        let layer = StridedLayer {
            small: random.random_range(1..=9),
            c_big: random.random_range(1..=20),
            c_small: random.random_range(1..=40),
            pad_low: [PadLow::One, PadLow::Two][index % 2],
        };
        let batch = random.random_range(1..=7);
        Case::new(&mut random, layer, batch)
    }));
}

#[test]
fn the_kernels_follow_the_definition_across_tiles_blocks_and_groups() {
    let mut random = random(2);
    // (small, c_big, c_small, batch): several tiles; wgrad in 9 groups; in 48 groups of which the
    // rounding to whole products leaves some empty; blocks of window columns; deep layers; and the
    // last layer's odd tail.
    let shapes = [
        (16, 3, 7, 9),
        (16, 1, 2, 49),
        (12, 20, 3, 8),
        (6, 70, 90, 3),
        (4, 130, 33, 2),
        (33, 1, 5, 2),
        (2, 40, 300, 4),
    ];
    let pads = [PadLow::One, PadLow::Two];
    let cases = shapes
        .iter()
        .flat_map(|shape| pads.map(|pad| (*shape, pad)));
    check(cases.map(|((small, c_big, c_small, batch), pad_low)| {
        let layer = StridedLayer {
            small,
            c_big,
            c_small,
            pad_low,
        };
        Case::new(&mut random, layer, batch)
    }));
}

/// The form with fewer products in f64, against the definition's form and to its precision: a wrong
/// coefficient would hide behind the rounding of f32.
#[test]
fn fewer_products_come_to_the_same_sums() {
    use super::winograd;
    let mut random = random(3);
    // (small, c_big, c_small, batch): whole samples and parts of one in a chunk, odd sides, lanes left over.
    let shapes = [
        (8, 16, 16, 3),
        (7, 19, 33, 2),
        (1, 16, 40, 5),
        (2, 130, 20, 9),
        (34, 17, 16, 2),
        (65, 16, 18, 1),
    ];
    let mut worst = [0.0f64; 4];
    for ((small, c_big, c_small, batch), pad_low) in shapes
        .iter()
        .flat_map(|&shape| [PadLow::One, PadLow::Two].map(|pad| (shape, pad)))
    {
        let layer = StridedLayer {
            small,
            c_big,
            c_small,
            pad_low,
        };
        let case = Case::new(&mut random, layer, batch);
        let name = format!("{layer:?}, batch {batch}");
        let mut scratch = Scratch::<f64>::new();
        let nothing = |_: &mut [f64]| {};

        let mut out = poison(case.small.len());
        let (_, shared) = poisoned(&mut scratch, 0, winograd::fprop_scratch(&layer, batch));
        let bias = case.small_bias.as_deref();
        winograd::fprop(
            &layer,
            &case.big,
            &case.weights,
            bias,
            &mut out,
            shared,
            nothing,
        );
        let fprop = deviation(&name, &out, &case.expected_small());

        let mut out = poison(case.big.len());
        let (_, shared) = poisoned(&mut scratch, 0, winograd::dgrad_scratch(&layer, batch));
        let bias = case.big_bias.as_deref();
        winograd::dgrad(
            &layer,
            &case.small,
            &case.weights,
            bias,
            &mut out,
            shared,
            nothing,
        );
        let dgrad = deviation(&name, &out, &case.expected_big());

        let [set, add] = [Write::Set, Write::Add].map(|write| {
            let mut out = match write {
                Write::Set => poison(case.weights.len()),
                Write::Add => case.gradient.clone(),
            };
            let (shared, threads) = winograd::wgrad_scratch(&layer, batch);
            let scratches = poisoned(&mut scratch, threads, shared);
            winograd::wgrad(&layer, &case.big, &case.small, &mut out, write, scratches);
            deviation(&name, &out, &case.expected_gradient(write))
        });
        for (worst, new) in worst.iter_mut().zip([fprop, dgrad, set, add]) {
            assert!(new < 1e-11, "{name}: {new:e}");
            *worst = worst.max(new);
        }
    }
    println!(
        "largest deviations of fprop, dgrad, wgrad set and added: {:?}",
        worst.map(|w| format!("{w:.1e}"))
    );
}

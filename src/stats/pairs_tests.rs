//! Pairs against measuring all of them, and planted copies among many.

use super::*;
use crate::testing::{normals, random};

fn quiet() -> impl FnMut(usize, usize) -> Result<(), StatsError> {
    |_, _| Ok(())
}

/// Smooth maps: white noise, and a plane wave of random phase that is larger than it.
fn maps(number: u64, count: usize, side: usize) -> Vec<f32> {
    let mut draw = random(number);
    let mut all = Vec::with_capacity(count * side * side);
    for _ in 0..count {
        let phases = normals(&mut draw, 4);
        let noise = normals(&mut draw, side * side);
        all.extend((0..side * side).map(|pixel| {
            let (y, x) = (pixel / side, pixel % side);
            let wave = 2.0 * phases[0] * (x as f64 / side as f64 + phases[1]).sin()
                + 2.0 * phases[2] * (2.0 * y as f64 / side as f64 + phases[3]).sin();
            (wave + 0.3 * noise[pixel]) as f32
        }));
    }
    all
}

#[test]
fn pairs_in_block_averages_are_those_of_measuring_all_and_never_above_the_maps_own_distance() {
    let (side, count) = (12, 330);
    let maps = maps(1, count, side);
    let coarse = Coarse::new(side, 5);
    assert_eq!((coarse.blocks(), coarse.block(), coarse.len()), (4, 3, 16));
    let averages = coarse.of(&maps);
    let map = |index: usize| &maps[index * side * side..(index + 1) * side * side];
    let average = |index: usize| &averages[index * 16..(index + 1) * 16];
    let mut expected: Vec<(f64, usize, usize)> = Vec::new();
    for first in 0..count {
        for second in first + 1..count {
            let (bound, _) = turned_distance(average(first), average(second), 4);
            expected.push((bound, first, second));
            if second < first + 4 {
                let (distance, _) = turned_distance(map(first), map(second), side);
                assert!(bound <= distance * (1.0 + 1e-6), "{bound} {distance}");
            }
        }
    }
    expected.sort_by(|a, b| a.0.total_cmp(&b.0));
    let found = closest_coarse(&averages, 4, 200, &mut quiet()).unwrap();
    assert_eq!(found.pairs.len(), 200);
    for (pair, &(distance, first, second)) in found.pairs.iter().zip(&expected) {
        assert_eq!((pair.first, pair.second.index), (first, second));
        assert!((pair.second.distance - distance).abs() < 1e-9);
    }
    assert_eq!(found.complete_below, found.pairs[199].second.distance);
    let all = closest_coarse(&averages[..20 * 16], 4, 1000, &mut quiet()).unwrap();
    assert_eq!((all.pairs.len(), all.complete_below), (190, f64::INFINITY));
}

#[test]
fn turned_copies_are_found_among_thousands_in_block_averages() {
    let (side, count) = (16, 3000);
    let mut maps = maps(2, count, side);
    for (copy, original, symmetry) in [(2900, 17, 3), (1501, 1500, 6)] {
        let mut turned = maps[original * 256..(original + 1) * 256].to_vec();
        Symmetry::from_word(symmetry << 29).apply(&mut turned, side, 1);
        turned[0] += 0.01 * original as f32 / 17.0;
        maps[copy * 256..(copy + 1) * 256].copy_from_slice(&turned);
    }
    let coarse = Coarse::new(side, 4);
    let found = closest_coarse(&coarse.of(&maps), 4, 10, &mut quiet()).unwrap();
    let place = |pair: &Pair| (pair.first, pair.second.index);
    assert_eq!(place(&found.pairs[0]), (17, 2900), "{found:?}");
    assert!(found.pairs.iter().any(|pair| place(pair) == (1500, 1501)));
}

#[test]
fn vectors_of_either_type_give_the_pairs_of_measuring_all_on_any_number_of_threads() {
    let (count, len) = (700, 9);
    let values = normals(&mut random(3), count * len);
    let narrow: Vec<f32> = values.iter().map(|&v| v as f32).collect();
    let wide: Vec<f64> = narrow.iter().map(|&v| f64::from(v)).collect();
    let mut expected: Vec<(f64, usize, usize)> = Vec::new();
    let mut sum = 0.0;
    for first in 0..count {
        for second in first + 1..count {
            let squared: f64 = (0..len)
                .map(|k| (wide[first * len + k] - wide[second * len + k]).powi(2))
                .sum();
            sum += squared;
            expected.push((squared.sqrt(), first, second));
        }
    }
    let rms = (sum / expected.len() as f64).sqrt();
    assert!((typical_distance(&narrow, len) / rms - 1.0).abs() < 1e-9);
    expected.sort_by(|a, b| a.0.total_cmp(&b.0));
    let found = closest_vectors(&narrow, len, 50, &mut quiet()).unwrap();
    assert_eq!(
        found,
        closest_vectors(&wide, len, 50, &mut quiet()).unwrap()
    );
    for (pair, &(distance, first, second)) in found.pairs.iter().zip(&expected) {
        assert_eq!((pair.first, pair.second.index), (first, second));
        assert!((pair.second.distance - distance).abs() < 1e-12);
    }
    let alone = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let again = alone.install(|| closest_vectors(&narrow, len, 50, &mut quiet()));
    assert_eq!(again.unwrap(), found);
}

#[test]
fn a_search_can_be_stopped_and_faulty_values_are_refused() {
    let values = vec![0.5_f32; 40];
    let stopped = closest_vectors(&values, 4, 3, &mut |_, _| Err(StatsError::AllEqual));
    assert_eq!(stopped, Err(StatsError::AllEqual));
    let refused =
        |values: &[f32], len, keep| closest_vectors(values, len, keep, &mut quiet()).unwrap_err();
    assert!(matches!(
        refused(&values[..4], 4, 3),
        StatsError::TooFew { got: 1, .. }
    ));
    assert!(matches!(
        refused(&values, 3, 3),
        StatsError::Length { got: 1, .. }
    ));
    assert!(matches!(refused(&values, 4, 0), StatsError::NoRepeats(_)));
    let mut bad = values.clone();
    bad[13] = f32::INFINITY;
    assert!(matches!(
        refused(&bad, 4, 3),
        StatsError::Feature { map: 3, bin: 1, .. }
    ));
}

//! Neighbours against measuring every pair, and planted copies.

use super::*;
use crate::stats::{closest_features, closest_maps};
use crate::testing::{normals, random};

fn maps(number: u64, count: usize, side: usize) -> Vec<f32> {
    let values = normals(&mut random(number), count * side * side);
    values.iter().map(|&v| v as f32).collect()
}

fn turn(map: &[f32], side: usize, symmetry: usize) -> Vec<f32> {
    let mut turned = map.to_vec();
    Symmetry::from_word((symmetry as u32) << 29).apply(&mut turned, side, 1);
    turned
}

fn squared(a: &[f32], b: &[f32]) -> f64 {
    squared_distance(a.into(), b.into())
}

fn by_measuring(query: &[f32], set: &[f32], side: usize) -> Vec<Neighbour> {
    let distance = |(index, map): (usize, &[f32])| {
        let measured = (0..8).map(|s| (squared(&turn(query, side, s), map), s));
        let (squared, symmetry) = measured.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        Neighbour {
            index,
            distance: squared.sqrt(),
            symmetry,
        }
    };
    let mut all: Vec<Neighbour> = set.chunks(side * side).enumerate().map(distance).collect();
    all.sort_by(|a, b| a.distance.total_cmp(&b.distance));
    all
}

#[test]
fn neighbours_are_those_of_measuring_every_map_in_every_orientation() {
    let side = 6;
    let (queries, set) = (maps(1, 19, side), maps(2, 700, side));
    for offset in [0.0, 1000.0] {
        // A large mean makes the products useless to all digits but few: the rest is measured.
        let shift = |maps: &[f32]| maps.iter().map(|v| v + offset).collect::<Vec<f32>>();
        let (queries, set) = (shift(&queries), shift(&set));
        let mut search = NearestMaps::new(&queries, side, 4).unwrap();
        for piece in set.chunks(301 * side * side) {
            search.add(piece).unwrap();
        }
        let found = search.finish();
        for (query, found) in queries.chunks(side * side).zip(&found) {
            let expected = &by_measuring(query, &set, side)[..4];
            let indices = |list: &[Neighbour]| list.iter().map(|n| n.index).collect::<Vec<_>>();
            assert_eq!(indices(found), indices(expected));
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn a_turned_copy_with_a_little_noise_is_found() {
    let (side, set) = (8, maps(3, 500, 8));
    let noise = maps(4, 8, side);
    for symmetry in 0..8 {
        let planted = 37 * symmetry + 11;
        let original = &set[planted * 64..(planted + 1) * 64];
        // Turning back is turning three times more, for the quarter turns.
        let back = (0..8).find(|&s| turn(&turn(original, side, symmetry), side, s) == original);
        let noise = &noise[symmetry * 64..(symmetry + 1) * 64];
        let copy: Vec<f32> = turn(original, side, symmetry)
            .iter()
            .zip(noise)
            .map(|(v, n)| v + 0.01 * n)
            .collect();
        let mut search = NearestMaps::new(&copy, side, 2).unwrap();
        search.add(&set).unwrap();
        let found = &search.finish()[0];
        assert_eq!((found[0].index, Some(found[0].symmetry)), (planted, back));
        assert!(
            found[0].distance < 0.15 && found[1].distance > 5.0,
            "{found:?}"
        );
    }
}

#[test]
fn repeated_maps_are_found_within_a_set() {
    let side = 8;
    let mut set = maps(5, 600, side);
    let copies = [(3, 590, 5), (300, 301, 0), (10, 270, 6)];
    for (index, &(original, copy, symmetry)) in copies.iter().enumerate() {
        let mut turned = turn(&set[original * 64..(original + 1) * 64], side, symmetry);
        turned[0] += 0.001 * (1 + index) as f32;
        set[copy * 64..(copy + 1) * 64].copy_from_slice(&turned);
    }
    let found = closest_maps(&set, side, 5).unwrap();
    let pairs: Vec<(usize, usize)> = found.iter().map(|p| (p.first, p.second.index)).collect();
    assert_eq!(pairs[..3], [(3, 590), (300, 301), (10, 270)]);
    assert!(found[2].second.distance < 0.004 && found[3].second.distance > 2.0);
}

#[test]
fn neighbours_and_pairs_by_features_are_those_of_measuring_all() {
    let values = normals(&mut random(6), 640 * 7);
    let mut features = Array2::from_shape_vec((640, 7), values).unwrap();
    features.column_mut(2).fill(f64::NAN);
    let distance = |a: usize, b: usize| -> f64 {
        let squares = |bin: usize| (features[[a, bin]] - features[[b, bin]]).powi(2);
        (0..7)
            .filter(|&bin| bin != 2)
            .map(squares)
            .sum::<f64>()
            .sqrt()
    };
    let found = nearest_features(
        features.slice(s![..40, ..]),
        features.slice(s![40.., ..]),
        3,
    );
    for (query, list) in found.unwrap().iter().enumerate() {
        let mut all: Vec<f64> = (40..640).map(|i| distance(query, i)).collect();
        all.sort_by(f64::total_cmp);
        for (neighbour, expected) in list.iter().zip(&all) {
            assert!((neighbour.distance - expected).abs() < 1e-12);
            assert!((distance(query, 40 + neighbour.index) - expected).abs() < 1e-12);
        }
        assert_eq!(list.len(), 3);
    }
    let mut all: Vec<(f64, usize, usize)> = (0..640)
        .flat_map(|a| (a + 1..640).map(move |b| (a, b)))
        .map(|(a, b)| (distance(a, b), a, b))
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (pair, expected) in closest_features(features.view(), 6)
        .unwrap()
        .iter()
        .zip(all)
    {
        assert_eq!((pair.first, pair.second.index), (expected.1, expected.2));
    }
}

#[test]
fn faulty_maps_are_refused() {
    let good = maps(7, 3, 4);
    assert!(matches!(
        NearestMaps::new(&good[..20], 4, 1),
        Err(StatsError::Shape { .. })
    ));
    assert!(matches!(
        NearestMaps::new(&[], 4, 1),
        Err(StatsError::Shape { .. })
    ));
    assert!(matches!(
        NearestMaps::new(&good, 4, 0),
        Err(StatsError::NoRepeats(_))
    ));
    let mut search = NearestMaps::new(&good, 4, 9).unwrap();
    search.add(&good).unwrap();
    let mut bad = good.clone();
    bad[17] = f32::NAN;
    let error = search.add(&bad).unwrap_err();
    assert!(
        matches!(
            error,
            StatsError::NotFinite {
                map: 4,
                pixel: 1,
                ..
            }
        ),
        "{error}"
    );
    // Fewer maps than were asked for: all of them, itself first.
    let found = search.finish();
    assert!(
        found
            .iter()
            .all(|list| list.len() == 3 && list[0].distance == 0.0)
    );
    assert!(closest_maps(&good[..16], 4, 1).is_err());
    let zero = ndarray::array![[1.0, 0.0]];
    let error = log_features(zero.view()).unwrap_err();
    assert!(matches!(error, StatsError::Feature { map: 0, bin: 1, .. }));
    let two = Array2::<f64>::ones((2, 2));
    assert!(nearest_features(zero.view(), two.slice(s![.., ..1]), 1).is_err());
}

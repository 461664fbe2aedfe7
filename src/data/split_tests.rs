//! Tests of [`Split`]: what lands where, what is refused, and that nothing leaks.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::batches::{Sampling, TrainingSet};
use super::super::held_out::HeldOutSet;
use super::super::maps::Maps;
use super::super::testing::write_maps;
use super::super::transform::Transform;
use super::*;

const SIZE: usize = 8;

fn rules(crops_per_parent: Option<usize>) -> SplitRules {
    SplitRules {
        map_size: SIZE,
        crops_per_parent,
        fractions: Fractions::default(),
        seed: 5,
    }
}

fn file(name: &str, maps: usize, side: usize) -> FileShape {
    FileShape {
        path: name.into(),
        maps,
        side,
    }
}

/// The parents of the three sets.
fn parents(split: &Split) -> [Vec<usize>; 3] {
    let of = |set: &[Region]| set.iter().map(|region| region.parent).collect();
    [of(&split.train), of(&split.validation), of(&split.test)]
}

/// A split of larger maps.
fn by_parent(maps: usize, fractions: Fractions, seed: u64) -> Result<Split, DataError> {
    let rules = SplitRules {
        fractions,
        seed,
        ..rules(None)
    };
    Split::new(&[file("a.npy", maps, 20)], &rules)
}

#[test]
fn every_parent_lands_in_exactly_one_set_and_no_set_is_empty() {
    let lopsided = Fractions {
        train: 0.01,
        validation: 0.01,
        test: 0.98,
    };
    for fractions in [Fractions::default(), lopsided] {
        for maps in 3..300 {
            let split = by_parent(maps, fractions, 5).unwrap();
            let sets = parents(&split);
            assert!(sets.iter().all(|set| !set.is_empty()), "{maps}");
            let mut all = sets.concat();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..maps));
            assert!(split.regions().all(|region| region.rows == (0..20)));
        }
    }
}

#[test]
fn the_thousand_maps_of_the_paper_split_700_150_150() {
    let summary = by_parent(1000, Fractions::default(), 1).unwrap().summary();
    let expected = SplitSummary {
        train: 700,
        validation: 150,
        test: 150,
    };
    assert_eq!(summary, expected);
}

#[test]
fn the_seed_alone_decides() {
    let split = |seed| by_parent(100, Fractions::default(), seed).unwrap();
    assert_eq!(split(1), split(1));
    assert_ne!(split(1), split(2));
}

#[test]
fn wrong_fractions_are_refused_with_the_reason() {
    let default = Fractions::default();
    let message = |fractions| by_parent(9, fractions, 0).unwrap_err().to_string();
    let zero = message(Fractions {
        test: 0.0,
        ..default
    });
    assert!(zero.contains("split.test is 0"), "{zero}");
    let sum = message(Fractions {
        train: 0.8,
        ..default
    });
    assert!(sum.contains("add up to 1"), "{sum}");
    message(Fractions {
        train: f64::NAN,
        ..default
    });
}

#[test]
fn crops_whose_parents_are_unknown_are_dealt_in_the_order_of_the_files() {
    let files = [file("a.npy", 60, SIZE), file("b.npy", 40, SIZE)];
    let split = Split::new(&files, &rules(None)).unwrap();
    assert_eq!(split.kind, SplitKind::Blocks);
    let [train, validation, test] = parents(&split);
    assert!(train.into_iter().eq(0..70));
    assert!(validation.into_iter().eq(70..85));
    assert!(test.into_iter().eq(85..100));
    let words = split.kind.describe(&split.summary());
    assert!(
        words.contains("the first 70 maps train, the next 15"),
        "{words}"
    );
}

#[test]
fn maps_that_are_each_a_parent_are_dealt_at_random() {
    let alone: Vec<FileShape> = (0..20).map(|i| file(&format!("{i}"), 1, SIZE)).collect();
    let together = [file("a.npy", 20, SIZE)];
    for (files, rules) in [(&alone[..], rules(None)), (&together, rules(Some(1)))] {
        let split = Split::new(files, &rules).unwrap();
        assert_eq!(split.kind, SplitKind::Parents);
        let [train, ..] = parents(&split);
        assert!(!train.into_iter().eq(0..14));
    }
}

#[test]
fn a_file_that_does_not_hold_whole_groups_is_named_with_its_numbers() {
    let files = [file("good.npy", 12, SIZE), file("odd.npy", 14, SIZE)];
    let message = Split::new(&files, &rules(Some(4))).unwrap_err().to_string();
    for part in ["odd.npy holds 14", "data.crops_per_parent = 4", "multiple"] {
        assert!(message.contains(part), "{message}");
    }
    // Larger maps are parents by themselves: of them so many crops are drawn.
    let larger = [file("odd.npy", 14, SIZE + 1)];
    let split = Split::new(&larger, &rules(Some(4))).unwrap();
    assert_eq!(split.kind, SplitKind::Parents);
}

#[test]
fn strips_share_the_side_by_the_fractions_as_far_as_one_crop_each_permits() {
    let rows = |side, fractions| {
        let rules = SplitRules {
            fractions,
            ..rules(None)
        };
        let split = Split::new(&[file("one.npy", 1, side)], &rules).unwrap();
        let SplitKind::Strips { strips } = split.kind else {
            panic!("{:?}", split.kind)
        };
        let strips = strips[0].clone();
        [strips.train, strips.validation, strips.test]
    };
    let default = Fractions::default();
    assert_eq!(rows(40, default), [0..8, 16..24, 32..40]);
    assert_eq!(rows(116, default), [0..70, 78..93, 101..116]);
    let lopsided = Fractions {
        train: 0.01,
        validation: 0.01,
        test: 0.98,
    };
    assert_eq!(rows(116, lopsided), [0..8, 16..24, 32..116]);
}

#[test]
fn too_few_parents_too_small_for_strips_are_refused_with_the_arithmetic() {
    let message = |files: &[FileShape], k| Split::new(files, &rules(k)).unwrap_err().to_string();
    let two = message(&[file("two.npy", 2, 39)], None);
    for part in [
        "2 parent map(s)",
        "at least 3",
        "5 x 8 = 40",
        "two.npy have 39",
    ] {
        assert!(two.contains(part), "{two}");
    }
    // 39 pixels are enough for no strips, 40 are.
    assert!(Split::new(&[file("two.npy", 2, 40)], &rules(None)).is_ok());
    let groups = message(&[file("crops.npy", 20, SIZE)], Some(10));
    for part in ["2 parent map(s)", "data.crops_per_parent below 10"] {
        assert!(groups.contains(part), "{groups}");
    }
}

/// Which sets saw each pixel of maps that are written with their pixels' own numbers, over two
/// epochs of training and all held-out maps.
fn pixels_seen(files: &[FileShape], rules: &SplitRules) -> (Split, HashMap<usize, u8>) {
    let directory = tempfile::tempdir().unwrap();
    let mut first = 0;
    let paths: Vec<PathBuf> = files
        .iter()
        .map(|FileShape { path, maps, side }| {
            let start = first;
            first += maps * side * side;
            let number = |m, y, x| (start + (m * side + y) * side + x) as f32;
            write_maps(
                directory.path(),
                path.to_str().unwrap(),
                *maps,
                *side,
                number,
            )
        })
        .collect();
    assert!(first < 1 << 24, "f32 holds each number");
    let maps = Arc::new(Maps::open(&paths).unwrap());
    let split = Split::new(&FileShape::of(&maps), rules).unwrap();
    let sampling = Sampling {
        crops_per_parent: 40,
        ..Sampling::new(SIZE, rules.seed)
    };
    let none = || Transform::None {}.into();
    let training = TrainingSet::new(Arc::clone(&maps), &split.train, none(), sampling).unwrap();
    let mut seen: HashMap<usize, u8> = HashMap::new();
    let mut note = |pixels: &[f32], set: u8| {
        for &pixel in pixels {
            *seen.entry(pixel as usize).or_default() |= 1 << set;
        }
    };
    let mut batch = vec![0.0; training.epoch_len() * SIZE * SIZE];
    for epoch in 0..2 {
        training
            .fill(epoch, 0..training.epoch_len(), &mut batch)
            .unwrap();
        note(&batch, 0);
    }
    for (set, regions) in [(1, &split.validation), (2, &split.test)] {
        // More than there is room for: crops at random positions follow.
        let maps = Arc::clone(&maps);
        let held_out = HeldOutSet::new(maps, regions, none(), SIZE, 200, rules.seed).unwrap();
        note(&held_out.physical().unwrap(), set);
    }
    (split, seen)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_pixel_is_seen_by_two_sets_and_strips_are_a_crop_apart(
        files in prop::collection::vec((1usize..4, 0usize..4), 1..4),
        group in 0usize..4,
        seed in 0u64..1000,
        validation in 0.05f64..0.45,
        test in 0.05f64..0.45,
    ) {
        // Sides: that of the network, a little larger, and as strips need them.
        let sides = [SIZE, SIZE + 3, 5 * SIZE, 7 * SIZE + 5];
        let files: Vec<FileShape> = files
            .into_iter()
            .enumerate()
            .map(|(i, (maps, side))| {
                let maps = if side == 0 { maps * group.max(1) } else { maps };
                file(&format!("{i}.npy"), maps, sides[side])
            })
            .collect();
        let rules = SplitRules {
            crops_per_parent: (group > 0).then_some(group),
            fractions: Fractions { train: 1.0 - validation - test, validation, test },
            seed,
            ..rules(None)
        };
        let possible = match Split::new(&files, &rules) {
            Ok(_) => true,
            Err(DataError::TooFewParents { .. }) => false,
            Err(other) => panic!("{other}"),
        };
        prop_assume!(possible);
        let (split, seen) = pixels_seen(&files, &rules);
        for (pixel, sets) in &seen {
            prop_assert!(sets.count_ones() == 1, "pixel {pixel} of sets {sets:b}: {split:?}");
        }
        for set in 0..3 {
            prop_assert!(seen.values().any(|sets| *sets == 1 << set));
        }
        if let SplitKind::Strips { .. } = split.kind {
            let mut rows: Vec<(usize, usize, u8)> = Vec::new();
            let mut first = 0;
            let mut parent = 0;
            for FileShape { maps, side, .. } in &files {
                for _ in 0..*maps {
                    for y in 0..*side {
                        let start = first + y * side;
                        let sets = (start..start + side).filter_map(|pixel| seen.get(&pixel));
                        rows.extend(sets.max().map(|sets| (parent, y, *sets)));
                    }
                    first += side * side;
                    parent += 1;
                }
            }
            for pair in rows.windows(2) {
                let [(p, y, a), (q, z, b)] = [pair[0], pair[1]];
                prop_assert!(p != q || a == b || z - y > SIZE, "rows {y} and {z} of {p}");
            }
        }
    }

    #[test]
    fn groups_never_straddle_sets(
        group in 1usize..9,
        counts in prop::collection::vec(1usize..40, 1..5),
        seed in 0u64..1000,
    ) {
        let files: Vec<FileShape> = counts
            .iter()
            .map(|count| file("a.npy", count * group, SIZE))
            .collect();
        let total: usize = counts.iter().sum();
        prop_assume!(total >= 3);
        let rules = SplitRules { seed, ..rules(Some(group)) };
        let split = Split::new(&files, &rules).unwrap();
        let mut set_of = vec![usize::MAX; total * group];
        for (set, parents) in parents(&split).into_iter().enumerate() {
            for parent in parents {
                set_of[parent] = set;
            }
        }
        for together in set_of.chunks(group) {
            prop_assert!(together.iter().all(|set| *set == together[0] && *set < 3));
        }
    }
}

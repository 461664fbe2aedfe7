//! Halves of real maps share no parent, and what cannot be compared is refused.

use super::*;
use crate::data::write_npy_header;
use crate::data::write_npy_pixels;

fn file(directory: &tempfile::TempDir, name: &str, maps: usize, side: usize) -> PathBuf {
    let path = directory.path().join(name);
    let mut bytes = Vec::new();
    write_npy_header(&mut bytes, [maps, side, side]).unwrap();
    let pixels: Vec<f32> = (0..maps * side * side)
        .map(|k| (k / (side * side)) as f32)
        .collect();
    write_npy_pixels(&mut bytes, &pixels).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

fn rules(side: usize, crops_per_parent: Option<usize>) -> CropRules {
    CropRules {
        side,
        crops_per_parent,
        seed: 1,
    }
}

fn whole(maps: &Arc<Maps>, side: usize, group: Option<usize>) -> Result<Pool, EvaluateError> {
    Pool::whole("real", maps, "maps".into(), rules(side, group))
}

/// The parents (pixel values) of the maps of a source.
fn values(source: &mut MapSource<'_>) -> Vec<f32> {
    let size = source.side * source.side;
    let mut maps = vec![0.0; source.len() * size];
    source.fill(0..source.len(), &mut maps).unwrap();
    maps.chunks(size).map(|map| map[0]).collect()
}

#[test]
fn halves_share_no_parent_and_crops_of_one_are_one_unit() {
    let directory = tempfile::tempdir().unwrap();
    let path = [file(&directory, "a.npy", 6, 16)];
    let maps = open("real", &path).unwrap();
    let [mut first, mut second] = whole(&maps, 8, None).unwrap().halves(usize::MAX).unwrap();
    assert_eq!((first.len(), second.len()), (12, 12));
    assert!(first.units_known);
    let (a, b) = (values(&mut first), values(&mut second));
    assert!(a.iter().all(|parent| !b.contains(parent)));
    for (value, unit) in a.iter().zip(&first.units) {
        let alike = a
            .iter()
            .zip(&first.units)
            .filter(|(_, other)| *other == unit);
        assert!(alike.clone().count() == 4 && alike.into_iter().all(|(other, _)| other == value));
    }
}

#[test]
fn groups_of_maps_stay_together_and_unknown_parents_are_said_to_be() {
    let directory = tempfile::tempdir().unwrap();
    let path = [file(&directory, "a.npy", 12, 8)];
    let maps = open("real", &path).unwrap();
    let [first, _] = whole(&maps, 8, Some(3))
        .unwrap()
        .halves(usize::MAX)
        .unwrap();
    assert!(first.units_known && first.len() == 6);
    let mut units = first.units.clone();
    units.dedup();
    assert_eq!(units.len(), 2);
    let [mut first, second] = whole(&maps, 8, None).unwrap().halves(100).unwrap();
    assert!(!first.units_known && !second.units_known);
    assert_eq!(values(&mut first), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let error = whole(&maps, 8, Some(5)).unwrap_err();
    assert!(error.to_string().contains("whole groups"), "{error}");
}

#[test]
fn maps_are_picked_one_by_one_and_regions_keep_to_their_rows() {
    let directory = tempfile::tempdir().unwrap();
    let path = [file(&directory, "a.npy", 6, 16)];
    let maps = open("real", &path).unwrap();
    let region = |parent, rows| Region { parent, rows };
    let regions = vec![region(4, 0..16), region(1, 8..16), region(2, 0..16)];
    let pool = Pool::of("real", &maps, "maps".into(), regions, rules(8, None)).unwrap();
    assert_eq!((pool.units(), pool.crops()), (3, 10));
    let mut source = pool.source(9).unwrap();
    assert_eq!(source.len(), 9);
    let all = values(&mut source);
    assert!(all.iter().all(|value| [1.0, 2.0, 4.0].contains(value)));
    let mut picked = vec![0.0; 3 * 64];
    source.pick(&[8, 1, 2], &mut picked).unwrap();
    let picked: Vec<f32> = picked.chunks(64).map(|map| map[0]).collect();
    assert_eq!(picked, [all[8], all[1], all[2]]);
}

#[test]
fn maps_that_are_kept_are_made_once() {
    let made = std::cell::RefCell::new(Vec::new());
    let fill = |indices: &[usize], out: &mut [f32]| {
        made.borrow_mut().extend_from_slice(indices);
        out.iter_mut()
            .zip(indices)
            .for_each(|(to, &map)| *to = map as f32);
        Ok(())
    };
    let units = (0..9).collect();
    let source = MapSource::new("generated", "here".into(), 1, units, Box::new(fill));
    // Room for 5 of them.
    let mut source = source.keep(20);
    let mut out = [0.0; 9];
    for _ in 0..2 {
        source.fill(0..3, &mut out[..3]).unwrap();
        source.fill(3..9, &mut out[3..]).unwrap();
        assert_eq!(out, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    }
    source.pick(&[4, 1], &mut out[..2]).unwrap();
    assert_eq!(out[..2], [4.0, 1.0]);
    drop(source);
    let expected = [0, 1, 2, 3, 4, 5, 6, 7, 8, 3, 4, 5, 6, 7, 8];
    assert_eq!(made.into_inner(), expected);
}

#[test]
fn validation_maps_are_the_second_set_unless_they_are_few() {
    let directory = tempfile::tempdir().unwrap();
    let path = [file(&directory, "a.npy", 12, 8)];
    let maps = open("real", &path).unwrap();
    let pool = |parents: std::ops::Range<usize>| {
        let regions = parents.map(|map| Region::whole(&maps, map)).collect();
        Pool::of("real", &maps, "maps".into(), regions, rules(8, Some(1))).unwrap()
    };
    let [mut first, mut second] = pool(0..6).with_second(pool(6..9), 100).unwrap();
    assert_eq!(values(&mut first), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(values(&mut second), [6.0, 7.0, 8.0]);
    let [mut first, mut second] = pool(0..6).with_second(pool(6..8), 100).unwrap();
    let mut both = [values(&mut first), values(&mut second)].concat();
    both.sort_by(f32::total_cmp);
    assert_eq!(both, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let few = pool(0..2).with_second(pool(2..3), 100).err().unwrap();
    assert!(few.to_string().contains("at least 4 parents"), "{few}");
}

#[test]
fn few_small_and_mixed_maps_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let few = [file(&directory, "few.npy", 3, 8)];
    let maps = open("real", &few).unwrap();
    let refused = |size| {
        let halves = whole(&maps, size, None).and_then(|pool| pool.halves(9));
        halves.err().unwrap().to_string()
    };
    assert!(refused(8).contains("at least 4 parents"), "{}", refused(8));
    assert!(
        refused(16).contains("the generated ones 16"),
        "{}",
        refused(16)
    );
    let mixed = [few[0].clone(), file(&directory, "large.npy", 2, 16)];
    let error = open("real", &mixed).unwrap_err().to_string();
    assert!(error.contains("8 to 16 pixels"), "{error}");
}

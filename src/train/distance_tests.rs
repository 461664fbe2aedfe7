//! Distances of maps that are made and measured piece by piece, and what rows they are made of.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use ndarray::{Array4, Axis, concatenate};
use ndarray_npy::WriteNpyExt;

use super::RunError;
use super::dataset::ComparedSet;
use super::distance::{Distance, RealVectors};
use crate::data::{HeldOutSet, Maps, Region, Transform, Transforms, channel_of};
use crate::stats::{
    ChiSquared, DataVectors, Parents, StatsError, chi_squared, parent_means, pixel_sigma,
};
use crate::testing::{normals, random};

const SIDE: usize = 16;
const SIZE: usize = SIDE * SIDE;

/// Maps `[n, S, S, C]` of cubes of smoothed noise, channel c of amplitude 10^c times `amplitude`:
/// with peaks of all heights.
fn maps(number: u64, count: usize, channels: usize, amplitude: f64) -> Array4<f32> {
    let white = normals(&mut random(number), count * channels * SIZE);
    Array4::from_shape_fn((count, SIDE, SIDE, channels), |(map, y, x, channel)| {
        let at = |y: usize, x: usize| {
            white[(map * channels + channel) * SIZE + y % SIDE * SIDE + x % SIDE]
        };
        let near = at(y, x) + at(y + 1, x) + at(y, x + 1) + at(y + 1, x + 1);
        (amplitude * 10_f64.powi(channel as i32) * near.powi(3)) as f32
    })
}

/// The set of all maps in `file`, each of the parent of its number divided by `per_parent`.
fn compared(file: &Path, real: &Array4<f32>, per_parent: u64, generated: usize) -> ComparedSet {
    real.write_npy(File::create(file).unwrap()).unwrap();
    let maps = Arc::new(Maps::open(&[file.to_owned()]).unwrap());
    let regions: Vec<Region> = (0..maps.len()).map(|m| Region::whole(&maps, m)).collect();
    let transforms = vec![Transform::None {}; maps.channels()];
    let transforms = Transforms::new(transforms).unwrap();
    let set = HeldOutSet::new(maps, &regions, transforms, SIDE, regions.len(), 1).unwrap();
    ComparedSet {
        parents: set.parents().map(|map| map as u64 / per_parent).collect(),
        maps: set,
        generated,
    }
}

fn flat(maps: &Array4<f32>) -> Vec<f32> {
    maps.iter().copied().collect()
}

fn apart(maps: &Array4<f32>) -> Vec<Vec<f32>> {
    let channels = maps.dim().3;
    let of = |channel| channel_of(&flat(maps), channel, channels);
    (0..channels).map(of).collect()
}

fn sigmas(real: &Array4<f32>) -> Vec<f64> {
    apart(real).iter().map(|maps| pixel_sigma(maps)).collect()
}

fn prepared(
    real: &Array4<f32>,
    per_parent: u64,
    generated: usize,
) -> Result<RealVectors, RunError> {
    let directory = tempfile::tempdir().unwrap();
    let set = compared(
        &directory.path().join("real.npy"),
        real,
        per_parent,
        generated,
    );
    RealVectors::new(&set, 3.5, &sigmas(real))
}

fn distance(real: &RealVectors, pieces: &[Array4<f32>]) -> Distance {
    let mut measuring = real.measure();
    for piece in pieces {
        measuring.add(&apart(piece), SIDE).unwrap();
    }
    measuring.finish()
}

/// Of one channel, from the definition.
fn expected(real: &Array4<f32>, generated: &Array4<f32>, block: usize) -> ChiSquared {
    let vectors = DataVectors::new(SIDE, 3.5, sigmas(real)[0]).unwrap();
    let rows = |maps: &Array4<f32>| {
        let vectors = vectors.measure(&flat(maps), 0).unwrap();
        parent_means(vectors.view(), &Parents::blocks(maps.dim().0, block)).unwrap()
    };
    chi_squared(rows(real).view(), rows(generated).view()).unwrap()
}

#[test]
fn pieces_give_the_distance_of_the_whole_and_maps_beyond_the_number_are_left_out() {
    for (per_parent, full) in [(1, true), (4, false)] {
        let real = maps(1, 120, 1, 0.01);
        let made = maps(2, 90, 1, 0.0101);
        let prepared = prepared(&real, per_parent, 80).unwrap();
        let (first, rest) = made.view().split_at(Axis(0), 33);
        let found = distance(&prepared, &[first.to_owned(), rest.to_owned()]);
        let (used, _) = made.view().split_at(Axis(0), 80);
        let expected = expected(&real, &used.to_owned(), per_parent as usize);
        assert_eq!(found.value, expected.value());
        assert_eq!((found.maps, found.against.real_maps), (80, 120));
        assert_eq!(found.against.rows, 120 / per_parent as usize);
        assert_eq!(found.against.elements, expected.bins());
        assert_eq!((found.against.full, found.why.is_none()), (full, full));
        assert_eq!(expected.refusal().is_none(), full);
        let said = prepared.describe();
        let form = if full {
            "full covariance"
        } else {
            "30 parents are too few for a covariance of"
        };
        assert!(said.contains(form), "{said}");
    }
}

#[test]
fn crops_of_fewer_than_four_parents_are_a_row_each_and_fewer_than_four_maps_are_refused() {
    let real = maps(3, 12, 1, 0.01);
    for (per_parent, rows) in [(3, 4), (4, 12), (12, 12)] {
        assert_eq!(prepared(&real, per_parent, 8).unwrap().against().rows, rows);
    }
    let three = prepared(&maps(4, 3, 1, 0.01), 1, 8)
        .map(|_| ())
        .unwrap_err();
    let too_few = matches!(three, RunError::Stats(StatsError::TooFew { got: 3, .. }));
    assert!(too_few, "{three}");
}

#[test]
fn several_channels_are_as_far_as_the_worst_and_all_of_the_same_form() {
    let two = maps(5, 90, 2, 0.01);
    let made = maps(6, 90, 2, 0.01);
    let found = distance(&prepared(&two, 1, 90).unwrap(), std::slice::from_ref(&made));
    assert_eq!(found.channels.len(), 2);
    let larger = found.channels[0].max(found.channels[1]);
    assert_eq!(found.value, larger);
    // In positive maps all pixels are above the lowest thresholds: these elements do not vary.
    let mut positive = two.clone();
    positive.index_axis_mut(Axis(3), 1).mapv_inplace(f32::abs);
    let prepared = prepared(&positive, 1, 90).unwrap();
    assert!(!prepared.against().full, "{}", prepared.describe());
    let mixed = distance(&prepared, &[made]);
    assert_eq!(
        mixed
            .why
            .as_deref()
            .map(|why| why.contains("condition number")),
        Some(true)
    );
    assert_ne!(
        mixed.channels[0], found.channels[0],
        "no longer of the full form"
    );
    assert!(mixed.value == mixed.channels[1] && mixed.value > 10.0 * found.value);
}

#[test]
fn constant_maps_are_infinitely_far_and_pixels_that_are_no_numbers_an_error() {
    let real = prepared(&maps(7, 20, 1, 0.01), 1, 12).unwrap();
    let good = maps(8, 6, 1, 0.01);
    let mut constant = maps(9, 6, 1, 0.01);
    constant.index_axis_mut(Axis(0), 2).fill(0.25);
    let found = distance(&real, &[good.clone(), constant, good.clone()]);
    assert_eq!(found.value, f64::INFINITY);
    let why = found.describe();
    assert!(
        why.contains("no chi-squared: all pixels of map 8 are 0.25"),
        "{why}"
    );
    let text = serde_json::to_string(&found).unwrap();
    assert_eq!(
        serde_json::from_str::<Distance>(&text).unwrap(),
        found,
        "{text}"
    );
    let mut broken = good.clone();
    broken[[3, 1, 1, 0]] = f32::NAN;
    let both = concatenate(Axis(0), &[good.view(), broken.view()]).unwrap();
    let error = real.measure().add(&apart(&both), SIDE).unwrap_err();
    assert!(
        matches!(error, StatsError::NotFinite { map: 9, .. }),
        "{error}"
    );
}

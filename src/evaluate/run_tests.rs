//! Whole evaluations of small synthetic sets.

use super::*;
use crate::data::{FieldKind, Patch, RandomField};
use crate::evaluate::evaluation::Grade;
use crate::evaluate::novelty::Kind;

const SIDE: usize = 64;
const MAPS: usize = 150;

fn field(kind: FieldKind) -> RandomField {
    let patch = Patch {
        pixels: SIDE,
        side_deg: 3.5,
        periodic: true,
    };
    // Like convergence: rms near 0.02.
    RandomField::new(kind, patch, |l| 4e-9 / (1.0 + (l / 700.0).powf(1.6))).unwrap()
}

fn source(set: &'static str, kind: FieldKind, seed: u64, maps: usize) -> MapSource<'static> {
    let field = field(kind);
    let fill = move |indices: &[usize], out: &mut [f32]| {
        for (map, &index) in out.chunks_mut(SIDE * SIDE).zip(indices) {
            field.realise_many(seed, index, map);
        }
        Ok(())
    };
    MapSource::new(
        set,
        "random fields".into(),
        SIDE,
        (0..maps as u64).collect(),
        Box::new(fill),
    )
}

fn request(kind: FieldKind, settings: Settings) -> Request<'static> {
    let real = FieldKind::Lognormal { shift: 0.04 };
    Request {
        real: source("real", real, 1, MAPS),
        second_real: source("second real", real, 2, MAPS),
        generated: source("generated", kind, 3, MAPS),
        compared: MAPS,
        birthday: 4096,
        features: None,
        training: None,
        settings,
        permutations: 499,
        style: PictureStyle::Asinh,
        interpolation: None,
        notes: Vec::new(),
        program: "test".into(),
    }
}

fn settings() -> Settings {
    Settings {
        angle_deg: 3.5,
        l_edges: None,
        smooth_arcmin: None,
        shape_noise: None,
        seed: 1,
        bispectrum: false,
    }
}

fn quiet(_: &'static str, _: usize, _: usize) -> Result<(), EvaluateError> {
    Ok(())
}

fn grade(evaluation: &Evaluation, about: &str) -> Grade {
    let sentences = &evaluation.verdict.sentences;
    let found = sentences
        .iter()
        .find(|sentence| sentence.about.contains(about));
    found
        .unwrap_or_else(|| panic!("nothing about {about}"))
        .grade
}

#[test]
fn more_of_the_same_agrees_and_gaussian_fields_of_the_same_power_fail_where_they_should() {
    let same = evaluate(
        request(FieldKind::Lognormal { shift: 0.04 }, settings()),
        &quiet,
    )
    .unwrap();
    println!("{:#?}", same.evaluation.verdict);
    assert!(
        same.evaluation
            .verdict
            .sentences
            .iter()
            .all(|s| s.grade != Grade::Fails)
    );
    let gaussian = evaluate(request(FieldKind::Gaussian, settings()), &quiet).unwrap();
    println!("{:#?}", gaussian.evaluation.verdict);
    let grade = |about| grade(&gaussian.evaluation, about);
    assert_eq!(grade("the mean power spectrum"), Grade::Agrees);
    assert_eq!(grade("covariance"), Grade::Fails);
    assert_eq!(grade("the Minkowski functionals"), Grade::Fails);
    assert_eq!(grade("the peak counts"), Grade::Fails);
    assert_eq!(grade("pixels"), Grade::Fails);
    let said = &gaussian.evaluation.verdict.headline;
    assert!(
        said.starts_with("The generated maps fail in part"),
        "{said}"
    );
    let covariance = gaussian.evaluation.covariance.as_ref().unwrap();
    let floor = covariance.second_real_against_real.largest_eigenvalue_ratio;
    assert!((0.4..2.5).contains(&floor), "{floor}");
    println!("{covariance:?}");
    let wide = gaussian
        .evaluation
        .statistic("power_spectrum_wide")
        .unwrap();
    let last = wide.generated_against_real.scatter.effect.last().unwrap();
    assert!(last.unwrap() < 0.8, "{last:?}");
}

/// All pixels of a set, sorted to compare with.
fn pixels(set: &'static str, kind: FieldKind, seed: u64) -> Vec<f32> {
    let mut pixels = vec![0.0; MAPS * SIDE * SIDE];
    let mut source = source(set, kind, seed, MAPS);
    source.fill(0..MAPS, &mut pixels).unwrap();
    pixels
}

#[test]
fn the_distance_of_pixels_is_exact_and_p_values_of_both_kinds_agree() {
    let lognormal = FieldKind::Lognormal { shift: 0.04 };
    let found = evaluate(request(FieldKind::Gaussian, settings()), &quiet).unwrap();
    let found = found.evaluation;
    let real = pixels("real", lognormal, 1);
    let d = |other: &[f32]| crate::stats::ks_statistic(&real, other).unwrap();
    assert_eq!(
        found.pixels.d,
        d(&pixels("generated", FieldKind::Gaussian, 3))
    );
    assert_eq!(
        found.pixels.floor_d,
        d(&pixels("second real", lognormal, 2))
    );
    assert!(found.pixels.floor_d < 0.3 * found.pixels.d);
    let spectrum = found.statistic("power_spectrum").unwrap();
    let floor = &spectrum.second_real_against_real;
    let pairs = floor.ks.p.iter().zip(&floor.bootstrap.ks);
    let pairs = pairs.chain(floor.ad.p.iter().zip(&floor.bootstrap.ad));
    let mut both = 0;
    for (permuted, bootstrapped) in pairs {
        assert_eq!(permuted.is_some(), bootstrapped.is_some());
        if let (Some(a), Some(b)) = (permuted, bootstrapped) {
            assert!((a - b).abs() < 0.15, "{a} {b}");
            both += 1;
        }
    }
    assert!(both > 40, "{both}");
    let counts = &found.paper_counts;
    assert_eq!(counts.len(), 10);
    assert!(
        counts
            .iter()
            .all(|c| c.generated.iter().sum::<usize>() == c.tested)
    );
    // The functionals of Gaussian fields are wrong nearly everywhere: hardly any p-value is high.
    let minkowski = counts
        .iter()
        .find(|c| c.about.contains("Minkowski"))
        .unwrap();
    assert!(
        minkowski.generated[3] > 2 * minkowski.second_real[3],
        "{minkowski:?}"
    );
}

#[test]
fn a_map_that_comes_twice_is_found_by_every_kind_of_distance() {
    let lognormal = FieldKind::Lognormal { shift: 0.04 };
    let features = || Features {
        len: 4,
        words: "means of quadrants".into(),
        of: Box::new(|maps, out| {
            for (map, out) in maps.chunks(SIDE * SIDE).zip(out.chunks_mut(4)) {
                out.fill(0.0);
                for (pixel, value) in map.iter().enumerate() {
                    let (y, x) = (2 * pixel / SIDE / SIDE, 2 * (pixel % SIDE) / SIDE);
                    out[2 * y + x] += value;
                }
            }
            Ok(())
        }),
    };
    let evaluated = |twice: bool| {
        let mut request = request(lognormal, settings());
        (request.compared, request.birthday) = (40, 120);
        request.features = Some(features());
        let mut inner = source("generated", lognormal, 3, MAPS);
        // Map 110, which is not among those compared, is map 7 with a little noise on top.
        let fill = move |indices: &[usize], out: &mut [f32]| {
            let twin = |index: &usize| if twice && *index == 110 { 7 } else { *index };
            let real: Vec<usize> = indices.iter().map(twin).collect();
            inner.pick(&real, out)?;
            for (map, &index) in out.chunks_mut(SIDE * SIDE).zip(indices) {
                if index == 110 {
                    map.iter_mut().step_by(3).for_each(|v| *v += 1e-6);
                }
            }
            Ok(())
        };
        let units = (0..MAPS as u64).collect();
        let fill = Box::new(fill);
        request.generated = MapSource::new("generated", "twins".into(), SIDE, units, fill);
        evaluate(request, &quiet).unwrap().evaluation
    };
    let found = evaluated(true);
    let novelty = found.novelty.as_ref().unwrap();
    assert_eq!(found.generated.maps, 40);
    assert_eq!(novelty.pairs.len(), 3);
    for pairs in &novelty.pairs {
        assert_eq!((pairs.maps, pairs.real_maps), (120, 120), "{pairs:?}");
        let closest = pairs.closest[0];
        assert_eq!((closest.first, closest.second), (7, 110), "{pairs:?}");
        assert!(closest.distance < 0.1 * pairs.real_least(), "{pairs:?}");
        assert!(
            pairs
                .closest
                .windows(2)
                .all(|w| w[0].distance <= w[1].distance)
        );
    }
    let pixels = novelty.pairs_by(Kind::Pixels).unwrap();
    assert!(pixels.complete_below.unwrap() > 0.1, "{pixels:?}");
    assert_eq!(grade(&found, "novelty"), Grade::Fails);
    let honest = evaluated(false);
    assert_eq!(
        grade(&honest, "novelty"),
        Grade::Agrees,
        "{:#?}",
        honest.novelty
    );
}

#[test]
fn what_is_written_is_complete_and_the_same_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut texts = Vec::new();
    for name in ["a", "b"] {
        let mut small = request(
            FieldKind::Gaussian,
            Settings {
                smooth_arcmin: Some(3.0),
                shape_noise: Some(30.0),
                l_edges: Some(vec![1.0, 50.0, 500.0, 1500.0, 3000.0]),
                ..settings()
            },
        );
        small.real.truncate(24);
        small.second_real.truncate(24);
        small.compared = 24;
        small.permutations = 99;
        // Other maps than those that it makes.
        let lognormal = FieldKind::Lognormal { shift: 0.04 };
        small.training = Some(source("training", lognormal, 4, 50));
        let outcome = evaluate(small, &quiet).unwrap();
        // No mode lies below l = 50.
        let spectrum = outcome.evaluation.statistic("power_spectrum").unwrap();
        assert!(spectrum.bins[0].empty && spectrum.generated_against_real.ks.p[0].is_none());
        let novelty = outcome.evaluation.novelty.as_ref().unwrap();
        let nearest = novelty.nearest.as_ref().unwrap();
        let by_pixels = nearest.kind(Kind::Pixels).unwrap();
        assert!(
            by_pixels.training_maps == 50 && by_pixels.smallest > 0.5,
            "{novelty:?}"
        );
        let there = directory.path().join(name);
        let page = outcome.write(&there).unwrap();
        for file in [
            "figures/01-maps.png",
            "figures/03-power-spectrum.svg",
            "arrays.npz",
        ] {
            assert!(there.join(file).is_file(), "{file}");
        }
        let html = fs::read_to_string(page).unwrap();
        assert!(
            html.contains("empty, not tested") && !html.contains(">NaN") && !html.contains("NaN<")
        );
        texts.push((
            html,
            fs::read_to_string(there.join("statistics.json")).unwrap(),
        ));
    }
    assert!(texts[0] == texts[1]);
    let read: Evaluation = serde_json::from_str(&texts[0].1).unwrap();
    assert_eq!(read.real.maps, 24);
}

#[test]
fn constant_maps_and_what_is_not_finite_are_named() {
    for (value, words) in [(0.25, "constant"), (f32::NAN, "finite")] {
        let mut bad = request(FieldKind::Gaussian, settings());
        let fill = move |indices: &[usize], out: &mut [f32]| {
            for (map, &number) in out.chunks_mut(SIDE * SIDE).zip(indices) {
                map.fill(value);
                if number != 7 {
                    map[0] = 0.5;
                    map.iter_mut()
                        .for_each(|v| *v = if v.is_nan() { 0.1 } else { *v });
                }
            }
            Ok(())
        };
        let units = (0..20).collect();
        bad.generated = MapSource::new("generated", "g.npy".into(), SIDE, units, Box::new(fill));
        let error = evaluate(bad, &quiet).err().unwrap().to_string();
        assert!(
            error.contains("generated") && error.contains("map 7"),
            "{error}"
        );
        assert!(error.contains(words), "{error}");
    }
    let mut few = request(FieldKind::Gaussian, settings());
    few.compared = 3;
    assert!(
        evaluate(few, &quiet)
            .err()
            .unwrap()
            .to_string()
            .contains("too few")
    );
}

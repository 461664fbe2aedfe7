//! Whole evaluations of small synthetic sets.

use super::*;
use crate::data::{FieldKind, Patch, RandomField};
use crate::evaluate::evaluation::Grade;

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
        small.generated.truncate(24);
        small.permutations = 99;
        // Other maps than those that it makes.
        let lognormal = FieldKind::Lognormal { shift: 0.04 };
        small.training = Some(source("training", lognormal, 4, 50));
        let outcome = evaluate(small, &quiet).unwrap();
        // No mode lies below l = 50.
        let spectrum = outcome.evaluation.statistic("power_spectrum").unwrap();
        assert!(spectrum.bins[0].empty && spectrum.generated_against_real.ks.p[0].is_none());
        let novelty = outcome.evaluation.novelty.as_ref().unwrap();
        assert!(
            novelty.training_maps == 50 && novelty.nearest_smallest > 0.5,
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
    few.generated.truncate(3);
    assert!(
        evaluate(few, &quiet)
            .err()
            .unwrap()
            .to_string()
            .contains("too few")
    );
}

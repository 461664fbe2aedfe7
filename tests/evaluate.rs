//! `cosmogan evaluate` and `cosmogan interpolate` as a user meets them.

mod common;

use std::fs;
use std::path::Path;

use common::{Outcome, outcome, program, write_maps, write_npy};
use ndarray::Array3;
use ndarray_npy::ReadNpyExt;

fn cosmogan(directory: &Path, words: &str) -> Outcome {
    let mut command = program(directory);
    outcome(command.args(words.split_whitespace()))
}

#[track_caller]
fn done(directory: &Path, words: &str) -> String {
    let outcome = cosmogan(directory, words);
    assert_eq!(outcome.status, Some(0), "{words}: {outcome:?}");
    outcome.stdout
}

/// What `evaluate` says to wrong input; nothing is written.
#[track_caller]
fn refused(directory: &Path, words: &str, parts: &[&str]) {
    let outcome = cosmogan(directory, &format!("evaluate --out report {words}"));
    assert_eq!(outcome.status, Some(1), "{words}: {outcome:?}");
    for part in parts {
        assert!(
            outcome.stderr.contains(part),
            "{words}: {} lacks {part}",
            outcome.stderr
        );
    }
    assert!(!directory.join("report").exists(), "{words}");
}

fn synthesize(directory: &Path, kind: &str, count: usize, seed: usize, name: &str) {
    let words = format!(
        "synthesize --pixels 32 --angle 1.75 --kind {kind} --count {count} --seed {seed} --out {name}"
    );
    done(directory, &words);
}

#[test]
fn gaussian_maps_are_told_from_lognormal_ones_in_the_first_lines() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    synthesize(d, "lognormal", 400, 1, "real.npy");
    synthesize(d, "gaussian", 200, 2, "gaussian.npy");
    let words = "evaluate --real real.npy --crops-per-parent 1 --generated gaussian.npy --permutations 199 \
                 --out report";
    let said = done(d, words);
    let first = said.lines().next().unwrap();
    assert!(
        first.starts_with("The generated maps fail in part"),
        "{said}"
    );
    for (word, about) in [
        ("agrees", "Mean power"),
        ("DIFFERS", "Minkowski"),
        ("DIFFERS", "Peak"),
    ] {
        let line = said
            .lines()
            .skip(1)
            .find(|line| line.contains(about))
            .unwrap();
        assert!(line.contains(word), "{said}");
    }
    let page = fs::read_to_string(d.join("report/report.html")).unwrap();
    let headline = page.find("class=\"headline\"").unwrap();
    assert!(page[headline..].contains("fail in part"));
    for outside in ["http://", "https://", "<script", "<link"] {
        // The name space of pictures is inside of what is encoded.
        assert!(!page.contains(outside), "{outside}");
    }
    let text = fs::read_to_string(d.join("report/statistics.json")).unwrap();
    let numbers: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(numbers["real"]["maps"], 200);
    assert_eq!(numbers["angle_deg"], 1.75);
    for name in [
        "01-maps",
        "02-pixels",
        "03-power-spectrum",
        "04-correlations",
        "05-minkowski",
    ] {
        for ending in ["png", "svg"] {
            let path = d.join(format!("report/figures/{name}.{ending}"));
            assert!(path.is_file(), "{}", path.display());
        }
    }
    let file = fs::File::open(d.join("report/arrays.npz")).unwrap();
    let mut arrays = ndarray_npy::NpzReader::new(file).unwrap();
    let power: ndarray::Array2<f64> = arrays.by_name("generated_power_spectrum").unwrap();
    assert_eq!(power.dim(), (200, 16));
}

#[test]
fn a_checkpoint_is_evaluated_and_walked_through() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    write_maps(&d.join("maps.npy"), 60, 16);
    let train = "train --size 16 --layers 2 --base 4 --latent 8 --batch 4 --validation-maps 8 --steps 3 \
                 --angle 1 --data maps.npy --crops-per-parent 1 --out run";
    done(d, train);
    let said = done(
        d,
        "evaluate --checkpoint run --permutations 99 --birthday 64 --out report",
    );
    assert!(
        said.contains("its test maps (9 crops of 9 parents)"),
        "{said}"
    );
    assert!(
        said.contains("its validation maps (9 crops of 9 parents)"),
        "{said}"
    );
    assert!(
        said.contains("the run's own training maps (42 crops"),
        "{said}"
    );
    assert!(said.contains("Novelty"), "{said}");
    let found = numbers(d, "report");
    let pairs = found["novelty"]["pairs"].as_array().unwrap();
    let kinds: Vec<&str> = pairs.iter().map(|p| p["kind"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["pixels", "power_spectrum", "discriminator_features"]
    );
    assert!(pairs.iter().all(|pairs| pairs["maps"] == 64), "{pairs:?}");
    let nearest = found["novelty"]["nearest"]["kinds"].as_array().unwrap();
    assert_eq!(nearest.len(), 3);
    assert!(
        nearest.iter().all(|kind| kind["training_maps"] == 42),
        "{nearest:?}"
    );
    let page = fs::read_to_string(d.join("report/report.html")).unwrap();
    assert!(page.contains("<h2>Counted as in the paper</h2>"));
    assert!(page.contains("<h2>Pairs that are most alike</h2>"));
    assert!(
        page.contains("<h2>Interpolation</h2>") && page.contains("<h2>Nearest training maps</h2>")
    );
    for name in ["walk.png", "walk.svg", "walk.npy"] {
        done(
            d,
            &format!("interpolate --checkpoint run --strips 2 --frames 3 --out {name}"),
        );
    }
    done(d, "generate --checkpoint run --count 2 --out ends.npy");
    let read = |name| Array3::<f32>::read_npy(fs::File::open(d.join(name)).unwrap()).unwrap();
    let (walk, ends) = (read("walk.npy"), read("ends.npy"));
    assert_eq!(walk.dim(), (6, 16, 16));
    for (frame, end) in [(0, 0), (2, 1)] {
        let (a, b) = (
            walk.index_axis(ndarray::Axis(0), frame),
            ends.index_axis(ndarray::Axis(0), end),
        );
        let worst = a
            .iter()
            .zip(b)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(worst < 1e-6, "{worst}");
    }
}

/// The numbers of an evaluation.
fn numbers(directory: &Path, report: &str) -> serde_json::Value {
    let text = fs::read_to_string(directory.join(report).join("statistics.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_generator_is_never_judged_by_what_it_was_trained_on() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let train = "train --size 16 --layers 2 --base 4 --latent 8 --batch 4 --validation-maps 4 --steps 2 \
                 --angle 1";
    write_maps(&d.join("maps.npy"), 60, 16);
    write_maps(&d.join("new.npy"), 30, 16);
    done(
        d,
        &format!("{train} --data maps.npy --crops-per-parent 1 --out run"),
    );
    // The very file that was trained on, beside one that was not.
    let words = "evaluate --checkpoint run --real maps.npy --crops-per-parent 1 --permutations 99 --out mixed";
    let said = done(d, words);
    assert!(
        said.contains("42 were trained on and are left out, 9 are its test maps, 9 its validation"),
        "{said}"
    );
    let mixed = numbers(d, "mixed");
    assert_eq!(
        (&mixed["real"]["maps"], &mixed["second_real"]["maps"]),
        (&9.into(), &9.into())
    );
    // The same maps as those that are taken where none are named.
    done(d, "evaluate --checkpoint run --permutations 99 --out own");
    assert_eq!(numbers(d, "own")["sigma"], mixed["sigma"]);
    let said = done(
        d,
        "evaluate --checkpoint run --real new.npy --crops-per-parent 1 --permutations 99 --out new",
    );
    assert!(!said.contains("left out"), "{said}");
    assert_eq!(numbers(d, "new")["real"]["maps"], 15);
    // A checkpoint that was taken out of its run knows its maps, and only its maps.
    fs::create_dir(d.join("away")).unwrap();
    let best: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(d.join("run/best.json")).unwrap()).unwrap();
    let name = best["checkpoint"].as_str().unwrap();
    fs::copy(
        d.join("run/checkpoints").join(name),
        d.join("away/g.safetensors"),
    )
    .unwrap();
    let away = "evaluate --checkpoint away/g.safetensors --permutations 99 --out away/report";
    assert!(done(d, away).contains("its test maps (9 crops of 9 parents)"));
    // Files of training maps alone.
    for map in 0..8 {
        write_npy(&d.join(format!("one-{map}.npy")), 1, 16, |_, y, x| {
            ((map + 3) * (y * y + x * x * x) % 31) as f32 * 1e-3
        });
    }
    done(d, &format!("{train} --data one-*.npy --out run-of-files"));
    let split: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(d.join("run-of-files/split.json")).unwrap())
            .unwrap();
    let trained: Vec<&str> = split["train"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| {
            let file = part["file"].as_u64().unwrap() as usize;
            split["files"][file]["path"].as_str().unwrap()
        })
        .collect();
    assert!(trained.len() >= 4, "{trained:?}");
    let words = format!(
        "--checkpoint run-of-files --permutations 99 --real {}",
        trained.join(" ")
    );
    refused(d, &words, &["was trained on all", "Leave out --real"]);
    // A run whose maps are gone.
    fs::remove_file(d.join("maps.npy")).unwrap();
    refused(
        d,
        "--checkpoint run",
        &["give --real", "cannot be had", "maps.npy"],
    );
    fs::remove_dir_all(d.join("new")).unwrap();
    let said = done(
        d,
        "evaluate --checkpoint run --real new.npy --crops-per-parent 1 --permutations 99 --out new",
    );
    assert!(
        said.contains("No copies of training maps were looked for"),
        "{said}"
    );
}

#[test]
fn wrong_input_is_named_and_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    write_maps(&d.join("real.npy"), 20, 16);
    write_maps(&d.join("made.npy"), 20, 16);
    write_maps(&d.join("large.npy"), 20, 32);
    write_maps(&d.join("few.npy"), 3, 16);
    write_npy(&d.join("flat.npy"), 20, 16, |_, _, _| 0.25);
    write_npy(&d.join("nan.npy"), 20, 16, |map, y, x| match (map, y, x) {
        (7, 2, 3) => f32::NAN,
        _ => (map * 17 + y * y + x * x * x) as f32 * 1e-3,
    });
    let angle = "--angle 1 --permutations 19";
    let made = "--generated made.npy";
    refused(d, "--real real.npy --generated made.npy", &["--angle"]);
    refused(
        d,
        &format!("--real real.npy {made} --angle 0"),
        &["--angle is 0"],
    );
    refused(
        d,
        &format!("--real real.npy {made} --angle 1 --smooth -2"),
        &["--smooth"],
    );
    refused(d, &format!("--real gone.npy {made} {angle}"), &["gone.npy"]);
    refused(
        d,
        &format!("--real few.npy {made} {angle}"),
        &["at least 4 parents", "few.npy"],
    );
    refused(
        d,
        &format!("--real real.npy --generated few.npy {angle}"),
        &["too few"],
    );
    refused(
        d,
        &format!("--real real.npy large.npy {made} {angle}"),
        &["16 to 32 pixels"],
    );
    refused(
        d,
        &format!("--real real.npy --generated large.npy {angle}"),
        &["16 pixels", "32"],
    );
    let flat = format!("--real real.npy --generated flat.npy {angle}");
    refused(d, &flat, &["flat.npy", "map 0", "constant"]);
    let nan = format!("--real nan.npy {made} {angle}");
    refused(d, &nan, &["nan.npy", "map 7", "row 2", "column 3"]);
    fs::write(d.join("made.npy.json"), "{\"side_deg\": 2}").unwrap();
    refused(
        d,
        &format!("--real real.npy {made} {angle}"),
        &["degrees a pixel", "cannot be compared"],
    );
    let groups = format!("--real real.npy {made} --angle 2 --crops-per-parent 7");
    refused(d, &groups, &["--crops-per-parent 7"]);
}

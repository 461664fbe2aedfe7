//! How maps are split and checked, as a user meets it: real invocations on maps of all kinds.

mod common;

use std::fs::File;
use std::path::Path;

use common::{Outcome, outcome, program, write_maps, write_npy};
use cosmogan::train::{CheckpointFile, locate, transform_of};
use ndarray::{Array4, Axis};
use ndarray_npy::{ReadNpyExt, WriteNpyExt};
use serde_json::Value;
use tempfile::TempDir;

/// A small network, and few maps to judge it by.
const SMALL: &str = "--size 16 --layers 2 --base 4 --latent 8 --batch 4 --validation-maps 8";
/// A run of 4 steps.
const SHORT: &str = "--steps 4 --log-every 1 --checkpoint-every 1 --validation-every 2 \
                     --sample-every 0";

fn place() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn train(place: &TempDir, words: &str) -> Outcome {
    let mut command = program(place.path());
    outcome(command.arg("train").args(words.split_whitespace()))
}

/// A run that should reach its end; what it said, and the record of its split.
fn trained(place: &TempDir, words: &str) -> (Outcome, Value) {
    let outcome = train(place, &format!("{SMALL} {SHORT} --out run {words}"));
    assert_eq!(outcome.status, Some(0), "{words}: {outcome:?}");
    let text = std::fs::read_to_string(place.path().join("run/split.json")).unwrap();
    (outcome, serde_json::from_str(&text).unwrap())
}

/// The ranges that a set's record names, such as `0..3`, by `key`: maps or rows.
fn ranges(record: &Value, set: &str, key: &str) -> Vec<(usize, usize)> {
    let parts = record[set].as_array().unwrap().iter();
    let ranges = parts.map(|part| {
        let (start, end) = part[key].as_str().unwrap().split_once("..").unwrap();
        (start.parse().unwrap(), end.parse().unwrap())
    });
    ranges.collect()
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text} lacks {part}");
    }
}

#[test]
fn one_big_map_is_cut_into_strips_and_that_is_said_and_recorded() {
    let place = place();
    write_maps(&place.path().join("sky.npy"), 1, 120);
    let (outcome, record) = trained(&place, "--data sky.npy");
    has(
        &outcome.stderr,
        &[
            "warning: there are only 1 parent map(s)",
            "16 pixels",
            "0..56 train",
        ],
    );
    has(
        &outcome.stdout,
        &["split by strips of rows: 0..56 train, 72..88 validate, 104..120 test"],
    );
    assert_eq!(record["kind"], "strips");
    assert_eq!(ranges(&record, "train", "rows"), [(0, 56)]);
    assert_eq!(ranges(&record, "validation", "rows"), [(72, 88)]);
    assert_eq!(ranges(&record, "test", "rows"), [(104, 120)]);
}

#[test]
fn two_maps_are_both_cut_and_too_small_ones_are_refused_with_the_arithmetic() {
    let place = place();
    write_maps(&place.path().join("two.npy"), 2, 90);
    let (outcome, record) = trained(&place, "--data two.npy");
    has(
        &outcome.stderr,
        &["warning: there are only 2 parent map(s)"],
    );
    for (set, rows) in [
        ("train", (0, 26)),
        ("validation", (42, 58)),
        ("test", (74, 90)),
    ] {
        assert_eq!(ranges(&record, set, "maps"), [(0, 2)]);
        assert_eq!(ranges(&record, set, "rows"), [rows]);
    }
    write_maps(&place.path().join("small.npy"), 2, 79);
    let refused = train(&place, &format!("{SMALL} --out other --data small.npy"));
    assert_eq!(refused.status, Some(1), "{refused:?}");
    has(
        &refused.stderr,
        &["small.npy have 79", "5 x 16 = 80 pixels"],
    );
    assert!(!place.path().join("other").exists());
}

#[test]
fn crops_cut_beforehand_are_split_in_file_order_or_by_groups_as_is_said() {
    let place = place();
    write_maps(&place.path().join("crops.npy"), 40, 16);
    let (blocks, record) = trained(&place, "--data crops.npy");
    let warning = [
        "warning: ",
        "crops.npy holds 40 maps of exactly the network's size",
        "the first 28 maps train, the next 6 validate, the last 6 test",
        "--crops-per-parent K",
    ];
    has(&blocks.stderr, &warning);
    assert_eq!(record["kind"], "blocks");
    assert_eq!(ranges(&record, "train", "maps"), [(0, 28)]);
    assert_eq!(ranges(&record, "validation", "maps"), [(28, 34)]);
    assert_eq!(ranges(&record, "test", "maps"), [(34, 40)]);

    std::fs::remove_dir_all(place.path().join("run")).unwrap();
    let (groups, record) = trained(&place, "--data crops.npy --crops-per-parent 4");
    assert!(!groups.stderr.contains("warning"), "{groups:?}");
    has(
        &groups.stdout,
        &["split by parent, of each 4 consecutive maps: 24 maps train"],
    );
    assert_eq!(record["kind"], "groups");
    let mut all = Vec::new();
    for set in ["train", "validation", "test"] {
        let found = ranges(&record, set, "maps");
        for (start, end) in &found {
            assert!(start % 4 == 0 && end % 4 == 0, "{set}: {found:?}");
        }
        all.extend(found.into_iter().flat_map(|(start, end)| start..end));
    }
    all.sort_unstable();
    assert!(all.into_iter().eq(0..40));

    std::fs::remove_dir_all(place.path().join("run")).unwrap();
    let (each, record) = trained(&place, "--data crops.npy --crops-per-parent 1");
    assert!(!each.stderr.contains("warning"), "{each:?}");
    assert_eq!(record["kind"], "parents");

    let words = format!("{SMALL} --out other --data crops.npy --crops-per-parent 6");
    let refused = train(&place, &words);
    assert_eq!(refused.status, Some(1), "{refused:?}");
    has(
        &refused.stderr,
        &["crops.npy holds 40", "data.crops_per_parent = 6"],
    );
}

/// Maps of 24 pixels; the named pixels are NaN.
fn write_with_nan(path: &Path, nan: &[(usize, usize, usize)]) {
    write_npy(path, 8, 24, |map, y, x| {
        if nan.contains(&(map, y, x)) {
            return f32::NAN;
        }
        0.02 * (0.7 * y as f32 + map as f32).sin() * (0.3 * x as f32 + map as f32).cos()
    });
}

#[test]
fn beyond_the_budget_pixels_are_checked_when_drawn_and_a_run_can_go_on_once_they_are_right() {
    let place = place();
    let maps = place.path().join("maps.npy");
    std::fs::write(place.path().join("few.toml"), "[data]\nscan_pixels = 200\n").unwrap();
    let few = "--config few.toml --data maps.npy --crops-per-parent 3";

    write_with_nan(&maps, &[]);
    let (clean, record) = trained(&place, few);
    has(
        &clean.stdout,
        &["million training pixels, spread evenly", "--check-data"],
    );
    assert!(!clean.stderr.contains("checking maps"), "{clean:?}");
    std::fs::remove_dir_all(place.path().join("run")).unwrap();
    let (checked, _) = trained(&place, &format!("{few} --check-data"));
    has(&checked.stdout, &["all of them were checked"]);
    has(&checked.stderr, &["checking maps: 8/8"]);
    std::fs::remove_dir_all(place.path().join("run")).unwrap();

    // A corner, which only one in 81 crops of its map holds.
    let bad = ranges(&record, "train", "maps")[0].0;
    write_with_nan(&maps, &[(bad, 23, 0)]);
    let place_of_it = format!("maps.npy: map {bad}, row 23, column 0 is NaN");
    let words =
        format!("{SMALL} --out run {few} --steps 3000 --checkpoint-every 0 --validation-every 0");
    let early = train(&place, &format!("{words} --check-data"));
    assert_eq!(early.status, Some(1), "{early:?}");
    has(&early.stderr, &[&place_of_it]);
    assert!(!place.path().join("run").exists());

    let stopped = train(&place, &words);
    assert_eq!(stopped.status, Some(1), "{stopped:?}");
    has(
        &stopped.stderr,
        &[&place_of_it, "which is saved", "--resume run"],
    );
    let saved: Vec<_> = std::fs::read_dir(place.path().join("run/checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let [saved] = &saved[..] else {
        panic!("{saved:?}")
    };
    let step: u64 = saved["step-".len()..][..8].parse().unwrap();
    has(&stopped.stderr, &[&format!("after step {step},")]);

    let again = train(&place, "--resume run");
    assert_eq!(again.status, Some(1), "{again:?}");
    has(&again.stderr, &[&place_of_it]);
    write_with_nan(&maps, &[]);
    let total = step + 2;
    let resumed = train(&place, &format!("--resume run --steps {total}"));
    assert_eq!(resumed.status, Some(0), "{resumed:?}");
    has(
        &resumed.stdout,
        &[&format!("training from step {step} to step {total}")],
    );
}

#[test]
fn maps_to_test_on_are_read_before_training_begins() {
    let place = place();
    let maps = place.path().join("maps.npy");
    std::fs::write(place.path().join("few.toml"), "[data]\nscan_pixels = 200\n").unwrap();
    write_with_nan(&maps, &[]);
    let (_, record) = trained(&place, "--config few.toml --data maps.npy");
    std::fs::remove_dir_all(place.path().join("run")).unwrap();
    let test = ranges(&record, "test", "maps")[0].0;
    // The middle, which is in every crop.
    write_with_nan(&maps, &[(test, 12, 12)]);
    let refused = train(
        &place,
        &format!("{SMALL} --out run --config few.toml --data maps.npy"),
    );
    assert_eq!(refused.status, Some(1), "{refused:?}");
    has(
        &refused.stderr,
        &[&format!("map {test}, row 12, column 12 is NaN")],
    );
    assert!(!place.path().join("run").exists());
}

#[test]
fn a_run_whose_files_have_changed_does_not_go_on() {
    let place = place();
    let maps = place.path().join("maps.npy");
    write_maps(&maps, 8, 24);
    trained(&place, "--data maps.npy");
    write_maps(&maps, 9, 24);
    let refused = train(&place, "--resume run --steps 6");
    assert_eq!(refused.status, Some(1), "{refused:?}");
    has(
        &refused.stderr,
        &[
            "split.json",
            "maps.npy (8 maps",
            "now maps.npy (9 maps",
            "start a new one",
        ],
    );
    write_maps(&maps, 8, 24);
    let resumed = train(&place, "--resume run --steps 6");
    assert_eq!(resumed.status, Some(0), "{resumed:?}");
}

/// Maps `[n, 24, 24, 3]` whose channels differ by factors of 100.
fn write_three_channels(path: &Path, maps: usize) {
    let array = Array4::from_shape_fn((maps, 24, 24, 3), |(map, y, x, channel)| {
        let (map, y, x) = (map as f32, y as f32, x as f32);
        let wave = (0.7 * y + map + channel as f32).sin() * (0.3 * x + map).cos();
        (wave + 0.3 * (x * y * (map + 1.0)).sin() + 1.5) * 100f32.powi(channel as i32)
    });
    array.write_npy(File::create(path).unwrap()).unwrap();
}

#[test]
fn maps_of_three_channels_train_each_with_its_own_transform_score_and_pictures() {
    let place = place();
    write_three_channels(&place.path().join("slices.npy"), 8);
    let (outcome, _) = trained(&place, "--data slices.npy --channels 3");
    has(
        &outcome.stdout,
        &[
            "channel 0 log:",
            "channel 2 log:",
            "channel 2   ",
            "white noise",
        ],
    );
    let run = place.path().join("run");
    for picture in ["samples", "comparison", "samples/step-00000004"] {
        for channel in 0..3 {
            let file = run.join(format!("{picture}-channel-{channel}.png"));
            assert!(file.is_file(), "{}", file.display());
        }
        assert!(!run.join(format!("{picture}.png")).exists());
    }
    let summary = std::fs::read_to_string(run.join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let generated = &summary["test"]["generated"];
    let scores = generated["channels"].as_array().unwrap().iter();
    let scores: Vec<f64> = scores.map(|c| c["score"].as_f64().unwrap()).collect();
    assert_eq!(scores.len(), 3);
    let worst = scores.into_iter().fold(0.0, f64::max);
    assert_eq!(generated["score"].as_f64(), Some(worst));
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let mut lines = metrics
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let validation = lines.find(|line: &Value| line["kind"] == "validation");
    let distance = &validation.unwrap()["chi_squared"];
    let values = distance["channels"].as_array().unwrap().iter();
    let values: Vec<f64> = values.map(|value| value.as_f64().unwrap()).collect();
    assert_eq!(values.len(), 3);
    let worst = values.into_iter().fold(0.0, f64::max);
    assert_eq!(distance["value"].as_f64(), Some(worst));

    let checkpoint = CheckpointFile::open(&locate(&run).unwrap().path).unwrap();
    let transforms = transform_of(checkpoint.description()).unwrap();
    assert_eq!(transforms.len(), 3);
    // What is in the middle of the range comes back in each channel's own units.
    let mut middle = [0.0; 3];
    transforms.inverse(&mut middle);
    for (channel, value) in middle.into_iter().enumerate() {
        let unit = 100f32.powi(channel as i32);
        assert!((0.2 * unit..3.0 * unit).contains(&value), "{middle:?}");
    }
    let resumed = train(&place, "--resume run --steps 6");
    assert_eq!(resumed.status, Some(0), "{resumed:?}");

    let words = "generate --checkpoint run --count 5 --out made.npy";
    let generated = common::outcome(program(place.path()).args(words.split_whitespace()));
    assert_eq!(generated.status, Some(0), "{generated:?}");
    let made = Array4::<f32>::read_npy(File::open(place.path().join("made.npy")).unwrap()).unwrap();
    assert_eq!(made.dim(), (5, 16, 16, 3));
    for (channel, maps) in made.axis_iter(Axis(3)).enumerate() {
        let unit = 100f32.powi(channel as i32);
        let mean = maps.mean().unwrap();
        assert!(
            (0.2 * unit..4.0 * unit).contains(&mean),
            "channel {channel}: {mean}"
        );
    }
}

#[test]
fn a_network_of_other_channels_than_the_maps_is_refused_with_both_numbers() {
    let place = place();
    write_three_channels(&place.path().join("slices.npy"), 8);
    write_maps(&place.path().join("maps.npy"), 8, 24);
    for (words, parts) in [
        (
            "--data slices.npy",
            [
                "architecture.channels is 1",
                "have 3 channel(s)",
                "--channels 3",
            ],
        ),
        (
            "--data maps.npy --channels 3",
            [
                "architecture.channels is 3",
                "have 1 channel(s)",
                "--channels 1",
            ],
        ),
    ] {
        let refused = train(&place, &format!("{SMALL} --out run {words}"));
        assert_eq!(refused.status, Some(1), "{refused:?}");
        has(&refused.stderr, &parts);
        assert!(!place.path().join("run").exists());
    }
}

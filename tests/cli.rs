//! The program as a user meets it: output, exit statuses, and what it says to wrong input.

use std::process::{Command, Stdio};

use assert_cmd::cargo::CommandCargoExt;

struct Outcome {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn program() -> Command {
    Command::cargo_bin("cosmogan").unwrap()
}

fn cosmogan(words: &[&str]) -> Outcome {
    let output = program().args(words).output().unwrap();
    Outcome {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn alone_and_with_help_it_shows_its_commands_and_examples() {
    for words in [&[][..], &["--help"], &["-h"]] {
        let outcome = cosmogan(words);
        assert_eq!(outcome.status, Some(0), "{words:?}");
        for expected in [
            "Usage: cosmogan",
            "train",
            "generate",
            "info",
            "bench",
            "Examples:",
        ] {
            assert!(outcome.stdout.contains(expected), "{words:?}: {expected}");
        }
    }
}

#[test]
fn the_help_of_train_is_grouped_by_headings() {
    let help = cosmogan(&["train", "--help"]).stdout;
    for heading in ["Data:", "Network:", "Step:", "Run:"] {
        assert!(help.lines().any(|line| line == heading), "{heading}");
    }
}

#[test]
fn info_prints_the_papers_exact_counts() {
    let outcome = cosmogan(&["info", "--preset", "paper-256"]);
    assert_eq!(outcome.status, Some(0));
    for count in [
        "8,519,680 + 1,024",
        "12,824,449",
        "3,277,312 + 1,024",
        "4,436,225",
    ] {
        assert!(outcome.stdout.contains(count), "{count}");
    }
}

#[test]
fn info_as_json_has_counts_layers_and_flop() {
    for (preset, g, d) in [
        ("paper-256", 12_824_449, 4_436_225),
        ("thesis-256", 17_672_640, 4_435_265),
    ] {
        let outcome = cosmogan(&["info", "--json", "--preset", preset]);
        let info: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(info["generator"]["parameters"], g);
        assert_eq!(info["discriminator"]["parameters"], d);
        assert_eq!(info["generator"]["layers"].as_array().unwrap().len(), 5);
        assert!(info["step_flop"].as_u64().unwrap() > 3_200_000_000_000);
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    for words in [&["info"][..], &["info", "--json"], &[]] {
        let mut child = program()
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr, "", "{words:?}");
        assert_eq!(output.status.code(), Some(0), "{words:?}");
    }
}

#[test]
fn wrong_usage_and_wrong_input_have_their_own_exit_statuses() {
    let usage = cosmogan(&["train", "--no-such-option"]);
    assert_eq!(usage.status, Some(2));
    let both = cosmogan(&["generate", "--checkpoint", "x", "--out", "a.npy"]);
    assert_eq!(both.status, Some(2), "neither --count nor --latents");
    let ending = cosmogan(&[
        "generate",
        "--checkpoint",
        "x",
        "--count",
        "1",
        "--out",
        "a",
    ]);
    assert_eq!(ending.status, Some(2));
    assert!(ending.stderr.contains(".npy (values) or .png"));
    let input = cosmogan(&["info", "--size", "100"]);
    assert_eq!(input.status, Some(1));
    assert!(input.stderr.starts_with("error: "), "{}", input.stderr);
    assert!(
        input
            .stderr
            .contains("map_size is 100; it must be a power of two")
    );
    assert_eq!(input.stdout, "");
}

#[test]
fn a_missing_or_foreign_checkpoint_is_told_as_such() {
    let words = |checkpoint| {
        let words = ["generate", "--count", "1", "--out", "a.npy", "--checkpoint"];
        [&words[..], &[checkpoint]].concat()
    };
    let missing = cosmogan(&words("no/such/run"));
    assert_eq!(missing.status, Some(1));
    assert!(missing.stderr.contains("no/such/run does not exist"));
    let directory = tempfile::tempdir().unwrap();
    let empty = cosmogan(&words(directory.path().to_str().unwrap()));
    assert!(
        empty.stderr.contains("holds no checkpoint"),
        "{}",
        empty.stderr
    );
    let file = directory.path().join("a.npy");
    std::fs::write(&file, b"\x93NUMPY\x01\x00 something else").unwrap();
    let foreign = cosmogan(&words(file.to_str().unwrap()));
    assert!(foreign.stderr.contains("is not a safetensors file"));
}

#[test]
fn scaling_measures_what_the_limit_allows_and_says_what_it_leaves_out() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("scaling.json");
    let words = "bench scaling --device cpu --size 16 --layers 2 --base 4 --latent 5 --batch 4 --steps 1 \
                 --axis batch --axis threads --json";
    let mut words: Vec<_> = words.split_whitespace().collect();
    words.push(json.to_str().unwrap());
    let outcome = cosmogan(&words);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert!(
        outcome.stdout.contains("a step takes about"),
        "{}",
        outcome.stdout
    );
    let text = std::fs::read_to_string(&json).unwrap();
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    let rows = found["rows"].as_array().unwrap();
    let of = |axis: &str| -> Vec<u64> {
        let rows = rows.iter().filter(|row| row["axis"] == axis);
        rows.map(|row| row["value"].as_u64().unwrap()).collect()
    };
    assert_eq!(of("batch"), [2, 4, 8, 16, 32, 64, 128, 256]);
    assert_eq!(of("threads")[0], 1);
    // A batch norm needs more than one map.
    assert!(found["left_out"][0].as_str().unwrap().contains("batch 1"));
    let flop = |index: usize| rows[index]["flop"].as_u64().unwrap();
    assert_eq!(flop(1), 2 * flop(0));
    assert!(
        rows.iter()
            .all(|row| row["seconds"].as_f64().unwrap() > 0.0)
    );

    let limited = cosmogan(&[&words[..words.len() - 2], &["--limit", "1e-9"]].concat());
    assert_eq!(limited.status, Some(0), "{}", limited.stderr);
    assert!(
        limited.stdout.contains("is the limit"),
        "{}",
        limited.stdout
    );
    let refused = cosmogan(&["bench", "scaling", "--limit", "0"]);
    assert_eq!(refused.status, Some(2));
}

#[test]
fn a_profile_tells_the_parts_of_a_step_and_what_the_cpu_reaches() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("profile.json");
    let words =
        "bench profile --size 16 --layers 2 --base 16 --latent 5 --batch 4 --steps 2 --json";
    let mut words: Vec<_> = words.split_whitespace().collect();
    words.push(json.to_str().unwrap());
    let outcome = cosmogan(&words);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    for words in ["the step | ", "in matrix products and copies at"] {
        assert!(outcome.stdout.contains(words), "{}", outcome.stdout);
    }
    let text = std::fs::read_to_string(&json).unwrap();
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    let parts = found["parts"].as_array().unwrap();
    let part = |layer: &str, part: &str| {
        let is = |row: &&serde_json::Value| row["layer"] == layer && row["part"] == part;
        parts.iter().find(is).unwrap()
    };
    // 16 to 32 channels: 49 products where the definition has 100, on 4 real and 4 generated maps.
    let forward = part("discriminator c1", "forward");
    let useful = 2 * 25 * 16 * 32 * 16 * 8;
    assert_eq!(forward["useful_flop"], useful);
    assert_eq!(forward["product_flop"], useful * 49 / 100);
    assert!(part("", "Adam")["moved_bytes"].as_u64().unwrap() > 0);
    for ceiling in ["product_flop_s", "copy_bytes_s"] {
        assert!(found["ceilings"][ceiling].as_f64().unwrap() > 1e8);
    }
}

#[test]
fn batches_of_maps_are_timed_and_missing_maps_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let maps = folder.path().join("maps.npy");
    let words = "synthesize --pixels 32 --angle 1 --count 12 --out";
    let mut words: Vec<_> = words.split_whitespace().collect();
    words.push(maps.to_str().unwrap());
    let made = cosmogan(&words);
    assert_eq!(made.status, Some(0), "{}", made.stderr);
    let json = folder.path().join("data.json");
    let words = "bench data --size 16 --layers 2 --batch 8 --batches 3 --data";
    let mut words: Vec<_> = words.split_whitespace().collect();
    words.extend([maps.to_str().unwrap(), "--json", json.to_str().unwrap()]);
    let outcome = cosmogan(&words);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("maps/s"), "{}", outcome.stdout);
    let text = std::fs::read_to_string(&json).unwrap();
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["all_s"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&found["map_size"], &found["batch"]),
        (&16.into(), &8.into())
    );
    let missing = folder.path().join("none.npy");
    let refused = cosmogan(&["bench", "data", "--data", missing.to_str().unwrap()]);
    assert_eq!(refused.status, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("none.npy"), "{}", refused.stderr);
}

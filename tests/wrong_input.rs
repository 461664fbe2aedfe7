//! Wrong input to `cosmogan train`, as a user meets it: an exit status, one clear message, and
//! nothing left behind.

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use common::{Outcome, outcome, program, write_maps, write_npy};

/// A small network, and few maps to judge it by.
const SMALL: &str = "--size 16 --layers 2 --base 4 --latent 8 --batch 4 --validation-maps 8";

fn train(directory: &Path, words: &str) -> Outcome {
    let mut command = program(directory);
    outcome(command.arg("train").args(words.split_whitespace()))
}

/// Files and directories below `directory`.
fn contents(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        }
        found.push(path.display().to_string());
    }
    found.sort();
    found
}

/// The message of an error, which is all that standard error holds.
fn message(outcome: &Outcome) -> &str {
    let message = outcome.stderr.trim_end();
    assert!(message.starts_with("error: "), "{outcome:?}");
    assert_eq!(message.lines().count(), 1, "{outcome:?}");
    message
}

#[test]
fn wrong_data_is_told_with_the_file_and_what_is_wrong_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    write_maps(&at("good.npy"), 6, 24);
    write_maps(&at("two.npy"), 2, 24);
    write_maps(&at("small.npy"), 6, 12);
    std::fs::write(at("text.npy"), "0.1 0.2 0.3\n".repeat(400)).unwrap();
    std::fs::write(at("maps.txt"), "0.1 0.2 0.3\n").unwrap();
    std::fs::create_dir(at("empty")).unwrap();
    write_npy(&at("nan.npy"), 6, 24, |map, y, x| match (map, y, x) {
        (4, 17, 5) => f32::NAN,
        _ => ((map + 3 * y) as f32 * 0.3 + x as f32).sin(),
    });
    let whole = std::fs::read(at("good.npy")).unwrap();
    std::fs::write(at("cut.npy"), &whole[..whole.len() - 100]).unwrap();
    let before = contents(directory.path());
    for (words, parts) in [
        ("--data gone", &["gone", "no such file"][..]),
        ("--data good.npy gone.npy", &["gone.npy", "no such file"]),
        ("--data empty", &["empty", "holds no .npy files"]),
        ("--data maps.txt", &["maps.txt", "does not end in .npy"]),
        ("--data text.npy", &["text.npy", "not a map file"]),
        ("--data cut.npy", &["cut.npy", "truncated"]),
        ("--data good.npy good.npy", &["good.npy", "named twice"]),
        (
            "--data nan.npy",
            &["nan.npy", "map 4, row 17, column 5", "NaN"],
        ),
        ("--data small.npy", &["small.npy", "12x12", "16x16"]),
        ("--data two.npy", &["2 parent map(s)", "at least 3"]),
        (
            "--data good.npy --channels 3",
            &["channels is 3", "channels = 1"],
        ),
        (
            "--data good.npy --crops-per-parent 1 --fractions 0.4,0.3,0.3",
            &["fewer than a batch of 4"],
        ),
    ] {
        let outcome = train(directory.path(), &format!("{SMALL} --out run {words}"));
        assert_eq!(outcome.status, Some(1), "{words}: {outcome:?}");
        let message = message(&outcome);
        for part in parts {
            assert!(message.contains(part), "{words}: {message} lacks {part}");
        }
        assert_eq!(outcome.stdout, "", "{words}");
        assert_eq!(contents(directory.path()), before, "{words}");
    }
}

#[test]
fn wrong_options_are_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    for (words, status, part) in [
        ("--no-such-option", 2, "--no-such-option"),
        ("--batch many", 2, "many"),
        ("--batch 1", 1, "run.batch is 1"),
        ("--size 20", 1, "map_size is 20"),
        ("--size 16 --layers 4", 1, "layers is 4"),
        ("--rate -1", 1, "rate is -1"),
        ("--out a --resume b", 2, "cannot be used with"),
        ("--resume b", 1, "b does not exist"),
        ("--config c.toml", 1, "c.toml"),
    ] {
        let outcome = train(directory.path(), words);
        assert_eq!(outcome.status, Some(status), "{words}: {outcome:?}");
        assert!(outcome.stderr.contains(part), "{words}: {outcome:?}");
        assert_eq!(outcome.stdout, "", "{words}");
        assert_eq!(contents(directory.path()), [""; 0], "{words}");
    }
}

#[test]
fn a_runs_directory_is_neither_overwritten_nor_trained_beyond_its_end() {
    let directory = tempfile::tempdir().unwrap();
    write_maps(&directory.path().join("maps.npy"), 6, 24);
    let start = format!("{SMALL} --data maps.npy --steps 3 --out run");
    let first = train(directory.path(), &start);
    assert_eq!(first.status, Some(0), "{first:?}");
    assert!(
        first.stdout.contains("next: cosmogan generate"),
        "{first:?}"
    );
    let before: Vec<_> = contents(directory.path())
        .into_iter()
        // The lock file says which process held it last.
        .filter(|path| Path::new(path).is_file() && !path.ends_with(".lock"))
        .map(|path| (std::fs::read(&path).unwrap(), path))
        .collect();
    for (words, parts) in [
        (start.as_str(), ["run already holds a run", "--resume it"]),
        (
            "--resume run",
            ["is at step 3 of 3 already", "larger --steps"],
        ),
        (
            "--resume run --steps 2",
            ["is at step 3 of 2", "larger --steps"],
        ),
        (
            "--resume run --seed 2",
            ["run.seed is 1", "start a new run"],
        ),
    ] {
        let outcome = train(directory.path(), words);
        assert_eq!(outcome.status, Some(1), "{words}: {outcome:?}");
        let message = message(&outcome);
        for part in parts {
            assert!(message.contains(part), "{words}: {message} lacks {part}");
        }
    }
    for (bytes, path) in before {
        assert!(std::fs::read(&path).unwrap() == bytes, "{path} has changed");
    }
}

#[test]
fn a_run_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    write_maps(&directory.path().join("maps.npy"), 6, 24);
    let outcome = train(
        directory.path(),
        &format!("{SMALL} --data maps.npy --out maps.npy/run"),
    );
    assert_eq!(outcome.status, Some(1), "{outcome:?}");
    let message = message(&outcome);
    assert!(message.contains("cannot create maps.npy/run"), "{message}");
}

#[test]
fn a_reader_that_leaves_early_does_not_end_a_run() {
    let directory = tempfile::tempdir().unwrap();
    write_maps(&directory.path().join("maps.npy"), 6, 24);
    let words = format!("train {SMALL} --data maps.npy --steps 20 --out run --checkpoint-every 5");
    let mut child = program(directory.path())
        .args(words.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // As `| head -1` does.
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    drop(stdout);
    drop(child.stderr.take());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(line.starts_with("preset demo ("), "{line}");
    assert!(line.contains("16x16 maps"), "{line}");
    let last = "run/checkpoints/step-00000020.safetensors";
    assert!(directory.path().join(last).exists());
    assert!(directory.path().join("run/summary.json").exists());
}

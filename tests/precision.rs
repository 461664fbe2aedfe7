//! `--precision` and `--kernels`, as a user meets them: what is refused and why, what older
//! configurations mean, and how far trainings are from each other.

mod common;

use std::path::Path;
use std::process::Command;

use common::{Outcome, outcome, program, write_maps};

/// A network that trains in no time.
const SMALL: &str = "--size 16 --layers 2 --base 4 --latent 5 --batch 4 --validation-maps 4";

fn run(folder: &Path, words: &str) -> Outcome {
    let mut command: Command = program(folder);
    outcome(command.args(words.split_whitespace()))
}

fn folder_with_maps() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_maps(&folder.path().join("maps.npy"), 24, 16);
    folder
}

fn train(folder: &Path, more: &str) -> Outcome {
    let quiet = "--log-every 1 --ema-decay 0.5 --tensorboard false --watch false";
    run(
        folder,
        &format!("train --data maps.npy {SMALL} {quiet} {more}"),
    )
}

#[test]
fn contradictions_are_refused_before_anything_is_done() {
    let folder = folder_with_maps();
    for (options, told) in [
        (
            "--precision f32 --kernels v3",
            "precision f32 and kernels v3 contradict each other",
        ),
        (
            "--precision bf16 --kernels v2",
            "precision bf16 and kernels v2 contradict each other",
        ),
        (
            "--precision bf16 --dense cublas",
            "precision bf16 and dense layers by cuBLAS contradict each other",
        ),
    ] {
        for device in ["cpu", "auto", "cuda", "emulator"] {
            let options = format!("{options} --device {device}");
            let trained = train(folder.path(), &format!("--steps 1 --out run {options}"));
            let measured = run(folder.path(), &format!("bench step {options}"));
            for refused in [trained, measured] {
                assert_eq!(refused.status, Some(1), "{options}: {refused:?}");
                assert!(refused.stderr.contains(told), "{options}: {refused:?}");
                assert_eq!(refused.stdout, "", "{options}");
            }
        }
    }
    assert!(!folder.path().join("run").exists());
    let unknown = run(folder.path(), "bench step --precision f16");
    assert_eq!(unknown.status, Some(2), "{unknown:?}");
}

#[test]
fn the_cpu_computes_in_f32_and_says_so() {
    let folder = folder_with_maps();
    for options in ["--precision bf16", "--kernels v3"] {
        let refused = train(
            folder.path(),
            &format!("--steps 1 --out run --device cpu {options}"),
        );
        assert_eq!(refused.status, Some(1), "{refused:?}");
        for told in ["the CPU computes in f32", "8.0 or later", "--precision f32"] {
            assert!(refused.stderr.contains(told), "{refused:?} lacks {told}");
        }
    }
    assert!(!folder.path().join("run").exists());
    for options in ["", "--precision f32", "--precision auto --kernels v1"] {
        let trained = train(
            folder.path(),
            &format!("--steps 1 --device cpu --name a {options}"),
        );
        assert_eq!(trained.status, Some(0), "{trained:?}");
        let first = trained.stdout.lines().next().unwrap();
        assert!(first.contains("precision f32 (the CPU's)"), "{first}");
    }
}

#[test]
fn a_configuration_from_before_there_was_a_choice_means_f32() {
    let folder = folder_with_maps();
    let begun = train(folder.path(), "--steps 2 --out run --device cpu");
    assert_eq!(begun.status, Some(0), "{begun:?}");
    let path = folder.path().join("run/config.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    assert!(config.contains("precision = \"auto\"") && config.contains("kernels = \"auto\""));
    let old = config
        .replace("precision = \"auto\"", "precision = \"f32\"")
        .replace("kernels = \"auto\"", "kernels = \"v2\"");
    std::fs::write(&path, old).unwrap();
    let resumed = run(folder.path(), "train --resume run --steps 3");
    assert_eq!(resumed.status, Some(0), "{resumed:?}");
    assert!(resumed.stdout.contains("precision f32"), "{resumed:?}");
    assert!(!resumed.stdout.contains("goes on in"), "{resumed:?}");
    let refused = run(
        folder.path(),
        "train --resume run --steps 4 --precision bf16 --device emulator",
    );
    assert!(
        refused.stderr.contains("precision bf16 and kernels v2"),
        "{refused:?}"
    );
}

#[test]
fn trainings_are_compared_by_their_losses_and_scores_and_always_alike() {
    let folder = folder_with_maps();
    let compare = |more: &str| {
        let words = format!(
            "bench precision --device cpu --data maps.npy {SMALL} --steps 4 --seeds 2 --seed 5 \
             --json found.json {more}"
        );
        let compared = run(folder.path(), &words);
        assert_eq!(compared.status, Some(0), "{compared:?}");
        let told = "bf16 is left out: it needs compute capability 8.0";
        assert!(compared.stdout.contains(told), "{compared:?}");
        let text = std::fs::read_to_string(folder.path().join("found.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let (found, again) = (compare(""), compare(""));
    assert_eq!(found, again);
    let trained = found["trained"].as_array().unwrap();
    let kinds: Vec<_> = trained
        .iter()
        .map(|trained| (trained["seed"].as_u64().unwrap(), &trained["kind"]))
        .collect();
    let expected = [
        (5, "f32"),
        (5, "f32-perturbed"),
        (6, "f32"),
        (6, "f32-perturbed"),
    ];
    assert!(
        kinds
            .iter()
            .zip(expected)
            .all(|(a, b)| a.0 == b.0 && a.1 == b.1),
        "{kinds:?}"
    );
    let losses = |index: usize| trained[index]["d_loss"].as_array().unwrap();
    let loss = |index: usize, step: usize| losses(index)[step].as_f64().unwrap();
    let gap = |a, b| {
        (0..4)
            .map(|step| (loss(a, step) - loss(b, step)).abs())
            .sum::<f64>()
            / 4.0
    };
    let mean = (gap(0, 1) + gap(2, 3)) / 2.0;
    let told = found["d_loss"]["f32"].as_f64().unwrap();
    assert!(
        told > 0.0 && (told / mean - 1.0).abs() < 1e-9,
        "{told}, {mean}"
    );
    assert!(trained[0]["agreement"]["score"].as_f64().unwrap() > 0.0);
    let further = compare("--perturbation 0.05");
    assert!(further["d_loss"]["f32"].as_f64().unwrap() > 3.0 * told);
}

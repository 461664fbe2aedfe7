//! cuBLAS and cuDNN, as a user meets them: emulated, and where there are none.

use std::path::Path;

use super::emulated_cuda::{with_emulated_cublas, with_emulated_libraries};
use super::{TINY, bench, on, state, train, words};
use crate::common::{Outcome, outcome, program};
use serde_json::Value;

#[test]
fn dense_layers_by_cublas_train_as_our_own_kernels_do() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let run = |dense: &str, out: &str| {
        let mut command = train(folder, "cuda", out);
        command.args(["--dense", dense, "--precision", "f32"]);
        outcome(with_emulated_cublas(&mut command))
    };
    for (dense, out) in [("own", "own"), ("cublas", "cublas"), ("cublas", "again")] {
        let trained = run(dense, out);
        assert_eq!(trained.status, Some(0), "{trained:?}");
        assert_eq!(
            trained.stdout.contains("kernels v2 and cuBLAS"),
            dense == "cublas"
        );
    }
    let states = ["own", "cublas", "again"].map(|out| state(&folder.join(out)));
    assert!(states[1] == states[2]);
    assert!(states[0] != states[1], "the products were not by cuBLAS");
    for ((name, own), (_, blas)) in states[0].iter().zip(&states[1]) {
        let values = |bytes: &[u8]| -> Vec<f32> {
            let values = bytes.chunks_exact(4);
            values
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect()
        };
        let (own, blas) = (values(own), values(blas));
        let scale = own.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for (a, b) in own.iter().zip(&blas) {
            assert!((a - b).abs() <= 2e-3 * scale, "{name}: {a} and {b}");
        }
    }
    let mut check = program(folder);
    words(
        &mut check,
        "check --device cuda --small --cases 3 --only dense",
    );
    let checked = outcome(with_emulated_cublas(&mut check));
    assert_eq!(checked.status, Some(0), "{checked:?}");
    assert!(
        checked.stdout.contains("dense_forward by cuBLAS"),
        "{checked:?}"
    );
}

#[test]
fn cublas_that_is_not_there_is_refused_in_plain_words() {
    let folder = tempfile::tempdir().unwrap();
    let absent = on(
        &mut bench(folder.path(), "cuda", &format!("{TINY} --dense cublas")),
        "",
    );
    if absent.status == Some(0) {
        println!("skipped: this machine has cuBLAS");
        return;
    }
    assert!(absent.stderr.contains("no cuBLAS to use"), "{absent:?}");
    let emulated = format!("{TINY} --dense cublas");
    let emulated = outcome(&mut bench(folder.path(), "emulator", &emulated));
    assert_eq!(emulated.status, Some(1), "{emulated:?}");
    assert!(
        emulated.stderr.contains("no cuBLAS to use: emulator"),
        "{emulated:?}"
    );
}

/// One layer's kernels, timed once each.
const TIMED: &str = "bench kernels --device cuda --size 16 --layers 1 --base 8 --batch 2 --repeats 1 \
                     --json times.json";

fn results(folder: &Path) -> Value {
    let json = std::fs::read_to_string(folder.join("times.json")).unwrap();
    serde_json::from_str(&json).unwrap()
}

/// The emulated driver's clock goes a millisecond for each piece of work.
#[test]
fn kernels_are_timed_between_marks_and_beside_nvidias_libraries() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program(folder.path());
    words(&mut command, TIMED).args(["--operation", "fprop"]);
    let timed = outcome(with_emulated_libraries(&mut command, ""));
    assert_eq!(timed.status, Some(0), "{}", timed.stderr);
    let results = results(folder.path());
    assert_eq!(results["cudnn"], "9.10.2");
    let kernels = results["kernels"].as_array().unwrap();
    for (kernel, (version, math)) in kernels.iter().zip([
        ("v1", "FMA math"),
        ("v2", "FMA math"),
        ("v3", "tensor-core math"),
    ]) {
        assert_eq!(kernel["operation"], "fprop");
        assert_eq!(kernel["version"], version);
        assert_eq!(kernel["median_s"], 1e-3);
        // The fastest of those that work, which is not the first.
        assert_eq!(kernel["cudnn_s"], 1e-3);
        assert_eq!(kernel["cudnn_algorithm"], format!("algorithm 1, {math}"));
        assert_eq!(kernel["cublas_s"], 1e-3);
        // 2 maps of 8 x 8 small pixels, 8 channels, 25 products each.
        assert_eq!(kernel["useful_flop"], 2 * 2 * 64 * 8 * 25);
        // The emulated device is none that has a datasheet.
        assert!(kernel["roofline_s"].is_null());
    }
    assert_eq!(kernels.len(), 3);
    for told in [
        "beside cuDNN 9.10.2",
        "cuDNN, microseconds",
        "of cuDNN",
        "of cuBLAS' product",
        "1000.0 | 100% | 100%",
    ] {
        assert!(squeezed(&timed).contains(told), "{timed:?} lacks {told}");
    }
    assert!(!timed.stderr.contains("descriptors are left"), "{timed:?}");
}

/// What was told, without the spaces that align it.
fn squeezed(told: &Outcome) -> String {
    told.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn kernels_are_timed_without_a_library_that_cannot_serve_and_it_is_said_why() {
    let folder = tempfile::tempdir().unwrap();
    for (pretence, why, is_there) in [
        (
            None,
            "there is no cuDNN to use: libcudnn (version 9) was not found",
            false,
        ),
        (
            Some("cudnn-version=8907"),
            "there is no cuDNN to use: it is version 8.9.7, and 9 is needed",
            false,
        ),
        (
            Some("cudnn-refuses=wgrad"),
            "no time of cuDNN for wgrad in f32 at 1-8 at 8: cuDNN does not do this convolution: none of its \
             5 algorithms takes it",
            true,
        ),
    ] {
        let mut command = program(folder.path());
        words(&mut command, TIMED).args(["--operation", "wgrad", "--version", "v2"]);
        let timed = match pretence {
            Some(pretence) => outcome(with_emulated_libraries(&mut command, pretence)),
            None => on(&mut command, ""),
        };
        assert_eq!(timed.status, Some(0), "{timed:?}");
        if pretence.is_none() && timed.stdout.contains("beside cuDNN") {
            println!("skipped: this machine has cuDNN");
            continue;
        }
        let told = squeezed(&timed);
        assert_eq!(told.matches(why).count(), 1, "{timed:?}");
        let results = results(folder.path());
        assert_eq!(!results["cudnn"].is_null(), is_there, "{results}");
        let kernel = &results["kernels"][0];
        assert!(kernel["cudnn_s"].is_null(), "{kernel}");
        // cuBLAS is there, or not, by itself. The sum of partial gradients is a launch of its own.
        let has_cublas = !told.contains("there is no cuBLAS to use");
        assert!(has_cublas || pretence.is_none(), "{timed:?}");
        assert_eq!(kernel["cublas_s"].is_f64(), has_cublas, "{kernel}");
        let cells = format!("| - | - | - | {} |", if has_cublas { "50%" } else { "-" });
        assert!(told.contains(&cells), "{timed:?} lacks {cells}");
    }
}

/// Checks what cuDNN and cuBLAS do alone.
fn check(folder: &Path, only: &str, pretence: &str) -> Outcome {
    let mut command = program(folder);
    words(&mut command, "check --device cuda --small --cases 3").args(["--only", only]);
    outcome(with_emulated_libraries(&mut command, pretence))
}

#[test]
fn nvidias_libraries_are_checked_and_a_wrong_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let right = check(folder.path(), " by cu", "");
    assert_eq!(right.status, Some(0), "{right:?}");
    assert!(
        right.stdout.contains("cuDNN 9.10.2 is checked"),
        "{right:?}"
    );
    for operation in ["fprop", "dgrad", "wgrad"] {
        for element in ["f32", "bf16"] {
            let name = format!("{operation} by cuDNN in {element}");
            assert!(right.stdout.contains(&name), "{right:?} lacks {name}");
        }
    }
    let name = "product by cuBLAS in bf16";
    assert!(right.stdout.contains(name), "{right:?} lacks {name}");
    assert!(!right.stderr.contains("descriptors are left"), "{right:?}");

    let wrong = check(folder.path(), "by cuDNN", "cudnn-wrong=wgrad");
    assert_eq!(wrong.status, Some(1), "{wrong:?}");
    let verdict = |name: &str| {
        let mut lines = wrong.stdout.lines();
        lines
            .find(|line| line.starts_with(name))
            .unwrap_or_default()
    };
    for element in ["f32", "bf16"] {
        for (operation, end) in [
            ("fprop", "passed"),
            ("dgrad", "passed"),
            ("wgrad", "FAILED"),
        ] {
            let line = verdict(&format!("{operation} by cuDNN in {element}"));
            assert!(line.ends_with(end), "{wrong:?}: {line}");
        }
    }
    assert!(
        wrong.stdout.contains("output of algorithm 1, FMA math"),
        "{wrong:?}"
    );

    // A device without tensor cores for bf16 is asked for none.
    let old = check(folder.path(), "by cuDNN", "capability=7.5");
    assert_eq!(old.status, Some(0), "{old:?}");
    assert!(!old.stdout.contains("by cuDNN in bf16"), "{old:?}");
}

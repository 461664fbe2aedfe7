//! `--device`, as a user meets it: on the emulated CUDA driver, and where there is none.

#![cfg(unix)]

mod common;
#[path = "common/emulated_cuda.rs"]
mod emulated_cuda;
#[path = "cuda/libraries.rs"]
mod libraries;

use std::path::Path;
use std::process::Command;

use common::{Outcome, outcome, program, write_maps};
use emulated_cuda::with_emulated_cuda;
use safetensors::SafeTensors;

/// A network that trains in no time on the emulator.
const SMALL: &str = "--size 16 --layers 2 --base 4 --latent 5 --batch 4 --log-every 1 \
                     --validation-maps 4 --ema-decay 0.5 --tensorboard false --watch false";

fn words<'a>(command: &'a mut Command, words: &str) -> &'a mut Command {
    command.args(words.split_whitespace())
}

/// `cosmogan train` of the small network on a few maps into `out`.
fn train(folder: &Path, device: &str, out: &str) -> Command {
    let maps = folder.join("maps.npy");
    if !maps.exists() {
        write_maps(&maps, 24, 16);
    }
    let mut command = program(folder);
    words(&mut command, "train --data maps.npy --steps 3");
    words(&mut command, SMALL).args(["--device", device, "--out", out]);
    command
}

/// Sizes of the same network for a measurement.
const TINY: &str = "--size 16 --layers 2 --base 4 --batch 2";

/// A quick measurement, which needs no maps.
fn bench(folder: &Path, device: &str, more: &str) -> Command {
    let mut command = program(folder);
    words(&mut command, "bench generate --preset demo --steps 1");
    words(&mut command, more).args(["--device", device]);
    command
}

fn on(command: &mut Command, pretence: &str) -> Outcome {
    outcome(with_emulated_cuda(command, pretence))
}

/// The tensors of the only checkpoint of a run, by name.
fn state(run: &Path) -> Vec<(String, Vec<u8>)> {
    let file = run.join("checkpoints/step-00000003.safetensors");
    let bytes = std::fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut state: Vec<_> = tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, view.data().to_vec()))
        .collect();
    state.sort();
    state
}

#[test]
fn training_and_generating_through_the_cuda_driver_give_the_emulators_bits() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (precision, kernels) in [("auto", "kernels v3"), ("f32", "kernels v2")] {
        let train = |device: &str, out: &str| {
            let mut command = train(folder, device, &format!("{out}-{precision}"));
            command.args(["--precision", precision]);
            command
        };
        let emulated = outcome(&mut train("emulator", "emulated"));
        assert_eq!(emulated.status, Some(0), "{emulated:?}");
        assert!(
            emulated.stdout.contains("device emulator of sm_90"),
            "{emulated:?}"
        );
        let cuda = on(&mut train("cuda", "cuda"), "");
        assert_eq!(cuda.status, Some(0), "{cuda:?}");
        let first = cuda.stdout.lines().next().unwrap();
        for told in [
            "cuda:0, Emulated GPU",
            "compute capability 9.0",
            "8.00 GiB",
            kernels,
            "PTX",
        ] {
            assert!(first.contains(told), "{first} lacks {told}");
        }
        let of = |out: &str| state(&folder.join(format!("{out}-{precision}")));
        assert!(of("cuda") == of("emulated"), "{precision}");
    }

    let generate = |device: &str, precision: &str| {
        let mut command = program(folder);
        words(
            &mut command,
            "generate --checkpoint cuda-f32 --count 5 --batch 2",
        );
        let out = format!("{device}-{precision}.npy");
        command.args(["--device", device, "--precision", precision, "--out", &out]);
        command
    };
    let cpu = outcome(&mut generate("cpu", "f32"));
    assert_eq!(cpu.status, Some(0), "{cpu:?}");
    let maps = |device: &str, precision: &str| -> Vec<f32> {
        let path = folder.join(format!("{device}-{precision}.npy"));
        let maps: ndarray::Array3<f32> = ndarray_npy::read_npy(path).unwrap();
        maps.into_iter().collect()
    };
    for (precision, tolerated) in [("f32", 1e-4), ("auto", 0.03)] {
        let auto = on(&mut generate("auto", precision), "");
        assert_eq!(auto.status, Some(0), "{auto:?}");
        assert!(auto.stdout.contains("(auto: it is usable)"), "{auto:?}");
        let (cpu, auto) = (maps("cpu", "f32"), maps("auto", precision));
        let scale = cpu.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for (a, b) in cpu.iter().zip(&auto) {
            assert!(
                (a - b).abs() <= tolerated * scale,
                "{precision}: {a} and {b}"
            );
        }
    }
}

#[test]
fn a_run_may_be_resumed_on_another_device_with_other_kernels() {
    let folder = tempfile::tempdir().unwrap();
    let begun = outcome(&mut train(folder.path(), "cpu", "run"));
    assert_eq!(begun.status, Some(0), "{begun:?}");
    let mut command = program(folder.path());
    words(
        &mut command,
        "train --resume run --steps 4 --device cuda:0 --kernels v1",
    );
    let resumed = on(&mut command, "");
    assert_eq!(resumed.status, Some(0), "{resumed:?}");
    assert!(resumed.stdout.contains("kernels v1"), "{resumed:?}");
    let config = std::fs::read_to_string(folder.path().join("run/config.toml")).unwrap();
    assert!(config.contains("device = \"cuda:0\""), "{config}");
    assert!(config.contains("kernels = \"v1\""), "{config}");
}

#[test]
fn auto_falls_back_to_the_cpu_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    for (pretence, why) in [
        ("no-device", "(auto: CUDA finds no device)"),
        (
            "capability=6.1",
            "(auto: Emulated GPU has compute capability 6.1, and 7.5 is needed)",
        ),
        (
            "version=9000",
            "(auto: the CUDA driver is for CUDA 9.0, and ",
        ),
        ("memory=10", "(auto: the GPU is not usable: "),
    ] {
        let outcome = on(&mut bench(folder.path(), "auto", TINY), pretence);
        assert_eq!(outcome.status, Some(0), "{outcome:?}");
        let first = outcome.stdout.lines().next().unwrap();
        assert!(first.contains("CPU, 2 threads"), "{first}");
        assert!(first.contains(why), "{first} lacks {why}");
    }
}

#[test]
fn a_gpu_that_cannot_be_used_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    for (pretence, device, expected) in [
        (
            "no-device",
            "cuda",
            &["no CUDA device 0", "no device at all"][..],
        ),
        (
            "",
            "cuda:9",
            &["no CUDA device 9", "there is one, cuda:0 (Emulated GPU)"],
        ),
        (
            "capability=7.0",
            "cuda",
            &["Emulated GPU has compute capability 7.0", "7.5 or later"],
        ),
        (
            "version=9000",
            "cuda",
            &[
                "the CUDA driver is too old",
                "CUDA 9.0",
                "kernels/",
                "Unsupported .version",
            ],
        ),
        (
            "memory=10",
            "cuda",
            &["needs", "bytes of device memory; 10 are free"],
        ),
    ] {
        let outcome = on(&mut bench(folder.path(), device, TINY), pretence);
        assert_eq!(outcome.status, Some(1), "{outcome:?}");
        for expected in expected {
            assert!(
                outcome.stderr.contains(expected),
                "{outcome:?} lacks {expected}"
            );
        }
    }
    let wrong = outcome(&mut bench(folder.path(), "gpu", TINY));
    assert_eq!(wrong.status, Some(2), "{wrong:?}");
    assert!(wrong.stderr.contains("cuda:N"), "{wrong:?}");
}

#[test]
fn without_enough_memory_the_batch_that_fits_is_told_and_does_fit() {
    let folder = tempfile::tempdir().unwrap();
    let memory = "memory=2000000";
    let measure = |batch: &str| {
        let network = format!("--size 64 --layers 3 --base 8 --batch {batch}");
        on(&mut bench(folder.path(), "cuda", &network), memory)
    };
    let refused = measure("64");
    assert_eq!(refused.status, Some(1), "{refused:?}");
    let (_, fits) = refused
        .stderr
        .split_once("--batch ")
        .unwrap_or_else(|| panic!("{refused:?}"));
    let (fits, _) = fits.split_once(' ').unwrap();
    let count: usize = fits.parse().unwrap();
    assert!((2..64).contains(&count), "{refused:?}");
    let measured = measure(fits);
    assert_eq!(measured.status, Some(0), "{measured:?}");
}

#[test]
fn without_a_driver_cuda_is_refused_and_auto_takes_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let asked = outcome(&mut bench(folder.path(), "cuda", TINY));
    if asked.status == Some(0) {
        println!("skipped: this machine has a CUDA driver");
        return;
    }
    assert!(
        asked.stderr.contains("no CUDA driver is installed"),
        "{asked:?}"
    );
    assert!(asked.stderr.contains("--device cpu"), "{asked:?}");
    let auto = outcome(&mut bench(folder.path(), "auto", TINY));
    assert_eq!(auto.status, Some(0), "{auto:?}");
    assert!(
        auto.stdout.contains("(auto: no CUDA driver is installed)"),
        "{auto:?}"
    );
}

/// Each launch of a step, timed: the emulated driver's clock goes a millisecond for each piece of work.
#[test]
fn launches_of_a_step_are_timed_by_themselves_beside_what_was_counted() {
    let folder = tempfile::tempdir().unwrap();
    for (precision, version, kernels) in [("bf16", "v3", "fprop_v3"), ("f32", "v1", "fprop_v1")] {
        let mut command = program(folder.path());
        words(
            &mut command,
            "bench account --device cuda --size 16 --layers 2 --base 8 --batch 3 --repeats 1 --json times.json",
        );
        let timed = on(
            command.args(["--precision", precision, "--kernels", version]),
            "",
        );
        assert_eq!(timed.status, Some(0), "{}", timed.stderr);
        for told in ["the step as one graph takes", "| `adam` | 2 | 2000 |"] {
            assert!(timed.stdout.contains(told), "{}", timed.stdout);
        }
        let json = std::fs::read_to_string(folder.path().join("times.json")).unwrap();
        let times: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            times["arithmetic"],
            format!("{precision}, kernels {version}")
        );
        let launches = times["launches"].as_array().unwrap();
        assert!(launches.len() > 40, "{} launches", launches.len());
        let mut strided = 0;
        for launch in launches {
            assert_eq!(launch["median_s"], 1e-3, "{launch}");
            let kernel = launch["kernel"].as_str().unwrap();
            let is_strided = ["fprop", "dgrad", "wgrad"]
                .iter()
                .any(|part| kernel.contains(part));
            strided += usize::from(kernel.contains(kernels));
            // In f32 the strided layers are counted by another command.
            let counted = launch["counts"]["requested_bytes"].as_u64();
            if precision == "bf16" || !(is_strided || kernel == "sum_partials") {
                assert!(counted.is_some_and(|bytes| bytes > 0), "{launch}");
            }
            // The emulated device is none that has a datasheet.
            assert!(launch["bound_s"].is_null(), "{launch}");
        }
        assert!(strided > 0, "{json}");
    }
    let cpu = outcome(words(
        &mut program(folder.path()),
        "bench account --device cpu",
    ));
    assert_eq!(cpu.status, Some(1), "{cpu:?}");
    assert!(cpu.stderr.contains("bench profile"), "{cpu:?}");
}

#[test]
fn check_passes_and_writes_what_it_found() {
    let folder = tempfile::tempdir().unwrap();
    for device in ["emulator", "cuda"] {
        let mut command = program(folder.path());
        words(
            &mut command,
            "check --cases 1 --only loss --small --json found.json",
        );
        let found = on(command.args(["--device", device]), "");
        if device == "cuda" {
            assert!(found.stdout.contains("checking Emulated GPU"), "{found:?}");
        }
        assert_eq!(found.status, Some(0), "{found:?}");
        let text = std::fs::read_to_string(folder.path().join("found.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["passed"], true);
        assert!(!json["kernels"].as_array().unwrap().is_empty());
    }
    let mut command = program(folder.path());
    let none = outcome(words(
        &mut command,
        "check --device emulator --only nothing-like-this",
    ));
    assert_eq!(none.status, Some(1), "{none:?}");
    let cpu = outcome(words(&mut program(folder.path()), "check --device cpu"));
    assert_eq!(cpu.status, Some(1), "{cpu:?}");
}

#[test]
fn a_device_without_tensor_cores_for_bf16_computes_in_f32_and_refuses_bf16() {
    let folder = tempfile::tempdir().unwrap();
    let old = "capability=7.5";
    let measured = on(&mut bench(folder.path(), "cuda", TINY), old);
    assert_eq!(measured.status, Some(0), "{measured:?}");
    let first = measured.stdout.lines().next().unwrap();
    let told = "f32 (auto: bf16 needs compute capability 8.0)";
    assert!(
        first.contains(told) && first.contains("kernels v2"),
        "{first}"
    );
    for (device, options) in [
        ("cuda", "--precision bf16"),
        ("auto", "--precision bf16"),
        ("cuda", "--kernels v3"),
    ] {
        let refused = on(
            &mut bench(folder.path(), device, &format!("{TINY} {options}")),
            old,
        );
        assert_eq!(refused.status, Some(1), "{refused:?}");
        for told in ["Emulated GPU has compute capability 7.5", "8.0 or later"] {
            assert!(refused.stderr.contains(told), "{refused:?} lacks {told}");
        }
    }
    let mut command = program(folder.path());
    words(
        &mut command,
        "check --device cuda --small --cases 1 --only loss",
    );
    let checked = on(&mut command, old);
    assert_eq!(checked.status, Some(0), "{checked:?}");
    let told = "kernels v3 (bf16) are left out: they need compute capability 8.0";
    assert!(checked.stdout.contains(told), "{checked:?}");
}

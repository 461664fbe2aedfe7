//! A generator trained here, loaded into PyTorch: both make the same maps of the same latent
//! vectors. Needs a Python with torch, numpy and safetensors: `COSMOGAN_PYTHON`, else `python3`.

use std::path::Path;
use std::process::{Command, Output};

use cosmogan::rng::{Philox, Stream};
use ndarray::{Array2, Array3};
use ndarray_npy::write_npy;

fn python() -> Option<String> {
    let asked = std::env::var("COSMOGAN_PYTHON").ok();
    let name = asked.clone().unwrap_or_else(|| "python3".to_owned());
    let found = Command::new(&name)
        .args(["-c", "import torch, numpy, safetensors"])
        .output()
        .is_ok_and(|output| output.status.success());
    assert!(
        found || asked.is_none(),
        "COSMOGAN_PYTHON={name} cannot import torch"
    );
    if !found {
        println!("skipped: {name} has no torch (COSMOGAN_PYTHON names another)");
    }
    found.then_some(name)
}

fn succeed(output: Output) -> String {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{text}");
    text
}

fn normals(len: usize, step: u64) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Philox::new(21, Stream::Benchmark, step).fill_normal(&mut values);
    values
}

/// Trains for some steps, generates, and compares.
fn compare(python: &str, directory: &Path, train: &[&str]) {
    let maps: Vec<f32> = normals(8 * 40 * 40, 1)
        .iter()
        .map(|n| 0.02 * n + 0.001)
        .collect();
    let parents = Array3::from_shape_vec((8, 40, 40), maps).unwrap();
    write_npy(directory.join("parents.npy"), &parents).unwrap();
    let latent = Array2::from_shape_vec((5, 12), normals(60, 2)).unwrap();
    write_npy(directory.join("z.npy"), &latent).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cosmogan"));
        succeed(
            command
                .current_dir(directory)
                .args(arguments)
                .output()
                .unwrap(),
        );
    };
    let size = [
        "--size", "32", "--layers", "3", "--base", "6", "--latent", "12",
    ];
    let run_options = ["--batch", "4", "--steps", "25", "--validation-maps", "8"];
    let mut arguments = vec![
        "train",
        "--data",
        "parents.npy",
        "--out",
        "run",
        "--rate",
        "2e-3",
    ];
    arguments.extend(size.iter().chain(&run_options).chain(train));
    run(&arguments);
    run(&[
        "generate",
        "--checkpoint",
        "run",
        "--latents",
        "z.npy",
        "--out",
        "maps.npy",
    ]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/load_generator.py");
    let checkpoint = cosmogan::train::locate(&directory.join("run"))
        .unwrap()
        .path;
    let compared = Command::new(python)
        .current_dir(directory)
        .arg(script)
        .arg("--checkpoint")
        .arg(checkpoint)
        .args(["--latents", "z.npy", "--maps", "maps.npy"])
        .output();
    println!("{}", succeed(compared.unwrap()).trim());
}

#[test]
fn pytorch_makes_the_same_maps_of_a_generator_trained_here() {
    let Some(python) = python() else { return };
    for options in [
        &["--transform", "none"][..],
        &["--transform", "log", "--pad-low", "2"],
        &[
            "--preset",
            "thesis-256",
            "--transform",
            "linear",
            "--init",
            "paper",
        ],
    ] {
        let directory = tempfile::tempdir().unwrap();
        compare(&python, directory.path(), options);
    }
}

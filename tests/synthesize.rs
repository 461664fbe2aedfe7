//! `cosmogan synthesize` as a user meets it: what it says, what it writes, what it refuses.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Outcome, outcome, program};
use cosmogan::data::{Maps, Provenance, Statistics};
use cosmogan::stats::{PowerSpectrum, log_bins};
use cosmogan::theory::{ConvergencePower, Cosmology};
use ndarray::Array3;
use ndarray_npy::ReadNpyExt;

fn synthesize(directory: &Path, words: &str) -> Outcome {
    let mut command = program(directory);
    outcome(command.arg("synthesize").args(words.split_whitespace()))
}

fn done(directory: &Path, words: &str) -> String {
    let outcome = synthesize(directory, words);
    assert_eq!(outcome.status, Some(0), "{words}: {outcome:?}");
    outcome.stdout
}

fn read(path: PathBuf) -> Array3<f32> {
    Array3::read_npy(fs::File::open(path).unwrap()).unwrap()
}

/// Names in `directory`, sorted.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn maps_of_a_cosmology_come_with_what_is_known_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let words = "--count 60 --pixels 50 --angle 2 --omega-m 0.31 --omega-b 0.05 --sigma-8 0.82 \
                 --h 0.68 --n-s 0.97 --w -0.9 --source-redshift 1.2 --periodic --shift 0.05 \
                 --seed 7 --out maps.npy";
    let said = done(at, words);
    let lines: Vec<&str> = said.lines().collect();
    let first = "60 periodic lognormal maps (shift 0.05) of 50x50 pixels, 2.0000 degrees a side: \
                 Omega_m 0.31, Omega_b 0.05, sigma_8 0.82, h 0.68, n_s 0.97, w -0.9, sources at \
                 z = 1.2; seed 7";
    assert_eq!(lines[0], first);
    assert_eq!(names(at), ["maps.npy", "maps.npy.json"]);
    let maps = read(at.join("maps.npy"));
    assert_eq!(maps.dim(), (60, 50, 50));

    let cosmology = Cosmology {
        omega_m: 0.31,
        omega_b: 0.05,
        sigma_8: 0.82,
        h: 0.68,
        n_s: 0.97,
        w: -0.9,
    };
    let opened = Maps::open(&[at.join("maps.npy")]).unwrap();
    let expected = Provenance::of(&cosmology, 1.2, 2.0);
    assert_eq!(*opened.provenance(59), expected);
    let sidecar = fs::read_to_string(at.join("maps.npy.json")).unwrap();
    let sidecar: serde_json::Value = serde_json::from_str(&sidecar).unwrap();
    assert_eq!(sidecar["kind"], "lognormal");
    assert_eq!(sidecar["shift"], 0.05);
    assert_eq!(sidecar["periodic"], true);
    assert_eq!(sidecar["seed"], 7);

    let pixels = maps.as_slice().unwrap();
    let statistics = Statistics::of(pixels);
    let rms = format!("rms {:.3e} (expected ", statistics.rms);
    assert!(
        lines[1].starts_with("maps.npy: ") && lines[1].contains(&rms),
        "{said}"
    );
    assert!(statistics.min > -0.05, "{statistics:?}");
    // The finest bin has the most modes: some 1000 of each map.
    let edges = log_bins(50, 2.0, 4).unwrap();
    let estimator = PowerSpectrum::new(50, 2.0, &edges).unwrap();
    let power = ConvergencePower::new(&cosmology, 1.2).unwrap();
    let ratio = estimator.mean(pixels).unwrap()[3] / power.at(estimator.mean_l()[3]);
    assert!((0.85..1.15).contains(&ratio), "{ratio}");
}

#[test]
fn a_map_depends_on_its_seed_and_number_and_not_on_how_many_are_made_or_by_how_many_threads() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let make = |words: &str, threads: &str| {
        let words = format!("--pixels 33 --kind gaussian --out maps.npy {words}");
        let mut command = program(at);
        command.env("RAYON_NUM_THREADS", threads);
        let outcome = outcome(command.arg("synthesize").args(words.split_whitespace()));
        assert_eq!(outcome.status, Some(0), "{outcome:?}");
        read(at.join("maps.npy"))
    };
    let seven = make("--count 7", "1");
    assert!(make("--count 7", "3") == seven);
    assert!(make("--count 2", "2") == seven.slice(ndarray::s![..2, .., ..]));
    assert!(make("--count 7 --seed 2", "1") != seven);
    assert!(seven.index_axis(ndarray::Axis(0), 0) != seven.index_axis(ndarray::Axis(0), 1));
}

#[test]
fn fits_files_hold_the_same_pixels_and_cosmology_as_npy() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let words = "--count 2 --pixels 16 --angle 1.5 --source-redshift 0.8";
    done(at, &format!("{words} --out a.npy"));
    let said = done(at, &format!("{words} --out a.fits"));
    assert!(said.contains("\na-00001.fits to a-00002.fits: "), "{said}");
    let expected = ["a-00001.fits", "a-00002.fits", "a.npy", "a.npy.json"];
    assert_eq!(names(at), expected);
    let npy = Maps::open(&[at.join("a.npy")]).unwrap();
    let fits = [at.join("a-00001.fits"), at.join("a-00002.fits")];
    let fits = Maps::open(&fits).unwrap();
    for map in 0..2 {
        let [mut a, mut b] = [vec![0.0; 256], vec![1.0; 256]];
        npy.read_window(map, 0, 0, 16, &mut a);
        fits.read_window(map, 0, 0, 16, &mut b);
        assert_eq!(a, b);
        assert_eq!(fits.provenance(map), npy.provenance(map));
    }
}

#[test]
fn a_table_of_c_l_can_stand_for_a_cosmology() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    // White noise: C_l of 1e-10 sr in pixels of a sixteenth of a degree.
    fs::write(at.join("cl.csv"), "# white\nl,C_l\n1,1e-10\n\n1e4 1e-10\n").unwrap();
    let said = done(
        at,
        "--count 40 --pixels 32 --angle 2 --periodic --kind gaussian --cl cl.csv --out a.npy",
    );
    assert!(said.starts_with("40 periodic Gaussian maps"), "{said}");
    assert!(
        said.contains("C_l of cl.csv") && !said.contains("Omega"),
        "{said}"
    );
    let statistics = Statistics::of(read(at.join("a.npy")).as_slice().unwrap());
    let expected = 1e-5 / 0.0625_f64.to_radians();
    assert!(
        (statistics.rms / expected - 1.0).abs() < 0.02,
        "{statistics:?}"
    );
    let maps = Maps::open(&[at.join("a.npy")]).unwrap();
    let told = maps.provenance(0);
    assert_eq!((told.side_deg, told.omega_m), (Some(2.0), None));

    fs::write(at.join("short.csv"), "100,1e-9\n200,1e-10\n").unwrap();
    let said = done(
        at,
        "--count 1 --pixels 32 --angle 2 --cl short.csv --out b.npy",
    );
    let expected = "C_l is known from l = 100 to 200; the maps go from 90 to 4073";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn wrong_input_is_told_at_once_by_option_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("words.csv"), "l,C_l\n1,1e-9\ntwo,1e-9\n").unwrap();
    fs::write(at.join("falling.csv"), "10,1e-9\n5,1e-9\n").unwrap();
    fs::write(at.join("one.csv"), "10,1e-9\n").unwrap();
    fs::write(at.join("huge.csv"), "10,1e300\n20,1e300\n").unwrap();
    fs::create_dir(at.join("a.npy")).unwrap();
    let before = names(at);
    for (words, status, parts) in [
        ("--omega-m 0", 1, &["--omega-m is 0", "0.05 to 1"][..]),
        ("--omega-b 0.3", 1, &["--omega-b is 0.3", "at most omega_m"]),
        ("--sigma-8 NaN", 1, &["--sigma-8 is NaN", "0.1 to 2"]),
        ("--h 72", 1, &["--h is 72", "0.3 to 1.5"]),
        ("--n-s inf", 1, &["--n-s is inf", "0.5 to 1.5"]),
        ("--w 1", 1, &["--w is 1", "-2 to -0.35"]),
        ("--source-redshift -1", 1, &["--source-redshift is -1"]),
        ("--angle 90", 1, &["--angle is 90", "0.01 to 30 degrees"]),
        ("--pixels 4", 1, &["--pixels is 4", "8 to 4096"]),
        ("--shift 0", 1, &["--shift is 0", "positive"]),
        ("--shift 1e-5", 1, &["shift is 0.00001", "give at least"]),
        ("--shift 0.1 --kind gaussian", 1, &["--shift", "Gaussian"]),
        ("--cl gone.csv", 1, &["gone.csv", "No such file"]),
        ("--cl words.csv", 1, &["words.csv", "line 3", "two numbers"]),
        ("--cl falling.csv", 1, &["falling.csv", "l = 5", "increase"]),
        ("--cl one.csv", 1, &["one.csv", "at least 2 points"]),
        ("--cl huge.csv", 1, &["the power spectrum is", "finite"]),
        ("--cl one.csv --h 0.7", 2, &["--cl", "--h"]),
        ("--kind pink", 2, &["gaussian", "lognormal"]),
        ("--pixels many", 2, &["--pixels", "many"]),
        ("--count 0", 2, &["--count"]),
        ("--out maps.txt", 2, &[".fits, .npy", ".png"]),
        ("--out gone/maps.npy", 1, &["gone", "make it first"]),
        ("--out a.npy", 1, &["a.npy", "a directory"]),
    ] {
        let defaults = [("--count", "--count 1"), ("--out", "--out maps.npy")];
        let missing = defaults
            .iter()
            .filter(|(option, _)| !words.contains(option));
        let missing: Vec<&str> = missing.map(|(_, default)| *default).collect();
        let outcome = synthesize(at, &format!("{words} {}", missing.join(" ")));
        assert_eq!(outcome.status, Some(status), "{words}: {outcome:?}");
        assert!(outcome.stderr.starts_with("error: "), "{outcome:?}");
        for part in parts {
            assert!(
                outcome.stderr.contains(part),
                "{words}: {part}: {outcome:?}"
            );
        }
        assert_eq!(names(at), before, "{words}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_the_old_file_and_nothing_half_written() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for (out, left) in [
        ("maps.npy", &["maps.npy", "maps.npy.json"][..]),
        ("maps.fits", &["maps.fits"]),
    ] {
        done(at, &format!("--count 1 --pixels 8 --out {out}"));
        assert_eq!(names(at), left);
        let bytes = fs::read(at.join(out)).unwrap();
        let mut command = program(at);
        command.args(["synthesize", "--count", "4000000", "--pixels", "64"]);
        command
            .args(["--out", out])
            .stderr(Stdio::piped())
            .stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert!(line.starts_with("making maps: "), "{line}");
        let pid = child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &pid])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(child.wait().unwrap().code(), Some(1));
        let last = stderr.lines().last().unwrap().unwrap();
        assert!(
            last.contains("stopped by Ctrl-C; nothing was written"),
            "{last}"
        );
        assert_eq!(names(at), left);
        assert_eq!(fs::read(at.join(out)).unwrap(), bytes);
        for name in left {
            fs::remove_file(at.join(name)).unwrap();
        }
    }
}

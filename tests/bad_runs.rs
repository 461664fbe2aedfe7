//! Runs and checkpoints that cannot be used: each is told with what is wrong and what to do.

#![cfg(unix)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::Outcome;
use common::place::{Place, SMALL, checkpoints, done, steps_saved};

/// A run whose process is still training.
fn start_long(place: &Place, out: &str) -> Child {
    let mut command = place.start(out, "paper", 100_000);
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    let begin = Instant::now();
    while steps_saved(&place.path(out)).is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(60), "no checkpoint");
        sleep(Duration::from_millis(2));
    }
    child
}

fn error(command: &mut Command) -> String {
    let Outcome { status, stderr, .. } = common::outcome(command);
    assert_eq!(status, Some(1), "{stderr}");
    let last = stderr.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("error: "), "{stderr}");
    last
}

fn has_all(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text} lacks {part}");
    }
}

fn newest(place: &Place, out: &str) -> PathBuf {
    let run = place.path(out);
    let step = *steps_saved(&run).last().unwrap();
    checkpoints(&run).join(format!("step-{step:08}.safetensors"))
}

fn generate(place: &Place, checkpoint: &Path) -> Command {
    let mut command = common::program(&place.path(""));
    command
        .args([
            "generate",
            "--count",
            "2",
            "--out",
            "made.npy",
            "--checkpoint",
        ])
        .arg(checkpoint);
    command
}

#[test]
fn a_run_that_is_training_is_nobody_elses_but_its_maps_can_be_generated() {
    let place = Place::new();
    let mut child = start_long(&place, "run");
    let number = format!("process {}", child.id());
    let parts = ["run is in use by another training", &number];
    has_all(&error(&mut place.resume("run", 200_000)), &parts);
    has_all(
        &error(&mut place.start("run", "paper", 5)),
        &["already holds a run"],
    );
    for _ in 0..5 {
        done(&mut generate(&place, &place.path("run")));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let step = *steps_saved(&place.path("run")).last().unwrap();
    done(&mut place.resume("run", step + 1));
}

#[test]
fn runs_that_begin_in_the_same_moment_get_directories_of_their_own() {
    let place = Place::new();
    let words = format!("--name twin --data maps.npy --steps 3 {SMALL}");
    let start = || {
        let mut command = place.command(&words);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let children: Vec<Child> = (0..4).map(|_| start()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    for name in ["twin", "twin-2", "twin-3", "twin-4"] {
        let run = place.path("runs").join(name);
        assert_eq!(steps_saved(&run).last(), Some(&3), "{name}");
    }
    assert!(!place.path("runs/twin-5").exists());
}

#[test]
fn a_damaged_newest_checkpoint_is_named_and_the_one_before_takes_its_place() {
    let place = Place::new();
    done(&mut place.start("whole", "paper", 9));
    done(&mut place.start("run", "paper", 7));
    let path = newest(&place, "run");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 16;
    fs::write(&path, &bytes).unwrap();
    let told = error(&mut generate(&place, &path));
    has_all(
        &told,
        &["step-00000007.safetensors is damaged", "older checkpoint"],
    );
    let outcome = done(&mut place.resume("run", 9));
    let parts = [
        "warning: ",
        "step-00000007.safetensors is damaged",
        "step 6",
    ];
    has_all(&outcome.stderr, &parts);
    has_all(&outcome.stdout, &["training from step 6 to step 9"]);
    assert!(
        place
            .path("run/checkpoints/step-00000007.safetensors.damaged")
            .exists()
    );
    assert!(place.checkpoint("run", 9) == place.checkpoint("whole", 9));
    assert_eq!(place.best("run"), place.best("whole"));
}

#[test]
fn a_run_without_any_good_checkpoint_is_left_as_it_is() {
    let place = Place::new();
    done(&mut place.start("run", "paper", 3));
    let all = steps_saved(&place.path("run"));
    for step in &all {
        let path = checkpoints(&place.path("run")).join(format!("step-{step:08}.safetensors"));
        fs::write(path, b"rubbish").unwrap();
    }
    let parts = [
        "none of the checkpoints of run can be read",
        "step-00000003",
        "copy",
    ];
    has_all(&error(&mut place.resume("run", 9)), &parts);
    assert_eq!(steps_saved(&place.path("run")), all);
}

/// A safetensors file with `header`.
fn safetensors(header: &str) -> Vec<u8> {
    let length = header.len() as u64;
    [&length.to_le_bytes(), header.as_bytes(), &[0; 8]].concat()
}

#[test]
fn foreign_checkpoints_are_told_as_such() {
    let place = Place::new();
    done(&mut place.start("run", "paper", 2));
    let tensor = r#""w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    let foreign = place.path("foreign.safetensors");
    fs::write(&foreign, safetensors(&format!("{{{tensor}}}"))).unwrap();
    let told = error(&mut generate(&place, &foreign));
    has_all(
        &told,
        &["foreign.safetensors", "no checkpoint of this program"],
    );
    let metadata = r#""__metadata__":{"format":"cosmogan checkpoint","format_version":"31"}"#;
    let newer = safetensors(&format!("{{{metadata},{tensor}}}"));
    fs::write(&foreign, &newer).unwrap();
    let told = error(&mut generate(&place, &foreign));
    has_all(&told, &["format 31", "formats 1 and 2", "newer"]);
    // Of a newer program: not damaged, so nothing takes its place.
    fs::write(
        checkpoints(&place.path("run")).join("step-00000005.safetensors"),
        &newer,
    )
    .unwrap();
    has_all(
        &error(&mut place.resume("run", 9)),
        &["step-00000005", "format 31"],
    );
    assert_eq!(steps_saved(&place.path("run")).last(), Some(&5));
}

#[test]
fn a_checkpoint_of_other_networks_is_not_gone_on_from() {
    let place = Place::new();
    done(&mut place.start("run", "paper", 3));
    let small = SMALL.replace("--base 4", "--base 2");
    let other = format!("--out other --data maps.npy --steps 4 {small}");
    done(&mut place.command(&other));
    let to = checkpoints(&place.path("run")).join("step-00000004.safetensors");
    fs::copy(newest(&place, "other"), to).unwrap();
    let parts = [
        "step 4 in run",
        "other networks than its config.toml",
        "remove it",
    ];
    has_all(&error(&mut place.resume("run", 9)), &parts);
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let place = Place::new();
    fs::write(place.path("file"), "in the way").unwrap();
    let told = error(&mut place.start("file/run", "paper", 2));
    has_all(&told, &["cannot create file/run"]);
    let told = error(&mut place.start("file", "paper", 2));
    has_all(&told, &["file"]);
    fs::create_dir(place.path("run")).unwrap();
    fs::write(place.path("run/checkpoints"), "in the way").unwrap();
    let told = error(&mut place.start("run", "paper", 2));
    has_all(&told, &["run/checkpoints"]);
    #[cfg(target_os = "linux")]
    if let Some(disk) = common::tmpfs::SmallDisk::read_only() {
        let out = disk.path().join("run");
        let told = error(&mut place.start(out.to_str().unwrap(), "paper", 2));
        has_all(&told, &["cannot create", "/run", "Read-only file system"]);
    }
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let place = Place::new();
    let rates = "--rate 1e-4 --generator-rate 1e-4 --discriminator-rate 2e-4";
    for (words, parts) in [
        (rates, &["--rate has no effect", "--generator-rate"][..]),
        (
            "--checkpoint-every 100 --keep-every 250",
            &["run.keep_every is 250", "multiple of run.checkpoint_every"],
        ),
        (
            "--checkpoint-every 0 --keep-every 10",
            &["run.keep_every is 10", "multiple of run.checkpoint_every"],
        ),
        (
            "--update simultaneous --fresh-latent",
            &["step.fresh_latent is true", "alternating"],
        ),
    ] {
        has_all(&error(&mut place.command(words)), parts);
    }
    for words in [
        "--resume run --out other",
        "--on-divergence explode",
        "--keep-every -5",
        "--tensorboard perhaps",
    ] {
        let outcome = common::outcome(&mut place.command(words));
        assert_eq!(outcome.status, Some(2), "{outcome:?}");
    }
    assert!(!place.path("runs").exists());
}

#[test]
fn multiples_of_keep_every_outlive_the_newest() {
    let place = Place::new();
    let small = SMALL.replace("--validation-every 4", "--validation-every 0");
    done(&mut place.command(&format!(
        "--out run --data maps.npy --steps 11 --keep 2 --keep-every 3 {small}"
    )));
    assert_eq!(steps_saved(&place.path("run")), [3, 6, 9, 10, 11]);
}

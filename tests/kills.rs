//! A run that saves at every step, killed over and over: it can always be resumed, leaves no broken
//! checkpoint and no rubbish, and ends with the bytes of a run that was left in peace.
//! `COSMOGAN_KILLS` sets how often, 80 where it is not set: 200 take some three minutes on busy cores.

#![cfg(target_os = "linux")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::place::{Place, done, other_files, read_all_checkpoints};
use common::tmpfs::SmallDisk;
use cosmogan::rng::{Philox, Stream};
use rand::RngExt;

const STEPS: u64 = 12;

/// What an uninterrupted run leaves.
struct Whole {
    place: Place,
    bytes: Vec<(&'static str, Vec<u8>)>,
    metrics: Vec<serde_json::Value>,
    takes: Duration,
}

/// Files that a run must end with to the byte. The summary names its checkpoint with the path.
const RESULTS: [&str; 5] = [
    "checkpoints/step-00000012.safetensors",
    "best.json",
    "samples.png",
    "comparison.png",
    "config.toml",
];

impl Whole {
    fn new() -> Self {
        let place = Place::new();
        let begin = Instant::now();
        done(&mut place.start("whole", "paper", STEPS));
        let takes = begin.elapsed();
        let root = place.path("whole");
        let bytes = RESULTS.map(|name| (name, std::fs::read(root.join(name)).unwrap()));
        Self {
            bytes: bytes.into(),
            metrics: place.metrics("whole"),
            place,
            takes,
        }
    }

    /// The command that begins the run in `root`, or goes on with it.
    fn command(&self, root: &Path) -> Command {
        let out = root.to_str().unwrap();
        match root.join("config.toml").exists() {
            true => self.place.resume(out, STEPS),
            false => self.place.start(out, "paper", STEPS),
        }
    }

    fn check(&self, root: &Path) {
        for (name, bytes) in &self.bytes {
            let found = std::fs::read(root.join(name)).unwrap();
            assert!(found == *bytes, "{name} differs");
        }
        assert_eq!(self.place.metrics(root.to_str().unwrap()), self.metrics);
        let names = other_files(root);
        assert!(
            !names.iter().any(|name| name.starts_with(".partial")),
            "{names:?}"
        );
    }
}

/// What may lie in a run's directory at any moment.
fn check_in_between(root: &Path) -> usize {
    let names = other_files(root);
    let count = |start: &str| names.iter().filter(|name| name.starts_with(start)).count();
    assert!(count(".partial-") <= 1, "{names:?}");
    assert!(count("events.out") <= 2, "{names:?}");
    assert!(names.len() <= 12, "{names:?}");
    read_all_checkpoints(root)
}

/// Where kills hit: before the configuration, in the loop, in the report.
#[derive(Debug, Default)]
struct Hits {
    before: u32,
    within: u32,
    at_the_end: u32,
    runs: u32,
    full: u32,
}

#[test]
fn a_run_killed_at_any_moment_can_be_resumed_and_ends_with_the_same_bytes() {
    let kills: u32 = std::env::var("COSMOGAN_KILLS").map_or(80, |text| text.parse().unwrap());
    let whole = Whole::new();
    let mut random = Philox::new(9, Stream::Benchmark, 0).sequential();
    let disk = SmallDisk::new(2048);
    let on_disk = if disk.is_some() { kills / 4 } else { 0 };
    let mut hits = Hits::default();
    for (count, place) in [
        (kills - on_disk, whole.place.path("")),
        (
            on_disk,
            disk.as_ref()
                .map_or(PathBuf::new(), |disk| disk.path().to_owned()),
        ),
    ] {
        let mut killed = 0;
        let mut root = place.join("run-0");
        while killed < count {
            if let Some(disk) = &disk
                && place == disk.path()
            {
                match random.random_range(0..3) {
                    0 => disk.free(),
                    _ => disk.fill_but(random.random_range(0..400)),
                }
            }
            let mut command = whole.command(&root);
            let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let delay = whole.takes.mul_f64(1.1 * random.random::<f64>());
            sleep(delay);
            let ended = child.try_wait().unwrap().is_some();
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(!said.contains("panicked"), "{said}");
            if !ended {
                killed += 1;
                let reached = |name: &str| root.join(name).exists();
                match (reached("config.toml"), reached("samples.png")) {
                    (false, _) => hits.before += 1,
                    (true, false) => hits.within += 1,
                    (true, true) => hits.at_the_end += 1,
                }
            } else if output.status.code() == Some(1) {
                assert!(said.contains("No space left"), "{said}");
                hits.full += 1;
            }
            check_in_between(&root);
            if root.join("summary.json").exists() {
                whole.check(&root);
                std::fs::remove_dir_all(&root).unwrap();
                hits.runs += 1;
                root = place.join(format!("run-{}", hits.runs));
            }
        }
        if count > 0 && !root.join("summary.json").exists() {
            if let Some(disk) = &disk {
                disk.free();
            }
            done(&mut whole.command(&root));
            whole.check(&root);
        }
    }
    println!(
        "{kills} kills: {hits:?}; an uninterrupted run takes {:?}",
        whole.takes
    );
    assert!(
        kills < 200 || (hits.within > 20 && hits.runs > 3),
        "{hits:?}"
    );
}

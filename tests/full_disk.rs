//! A disk that fills up: the file that found no room is named, nothing half-written stays, and with
//! room again the run goes on to the same bytes.

#![cfg(target_os = "linux")]

mod common;

use std::collections::BTreeSet;
use std::fs::File;

use common::place::{Place, done, other_files, read_all_checkpoints};
use common::tmpfs::SmallDisk;

const RUN: &str = "--data maps.npy --size 16 --layers 2 --base 2 --latent 4 --batch 5 \
                   --crops-per-parent 3 --validation-maps 8 --checkpoint-every 1 --keep 1 \
                   --validation-every 2 --log-every 1 --sample-every 2 --steps 4";

/// The name of the file in `cannot <action> <path>: <reason>`, without what differs from run to run.
fn named(error: &str) -> String {
    let path = error.split_whitespace().find(|word| word.contains("/run"));
    let path = path.unwrap_or_else(|| panic!("no file is named: {error}"));
    let name = path.trim_end_matches(':').rsplit('/').next().unwrap();
    let name = match name.starts_with("events.out") {
        true => "events.out",
        false => name,
    };
    name.trim_end_matches([',', '.']).to_owned()
}

#[test]
fn whichever_file_finds_no_room_the_run_says_so_and_can_go_on_when_there_is_some() {
    let place = Place::new();
    done(&mut place.command(&format!("--out whole {RUN}")));
    let whole = place.checkpoint("whole", 4);
    let Some(disk) = SmallDisk::new(1024) else {
        return;
    };
    let mut failed = BTreeSet::new();
    let rooms = (0..10).map(|n| 4 * n).chain((3..60).map(|n| 16 * n));
    for (attempt, room) in rooms.enumerate() {
        disk.fill_but(room);
        let root = disk.path().join(format!("run-{attempt}"));
        let out = root.to_str().unwrap();
        let start = format!("--out {out} {RUN}");
        let outcome = common::outcome(&mut place.command(&start));
        if outcome.status == Some(0) {
            break;
        }
        assert_eq!(outcome.status, Some(1), "{outcome:?}");
        let error = outcome.stderr.lines().last().unwrap();
        assert!(
            error.starts_with("error: ") && error.contains("No space left"),
            "{error}"
        );
        failed.insert(named(error));
        let names = other_files(&root);
        assert!(
            !names.iter().any(|name| name.starts_with(".partial")),
            "{names:?}"
        );
        let metrics = std::fs::read_to_string(root.join("metrics.jsonl")).unwrap_or_default();
        assert!(
            metrics.is_empty() || metrics.ends_with('\n'),
            "a cut line: {metrics}"
        );
        read_all_checkpoints(&root);
        disk.free();
        done(&mut match root.join("config.toml").exists() {
            true => place.resume(out, 4),
            false => place.command(&start),
        });
        assert!(place.checkpoint(out, 4) == whole, "after {error}");
        assert_eq!(place.metrics(out), place.metrics("whole"), "after {error}");
        std::fs::remove_dir_all(&root).unwrap();
    }
    println!("no room for {failed:?}");
    for file in [
        "config.toml",
        "events.out",
        "metrics.jsonl",
        "comparison.png",
        "samples.png",
    ] {
        assert!(failed.contains(file), "{file} never failed: {failed:?}");
    }
    assert!(
        failed.iter().any(|name| name.ends_with(".safetensors")),
        "{failed:?}"
    );
    assert!(
        failed.iter().any(|name| name.ends_with("2.png")),
        "{failed:?}"
    );
}

#[test]
fn a_standard_output_that_takes_nothing_is_no_error() {
    let place = Place::new();
    let mut command = place.command(&format!("--out run {RUN}"));
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let status = command.stdout(full()).stderr(full()).status().unwrap();
    assert!(status.success(), "{status}");
    assert!(place.path("run/summary.json").exists());
}

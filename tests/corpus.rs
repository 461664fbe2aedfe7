//! Files that a fuzzer made of ours and of others', replayed: each is read or refused, and none
//! brings the reader down. `tests/fuzz` says where they come from.

#[path = "common/hostile.rs"]
mod hostile;

use std::path::Path;

use cosmogan::emulator::Schedule;

/// Runs `reader` on every file of a corpus.
fn replay(corpus: &str, least: usize, reader: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files = 0;
    for entry in std::fs::read_dir(directory.join(corpus)).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        reader(&std::fs::read(path).unwrap());
        files += 1;
    }
    assert!(files >= least, "{files} files in {corpus}");
}

#[test]
fn hostile_npy_files_are_read_or_refused() {
    replay("npy", 50, |bytes| hostile::map_file("maps.npy", bytes));
}

#[test]
fn hostile_fits_files_are_read_or_refused() {
    replay("fits", 16, |bytes| hostile::map_file("maps.fits", bytes));
    replay("fits-fuzzed", 50, |bytes| {
        hostile::map_file("maps.fits", bytes);
    });
}

#[test]
fn hostile_checkpoints_are_read_or_refused() {
    replay("checkpoint", 20, hostile::checkpoint);
}

#[test]
fn hostile_configurations_are_read_or_refused() {
    replay("config", 50, hostile::config);
}

#[test]
fn hostile_ptx_is_run_or_refused() {
    replay("ptx", 50, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        for schedule in [Schedule::Latest, Schedule::Random(1)] {
            hostile::ptx(&text, schedule);
        }
    });
}

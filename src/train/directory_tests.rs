//! What lies in a run's directory, what is kept of it, and whose it is.

use std::fs;
use std::path::Path;

use super::directory::{Choice, DirectoryError, Keep, RunDirectory, locate};
use super::selection::Criterion;

fn run_with(steps: &[u64]) -> (tempfile::TempDir, RunDirectory) {
    let directory = tempfile::tempdir().unwrap();
    let run = RunDirectory::choose(Some(&directory.path().join("run")), "x").unwrap();
    assert!(!run.root().exists());
    run.make().unwrap();
    for &step in steps {
        fs::write(run.checkpoint(step), b"").unwrap();
    }
    (directory, run)
}

fn newest(newest: usize) -> Keep {
    Keep {
        newest,
        every: 0,
        way_back: 0,
    }
}

fn steps(run: &RunDirectory) -> Vec<u64> {
    run.list()
        .unwrap()
        .into_iter()
        .map(|(step, _)| step)
        .collect()
}

#[test]
fn pruning_keeps_the_newest_and_never_deletes_the_best() {
    let (_keep, run) = run_with(&[10, 20, 30, 40, 123_456_789]);
    run.set_best(20, 0.5, Criterion::Score).unwrap();
    fs::write(run.checkpoints().join("notes.txt"), b"mine").unwrap();
    run.prune(&newest(2)).unwrap();
    assert_eq!(steps(&run), [20, 40, 123_456_789]);
    assert!(run.checkpoints().join("notes.txt").exists());
    run.prune(&newest(0)).unwrap();
    assert_eq!(steps(&run), [20, 123_456_789]);
}

#[test]
fn multiples_of_keep_every_and_the_way_back_are_never_deleted() {
    let (_keep, run) = run_with(&[0, 10, 20, 25, 30, 35, 40, 50]);
    let keep = Keep {
        newest: 1,
        every: 20,
        way_back: 34,
    };
    run.prune(&keep).unwrap();
    assert_eq!(steps(&run), [0, 20, 30, 40, 50]);
}

#[test]
fn what_comes_after_a_step_is_forgotten_with_its_best_mark() {
    let (_keep, run) = run_with(&[10, 20, 30, 40]);
    run.set_best(20, 0.5, Criterion::Score).unwrap();
    run.forget_after(20).unwrap();
    assert_eq!(steps(&run), [10, 20]);
    assert_eq!(run.best().unwrap().unwrap().step, 20);
    run.forget_after(10).unwrap();
    assert_eq!(run.best().unwrap(), None);
    assert!(!run.root().join("best.json").exists());
}

#[test]
fn unfinished_files_are_swept_when_a_run_goes_on() {
    let (_keep, run) = run_with(&[10]);
    let parts = [run.root().to_owned(), run.samples(), run.checkpoints()];
    let parts = parts.map(|directory| directory.join(".partial-x"));
    for part in &parts {
        fs::write(part, b"half").unwrap();
    }
    run.make().unwrap();
    assert!(parts.iter().all(|part| !part.exists()));
}

#[test]
fn a_claimed_directory_is_nobody_elses() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("run");
    let (run, lock) = RunDirectory::claim(Some(&root), "x").unwrap();
    let again = RunDirectory::claim(Some(&root), "x").unwrap_err();
    assert!(matches!(again, DirectoryError::Locked { .. }), "{again}");
    let said = again.to_string();
    assert!(
        said.contains(&format!("process {}", std::process::id())),
        "{said}"
    );
    drop(lock);
    let (_, _lock) = RunDirectory::claim(Some(&root), "x").unwrap();
    fs::write(run.config(), "").unwrap();
    let begun = RunDirectory::claim(Some(&root), "x");
    assert!(matches!(begun, Err(DirectoryError::Occupied(_))));
}

#[test]
fn a_run_directory_means_its_best_checkpoint_else_its_last() {
    let (_keep, run) = run_with(&[10, 20]);
    let located = |run: &RunDirectory| locate(run.root()).unwrap();
    assert_eq!(located(&run).path, run.checkpoint(20));
    assert_eq!(located(&run).why, Choice::Last);
    run.set_best(10, 1.0, Criterion::Score).unwrap();
    assert_eq!(located(&run).path, run.checkpoint(10));
    assert_eq!(located(&run).why, Choice::Best);
    fs::remove_file(run.checkpoint(10)).unwrap();
    assert_eq!(located(&run).path, run.checkpoint(20));
    assert_eq!(locate(&run.checkpoint(20)).unwrap().why, Choice::Given);
    assert!(matches!(
        locate(Path::new("/no/such")),
        Err(DirectoryError::Missing(_))
    ));
}

#[test]
fn a_best_file_that_names_something_else_is_refused() {
    let (_keep, run) = run_with(&[10]);
    let bad = r#"{"checkpoint": "../../other", "step": 1, "score": 0}"#;
    fs::write(run.root().join("best.json"), bad).unwrap();
    assert!(matches!(run.best(), Err(DirectoryError::Best { .. })));
}

#[test]
fn a_new_run_never_overwrites_an_old_one() {
    let (_keep, run) = run_with(&[10]);
    let again = RunDirectory::choose(Some(run.root()), "x");
    assert!(matches!(again, Err(DirectoryError::Occupied(_))));
    assert!(matches!(
        RunDirectory::open(run.root()),
        Err(DirectoryError::NotARun(_))
    ));
    fs::write(run.config(), "").unwrap();
    assert_eq!(RunDirectory::open(run.root()).unwrap(), run);
}

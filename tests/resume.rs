//! A run that was interrupted, however it was, ends with the same bytes as one that was not.

#![cfg(unix)]

mod common;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cosmogan::rng::{Philox, Stream};
use serde_json::Value;
use tempfile::TempDir;

/// A place for runs on the same small maps.
struct Place {
    directory: TempDir,
}

/// Options of a small run: an epoch has 8 training maps x 3 crops = 24 maps.
const SMALL: &str = "--size 16 --layers 2 --base 4 --latent 8 --batch 5 --crops-per-parent 3 \
                     --validation-maps 8 --checkpoint-every 1 --validation-every 4 --log-every 1 \
                     --sample-every 0";

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        common::write_maps(&directory.path().join("maps.npy"), 12, 24);
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, words: &str) -> Command {
        let mut command = common::program(self.directory.path());
        command.arg("train").args(words.split_whitespace());
        command
    }

    /// A new run on the maps, to its end or its beginning as `steps` says.
    fn start(&self, out: &str, convention: &str, steps: u64) -> Command {
        self.command(&format!(
            "--out {out} --data maps.npy --convention {convention} --steps {steps} {SMALL}"
        ))
    }

    fn resume(&self, out: &str, steps: u64) -> Command {
        self.command(&format!("--resume {out} --steps {steps}"))
    }

    /// The bytes of the checkpoint of `step`.
    fn checkpoint(&self, out: &str, step: u64) -> Vec<u8> {
        let path = checkpoints(&self.path(out)).join(format!("step-{step:08}.safetensors"));
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// The lines of metrics without speeds, which differ from run to run.
    fn metrics(&self, out: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path(out).join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line.as_object_mut().unwrap().remove("maps_per_second");
            line
        });
        lines.collect()
    }

    fn best(&self, out: &str) -> String {
        std::fs::read_to_string(self.path(out).join("best.json")).unwrap()
    }
}

fn checkpoints(run: &Path) -> PathBuf {
    run.join("checkpoints")
}

/// Steps of the checkpoints that lie there now.
fn steps_saved(run: &Path) -> Vec<u64> {
    let Ok(entries) = std::fs::read_dir(checkpoints(run)) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let steps = names.filter_map(|name| {
        let digits = name.strip_prefix("step-")?.strip_suffix(".safetensors")?;
        digits.parse().ok()
    });
    let mut steps: Vec<u64> = steps.collect();
    steps.sort_unstable();
    steps
}

fn done(command: &mut Command) -> common::Outcome {
    let outcome = common::outcome(command);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    outcome
}

/// Starts a program in the background and waits until it has saved `step` or a later one.
fn start_until(command: &mut Command, run: &Path, step: u64) -> Child {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let begin = Instant::now();
    while steps_saved(run).last().is_none_or(|&last| last < step) {
        assert!(begin.elapsed() < Duration::from_secs(60), "no checkpoint");
        if child.try_wait().unwrap().is_some() {
            break;
        }
        sleep(Duration::from_millis(1));
    }
    child
}

#[test]
fn one_go_two_halves_and_any_number_of_threads_end_with_the_same_bytes() {
    let place = Place::new();
    // With 24 maps in batches of 5 the torch convention has an incomplete batch of 4 in every
    // epoch, the paper's leaves it out; halves end within an epoch.
    for (convention, per_epoch) in [("paper", 4), ("torch", 5)] {
        let (half, total) = (per_epoch + 2, 2 * per_epoch + 4);
        let (whole, halves) = (
            format!("{convention}-whole"),
            format!("{convention}-halves"),
        );
        let said = done(&mut place.start(&whole, convention, total)).stdout;
        let epochs = format!("({:.1} epochs)", total as f64 / per_epoch as f64);
        assert!(said.contains(&epochs), "{said} lacks {epochs}");
        done(&mut place.start(&halves, convention, half));
        done(&mut place.resume(&halves, total));
        let expected = place.checkpoint(&whole, total);
        assert!(place.checkpoint(&halves, total) == expected, "{convention}");
        let single = format!("{convention}-single");
        done(
            place
                .start(&single, convention, total)
                .env("RAYON_NUM_THREADS", "1"),
        );
        assert!(place.checkpoint(&single, total) == expected, "{convention}");
        assert_eq!(place.best(&single), place.best(&whole));
        assert_eq!(place.metrics(&single), place.metrics(&whole));
    }
}

#[test]
fn a_run_that_made_its_synthetic_maps_resumes_on_the_kept_ones_to_the_same_bytes() {
    let place = Place::new();
    let start = |out: &str, steps| place.command(&format!("--out {out} --steps {steps} {SMALL}"));
    done(&mut start("halves", 3));
    assert!(place.path("cache").exists());
    done(&mut place.resume("halves", 6));
    std::fs::remove_dir_all(place.path("cache")).unwrap();
    done(&mut start("whole", 6));
    assert!(place.checkpoint("halves", 6) == place.checkpoint("whole", 6));
}

#[test]
fn a_killed_run_resumes_to_the_same_bytes_and_metrics() {
    let place = Place::new();
    let total = 40;
    let mut random = Philox::new(5, Stream::Benchmark, u64::from(std::process::id())).sequential();
    for convention in ["paper", "torch"] {
        let (whole, killed) = (
            format!("{convention}-whole"),
            format!("{convention}-killed"),
        );
        done(&mut place.start(&whole, convention, total));
        let run = place.path(&killed);
        let mut kills = 0;
        for from in [0, 12, 24] {
            let mut command = match from {
                0 => place.start(&killed, convention, total),
                _ => place.resume(&killed, total),
            };
            let step = from + rand::RngExt::random_range(&mut random, 1..8);
            let mut child = start_until(&mut command, &run, step);
            sleep(Duration::from_micros(rand::RngExt::random_range(
                &mut random,
                0..8000,
            )));
            child.kill().unwrap();
            let status = child.wait().unwrap();
            kills += u32::from(status.signal() == Some(9));
        }
        assert!(kills >= 1, "every run ended before it was killed");
        let left = steps_saved(&run);
        println!("{convention}: killed {kills} times, last with checkpoints {left:?}");
        if left.last() != Some(&total) {
            done(&mut place.resume(&killed, total));
        }
        assert!(place.checkpoint(&killed, total) == place.checkpoint(&whole, total));
        assert_eq!(place.metrics(&killed), place.metrics(&whole));
        assert_eq!(place.best(&killed), place.best(&whole));
        let names = std::fs::read_dir(checkpoints(&run)).unwrap();
        let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(
            names.all(|name| name.starts_with("step-")),
            "parts are left"
        );
    }
}

#[test]
fn a_run_that_ended_before_its_first_checkpoint_resumes_from_its_beginning() {
    let place = Place::new();
    done(&mut place.start("run", "paper", 4));
    let (expected, metrics) = (place.checkpoint("run", 4), place.metrics("run"));
    let best = place.best("run");
    // What a kill in the first steps leaves: the configuration and lines of metrics.
    let run = place.path("run");
    std::fs::remove_dir_all(checkpoints(&run)).unwrap();
    for file in ["best.json", "summary.json"] {
        std::fs::remove_file(run.join(file)).unwrap();
    }
    done(&mut place.resume("run", 4));
    assert!(place.checkpoint("run", 4) == expected);
    assert_eq!(place.metrics("run"), metrics);
    assert_eq!(place.best("run"), best);
}

#[test]
fn a_run_that_ended_between_a_checkpoint_and_its_mark_as_the_best_marks_it_when_resumed() {
    let place = Place::new();
    // At this rate some run's fifth step is soon worse than its fourth.
    let start = |run: &str, seed: u64| {
        let mut command = place.start(run, "paper", 4);
        let seed = seed.to_string();
        command.args(["--rate", "0.1", "--ema-decay", "0", "--seed", &seed]);
        done(&mut command);
    };
    let worse = (1..20).find(|seed| {
        let run = format!("run-{seed}");
        start(&run, *seed);
        done(&mut place.resume(&run, 5));
        place.best(&run).contains("\"step\": 4,")
    });
    let seed = worse.expect("a run that gets worse");
    start("cut", seed);
    std::fs::remove_file(place.path("cut").join("best.json")).unwrap();
    done(&mut place.resume("cut", 5));
    assert_eq!(place.best("cut"), place.best(&format!("run-{seed}")));
}

#[test]
fn a_run_that_ended_before_its_report_makes_it_when_resumed() {
    let place = Place::new();
    done(&mut place.start("run", "paper", 4));
    let run = place.path("run");
    let report = ["summary.json", "samples.png", "comparison.png"];
    let whole = report.map(|file| std::fs::read(run.join(file)).unwrap());
    let metrics = place.metrics("run");
    let lines = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = lines
        .split_inclusive('\n')
        .filter(|line| !line.contains("\"test\""));
    let without_test: String = lines.collect();
    std::fs::write(run.join("metrics.jsonl"), without_test).unwrap();
    for file in report {
        std::fs::remove_file(run.join(file)).unwrap();
    }
    let said = done(&mut place.resume("run", 4)).stdout;
    assert!(said.contains("next: cosmogan generate"), "{said}");
    assert!(report.map(|file| std::fs::read(run.join(file)).unwrap()) == whole);
    assert_eq!(place.metrics("run"), metrics);
    // A report of fewer steps than the run has by now is none.
    done(&mut place.resume("run", 5));
    let later = std::fs::read(run.join("summary.json")).unwrap();
    std::fs::write(run.join("summary.json"), &whole[0]).unwrap();
    done(&mut place.resume("run", 5));
    assert!(std::fs::read(run.join("summary.json")).unwrap() == later);
}

#[test]
fn a_signal_ends_a_run_that_says_what_it_saved_and_resumes_to_the_same_bytes() {
    let place = Place::new();
    let total = 120;
    done(&mut place.start("whole", "paper", total));
    for (signal, name) in [("TERM", "SIGTERM"), ("INT", "Ctrl-C")] {
        let run = place.path(signal);
        let child = start_until(&mut place.start(signal, "paper", total), &run, 3);
        let mut kill = Command::new("kill");
        let sent = kill
            .args([&format!("-{signal}"), &child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        let output = child.wait_with_output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stdout}");
        let last = *steps_saved(&run).last().unwrap();
        let said = format!("stopped by {name}: step {last} is saved; go on with");
        assert!(stdout.contains(&said), "{stdout} lacks {said}");
        assert!(stdout.contains(&format!("--resume {signal}")), "{stdout}");
        done(&mut place.resume(signal, total));
        assert!(place.checkpoint(signal, total) == place.checkpoint("whole", total));
        assert_eq!(place.best(signal), place.best("whole"));
    }
}

//! A run that was interrupted, however it was, ends with the same bytes as one that was not.

#![cfg(unix)]

mod common;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::place::{Place, SMALL, checkpoints, done, steps_saved};
use cosmogan::rng::{Philox, Stream};

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

//! TensorBoard's own reader finds in the events what the metrics say. Needs a Python with
//! tensorboard: `COSMOGAN_TENSORBOARD_PYTHON`, else `python3`.

#![cfg(unix)]

mod common;

use std::collections::BTreeMap;
use std::process::Command;

use common::place::{Place, SMALL, done};
use serde::Deserialize;

const READ: &str = "
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
reader = EventAccumulator(sys.argv[1], size_guidance={'scalars': 0, 'images': 0})
reader.Reload()
tags = reader.Tags()
scalars = {t: [[e.step, e.value] for e in reader.Scalars(t)] for t in tags['scalars']}
images = {t: [[e.step, e.width, e.height, len(e.encoded_image_string)]
              for e in reader.Images(t)] for t in tags['images']}
print(json.dumps({'scalars': scalars, 'images': images}))
";

#[derive(Deserialize)]
struct Found {
    scalars: BTreeMap<String, Vec<(u64, Option<f64>)>>,
    images: BTreeMap<String, Vec<[u64; 4]>>,
}

fn python() -> Option<String> {
    let asked = std::env::var("COSMOGAN_TENSORBOARD_PYTHON").ok();
    let name = asked.clone().unwrap_or_else(|| "python3".to_owned());
    let found = Command::new(&name)
        .args(["-c", "import tensorboard"])
        .output()
        .is_ok_and(|output| output.status.success());
    assert!(
        found || asked.is_none(),
        "COSMOGAN_TENSORBOARD_PYTHON={name} cannot import tensorboard"
    );
    if !found {
        println!("skipped: {name} has no tensorboard (COSMOGAN_TENSORBOARD_PYTHON names another)");
    }
    found.then_some(name)
}

/// Reads the events of a run, and compares them with its metrics.
fn check(python: &str, place: &Place, out: &str) -> Found {
    let output = Command::new(python)
        .args(["-c", READ])
        .arg(place.path(out))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let found: Found = serde_json::from_slice(&output.stdout).unwrap();
    let metrics = place.metrics(out);
    for (kind, field) in [
        ("train", "d_loss"),
        ("train", "generator_rate"),
        ("validation", "score"),
        ("validation", "variance_share"),
        ("rollback", "rate_factor"),
    ] {
        let lines = metrics.iter().filter(|line| line["kind"] == kind);
        let expected: Vec<(u64, Option<f64>)> = lines
            .map(|line| {
                let value = line[field].as_f64().unwrap() as f32;
                (line["step"].as_u64().unwrap(), Some(f64::from(value)))
            })
            .collect();
        let tag = format!("{kind}/{field}");
        let read = found.scalars.get(&tag).cloned().unwrap_or_default();
        assert_eq!(read, expected, "{tag}");
    }
    assert!(found.scalars.contains_key("train/maps_per_second"));
    found
}

#[test]
fn events_say_what_metrics_say_also_of_resumed_and_rolled_back_runs() {
    let Some(python) = python() else {
        return;
    };
    let place = Place::new();
    let small = SMALL.replace("--sample-every 0", "--sample-every 5");
    done(&mut place.command(&format!("--out run --data maps.npy --steps 12 {small}")));
    let found = check(&python, &place, "run");
    assert_eq!(found.scalars["train/d_loss"].len(), 12);
    let steps: Vec<u64> = found.images["samples"]
        .iter()
        .map(|image| image[0])
        .collect();
    assert_eq!(steps, [5, 10, 12]);
    for [step, width, height, bytes] in &found.images["samples"] {
        let path = place
            .path("run")
            .join(format!("samples/step-{step:08}.png"));
        assert_eq!(std::fs::metadata(path).unwrap().len(), *bytes);
        assert!(*width > 100 && *height > 100, "{width} x {height}");
    }
    std::fs::remove_file(place.path("run/checkpoints/step-00000012.safetensors")).unwrap();
    done(&mut place.resume("run", 15));
    let found = check(&python, &place, "run");
    assert_eq!(found.scalars["train/d_loss"].len(), 15);
    let words = "--out back --data maps.npy --rate 100 --steps 40 --on-divergence rollback";
    done(&mut place.command(&format!("{words} {small}")));
    let found = check(&python, &place, "back");
    assert!(!found.scalars["rollback/rate_factor"].is_empty());
    done(&mut place.command(&format!(
        "--out off --tensorboard false --data maps.npy --steps 2 {small}"
    )));
    let names = common::place::other_files(&place.path("off"));
    assert!(
        !names.iter().any(|name| name.starts_with("events")),
        "{names:?}"
    );
}

//! Which generators compete, when they are looked at, and which validations can be compared.

use serde_json::json;

use super::config::{Config, RunConfig};
use super::directory::Best;
use super::distance::{Against, Distance};
use super::selection::{Criterion, Selection};
use crate::model::Preset;

const AGAINST: Against = Against {
    real_maps: 40,
    rows: 10,
    elements: 43,
    full: false,
};

const BY: Criterion = Criterion::ChiSquared {
    maps: 64,
    against: AGAINST,
};

fn run(last_epochs: Option<u64>, every: Option<u64>) -> RunConfig {
    let mut run = Config::of_preset(Preset::Demo, None).run;
    run.select = true;
    (run.select_last_epochs, run.select_every) = (last_epochs, every);
    run
}

fn distance(value: f64) -> Distance {
    Distance {
        value,
        maps: 64,
        against: AGAINST,
        channels: Vec::new(),
        why: None,
    }
}

fn due(selection: &Selection, total: u64) -> Vec<u64> {
    (1..=total).filter(|&step| selection.is_due(step)).collect()
}

#[test]
fn the_papers_recipe_looks_at_every_step_of_the_last_two_epochs_and_none_before() {
    let selection = Selection::new(&run(Some(2), Some(1)), 20, 4, Some(BY));
    assert_eq!(due(&selection, 20), (13..=20).collect::<Vec<_>>());
    assert!(!selection.competes(12) && selection.competes(13));
    let said = selection.describe().unwrap();
    for part in ["steps 13 to 20", "every step", "none up to step 12"] {
        assert!(said.contains(part), "{said} lacks {part}");
    }
}

#[test]
fn without_a_span_the_whole_run_competes_and_without_a_cadence_only_usual_validations_do() {
    let every = Selection::new(&run(None, Some(3)), 10, 4, Some(BY));
    assert_eq!(due(&every, 10), [3, 6, 9]);
    let usual = Selection::new(&run(Some(1), None), 10, 4, Some(BY));
    assert_eq!(due(&usual, 10), [0; 0]);
    assert!(!usual.competes(6) && usual.competes(7));
    // A span that is longer than the run, even beyond all numbers.
    for epochs in [3, u64::MAX] {
        let longer = Selection::new(&run(Some(epochs), Some(5)), 10, 4, Some(BY));
        assert_eq!(due(&longer, 10), [5, 10]);
        assert!(!longer.describe().unwrap().contains("none up to"));
    }
}

#[test]
fn without_select_all_compete_by_their_score_and_nothing_is_said() {
    let mut run = run(None, None);
    run.select = false;
    let selection = Selection::new(&run, 10, 4, Some(BY));
    assert_eq!(selection.by(), Criterion::Score);
    assert_eq!((selection.describe(), selection.is_due(10)), (None, false));
    let validation = json!({"score": 1.5, "chi_squared": distance(2.0)});
    assert_eq!(selection.value(1, &validation), Some(1.5));
    assert_eq!(selection.value(1, &json!({"score": null})), None);
}

#[test]
fn only_distances_from_the_same_maps_and_of_the_same_form_are_compared() {
    let selection = Selection::new(&run(Some(1), None), 8, 4, Some(BY));
    let value = |step, distance: Distance| {
        selection.value(step, &json!({"score": 0.5, "chi_squared": distance}))
    };
    assert_eq!(value(5, distance(81.25)), Some(81.25));
    assert_eq!(value(4, distance(81.25)), None, "before the span");
    assert_eq!(value(5, distance(f64::INFINITY)), None);
    for other in [
        Against {
            full: true,
            ..AGAINST
        },
        Against {
            rows: 11,
            ..AGAINST
        },
        Against {
            elements: 42,
            ..AGAINST
        },
        Against {
            real_maps: 41,
            ..AGAINST
        },
    ] {
        let other = Distance {
            against: other,
            ..distance(1.0)
        };
        assert_eq!(value(5, other.clone()), None, "{other:?}");
    }
    let other = Distance {
        maps: 65,
        ..distance(1.0)
    };
    assert_eq!(value(5, other), None);
    assert_eq!(
        selection.value(5, &json!({"score": 0.5})),
        None,
        "an older checkpoint"
    );
}

#[test]
fn a_best_generator_of_another_choice_or_from_before_the_span_is_not_the_best_any_more() {
    let best = |step, by| Best {
        checkpoint: format!("step-{step:08}.safetensors"),
        step,
        score: 3.0,
        by,
    };
    let selection = Selection::new(&run(Some(1), None), 8, 4, Some(BY));
    assert!(selection.has_chosen(&best(5, BY)));
    assert!(!selection.has_chosen(&best(4, BY)));
    assert!(!selection.has_chosen(&best(5, Criterion::Score)));
}

#[test]
fn what_is_best_survives_its_file_and_one_without_a_criterion_had_the_best_score() {
    for by in [Criterion::Score, BY] {
        let best = Best {
            checkpoint: "step-00000005.safetensors".to_owned(),
            step: 5,
            score: 81.3,
            by,
        };
        let text = serde_json::to_string(&best).unwrap();
        assert_eq!(serde_json::from_str::<Best>(&text).unwrap(), best, "{text}");
    }
    let old = r#"{"checkpoint": "step-00000005.safetensors", "step": 5, "score": 1}"#;
    let old: Best = serde_json::from_str(old).unwrap();
    assert_eq!(old.by, Criterion::Score);
    assert!(old.describe().contains("validation score, 1.00"));
}

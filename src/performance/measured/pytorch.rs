//! Steps and generation on a GPU beside PyTorch, as `benches/peers/gpu.py` leaves them, as tables.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Shape;
use crate::performance::tables::table;

/// The file.
#[derive(Deserialize)]
pub struct PyTorchTimes {
    pub machine: String,
    cases: Vec<PyTorchCase>,
}

#[derive(Deserialize)]
struct PyTorchCase {
    case: Shape,
    cosmogan: BTreeMap<String, Time>,
    torch: BTreeMap<String, Time>,
    /// What does not run on the machine, with what was said.
    failed: BTreeMap<String, String>,
    best: Option<Best>,
}

#[derive(Deserialize)]
struct Time {
    median_s: f64,
    maps_s: f64,
}

/// The fastest of either side.
#[derive(Deserialize)]
struct Best {
    cosmogan: String,
    torch: String,
    over: Ratio,
}

/// PyTorch's time over ours within a round.
#[derive(Deserialize)]
struct Ratio {
    median: f64,
    min: f64,
    max: f64,
}

impl PyTorchTimes {
    /// All programs of all cases, and in sentences the fastest of either side.
    pub fn table(&self) -> String {
        let mut rows = Vec::new();
        let mut verdicts = String::new();
        for case in &self.cases {
            let name = case.case.to_string();
            let ours = case.cosmogan.iter().map(|time| ("cosmogan", time));
            let theirs = case.torch.iter().map(|time| ("PyTorch", time));
            for (program, (way, time)) in ours.chain(theirs) {
                rows.push(vec![
                    name.clone(),
                    format!("{program} {way}"),
                    format!("{:.3}", 1e3 * time.median_s),
                    format!("{:.1}", time.maps_s),
                ]);
            }
            for program in case.failed.keys() {
                let cells = [&name, program, "does not run there", "-"];
                rows.push(cells.map(str::to_owned).to_vec());
            }
            if let Some(Best {
                cosmogan,
                torch,
                over,
            }) = &case.best
            {
                verdicts += &format!(
                    "- {name}: PyTorch's best, {torch}, takes {:.2} [{:.2}, {:.2}] times as long as cosmogan {cosmogan}\n",
                    over.median, over.min, over.max
                );
            }
        }
        let head = [
            "case (size/base/batch)",
            "program",
            "milliseconds",
            "maps/s",
        ];
        format!("{}\n{verdicts}", table(&head, &rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_the_script_writes_them_are_shown() {
        let json = r#"{"machine": "cuda, PyTorch 2.9", "cases": [{
            "case": {"what": "step", "size": 256, "base": 64, "batch": 64},
            "cosmogan": {"bf16": {"median_s": 0.008, "maps_s": 8000.0, "times_s": [0.008]}},
            "torch": {"bf16 graph": {"median_s": 0.01, "maps_s": 6400.0, "times_s": [0.01],
                                     "over": {"bf16": {"median": 1.25, "min": 1.2, "max": 1.3}}}},
            "failed": {"PyTorch compiled": "no compiler"},
            "best": {"cosmogan": "bf16", "torch": "bf16 graph",
                     "over": {"median": 1.25, "min": 1.2, "max": 1.3}}}]}"#;
        let times: PyTorchTimes = serde_json::from_str(json).unwrap();
        let text = times.table();
        for told in [
            "| step 256/64/64 | cosmogan bf16 | 8.000 | 8000.0 |",
            "| step 256/64/64 | PyTorch bf16 graph | 10.000 | 6400.0 |",
            "| step 256/64/64 | PyTorch compiled | does not run there | - |",
            "bf16 graph, takes 1.25 [1.20, 1.30] times as long as cosmogan bf16",
        ] {
            assert!(text.contains(told), "{text} lacks {told}");
        }
    }
}

//! Results of CPUs.

use std::path::Path;

use serde::Deserialize;

use super::{Shape, picture, results};
use crate::performance::cpu::CpuProfile;
use crate::performance::tables;
use crate::report::Growth;

#[derive(Deserialize)]
struct CpuResults {
    machine: String,
    cases: Vec<CpuCase>,
}

#[derive(Deserialize)]
struct CpuCase {
    case: Shape,
    torch_layout: String,
    cosmogan_s: f64,
    torch_s: f64,
    ratio: f64,
    ratio_min: f64,
    ratio_max: f64,
}

/// Times of growing steps, as `bench scaling --json` writes them.
#[derive(Deserialize)]
pub(super) struct ScalingResults {
    device: String,
    pub machine: String,
    rows: Vec<ScalingRow>,
    /// The fitted models, in words.
    fitted: Vec<String>,
}

#[derive(Deserialize)]
struct ScalingRow {
    axis: String,
    value: usize,
    map_size: usize,
    base_filters: usize,
    batch: usize,
    threads: usize,
    seconds: f64,
    flop: u64,
    bytes: u64,
}

/// What was measured on CPUs.
///
/// # Errors
/// The folder cannot be read.
pub fn cpu(folder: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    for (name, results) in results::<CpuResults>(folder)? {
        let rows: Vec<_> = results
            .cases
            .iter()
            .map(|case| {
                vec![
                    case.case.to_string(),
                    format!("{:.3}", case.cosmogan_s),
                    format!("{:.3}", case.torch_s),
                    case.torch_layout.clone(),
                    format!(
                        "{:.2} [{:.2}, {:.2}]",
                        case.ratio, case.ratio_min, case.ratio_max
                    ),
                ]
            })
            .collect();
        let head = [
            "case (size/base/batch)",
            "cosmogan, s",
            "PyTorch, s",
            "PyTorch's layout",
            "PyTorch's time / ours [least, greatest of a pair]",
        ];
        text += &format!(
            "### CPU beside PyTorch\n\n{} (`benches/results/{name}`):\n\n",
            results.machine
        );
        text += &tables::table(&head, &rows);
        text.push('\n');
    }
    for (name, profile) in results::<CpuProfile>(folder)? {
        text += &format!(
            "### A step on the CPU, taken apart\n\n{0}x{0} maps, {1} base filters, batch {2}; {3} \
             (`benches/results/{name}`):\n\n{4}\n",
            profile.size,
            profile.base,
            profile.batch,
            profile.machine,
            profile.table()
        );
    }
    text += &scaling(folder, |device| device == "cpu")?;
    if text.is_empty() {
        text += "### CPU\n\nNot measured.\n";
    }
    Ok(text)
}

/// How steps grow on the devices that are meant.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn scaling(folder: &Path, meant: impl Fn(&str) -> bool) -> std::io::Result<String> {
    let mut text = String::new();
    let all = results::<ScalingResults>(folder)?;
    for (name, scaling) in all.iter().filter(|(_, scaling)| meant(&scaling.device)) {
        text += &format!(
            "### How a step grows\n\n{} (`benches/results/{name}`):\n\n![Time and memory of a step]({})\n\n{}\n",
            scaling.machine,
            picture(name),
            scaling.table()
        );
        for fitted in &scaling.fitted {
            text += &format!("Fitted: {fitted}.\n\n");
        }
    }
    Ok(text)
}

impl ScalingResults {
    pub(super) fn growths(&self) -> Vec<Growth> {
        let mut growths: Vec<Growth> = Vec::new();
        for row in &self.rows {
            let name = match row.axis.as_str() {
                "batch" => "maps in a batch",
                "size" => "pixels on a side of a map",
                "base" => "base filters",
                "threads" => "threads",
                other => other,
            };
            let point = (row.value as f64, row.seconds, row.bytes as f64);
            match growths.last_mut().filter(|growth| growth.name == name) {
                Some(growth) => growth.points.push(point),
                None => growths.push(Growth {
                    name: name.to_owned(),
                    points: vec![point],
                }),
            }
        }
        growths
    }

    fn table(&self) -> String {
        let row = |row: &ScalingRow| {
            vec![
                row.axis.clone(),
                format!("{}/{}/{}", row.map_size, row.base_filters, row.batch),
                row.threads.to_string(),
                format!("{:.4}", row.seconds),
                format!("{:.1}", row.batch as f64 / row.seconds),
                format!("{:.0}", row.flop as f64 / row.seconds / 1e9),
                format!("{:.2}", row.bytes as f64 / 1e9),
            ]
        };
        let head = [
            "what grows",
            "size/base/batch",
            "threads",
            "seconds",
            "maps/s",
            "GFLOP/s of the definition",
            "memory GB",
        ];
        tables::table(&head, &self.rows.iter().map(row).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::super::gpu::gpu;
    use super::*;

    #[test]
    fn what_grows_is_shown_as_a_table_and_a_figure() {
        let folder = tempfile::tempdir().unwrap();
        let row = |axis: &str, value: usize, seconds: f64| {
            format!(
                "{{\"axis\": \"{axis}\", \"value\": {value}, \"map_size\": 64, \"base_filters\": 64, \"batch\": 16, \
                 \"threads\": 2, \"seconds\": {seconds}, \"flop\": 50000000000, \"bytes\": 250000000}}"
            )
        };
        let rows = [
            row("batch", 1, 0.03),
            row("batch", 4, 0.1),
            row("base", 16, 0.02),
        ]
        .join(", ");
        let json = format!(
            "{{\"device\": \"cpu\", \"machine\": \"a machine of a test\", \"rows\": [{rows}], \"fitted\": [\"a law\"]}}"
        );
        let path = folder.path().join("a-scaling.json");
        let of_gpu = json.replace("\"cpu\"", "\"a GPU\"");
        std::fs::write(&path, of_gpu).unwrap();
        let told = gpu(folder.path()).unwrap();
        assert!(told.contains("a machine of a test"), "{told}");
        assert!(cpu(folder.path()).unwrap().contains("Not measured."));
        std::fs::write(path, json).unwrap();
        let text = cpu(folder.path()).unwrap();
        for words in [
            "a machine of a test",
            "pictures/a-scaling.png",
            "| batch | 64/64/16 | 2 | 0.1000 | 160.0 | 500 | 0.25 |",
            "Fitted: a law.",
        ] {
            assert!(text.contains(words), "{text}");
        }
        std::fs::create_dir(folder.path().join("pictures")).unwrap();
        let figures = crate::performance::measured::figures(folder.path()).unwrap();
        assert_eq!(figures.len(), 1);
        figures[0].draw(folder.path()).unwrap();
        let picture = folder.path().join("pictures/a-scaling.png");
        let decoder = png::Decoder::new(std::io::BufReader::new(
            std::fs::File::open(picture).unwrap(),
        ));
        let reader = decoder.read_info().unwrap();
        // Two things grow.
        assert_eq!((reader.info().width, reader.info().height), (740, 790));
    }
}

//! The results that are kept in `benches/results`, as tables.

use std::path::Path;

use serde::Deserialize;

use super::cpu::CpuProfile;
use super::tables;
use crate::report::{Growth, ReportError, scaling_figure};

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

#[derive(Deserialize)]
struct Shape {
    what: String,
    size: usize,
    base: usize,
    batch: usize,
}

/// Times of growing steps, as `bench scaling --json` writes them.
#[derive(Deserialize)]
struct ScalingResults {
    machine: String,
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

/// Times of kernels on a GPU, as `bench kernels --device cuda --json` writes them.
#[derive(Debug, Deserialize, serde::Serialize)]
pub struct GpuResults {
    pub device: String,
    /// Day of the measurement.
    pub date: String,
    pub batch: usize,
    /// The version of cuDNN, where there was one.
    pub cudnn: Option<String>,
    pub kernels: Vec<GpuTime>,
}

/// One case.
#[derive(Debug, Deserialize, serde::Serialize)]
pub struct GpuTime {
    pub layer: String,
    pub operation: String,
    pub version: String,
    pub median_s: f64,
    pub min_s: f64,
    pub max_s: f64,
    pub useful_flop: u64,
    pub compulsory_bytes: u64,
    /// The least time of its useful operations and compulsory bytes, where the GPU is known.
    pub roofline_s: Option<f64>,
    /// cuDNN's convolution by its fastest algorithm, where it was measured: of f32 beside v1 and v2, of
    /// bf16 beside v3, and padded by 2 on both sides.
    pub cudnn_s: Option<f64>,
    /// Which algorithm that was.
    pub cudnn_algorithm: Option<String>,
    /// cuBLAS' product with as many operations and of the same type, where it was measured.
    pub cublas_s: Option<f64>,
}

/// The results in a folder that can be read as such, in the order of their names.
fn results<T: for<'a> Deserialize<'a>>(folder: &Path) -> std::io::Result<Vec<(String, T)>> {
    let mut names = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            names.push(path);
        }
    }
    names.sort();
    let mut found = Vec::new();
    for path in names {
        let text = std::fs::read_to_string(&path)?;
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        // Results of other kinds lie there, too.
        if let (Some(name), Ok(results)) = (name, serde_json::from_str(&text)) {
            found.push((name, results));
        }
    }
    Ok(found)
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
                let Shape {
                    what,
                    size,
                    base,
                    batch,
                } = &case.case;
                vec![
                    format!("{what} {size}/{base}/{batch}"),
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
            tables::cpu_profile(&profile)
        );
    }
    for (name, scaling) in results::<ScalingResults>(folder)? {
        text += &format!(
            "### How a step grows\n\n{} (`benches/results/{name}`):\n\n![Time and memory of a step]({})\n\n{}\n",
            scaling.machine,
            picture(&name),
            scaling.table()
        );
        for fitted in &scaling.fitted {
            text += &format!("Fitted: {fitted}.\n\n");
        }
    }
    if text.is_empty() {
        text += "### CPU\n\nNot measured.\n";
    }
    Ok(text)
}

/// What was measured on GPUs.
///
/// # Errors
/// The folder cannot be read.
pub fn gpu(folder: &Path) -> std::io::Result<String> {
    let all = results::<GpuResults>(folder)?;
    if all.is_empty() {
        return Ok("Not measured: no GPU was at hand.\n".to_owned());
    }
    let mut text = String::new();
    for (name, results) in all {
        text += &format!(
            "{}, {}, batch {}, caches emptied before each launch{} (`benches/results/{name}`):\n\n",
            results.device,
            results.date,
            results.batch,
            results
                .cudnn
                .as_ref()
                .map_or_else(String::new, |version| format!(", beside cuDNN {version}")),
        );
        text += &times(&results.kernels);
        text.push('\n');
    }
    Ok(text)
}

/// Times as a table.
pub fn times(kernels: &[GpuTime]) -> String {
    let percent = |part: Option<f64>, of: f64| match part {
        Some(part) => format!("{:.0}%", 100.0 * part / of),
        None => "-".to_owned(),
    };
    let rows: Vec<_> = kernels
        .iter()
        .map(|k| {
            vec![
                k.layer.clone(),
                k.operation.clone(),
                k.version.clone(),
                format!(
                    "{:.1} [{:.1}, {:.1}]",
                    k.median_s * 1e6,
                    k.min_s * 1e6,
                    k.max_s * 1e6
                ),
                format!("{:.1}", k.useful_flop as f64 / k.median_s / 1e12),
                format!("{:.0}", k.compulsory_bytes as f64 / k.median_s / 1e9),
                percent(k.roofline_s, k.median_s),
                k.cudnn_s
                    .map_or("-".to_owned(), |seconds| format!("{:.1}", seconds * 1e6)),
                percent(k.cudnn_s, k.median_s),
                percent(k.cublas_s, k.median_s),
            ]
        })
        .collect();
    let head = [
        "layer",
        "operation",
        "version",
        "median microseconds [least, greatest]",
        "TFLOP/s",
        "GB/s",
        "of the roofline",
        "cuDNN, microseconds",
        "of cuDNN",
        "of cuBLAS' product",
    ];
    tables::table(&head, &rows)
}

/// The picture of the results `name`, from the page's folder.
fn picture(name: &str) -> String {
    format!("pictures/{}.png", name.trim_end_matches(".json"))
}

/// A figure of the page.
pub struct Figure {
    /// Its file, from the page's folder.
    picture: String,
    title: String,
    growths: Vec<Growth>,
}

impl Figure {
    /// Draws it into the page's folder.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn draw(&self, docs: &Path) -> Result<(), ReportError> {
        scaling_figure(&docs.join(&self.picture), &self.title, &self.growths)
    }
}

/// The figures of the page.
///
/// # Errors
/// The folder cannot be read.
pub fn figures(folder: &Path) -> std::io::Result<Vec<Figure>> {
    let all = results::<ScalingResults>(folder)?.into_iter();
    let figure = |(name, scaling): (String, ScalingResults)| Figure {
        picture: picture(&name),
        title: format!("A training step in f32: {}", scaling.machine),
        growths: scaling.growths(),
    };
    Ok(all.map(figure).collect())
}

impl ScalingResults {
    fn growths(&self) -> Vec<Growth> {
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
    use super::*;

    #[test]
    fn results_of_other_kinds_are_passed_over_and_those_of_a_gpu_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.json"), "{\"cases\": 3}").unwrap();
        let time = GpuTime {
            layer: "64-128 at 64".to_owned(),
            operation: "fprop".to_owned(),
            version: "v3".to_owned(),
            median_s: 250e-6,
            min_s: 240e-6,
            max_s: 260e-6,
            useful_flop: 107_374_182_400,
            compulsory_bytes: 201_000_000,
            roofline_s: Some(125e-6),
            cudnn_s: Some(200e-6),
            cudnn_algorithm: Some("algorithm 1".to_owned()),
            cublas_s: None,
        };
        let results = GpuResults {
            device: "a device of a test".to_owned(),
            date: "2026-11-26".to_owned(),
            batch: 64,
            cudnn: Some("9.10.2".to_owned()),
            kernels: vec![time],
        };
        let json = serde_json::to_string(&results).unwrap();
        std::fs::write(folder.path().join("b.json"), json).unwrap();
        let text = gpu(folder.path()).unwrap();
        for words in [
            "a device of a test",
            "beside cuDNN 9.10.2",
            "250.0 [240.0, 260.0]",
            "429.5",
            "804 |",
            "| 50% | 200.0 | 80% | - |",
        ] {
            assert!(text.contains(words), "{text}");
        }
    }

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
            "{{\"machine\": \"a machine of a test\", \"rows\": [{rows}], \"fitted\": [\"a law\"]}}"
        );
        std::fs::write(folder.path().join("a-scaling.json"), json).unwrap();
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
        let figures = figures(folder.path()).unwrap();
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

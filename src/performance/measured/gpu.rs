//! Results of GPUs.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::cpu::scaling;
use super::pytorch::PyTorchTimes;
use super::{picture, results};
use crate::performance::step_times::StepTimes;
use crate::performance::tables;

/// Times of kernels on a GPU, as `bench kernels --device cuda --json` writes them.
#[derive(Debug, Deserialize, Serialize)]
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
#[derive(Debug, Deserialize, Serialize)]
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

/// What was measured on GPUs.
///
/// # Errors
/// The folder cannot be read.
pub fn gpu(folder: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    for (name, peers) in results::<PyTorchTimes>(folder)? {
        text += &format!(
            "{} (`benches/results/{name}`):\n\n{}\n",
            peers.machine,
            peers.table()
        );
    }
    for (name, results) in results::<GpuResults>(folder)? {
        text += &format!(
            "{}, {}, batch {}, caches emptied before each launch{} (`benches/results/{name}`):\n\n\
             ![Times of each version]({})\n\n",
            results.device,
            results.date,
            results.batch,
            results
                .cudnn
                .as_ref()
                .map_or_else(String::new, |version| format!(", beside cuDNN {version}")),
            picture(&name)
        );
        text += &times(&results.kernels);
        text.push('\n');
    }
    for (name, step) in results::<StepTimes>(folder)? {
        text += &format!(
            "A training step on {0}, {1}, {2}x{2} maps, {3} base filters, batch {4}, {5} \
             (`benches/results/{name}`). {6}\nBy kernel:\n\n{7}\nBy layer and pass:\n\n{8}\n",
            step.device,
            step.date,
            step.map_size,
            step.base_filters,
            step.batch,
            step.arithmetic,
            step.summary(),
            step.by_kernel(),
            step.by_layer()
        );
    }
    text += &scaling(folder, |device| device != "cpu")?;
    if text.is_empty() {
        text += "Not measured: no GPU was at hand.\n";
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
        let inner = folder.path().join("2026-11-26-gpu");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(inner.join("kernels.json"), json).unwrap();
        let text = gpu(folder.path()).unwrap();
        for words in [
            "benches/results/2026-11-26-gpu/kernels.json",
            "](pictures/2026-11-26-gpu-kernels.png)",
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
}

//! docs/PERFORMANCE.md: the kernel ladder as a course, written from counts and from results that are kept.

use std::path::Path;

use serde::Deserialize;

use super::{KernelCount, StepCount, tables};
use crate::model::Architecture;

/// Around what is counted: a test makes this part anew and compares.
pub const COUNTED: [&str; 2] = ["<!-- counted: begin -->", "<!-- counted: end -->"];

const HEAD: &str = "\
# Performance

Written by `cosmogan bench report`; do not edit. Three kinds of figures are in here, and each table says which it \
holds:

- **counted**: what the kernels do, operation by operation and byte by byte, counted on the PTX emulator. Exact, and \
the same on every machine.
- **bound**: the least time that a GPU could take for what was counted, from its datasheet. *Not a measurement*: \
no kernel reaches it.
- **measured**: times, with machine and date.

";

const COURSE: &str = "\
## The ladder

The strided 5x5 layer is nearly all of the work: convolution (`fprop`), transposed convolution (`dgrad`) and the \
gradient of the weights (`wgrad`) between a big plane and one of half its side. Each version of its kernels stays \
in the program, as an oracle for the next and as a step of this course.

1. **v1: the definition.** One thread makes one value and reads all that it needs from global memory. Nothing is \
shared, so each product asks for two values: the FLOP for a requested byte are a fraction of one. The \
caches decide what that costs; no counter of ours can tell.
2. **v2: tiles in shared memory.** A block stages the operands of a tile of 128 x 128 values and each thread keeps 8 x 8 \
sums in registers. A value that was fetched once serves 128 products: requested bytes fall by \
the same factor, and the f32 units are what is left to bound. Sums over many pixels are split in a fixed order, so \
that two runs give the same bits.
3. **v3: tensor cores.** `mma.sync` on bf16, with `cp.async` stages that fetch the next operands meanwhile, in \
shared memory swizzled against bank conflicts. The layer falls apart by pixel parity: one block makes all four parities of \
its tile and reads each input once for all of them. bf16 halves the bytes. The ends of the \
kernels do what used to be passes of their own: bias, the batch norm's statistics, the slope of the \
activation and the sums of its gradient.

The layer next to the maps has one channel there: no tensor core gains by it, and its kernels (`few_*`) are bound \
by memory, and where that is fast by f32 arithmetic and shared memory.

";

/// What is counted, between the marks of [`COUNTED`].
pub fn counted(architecture: &Architecture, kernels: &[KernelCount], step: &StepCount) -> String {
    let [by_pass, by_layer] = tables::account(step);
    let batch = kernels.first().map_or(step.batch, |kernel| kernel.batch);
    let [begin, end] = COUNTED;
    format!(
        "{begin}\n{COURSE}\
         ### What each version does (counted)\n\n\
         Batch {batch}. Layers are named by the channels of the big and of the small plane and the small \
         plane's side. `wgrad` includes the launch that adds partial sums. *Requested* are the bytes that lanes ask for, \
         *sectors* those of the 32-byte sectors that their requests touch, one request at a time, and *footprint* \
         those of all sectors that the launch touches at all: what memory must move if the caches are \
         perfect. *Barriers* are counted once a warp.\n\n{}\n\
         ### What they take of a multiprocessor (ptxas, and the published rules of occupancy)\n\n\
         Registers of a thread and static shared memory of a block on compute capability 9.0; on each GPU the \
         blocks of so many threads that a multiprocessor holds, and the share of its warps that they are.\n\n{}\n\
         ### The least time on some GPUs (bound, not measured)\n\n\
         Microseconds, and what they come from: tensor cores, f32 arithmetic, memory (the footprint once) or shared \
         memory (one pass a cycle).\n\n{}\n\
         The ceilings, dense, at the highest clock:\n\n{}\n\
         ## A whole step (counted)\n\n{}\n\
         By pass:\n\n{by_pass}\n\
         By layer and pass (*memory in use*: what the networks keep and the values of the step that are needed at that \
         time, the most of any operation):\n\n{by_layer}\n\
         The least time of a step (bound, not measured): of the floor, and of the launches one after the \
         other, each finding nothing in the caches that the one before it left there:\n\n{}\
         {end}\n",
        tables::counted(kernels),
        tables::resources(kernels),
        tables::bounds(kernels),
        tables::ceilings(),
        tables::summary(architecture, step),
        tables::step_bounds(architecture, step),
    )
}

/// The counted part of a whole document; none if a mark is missing.
pub fn counted_part(document: &str) -> Option<&str> {
    let [begin, end] = COUNTED;
    let from = document.find(begin)?;
    let to = document.find(end)? + end.len() + 1;
    document.get(from..to.min(document.len()))
}

/// The whole document: what was counted, and the results that lie in `results`.
///
/// # Errors
/// The folder cannot be read.
pub fn document(counted: &str, results: &Path) -> std::io::Result<String> {
    let mut text = HEAD.to_owned();
    text += counted;
    text += "\n## Measured\n\n";
    text += &measured_cpu(results)?;
    text += "\n### GPU\n\n";
    text += &measured_gpu(results)?;
    text += REPRODUCE;
    Ok(text)
}

const REPRODUCE: &str = "
## Making this anew

| what | command |
|---|---|
| this page | `cosmogan bench report --out docs/PERFORMANCE.md` |
| the kernels alone, on any of their shapes | `cosmogan bench kernels --version v3 --json FILE` |
| the same, timed on a GPU | `cosmogan bench kernels --device cuda --json benches/results/DATE-gpu-NAME.json` |
| the step alone | `cosmogan bench account` |
| the CPU beside PyTorch | `python benches/peers/compare.py` (its README tells more) |

`tests/step_counters.rs` counts anew and compares with the tables here and with `tests/baseline`; \
`tests/performance_faults.rs` plants regressions in the kernels' sources, and the counts name each.
";

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

/// Times of kernels on a GPU, as `bench kernels --device cuda --json` writes them.
#[derive(Debug, Deserialize, serde::Serialize)]
pub struct GpuResults {
    pub device: String,
    /// Day of the measurement.
    pub date: String,
    pub batch: usize,
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
    /// The vendor's f32 product with as many operations, where it was measured.
    pub vendor_s: Option<f64>,
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

fn measured_cpu(folder: &Path) -> std::io::Result<String> {
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
    if text.is_empty() {
        text += "### CPU\n\nNot measured.\n";
    }
    Ok(text)
}

fn measured_gpu(folder: &Path) -> std::io::Result<String> {
    let all = results::<GpuResults>(folder)?;
    if all.is_empty() {
        return Ok("Not measured: no GPU was at hand.\n".to_owned());
    }
    let mut text = String::new();
    for (name, results) in all {
        text += &format!(
            "{}, {}, batch {}, caches emptied before each launch (`benches/results/{name}`):\n\n",
            results.device, results.date, results.batch
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
                percent(k.vendor_s, k.median_s),
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
        "of cuBLAS in f32",
    ];
    tables::table(&head, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counted_part_is_found_again_in_the_document() {
        let [begin, end] = COUNTED;
        let counted = format!("{begin}\n| a |\n{end}\n");
        let folder = tempfile::tempdir().unwrap();
        let document = document(&counted, folder.path()).unwrap();
        assert_eq!(counted_part(&document), Some(counted.as_str()));
        assert!(document.contains("Not measured: no GPU was at hand."));
        assert_eq!(counted_part("nothing"), None);
    }

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
            vendor_s: None,
        };
        let results = GpuResults {
            device: "a device of a test".to_owned(),
            date: "2026-11-26".to_owned(),
            batch: 64,
            kernels: vec![time],
        };
        let json = serde_json::to_string(&results).unwrap();
        std::fs::write(folder.path().join("b.json"), json).unwrap();
        let text = measured_gpu(folder.path()).unwrap();
        for words in [
            "a device of a test",
            "250.0 [240.0, 260.0]",
            "429.5",
            "804",
            "50%",
        ] {
            assert!(text.contains(words), "{text}");
        }
    }
}

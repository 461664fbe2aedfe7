//! docs/PERFORMANCE.md: the kernel ladder as a course, written from counts and from results that are kept.

use std::path::Path;

use super::{KernelCount, StepCount, ladder, measured, tables};
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

/// The picture of the ladder, from the page's folder.
pub const LADDER: &str = "pictures/ladder.png";

/// What is counted, between the marks of [`COUNTED`]: kernels, and the step in bf16 and in f32.
pub fn counted(
    architecture: &Architecture,
    kernels: &[KernelCount],
    [step, in_f32]: [&StepCount; 2],
) -> String {
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
         perfect. *Barriers* are counted once a warp.\n\n\
         ![Requested bytes and least times by version]({LADDER})\n\n{}\n\n{}\n\
         ### What they take of a multiprocessor (ptxas, and the published rules of occupancy)\n\n\
         Registers of a thread and static shared memory of a block on compute capability 9.0; on each GPU the \
         blocks of so many threads that a multiprocessor holds, and the share of its warps that they are.\n\n{}\n\
         ### The least time on some GPUs (bound, not measured)\n\n\
         Microseconds, and what they come from: tensor cores, f32 arithmetic, memory (the footprint once) or shared \
         memory (one pass a cycle).\n\n{}\n\
         The ceilings, dense, at the highest clock:\n\n{}\n\
         ## A whole step (counted)\n\n\
         Launches are those of the full batch. What they do is counted on one map and on two, and extended; those that \
         merge what others left in parts are run as they are. Parts do not quite follow a line, which is a hundredth of \
         some passes' bytes.\n\n{}\n\
         By pass:\n\n{by_pass}\n\
         By layer and pass (*memory in use*: what the networks keep and the values of the step that are needed at that \
         time, the most of any operation):\n\n{by_layer}\n\
         By kernel, in the order in which the step first launches them; *resident* are the blocks that a \
         multiprocessor holds and the share of its warps, and the last column is the least time of all launches by the \
         datasheet:\n\n{}\n\
         In f32 (v1 and v2) the kernels outside of the strided layers are these:\n\n{}\n\
         The least time of a step (bound, not measured): of the floor, and of the launches one after the \
         other, each finding nothing in the caches that the one before it left there:\n\n{}\
         {end}\n",
        ladder::in_words(kernels),
        tables::counted(kernels),
        tables::resources(kernels),
        tables::bounds(kernels),
        tables::ceilings(),
        tables::summary(architecture, step),
        tables::by_kernel(step),
        tables::by_kernel(in_f32),
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
    text += &measured::cpu(results)?;
    text += "\n### GPU\n\n";
    text += &measured::gpu(results)?;
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
| the step alone | `cosmogan bench account` (`--precision f32`: its kernels in f32) |
| its launches, timed on a GPU | `cosmogan bench account --device cuda --json benches/results/DATE-gpu-NAME-step.json` |
| microbenchmarks of the CPU backend, statistics, data path and emulator, and of the kernels on a GPU | `cargo bench` |
| all that is measured on the CPU, its figures, and this page | `benches/cpu.sh` |
| the CPU beside PyTorch alone | `python benches/peers/compare.py` (its README tells more) |
| a step on the CPU, taken apart | `cosmogan bench profile` |
| growth with batch, size, filters and threads | `cosmogan bench scaling` |
| all that is measured on a GPU | `benches/gpu/run.sh` |

`tests/step_counters.rs` counts anew and compares with the tables here and with `tests/baseline`; \
`tests/performance_faults.rs` plants regressions in the kernels' sources, and the counts name each. \
`tests/cpu_work.rs` does both for the CPU.
";

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
}

//! Faults planted in the kernels' sources, one at a time: the check of the kernel finds each.
//! `COSMOGAN_NVCC` names the compiler; without it nothing is tested.

#[allow(dead_code)] // Parts serve the build.
#[path = "../kernels/tools/mod.rs"]
mod tools;

#[path = "common/planted.rs"]
mod planted;

use std::path::Path;

use cosmogan::backend::gpu::check::{self, Size};
use cosmogan::backend::gpu::driver::Driver;
use cosmogan::backend::gpu::launcher::Launcher;
use cosmogan::backend::gpu::{Emulated, EmulatedOptions};
use planted::planted;
use rayon::prelude::*;

/// A change of one place of a source.
struct Fault {
    what: &'static str,
    /// The file that is changed.
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// The module that is compiled anew, and how the names of the checks that find the fault begin.
    module: &'static str,
    kernel: &'static str,
}

const fn fault(
    what: &'static str,
    [file, module]: [&'static str; 2],
    kernel: &'static str,
    [from, to]: [&'static str; 2],
) -> Fault {
    Fault {
        what,
        file,
        from,
        to,
        module,
        kernel,
    }
}

const FAULTS: &[Fault] = &[
    fault(
        "an off-by-one in the padding",
        ["strided_fprop_v1.cu", "strided_fprop_v1"],
        "fprop_v1",
        [
            "2 * small.y + r - p.pad_low",
            "2 * small.y + r - p.pad_low + 1",
        ],
    ),
    fault(
        "an off-by-one in the padding",
        ["strided_fprop_v2.cu", "strided_fprop_v2"],
        "fprop_v2",
        [
            "x[item] = 2 * small.x - p.pad_low;",
            "x[item] = 2 * small.x - p.pad_low - 1;",
        ],
    ),
    fault(
        "a wrong first tap",
        ["strided_wgrad_v2.cu", "strided_wgrad_v2"],
        "wgrad_v2",
        ["s(tap % TAPS - p.pad_low)", "s(tap % TAPS - 1)"],
    ),
    fault(
        "a swapped parity",
        ["strided_dgrad_v1.cu", "strided_dgrad_v1"],
        "dgrad_v1",
        ["(big.x + p.pad_low) % 2", "(big.x + p.pad_low + 1) % 2"],
    ),
    fault(
        "a swapped parity",
        ["strided_dgrad_v2.cu", "strided_dgrad_v2"],
        "dgrad_v2",
        [
            "2 * (pixel.x + horizontal.first) + horizontal.parity",
            "2 * (pixel.x + horizontal.first) + vertical.parity",
        ],
    ),
    fault(
        "a missing barrier between stages",
        ["strided_tile.cuh", "strided_fprop_v2"],
        "fprop_v2",
        [
            "                operands.store(stages[(step + 1) % 2]);\n            }\n            __syncthreads();",
            "                operands.store(stages[(step + 1) % 2]);\n            }",
        ],
    ),
    fault(
        "a missing barrier in a tree of sums",
        ["columns.cuh", "column_sums"],
        "column_sums",
        ["half /= 2) {\n        __syncthreads();", "half /= 2) {"],
    ),
    fault(
        "a missing barrier before a tile is read",
        ["crop.cu", "crop"],
        "crop",
        [
            "        __syncthreads();\n        for (int y = threadIdx.y; y < TILE; y += ROWS) {\n            const int row = blockIdx.y",
            "        for (int y = threadIdx.y; y < TILE; y += ROWS) {\n            const int row = blockIdx.y",
        ],
    ),
    fault(
        "an unmasked tail of pixels",
        ["strided_fprop_v2.cu", "strided_fprop_v2"],
        "fprop_v2",
        [
            "const bool exists = index < p.batch * p.side * p.side;",
            "const bool exists = index >= 0;",
        ],
    ),
    fault(
        "an unmasked tail of values",
        ["vector.cuh", "adam"],
        "adam",
        ["} else if (3 * vectors + thread < len) {", "} else {"],
    ),
    fault(
        "a wrong form of epsilon",
        ["adam.cu", "adam"],
        "adam",
        ["(sqrtf(v) + now.epsilon)", "sqrtf(v + now.epsilon)"],
    ),
    fault(
        "the generator's rate for both networks",
        ["adam.cu", "adam"],
        "adam",
        ["p.values->adam[p.which]", "p.values->adam[0]"],
    ),
    fault(
        "a missing barrier where chunks are merged",
        ["columns.cuh", "norm_statistics"],
        "norm_statistics",
        ["sum;\n    __syncthreads();", "sum;"],
    ),
    fault(
        "the biased variance in the running average",
        ["norm_statistics.cu", "norm_statistics"],
        "norm_statistics",
        ["(rows > 2.0 ? rows - 1.0 : 1.0)", "rows"],
    ),
    fault(
        "small values lost in a logarithm",
        ["loss.cu", "loss"],
        "loss",
        ["log1pf(small)", "logf(1.0f + small)"],
    ),
    fault(
        "a flip too many",
        ["loss.cu", "loss"],
        "targets",
        ["word >> 8 < p.flip_below", "word >> 8 <= p.flip_below"],
    ),
    fault(
        "a missing barrier between tiles",
        ["dense_tile.cuh", "dense"],
        "dense",
        [
            "        __syncthreads();\n    }\n\n    const int n",
            "    }\n\n    const int n",
        ],
    ),
    fault(
        "a gradient that is set instead of added to",
        ["sum_partials.cu", "sum_partials"],
        "wgrad_v1",
        ["p.accumulate", "false"],
    ),
    fault(
        "an off-by-one in the padding",
        ["strided_v3.cuh", "strided_dgrad_v3"],
        "dgrad_v3",
        ["1 - pad_low : pad_low - 2", "1 - pad_low : pad_low - 1"],
    ),
    fault(
        "a swapped parity",
        ["strided_v3.cuh", "strided_fprop_v3"],
        "fprop_v3",
        [
            "return (kappa + pad_low) % 2;",
            "return (kappa + pad_low + 1) % 2;",
        ],
    ),
    fault(
        "a wait for one copy too few",
        ["strided_v3.cuh", "strided_fprop_v3"],
        "fprop_v3",
        ["wait_copies<STAGES - 2>();", "wait_copies<STAGES - 1>();"],
    ),
    fault(
        "a missing barrier between stages",
        ["strided_v3.cuh", "strided_dgrad_v3"],
        "dgrad_v3",
        [
            "wait_copies<STAGES - 2>();\n            __syncthreads();",
            "wait_copies<STAGES - 2>();",
        ],
    ),
    fault(
        "an edge that is read instead of zero",
        ["half.cuh", "strided_fprop_v3"],
        "fprop_v3",
        ["exists ? 16 : 0;", "16;"],
    ),
    fault(
        "matrices that are not transposed",
        ["half.cuh", "strided_wgrad_v3"],
        "wgrad_v3",
        [
            "ldmatrix.sync.aligned.m8n8.x4.trans.shared",
            "ldmatrix.sync.aligned.m8n8.x4.shared",
        ],
    ),
    fault(
        "a wait for one copy too few",
        ["strided_wgrad_v3.cu", "strided_wgrad_v3"],
        "wgrad_v3",
        [
            "wait_copies<PIPELINE - 2>();",
            "wait_copies<PIPELINE - 1>();",
        ],
    ),
    fault(
        "parts of moments merged without their weight",
        ["strided_v3_end.cuh", "strided_dgrad_v3"],
        "dgrad_v3",
        [
            "difference * difference, count * share",
            "difference * difference, share",
        ],
    ),
    fault(
        "a slope that forgets the activation",
        ["strided_v3_end.cuh", "strided_fprop_v3"],
        "fprop_v3",
        ["y > 0.0f ? x : low * x", "x"],
    ),
    fault(
        "taps that are not turned round",
        ["pack.cu", "pack"],
        "half_pack_dgrad",
        ["y = down - 1 - y;", "y = y;"],
    ),
    fault(
        "a missing barrier before a tile is filled again",
        ["few_fprop_v3.cu", "few_fprop_v3"],
        "few_fprop_v3",
        [
            "            __syncthreads();\n            load_halo(",
            "            load_halo(",
        ],
    ),
    fault(
        "the first group's statistics for all",
        ["few_dgrad_v3.cu", "few_dgrad_v3"],
        "few_dgrad_v3",
        ["p.saved + 2 * (tile.n / p.samples) * p.c_small", "p.saved"],
    ),
    fault(
        "teams that do not wait for each other",
        ["few_wgrad_v3.cu", "few_wgrad_v3"],
        "few_wgrad_v3",
        [
            "        __syncthreads();\n        if (team != turn) {",
            "        if (team != turn) {",
        ],
    ),
    fault(
        "the first group's statistics for all",
        ["half_dense_single.cu", "half_dense_single"],
        "half_single_forward",
        [
            "p.saved + 2 * group * p.features + feature",
            "p.saved + feature",
        ],
    ),
    fault(
        "the biased variance in the running average",
        ["half_norm_merge.cu", "half_norm_merge"],
        "half_norm_moments",
        ["(rows > 2.0 ? rows - 1.0 : 1.0)", "rows"],
    ),
    fault(
        "parts without rows that count",
        ["half_norm_merge.cu", "half_norm_merge"],
        "half_moments_merge",
        [
            "terms.v[0] += count * (a - shift);",
            "terms.v[0] += a - shift;",
        ],
    ),
    fault(
        "a slope that is left out",
        ["half_below.cuh", "half_norm_backward"],
        "half_gradient",
        [
            "g.v[i] = rounded(dy.v[i] * slope(ACTIVATION, y));",
            "g.v[i] = dy.v[i];",
        ],
    ),
];

/// Runs the checks whose names begin with the fault's kernel until one fails; what it said.
fn found(fault: &Fault, nvcc: &Path) -> Option<String> {
    const CASES: u64 = 12;
    let change = [fault.from, fault.to];
    let modules = planted(nvcc, [fault.file, fault.module], change, 1);
    let options = EmulatedOptions {
        races: true,
        ..EmulatedOptions::default()
    };
    let mut launcher = Launcher::new(Emulated::new(options), &modules).unwrap();
    let mut checked = 0;
    for check in check::all(launcher.driver.info().capability) {
        if !check.name().starts_with(fault.kernel) {
            continue;
        }
        checked += 1;
        for seed in 0..CASES {
            let outcome = check::run(&mut launcher, check.as_ref(), Size::Small, seed);
            if !outcome.passed() {
                let worst = outcome.comparisons.iter().find(|c| !c.passed());
                let said = worst.map(|c| format!("{}: {}", c.tensor, c.place));
                let said = outcome.error.or(said).unwrap_or_default();
                let line = said.lines().next().unwrap_or_default();
                return Some(format!("{} ({}): {line}", outcome.operation, outcome.shape));
            }
        }
    }
    assert!(checked > 0, "no check is named {}", fault.kernel);
    None
}

#[test]
fn planted_faults_are_found_by_the_checks_of_their_kernels() {
    let Some(nvcc) = std::env::var_os("COSMOGAN_NVCC") else {
        println!("skipped: COSMOGAN_NVCC does not name the pinned nvcc");
        return;
    };
    let nvcc = Path::new(&nvcc);
    let results: Vec<(&Fault, Option<String>)> = FAULTS
        .par_iter()
        .map(|fault| (fault, found(fault, nvcc)))
        .collect();
    let mut missed = Vec::new();
    for (fault, found) in results {
        let name = format!("{} in {}", fault.what, fault.file);
        match found {
            Some(said) => println!("{name}: {said}"),
            None => missed.push(name),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:#?}");
}

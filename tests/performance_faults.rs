//! Slower kernels, planted in their sources one at a time: the counts of a step name the kernel, and what it does
//! more often. `COSMOGAN_NVCC` names the compiler; without it only the committed kernels are counted.
//!
//! The committed counts are those of `paper-64` at a batch of 8 (`tests/baseline/paper-64.csv`); `COSMOGAN_WRITE_BASELINE=1`
//! writes them anew.

#[allow(dead_code)] // Parts serve the build.
#[path = "../kernels/tools/mod.rs"]
mod tools;

#[path = "common/planted.rs"]
mod planted;

use std::path::{Path, PathBuf};

use cosmogan::backend::Precision;
use cosmogan::backend::gpu::ops::KernelVersion;
use cosmogan::backend::gpu::ptx::{self, PtxModule};
use cosmogan::model::Preset;
use cosmogan::performance::kernel_count::count;
use cosmogan::performance::kernels::cases;
use cosmogan::performance::regression::{Counted, Moved, csv, moved, parse};
use cosmogan::performance::step::count_step_of;
use cosmogan::train::Config;
use planted::planted;
use rayon::prelude::*;

const BATCH: usize = 8;

/// A change of a source, at all places that say `from`, that leaves results as they are.
struct Fault {
    what: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// The module that is compiled anew.
    module: &'static str,
    /// How the names of the kernels begin that do more.
    kernel: &'static str,
    /// What they do more of.
    counter: &'static str,
}

const FAULTS: &[Fault] = &[
    Fault {
        what: "an uncoalesced access",
        file: "pack.cu",
        from: "const int big = first_big + row;
        const int small = first_small + lane;
        const bool exists = big < p.c_big && small < p.c_small;
        weights[row][lane] =",
        to: "const int big = first_big + lane;
        const int small = first_small + row;
        const bool exists = big < p.c_big && small < p.c_small;
        weights[lane][row] =",
        module: "pack",
        kernel: "half_pack",
        counter: "sector_bytes",
    },
    Fault {
        what: "a dropped vector load",
        file: "half_vector.cuh",
        from: "return {*reinterpret_cast<const decltype(Packed<bf16, W>::x) *>(from)};",
        to: "if constexpr (W == 8) {
        const unsigned *each = reinterpret_cast<const unsigned *>(from);
        return {make_uint4(each[0], each[1], each[2], each[3])};
    } else {
        return {*from};
    }",
        module: "half_norm",
        kernel: "half_norm",
        counter: "sector_bytes",
    },
    Fault {
        what: "a dropped vector load",
        file: "strided_fprop_v2.cu",
        from: "left[item] = load4<T::VECTOR>",
        to: "left[item] = load4<false>",
        module: "strided_fprop_v2",
        kernel: "fprop_v2",
        counter: "sector_bytes",
    },
    Fault {
        what: "an extra pass over a tensor, which clears it",
        file: "adam.cu",
        from: "store(p.first + at, first);",
        to: "store(p.first + at, first);
        store(const_cast<float *>(p.gradient) + at, Vector<W>{});",
        module: "adam",
        kernel: "adam",
        counter: "footprint_bytes",
    },
    Fault {
        what: "bank conflicts for want of a column between rows",
        file: "pack.cu",
        from: "[EXTENT + 1]",
        to: "[EXTENT]",
        module: "pack",
        kernel: "half_pack",
        counter: "shared_wavefronts",
    },
];

fn is_f32(kernel: &str) -> bool {
    kernel.contains("_v1") || kernel.contains("_v2")
}

/// A step in mixed precision.
fn step(modules: &[PtxModule]) -> Vec<Counted> {
    let config = Config::of_preset(Preset::Paper64, None);
    count_step_of(modules, &config, BATCH, Precision::Bf16)
        .unwrap()
        .counted()
}

/// The f32 kernels at the same layers whose names begin so.
fn f32_kernels(modules: &[PtxModule], begin: &str) -> Vec<Counted> {
    let architecture = Config::of_preset(Preset::Paper64, None).architecture;
    let cases = cases(
        &architecture,
        BATCH,
        &[KernelVersion::V1, KernelVersion::V2],
    );
    let wanted = cases.par_iter().filter(|case| {
        let name = format!("{}_{}", case.operation.name(), case.version_name());
        begin.is_empty() || name == begin
    });
    let counted: Vec<Counted> = wanted
        .map(|case| {
            let counted = count(modules, case).unwrap();
            (counted.kernel, counted.counts)
        })
        .collect();
    // Few channels have kernels of their own.
    counted
        .into_iter()
        .filter(|(kernel, _)| is_f32(kernel) && kernel.starts_with(begin))
        .collect()
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/baseline/paper-64.csv")
}

fn committed() -> Vec<Counted> {
    parse(&std::fs::read_to_string(path()).unwrap()).unwrap()
}

/// What moved with the fault.
fn found(fault: &Fault, nvcc: &Path) -> Vec<Moved> {
    let change = [fault.from, fault.to];
    let modules = planted(nvcc, [fault.file, fault.module], change, usize::MAX);
    let (now, committed): (_, Vec<Counted>) = if is_f32(fault.kernel) {
        let committed = committed().into_iter();
        let of_kernel = committed.filter(|(kernel, _)| kernel.starts_with(fault.kernel));
        (f32_kernels(&modules, fault.kernel), of_kernel.collect())
    } else {
        let committed = committed().into_iter();
        (
            step(&modules),
            committed.filter(|(kernel, _)| !is_f32(kernel)).collect(),
        )
    };
    moved(&committed, &now).unwrap()
}

#[test]
fn the_committed_kernels_do_what_the_committed_table_says() {
    let mut now = step(ptx::committed());
    now.extend(f32_kernels(ptx::committed(), ""));
    if std::env::var_os("COSMOGAN_WRITE_BASELINE").is_some_and(|value| value == "1") {
        let table = now
            .iter()
            .map(|(kernel, counts)| (kernel.as_str(), *counts));
        std::fs::write(path(), csv(table)).unwrap();
    }
    let moved = moved(&committed(), &now).unwrap();
    let moved: Vec<String> = moved.iter().map(ToString::to_string).collect();
    assert!(moved.is_empty(), "{}", moved.join("\n"));
}

#[test]
fn planted_regressions_are_named_with_their_kernel_and_counter() {
    let Some(nvcc) = std::env::var_os("COSMOGAN_NVCC") else {
        println!("skipped: COSMOGAN_NVCC does not name the pinned nvcc");
        return;
    };
    let nvcc = Path::new(&nvcc);
    let mut missed = Vec::new();
    for fault in FAULTS {
        let moved = found(fault, nvcc);
        let name = format!("{} in {}", fault.what, fault.file);
        let more = moved
            .iter()
            .find(|m| m.counter == fault.counter && m.now > m.committed);
        match more {
            Some(more) => println!("{name}: {more}"),
            None => missed.push(format!("{name}: {moved:?}")),
        }
        // No other kernel is blamed.
        let other = moved.iter().find(|m| !m.kernel.starts_with(fault.kernel));
        assert!(other.is_none(), "{name}: {other:?}");
    }
    assert!(missed.is_empty(), "not found: {missed:#?}");
}

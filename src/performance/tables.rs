//! Counts as tables, in Markdown.

use super::account::{Row, by_pass, floor, fusion, rows};
use super::bound::bound_of_all;
use super::{Counts, GPUS, GpuModel, KernelCount, StepCount, bound};
use crate::backend::gpu::occupancy::Multiprocessor;
use crate::backend::gpu::ptx;
use crate::model::Architecture;

/// A table of cells.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let mut text = line(&head);
    text += &line(&vec!["---".to_owned(); head.len()]);
    for row in rows {
        text += &line(row);
    }
    text
}

pub(super) fn giga(count: u64) -> String {
    let giga = count as f64 / 1e9;
    match giga {
        0.0 => "0".to_owned(),
        _ if giga < 0.1 => format!("{giga:.3}"),
        _ => format!("{giga:.1}"),
    }
}

/// Thousand millions a second.
pub(super) fn giga_rate(count: u64, seconds: f64) -> String {
    format!("{:.0}", count as f64 / seconds / 1e9)
}

pub(super) fn mega(bytes: u64) -> String {
    let mega = bytes as f64 / 1e6;
    match mega {
        _ if mega < 10.0 => format!("{mega:.2}"),
        _ => format!("{mega:.0}"),
    }
}

fn ratio(a: u64, b: u64) -> String {
    match b {
        0 => "-".to_owned(),
        _ => format!("{:.2}", a as f64 / b as f64),
    }
}

/// A bound's time, with what it comes from.
fn bound_cell(counts: &Counts, gpu: &GpuModel) -> String {
    match bound(counts, gpu) {
        Some(b) => format!("{} {}", micro(b.seconds), b.limit.name()),
        None => "-".to_owned(),
    }
}

pub(super) fn micro(seconds: f64) -> String {
    let micro = seconds * 1e6;
    match micro {
        _ if micro < 10.0 => format!("{micro:.2}"),
        _ => format!("{micro:.0}"),
    }
}

/// The blocks and the share of the warps that a multiprocessor of `gpu` holds of a kernel.
pub fn occupancy(kernel: &str, threads: u32, gpu: &GpuModel) -> Option<(u32, f64)> {
    let resources = ptx::resources(kernel, gpu.capability)?;
    let device = Multiprocessor::of(gpu.capability);
    let blocks = device.resident_blocks(resources, threads);
    Some((blocks, device.share(blocks, threads)))
}

fn occupancy_cell(kernel: &str, threads: u32, gpu: &GpuModel) -> String {
    match occupancy(kernel, threads, gpu) {
        Some((blocks, share)) => format!("{blocks} x {threads}, {:.0}%", 100.0 * share),
        None => "-".to_owned(),
    }
}

/// What the kernels do: the counts.
pub fn counted(kernels: &[KernelCount]) -> String {
    let rows: Vec<_> = kernels
        .iter()
        .map(|k| {
            let total = k.total();
            vec![
                k.layer.clone(),
                k.operation.name().to_owned(),
                k.version.clone(),
                format!("`{}`", k.kernel),
                giga(total.tensor_flop),
                giga(total.simt_flop),
                mega(total.requested_bytes),
                mega(total.sector_bytes),
                mega(total.footprint_bytes),
                format!("{:.1}", total.intensity()),
                ratio(total.shared_wavefronts, total.ideal_wavefronts),
                total.barriers.to_string(),
            ]
        })
        .collect();
    let head = [
        "layer",
        "operation",
        "version",
        "kernel",
        "tensor GFLOP",
        "other GFLOP",
        "requested MB",
        "sectors MB",
        "footprint MB",
        "FLOP/requested byte",
        "wavefronts/ideal",
        "barriers",
    ];
    table(&head, &rows)
}

/// What the kernels take of a multiprocessor, as ptxas says, and how many blocks of them it holds.
pub fn resources(kernels: &[KernelCount]) -> String {
    let on = ["T4", "A100", "L40S", "H100"].map(GpuModel::named);
    let on: Vec<_> = on.into_iter().flatten().collect();
    let mut seen: Vec<&str> = Vec::new();
    let mut rows = Vec::new();
    for k in kernels {
        if seen.contains(&k.kernel.as_str()) {
            continue;
        }
        seen.push(&k.kernel);
        let most = ptx::resources(&k.kernel, (9, 0));
        let mut row = vec![
            format!("`{}`", k.kernel),
            most.map_or("-".to_owned(), |r| r.registers.to_string()),
            most.map_or("-".to_owned(), |r| r.shared_bytes.to_string()),
        ];
        row.extend(
            on.iter()
                .map(|gpu| occupancy_cell(&k.kernel, k.threads, gpu)),
        );
        rows.push(row);
    }
    let mut head = vec!["kernel", "registers", "shared bytes"];
    head.extend(on.iter().map(|gpu| gpu.name));
    table(&head, &rows)
}

/// The least microseconds on each GPU.
pub fn bounds(kernels: &[KernelCount]) -> String {
    let rows: Vec<_> = kernels
        .iter()
        .map(|k| {
            let mut row = vec![
                k.layer.clone(),
                k.operation.name().to_owned(),
                k.version.clone(),
            ];
            row.extend(GPUS.iter().map(|gpu| bound_cell(&k.total(), gpu)));
            row
        })
        .collect();
    let mut head = vec!["layer", "operation", "version"];
    head.extend(GPUS.iter().map(|gpu| gpu.name));
    table(&head, &rows)
}

/// The datasheets.
pub fn ceilings() -> String {
    let rows: Vec<_> = GPUS
        .iter()
        .map(|gpu| {
            vec![
                gpu.name.to_owned(),
                format!("{}.{}", gpu.capability.0, gpu.capability.1),
                gpu.multiprocessors.to_string(),
                gpu.bf16_tflops.map_or("none".to_owned(), |t| t.to_string()),
                gpu.f32_tflops.to_string(),
                gpu.memory_gb_s.to_string(),
                gpu.source.to_owned(),
            ]
        })
        .collect();
    let head = [
        "GPU",
        "compute capability",
        "multiprocessors",
        "bf16 TFLOP/s",
        "f32 TFLOP/s",
        "memory GB/s",
        "source",
    ];
    table(&head, &rows)
}

fn account_table(step: &StepCount, rows: &[Row]) -> String {
    let cells: Vec<_> = rows
        .iter()
        .map(|row| {
            vec![
                row.layer.clone(),
                row.pass.to_owned(),
                row.launches.to_string(),
                giga(row.counts.tensor_flop),
                giga(row.counts.simt_flop),
                mega(row.counts.requested_bytes),
                mega(row.counts.footprint_bytes),
                mega(step.lasting_bytes + row.live_bytes),
            ]
        })
        .collect();
    let head = [
        "layer",
        "pass",
        "launches",
        "tensor GFLOP",
        "other GFLOP",
        "requested MB",
        "footprint MB",
        "memory in use MB",
    ];
    table(&head, &cells)
}

/// Each kernel of a step: what its launches do in all, what it takes of a multiprocessor, and the least time on an
/// H100.
pub fn by_kernel(step: &StepCount) -> String {
    let h100 = GpuModel::named("H100").expect("it is in the table");
    let mut kernels: Vec<(&str, u32, Vec<Counts>)> = Vec::new();
    for launch in &step.launches {
        let same = |(kernel, ..): &&mut (&str, u32, Vec<Counts>)| *kernel == launch.kernel;
        match kernels.iter_mut().find(same) {
            Some((_, _, counts)) => counts.push(launch.counts),
            None => kernels.push((&launch.kernel, launch.threads, vec![launch.counts])),
        }
    }
    let row = |(kernel, threads, counts): &(&str, u32, Vec<Counts>)| {
        let total: Counts = counts.iter().copied().sum();
        let resources = ptx::resources(kernel, h100.capability);
        let bound = bound_of_all(counts, h100);
        vec![
            format!("`{kernel}`"),
            counts.len().to_string(),
            giga(total.tensor_flop),
            giga(total.simt_flop),
            mega(total.requested_bytes),
            ratio(total.sector_bytes, total.requested_bytes),
            mega(total.footprint_bytes),
            ratio(total.shared_wavefronts, total.ideal_wavefronts),
            total.barriers.to_string(),
            resources.map_or("-".to_owned(), |r| r.registers.to_string()),
            resources.map_or("-".to_owned(), |r| r.shared_bytes.to_string()),
            occupancy_cell(kernel, *threads, h100),
            bound.map_or("-".to_owned(), micro),
        ]
    };
    let head = [
        "kernel",
        "launches",
        "tensor GFLOP",
        "other GFLOP",
        "requested MB",
        "sectors/requested",
        "footprint MB",
        "wavefronts/ideal",
        "barriers",
        "registers",
        "shared bytes",
        "resident on an H100",
        "at least microseconds there",
    ];
    table(&head, &kernels.iter().map(row).collect::<Vec<_>>())
}

/// A step by layer and pass, and by pass.
pub fn account(step: &StepCount) -> [String; 2] {
    [
        account_table(step, &by_pass(step)),
        account_table(step, &rows(step)),
    ]
}

/// A step beside its floor and what fusion saves, in sentences.
pub fn summary(architecture: &Architecture, step: &StepCount) -> String {
    let (total, floor) = (step.total(), floor(architecture, step.batch));
    let fusion = fusion(architecture, step);
    let (separate, left) = (fusion.separate_bytes, fusion.left_bytes);
    let highest = step.outline.operations.iter().map(|o| o.live_bytes).max();
    format!(
        "A step on {} maps is {} launches. It makes {:.3} TFLOP, {:.3} of them on tensor cores; the \
         architecture asks for {:.3} ({:.1}% more are made). It touches {:.2} GB at least; the architecture \
         asks for {:.2} GB (a factor of {:.2}). Lanes request {:.1} GB.\n\n\
         Statistics, normalising and activations in passes of their own over bf16 tensors would move {:.2} \
         GB. The kernels that make or read the tensors do most of that work on their way; the passes that \
         are left move {:.2} GB: {:.2} GB are saved.\n\n\
         The networks keep {:.0} MB (parameters, gradients, moments, the average); at its height the step has \
         {:.0} MB of values in use, and all lie in an arena of {:.0} MB.\n",
        step.batch,
        step.launches.len(),
        total.flop() as f64 / 1e12,
        total.tensor_flop as f64 / 1e12,
        floor.flop as f64 / 1e12,
        100.0 * (total.flop() as f64 / floor.flop as f64 - 1.0),
        total.footprint_bytes as f64 / 1e9,
        floor.bytes as f64 / 1e9,
        total.footprint_bytes as f64 / floor.bytes as f64,
        total.requested_bytes as f64 / 1e9,
        separate as f64 / 1e9,
        left as f64 / 1e9,
        (separate as f64 - left as f64) / 1e9,
        step.lasting_bytes as f64 / 1e6,
        highest.unwrap_or(0) as f64 / 1e6,
        step.arena_bytes as f64 / 1e6,
    )
}

/// The least milliseconds of a step on each GPU: of what its launches do, one after the other, and of its
/// floor.
pub fn step_bounds(architecture: &Architecture, step: &StepCount) -> String {
    let floor = floor(architecture, step.batch);
    let floor = Counts {
        tensor_flop: floor.flop,
        footprint_bytes: floor.bytes,
        ..Counts::default()
    };
    let rows: Vec<_> = GPUS
        .iter()
        .map(|gpu| {
            let of_launches = bound_of_all(step.launches.iter().map(|l| &l.counts), gpu);
            let cell = |seconds: Option<f64>| {
                seconds.map_or("-".to_owned(), |s| format!("{:.2}", s * 1e3))
            };
            let maps = of_launches.map(|s| format!("{:.0}", step.batch as f64 / s));
            vec![
                gpu.name.to_owned(),
                cell(bound(&floor, gpu).map(|b| b.seconds)),
                cell(of_launches),
                maps.unwrap_or("-".to_owned()),
            ]
        })
        .collect();
    let head = [
        "GPU",
        "floor, ms",
        "these launches, at least ms",
        "at most maps/s",
    ];
    table(&head, &rows)
}

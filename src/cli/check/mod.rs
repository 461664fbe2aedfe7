//! `cosmogan check`: whether a GPU's kernels do here what they should.

mod mixed;
mod steps;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use super::device::in_short;
use super::progress::CountBar;
use super::say;
use cosmogan::backend::gpu::check::{self, Check, Outcome, Size, vendor};
use cosmogan::backend::gpu::driver::{DeviceInfo, Driver, DriverError};
use cosmogan::backend::gpu::launcher::Launcher;
use cosmogan::backend::gpu::ops::half;
use cosmogan::backend::gpu::ptx::{self, PtxModule};
use cosmogan::backend::gpu::{Cuda, Emulated, EmulatedOptions};
use cosmogan::files::write_atomic;
use cosmogan::train::{DeviceChoice, KernelVersion, version_name};
use steps::StepOutcome;

/// Check every kernel against the CPU in double precision
///
/// Draws shapes and values, runs each operation and each version of its kernels twice, compares what
/// they wrote with a reference in f64 and both runs with each other bit for bit; then whole training
/// steps in the same way. On a GPU shapes are small and odd ones and the paper's own; the emulator
/// takes small ones and finds races, too. The exit status is 1 if anything is wrong.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// What to check: auto (a CUDA GPU if one is usable, else the emulator), cuda, cuda:N or emulator
    #[arg(long, value_name = "NAME", default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Cases of each operation and size [default: 8; on the emulator 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    cases: Option<u64>,
    /// Seed of the first case; a case that failed is repeated with its own and --cases 1
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Only operations whose names contain this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Leave the paper's shapes out on a GPU, such as under compute-sanitizer
    #[arg(long)]
    small: bool,
    /// Where all results go as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// All that was found out.
#[derive(Serialize)]
struct Findings {
    device: String,
    compute_capability: String,
    multiprocessors: u32,
    memory_bytes: u64,
    ptx: String,
    passed: bool,
    kernels: Vec<Outcome>,
    steps: Vec<StepOutcome>,
}

/// Runs the command.
///
/// # Errors
/// A device that cannot be used, and anything that it does wrong.
pub fn run(arguments: &CheckArgs) -> Result<()> {
    let cuda = |index| {
        let open = move || Cuda::open(index);
        let sizes: &[Size] = match arguments.small {
            true => &[Size::Small],
            false => &[Size::Small, Size::Paper],
        };
        examine(arguments, &open, ptx::best(), sizes, 8)
    };
    let emulator = || {
        let options = EmulatedOptions {
            races: true,
            ..EmulatedOptions::default()
        };
        let open = move || Ok(Emulated::new(options));
        examine(arguments, &open, ptx::committed(), &[Size::Small], 2)
    };
    match arguments.device {
        DeviceChoice::Cuda(index) => cuda(index),
        DeviceChoice::Emulator => emulator(),
        DeviceChoice::Auto => match Cuda::open(0) {
            Ok(_) => cuda(0),
            Err(error) => {
                say(&format!("auto: {}; the emulator serves", in_short(&error)));
                emulator()
            }
        },
        DeviceChoice::Cpu => bail!(
            "the CPU is what kernels are compared with; give --device cuda or --device emulator"
        ),
    }
}

fn examine<D: Driver>(
    arguments: &CheckArgs,
    open: &dyn Fn() -> Result<D, DriverError>,
    modules: &[PtxModule],
    sizes: &[Size],
    default_cases: u64,
) -> Result<()> {
    let mut launcher = Launcher::new(open()?, modules)?;
    let DeviceInfo {
        name,
        capability: (major, minor),
        memory,
        multiprocessors,
        ..
    } = launcher.driver.info().clone();
    let ptx = match launcher.driver.finds_faults() {
        true => "committed PTX, races tracked".to_owned(),
        false => ptx::origin().to_string(),
    };
    say(&format!(
        "checking {name}, compute capability {major}.{minor}, {ptx}, against f64 on the CPU"
    ));
    let can_half = (major, minor) >= half::CAPABILITY;
    if !can_half {
        let (major, minor) = half::CAPABILITY;
        say(&format!(
            "kernels v3 (bf16) are left out: they need compute capability {major}.{minor}"
        ));
    }
    let cases = arguments.cases.unwrap_or(default_cases);
    let capability = (major, minor);
    let all = check::all(capability);
    let mut kernels = check_kernels(&mut launcher, arguments, sizes, cases, &all);
    kernels.extend(check_libraries(&mut launcher, arguments, sizes, cases)?);
    drop(launcher);
    for line in table(&kernels) {
        say(&line);
    }
    let mut steps = Vec::new();
    let versions = [KernelVersion::V1, KernelVersion::V2, KernelVersion::V3];
    for version in versions {
        if version == KernelVersion::V3 && !can_half {
            continue;
        }
        let title = format!("training steps, kernels {}", version_name(version));
        if !title.contains(&arguments.only) {
            continue;
        }
        let outcome = steps::check(title, open, modules, version, sizes.len() > 1)?;
        say(&outcome.line());
        steps.push(outcome);
    }
    let failures = kernels.iter().filter(|outcome| !outcome.passed()).count()
        + steps.iter().filter(|outcome| !outcome.passed()).count();
    let total = kernels.len() + steps.len();
    let findings = Findings {
        device: name,
        compute_capability: format!("{major}.{minor}"),
        multiprocessors,
        memory_bytes: memory,
        ptx,
        passed: failures == 0 && total > 0,
        kernels,
        steps,
    };
    if let Some(path) = &arguments.json {
        write_atomic(path, |file| {
            serde_json::to_writer_pretty(&mut *file, &findings)?;
            writeln!(file)
        })
        .with_context(|| format!("cannot write {}", path.display()))?;
    }
    match (failures, total) {
        (_, 0) => bail!("no operation's name contains '{}'", arguments.only),
        (0, _) => {
            say(&format!("all {total} cases passed"));
            Ok(())
        }
        _ => bail!("{failures} of {total} cases failed"),
    }
}

/// Runs the cases of what NVIDIA's libraries do here, as far as they are installed.
fn check_libraries<D: Driver>(
    launcher: &mut Launcher<D>,
    arguments: &CheckArgs,
    sizes: &[Size],
    cases: u64,
) -> Result<Vec<Outcome>> {
    let capability = launcher.driver.info().capability;
    let mut outcomes = Vec::new();
    match launcher.multiply_by_vendor() {
        Ok(()) => {
            let mut dense = check::all(capability);
            dense.retain(|check| {
                let name = check.name();
                name.starts_with("dense_") && !name.contains("single")
            });
            let mut by_vendor = check_kernels(launcher, arguments, sizes, cases, &dense);
            for outcome in &mut by_vendor {
                outcome.operation.push_str(" by cuBLAS");
            }
            outcomes.extend(by_vendor);
            let products = vendor::products(capability);
            let small = &[Size::Small];
            outcomes.extend(check_kernels(launcher, arguments, small, cases, &products));
        }
        Err(_) if launcher.driver.finds_faults() => {}
        Err(error) => say(&error.to_string()),
    }
    match launcher.driver.open_dnn() {
        Ok(version) => {
            say(&format!("cuDNN {version} is checked, too"));
            let convolutions = vendor::convolutions(capability);
            let small = &[Size::Small];
            outcomes.extend(check_kernels(
                launcher,
                arguments,
                small,
                cases,
                &convolutions,
            ));
        }
        Err(_) if launcher.driver.finds_faults() => {}
        Err(error @ DriverError::NoDnn { .. }) => say(&error.to_string()),
        Err(error) => return Err(error.into()),
    }
    Ok(outcomes)
}

/// Runs the cases of those checks that were asked for.
fn check_kernels<D: Driver>(
    launcher: &mut Launcher<D>,
    arguments: &CheckArgs,
    sizes: &[Size],
    cases: u64,
    checks: &[Box<dyn Check<D>>],
) -> Vec<Outcome> {
    let asked = checks
        .iter()
        .filter(|check| check.name().contains(&arguments.only));
    let asked: Vec<_> = asked.collect();
    let seeds = arguments.seed..arguments.seed.saturating_add(cases);
    let total = asked.len() * sizes.len() * cases as usize;
    let bar = CountBar::new("checking kernels");
    let mut outcomes = Vec::with_capacity(total);
    for check in asked {
        for &size in sizes {
            for seed in seeds.clone() {
                outcomes.push(check::run(launcher, check.as_ref(), size, seed));
                bar.show(outcomes.len(), total);
            }
        }
    }
    bar.finish();
    outcomes
}

/// A line for each operation, and more for what failed.
fn table(outcomes: &[Outcome]) -> Vec<String> {
    let width = outcomes
        .iter()
        .map(|o| o.operation.len())
        .max()
        .unwrap_or(0);
    let mut lines = Vec::new();
    for group in outcomes.chunk_by(|a, b| a.operation == b.operation) {
        let failed: Vec<_> = group.iter().filter(|outcome| !outcome.passed()).collect();
        let comparisons = group.iter().flat_map(|outcome| &outcome.comparisons);
        let worst = comparisons.fold(0.0f64, |worst, c| worst.max(c.worst));
        let verdict = match failed.len() {
            0 => "passed".to_owned(),
            failures => format!("{failures} FAILED"),
        };
        lines.push(format!(
            "{:width$}  {:4} cases, worst {worst:6.3} of the tolerance  {verdict}",
            group[0].operation,
            group.len(),
        ));
        lines.extend(failed.into_iter().take(3).flat_map(details));
    }
    lines
}

/// What went wrong in a case.
fn details(outcome: &Outcome) -> Vec<String> {
    let mut lines = vec![format!("  seed {}: {}", outcome.seed, outcome.shape)];
    let failed = outcome.comparisons.iter().filter(|c| !c.passed());
    lines.extend(failed.map(|c| format!("    {}: {}", c.tensor, c.place)));
    lines.extend(outcome.error.iter().map(|error| format!("    {error}")));
    if outcome.comparisons.is_empty() && outcome.error.is_none() {
        lines.push("    nothing was compared".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use cosmogan::backend::gpu::check::Comparison;

    fn outcome(operation: &str, seed: u64, worst: f64, error: Option<&str>) -> Outcome {
        Outcome {
            operation: operation.to_owned(),
            shape: "3 x 5".to_owned(),
            seed,
            comparisons: vec![Comparison {
                tensor: "output".to_owned(),
                worst,
                place: "value 7 is 1".to_owned(),
            }],
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn the_table_has_a_line_an_operation_and_names_what_failed() {
        let outcomes = [
            outcome("fprop v1", 0, 0.25, None),
            outcome("fprop v1", 1, 0.5, None),
            outcome("adam", 0, f64::INFINITY, None),
            outcome("adam", 1, 0.1, Some("two runs gave different bits")),
        ];
        let lines = table(&outcomes);
        assert!(lines[0].contains("fprop v1") && lines[0].contains("2 cases, worst  0.500"));
        assert!(lines[0].ends_with("passed"));
        assert!(lines[1].ends_with("2 FAILED"), "{lines:?}");
        let text = lines.join("\n");
        assert!(text.contains("output: value 7 is 1"), "{text}");
        assert!(
            text.contains("seed 1: 3 x 5\n    two runs gave different bits"),
            "{text}"
        );
    }
}

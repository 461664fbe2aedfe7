//! `cosmogan emulate`: one kernel of a PTX file on the CPU, with findings and counters.

mod buffers;
mod values;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use super::say;
use buffers::BufferOption;
use cosmogan::emulator::{
    Approximations, Buffer, Counters, Device, EmulatorError, Finding, Launch, Module, Options,
    Profile, Report, Schedule,
};
use cosmogan::files::write_atomic;
use values::Value;

const EXAMPLES: &str = "\
Buffers:
  NAME=in:FILE.npy[:bf16|:f16]       an input; the suffix converts float32 or float64
  NAME=inout:FILE.npy:OUT.npy        read before the launch, written after it
  NAME=out:TYPE[SHAPE]:OUT.npy       unwritten before the launch; bf16 is stored as float32

Arguments, in the order of the kernel's parameters:
  @NAME                              the address of a buffer
  TYPE:VALUE                         i8 u8 i16 u16 i32 u32 i64 u64 f32 f64
  struct:{ARGUMENT,...}              a struct by value, laid out as C does

Example:
  cosmogan emulate saxpy.ptx saxpy --grid 4 --block 256 --races \\
    --buffer x=in:x.npy --buffer y=inout:y.npy:out.npy \\
    --arg i32:1000 --arg f32:2.5 --arg @x --arg @y";

/// Run one CUDA kernel on the CPU and report faults and counts
///
/// Reads PTX as nvcc writes it, runs one kernel on .npy files, prints what is wrong with it (accesses
/// out of bounds, reads of unwritten memory, races, barriers that threads miss, ...) and what it
/// did. Needs no GPU and no CUDA. The exit status is 1 if anything was found.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct EmulateArgs {
    /// PTX file
    #[arg(value_name = "FILE.ptx")]
    file: PathBuf,
    /// Name of the kernel
    #[arg(value_name = "KERNEL")]
    kernel: String,
    /// Blocks along x, y, z
    #[arg(long, value_name = "X[,Y[,Z]]", value_parser = extent)]
    grid: Extent,
    /// Threads of a block along x, y, z
    #[arg(long, value_name = "X[,Y[,Z]]", value_parser = extent)]
    block: Extent,
    /// Dynamic shared memory of a block
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    shared: usize,
    /// A buffer, see below
    #[arg(long = "buffer", value_name = "NAME=...", value_parser = buffers::buffer)]
    buffers: Vec<BufferOption>,
    /// An argument, see below
    #[arg(long = "arg", value_name = "VALUE", value_parser = values::value)]
    arguments: Vec<Value>,
    /// When asynchronous copies land and in which order warps and blocks run
    #[arg(long, value_name = "latest|earliest|random:SEED", default_value = "latest",
          value_parser = schedule)]
    schedule: Schedule,
    /// Results of approximate operations: the nearest number, or any within their allowed error
    #[arg(long, value_name = "exact|perturbed:SEED", default_value = "exact",
          value_parser = approximations)]
    approx: Approximations,
    /// Track races in shared memory and conflicts of blocks in global memory
    #[arg(long)]
    races: bool,
    /// Device whose limits hold; the oldest that runs the file unless given
    #[arg(long, value_name = "sm_NN", value_parser = profile)]
    device: Option<Profile>,
    /// Most warp instructions of one block
    #[arg(long, value_name = "N", default_value_t = Options::default().instruction_limit)]
    limit: u64,
    /// Where findings and counters go as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Three sizes, so that the option is one value for the parser of the command line.
#[derive(Clone, Copy, Debug)]
struct Extent([u32; 3]);

fn extent(text: &str) -> Result<Extent, String> {
    let mut sizes = [1; 3];
    let parts: Vec<_> = text.split(',').collect();
    if parts.len() > 3 {
        return Err("at most three sizes, such as 4,2,1".to_owned());
    }
    for (size, part) in sizes.iter_mut().zip(parts) {
        *size = part
            .trim()
            .parse()
            .map_err(|_| format!("'{part}' is no size; give up to three, such as 4,2,1"))?;
    }
    Ok(Extent(sizes))
}

fn schedule(text: &str) -> Result<Schedule, String> {
    match text {
        "latest" => Ok(Schedule::Latest),
        "earliest" => Ok(Schedule::Earliest),
        _ => text
            .strip_prefix("random:")
            .and_then(|seed| seed.parse().ok())
            .map(Schedule::Random)
            .ok_or_else(|| "latest, earliest, or random: and a seed, such as random:1".to_owned()),
    }
}

fn approximations(text: &str) -> Result<Approximations, String> {
    match text {
        "exact" => Ok(Approximations::Exact),
        _ => text
            .strip_prefix("perturbed:")
            .and_then(|seed| seed.parse().ok())
            .map(Approximations::Perturbed)
            .ok_or_else(|| "exact, or perturbed: and a seed, such as perturbed:1".to_owned()),
    }
}

fn profile(text: &str) -> Result<Profile, String> {
    Profile::named(text).ok_or_else(|| {
        let names = Profile::ALL.map(|profile| profile.name).join(", ");
        format!("one of {names}")
    })
}

#[derive(serde::Serialize)]
struct Json<'a> {
    kernel: &'a str,
    completed: bool,
    findings: &'a [Finding],
    counters: Counters,
}

/// Runs the kernel.
///
/// # Errors
/// Files that cannot be read or written, PTX that is refused, a launch that cannot begin, and any
/// finding.
pub fn run(arguments: &EmulateArgs) -> Result<()> {
    let text = fs::read_to_string(&arguments.file)
        .with_context(|| format!("cannot read {}", arguments.file.display()))?;
    let (mut device, module) = load(&arguments.file, &text, arguments.device)?;
    let mut buffers = Vec::new();
    for option in &arguments.buffers {
        if buffers
            .iter()
            .any(|(known, _): &(&BufferOption, Buffer)| known.name == option.name)
        {
            bail!("buffer '{}' is given twice", option.name);
        }
        buffers.push((option, option.make(&mut device)?));
    }
    let find = |name: &str| -> Result<Buffer> {
        let found = buffers.iter().find(|(option, _)| option.name == name);
        found
            .map(|&(_, buffer)| buffer)
            .ok_or_else(|| anyhow!("the argument @{name} names no --buffer"))
    };
    let values = arguments
        .arguments
        .iter()
        .map(|value| value.argument(&find))
        .collect::<Result<Vec<_>>>()?;
    let mut launch = Launch::new(arguments.grid.0, arguments.block.0).shared(arguments.shared);
    launch.options = Options {
        schedule: arguments.schedule,
        races: arguments.races,
        approximations: arguments.approx,
        instruction_limit: arguments.limit,
        ..Options::default()
    };
    let report = device.launch(module, &arguments.kernel, &launch, &values)?;
    if report.completed() {
        for (option, buffer) in &buffers {
            option.write(&device, *buffer)?;
        }
    }
    tell(arguments, &report)
}

/// Loads the file on a device of this profile, or on the oldest that takes it.
fn load(path: &Path, text: &str, profile: Option<Profile>) -> Result<(Device, Module)> {
    let name = path.display().to_string();
    let profiles = profile.map_or(Profile::ALL.to_vec(), |profile| vec![profile]);
    let mut refused = None;
    for profile in profiles {
        let mut device = Device::new(profile);
        match device.load(&name, text) {
            Ok(module) => return Ok((device, module)),
            Err(error @ EmulatorError::Target { .. }) => refused = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    refused.map_or_else(
        || bail!("there is no device profile"),
        |error| Err(error.into()),
    )
}

fn tell(arguments: &EmulateArgs, report: &Report) -> Result<()> {
    for finding in &report.findings {
        say(&finding.to_string());
    }
    if let Some(path) = &arguments.json {
        let json = serde_json::to_vec_pretty(&Json {
            kernel: &arguments.kernel,
            completed: report.completed(),
            findings: &report.findings,
            counters: report.counters,
        })?;
        write_atomic(path, |file| file.write_all(&json))
            .with_context(|| format!("cannot write {}", path.display()))?;
    } else {
        for (name, value) in report.counters.entries() {
            say(&format!("{name:<30} {value:>16}"));
        }
    }
    if report.findings.is_empty() {
        return Ok(());
    }
    let end = if report.completed() {
        ""
    } else {
        "; the launch did not end, so no buffer was written"
    };
    let (count, plural) = match report.findings.len() {
        1 => (1, ""),
        count => (count, "s"),
    };
    bail!(
        "{count} finding{plural} in kernel {}{end}",
        arguments.kernel
    )
}

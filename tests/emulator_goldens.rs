//! What GPUs made of the sample kernels, and whether the emulator makes the same of them.
//!
//! With `COSMOGAN_RECORD_GOLDENS=FILE` the launches of `tests/emulator/cases` are done on the first
//! CUDA device and what they leave is kept in FILE (safetensors); this program needs no Rust there,
//! only the repository's files, whose place CARGO_MANIFEST_DIR names (benches/gpu/run.sh). Files in
//! `tests/emulator/goldens` are replayed by every run of the tests.

#![cfg(unix)]

#[path = "emulator/cases/mod.rs"]
mod cases;
#[path = "common/emulated_cuda.rs"]
mod emulated_cuda;

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use cases::{BufferCase, Case, Expected, Value};
use cosmogan::backend::gpu::Cuda;
use cosmogan::backend::gpu::driver::{Driver, DriverError, Geometry, Pointer};
use cosmogan::emulator::{Argument, Profile};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// Seed of the recorded cases.
const SEED: u64 = 4711;

/// Names the file to record into.
const RECORD: &str = "COSMOGAN_RECORD_GOLDENS";

/// The newest PTX of a sample that a device of this capability runs.
fn newest_ptx(file: &str, capability: u32) -> Option<String> {
    let device = Profile {
        capability,
        ..Profile::SM_75
    };
    let targets = cases::targets(file).into_iter();
    let newest = targets.filter(|target| device.runs(target)).max()?;
    Some(cases::ptx(file, &newest))
}

/// The PTX as version 8.0, which has all that the samples use: the committed text names the version
/// of the nvcc that wrote it, which drivers before CUDA 13 refuse.
fn for_older_drivers(ptx: &str) -> String {
    let lines = ptx.lines().map(|line| match line.starts_with(".version") {
        true => ".version 8.0\n".to_owned(),
        false => format!("{line}\n"),
    });
    lines.collect()
}

/// Where the contents of a buffer are kept.
fn key(index: usize, case: &Case, buffer: &BufferCase) -> String {
    format!("{index}/{}.{}/{}", case.file, case.kernel, buffer.name)
}

/// The bytes of an argument, and its alignment, as C lays it out.
fn bytes_of(value: &Value, addresses: &HashMap<&str, u64>) -> (Vec<u8>, usize) {
    fn plain<const N: usize>(bytes: [u8; N]) -> (Vec<u8>, usize) {
        (bytes.to_vec(), N)
    }
    match value {
        Value::Of(name) => plain(addresses[name].to_le_bytes()),
        Value::At(name, bytes) => plain(addresses[name].wrapping_add_signed(*bytes).to_le_bytes()),
        Value::Struct(members) => {
            let (mut laid_out, mut align) = (Vec::new(), 1);
            for member in members {
                let (bytes, of_member) = bytes_of(member, addresses);
                laid_out.resize(laid_out.len().next_multiple_of(of_member), 0);
                laid_out.extend(bytes);
                align = align.max(of_member);
            }
            laid_out.resize(laid_out.len().next_multiple_of(align), 0);
            (laid_out, align)
        }
        Value::Plain(argument) => match argument {
            Argument::I8(value) => plain(value.to_le_bytes()),
            Argument::U8(value) => plain(value.to_le_bytes()),
            Argument::I16(value) => plain(value.to_le_bytes()),
            Argument::U16(value) => plain(value.to_le_bytes()),
            Argument::I32(value) => plain(value.to_le_bytes()),
            Argument::U32(value) => plain(value.to_le_bytes()),
            Argument::I64(value) => plain(value.to_le_bytes()),
            Argument::U64(value) => plain(value.to_le_bytes()),
            Argument::F32(value) => plain(value.to_le_bytes()),
            Argument::F64(value) => plain(value.to_le_bytes()),
            Argument::Bytes(bytes) => (bytes.clone(), 1),
            other => panic!("the recorder does not know {other:?}"),
        },
    }
}

/// What the kernel of `case` leaves in each buffer on a GPU.
fn run_on_gpu(cuda: &mut Cuda, case: &Case) -> Result<Option<Vec<Vec<u8>>>, DriverError> {
    let (major, minor) = cuda.info().capability;
    let Some(ptx) = newest_ptx(case.file, 10 * major + minor) else {
        return Ok(None);
    };
    cuda.load(case.file, &for_older_drivers(&ptx))?;
    let kernel = cuda.kernel(case.kernel)?;
    let mut addresses = HashMap::new();
    let mut allocations = Vec::new();
    for buffer in &case.buffers {
        let allocation = cuda.allocate(buffer.name, buffer.bytes)?;
        cuda.write(allocation.address, &vec![0; buffer.bytes])?;
        for (offset, bytes) in &buffer.written {
            cuda.write(Pointer(allocation.address.0 + *offset as u64), bytes)?;
        }
        addresses.insert(buffer.name, allocation.address.0);
        allocations.push(allocation);
    }
    let parameters: Vec<_> = case
        .arguments
        .iter()
        .map(|value| bytes_of(value, &addresses).0)
        .collect();
    let parameters: Vec<_> = parameters.iter().map(Vec::as_slice).collect();
    let geometry = Geometry {
        grid: case.launch.grid,
        block: case.launch.block,
    };
    cuda.launch_parts(
        kernel,
        geometry,
        case.launch.shared_bytes as u32,
        &parameters,
    )?;
    cuda.synchronize()?;
    let mut contents = Vec::new();
    for allocation in allocations {
        let mut bytes = vec![0; allocation.bytes];
        cuda.read(allocation.address, &mut bytes)?;
        contents.push(bytes);
        cuda.free(allocation)?;
    }
    Ok(Some(contents))
}

/// Records all cases on the first CUDA device; tells what differs from the cases' own expectations.
fn record(file: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut tensors = Vec::new();
    let mut info = None;
    for (index, case) in cases::all(SEED).iter().enumerate() {
        // A module each: kernels of two samples may have the same name.
        let mut cuda = Cuda::open(0).unwrap();
        let (major, minor) = cuda.info().capability;
        info = Some((cuda.info().name.clone(), 10 * major + minor));
        let contents = match run_on_gpu(&mut cuda, case) {
            Ok(Some(contents)) => contents,
            Ok(None) => continue,
            Err(error) => {
                wrong.push(format!("{}: {error}", case.title()));
                continue;
            }
        };
        for (buffer, bytes) in case.buffers.iter().zip(contents) {
            if let Some(what) = buffer.wrong(&bytes) {
                wrong.push(format!("{}: {what}", case.title()));
            }
            if !matches!(buffer.expected, Expected::Unchanged) {
                tensors.push((key(index, case, buffer), bytes));
            }
        }
    }
    let (name, capability) = info.unwrap();
    let metadata = [
        ("device".to_owned(), name),
        ("capability".to_owned(), capability.to_string()),
        ("seed".to_owned(), SEED.to_string()),
    ];
    let views = tensors.iter().map(|(name, bytes)| {
        let view = TensorView::new(Dtype::U8, vec![bytes.len()], bytes).unwrap();
        (name.as_str(), view)
    });
    let metadata = Some(metadata.into_iter().collect());
    std::fs::write(file, safetensors::serialize(views, metadata).unwrap()).unwrap();
    wrong
}

/// How the emulator, or the cases' own expectations, differ from what a GPU left; and how many
/// buffers were compared bit for bit.
fn replay(file: &Path) -> (Vec<String>, usize) {
    let bytes = std::fs::read(file).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    let number = |name: &str| metadata[name].parse::<u64>().unwrap();
    let (capability, seed) = (number("capability") as u32, number("seed"));
    let recorded = SafeTensors::deserialize(&bytes).unwrap();
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for (index, case) in cases::all(seed).iter().enumerate() {
        let Some(ptx) = newest_ptx(case.file, capability) else {
            continue;
        };
        let emulated = case.run(&ptx, &case.launch).unwrap();
        for (buffer, emulated) in case.buffers.iter().zip(&emulated.contents) {
            if matches!(buffer.expected, Expected::Unchanged) {
                continue;
            }
            let place = format!("{}, {}", case.title(), buffer.name);
            let Ok(tensor) = recorded.tensor(&key(index, case, buffer)) else {
                wrong.push(format!("{place}: not recorded"));
                continue;
            };
            let golden = tensor.data();
            if let Some(what) = buffer.wrong(golden) {
                wrong.push(format!("{place}: on the GPU {what}"));
            }
            // Other buffers depend on approximations or on the order of atomics.
            if matches!(buffer.expected, Expected::Bytes(_)) {
                compared += 1;
                if let Some(at) = golden.iter().zip(emulated).position(|(a, b)| a != b) {
                    wrong.push(format!("{place}: byte {at} differs from the GPU's"));
                }
            }
        }
    }
    (wrong, compared)
}

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Named by benches/gpu/run.sh and by the test below.
#[test]
fn samples_are_recorded_on_the_first_gpu() {
    match std::env::var_os(RECORD) {
        Some(file) => none(&record(Path::new(&file))),
        None => println!("skipped: {RECORD} names no file"),
    }
}

#[test]
fn the_emulator_makes_of_samples_what_recorded_gpus_did() {
    let folder = cases::folder().join("goldens");
    let files = folder.read_dir().into_iter().flatten();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "safetensors"));
    if files.is_empty() {
        println!("skipped: nothing was recorded on a GPU yet");
    }
    for file in files {
        let (wrong, compared) = replay(&file);
        none(&wrong);
        assert!(compared > 0, "{} holds nothing to compare", file.display());
    }
}

#[test]
fn recorder_and_replay_agree_on_the_emulated_driver_and_find_a_flipped_bit() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("emulated.safetensors");
    let mut recorder = Command::new(std::env::current_exe().unwrap());
    recorder
        .args(["--exact", "samples_are_recorded_on_the_first_gpu"])
        .env(RECORD, &file);
    let status = emulated_cuda::with_emulated_cuda(&mut recorder, "")
        .status()
        .unwrap();
    assert!(status.success());
    let (wrong, compared) = replay(&file);
    none(&wrong);
    assert!(compared > 30, "{compared} buffers");

    let mut bytes = std::fs::read(&file).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // Behind the header's length and the header lies the first buffer.
    let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    assert!(text.contains("saxpy.saxpy/y"));
    bytes[8 + header + 5] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (wrong, _) = replay(&file);
    assert!(!wrong.is_empty());
}

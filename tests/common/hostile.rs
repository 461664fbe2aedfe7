//! What a hostile file may do: be read or be refused. Each function runs a reader on any bytes and
//! holds what it accepts to its word. Called by the fuzz targets and, on the committed corpora, by a
//! test.

#![allow(dead_code)] // Each fuzz target uses its own part.

use std::path::{Path, PathBuf};

use cosmogan::data::Maps;
use cosmogan::emulator::{Argument, Device, Launch, Profile, Schedule};
use cosmogan::model::{Architecture, discriminator, generator};
use cosmogan::train::{CheckpointFile, resolve};
use tempfile::TempDir;

/// Pixels that are read of one file: enough for all the files that a fuzzer makes.
const MOST_PIXELS: usize = 1 << 22;

/// A file of these bytes, in memory where the system has a place for that.
fn file(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let memory = Path::new("/dev/shm");
    let directory = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    let directory = directory.unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (directory, path)
}

/// Opens the bytes as a file of maps and reads all of its pixels.
pub fn map_file(name: &str, bytes: &[u8]) {
    let (_directory, path) = file(name, bytes);
    let Ok(maps) = Maps::open(std::slice::from_ref(&path)) else {
        return;
    };
    let mut pixels = 0;
    let mut window = Vec::new();
    for parent in 0..maps.len() {
        let side = maps.side(parent);
        let values = side * side * maps.channels();
        pixels += values;
        assert!(pixels <= bytes.len(), "more pixels than bytes");
        if pixels > MOST_PIXELS {
            return;
        }
        window.resize(values, 0.0);
        maps.read_window(parent, 0, 0, side, &mut window);
    }
}

/// Opens the bytes as a checkpoint and reads all of its tensors.
pub fn checkpoint(bytes: &[u8]) {
    let (_directory, path) = file("step-00000001.safetensors", bytes);
    if let Ok(file) = CheckpointFile::open(&path) {
        let architecture = file.description().architecture.clone();
        if let Ok(checkpoint) = file.read_all() {
            let network = generator(&architecture);
            let read = &checkpoint.generator.weights.parameters;
            assert_eq!(read.len(), network.inventory.parameter_len());
        }
    }
}

/// Loads the text as PTX and runs whatever kernels it has for a short while.
pub fn ptx(text: &str, schedule: Schedule) {
    let mut device = Device::new(Profile::SM_80);
    let Ok(module) = device.load("hostile.ptx", text) else {
        return;
    };
    let buffer = device.allocate("buffer", 1024).unwrap();
    device.upload(buffer, 0, &[1; 1024]).unwrap();
    for kernel in device.kernels(module).unwrap() {
        let arguments: Vec<_> = kernel
            .parameters
            .iter()
            .map(|parameter| match parameter.size {
                8 => Argument::Buffer(buffer),
                4 => Argument::U32(32),
                size => Argument::Bytes(vec![0; size]),
            })
            .collect();
        let mut launch = Launch::new([2, 1, 1], [64, 1, 1])
            .shared(256)
            .schedule(schedule)
            .races();
        launch.options.instruction_limit = 20_000;
        if let Ok(report) = device.launch(module, &kernel.name, &launch, &arguments) {
            for finding in &report.findings {
                assert!(!finding.to_string().is_empty());
            }
        }
    }
}

/// Reads the bytes as a configuration, which survives TOML if it is valid.
pub fn config(bytes: &[u8]) {
    let (_directory, path) = file("config.toml", bytes);
    let Ok(config) = resolve::load(None, None, Some(&path)) else {
        return;
    };
    if config.validate().is_ok() {
        let text = config.to_toml().unwrap();
        let (_directory, path) = file("config.toml", text.as_bytes());
        assert_eq!(resolve::load(None, None, Some(&path)).unwrap(), config);
        build(&config.architecture);
    }
}

/// Networks of a valid architecture can be described.
fn build(architecture: &Architecture) {
    let networks = [generator(architecture), discriminator(architecture)];
    assert!(networks.iter().all(|n| n.inventory.parameter_len() > 0));
}

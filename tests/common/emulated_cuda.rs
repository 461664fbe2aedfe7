//! The emulated `libcuda.so` (tests/emulated_cuda) in a folder for the loader's path.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The variable that names the loader's path.
#[cfg(target_os = "macos")]
pub const LOADER_PATH: &str = "DYLD_LIBRARY_PATH";
#[cfg(not(target_os = "macos"))]
pub const LOADER_PATH: &str = "LD_LIBRARY_PATH";

/// `command` with the emulated driver, which pretends as COSMOGAN_EMULATED_CUDA has it.
pub fn with_emulated_cuda<'a>(command: &'a mut Command, pretence: &str) -> &'a mut Command {
    command
        .env(LOADER_PATH, folder())
        .env("COSMOGAN_EMULATED_CUDA", pretence)
}

/// Where it lies as `libcuda.so`.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        let copy = folder.path().join(format!("{prefix}cuda{suffix}"));
        std::fs::copy(built(), copy).unwrap();
        folder
    });
    folder.path()
}

/// Builds it as this test was built: `cargo test` has done so already, but for a test alone it does
/// not.
fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--example", "emulated_cuda"]);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", profile.parent().unwrap())
        .status()
        .unwrap();
    assert!(
        status.success(),
        "the emulated driver cannot be built: {status}"
    );
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    profile.join(format!("examples/{prefix}emulated_cuda{suffix}"))
}

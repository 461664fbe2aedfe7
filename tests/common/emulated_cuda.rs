//! The emulated `libcuda.so` (tests/emulated_cuda) in a folder for the loader's path.

#![allow(dead_code)] // Each test binary uses its own part.

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

/// The same, where cuBLAS is installed besides.
pub fn with_emulated_cublas(command: &mut Command) -> &mut Command {
    let names = [file_name("cuda"), file_name("cublas")];
    command.env(LOADER_PATH, linked("cublas", &names))
}

/// The same, where cuBLAS and cuDNN are installed besides; this one as PyTorch's packages have it.
pub fn with_emulated_libraries<'a>(command: &'a mut Command, pretence: &str) -> &'a mut Command {
    let cudnn = file_name("cudnn") + ".9";
    let names = [file_name("cuda"), file_name("cublas"), cudnn];
    command
        .env(LOADER_PATH, linked("libraries", &names))
        .env("COSMOGAN_EMULATED_CUDA", pretence)
}

/// A folder with the library by several names. One file by two names is loaded once: all are of one device.
fn linked(name: &str, libraries: &[String]) -> PathBuf {
    let folder = folder();
    let linked = folder.join(name);
    std::fs::create_dir_all(&linked).unwrap();
    for library in libraries {
        let link = linked.join(library);
        let _ = std::os::unix::fs::symlink(folder.join(file_name("cuda")), link);
    }
    linked
}

fn file_name(library: &str) -> String {
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    format!("{prefix}{library}{suffix}")
}

/// Where it lies as `libcuda.so`.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(built(), folder.path().join(file_name("cuda"))).unwrap();
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
    profile.join("examples").join(file_name("emulated_cuda"))
}

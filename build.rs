//! Embeds the kernels' PTX: the committed one, and what an nvcc of this machine makes of the sources.
//!
//! Without nvcc the committed PTX serves, silently; with a broken one too, and a warning says why.
//! `COSMOGAN_REQUIRE_NVCC=1` makes both an error. `NVCC=` (empty) asks for the committed PTX.

#[allow(dead_code)] // Parts serve the script that writes the committed PTX, and its tests.
#[path = "kernels/tools/mod.rs"]
mod tools;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tools::ToolError;
use tools::local::{Origin, Outcome, Place, prepare};
use tools::nvcc::VARIABLES;

/// A file takes seconds; a busy machine some ten times that.
const LIMIT: Duration = Duration::from_secs(180);

const REQUIRE: &str = "COSMOGAN_REQUIRE_NVCC";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=kernels");
    for variable in VARIABLES.iter().chain([&REQUIRE]) {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    match embed() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

fn embed() -> Result<(), Box<dyn std::error::Error>> {
    let path = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .ok_or(format!("no {name}"))
    };
    let (root, out) = (path("CARGO_MANIFEST_DIR")?, path("OUT_DIR")?);
    let jobs = std::env::var("NUM_JOBS")
        .ok()
        .and_then(|jobs| jobs.parse().ok());
    let place = Place {
        root: &root,
        scratch: &out.join("nvcc"),
        usual: Path::new("/usr/local/cuda"),
        limit: LIMIT,
        jobs: jobs.unwrap_or(1),
    };
    let outcome = prepare(&place, &|name| std::env::var_os(name))?;
    if let Some(nvcc) = &outcome.nvcc {
        println!("cargo::rerun-if-changed={}", nvcc.display());
    }
    for warning in &outcome.warnings {
        println!("cargo::warning={warning}");
    }
    if std::env::var_os(REQUIRE).is_some_and(|value| value == "1") {
        match (&outcome.origin, &outcome.nvcc) {
            (Origin::Fallback(why), _) => return Err(format!("{REQUIRE} is 1, but {why}").into()),
            (_, None) => {
                let advice = "NVCC can name it, in PATH or by its path";
                return Err(format!("{REQUIRE} is 1, but no nvcc is found; {advice}").into());
            }
            _ => {}
        }
    }
    let built = out.join("ptx");
    std::fs::create_dir_all(&built)?;
    for (name, text) in &outcome.built {
        std::fs::write(built.join(name), text)?;
    }
    std::fs::write(out.join("ptx.rs"), table(&root, &outcome)?)?;
    Ok(())
}

/// The Rust source that src/backend/gpu/ptx.rs includes.
fn table(root: &Path, outcome: &Outcome) -> Result<String, Box<dyn std::error::Error>> {
    let mut committed = Vec::new();
    let folder = root.join("kernels/ptx");
    for entry in folder.read_dir().map_err(|e| ToolError::file(&folder, e))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".ptx") {
            committed.push(name);
        }
    }
    committed.sort();
    let built: Vec<_> = outcome.built.iter().map(|(name, _)| name.clone()).collect();
    let pinned = tools::pinned();
    let origin = match &outcome.origin {
        Origin::Committed => format!("Committed {{ nvcc: {pinned:?} }}"),
        Origin::Built(version) => format!("Built {{ nvcc: {version:?} }}"),
        Origin::Fallback(why) => format!("Fallback {{ nvcc: {pinned:?}, why: {why:?} }}"),
    };
    let mut table = format!("const ORIGIN: Origin = Origin::{origin};\n");
    let committed = modules(&committed, "CARGO_MANIFEST_DIR", "kernels/ptx");
    let built = modules(&built, "OUT_DIR", "ptx");
    writeln!(table, "const COMMITTED: &[PtxModule] = &[\n{committed}];")?;
    writeln!(table, "const BUILT: &[PtxModule] = &[\n{built}];")?;
    Ok(table)
}

/// Each file `stem.target.ptx` as a `PtxModule`.
fn modules(names: &[String], variable: &str, folder: &str) -> String {
    let module = |name: &String| {
        let stem = name.trim_end_matches(".ptx");
        let (stem, target) = stem.rsplit_once('.').unwrap_or((stem, ""));
        format!(
            "PtxModule {{ file: \"kernels/{stem}.cu\", target: {target:?}, \
             text: include_str!(concat!(env!({variable:?}), \"/{folder}/{name}\")) }},\n"
        )
    };
    names.iter().map(module).collect()
}

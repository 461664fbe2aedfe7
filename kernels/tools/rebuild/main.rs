//! Writes kernels/ptx: `rebuild-ptx NVCC SCRATCH`, run by build_ptx.sh.

#[allow(dead_code)] // Parts serve build.rs and tests.
#[path = "../mod.rs"]
mod tools;

#[allow(dead_code)]
#[path = "../instructions.rs"]
mod instructions;
#[allow(dead_code)]
#[path = "../resources.rs"]
mod resources;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tools::local::{Place, build_all};
use tools::nvcc::Compiler;
use tools::source::Source;

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [nvcc, scratch] = &arguments[..] else {
        eprintln!("usage: rebuild-ptx NVCC SCRATCH");
        return ExitCode::FAILURE;
    };
    match rebuild(nvcc, scratch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("build_ptx: {error}");
            ExitCode::FAILURE
        }
    }
}

fn rebuild(nvcc: &Path, scratch: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../..")
        .canonicalize()?;
    let place = Place {
        root: &root,
        scratch,
        usual: Path::new(""),
        limit: Duration::from_secs(600),
        jobs: std::thread::available_parallelism()?.get(),
    };
    let compiler = Compiler::open(nvcc, place.limit, scratch)?;
    if !compiler.is_pinned() {
        let (found, pinned) = (&compiler.version, tools::pinned());
        let nvcc = nvcc.display();
        let advice = "kernels/tools/install_nvcc.sh installs it";
        return Err(format!("{nvcc} is version {found}; {pinned} is wanted: {advice}").into());
    }
    let sources = Source::all(&root.join("kernels"))?;
    let built = build_all(&place, &sources, &compiler)?;
    let (table, instructions) = resources::measure(&compiler, &built, place.jobs)?;
    let folder = root.join("kernels/ptx");
    for entry in folder.read_dir()? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".ptx") && built.iter().all(|(built, _)| *built != name) {
            println!("removed {name}: it has no source");
            std::fs::remove_file(entry.path())?;
        }
    }
    for (name, text) in &built {
        write(&folder.join(name), text)?;
    }
    write(&folder.join("resources.csv"), &resources::csv(&table))?;
    let counts = instructions::csv(&instructions);
    write(&folder.join("instructions.csv"), &counts)?;
    let complaints: Vec<String> = table
        .iter()
        .filter_map(resources::Usage::complaint)
        .collect();
    match complaints.is_empty() {
        true => Ok(()),
        false => Err(complaints.join("\n").into()),
    }
}

/// Writes a file that changes: cargo takes a new date for a new text.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    println!("wrote {}", path.file_name().unwrap_or_default().display());
    std::fs::write(path, text)
}

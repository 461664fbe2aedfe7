//! What the pinned nvcc makes of the sources. `COSMOGAN_NVCC` names it; without, nothing is tested.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::place::{KERNEL, PTX, Scene};
use crate::tools::local::{Origin, Place, build_all};
use crate::tools::nvcc::Compiler;
use crate::tools::source::Source;
use crate::tools::{ToolError, text};
use crate::{committed, repository, resources};

const LIMIT: Duration = Duration::from_secs(600);

fn pinned_nvcc() -> Option<PathBuf> {
    let nvcc = std::env::var_os("COSMOGAN_NVCC").map(PathBuf::from);
    if nvcc.is_none() {
        println!("skipped: COSMOGAN_NVCC does not name the pinned nvcc");
    }
    nvcc
}

fn jobs() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

fn open(nvcc: &Path, scratch: &Path) -> Compiler {
    let compiler = Compiler::open(nvcc, LIMIT, scratch).unwrap();
    assert!(
        compiler.is_pinned(),
        "COSMOGAN_NVCC is version {}",
        compiler.version
    );
    compiler
}

fn build(nvcc: &Path, root: &Path) -> Result<Vec<(String, String)>, ToolError> {
    let scratch = tempfile::tempdir().unwrap();
    let place = Place {
        root,
        scratch: scratch.path(),
        usual: Path::new(""),
        limit: LIMIT,
        jobs: jobs(),
    };
    let sources = Source::all(&root.join("kernels"))?;
    build_all(&place, &sources, &open(nvcc, scratch.path()))
}

/// Runs the script that writes the committed PTX, in the folder `root`.
fn build_ptx(root: &Path, nvcc: &Path) -> Output {
    Command::new(root.join("kernels/tools/build_ptx.sh"))
        .arg(nvcc)
        .env("CARGO_TARGET_DIR", env!("CARGO_TARGET_TMPDIR"))
        .output()
        .unwrap()
}

#[test]
fn the_script_writes_the_committed_ptx_and_table_in_any_folder() {
    let Some(nvcc) = pinned_nvcc() else {
        return;
    };
    // The same folder every time: cargo builds for each folder anew, and keeps what it built.
    let root = &Path::new(env!("CARGO_TARGET_TMPDIR")).join("any-folder");
    if root.exists() {
        std::fs::remove_dir_all(root).unwrap();
    }
    std::fs::create_dir(root).unwrap();
    copy(&repository().join("kernels"), &root.join("kernels"));
    let folder = root.join("kernels/ptx");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("gone.sm_75.ptx"), "no source makes this").unwrap();
    let output = build_ptx(root, &nvcc);
    assert!(output.status.success(), "{output:?}");
    let made = files(&folder);
    for (name, text) in files(&repository().join("kernels/ptx")) {
        let same = made
            .iter()
            .any(|made| *made == (name.clone(), text.clone()));
        assert!(same, "{name} is stale: run kernels/tools/build_ptx.sh");
    }
    let tables = ["instructions.csv", "resources.csv"];
    assert_eq!(made.len(), committed().len() + tables.len());

    let other = Scene::new().with_nvcc("exit 1");
    let output = build_ptx(root, &other.path("cuda/bin/nvcc"));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && words.contains("99.1.2"),
        "{output:?}"
    );
    assert!(files(&folder) == made, "another nvcc has written");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in from.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let copied = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &copied),
            false => drop(std::fs::copy(&path, copied).unwrap()),
        }
    }
}

/// Name and text of every file, by name.
fn files(folder: &Path) -> Vec<(String, String)> {
    let paths = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// A function that is not inlined, one without linkage, and an include of CUDA's own.
const NAMES: &str = "// targets: sm_75 sm_90a
#include <cuda_fp16.h>
static __device__ __noinline__ float twice(float x) { return 2 * x + 1; }
namespace { __device__ float thrice(float x) { return 3 * twice(x) + __half2float(__float2half(x)); } }
extern \"C\" __global__ void one(float* p) { *p = thrice(*p); }
";

#[test]
fn the_text_does_not_depend_on_the_folder_and_names_none() {
    let Some(nvcc) = pinned_nvcc() else {
        return;
    };
    let text = || {
        let scene = Scene::new();
        scene.write("kernels/one.cu", NAMES);
        let built = build(&nvcc, scene.root()).unwrap();
        let root = scene.root().to_str().unwrap().to_owned();
        assert!(built.iter().all(|(_, text)| !text.contains(&root)));
        built
    };
    let (one, other) = (text(), text());
    assert!(one == other);
    let older = &one[0].1;
    assert!(older.contains("\"kernels/one.cu\"") && older.contains("\"cuda/cuda_fp16.h"));
    let version = |file: &(String, String)| {
        let version = text::directive(&file.1, ".version ").unwrap();
        text::VERSIONS.iter().position(|v| *v == version)
    };
    let position = |name| text::VERSIONS.iter().position(|v| *v == name);
    assert!(version(&one[0]) <= position("7.4") && version(&one[1]) == position("8.0"));
}

#[test]
fn a_kernel_that_spills_is_complained_of() {
    let Some(nvcc) = pinned_nvcc() else {
        return;
    };
    let scene = Scene::new();
    let text = "// targets: sm_75
extern \"C\" __global__ void __launch_bounds__(1024, 2) greedy(float* p) {
    float v[96];
    for (int i = 0; i < 96; ++i) v[i] = p[threadIdx.x + 1024 * i];
    for (int k = 0; k < 4; ++k) {
        __syncthreads();
        for (int i = 0; i < 96; ++i) v[i] = fmaf(v[i], v[(i + 7) % 96], p[k]);
    }
    for (int i = 0; i < 96; ++i) p[threadIdx.x + 1024 * i] = v[i];
}
";
    scene.write("kernels/one.cu", text);
    let built = build(&nvcc, scene.root()).unwrap();
    let compiler = open(&nvcc, &scene.path("scratch"));
    let (table, instructions) = resources::measure(&compiler, &built, jobs()).unwrap();
    let complaints: Vec<_> = table.iter().filter_map(|row| row.complaint()).collect();
    assert!(!complaints.is_empty(), "{table:?}");
    assert!(complaints[0].contains("greedy") && complaints[0].contains("one.cu"));
    assert_eq!(table.len(), resources::ARCHITECTURES.len());
    assert_eq!(instructions.len(), table.len());
    for row in instructions {
        assert!(row.get("local") > Some(0), "{row:?}");
        assert!(row.get("ldg_32") >= Some(96), "{row:?}");
    }
}

#[test]
fn errors_of_source_and_of_inline_assembly_are_told_in_the_compilers_words() {
    let Some(nvcc) = pinned_nvcc() else {
        return;
    };
    for (body, words) in [
        ("*p = unknown;", "identifier \"unknown\" is undefined"),
        ("int unused = 3;", "unused"),
        ("asm(\"frobnicate.u32;\");", "frobnicate"),
    ] {
        let scene = Scene::new();
        scene.write("kernels/one.cu", &KERNEL.replace("*p = value();", body));
        let error = build(&nvcc, scene.root()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_real_nvcc_of_another_version_builds_for_this_machine() {
    let Some(nvcc) = pinned_nvcc() else {
        return;
    };
    let scene = Scene::new().with_nvcc("");
    for name in ["nvcc", "ptxas"] {
        let program = nvcc.with_file_name(name);
        let script = format!("exec '{}' $arguments", program.display());
        scene.write(&format!("cuda/bin/{name}.sh"), &script);
    }
    let outcome = scene.prepare();
    assert_eq!(outcome.warnings, Vec::<String>::new());
    assert_eq!(outcome.origin, Origin::Built("99.1.2".to_owned()));
    assert!(outcome.built[0].1.contains("st.global"));
}

#[test]
fn a_compiler_without_nvdisasm_beside_it_is_told_so() {
    let Some(nvcc) = pinned_nvcc() else {
        return;
    };
    let scene = Scene::new().with_nvcc("");
    for name in ["nvcc", "ptxas"] {
        let program = nvcc.with_file_name(name);
        let script = format!("exec '{}' $arguments", program.display());
        scene.write(&format!("cuda/bin/{name}.sh"), &script);
    }
    let name = "one.sm_75.ptx".to_owned();
    let compiler = Compiler::open(&scene.path("cuda/bin/nvcc"), LIMIT, &scene.path("scratch"));
    let measured = resources::measure(&compiler.unwrap(), &[(name, PTX.to_owned())], 1);
    let error = measured.unwrap_err().to_string();
    assert!(error.contains("nvdisasm cannot be run"), "{error}");
}

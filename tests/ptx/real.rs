//! What the pinned nvcc makes of the sources. `COSMOGAN_NVCC` names it; without, nothing is tested.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::place::{KERNEL, Scene};
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

#[test]
fn the_committed_ptx_is_what_the_pinned_nvcc_makes_in_any_folder() {
    let Some(nvcc) = pinned_nvcc() else {
        return;
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let kernels = elsewhere.path().join("kernels");
    std::fs::create_dir(&kernels).unwrap();
    for entry in repository().join("kernels").read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, kernels.join(path.file_name().unwrap())).unwrap();
        }
    }
    let built = build(&nvcc, elsewhere.path()).unwrap();
    for (name, text) in &built {
        let committed = std::fs::read_to_string(repository().join("kernels/ptx").join(name));
        assert!(
            committed.is_ok_and(|committed| committed == *text),
            "{name} is not what nvcc makes: run kernels/tools/build_ptx.sh"
        );
    }
    let names = |files: &[(String, String)]| files.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&built), names(&committed()));
}

#[test]
fn kernels_take_the_resources_of_the_committed_table() {
    let Some(nvcc) = pinned_nvcc() else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let compiler = open(&nvcc, scratch.path());
    let measured = resources::measure(&compiler, &committed(), jobs()).unwrap();
    let table = std::fs::read_to_string(repository().join("kernels/ptx/resources.csv")).unwrap();
    let table = resources::parse(&table).unwrap();
    for (measured, known) in measured.iter().zip(&table) {
        assert_eq!(measured, known, "run kernels/tools/build_ptx.sh");
    }
    assert_eq!(
        measured.len(),
        table.len(),
        "run kernels/tools/build_ptx.sh"
    );
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
    let table = resources::measure(&compiler, &built, jobs()).unwrap();
    let complaints: Vec<_> = table.iter().filter_map(|row| row.complaint()).collect();
    assert!(!complaints.is_empty(), "{table:?}");
    assert!(complaints[0].contains("greedy") && complaints[0].contains("one.cu"));
    assert_eq!(table.len(), resources::ARCHITECTURES.len());
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

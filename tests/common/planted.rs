//! Changes planted in the kernels' sources, compiled by the pinned nvcc. A test that includes this module has
//! `kernels/tools` as `crate::tools`.

use std::path::Path;
use std::time::Duration;

use cosmogan::backend::gpu::ptx::{self, PtxModule};

use crate::tools::nvcc::Compiler;
use crate::tools::source::Source;

/// The kernels with `file` changed at the first `most` places and `module` compiled anew from it; the others are the committed ones.
///
/// # Panics
/// If the file does not say `from`, or nvcc does not take what it says then.
pub fn planted(
    nvcc: &Path,
    [file, module]: [&str; 2],
    [from, to]: [&str; 2],
    most: usize,
) -> Vec<PtxModule> {
    let root = tempfile::tempdir().unwrap();
    let kernels = root.path().join("kernels");
    std::fs::create_dir(&kernels).unwrap();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    for entry in sources.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, kernels.join(path.file_name().unwrap())).unwrap();
        }
    }
    let path = kernels.join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} no longer says: {from}");
    std::fs::write(&path, text.replacen(from, to, most)).unwrap();
    let limit = Duration::from_secs(300);
    let compiler = Compiler::open(nvcc, limit, &root.path().join("scratch")).unwrap();
    let all = Source::all(&kernels).unwrap();
    let source = all.iter().find(|source| source.stem == module).unwrap();
    let compiled = compiler.compile(root.path(), source, &source.targets[0]);
    // Modules live as long as the program that embeds them.
    let text: &'static str = Box::leak(compiled.unwrap().into_boxed_str());
    let file = format!("kernels/{module}.cu");
    let others = ptx::committed().iter();
    others
        .map(|module| match module.file == file {
            true => PtxModule { text, ..*module },
            false => *module,
        })
        .collect()
}

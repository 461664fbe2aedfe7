//! A repository of one kernel in a temporary folder, with an nvcc and a ptxas that do as told.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::tools::ToolError;
use crate::tools::local::{Outcome, Place, prepare};
use crate::tools::source::Source;
use crate::tools::{pinned, text};

pub const KERNEL: &str = "// targets: sm_75\n#include \"one.cuh\"\nextern \"C\" __global__ void one(float* p) { *p = value(); }\n";
pub const HEADER: &str = "#include <cstdint>\n__device__ inline float value() { return 1.0f; }\n";
pub const PTX: &str = ".version 9.0\n.target sm_75\n.address_size 64\n\n.visible .entry one(\n\t.param .u64 one_param_0\n)\n{\n\tret;\n}\n";

pub struct Scene {
    folder: TempDir,
    pub limit: Duration,
}

impl Scene {
    /// The sources and, as committed, the PTX of [`PTX`]; no nvcc.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for part in ["kernels/ptx", "cuda/bin", "scratch"] {
            std::fs::create_dir_all(folder.path().join(part)).unwrap();
        }
        let scene = Self {
            folder,
            limit: Duration::from_secs(60),
        };
        scene.write("kernels/one.cu", KERNEL);
        scene.write("kernels/one.cuh", HEADER);
        scene.commit(PTX);
        scene
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Makes `body` the committed PTX of the sources as they are.
    pub fn commit(&self, body: &str) {
        let digest = self.sources()[0].digest("sm_75", pinned());
        let head = text::head("one.cu", "sm_75", pinned(), &digest);
        self.write("kernels/ptx/one.sm_75.ptx", &(head + body));
    }

    pub fn sources(&self) -> Vec<Source> {
        Source::all(&self.path("kernels")).unwrap()
    }

    /// An nvcc that does what `script` says, beside a ptxas that takes everything. Links to a script that
    /// nobody writes while somebody runs it.
    pub fn with_nvcc(self, script: &str) -> Self {
        let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ptx/fake.sh");
        for name in ["nvcc", "ptxas"] {
            let link = self.path("cuda/bin").join(name);
            std::os::unix::fs::symlink(&fake, link).unwrap();
        }
        self.write("cuda/bin/nvcc.sh", script);
        self.write("cuda/bin/ptxas.sh", "exit 0");
        self
    }

    /// An nvcc that writes `text`.
    pub fn with_output(self, text: &str) -> Self {
        self.write("output", text);
        let output = self.path("output");
        self.with_nvcc(&format!("cat '{}' >\"$output\"", output.display()))
    }

    /// What build.rs decides where these variables are set.
    pub fn prepare_with(&self, variables: &[(&str, &str)]) -> Result<Outcome, ToolError> {
        let place = Place {
            root: self.root(),
            scratch: &self.path("scratch"),
            usual: &self.path("usual"),
            limit: self.limit,
            jobs: 2,
        };
        prepare(&place, &|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    /// What build.rs decides where `NVCC` names the one in cuda/bin.
    pub fn prepare(&self) -> Outcome {
        let nvcc = self.path("cuda/bin/nvcc");
        self.prepare_with(&[("NVCC", nvcc.to_str().unwrap())])
            .unwrap()
    }
}

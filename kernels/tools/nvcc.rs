//! NVIDIA's compiler: where it is, and what it makes of our sources.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::command::run;
use super::source::{FLAGS, PINNED_FLAGS, Source};
use super::{ToolError, pinned, text};

/// How the environment's variables are read.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The variables that [`find`] reads.
pub const VARIABLES: [&str; 4] = ["NVCC", "CUDA_HOME", "CUDA_PATH", "PATH"];

/// Looks for nvcc: `NVCC`, then `CUDA_HOME`, `CUDA_PATH` and the folders of `PATH`, then `usual`, where
/// CUDA usually is. An empty `NVCC` says that none is wanted.
///
/// # Errors
/// `NVCC` names what is no program.
pub fn find(variables: Variables, usual: &Path) -> Result<Option<PathBuf>, ToolError> {
    let in_path = |name: &Path| {
        let folders = variables("PATH").unwrap_or_default();
        let mut found = std::env::split_paths(&folders).map(|folder| folder.join(name));
        found.find(|path| is_program(path))
    };
    if let Some(value) = variables("NVCC") {
        if value.is_empty() {
            return Ok(None);
        }
        let named = PathBuf::from(&value);
        let found = match named.components().count() {
            1 => in_path(&named),
            _ => Some(named).filter(|path| is_program(path)),
        };
        return found.map(Some).ok_or_else(|| ToolError::Variable {
            value: value.to_string_lossy().into_owned(),
        });
    }
    let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(variables);
    let mut homes = homes.map(|home| PathBuf::from(home).join("bin/nvcc"));
    let usual = usual.join("bin/nvcc");
    Ok(homes
        .find(|path| is_program(path))
        .or_else(|| in_path(Path::new("nvcc")))
        .or_else(|| Some(usual).filter(|path| is_program(path))))
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let mode = path
        .metadata()
        .map(|data| (data.is_file(), data.permissions().mode()));
    mode.is_ok_and(|(file, mode)| file && mode & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

/// An nvcc with its ptxas and, where it is installed, its nvdisasm.
pub struct Compiler {
    nvcc: PathBuf,
    ptxas: PathBuf,
    nvdisasm: PathBuf,
    /// Such as `13.0.88`.
    pub version: String,
    /// How long any of them may run.
    limit: Duration,
    /// A folder for what only lives as long as the compilation.
    scratch: PathBuf,
}

/// How long nvcc may think about its own version.
const VERSION_LIMIT: Duration = Duration::from_secs(20);

impl Compiler {
    /// Asks nvcc for its version.
    ///
    /// # Errors
    /// A program that does not run, or does not say a version.
    pub fn open(nvcc: &Path, limit: Duration, scratch: &Path) -> Result<Self, ToolError> {
        std::fs::create_dir_all(scratch).map_err(|e| ToolError::file(scratch, e))?;
        let log = scratch.join("version.log");
        let words = run(
            Command::new(nvcc).arg("--version"),
            limit.min(VERSION_LIMIT),
            &log,
        )?;
        let mut versions = words.split_whitespace().filter_map(|word| {
            let version = word.strip_prefix('V')?;
            version
                .split('.')
                .all(|n| n.parse::<u32>().is_ok())
                .then_some(version)
        });
        let version = versions.next().ok_or_else(|| ToolError::Start {
            program: nvcc.to_owned(),
            reason: "asked for its --version, it names none".to_owned(),
        })?;
        // Beside nvcc, or beside what a link to it stands for.
        let places = [Some(nvcc.to_owned()), nvcc.canonicalize().ok()];
        let beside = |name: &str| {
            let places = places.iter().flatten();
            let mut beside = places.map(|nvcc| nvcc.with_file_name(name));
            beside.find(|path| is_program(path))
        };
        Ok(Self {
            nvcc: nvcc.to_owned(),
            ptxas: beside("ptxas").unwrap_or_else(|| PathBuf::from("ptxas")),
            // Not any in the path: another version would write another table.
            nvdisasm: beside("nvdisasm").unwrap_or_else(|| nvcc.with_file_name("nvdisasm")),
            version: version.to_owned(),
            limit,
            scratch: scratch.to_owned(),
        })
    }

    /// Whether this is the version that wrote the committed PTX.
    pub fn is_pinned(&self) -> bool {
        self.version == pinned()
    }

    /// The PTX of `source`, a file of `root`/kernels, for `target`, with the lowest version that ptxas
    /// takes and without traces of the machine.
    ///
    /// # Errors
    /// An nvcc or ptxas that fails, hangs, or makes something else.
    pub fn compile(&self, root: &Path, source: &Source, target: &str) -> Result<String, ToolError> {
        let root = root.canonicalize().map_err(|e| ToolError::file(root, e))?;
        let file = format!("{}.cu", source.stem);
        let name = source.ptx_name(target);
        let raw = self.scratch.join(format!("{name}.raw"));
        let _ = std::fs::remove_file(&raw);
        let architecture = format!("arch={},code={target}", target.replace("sm_", "compute_"));
        let mut command = Command::new(&self.nvcc);
        command.args(FLAGS).args(["--generate-code", &architecture]);
        if self.is_pinned() {
            command.args(PINNED_FLAGS);
        }
        command
            .arg("--output-file")
            .arg(&raw)
            .arg(root.join("kernels").join(&file));
        run(
            &mut command,
            self.limit,
            &self.scratch.join(format!("{name}.log")),
        )?;

        let wrong = |problem: String| ToolError::Output {
            program: self.nvcc.clone(),
            file: file.clone(),
            target: target.to_owned(),
            problem,
        };
        let bytes = std::fs::read(&raw).map_err(|_| wrong("it wrote nothing".to_owned()))?;
        let made = String::from_utf8(bytes).map_err(|_| wrong("it is no text".to_owned()))?;
        let clean = text::anonymous(&made, &root.to_string_lossy(), &source.stem);
        if let Some(problem) = text::problem(&clean, target) {
            return Err(wrong(problem));
        }
        let body = text::lowest_version(&clean, |text| {
            self.assemble(&name, text, target).map(|_| ())
        })?;
        let digest = source.digest(target, &self.version);
        Ok(text::head(&file, target, &self.version, &digest) + &body)
    }

    /// Assembles PTX for a real architecture and gives what `ptxas -v` says.
    ///
    /// # Errors
    /// PTX that ptxas does not take.
    pub fn assemble(
        &self,
        name: &str,
        text: &str,
        architecture: &str,
    ) -> Result<String, ToolError> {
        let place = |end| self.place(name, architecture, end);
        let ptx = place("ptx");
        std::fs::write(&ptx, text).map_err(|e| ToolError::file(&ptx, e))?;
        let mut command = Command::new(&self.ptxas);
        command
            .args(["-v", "-arch", architecture, "-o"])
            .arg(place("cubin"))
            .arg(&ptx);
        run(&mut command, self.limit, &place("log"))
    }

    /// The machine instructions of PTX that [`Compiler::assemble`] has taken, as `nvdisasm` writes them.
    ///
    /// # Errors
    /// No nvdisasm, or one that does not know the architecture.
    pub fn disassemble(&self, name: &str, architecture: &str) -> Result<String, ToolError> {
        let mut command = Command::new(&self.nvdisasm);
        command
            .arg("--print-code")
            .arg(self.place(name, architecture, "cubin"));
        run(
            &mut command,
            self.limit,
            &self.place(name, architecture, "sass"),
        )
    }

    fn place(&self, name: &str, architecture: &str, end: &str) -> PathBuf {
        self.scratch.join(format!("{name}.{architecture}.{end}"))
    }
}

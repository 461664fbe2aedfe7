//! What build.rs decides: which PTX this build of the crate runs on a GPU.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::nvcc::{Compiler, Variables, find};
use super::source::Source;
use super::{ToolError, in_parallel, pinned, text};

/// Where the PTX comes from that this build runs on a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The committed PTX: there is no nvcc here, or it is the one that wrote it.
    Committed,
    /// Built here by an nvcc of this version.
    Built(String),
    /// The committed PTX, because nvcc failed.
    Fallback(String),
}

/// What was decided.
pub struct Outcome {
    pub origin: Origin,
    /// Name and text of each file that was built.
    pub built: Vec<(String, String)>,
    pub nvcc: Option<PathBuf>,
    pub warnings: Vec<String>,
}

/// Where everything is.
pub struct Place<'a> {
    /// The repository.
    pub root: &'a Path,
    /// A folder to work in.
    pub scratch: &'a Path,
    /// Where CUDA usually is.
    pub usual: &'a Path,
    /// How long nvcc may take for one file.
    pub limit: Duration,
    /// Files that are compiled at a time.
    pub jobs: usize,
}

/// Names of committed PTX files that are missing or were made of other sources.
pub fn stale(root: &Path, sources: &[Source]) -> Vec<String> {
    let mut stale = Vec::new();
    for source in sources {
        for target in &source.targets {
            let name = source.ptx_name(target);
            let text = std::fs::read_to_string(root.join("kernels/ptx").join(&name));
            let fresh = text
                .is_ok_and(|text| text::digest_in(&text) == Some(&source.digest(target, pinned())));
            if !fresh {
                stale.push(name);
            }
        }
    }
    stale
}

/// Looks for nvcc and lets it compile all sources, unless the committed PTX is what it would make.
///
/// # Errors
/// Sources that cannot be read. Whatever is wrong with nvcc is in the outcome.
pub fn prepare(place: &Place, variables: Variables) -> Result<Outcome, ToolError> {
    let sources = Source::all(&place.root.join("kernels"))?;
    let stale = stale(place.root, &sources);
    let mut warnings = Vec::new();
    if !stale.is_empty() {
        warnings.push(format!(
            "kernels/ptx is stale ({}): run kernels/tools/build_ptx.sh NVCC with nvcc {}",
            stale.join(", "),
            pinned()
        ));
    }
    let (nvcc, found) = match find(variables, place.usual) {
        Ok(nvcc) => (nvcc, Ok(())),
        Err(error) => (None, Err(error)),
    };
    let result = found.and_then(|()| match &nvcc {
        None => Ok(None),
        Some(nvcc) => build(place, &sources, nvcc, stale.is_empty()),
    });
    let (origin, built) = match result {
        Ok(None) => (Origin::Committed, Vec::new()),
        Ok(Some((version, built))) => (Origin::Built(version), built),
        Err(error) => {
            let why = error.to_string().replace('\n', " ");
            warnings.push(format!("the committed PTX is used: {why}"));
            (Origin::Fallback(why), Vec::new())
        }
    };
    Ok(Outcome {
        origin,
        built,
        nvcc,
        warnings,
    })
}

/// The version of nvcc and what it makes; none if that is the committed PTX.
type Built = Option<(String, Vec<(String, String)>)>;

fn build(place: &Place, sources: &[Source], nvcc: &Path, fresh: bool) -> Result<Built, ToolError> {
    let compiler = Compiler::open(nvcc, place.limit, place.scratch)?;
    if compiler.is_pinned() && fresh {
        return Ok(None);
    }
    let built = build_all(place, sources, &compiler)?;
    if fresh {
        for (name, text) in &built {
            same_kernels(place.root, nvcc, name, text)?;
        }
    }
    Ok(Some((compiler.version, built)))
}

/// Name and text of the PTX of every source and target.
///
/// # Errors
/// As [`Compiler::compile`].
pub fn build_all(
    place: &Place,
    sources: &[Source],
    compiler: &Compiler,
) -> Result<Vec<(String, String)>, ToolError> {
    let all = |source| move |target| (source, target);
    let tasks: Vec<_> = sources
        .iter()
        .flat_map(|s| s.targets.iter().map(all(s)))
        .collect();
    in_parallel(&tasks, place.jobs, |(source, target)| {
        let text = compiler.compile(place.root, source, target)?;
        Ok((source.ptx_name(target), text))
    })
}

/// A compiler that drops or changes kernels is not trusted.
fn same_kernels(root: &Path, nvcc: &Path, name: &str, built: &str) -> Result<(), ToolError> {
    let path = root.join("kernels/ptx").join(name);
    let committed = std::fs::read_to_string(&path).map_err(|e| ToolError::file(&path, e))?;
    let sorted = |text| {
        let mut entries = text::entries(text);
        entries.sort();
        entries
    };
    let (stem, target) = name
        .trim_end_matches(".ptx")
        .rsplit_once('.')
        .unwrap_or((name, ""));
    match sorted(built) == sorted(&committed) {
        true => Ok(()),
        false => Err(ToolError::Output {
            program: nvcc.to_owned(),
            file: format!("{stem}.cu"),
            target: target.to_owned(),
            problem: "its kernels or their parameters are not those of the committed PTX"
                .to_owned(),
        }),
    }
}

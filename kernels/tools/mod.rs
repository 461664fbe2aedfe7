//! How kernels become PTX: `kernels/*.cu` through nvcc, its text cleaned, checked by ptxas.
//!
//! build.rs compiles what a local nvcc makes of them; build_ptx.sh writes the committed PTX of the
//! pinned nvcc; tests/ptx.rs holds the committed PTX to its sources. All three use this module.

pub mod command;
pub mod local;
pub mod nvcc;
pub mod source;
pub mod text;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The version of nvcc whose PTX is committed, as nvcc.txt pins it.
pub fn pinned() -> &'static str {
    include_str!("nvcc.txt")
        .lines()
        .find_map(|line| line.strip_prefix("nvidia-cuda-nvcc=="))
        .and_then(|rest| rest.split([' ', '\\']).next())
        .unwrap_or("unknown")
}

/// Why there is no PTX.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error("{path}: {source}", path = .path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("kernels/{file}: {problem}")]
    Source { file: String, problem: String },
    #[error("NVCC is {value}, which is no file that can be run")]
    Variable { value: String },
    #[error("{program} cannot be run: {reason}", program = .program.display())]
    Start { program: PathBuf, reason: String },
    #[error("{program} hangs: it was ended after {seconds} s", program = .program.display())]
    Hangs { program: PathBuf, seconds: u64 },
    #[error("{program} fails ({status}): {words}", program = .program.display())]
    Fails {
        program: PathBuf,
        status: String,
        words: String,
    },
    #[error("{program} makes what is not the PTX of {file} for {target}: {problem}", program = .program.display())]
    Output {
        program: PathBuf,
        file: String,
        target: String,
        problem: String,
    },
}

impl ToolError {
    pub fn file(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        Self::File { path, source }
    }
}

/// `task` for every item, by up to `jobs` threads; the results in order, or the first error.
pub fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    task: impl Fn(&T) -> Result<R, ToolError> + Sync,
) -> Result<Vec<R>, ToolError> {
    let next = AtomicUsize::new(0);
    let results: Vec<_> = items.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else {
                        break;
                    };
                    let result = task(item);
                    if result.is_err() {
                        next.store(items.len(), Ordering::Relaxed);
                    }
                    if let Ok(mut place) = results[index].lock() {
                        *place = Some(result);
                    }
                }
            });
        }
    });
    // What was not begun lies behind the first error.
    let done = results.into_iter().filter_map(|r| r.into_inner().ok()?);
    done.collect()
}

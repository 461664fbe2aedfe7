//! The sources of a module of kernels, and the digest that ties PTX to them.

use std::collections::BTreeMap;
use std::path::Path;

use super::ToolError;

/// One `kernels/*.cu` with all it includes from there.
pub struct Source {
    /// The file's name without `.cu`.
    pub stem: String,
    /// What it is compiled for, such as `sm_75`: the words of its line `// targets: ...`.
    pub targets: Vec<String>,
    /// The file and what it includes, by name.
    files: BTreeMap<String, String>,
}

/// Options of every compilation, but for target and paths.
pub const FLAGS: [&str; 4] = ["--ptx", "-lineinfo", "-std=c++17", "-O3"];

/// Options beside [`FLAGS`] for the pinned nvcc: another one may know other warnings.
pub const PINNED_FLAGS: [&str; 2] = ["-Werror", "all-warnings"];

impl Source {
    /// The sources in the folder `kernels`, by name.
    ///
    /// # Errors
    /// A source without targets, or one that includes what is not there.
    pub fn all(kernels: &Path) -> Result<Vec<Self>, ToolError> {
        let mut stems = Vec::new();
        let entries = kernels
            .read_dir()
            .map_err(|e| ToolError::file(kernels, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| ToolError::file(kernels, e))?;
            if let Some(stem) = entry
                .file_name()
                .to_str()
                .and_then(|n| n.strip_suffix(".cu"))
            {
                stems.push(stem.to_owned());
            }
        }
        stems.sort();
        stems
            .into_iter()
            .map(|stem| Self::read(kernels, stem))
            .collect()
    }

    fn read(kernels: &Path, stem: String) -> Result<Self, ToolError> {
        let file = format!("{stem}.cu");
        let mut files = BTreeMap::new();
        let mut wanted = vec![file.clone()];
        while let Some(name) = wanted.pop() {
            if files.contains_key(&name) {
                continue;
            }
            let path = kernels.join(&name);
            let text = std::fs::read_to_string(&path).map_err(|e| ToolError::file(&path, e))?;
            wanted.extend(text.lines().filter_map(included).map(str::to_owned));
            files.insert(name, text);
        }
        let line = files[&file]
            .lines()
            .find_map(|line| line.strip_prefix("// targets: "));
        let targets: Vec<String> = match line {
            Some(line) => line.split_whitespace().map(str::to_owned).collect(),
            None => Vec::new(),
        };
        if targets.is_empty() {
            return Err(ToolError::Source {
                file,
                problem: "a line such as `// targets: sm_75` is missing at its head".to_owned(),
            });
        }
        Ok(Self {
            stem,
            targets,
            files,
        })
    }

    /// The digest of all that decides on the PTX: the sources, the options, the target and the
    /// version of nvcc.
    pub fn digest(&self, target: &str, version: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |part: &str| {
            // With its length: no two lists of parts make the same bytes.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        };
        add(version);
        add(target);
        FLAGS.iter().chain(&PINNED_FLAGS).for_each(|flag| add(flag));
        add(&self.stem);
        for (name, text) in &self.files {
            add(name);
            add(text);
        }
        hasher.finalize().to_hex().to_string()
    }

    /// The name of the PTX for `target`.
    pub fn ptx_name(&self, target: &str) -> String {
        format!("{}.{target}.ptx", self.stem)
    }
}

/// The file that a line `#include "..."` names; those between angles are CUDA's.
fn included(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix('#')?.trim_start();
    let rest = rest.strip_prefix("include")?.trim_start();
    rest.strip_prefix('"')?.split('"').next()
}

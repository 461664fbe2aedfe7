//! From what a user names, files, directories and patterns, to a list of map files.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::DataError;

/// The formats of map files, told apart by the endings of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapFormat {
    Npy,
    Fits,
}

impl MapFormat {
    /// The format that the ending of `path` stands for.
    pub fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "npy" => Some(Self::Npy),
            "fits" | "fit" | "fts" => Some(Self::Fits),
            _ => None,
        }
    }
}

/// All map files of `paths`: files as they are, directories and patterns as the map files in
/// them, in the order of their names.
///
/// # Errors
/// A path that is missing or neither file nor directory, or a directory or pattern without maps.
pub(super) fn list_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let found = files_of_directory(path)?;
            if found.is_empty() {
                return Err(DataError::NoFiles(path.clone()));
            }
            files.extend(found);
        } else if path.is_file() {
            files.push(path.clone());
        } else if path.exists() {
            // A pipe would block for ever.
            return Err(DataError::Format {
                path: path.clone(),
                found: "it is neither a file nor a directory".into(),
                accepted: "NumPy .npy and FITS files on a disk",
            });
        } else if is_pattern(path) {
            files.extend(files_of_pattern(path)?);
        } else {
            return Err(DataError::Missing(path.clone()));
        }
    }
    Ok(files)
}

/// Whether the part of `path` that does not exist has characters of a pattern. Brackets in the
/// names of directories that exist are no part of one.
fn is_pattern(path: &Path) -> bool {
    let rest = path.strip_prefix(existing(path)).unwrap_or(path);
    let mut bytes = rest.as_os_str().as_encoded_bytes().iter();
    bytes.any(|byte| b"*?[".contains(byte))
}

/// The longest part of `path` that exists.
fn existing(path: &Path) -> &Path {
    let found = path.ancestors().find(|ancestor| ancestor.exists());
    found.unwrap_or(Path::new(""))
}

fn files_of_directory(directory: &Path) -> Result<Vec<PathBuf>, DataError> {
    let io = |source| DataError::Io {
        path: directory.to_owned(),
        action: "list",
        source,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if is_visible_map(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Hidden files are other programs' property: macOS leaves `._maps.npy` beside `maps.npy`.
fn is_visible_map(path: &Path) -> bool {
    let name = path.file_name();
    let hidden = name.is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && MapFormat::of(path).is_some() && path.is_file()
}

fn files_of_pattern(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let refuse = |reason| DataError::Pattern {
        path: path.to_owned(),
        reason,
    };
    let text = path.to_str().ok_or_else(|| refuse("it is not UTF-8"))?;
    let prefix = existing(path).to_str().unwrap_or("");
    let rest = text.strip_prefix(prefix).unwrap_or(text);
    let pattern = format!("{}{rest}", glob::Pattern::escape(prefix));
    let mut found = Vec::new();
    for entry in glob::glob(&pattern).map_err(|error| refuse(error.msg))? {
        let path = entry.map_err(|error| DataError::Io {
            path: error.path().to_owned(),
            action: "list",
            source: error.into(),
        })?;
        if path.is_dir() {
            found.extend(files_of_directory(&path)?);
        } else if is_visible_map(&path) {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Err(DataError::NoMatch(path.to_owned()));
    }
    Ok(found)
}

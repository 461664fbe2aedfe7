//! The one way this program writes a file: whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// How the names of unfinished files begin: a kill leaves one behind, safe to delete.
pub const PARTIAL_PREFIX: &str = ".partial-";

/// Writes `path` through a temporary file in the same directory, flushed to the disk and then
/// renamed over `path`: a crash, a full disk or a kill at any moment leaves the old file or the
/// new one, never a part of either.
///
/// # Errors
/// Those of creating, writing, syncing or renaming; the temporary file is removed.
pub fn write_atomic(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut temporary = tempfile::Builder::new()
        .prefix(PARTIAL_PREFIX)
        .tempfile_in(directory)?;
    // Tells `sweep` that its writer lives. Where files cannot be locked, nothing is swept either.
    let _ = temporary.as_file().try_lock();
    let mut buffered = BufWriter::with_capacity(1 << 20, temporary.as_file_mut());
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    temporary.as_file().sync_all()?;
    make_readable_by_others(temporary.as_file())?;
    temporary.persist(path).map_err(|error| error.error)?;
    sync_directory(directory)
}

/// Appends `bytes` to a file that was opened for appending: all of them, or on a full disk none.
///
/// # Errors
/// Those of writing.
pub fn append(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    file.write_all(bytes).inspect_err(|_| {
        let _ = file.set_len(before);
    })
}

/// Deletes what killed processes left unfinished in `directory`. A file that is being written is
/// locked by its writer and stays.
///
/// # Errors
/// The directory cannot be read, or a file cannot be deleted; a missing directory is no error.
pub fn sweep(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name
            .as_encoded_bytes()
            .starts_with(PARTIAL_PREFIX.as_bytes())
        {
            let path = entry.path();
            let abandoned = File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
            if abandoned {
                fs::remove_file(&path)?;
            }
        }
    }
    Ok(())
}

/// A writer, and the BLAKE3 digest of what was written through it.
pub struct Digested<W> {
    inner: W,
    hasher: blake3::Hasher,
}

impl<W> Digested<W> {
    /// Nothing has been written yet.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: blake3::Hasher::new(),
        }
    }

    /// The digest so far, as 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }
}

impl<W: Write> Write for Digested<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Temporary files are private to their owner; what a run leaves behind follows the usual mode.
#[cfg(unix)]
fn make_readable_by_others(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable_by_others(_file: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.txt");
        write_atomic(&path, |file| file.write_all(b"old")).unwrap();
        let failed = write_atomic(&path, |file| {
            file.write_all(b"half of the new")?;
            Err(io::Error::other("disk full"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_sweep_takes_what_a_killed_writer_left_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at(".partial-left"), b"half").unwrap();
        fs::write(at("notes.txt"), b"mine").unwrap();
        write_atomic(&at("new.txt"), |file| {
            sweep(directory.path())?;
            file.write_all(b"new")
        })
        .unwrap();
        assert!(!at(".partial-left").exists());
        assert_eq!(fs::read(at("new.txt")).unwrap(), b"new");
        assert_eq!(fs::read(at("notes.txt")).unwrap(), b"mine");
        sweep(&at("missing")).unwrap();
    }
}

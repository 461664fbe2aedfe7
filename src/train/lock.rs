//! One process a run directory: a lock that the operating system lets go of when its holder ends,
//! however that happens.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Name of the file that is locked. It stays when the run ends, and holds its last holder's number.
const NAME: &str = ".lock";

/// A run directory that is held; dropping it lets go.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
    /// Whether the file system keeps locks at all. Some network file systems do not.
    pub is_kept: bool,
}

/// The outcome of an attempt.
#[derive(Debug)]
pub enum Attempt {
    Held(RunLock),
    /// Another process has it, with this number if it said so.
    Taken(Option<u32>),
}

impl RunLock {
    /// Takes the lock of the directory `root`, which exists.
    ///
    /// # Errors
    /// The lock file cannot be made or written.
    pub fn take(root: &Path) -> io::Result<Attempt> {
        let path = root.join(NAME);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path)?;
        let is_kept = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                return Ok(Attempt::Taken(text.trim().parse().ok()));
            }
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => false,
            Err(TryLockError::Error(error)) => return Err(error),
        };
        // The number is a courtesy to whoever finds the directory taken: a full disk, which keeps it
        // from being written, will be told of by the files that matter.
        let _ = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()));
        Ok(Attempt::Held(Self {
            _file: file,
            is_kept,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_holder_at_a_time_and_says_who() {
        let directory = tempfile::tempdir().unwrap();
        let first = RunLock::take(directory.path()).unwrap();
        assert!(matches!(&first, Attempt::Held(lock) if lock.is_kept));
        let second = RunLock::take(directory.path()).unwrap();
        assert!(matches!(second, Attempt::Taken(Some(pid)) if pid == std::process::id()));
        drop(first);
        let third = RunLock::take(directory.path()).unwrap();
        assert!(matches!(third, Attempt::Held(_)));
    }
}

//! A disk that is small enough to be filled.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A tmpfs in a mount namespace of its own, which ends with a process that does nothing else.
pub struct SmallDisk {
    holder: Child,
    root: PathBuf,
    _point: tempfile::TempDir,
}

impl SmallDisk {
    /// One of `kilobytes`, or `None` and a printed word where namespaces are not allowed.
    pub fn new(kilobytes: u64) -> Option<Self> {
        Self::with_options(&format!("size={kilobytes}k"))
    }

    /// One that can only be read.
    pub fn read_only() -> Option<Self> {
        Self::with_options("size=16k,ro")
    }

    fn with_options(options: &str) -> Option<Self> {
        let point = tempfile::tempdir().unwrap();
        let script = format!(
            "mount -t tmpfs -o {options} tmpfs {} && echo ready && exec cat",
            point.path().display()
        );
        let holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut holder) = holder else {
            println!("skipped: there is no unshare to mount a small disk with");
            return None;
        };
        let mut said = String::new();
        let mut stdout = BufReader::new(holder.stdout.take().unwrap());
        stdout.read_line(&mut said).unwrap();
        let below = point.path().strip_prefix("/").unwrap();
        let root = Path::new("/proc")
            .join(holder.id().to_string())
            .join("root")
            .join(below);
        let disk = Self {
            holder,
            root,
            _point: point,
        };
        if said.trim() == "ready" && std::fs::read_dir(&disk.root).is_ok() {
            return Some(disk);
        }
        println!("skipped: a small disk cannot be mounted here");
        None
    }

    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Takes all room but `kilobytes`.
    pub fn fill_but(&self, kilobytes: usize) {
        self.free();
        let mut bytes = vec![0; 1 << 26];
        let room = std::fs::write(self.filler(), &bytes);
        assert!(room.is_err(), "the disk is larger than it should be");
        let full = std::fs::metadata(self.filler()).unwrap().len() as usize;
        bytes.truncate(full.saturating_sub(kilobytes * 1024));
        std::fs::write(self.filler(), &bytes).unwrap();
    }

    pub fn free(&self) {
        let _ = std::fs::remove_file(self.filler());
    }

    fn filler(&self) -> PathBuf {
        self.root.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

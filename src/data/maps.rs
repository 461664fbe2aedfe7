//! A user's maps: files and directories opened as one numbered list of parents, read window by
//! window from the disk's cache and never loaded whole.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::DataError;
use super::npy::NpyFile;

/// One file of square, one-channel maps of equal sides. A new format implements this and gets a
/// line in `open_file`.
pub(super) trait MapFile: std::fmt::Debug + Send + Sync {
    /// The number of maps, at least 1.
    fn maps(&self) -> usize;
    /// The side of each map in pixels, at least 1.
    fn side(&self) -> usize;
    /// Copies pixels `[y, x0..x0 + out.len()]` of `map`. Panics outside of the map.
    fn read_row(&self, map: usize, y: usize, x0: usize, out: &mut [f32]);
}

/// Chooses the reader by the file's name. The only place that lists formats.
fn open_file(path: &Path) -> Result<Box<dyn MapFile>, DataError> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("npy") => Ok(Box::new(NpyFile::open(path)?)),
        _ => Err(DataError::Format {
            path: path.to_owned(),
            found: "its name does not end in .npy".into(),
            accepted: "NumPy .npy files",
        }),
    }
}

/// Where a parent lies: its file and its index within the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    pub path: &'a Path,
    pub map: usize,
}

/// Parent maps, numbered from 0 in the order of the files.
///
/// Files are memory-mapped. While they are open nobody may truncate them or write into them (a
/// truncated mapping kills the process with SIGBUS); replacing a file by rename is fine.
#[derive(Debug)]
pub struct Maps {
    files: Vec<(PathBuf, Box<dyn MapFile>)>,
    /// The number of the first parent of each file; one more entry holds the total.
    first: Vec<usize>,
}

impl Maps {
    /// Opens files, and all visible `.npy` files of directories in the order of their names.
    /// Files may differ in side.
    ///
    /// # Errors
    /// A path that is missing, a directory without maps, a file named twice, or a file that is
    /// not square, not of an accepted format or shorter than its header says.
    pub fn open(paths: &[PathBuf]) -> Result<Self, DataError> {
        let paths = list_files(paths)?;
        if paths.is_empty() {
            return Err(DataError::NothingNamed);
        }
        let mut files = Vec::with_capacity(paths.len());
        let mut first = vec![0];
        let mut seen = HashSet::new();
        let mut total = 0;
        for path in paths {
            let file = open_file(&path)?;
            let same = fs::canonicalize(&path).map_err(|source| DataError::Io {
                path: path.clone(),
                action: "open",
                source,
            })?;
            if !seen.insert(same) {
                return Err(DataError::NamedTwice(path));
            }
            total += file.maps();
            first.push(total);
            files.push((path, file));
        }
        Ok(Self { files, first })
    }

    /// The number of parents, at least 1.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.first[self.files.len()]
    }

    /// The number of files.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// The side of `parent` in pixels.
    pub fn side(&self, parent: usize) -> usize {
        self.locate(parent).1.side()
    }

    /// The smallest and the largest side in pixels.
    pub fn sides(&self) -> (usize, usize) {
        let sides = self.files.iter().map(|(_, file)| file.side());
        sides.fold((usize::MAX, 0), |(low, high), side| {
            (low.min(side), high.max(side))
        })
    }

    /// Channels of each map.
    pub fn channels(&self) -> usize {
        1
    }

    /// The file and the index in it of `parent`.
    pub fn place(&self, parent: usize) -> Place<'_> {
        let (path, _, map) = self.locate(parent);
        Place { path, map }
    }

    /// Checks that a network of `map_size` pixels fits into every parent.
    ///
    /// # Errors
    /// Names the first file whose maps are too small.
    pub fn require_side(&self, map_size: usize) -> Result<(), DataError> {
        match self.files.iter().find(|(_, file)| file.side() < map_size) {
            None => Ok(()),
            Some((path, file)) => Err(DataError::TooSmall {
                path: path.clone(),
                side: file.side(),
                map_size,
            }),
        }
    }

    /// Copies the window `[y0..y0 + size, x0..x0 + size]` of `parent` into `out` `[size, size]`,
    /// in the units of the file.
    ///
    /// # Panics
    /// Where the window leaves the map or `out` has another length.
    pub fn read_window(&self, parent: usize, y0: usize, x0: usize, size: usize, out: &mut [f32]) {
        assert_eq!(out.len(), size * size, "length of a {size}-pixel window");
        let (_, file, map) = self.locate(parent);
        for (y, row) in out.chunks_exact_mut(size).enumerate() {
            file.read_row(map, y0 + y, x0, row);
        }
    }

    /// Copies pixels `[y, x0..x0 + out.len()]` of `parent`.
    pub(super) fn read_row(&self, parent: usize, y: usize, x0: usize, out: &mut [f32]) {
        let (_, file, map) = self.locate(parent);
        file.read_row(map, y, x0, out);
    }

    fn locate(&self, parent: usize) -> (&Path, &dyn MapFile, usize) {
        assert!(parent < self.len(), "parent {parent} of {}", self.len());
        let file = self.first.partition_point(|&first| first <= parent) - 1;
        let (path, reader) = &self.files[file];
        (path, reader.as_ref(), parent - self.first[file])
    }
}

fn list_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let found = files_of_directory(path)?;
            if found.is_empty() {
                return Err(DataError::NoFiles(path.clone()));
            }
            files.extend(found);
        } else if path.exists() {
            files.push(path.clone());
        } else {
            return Err(DataError::Missing(path.clone()));
        }
    }
    Ok(files)
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
        // Hidden files are other programs' property: macOS leaves `._maps.npy` beside `maps.npy`.
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|e| e == "npy") && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{shared, write_maps};
    use super::*;
    use crate::rng::{Philox, Stream};
    use ndarray::{Array2, Array3};
    use ndarray_npy::ReadNpyExt;

    #[test]
    fn directories_open_sorted_and_windows_come_from_the_right_map() {
        let directory = tempfile::tempdir().unwrap();
        let b = write_maps(directory.path(), "b.npy", 2, 8, |m, y, x| {
            (100 * m + 10 * y + x) as f32
        });
        write_maps(directory.path(), "a.npy", 1, 6, |_, y, x| {
            -((10 * y + x) as f32)
        });
        fs::write(directory.path().join("._a.npy"), "not a map").unwrap();
        fs::write(directory.path().join("notes.txt"), "not a map").unwrap();
        let maps = Maps::open(&[directory.path().to_owned()]).unwrap();
        assert_eq!((maps.len(), maps.files(), maps.sides()), (3, 2, (6, 8)));
        assert_eq!(maps.place(2), Place { path: &b, map: 1 });
        let mut window = [0.0; 4];
        maps.read_window(2, 5, 6, 2, &mut window);
        assert_eq!(window, [156.0, 157.0, 166.0, 167.0]);
        maps.read_window(0, 4, 0, 2, &mut window);
        assert_eq!(window, [-40.0, -41.0, -50.0, -51.0]);
    }

    #[test]
    fn what_cannot_be_opened_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let message = |paths: &[PathBuf]| Maps::open(paths).unwrap_err().to_string();
        assert!(message(&[]).contains("no map files"));
        assert!(message(&[directory.path().to_owned()]).contains("holds no .npy"));
        assert!(message(&[directory.path().join("gone")]).contains("gone: no such file"));
        let text = directory.path().join("maps.txt");
        fs::write(&text, "1 2 3").unwrap();
        assert!(message(&[text]).contains("does not end in .npy"));
        let path = write_maps(directory.path(), "a.npy", 1, 8, |_, _, _| 0.0);
        let twice = [path.clone(), directory.path().to_owned()];
        assert!(message(&twice).contains("named twice"));
        let maps = Maps::open(&[path]).unwrap();
        assert!(maps.require_side(8).is_ok());
        let small = maps.require_side(16).unwrap_err().to_string();
        assert!(small.contains("a.npy") && small.contains("8x8") && small.contains("16x16"));
    }

    /// All pixels through another reader, as [N, H, W] in f32.
    fn read_directly(path: &Path) -> Array3<f32> {
        let open = || fs::File::open(path).unwrap();
        let stacked = Array3::<f32>::read_npy(open())
            .or_else(|_| Array3::<f64>::read_npy(open()).map(|a| a.mapv(|v| v as f32)));
        stacked.unwrap_or_else(|_| {
            let single = Array2::<f32>::read_npy(open())
                .or_else(|_| Array2::<f64>::read_npy(open()).map(|a| a.mapv(|v| v as f32)));
            single.unwrap().insert_axis(ndarray::Axis(0))
        })
    }

    #[test]
    fn windows_of_all_shared_maps_equal_a_direct_read() {
        let Some(data) = shared("data") else { return };
        let mut checked = 0;
        for folder in ["simulated", "known_spectrum", "published"] {
            let maps = Maps::open(&[data.join(folder)]).unwrap();
            maps.require_side(64).unwrap();
            let draws = Philox::new(1, Stream::Benchmark, 0);
            let mut window = vec![0.0; 64 * 64];
            for parent in 0..maps.len() {
                let Place { path, map } = maps.place(parent);
                let direct = read_directly(path);
                let side = maps.side(parent);
                assert_eq!(direct.dim().1, side);
                let [a, b, ..] = draws.block(parent as u32);
                let random = (a as usize % (side - 63), b as usize % (side - 63));
                for (y0, x0) in [(0, 0), (side - 64, side - 64), random] {
                    maps.read_window(parent, y0, x0, 64, &mut window);
                    let slice = direct.slice(ndarray::s![map, y0..y0 + 64, x0..x0 + 64]);
                    assert!(slice.iter().eq(window.iter()), "{path:?} map {map}");
                    checked += 1;
                }
            }
        }
        assert!(checked >= 3 * (8 + 12 + 8), "only {checked} windows");
    }
}

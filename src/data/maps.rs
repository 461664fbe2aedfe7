//! A user's maps: files and directories opened as one numbered list of parents, read window by
//! window from the disk's cache and never loaded whole.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::DataError;
use super::listing::{MapFormat, list_files};
use super::pixels::MappedMaps;
use super::provenance::{Agreement, MapsProvenance, Provenance, Teller};
use super::sidecar::read_sidecar;
use super::{fits, npy};

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
    files: Vec<MapFile>,
    /// The number of the first parent of each file; one more entry holds the total.
    first: Vec<usize>,
}

/// Linux maps 65530 areas for a program unless told otherwise (`vm.max_map_count`), and the program
/// itself needs some.
const MOST_FILES: usize = 60_000;

/// One file of maps of equal sides.
#[derive(Debug)]
struct MapFile {
    path: PathBuf,
    pixels: MappedMaps,
    /// What its header tells.
    header: Provenance,
    /// What the file beside it tells.
    sidecar: Option<(PathBuf, Provenance)>,
    /// Both together.
    provenance: Provenance,
}

impl MapFile {
    fn open(path: PathBuf) -> Result<Self, DataError> {
        let (pixels, header) = match MapFormat::of(&path) {
            Some(MapFormat::Npy) => (npy::open(&path)?, Provenance::default()),
            Some(MapFormat::Fits) => fits::open(&path)?,
            None => return Err(unknown_ending(path)),
        };
        let side = pixels.side();
        let sidecar = read_sidecar(&path, side)?;
        let mut file = Self {
            path,
            pixels,
            header,
            sidecar,
            provenance: Provenance::default(),
        };
        let mut both = Agreement::default();
        file.tell(&mut both)?;
        let by_sidecar = file.sidecar.as_ref().and_then(|(_, told)| told.side_deg);
        file.provenance = Provenance {
            side_deg: file.header.side_deg.or(by_sidecar),
            ..both.result().of_crop(side)
        };
        Ok(file)
    }

    fn tell<'a>(&'a self, agreement: &mut Agreement<'a>) -> Result<(), DataError> {
        let side = self.pixels.side();
        agreement.add(&self.header, side, Teller::File(&self.path))?;
        if let Some((path, told)) = &self.sidecar {
            agreement.add(told, side, Teller::File(path))?;
        }
        Ok(())
    }
}

fn unknown_ending(path: PathBuf) -> DataError {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("");
    let advice = match ending.to_ascii_lowercase().as_str() {
        "gz" => "; unpack it with gunzip",
        "fz" => "; unpack it with funpack",
        "npz" => "; save its array with numpy.save",
        _ => "",
    };
    DataError::Format {
        found: format!("its name does not end in .npy, .fits, .fit or .fts{advice}"),
        path,
        accepted: "NumPy .npy files and FITS images",
    }
}

impl Maps {
    /// Opens files, all visible map files of directories in the order of their names, and those
    /// that patterns such as `maps/*.fits` match. Files may differ in side.
    ///
    /// # Errors
    /// A path that is missing, a directory without maps, a file named twice, a file that is
    /// not square, not of an accepted format or shorter than its header says, a sidecar that
    /// cannot be understood or contradicts the header, or files that differ in channels.
    pub fn open(paths: &[PathBuf]) -> Result<Self, DataError> {
        let paths = list_files(paths)?;
        if paths.is_empty() {
            return Err(DataError::NothingNamed);
        }
        if paths.len() > MOST_FILES {
            return Err(DataError::TooManyFiles {
                found: paths.len(),
                most: MOST_FILES,
            });
        }
        let mut files: Vec<MapFile> = Vec::with_capacity(paths.len());
        let mut first = vec![0];
        let mut seen = HashSet::new();
        let mut total: usize = 0;
        for path in paths {
            let same = fs::canonicalize(&path).map_err(|source| DataError::Io {
                path: path.clone(),
                action: "open",
                source,
            })?;
            if !seen.insert(same) {
                return Err(DataError::NamedTwice(path));
            }
            let file = MapFile::open(path)?;
            if let Some(other) = files.first()
                && other.pixels.channels() != file.pixels.channels()
            {
                return Err(DataError::Channels {
                    channels: file.pixels.channels(),
                    path: file.path,
                    first_path: other.path.clone(),
                    first_channels: other.pixels.channels(),
                });
            }
            total += file.pixels.maps();
            first.push(total);
            files.push(file);
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
        self.locate(parent).0.pixels.side()
    }

    /// Numbers of each pixel, 1 to 4: the same for all maps.
    pub fn channels(&self) -> usize {
        self.files[0].pixels.channels()
    }

    /// The smallest and the largest side in pixels.
    pub fn sides(&self) -> (usize, usize) {
        let sides = self.files.iter().map(|file| file.pixels.side());
        sides.fold((usize::MAX, 0), |(low, high), side| {
            (low.min(side), high.max(side))
        })
    }

    /// The file and the index in it of `parent`.
    pub fn place(&self, parent: usize) -> Place<'_> {
        let (file, map) = self.locate(parent);
        let path = &file.path;
        Place { path, map }
    }

    /// What the file of `parent` and its sidecar tell; `side_deg` is that of the whole parent.
    pub fn provenance(&self, parent: usize) -> &Provenance {
        &self.locate(parent).0.provenance
    }

    /// What all files and `asked`, the options of a user, tell together. `asked.side_deg` is the
    /// side of a whole parent.
    ///
    /// # Errors
    /// Two that differ by more than 1 in 10000, both named with their values: in degrees a pixel
    /// where they tell a side. A side is asked for, but parents differ in pixels and not all files
    /// tell theirs.
    pub fn common_provenance(&self, asked: &Provenance) -> Result<MapsProvenance, DataError> {
        let mut agreement = Agreement::default();
        for file in &self.files {
            file.tell(&mut agreement)?;
        }
        let angle = Provenance {
            side_deg: asked.side_deg,
            ..Provenance::default()
        };
        let rest = Provenance {
            side_deg: None,
            ..*asked
        };
        agreement.add(
            &angle,
            self.side_of_angle(asked)?,
            Teller::Option("--angle"),
        )?;
        agreement.add(&rest, 1, Teller::Option("--source-redshift"))?;
        Ok(agreement.result())
    }

    /// The side in pixels that an angle which is asked for belongs to.
    fn side_of_angle(&self, asked: &Provenance) -> Result<usize, DataError> {
        let (smallest, largest) = self.sides();
        let Some(angle) = asked.side_deg.filter(|_| smallest < largest) else {
            return Ok(largest);
        };
        if self.files.iter().any(|f| f.provenance.side_deg.is_none()) {
            return Err(DataError::AmbiguousAngle { smallest, largest });
        }
        // All files tell: the angle only confirms, and is that of the parents nearest to it.
        let off = |file: &MapFile| {
            let side_deg = file.provenance.side_deg.unwrap_or(f64::INFINITY);
            (side_deg / angle).ln().abs()
        };
        let nearest = self.files.iter().min_by(|a, b| off(a).total_cmp(&off(b)));
        Ok(nearest.map_or(largest, |file| file.pixels.side()))
    }

    /// Checks that a network of `map_size` pixels fits into every parent.
    ///
    /// # Errors
    /// Names the first file whose maps are too small.
    pub fn require_side(&self, map_size: usize) -> Result<(), DataError> {
        let small = |file: &&MapFile| file.pixels.side() < map_size;
        match self.files.iter().find(small) {
            None => Ok(()),
            Some(file) => Err(DataError::TooSmall {
                path: file.path.clone(),
                side: file.pixels.side(),
                map_size,
            }),
        }
    }

    /// Copies the window `[y0..y0 + size, x0..x0 + size]` of `parent` into `out`
    /// `[size, size, channels]`, in the units of the file.
    ///
    /// # Panics
    /// Where the window leaves the map or `out` has another length.
    pub fn read_window(&self, parent: usize, y0: usize, x0: usize, size: usize, out: &mut [f32]) {
        let (file, map) = self.locate(parent);
        file.pixels.read(map, [y0, x0], [size, size], out);
    }

    /// Copies all pixels of `parent` into `out` `[side, side, channels]`, in the units of the file and
    /// with all digits that it holds.
    ///
    /// # Panics
    /// Where `out` has another length.
    pub fn read_whole_f64(&self, parent: usize, out: &mut [f64]) {
        let (file, map) = self.locate(parent);
        let side = file.pixels.side();
        file.pixels.read(map, [0, 0], [side, side], out);
    }

    /// Copies pixels `[y, x0..x0 + n]` of `parent` into `out` `[n, channels]`.
    pub(super) fn read_row(&self, parent: usize, y: usize, x0: usize, out: &mut [f32]) {
        let (file, map) = self.locate(parent);
        let width = out.len() / file.pixels.channels();
        file.pixels.read(map, [y, x0], [1, width], out);
    }

    fn locate(&self, parent: usize) -> (&MapFile, usize) {
        assert!(parent < self.len(), "parent {parent} of {}", self.len());
        let file = self.first.partition_point(|&first| first <= parent) - 1;
        (&self.files[file], parent - self.first[file])
    }
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

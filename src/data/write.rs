//! Writing maps with what is known of them, piece by piece, so that a set need not be in memory
//! whole: `.npy` files with a sidecar, and FITS files with the keys of LensTools. Called where maps
//! are generated and where they are synthesized.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::error::DataError;
use super::fits_write::write_fits;
use super::listing::MapFormat;
use super::npy_write::{write_npy_header, write_npy_pixels};
use super::provenance::Provenance;
use super::sidecar::{sidecar_path, sidecar_text};
use crate::files::{PARTIAL_PREFIX, write_atomic};

/// Maps that are to be written.
#[derive(Clone, Debug)]
pub struct MapSet<'a> {
    /// How many, at least 1.
    pub maps: usize,
    /// The side S of each in pixels.
    pub side: usize,
    pub channels: usize,
    /// What is known of them; `side_deg` is that of the whole map.
    pub provenance: &'a Provenance,
    /// What else a sidecar tells, by names of its own. FITS headers have no place for it.
    pub extra: Map<String, Value>,
}

/// Puts pixels `[n, S, S, channels]` into the vector: those of `n` maps, at least one, from the
/// given one on.
pub type MakeMaps<'a> = dyn FnMut(usize, &mut Vec<f32>) -> io::Result<()> + 'a;

/// Writes `set` to `path`, over what is there, and returns the map files in their order; `make` is
/// called until all maps are made.
///
/// - `.npy`: one float32 array `[N, S, S]`, or `[N, S, S, channels]` of several channels, and
///   `<file name>.json` beside it. An old sidecar goes before the new maps come: a kill leaves maps
///   without a sidecar, never with that of other maps.
/// - FITS: one float32 image a file, as LensTools reads it. A single map goes to `path`, several
///   to `<stem>-00001.fits` and so on beside it. Those are renamed into place when all are
///   made: an error or a kill before leaves the old files.
///
/// # Errors
/// Those of `make` and of writing; several channels in FITS; files of an earlier, larger set that
/// would be taken for a part of this one.
pub fn write_maps(
    path: &Path,
    format: MapFormat,
    set: &MapSet,
    make: &mut MakeMaps,
) -> Result<Vec<PathBuf>, DataError> {
    match format {
        MapFormat::Npy => write_npy(path, set, make)?,
        MapFormat::Fits if set.channels != 1 => {
            return Err(DataError::FitsChannels {
                path: path.to_owned(),
                channels: set.channels,
            });
        }
        MapFormat::Fits if set.maps == 1 => write_one_fits(path, set, make)?,
        MapFormat::Fits => return write_numbered_fits(path, set, make),
    }
    Ok(vec![path.to_owned()])
}

fn cannot(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataError {
    let path = path.to_owned();
    move |source| DataError::Io {
        path,
        action,
        source,
    }
}

/// Hands all maps of `set` to `take`, in their order: as many pixels as `make` makes at a time.
fn for_all(
    set: &MapSet,
    make: &mut MakeMaps,
    mut take: impl FnMut(usize, &[f32]) -> io::Result<()>,
) -> io::Result<()> {
    let pixels = set.side * set.side * set.channels;
    let mut maps = Vec::new();
    let mut first = 0;
    while first < set.maps {
        make(first, &mut maps)?;
        let made = maps.len() / pixels;
        if made == 0 || maps.len() % pixels != 0 || made > set.maps - first {
            let left = set.maps - first;
            let found = maps.len();
            return Err(io::Error::other(format!(
                "{found} values were made where 1 to {left} maps of {pixels} are wanted"
            )));
        }
        take(first, &maps)?;
        first += made;
    }
    Ok(())
}

fn write_npy(path: &Path, set: &MapSet, make: &mut MakeMaps) -> Result<(), DataError> {
    let sidecar = sidecar_path(path);
    let described = sidecar_text(set.provenance, &set.extra)
        .map_err(|source| cannot("describe", &sidecar)(source.into()))?;
    let shape = [set.maps, set.side, set.side, set.channels];
    let shape = if set.channels == 1 {
        &shape[..3]
    } else {
        &shape
    };
    write_atomic(path, |file| {
        write_npy_header(file, shape)?;
        for_all(set, make, |_, maps| write_npy_pixels(file, maps))?;
        match fs::remove_file(&sidecar) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    })
    .map_err(cannot("write", path))?;
    write_atomic(&sidecar, |file| file.write_all(described.as_bytes()))
        .map_err(cannot("write", &sidecar))
}

fn write_one_fits(path: &Path, set: &MapSet, make: &mut MakeMaps) -> Result<(), DataError> {
    write_atomic(path, |file| {
        for_all(set, make, |_, map| {
            write_fits(file, set.side, map, set.provenance)
        })
    })
    .map_err(cannot("write", path))
}

fn write_numbered_fits(
    path: &Path,
    set: &MapSet,
    make: &mut MakeMaps,
) -> Result<Vec<PathBuf>, DataError> {
    let names = Numbered::of(path, set.maps);
    names.refuse_left_over()?;
    // Named like the unfinished files of `write_atomic`, and as safe to delete.
    let stage = tempfile::Builder::new()
        .prefix(PARTIAL_PREFIX)
        .tempdir_in(&names.directory)
        .map_err(cannot("write into", &names.directory))?;
    let pixels = set.side * set.side;
    for_all(set, make, |first, maps| {
        for (index, map) in maps.chunks_exact(pixels).enumerate() {
            let staged = stage.path().join(names.name(first + index));
            write_atomic(&staged, |file| {
                write_fits(file, set.side, map, set.provenance)
            })?;
        }
        Ok(())
    })
    .map_err(cannot("write", path))?;
    let place = |index| {
        let name = names.name(index);
        let place = path.with_file_name(&name);
        match fs::rename(stage.path().join(&name), &place) {
            Ok(()) => Ok(place),
            Err(source) => Err(cannot("write", &place)(source)),
        }
    };
    (0..set.maps).map(place).collect()
}

/// The names of the files of a set.
struct Numbered {
    directory: PathBuf,
    stem: String,
    ending: String,
    maps: usize,
    digits: usize,
}

impl Numbered {
    fn of(path: &Path, maps: usize) -> Self {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.map_or(String::new(), |part| part.to_string_lossy().into_owned())
        };
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Self {
            directory: directory.to_owned(),
            stem: text(path.file_stem()),
            ending: text(path.extension()),
            maps,
            digits: maps.to_string().len().max(5),
        }
    }

    /// Of the map counted from 0; names count from 1.
    fn name(&self, index: usize) -> String {
        let (stem, ending, number, digits) = (&self.stem, &self.ending, index + 1, self.digits);
        format!("{stem}-{number:0digits$}.{ending}")
    }

    fn refuse_left_over(&self) -> Result<(), DataError> {
        let entries = fs::read_dir(&self.directory).map_err(cannot("list", &self.directory))?;
        for entry in entries {
            let name = entry.map_err(cannot("list", &self.directory))?.file_name();
            let text = name.to_string_lossy();
            let Some(number) = self.number(&text) else {
                continue;
            };
            let ours = number.len() == self.digits
                && number.parse().is_ok_and(|n| (1..=self.maps).contains(&n));
            if !ours {
                return Err(DataError::LeftOver {
                    path: self.directory.join(name),
                    maps: self.maps,
                });
            }
        }
        Ok(())
    }

    /// The digits of a name like those of this set.
    fn number<'a>(&self, name: &'a str) -> Option<&'a str> {
        let number = name.strip_prefix(&self.stem)?.strip_prefix('-')?;
        let number = number.strip_suffix(&self.ending)?.strip_suffix('.')?;
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        digits.then_some(number)
    }
}

//! The record of a split: which maps of which file, or which of their rows, each set holds. A run
//! keeps one as `split.json`, so that anybody can draw the same lines, and so that a resumed run
//! whose files have changed does not train on what it is tested on.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::maps::Maps;
use super::region::Region;
use super::split::{FileShape, Fractions, Split, SplitKind, SplitRules};
use crate::files::write_atomic;

const NOTE: &str = "all counts begin at 0; \"start..end\" leaves out its end";

/// A [`Split`] in terms of files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitRecord {
    note: String,
    #[serde(flatten)]
    kind: SplitKind,
    map_size: usize,
    fractions: Fractions,
    seed: u64,
    files: Vec<FileShape>,
    train: Vec<Part>,
    validation: Vec<Part>,
    test: Vec<Part>,
}

/// Consecutive maps of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    /// The file's place in the list.
    file: usize,
    /// Maps of the file.
    maps: String,
    /// Their rows, where these are not all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    rows: Option<String>,
}

/// Maps by the set that a split put them into, as regions of one list of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    pub train: Vec<Region>,
    pub validation: Vec<Region>,
    pub test: Vec<Region>,
    /// Of files that were not split.
    pub other: Vec<Region>,
}

/// `start..end`.
fn range(text: &str) -> Option<Range<usize>> {
    let (start, end) = text.split_once("..")?;
    Some(start.parse().ok()?..end.parse().ok()?)
}

impl SplitRecord {
    /// The record of `split`, which `rules` made of `maps`.
    pub fn new(maps: &Maps, split: &Split, rules: &SplitRules) -> Self {
        let files = FileShape::of(maps);
        let mut first: Vec<usize> = vec![0];
        for file in &files {
            first.push(first[first.len() - 1] + file.maps);
        }
        let parts = |regions: &[Region]| parts(regions, &files, &first);
        Self {
            note: NOTE.to_owned(),
            kind: split.kind.clone(),
            map_size: rules.map_size,
            fractions: rules.fractions,
            seed: rules.seed,
            train: parts(&split.train),
            validation: parts(&split.validation),
            test: parts(&split.test),
            files,
        }
    }

    /// Writes the record to `path`, or, where a run has left one, checks that it is the same. Files
    /// may have moved to another directory.
    ///
    /// # Errors
    /// Another record or what is none, or a failure to read or write.
    pub fn keep(&self, path: &Path) -> Result<(), DataError> {
        let io = |action| {
            move |source| DataError::Io {
                path: path.to_owned(),
                action,
                source,
            }
        };
        if self.agrees_with(path)? {
            return Ok(());
        }
        write_atomic(path, |file| Ok(serde_json::to_writer_pretty(file, self)?))
            .map_err(io("write"))
    }

    /// Checks that the record at `path`, where there is one, is the same; says whether there is one.
    ///
    /// # Errors
    /// Another record or what is none, or a failure to read.
    pub fn agrees_with(&self, path: &Path) -> Result<bool, DataError> {
        let Some(kept) = Self::read(path)? else {
            return Ok(false);
        };
        match kept.difference(self) {
            None => Ok(true),
            Some(found) => Err(DataError::SplitChanged {
                path: path.to_owned(),
                found,
            }),
        }
    }

    /// The record at `path`, where there is one.
    ///
    /// # Errors
    /// What is no record, or a failure to read.
    pub fn read(path: &Path) -> Result<Option<Self>, DataError> {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|source| DataError::Io {
                path: path.to_owned(),
                action: "read",
                source,
            })?,
        };
        let record = serde_json::from_str(&text).map_err(|error| DataError::SplitChanged {
            path: path.to_owned(),
            found: format!("it cannot be read ({error})"),
        })?;
        Ok(Some(record))
    }

    /// Maps of one size that were cut from one parent, where that was said.
    pub fn crops_per_parent(&self) -> Option<usize> {
        match self.kind {
            SplitKind::Groups { crops_per_parent } => Some(crops_per_parent),
            _ => None,
        }
    }

    /// Where the split put each of `maps`, another list of files perhaps.
    ///
    /// A file is known by where it lies; one that lies there no more, by its name and shape: it may
    /// have moved to another directory.
    pub fn place(&self, maps: &Maps) -> Placed {
        let here = |path: &Path| std::fs::canonicalize(path).ok();
        let known: Vec<(Option<PathBuf>, &FileShape)> = self
            .files
            .iter()
            .map(|file| (here(&file.path), file))
            .collect();
        let find = |shape: &FileShape| {
            let path = here(&shape.path);
            known.iter().position(|(place, file)| match place {
                Some(_) => *place == path,
                None => {
                    file.path.file_name() == shape.path.file_name()
                        && (file.maps, file.side) == (shape.maps, shape.side)
                }
            })
        };
        let mut placed = Placed::default();
        let mut first = 0;
        for shape in FileShape::of(maps) {
            let parents = first..first + shape.maps;
            first = parents.end;
            let Some(file) = find(&shape) else {
                let whole = parents.map(|parent| Region::whole(maps, parent));
                placed.other.extend(whole);
                continue;
            };
            for (parts, regions) in [
                (&self.train, &mut placed.train),
                (&self.validation, &mut placed.validation),
                (&self.test, &mut placed.test),
            ] {
                for part in parts.iter().filter(|part| part.file == file) {
                    let of_file = range(&part.maps).unwrap_or(0..0);
                    let rows = part.rows.as_deref().and_then(range);
                    regions.extend(of_file.map(|map| Region {
                        parent: parents.start + map,
                        rows: rows.clone().unwrap_or(0..shape.side),
                    }));
                }
            }
        }
        placed
    }

    /// What differs from `now`, in words.
    fn difference(&self, now: &Self) -> Option<String> {
        let named = |files: &[FileShape]| -> Vec<FileShape> {
            let name = |path: &Path| path.file_name().map_or(PathBuf::new(), PathBuf::from);
            let files = files.iter().cloned();
            files
                .map(|file| FileShape {
                    path: name(&file.path),
                    ..file
                })
                .collect()
        };
        let (old, new) = (named(&self.files), named(&now.files));
        if let Some((old, new)) = old.iter().zip(&new).find(|(old, new)| old != new) {
            let words = |file: &FileShape| {
                let FileShape { path, maps, side } = file;
                format!("{} ({maps} maps of {side}x{side})", path.display())
            };
            return Some(format!("it lists {}, now {}", words(old), words(new)));
        }
        if old.len() != new.len() {
            return Some(format!("it lists {} files, now {}", old.len(), new.len()));
        }
        let sets = |record: &Self| {
            let Self {
                train,
                validation,
                test,
                ..
            } = record;
            [train.clone(), validation.clone(), test.clone()]
        };
        let differs = self.kind != now.kind || sets(self) != sets(now);
        differs.then(|| "it deals the same files out otherwise".to_owned())
    }
}

fn parts(regions: &[Region], files: &[FileShape], first: &[usize]) -> Vec<Part> {
    let mut runs: Vec<(usize, Range<usize>, Range<usize>)> = Vec::new();
    for Region { parent, rows } in regions {
        let file = first.partition_point(|&first| first <= *parent) - 1;
        let map = parent - first[file];
        match runs.last_mut() {
            Some((last, maps, same)) if *last == file && maps.end == map && same == rows => {
                maps.end += 1;
            }
            _ => runs.push((file, map..map + 1, rows.clone())),
        }
    }
    let part = |(file, maps, rows): (usize, Range<usize>, Range<usize>)| Part {
        file,
        maps: format!("{maps:?}"),
        rows: (rows != (0..files[file].side)).then(|| format!("{rows:?}")),
    };
    runs.into_iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::write_maps;
    use super::*;

    fn record(maps: &Maps, seed: u64) -> SplitRecord {
        let rules = SplitRules {
            map_size: 8,
            crops_per_parent: Some(2),
            fractions: Fractions::default(),
            seed,
        };
        let split = Split::new(&FileShape::of(maps), &rules).unwrap();
        SplitRecord::new(maps, &split, &rules)
    }

    #[test]
    fn the_sets_are_listed_file_by_file_in_runs_of_maps_and_rows() {
        let directory = tempfile::tempdir().unwrap();
        let make = |name, maps, side| write_maps(directory.path(), name, maps, side, |_, _, _| 0.0);
        let maps = Maps::open(&[make("a.npy", 4, 8), make("b.npy", 2, 8)]).unwrap();
        let grouped = record(&maps, 3);
        let listed = [&grouped.train, &grouped.validation, &grouped.test];
        let mut listed: Vec<(usize, &str)> = listed
            .into_iter()
            .flatten()
            .map(|part| (part.file, part.maps.as_str()))
            .collect();
        listed.sort_unstable();
        assert_eq!(listed, [(0, "0..2"), (0, "2..4"), (1, "0..2")]);
        let maps = Maps::open(&[make("large.npy", 2, 60)]).unwrap();
        let strips = record(&maps, 3);
        let rows = |set: &[Part]| set[0].rows.clone().unwrap();
        assert_eq!(strips.train[0].maps, "0..2");
        assert_eq!(rows(&strips.train), "0..28");
        assert_eq!(rows(&strips.validation), "36..44");
        assert_eq!(rows(&strips.test), "52..60");
    }

    #[test]
    fn maps_are_placed_where_the_split_put_them_in_any_list_that_names_their_file() {
        let directory = tempfile::tempdir().unwrap();
        let make = |name, maps, side| write_maps(directory.path(), name, maps, side, |_, _, _| 0.0);
        let files = [make("a.npy", 6, 8), make("b.npy", 4, 8)];
        let maps = Maps::open(&files).unwrap();
        let rules = SplitRules {
            map_size: 8,
            crops_per_parent: Some(2),
            fractions: Fractions::default(),
            seed: 3,
        };
        let split = Split::new(&FileShape::of(&maps), &rules).unwrap();
        let record = SplitRecord::new(&maps, &split, &rules);
        let all = record.place(&maps);
        assert_eq!(
            (&all.train, &all.validation, &all.test),
            (&split.train, &split.validation, &split.test)
        );
        assert!(all.other.is_empty());
        // The second file alone, behind one that was not split.
        let other = Maps::open(&[make("c.npy", 3, 8), files[1].clone()]).unwrap();
        let placed = record.place(&other);
        assert_eq!(
            placed.other,
            [0, 1, 2].map(|map| Region::whole(&other, map))
        );
        let shifted = |regions: &[Region]| -> Vec<Region> {
            let of_file = regions.iter().filter(|region| region.parent >= 6);
            of_file
                .map(|region| Region {
                    parent: region.parent - 3,
                    ..region.clone()
                })
                .collect()
        };
        assert_eq!(placed.train, shifted(&split.train));
        assert_eq!(placed.test, shifted(&split.test));
        assert_eq!(placed.validation, shifted(&split.validation));
        // A file of the same name elsewhere is another one, until the first is gone.
        let there = tempfile::tempdir().unwrap();
        let copy = there.path().join("b.npy");
        std::fs::copy(&files[1], &copy).unwrap();
        let copied = Maps::open(std::slice::from_ref(&copy)).unwrap();
        assert_eq!(record.place(&copied).other.len(), 4);
        std::fs::remove_file(&files[1]).unwrap();
        let moved = record.place(&copied);
        assert!(moved.other.is_empty());
        let maps = moved.train.len() + moved.validation.len() + moved.test.len();
        assert_eq!(maps, 4);
    }

    #[test]
    fn strips_are_placed_with_their_rows() {
        let directory = tempfile::tempdir().unwrap();
        let path = write_maps(directory.path(), "large.npy", 2, 60, |_, _, _| 0.0);
        let maps = Maps::open(&[path]).unwrap();
        let placed = record(&maps, 3).place(&maps);
        let rows = |regions: &[Region]| regions.iter().map(|r| r.rows.clone()).collect::<Vec<_>>();
        assert_eq!(rows(&placed.train), [0..28, 0..28]);
        assert_eq!(rows(&placed.test), [52..60, 52..60]);
    }

    #[test]
    fn a_record_that_was_kept_refuses_other_maps_but_not_another_directory() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let make = |place: &tempfile::TempDir, maps| {
            write_maps(place.path(), "a.npy", maps, 16, |_, _, _| 0.0)
        };
        let path = here.path().join("split.json");
        let maps = Maps::open(&[make(&here, 9)]).unwrap();
        let first = record(&maps, 1);
        first.keep(&path).unwrap();
        first.keep(&path).unwrap();
        let kept: SplitRecord =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(kept, first);
        let moved = Maps::open(&[make(&there, 9)]).unwrap();
        record(&moved, 1).keep(&path).unwrap();
        let other = record(&moved, 2).keep(&path).unwrap_err().to_string();
        assert!(
            other.contains("deals the same files out otherwise"),
            "{other}"
        );
        let more = Maps::open(&[make(&there, 10)]).unwrap();
        let more = record(&more, 1).keep(&path).unwrap_err().to_string();
        for part in ["split.json", "a.npy (9 maps", "now a.npy (10 maps"] {
            assert!(more.contains(part), "{more}");
        }
        std::fs::write(&path, "{}").unwrap();
        let broken = first.keep(&path).unwrap_err().to_string();
        assert!(broken.contains("cannot be read"), "{broken}");
    }
}

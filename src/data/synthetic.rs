//! Maps for a user who has none: lognormal convergence maps of the paper's cosmology, made once
//! and kept in a cache directory. They have the right power spectrum and skewness of the right
//! size, not the peaks and filaments of simulations: a run on them shows that training works.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::field::{FieldKind, RandomField};
use super::field_error::FieldError;
use super::maps::Maps;
use super::npy_write::{write_npy_header, write_npy_pixels};
use super::patch::Patch;
use super::provenance::Provenance;
use super::sidecar::sidecar_path;
use crate::files::{Digested, sweep, write_atomic};
use crate::theory::{ConvergencePower, Cosmology};

/// Part of the cache's file names: raise it when the same parameters give other maps.
const VERSION: u32 = 2;

const SHIFT: f64 = FieldKind::USUAL_SHIFT;

/// Pixels of a whole set: 256 MiB in float32.
const MOST_PIXELS: usize = 1 << 26;

const COSMOLOGY: Cosmology = Cosmology::PAPER;

const SOURCE_REDSHIFT: f64 = 1.0;

/// A set of synthetic maps. Map `i` depends on `pixels`, `side_deg`, `seed` and `i` alone: to the bit
/// on one machine and on any number of threads, within rounding on another kind of processor (Fourier
/// transforms use what vector instructions there are).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyntheticSet {
    /// Number of parent maps.
    pub maps: usize,
    /// Side of a parent in pixels.
    pub pixels: usize,
    /// Side of a parent in degrees.
    pub side_deg: f64,
    pub seed: u64,
}

/// A [`SyntheticSet`] on the disk.
#[derive(Debug)]
pub struct SyntheticMaps {
    /// Float32, `[maps, pixels, pixels]`.
    pub maps: Maps,
    pub path: PathBuf,
    /// Whether the maps were found, not made.
    pub reused: bool,
}

/// What stands beside the maps, for their reader and as the sign that they are complete.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sidecar {
    version: u32,
    set: SyntheticSet,
    #[serde(flatten)]
    provenance: Provenance,
    source: String,
    shift: f64,
    /// Of the whole `.npy` file.
    blake3: String,
}

impl SyntheticSet {
    /// The set for a network of `map_size` pixels: parents of 4 x 4 maps and sqrt(12) degrees, so
    /// that a crop has the paper's 0.866 degrees; 128 parents up to 64-pixel maps, 64 up to 256,
    /// then as many as fit into 256 MB.
    pub fn for_map_size(map_size: usize, seed: u64) -> Self {
        let pixels = 4 * map_size;
        let maps = match pixels {
            0..=256 => 128,
            257..=1024 => 64,
            _ => (MOST_PIXELS / (pixels * pixels)).clamp(4, 32),
        };
        Self {
            maps,
            pixels,
            side_deg: 12f64.sqrt(),
            seed,
        }
    }

    /// Opens the set in the cache `directory`, and makes it first if it is not there or cannot be
    /// read. `progress(done, total)` is called on this thread as maps are written.
    ///
    /// # Errors
    /// A directory that cannot be written or has no room, or a set without meaning.
    pub fn open_or_make(
        &self,
        directory: &Path,
        progress: &dyn Fn(usize, usize),
    ) -> Result<SyntheticMaps, DataError> {
        if !(1..=1 << 20).contains(&self.maps) {
            return Err(DataError::Field(FieldError::OutOfRange {
                field: "maps",
                value: self.maps as f64,
                accepted: "1 to 1048576",
            }));
        }
        let path = directory.join(self.file_name());
        let sidecar = sidecar_path(&path);
        if let Some(maps) = self.reuse(&path, &sidecar) {
            return Ok(SyntheticMaps {
                maps,
                path,
                reused: true,
            });
        }
        let field = self.field()?;
        let cache = |action, path: &Path, source| DataError::Cache {
            path: path.to_owned(),
            action,
            megabytes: self.bytes().div_ceil(1 << 20) as u64,
            source,
        };
        fs::create_dir_all(directory).map_err(|e| cache("create", directory, e))?;
        sweep(directory).map_err(|e| cache("clean", directory, e))?;
        let mut blake3 = String::new();
        write_atomic(&path, |file| {
            let mut file = Digested::new(file);
            self.write_maps(&field, &mut file, progress)?;
            blake3 = file.hex();
            Ok(())
        })
        .map_err(|e| cache("write", &path, e))?;
        // Last: a set without its sidecar is made again.
        let described =
            serde_json::to_string_pretty(&self.sidecar(blake3)).map_err(io::Error::from);
        described
            .and_then(|text| write_atomic(&sidecar, |file| writeln!(file, "{text}")))
            .map_err(|e| cache("write", &sidecar, e))?;
        let maps = Maps::open(std::slice::from_ref(&path))?;
        Ok(SyntheticMaps {
            maps,
            path,
            reused: false,
        })
    }

    /// The name of the set's `.npy` file: all of its parameters and the version of the method.
    pub fn file_name(&self) -> String {
        let Self {
            maps,
            pixels,
            side_deg,
            seed,
        } = self;
        let Cosmology {
            omega_m, sigma_8, ..
        } = COSMOLOGY;
        format!(
            "kappa_lognormal_v{VERSION}_om{omega_m}_s8_{sigma_8}_zs{SOURCE_REDSHIFT}_\
             {maps}x{pixels}px_{side_deg:.6}deg_seed{seed}.npy"
        )
    }

    fn bytes(&self) -> usize {
        4 * self.maps * self.pixels * self.pixels
    }

    fn field(&self) -> Result<RandomField, DataError> {
        let power = ConvergencePower::new(&COSMOLOGY, SOURCE_REDSHIFT)?;
        let patch = Patch {
            pixels: self.pixels,
            side_deg: self.side_deg,
            periodic: false,
        };
        let kind = FieldKind::Lognormal { shift: SHIFT };
        Ok(RandomField::new(kind, patch, |l| power.at(l))?)
    }

    fn sidecar(&self, blake3: String) -> Sidecar {
        Sidecar {
            version: VERSION,
            set: *self,
            provenance: Provenance::of(&COSMOLOGY, SOURCE_REDSHIFT, self.side_deg),
            source: format!(
                "cosmogan {}: lognormal field with the Limber C_l of Eisenstein-Hu and halofit",
                env!("CARGO_PKG_VERSION")
            ),
            shift: SHIFT,
            blake3,
        }
    }

    /// The cached maps, if they are whole and are those of this set.
    fn reuse(&self, path: &Path, sidecar: &Path) -> Option<Maps> {
        let text = fs::read_to_string(sidecar).ok()?;
        let found: Sidecar = serde_json::from_str(&text).ok()?;
        // Whole, and the bits that were written: disks and copies go wrong.
        let expected = Sidecar {
            source: found.source.clone(),
            ..self.sidecar(found.blake3.clone())
        };
        if found != expected || digest_of(path).ok()? != found.blake3 {
            return None;
        }
        let maps = Maps::open(&[path.to_owned()]).ok()?;
        let whole = maps.len() == self.maps && maps.sides() == (self.pixels, self.pixels);
        whole.then_some(maps)
    }

    fn write_maps(
        &self,
        field: &RandomField,
        file: &mut impl Write,
        progress: &dyn Fn(usize, usize),
    ) -> io::Result<()> {
        write_npy_header(file, [self.maps, self.pixels, self.pixels])?;
        progress(0, self.maps);
        let mut group = Vec::new();
        let mut done = 0;
        while done < self.maps {
            let n = field.at_once().min(self.maps - done);
            group.resize(n * self.pixels * self.pixels, 0.0);
            field.realise_many(self.seed, done, &mut group);
            for map in group.chunks_exact(self.pixels * self.pixels) {
                write_npy_pixels(file, map)?;
                done += 1;
                progress(done, self.maps);
            }
        }
        Ok(())
    }
}

/// The digest of a file; 256 MB take some tenths of a second.
fn digest_of(path: &Path) -> io::Result<String> {
    let mut digested = Digested::new(io::sink());
    io::copy(&mut fs::File::open(path)?, &mut digested)?;
    Ok(digested.hex())
}

/// Where synthetic maps are kept: `$COSMOGAN_CACHE`, else `$XDG_CACHE_HOME/cosmogan`, else
/// `$HOME/.cache/cosmogan`, else `.cosmogan-cache` in the current directory.
pub fn cache_directory() -> PathBuf {
    cache_directory_in(|name| std::env::var_os(name))
}

fn cache_directory_in(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let path = |name| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    path("COSMOGAN_CACHE")
        .or_else(|| Some(path("XDG_CACHE_HOME")?.join("cosmogan")))
        .or_else(|| Some(path("HOME")?.join(".cache").join("cosmogan")))
        .unwrap_or_else(|| PathBuf::from(".cosmogan-cache"))
}

#[cfg(test)]
mod tests {
    use super::super::region::Region;
    use super::super::statistics::survey;
    use super::*;
    use std::cell::RefCell;

    const SET: SyntheticSet = SyntheticSet {
        maps: 6,
        pixels: 64,
        side_deg: 0.866,
        seed: 3,
    };

    fn make(set: SyntheticSet, directory: &Path) -> SyntheticMaps {
        set.open_or_make(directory, &|_, _| {}).unwrap()
    }

    #[test]
    fn maps_are_made_once_then_reused_and_made_again_when_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let cache = directory.path().join("not/yet/there");
        let seen = RefCell::new(Vec::new());
        let progress = |done, total| seen.borrow_mut().push((done, total));
        let made = SET.open_or_make(&cache, &progress).unwrap();
        assert!(!made.reused);
        assert!(seen.into_inner().into_iter().eq((0..=6).map(|i| (i, 6))));
        assert_eq!((made.maps.len(), made.maps.sides()), (6, (64, 64)));
        let told = *made.maps.provenance(0);
        assert_eq!(told, Provenance::of(&Cosmology::PAPER, 1.0, SET.side_deg));
        let bytes = fs::read(&made.path).unwrap();
        assert!(make(SET, &cache).reused);

        fs::write(&made.path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(!make(SET, &cache).reused, "a truncated file was reused");
        assert_eq!(fs::read(&made.path).unwrap(), bytes);
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 2] ^= 1;
        fs::write(&made.path, damaged).unwrap();
        assert!(!make(SET, &cache).reused, "a damaged file was reused");
        assert_eq!(fs::read(&made.path).unwrap(), bytes);
        let sidecar = sidecar_path(&made.path);
        fs::write(sidecar, "{").unwrap();
        assert!(
            !make(SET, &cache).reused,
            "a set without a sidecar was reused"
        );
        assert_eq!(fs::read(&made.path).unwrap(), bytes);
        assert!(make(SET, &cache).reused);
    }

    #[test]
    fn the_same_bytes_come_from_any_number_of_threads_and_maps() {
        let directory = tempfile::tempdir().unwrap();
        let bytes_on = |threads: usize, set: SyntheticSet| {
            let cache = directory.path().join(threads.to_string());
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let made = pool.unwrap().install(|| make(set, &cache));
            fs::read(made.path).unwrap()
        };
        let alone = bytes_on(1, SET);
        assert_eq!(alone, bytes_on(3, SET));
        let fewer = bytes_on(2, SyntheticSet { maps: 2, ..SET });
        assert_eq!(fewer[128..], alone[128..][..fewer.len() - 128]);
        let other = bytes_on(1, SyntheticSet { seed: 4, ..SET });
        assert_ne!(other, alone);
    }

    #[test]
    fn the_maps_look_like_convergence_of_the_papers_cosmology() {
        let directory = tempfile::tempdir().unwrap();
        let set = SyntheticSet {
            maps: 12,
            pixels: 256,
            side_deg: 12f64.sqrt() / 4.0,
            seed: 1,
        };
        let made = make(set, directory.path());
        let whole: Vec<Region> = (0..set.maps)
            .map(|parent| Region::whole(&made.maps, parent))
            .collect();
        let all = survey(&made.maps, &whole, u64::MAX, 1).unwrap().statistics[0];
        // Known-spectrum maps of these pixels and this C_l have an rms of 0.0206 to 0.0222.
        assert!((0.0195..0.0235).contains(&all.rms), "{all:?}");
        assert!(all.min > -0.04 && all.max > 0.15, "{all:?}");
        assert!(all.mean.abs() < 0.004, "{all:?}");
    }

    #[test]
    fn defaults_give_a_crop_the_papers_side_and_the_cache_a_bounded_size() {
        for map_size in [16, 32, 64, 128, 256, 512, 1024] {
            let set = SyntheticSet::for_map_size(map_size, 0);
            assert!(set.maps >= 4 && set.bytes() <= 256 << 20, "{set:?}");
            let crop = set.side_deg * map_size as f64 / set.pixels as f64;
            assert!((crop - 0.8660).abs() < 1e-4);
        }
        let counts = [64, 128, 256].map(|size| SyntheticSet::for_map_size(size, 0).maps);
        assert_eq!(counts, [128, 64, 64]);
    }

    #[test]
    fn a_cache_that_cannot_be_written_and_sets_without_meaning_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = SET.open_or_make(&file, &|_, _| {}).unwrap_err().to_string();
        assert!(
            error.contains("COSMOGAN_CACHE") && error.contains("file"),
            "{error}"
        );
        let flat = SyntheticSet {
            side_deg: 0.0,
            ..SET
        };
        let error = flat.open_or_make(directory.path(), &|_, _| {}).unwrap_err();
        assert!(error.to_string().contains("side_deg is 0"), "{error}");
    }

    #[test]
    fn the_cache_lies_where_the_first_variable_that_is_set_says() {
        let with = |set: &[(&str, &str)]| {
            let find = |name: &str| set.iter().find(|v| v.0 == name).map(|v| v.1.into());
            cache_directory_in(find)
        };
        let home = ("HOME", "/h");
        let xdg = ("XDG_CACHE_HOME", "/x");
        assert_eq!(
            with(&[home, xdg, ("COSMOGAN_CACHE", "/c")]),
            Path::new("/c")
        );
        assert_eq!(with(&[home, xdg]), Path::new("/x/cosmogan"));
        assert_eq!(
            with(&[home, ("XDG_CACHE_HOME", "")]),
            Path::new("/h/.cache/cosmogan")
        );
        assert_eq!(with(&[]), Path::new(".cosmogan-cache"));
    }
}

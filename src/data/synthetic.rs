//! Maps for a user who has none: lognormal convergence maps of the paper's cosmology, made once
//! and kept in a cache directory. They have the right power spectrum and skewness of the right
//! size, not the peaks and filaments of simulations: a run on them shows that training works.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::lognormal::LognormalField;
use super::maps::Maps;
use super::npy_write::{write_npy_header, write_npy_pixels};
use super::spectrum::kappa_power;
use crate::files::{sweep, write_atomic};

/// Part of the cache's file names: raise it when the same parameters give other maps.
const VERSION: u32 = 1;

/// kappa0 of the lognormal field: no pixel is below -0.04, as in ray tracing to z = 1.
const SHIFT: f64 = 0.04;

/// Pixels of a whole set: 256 MiB in float32.
const MOST_PIXELS: usize = 1 << 26;

/// Bytes that fields may take at once while maps are made.
const WORKING_BYTES: usize = 2 << 30;

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
    side_deg: f64,
    pixel_deg: f64,
    source: String,
    shift: f64,
    omega_m: f64,
    omega_b: f64,
    h: f64,
    n_s: f64,
    sigma_8: f64,
    w: f64,
    source_redshift: f64,
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
        self.check()?;
        let path = directory.join(self.file_name());
        let sidecar = path.with_extension("json");
        if let Some(maps) = self.reuse(&path, &sidecar) {
            return Ok(SyntheticMaps {
                maps,
                path,
                reused: true,
            });
        }
        let cache = |action, path: &Path, source| DataError::Cache {
            path: path.to_owned(),
            action,
            megabytes: self.bytes().div_ceil(1 << 20) as u64,
            source,
        };
        fs::create_dir_all(directory).map_err(|e| cache("create", directory, e))?;
        sweep(directory).map_err(|e| cache("clean", directory, e))?;
        write_atomic(&path, |file| self.write_maps(file, progress))
            .map_err(|e| cache("write", &path, e))?;
        // Last: a set without its sidecar is made again.
        let described = serde_json::to_string_pretty(&self.sidecar()).map_err(io::Error::from);
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
        format!(
            "kappa_lognormal_v{VERSION}_om0.26_s8_0.798_zs1_{maps}x{pixels}px_\
             {side_deg:.6}deg_seed{seed}.npy"
        )
    }

    fn bytes(&self) -> usize {
        4 * self.maps * self.pixels * self.pixels
    }

    fn check(&self) -> Result<(), DataError> {
        let wrong = |field, value, accepted| {
            Err(DataError::Synthetic {
                field,
                value,
                accepted,
            })
        };
        if !(1..=1 << 20).contains(&self.maps) {
            return wrong("maps", self.maps as f64, "it must be 1 to 1048576");
        }
        if !(8..=4096).contains(&self.pixels) {
            return wrong("pixels", self.pixels as f64, "it must be 8 to 4096");
        }
        if !(0.01..=30.0).contains(&self.side_deg) {
            let accepted = "it must be 0.01 to 30 (the sky is taken to be flat)";
            return wrong("side_deg", self.side_deg, accepted);
        }
        Ok(())
    }

    fn sidecar(&self) -> Sidecar {
        Sidecar {
            version: VERSION,
            set: *self,
            side_deg: self.side_deg,
            pixel_deg: self.side_deg / self.pixels as f64,
            source: format!(
                "cosmogan {}: lognormal field with the C_l of CAMB 2.0.5 Halofit",
                env!("CARGO_PKG_VERSION")
            ),
            shift: SHIFT,
            omega_m: 0.26,
            omega_b: 0.046,
            h: 0.72,
            n_s: 0.96,
            sigma_8: 0.798,
            w: -1.0,
            source_redshift: 1.0,
        }
    }

    /// The cached maps, if they are whole and are those of this set.
    fn reuse(&self, path: &Path, sidecar: &Path) -> Option<Maps> {
        let text = fs::read_to_string(sidecar).ok()?;
        let found: Sidecar = serde_json::from_str(&text).ok()?;
        if found.version != VERSION || found.set != *self {
            return None;
        }
        let maps = Maps::open(&[path.to_owned()]).ok()?;
        let whole = maps.len() == self.maps && maps.sides() == (self.pixels, self.pixels);
        whole.then_some(maps)
    }

    fn write_maps(&self, file: &mut impl Write, progress: &dyn Fn(usize, usize)) -> io::Result<()> {
        // Twice the width, so that the quadrant that is kept does not wrap around.
        let field = LognormalField::new(
            2 * self.pixels,
            2.0 * self.side_deg.to_radians(),
            SHIFT,
            kappa_power,
        );
        write_npy_header(file, [self.maps, self.pixels, self.pixels])?;
        progress(0, self.maps);
        // Modes and plane of a doubled grid in f32, each 4 (2 pixels)^2 bytes and a little more.
        let bytes_of_a_field = 40 * self.pixels * self.pixels;
        let most = (WORKING_BYTES / bytes_of_a_field).max(1);
        let together = rayon::current_num_threads().min(most);
        for first in (0..self.maps).step_by(together) {
            let group: Vec<Vec<f32>> = (first..self.maps.min(first + together))
                .into_par_iter()
                .map(|index| field.realise_quadrant(self.seed, index as u64))
                .collect();
            for (offset, map) in group.iter().enumerate() {
                write_npy_pixels(file, map)?;
                progress(first + offset + 1, self.maps);
            }
        }
        Ok(())
    }
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
    use super::super::statistics::ScannedMaps;
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
        let bytes = fs::read(&made.path).unwrap();
        assert!(make(SET, &cache).reused);

        fs::write(&made.path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(!make(SET, &cache).reused, "a truncated file was reused");
        assert_eq!(fs::read(&made.path).unwrap(), bytes);
        fs::write(made.path.with_extension("json"), "{").unwrap();
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
        let all = ScannedMaps::scan(&made.maps).unwrap().all();
        // Known-spectrum maps of these pixels and this C_l have an rms of 0.0206 to 0.0222.
        assert!((0.0195..0.0235).contains(&all.rms), "{all:?}");
        assert!(all.min > -0.04 && all.max > 0.15, "{all:?}");
        assert!(all.mean.abs() < 0.004, "{all:?}");
    }

    #[test]
    fn defaults_give_a_crop_the_papers_side_and_the_cache_a_bounded_size() {
        for map_size in [16, 32, 64, 128, 256, 512, 1024] {
            let set = SyntheticSet::for_map_size(map_size, 0);
            assert!(set.check().is_ok());
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
        assert!(
            error.to_string().contains("synthetic.side_deg is 0"),
            "{error}"
        );
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

//! Map files of all formats, as a user's programs write them and read ours: pixels and what is
//! known of the maps survive, and no bytes make the reader panic.
//!
//! Files written by astropy and LensTools lie in `tests/corpus/fits`; where a Python with astropy is
//! found (`COSMOGAN_PYTHON`, else `python3`), they are written anew, and ours are read.

mod common;

use std::path::Path;
use std::process::Command;

use common::maps::{KNOWN, bits, corpus, names, open, read_all, write};
use cosmogan::data::{Maps, Provenance};
use cosmogan::rng::{Philox, Stream};
use half::f16;
use ndarray::{Array3, ShapeBuilder};
use ndarray_npy::{ReadNpyExt, WriteNpyExt};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Shape {
    Hw,
    Nhw,
    N1hw,
    Nhwc,
    Nchw,
}

#[derive(Clone, Debug)]
struct Npy {
    shape: Shape,
    maps: usize,
    side: usize,
    channels: usize,
    bytes_each: usize,
    big_endian: bool,
    fortran: bool,
    version: u8,
    seed: u64,
}

impl Npy {
    fn any() -> impl Strategy<Value = Self> {
        let shapes = [Shape::Hw, Shape::Nhw, Shape::N1hw, Shape::Nhwc, Shape::Nchw];
        (
            prop::sample::select(shapes.to_vec()),
            (1..5_usize, 5..14_usize, 1..=4_usize),
            prop::sample::select(vec![2, 4, 8]),
            any::<(bool, bool)>(),
            1..=3_u8,
            any::<u64>(),
        )
            .prop_map(
                |(shape, (maps, side, channels), bytes_each, (b, f), version, seed)| Self {
                    shape,
                    maps: if matches!(shape, Shape::Hw) { 1 } else { maps },
                    side,
                    channels: match shape {
                        Shape::Nhwc | Shape::Nchw => channels,
                        _ => 1,
                    },
                    bytes_each,
                    big_endian: b,
                    fortran: f,
                    version,
                    seed,
                },
            )
    }

    /// The axes as they lie, and for each the entry of `[map, row, column, channel]`.
    fn axes(&self) -> (Vec<usize>, Vec<usize>) {
        let (n, s, c) = (self.maps, self.side, self.channels);
        match self.shape {
            Shape::Hw => (vec![s, s], vec![1, 2]),
            Shape::Nhw => (vec![n, s, s], vec![0, 1, 2]),
            Shape::N1hw => (vec![n, 1, s, s], vec![0, 3, 1, 2]),
            Shape::Nhwc => (vec![n, s, s, c], vec![0, 1, 2, 3]),
            Shape::Nchw => (vec![n, c, s, s], vec![0, 3, 1, 2]),
        }
    }

    /// Values that float16 holds, `[maps, side, side, channels]`.
    fn pixels(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.maps * self.side * self.side * self.channels];
        Philox::new(self.seed, Stream::Benchmark, 0).fill_normal(&mut values);
        values.iter().map(|&v| f16::from_f32(v).to_f32()).collect()
    }

    fn bytes(&self) -> Vec<u8> {
        let (shape, roles) = self.axes();
        let order = if self.big_endian { '>' } else { '<' };
        let fortran = if self.fortran { "True" } else { "False" };
        let listed: Vec<String> = shape.iter().map(usize::to_string).collect();
        let text = format!(
            "{{'descr': '{order}f{}', 'fortran_order': {fortran}, 'shape': ({}), }}\n",
            self.bytes_each,
            listed.join(", ")
        );
        let mut bytes = [&b"\x93NUMPY"[..], &[self.version, 0]].concat();
        match self.version {
            1 => bytes.extend((text.len() as u16).to_le_bytes()),
            _ => bytes.extend((text.len() as u32).to_le_bytes()),
        }
        bytes.extend(text.as_bytes());
        let pixels = self.pixels();
        for number in 0..pixels.len() {
            let mut left = number;
            let mut index = [0; 4];
            let mut set = |axis: usize| {
                index[roles[axis]] = left % shape[axis];
                left /= shape[axis];
            };
            if self.fortran {
                (0..shape.len()).for_each(&mut set);
            } else {
                (0..shape.len()).rev().for_each(&mut set);
            }
            let [m, y, x, c] = index;
            let value = pixels[((m * self.side + y) * self.side + x) * self.channels + c];
            let mut number = match self.bytes_each {
                2 => f16::from_f32(value).to_le_bytes().to_vec(),
                4 => value.to_le_bytes().to_vec(),
                _ => f64::from(value).to_le_bytes().to_vec(),
            };
            if self.big_endian {
                number.reverse();
            }
            bytes.extend(number);
        }
        bytes
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn npy_files_of_every_number_order_and_shape_read_back(npy in Npy::any(), corner: [u32; 3]) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("maps.npy");
        std::fs::write(&path, npy.bytes()).unwrap();
        let maps = open(&path);
        prop_assert_eq!(maps.len(), npy.maps);
        prop_assert_eq!(maps.channels(), npy.channels);
        prop_assert_eq!(maps.sides(), (npy.side, npy.side));
        let pixels = npy.pixels();
        prop_assert_eq!(bits(&read_all(&maps)), bits(&pixels));
        let [size, y0, x0] = corner.map(|word| word as usize);
        let size = 1 + size % npy.side;
        let (y0, x0) = (y0 % (npy.side - size + 1), x0 % (npy.side - size + 1));
        let c = npy.channels;
        let mut window = vec![0.0; size * size * c];
        let map = npy.maps - 1;
        maps.read_window(map, y0, x0, size, &mut window);
        for (y, row) in window.chunks_exact(size * c).enumerate() {
            let start = ((map * npy.side + y0 + y) * npy.side + x0) * c;
            prop_assert_eq!(row, &pixels[start..][..size * c]);
        }
    }

    #[test]
    fn bytes_of_any_kind_never_panic(
        seed_file in 0..6_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (name, mut bytes) = seed_of_damage(seed_file);
        let header = bytes.len().min(if name.ends_with("npy") { 80 } else { 1200 });
        for (place, value) in changes {
            // Digits and letters in the header make the more devious files.
            let place = place.index(header);
            bytes[place] = if value < 128 { b"0123456789TF'=-E "[value as usize % 17] } else { value };
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        match Maps::open(std::slice::from_ref(&path)) {
            Ok(maps) => {
                read_all(&maps);
            }
            Err(error) => prop_assert!(error.to_string().contains(name), "{error}"),
        }
    }
}

fn seed_of_damage(index: usize) -> (&'static str, Vec<u8>) {
    let corpus = |name: &str| std::fs::read(corpus().join(name)).unwrap();
    match index {
        0 => ("maps.fits", corpus("cube_f32.fits")),
        1 => ("maps.fits", corpus("scaled_i16.fits")),
        2 => ("maps.fits", corpus("extension_f32.fits")),
        3 => ("maps.fits", corpus("lenstools.fits")),
        4 => ("maps.fits", corpus("behind_a_table_f64.fits")),
        _ => {
            let npy = Npy {
                shape: Shape::Nhwc,
                maps: 3,
                side: 5,
                channels: 2,
                bytes_each: 4,
                big_endian: false,
                fortran: true,
                version: 1,
                seed: 1,
            };
            ("maps.npy", npy.bytes())
        }
    }
}

#[test]
fn another_writers_arrays_in_both_orders_read_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let value = |(m, y, x): (usize, usize, usize)| (100 * m + 10 * y + x) as f64 / 7.0;
    let c = Array3::from_shape_fn((3, 9, 9), value);
    let f = Array3::from_shape_fn((3, 9, 9).f(), value);
    let expected: Vec<f32> = c.iter().map(|&v| v as f32).collect();
    for (name, array) in [("c.npy", &c), ("f.npy", &f)] {
        let path = directory.path().join(name);
        array
            .write_npy(std::fs::File::create(&path).unwrap())
            .unwrap();
        assert_eq!(read_all(&open(&path)), expected, "{name}");
    }
}

/// Pixels `[y, x]` of map `m` of the corpus.
fn corpus_pixel(m: usize, y: usize, x: usize) -> f32 {
    m as f32 / 4.0 - 0.5 + y as f32 / 8.0 + x as f32 / 64.0
}

/// Reads the files that `tests/peers/fits.py` wrote into `directory`.
fn check_corpus(directory: &Path) -> usize {
    let side_only = Provenance {
        side_deg: Some(3.5),
        ..Provenance::default()
    };
    let all = Provenance {
        omega_b: None,
        sigma_8: None,
        n_s: None,
        side_deg: Some(3.5),
        wa: Some(0.0),
        ..KNOWN
    };
    let files = names(directory);
    for name in &files {
        let path = directory.join(name);
        let stem = name.strip_suffix(".fits").unwrap();
        if let Some(reason) = stem.strip_prefix("refused_") {
            let message = Maps::open(&[path]).unwrap_err().to_string();
            let part = match reason {
                "gzip" => "gunzip",
                "tiles" => "funpack",
                "table" => "it holds no image",
                "i32" => "BITPIX (type of number) is 32",
                "u16" => "BITPIX (type of number) is 16",
                "oblong" => "(4, 8)",
                other => panic!("{other}"),
            };
            assert!(
                message.contains(part) && message.contains(name),
                "{message}"
            );
            continue;
        }
        let maps = open(&path);
        let (count, known) = match stem {
            "cube_f32" => (3, all),
            "cube_f64" | "axes_of_one_f32" => (3, Provenance::default()),
            "primary_f32" | "lenstools" => (1, all),
            "extension_f32" | "behind_a_table_f64" => (1, side_only),
            _ => (1, Provenance::default()),
        };
        assert_eq!((maps.len(), maps.channels(), maps.side(0)), (count, 1, 8));
        assert_eq!(*maps.provenance(0), known, "{name}");
        for (index, found) in read_all(&maps).into_iter().enumerate() {
            let (m, y, x) = (index / 64, index / 8 % 8, index % 8);
            if stem.starts_with("scaled") && (y, x) == (2, 3) {
                assert!(found.is_nan(), "{name}: a blank pixel is {found}");
            } else {
                assert_eq!(found, corpus_pixel(m, y, x), "{name} [{m}, {y}, {x}]");
            }
        }
    }
    files.len()
}

#[test]
fn files_of_astropy_and_lenstools_are_read_or_refused_with_advice() {
    assert_eq!(check_corpus(&corpus()), 16);
}

fn python_with_astropy() -> Option<String> {
    let name = std::env::var("COSMOGAN_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&name)
        .args(["-c", "import astropy, numpy"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: {name} has no astropy (COSMOGAN_PYTHON names another)");
    }
    found.then_some(name)
}

fn peer(python: &str, words: [&str; 2]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/fits.py");
    let output = Command::new(python)
        .arg(script)
        .args(words)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn astropy_and_this_program_read_each_others_files() {
    let Some(python) = python_with_astropy() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    peer(&python, ["write", directory.path().to_str().unwrap()]);
    assert!(check_corpus(directory.path()) >= 15);

    let side = 33;
    let mut map = vec![0.0; side * side];
    Philox::new(7, Stream::Benchmark, 0).fill_normal(&mut map);
    let path = directory.path().join("ours.fits");
    write(&path, &map, side, 1, &KNOWN);
    let found = peer(&python, ["read", path.to_str().unwrap()]);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(
        (&found["hdus"], &found["dtype"]),
        (&1.into(), &">f4".into())
    );
    for (key, value) in [
        ("ANGLE", KNOWN.side_deg),
        ("Z", KNOWN.source_redshift),
        ("H0", Some(72.0)),
        ("H", KNOWN.h),
        ("OMEGA_M", KNOWN.omega_m),
        ("OMEGA_L", KNOWN.omega_l),
        ("W0", KNOWN.w),
        ("WA", KNOWN.wa),
        ("OMEGA_B", KNOWN.omega_b),
        ("SIGMA_8", KNOWN.sigma_8),
        ("N_S", KNOWN.n_s),
    ] {
        assert_eq!(found["keys"][key].as_f64(), value, "{key}");
    }
    let pixels = |name: &str| -> Vec<f32> {
        let rows = found[name].as_array().unwrap();
        let numbers = rows.iter().flat_map(|row| row.as_array().unwrap());
        numbers.map(|v| v.as_f64().unwrap() as f32).collect()
    };
    assert_eq!(pixels("pixels"), map);
    if found["lenstools_angle"].is_null() {
        println!("skipped: {python} has no LensTools");
    } else {
        assert_eq!(found["lenstools_angle"].as_f64(), KNOWN.side_deg);
        assert_eq!(pixels("lenstools_pixels"), map);
    }
}

#[test]
fn patterns_take_the_map_files_that_match_in_the_order_of_their_names() {
    let directory = tempfile::tempdir().unwrap();
    // Brackets of a directory that exists are no part of the pattern.
    let d = directory.path().join("set[1]");
    std::fs::create_dir_all(d.join("b")).unwrap();
    let known = Provenance::default();
    for (name, value) in [
        ("m2.fits", 2.0),
        ("m1.npy", 1.0),
        ("b/m3.fts", 3.0),
        (".m0.npy", 0.0),
    ] {
        write(&d.join(name), &[value; 64], 8, 1, &known);
    }
    std::fs::write(d.join("m1.txt"), "").unwrap();
    let firsts = |pattern: &str| {
        let maps = Maps::open(&[d.join(pattern)]).map_err(|error| error.to_string())?;
        let pixels = read_all(&maps);
        Ok::<_, String>(pixels.chunks(64).map(|map| map[0]).collect::<Vec<_>>())
    };
    assert_eq!(firsts("m?.*").unwrap(), [1.0, 2.0]);
    assert_eq!(firsts("*").unwrap(), [3.0, 1.0, 2.0]);
    assert_eq!(firsts("*/*.fts").unwrap(), [3.0]);
    assert_eq!(firsts("m[2-9].fits").unwrap(), [2.0]);
    assert!(
        firsts("*.txt")
            .unwrap_err()
            .contains("matches this pattern")
    );
    assert!(firsts("m[2").unwrap_err().contains("not a pattern"));
    assert!(firsts("gone").unwrap_err().contains("no such file"));
    let many = vec![d.join("m1.npy"); 60_001];
    let message = Maps::open(&many).unwrap_err().to_string();
    assert!(message.contains("60001 map files") && message.contains("[N, H, W]"));
}

#[test]
fn every_shared_map_is_read() {
    let Some(data) = common::shared("data", None) else {
        return;
    };
    let mut read = 0;
    for folder in ["simulated", "known_spectrum", "published"] {
        let maps = Maps::open(&[data.join(folder).join("*.npy")]).unwrap();
        let pixels = read_all(&maps);
        assert!(pixels.iter().all(|v| v.is_finite() && v.abs() < 10.0));
        read += maps.len();
        let (path, first) = (maps.place(0).path, maps.side(0));
        let direct = Array3::<f32>::read_npy(std::fs::File::open(path).unwrap());
        if let Ok(direct) = direct {
            assert!(
                direct.iter().eq(&pixels[..direct.len()]),
                "{folder}, {first}"
            );
        }
    }
    assert!(read >= 28, "{read} maps");
}

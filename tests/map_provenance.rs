//! What is known of maps, on its way through files: written beside them, read back, agreed on by all
//! files of a training, and refused where it contradicts or makes no sense.

mod common;

use std::path::{Path, PathBuf};

use common::maps::{KNOWN, bits, corpus, names, open, read_all, write};
use cosmogan::data::{MapFormat, MapSet, Maps, Provenance, write_maps};
use cosmogan::rng::{Philox, Stream};

#[test]
fn what_is_written_reads_back_to_the_bit_with_what_is_known_of_it() {
    for (name, channels, files) in [
        ("maps.npy", 1, &["maps.npy", "maps.npy.json"][..]),
        ("maps.npy", 3, &["maps.npy", "maps.npy.json"]),
        (
            "maps.fits",
            1,
            &["maps-00001.fits", "maps-00002.fits", "maps-00003.fits"],
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let side = 27;
        let mut pixels = vec![0.0; 3 * side * side * channels];
        Philox::new(5, Stream::Benchmark, 0).fill_normal(&mut pixels);
        pixels[..4].copy_from_slice(&[f32::NAN, -0.0, f32::MIN_POSITIVE / 2.0, f32::MAX]);
        for known in [KNOWN, Provenance::default()] {
            write(
                &directory.path().join(name),
                &pixels,
                side,
                channels,
                &known,
            );
            assert_eq!(names(directory.path()), files);
            let maps = Maps::open(&[directory.path().to_owned()]).unwrap();
            assert_eq!((maps.len(), maps.channels()), (3, channels));
            assert_eq!(bits(&read_all(&maps)), bits(&pixels));
            for parent in 0..3 {
                assert_eq!(*maps.provenance(parent), known, "{name}");
            }
        }
    }
    let directory = tempfile::tempdir().unwrap();
    write(&directory.path().join("one.fit"), &[0.5; 64], 8, 1, &KNOWN);
    assert_eq!(names(directory.path()), ["one.fit"]);
}

#[test]
fn a_failed_write_leaves_what_was_there() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["maps.npy", "maps.fits"] {
        let path = directory.path().join(name);
        write(&path, &[0.5; 3 * 64], 8, 1, &KNOWN);
    }
    let before = names(directory.path());
    assert_eq!(before.len(), 5);
    for name in ["maps.npy", "maps.fits"] {
        let set = MapSet {
            maps: 3,
            side: 8,
            channels: 1,
            provenance: &Provenance::default(),
            extra: serde_json::Map::new(),
        };
        let path = directory.path().join(name);
        let failed = write_maps(
            &path,
            MapFormat::of(&path).unwrap(),
            &set,
            &mut |first, out| {
                out.resize(64, 0.25);
                match first {
                    0 => Ok(()),
                    _ => Err(std::io::Error::other("the lights went out")),
                }
            },
        );
        let message = failed.unwrap_err().to_string();
        assert!(message.contains("maps.") && message.contains("the lights went out"));
    }
    assert_eq!(names(directory.path()), before);
    let maps = Maps::open(&[directory.path().to_owned()]).unwrap();
    assert!(read_all(&maps).iter().all(|&v| v == 0.5));
    assert_eq!(*maps.provenance(5), KNOWN);
}

#[test]
fn fits_sets_refuse_channels_and_files_that_would_mix_with_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("maps.fits");
    write(&path, &[0.5; 3 * 64], 8, 1, &KNOWN);
    let refused = |maps, channels| {
        let set = MapSet {
            maps,
            side: 8,
            channels,
            provenance: &KNOWN,
            extra: serde_json::Map::new(),
        };
        let mut never = |_, _: &mut Vec<f32>| panic!("maps were made");
        let written = write_maps(&path, MapFormat::Fits, &set, &mut never);
        written.unwrap_err().to_string()
    };
    let message = refused(2, 1);
    assert!(
        message.contains("maps-00003.fits") && message.contains("remove it"),
        "{message}"
    );
    let message = refused(1, 2);
    assert!(
        message.contains("2 channels") && message.contains(".npy"),
        "{message}"
    );
    assert_eq!(names(directory.path()).len(), 3);
}

/// An `.npy` file of one map of `side` pixels, and its sidecar.
fn with_sidecar(directory: &Path, name: &str, side: usize, sidecar: &str) -> PathBuf {
    let path = directory.join(format!("{name}.npy"));
    common::write_maps(&path, 1, side);
    if !sidecar.is_empty() {
        std::fs::write(directory.join(format!("{name}.npy.json")), sidecar).unwrap();
    }
    path
}

#[test]
fn a_crop_knows_its_part_of_the_angle_that_files_of_any_side_agree_on() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let large = with_sidecar(
        d,
        "large",
        64,
        "{\"side_deg\": 3.5, \"seed\": [1], \"w\": null}",
    );
    let small = with_sidecar(d, "small", 32, "{\"pixel_deg\": 0.0546875, \"h\": 0.7}");
    let arcmin = with_sidecar(d, "arcmin", 16, "{\"pixel_arcmin\": 3.28125}");
    let silent = with_sidecar(d, "silent", 8, "");
    std::fs::write(d.join("silent.json"), "{\"source_redshift\": 2}").unwrap();
    let maps = Maps::open(&[large, small, arcmin, silent]).unwrap();
    assert_eq!(maps.provenance(1).side_deg, Some(1.75));
    assert_eq!(maps.provenance(2).side_deg, Some(0.875));
    let common = maps.common_provenance(&Provenance::default()).unwrap();
    let expected = Provenance {
        side_deg: Some(0.4375),
        h: Some(0.7),
        source_redshift: Some(2.0),
        ..Provenance::default()
    };
    assert_eq!(common.of_crop(8), expected);
    assert_eq!(common.pixel_deg, Some(3.5 / 64.0));
}

#[test]
fn what_contradicts_is_refused_with_both_sources_and_values() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let a = with_sidecar(d, "a", 64, "{\"side_deg\": 3.5, \"source_redshift\": 1}");
    let b = with_sidecar(
        d,
        "b",
        64,
        "{\"side_deg\": 3.5003, \"source_redshift\": 1.5}",
    );
    let c = with_sidecar(d, "c", 64, "{\"side_deg\": 3.6}");
    let silent = with_sidecar(d, "silent", 32, "");
    let refused = |paths: &[&PathBuf], angle: Option<f64>, redshift: Option<f64>| {
        let paths: Vec<PathBuf> = paths.iter().map(|&path| path.clone()).collect();
        let asked = Provenance {
            side_deg: angle,
            source_redshift: redshift,
            ..Provenance::default()
        };
        let maps = Maps::open(&paths).unwrap();
        maps.common_provenance(&asked)
            .map_err(|error| error.to_string())
    };
    for (paths, angle, redshift, parts) in [
        (
            &[&a, &b][..],
            None,
            None,
            &[
                "source_redshift",
                "a.npy.json says 1;",
                "b.npy.json says 1.5",
            ][..],
        ),
        (
            &[&a, &c],
            None,
            None,
            &[
                "degrees a pixel",
                "0.0546875",
                "0.05625",
                "a.npy.json",
                "c.npy.json",
            ],
        ),
        (
            &[&a],
            Some(3.6),
            None,
            &["degrees a pixel", "--angle", "0.05625", "a.npy.json"],
        ),
        (
            &[&a],
            None,
            Some(2.0),
            &[
                "source_redshift",
                "--source-redshift says 2",
                "a.npy.json says 1;",
            ],
        ),
        (
            &[&a, &silent],
            Some(3.5),
            None,
            &["--angle", "32 to 64 pixels"],
        ),
    ] {
        let message = refused(paths, angle, redshift).unwrap_err();
        for part in parts {
            assert!(message.contains(part), "{message} lacks {part}");
        }
    }
    assert!(refused(&[&b, &c], None, None).is_err());
    for (paths, angle, redshift) in [
        (&[&a][..], Some(3.4999), Some(1.00005)),
        (&[&silent], Some(1.75), Some(2.0)),
        (&[&a, &silent], None, None),
    ] {
        let found = refused(paths, angle, redshift).unwrap().of_crop(32);
        assert!((found.side_deg.unwrap() - 1.75).abs() < 1e-3);
    }
}

#[test]
fn sidecars_and_headers_without_sense_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    for (sidecar, parts) in [
        ("{\"side_deg\": -1}", &["side_deg is -1", "up to 180"][..]),
        ("{\"side_deg\": 0}", &["side_deg is 0"]),
        ("{\"side_deg\": \"3.5\"}", &["side_deg is a string"]),
        ("{\"h\": 72}", &["h is 72", "100 km/s/Mpc"]),
        ("{\"omega_m\": true}", &["omega_m is true or false"]),
        ("{\"pixel_arcmin\": 1e9}", &["pixel_arcmin is 1000000000"]),
        (
            "{\"side_deg\": 3.5, \"pixel_deg\": 1}",
            &["pixel_deg is 1, or 16 degrees for 16 pixels"],
        ),
        (
            "[{\"side_deg\": 3.5}]",
            &["not a description of maps", "one JSON object"],
        ),
        ("{\"side_deg\": 3.5", &["not a description of maps", "EOF"]),
        (&"[".repeat(100_000), &["not a description of maps"]),
    ] {
        let path = with_sidecar(d, "maps", 16, sidecar);
        let message = Maps::open(&[path]).unwrap_err().to_string();
        assert!(message.contains("maps.npy.json"), "{message}");
        for part in parts {
            assert!(message.contains(part), "{message} lacks {part}");
        }
    }
    let whole = std::fs::read(corpus().join("primary_f32.fits")).unwrap();
    for (from, to, parts) in [
        (
            "ANGLE   =                  3.5",
            "ANGLE   =                 -3.5",
            &["ANGLE is -3.5"][..],
        ),
        (
            "ANGLE   =                  3.5",
            "ANGLE   = 'wide'              ",
            &["ANGLE is the string 'wide'"],
        ),
        (
            "H0      =                 72.0",
            "H0      =                 70.0",
            &["H0 is 70", "h is 0.72"],
        ),
        (
            "NAXIS1  =                    8",
            "NAXIS1  = 99999999999999999999",
            &["NAXIS1 = 999999"],
        ),
        (
            "NAXIS1  =                    8",
            "NAXIS1  =  4611686018427387904",
            &["shape (NAXIS1"],
        ),
        (
            "NAXIS   =                    2",
            "NAXIS   =                   -2",
            &["NAXIS is -2"],
        ),
        (
            "BITPIX  =                  -32",
            "BITPIX  =                  -33",
            &["BITPIX", "-33", "float32"],
        ),
        (
            "BITPIX  =                  -32",
            "BSCALE  =                  0.0",
            &["BSCALE is 0"],
        ),
    ] {
        let text: Vec<u8> = whole.clone();
        let at = text
            .windows(from.len())
            .position(|w| w == from.as_bytes())
            .unwrap();
        let mut text = text;
        text[at..at + to.len()].copy_from_slice(to.as_bytes());
        let path = d.join("kappa.fits");
        std::fs::write(&path, text).unwrap();
        let message = Maps::open(&[path]).unwrap_err().to_string();
        for part in parts.iter().chain(&["kappa.fits"]) {
            assert!(message.contains(part), "{message} lacks {part}");
        }
    }
}

#[test]
fn a_header_and_a_sidecar_of_one_file_must_agree() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kappa.fits");
    std::fs::copy(corpus().join("primary_f32.fits"), &path).unwrap();
    let sidecar = directory.path().join("kappa.json");
    std::fs::write(&sidecar, "{\"sigma_8\": 0.8, \"side_deg\": 3.5}").unwrap();
    let maps = open(&path);
    assert_eq!(maps.provenance(0).sigma_8, Some(0.8));
    assert_eq!(maps.provenance(0).omega_m, Some(0.26));
    std::fs::write(&sidecar, "{\"omega_m\": 0.3}").unwrap();
    let message = Maps::open(&[path]).unwrap_err().to_string();
    for part in ["omega_m", "kappa.fits says 0.26", "kappa.json says 0.3"] {
        assert!(message.contains(part), "{message} lacks {part}");
    }
}

//! `cosmogan stats` as a user meets it: LensTools' numbers, what it writes, what it refuses.

mod common;

use std::fs::{self, File};
use std::path::Path;

use common::{Outcome, outcome, program, shared, write_maps, write_npy};
use cosmogan::stats::{MapStatistics, Statistic, StatisticsPlan, Unit, arange};
use ndarray::{Array0, Array1, Array2, Array3, ArrayD, Axis};
use ndarray_npy::{NpzReader, ReadNpyExt, WriteNpyExt};

fn stats(directory: &Path, words: &str) -> Outcome {
    let mut command = program(directory);
    outcome(command.arg("stats").args(words.split_whitespace()))
}

fn done(directory: &Path, words: &str) -> String {
    let outcome = stats(directory, words);
    assert_eq!(outcome.status, Some(0), "{words}: {outcome:?}");
    outcome.stdout
}

fn refused(directory: &Path, words: &str) -> String {
    let outcome = stats(directory, words);
    assert_eq!(outcome.status, Some(1), "{words}: {outcome:?}");
    outcome.stderr
}

fn npz(path: &Path) -> NpzReader<File> {
    NpzReader::new(File::open(path).unwrap()).unwrap()
}

/// Thresholds, edges of l, an option, and pairs of our array and LensTools'.
type Run = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

#[test]
fn every_statistic_of_the_golden_crops_is_that_of_lenstools() {
    let Some(folder) = shared("golden/stats", Some("COSMOGAN_GOLDEN_STATS")) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let mut golden = npz(&folder.join("lenstools.npz"));
    let mut expected = |name: &str| -> Array1<f64> {
        let array: ArrayD<f64> = golden.by_name(name).unwrap();
        array.iter().copied().collect()
    };
    let about = fs::read_to_string(folder.join("crops_256.json")).unwrap();
    let about: serde_json::Value = serde_json::from_str(&about).unwrap();
    let crops = Array3::<f32>::read_npy(File::open(folder.join("crops_256.npy")).unwrap()).unwrap();
    let mut compared = 0;
    for (index, crop) in crops.axis_iter(Axis(0)).enumerate() {
        let angle = about[index]["side_deg"].as_f64().unwrap();
        let crop = crop.to_owned();
        crop.write_npy(File::create(d.join("crop.npy")).unwrap())
            .unwrap();
        let runs: [Run; 4] = [
            (
                "nu_edges",
                "ps_lin_edges",
                "",
                &[
                    ("power_spectrum", "ps_lin_P"),
                    ("l", "ps_lin_l"),
                    ("thresholds", "mf_nu_mid"),
                    ("minkowski_v0", "mf_nu_V0"),
                    ("minkowski_v1", "mf_nu_V1"),
                    ("minkowski_v2", "mf_nu_V2"),
                    ("peak_count", "peaks_nu_dN_dnu"),
                    ("moments", "moments"),
                ],
            ),
            (
                "kappa_edges",
                "ps_log_edges",
                "--no-normalise",
                &[
                    ("power_spectrum", "ps_log_P"),
                    ("minkowski_v0", "mf_kappa_V0"),
                    ("minkowski_v1", "mf_kappa_V1"),
                    ("minkowski_v2", "mf_kappa_V2"),
                ],
            ),
            (
                "peak_edges",
                "bispec_eq_edges",
                "--no-normalise",
                &[
                    ("peak_count", "peaks_dN_dkappa"),
                    ("bispectrum_equilateral", "bispec_eq_B"),
                ],
            ),
            (
                "pdf_edges",
                "ps_lin_edges",
                "--no-normalise",
                &[("pdf", "pdf"), ("thresholds", "pdf_mid")],
            ),
        ];
        for (thresholds, l_edges, option, pairs) in runs {
            for (name, array) in [
                ("thresholds.npy", expected(thresholds)),
                ("l.npy", expected(&format!("crop{index}/{l_edges}"))),
            ] {
                array
                    .write_npy(File::create(d.join(name)).unwrap())
                    .unwrap();
            }
            let words = format!(
                "crop.npy --angle {angle} --thresholds-file thresholds.npy --l-edges-file l.npy \
                 {option} --out s.npz"
            );
            done(d, &words);
            let mut ours = npz(&d.join("s.npz"));
            for (name, theirs) in pairs {
                let ours: ArrayD<f64> = ours.by_name(name).unwrap();
                let theirs = expected(&format!("crop{index}/{theirs}"));
                assert_eq!(ours.len(), theirs.len());
                let largest = theirs.iter().fold(0.0f64, |a, b| a.max(b.abs()));
                for (ours, theirs) in ours.iter().zip(&theirs) {
                    let empty = ours.is_nan() && *theirs == 0.0;
                    let off = (ours - theirs).abs();
                    assert!(empty || off < 1e-10 * largest, "crop {index} {name}");
                }
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 4 * 16);
    // A list beside the maps, by their stem, is nothing that they are told by.
    let crops = folder.join("crops_256.npy");
    done(d, &format!("{} --angle 1 --out all.npz", crops.display()));
}

#[test]
fn the_file_holds_what_the_library_measures_and_the_angle_is_that_of_the_maps() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    write_maps(&d.join("maps.npy"), 5, 32);
    fs::write(d.join("maps.npy.json"), "{\"side_deg\": 2.5}").unwrap();
    let said = done(
        d,
        "maps.npy --l-edges 20:2000:120 --thresholds -2:2:0.2 --out s.npz",
    );
    let first = "5 maps of 32x32 pixels, 2.5000 degrees a side: 16 bins of l (1 without modes: \
                 NaN), 19 bins of thresholds in standard deviations of each map";
    assert_eq!(said.lines().next(), Some(first));
    let (l, nu) = (
        arange(20.0, 2000.0, 120.0).unwrap(),
        arange(-2.0, 2.0, 0.2).unwrap(),
    );
    let plan = StatisticsPlan::everything(32, 2.5, &l, &nu, Unit::MapSigma).unwrap();
    let statistics = MapStatistics::new(plan).unwrap();
    let maps = Array3::<f32>::read_npy(File::open(d.join("maps.npy")).unwrap()).unwrap();
    let rows = statistics
        .measure_many(maps.as_slice().unwrap(), 0)
        .unwrap();
    let mut file = npz(&d.join("s.npz"));
    for statistic in Statistic::ALL {
        let array: Array2<f64> = file.by_name(statistic.name()).unwrap();
        let bins = statistics.columns(statistic).len();
        assert_eq!(array.dim(), (5, bins), "{statistic:?}");
        let expected = statistics.array(&rows, statistic);
        let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits();
        assert!(array.iter().zip(&expected).all(same), "{statistic:?}");
    }
    let counts: Array1<i64> = file.by_name("mode_counts").unwrap();
    let power: Array2<f64> = file.by_name("power_spectrum").unwrap();
    for (bin, count) in counts.iter().enumerate() {
        assert_eq!(*count == 0, power[[0, bin]].is_nan());
    }
    let angle: Array0<f64> = file.by_name("angle_deg").unwrap();
    assert_eq!(angle[()], 2.5);
    let edges: Array1<f64> = file.by_name("threshold_edges").unwrap();
    assert_eq!(edges[10], -4.440892098500626e-16);
    // Files one by one, or their folder: the same maps.
    fs::create_dir(d.join("folder")).unwrap();
    for (index, map) in maps.axis_iter(Axis(0)).enumerate() {
        let path = d.join(format!("folder/{index}.npy"));
        map.to_owned()
            .write_npy(File::create(path).unwrap())
            .unwrap();
    }
    let words = "folder --angle 2.5 --l-edges 20:2000:120 --thresholds -2:2:0.2 --out f.npz";
    done(d, words);
    let read = |name: &str| fs::read(d.join(name)).unwrap();
    assert_eq!(read("s.npz"), read("f.npz"));
    let mut command = program(d);
    command.env("RAYON_NUM_THREADS", "1").arg("stats");
    let one = outcome(command.args(words.replace("f.npz", "one.npz").split_whitespace()));
    assert_eq!(one.status, Some(0));
    assert_eq!(read("s.npz"), read("one.npz"));
}

#[test]
fn maps_of_float64_keep_their_digits() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let map = Array2::from_shape_fn((16, 16), |(y, x)| 1.0 + 1e-9 * ((3 * y + x * x) % 7) as f64);
    map.write_npy(File::create(d.join("map.npy")).unwrap())
        .unwrap();
    done(d, "map.npy --angle 1 --only moments --out s.npz");
    let moments: Array2<f64> = npz(&d.join("s.npz")).by_name("moments").unwrap();
    let sigma = map.std(0.0);
    // The mean takes 9 of the digits.
    assert!(
        (moments[[0, 0]] / sigma - 1.0).abs() < 1e-5,
        "{moments} {sigma}"
    );
}

#[test]
fn noise_smoothing_units_and_parts_are_taken_from_options() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    write_maps(&d.join("maps.npy"), 3, 32);
    let with = |options: &str| {
        done(d, &format!("maps.npy --angle 2 {options} --out s.npz"));
        npz(&d.join("s.npz"))
    };
    let pdf = |mut file: NpzReader<File>| -> Array2<f64> { file.by_name("pdf").unwrap() };
    let plain = pdf(with(""));
    let noisy = pdf(with("--shape-noise 20"));
    assert_ne!(plain, noisy);
    assert_eq!(noisy, pdf(with("--shape-noise 20 --seed 1 --sigma-e 0.3")));
    assert_ne!(noisy, pdf(with("--shape-noise 20 --seed 2")));
    assert_ne!(plain, pdf(with("--smooth 5")));
    assert_ne!(plain, pdf(with("--unit 0.01")));
    let by_value = with("--no-normalise --thresholds -0.02:0.02:0.002");
    assert_ne!(plain, pdf(by_value));
    let mut parts = with("--only power_spectrum,pdf");
    let names = parts.names().unwrap();
    for (name, there) in [
        ("power_spectrum", true),
        ("pdf", true),
        ("thresholds", true),
    ]
    .into_iter()
    .chain([("minkowski_v0", false), ("moments", false)])
    {
        let found = names.iter().any(|n| n.trim_end_matches(".npy") == name);
        assert_eq!(found, there, "{names:?}");
    }
    let power: Array2<f64> = parts.by_name("power_spectrum").unwrap();
    assert_eq!(power.dim(), (3, 16));
}

#[test]
fn what_cannot_be_measured_is_refused_by_name_and_the_old_file_stays() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    write_maps(&d.join("maps.npy"), 3, 32);
    write_maps(&d.join("other.npy"), 2, 16);
    write_maps(&d.join("tiny.npy"), 2, 3);
    write_npy(&d.join("constant.npy"), 3, 16, |map, y, x| {
        if map == 1 { 0.1 } else { (x * y) as f32 }
    });
    write_npy(&d.join("nan.npy"), 3, 16, |map, y, x| {
        let hole = (map, y, x) == (2, 3, 5);
        if hole { f32::NAN } else { (x * y + map) as f32 }
    });
    write_npy(&d.join("told.npy"), 2, 16, |map, y, x| (x + y * map) as f32);
    fs::write(d.join("told.npy.json"), "{\"side_deg\": 3.5}").unwrap();
    let channels = ndarray::Array4::<f32>::from_shape_fn((2, 16, 16, 3), |(a, b, c, e)| {
        (a + b * c + e) as f32
    });
    channels
        .write_npy(File::create(d.join("channels.npy")).unwrap())
        .unwrap();
    let edges = [("falling.npy", vec![2.0, 1.0]), ("one.npy", vec![1.0])];
    for (name, values) in edges {
        let file = File::create(d.join(name)).unwrap();
        Array1::from(values).write_npy(file).unwrap();
    }
    fs::write(d.join("s.npz"), "old").unwrap();
    for (words, parts) in [
        ("gone.npy --angle 1", &["gone.npy: no such file"][..]),
        ("maps.npy", &["maps.npy", "give --angle"]),
        ("maps.npy --angle 0", &["--angle is 0", "180 degrees"]),
        ("maps.npy --angle -3", &["--angle is -3"]),
        ("maps.npy --angle nan", &["--angle is NaN"]),
        (
            "told.npy --angle 1",
            &["told.npy.json", "0.21875", "--angle"],
        ),
        (
            "maps.npy --angle 60 --l-edges 5000:9000:100",
            &["no wave", "60 degrees right?"],
        ),
        (
            "maps.npy other.npy --angle 1",
            &["maps.npy", "32x32", "other.npy", "16x16"],
        ),
        ("tiny.npy --angle 1", &["3 pixels", "too small"]),
        ("channels.npy --angle 1", &["3 channels"]),
        (
            "constant.npy --angle 1",
            &["constant.npy: map 1", "constant map"],
        ),
        (
            "nan.npy --angle 1",
            &["nan.npy: map 2, row 3, column 5 is NaN"],
        ),
        (
            "maps.npy --angle 1 --no-normalise",
            &["--no-normalise", "--thresholds"],
        ),
        ("maps.npy --angle 1 --unit 0", &["thresholds", "positive"]),
        (
            "maps.npy --angle 1 --l-edges-file falling.npy",
            &["falling.npy", "increasing"],
        ),
        (
            "maps.npy --angle 1 --thresholds-file one.npy",
            &["one.npy", "at least two"],
        ),
        (
            "maps.npy --angle 1 --thresholds-file maps.npy",
            &["maps.npy is not a .npy array of one axis"],
        ),
        (
            "maps.npy --angle 1 --l-edges-file absent.npy",
            &["cannot open absent.npy"],
        ),
        ("maps.npy --angle 1 --smooth 0", &["smoothing", "0 arcmin"]),
        (
            "maps.npy --angle 1 --smooth 90",
            &["smoothing", "60 arcmin"],
        ),
        ("maps.npy --angle 1 --shape-noise 0", &["shape noise of 0"]),
        ("maps.npy --angle 1 --folded-ratio 1", &["ratio", "0 and 1"]),
    ] {
        let message = refused(d, &format!("{words} --out s.npz"));
        for part in parts {
            assert!(message.contains(part), "{words}: {message} lacks {part}");
        }
        assert_eq!(fs::read(d.join("s.npz")).unwrap(), b"old", "{words}");
    }
    let message = refused(d, "maps.npy --angle 1 --out absent/s.npz");
    assert!(message.contains("absent is no directory"), "{message}");
    // Wrong usage ends with 2.
    for words in [
        "maps.npy --angle 1",
        "maps.npy --angle 1 --out s.csv",
        "maps.npy --angle 1 --thresholds 1:2 --out s.npz",
        "maps.npy --angle 1 --l-edges 5:1:1 --out s.npz",
        "--angle 1 --out s.npz",
    ] {
        assert_eq!(stats(d, words).status, Some(2), "{words}");
    }
}

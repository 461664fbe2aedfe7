//! Wrong map files given to `cosmogan train`, as a user meets them: an exit status, one message that
//! says what is wrong, where, and what would be right, within a second, and nothing left behind.

mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Outcome, outcome, program, write_maps};

/// A small network, and few maps to judge it by.
const SMALL: &str = "--size 16 --layers 2 --base 4 --latent 8 --batch 4 --validation-maps 8";

fn train(directory: &Path, words: &str) -> Outcome {
    let mut command = program(directory);
    let words = format!("train {SMALL} {words}");
    outcome(command.args(words.split_whitespace()))
}

fn names(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

/// Runs `train` and checks that it refuses in one line that holds all of `parts`, and in a second:
/// the best of three, because the machine may be busy.
#[track_caller]
fn refused(directory: &Path, words: &str, parts: &[&str]) {
    let before = names(directory);
    let mut quickest = Duration::MAX;
    for _ in 0..3 {
        let started = Instant::now();
        let outcome = train(directory, &format!("--out run {words}"));
        quickest = quickest.min(started.elapsed());
        assert_eq!(outcome.status, Some(1), "{words}: {outcome:?}");
        let message = outcome.stderr.trim_end();
        assert!(message.starts_with("error: "), "{words}: {message}");
        assert_eq!(message.lines().count(), 1, "{words}: {message}");
        for part in parts {
            assert!(message.contains(part), "{words}: {message} lacks {part}");
        }
        assert_eq!(outcome.stdout, "", "{words}");
        assert_eq!(names(directory), before, "{words}");
        if quickest < Duration::from_secs(1) {
            return;
        }
    }
    panic!("{words}: {quickest:?} for an error in a header");
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (text.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], text.as_bytes(), data].concat()
}

#[test]
fn wrong_npy_files_are_told_with_what_would_be_right() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let zeros = vec![0; 4 * 6 * 24 * 24];
    write_maps(&d.join("good.npy"), 6, 24);
    let whole = std::fs::read(d.join("good.npy")).unwrap();
    for (name, bytes) in [
        ("empty.npy", Vec::new()),
        ("text.npy", b"0.1 0.2 0.3\n".repeat(400)),
        ("cut.npy", whole[..whole.len() - 1].to_vec()),
        ("head.npy", whole[..40].to_vec()),
        ("long.npy", [&whole[..], b"more"].concat()),
        ("none.npy", npy("'<f4'", "(0, 24, 24)", &[])),
        ("oblong.npy", npy("'<f4'", "(6, 18, 32)", &zeros)),
        ("flat.npy", npy("'<f4'", "(3456,)", &zeros)),
        ("int.npy", npy("'<i4'", "(6, 24, 24)", &zeros)),
        ("bool.npy", npy("'|b1'", "(6, 24, 24)", &zeros)),
        ("complex.npy", npy("'<c8'", "(3, 24, 24)", &zeros)),
        ("object.npy", npy("'|O'", "(6, 24, 24)", &zeros)),
        (
            "fields.npy",
            npy(
                "[('kappa', '<f4'), ('shape', '<f4')]",
                "(3, 24, 24)",
                &zeros,
            ),
        ),
        ("five.npy", npy("'<f4'", "(24, 24, 5)", &zeros)),
        ("huge.npy", npy("'<f4'", "(9999999999, 24, 24)", &zeros)),
        ("two.npy", npy("'<f4'", "(3, 24, 24, 2)", &zeros)),
    ] {
        std::fs::write(d.join(name), bytes).unwrap();
    }
    write_maps(&d.join("small.npy"), 6, 12);
    std::fs::create_dir(d.join("nothing")).unwrap();
    for (words, parts) in [
        (
            "gone.npy",
            &["gone.npy", "no such file", "'maps/*.fits'"][..],
        ),
        (
            "*.hdf5",
            &["*.hdf5", "no .npy, .fits, .fit or .fts file matches"],
        ),
        ("nothing", &["nothing", "holds no .npy files"]),
        ("empty.npy", &["empty.npy", "empty", "NumPy .npy"]),
        ("text.npy", &["text.npy", "not a map file", "NumPy .npy"]),
        ("cut.npy", &["cut.npy", "truncated", "13951", "13952"]),
        ("head.npy", &["head.npy", "not a map file"]),
        ("long.npy", &["long.npy", "more than one array"]),
        ("none.npy", &["none.npy", "(0, 24, 24)", "no axis 0"]),
        ("oblong.npy", &["oblong.npy", "(6, 18, 32)", "H = W"]),
        ("flat.npy", &["flat.npy", "(3456,)", "[N, H, W]"]),
        (
            "int.npy",
            &["int.npy", "descr", "'<i4'", "astype('float32')"],
        ),
        ("bool.npy", &["bool.npy", "descr", "'|b1'", "float32"]),
        ("complex.npy", &["complex.npy", "descr", "'<c8'", "float32"]),
        ("object.npy", &["object.npy", "descr", "'|O'", "float32"]),
        ("fields.npy", &["fields.npy", "descr", "kappa", "float32"]),
        ("five.npy", &["five.npy", "(24, 24, 5)", "C = 1 to 4"]),
        ("huge.npy", &["huge.npy", "truncated"]),
        ("two.npy", &["2 channel", "channels"]),
        (
            "good.npy two.npy",
            &["two.npy has maps of 2 channel(s)", "good.npy of 1"],
        ),
        ("small.npy", &["small.npy", "12x12", "16x16"]),
        ("good.npy ./good.npy", &["good.npy", "named twice"]),
    ] {
        refused(d, &format!("--data {words}"), parts);
    }
}

#[test]
fn wrong_fits_files_are_told_with_what_would_be_right() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/fits");
    for entry in std::fs::read_dir(&corpus).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, d.join(path.file_name().unwrap())).unwrap();
    }
    let cube = std::fs::read(corpus.join("cube_f32.fits")).unwrap();
    std::fs::write(d.join("cut.fits"), &cube[..2880 + 767]).unwrap();
    let table = std::fs::read(corpus.join("behind_a_table_f64.fits")).unwrap();
    std::fs::write(d.join("cut_table.fits"), &table[..2 * 2880]).unwrap();
    std::fs::write(d.join("endless.fits"), cube[..80].repeat(2000)).unwrap();
    std::fs::write(d.join("text.fits"), "0.1 0.2 0.3\n".repeat(400)).unwrap();
    std::fs::write(d.join("packed.fits.gz"), "\x1f\x0b").unwrap();
    std::fs::write(d.join("tiles.fits.fz"), "SIMPLE  =").unwrap();
    for (words, parts) in [
        ("cut.fits", &["cut.fits", "truncated", "3648", "3647"][..]),
        (
            "cut_table.fits",
            &["cut_table.fits", "truncated", "8640", "5760"],
        ),
        ("endless.fits", &["endless.fits", "no END card"]),
        ("text.fits", &["text.fits", "does not begin with SIMPLE"]),
        ("packed.fits.gz", &["packed.fits.gz", "gunzip"]),
        ("tiles.fits.fz", &["tiles.fits.fz", "funpack"]),
        ("refused_gzip.fits", &["refused_gzip.fits", "gunzip"]),
        (
            "refused_tiles.fits",
            &["refused_tiles.fits", "tile-compressed", "funpack"],
        ),
        (
            "refused_table.fits",
            &["refused_table.fits", "holds no image"],
        ),
        (
            "refused_i32.fits",
            &["refused_i32.fits", "BITPIX", "-32 or -64"],
        ),
        (
            "refused_oblong.fits",
            &["refused_oblong.fits", "NAXIS1", "(4, 8)", "H = W"],
        ),
        ("primary_f32.fits", &["primary_f32.fits", "8x8", "16x16"]),
    ] {
        refused(d, &format!("--data {words}"), parts);
    }
}

#[test]
fn a_contradicting_angle_or_redshift_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    write_maps(&d.join("a.npy"), 6, 24);
    write_maps(&d.join("b.npy"), 6, 32);
    let told = "{\"side_deg\": 3.0, \"source_redshift\": 1.0}";
    std::fs::write(d.join("a.npy.json"), told).unwrap();
    for (words, parts) in [
        (
            "a.npy --angle 3.5",
            &["degrees a pixel", "--angle", "a.npy.json says 0.125"][..],
        ),
        (
            "a.npy --source-redshift 2",
            &["--source-redshift says 2", "a.npy.json says 1;"],
        ),
        (
            "a.npy b.npy --angle 3",
            &["--angle", "24 to 32 pixels", "ANGLE"],
        ),
        ("a.npy --angle 0", &["data.angle_deg is 0", "up to 180"]),
        (
            "a.npy --source-redshift -1",
            &["data.source_redshift is -1"],
        ),
    ] {
        refused(d, &format!("--data {words}"), parts);
    }
    std::fs::write(d.join("b.npy.json"), "{\"side_deg\": 3.0}").unwrap();
    let parts = [
        "degrees a pixel",
        "b.npy.json says 0.09375",
        "a.npy.json says 0.125",
    ];
    refused(d, "--data a.npy b.npy", &parts);
    std::fs::write(d.join("b.npy.json"), "{\"side_deg\": wide}").unwrap();
    refused(
        d,
        "--data b.npy",
        &["b.npy.json", "not a description of maps"],
    );
    std::fs::write(d.join("b.npy.json"), "{\"side_deg\": \"wide\"}").unwrap();
    refused(d, "--data b.npy", &["b.npy.json", "side_deg is a string"]);
}

#[test]
fn one_wrong_file_among_thousands_is_found_within_a_second() {
    let directory = tempfile::tempdir().unwrap();
    let maps = directory.path().join("maps");
    std::fs::create_dir(&maps).unwrap();
    let whole = npy("'<f4'", "(16, 16)", &[0; 1024]);
    for index in 0..3000 {
        std::fs::write(maps.join(format!("map-{index:05}.npy")), &whole).unwrap();
    }
    std::fs::write(maps.join("zz.npy"), &whole[..whole.len() - 4]).unwrap();
    refused(directory.path(), "--data maps", &["zz.npy", "truncated"]);
}

#[test]
fn what_files_tell_reaches_the_maps_that_are_generated() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    write_maps(&d.join("maps.npy"), 6, 24);
    let run = |words: &str| {
        let outcome = outcome(program(d).args(words.split_whitespace()));
        assert_eq!(outcome.status, Some(0), "{words}: {outcome:?}");
        outcome.stdout
    };
    let json = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(d.join(name)).unwrap()).unwrap()
    };
    let untold = run(&format!(
        "train {SMALL} --data maps.npy --steps 1 --out untold"
    ));
    assert!(untold.contains("(--angle gives it)"), "{untold}");
    let said = run("generate --checkpoint untold --count 1 --out untold.fits");
    assert!(said.contains("no ANGLE"), "{said}");
    assert!(
        !String::from_utf8_lossy(&std::fs::read(d.join("untold.fits")).unwrap()).contains("ANGLE")
    );

    std::fs::write(d.join("maps.json"), "{\"omega_m\": 0.26, \"sigma_8\": 0.8}").unwrap();
    let options = "--angle 3 --source-redshift 1 --steps 1 --out run";
    run(&format!("train {SMALL} --data maps.npy {options}"));
    run("generate --checkpoint run --count 3 --out made.npy");
    let told = json("made.npy.json");
    for (field, value) in [
        ("side_deg", 2.0),
        ("source_redshift", 1.0),
        ("omega_m", 0.26),
        ("sigma_8", 0.8),
        ("generator_step", 1.0),
    ] {
        assert_eq!(told[field].as_f64(), Some(value), "{field}: {told}");
    }
    let said = run("generate --checkpoint run --count 3 --out made.fits");
    assert!(!said.contains("no ANGLE"), "{said}");
    assert!(
        said.contains("made-00001.fits to made-00003.fits"),
        "{said}"
    );
    let maps = cosmogan::data::Maps::open(&[d.join("made*")]).unwrap();
    assert_eq!(maps.len(), 6);
    for parent in 0..6 {
        assert_eq!(maps.provenance(parent).side_deg, Some(2.0));
        assert_eq!(maps.provenance(parent).sigma_8, Some(0.8));
    }
    let (mut a, mut b) = (vec![0.0; 256], vec![0.0; 256]);
    for map in 0..3 {
        maps.read_window(map, 0, 0, 16, &mut a);
        maps.read_window(3 + map, 0, 0, 16, &mut b);
        assert_eq!(a, b, "FITS and .npy differ");
    }
}

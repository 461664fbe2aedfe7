//! Checkpoints as files: what is written comes back to the bit, and what is damaged is refused
//! with the reason.

use std::fs;
use std::path::Path;

use cosmogan::data::Transform;
use cosmogan::model::{Architecture, Network, Preset, discriminator, generator};
use cosmogan::rng::{Philox, Stream};
use cosmogan::train::checkpoint::{
    AdamSteps, CheckpointError, Description, NetworkState, Snapshot, write,
};
use cosmogan::train::{
    CheckpointFile, Config, Precision, Recovery, Rollback, TrainedNetwork, Weights, transform_of,
};
use rand::RngExt;
use safetensors::SafeTensors;

/// Networks and arenas full of distinct numbers.
struct Fixture {
    generator: Network,
    discriminator: Network,
    g: TrainedNetwork,
    d: TrainedNetwork,
    average: Weights,
    description: Description,
}

impl Fixture {
    fn new(architecture: Architecture) -> Self {
        let (generator, discriminator) = (generator(&architecture), discriminator(&architecture));
        let mut step = 0;
        let mut numbers = |len: usize| {
            step += 1;
            let mut values = vec![0.0; len];
            Philox::new(8, Stream::Benchmark, step).fill_normal(&mut values);
            values
        };
        let mut weights = |network: &Network| Weights {
            parameters: numbers(network.inventory.parameter_len()),
            running: numbers(network.inventory.running_len()),
        };
        let average = weights(&generator);
        let mut trained = |network: &Network| TrainedNetwork {
            weights: weights(network),
            m: weights(network).parameters,
            v: weights(network).parameters,
        };
        let config = Config::of_preset(Preset::Demo, None).to_toml().unwrap();
        Self {
            g: trained(&generator),
            d: trained(&discriminator),
            average,
            generator,
            discriminator,
            description: Description {
                architecture,
                transform: serde_json::json!({"rational": {"a": 0.25}}),
                config,
                step: 1234,
                adam_t: AdamSteps {
                    generator: 1234,
                    discriminator: 1233,
                },
                selection: serde_json::Value::Null,
                data: serde_json::json!({"side_deg": 0.866}),
                recovery: recovery(),
                precision: Precision::Bf16,
            },
        }
    }

    fn small() -> Self {
        Self::new(Architecture {
            map_size: 16,
            layers: 2,
            base_filters: 3,
            latent: 5,
            channels: 2,
            ..Preset::Demo.architecture()
        })
    }

    fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        let snapshot = Snapshot {
            description: &self.description,
            generator: state(&self.generator, &self.g),
            discriminator: state(&self.discriminator, &self.d),
            average_parameters: &self.average.parameters,
            average_running: &self.average.running,
        };
        write(path, &snapshot)
    }
}

/// Two rollbacks.
fn recovery() -> Recovery {
    let rollback = |from, to, rate_factor| Rollback {
        from,
        to,
        cause: "the losses are \"NaN\"".to_owned(),
        rate_factor,
        attempt: 1,
    };
    Recovery {
        rollbacks: vec![rollback(700, 600, 0.5), rollback(900, 800, 0.25)],
        ..Recovery::default()
    }
}

fn state<'a>(network: &'a Network, trained: &'a TrainedNetwork) -> NetworkState<'a> {
    NetworkState {
        network,
        parameters: &trained.weights.parameters,
        running: &trained.weights.running,
        m: &trained.m,
        v: &trained.v,
    }
}

fn open_error(path: &Path) -> CheckpointError {
    CheckpointFile::open(path)
        .and_then(CheckpointFile::read_all)
        .unwrap_err()
}

#[test]
fn everything_comes_back_to_the_bit_for_every_dense_norm() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.safetensors");
    let small = Fixture::small().description.architecture;
    let thesis = Architecture {
        map_size: 32,
        base_filters: 4,
        ..Preset::Thesis256.architecture()
    };
    for architecture in [small, thesis, Preset::Demo.architecture()] {
        let fixture = Fixture::new(architecture);
        fixture.write(&path).unwrap();
        let read = CheckpointFile::open(&path).unwrap().read_all().unwrap();
        assert_eq!(read.description, fixture.description);
        assert_eq!(read.generator, fixture.g);
        assert_eq!(read.discriminator, fixture.d);
        assert_eq!(read.generator_ema, fixture.average);
        let mut file = CheckpointFile::open(&path).unwrap();
        assert_eq!(file.generator_ema().unwrap(), fixture.average);
        assert_eq!(file.generator().unwrap(), fixture.g.weights);
        assert_eq!(file.discriminator().unwrap(), fixture.d.weights);
    }
}

/// A resumed run trains with the transform of its checkpoint.
#[test]
fn the_numbers_of_a_transform_come_back_to_the_bit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.safetensors");
    let mut fixture = Fixture::small();
    let mut random = Philox::new(31, Stream::Benchmark, 0).sequential();
    for _ in 0..60 {
        let [width, scale, offset] = [0.1, 2.0, 1.0].map(|most| random.random::<f64>() * most);
        let transform = Transform::Log {
            width,
            scale,
            offset,
        };
        fixture.description.transform = serde_json::to_value(transform).unwrap();
        fixture.write(&path).unwrap();
        let file = CheckpointFile::open(&path).unwrap();
        assert_eq!(transform_of(file.description()).unwrap(), transform.into());
    }
}

#[test]
fn the_same_state_gives_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (directory.path().join("a"), directory.path().join("b"));
    Fixture::small().write(&a).unwrap();
    Fixture::small().write(&b).unwrap();
    assert_eq!(fs::read(a).unwrap(), fs::read(b).unwrap());
}

#[test]
fn any_safetensors_reader_finds_pytorchs_names_shapes_and_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.safetensors");
    let fixture = Fixture::small();
    fixture.write(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let values = |name: &str| -> (Vec<usize>, Vec<f32>) {
        let tensor = tensors.tensor(name).unwrap();
        let words = tensor.data().chunks_exact(4);
        let values = words.map(|w| f32::from_le_bytes(w.try_into().unwrap()));
        (tensor.shape().to_vec(), values.collect())
    };
    // The innermost plane has 6 channels of 4x4; our dense weights are [latent, (y, x, c)].
    let (shape, dense) = values("generator.lin.weight");
    assert_eq!(shape, [96, 5]);
    let ours = &fixture.g.weights.parameters;
    for (c, y, x, latent) in [(0, 0, 0, 0), (5, 3, 2, 4), (2, 1, 3, 1)] {
        let torch = ((c * 4 + y) * 4 + x) * 5 + latent;
        assert_eq!(dense[torch], ours[latent * 96 + (y * 4 + x) * 6 + c]);
    }
    let of_d = |name: &str| {
        let mut all = fixture.discriminator.inventory.parameters.iter();
        all.find(|p| p.name == name).unwrap().start
    };
    // Ours [5, 5, c_big = 3, c_small = 6].
    let (shape, conv) = values("adam_v.discriminator.c1.weight");
    assert_eq!(shape, [6, 3, 5, 5]);
    for (small, big, y, x) in [(0, 0, 0, 1), (5, 2, 4, 3)] {
        let torch = ((small * 3 + big) * 5 + y) * 5 + x;
        let place = of_d("c1.weight") + ((y * 5 + x) * 3 + big) * 6 + small;
        assert_eq!(conv[torch], fixture.d.v[place]);
    }
    assert_eq!(values("generator.ct1.weight").0, [6, 3, 5, 5]);
    assert_eq!(values("discriminator.lin.weight").0, [1, 96]);
    assert_eq!(values("generator_ema.bn0.running_var").0, [6]);
    assert_eq!(
        values("generator_ema.bn0.running_var").1,
        fixture.average.running[6..12]
    );
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.safetensors");
    Fixture::small().write(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let lengths = [0, 7, 8, 9, 500, bytes.len() / 2, bytes.len() - 1];
    for length in lengths {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = open_error(&path);
        let expected = matches!(
            error,
            CheckpointError::NotSafetensors { .. } | CheckpointError::Length { .. }
        );
        assert!(expected, "{length} bytes: {error}");
    }
    let longer = [&bytes[..], b"x"].concat();
    fs::write(&path, longer).unwrap();
    assert!(matches!(open_error(&path), CheckpointError::Length { .. }));
}

#[test]
fn other_files_are_named_for_what_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    fs::write(&path, b"\x93NUMPY\x01\x00 and so on, much longer").unwrap();
    let error = open_error(&path);
    assert!(error.to_string().contains("not a safetensors file"));
    let empty = [&2u64.to_le_bytes()[..], b"{}"].concat();
    fs::write(&path, empty).unwrap();
    assert!(matches!(
        open_error(&path),
        CheckpointError::NotCheckpoint { .. }
    ));
    let error = open_error(directory.path());
    assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
    let error = open_error(&directory.path().join("missing"));
    assert!(error.to_string().contains("missing"), "{error}");
}

/// Where the digits of the digest are.
fn digest_place(bytes: &[u8]) -> std::ops::Range<usize> {
    let entry = b"\"blake3\":\"";
    let mut windows = bytes.windows(entry.len());
    let start = windows.position(|window| window == entry).unwrap() + entry.len();
    start..start + 64
}

/// Gives changed bytes of a checkpoint the digest that goes with them: that of all bytes with zeros
/// in its own place.
fn sign(bytes: &mut [u8]) {
    let place = digest_place(bytes);
    bytes[place.clone()].fill(b'0');
    let digest = blake3::hash(bytes).to_hex();
    bytes[place].copy_from_slice(digest.as_bytes());
}

/// Writes a checkpoint with one text in its header replaced by another of the same length.
fn with_header(from: &str, to: &str) -> (tempfile::TempDir, CheckpointError) {
    assert_eq!(from.len(), to.len());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.safetensors");
    Fixture::small().write(&path).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes
        .windows(from.len())
        .position(|window| window == from.as_bytes())
        .unwrap();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    if !from.contains("blake3") {
        sign(&mut bytes);
    }
    fs::write(&path, bytes).unwrap();
    let error = open_error(&path);
    (directory, error)
}

#[test]
fn a_missing_or_odd_tensor_and_odd_metadata_are_named() {
    let cases = [
        (
            "\"generator.ct1.weight",
            "\"generator.ct9.weight",
            "no tensor \"generator.ct1.weight\"",
        ),
        ("[6,3,5,5]", "[3,6,5,5]", "should be F32 [6, 3, 5, 5]"),
        ("\"F32\"", "\"I32\"", "is I32 "),
        (
            "\"format_version\":\"2\"",
            "\"format_version\":\"9\"",
            "format 9; this program reads formats 1 and 2",
        ),
        ("\"blake3\"", "\"blake9\"", "its checksum is missing"),
        ("\"recovery\"", "\"recowery\"", "\"recovery\" is missing"),
        ("\\\"latent\\\":5", "\\\"latent\\\":0", "latent is 0"),
        (
            "\\\"latent\\\":5",
            "\\\"latent\\\":6",
            "should be F32 [96, 6]",
        ),
        (
            "\"step\":\"1234\"",
            "\"step\":\"-234\"",
            "\"step\" cannot be read",
        ),
        ("\"selection\"", "\"selektion\"", "\"selection\" is missing"),
    ];
    for (from, to, expected) in cases {
        let (_keep, error) = with_header(from, to);
        let message = error.to_string();
        assert!(message.contains(expected), "{message} lacks {expected}");
    }
}

#[test]
fn values_that_are_not_finite_are_neither_written_nor_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.safetensors");
    let mut fixture = Fixture::small();
    fixture.write(&path).unwrap();
    let good = fs::read(&path).unwrap();
    *fixture.d.weights.running.last_mut().unwrap() = f32::NAN;
    let error = fixture.write(&path).unwrap_err();
    assert!(
        matches!(error, CheckpointError::NotFinite { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("discriminator.bn1.running_var"));
    assert_eq!(fs::read(&path).unwrap(), good, "the old file stays");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    let mut bad = good.clone();
    let end = bad.len();
    bad[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    sign(&mut bad);
    fs::write(&path, bad).unwrap();
    assert!(matches!(
        open_error(&path),
        CheckpointError::NotFinite { .. }
    ));
}

#[test]
fn an_arena_of_the_wrong_length_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::small();
    fixture.g.m.pop();
    let error = fixture.write(&directory.path().join("a")).unwrap_err();
    assert!(error.to_string().contains("adam_m has"), "{error}");
}

#[test]
fn the_digest_is_that_of_the_file_with_zeros_in_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.safetensors");
    Fixture::small().write(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let mut signed = bytes.clone();
    sign(&mut signed);
    assert!(signed == bytes);
}

/// Every bit of the digest and its surroundings, and random ones elsewhere.
#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.safetensors");
    let small = Architecture {
        map_size: 8,
        layers: 1,
        base_filters: 1,
        latent: 2,
        ..Preset::Demo.architecture()
    };
    Fixture::new(small).write(&path).unwrap();
    let good = fs::read(&path).unwrap();
    let mut random = Philox::new(77, Stream::Benchmark, 0).sequential();
    let place = digest_place(&good);
    let near = (place.start - 60) * 8..(place.end + 60) * 8;
    let first = 0..8 * 8;
    let anywhere: Vec<usize> = (0..3000)
        .map(|_| random.random_range(0..good.len() * 8))
        .collect();
    let mut told = 0;
    for bit in first.chain(near).chain(anywhere) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bad).unwrap();
        let Err(error) = CheckpointFile::open(&path) else {
            panic!("bit {bit} of {} was flipped unnoticed", good.len() * 8);
        };
        let message = error.to_string();
        assert!(message.contains("a.safetensors"), "{message}");
        assert!(error.is_damage(), "bit {bit}: {message}");
        told += usize::from(message.contains("use an older checkpoint"));
    }
    assert!(told > 2500, "{told} messages say what to do");
}

#[test]
fn a_checkpoint_of_the_version_without_digest_can_still_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.safetensors");
    let fixture = Fixture::small();
    fixture.write(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let metadata = header["__metadata__"].as_object_mut().unwrap();
    metadata.remove("blake3");
    metadata.remove("recovery");
    metadata["format_version"] = "1".into();
    let header = serde_json::to_vec(&header).unwrap();
    let old = [
        &(header.len() as u64).to_le_bytes(),
        &header[..],
        &bytes[8 + length..],
    ]
    .concat();
    fs::write(&path, old).unwrap();
    let read = CheckpointFile::open(&path).unwrap().read_all().unwrap();
    assert_eq!(read.generator, fixture.g);
    assert_eq!(read.description.recovery, Recovery::default());
}

#[test]
fn every_truncation_and_any_added_bytes_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.safetensors");
    Fixture::small().write(&path).unwrap();
    let good = fs::read(&path).unwrap();
    let mut random = Philox::new(78, Stream::Benchmark, 0).sequential();
    for _ in 0..200 {
        let length = random.random_range(0..good.len());
        fs::write(&path, &good[..length]).unwrap();
        assert!(CheckpointFile::open(&path).is_err(), "{length} bytes");
        let more = vec![0; random.random_range(1..10_000)];
        fs::write(&path, [&good[..], &more].concat()).unwrap();
        assert!(CheckpointFile::open(&path).is_err(), "{} more", more.len());
    }
}

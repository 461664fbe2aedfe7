//! Criterion microbenchmarks of the data path: maps read from a file, and batches of random crops with
//! rotations and flips, through the transform. A training step on the CPU takes far longer; on a GPU
//! batches must not be waited for.

use cosmogan::data::{Maps, write_npy_header, write_npy_pixels};
use cosmogan::model::Preset;
use cosmogan::rng::{Philox, Stream};
use cosmogan::train::{Config, Dataset};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;

const SIDE: usize = 512;
const MAPS: usize = 12;

/// A file of noise that looks a little like convergence.
fn maps() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut pixels = vec![0.0; MAPS * SIDE * SIDE];
    Philox::new(1, Stream::Benchmark, 0).fill_normal(&mut pixels);
    pixels
        .iter_mut()
        .for_each(|pixel| *pixel = 0.01 * pixel.exp());
    let mut file = std::fs::File::create(folder.path().join("maps.npy")).expect("a file");
    write_npy_header(&mut file, [MAPS, SIDE, SIDE]).expect("room for a header");
    write_npy_pixels(&mut file, &pixels).expect("room for the maps");
    folder
}

fn reading(criterion: &mut Criterion) {
    let folder = maps();
    let paths = [folder.path().join("maps.npy")];
    let mut group = criterion.benchmark_group("maps of a file");
    group.throughput(Throughput::Bytes((4 * MAPS * SIDE * SIDE) as u64));
    let mut whole = vec![0.0; SIDE * SIDE];
    group.bench_function("opened and read whole", |bencher| {
        bencher.iter(|| {
            let maps = Maps::open(&paths).expect("the file is there");
            for map in 0..MAPS {
                maps.read_whole_f64(map, &mut whole);
            }
        });
    });
    group.finish();
}

fn batches(criterion: &mut Criterion) {
    let folder = maps();
    let mut group = criterion.benchmark_group("batch of 64 crops");
    for preset in [Preset::Paper64, Preset::Paper256] {
        let mut config = Config::of_preset(preset, None);
        config.data.paths = vec![folder.path().join("maps.npy")];
        let dataset = Dataset::open(&config, None, &|_, _, _| {}).expect("the maps serve");
        let training = &dataset.training;
        let mut batch = vec![0.0; 64 * training.map_len()];
        group.throughput(Throughput::Bytes((4 * batch.len()) as u64));
        group.bench_function(BenchmarkId::from_parameter(preset.name()), |bencher| {
            bencher.iter(|| {
                training
                    .fill(0, 0..64, &mut batch)
                    .expect("the maps are there")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, reading, batches);
criterion_main!(benches);

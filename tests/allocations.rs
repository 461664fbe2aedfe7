//! In the steady state of training nothing the size of a tensor is allocated: everything lives in
//! the arena and the scratch, which the first steps grow. A counting allocator watches.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use cosmogan::backend::Cpu;
use cosmogan::data::{
    Maps, Prefetch, Region, Sampling, TrainingSet, Transform, write_npy_header, write_npy_pixels,
};
use cosmogan::model::{Network, Preset, discriminator, generator};
use cosmogan::rng::{Philox, Stream};
use cosmogan::train::{Config, Convention, Trainer};

/// Bytes that are allocated now, the largest allocation since [`reset`], and their number.
static LIVE: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);
static COUNT: AtomicUsize = AtomicUsize::new(0);

struct Counting;

fn note(size: usize) {
    LIVE.fetch_add(size, Relaxed);
    LARGEST.fetch_max(size, Relaxed);
    COUNT.fetch_add(1, Relaxed);
}

// SAFETY: every call is handed to the system's allocator unchanged; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn reset() {
    LARGEST.store(0, Relaxed);
    COUNT.store(0, Relaxed);
}

const BATCH: usize = 8;
/// What a step may allocate at once: lists of rows, rayon's jobs, packed weights of the one-channel
/// layers. The largest was 2048 bytes on 23 November 2026 (x86-64, the demo's networks).
const ALLOWED: usize = 1 << 14;

/// Bytes of the smallest activation of a batch, but for the discriminator's logits.
fn smallest_activation(networks: [&Network; 2]) -> usize {
    let blocks = networks.into_iter().flat_map(|network| &network.blocks);
    let values = blocks.map(|block| block.linear.output_len());
    let smallest = values.filter(|&len| len > 1).min().unwrap();
    BATCH * smallest * size_of::<f32>()
}

fn check(convention: Convention) {
    let mut config = Config::of_preset(Preset::Demo, Some(convention));
    config.run.batch = BATCH;
    let (g, d) = (
        generator(&config.architecture),
        discriminator(&config.architecture),
    );
    let limit = smallest_activation([&g, &d]);
    let mut real = vec![0.0f32; BATCH * config.architecture.map_len()];
    Philox::new(3, Stream::Benchmark, 0).fill_uniform(&mut real);

    reset();
    let mut trainer = Trainer::new(Cpu::<f32>::new(), &config).unwrap();
    trainer.train(&real, 0.0).unwrap();
    trainer.train(&real, 0.0).unwrap();
    let first = LARGEST.load(Relaxed);
    assert!(first >= 10 * limit, "the allocator counts nothing: {first}");

    reset();
    let mut live = [0; 5];
    for live in &mut live {
        assert!(trainer.train(&real, 0.0).unwrap().are_finite());
        *live = LIVE.load(Relaxed);
    }
    let (largest, count) = (LARGEST.load(Relaxed), COUNT.load(Relaxed));
    println!(
        "{convention:?}: largest allocation of a later step {largest} bytes, {} a step; the \
         smallest activation has {limit} bytes, the largest allocation of the first steps {first}",
        count / 5
    );
    assert!(
        ALLOWED < limit && largest <= ALLOWED,
        "{largest} bytes at once"
    );
    let grown = live.iter().max().unwrap() - live.iter().min().unwrap();
    assert!(grown <= 4096, "live bytes by step: {live:?}");
}

/// Batches of 8 maps of 64 pixels, made ahead.
fn check_batches() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("maps.npy");
    let mut pixels = vec![0.0f32; 4 * 80 * 80];
    Philox::new(4, Stream::Benchmark, 0).fill_uniform(&mut pixels);
    let mut file = std::fs::File::create(&path).unwrap();
    write_npy_header(&mut file, [4, 80, 80]).unwrap();
    write_npy_pixels(&mut file, &pixels).unwrap();
    let maps = Arc::new(Maps::open(&[path]).unwrap());
    let regions: Vec<Region> = (0..4).map(|p| Region::whole(&maps, p)).collect();
    let none = Transform::None {}.into();
    let set = TrainingSet::new(maps, &regions, none, Sampling::new(64, 1)).unwrap();
    let batch = BATCH * set.map_len() * size_of::<f32>();

    reset();
    let mut batches = Prefetch::new(Arc::new(set), BATCH, true).unwrap();
    batches.next(0).unwrap();
    assert!(
        LARGEST.load(Relaxed) >= batch,
        "the allocator counts nothing"
    );
    reset();
    // An epoch has 100: no new order is shuffled.
    for step in 1..90 {
        batches.next(step).unwrap();
    }
    let largest = LARGEST.load(Relaxed);
    println!("batches: largest allocation {largest} bytes, a batch has {batch}");
    assert!(
        ALLOWED < batch && largest <= ALLOWED,
        "{largest} bytes at once"
    );
}

#[test]
fn after_the_first_steps_nothing_the_size_of_an_activation_is_allocated() {
    // One thread, for a pool of several hands its work out by chance: a thread that first met a
    // product in a late step would first then get buffers for it.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
    pool.build().unwrap().install(|| {
        check(Convention::Paper);
        check(Convention::Torch);
    });
    // In the same test, for other threads would be counted too.
    check_batches();
}

//! Criterion benchmarks of the statistics of maps: 256 x 256 pixels, the paper's 248 bins of l and 19
//! of thresholds, one thread.
//!
//! What is asked: all statistics but bispectra of 6400 maps in 15 s on two cores, 4.7 ms a map and
//! core. `benches/peers/lenstools.py` times LensTools beside them; figures are in `benches/results/`.

use cosmogan::rng::{Philox, Stream};
use cosmogan::stats::{MapStatistics, ShapeNoise, StatisticsPlan, Unit, arange};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const SIDE: usize = 256;

fn statistics(criterion: &mut Criterion) {
    let mut map = vec![0.0f32; SIDE * SIDE];
    Philox::new(1, Stream::Benchmark, 1).fill_normal(&mut map);
    let edges = |start, stop, step| arange(start, stop, step).expect("edges");
    let (l, nu) = (edges(200.0, 50_000.0, 200.0), edges(-2.0, 2.0, 0.2));
    let all = StatisticsPlan::everything(SIDE, 0.866, &l, &nu, Unit::MapSigma).expect("a plan");
    let nothing = || StatisticsPlan::nothing(SIDE, 0.866);
    let but_bispectra = StatisticsPlan {
        bispectrum_equilateral: None,
        bispectrum_folded: None,
        ..all.clone()
    };
    let spectrum = StatisticsPlan {
        power_spectrum: all.power_spectrum.clone(),
        ..nothing()
    };
    let cases = [
        ("power_spectrum", spectrum.clone()),
        (
            "minkowski",
            StatisticsPlan {
                minkowski: all.minkowski.clone(),
                ..nothing()
            },
        ),
        (
            "power_spectrum_and_minkowski",
            StatisticsPlan {
                minkowski: all.minkowski.clone(),
                ..spectrum
            },
        ),
        ("all_but_bispectra", but_bispectra.clone()),
        ("all", all),
        (
            "all_but_bispectra_smoothed",
            StatisticsPlan {
                smooth_arcmin: Some(1.0),
                ..but_bispectra.clone()
            },
        ),
        (
            "all_but_bispectra_with_shape_noise",
            StatisticsPlan {
                shape_noise: Some(ShapeNoise {
                    n_gal: 20.0,
                    sigma_e: ShapeNoise::USUAL_SIGMA_E,
                    seed: 1,
                }),
                ..but_bispectra
            },
        ),
    ];
    let mut group = criterion.benchmark_group("statistics_of_a_map");
    group.throughput(Throughput::Elements(1));
    for (name, plan) in cases {
        let statistics = MapStatistics::new(plan).expect("a plan");
        let mut scratch = statistics.scratch();
        let mut row = vec![0.0; statistics.row_len()];
        group.bench_function(name, |bencher| {
            bencher.iter(|| statistics.measure(&mut scratch, &map, 0, &mut row))
        });
    }
    group.finish();
}

criterion_group!(benches, statistics);
criterion_main!(benches);

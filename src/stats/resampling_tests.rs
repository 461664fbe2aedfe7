//! The resampled p-values: right by brute force, calibrated over ten thousand repeats, and honest
//! where crops share a parent.

use super::*;
use crate::stats::{AndersonVariant, Parents, anderson_ksamp, kolmogorov_n_sf, ks_2samp};
use crate::testing::{normals, random};

const LEVELS: [f64; 4] = [0.01, 0.05, 0.1, 0.5];

fn resampler(first: &Parents, second: &Parents, seed: u64, permutations: usize) -> Resampler {
    let options = Resampling {
        seed,
        permutations,
        bootstraps: 0,
    };
    Resampler::new(Design::new(first, second).unwrap(), options).unwrap()
}

/// The share of p-values at or below each level.
fn rejections(p_values: &[f64]) -> [f64; 4] {
    let count = |level: f64| p_values.iter().filter(|&&p| p <= level + 1e-12).count();
    LEVELS.map(|level| count(level) as f64 / p_values.len() as f64)
}

/// Whether all rates are those of the levels, to 4 standard deviations of a binomial.
fn calibrated(what: &str, p_values: &[f64]) {
    let rates = rejections(p_values);
    println!("{what}: {rates:?} at {LEVELS:?} of {}", p_values.len());
    for (rate, level) in rates.into_iter().zip(LEVELS) {
        let deviation = (level * (1.0 - level) / p_values.len() as f64).sqrt();
        assert!(
            (rate - level).abs() < 4.0 * deviation,
            "{what}: {rate} at {level}"
        );
    }
}

#[test]
fn statistics_and_plain_p_values_are_those_of_the_single_tests() {
    let mut draw = random(61);
    for levels in [1e9, 5.0, 2.0] {
        let tied = |values: Vec<f64>| -> Vec<f64> {
            values
                .iter()
                .map(|v| (v * levels).round() / levels)
                .collect()
        };
        let (x, y) = (tied(normals(&mut draw, 37)), tied(normals(&mut draw, 52)));
        let found = resampler(&Parents::singles(37), &Parents::singles(52), 1, 20)
            .test(&x, &y)
            .unwrap();
        let ks = ks_2samp(&x, &y, Alternative::TwoSided, Method::Auto).unwrap();
        assert_eq!((found.ks, found.ks_scipy), (ks.statistic, ks.p_value));
        let ad = anderson_ksamp(&[&x, &y], AndersonVariant::Midrank).unwrap();
        assert!(
            (found.ad - ad.statistic).abs() < 1e-10,
            "{} {}",
            found.ad,
            ad.statistic
        );
        assert!((found.ad_scipy - ad.p_value).abs() < 1e-10);
        assert_eq!(found.ad_clipped, ad.clipped);
    }
}

#[test]
fn p_values_are_those_of_evaluating_every_repeat_anew() {
    let mut draw = random(62);
    let ids = [1, 1, 2, 2, 3, 4, 4, 5, 5, 6, 6];
    let (first, second) = (Parents::from_ids(ids), Parents::blocks(13, 2));
    let design = Design::new(&first, &second).unwrap();
    let options = Resampling {
        seed: 9,
        permutations: 101,
        bootstraps: 77,
    };
    let round = |values: Vec<f64>| values.iter().map(|v| (v * 4.0).round()).collect();
    let (x, y): (Vec<f64>, Vec<f64>) =
        (round(normals(&mut draw, 11)), round(normals(&mut draw, 13)));
    let all = [x.clone(), y.clone()].concat();
    let found = Resampler::new(design.clone(), options)
        .unwrap()
        .test(&x, &y)
        .unwrap();

    let statistics = |x: &[f64], y: &[f64]| {
        let d = ks_2samp(x, y, Alternative::TwoSided, Method::Auto)
            .unwrap()
            .statistic;
        let a = anderson_ksamp(&[x, y], AndersonVariant::Midrank);
        (d, a.map_or(f64::NEG_INFINITY, |a| a.statistic))
    };
    let observed = statistics(&x, &y);
    let p = |repeats: Vec<(f64, f64)>| {
        let count = |wanted: &dyn Fn(&(f64, f64)) -> bool| {
            let count = repeats.iter().filter(|&s| wanted(s)).count();
            (1 + count) as f64 / (1 + repeats.len()) as f64
        };
        ResampledP {
            ks: count(&|s| s.0 >= observed.0 - 1e-12),
            ad: count(&|s| s.1 >= observed.1 - 1e-9),
        }
    };
    let split = |chosen: &dyn Fn(usize) -> [u32; 2]| {
        let mut samples = [Vec::new(), Vec::new()];
        for (map, &value) in all.iter().enumerate() {
            for (sample, times) in samples.iter_mut().zip(chosen(map)) {
                sample.extend((0..times).map(|_| value));
            }
        }
        statistics(&samples[0], &samples[1])
    };
    let parent = |map: usize| design.of_map()[map] as usize;
    let permuted = (0..101).map(|repeat| {
        let labels = design.relabelled(9, repeat);
        split(&|map| {
            [
                u32::from(labels[parent(map)]),
                u32::from(!labels[parent(map)]),
            ]
        })
    });
    assert_eq!(found.permutation, p(permuted.collect()));
    let drawn = (0..77).map(|repeat| {
        let times = design.drawn(9, repeat);
        split(&|map| times[parent(map)])
    });
    assert_eq!(found.bootstrap, Some(p(drawn.collect())));
}

#[test]
fn permutation_p_values_reject_as_often_as_they_say() {
    let (n, m) = (50, 61);
    let (first, second) = (Parents::singles(n), Parents::singles(m));
    let p: Vec<[f64; 2]> = (0..500_u64)
        .into_par_iter()
        .flat_map_iter(|group| {
            let resampler = resampler(&first, &second, group, 199);
            let mut draw = random(10_000 + group);
            (0..20).map(move |_| {
                let values = normals(&mut draw, n + m);
                let p = resampler
                    .test(&values[..n], &values[n..])
                    .unwrap()
                    .permutation;
                [p.ks, p.ad]
            })
        })
        .collect();
    calibrated(
        "permutation KS",
        &p.iter().map(|p| p[0]).collect::<Vec<_>>(),
    );
    calibrated(
        "permutation AD",
        &p.iter().map(|p| p[1]).collect::<Vec<_>>(),
    );
}

/// Crops of parents: a value of the parent plus one of the crop, of equal variance.
fn crops(draw: &mut crate::rng::SequentialPhilox, parents: usize, size: usize) -> Vec<f64> {
    let common = normals(draw, parents);
    let own = normals(draw, parents * size);
    own.iter()
        .enumerate()
        .map(|(i, v)| v + common[i / size])
        .collect()
}

#[test]
fn permuting_parents_is_calibrated_where_permuting_crops_is_over_confident() {
    let (parents, size, repeats) = (17, 6, 2000);
    let maps = parents * size;
    let blocks = Parents::blocks(maps, size);
    let singles = Parents::singles(maps);
    let p: Vec<[f64; 3]> = (0..repeats)
        .into_par_iter()
        .map(|repeat| {
            let mut draw = random(20_000 + repeat);
            let (x, y) = (
                crops(&mut draw, parents, size),
                crops(&mut draw, parents, size),
            );
            let whole = resampler(&blocks, &blocks, repeat, 199)
                .test(&x, &y)
                .unwrap();
            let single = resampler(&singles, &singles, repeat, 199)
                .test(&x, &y)
                .unwrap();
            [
                whole.permutation.ad,
                whole.permutation.ks,
                single.permutation.ad,
            ]
        })
        .collect();
    calibrated("parents AD", &p.iter().map(|p| p[0]).collect::<Vec<_>>());
    let crops = rejections(&p.iter().map(|p| p[2]).collect::<Vec<_>>());
    println!("permuting crops of {size} a parent, AD: {crops:?} at {LEVELS:?}");
    assert!(crops[1] > 0.3, "{crops:?}");
    // Whole parents: D has few values, so ties make it cautious; it never rejects too often.
    let ks = rejections(&p.iter().map(|p| p[1]).collect::<Vec<_>>());
    println!("parents KS: {ks:?}");
    assert!(ks[1] < 0.07 && ks[1] > 0.03, "{ks:?}");
}

#[test]
fn independent_maps_in_blocks_against_real_crops_keep_the_level() {
    // Independent maps of the same marginal distribution, in blocks of as many as parents' crops.
    let (parents, size) = (24, 4);
    let blocks = Parents::blocks(parents * size, size);
    let p: Vec<f64> = (0..2000_u64)
        .into_par_iter()
        .map(|repeat| {
            let mut draw = random(30_000 + repeat);
            let x = crops(&mut draw, parents, size);
            let y = crops(&mut draw, parents * size, 1);
            let resampler = resampler(&blocks, &blocks, repeat, 199);
            resampler.test(&x, &y).unwrap().permutation.ad
        })
        .collect();
    let rates = rejections(&p);
    println!("blocks of independent maps against crops, AD: {rates:?} at {LEVELS:?}");
    assert!(
        (rates[1] - 0.05).abs() < 0.025 && (rates[2] - 0.1).abs() < 0.03,
        "{rates:?}"
    );
}

#[test]
fn bootstrapped_p_values_reject_about_as_often_as_they_say() {
    let (n, m) = (100, 121);
    let design = Design::new(&Parents::singles(n), &Parents::singles(m)).unwrap();
    let p: Vec<[f64; 2]> = (0..100_u64)
        .into_par_iter()
        .flat_map_iter(|seed| {
            let options = Resampling {
                seed,
                permutations: 1,
                bootstraps: 199,
            };
            let resampler = Resampler::new(design.clone(), options).unwrap();
            let mut draw = random(40_000 + seed);
            (0..20).map(move |_| {
                let values = normals(&mut draw, n + m);
                let test = resampler.test(&values[..n], &values[n..]).unwrap();
                test.bootstrap.map(|p| [p.ks, p.ad]).unwrap()
            })
        })
        .collect();
    for (index, what) in ["KS", "AD"].into_iter().enumerate() {
        let rates = rejections(&p.iter().map(|p| p[index]).collect::<Vec<_>>());
        println!("bootstrap {what}: {rates:?} at {LEVELS:?}");
        // Right for large samples; at a hundred values ties of the redrawn make it cautious.
        assert!(rates[1] < 0.07 && rates[1] > 0.02, "{what} {rates:?}");
    }
}

#[test]
fn asymptotic_p_values_reject_as_often_as_they_say_from_a_thousand_on() {
    // D of n and m uniform values needs no sorting of more than once; 10,000 pairs.
    let (n, m) = (1000, 1013);
    let p: Vec<f64> = (0..10_000_u64)
        .into_par_iter()
        .map(|repeat| {
            let mut values = vec![0.0_f32; n + m];
            let philox = crate::rng::Philox::new(repeat, crate::rng::Stream::Benchmark, 77);
            philox.fill_uniform(&mut values);
            let (x, y) = values.split_at(n);
            let test = ks_2samp(x, y, Alternative::TwoSided, Method::Asymptotic).unwrap();
            assert_eq!(test.p_value, kolmogorov_n_sf(503, test.statistic));
            test.p_value
        })
        .collect();
    calibrated("asymptotic KS", &p);
}

#[test]
fn a_difference_is_found_and_the_number_of_threads_does_not_matter() {
    let mut draw = random(63);
    let (x, mut y) = (normals(&mut draw, 300), normals(&mut draw, 280));
    for value in &mut y {
        *value += 0.5;
    }
    let options = Resampling::default();
    let test = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let design = Design::new(&Parents::singles(300), &Parents::singles(280)).unwrap();
            Resampler::new(design, options)
                .unwrap()
                .test(&x, &y)
                .unwrap()
        })
    };
    let found = test(1);
    assert_eq!(
        found.permutation,
        ResampledP {
            ks: 1.0 / 1001.0,
            ad: 1.0 / 1001.0
        }
    );
    assert!(found.bootstrap.unwrap().ks < 0.005);
    assert_eq!(found, test(3));
}

#[test]
fn faulty_features_are_refused() {
    let one = Parents::singles(4);
    let resampler = resampler(&one, &one, 0, 8);
    let good = [1.0, 2.0, 3.0, 4.0];
    let nan = resampler
        .test(&good, &[1.0, f64::NAN, 2.0, 3.0])
        .unwrap_err();
    assert_eq!(nan, StatsError::Nan(5));
    assert_eq!(
        resampler.test(&[2.0; 4], &[2.0; 4]).unwrap_err(),
        StatsError::AllEqual
    );
    let short = resampler.test(&good, &good[..3]).unwrap_err();
    assert!(matches!(
        short,
        StatsError::Length {
            got: 3,
            expected: 4,
            ..
        }
    ));
    assert!(resampler.test(&[0.0, -0.0, 0.0, 0.0], &[-0.0; 4]).is_err());
    let design = resampler.design().clone();
    let none = Resampling {
        permutations: 0,
        ..Resampling::default()
    };
    assert!(matches!(
        Resampler::new(design, none),
        Err(StatsError::NoRepeats(_))
    ));
}

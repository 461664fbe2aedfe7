//! Novelty and diversity as numbers: distances of generated maps to training maps beside those of
//! held-out real maps, and the scatter from map to map at a pixel and in a bin.

use super::{Neighbour, Pair, SortedSample, StatsError};
use ndarray::ArrayView2;
use serde::Serialize;

/// Distances to the nearest training map: of generated maps, and of held-out real ones, which have
/// seen no training either (the noise floor).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Novelty {
    /// Median distance of a generated map to its nearest training map.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// Median distance of a held-out real map to its nearest training map.
    pub floor_median: f64,
    /// The least.
    pub floor_least: f64,
    /// `median` over `floor_median`: well below 1, the generator repeats its training maps.
    pub ratio: f64,
    /// Generated maps nearer to a training map than any held-out one is.
    pub nearer_than_floor: usize,
    /// What a generator as novel as the held-out maps has on average: k / (h + 1), for k
    /// generated and h held-out maps.
    pub expected_nearer: f64,
}

impl Novelty {
    /// From the neighbours (nearest first) of generated and of held-out maps in one training set.
    ///
    /// # Errors
    /// No maps, or one without a neighbour.
    pub fn new(
        generated: &[Vec<Neighbour>],
        held_out: &[Vec<Neighbour>],
    ) -> Result<Self, StatsError> {
        let nearest = |lists: &[Vec<Neighbour>]| -> Result<SortedSample<f64>, StatsError> {
            let first = |list: &Vec<Neighbour>| list.first().map(|n| n.distance);
            let distances: Option<Vec<f64>> = lists.iter().map(first).collect();
            SortedSample::new(&distances.ok_or(StatsError::Empty)?)
        };
        let (found, floor) = (nearest(generated)?, nearest(held_out)?);
        let floor_least = floor.values()[0];
        let (median, floor_median) = (found.quantile(0.5), floor.quantile(0.5));
        Ok(Self {
            median,
            least: found.values()[0],
            floor_median,
            floor_least,
            ratio: median / floor_median,
            nearer_than_floor: found.values().partition_point(|&d| d < floor_least),
            expected_nearer: generated.len() as f64 / (held_out.len() + 1) as f64,
        })
    }
}

/// Near duplicates within a set of generated maps, beside a set of real ones: by the birthday paradox, a generator of S different maps has one pair alike among about sqrt(S).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Repeats {
    /// Maps that were looked through, and real ones.
    pub maps: usize,
    pub real_maps: usize,
    /// Pairs that count as near duplicates: closer than any pair of the real set.
    pub pairs: usize,
    /// How many a perfect generator has on average: its pairs over those of the real set.
    pub expected: f64,
    /// The distance of the closest pair.
    pub least: f64,
    /// The distance of the closest pair of the real set.
    pub floor_least: f64,
    /// n (n - 1) / 2 over the pairs: how many different maps a generator that draws from a fixed
    /// stock would have. `None` without pairs; a lower bound where the list of pairs was cut.
    pub stock: Option<f64>,
}

impl Repeats {
    /// From the closest pairs, ascending, of `maps` generated maps and of `real_maps` real ones.
    ///
    /// # Errors
    /// No pairs.
    pub fn new(
        (maps, generated): (usize, &[Pair]),
        (real_maps, real): (usize, &[Pair]),
    ) -> Result<Self, StatsError> {
        let least = |pairs: &[Pair]| pairs.first().map(|p| p.second.distance);
        let (found, floor) = least(generated).zip(least(real)).ok_or(StatsError::Empty)?;
        let close = |pair: &&Pair| pair.second.distance < floor;
        let pairs = generated.iter().filter(close).count();
        let all_of = |maps: usize| maps as f64 * (maps as f64 - 1.0) / 2.0;
        let all = all_of(maps);
        Ok(Self {
            maps,
            real_maps,
            pairs,
            expected: all / all_of(real_maps),
            least: found,
            floor_least: floor,
            stock: (pairs > 0).then(|| all / pairs as f64),
        })
    }
}

/// How many pairs within `distance` a perfect generator would have, which has `pairs` times as many pairs
/// as the real set whose closest ones, ascending, are `real`.
///
/// The number of pairs within r grows as a power of r where r is small, the number of dimensions that
/// maps vary in: it is estimated from the 50 closest real pairs (Hill 1975). Below the closest real pair
/// that is an extrapolation, to more pairs rather than to fewer: dimensions that only show on small scales
/// are not counted.
pub fn expected_within(distance: f64, real: &[Pair], pairs: f64) -> f64 {
    let list = &real[..real.len().min(50)];
    let Some(last) = list.last().map(|pair| pair.second.distance) else {
        return f64::INFINITY;
    };
    let all = pairs * list.len() as f64;
    if distance >= last {
        return all;
    }
    let logarithms = list.iter().map(|pair| (last / pair.second.distance).ln());
    // The last one's is 0 by construction.
    let power = (list.len() as f64 - 1.0) / logarithms.sum::<f64>();
    all * (distance / last).powf(power)
}

/// The standard deviation over maps at each place: pixels of maps, or bins of ln P.
///
/// Added map by map (Welford's sums), so that a set may stream by.
#[derive(Clone, Debug)]
pub struct Spread {
    maps: usize,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Spread {
    /// No maps yet, each of `places` pixels or bins.
    pub fn new(places: usize) -> Self {
        Self {
            maps: 0,
            mean: vec![0.0; places],
            squares: vec![0.0; places],
        }
    }

    /// Adds maps `[n, places]`.
    ///
    /// # Errors
    /// Not a whole number of maps.
    pub fn add<T: Copy + Into<f64>>(&mut self, maps: &[T]) -> Result<(), StatsError> {
        let places = self.mean.len();
        if places == 0 || !maps.len().is_multiple_of(places) {
            return Err(StatsError::Length {
                what: "pixels of the last map",
                got: maps.len().checked_rem(places).unwrap_or(maps.len()),
                expected: places,
            });
        }
        for map in maps.chunks_exact(places) {
            self.maps += 1;
            let share = 1.0 / self.maps as f64;
            let sums = self.mean.iter_mut().zip(&mut self.squares);
            for ((mean, squares), &value) in sums.zip(map) {
                let away = value.into() - *mean;
                *mean += away * share;
                *squares += away * (value.into() - *mean);
            }
        }
        Ok(())
    }

    /// The spread of features `[maps, bins]`.
    pub fn of_features(features: ArrayView2<'_, f64>) -> Result<Self, StatsError> {
        let mut spread = Self::new(features.ncols());
        spread.add(&features.iter().copied().collect::<Vec<f64>>())?;
        Ok(spread)
    }

    /// Standard deviations `[places]` (maps - 1); NaN below two maps and at empty bins.
    pub fn deviations(&self) -> Vec<f64> {
        let degrees = self.maps as f64 - 1.0;
        let deviation = |&squares: &f64| match self.maps {
            0 | 1 => f64::NAN,
            _ => (squares / degrees).sqrt(),
        };
        self.squares.iter().map(deviation).collect()
    }
}

/// The scatter of generated maps over that of real ones, place by place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diversity {
    /// Ratio of the standard deviations, `[places]`; NaN at places that are empty or do not vary
    /// among real maps.
    pub ratio: Vec<f64>,
    /// Mean of the ratios: below 1, generated maps are too much alike.
    pub mean: f64,
    /// The least ratio: 0 where all generated maps are the same.
    pub least: f64,
    /// The largest ratio.
    pub largest: f64,
}

impl Diversity {
    /// Compares the spread of `generated` with that of `real`.
    ///
    /// # Errors
    /// Other numbers of places; fewer than two maps in either; no place where real maps vary.
    pub fn new(real: &Spread, generated: &Spread) -> Result<Self, StatsError> {
        if real.mean.len() != generated.mean.len() {
            return Err(StatsError::Length {
                what: "places in the generated maps",
                got: generated.mean.len(),
                expected: real.mean.len(),
            });
        }
        let maps = real.maps.min(generated.maps);
        if maps < 2 {
            return Err(StatsError::TooFew {
                what: "maps",
                got: maps,
                needed: 2,
            });
        }
        let pairs = real.deviations().into_iter().zip(generated.deviations());
        let ratio: Vec<f64> = pairs
            .map(|(real, made)| if real > 0.0 { made / real } else { f64::NAN })
            .collect();
        let finite: Vec<f64> = ratio.iter().copied().filter(|r| r.is_finite()).collect();
        if finite.is_empty() {
            return Err(StatsError::AllEqual);
        }
        Ok(Self {
            mean: finite.iter().sum::<f64>() / finite.len() as f64,
            least: finite.iter().copied().fold(f64::INFINITY, f64::min),
            largest: finite.iter().copied().fold(0.0, f64::max),
            ratio,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{NearestMaps, closest_features, closest_maps};
    use crate::testing::{normals, random};

    fn maps(number: u64, count: usize) -> Vec<f32> {
        let values = normals(&mut random(number), count * 36);
        values.iter().map(|&v| v as f32).collect()
    }

    fn nearest(queries: &[f32], training: &[f32]) -> Vec<Vec<Neighbour>> {
        let mut search = NearestMaps::new(queries, 6, 1).unwrap();
        search.add(training).unwrap();
        search.finish()
    }

    #[test]
    fn copies_of_training_maps_are_told_from_new_ones() {
        let (training, held_out, new) = (maps(1, 300), maps(2, 100), maps(3, 100));
        let floor = nearest(&held_out, &training);
        let fresh = Novelty::new(&nearest(&new, &training), &floor).unwrap();
        assert!((fresh.ratio - 1.0).abs() < 0.05, "{fresh:?}");
        assert!(fresh.nearer_than_floor < 12, "{fresh:?}");
        assert!((fresh.expected_nearer - 100.0 / 101.0).abs() < 1e-12);
        let mut copies = new;
        let noise = maps(4, 40);
        for (copy, (original, noise)) in copies.iter_mut().zip(training.iter().zip(noise)) {
            *copy = original + 0.1 * noise;
        }
        let copied = Novelty::new(&nearest(&copies, &training), &floor).unwrap();
        assert!(
            copied.nearer_than_floor >= 40 && copied.least < 1.0,
            "{copied:?}"
        );
        assert_eq!(Novelty::new(&[vec![]], &floor), Err(StatsError::Empty));
        assert_eq!(Novelty::new(&floor, &[]), Err(StatsError::Empty));
    }

    #[test]
    fn a_generator_with_a_small_stock_repeats_itself() {
        let (stock, real) = (maps(5, 200), maps(6, 100));
        let mut draw = random(7);
        let drawn: Vec<f32> = (0..100)
            .flat_map(|_| {
                let map = rand::RngExt::random_range(&mut draw, 0..200_usize);
                stock[map * 36..(map + 1) * 36].to_vec()
            })
            .collect();
        let floor = closest_maps(&real, 6, 200).unwrap();
        let drawn = closest_maps(&drawn, 6, 200).unwrap();
        let found = Repeats::new((100, &drawn), (100, &floor)).unwrap();
        // 4950 pairs, one in 200 alike: 25 +- 5.
        assert_eq!(found.least, 0.0);
        let stock = found.stock.unwrap();
        assert!((100.0..400.0).contains(&stock), "{found:?}");
        let honest = Repeats::new((100, &floor), (100, &floor)).unwrap();
        assert_eq!((honest.pairs, honest.stock), (0, None));
        assert_eq!(honest.expected, 1.0);
        let more = Repeats::new((100, &drawn), (10, &floor)).unwrap();
        assert_eq!(more.expected, 110.0);
    }

    #[test]
    fn the_closest_pair_of_many_more_maps_is_where_few_real_ones_say() {
        // Seven dimensions: of 20 times the maps, the closest pair is 400^(1/7) = 2.4 times closer.
        let vectors = |number, maps: usize| normals(&mut random(number), maps * 7);
        let closest = |values: &[f64]| {
            let table = ArrayView2::from_shape((values.len() / 7, 7), values).unwrap();
            closest_features(table, 200).unwrap()
        };
        let mut logarithms = 0.0;
        for draw in 0..10 {
            let (real, many) = (vectors(20 + draw, 200), vectors(40 + draw, 4000));
            let (real, mut many) = (closest(&real), closest(&many));
            let least = many.remove(0).second.distance;
            assert!(least < 0.75 * real[0].second.distance);
            let expected = expected_within(least, &real, 400.0);
            println!("{least}: {expected} pairs expected");
            assert!((1e-2..1e3).contains(&expected), "{expected}");
            logarithms += expected.ln();
            // A copy is another thing.
            assert!(expected_within(0.1 * least, &real, 400.0) < 1e-3);
            assert_eq!(expected_within(0.0, &real, 400.0), 0.0);
            assert_eq!(expected_within(1e9, &real, 400.0), 400.0 * 50.0);
        }
        assert!((logarithms / 10.0_f64).abs() < 3.0, "{logarithms}");
        assert_eq!(expected_within(1.0, &[], 1.0), f64::INFINITY);
    }

    #[test]
    fn too_little_scatter_is_seen_at_its_place() {
        let real = normals(&mut random(8), 2000 * 4);
        let mut made = normals(&mut random(9), 2000 * 4);
        for map in made.chunks_exact_mut(4) {
            map[1] = 7.0;
            map[2] = 0.5 * map[2] + 1e6;
        }
        let spread = |values: &[f64]| {
            let mut spread = Spread::new(4);
            for piece in values.chunks(4 * 123) {
                spread.add(piece).unwrap();
            }
            spread
        };
        let found = Diversity::new(&spread(&real), &spread(&made)).unwrap();
        assert_eq!(found.least, 0.0);
        assert!((found.ratio[2] - 0.5).abs() < 0.03 && (found.ratio[0] - 1.0).abs() < 0.06);
        assert!((found.mean - 0.625).abs() < 0.03);
        let constant = spread(&[1.0; 12]);
        assert_eq!(
            Diversity::new(&constant, &spread(&made)),
            Err(StatsError::AllEqual)
        );
        assert!(Diversity::new(&Spread::new(4), &constant).is_err());
        assert!(Diversity::new(&Spread::new(5), &constant).is_err());
        assert!(Spread::new(4).add(&[1.0; 5]).is_err());
    }
}

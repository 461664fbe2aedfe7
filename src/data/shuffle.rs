//! Permutations and bounded integers from Philox words. Written out here, because those of a
//! library may change with its version, and a resumed run must draw the same maps.

use crate::rng::Philox;

/// An integer on `0..bound` from one 32-bit word: multiply and shift. Its probabilities are off by
/// at most `bound` / 2^32, 1e-6 for a crop's position in the largest maps.
pub(super) fn below(word: u32, bound: usize) -> usize {
    ((u64::from(word) * bound as u64) >> 32) as usize
}

/// Shuffles `items` (Fisher-Yates, Durstenfeld 1964) with blocks `0..items.len() / 2 + 1` of
/// `philox`; each swap takes 64 bits, so that no bias can be measured.
pub fn shuffle<T>(items: &mut [T], philox: &Philox) {
    for i in (1..items.len()).rev() {
        let words = philox.block(i as u32 / 2);
        let pair = 2 * (i % 2);
        let bits = u64::from(words[pair]) << 32 | u64::from(words[pair + 1]);
        let j = (u128::from(bits) * (i as u128 + 1)) >> 64;
        items.swap(i, j as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    #[test]
    fn every_order_of_four_items_is_equally_likely() {
        let mut counts = std::collections::BTreeMap::new();
        let shuffles = 24_000;
        for step in 0..shuffles {
            let mut items = [0u8, 1, 2, 3];
            shuffle(&mut items, &Philox::new(9, Stream::Benchmark, step));
            *counts.entry(items).or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 24);
        let expected = shuffles as f64 / 24.0;
        let chi2: f64 = counts
            .values()
            .map(|&n| (f64::from(n) - expected).powi(2) / expected)
            .sum();
        // 23 degrees of freedom: 60 is passed with a probability of 4e-5.
        assert!(chi2 < 60.0, "chi-squared {chi2}");
    }

    #[test]
    fn bounded_integers_cover_their_range_and_stay_in_it() {
        assert_eq!(below(0, 769), 0);
        assert_eq!(below(u32::MAX, 769), 768);
        assert_eq!(below(u32::MAX, 1), 0);
    }
}

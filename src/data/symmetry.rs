//! The 8 rotations and flips of a square map. Statistics of the sky know no direction and no
//! handedness, so each turned map is as good as a new one.

/// One of the 8 symmetries of a square: an optional flip of columns, then of rows, then an
/// optional transposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symmetry(u8);

impl Symmetry {
    /// Leaves a map as it is.
    pub const IDENTITY: Self = Self(0);

    /// The symmetry of a random word: its upper 3 bits.
    pub fn from_word(word: u32) -> Self {
        Self((word >> 29) as u8)
    }

    /// Its number, 0 to 7.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Turns `map` `[side, side, channels]` in place, without scratch; channels stay together.
    ///
    /// # Panics
    /// Where `map` is not of that shape.
    pub fn apply(self, map: &mut [f32], side: usize, channels: usize) {
        assert_eq!(map.len(), side * side * channels);
        // A constant for the usual case lets the compiler unroll it.
        match channels {
            1 => self.turn(map, side, 1),
            _ => self.turn(map, side, channels),
        }
    }

    #[inline(always)]
    fn turn(self, map: &mut [f32], side: usize, channels: usize) {
        let Self(bits) = self;
        let swap = |pixels: &mut [f32], a: usize, b: usize| {
            for channel in 0..channels {
                pixels.swap(a * channels + channel, b * channels + channel);
            }
        };
        let row = side * channels;
        if bits & 1 != 0 {
            for pixels in map.chunks_exact_mut(row) {
                for x in 0..side / 2 {
                    swap(pixels, x, side - 1 - x);
                }
            }
        }
        if bits & 2 != 0 {
            let (upper, lower) = map.split_at_mut(side / 2 * row);
            let lower = lower.rchunks_exact_mut(row);
            for (above, below) in upper.chunks_exact_mut(row).zip(lower) {
                above.swap_with_slice(below);
            }
        }
        if bits & 4 != 0 {
            for y in 1..side {
                for x in 0..y {
                    swap(map, y * side + x, x * side + y);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eight_orientations_differ_and_keep_neighbours_neighbours() {
        for side in [4, 5] {
            let map: Vec<f32> = (0..side * side).map(|i| i as f32).collect();
            let mut seen = std::collections::HashSet::new();
            for index in 0..8u32 {
                let mut turned = map.clone();
                Symmetry::from_word(index << 29).apply(&mut turned, side, 1);
                let at = |y: usize, x: usize| turned[y * side + x];
                for y in 0..side {
                    for x in 1..side {
                        for step in [at(y, x) - at(y, x - 1), at(x, y) - at(x - 1, y)] {
                            assert!([1.0, side as f32].contains(&step.abs()), "{turned:?}");
                        }
                    }
                }
                let mut pixels = turned.clone();
                pixels.sort_by(f32::total_cmp);
                assert_eq!(pixels, map);
                seen.insert(turned.iter().map(|&v| v as usize).collect::<Vec<_>>());
            }
            assert_eq!(seen.len(), 8);
        }
    }

    #[test]
    fn a_flip_then_a_transposition_is_a_quarter_turn() {
        let mut map = [1.0, 2.0, 3.0, 4.0];
        Symmetry::from_word(5 << 29).apply(&mut map, 2, 1);
        assert_eq!(map, [2.0, 4.0, 1.0, 3.0]);
    }

    #[test]
    fn the_channels_of_a_pixel_turn_together() {
        for side in [4, 5] {
            let map: Vec<f32> = (0..side * side).map(|i| i as f32).collect();
            let scales = [1.0, -2.0, 100.0];
            let joined: Vec<f32> = map.iter().flat_map(|v| scales.map(|s| s * v)).collect();
            for index in 0..8u32 {
                let symmetry = Symmetry::from_word(index << 29);
                let (mut alone, mut together) = (map.clone(), joined.clone());
                symmetry.apply(&mut alone, side, 1);
                symmetry.apply(&mut together, side, 3);
                let expected = alone.iter().flat_map(|v| scales.map(|s| s * v));
                assert!(expected.eq(together), "symmetry {index}");
            }
        }
    }
}

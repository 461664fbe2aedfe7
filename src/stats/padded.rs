//! A map in float64 with its periodic continuation beside each row, so that stencils are plain
//! slices.

use super::StatsError;

/// Pixels of continuation at either end of a row: the reach of the widest stencil.
pub(super) const PAD: usize = 2;

/// One map `[N, N]`, each row with [`PAD`] pixels of its continuation before and behind it.
#[derive(Clone, Debug)]
pub(super) struct PaddedMap {
    side: usize,
    values: Vec<f64>,
}

/// What one look at all pixels tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub mean: f64,
    /// Population standard deviation.
    pub sigma: f64,
    pub constant: bool,
}

impl PaddedMap {
    /// Room for maps of `side` pixels, at least [`PAD`].
    pub fn new(side: usize) -> Self {
        Self {
            side,
            values: vec![0.0; side * (side + 2 * PAD)],
        }
    }

    fn stride(&self) -> usize {
        self.side + 2 * PAD
    }

    /// The pixels of row `y`.
    pub fn row(&self, y: usize) -> &[f64] {
        &self.values[y * self.stride() + PAD..][..self.side]
    }

    /// The pixels of row `y`, to be changed before [`Self::continue_rows`].
    pub fn row_mut(&mut self, y: usize) -> &mut [f64] {
        let start = y * self.stride() + PAD;
        &mut self.values[start..start + self.side]
    }

    /// Row `y + offset` of the periodic map with its continuation; `offset` is -2 to 2.
    pub fn continued(&self, y: usize, offset: isize) -> &[f64] {
        let row = (y + self.side).wrapping_add_signed(offset) % self.side;
        &self.values[row * self.stride()..][..self.stride()]
    }

    /// Takes the pixels of `map` `[N, N]`.
    ///
    /// # Errors
    /// Another number of pixels, or one that is not finite (as of map 0).
    pub fn fill<T: Copy + Into<f64>>(&mut self, map: &[T]) -> Result<(), StatsError> {
        let side = self.side;
        if map.len() != side * side {
            return Err(StatsError::Shape {
                got: map.len(),
                pixels: side,
            });
        }
        for (y, from) in map.chunks_exact(side).enumerate() {
            let row = self.row_mut(y);
            let mut finite = true;
            for (to, &from) in row.iter_mut().zip(from) {
                *to = from.into();
                finite &= to.is_finite();
            }
            if let Some(x) = row.iter().position(|v| !finite && !v.is_finite()) {
                return Err(StatsError::NotFinite {
                    map: 0,
                    pixel: y * side + x,
                    value: row[x],
                });
            }
        }
        Ok(())
    }

    /// Continues all rows periodically: to be called when pixels have changed.
    pub fn continue_rows(&mut self) {
        let (side, stride) = (self.side, self.stride());
        for row in self.values.chunks_exact_mut(stride) {
            row.copy_within(side..side + PAD, 0);
            row.copy_within(PAD..2 * PAD, side + PAD);
        }
    }

    /// Mean and standard deviation, in two passes.
    pub fn level(&self) -> Level {
        let pixels = (self.side * self.side) as f64;
        let rows = || (0..self.side).map(|y| self.row(y));
        let mean = rows().map(|row| sum(row, |v| v)).sum::<f64>() / pixels;
        let squares = rows().map(|row| sum(row, |v| (v - mean) * (v - mean)));
        let sigma = (squares.sum::<f64>() / pixels).sqrt();
        // Rounding of the mean leaves a tiny deviation where all pixels are equal.
        let first = self.row(0)[0];
        let constant = rows().all(|row| row.iter().all(|&value| value == first));
        Level {
            mean,
            sigma,
            constant,
        }
    }
}

/// Lanes of a sum: wide enough for vector units, fixed so that sums are the same everywhere.
pub(super) const LANES: usize = 8;

/// The sum of `f` over `values`, in [`LANES`] sums that are added at the end.
pub(super) fn sum(values: &[f64], f: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += f(value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane += f(value);
    }
    lanes.iter().sum()
}

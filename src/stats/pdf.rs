//! The distribution of pixels, as LensTools' `ConvergenceMap.pdf` (NumPy's density histogram)
//! measures it: bins closed below and open above but for the last, which is closed; normalised by
//! the pixels in range.

use super::Thresholds;
use super::edges::Finder;

/// Working memory of one map.
#[derive(Clone, Debug)]
pub(super) struct Pdf {
    finder: Finder,
    /// `[intervals, 2]`: even and odd columns, which need not wait for each other.
    counts: Vec<[u32; 2]>,
    /// Pixels on the last edge, which are in the last bin.
    on_last: u32,
    cells: Vec<u32>,
    last: f64,
    scale: f64,
}

impl Pdf {
    pub fn new(side: usize) -> Self {
        Self {
            finder: Finder::default(),
            counts: Vec::new(),
            on_last: 0,
            cells: vec![0; side],
            last: f64::INFINITY,
            scale: 1.0,
        }
    }

    /// Begins a map, whose thresholds have the unit `scale`.
    pub fn begin(&mut self, thresholds: &Thresholds, scale: f64) {
        let edges = thresholds.edges();
        self.finder.set(edges.iter().map(|edge| edge * scale));
        self.counts.clear();
        self.counts.resize(self.finder.most() + 1, [0; 2]);
        self.on_last = 0;
        self.last = edges.last().map_or(f64::INFINITY, |edge| edge * scale);
        self.scale = scale;
    }

    /// Adds a row of pixels.
    pub fn add(&mut self, row: &[f64]) {
        let cells = &mut self.cells[..row.len()];
        for (cell, &value) in cells.iter_mut().zip(row) {
            *cell = self.finder.cell(value);
        }
        let last = self.last;
        self.on_last += row.iter().map(|&v| u32::from(v == last)).sum::<u32>();
        for (x, (&cell, &value)) in cells.iter().zip(row).enumerate() {
            self.counts[self.finder.count_in(cell, value)][x % 2] += 1;
        }
    }

    /// Writes the density `[bins]`, per unit of the thresholds; NaN where no pixel is in range.
    pub fn finish(&self, thresholds: &Thresholds, out: &mut [f64]) {
        let bins = thresholds.bins();
        let count = |bin: usize| {
            let [even, odd] = self.counts[bin + 1];
            let closing = if bin + 1 == bins { self.on_last } else { 0 };
            f64::from(even + odd + closing)
        };
        let total: f64 = (0..bins).map(count).sum();
        for (bin, edges) in thresholds.edges().windows(2).enumerate() {
            let width = edges[1] * self.scale - edges[0] * self.scale;
            out[bin] = count(bin) / width / total * self.scale;
        }
    }
}

//! Minkowski functionals V0, V1, V2, as LensTools' `ConvergenceMap.minkowskiFunctionals` measures
//! them: area, boundary length and genus of the regions above a threshold.
//!
//! Of a map m of A pixels, with bins [nu_i, nu_{i+1}) of width D_i and a unit s:
//!
//! - V0_i = fraction of pixels with m >= (nu_i + nu_{i+1}) s / 2;
//! - V1_i = 1/(A D_i) sum over the bin's pixels of |grad m| / 4;
//! - V2_i = 1/(A D_i) sum over the bin's pixels of
//!   (2 gx gy hxy - gx^2 hyy - gy^2 hxx) / |grad m|^2 / (2 pi), and of
//!   (2 hxy - hxx - hyy) / (4 pi) where the gradient is 0.
//!
//! D_i stays in units of the thresholds (LensTools 1.2, `extern/minkowski.c`).

use std::f64::consts::PI;

use super::Thresholds;
use super::derivatives::RowDerivatives;
use super::edges::Finder;

/// Sums of one interval between neighbouring edges and mid-points: pixels, integrands of V1 and V2.
type Sums = [f64; 4];

/// Neighbouring pixels often share an interval: sums in turns need not wait for each other.
const TURNS: usize = 4;

/// Working memory of one map.
#[derive(Clone, Debug)]
pub(super) struct Minkowski {
    /// Edges and mid-points in turns: one search tells the bin and the area.
    finder: Finder,
    /// `[intervals, TURNS]`.
    sums: Vec<[Sums; TURNS]>,
    v1: Vec<f64>,
    v2: Vec<f64>,
    cells: Vec<u32>,
}

impl Minkowski {
    pub fn new(side: usize) -> Self {
        Self {
            finder: Finder::default(),
            sums: Vec::new(),
            v1: vec![0.0; side],
            v2: vec![0.0; side],
            cells: vec![0; side],
        }
    }

    /// Begins a map, whose thresholds have the unit `scale`.
    pub fn begin(&mut self, thresholds: &Thresholds, scale: f64) {
        let edges = thresholds.edges();
        // The products as LensTools takes them: 2 nu s / 2 is nu s to the bit, so edges and
        // mid-points of any width are in order.
        let points = (0..2 * edges.len() - 1).map(|i| match i % 2 {
            0 => edges[i / 2] * scale,
            _ => (edges[i / 2] + edges[i / 2 + 1]) * scale / 2.0,
        });
        self.finder.set(points);
        self.sums.clear();
        self.sums.resize(self.finder.most() + 1, [[0.0; 4]; TURNS]);
    }

    /// Adds a row of pixels.
    pub fn add(&mut self, row: &[f64], of: &RowDerivatives) {
        let n = row.len();
        let (v1, v2) = (&mut self.v1[..n], &mut self.v2[..n]);
        let squared = &of.gradient_squared[..n];
        for (v1, squared) in v1.iter_mut().zip(squared) {
            *v1 = 0.25 * squared.sqrt();
        }
        let (gx, gy) = (&of.gx[..n], &of.gy[..n]);
        let (hxx, hyy, hxy) = (&of.hxx[..n], &of.hyy[..n], &of.hxy[..n]);
        for x in 0..n {
            let (gx, gy, hxx, hyy, hxy) = (gx[x], gy[x], hxx[x], hyy[x], hxy[x]);
            let curved = 2.0 * gx * gy * hxy - gx * gx * hyy - gy * gy * hxx;
            let flat = squared[x] == 0.0;
            let numerator = if flat { 2.0 * hxy - hxx - hyy } else { curved };
            let denominator = if flat { 2.0 } else { squared[x] };
            v2[x] = numerator / denominator / (2.0 * PI);
        }
        let cells = &mut self.cells[..n];
        for (cell, &value) in cells.iter_mut().zip(row) {
            *cell = self.finder.cell(value);
        }
        for x in 0..n {
            let interval = self.finder.count_in(cells[x], row[x]);
            let sums = &mut self.sums[interval][x % TURNS];
            sums[0] += 1.0;
            sums[1] += v1[x];
            sums[2] += v2[x];
        }
    }

    /// Writes V0, V1 and V2 `[bins]` each of a map of `pixels`.
    pub fn finish(&self, thresholds: &Thresholds, pixels: f64, out: [&mut [f64]; 3]) {
        let [v0, v1, v2] = out;
        let of = |interval: usize, which: usize| -> f64 {
            self.sums[interval].iter().map(|sums| sums[which]).sum()
        };
        let mut above = of(2 * thresholds.bins() + 1, 0);
        for (bin, edges) in thresholds.edges().windows(2).enumerate().rev() {
            // Interval 2 bin + 1 is from the edge to the mid-point, the next from there on.
            above += of(2 * bin + 2, 0);
            v0[bin] = above / pixels;
            above += of(2 * bin + 1, 0);
            let area = pixels * (edges[1] - edges[0]);
            v1[bin] = (of(2 * bin + 1, 1) + of(2 * bin + 2, 1)) / area;
            v2[bin] = (of(2 * bin + 1, 2) + of(2 * bin + 2, 2)) / area;
        }
    }
}

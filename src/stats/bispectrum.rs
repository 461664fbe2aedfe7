//! The bispectrum of convergence maps in one configuration of triangles, as LensTools'
//! `ConvergenceMap.bispectrum` computes it, rules of rounding and all.
//!
//! The modes of a discrete map hold no exactly equilateral triangle: LensTools turns the first leg
//! by 120 degrees and cuts the components of the second to whole numbers; the third closes the
//! triangle. Cut to 0, the second leg is the mean of the map.

use rustfft::num_complex::Complex;

use super::StatsError;
use super::edges::{check_edges, midpoints};
use super::power_spectrum::fundamental;

/// Which triangles are averaged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Triangles {
    /// Three equal sides; l is the side.
    Equilateral,
    /// The second leg is minus `ratio` (between 0 and 1) times the first, which is the base; l is
    /// the base.
    Folded { ratio: f64 },
}

/// A binned bispectrum estimator for maps `[pixels, pixels]` of `angle_deg` degrees a side.
///
/// B_k = (angle in radians)^4 / N^6 * mean of Re(F1 F2 F3) over the triangles whose first leg is a
/// stored mode with `edge[k] < l <= edge[k+1]`; modes with l >= the last edge are left out
/// (LensTools 1.2, `extern/azimuth.c`). The unit is steradian^2. A bin without triangles is NaN.
#[derive(Clone, Debug)]
pub struct Bispectrum {
    l_edges: Vec<f64>,
    legs: Vec<Legs>,
    /// The first triangle of each bin, and one more entry.
    first: Vec<usize>,
    normalisation: f64,
}

/// Places of three modes in the transposed half plane; in the highest bit whether the mode enters as
/// its conjugate.
#[derive(Clone, Copy, Debug)]
struct Legs([u32; 3]);

const CONJUGATE: u32 = 1 << 31;

/// The largest maps: places of their modes leave the highest bit of 32 free.
const MOST_PIXELS: usize = 32_768;

impl Bispectrum {
    /// An estimator with `l_edges.len() - 1` bins; edges are multipoles.
    ///
    /// # Errors
    /// Maps below 4 or above 32,768 pixels, an angle that is not positive and finite, edges that do
    /// not increase, a ratio that is not between 0 and 1.
    pub fn new(
        pixels: usize,
        angle_deg: f64,
        l_edges: &[f64],
        triangles: Triangles,
    ) -> Result<Self, StatsError> {
        if pixels < 4 {
            return Err(StatsError::TooSmall(pixels));
        }
        if pixels > MOST_PIXELS {
            return Err(StatsError::TooLarge(pixels));
        }
        let l_pixel = fundamental(angle_deg)?;
        check_edges(l_edges)?;
        if let Triangles::Folded { ratio } = triangles
            && !(ratio > 0.0 && ratio < 1.0)
        {
            return Err(StatsError::Ratio(ratio));
        }
        let last = l_edges.len() - 1;
        let mut of_bin = vec![Vec::new(); last];
        // In LensTools' order, so that sums round alike.
        for i in 0..pixels {
            for j in 0..=pixels / 2 {
                let kx = signed(i, pixels);
                let ky = j as i64;
                let l = ((kx * kx + ky * ky) as f64).sqrt() * l_pixel;
                let below = l_edges.partition_point(|&edge| edge < l);
                if l >= l_edges[last] || below == 0 {
                    continue;
                }
                if let Some(legs) = triangle(pixels, [kx, ky], triangles) {
                    of_bin[below - 1].push(legs);
                }
            }
        }
        let mut first = vec![0];
        first.extend(of_bin.iter().scan(0, |sum, bin: &Vec<Legs>| {
            *sum += bin.len();
            Some(*sum)
        }));
        Ok(Self {
            l_edges: l_edges.to_vec(),
            legs: of_bin.concat(),
            first,
            normalisation: angle_deg.to_radians().powi(4) / (pixels as f64).powi(6),
        })
    }

    /// Number of bins.
    pub fn bins(&self) -> usize {
        self.first.len() - 1
    }

    /// The edges of the bins (multipoles).
    pub fn l_edges(&self) -> &[f64] {
        &self.l_edges
    }

    /// Abscissae as LensTools returns them: the mid-points of the edges.
    pub fn l(&self) -> Vec<f64> {
        midpoints(&self.l_edges)
    }

    /// Triangles in each bin; 0 marks an empty bin.
    pub fn triangle_counts(&self) -> Vec<usize> {
        self.first
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .collect()
    }

    /// Of a map's modes `[N/2+1, N]`, transposed; `out` `[bins]`.
    pub(super) fn of_modes(&self, modes: &[Complex<f64>], out: &mut [f64]) {
        for (out, range) in out.iter_mut().zip(self.first.windows(2)) {
            let legs = &self.legs[range[0]..range[1]];
            let product = |&Legs(places): &Legs| {
                let [a, b, c] = places.map(|place| {
                    let mode = modes[(place & !CONJUGATE) as usize];
                    let sign = if place & CONJUGATE == 0 { 1.0 } else { -1.0 };
                    (mode.re, sign * mode.im)
                });
                a.0 * b.0 * c.0 - a.0 * b.1 * c.1 - a.1 * b.0 * c.1 - a.1 * b.1 * c.0
            };
            let sum: f64 = legs.iter().map(product).sum();
            // No triangle: 0/0 is the NaN of an empty bin.
            *out = self.normalisation * sum / legs.len() as f64;
        }
    }
}

/// The wave number of row `i`.
fn signed(i: usize, pixels: usize) -> i64 {
    let (i, n) = (i as i64, pixels as i64);
    if i < n / 2 { i } else { i - n }
}

/// The triangle whose first leg is the stored mode `first`, if it is in the plane.
fn triangle(pixels: usize, first: [i64; 2], triangles: Triangles) -> Option<Legs> {
    const SIN: f64 = 0.866_025_403_784_438_6;
    const COS: f64 = -0.5;
    const TAN: f64 = -1.732_050_807_568_877_2;
    let (kx, ky) = (first[0] as f64, first[1] as f64);
    let second = match triangles {
        // Turned by 120 degrees these are in the other half plane.
        Triangles::Equilateral if kx < 0.0 && ky < kx * TAN => return None,
        Triangles::Equilateral => [
            (COS * kx - SIN * ky).trunc() as i64,
            (SIN * kx + COS * ky).trunc() as i64,
        ],
        Triangles::Folded { ratio } => [kx, ky].map(|k| -((ratio * k).trunc() as i64)),
    };
    let third = [0, 1].map(|axis| -first[axis] - second[axis]);
    Some(Legs([
        place(pixels, first)?,
        place(pixels, second)?,
        place(pixels, third)?,
    ]))
}

/// Where a mode is stored, or its conjugate if that is.
fn place(pixels: usize, [kx, ky]: [i64; 2]) -> Option<u32> {
    let (n, stored) = (pixels as i64, pixels as i64 / 2 + 1);
    let (kx, ky, bit) = if ky < 0 {
        (-kx, -ky, CONJUGATE)
    } else {
        (kx, ky, 0)
    };
    if ky >= stored || kx.abs() >= stored {
        return None;
    }
    let row = if kx < 0 { kx + n } else { kx };
    Some((ky * n + row) as u32 | bit)
}

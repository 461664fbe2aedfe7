//! Peaks: pixels that are strictly greater than their 8 periodic neighbours, as LensTools'
//! `ConvergenceMap.peakCount` and `locatePeaks` find them.
//!
//! LensTools narrows the centre to float32 before it compares (1.2, `extern/peaks.c`), and so does
//! this. Maps of float32 are not touched by it; in others a peak that stands above its neighbours by
//! less than float32 resolves may be lost or doubled.

use super::edges::Finder;
use super::padded::{PAD, PaddedMap};
use super::{StatsError, Thresholds};

/// A peak of a map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// Row of the pixel.
    pub row: usize,
    /// Column of the pixel.
    pub column: usize,
    /// Value of the pixel, in the units of the map.
    pub height: f64,
}

/// All peaks of the map `[pixels, pixels]`, row by row.
///
/// # Errors
/// A map of another size or below 3 pixels a side, a pixel that is not finite.
pub fn locate_peaks<T: Copy + Into<f64>>(
    map: &[T],
    pixels: usize,
) -> Result<Vec<Peak>, StatsError> {
    if pixels < 3 {
        return Err(StatsError::TooSmall(pixels));
    }
    let mut padded = PaddedMap::new(pixels);
    padded.fill(map)?;
    padded.continue_rows();
    let mut peaks = Vec::new();
    let mut finder = RowPeaks::new(pixels);
    for row in 0..pixels {
        let values = padded.row(row);
        finder.each(&padded, row, |column| {
            let height = values[column];
            peaks.push(Peak {
                row,
                column,
                height,
            });
        });
    }
    Ok(peaks)
}

/// Marks the peaks of a row.
#[derive(Clone, Debug)]
struct RowPeaks {
    highest: Vec<f64>,
    is_peak: Vec<u8>,
}

impl RowPeaks {
    fn new(side: usize) -> Self {
        Self {
            highest: vec![0.0; side],
            is_peak: vec![0; side],
        }
    }

    /// Calls `found` with the column of each peak of row `y` of a continued map.
    fn each(&mut self, map: &PaddedMap, y: usize, mut found: impl FnMut(usize)) {
        let n = self.highest.len();
        let larger = |a: f64, b: f64| if a > b { a } else { b };
        let middle = map.continued(y, 0);
        let (above, below) = (map.continued(y, -1), map.continued(y, 1));
        let highest = &mut self.highest[..n];
        let (left, right) = (&middle[PAD - 1..][..n], &middle[PAD + 1..][..n]);
        for x in 0..n {
            highest[x] = larger(left[x], right[x]);
        }
        for row in [above, below] {
            let (left, here, right) =
                (&row[PAD - 1..][..n], &row[PAD..][..n], &row[PAD + 1..][..n]);
            for x in 0..n {
                highest[x] = larger(highest[x], larger(larger(left[x], right[x]), here[x]));
            }
        }
        let centres = &middle[PAD..][..n];
        let marks = &mut self.is_peak[..n];
        for x in 0..n {
            marks[x] = u8::from(f64::from(centres[x] as f32) > highest[x]);
        }
        // Most pixels are none: eight are passed over at a time.
        let (chunks, rest) = marks.as_chunks::<8>();
        for (chunk, marks) in chunks.iter().enumerate() {
            let mut left = u64::from_le_bytes(*marks);
            while left != 0 {
                let bit = left.trailing_zeros() as usize;
                found(8 * chunk + bit / 8);
                left &= left - 1;
            }
        }
        let first = n - rest.len();
        for (x, _) in rest.iter().enumerate().filter(|(_, mark)| **mark != 0) {
            found(first + x);
        }
    }
}

/// Working memory of the peak counts of one map: count / (nu_{i+1} - nu_i) of the peaks with
/// nu_i s <= m < nu_{i+1} s.
#[derive(Clone, Debug)]
pub(super) struct PeakCount {
    finder: Finder,
    counts: Vec<u32>,
    peaks: RowPeaks,
}

impl PeakCount {
    pub fn new(side: usize) -> Self {
        Self {
            finder: Finder::default(),
            counts: Vec::new(),
            peaks: RowPeaks::new(side),
        }
    }

    /// Begins a map, whose thresholds have the unit `scale`.
    pub fn begin(&mut self, thresholds: &Thresholds, scale: f64) {
        let edges = thresholds.edges().iter();
        self.finder.set(edges.map(|edge| edge * scale));
        self.counts.clear();
        self.counts.resize(self.finder.most() + 1, 0);
    }

    /// Adds the peaks of row `y` of a continued map.
    pub fn add(&mut self, map: &PaddedMap, y: usize) {
        let row = map.row(y);
        let (finder, counts) = (&self.finder, &mut self.counts);
        self.peaks
            .each(map, y, |x| counts[finder.count(row[x])] += 1);
    }

    /// Writes the counts `[bins]` over the widths of the bins, which are in units of the thresholds.
    pub fn finish(&self, thresholds: &Thresholds, out: &mut [f64]) {
        let edges = thresholds.edges().windows(2);
        for ((out, edges), &count) in out.iter_mut().zip(edges).zip(&self.counts[1..]) {
            *out = f64::from(count) / (edges[1] - edges[0]);
        }
    }
}

//! What is to be measured of each map, and in which bins.

use super::{ShapeNoise, StatsError, Thresholds, Unit};

/// A statistic of a map. `name` is that of its array in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Statistic {
    PowerSpectrum,
    MinkowskiV0,
    MinkowskiV1,
    MinkowskiV2,
    PeakCount,
    Pdf,
    Moments,
    BispectrumEquilateral,
    BispectrumFolded,
}

impl Statistic {
    /// All of them, in the order in which a map's numbers stand.
    pub const ALL: [Self; 9] = [
        Self::PowerSpectrum,
        Self::MinkowskiV0,
        Self::MinkowskiV1,
        Self::MinkowskiV2,
        Self::PeakCount,
        Self::Pdf,
        Self::Moments,
        Self::BispectrumEquilateral,
        Self::BispectrumFolded,
    ];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::PowerSpectrum => "power_spectrum",
            Self::MinkowskiV0 => "minkowski_v0",
            Self::MinkowskiV1 => "minkowski_v1",
            Self::MinkowskiV2 => "minkowski_v2",
            Self::PeakCount => "peak_count",
            Self::Pdf => "pdf",
            Self::Moments => "moments",
            Self::BispectrumEquilateral => "bispectrum_equilateral",
            Self::BispectrumFolded => "bispectrum_folded",
        }
    }
}

/// What a [`MapStatistics`](super::MapStatistics) measures; what is `None` (or `false`) is left out.
#[derive(Clone, Debug, PartialEq)]
pub struct StatisticsPlan {
    /// Pixels along the side of a map.
    pub pixels: usize,
    /// Side of a map, degrees.
    pub angle_deg: f64,
    /// Edges (multipoles) of the power spectrum's bins.
    pub power_spectrum: Option<Vec<f64>>,
    /// Thresholds of the Minkowski functionals.
    pub minkowski: Option<Thresholds>,
    /// Thresholds of the peak counts.
    pub peak_count: Option<Thresholds>,
    /// Edges of the pixel distribution.
    pub pdf: Option<Thresholds>,
    /// Whether the nine moments are measured (neither connected nor dimensionless).
    pub moments: bool,
    /// Edges (multipoles) of the equilateral bispectrum's bins.
    pub bispectrum_equilateral: Option<Vec<f64>>,
    /// Edges (multipoles) and ratio of the folded bispectrum's bins.
    pub bispectrum_folded: Option<(Vec<f64>, f64)>,
    /// Noise that is added to each map, before it is smoothed.
    pub shape_noise: Option<ShapeNoise>,
    /// Standard deviation (arc minutes) of the Gaussian that each map is smoothed with, periodically.
    pub smooth_arcmin: Option<f64>,
}

impl StatisticsPlan {
    /// LensTools' own ratio of folded triangles.
    pub const USUAL_RATIO: f64 = 0.5;

    /// Nothing, of maps `[pixels, pixels]` of `angle_deg` degrees a side.
    pub fn nothing(pixels: usize, angle_deg: f64) -> Self {
        Self {
            pixels,
            angle_deg,
            power_spectrum: None,
            minkowski: None,
            peak_count: None,
            pdf: None,
            moments: false,
            bispectrum_equilateral: None,
            bispectrum_folded: None,
            shape_noise: None,
            smooth_arcmin: None,
        }
    }

    /// Thresholds of the functionals, else of the peaks, else of the pixels.
    pub fn any_thresholds(&self) -> Option<&Thresholds> {
        let first = self.minkowski.as_ref().or(self.peak_count.as_ref());
        first.or(self.pdf.as_ref())
    }

    /// Everything, spectra in the bins `l_edges` and the rest at the same thresholds.
    ///
    /// # Errors
    /// As [`Thresholds::new`].
    pub fn everything(
        pixels: usize,
        angle_deg: f64,
        l_edges: &[f64],
        threshold_edges: &[f64],
        unit: Unit,
    ) -> Result<Self, StatsError> {
        let thresholds = Thresholds::new(threshold_edges, unit)?;
        Ok(Self {
            power_spectrum: Some(l_edges.to_vec()),
            minkowski: Some(thresholds.clone()),
            peak_count: Some(thresholds.clone()),
            pdf: Some(thresholds),
            moments: true,
            bispectrum_equilateral: Some(l_edges.to_vec()),
            bispectrum_folded: Some((l_edges.to_vec(), Self::USUAL_RATIO)),
            ..Self::nothing(pixels, angle_deg)
        })
    }
}

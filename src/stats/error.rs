//! What can be wrong with the input of a statistic.

/// A statistic cannot be computed from what it was given.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StatsError {
    /// A map, or a set of maps, has the wrong number of pixels.
    #[error("{got} pixels are not a whole number (at least one) of maps of {pixels} x {pixels}")]
    Shape {
        /// Pixels found.
        got: usize,
        /// Pixels along the side of one map.
        pixels: usize,
    },
    /// Maps too small to have a statistic.
    #[error("maps of {0} pixels a side are too small for this statistic")]
    TooSmall(usize),
    /// Maps too large for a bispectrum.
    #[error("maps of {0} pixels a side are too large for a bispectrum: at most 32768 will do")]
    TooLarge(usize),
    /// The side of a map is not a positive, finite angle.
    #[error("the side of a map is {0} degrees: it should be positive and finite")]
    Angle(f64),
    /// Bin edges are not finite and strictly increasing, or there are fewer than two.
    #[error("bin edges should be at least two finite, strictly increasing numbers")]
    Edges,
    /// The common unit of thresholds is not a positive, finite number.
    #[error("a standard deviation of {0} cannot be a unit: it should be positive and finite")]
    Sigma(f64),
    /// A folded bispectrum's ratio of sides is out of range.
    #[error("the ratio of the sides of folded triangles is {0}: it should be between 0 and 1")]
    Ratio(f64),
    /// A smoothing scale out of range.
    #[error(
        "a smoothing scale of {arcmin} arcmin is unusable: it should be above 0 and below the \
         side of the map, {side_arcmin} arcmin"
    )]
    Smoothing {
        /// Standard deviation of the Gaussian, arc minutes.
        arcmin: f64,
        /// Side of the map, arc minutes.
        side_arcmin: f64,
    },
    /// Shape noise without a usable strength.
    #[error(
        "shape noise of {n_gal} galaxies per square arc minute and an rms ellipticity of \
         {sigma_e} is unusable: both should be positive and finite"
    )]
    ShapeNoise {
        /// Galaxies per square arc minute.
        n_gal: f64,
        /// Rms ellipticity.
        sigma_e: f64,
    },
    /// All pixels of a map are equal.
    #[error("all pixels of map {map} are {value}: a constant map has no statistics")]
    Constant {
        /// Index of the map in the set.
        map: usize,
        /// The value of its pixels.
        value: f64,
    },
    /// A result slice has the wrong length.
    #[error("the result slice has {got} elements for {bins} bins")]
    OutputLength {
        /// Elements of the slice.
        got: usize,
        /// Bins of the statistic.
        bins: usize,
    },
    /// A pixel is NaN or infinite.
    #[error("pixel {pixel} of map {map} is {value}: every pixel should be finite")]
    NotFinite {
        /// Index of the map in the set.
        map: usize,
        /// Index of the pixel in its map, row-major.
        pixel: usize,
        /// The value found.
        value: f64,
    },
    /// A sample of a two-sample test contains a NaN.
    #[error("element {0} of a sample is NaN")]
    Nan(usize),
    /// A sample, or a set of maps, is empty.
    #[error("a sample is empty")]
    Empty,
    /// The reference maps have no power in a bin, so nothing can be compared with them there.
    #[error("the reference maps have no power at {from:.0} < l <= {to:.0}: are they constant?")]
    NoPower {
        /// Lower edge of the bin (multipole).
        from: f64,
        /// Upper edge of the bin (multipole).
        to: f64,
    },
    /// Too few maps, samples or values for a statistic.
    #[error("{got} {what} are too few: at least {needed} are needed")]
    TooFew {
        /// What there is too little of.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many there should be.
        needed: usize,
    },
    /// All values of a test are equal, so that there is nothing to test.
    #[error("all values of the samples are equal: there is nothing to test")]
    AllEqual,
    /// Two lists that belong together differ in length.
    #[error("{what}: {got} where there should be {expected}")]
    Length {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A feature is NaN or infinite in some maps but not in all: no empty bin, but a fault.
    #[error("feature {bin} of map {map} is {value}: a bin is finite in every map, or NaN in all")]
    Feature {
        /// Index of the map, real ones before generated ones.
        map: usize,
        /// Index of the feature (bin).
        bin: usize,
        /// The value found.
        value: f64,
    },
    /// No parent of one sample is as large as one of the other, so that nothing can be permuted.
    #[error(
        "no parent of the one sample has as many maps as one of the other: labels cannot be \
         permuted. Group generated maps in blocks of as many maps as real parents have crops"
    )]
    NotExchangeable,
    /// The resampling was asked for no repeats.
    #[error("the number of {0} should be at least 1")]
    NoRepeats(&'static str),
}

impl StatsError {
    /// The error as it is told of a piece of a set that begins at map `first`.
    pub(super) fn of_map(mut self, first: usize) -> Self {
        if let Self::NotFinite { map, .. } | Self::Constant { map, .. } = &mut self {
            *map += first;
        }
        self
    }
}

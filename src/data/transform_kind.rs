//! The names of the transforms, as a user types them in a configuration or on the command line.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The kind of a [`Transform`](super::Transform), before it has numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransformKind {
    None,
    Linear,
    Rational,
    Log,
}

impl TransformKind {
    /// For convergence maps whose user named none.
    ///
    /// The maximum of kappa is 20 sigma: a linear scale that holds it leaves the bulk of pixels
    /// within 5% of the generator's range, and one that clips it cuts off peaks, which are what
    /// non-Gaussian statistics count. With width = max(4 sigma, 1.25 |min|) the logarithm is
    /// nearly linear for the bulk and bends for peaks only.
    pub const DEFAULT: Self = Self::Log;
}

impl FromStr for TransformKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "none" => Ok(Self::None),
            "linear" => Ok(Self::Linear),
            "rational" => Ok(Self::Rational),
            "log" => Ok(Self::Log),
            other => Err(format!(
                "transform is {other:?}; it must be none, linear, rational or log"
            )),
        }
    }
}

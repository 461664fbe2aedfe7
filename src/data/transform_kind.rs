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

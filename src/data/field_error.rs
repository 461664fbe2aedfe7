//! Fields that cannot be made.

/// Each names the parameter and what would be right.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    #[error("{field} is {value}; it must be {accepted}")]
    OutOfRange {
        field: &'static str,
        value: f64,
        accepted: &'static str,
    },
    #[error(
        "the power spectrum is {power} at l = {l}; at every l of the map it must be finite, not \
         negative, and small enough for 32-bit maps"
    )]
    Power { l: f64, power: f64 },
    #[error(
        "shift is {shift}: no lognormal field of so small a shift has this power spectrum on this \
         patch; give at least {least:.2e}, or make Gaussian maps"
    )]
    Shift { shift: f64, least: f64 },
    #[error(
        "shift is {shift}: lognormal fields of so small a shift miss this power spectrum by \
         {percent:.0}%; give a larger one, or make Gaussian maps"
    )]
    PowerError { shift: f64, percent: f64 },
}

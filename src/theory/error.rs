//! What the theory refuses.

/// Input without meaning or beyond what the fitting formulas were made for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TheoryError {
    #[error("{field} is {value}; it must be {accepted}")]
    OutOfRange {
        field: &'static str,
        value: f64,
        accepted: &'static str,
    },
    #[error("a table of C_l needs at least 2 points, not {0}")]
    ShortTable(usize),
    #[error(
        "point {index} of the table of C_l is l = {l}, C_l = {power}; both must be positive and \
         finite, and l must increase"
    )]
    Table { index: usize, l: f64, power: f64 },
}

/// `Ok` where `value` is in `range`, which NaN never is.
pub(super) fn check(
    field: &'static str,
    value: f64,
    range: std::ops::RangeInclusive<f64>,
    accepted: &'static str,
) -> Result<(), TheoryError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(TheoryError::OutOfRange {
        field,
        value,
        accepted,
    })
}

//! Kernels timed on a device: marks around one launch at a time, caches emptied before each.

use super::Case;
use crate::backend::gpu::driver::{Driver, DriverError, TIMED};
use crate::backend::gpu::launcher::Launcher;
use crate::backend::gpu::ops::elementwise::fill;

/// Launches before those that count.
const WARM_UP: usize = 2;

/// Seconds of each of `repeats` launches of `case`.
///
/// # Errors
/// A driver that does not tell the time, too little memory, or a failing device.
pub fn time<D: Driver>(
    l: &mut Launcher<D>,
    case: &Case,
    repeats: usize,
) -> Result<Vec<f64>, DriverError> {
    let placed = case.place(l, case.batch)?;
    let seconds = cold(l, repeats, |l| {
        case.launch(l, &placed);
        l.check()
    });
    placed.free(l)?;
    seconds
}

/// Seconds of each of `repeats` launches, after some that do not count. Before each launch twice as much is written
/// as the second-level cache holds.
///
/// # Errors
/// As [`time`], and whatever a launch says.
pub fn cold<D: Driver>(
    l: &mut Launcher<D>,
    repeats: usize,
    mut launch: impl FnMut(&mut Launcher<D>) -> Result<(), DriverError>,
) -> Result<Vec<f64>, DriverError> {
    let bytes = (2 * l.driver.info().cache as usize).max(1024);
    let flushed = l.driver.allocate("what empties the caches", bytes)?;
    let mut once = |l: &mut Launcher<D>| {
        fill(l, flushed.address, bytes / 4, 0.5);
        l.check()?;
        l.driver.record(TIMED[0])?;
        launch(l)?;
        l.driver.record(TIMED[1])?;
        l.driver.elapsed(TIMED)
    };
    let mut seconds = Vec::with_capacity(repeats);
    let mut result = Ok(());
    for repeat in 0..WARM_UP + repeats {
        match once(l) {
            Ok(time) if repeat >= WARM_UP => seconds.push(time),
            Ok(_) => {}
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    let freed = l.driver.free(flushed);
    result.and(freed).map(|()| seconds)
}

/// The median of some values.
///
/// # Panics
/// If there are none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted[middle],
        _ => 0.5 * (sorted[middle - 1] + sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_those_of_sorted_values() {
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[9.0, 4.0, 1.0, 2.0]), 3.0);
    }
}

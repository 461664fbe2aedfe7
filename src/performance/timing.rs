//! Kernels timed on a device: marks around one launch at a time, caches emptied before each.

use super::Case;
use super::kernels::{ConvOperation, write_normals};
use crate::backend::gpu::driver::{Driver, DriverError, Gemm, Pointer, TIMED};
use crate::backend::gpu::launcher::Launcher;
use crate::backend::gpu::ops::elementwise::fill;

/// Launches before those that count.
const WARM_UP: usize = 2;

/// The median of some times.
pub fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted[middle],
        _ => 0.5 * (sorted[middle - 1] + sorted[middle]),
    }
}

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

/// Seconds of the vendor's f32 product with as many operations as `case`: the matrix that an implicit
/// product makes on its way lies in memory here.
///
/// # Errors
/// As [`time`]; there is no such library, or no memory for the matrix.
pub fn time_vendor<D: Driver>(
    l: &mut Launcher<D>,
    case: &Case,
    repeats: usize,
) -> Result<Vec<f64>, DriverError> {
    l.driver.open_gemm()?;
    let layer = &case.layer;
    let pixels = case.batch * layer.small * layer.small;
    let taps = 25;
    let (m, n, k) = match case.operation {
        ConvOperation::Fprop => (pixels, layer.c_small, taps * layer.c_big),
        ConvOperation::Dgrad => (pixels, taps * layer.c_big, layer.c_small),
        ConvOperation::Wgrad => (taps * layer.c_big, layer.c_small, pixels),
    };
    let mut tensors = Vec::new();
    let mut tensor = |l: &mut Launcher<D>, len: usize| -> Result<Pointer, DriverError> {
        let allocation = l.driver.allocate("a matrix", 4 * len)?;
        tensors.push(allocation);
        write_normals(l, allocation.address, len, false, 1)?;
        Ok(allocation.address)
    };
    let result = (|| {
        let (a, b, c) = (tensor(l, m * k)?, tensor(l, k * n)?, tensor(l, m * n)?);
        let call = Gemm {
            transpose_a: false,
            transpose_b: false,
            m,
            n,
            k,
            alpha: 1.0,
            beta: 0.0,
            a,
            b,
            c,
        };
        cold(l, repeats, |l| l.driver.gemm(&call))
    })();
    for allocation in tensors {
        l.driver.free(allocation)?;
    }
    result
}

/// Seconds of each of `repeats` calls of `launch`, after two to warm up. Before each one twice as much is written
/// as the second-level cache holds.
///
/// # Errors
/// As [`time`].
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_times_in_any_order() {
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 9.0, 2.0]), 3.0);
    }
}

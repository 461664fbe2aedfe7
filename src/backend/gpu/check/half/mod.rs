//! The checks of the operations of mixed precision, each against f64 over the inputs as rounded to
//! bf16.

pub mod few;
pub mod strided;
pub mod wgrad;

use super::Check;
use crate::backend::gpu::driver::Driver;

/// All of them.
pub fn checks<D: Driver>() -> Vec<Box<dyn Check<D>>> {
    let mut checks: Vec<Box<dyn Check<D>>> = Vec::new();
    for check in few::checks() {
        checks.push(Box::new(check));
    }
    for check in strided::checks() {
        checks.push(Box::new(check));
    }
    for check in wgrad::checks() {
        checks.push(Box::new(check));
    }
    checks
}

//! The checks of the operations of mixed precision, each against f64 over the inputs as rounded to
//! bf16.

mod block;
pub mod dense;
pub mod few;
pub mod norm;
pub mod pack;
pub mod strided;
pub mod wgrad;

use super::Check;
use crate::backend::gpu::driver::Driver;

/// All of them.
pub fn checks<D: Driver>() -> Vec<Box<dyn Check<D>>> {
    let mut checks: Vec<Box<dyn Check<D>>> = Vec::new();
    for check in pack::checks() {
        checks.push(Box::new(check));
    }
    for check in few::checks() {
        checks.push(Box::new(check));
    }
    for check in strided::checks() {
        checks.push(Box::new(check));
    }
    for check in wgrad::checks() {
        checks.push(Box::new(check));
    }
    for check in dense::checks() {
        checks.push(Box::new(check));
    }
    for check in norm::checks() {
        checks.push(Box::new(check));
    }
    checks
}

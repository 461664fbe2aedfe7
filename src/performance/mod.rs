//! What the kernels and a training step do, counted on the emulator, and what follows for named GPUs.
//!
//! Counts are exact and the same on every machine: operations, bytes, passes over shared memory. From
//! them and from datasheets follow bounds ([`bound`]): the least time that a GPU could take. A bound is
//! not a measurement. `cosmogan bench kernels`, `account` and `report` show all of this.

pub mod account;
pub mod bound;
pub mod ceilings;
pub mod counts;
pub mod cpu;
pub mod kernel_count;
pub mod kernels;
pub mod ladder;
pub mod measured;
pub mod outline;
pub mod peers;
pub mod prepared;
pub mod regression;
pub mod report;
pub mod step;
pub mod step_times;
pub mod tables;
mod tensors;
pub mod timing;

pub use bound::{Bound, Limit, bound};
pub use ceilings::{GPUS, GpuModel};
pub use counts::Counts;
pub use kernel_count::KernelCount;
pub use kernels::{Case, ConvOperation};
pub use step::{StepCount, StepLaunch, count_step};

#![no_main]
//! Files that are called checkpoints.

use libfuzzer_sys::fuzz_target;

#[path = "../../common/hostile.rs"]
mod hostile;

fuzz_target!(|bytes: &[u8]| hostile::checkpoint(bytes));

#![no_main]
//! Configurations.

use libfuzzer_sys::fuzz_target;

#[path = "../../common/hostile.rs"]
mod hostile;

fuzz_target!(|bytes: &[u8]| hostile::config(bytes));

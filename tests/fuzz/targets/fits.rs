#![no_main]
//! Files that are called `.fits`.

use libfuzzer_sys::fuzz_target;

#[path = "../../common/hostile.rs"]
mod hostile;

fuzz_target!(|bytes: &[u8]| hostile::map_file("maps.fits", bytes));

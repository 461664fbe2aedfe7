#![no_main]
//! Texts that are called PTX.

use cosmogan::emulator::Schedule;
use libfuzzer_sys::fuzz_target;

#[path = "../../common/hostile.rs"]
mod hostile;

fuzz_target!(|text: &str| hostile::ptx(text, Schedule::Latest));

//! What a choice of device comes to on this machine.

use cosmogan::train::DeviceChoice;

/// The device that serves, and why, for the first line of output.
pub fn describe(choice: DeviceChoice) -> String {
    let threads = rayon::current_num_threads();
    let why = match choice {
        DeviceChoice::Auto => "auto: this version has no CUDA engine",
        DeviceChoice::Cpu => "as asked",
    };
    let threads = match threads {
        1 => "1 thread".to_owned(),
        threads => format!("{threads} threads"),
    };
    format!("CPU, {threads} ({why})")
}

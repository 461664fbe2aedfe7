//! What can go wrong before or around a launch. What goes wrong inside a kernel is a
//! [`Finding`](super::Finding).

use thiserror::Error;

/// Why PTX was refused, a buffer could not be had, or a launch could not begin.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EmulatorError {
    /// PTX that is malformed, or that uses what the emulator does not know.
    #[error("{file}:{line}: {message}")]
    Ptx {
        file: String,
        line: u32,
        message: String,
    },
    /// A module was made for another device.
    #[error("{file} is for {target}, which a device of profile {profile} does not run")]
    Target {
        file: String,
        target: String,
        profile: &'static str,
    },
    #[error("{file} has no kernel '{name}'; it has {available}")]
    NoSuchKernel {
        file: String,
        name: String,
        available: String,
    },
    #[error("{file} has no variable '{name}' in global or constant memory; it has {available}")]
    NoSuchVariable {
        file: String,
        name: String,
        available: String,
    },
    #[error("{what} was given to a device that did not make it, or after it was freed")]
    Stale { what: &'static str },
    #[error("buffer '{name}' cannot hold {bytes} bytes: {reason}")]
    Allocation {
        name: String,
        bytes: usize,
        reason: String,
    },
    #[error(
        "bytes {start}..{end} were asked of buffer '{name}', which holds {size} bytes", end = start.saturating_add(*len)
    )]
    Range {
        name: String,
        start: usize,
        len: usize,
        size: usize,
    },
    /// The arguments of a launch do not fit the kernel's parameters.
    #[error("kernel '{kernel}': {message}")]
    Arguments { kernel: String, message: String },
    /// A launch that the device profile does not allow.
    #[error("kernel '{kernel}' cannot be launched: {message}")]
    Launch { kernel: String, message: String },
}

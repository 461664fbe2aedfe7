//! The memories that a kernel sees. Global and constant memory ([`global`]) are the device's and
//! shared by all blocks; shared and local memory ([`block`]) belong to one block.
//!
//! Each memory has a window of addresses of its own, told apart by the upper half of an address,
//! so that a generic address names its memory and a wild one names none.

pub mod block;
pub mod global;

/// Upper halves of the addresses of shared and local memory and of kernel parameters; those of
/// global and constant buffers begin at [`global::FIRST_SLOT`].
pub const SHARED_WINDOW: u64 = 0x6001;
pub const LOCAL_WINDOW: u64 = 0x6002;
pub const PARAM_WINDOW: u64 = 0x6003;

/// The window of an address.
pub fn window(address: u64) -> u64 {
    address >> 32
}

/// The first address of a window.
pub fn window_base(window: u64) -> u64 {
    window << 32
}

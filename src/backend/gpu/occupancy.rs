//! How many blocks of a kernel a multiprocessor holds at a time, by the rules that NVIDIA publishes
//! (CUDA C++ Programming Guide, "Compute Capabilities"; the Occupancy Calculator of the toolkit).
//!
//! What a kernel takes comes from [`super::ptx::resources`].

use super::ptx::Resources;

/// What a multiprocessor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multiprocessor {
    pub warps: u32,
    pub blocks: u32,
    /// 32-bit registers.
    pub registers: u32,
    /// Bytes of shared memory, and those of them that every block takes beside its own.
    pub shared_bytes: u32,
    pub reserved_bytes: u32,
}

/// Lanes of a warp.
const LANES: u32 = 32;

/// Registers are handed out to warps in pieces of so many.
const REGISTER_PIECE: u32 = 256;

/// Warps share the registers in four equal parts.
const PARTS: u32 = 4;

/// Shared memory is handed out to blocks in pieces of so many bytes.
const SHARED_PIECE: u32 = 128;

impl Multiprocessor {
    /// Of a device of this compute capability; of one that is not in the table, the latest before it.
    pub fn of(capability: (u32, u32)) -> Self {
        let of = |warps, blocks, shared_kib: u32, reserved_bytes| Self {
            warps,
            blocks,
            registers: 65_536,
            shared_bytes: shared_kib << 10,
            reserved_bytes,
        };
        match capability {
            (..8, _) => of(32, 16, 64, 0),
            (8, 0) => of(64, 32, 164, 1024),
            (8, 1..=6) => of(48, 16, 100, 1024),
            (8, 7..=8) => of(48, 16, 164, 1024),
            (8, _) => of(48, 24, 100, 1024),
            (9..=10, _) => of(64, 32, 228, 1024),
            _ => of(48, 24, 100, 1024),
        }
    }

    /// Blocks of `threads` threads that it holds at a time; 0 if none fits.
    pub fn resident_blocks(&self, kernel: Resources, threads: u32) -> u32 {
        let warps = threads.div_ceil(LANES).max(1);
        let registers = (kernel.registers * LANES).next_multiple_of(REGISTER_PIECE);
        // Each part holds whole warps.
        let by_registers = match registers {
            0 => u32::MAX,
            _ => self.registers / PARTS / registers * PARTS / warps,
        };
        let shared = (kernel.shared_bytes + self.reserved_bytes).next_multiple_of(SHARED_PIECE);
        let by_shared = self.shared_bytes.checked_div(shared).unwrap_or(u32::MAX);
        let by_warps = self.warps / warps;
        self.blocks.min(by_warps).min(by_registers).min(by_shared)
    }

    /// The share of its warps that `blocks` blocks of `threads` threads are.
    pub fn share(&self, blocks: u32, threads: u32) -> f64 {
        f64::from(blocks * threads.div_ceil(LANES)) / f64::from(self.warps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(capability: (u32, u32), registers: u32, shared_bytes: u32, threads: u32) -> u32 {
        let kernel = Resources {
            registers,
            shared_bytes,
        };
        Multiprocessor::of(capability).resident_blocks(kernel, threads)
    }

    const ALL: [(u32, u32); 6] = [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0)];

    fn everywhere(registers: u32, shared_bytes: u32, threads: u32) -> [u32; 6] {
        ALL.map(|capability| blocks(capability, registers, shared_bytes, threads))
    }

    #[test]
    fn a_small_kernel_is_limited_by_warps_or_blocks() {
        // 8 warps a block of 32, 64, 48, 48, 64 and 64.
        assert_eq!(everywhere(16, 0, 256), [4, 8, 6, 6, 8, 8]);
        // One warp a block: as many blocks as there may be.
        assert_eq!(everywhere(16, 0, 32), [16, 32, 16, 24, 32, 32]);
        assert_eq!(everywhere(16, 0, 1024), [1, 2, 1, 1, 2, 2]);
    }

    #[test]
    fn registers_are_handed_out_to_warps_in_pieces() {
        // 32 x 33 = 1056 registers become 1280: 65536 / 1280 = 51.2, in four parts 4 x 12 = 48 warps.
        assert_eq!(blocks((8, 0), 32, 0, 64), 32);
        assert_eq!(blocks((8, 0), 33, 0, 64), 24);
        // 40 registers are those 1280 as well, 41 are 1536: 4 x 10 warps.
        assert_eq!(blocks((8, 0), 40, 0, 64), 24);
        assert_eq!(blocks((8, 0), 41, 0, 64), 20);
        // 255 registers: 8192 a warp, 8 warps.
        assert_eq!(everywhere(255, 0, 128), [2; 6]);
        assert_eq!(everywhere(255, 0, 256), [1; 6]);
        // 3 warps a block: 8 warps hold 2 blocks, though 65536 / (3 x 8192) is 2.67.
        assert_eq!(blocks((9, 0), 255, 0, 96), 2);
        // 168 registers are 5376 a warp: each part holds 3 warps, so that 12 run, not 12.2.
        assert_eq!(blocks((9, 0), 168, 0, 384), 1);
        assert_eq!(blocks((9, 0), 169, 0, 384), 0);
    }

    #[test]
    fn each_block_takes_a_kibibyte_of_shared_memory_beside_its_own() {
        // 48 KiB: 64 KiB hold 1; with 49 KiB a block 164 hold 3, 100 hold 2 and 228 hold 4.
        assert_eq!(everywhere(32, 48 << 10, 128), [1, 3, 2, 2, 4, 4]);
        // 32 KiB: on compute capability 7.5 nothing is reserved.
        assert_eq!(everywhere(32, 32 << 10, 128), [2, 4, 3, 3, 6, 6]);
        // The most that a block may have leaves room for no other.
        assert_eq!(blocks((8, 0), 32, 163 << 10, 128), 1);
        assert_eq!(blocks((8, 6), 32, 99 << 10, 128), 1);
        assert_eq!(blocks((9, 0), 32, 227 << 10, 128), 1);
        assert_eq!(blocks((9, 0), 32, 228 << 10, 128), 0);
        // One byte more takes another piece of 128.
        assert_eq!(blocks((8, 6), 32, 49 << 10, 128), 2);
        assert_eq!(blocks((8, 6), 32, (49 << 10) + 1, 128), 1);
    }

    #[test]
    fn later_devices_are_like_the_latest_that_is_known() {
        let of = Multiprocessor::of;
        assert_eq!(of((7, 0)), of((7, 5)));
        assert_eq!(of((9, 1)), of((9, 0)));
        assert_eq!(of((10, 3)), of((10, 0)));
        assert_eq!(of((13, 0)), of((12, 0)));
        assert_ne!(of((8, 6)), of((8, 0)));
    }

    #[test]
    fn the_share_of_warps_follows_from_the_blocks() {
        let device = Multiprocessor::of((9, 0));
        assert_eq!(device.share(2, 128), 0.125);
        assert_eq!(device.share(2, 1024), 1.0);
    }
}

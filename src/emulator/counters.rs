//! What a launch did, in numbers that are the same on every run and for any number of threads.

use std::ops::AddAssign;

use serde::Serialize;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts of one launch. They follow PTX instructions, which are not machine instructions:
        /// compare sectors, bytes, tensor operations and barriers; take instruction counts as
        /// relative.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Names and values in the order of declaration.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }

        impl AddAssign for Counters {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters! {
    /// Blocks that ran.
    blocks,
    /// Instructions issued, one for all lanes of a warp.
    warp_instructions,
    /// Instructions times the lanes that they were issued for, whether or not their guard held.
    thread_instructions,
    /// Floating-point operations of ordinary arithmetic: an fma counts 2, packed halves twice.
    simt_flop,
    /// Floating-point operations of `mma`: 2 m n k each.
    tensor_flop,
    /// Loads from global memory, `cp.async` included, one for all lanes of a warp.
    global_load_requests,
    /// 32-byte sectors that the loads touched, each counted once a request.
    global_load_sectors,
    /// Bytes that the lanes asked for.
    global_load_bytes,
    /// Stores to global memory, one for all lanes of a warp.
    global_store_requests,
    global_store_sectors,
    global_store_bytes,
    /// Unique 32-byte sectors of the whole launch that were read.
    footprint_read_sectors,
    /// Unique 32-byte sectors of the whole launch that were written.
    footprint_written_sectors,
    /// Loads from shared memory, one for all lanes of a warp; `ldmatrix` counts one a matrix.
    shared_load_requests,
    /// Passes over the 32 banks that the loads take.
    shared_load_wavefronts,
    /// Passes that the same lanes take without bank conflicts: groups of 32, 16 or 8 lanes share
    /// one for up to 4, 8 or 16 bytes a lane.
    shared_load_ideal_wavefronts,
    shared_store_requests,
    shared_store_wavefronts,
    shared_store_ideal_wavefronts,
    /// Loads and stores of local memory, one for all lanes of a warp.
    local_requests,
    /// Barriers of a block, counted once a warp that arrives.
    barriers,
    /// Atomic operations on global memory, one a lane.
    global_atomics,
    /// Atomic operations on shared memory, one a lane.
    shared_atomics,
    /// Bytes that `cp.async` brought from global to shared memory.
    async_copy_bytes,
    /// Bytes that `cp.async` wrote to shared memory as zeros.
    async_zero_bytes,
}

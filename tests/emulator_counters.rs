//! The emulator's counters against numbers worked out by hand, on kernels that do one thing each
//! (`tests/emulator/counters.cu`). A warp has 32 lanes, a sector 32 bytes, shared memory 32 banks
//! of 4 bytes.

#[path = "emulator/cases/mod.rs"]
mod cases;

use cases::{Case, Value, float, int};
use cosmogan::emulator::Counters;

fn counters(case: &Case) -> Counters {
    let launch = case.launch.races();
    let outcome = case.run(&cases::ptx(case.file, "sm_80"), &launch).unwrap();
    assert_eq!(outcome.report.findings, [], "{}", case.title());
    assert_eq!(outcome.wrong, None, "{}", case.title());
    outcome.report.counters
}

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| i as f32).collect()
}

/// `y[i] = x[i stride]` for 256 threads: 8 warps.
fn gather(stride: usize) -> Counters {
    let x = numbers(255 * stride + 1);
    let y: Vec<f32> = (0..256).map(|i| x[i * stride]).collect();
    counters(
        &Case::new("counters", "gather", 2, 128)
            .input("x", &x)
            .output("y", &y)
            .arguments([int(stride as i32), Value::Of("x"), Value::Of("y")]),
    )
}

#[test]
fn loads_are_counted_in_requests_bytes_and_sectors() {
    // A warp's 32 words at a stride of s words span 32 s words. Stride 1: 128 bytes, 4 sectors.
    // Stride 2: 256 bytes, 8 sectors. Strides 32 and 33: lanes lie 128 and 132 bytes apart, each in
    // a sector of its own, 32 sectors. No sector is shared by two warps, so that the footprint is
    // the sum over the 8 warps.
    for (stride, sectors) in [(1, 4), (2, 8), (32, 32), (33, 32)] {
        let counted = gather(stride);
        assert_eq!(counted.global_load_requests, 8, "stride {stride}");
        assert_eq!(counted.global_load_bytes, 256 * 4, "stride {stride}");
        assert_eq!(counted.global_load_sectors, 8 * sectors, "stride {stride}");
        assert_eq!(
            counted.footprint_read_sectors,
            8 * sectors,
            "stride {stride}"
        );
        // The stores are contiguous whatever the stride: 4 sectors a warp.
        assert_eq!(counted.global_store_requests, 8, "stride {stride}");
        assert_eq!(counted.global_store_bytes, 256 * 4, "stride {stride}");
        assert_eq!(counted.global_store_sectors, 8 * 4, "stride {stride}");
        assert_eq!(counted.footprint_written_sectors, 8 * 4, "stride {stride}");
        assert_eq!(counted.blocks, 2);
    }
}

#[test]
fn a_load_that_straddles_sectors_touches_one_more() {
    // x begins one word into a sector: each warp's 128 bytes touch 5 sectors, the last of one warp
    // being the first of the next, so that the footprint is 256 words and one: 33 sectors.
    let x = numbers(257);
    let counted = counters(
        &Case::new("counters", "gather", 2, 128)
            .input("x", &x)
            .output("y", &x[1..])
            .arguments([int(1), Value::At("x", 4), Value::Of("y")]),
    );
    assert_eq!(counted.global_load_requests, 8);
    assert_eq!(counted.global_load_sectors, 8 * 5);
    assert_eq!(counted.footprint_read_sectors, 33);
}

#[test]
fn lanes_that_are_not_there_ask_for_nothing() {
    // 48 threads: a whole warp (4 sectors) and one of 16 lanes (64 bytes, 2 sectors).
    let x = numbers(48);
    let counted = counters(
        &Case::new("counters", "gather", 1, 48)
            .input("x", &x)
            .output("y", &x)
            .arguments([int(1), Value::Of("x"), Value::Of("y")]),
    );
    assert_eq!(counted.global_load_requests, 2);
    assert_eq!(counted.global_load_bytes, 48 * 4);
    assert_eq!(counted.global_load_sectors, 4 + 2);
}

#[test]
fn a_broadcast_is_one_sector_a_warp() {
    // 256 threads read one word: 8 requests of 1 sector, always the same one.
    let counted = counters(
        &Case::new("counters", "broadcast", 2, 128)
            .input("x", &[7.0f32])
            .output("y", &[7.0f32; 256])
            .arguments([Value::Of("x"), Value::Of("y")]),
    );
    assert_eq!(counted.global_load_requests, 8);
    assert_eq!(counted.global_load_bytes, 256 * 4);
    assert_eq!(counted.global_load_sectors, 8);
    assert_eq!(counted.footprint_read_sectors, 1);
}

#[test]
fn a_float4_a_lane_is_one_request_of_sixteen_sectors() {
    // 64 threads, 2 warps: 32 lanes of 16 bytes are 512 bytes, 16 sectors.
    let x = numbers(256);
    let counted = counters(
        &Case::new("counters", "copy_float4", 1, 64)
            .input("x", &x)
            .output("y", &x)
            .arguments([Value::Of("x"), Value::Of("y")]),
    );
    assert_eq!(counted.global_load_requests, 2);
    assert_eq!(counted.global_load_sectors, 2 * 16);
    assert_eq!(counted.global_load_bytes, 64 * 16);
    assert_eq!(counted.global_store_requests, 2);
    assert_eq!(counted.global_store_sectors, 2 * 16);
    assert_eq!(counted.global_store_bytes, 64 * 16);
}

#[test]
fn bank_conflicts_are_counted_as_wavefronts() {
    // Lane t uses word t s, bank t s mod 32. Stride 1 and 33: 32 banks, 1 pass. Stride 2: 16 banks,
    // 2 lanes each. Stride 16: banks 0 and 16, 16 lanes each. Stride 32: bank 0, 32 lanes.
    let lanes: Vec<u32> = (0..32).collect();
    for (stride, wavefronts) in [(1, 1), (2, 2), (16, 16), (32, 32), (33, 1)] {
        let counted = counters(
            &Case::new("counters", "shared_stride", 1, 32)
                .output("y", &lanes)
                .arguments([int(stride), Value::Of("y")]),
        );
        assert_eq!(counted.shared_store_requests, 1, "stride {stride}");
        assert_eq!(
            counted.shared_store_wavefronts, wavefronts,
            "stride {stride}"
        );
        assert_eq!(counted.shared_store_ideal_wavefronts, 1, "stride {stride}");
        assert_eq!(counted.shared_load_requests, 1, "stride {stride}");
        assert_eq!(
            counted.shared_load_wavefronts, wavefronts,
            "stride {stride}"
        );
        assert_eq!(counted.shared_load_ideal_wavefronts, 1, "stride {stride}");
        assert_eq!(counted.barriers, 1, "stride {stride}");
    }
}

#[test]
fn a_float4_a_lane_takes_four_wavefronts_without_conflict() {
    // 32 lanes of 16 bytes are 512 bytes; a pass moves 128.
    let y: Vec<f32> = (0..128).map(|i| (i / 4) as f32).collect();
    let counted = counters(
        &Case::new("counters", "shared_float4", 1, 32)
            .output("y", &y)
            .arguments([Value::Of("y")]),
    );
    assert_eq!(counted.shared_store_wavefronts, 4);
    assert_eq!(counted.shared_store_ideal_wavefronts, 4);
    assert_eq!(counted.shared_load_wavefronts, 4);
    assert_eq!(counted.shared_load_ideal_wavefronts, 4);
}

/// A transposition of 64 x 64 words: 4 blocks of 8 warps, each of which writes 4 rows of a tile and
/// reads 4 columns.
fn transposed(kernel: &'static str) -> Counters {
    let x: Vec<u32> = (0..4096).collect();
    let y: Vec<u32> = (0..4096).map(|i| i % 64 * 64 + i / 64).collect();
    counters(
        &Case::new("transpose", kernel, 0, 0)
            .shape([2, 2, 1], [32, 8, 1])
            .input("x", &x)
            .output("y", &y)
            .arguments([int(64), int(64), Value::Of("x"), Value::Of("y")]),
    )
}

#[test]
fn padding_a_tile_by_one_column_removes_its_bank_conflicts() {
    // 4 * 8 * 4 = 128 requests each way. Rows never conflict. A column of a tile that is 32 wide
    // lies in one bank, 32 passes a request; of one that is 33 wide, in 32 banks.
    for (kernel, wavefronts) in [("transpose_conflicts", 32 * 128), ("transpose_padded", 128)] {
        let counted = transposed(kernel);
        assert_eq!(counted.shared_store_requests, 128, "{kernel}");
        assert_eq!(counted.shared_store_wavefronts, 128, "{kernel}");
        assert_eq!(counted.shared_load_requests, 128, "{kernel}");
        assert_eq!(counted.shared_load_wavefronts, wavefronts, "{kernel}");
        assert_eq!(counted.shared_load_ideal_wavefronts, 128, "{kernel}");
        // 4 blocks of 8 warps at one barrier; 4096 words of 4 bytes both ways.
        assert_eq!(counted.barriers, 32, "{kernel}");
        assert_eq!(counted.global_load_sectors, 4096 * 4 / 32, "{kernel}");
        assert_eq!(counted.global_store_sectors, 4096 * 4 / 32, "{kernel}");
    }
}

#[test]
fn asynchronous_copies_are_counted_in_bytes_brought_and_zeroed() {
    // 128 threads copy 16 bytes each, but every fourth copies none and fills with zeros.
    let x = numbers(512);
    let mut y = x.clone();
    for chunk in y.chunks_mut(16) {
        chunk[12..].fill(0.0);
    }
    let counted = counters(
        &Case::new("counters", "async16", 1, 128)
            .input("x", &x)
            .output("y", &y)
            .arguments([Value::Of("x"), Value::Of("y")]),
    );
    assert_eq!(counted.async_copy_bytes, 96 * 16);
    assert_eq!(counted.async_zero_bytes, 32 * 16);
    // A sector holds two copies: of four lanes' 64 bytes the first three touch both sectors.
    assert_eq!(counted.footprint_read_sectors, 128 * 16 / 32);
    assert_eq!(counted.global_store_bytes, 128 * 16);
    // 4 warps read 512 bytes each.
    assert_eq!(counted.shared_load_wavefronts, 4 * 4);
}

#[test]
fn atomics_are_counted_a_lane() {
    // 256 threads, each warp on a word of its own, 8 words apart: 8 sectors.
    let mut counts = [0u32; 64];
    counts.iter_mut().step_by(8).for_each(|count| *count = 32);
    let counted = counters(
        &Case::new("counters", "atomic_words", 2, 128)
            .inout("y", &[0u32; 64], &counts)
            .arguments([Value::Of("y")]),
    );
    assert_eq!(counted.global_atomics, 256);
    assert_eq!(counted.shared_atomics, 0);
    assert_eq!(counted.footprint_written_sectors, 8);
}

#[test]
fn shared_atomics_are_counted_a_lane() {
    // 3 blocks of 64 threads share 300 values out: one shared atomic a value. With as many bins as
    // values, each value a bin of its own, every bin is sent to global memory once.
    let values: Vec<u32> = (0..300).collect();
    let counted = counters(
        &Case::new("histogram", "histogram", 3, 64)
            .shared(4 * 300)
            .input("values", &values)
            .inout("counts", &[0u32; 300], &[1u32; 300])
            .arguments([int(300), int(300), Value::Of("values"), Value::Of("counts")]),
    );
    assert_eq!(counted.shared_atomics, 300);
    assert_eq!(counted.global_atomics, 300);
    // 3 blocks, 2 warps, 2 barriers.
    assert_eq!(counted.barriers, 12);
}

/// `links` fused multiply-adds in each of 64 threads.
fn chain(links: i32) -> Counters {
    let value = (0..links).fold(0.5f32, |sum, _| sum.mul_add(0.5, 1.0));
    counters(
        &Case::new("counters", "fma_chain", 1, 64)
            .output("y", &[value; 64])
            .arguments([int(links), float(0.5), Value::Of("y")]),
    )
}

#[test]
fn a_fused_multiply_add_is_two_operations() {
    let (short, long) = (chain(10), chain(25));
    assert_eq!(short.simt_flop, 2 * 10 * 64);
    assert_eq!(long.simt_flop, 2 * 25 * 64);
    assert_eq!(long.tensor_flop, 0);
    // 8 instructions before the loop, 5 a turn, 9 behind it, in each of 2 warps of 32 lanes. A branch
    // counts for the lanes that do not take it, too.
    for (counted, links) in [(short, 10), (long, 25)] {
        let issued = 2 * (8 + 5 * links + 9);
        assert_eq!(counted.warp_instructions, issued);
        assert_eq!(counted.thread_instructions, 32 * issued);
    }
}

#[test]
fn tensor_operations_are_counted_by_shape() {
    for case in cases::all(3).iter().filter(|case| case.file == "conv") {
        let counted = counters(case);
        // A block of 4 warps makes 25 steps for each 16 input channels, in each 4 products of
        // 16 x 8 x 16 a warp; 17 to 29 channels are two slices of 16.
        let steps = 25 * 2;
        let [pixels, channels, _] = case.launch.grid.map(u64::from);
        let products = pixels * channels * steps * 4 * 4;
        assert_eq!(counted.tensor_flop, products * 2 * 16 * 8 * 16);
        assert_eq!(counted.barriers, pixels * channels * steps * 4);
        // Each step, 128 threads copy 16 bytes of x and 64 copy 16 bytes of w, or zeros.
        let copied = counted.async_copy_bytes + counted.async_zero_bytes;
        assert_eq!(copied, pixels * channels * steps * (128 + 64) * 16);
        // ldmatrix: x4 once and x2 four times a warp and step; the tiles' pitches of 48 and 80
        // bytes put the 8 rows of a matrix into different banks.
        let matrices = pixels * channels * steps * 4 * (4 + 4 * 2);
        assert_eq!(counted.shared_load_requests, matrices);
        assert_eq!(counted.shared_load_wavefronts, matrices);
        assert_eq!(counted.shared_load_ideal_wavefronts, matrices);
    }
}

//! The table of planted faults. Registers are those of the committed PTX for sm_80: where a rebuilt
//! sample numbers them anew, the edit says that it no longer applies.

use cosmogan::emulator::FindingKind::{
    AsyncCopyRace, BarrierCount, BarrierDivergence, BlockConflict, Deadlock, InstructionLimit,
    MemberMask, Misaligned, OutOfBounds, ReadOnlyCacheConflict, SharedRace, UninitialisedRead,
    WarpRace,
};

use super::Found::{By, WrongValues};
use super::{Edit, Fault, Found, nth, only};

const fn fault(
    name: &'static str,
    [file, kernel]: [&'static str; 2],
    edits: &'static [Edit],
    found: Found,
) -> Fault {
    Fault {
        name,
        file,
        kernel,
        edits,
        found,
    }
}

const SAXPY: [&str; 2] = ["saxpy", "saxpy"];
const FLOAT4: [&str; 2] = ["saxpy", "saxpy_float4"];
const SGEMM: [&str; 2] = ["sgemm", "sgemm"];
const TRANSPOSE: [&str; 2] = ["transpose", "transpose_padded"];
const SHUFFLE: [&str; 2] = ["reduce", "sum_shuffle"];
const TREE: [&str; 2] = ["reduce", "sum_tree"];
const LAST: [&str; 2] = ["reduce", "sum_last_block"];
const LARGEST: [&str; 2] = ["reduce", "max_compare_and_swap"];
const HISTOGRAM: [&str; 2] = ["histogram", "histogram"];
const STATISTICS: [&str; 2] = ["statistics", "batch_statistics"];
const SCAN: [&str; 2] = ["warps", "scan_syncwarp"];
const DIVERGENT: [&str; 2] = ["warps", "divergent_sums"];
const REDUX: [&str; 2] = ["redux", "redux"];
const PIPE: [&str; 2] = ["barriers", "producer_consumer"];
const GROUPS: [&str; 2] = ["barriers", "reversed_groups"];
const SMOOTH: [&str; 2] = ["async_copy", "smooth16"];
const PAIRS: [&str; 2] = ["async_copy", "pairs_wait_all"];
const CONV: [&str; 2] = ["conv", "conv_bf16"];
const GATHER: [&str; 2] = ["calls", "local_gather"];
const POLYNOMIALS: [&str; 2] = ["calls", "polynomials"];

pub const FAULTS: &[Fault] = &[
    // Bounds, guards, alignment.
    fault(
        "bound off by one",
        SAXPY,
        &[only(
            "setp.ge.s32 %p1, %r1, %r2;",
            "setp.gt.s32 %p1, %r1, %r2;",
        )],
        By(OutOfBounds),
    ),
    fault(
        "guard dropped",
        SAXPY,
        &[only("@%p1 bra $L__BB0_2;\n", "")],
        By(OutOfBounds),
    ),
    fault(
        "bound off by one, float4",
        FLOAT4,
        &[only(
            "setp.ge.s32 %p1, %r1, %r2;",
            "setp.gt.s32 %p1, %r1, %r2;",
        )],
        By(OutOfBounds),
    ),
    fault(
        "vector access at 12 bytes a lane",
        FLOAT4,
        &[only(
            "mul.wide.s32 %rd5, %r1, 16;",
            "mul.wide.s32 %rd5, %r1, 12;",
        )],
        By(Misaligned),
    ),
    fault(
        "vector store 8 bytes on",
        FLOAT4,
        &[only(
            "st.global.v4.f32 [%rd7],",
            "st.global.v4.f32 [%rd7+8],",
        )],
        By(Misaligned),
    ),
    fault(
        "column guard dropped from the store of a tile",
        SGEMM,
        &[only("or.pred %p104, %p94, %p67;", "mov.pred %p104, %p94;")],
        By(BlockConflict),
    ),
    fault(
        "row guard dropped from the load of a tile",
        SGEMM,
        &[only("or.pred %p27, %p25, %p26;", "mov.pred %p27, %p26;")],
        By(OutOfBounds),
    ),
    fault(
        "local array indexed beyond its end",
        GATHER,
        &[nth(", 60;", ", 124;", 3, 16)],
        By(OutOfBounds),
    ),
    fault(
        "constant table indexed beyond its end",
        POLYNOMIALS,
        &[only("and.b32 %r9, %r8, -4;", "and.b32 %r9, %r8, -8;")],
        By(OutOfBounds),
    ),
    fault(
        "loop that never ends",
        SGEMM,
        &[only(
            "add.s32 %r325, %r325, 16;",
            "add.s32 %r325, %r325, 0;",
        )],
        By(InstructionLimit),
    ),
    // Barriers of the block.
    fault(
        "barrier between write and read dropped",
        TRANSPOSE,
        &[only("bar.sync 0;\n", "")],
        By(SharedRace),
    ),
    fault(
        "barrier behind the loads of a tile dropped",
        SGEMM,
        &[nth("bar.sync 0;\n", "", 0, 2)],
        By(SharedRace),
    ),
    fault(
        "barrier behind the use of a tile dropped",
        SGEMM,
        &[nth("bar.sync 0;\n", "", 1, 2)],
        By(SharedRace),
    ),
    fault(
        "barrier between the sums of warps dropped",
        SHUFFLE,
        &[only("bar.sync 0;\n", "")],
        By(SharedRace),
    ),
    fault(
        "barrier between halvings dropped",
        TREE,
        &[nth("bar.sync 0;\n", "", 1, 2)],
        By(SharedRace),
    ),
    fault(
        "barrier between merges dropped",
        STATISTICS,
        &[only("bar.sync 0;\n", "")],
        By(SharedRace),
    ),
    fault(
        "barrier behind the zeroing dropped",
        HISTOGRAM,
        &[nth("bar.sync 0;\n", "", 0, 2)],
        By(SharedRace),
    ),
    fault(
        "barrier behind the ticket dropped",
        LAST,
        &[nth("bar.sync 0;\n", "", 1, 2)],
        By(SharedRace),
    ),
    fault(
        "barrier of the ring dropped",
        CONV,
        &[only("bar.sync 0;\n", "")],
        By(SharedRace),
    ),
    fault(
        "barrier behind the wait for copies dropped",
        SMOOTH,
        &[only("bar.sync 0;\n", "")],
        By(SharedRace),
    ),
    fault(
        "barrier behind the wait for all copies dropped",
        PAIRS,
        &[only("bar.sync 0;\n", "")],
        By(SharedRace),
    ),
    fault(
        "barrier in a branch of one lane",
        SHUFFLE,
        &[only("bar.sync 0;", "@%p7 bar.sync 0;")],
        By(BarrierDivergence),
    ),
    fault(
        "barrier that half of the warps skip",
        TREE,
        &[nth("bar.sync 0;", "@!%p3 bar.sync 0;", 1, 2)],
        By(BarrierDivergence),
    ),
    // Warps.
    fault(
        "__syncwarp behind a read dropped",
        TREE,
        &[nth("bar.warp.sync -1;\n", "", 0, 10)],
        By(WarpRace),
    ),
    fault(
        "__syncwarp behind a write dropped",
        TREE,
        &[nth("bar.warp.sync -1;\n", "", 1, 10)],
        By(WarpRace),
    ),
    fault(
        "__syncwarp of a scan dropped",
        SCAN,
        &[nth("bar.warp.sync -1;\n", "", 2, 10)],
        By(WarpRace),
    ),
    fault(
        "__syncwarp of half a warp",
        SCAN,
        &[nth("bar.warp.sync -1;", "bar.warp.sync 65535;", 0, 10)],
        By(MemberMask),
    ),
    fault(
        "shuffle mask of half a warp",
        SHUFFLE,
        &[only("mov.u32 %r12, -1;", "mov.u32 %r12, 65535;")],
        By(MemberMask),
    ),
    fault(
        "shuffle mask that names the other branch",
        DIVERGENT,
        &[only("not.b32 %r67, %r3;", "mov.b32 %r67, -1;")],
        By(MemberMask),
    ),
    fault(
        "reduction mask of one lane",
        REDUX,
        &[only("mov.u32 %r8, -1;", "mov.u32 %r8, 1;")],
        By(MemberMask),
    ),
    fault(
        "shuffle up in place of down",
        SHUFFLE,
        &[only(
            "shfl.sync.down.b32 %r19|%p4,",
            "shfl.sync.up.b32 %r19|%p4,",
        )],
        WrongValues,
    ),
    // Named barriers.
    fault(
        "named barrier that expects half of its threads",
        PIPE,
        &[nth("mov.u32 %r42, 128;", "mov.u32 %r42, 64;", 0, 1)],
        By(BarrierCount),
    ),
    fault(
        "wait for a free buffer dropped",
        PIPE,
        &[only("bar.sync %r101, %r104;\n", "")],
        By(SharedRace),
    ),
    fault(
        "arrival of the producer dropped",
        PIPE,
        &[only("bar.arrive %r92, %r93;\n", "")],
        By(Deadlock),
    ),
    fault(
        "named barrier that expects more threads than come",
        GROUPS,
        &[only("mov.u32 %r2, 64;", "mov.u32 %r2, 96;")],
        By(Deadlock),
    ),
    fault(
        "one named barrier for all groups",
        GROUPS,
        &[only("add.s32 %r1, %r4, 1;", "mov.u32 %r1, 1;")],
        By(SharedRace),
    ),
    // Blocks.
    fault(
        "fence before the ticket dropped",
        LAST,
        &[nth("membar.gl;\n", "", 0, 2)],
        By(BlockConflict),
    ),
    fault(
        "fence before the ticket weakened to the block",
        LAST,
        &[nth("membar.gl;", "membar.cta;", 0, 2)],
        By(BlockConflict),
    ),
    fault(
        "fence behind the ticket dropped",
        LAST,
        &[nth("membar.gl;\n", "", 1, 2)],
        By(BlockConflict),
    ),
    fault(
        "ticket drawn without an atomic",
        LAST,
        &[only(
            "atom.global.inc.u32 %r63, [%rd14], %r62;",
            "ld.global.u32 %r63, [%rd14];\nadd.u32 %r64, %r63, 1;\nst.global.u32 [%rd14], %r64;",
        )],
        By(BlockConflict),
    ),
    fault(
        "every block writes the first sum",
        SHUFFLE,
        &[only(
            "mul.wide.u32 %rd7, %r2, 4;",
            "mul.wide.u32 %rd7, %r2, 0;",
        )],
        By(BlockConflict),
    ),
    fault(
        "compare-and-swap replaced by a store",
        LARGEST,
        &[only(
            "atom.global.cas.b32 %r5, [%rd1], %r10, %r3;",
            "mov.u32 %r5, %r10;\nst.global.u32 [%rd1], %r3;",
        )],
        By(BlockConflict),
    ),
    fault(
        "write to what is read through the read-only cache",
        SAXPY,
        &[only(
            "st.global.f32 [%rd7], %f4;",
            "st.global.f32 [%rd6], %f4;",
        )],
        By(ReadOnlyCacheConflict),
    ),
    // Shared memory.
    fault(
        "histogram without shared atomics",
        HISTOGRAM,
        &[only(
            "atom.shared.add.u32 %r26, [%r25], 1;",
            "ld.shared.u32 %r26, [%r25];\nadd.u32 %r26, %r26, 1;\nst.shared.u32 [%r25], %r26;",
        )],
        By(SharedRace),
    ),
    fault(
        "histogram that is not zeroed",
        HISTOGRAM,
        &[only("st.shared.u32 [%r17], %r18;\n", "")],
        By(UninitialisedRead),
    ),
    fault(
        "all threads write one word",
        GROUPS,
        &[only("add.s32 %r12, %r11, %r10;", "mov.u32 %r12, %r11;")],
        By(SharedRace),
    ),
    fault(
        "store to a tile dropped",
        SGEMM,
        &[only("st.shared.f32 [%r185], %f510;\n", "")],
        By(UninitialisedRead),
    ),
    fault(
        "wrong stride of a tile's rows",
        TRANSPOSE,
        &[nth(", 132, %r68;", ", 128, %r68;", 0, 1)],
        WrongValues,
    ),
    // Asynchronous copies and tensor operations.
    fault(
        "wait that leaves one group too many under way",
        SMOOTH,
        &[only("cp.async.wait_group 1;", "cp.async.wait_group 2;")],
        By(AsyncCopyRace),
    ),
    fault(
        "wait for all copies dropped",
        PAIRS,
        &[only("cp.async.wait_all;\n", "")],
        By(AsyncCopyRace),
    ),
    fault(
        "copy of a halo dropped",
        SMOOTH,
        &[nth(
            "cp.async.ca.shared.global",
            "// cp.async.ca.shared.global",
            2,
            3,
        )],
        WrongValues,
    ),
    fault(
        "commit of the ring's copies dropped",
        SMOOTH,
        &[nth("cp.async.commit_group;\n", "", 2, 3)],
        By(AsyncCopyRace),
    ),
    fault(
        "wait of the convolution weakened",
        CONV,
        &[only("cp.async.wait_group 1;", "cp.async.wait_group 2;")],
        By(AsyncCopyRace),
    ),
    fault(
        "zero-fill of borders dropped",
        CONV,
        &[only(
            "cp.async.cg.shared.global [%r209], [%rd54], 16, %r210;",
            "cp.async.cg.shared.global [%r209], [%rd54], 16;",
        )],
        WrongValues,
    ),
    fault(
        "zero-fill of ragged weights dropped",
        CONV,
        &[only(
            "cp.async.cg.shared.global [%r232], [%rd67], 16, %r233;",
            "cp.async.cg.shared.global [%r232], [%rd67], 16;",
        )],
        By(UninitialisedRead),
    ),
    fault(
        ".trans dropped",
        CONV,
        &[nth(
            "ldmatrix.sync.aligned.m8n8.x2.trans",
            "ldmatrix.sync.aligned.m8n8.x2",
            1,
            4,
        )],
        WrongValues,
    ),
    fault(
        "fragment registers of a exchanged",
        CONV,
        &[nth(
            "{%r164, %r165, %r166, %r167}, {%r178, %r179}",
            "{%r164, %r166, %r165, %r167}, {%r178, %r179}",
            0,
            1,
        )],
        WrongValues,
    ),
    fault(
        "fragment registers of the sum exchanged",
        CONV,
        &[only(
            "{%f128, %f127, %f126, %f125}, {%r164",
            "{%f127, %f128, %f126, %f125}, {%r164",
        )],
        WrongValues,
    ),
    fault(
        "wrong pitch of the weights' tile",
        CONV,
        &[only(
            "mad.lo.s32 %r273, %r151, 80, %r152;",
            "mad.lo.s32 %r273, %r151, 64, %r152;",
        )],
        WrongValues,
    ),
    fault(
        "matrix row at 8 bytes",
        CONV,
        &[only(
            "add.s32 %r180, %r171, 16;",
            "add.s32 %r180, %r171, 8;",
        )],
        By(Misaligned),
    ),
];

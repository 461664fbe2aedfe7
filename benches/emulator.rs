//! Criterion benchmarks of the PTX emulator: thread instructions (for `mma`, floating-point
//! operations) a second, with and without race tracking, on one thread and on two; and what a
//! launch costs that does nothing. The kernels are written out here so that the figures do not
//! change with a compiler.
//!
//! | case | asked | measured |
//! |---|---|---|
//! | saxpy, 1 thread | 1.0 G/s | 1.5 G/s |
//! | sgemm, 1 thread | 1.0 G/s | 1.5 G/s |
//! | mma, 1 thread | 6 GFLOP/s | 13 GFLOP/s |
//! | saxpy, races | 0.4 G/s | 1.1 G/s |
//! | sgemm, races | 0.4 G/s | 0.63 G/s |
//! | saxpy, sgemm, mma, 2 threads over 1 | 1.8 | 1.9, 1.9, 1.9 |
//! | empty kernel beside a buffer of 64 MiB | a few us | 3 us |
//!
//! Measured on 2026-11-24 on a shared virtual machine (AMD EPYC, Zen 3, AVX2): the fastest of many
//! launches, since neighbours slow the others down. More in `benches/results/`.

use std::time::Instant;

use cosmogan::emulator::{Argument, Device, Launch, Module, Profile};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const HEAD: &str = ".version 7.4\n.target sm_80\n.address_size 64\n";

/// y = a x + y, one element a thread.
const SAXPY: &str = "
.entry kernel(.param .u32 n, .param .f32 a, .param .u64 x, .param .u64 y)
{
    .reg .pred %p<2>; .reg .f32 %f<5>; .reg .b32 %r<6>; .reg .b64 %rd<8>;
    ld.param.u32 %r1, [n];
    ld.param.f32 %f1, [a];
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [y];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.s32 %r5, %r2, %r3, %r4;
    setp.ge.s32 %p1, %r5, %r1;
    @%p1 bra END;
    cvta.to.global.u64 %rd3, %rd1;
    mul.wide.s32 %rd4, %r5, 4;
    add.s64 %rd5, %rd3, %rd4;
    cvta.to.global.u64 %rd6, %rd2;
    add.s64 %rd7, %rd6, %rd4;
    ld.global.f32 %f2, [%rd5];
    ld.global.f32 %f3, [%rd7];
    fma.rn.f32 %f4, %f2, %f1, %f3;
    st.global.f32 [%rd7], %f4;
END:
    ret;
}";

/// Square matrices in tiles of 16 x 16, the reduction over a tile unrolled, as nvcc writes it.
fn sgemm() -> String {
    let products: String = (0..16)
        .map(|k| {
            format!(
                "    ld.shared.f32 %f2, [%r10+{}];\n    ld.shared.f32 %f3, [%r11+{}];\n    \
                 fma.rn.f32 %f1, %f2, %f3, %f1;\n",
                4 * k,
                64 * k
            )
        })
        .collect();
    format!(
        "
.entry kernel(.param .u32 n, .param .u64 a, .param .u64 b, .param .u64 c)
{{
    .reg .pred %p<2>; .reg .f32 %f<6>; .reg .b32 %r<24>; .reg .b64 %rd<12>;
    .shared .align 4 .b8 a_tile[1024];
    .shared .align 4 .b8 b_tile[1024];
    ld.param.u32 %r1, [n];
    ld.param.u64 %rd1, [a];
    ld.param.u64 %rd2, [b];
    ld.param.u64 %rd3, [c];
    mov.u32 %r2, %tid.x;
    mov.u32 %r3, %tid.y;
    mov.u32 %r4, %ctaid.x;
    mov.u32 %r5, %ctaid.y;
    shl.b32 %r6, %r4, 4;
    add.s32 %r6, %r6, %r2;
    shl.b32 %r7, %r5, 4;
    add.s32 %r7, %r7, %r3;
    mov.u32 %r8, a_tile;
    mov.u32 %r9, b_tile;
    shl.b32 %r12, %r3, 6;
    shl.b32 %r13, %r2, 2;
    add.s32 %r10, %r8, %r12;
    add.s32 %r11, %r9, %r13;
    add.s32 %r14, %r10, %r13;
    add.s32 %r15, %r11, %r12;
    mov.f32 %f1, 0f00000000;
    mov.u32 %r16, 0;
TILE:
    add.s32 %r17, %r16, %r2;
    mad.lo.s32 %r18, %r7, %r1, %r17;
    mul.wide.s32 %rd4, %r18, 4;
    add.s64 %rd5, %rd1, %rd4;
    ld.global.f32 %f4, [%rd5];
    st.shared.f32 [%r14], %f4;
    add.s32 %r19, %r16, %r3;
    mad.lo.s32 %r20, %r19, %r1, %r6;
    mul.wide.s32 %rd6, %r20, 4;
    add.s64 %rd7, %rd2, %rd6;
    ld.global.f32 %f5, [%rd7];
    st.shared.f32 [%r15], %f5;
    bar.sync 0;
{products}    bar.sync 0;
    add.s32 %r16, %r16, 16;
    setp.lt.s32 %p1, %r16, %r1;
    @%p1 bra TILE;
    mad.lo.s32 %r21, %r7, %r1, %r6;
    mul.wide.s32 %rd8, %r21, 4;
    add.s64 %rd9, %rd3, %rd8;
    st.global.f32 [%rd9], %f1;
    ret;
}}"
    )
}

/// Eight products of matrices a turn.
fn mma() -> String {
    let product = "    mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 \
                   {%f1, %f2, %f3, %f4}, {%r2, %r2, %r2, %r2}, {%r2, %r2}, {%f1, %f2, %f3, %f4};\n";
    format!(
        "
.entry kernel()
{{
    .reg .pred %p<2>; .reg .f32 %f<5>; .reg .b32 %r<3>;
    mov.u32 %r1, 0;
    mov.u32 %r2, 0x3f803f80;
    mov.f32 %f1, 0f00000000;
    mov.f32 %f2, %f1;
    mov.f32 %f3, %f1;
    mov.f32 %f4, %f1;
TURN:
{}    add.s32 %r1, %r1, 1;
    setp.lt.s32 %p1, %r1, 100;
    @%p1 bra TURN;
    ret;
}}",
        product.repeat(8)
    )
}

struct Case {
    name: &'static str,
    device: Device,
    module: Module,
    launch: Launch,
    arguments: Vec<Argument>,
}

fn case(name: &'static str, ptx: &str, grid: [u32; 3], block: [u32; 3]) -> Case {
    let mut device = Device::new(Profile::SM_80);
    let module = device
        .load(name, &format!("{HEAD}{ptx}"))
        .expect("PTX of this file");
    Case {
        name,
        device,
        module,
        launch: Launch::new(grid, block),
        arguments: Vec::new(),
    }
}

impl Case {
    fn filled(&mut self, name: &str, len: usize) {
        let buffer = self.device.allocate(name, 4 * len).expect("memory");
        let values: Vec<f32> = (0..len).map(|i| (i % 97) as f32 * 0.01).collect();
        self.device
            .upload_slice(buffer, &values)
            .expect("a buffer of that length");
        self.arguments.push(Argument::Buffer(buffer));
    }
}

fn cases() -> Vec<Case> {
    // Launches of tens of milliseconds: waking a second thread takes up to half of one.
    let len = 1 << 20;
    let mut saxpy = case("saxpy", SAXPY, [len / 256, 1, 1], [256, 1, 1]);
    saxpy.arguments = vec![Argument::U32(len), Argument::F32(0.5)];
    saxpy.filled("x", len as usize);
    saxpy.filled("y", len as usize);
    let side = 256;
    let mut sgemm = case("sgemm", &sgemm(), [side / 16, side / 16, 1], [16, 16, 1]);
    sgemm.arguments = vec![Argument::U32(side)];
    for name in ["a", "b", "c"] {
        sgemm.filled(name, (side * side) as usize);
    }
    let mma = case("mma", &mma(), [256, 1, 1], [32, 1, 1]);
    vec![saxpy, sgemm, mma]
}

fn emulator(criterion: &mut Criterion) {
    for (threads, races) in [(1, false), (2, false), (1, true)] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads");
        let tracked = if races { ", races" } else { "" };
        let mut group = criterion.benchmark_group(format!("emulator, {threads} threads{tracked}"));
        group.sample_size(10);
        for mut case in cases() {
            case.launch.options.races = races;
            let mut launch = || {
                let report = pool.install(|| {
                    case.device
                        .launch(case.module, "kernel", &case.launch, &case.arguments)
                });
                report.expect("a launch")
            };
            let report = launch();
            assert_eq!(report.findings, []);
            let counted = match report.counters.tensor_flop {
                0 => report.counters.thread_instructions,
                flop => flop,
            };
            group.throughput(Throughput::Elements(counted));
            group.bench_function(BenchmarkId::from_parameter(case.name), |bencher| {
                bencher.iter(&mut launch);
            });
        }
        group.finish();
    }
}

/// How much faster two threads are than one, and, as the most that the machine has to give, how much
/// faster two launches of one thread each are that share nothing. All are measured in turns, because
/// the speed of a shared machine drifts by more than the difference that is asked for.
fn scaling(_: &mut Criterion) {
    const TURNS: usize = 60;
    const LAUNCHES: usize = 1;
    // `cargo test --benches` only wants to see that the benchmarks run.
    let turns = match std::env::args().any(|argument| argument == "--bench") {
        true => TURNS,
        false => 1,
    };
    let [one, other, two] = [1, 1, 2].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads")
    });
    let run = |case: &mut Case, pool: &rayon::ThreadPool| {
        for _ in 0..LAUNCHES {
            let report = pool.install(|| {
                case.device
                    .launch(case.module, "kernel", &case.launch, &case.arguments)
            });
            assert!(report.expect("a launch").completed());
        }
    };
    let seconds = |work: &mut dyn FnMut()| {
        let started = Instant::now();
        work();
        started.elapsed().as_secs_f64()
    };
    for (mut case, mut twin) in cases().into_iter().zip(cases()) {
        let [mut alone, mut threads, mut apart] = [const { Vec::new() }; 3];
        for _ in 0..turns {
            alone.push(seconds(&mut || run(&mut case, &one)));
            threads.push(seconds(&mut || run(&mut case, &two)));
            apart.push(seconds(&mut || {
                std::thread::scope(|scope| {
                    scope.spawn(|| run(&mut twin, &other));
                    run(&mut case, &one);
                });
            }));
        }
        let times = [&alone, &threads, &apart];
        let [fastest, median] = [0, turns / 2].map(|place| {
            times.map(|times| {
                let mut sorted = times.clone();
                sorted.sort_by(f64::total_cmp);
                sorted[place]
            })
        });
        for (what, [alone, threads, apart]) in [("fastest", fastest), ("median", median)] {
            println!(
                "emulator, 2 threads over 1/{}, {what} times: {:.2}; two launches at once: {:.2}",
                case.name,
                alone / threads,
                2.0 * alone / apart,
            );
        }
    }
}

/// What a launch costs that does nothing, on a device with a buffer as large as a training step's.
fn launches(criterion: &mut Criterion) {
    let mut empty = case("empty", ".entry kernel() { ret; }", [1, 1, 1], [256, 1, 1]);
    empty.filled("arena", 1 << 24);
    criterion.bench_function("emulator, empty launch", |bencher| {
        bencher.iter(|| {
            (empty
                .device
                .launch(empty.module, "kernel", &empty.launch, &[]))
            .map(drop)
        });
    });
}

criterion_group!(benches, emulator, scaling, launches);
criterion_main!(benches);

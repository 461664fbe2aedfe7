//! Malformed, truncated and hostile PTX gives an error or a finding: never a panic, a hang, or
//! memory without bound.

use std::time::{Duration, Instant};

use cosmogan::emulator::{Argument, Device, FindingKind, Launch, Profile, Schedule};
use cosmogan::rng::{Philox, Stream};
use rand::RngExt;

const HEAD: &str = ".version 8.0\n.target sm_80\n.address_size 64\n";

/// A kernel with a little of everything.
const BASE: &str = r#".version 8.0
.target sm_80
.address_size 64
.file 1 "a.cu"
.const .align 4 .b8 table[16] = {1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0};
.global .align 4 .f32 scale = 0f40000000;
.extern .shared .align 16 .b8 dynamic[];
.func (.param .b32 r) twice(.param .b32 x)
{
    .reg .b32 %r<3>;
    ld.param.b32 %r1, [x];
    add.s32 %r2, %r1, %r1;
    st.param.b32 [r+0], %r2;
    ret;
}
.visible .entry kernel(.param .u64 a, .param .u64 b, .param .u32 n)
.maxntid 64, 1, 1
{
    .local .align 8 .b8 depot[16];
    .shared .align 16 .b8 tile[512];
    .reg .pred %p<6>;
    .reg .b16 %rs<6>;
    .reg .f32 %f<12>;
    .reg .b32 %r<40>;
    .reg .f64 %fd<4>;
    .reg .b64 %rd<20>;
    .loc 1 3 0
    ld.param.u64 %rd1, [a];
    ld.param.u64 %rd2, [b];
    ld.param.u32 %r1, [n];
    cvta.to.global.u64 %rd3, %rd1;
    cvta.to.global.u64 %rd4, %rd2;
    mov.u32 %r2, %tid.x;
    mul.wide.u32 %rd5, %r2, 4;
    add.s64 %rd6, %rd3, %rd5;
    add.s64 %rd7, %rd4, %rd5;
    setp.ge.u32 %p1, %r2, %r1;
    @%p1 bra SKIP;
    ld.global.f32 %f1, [%rd6];
    fma.rn.f32 %f2, %f1, 0f3F000000, %f1;
    ex2.approx.ftz.f32 %f3, %f2;
    cvt.rn.f16.f32 %rs1, %f3;
    cvt.f32.f16 %f4, %rs1;
    st.global.f32 [%rd7], %f4;
SKIP:
    mov.u32 %r3, tile;
    shl.b32 %r4, %r2, 2;
    and.b32 %r4, %r4, 127;
    add.s32 %r5, %r3, %r4;
    st.shared.u32 [%r5], %r2;
    bar.sync 0;
    ld.shared.u32 %r6, [%r5];
    shfl.sync.bfly.b32 %r7|%p2, %r6, 1, 31, -1;
    vote.sync.ballot.b32 %r8, %p2, -1;
    {
        .param .b32 param0;
        st.param.b32 [param0+0], %r7;
        .param .b32 retval0;
        call.uni (retval0), twice, (param0);
        ld.param.b32 %r9, [retval0+0];
    }
    mov.u64 %rd8, depot;
    cvta.local.u64 %rd9, %rd8;
    st.u32 [%rd9+4], %r9;
    ld.local.u32 %r10, [depot+4];
    mov.u64 %rd10, table;
    ld.const.u32 %r11, [%rd10+8];
    cp.async.ca.shared.global [%r3+256], [%rd3], 16, 8;
    cp.async.commit_group;
    cp.async.wait_group 0;
    bar.sync 0;
    mov.u32 %r12, 0;
LOOP:
    add.s32 %r12, %r12, 1;
    mad.lo.s32 %r13, %r12, %r11, %r10;
    setp.lt.s32 %p3, %r12, 20;
    @%p3 bra LOOP;
    atom.shared.add.u32 %r14, [%r3], %r13;
    red.global.add.u32 [%rd4], 1;
    and.b32 %r15, %r2, 15;
    shl.b32 %r15, %r15, 4;
    add.s32 %r15, %r15, %r3;
    ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r16, %r17}, [%r15];
    mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f5, %f6, %f7, %f8}, {%r16, %r17, %r16, %r17}, {%r16, %r17}, {%f1, %f1, %f1, %f1};
    cvt.f64.f32 %fd1, %f5;
    div.rn.f64 %fd2, %fd1, 0d4008000000000000;
    prmt.b32 %r18, %r16, %r17, 0x7531;
    st.global.v2.u32 [%rd4+128], {%r18, %r14};
    ret;
}
"#;

/// Loads the text and runs whatever kernels it has for a short while.
fn survive(text: &str, schedule: Schedule) {
    let mut device = Device::new(Profile::SM_80);
    let Ok(module) = device.load("hostile.ptx", text) else {
        return;
    };
    let buffer = device.allocate("buffer", 1024).unwrap();
    device.upload(buffer, 0, &[1; 1024]).unwrap();
    for kernel in device.kernels(module).unwrap() {
        let arguments: Vec<_> = kernel
            .parameters
            .iter()
            .map(|parameter| match parameter.size {
                8 => Argument::Buffer(buffer),
                4 => Argument::U32(32),
                size => Argument::Bytes(vec![0; size]),
            })
            .collect();
        let mut launch = Launch::new([2, 1, 1], [64, 1, 1])
            .shared(256)
            .schedule(schedule)
            .races();
        launch.options.instruction_limit = 20_000;
        if let Ok(report) = device.launch(module, &kernel.name, &launch, &arguments) {
            for finding in &report.findings {
                assert!(!finding.to_string().is_empty());
            }
        }
    }
}

#[test]
fn the_base_of_the_mutations_runs() {
    let mut device = Device::new(Profile::SM_80);
    let module = device.load("base.ptx", BASE).unwrap();
    assert_eq!(device.kernels(module).unwrap().len(), 1);
    survive(BASE, Schedule::Latest);
}

#[test]
fn truncated_and_mutated_texts_give_errors_or_findings() {
    let mut random = Philox::new(7, Stream::Benchmark, 300).sequential();
    let words: Vec<&str> = BASE
        .split(|c: char| c.is_whitespace() || c == ',' || c == '.')
        .filter(|word| !word.is_empty())
        .collect();
    let lines: Vec<&str> = BASE.lines().collect();
    let numbers = [
        "0",
        "-1",
        "4294967295",
        "18446744073709551615",
        "0x8000000000000000",
        "1e9",
    ];
    for i in 0..6000 {
        let mut text = BASE.to_owned();
        for _ in 0..random.random_range(1..4u32) {
            let at = random.random_range(0..text.len());
            match random.random_range(0..7u32) {
                0 => text.truncate(at),
                1 => {
                    let byte = random.random_range(b' '..b'~');
                    text.replace_range(at..=at, &char::from(byte).to_string());
                }
                2 => text.insert_str(at, words[random.random_range(0..words.len())]),
                3 | 4 => {
                    let old = words[random.random_range(0..words.len())];
                    let new = words[random.random_range(0..words.len())];
                    text = text.replacen(old, new, random.random_range(1..3));
                }
                5 => {
                    let line = lines[random.random_range(0..lines.len())];
                    text = text.replacen(line, "", 1);
                }
                _ => {
                    let number = numbers[random.random_range(0..numbers.len())];
                    text = text.replacen(['1', '4', '8'], number, random.random_range(1..9));
                }
            }
            if text.is_empty() {
                break;
            }
        }
        let schedule = match i % 3 {
            0 => Schedule::Latest,
            1 => Schedule::Earliest,
            _ => Schedule::Random(i),
        };
        survive(&text, schedule);
    }
}

#[test]
fn texts_that_ask_for_too_much_are_refused_quickly() {
    let nested = |n: usize| {
        format!(
            "{HEAD}.entry k() {{ {} ret; {} }}",
            "{".repeat(n),
            "}".repeat(n)
        )
    };
    let mut doubling = HEAD.to_owned();
    doubling.push_str(".func f0() { ret; }\n");
    for i in 1..60 {
        let call = format!("call f{};", i - 1);
        doubling.push_str(&format!(".func f{i}() {{ {call} {call} ret; }}\n"));
    }
    doubling.push_str(".entry k() { call f59; ret; }");
    let texts = [
        nested(100_000),
        doubling,
        format!("{HEAD}.func f() {{ call f; ret; }} .entry k() {{ call f; ret; }}"),
        format!("{HEAD}.global .b8 x[1099511627776];"),
        format!("{HEAD}.global .b8 x[200000000]; .global .b8 y[200000000];"),
        format!("{HEAD}.global .b32 x[4294967296][4294967296];"),
        format!("{HEAD}.entry k() {{ .local .b8 x[16777216]; ret; }}"),
        format!("{HEAD}.entry k(.param .align 8 .b8 x[1000000]) {{ ret; }}"),
        format!("{HEAD}.entry k() {{ mov.u32 {}; }}", "{".repeat(100_000)),
        format!(
            "{HEAD}.entry k() {{ .reg .b32 %r<9>; mov.b32 %r1, {}1; }}",
            "(".repeat(100_000)
        ),
        format!(
            "{HEAD}.global .b8 x[4] = {}1{};",
            "{".repeat(1000),
            "}".repeat(1000)
        ),
    ];
    for text in texts {
        let begun = Instant::now();
        let mut device = Device::new(Profile::SM_80);
        let refused = device.load("hostile.ptx", &text);
        assert!(refused.is_err(), "{}", &text[..text.len().min(200)]);
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn what_is_unknown_is_refused_by_its_name_and_line() {
    for (statement, names) in [
        ("frobnicate.u32 %r1, %r2;", ["frobnicate", "not supported"]),
        ("add.rn.s32 %r1, %r2, %r3;", [".rn", "add.rn.s32"]),
        ("add.s32.sat %r1, %r2, %r3;", [".sat", "add.s32.sat"]),
        ("ld.global.v8.f32 %r1, [%rd1];", [".v8", "ld.global"]),
        ("fma.f32 %f1, %f1, %f1, %f1;", ["rounding mode", "fma.f32"]),
        ("bra NOWHERE;", ["NOWHERE", "label"]),
        ("mov.u32 %r1, %r99;", ["%r99", "mov.u32"]),
        ("mov.u32 %r1, %clock;", ["%clock", "mov.u32"]),
        ("add.u32 %r1, %rd1, %r2;", ["%rd1", "R64"]),
        ("cp.async.bulk.commit_group;", [".bulk", "cp.async"]),
        (
            "ld.shared.u32 %r1, [%r2], 7;",
            ["2 operands", "3 were given"],
        ),
    ] {
        let text = format!(
            "{HEAD}.entry k() {{\n.reg .b32 %r<9>; .reg .b64 %rd<9>; .reg .f32 %f<9>;\n{statement}\nret; }}"
        );
        let error = Device::new(Profile::SM_80)
            .load("k.ptx", &text)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("k.ptx:6:"), "{error}");
        for name in names {
            assert!(error.contains(name), "{statement}: {error}");
        }
    }
}

#[test]
fn a_kernel_that_never_ends_is_stopped() {
    let endless = format!("{HEAD}.entry k() {{ L: bra L; }}");
    let spinning = format!(
        "{HEAD}.entry k(.param .u64 p) {{ .reg .pred %p<2>; .reg .b32 %r<3>; .reg .b64 %rd<3>;\n\
         ld.param.u64 %rd1, [p];\nL: ld.volatile.global.u32 %r1, [%rd1];\nsetp.eq.u32 %p1, %r1, 1;\n\
         @%p1 bra L; ret; }}"
    );
    for text in [endless, spinning] {
        let mut device = Device::new(Profile::SM_80);
        let module = device.load("endless.ptx", &text).unwrap();
        let p = device.allocate("p", 4).unwrap();
        device.upload_slice(p, &[1u32]).unwrap();
        let parameters = device.kernel(module, "k").unwrap().parameters.len();
        let arguments = vec![Argument::Buffer(p); parameters];
        let mut launch = Launch::new([3, 1, 1], [64, 1, 1]);
        launch.options.instruction_limit = 100_000;
        let report = device.launch(module, "k", &launch, &arguments).unwrap();
        assert!(report.found(FindingKind::InstructionLimit) && !report.completed());
    }
}

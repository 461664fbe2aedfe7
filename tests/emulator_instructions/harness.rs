//! Runs one instruction on drawn values and compares it with its reference.

use cosmogan::emulator::{Argument, Device, Launch, Options, Profile};
use cosmogan::rng::{Philox, SequentialPhilox, Stream};
use rand::RngExt;

/// Values a case is tried on.
pub const COUNT: usize = 4096;

/// Registers of a type: class, prefix, bytes.
fn register(ty: &str) -> (&'static str, &'static str, usize) {
    match ty {
        "b16" => ("b16", "rs", 2),
        "b32" => ("b32", "r", 4),
        _ => ("b64", "rd", 8),
    }
}

/// Runs `instruction` on COUNT triples: `$d`, `$a`, `$b`, `$c` are registers of the given sizes.
fn run(instruction: &str, d: &str, sources: [&str; 3], values: [&[u64]; 3]) -> Vec<u64> {
    run_under(Options::default(), instruction, d, sources, values)
}

/// As [`run`], with options.
pub fn run_under(
    options: Options,
    instruction: &str,
    d: &str,
    sources: [&str; 3],
    values: [&[u64]; 3],
) -> Vec<u64> {
    let mut body = String::new();
    for (i, (name, ty)) in ["a", "b", "c"].into_iter().zip(sources).enumerate() {
        let (class, _, bytes) = register(ty);
        body += &format!(
            ".reg .{class} %{name};\nmul.wide.u32 %q{i}, %i, {bytes};\nld.param.u64 %p{i}, [{name}];\n\
             add.s64 %q{i}, %q{i}, %p{i};\nld.global.{class} %{name}, [%q{i}];\n"
        );
    }
    let (class, _, bytes) = register(d);
    let mut text = instruction.to_owned();
    for name in ["a", "b", "c", "d"] {
        text = text.replace(&format!("${name}"), &format!("%{name}"));
    }
    let ptx = format!(
        ".version 7.8\n.target sm_80\n.address_size 64\n\
         .entry k(.param .u64 d, .param .u64 a, .param .u64 b, .param .u64 c)\n{{\n\
         .reg .pred %t, %u; .reg .b32 %i, %j, %k; .reg .b64 %q<4>, %p<4>;\n.reg .{class} %d;\n\
         mov.u32 %i, %tid.x; mov.u32 %j, %ctaid.x; mov.u32 %k, %ntid.x; mad.lo.u32 %i, %j, %k, %i;\n\
         {body}{text}\nmul.wide.u32 %q3, %i, {bytes};\nld.param.u64 %p3, [d];\nadd.s64 %q3, %q3, %p3;\n\
         st.global.{class} [%q3], %d;\nret;\n}}\n"
    );
    let mut device = Device::new(Profile::SM_80);
    let module = device
        .load("case.ptx", &ptx)
        .unwrap_or_else(|error| panic!("{instruction}: {error}"));
    let out = device.allocate("d", COUNT * bytes).unwrap();
    let mut arguments = vec![Argument::Buffer(out)];
    for (ty, values) in sources.into_iter().zip(values) {
        let bytes = register(ty).2;
        let data: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes()[..bytes].to_vec())
            .collect();
        let buffer = device.allocate("source", data.len()).unwrap();
        device.upload(buffer, 0, &data).unwrap();
        arguments.push(Argument::Buffer(buffer));
    }
    let mut launch = Launch::new([COUNT as u32 / 128, 1, 1], [128, 1, 1]);
    launch.options = options;
    let report = device.launch(module, "k", &launch, &arguments).unwrap();
    assert_eq!(report.findings, [], "{instruction}");
    let out = device.download_vec::<u8>(out).unwrap();
    out.chunks_exact(bytes)
        .map(|value| {
            value
                .iter()
                .rev()
                .fold(0, |all, &byte| all << 8 | u64::from(byte))
        })
        .collect()
}

/// Edge values of integers and of all floating-point formats of a size, and random ones.
fn draw(random: &mut SequentialPhilox, ty: &str) -> u64 {
    let bits = 8 * register(ty).2 as u32;
    let mask = u64::MAX >> (64 - bits);
    let small = [
        0, 1, 2, 3, 7, 8, 15, 16, 24, 31, 32, 33, 40, 63, 64, 65, 255,
    ];
    let floats: &[u64] = match ty {
        "b16" => &[
            0x0001, 0x03ff, 0x0400, 0x3c00, 0x3800, 0x7bff, 0x7c00, 0x7e00, 0x8000, 0xbc00, 0xfc00,
            0x3f80, 0x7f80, 0x7fc0, 0x0080, 0x007f, 0x8001,
        ],
        "b32" => &[
            0x0000_0001,
            0x007f_ffff,
            0x0080_0000,
            0x3f80_0000,
            0x3f00_0000,
            0x7f7f_ffff,
            0x7f80_0000,
            0x7fc0_0000,
            0x8000_0000,
            0xbf80_0000,
            0xff80_0000,
            0x4b00_0001,
            0x4f00_0000,
            0xcf00_0000,
            0x3fc0_0000,
            0x4020_0000,
            0x3f80_0001,
            0x8000_0001,
        ],
        _ => &[
            0x0000_0000_0000_0001,
            0x3ff0_0000_0000_0000,
            0x3fe0_0000_0000_0000,
            0x7fef_ffff_ffff_ffff,
            0x7ff0_0000_0000_0000,
            0x7ff8_0000_0000_0000,
            0x8000_0000_0000_0000,
            0xbff0_0000_0000_0000,
            0x41df_ffff_ffc0_0000,
            0x43e0_0000_0000_0000,
            0x36a0_0000_0000_0000,
            0x3810_0000_0000_0000,
            0x47ef_ffff_f000_0000,
            0x3ff0_0000_1000_0000,
        ],
    };
    match random.random_range(0..6u32) {
        0 => small[random.random_range(0..small.len())],
        1 => (small[random.random_range(0..small.len())]).wrapping_neg() & mask,
        2 => (1u64 << random.random_range(0..bits)) - u64::from(random.random::<bool>()),
        3 => floats[random.random_range(0..floats.len())],
        _ => random.random::<u64>() & mask,
    }
}

pub type Reference<'a> = &'a dyn Fn(u64, u64, u64) -> u64;

/// Compares an instruction with its reference; `equal` says when two results agree.
pub fn check_by(
    instruction: &str,
    d: &str,
    sources: [&str; 3],
    reference: Reference,
    equal: &dyn Fn(u64, u64) -> bool,
) {
    let stream = instruction
        .bytes()
        .fold(0, |all: u64, b| all * 31 % 1_000_003 + u64::from(b));
    let mut random = Philox::new(11, Stream::Benchmark, stream).sequential();
    let values = sources.map(|ty| {
        (0..COUNT)
            .map(|_| draw(&mut random, ty))
            .collect::<Vec<_>>()
    });
    let ours = run(
        instruction,
        d,
        sources,
        [&values[0], &values[1], &values[2]],
    );
    let mask = u64::MAX >> (64 - 8 * register(d).2 as u32);
    for (i, ours) in ours.into_iter().enumerate() {
        let [a, b, c] = [values[0][i], values[1][i], values[2][i]];
        let expected = reference(a, b, c) & mask;
        assert!(
            equal(ours, expected),
            "{instruction} of {a:#x}, {b:#x}, {c:#x} gives {ours:#x}, not {expected:#x}"
        );
    }
}

pub fn check(instruction: &str, d: &str, sources: [&str; 3], reference: Reference) {
    check_by(instruction, d, sources, reference, &|a, b| a == b);
}

pub const B16: [&str; 3] = ["b16"; 3];
pub const B32: [&str; 3] = ["b32"; 3];
pub const B64: [&str; 3] = ["b64"; 3];

pub const NAN32: u64 = 0x7fff_ffff;

pub fn single(x: f32) -> u64 {
    if x.is_nan() {
        NAN32
    } else {
        u64::from(x.to_bits())
    }
}

pub fn f(x: u64) -> f32 {
    f32::from_bits(x as u32)
}

pub fn flushed(x: f32) -> f32 {
    if x.is_subnormal() {
        0.0f32.copysign(x)
    } else {
        x
    }
}

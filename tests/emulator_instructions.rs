//! Instructions against scalar references written from the ISA's definitions, on random and edge
//! values.

use cosmogan::emulator::{Argument, Device, Launch, Profile};
use cosmogan::rng::{Philox, SequentialPhilox, Stream};
use half::{bf16, f16};
use rand::RngExt;

/// Values a case is tried on.
const COUNT: usize = 4096;

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
    let launch = Launch::new([COUNT as u32 / 128, 1, 1], [128, 1, 1]);
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

type Reference<'a> = &'a dyn Fn(u64, u64, u64) -> u64;

/// Compares an instruction with its reference; `equal` says when two results agree.
fn check_by(
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

fn check(instruction: &str, d: &str, sources: [&str; 3], reference: Reference) {
    check_by(instruction, d, sources, reference, &|a, b| a == b);
}

const B16: [&str; 3] = ["b16"; 3];
const B32: [&str; 3] = ["b32"; 3];
const B64: [&str; 3] = ["b64"; 3];

macro_rules! arithmetic {
    ($suffix:literal, $ty:ty, $wide:ty, $bits:ident, $class:literal) => {{
        let check = |name: &str, count: usize, f: &dyn Fn($ty, $ty, $ty) -> $ty| {
            let operands = ["$d, $a", "$d, $a, $b", "$d, $a, $b, $c"][count - 1];
            let text = format!("{name}.{} {operands};", $suffix);
            check(&text, $class, $bits, &|a, b, c| {
                f(a as $ty, b as $ty, c as $ty) as u64
            });
        };
        check("add", 2, &|a, b, _| a.wrapping_add(b));
        check("sub", 2, &|a, b, _| a.wrapping_sub(b));
        check("mul.lo", 2, &|a, b, _| a.wrapping_mul(b));
        check("mul.hi", 2, &|a, b, _| {
            ((a as $wide * b as $wide) >> <$ty>::BITS) as $ty
        });
        check("mad.lo", 3, &|a, b, c| a.wrapping_mul(b).wrapping_add(c));
        check("mad.hi", 3, &|a, b, c| {
            (((a as $wide * b as $wide) >> <$ty>::BITS) as $ty).wrapping_add(c)
        });
        check("sad", 3, &|a, b, c| {
            c.wrapping_add(a.max(b).wrapping_sub(a.min(b)))
        });
        check("min", 2, &|a, b, _| if a < b { a } else { b });
        check("max", 2, &|a, b, _| if a > b { a } else { b });
        // Division by zero is not defined; GPUs give all ones and the dividend.
        check("div", 2, &|a, b, _| {
            if b == 0 { !0 } else { a.wrapping_div(b) }
        });
        check("rem", 2, &|a, b, _| {
            if b == 0 { a } else { a.wrapping_rem(b) }
        });
    }};
}

#[test]
fn integer_arithmetic_is_that_of_its_type() {
    arithmetic!("u16", u16, u64, B16, "b16");
    arithmetic!("s16", i16, i64, B16, "b16");
    arithmetic!("u32", u32, u64, B32, "b32");
    arithmetic!("s32", i32, i64, B32, "b32");
    arithmetic!("u64", u64, u128, B64, "b64");
    arithmetic!("s64", i64, i128, B64, "b64");
    check("neg.s32 $d, $a;", "b32", B32, &|a, _, _| {
        (a as i32).wrapping_neg() as u64
    });
    check("abs.s32 $d, $a;", "b32", B32, &|a, _, _| {
        (a as i32).wrapping_abs() as u64
    });
    check("neg.s16 $d, $a;", "b16", B16, &|a, _, _| {
        (a as i16).wrapping_neg() as u64
    });
    check("abs.s64 $d, $a;", "b64", B64, &|a, _, _| {
        (a as i64).wrapping_abs() as u64
    });
    check("add.sat.s32 $d, $a, $b;", "b32", B32, &|a, b, _| {
        (a as i32).saturating_add(b as i32) as u64
    });
    check("sub.sat.s32 $d, $a, $b;", "b32", B32, &|a, b, _| {
        (a as i32).saturating_sub(b as i32) as u64
    });
}

#[test]
fn wide_products_keep_all_bits() {
    check("mul.wide.u16 $d, $a, $b;", "b32", B16, &|a, b, _| a * b);
    check("mul.wide.s16 $d, $a, $b;", "b32", B16, &|a, b, _| {
        (a as i16 as i64 * b as i16 as i64) as u64
    });
    check("mul.wide.u32 $d, $a, $b;", "b64", B32, &|a, b, _| a * b);
    check("mul.wide.s32 $d, $a, $b;", "b64", B32, &|a, b, _| {
        (a as i32 as i64 * b as i32 as i64) as u64
    });
    let wide = ["b32", "b32", "b64"];
    check("mad.wide.u32 $d, $a, $b, $c;", "b64", wide, &|a, b, c| {
        (a * b).wrapping_add(c)
    });
    check("mad.wide.s32 $d, $a, $b, $c;", "b64", wide, &|a, b, c| {
        (a as i32 as i64 * b as i32 as i64).wrapping_add(c as i64) as u64
    });
    let wide = ["b16", "b16", "b32"];
    check("mad.wide.s16 $d, $a, $b, $c;", "b32", wide, &|a, b, c| {
        (a as i16 as i64 * b as i16 as i64).wrapping_add(c as i32 as i64) as u64
    });
}

#[test]
fn carries_go_from_one_half_to_the_other() {
    let text = "{ .reg .b32 %al, %ah, %bl, %bh, %dl, %dh; mov.b64 {%al, %ah}, $a; mov.b64 {%bl, %bh}, $b;\n\
                add.cc.u32 %dl, %al, %bl; addc.u32 %dh, %ah, %bh; mov.b64 $d, {%dl, %dh}; }";
    check(text, "b64", B64, &|a, b, _| a.wrapping_add(b));
    let text = text.replace("add.cc", "sub.cc").replace("addc", "subc");
    check(&text, "b64", B64, &|a, b, _| a.wrapping_sub(b));
}

#[test]
fn shifts_beyond_the_width_leave_zeros_or_signs() {
    for (bits, class, sources) in [
        (16u32, "b16", ["b16", "b32", "b16"]),
        (32, "b32", B32),
        (64, "b64", ["b64", "b32", "b64"]),
    ] {
        let width = u64::from(bits);
        check(
            &format!("shl.b{bits} $d, $a, $b;"),
            class,
            sources,
            &|a, b, _| {
                if b >= width { 0 } else { a << b }
            },
        );
        check(
            &format!("shr.u{bits} $d, $a, $b;"),
            class,
            sources,
            &|a, b, _| {
                if b >= width { 0 } else { a >> b }
            },
        );
        check(
            &format!("shr.s{bits} $d, $a, $b;"),
            class,
            sources,
            &|a, b, _| {
                let signed = (a << (64 - bits)) as i64 >> (64 - bits);
                (signed >> b.min(63)) as u64
            },
        );
    }
    for (name, left, wrap) in [
        ("shf.l.clamp", true, false),
        ("shf.l.wrap", true, true),
        ("shf.r.clamp", false, false),
        ("shf.r.wrap", false, true),
    ] {
        check(
            &format!("{name}.b32 $d, $a, $b, $c;"),
            "b32",
            B32,
            &|a, b, c| {
                let n = if wrap { c % 32 } else { c.min(32) };
                let both = u128::from(b << 32 | a);
                if left {
                    (both << n >> 32) as u64
                } else {
                    (both >> n) as u64
                }
            },
        );
    }
}

#[test]
fn logic_and_bit_fields_follow_the_isa() {
    for (bits, class, sources) in [(16, "b16", B16), (32, "b32", B32), (64, "b64", B64)] {
        check(
            &format!("and.b{bits} $d, $a, $b;"),
            class,
            sources,
            &|a, b, _| a & b,
        );
        check(
            &format!("or.b{bits} $d, $a, $b;"),
            class,
            sources,
            &|a, b, _| a | b,
        );
        check(
            &format!("xor.b{bits} $d, $a, $b;"),
            class,
            sources,
            &|a, b, _| a ^ b,
        );
        check(
            &format!("not.b{bits} $d, $a;"),
            class,
            sources,
            &|a, _, _| !a,
        );
        check(
            &format!("cnot.b{bits} $d, $a;"),
            class,
            sources,
            &|a, _, _| u64::from(a == 0),
        );
    }
    check("popc.b32 $d, $a;", "b32", B32, &|a, _, _| {
        u64::from(a.count_ones())
    });
    check("popc.b64 $d, $a;", "b32", B64, &|a, _, _| {
        u64::from(a.count_ones())
    });
    check("clz.b32 $d, $a;", "b32", B32, &|a, _, _| {
        u64::from((a as u32).leading_zeros())
    });
    check("clz.b64 $d, $a;", "b32", B64, &|a, _, _| {
        u64::from(a.leading_zeros())
    });
    check("brev.b32 $d, $a;", "b32", B32, &|a, _, _| {
        u64::from((a as u32).reverse_bits())
    });
    check("brev.b64 $d, $a;", "b64", B64, &|a, _, _| a.reverse_bits());
    for table in [0x00u8, 0x80, 0xe8, 0x96, 0x1b, 0xff] {
        check(
            &format!("lop3.b32 $d, $a, $b, $c, {table};"),
            "b32",
            B32,
            &|a, b, c| {
                (0..32).fold(0, |all, i| {
                    let index = (a >> i & 1) << 2 | (b >> i & 1) << 1 | (c >> i & 1);
                    all | u64::from(table >> index & 1) << i
                })
            },
        );
    }
    let find = |bits: u32, signed: bool, shift: bool| {
        move |a: u64, _: u64, _: u64| {
            let sign = signed && a >> (bits - 1) & 1 == 1;
            let wanted = u64::from(!sign);
            let found = (0..bits).rev().find(|i| a >> i & 1 == wanted);
            found.map_or(u64::MAX, |i| {
                u64::from(if shift { bits - 1 - i } else { i })
            })
        }
    };
    check("bfind.u32 $d, $a;", "b32", B32, &find(32, false, false));
    check("bfind.s32 $d, $a;", "b32", B32, &find(32, true, false));
    check(
        "bfind.shiftamt.u64 $d, $a;",
        "b32",
        B64,
        &find(64, false, true),
    );
    check(
        "bfind.shiftamt.s64 $d, $a;",
        "b32",
        B64,
        &find(64, true, true),
    );
}

#[test]
fn bit_fields_are_taken_and_put_bit_by_bit() {
    // The pseudocode of the ISA, one bit at a time.
    let extract = |bits: u64, signed: bool| {
        move |a: u64, b: u64, c: u64| {
            let (position, length) = (b & 0xff, c & 0xff);
            let top = (position + length).wrapping_sub(1).min(bits - 1);
            let sign = if !signed || length == 0 {
                0
            } else {
                a >> top & 1
            };
            (0..bits).fold(0, |all, i| {
                let inside = i < length && position + i < bits;
                let bit = if inside {
                    a >> (position + i) & 1
                } else {
                    sign
                };
                all | bit << i
            })
        }
    };
    let mixed = ["b64", "b32", "b32"];
    check("bfe.u32 $d, $a, $b, $c;", "b32", B32, &extract(32, false));
    check("bfe.s32 $d, $a, $b, $c;", "b32", B32, &extract(32, true));
    check("bfe.u64 $d, $a, $b, $c;", "b64", mixed, &extract(64, false));
    check("bfe.s64 $d, $a, $b, $c;", "b64", mixed, &extract(64, true));
    let insert = |bits: u64, length: u64| {
        move |a: u64, b: u64, c: u64| {
            let position = c & 0xff;
            (0..length).fold(b, |all, i| {
                if position + i >= bits {
                    return all;
                }
                all & !(1 << (position + i)) | (a >> i & 1) << (position + i)
            })
        }
    };
    for length in [0, 1, 7, 31, 32] {
        let text = format!("bfi.b32 $d, $a, $b, $c, {length};");
        check(&text, "b32", B32, &insert(32, length));
        let text = format!("bfi.b64 $d, $a, $b, $c, {length};");
        check(&text, "b64", ["b64", "b64", "b32"], &insert(64, length));
    }
}

#[test]
fn bytes_are_permuted_by_every_mode() {
    let byte = |a: u64, b: u64, i: u64| (b << 32 | a) >> (8 * (i & 7)) & 0xff;
    check("prmt.b32 $d, $a, $b, $c;", "b32", B32, &|a, b, c| {
        (0..4).fold(0, |all, i| {
            let selector = c >> (4 * i) & 15;
            let value = byte(a, b, selector);
            let value = match (selector & 8 != 0, value >= 0x80) {
                (false, _) => value,
                (true, sign) => {
                    if sign {
                        0xff
                    } else {
                        0
                    }
                }
            };
            all | value << (8 * i)
        })
    });
    // Sources of the result's bytes 0 to 3 for selectors 0 to 3, from the ISA's tables.
    for (mode, table) in [
        (
            "f4e",
            [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]],
        ),
        (
            "b4e",
            [[0, 7, 6, 5], [1, 0, 7, 6], [2, 1, 0, 7], [3, 2, 1, 0]],
        ),
        ("rc8", [[0; 4], [1; 4], [2; 4], [3; 4]]),
        (
            "ecl",
            [[0, 1, 2, 3], [1, 1, 2, 3], [2, 2, 2, 3], [3, 3, 3, 3]],
        ),
        (
            "ecr",
            [[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 2, 2], [0, 1, 2, 3]],
        ),
        (
            "rc16",
            [[0, 1, 0, 1], [2, 3, 2, 3], [0, 1, 0, 1], [2, 3, 2, 3]],
        ),
    ] {
        check(
            &format!("prmt.b32.{mode} $d, $a, $b, $c;"),
            "b32",
            B32,
            &|a, b, c| {
                let sources: [u64; 4] = table[(c & 3) as usize];
                (0..4).fold(0, |all, i| all | byte(a, b, sources[i]) << (8 * i))
            },
        );
    }
    for (name, a_signed, b_signed) in [
        ("u32.u32", false, false),
        ("s32.s32", true, true),
        ("u32.s32", false, true),
    ] {
        check(
            &format!("dp4a.{name} $d, $a, $b, $c;"),
            "b32",
            B32,
            &|a, b, c| {
                let part = |x: u64, i: usize, signed: bool| match signed {
                    true => i64::from((x >> (8 * i)) as i8),
                    false => i64::from((x >> (8 * i)) as u8),
                };
                (0..4).fold(c as i64, |all, i| {
                    all + part(a, i, a_signed) * part(b, i, b_signed)
                }) as u64
            },
        );
    }
}

const NAN32: u64 = 0x7fff_ffff;

fn single(x: f32) -> u64 {
    if x.is_nan() {
        NAN32
    } else {
        u64::from(x.to_bits())
    }
}

fn f(x: u64) -> f32 {
    f32::from_bits(x as u32)
}

fn flushed(x: f32) -> f32 {
    if x.is_subnormal() {
        0.0f32.copysign(x)
    } else {
        x
    }
}

#[test]
fn single_precision_is_ieee_to_the_bit() {
    type Operation = fn(f32, f32, f32) -> f32;
    let operations: [(&str, &str, Operation); 6] = [
        ("add", "$d, $a, $b", |a, b, _| a + b),
        ("sub", "$d, $a, $b", |a, b, _| a - b),
        ("mul", "$d, $a, $b", |a, b, _| a * b),
        ("fma.rn", "$d, $a, $b, $c", f32::mul_add),
        ("div.rn", "$d, $a, $b", |a, b, _| a / b),
        ("sqrt.rn", "$d, $a", |a, _, _| a.sqrt()),
    ];
    for (name, operands, operation) in operations {
        check(
            &format!("{name}.f32 {operands};"),
            "b32",
            B32,
            &|a, b, c| single(operation(f(a), f(b), f(c))),
        );
        check(
            &format!("{name}.ftz.f32 {operands};"),
            "b32",
            B32,
            &|a, b, c| {
                let [a, b, c] = [a, b, c].map(|x| flushed(f(x)));
                single(flushed(operation(a, b, c)))
            },
        );
    }
    check("add.sat.f32 $d, $a, $b;", "b32", B32, &|a, b, _| {
        let sum = f(a) + f(b);
        single(if sum.is_nan() || sum <= 0.0 {
            0.0
        } else {
            sum.min(1.0)
        })
    });
    check("rcp.rn.f32 $d, $a;", "b32", B32, &|a, _, _| {
        single(1.0 / f(a))
    });
    check("abs.f32 $d, $a;", "b32", B32, &|a, _, _| a & 0x7fff_ffff);
    check("neg.f32 $d, $a;", "b32", B32, &|a, _, _| a ^ 0x8000_0000);
    check("copysign.f32 $d, $a, $b;", "b32", B32, &|a, b, _| {
        a & 0x8000_0000 | b & 0x7fff_ffff
    });
    let smaller = |a: f32, b: f32| match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if a == b => {
            if a.is_sign_negative() {
                a
            } else {
                b
            }
        }
        _ => {
            if a < b {
                a
            } else {
                b
            }
        }
    };
    check("min.f32 $d, $a, $b;", "b32", B32, &|a, b, _| {
        single(smaller(f(a), f(b)))
    });
    check("max.f32 $d, $a, $b;", "b32", B32, &|a, b, _| {
        single(-smaller(-f(a), -f(b)))
    });
    check("min.NaN.f32 $d, $a, $b;", "b32", B32, &|a, b, _| {
        if f(a).is_nan() || f(b).is_nan() {
            NAN32
        } else {
            single(smaller(f(a), f(b)))
        }
    });
}

/// The neighbour of an exact value that a directed rounding picks.
fn rounded(exact: f64, mode: &str) -> f32 {
    let near = exact as f32;
    let mut candidates = [near.next_down(), near, near.next_up()].into_iter();
    let below = match (mode, exact > 0.0) {
        ("rm", _) | ("rz", true) => candidates.rfind(|&x| f64::from(x) <= exact),
        _ => candidates.find(|&x| f64::from(x) >= exact),
    };
    below.unwrap()
}

#[test]
fn directed_roundings_pick_the_right_neighbour() {
    // Within 16 powers of two, f64 holds sums and products of two f32 exactly.
    let prepare = "and.b32 %a, %a, 0x87ffffff; or.b32 %a, %a, 0x38000000;\
                   and.b32 %b, %b, 0x87ffffff; or.b32 %b, %b, 0x38000000;";
    let fixed = |x: u64| f64::from(f(x & 0x87ff_ffff | 0x3800_0000));
    for mode in ["rz", "rm", "rp"] {
        let text = format!("{prepare} add.{mode}.f32 $d, $a, $b;");
        check(&text, "b32", B32, &|a, b, _| {
            let sum = fixed(a) + fixed(b);
            if sum == 0.0 {
                let zero = if mode == "rm" { -0.0f32 } else { 0.0 };
                return u64::from(zero.to_bits());
            }
            u64::from(rounded(sum, mode).to_bits())
        });
        let text = format!("{prepare} mul.{mode}.f32 $d, $a, $b;");
        check(&text, "b32", B32, &|a, b, _| {
            u64::from(rounded(fixed(a) * fixed(b), mode).to_bits())
        });
    }
}

#[test]
fn double_precision_is_ieee_to_the_bit() {
    type Operation = fn(f64, f64, f64) -> f64;
    let operations: [(&str, &str, Operation); 7] = [
        ("add", "$d, $a, $b", |a, b, _| a + b),
        ("sub", "$d, $a, $b", |a, b, _| a - b),
        ("mul", "$d, $a, $b", |a, b, _| a * b),
        ("fma.rn", "$d, $a, $b, $c", f64::mul_add),
        ("div.rn", "$d, $a, $b", |a, b, _| a / b),
        ("sqrt.rn", "$d, $a", |a, _, _| a.sqrt()),
        ("rcp.rn", "$d, $a", |a, _, _| 1.0 / a),
    ];
    let equal = |a: u64, b: u64| a == b || f64::from_bits(a).is_nan() && f64::from_bits(b).is_nan();
    for (name, operands, operation) in operations {
        let text = format!("{name}.f64 {operands};");
        let reference =
            |a, b, c| operation(f64::from_bits(a), f64::from_bits(b), f64::from_bits(c)).to_bits();
        check_by(&text, "b64", B64, &reference, &equal);
    }
}

#[test]
fn half_precision_is_rounded_once() {
    // f64 holds sums and products of two f16 exactly.
    let nearest16 = |x: f64| -> u64 {
        let magnitude = x.abs();
        if x.is_nan() {
            return 0x7fff;
        }
        // 65520 lies half way between the largest number and 65536.
        let mut low = 0u16;
        let mut high = 0x7bffu16;
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if f16::from_bits(middle).to_f64() <= magnitude {
                low = middle
            } else {
                high = middle - 1
            }
        }
        let below = f16::from_bits(low).to_f64();
        let above = if low == 0x7bff {
            65536.0
        } else {
            f16::from_bits(low + 1).to_f64()
        };
        let (down, up) = (magnitude - below, above - magnitude);
        let bits = if down < up || down == up && low & 1 == 0 {
            low
        } else {
            low + 1
        };
        u64::from(bits) | if x.is_sign_negative() { 0x8000 } else { 0 }
    };
    let h = |x: u64| f16::from_bits(x as u16).to_f64();
    check("add.f16 $d, $a, $b;", "b16", B16, &|a, b, _| {
        nearest16(h(a) + h(b))
    });
    check("sub.f16 $d, $a, $b;", "b16", B16, &|a, b, _| {
        nearest16(h(a) - h(b))
    });
    check("mul.f16 $d, $a, $b;", "b16", B16, &|a, b, _| {
        nearest16(h(a) * h(b))
    });
    check("add.f16x2 $d, $a, $b;", "b32", B32, &|a, b, _| {
        let low = nearest16(h(a & 0xffff) + h(b & 0xffff));
        nearest16(h(a >> 16) + h(b >> 16)) << 16 | low
    });
    check(
        "cvt.rn.f16.f32 $d, $a;",
        "b16",
        ["b32", "b32", "b32"],
        &|a, _, _| nearest16(f64::from(f(a))),
    );
    // bf16 products are exact in f32 unless they leave its range; bf16's own tie rule follows.
    check("cvt.rn.bf16.f32 $d, $a;", "b16", B32, &|a, _, _| {
        if f(a).is_nan() {
            return 0x7fff;
        }
        let (kept, rest) = (a >> 16, a & 0xffff);
        kept + u64::from(rest > 0x8000 || rest == 0x8000 && kept & 1 == 1)
    });
    check("fma.rn.bf16 $d, $a, $b, $c;", "b16", B16, &|a, b, c| {
        let [a, b, c] = [a, b, c].map(|x| bf16::from_bits(x as u16).to_f64());
        let (product, sum) = (a * b, a * b + c);
        // Where f64 rounds the sum, the sign of the error decides ties.
        let error = (product - (sum - (sum - product))) + (c - (sum - product));
        let bits = sum.to_bits();
        let sticky = if error == 0.0 || !error.is_finite() {
            bits
        } else if (error > 0.0) == (sum > 0.0) {
            bits | 1
        } else {
            (bits - 1) | 1
        };
        let exact = f64::from_bits(sticky);
        if exact.is_nan() {
            return 0x7fff;
        }
        // The nearest by search, as above.
        let (mut low, mut high) = (0u16, 0x7f7fu16);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let value = bf16::from_bits(middle).to_f64();
            if value <= exact.abs() {
                low = middle
            } else {
                high = middle - 1
            }
        }
        let below = bf16::from_bits(low).to_f64();
        let above = match low {
            0x7f7f => 2f64.powi(128),
            _ => bf16::from_bits(low + 1).to_f64(),
        };
        let (down, up) = (exact.abs() - below, above - exact.abs());
        let bits = if down < up || down == up && low & 1 == 0 {
            low
        } else {
            low + 1
        };
        u64::from(bits) | if exact.is_sign_negative() { 0x8000 } else { 0 }
    });
}

#[test]
fn conversions_round_and_saturate() {
    macro_rules! to_integer {
        ($name:literal, $ty:ty, $class:literal) => {
            for (mode, round) in [
                ("rni", f64::round_ties_even as fn(f64) -> f64),
                ("rzi", f64::trunc),
                ("rmi", f64::floor),
                ("rpi", f64::ceil),
            ] {
                // A NaN gives zero, or the top bit alone where a type of 64 bits takes part.
                let whole = |x: f64, wide: bool| match x.is_nan() {
                    true => u64::from(wide) << (<$ty>::BITS - 1),
                    false => round(x) as $ty as u64,
                };
                check(
                    &format!("cvt.{mode}.{}.f32 $d, $a;", $name),
                    $class,
                    B32,
                    &|a, _, _| whole(f64::from(f(a)), <$ty>::BITS == 64),
                );
                check(
                    &format!("cvt.{mode}.{}.f64 $d, $a;", $name),
                    $class,
                    B64,
                    &|a, _, _| whole(f64::from_bits(a), true),
                );
            }
        };
    }
    to_integer!("s32", i32, "b32");
    to_integer!("u32", u32, "b32");
    to_integer!("s64", i64, "b64");
    to_integer!("u64", u64, "b64");
    to_integer!("u16", u16, "b16");
    check("cvt.rn.f32.s32 $d, $a;", "b32", B32, &|a, _, _| {
        single(a as i32 as f32)
    });
    check("cvt.rn.f32.u32 $d, $a;", "b32", B32, &|a, _, _| {
        single(a as u32 as f32)
    });
    check("cvt.rn.f32.s64 $d, $a;", "b32", B64, &|a, _, _| {
        single(a as i64 as f32)
    });
    check("cvt.rn.f32.u64 $d, $a;", "b32", B64, &|a, _, _| {
        single(a as f32)
    });
    check("cvt.rn.f64.s64 $d, $a;", "b64", B64, &|a, _, _| {
        (a as i64 as f64).to_bits()
    });
    check("cvt.rn.f64.u32 $d, $a;", "b64", B32, &|a, _, _| {
        (a as f64).to_bits()
    });
    check("cvt.rn.f32.f64 $d, $a;", "b32", B64, &|a, _, _| {
        single(f64::from_bits(a) as f32)
    });
    check("cvt.f32.f16 $d, $a;", "b32", B16, &|a, _, _| {
        single(f16::from_bits(a as u16).to_f32())
    });
    check("cvt.rni.f32.f32 $d, $a;", "b32", B32, &|a, _, _| {
        single(f(a).round_ties_even())
    });
    check("cvt.sat.f32.f32 $d, $a;", "b32", B32, &|a, _, _| {
        single(if f(a) > 0.0 { f(a).min(1.0) } else { 0.0 })
    });
    check("cvt.s64.s32 $d, $a;", "b64", B32, &|a, _, _| {
        a as i32 as i64 as u64
    });
    check("cvt.u64.u32 $d, $a;", "b64", B32, &|a, _, _| a);
    check("cvt.u32.u64 $d, $a;", "b32", B64, &|a, _, _| a);
    check("cvt.s32.s8 $d, $a;", "b32", B32, &|a, _, _| {
        a as i8 as i64 as u64
    });
    check("cvt.u16.u8 $d, $a;", "b16", B32, &|a, _, _| a & 0xff);
    check("cvt.sat.u8.s32 $d, $a;", "b32", B32, &|a, _, _| {
        (a as i32).clamp(0, 255) as u64
    });
    check("cvt.sat.s16.s32 $d, $a;", "b16", B32, &|a, _, _| {
        (a as i32).clamp(-32768, 32767) as u64
    });
    check("cvt.rn.bf16x2.f32 $d, $a, $b;", "b32", B32, &|a, b, _| {
        let half = |x: u64| match f(x).is_nan() {
            true => 0x7fff,
            false => {
                let (kept, rest) = (x >> 16, x & 0xffff);
                kept + u64::from(rest > 0x8000 || rest == 0x8000 && kept & 1 == 1)
            }
        };
        half(a) << 16 | half(b)
    });
}

#[test]
fn comparisons_know_signs_and_nans() {
    let outcome = |ordering: Option<std::cmp::Ordering>, relation: &str| {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let base = relation.trim_end_matches('u');
        let unordered = relation.ends_with('u') && relation != "u";
        match (ordering, relation) {
            (_, "num") => ordering.is_some(),
            (_, "nan") => ordering.is_none(),
            (None, _) => unordered,
            (Some(o), _) => match base {
                "eq" => o == Equal,
                "ne" => o != Equal,
                "lt" | "lo" => o == Less,
                "le" | "ls" => o != Greater,
                "gt" | "hi" => o == Greater,
                _ => o != Less,
            },
        }
    };
    let text = |relation: &str, ty: &str| {
        format!("setp.{relation}.{ty} %t, $a, $b; selp.b32 $d, 1, 0, %t;")
    };
    for relation in ["eq", "ne", "lt", "le", "gt", "ge"] {
        check(&text(relation, "s32"), "b32", B32, &|a, b, _| {
            outcome((a as i32).partial_cmp(&(b as i32)), relation).into()
        });
        check(&text(relation, "u32"), "b32", B32, &|a, b, _| {
            outcome(a.partial_cmp(&b), relation).into()
        });
        check(&text(relation, "s64"), "b32", B64, &|a, b, _| {
            outcome((a as i64).partial_cmp(&(b as i64)), relation).into()
        });
        check(&text(relation, "s16"), "b32", B16, &|a, b, _| {
            outcome((a as i16).partial_cmp(&(b as i16)), relation).into()
        });
    }
    let floats = [
        "eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan",
    ];
    for relation in floats {
        check(&text(relation, "f32"), "b32", B32, &|a, b, _| {
            outcome(f(a).partial_cmp(&f(b)), relation).into()
        });
        check(&text(relation, "f64"), "b32", B64, &|a, b, _| {
            outcome(f64::from_bits(a).partial_cmp(&f64::from_bits(b)), relation).into()
        });
        check(&text(relation, "f16"), "b32", B16, &|a, b, _| {
            let [a, b] = [a, b].map(|x| f16::from_bits(x as u16).to_f32());
            outcome(a.partial_cmp(&b), relation).into()
        });
    }
    let both = "setp.lt.s32 %u, $b, $c; setp.gt.or.u32 %t|%u, $a, $b, !%u; selp.b32 %i, 1, 0, %u;\
                selp.b32 $d, 2, 0, %t; or.b32 $d, $d, %i; mov.u32 %i, %tid.x; mad.lo.u32 %i, %j, %k, %i;";
    check(both, "b32", B32, &|a, b, c| {
        let with = b as i32 >= c as i32;
        u64::from(a > b || with) << 1 | u64::from(a <= b || with)
    });
}

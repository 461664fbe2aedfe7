//! Atomic operations of every type in global and shared memory.

use crate::exact::{self, Format, Mode};
use crate::harness::{COUNT, Kernel, accepted, bytes, draw, numbers, product, words};

const SPACES: &[&str] = &["", "global", "shared", "shared::cta", "local"];
const ORDERS: &[&str] = &["", "relaxed", "acquire", "release", "acq_rel", "seq_cst"];
const SCOPES: &[&str] = &["", "cta", "cluster", "gpu", "sys"];
const OPERATIONS: &[&str] = &[
    "add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec", "sub",
];
const TYPES: &[&str] = &[
    "b16", "u16", "s16", "b32", "u32", "s32", "b64", "u64", "s64", "f16", "bf16", "f16x2",
    "bf16x2", "f32", "f64", "b128",
];

/// Every operation and type in every space; every order and scope, in both places, for three of
/// them.
pub fn candidates() -> Vec<String> {
    let mut all = [
        product(
            &["atom", "red"],
            &[SPACES, OPERATIONS, &["", "noftz"], TYPES],
        ),
        product(
            &["atom", "red"],
            &[
                ORDERS,
                SCOPES,
                SPACES,
                SCOPES,
                &["add.u32", "cas.b32", "min.s64"],
            ],
        ),
    ]
    .concat();
    all.sort();
    all.dedup();
    all
}

fn bits(ty: &str) -> u32 {
    match ty {
        "f16x2" | "bf16x2" => 32,
        _ => ty.trim_start_matches(char::is_alphabetic).parse().unwrap(),
    }
}

/// Each thread has a word of 8 bytes of its own: the old value, b and c are the inputs.
fn kernel(form: &str) -> Kernel {
    let all = words(form);
    let class = bits(all[all.len() - 1]).min(64);
    let name = |i: usize| match class {
        16 => format!("%h{i}"),
        32 => format!("%r{i}"),
        _ => format!("%rd{}", 8 + i),
    };
    let shared = all.iter().any(|word| word.starts_with("shared"));
    let more = if all.contains(&"cas") {
        format!(", {}", name(2))
    } else {
        String::new()
    };
    let d = if all[0] == "atom" {
        format!("{}, ", name(3))
    } else {
        String::new()
    };
    let (there, back) = if shared {
        (
            "mov.u64 %rd5, sh; mad.wide.u32 %rd5, %i, 8, %rd5; ld.global.b64 %rd6, [%rd1]; st.shared.b64 [%rd5], %rd6;",
            "ld.shared.b64 %rd6, [%rd5]; st.global.b64 [%rd1], %rd6;",
        )
    } else {
        ("mov.b64 %rd5, %rd1;", "")
    };
    let zero = if class == 16 {
        "mov.b16 %h3, 0;".to_owned()
    } else {
        format!("mov.b{class} {}, 0;", name(3))
    };
    Kernel::new(
        &format!(
            ".shared .align 16 .b8 sh[8192];\n\
             mad.wide.u32 %rd1, %i, 8, %in0; mad.wide.u32 %rd2, %i, 8, %in1; mad.wide.u32 %rd3, %i, 8, %in2;\n\
             ld.global.b{class} {}, [%rd2]; ld.global.b{class} {}, [%rd3]; {zero}\n{there}\n\
             {form} {d}[%rd5], {}{more};\n{back}\nst.global.b{class} [%o], {};",
            name(1),
            name(2),
            name(1),
            name(3)
        ),
        COUNT as u32,
        8,
        3,
    )
}

pub fn ptx(form: &str) -> String {
    kernel(form).ptx().to_owned()
}

pub fn forms() -> Vec<String> {
    accepted(candidates(), ptx)
}

fn reference(form: &str, old: u64, b: u64, c: u64) -> u64 {
    let all = words(form);
    let ty = all[all.len() - 1];
    let n = bits(ty);
    let signed = |x: u64| (x << (64 - n)) as i64 >> (64 - n);
    let less = if ty.starts_with('s') {
        signed(old) < signed(b)
    } else {
        old < b
    };
    let operation = *all.iter().find(|word| OPERATIONS.contains(word)).unwrap();
    let new = match operation {
        "add" => match Format::named(ty.trim_end_matches("x2")) {
            None => old.wrapping_add(b),
            Some(exact::F32) if !form.contains("shared") => {
                // Of f32 in global memory alone.
                let flush = |x| exact::F32.flush(x);
                flush(exact::add(exact::F32, Mode::Nearest, flush(old), flush(b)))
            }
            Some(format) => (0..n / format.bits).fold(0, |sum, i| {
                let part = |x: u64| x >> (i * format.bits) & (u64::MAX >> (64 - format.bits));
                sum | exact::add(format, Mode::Nearest, part(old), part(b)) << (i * format.bits)
            }),
        },
        "min" => {
            if less {
                old
            } else {
                b
            }
        }
        "max" => {
            if less {
                b
            } else {
                old
            }
        }
        "and" => old & b,
        "or" => old | b,
        "xor" => old ^ b,
        "exch" => b,
        "cas" => {
            if old == b {
                c
            } else {
                old
            }
        }
        "inc" => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        "dec" => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
        other => panic!("{other} has no reference"),
    };
    new & (u64::MAX >> (64 - n))
}

#[test]
fn atomic_operations_give_the_old_value_and_leave_the_new() {
    for form in forms() {
        let ty = words(&form).pop().unwrap();
        let n = bits(ty);
        let values = draw(&form, &[n; 3]);
        let data: Vec<Vec<u8>> = values.iter().map(|row| bytes(row, 8)).collect();
        let (out, after) = kernel(&form).run(8 * COUNT, &data);
        for (i, (d, new)) in numbers(&out, 8)
            .into_iter()
            .zip(numbers(&after[0], 8))
            .enumerate()
        {
            let [old, b, c] = [values[0][i], values[1][i], values[2][i]];
            let expected = reference(&form, old, b, c);
            let nan = |x: u64| exact::F64.is_nan(x);
            assert!(
                new == expected || ty == "f64" && nan(new) && nan(expected),
                "{form} of {old:x}, {b:x}, {c:x} leaves {new:x}, not {expected:x}"
            );
            assert_eq!(d, if form.starts_with("atom") { old } else { 0 }, "{form}");
        }
    }
}

#[test]
fn lanes_that_update_one_word_all_count() {
    for (form, first, expected) in [
        ("atom.global.add.u32", 5, 5 + (0..64).sum::<u64>()),
        ("atom.shared.add.u32", 5, 5 + (0..64).sum::<u64>()),
        ("atom.global.max.s64", 5, 63),
        ("atom.shared.inc.u32", 0, 64),
        ("red.global.xor.b32", 5, 5),
        ("atom.global.exch.b32", 5, 0),
    ] {
        let class = words(form).pop().map(bits).unwrap();
        let (b, d) = if class == 32 {
            ("%r1", "%r2")
        } else {
            ("%rd1", "%rd2")
        };
        let b_value = if form.contains("inc") {
            "mov.b32 %r1, 1000;"
        } else {
            "mov.b32 %r1, %i; cvt.u64.u32 %rd1, %i;"
        };
        let d = if form.starts_with("red") {
            String::new()
        } else {
            format!("{d}, ")
        };
        let at = if form.contains("shared") {
            "sh"
        } else {
            "%in0"
        };
        let body = format!(
            ".shared .align 8 .b8 sh[8];\nsetp.eq.u32 %p1, %i, 0;\n@%p1 ld.global.b64 %rd3, [%in0];\n\
             @%p1 st.shared.b64 [sh], %rd3;\nbar.sync 0;\nmov.b32 %r2, 0; mov.b64 %rd2, 0;\n{b_value}\n\
             {form} {d}[{at}], {b};\nbar.sync 0;\n@!%p1 bra done;\n{}\ndone:\ncvt.u64.u32 %rd4, %r2; or.b64 %rd4, %rd4, %rd2; st.global.b64 [%o], %rd4;",
            if at == "sh" {
                "ld.shared.b64 %rd3, [sh]; st.global.b64 [%in0], %rd3;"
            } else {
                ""
            }
        );
        let (out, after) = Kernel::new(&body, 64, 8, 1).run(64 * 8, &[bytes(&[first], 8)]);
        let mut old = numbers(&out, 8);
        if form.contains("exch") {
            // Whatever the order, all values but the last were seen once.
            old.push(numbers(&after[0], 8)[0]);
            old.sort_unstable();
            let mut all: Vec<u64> = (0..64).chain([5]).collect();
            all.sort_unstable();
            assert_eq!(old, all, "{form}");
            continue;
        }
        assert_eq!(numbers(&after[0], 8), [expected], "{form}");
        if form.contains("inc") {
            old.sort_unstable();
            assert_eq!(old, (0..64).collect::<Vec<_>>(), "{form}");
        }
    }
}

//! Integer arithmetic, logic, bit fields.

use crate::harness::{Bits, Shape, none, product, words};

const TYPES: &[&str] = &[
    "u8", "s8", "b8", "u16", "s16", "b16", "u32", "s32", "b32", "u64", "s64", "b64",
];
const PRMT: &[&str] = &["", "f4e", "b4e", "rc8", "ecl", "ecr", "rc16"];

/// Combinations of which the loader takes a part.
pub fn candidates() -> Vec<String> {
    let sign = &["u32", "s32"];
    [
        product(
            &["add", "sub", "addc", "subc"],
            &[&["", "sat"], &["", "cc"], TYPES],
        ),
        product(
            &["mul", "mad", "madc"],
            &[&["", "lo", "hi", "wide"], &["", "cc", "sat"], TYPES],
        ),
        product(&["mul24", "mad24"], &[&["lo", "hi"], &["u32", "s32"]]),
        product(
            &[
                "div", "rem", "min", "max", "sad", "abs", "neg", "and", "or", "xor", "not", "cnot",
                "brev", "popc", "clz", "bfe", "bfi", "shl", "shr", "szext", "bmsk",
            ],
            &[&["", "relu"], TYPES],
        ),
        product(&["bfind"], &[&["", "shiftamt"], TYPES]),
        product(&["shf"], &[&["l", "r"], &["", "clamp", "wrap"], TYPES]),
        product(&["dp4a"], &[sign, sign]),
        product(&["dp2a"], &[&["lo", "hi"], sign, sign]),
        product(&["prmt"], &[&["b32"], PRMT]),
        product(&["lop3"], &[&["", "or", "and"], TYPES]),
    ]
    .concat()
}

fn bits(ty: &str) -> Bits {
    ty[1..].parse().unwrap()
}

fn ty(form: &str) -> &str {
    words(form)
        .into_iter()
        .rfind(|word| TYPES.contains(word))
        .unwrap_or("b32")
}

pub fn shape(form: &str) -> Shape {
    let all = words(form);
    let n = bits(ty(form)).max(16);
    match all[0] {
        "mul" | "mad" | "madc" => {
            let d = if all.contains(&"wide") {
                2 * n.min(32)
            } else {
                n
            };
            let sources = [n, n, d];
            Shape::plain(form, d, &sources[..if all[0] == "mul" { 2 } else { 3 }])
        }
        "mad24" | "sad" => Shape::plain(form, n, &[n; 3]),
        "abs" | "neg" | "not" | "cnot" | "brev" => Shape::plain(form, n, &[n]),
        "popc" | "clz" | "bfind" => Shape::plain(form, 32, &[n]),
        "bfe" => Shape::plain(form, n, &[n, 32, 32]),
        "bfi" => Shape::plain(form, n, &[n, n, 32, 32]),
        "shl" | "shr" => Shape::plain(form, n, &[n, 32]),
        "lop3" => lop3(form, 0x5a),
        "shf" | "dp4a" | "dp2a" | "prmt" => Shape::plain(form, 32, &[32; 3]),
        "addc" | "subc" => Shape::plain(form, n, &[n, n]),
        _ => Shape::plain(form, n, &[n; 2]),
    }
}

fn lop3(form: &str, table: u32) -> Shape {
    Shape {
        text: format!("{form} $d, $a, $b, $c, {table};"),
        d: 32,
        sources: vec![32; 3],
    }
}

/// With its sign or with zeros.
fn extended(x: u64, bits: Bits, signed: bool) -> i128 {
    let shift = 128 - bits;
    let x = (x as i128) << shift;
    if signed {
        x >> shift
    } else {
        ((x as u128) >> shift) as i128
    }
}

fn bit(x: u64, i: u64) -> u64 {
    if i < 64 { x >> i & 1 } else { 0 }
}

fn prmt(mode: &str, a: u64, b: u64, c: u64) -> u64 {
    let byte = |i: u64| (b << 32 | a) >> (8 * i) & 0xff;
    let s = c & 3;
    let pick = |i: u64| match mode {
        "f4e" => byte(s + i),
        "b4e" => byte((s + 8 - i) % 8),
        "rc8" => byte(s),
        "ecl" => byte(i.max(s)),
        "ecr" => byte(i.min(s)),
        "rc16" => byte(2 * (s & 1) + i % 2),
        _ => {
            let selector = c >> (4 * i) & 15;
            let chosen = byte(selector & 7);
            if selector & 8 == 0 {
                chosen
            } else {
                0xff * (chosen >> 7)
            }
        }
    };
    (0..4).fold(0, |all, i| all | pick(i) << (8 * i))
}

fn reference(form: &str, s: &[u64]) -> u64 {
    let all = words(form);
    let ty = ty(form);
    let n = bits(ty);
    let (signed, top) = (ty.starts_with('s'), u64::from(n) - 1);
    let v = |i: usize| extended(s[i], n, signed);
    let low = |i: usize| s[i] & 0xff;
    let has = |word: &str| all.contains(&word);
    let clamped = |x: i128| {
        if has("sat") {
            x.clamp(-(1 << 31), (1 << 31) - 1)
        } else {
            x
        }
    };
    let multiplied = || {
        let product = v(0).wrapping_mul(v(1));
        match (has("hi"), signed) {
            (false, _) => product,
            (true, true) => product >> n,
            (true, false) => ((v(0) as u128 * v(1) as u128) >> n) as i128,
        }
    };
    let result = match all[0] {
        "add" => clamped(v(0) + v(1)),
        "sub" => clamped(v(0) - v(1)),
        "mul" => multiplied(),
        "mad" => multiplied().wrapping_add(i128::from(s[2])),
        // GPUs give all ones for a division by zero, and the dividend as the rest.
        "div" => {
            if v(1) == 0 {
                -1
            } else {
                v(0) / v(1)
            }
        }
        "rem" => {
            if v(1) == 0 {
                v(0)
            } else {
                v(0) % v(1)
            }
        }
        "min" => v(0).min(v(1)),
        "max" => v(0).max(v(1)),
        "sad" => v(2) + (v(0) - v(1)).abs(),
        "abs" => v(0).abs(),
        "neg" => -v(0),
        "and" => v(0) & v(1),
        "or" => v(0) | v(1),
        "xor" => v(0) ^ v(1),
        "not" => !v(0),
        "cnot" => i128::from(v(0) == 0),
        "brev" => (0..=top).fold(0, |all, i| all | i128::from(bit(s[0], i)) << (top - i)),
        "popc" => (0..=top).map(|i| i128::from(bit(s[0], i))).sum(),
        "clz" => (0..=top).rev().take_while(|&i| bit(s[0], i) == 0).count() as i128,
        "bfind" => {
            let a = if v(0) < 0 { !s[0] } else { s[0] };
            match (0..=top).rev().find(|&i| bit(a, i) == 1) {
                None => -1,
                Some(i) if has("shiftamt") => i128::from(top - i),
                Some(i) => i128::from(i),
            }
        }
        "bfe" => {
            let (at, len) = (low(1), low(2));
            let sign = if signed && len > 0 {
                bit(s[0], (at + len - 1).min(top))
            } else {
                0
            };
            (0..=top).fold(0, |all, i| {
                let inside = i < len && at + i <= top;
                all | i128::from(if inside { bit(s[0], at + i) } else { sign }) << i
            })
        }
        "bfi" => {
            let (at, len) = (low(2), low(3));
            (0..=top).fold(0, |all, i| {
                let inside = i >= at && i - at < len;
                all | i128::from(if inside {
                    bit(s[0], i - at)
                } else {
                    bit(s[1], i)
                }) << i
            })
        }
        "shl" => {
            if s[1] > top {
                0
            } else {
                v(0) << s[1]
            }
        }
        "shr" => v(0) >> s[1].min(100),
        "shf" => {
            let by = if has("wrap") { s[2] % 32 } else { s[2].min(32) };
            let both = u128::from(s[1] << 32 | s[0]);
            (if has("l") {
                both << by >> 32
            } else {
                both >> by
            }) as i128
        }
        "dp4a" => {
            let part = |x: u64, i: u32, ty: &str| extended(x >> (8 * i), 8, ty == "s32");
            (0..4)
                .map(|i| part(s[0], i, all[1]) * part(s[1], i, all[2]))
                .sum::<i128>()
                + v(2)
        }
        "prmt" => prmt(all.get(2).unwrap_or(&""), s[0], s[1], s[2]).into(),
        opcode => panic!("{opcode} has no reference"),
    };
    result as u64
}

pub fn forms() -> Vec<String> {
    crate::harness::accepted(candidates(), |form| shape(form).ptx())
}

fn carries(form: &str) -> bool {
    form.starts_with("addc") || form.starts_with("subc") || words(form).contains(&"cc")
}

#[test]
fn integer_operations_follow_the_isa() {
    let forms = forms()
        .into_iter()
        .filter(|form| !carries(form) && !form.starts_with("lop3"));
    none(forms.map(|form| shape(&form).check(|sources| reference(&form, sources))));
}

#[test]
fn carries_and_borrows_are_taken_and_left() {
    for form in forms().into_iter().filter(|form| carries(form)) {
        let n = bits(ty(&form));
        let add = form.starts_with("add");
        let (takes, leaves) = (words(&form)[0].ends_with('c'), words(&form).contains(&"cc"));
        // Carry in: of all ones and one more, or of zero less one.
        let before = if add {
            "add.cc.u32 %t, %t, 0xffffffff;"
        } else {
            "sub.cc.u32 %t, 0, %t;"
        };
        let after = if add {
            "addc.u32 %t, 0, 0;"
        } else {
            "subc.u32 %t, 0, 0;"
        };
        for carry in [false, true] {
            let kept = if carry {
                "cvt.u64.u32 $d, %t;"
            } else {
                "cvt.u64.u32 $d, %x;"
            };
            let kept = if n == 64 && !carry {
                "mov.b64 $d, %x;"
            } else {
                kept
            };
            let shape = Shape {
                text: format!(
                    "{{ .reg .b32 %t; .reg .b{n} %x; mov.b32 %t, $c; {before} {form} %x, $a, $b; {after} {kept} }}"
                ),
                d: 64,
                sources: vec![n, n, 32],
            };
            let wrong = shape.check(|s| {
                let into = u128::from(s[2] != 0);
                let by = u128::from(s[1]) + if takes { into } else { 0 };
                let a = u128::from(s[0]);
                let total = if add { a + by } else { a.wrapping_sub(by) };
                let out = if leaves { total >> n & 1 } else { into } as u64;
                match (carry, add) {
                    (false, _) => total as u64 & (u64::MAX >> (64 - n)),
                    (true, true) => out,
                    (true, false) => out * 0xffff_ffff,
                }
            });
            assert_eq!(wrong, None);
        }
    }
}

#[test]
fn every_truth_table_of_three_bits_holds() {
    for form in forms().into_iter().filter(|form| form.starts_with("lop3")) {
        none((0..256).map(|table| {
            lop3(&form, table).check(|s| {
                (0..32).fold(0, |all, i| {
                    let index = bit(s[0], i) << 2 | bit(s[1], i) << 1 | bit(s[2], i);
                    all | u64::from(table >> index & 1) << i
                })
            })
        }));
    }
}

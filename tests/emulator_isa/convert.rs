//! Conversions between all pairs of types, moves, packing.

use crate::exact::{self, Format, Mode, Number};
use crate::harness::{Bits, Shape, none, product, words};

const TYPES: &[&str] = &[
    "u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64", "f16", "bf16", "f32", "f64",
];
const MODES: &[&str] = &[
    "", "rn", "rz", "rm", "rp", "rni", "rzi", "rmi", "rpi", "rna",
];

/// Combinations of which the loader takes a part.
pub fn candidates() -> Vec<String> {
    [
        product(
            &["cvt"],
            &[
                MODES,
                &["", "relu"],
                &["", "ftz"],
                &["", "sat", "satfinite"],
                TYPES,
                TYPES,
            ],
        ),
        product(
            &["cvt"],
            &[
                MODES,
                &["", "relu"],
                &["", "ftz"],
                &["", "sat", "satfinite"],
                &["f16x2", "bf16x2", "tf32", "e4m3x2", "e5m2x2"],
                &["f32"],
            ],
        ),
        product(
            &["mov"],
            &[&[
                "b16", "u16", "s16", "b32", "u32", "s32", "b64", "u64", "s64", "f16", "bf16",
                "f32", "f64", "f16x2", "bf16x2", "b8", "u8",
            ]],
        ),
    ]
    .concat()
}

fn bits(ty: &str) -> Bits {
    match ty {
        "f16x2" | "bf16x2" | "tf32" => 32,
        "e4m3x2" | "e5m2x2" => 16,
        _ => ty.trim_start_matches(char::is_alphabetic).parse().unwrap(),
    }
}

fn types(form: &str) -> [&str; 2] {
    let all = words(form);
    [all[all.len() - 2], all[all.len() - 1]]
}

pub fn shape(form: &str) -> Shape {
    let [to, from] = types(form);
    if form.starts_with("mov") {
        return Shape::plain(form, bits(from).max(16), &[bits(from).max(16)]);
    }
    if to.ends_with("x2") {
        return Shape::plain(form, bits(to), &[32, 32]);
    }
    Shape::plain(form, bits(to).max(16), &[bits(from).max(16)])
}

pub fn forms() -> Vec<String> {
    crate::harness::accepted(candidates(), |form| shape(form).ptx())
}

fn signed(ty: &str) -> bool {
    ty.starts_with('s')
}

fn range(ty: &str) -> (i128, i128) {
    let bits = bits(ty);
    match signed(ty) {
        true => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        false => (0, (1 << bits) - 1),
    }
}

fn integer(ty: &str, x: u64) -> i128 {
    let shift = 64 - bits(ty);
    match signed(ty) {
        true => i128::from((x << shift) as i64 >> shift),
        false => i128::from(x << shift >> shift),
    }
}

/// Of one value; an integer result is given with all its bits, to be cut to the register.
fn convert(form: &str, to: &str, from: &str, x: u64) -> u64 {
    let all = words(form);
    let has = |word: &str| all.contains(&word);
    let mode = Mode::named(all[1]);
    let nearest = mode.unwrap_or(Mode::Nearest);
    let integral = all[1].len() == 3 && all[1].ends_with('i');
    let Some(format) = Format::named(from) else {
        let value = integer(from, x);
        return match Format::named(to) {
            None => {
                let (low, high) = range(to);
                let value = if has("sat") {
                    value.clamp(low, high)
                } else {
                    value
                };
                integer(to, value as u64) as u64
            }
            Some(to) => {
                let result = exact::from_integer(value).round(to, nearest);
                if has("sat") {
                    exact::saturate(to, result)
                } else {
                    result
                }
            }
        };
    };
    let x = if has("ftz") && from == "f32" {
        format.flush(x)
    } else {
        x
    };
    let Some(target) = Format::named(to) else {
        let (low, high) = range(to);
        return match format.open(x) {
            // Zero, unless a type of 64 bits takes part: then the top bit alone.
            Number::Nan if bits(from) == 64 || bits(to) == 64 => {
                if signed(to) {
                    low as u64
                } else {
                    1 << (bits(to) - 1)
                }
            }
            Number::Nan => 0,
            Number::Infinite { negative } => (if negative { low } else { high }) as u64,
            Number::Finite(exact) => exact.integer(nearest).clamp(low, high) as u64,
        };
    };
    let result = match integral {
        true => exact::convert(
            format,
            target,
            Mode::Nearest,
            exact::integral(format, nearest, x),
        ),
        false => exact::convert(format, target, nearest, x),
    };
    let result = if has("ftz") && to == "f32" {
        target.flush(result)
    } else {
        result
    };
    if has("sat") {
        exact::saturate(target, result)
    } else if has("relu") && !target.is_nan(result) && result & target.sign() != 0 {
        0
    } else {
        result
    }
}

fn reference(form: &str, s: &[u64]) -> u64 {
    let [to, from] = types(form);
    match to.strip_suffix("x2") {
        _ if form.starts_with("mov") => s[0],
        Some(half) => {
            let [a, b] = [s[0], s[1]].map(|x| convert(form, half, from, x) & 0xffff);
            a << 16 | b
        }
        None => convert(form, to, from, s[0]),
    }
}

fn check(form: &str) -> Option<String> {
    let [to, _] = types(form);
    let equal = |found: u64, expected: u64| {
        found == expected || to == "f64" && exact::F64.is_nan(found) && exact::F64.is_nan(expected)
    };
    let shape = shape(form);
    if shape.sources == [16] {
        shape.check_all_halves(|s| reference(form, s), equal)
    } else {
        shape.check_by(|s| reference(form, s), equal)
    }
}

#[test]
fn conversions_round_saturate_and_extend() {
    none(forms().iter().map(|form| check(form)));
}

#[test]
fn narrow_integers_fill_wider_registers() {
    // The result is extended to the register by its own sign, the source is cut to its type.
    for to in ["u8", "s8", "u16", "s16", "u32", "s32"] {
        for from in ["u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"] {
            for register in [32, 64] {
                if bits(to) > register {
                    continue;
                }
                let form = format!("cvt.{to}.{from}");
                let shape = Shape::plain(&form, register, &[64]);
                assert_eq!(shape.check(|s| convert(&form, to, from, s[0])), None);
            }
        }
    }
}

#[test]
fn vectors_of_registers_are_packed_from_the_lowest() {
    let cases: [(&str, Bits, &[Bits], u32); 6] = [
        ("mov.b32 $d, {$a, $b};", 32, &[16, 16], 16),
        ("mov.b64 $d, {$a, $b};", 64, &[32, 32], 32),
        ("mov.b64 $d, {$a, $b, $c, $e};", 64, &[16; 4], 16),
        ("mov.u32 $d, {$a, $b};", 32, &[16, 16], 16),
        ("mov.f64 $d, {$a, $b};", 64, &[32, 32], 32),
        ("mov.b64 $d, {$b, $a};", 64, &[32, 32], 0),
    ];
    for (text, d, sources, bits) in cases {
        let shape = Shape {
            text: text.to_owned(),
            d,
            sources: sources.to_vec(),
        };
        let wrong = shape.check(|s| match bits {
            0 => s[0] << 32 | s[1],
            _ => s.iter().rev().fold(0, |all, x| all << bits | x),
        });
        assert_eq!(wrong, None);
    }
    let parts = [
        ("mov.b32 {$d, _}, $a;", 16, 32, 0),
        ("mov.b32 {_, $d}, $a;", 16, 32, 16),
        ("mov.b64 {$d, _}, $a;", 32, 64, 0),
        ("mov.b64 {_, $d}, $a;", 32, 64, 32),
        ("mov.b64 {_, $d, _, _}, $a;", 16, 64, 16),
        ("mov.b64 {_, _, $d, _}, $a;", 16, 64, 32),
        ("mov.b64 {_, _, _, $d}, $a;", 16, 64, 48),
    ];
    for (text, d, a, shift) in parts {
        let shape = Shape {
            text: text.to_owned(),
            d,
            sources: vec![a],
        };
        assert_eq!(shape.check(|s| s[0] >> shift), None);
    }
}

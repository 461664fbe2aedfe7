//! Floating-point arithmetic of f32, f64, f16, bf16 and pairs.

use crate::exact::{self, Format, Mode};
use crate::harness::{Bits, Shape, none, product, words};

pub const UNARY: &[&str] = &[
    "abs", "neg", "sqrt", "rcp", "rsqrt", "ex2", "lg2", "sin", "cos", "tanh",
];

/// Combinations of which the loader takes a part.
pub fn candidates() -> Vec<String> {
    product(
        &[
            UNARY,
            &[
                "add", "sub", "mul", "fma", "mad", "div", "min", "max", "copysign",
            ],
        ]
        .concat(),
        &[
            &["", "rn", "rz", "rm", "rp", "approx", "full"],
            &["", "ftz"],
            &["", "relu"],
            &["", "sat"],
            &["", "NaN"],
            &["f32", "f64", "f16", "f16x2", "bf16", "bf16x2"],
        ],
    )
}

/// The format of a lane, the bits of the register.
fn format(form: &str) -> (Format, Bits) {
    let ty = words(form).pop().unwrap();
    let format = Format::named(ty.trim_end_matches("x2")).unwrap();
    (format, format.bits * if ty.ends_with("x2") { 2 } else { 1 })
}

pub fn shape(form: &str) -> Shape {
    let bits = format(form).1;
    let count = match words(form)[0] {
        "fma" | "mad" => 3,
        opcode if UNARY.contains(&opcode) => 1,
        _ => 2,
    };
    Shape::plain(form, bits, &[bits; 3][..count])
}

pub fn forms() -> Vec<String> {
    crate::harness::accepted(candidates(), |form| shape(form).ptx())
}

/// Computed in f64, then rounded: one unit may be missing.
fn function(opcode: &str) -> Option<fn(f64) -> f64> {
    Some(match opcode {
        "rsqrt" => |x| 1.0 / x.sqrt(),
        "ex2" => f64::exp2,
        "lg2" => f64::log2,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tanh" => f64::tanh,
        _ => return None,
    })
}

/// One lane's result.
fn lane(form: &str, format: Format, s: &[u64]) -> u64 {
    let all = words(form);
    let has = |word: &str| all.contains(&word);
    let flushed = |x: u64| if has("ftz") { format.flush(x) } else { x };
    let s: Vec<u64> = s.iter().map(|&x| flushed(x)).collect();
    let mode = all
        .iter()
        .find_map(|word| Mode::named(word))
        .unwrap_or(Mode::Nearest);
    let result = match all[0] {
        "add" => exact::add(format, mode, s[0], s[1]),
        "sub" => exact::add(format, mode, s[0], s[1] ^ format.sign()),
        "mul" => exact::mul(format, mode, s[0], s[1]),
        "fma" | "mad" => exact::fma(format, mode, s[0], s[1], s[2]),
        "div" => exact::div(format, mode, s[0], s[1]),
        "rcp" => exact::div(format, mode, format.one(), s[0]),
        "sqrt" => exact::sqrt(format, mode, s[0]),
        "min" | "max" => exact::pick(format, all[0] == "min", has("NaN"), s[0], s[1]),
        "abs" => return s[0] & !format.sign(),
        "neg" => return s[0] ^ format.sign(),
        "copysign" => return s[0] & format.sign() | s[1] & !format.sign(),
        opcode => {
            let function = function(opcode).unwrap_or_else(|| panic!("{opcode} has no reference"));
            let value = function(f64::from_bits(exact::convert(
                format,
                exact::F64,
                mode,
                s[0],
            )));
            exact::convert(exact::F64, format, Mode::Nearest, value.to_bits())
        }
    };
    let result = flushed(result);
    if has("sat") {
        exact::saturate(format, result)
    } else if has("relu") && !format.is_nan(result) && result & format.sign() != 0 {
        0
    } else {
        result
    }
}

/// Equal, or NaNs where the ISA names none, or neighbours where the function is approximated.
fn agrees(form: &str, format: Format, found: u64, expected: u64) -> bool {
    let any_nan = format == exact::F64 || ["abs", "neg", "copysign"].contains(&words(form)[0]);
    if any_nan && format.is_nan(found) && format.is_nan(expected) {
        return true;
    }
    let near = function(words(form)[0]).is_some() && !format.is_nan(expected);
    found.abs_diff(expected) <= u64::from(near)
}

fn check(form: &str) -> Option<String> {
    let (format, bits) = format(form);
    let halves = bits / format.bits;
    let mask = u64::MAX >> (64 - format.bits);
    let part = |x: u64, i: u32| x >> (i * format.bits) & mask;
    let reference = |s: &[u64]| {
        (0..halves).fold(0, |all, i| {
            let s: Vec<u64> = s.iter().map(|&x| part(x, i)).collect();
            all | lane(form, format, &s) << (i * format.bits)
        })
    };
    let equal = |found, expected| {
        (0..halves).all(|i| agrees(form, format, part(found, i), part(expected, i)))
    };
    if shape(form).sources == [16] {
        return shape(form).check_all_halves(reference, equal);
    }
    shape(form).check_by(reference, equal)
}

/// `.approx.ftz.f64`, of 20 bits, which ends in 32 zeros.
fn is_gross(form: &str) -> bool {
    form.ends_with("approx.ftz.f64")
}

#[test]
fn arithmetic_rounds_once_in_every_mode_and_type() {
    none(
        forms()
            .iter()
            .filter(|form| !is_gross(form))
            .map(|form| check(form)),
    );
}

#[test]
fn gross_approximations_of_doubles_keep_twenty_bits() {
    none(
        forms()
            .into_iter()
            .filter(|form| is_gross(form))
            .map(|form| {
                let reference =
                    |s: &[u64]| lane(&form, exact::F64, &[exact::F64.flush(s[0]) >> 32 << 32]);
                shape(&form).check_by(reference, |found, expected| {
                    let nan = |x| exact::F64.is_nan(x);
                    // Half a unit of 20 bits, and a little of the rounding of the reference.
                    nan(found) && nan(expected)
                        || !nan(found)
                            && found << 32 == 0
                            && found.abs_diff(expected) <= (1 << 31) + 2
                        || exact::F64.flush(found) == found
                            && found.abs_diff(expected) <= 1 << 52
                            && expected & (1 << 63) == found & (1 << 63)
                            && found & !(1 << 63) == 0
                })
            }),
    );
}

#[test]
fn sums_of_nearly_equal_products_are_exact() {
    // c lies near -a b: all but the last bits cancel, or a tie is broken by what lies far below.
    for form in forms()
        .into_iter()
        .filter(|form| form.starts_with("fma") && format(form).1 <= 64)
    {
        let (format, bits) = format(&form);
        if bits != format.bits {
            continue;
        }
        let class = format!("b{bits}");
        let ty = words(&form).pop().unwrap().to_owned();
        let text = format!(
            "{{ .reg .{class} %t; mul.rn.{ty} %t, $a, $b; neg.{ty} %t, %t; xor.{class} %t, %t, $c; {form} $d, $a, $b, %t; }}"
        );
        let small = |s: &[u64]| s[2] & 0x3;
        let shape = Shape {
            text: text.replace("$c; fma", "%u; fma").replacen(
                "{ ",
                &format!("{{ .reg .{class} %u; and.{class} %u, $c, 3; "),
                1,
            ),
            d: bits,
            sources: vec![bits; 3],
        };
        let wrong = shape.check_by(
            |s| {
                let product = exact::mul(format, Mode::Nearest, s[0], s[1]) ^ format.sign();
                lane(&form, format, &[s[0], s[1], product ^ small(s)])
            },
            |found, expected| agrees(&form, format, found, expected),
        );
        assert_eq!(wrong, None);
    }
}

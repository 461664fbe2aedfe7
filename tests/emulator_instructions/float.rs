//! f32 and f64 under every rounding.

use super::harness::{B32, B64, NAN32, check, check_by, f, flushed, single};

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

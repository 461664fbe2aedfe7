//! Comparisons, selection, logic on predicates.

use std::cmp::Ordering::{self, Equal, Greater, Less};

use crate::exact::Format;
use crate::harness::{Bits, Shape, none, product, words};

const TYPES: &[&str] = &[
    "b16", "u16", "s16", "b32", "u32", "s32", "b64", "u64", "s64", "f16", "bf16", "f32", "f64",
    "f16x2", "bf16x2",
];
const RELATIONS: &[&str] = &[
    "eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu",
    "geu", "num", "nan",
];
const LOGIC: &[&str] = &["", "and", "or", "xor"];
const PROPERTIES: &[&str] = &[
    "finite",
    "infinite",
    "number",
    "notanumber",
    "normal",
    "subnormal",
];

/// Combinations of which the loader takes a part.
pub fn candidates() -> Vec<String> {
    [
        product(&["setp"], &[RELATIONS, LOGIC, &["", "ftz"], TYPES]),
        product(
            &["set"],
            &[
                RELATIONS,
                LOGIC,
                &["", "ftz"],
                &["u32", "s32", "f32", "f16"],
                TYPES,
            ],
        ),
        product(&["selp"], &[TYPES]),
        product(&["slct"], &[&["", "ftz"], TYPES, &["s32", "f32"]]),
        product(&["testp"], &[PROPERTIES, &["f32", "f64", "f16"]]),
        product(&["and", "or", "xor", "not", "mov"], &[&["pred"]]),
    ]
    .concat()
}

fn bits(ty: &str) -> Bits {
    match ty {
        "f16x2" | "bf16x2" => 32,
        _ => ty.trim_start_matches(char::is_alphabetic).parse().unwrap(),
    }
}

fn combined(form: &str) -> Option<&str> {
    words(form)
        .get(2)
        .copied()
        .filter(|word| LOGIC.contains(word))
}

/// The results of `setp` are gathered as two bits: of p, then of q.
pub fn shape(form: &str) -> Shape {
    let all = words(form);
    let ty = *all.last().unwrap();
    let with = if combined(form).is_some() {
        ", !%c"
    } else {
        ""
    };
    match all[0] {
        "setp" => Shape {
            text: format!(
                "{{ .reg .pred %x, %y, %z; .reg .b32 %e1, %e2; {form} %x|%y, $a, $b{with};\n{form} %z, $a, $b{};\n\
                 selp.b32 $d, 1, 0, %x; selp.b32 %e1, 2, 0, %y; selp.b32 %e2, 4, 0, %z; or.b32 $d, $d, %e1; or.b32 $d, $d, %e2; }}",
                with.replace('!', "")
            ),
            d: 32,
            sources: vec![bits(ty), bits(ty), 1],
        },
        "set" => Shape {
            text: format!("{form} $d, $a, $b{};", with.replace('!', "")),
            d: 32,
            sources: vec![bits(ty), bits(ty), 1],
        },
        "selp" => Shape::plain(form, bits(ty), &[bits(ty), bits(ty), 1]),
        "slct" => Shape::plain(
            form,
            bits(all[all.len() - 2]),
            &[bits(all[all.len() - 2]), bits(all[all.len() - 2]), 32],
        ),
        "testp" => Shape::plain(form, 1, &[bits(ty)]),
        "not" | "mov" => Shape::plain(form, 1, &[1]),
        _ => Shape::plain(form, 1, &[1, 1]),
    }
}

pub fn forms() -> Vec<String> {
    crate::harness::accepted(candidates(), |form| shape(form).ptx())
}

fn order(ty: &str, ftz: bool, a: u64, b: u64) -> Option<Ordering> {
    if let Some(format) = Format::named(ty) {
        let [a, b] = [a, b].map(|x| if ftz { format.flush(x) } else { x });
        if format.is_nan(a) || format.is_nan(b) {
            return None;
        }
        let key = |x: u64| {
            let magnitude = i128::from(x & (format.sign() - 1));
            if x & format.sign() != 0 {
                -magnitude
            } else {
                magnitude
            }
        };
        return Some(key(a).cmp(&key(b)));
    }
    let shift = 64 - bits(ty);
    Some(if ty.starts_with('s') {
        ((a << shift) as i64).cmp(&((b << shift) as i64))
    } else {
        a.cmp(&b)
    })
}

fn holds(relation: &str, order: Option<Ordering>) -> bool {
    let Some(order) = order else {
        return relation == "nan" || relation.len() == 3 && relation.ends_with('u');
    };
    match relation {
        "num" => true,
        "nan" => false,
        "lo" => order == Less,
        "ls" => order != Greater,
        "hi" => order == Greater,
        "hs" => order != Less,
        _ => match &relation[..2] {
            "eq" => order == Equal,
            "ne" => order != Equal,
            "lt" => order == Less,
            "le" => order != Greater,
            "gt" => order == Greater,
            _ => order != Less,
        },
    }
}

fn logic(word: Option<&str>, a: bool, b: bool) -> bool {
    match word {
        None => a,
        Some("and") => a && b,
        Some("or") => a || b,
        _ => a != b,
    }
}

fn has_property(property: &str, ty: &str, x: u64) -> bool {
    let format = Format::named(ty).unwrap();
    let magnitude = x & (format.sign() - 1);
    let subnormal = magnitude != 0 && magnitude < 1 << format.fraction;
    match property {
        "finite" => magnitude < format.infinity(),
        "infinite" => magnitude == format.infinity(),
        "number" => magnitude <= format.infinity(),
        "notanumber" => magnitude > format.infinity(),
        // Zeros count as normal.
        "normal" => magnitude < format.infinity() && !subnormal,
        _ => subnormal,
    }
}

fn reference(form: &str, s: &[u64]) -> u64 {
    let all = words(form);
    let ty = *all.last().unwrap();
    let outcome = || holds(all[1], order(ty, all.contains(&"ftz"), s[0], s[1]));
    let with = |flip: bool| s.get(2).is_some_and(|&c| c != 0) != flip;
    match all[0] {
        "setp" => {
            let word = combined(form);
            u64::from(logic(word, outcome(), with(true)))
                | u64::from(logic(word, !outcome(), with(true))) << 1
                | u64::from(logic(word, outcome(), with(false))) << 2
        }
        "set" => match (
            logic(combined(form), outcome(), with(false)),
            all[all.len() - 2],
        ) {
            (false, _) => 0,
            (true, "f32") => 0x3f80_0000,
            _ => 0xffff_ffff,
        },
        "selp" => {
            if s[2] != 0 {
                s[0]
            } else {
                s[1]
            }
        }
        "testp" => has_property(all[1], ty, s[0]).into(),
        "not" => u64::from(s[0] == 0),
        "mov" => u64::from(s[0] != 0),
        opcode => logic(Some(opcode), s[0] != 0, s[1] != 0).into(),
    }
}

#[test]
fn comparisons_know_signs_nans_and_predicates() {
    none(
        forms()
            .iter()
            .map(|form| shape(form).check(|s| reference(form, s))),
    );
}

#[test]
fn sources_may_be_negated_predicates() {
    for (form, expected) in [
        ("and.pred", [0, 0, 1, 0]),
        ("or.pred", [1, 0, 1, 1]),
        ("xor.pred", [1, 0, 0, 1]),
        ("selp.b32", [0, 0, 0, 0]),
    ] {
        // Of (a, !b) for a and b of 00, 01, 10, 11.
        if form == "selp.b32" {
            let shape = Shape {
                text: format!("{form} $d, $a, $b, !%c;"),
                d: 32,
                sources: vec![32, 32, 1],
            };
            assert_eq!(shape.check(|s| if s[2] == 0 { s[0] } else { s[1] }), None);
            continue;
        }
        let shape = Shape {
            text: format!("{form} $d, $a, !%b;"),
            d: 1,
            sources: vec![1, 1],
        };
        assert_eq!(
            shape.check(|s| expected[usize::from(s[0] != 0) * 2 + usize::from(s[1] != 0)]),
            None
        );
    }
}

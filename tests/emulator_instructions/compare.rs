//! Comparisons and what selects by them.

use super::harness::{B16, B32, B64, check, f};
use half::f16;

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

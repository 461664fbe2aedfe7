//! Integers: arithmetic, shifts, logic, bit fields, bytes.

use super::harness::{B16, B32, B64, check};

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

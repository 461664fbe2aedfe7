//! Loads, stores, addresses of all spaces.

use crate::harness::{Kernel, accepted, blob, bytes, draw, numbers, product, words};

const TYPES: &[&str] = &[
    "b8", "u8", "s8", "b16", "u16", "s16", "f16", "bf16", "b32", "u32", "s32", "f32", "f16x2",
    "bf16x2", "b64", "u64", "s64", "f64", "b128",
];
const VECTORS: &[&str] = &["", "v2", "v4", "v8"];
const SPACES: &[&str] = &[
    "",
    "global",
    "const",
    "shared",
    "shared::cta",
    "local",
    "param",
    "param::entry",
    "param::func",
    "shared::cluster",
];
const ORDERS: &[&str] = &[
    "", "weak", "volatile", "relaxed", "acquire", "release", "mmio",
];
const SCOPES: &[&str] = &["", "cta", "cluster", "gpu", "sys"];
const CACHES: &[&str] = &["", "ca", "cg", "cs", "lu", "cv", "wb", "wt"];
const L1: &[&str] = &[
    "",
    "L1::evict_normal",
    "L1::evict_unchanged",
    "L1::evict_first",
    "L1::evict_last",
    "L1::no_allocate",
];
const L2: &[&str] = &[
    "",
    "L2::evict_normal",
    "L2::evict_unchanged",
    "L2::evict_first",
    "L2::evict_last",
    "L2::no_allocate",
    "L2::cache_hint",
];
const SIZES: &[&str] = &["", "L2::64B", "L2::128B", "L2::256B"];

/// Every type and vector in every space; every order and scope in every space; every hint of
/// caches for one type. Their full product has millions of members.
pub fn candidates() -> Vec<String> {
    let mut all = [
        product(&["ld", "st", "ldu"], &[SPACES, VECTORS, TYPES]),
        product(&["ld", "st"], &[ORDERS, SCOPES, SPACES, &["b32"]]),
        product(
            &["ld", "st"],
            &[&["", "global"], CACHES, L1, L2, SIZES, &["b32"]],
        ),
        product(
            &["ld"],
            &[&["global"], CACHES, L1, L2, SIZES, &["nc"], &["b32"]],
        ),
        product(&["ld"], &[&["global.nc"], CACHES, L1, L2, SIZES, &["b32"]]),
        product(&["ld.global.nc"], &[VECTORS, TYPES]),
    ]
    .concat();
    all.sort();
    all.dedup();
    all
}

/// Addresses, and hints without a result.
pub fn address_candidates() -> Vec<String> {
    [
        product(&["cvta"], &[&["", "to"], SPACES, &["u32", "u64"]]),
        product(&["isspacep"], &[SPACES]),
        product(
            &["prefetch"],
            &[SPACES, &["L1", "L2", "L2::evict_last", "L2::evict_normal"]],
        ),
        product(&["prefetchu"], &[&["L1"]]),
    ]
    .concat()
}

fn bits(ty: &str) -> usize {
    match ty {
        "f16x2" | "bf16x2" => 32,
        _ => ty.trim_start_matches(char::is_alphabetic).parse().unwrap(),
    }
}

struct Form<'a> {
    store: bool,
    space: &'a str,
    count: usize,
    ty: &'a str,
    bytes: usize,
}

impl<'a> Form<'a> {
    fn new(form: &'a str) -> Self {
        let all = words(form);
        let ty = *all.last().unwrap();
        let space = all
            .iter()
            .find(|word| SPACES[1..].contains(word))
            .map_or("", |word| word);
        let count = match () {
            () if all.contains(&"v2") => 2,
            () if all.contains(&"v4") => 4,
            () if all.contains(&"v8") => 8,
            () => 1,
        };
        Self {
            store: all[0] == "st",
            space,
            count,
            ty,
            bytes: bits(ty) / 8,
        }
    }

    /// Bits of registers that can hold the type.
    fn classes(&self) -> Vec<usize> {
        let float = self.ty.contains('f');
        [16, 32, 64]
            .into_iter()
            .filter(|&class| class >= 8 * self.bytes && (!float || class == 8 * self.bytes))
            .collect()
    }
}

fn registers(class: usize, count: usize) -> String {
    let names: Vec<String> = (0..count)
        .map(|i| match class {
            16 => format!("%h{i}"),
            32 => format!("%r{}", 32 + i),
            _ => format!("%rd{}", 16 + i),
        })
        .collect();
    if count == 1 {
        names[0].clone()
    } else {
        format!("{{{}}}", names.join(", "))
    }
}

fn module() -> String {
    let values: Vec<String> = blob().iter().map(u8::to_string).collect();
    format!(
        ".const .align 16 .b8 table[64] = {{{}}};",
        values.join(", ")
    )
}

const MEMORIES: &str = ".shared .align 16 .b8 sh[512]; .local .align 16 .b8 lo[64];\n";

/// `blob` is in all memories; thread i loads at byte `i * size % 64`.
fn load(text: &str, form: &Form, class: usize) -> Kernel {
    let size = form.bytes * form.count;
    let address = match form.space {
        "" | "global" => "add.s64 %rd2, %in0, %rd1;",
        "const" => "mov.u64 %rd2, table; add.s64 %rd2, %rd2, %rd1;",
        "local" => "mov.u64 %rd2, lo; add.s64 %rd2, %rd2, %rd1;",
        "shared" | "shared::cta" | "shared::cluster" => {
            "mov.u64 %rd2, sh; add.s64 %rd2, %rd2, %rd1;"
        }
        _ => "mov.u64 %rd2, blob; add.s64 %rd2, %rd2, %rd1;",
    };
    let fill: String = (0..16)
        .map(|i| {
            let at = 4 * i;
            format!("ld.global.b32 %r1, [%in0+{at}]; st.local.b32 [lo+{at}], %r1; @%p1 st.shared.b32 [sh+{at}], %r1;\n")
        })
        .collect();
    let store: String = (0..form.count)
        .map(|i| {
            let all = registers(class, form.count);
            let name = all
                .trim_matches(['{', '}'])
                .split(", ")
                .nth(i)
                .unwrap_or_default()
                .to_owned();
            format!("st.global.b{class} [%o+{}], {name};\n", 8 * i)
        })
        .collect();
    let body = format!(
        "{MEMORIES}setp.eq.u32 %p1, %i, 0;\n{fill}bar.sync 0;\n\
         mul.lo.u32 %r2, %i, {size}; and.b32 %r2, %r2, 63; cvt.u64.u32 %rd1, %r2;\n\
         {address}\n{text} {}, [%rd2];\n{store}",
        registers(class, form.count)
    );
    Kernel::with_module(&module(), &body, 32, 32, 1)
}

fn check_load(text: &str, class: usize) {
    let form = Form::new(text);
    let (out, _) = load(text, &form, class).run(32 * 32, &[blob()]);
    let (size, signed) = (form.bytes * form.count, form.ty.starts_with('s'));
    for (thread, out) in out.chunks_exact(32).enumerate() {
        for i in 0..form.count {
            let at = (thread * size) % 64 + i * form.bytes;
            let value = numbers(&blob()[at..at + form.bytes], form.bytes)[0];
            let shift = 64 - 8 * form.bytes;
            let value = if signed {
                ((value << shift) as i64 >> shift) as u64
            } else {
                value
            };
            let expected = value & (u64::MAX >> (64 - class));
            let found = numbers(&out[8 * i..8 * i + 8], 8)[0];
            assert_eq!(
                found, expected,
                "{text}, thread {thread}, element {i}, {class} bits"
            );
        }
    }
}

/// Thread i has four numbers and stores as many of them as the form takes.
fn store(text: &str, form: &Form, class: usize) -> Kernel {
    let inside = "%rd3";
    let (address, back) = match form.space {
        "" | "global" => ("mov.b64 %rd3, %o;", ""),
        "local" => ("mov.u64 %rd3, lo;", "local"),
        "param" | "param::func" => ("", "param"),
        _ => (
            "mov.u64 %rd3, sh; mad.wide.u32 %rd3, %i, 16, %rd3;",
            "shared",
        ),
    };
    let all = registers(class, form.count);
    let names: Vec<&str> = all.trim_matches(['{', '}']).split(", ").collect();
    let take: String = names
        .iter()
        .enumerate()
        .map(|(i, name)| format!("ld.global.b{class} {name}, [%rd4+{}];\n", 8 * i))
        .collect();
    let place = if back == "param" { "pa" } else { inside };
    let (zero, copy): (String, String) = (0..4)
        .filter(|_| !back.is_empty())
        .map(|i| {
            let at = 4 * i;
            (
                format!("st.{back}.b32 [{place}+{at}], 0;\n"),
                format!("ld.{back}.b32 %r1, [{place}+{at}]; st.global.b32 [%o+{at}], %r1;\n"),
            )
        })
        .unzip();
    let body = format!(
        "{MEMORIES}.param .align 16 .b8 pa[16];\nmad.wide.u32 %rd4, %i, 32, %in0;\n{take}{address}\n\
         {zero}{text} [{place}], {all};\n{copy}"
    );
    Kernel::new(&body, 32, 16, 1)
}

fn check_store(text: &str, class: usize) {
    let form = Form::new(text);
    let values = &draw(text, &[64])[0][..128];
    let (out, _) = store(text, &form, class).run(32 * 16, &[bytes(values, 8)]);
    for (thread, out) in out.chunks_exact(16).enumerate() {
        let mut expected = bytes(&values[4 * thread..4 * thread + form.count], form.bytes);
        expected.resize(16, 0);
        assert_eq!(out, expected, "{text}, thread {thread}, {class} bits");
    }
}

fn kernel(text: &str) -> Kernel {
    let form = Form::new(text);
    let class = form.classes().first().copied().unwrap_or(64);
    if form.store {
        store(text, &form, class)
    } else {
        load(text, &form, class)
    }
}

pub fn ptx(form: &str) -> String {
    kernel(form).ptx().to_owned()
}

pub fn forms() -> Vec<String> {
    accepted(candidates(), ptx)
}

#[test]
fn loads_and_stores_of_every_width_reach_every_space() {
    for form in forms() {
        let parsed = Form::new(&form);
        for class in parsed.classes() {
            if parsed.store {
                check_store(&form, class)
            } else {
                check_load(&form, class)
            }
        }
    }
}

fn address_kernel(form: &str) -> Kernel {
    let all = words(form);
    let space = all
        .iter()
        .find(|word| SPACES[1..].contains(word))
        .map_or("", |word| word);
    let (variable, plain) = match space {
        "" | "global" => ("%in0", "global"),
        "const" => ("table", "const"),
        "local" => ("lo", "local"),
        "shared" | "shared::cta" | "shared::cluster" => ("sh", "shared"),
        _ => ("blob", "param"),
    };
    let fill =
        "ld.global.b32 %r1, [%in0+8]; st.local.b32 [lo+8], %r1; st.shared.b32 [sh+8], %r1;\n";
    let body = match all[0] {
        // There and, for `to`, back again.
        "cvta" if all[1] == "to" => {
            let there = form.replace(".to", "");
            format!(
                "mov.u64 %rd1, {variable}; {there} %rd2, %rd1; {form} %rd3, %rd2; ld.{plain}.b32 %r2, [%rd3+8];"
            )
        }
        "cvta" => format!("mov.u64 %rd1, {variable}; {form} %rd2, %rd1; ld.b32 %r2, [%rd2+8];"),
        "isspacep" => {
            let kinds = [
                ("shared", "sh"),
                ("local", "lo"),
                ("param", "blob"),
                ("const", "table"),
                ("global", "%in0"),
            ];
            let asked: String = kinds
                .iter()
                .enumerate()
                .map(|(i, (kind, variable))| {
                    format!(
                        "mov.u64 %rd1, {variable}; cvta.{kind}.u64 %rd1, %rd1; {form} %p1, %rd1; selp.b32 %r3, {}, 0, %p1; or.b32 %r2, %r2, %r3;\n",
                        1 << i
                    )
                })
                .collect();
            format!("mov.b32 %r2, 0;\n{asked}")
        }
        _ => {
            let at = if variable.starts_with('%') {
                "%in0"
            } else {
                "%rd1"
            };
            let take = if at == "%rd1" {
                format!("mov.u64 %rd1, {variable};")
            } else {
                String::new()
            };
            format!("{take} {form} [{at}]; ld.global.b32 %r2, [%in0+8];")
        }
    };
    Kernel::with_module(
        &module(),
        &format!("{MEMORIES}{fill}{body}\nst.global.b32 [%o], %r2;"),
        1,
        4,
        1,
    )
}

pub fn address_ptx(form: &str) -> String {
    address_kernel(form).ptx().to_owned()
}

pub fn address_forms() -> Vec<String> {
    accepted(address_candidates(), address_ptx)
}

#[test]
fn addresses_are_converted_and_their_space_is_told() {
    for form in address_forms() {
        let (out, _) = address_kernel(&form).run(4, &[blob()]);
        let expected = match form.strip_prefix("isspacep.") {
            None => numbers(&blob()[8..12], 4)[0],
            Some("shared" | "shared::cta") => 1,
            Some("local") => 2,
            Some("param") => 4,
            Some(other) => panic!("{other} has no reference"),
        };
        assert_eq!(numbers(&out, 4), [expected], "{form}");
    }
}

#[test]
fn an_access_may_have_an_offset_and_a_32_bit_base_where_the_space_allows() {
    for (space, variable) in [("shared", "sh"), ("local", "lo"), ("param", "blob")] {
        let fill =
            "ld.global.b32 %r1, [%in0+12]; st.local.b32 [lo+12], %r1; st.shared.b32 [sh+12], %r1;";
        let body = format!(
            "{MEMORIES}{fill} mov.u32 %r2, {variable}; add.u32 %r2, %r2, 16; ld.{space}.b32 %r3, [%r2+-4];\n\
             ld.{space}.b32 %r4, [{variable}+12]; st.global.v2.b32 [%o], {{%r3, %r4}};"
        );
        let (out, _) = Kernel::with_module(&module(), &body, 1, 8, 1).run(8, &[blob()]);
        assert_eq!(numbers(&out, 4), [numbers(&blob(), 4)[3]; 2], "{space}");
    }
}

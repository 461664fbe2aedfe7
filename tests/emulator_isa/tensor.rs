//! Matrices in registers, against the index formulas of the ISA's figures.

use half::{bf16, f16};
use rand::RngExt;

use crate::harness::{Kernel, accepted, bytes, numbers, product, random, words};

pub fn candidates() -> Vec<String> {
    let types = &["f16", "bf16", "tf32", "f32", "s8", "f64"];
    [
        product(
            &[
                "ldmatrix.sync.aligned",
                "stmatrix.sync.aligned",
                "ldmatrix",
                "stmatrix",
            ],
            &[
                &["m8n8", "m8n16", "m16n16"],
                &["x1", "x2", "x4"],
                &["", "trans"],
                &["", "shared", "shared::cta", "global"],
                &["b16", "b8"],
            ],
        ),
        product(
            &["mma.sync.aligned"],
            &[
                &["m8n8k4", "m16n8k4", "m16n8k8", "m16n8k16", "m16n8k32"],
                &["row", "col"],
                &["row", "col"],
                types,
                types,
                types,
                types,
            ],
        ),
        product(
            &["movmatrix.sync.aligned"],
            &[&["m8n8"], &["trans"], &["b16"]],
        ),
    ]
    .concat()
}

fn list(first: usize, count: usize) -> String {
    let names: Vec<String> = (first..first + count).map(|i| format!("%r{i}")).collect();
    format!("{{{}}}", names.join(", "))
}

fn count(form: &str) -> usize {
    words(form)
        .iter()
        .find_map(|word| word.strip_prefix('x')?.parse().ok())
        .unwrap_or(1)
}

/// Registers of d, a, b and c.
fn fragments(form: &str) -> [usize; 4] {
    let all = words(form);
    let halves = if form.contains("k16") { 2 } else { 1 };
    let wide = |word: &str| if word == "f32" { 4 } else { 2 };
    [wide(all[6]), 2 * halves, halves, wide(all[9])]
}

fn kernel(form: &str) -> Kernel {
    if form.starts_with("mma") {
        let [d, a, b, c] = fragments(form);
        let take: String = (0..a + b + c)
            .map(|i| format!("ld.global.b32 %r{i}, [%rd1+{}];\n", 4 * i))
            .collect();
        let give: String = (0..d)
            .map(|i| format!("st.global.b32 [%o+{}], %r{};\n", 4 * i, 20 + i))
            .collect();
        let body = format!(
            "mad.wide.u32 %rd1, %i, {}, %in0;\n{take}{form} {}, {}, {}, {};\n{give}",
            4 * (a + b + c),
            list(20, d),
            list(0, a),
            list(a, b),
            list(a + b, c)
        );
        return Kernel::new(&body, 32, 16, 1);
    }
    if form.starts_with("movmatrix") {
        return Kernel::new(&format!("mov.b32 %r1, 0; {form} %r2, %r1;"), 32, 16, 0);
    }
    let store = form.starts_with("st");
    let n = count(form);
    // Rows are anywhere: the second input gives each lane's address.
    let place = "mov.u32 %r10, sh; mad.wide.u32 %rd2, %i, 4, %in1; ld.global.b32 %r11, [%rd2]; add.u32 %r11, %r11, %r10;\n\
                 mad.lo.u32 %r10, %i, 16, %r10; mad.wide.u32 %rd1, %i, 16, %in0; ld.global.v4.b32 {%r0, %r1, %r2, %r3}, [%rd1];\n";
    let generic = form.contains("shared");
    let (at, address) = if generic {
        ("%r11", "")
    } else {
        (
            "%rd3",
            "cvt.u64.u32 %rd3, %r11; cvta.shared.u64 %rd3, %rd3;\n",
        )
    };
    let run = if store {
        format!(
            "st.shared.v4.b32 [%r10], {{0, 0, 0, 0}}; bar.warp.sync 0xffffffff;\n{form} [{at}], {};\n\
             bar.warp.sync 0xffffffff; ld.shared.v4.b32 {{%r20, %r21, %r22, %r23}}, [%r10];\n",
            list(0, n)
        )
    } else {
        let zero: String = (0..4)
            .map(|i| format!("mov.b32 %r{}, 0;\n", 20 + i))
            .collect();
        format!(
            "{zero}st.shared.v4.b32 [%r10], {{%r0, %r1, %r2, %r3}}; bar.warp.sync 0xffffffff;\n{form} {}, [{at}];\n",
            list(20, n)
        )
    };
    Kernel::new(
        &format!(".shared .align 16 .b8 sh[512];\n{place}{address}{run}st.global.v4.b32 [%o], {{%r20, %r21, %r22, %r23}};"),
        32,
        16,
        2,
    )
    .launch(|launch| launch.races())
}

pub fn ptx(form: &str) -> String {
    kernel(form).ptx().to_owned()
}

pub fn forms() -> Vec<String> {
    accepted(candidates(), ptx)
}

#[test]
fn matrices_move_between_rows_in_shared_memory_and_fragments() {
    for form in forms().into_iter().filter(|form| !form.starts_with("mma")) {
        let mut random = random(&form);
        let (n, store, trans) = (count(&form), form.starts_with("st"), form.contains("trans"));
        let words: Vec<u64> = (0..256).map(|_| random.random::<u64>() & 0xffff).collect();
        // A permutation of the 32 rows; lanes beyond 8 n give no address.
        let mut rows: Vec<usize> = (0..32).collect();
        for i in (1..32).rev() {
            rows.swap(i, random.random_range(0..=i));
        }
        let address = |lane: usize| {
            if lane < 8 * n {
                16 * rows[lane] as u64
            } else {
                7
            }
        };
        let addresses: Vec<u64> = (0..32).map(address).collect();
        let (out, _) = kernel(&form).run(512, &[bytes(&words, 2), bytes(&addresses, 4)]);
        let found = numbers(&out, 2);
        let mut expected = vec![0; 256];
        for matrix in 0..n {
            for lane in 0..32 {
                for half in 0..2 {
                    // The lane's half of a row: row lane / 4, columns 2 (lane % 4) and the next.
                    let (row, column) = (lane / 4, 2 * (lane % 4) + half);
                    let (row, column) = if trans { (column, row) } else { (row, column) };
                    let memory = 8 * rows[8 * matrix + row] + column;
                    let register = 8 * lane + 2 * matrix + half;
                    if store {
                        expected[memory] = words[register]
                    } else {
                        expected[register] = words[memory]
                    }
                }
            }
        }
        assert_eq!(found, expected, "{form}");
    }
}

/// Row and column of element `i` of a lane's part of a, b and c: the ISA's formulas for
/// `.m16n8k16` and `.m16n8k8` with 16-bit types.
fn place_a(lane: usize, i: usize) -> (usize, usize) {
    let (group, thread) = (lane >> 2, lane % 4);
    let upper = matches!(i, 0 | 1 | 4 | 5);
    let row = if upper { group } else { group + 8 };
    (row, thread * 2 + (i & 1) + if i < 4 { 0 } else { 8 })
}

fn place_b(lane: usize, i: usize) -> (usize, usize) {
    let (group, thread) = (lane >> 2, lane % 4);
    (thread * 2 + (i & 1) + if i < 2 { 0 } else { 8 }, group)
}

fn place_c(lane: usize, i: usize) -> (usize, usize) {
    let (group, thread) = (lane >> 2, lane % 4);
    (if i < 2 { group } else { group + 8 }, thread * 2 + (i & 1))
}

fn narrow(ty: &str, x: f32) -> u64 {
    match ty {
        "f16" => f16::from_f32(x).to_bits().into(),
        "bf16" => bf16::from_f32(x).to_bits().into(),
        _ => x.to_bits().into(),
    }
}

fn widen(ty: &str, x: u64) -> f64 {
    match ty {
        "f16" => f16::from_bits(x as u16).into(),
        "bf16" => bf16::from_bits(x as u16).into(),
        _ => f64::from(f32::from_bits(x as u32)),
    }
}

/// Runs `form` on matrices; gives d, 16 x 8.
fn multiply(form: &str, a: &[Vec<f32>], b: &[Vec<f32>], c: &[Vec<f32>]) -> Vec<Vec<f64>> {
    let all = words(form);
    let [_, count_a, count_b, _] = fragments(form);
    let mut data = Vec::new();
    for lane in 0..32 {
        let halves = |count: usize, ty: &str, at: &dyn Fn(usize) -> f32| -> Vec<u8> {
            bytes(
                &(0..2 * count)
                    .map(|i| narrow(ty, at(i)))
                    .collect::<Vec<_>>(),
                2,
            )
        };
        data.extend(halves(count_a, all[7], &|i| {
            let (r, k) = place_a(lane, i);
            a[r][k]
        }));
        data.extend(halves(count_b, all[8], &|i| {
            let (k, n) = place_b(lane, i);
            b[k][n]
        }));
        let c: Vec<u64> = (0..4)
            .map(|i| {
                let (r, n) = place_c(lane, i);
                narrow(all[9], c[r][n])
            })
            .collect();
        data.extend(bytes(&c, if all[9] == "f32" { 4 } else { 2 }));
    }
    let (out, _) = kernel(form).run(512, &[data]);
    let mut d = vec![vec![0.0; 8]; 16];
    for (lane, out) in out.chunks_exact(16).enumerate() {
        let found = numbers(out, if all[6] == "f32" { 4 } else { 2 });
        for (i, &found) in found.iter().take(4).enumerate() {
            let (row, column) = place_c(lane, i);
            d[row][column] = widen(all[6], found);
        }
    }
    d
}

fn depth(form: &str) -> usize {
    if form.contains("k16") { 16 } else { 8 }
}

#[test]
fn products_of_small_integers_are_exact() {
    for form in forms().into_iter().filter(|form| form.starts_with("mma")) {
        let mut random = random(&form);
        let k = depth(&form);
        let mut draw = |rows: usize, columns: usize| -> Vec<Vec<f32>> {
            (0..rows)
                .map(|_| {
                    (0..columns)
                        .map(|_| random.random_range(-4..=4) as f32)
                        .collect()
                })
                .collect()
        };
        for special in [None, Some(f32::INFINITY), Some(f32::NAN)] {
            let (mut a, b, c) = (draw(16, k), draw(k, 8), draw(16, 8));
            if let Some(special) = special {
                a[3][5] = special;
            }
            let d = multiply(&form, &a, &b, &c);
            for row in 0..16 {
                for n in 0..8 {
                    let expected = (0..k).fold(c[row][n], |sum, k| sum + a[row][k] * b[k][n]);
                    let found = d[row][n];
                    let same = found == f64::from(expected) || found.is_nan() && expected.is_nan();
                    assert!(same, "{form} at {row}, {n}: {found}, not {expected}");
                }
            }
        }
    }
}

#[test]
fn products_of_any_numbers_are_within_the_accumulators_error() {
    for form in forms().into_iter().filter(|form| form.starts_with("mma")) {
        let all = words(&form);
        let mut random = random(&form);
        let k = depth(&form);
        let mut draw = |ty: &str, rows: usize, columns: usize| -> Vec<Vec<f32>> {
            let mut number = || widen(ty, narrow(ty, random.random::<f32>() * 2.0 - 1.0)) as f32;
            (0..rows)
                .map(|_| (0..columns).map(|_| number()).collect())
                .collect()
        };
        let (a, b, c) = (draw(all[7], 16, k), draw(all[8], k, 8), draw(all[9], 16, 8));
        let d = multiply(&form, &a, &b, &c);
        for row in 0..16 {
            for n in 0..8 {
                let terms = |f: &dyn Fn(f64) -> f64| {
                    (0..k).fold(f(c[row][n].into()), |sum, k| {
                        sum + f(f64::from(a[row][k]) * f64::from(b[k][n]))
                    })
                };
                let (exact, size) = (terms(&|x| x), terms(&f64::abs));
                let bound = size * 1e-6
                    + if all[6] == "f16" {
                        exact.abs() / 2048.0 + 1e-7
                    } else {
                        0.0
                    };
                assert!(
                    (d[row][n] - exact).abs() <= bound,
                    "{form} at {row}, {n}: {} not {exact}",
                    d[row][n]
                );
            }
        }
    }
}

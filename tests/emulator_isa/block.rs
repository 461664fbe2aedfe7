//! Barriers, fences and asynchronous copies of a block.

use cosmogan::emulator::FindingKind;
use rand::RngExt;

use crate::harness::{Kernel, accepted, bytes, draw, numbers, product, random, words};

pub fn candidates() -> Vec<String> {
    let kinds = &["sync", "arrive", "red.popc", "red.and", "red.or"];
    [
        product(
            &["bar", "barrier"],
            &[
                &["", "cta", "cluster"],
                kinds,
                &["", "aligned"],
                &["", "u32", "pred"],
            ],
        ),
        product(&["membar"], &[&["cta", "gl", "sys"]]),
        product(
            &["fence"],
            &[
                &["", "sc", "acq_rel", "acquire", "proxy.async"],
                &["", "cta", "cluster", "gpu", "sys"],
            ],
        ),
        product(
            &["cp.async"],
            &[
                &["ca", "cg"],
                &["shared", "shared::cta", "shared::cluster"],
                &["", "global"],
                &["", "L2::cache_hint"],
                &["", "L2::64B", "L2::128B", "L2::256B"],
            ],
        ),
        product(
            &["cp.async"],
            &[&["commit_group", "wait_group", "wait_all", "bulk", "mbarrier"]],
        ),
    ]
    .concat()
}

const THREADS: u32 = 128;

/// A number of each thread goes to shared memory, then `middle`, then another warp's is read.
fn exchange(middle: &str) -> Kernel {
    Kernel::new(
        &format!(
            ".shared .align 16 .b8 sh[512];\nmad.wide.u32 %rd1, %i, 4, %in0; ld.global.b32 %r1, [%rd1];\n\
             mov.u32 %r2, sh; mad.lo.u32 %r3, %i, 4, %r2; st.shared.b32 [%r3], %r1;\n\
             and.b32 %r4, %r1, 1; setp.ne.b32 %p1, %r4, 0; mov.b32 %r5, 0; setp.ne.b32 %p2, 0, 0;\n\
             setp.lt.u32 %p3, %i, 64; mov.b32 %r10, 7; mov.b32 %r11, {THREADS};\n{middle}\n\
             add.u32 %r6, %i, 64; and.b32 %r6, %r6, 127; mad.lo.u32 %r6, %r6, 4, %r2;\n\
             @!%p3 bra alone; ld.shared.b32 %r7, [%r6]; bra done; alone: mov.b32 %r7, 0; done:\n\
             selp.b32 %r8, 1, 0, %p2; st.global.v4.b32 [%o], {{%r7, %r5, %r8, 0}};"
        ),
        THREADS,
        16,
        1,
    )
    .launch(|launch| launch.races())
}

/// The ways to write operands of a barrier.
fn middles(form: &str) -> Vec<String> {
    let all = words(form);
    let fill = |result: &str, predicate: &str| -> Vec<String> {
        ["0", "15, 128", "%r10", "%r10, %r11"]
            .map(|barrier| format!("{form} {result}{barrier}{predicate};"))
            .to_vec()
    };
    match all
        .iter()
        .find(|word| ["sync", "arrive", "red"].contains(word))
    {
        Some(&"sync") => fill("", ""),
        // The upper half arrives, the lower half waits for it.
        Some(&"arrive") => vec![
            format!("@%p3 bra wait; {form} 3, 128; bra on; wait: bar.sync 3, 128; on:"),
            format!("@%p3 bra wait; {form} %r10, %r11; bra on; wait: bar.sync 7, 128; on:"),
        ],
        _ if form.contains("popc") => [fill("%r5, ", ", %p1"), fill("%r5, ", ", !%p1")].concat(),
        _ => [fill("%p2, ", ", %p1"), fill("%p2, ", ", !%p1")].concat(),
    }
}

fn kernel(form: &str) -> Kernel {
    match words(form)[0] {
        "membar" | "fence" => exchange(&format!("{form}; bar.sync 0;")),
        "cp" => copy(form, 16, ""),
        _ => exchange(&middles(form)[0]),
    }
}

pub fn ptx(form: &str) -> String {
    kernel(form).ptx().to_owned()
}

pub fn forms() -> Vec<String> {
    accepted(candidates(), ptx)
}

#[test]
fn barriers_order_a_block_and_reduce_predicates() {
    for form in forms().into_iter().filter(|form| !form.starts_with("cp")) {
        let is_fence = !form.starts_with("bar");
        let all = if is_fence {
            vec![format!("{form}; bar.sync 0;")]
        } else {
            middles(&form)
        };
        for middle in all {
            let mut random = random(&middle);
            // Odd numbers with chances of 0, a half and 1.
            for (keep, set) in [(!1u32, 0), (!0, 0), (!0, 1)] {
                let values: Vec<u64> = (0..THREADS)
                    .map(|_| u64::from(random.random::<u32>() & keep | set))
                    .collect();
                let (out, _) = exchange(&middle).run(16 * THREADS as usize, &[bytes(&values, 4)]);
                let holds = |x: &&u64| (**x & 1 == 1) != middle.contains("!%p1;");
                let count = values.iter().filter(holds).count();
                let predicate = match () {
                    () if form.contains("red.and") => count == THREADS as usize,
                    () if form.contains("red.or") => count > 0,
                    () => false,
                };
                for (i, found) in numbers(&out, 4).chunks_exact(4).enumerate() {
                    let other = if i < 64 { values[i + 64] } else { 0 };
                    let count = if form.contains("popc") {
                        count as u64
                    } else {
                        0
                    };
                    assert_eq!(
                        found[..3],
                        [other, count, predicate.into()],
                        "{middle}, thread {i}"
                    );
                }
            }
        }
    }
}

#[test]
fn exchange_without_a_barrier_is_a_race() {
    let (_, _, report) = exchange("").report(16 * 128, &[vec![0; 512]]);
    assert!(
        report.found(FindingKind::SharedRace),
        "{:?}",
        report.findings
    );
}

/// 16 bytes a thread from the first input to shared memory, which holds ones before; `size` of them
/// by the copy under test. The second input gives the fourth operand.
fn copy(form: &str, size: usize, fourth: &str) -> Kernel {
    let copy = match words(form)[2] {
        "commit_group" | "wait_all" => {
            format!("cp.async.ca.shared.global [%r3], [%rd1], 16; {form};")
        }
        "wait_group" => {
            format!("cp.async.ca.shared.global [%r3], [%rd1], 16; cp.async.commit_group; {form} 0;")
        }
        _ => format!("{form} [%r3], [%rd1], {size}{fourth};"),
    };
    Kernel::new(
        &format!(
            ".shared .align 16 .b8 sh[512];\nmad.wide.u32 %rd1, %i, 16, %in0; mad.wide.u32 %rd2, %i, 4, %in1;\n\
             ld.global.b32 %r1, [%rd2]; setp.ne.b32 %p1, %r1, 0;\nmov.u32 %r2, sh; mad.lo.u32 %r3, %i, 16, %r2;\n\
             st.shared.v4.b32 [%r3], {{-1, -1, -1, -1}};\n{copy}\ncp.async.commit_group; cp.async.wait_group 0;\n\
             ld.shared.v4.b32 {{%r4, %r5, %r6, %r7}}, [%r3]; st.global.v4.b32 [%o], {{%r4, %r5, %r6, %r7}};"
        ),
        32,
        16,
        2,
    )
    .launch(|launch| launch.races())
}

#[test]
fn asynchronous_copies_read_what_they_are_told_and_fill_with_zeros() {
    for form in forms().into_iter().filter(|form| form.starts_with("cp")) {
        for size in [4usize, 8, 16] {
            for fourth in ["", ", %r1", ", %p1", ", !%p1", ", 3"] {
                let is_copy = form.contains("shared");
                if !is_copy && (size, fourth) != (16, "") {
                    continue;
                }
                let kernel = copy(&form, size, fourth);
                if form.contains(".cg") && size != 16 {
                    assert!(!crate::harness::is_accepted(kernel.ptx()), "{form}: {size}");
                    continue;
                }
                let data = draw(&form, &[32])[0][..128].to_vec();
                let operand: Vec<u64> = (0..32).map(|i| i % (size as u64 + 1)).collect();
                let (out, _) = kernel.run(512, &[bytes(&data, 4), bytes(&operand, 4)]);
                let source = bytes(&data, 4);
                for (i, found) in out.chunks_exact(16).enumerate() {
                    let read = match fourth {
                        ", %r1" => operand[i] as usize,
                        ", %p1" => {
                            if operand[i] != 0 {
                                0
                            } else {
                                size
                            }
                        }
                        ", !%p1" => {
                            if operand[i] == 0 {
                                0
                            } else {
                                size
                            }
                        }
                        ", 3" => 3,
                        _ => size,
                    };
                    let mut expected = vec![0xff; 16];
                    expected[..size].fill(0);
                    expected[..read].copy_from_slice(&source[16 * i..16 * i + read]);
                    assert_eq!(found, expected, "{form}, {size} bytes{fourth}, thread {i}");
                }
            }
        }
    }
}

#[test]
fn groups_of_copies_land_in_the_order_of_their_commits() {
    // Four groups; after `wait_group n` all but the last n are there, and the others, which land as
    // late as they may, are not.
    for left in 0..=4u32 {
        let copies: String = (0..4)
            .map(|i| {
                format!(
                    "cp.async.ca.shared.global [%r3+{}], [%rd1+{}], 4; cp.async.commit_group;\n",
                    4 * i,
                    4 * i
                )
            })
            .collect();
        let body = format!(
            ".shared .align 16 .b8 sh[512];\nmad.wide.u32 %rd1, %i, 16, %in0; mov.u32 %r2, sh; mad.lo.u32 %r3, %i, 16, %r2;\n\
             st.shared.v4.b32 [%r3], {{-1, -1, -1, -1}};\n{copies}cp.async.wait_group {left};\n\
             ld.shared.v4.b32 {{%r4, %r5, %r6, %r7}}, [%r3]; st.global.v4.b32 [%o], {{%r4, %r5, %r6, %r7}}; cp.async.wait_all;"
        );
        let data: Vec<u64> = (0..128).collect();
        let (out, _) = Kernel::new(&body, 32, 16, 1).run(512, &[bytes(&data, 4)]);
        for (i, found) in numbers(&out, 4).into_iter().enumerate() {
            let landed = i as u32 % 4 < 4 - left;
            assert_eq!(
                found,
                if landed { i as u64 } else { 0xffff_ffff },
                "{left} groups may be left"
            );
        }
    }
}

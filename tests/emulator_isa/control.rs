//! Branches, calls, ends of threads, predicated execution, special registers.

use cosmogan::emulator::FindingKind;

use crate::harness::{Kernel, accepted, is_accepted, numbers, product};

pub fn candidates() -> Vec<String> {
    product(
        &[
            "bra",
            "brx",
            "brx.idx",
            "call",
            "ret",
            "exit",
            "trap",
            "brkpt",
            "nanosleep",
            "nop",
        ],
        &[&["", "uni", "u32"]],
    )
}

const FUNCTION: &str = "
.func (.param .b32 sum) inner(.param .b32 a, .param .b64 b)
{
    .reg .b32 %r<4>; .reg .b64 %rd<2>; .reg .pred %p1;
    ld.param.b32 %r1, [a];
    ld.param.b64 %rd1, [b];
    cvt.u32.u64 %r2, %rd1;
    setp.gt.u32 %p1, %r1, 20;
    st.param.b32 [sum], 77;
    @%p1 RET;
    add.u32 %r3, %r1, %r2;
    st.param.b32 [sum], %r3;
    RET;
}
.func (.param .b32 twice) outer(.param .b32 a)
{
    .reg .b32 %r<3>;
    ld.param.b32 %r1, [a];
    { .param .b32 p0; .param .b64 p1; .param .b32 back;
      st.param.b32 [p0], %r1; st.param.b64 [p1], 1000;
      CALL (back), inner, (p0, p1);
      ld.param.b32 %r2, [back]; }
    mul.lo.u32 %r2, %r2, 2;
    st.param.b32 [twice], %r2;
    ret;
}
";

fn calls(call: &str, ret: &str) -> Kernel {
    let body = format!(
        "{{ .param .b32 p; .param .b32 back; st.param.b32 [p], %i;\n{call} (back), outer, (p);\n\
         ld.param.b32 %r1, [back]; }}\nst.global.b32 [%o], %r1;"
    );
    let functions = FUNCTION.replace("RET", ret).replace("CALL", call);
    Kernel::with_module(&functions, &body, 32, 4, 0)
}

/// A kernel in which lane i leaves what `expected` says.
fn kernel(form: &str) -> Kernel {
    let opcode = form.split('.').next().unwrap();
    let body = match opcode {
        // The sum of 0 to i by a loop of each lane's own length, backwards and forwards.
        "bra" => format!(
            "mov.b32 %r1, 0; mov.b32 %r2, %i;\nloop: setp.eq.u32 %p1, %r2, 0;\n@%p1 {form} done;\n\
             add.u32 %r1, %r1, %r2; sub.u32 %r2, %r2, 1;\n{form} loop;\ndone: st.global.b32 [%o], %r1;"
        ),
        "brx" => format!(
            "places: .branchtargets zero, one, two;\nrem.u32 %r2, %i, 3;\n{form} %r2, places;\n\
             zero: mov.b32 %r1, 5; bra done;\none: mov.b32 %r1, 7; bra done;\ntwo: mov.b32 %r1, 11;\n\
             done: st.global.b32 [%o], %r1;"
        ),
        "call" => return calls(form, "ret"),
        "ret" => return calls("call.uni", form),
        "exit" => format!(
            "st.global.b32 [%o], 1; setp.lt.u32 %p1, %i, 9;\n@%p1 {form};\nst.global.b32 [%o], 2;"
        ),
        "trap" | "brkpt" => {
            format!("setp.eq.u32 %p1, %i, 40;\n@%p1 {form};\nst.global.b32 [%o], 3;")
        }
        "nanosleep" => format!("{form} 100; {form} %i; st.global.b32 [%o], 3;"),
        _ => format!("{form}; st.global.b32 [%o], 3;"),
    };
    Kernel::new(&body, 32, 4, 0)
}

fn expected(form: &str, i: u64) -> u64 {
    match form.split('.').next().unwrap() {
        "bra" => i * (i + 1) / 2,
        "brx" => [5, 7, 11][i as usize % 3],
        "call" | "ret" => 2 * if i > 20 { 77 } else { i + 1000 },
        "exit" => {
            if i < 9 {
                1
            } else {
                2
            }
        }
        _ => 3,
    }
}

pub fn ptx(form: &str) -> String {
    kernel(form).ptx().to_owned()
}

pub fn forms() -> Vec<String> {
    accepted(candidates(), ptx)
}

#[test]
fn lanes_go_their_own_ways_and_meet_again() {
    for form in forms() {
        let (out, _) = kernel(&form).run(128, &[]);
        let wanted: Vec<u64> = (0..32).map(|i| expected(&form, i)).collect();
        assert_eq!(numbers(&out, 4), wanted, "{form}");
    }
}

#[test]
fn a_trap_ends_the_launch() {
    for form in ["trap", "brkpt"] {
        let (_, _, report) =
            Kernel::new(&format!("setp.eq.u32 %p1, %i, 9; @%p1 {form};"), 32, 4, 0)
                .report(128, &[]);
        assert!(
            report.found(FindingKind::Illegal) && !report.completed(),
            "{form}"
        );
        assert_eq!(report.findings[0].lane, Some(9), "{form}");
    }
}

#[test]
fn a_guard_keeps_lanes_as_they_were() {
    // One instruction of every family, under a predicate and under its negation.
    let body = "setp.lt.u32 %p1, %i, 10; mov.b32 %r1, 100; mov.b32 %r2, %i; mov.b32 %r3, 0; setp.ne.b32 %p2, 0, 0;\n\
        mov.b64 %rd1, 0; mov.b32 %r4, 0; mov.b32 %r5, 0f3f800000;\n\
        @%p1 add.u32 %r1, %r1, %i;\n@!%p1 sub.u32 %r1, %r1, %i;\n@%p1 cvt.u64.u32 %rd1, %i;\n\
        @!%p1 setp.eq.u32 %p2, %i, %i;\n@%p1 add.f32 %r5, %r5, %r5;\n@%p1 st.global.b32 [%o+4], 7;\n\
        @!%p1 ld.global.b32 %r4, [%in0];\n@%p1 atom.global.add.u32 %r3, [%in0+4], 1;\n\
        selp.b32 %r6, 1, 0, %p2; cvt.u32.u64 %r7, %rd1;\n\
        st.global.b32 [%o], %r1; st.global.b32 [%o+8], %r7; st.global.b32 [%o+12], %r6; st.global.b32 [%o+16], %r5; st.global.b32 [%o+20], %r4;";
    let (out, after) = Kernel::new(body, 32, 24, 1).run(
        32 * 24,
        &[[9u32, 0].iter().flat_map(|x| x.to_le_bytes()).collect()],
    );
    for (i, found) in numbers(&out, 4).chunks_exact(6).enumerate() {
        let i = i as u64;
        let wanted = match i < 10 {
            true => [100 + i, 7, i, 0, 0x4000_0000, 0],
            false => [100 - i, 0, 0, 1, 0x3f80_0000, 9],
        };
        assert_eq!(found, wanted, "lane {i}");
    }
    assert_eq!(numbers(&after[0], 4), [9, 10]);
}

const AXES: [&str; 3] = ["x", "y", "z"];

#[test]
fn special_registers_say_where_a_thread_is() {
    let (grid, block) = ([3u64, 2, 2], [5u64, 4, 3]);
    let mut names: Vec<String> = ["tid", "ntid", "ctaid", "nctaid"]
        .iter()
        .flat_map(|name| AXES.map(|axis| format!("%{name}.{axis}")))
        .collect();
    names.extend(
        [
            "laneid",
            "warpid",
            "nwarpid",
            "lanemask_eq",
            "lanemask_le",
            "lanemask_lt",
            "lanemask_ge",
            "lanemask_gt",
            "dynamic_smem_size",
            "total_smem_size",
            "smid",
        ]
        .map(|name| format!("%{name}")),
    );
    let n = names.len();
    let stores: String = names
        .iter()
        .enumerate()
        .map(|(i, name)| {
            format!(
                "mov.u32 %r1, {name}; st.global.b32 [%rd1+{}], %r1;\n",
                4 * i
            )
        })
        .collect();
    // The flat number of the thread in the grid, by other means than the registers' own order.
    let body = format!(
        ".shared .align 4 .b8 fixed[20];\nmov.u32 %r1, %tid.z; mov.u32 %r2, %ntid.y; mov.u32 %r3, %tid.y; mad.lo.u32 %r1, %r1, %r2, %r3;\n\
         mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x; mad.lo.u32 %r1, %r1, %r2, %r3;\n\
         mov.u32 %r4, %ctaid.z; mov.u32 %r2, %nctaid.y; mov.u32 %r3, %ctaid.y; mad.lo.u32 %r4, %r4, %r2, %r3;\n\
         mov.u32 %r2, %nctaid.x; mov.u32 %r3, %ctaid.x; mad.lo.u32 %r4, %r4, %r2, %r3;\n\
         mad.lo.u32 %r1, %r4, 60, %r1; ld.param.u64 %rd1, [out]; mad.wide.u32 %rd1, %r1, {}, %rd1;\n\
         mov.u64 %rd2, %gridid; cvt.u32.u64 %r5, %rd2; st.global.b32 [%rd1+{}], %r5;\n{stores}",
        4 * (n + 1),
        4 * n
    );
    let threads = (grid.iter().product::<u64>() * 60) as usize;
    let kernel = Kernel::new(&body, 60, 0, 0).launch(|mut launch| {
        (launch.grid, launch.block) = (grid.map(|n| n as u32), block.map(|n| n as u32));
        launch.shared(48)
    });
    let (out, _) = kernel.run(threads * 4 * (n + 1), &[]);
    for (flat, found) in numbers(&out, 4).chunks_exact(n + 1).enumerate() {
        let flat = flat as u64;
        let (cta, t) = (flat / 60, flat % 60);
        let (lane, warp) = (t % 32, t / 32);
        let below = (1u64 << lane) - 1;
        let mut wanted = Vec::new();
        wanted.extend([t % 5, t / 5 % 4, t / 20]);
        wanted.extend(block);
        wanted.extend([cta % 3, cta / 3 % 2, cta / 6]);
        wanted.extend(grid);
        wanted.extend([lane, warp, 2, 1 << lane, below | 1 << lane, below]);
        wanted.extend([0xffff_ffff & !below, 0xffff_ffff & !(below | 1 << lane), 48]);
        assert_eq!(found[..wanted.len()], wanted, "thread {flat}");
        // Static and dynamic together, each a multiple of 16 at most.
        assert!(
            (68..=80).contains(&found[wanted.len()]),
            "{} bytes of shared memory",
            found[wanted.len()]
        );
        assert_eq!(found[wanted.len() + 1..], [0, 0], "thread {flat}");
    }
}

#[test]
fn registers_that_the_emulator_cannot_know_are_refused() {
    for name in [
        "clock",
        "clock64",
        "globaltimer",
        "pm0",
        "envreg0",
        "clusterid.x",
        "tid.w",
        "laneid.x",
        "cluster_ctarank",
    ] {
        let body = format!("mov.u32 %r1, %{name}; st.global.b32 [%o], %r1;");
        assert!(!is_accepted(Kernel::new(&body, 32, 4, 0).ptx()), "%{name}");
    }
}

//! The coverage meter: which forms the loader takes, and that each of them has a case.
//!
//! Every family lists candidates, far more combinations than the ISA has, and runs each that the
//! loader takes against its reference; a form without a reference fails. This file holds the
//! numbers of forms, so that a change of the whitelist is seen, and makes sure that candidates are
//! refused for their modifiers and not for the kernels that they stand in.

use crate::harness::{Kernel, refusal};
use crate::{atomics, block, compare, control, convert, float, integer, memory, tensor, warp};

struct Family {
    name: &'static str,
    candidates: Vec<String>,
    ptx: Box<dyn Fn(&str) -> String>,
    /// Forms that the loader takes.
    accepted: usize,
}

fn family(
    name: &'static str,
    candidates: Vec<String>,
    ptx: impl Fn(&str) -> String + 'static,
    accepted: usize,
) -> Family {
    Family {
        name,
        candidates,
        ptx: Box::new(ptx),
        accepted,
    }
}

fn families() -> Vec<Family> {
    vec![
        family(
            "integer",
            integer::candidates(),
            |form| integer::shape(form).ptx(),
            169,
        ),
        family(
            "float",
            float::candidates(),
            |form| float::shape(form).ptx(),
            287,
        ),
        family(
            "compare",
            compare::candidates(),
            |form| compare::shape(form).ptx(),
            2236,
        ),
        family(
            "convert",
            convert::candidates(),
            |form| convert::shape(form).ptx(),
            764,
        ),
        family("memory", memory::candidates(), memory::ptx, 996),
        family(
            "address",
            memory::address_candidates(),
            memory::address_ptx,
            28,
        ),
        family("atomics", atomics::candidates(), atomics::ptx, 880),
        family("warp", warp::candidates(), warp::ptx, 24),
        family("block", block::candidates(), block::ptx, 64),
        family("tensor", tensor::candidates(), tensor::ptx, 42),
        family("control", control::candidates(), control::ptx, 12),
    ]
}

#[test]
fn the_forms_that_the_loader_takes_are_counted_and_the_others_refused_for_their_words() {
    let mut wrong = Vec::new();
    for family in families() {
        let mut taken = 0;
        for form in &family.candidates {
            let reason = refusal(&(family.ptx)(form));
            // A kernel that does not fit its form would hide the form from its test.
            let about_operands = [
                "operand",
                "register",
                "too narrow",
                "no address",
                "constant of",
            ]
            .iter()
            .any(|part| reason.contains(part));
            if reason.is_empty() {
                taken += 1;
            } else if about_operands || !reason.contains(form.split('.').next().unwrap_or(form)) {
                wrong.push(format!("{form}: {reason}"));
            }
        }
        if taken != family.accepted {
            wrong.push(format!(
                "{}: {taken} forms are taken, not {}",
                family.name, family.accepted
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Opcodes of the ISA that no family knows.
const UNKNOWN: &[&str] = &[
    "alloca",
    "applypriority",
    "bmsk",
    "clusterlaunchcontrol",
    "createpolicy",
    "discard",
    "dp2a",
    "fns",
    "getctarank",
    "griddepcontrol",
    "istypep",
    "ldu",
    "lop",
    "mad24",
    "madc",
    "mapa",
    "mbarrier",
    "movmatrix",
    "mul24",
    "multimem",
    "pmevent",
    "prefetchu",
    "setmaxnreg",
    "slct",
    "stackrestore",
    "stacksave",
    "st.bulk",
    "subp",
    "suld",
    "suq",
    "sured",
    "sust",
    "szext",
    "tcgen05",
    "tensormap",
    "testq",
    "tex",
    "tld4",
    "txq",
    "vabsdiff",
    "vabsdiff2",
    "vabsdiff4",
    "vadd",
    "vadd2",
    "vadd4",
    "vavrg2",
    "vavrg4",
    "vmad",
    "vmax",
    "vmax2",
    "vmax4",
    "vmin",
    "vmin2",
    "vmin4",
    "vset",
    "vset2",
    "vset4",
    "vshl",
    "vshr",
    "vsub",
    "vsub2",
    "vsub4",
    "wgmma",
    "wmma",
];

#[test]
fn opcodes_without_a_family_are_refused_by_name() {
    let candidates: Vec<String> = families()
        .into_iter()
        .flat_map(|family| family.candidates)
        .collect();
    for opcode in UNKNOWN {
        let reason = refusal(Kernel::new(&format!("{opcode}.b32 %r1, %r2;"), 32, 4, 0).ptx());
        assert!(
            reason.contains(opcode) && reason.contains("not supported"),
            "{opcode}: {reason}"
        );
    }
    // What the decoder's table names, so that a new opcode there is missed here.
    let known = [
        "abs",
        "activemask",
        "add",
        "addc",
        "and",
        "atom",
        "bar",
        "barrier",
        "bfe",
        "bfi",
        "bfind",
        "bra",
        "brev",
        "brkpt",
        "brx",
        "call",
        "clz",
        "cnot",
        "copysign",
        "cos",
        "cp",
        "cvt",
        "cvta",
        "div",
        "dp4a",
        "elect",
        "ex2",
        "exit",
        "fence",
        "fma",
        "isspacep",
        "ld",
        "ldmatrix",
        "lg2",
        "lop3",
        "mad",
        "match",
        "max",
        "membar",
        "min",
        "mma",
        "mov",
        "mul",
        "nanosleep",
        "neg",
        "not",
        "or",
        "popc",
        "prefetch",
        "prmt",
        "rcp",
        "red",
        "redux",
        "rem",
        "ret",
        "rsqrt",
        "sad",
        "selp",
        "set",
        "setp",
        "shf",
        "shfl",
        "shl",
        "shr",
        "sin",
        "sqrt",
        "st",
        "stmatrix",
        "sub",
        "subc",
        "tanh",
        "testp",
        "trap",
        "vote",
        "xor",
    ];
    for opcode in known {
        let prefix = format!("{opcode}.");
        let has = candidates
            .iter()
            .any(|form| form == opcode || form.starts_with(&prefix));
        assert!(has, "{opcode} has no family");
    }
}

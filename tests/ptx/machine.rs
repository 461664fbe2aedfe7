//! What the kernels are on real devices: their machine instructions, and how many blocks of them a
//! multiprocessor holds.

use std::collections::{BTreeMap, BTreeSet};

use cosmogan::backend::gpu::occupancy::Multiprocessor;
use cosmogan::backend::gpu::ptx;

use crate::instructions::{self, Instructions};
use crate::{committed, repository, resources, table, text};

fn counted() -> Vec<Instructions> {
    let path = repository().join("kernels/ptx/instructions.csv");
    instructions::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_table_of_instructions_has_the_kernels_of_the_table_of_resources() {
    let used: Vec<_> = table()
        .into_iter()
        .map(|row| (row.file, row.target, row.kernel, row.architecture))
        .collect();
    let counted: Vec<_> = counted()
        .into_iter()
        .map(|row| (row.file, row.target, row.kernel, row.architecture))
        .collect();
    assert_eq!(counted, used, "run kernels/tools/build_ptx.sh NVCC");
}

#[test]
fn no_kernel_works_in_local_memory() {
    for row in counted() {
        let name = format!("{} on {}", row.kernel, row.architecture);
        assert!(row.get("total") > Some(0), "{name}");
        assert_eq!(row.get("local"), Some(0), "{name}");
    }
}

#[test]
fn convolutions_of_version_3_run_on_tensor_cores_and_move_16_bytes_at_a_time() {
    let mut seen = BTreeSet::new();
    for row in counted() {
        let operation = row.kernel.split("_v3").next().unwrap();
        if operation == row.kernel || !["fprop", "dgrad", "wgrad"].contains(&operation) {
            continue;
        }
        let get = |class| row.get(class).unwrap();
        assert!(get("hmma") > 0 && get("ldsm") > 0, "{row:?}");
        seen.insert(operation.to_owned());
        // Any channel counts and addresses.
        if row.kernel.ends_with("_any") {
            continue;
        }
        assert!(get("ldgsts_128") > 0, "{row:?}");
        assert_eq!(get("ldgsts_64") + get("ldgsts_32"), 0, "{row:?}");
        assert_eq!(get("stg_16"), 0, "{row:?}");
        match operation {
            // Two sums of f32; a warp writes whole sectors.
            "wgrad" => assert!(get("stg_64") > 0 && get("stg_32") == 0, "{row:?}"),
            _ => assert!(get("stg_128") > 0, "{row:?}"),
        }
    }
    assert!(seen.contains("wgrad"), "{seen:?}");
}

/// Kernel and blocks of the lines `// occupancy: KERNEL BLOCKS` of a source.
fn claims(source: &str) -> Vec<(String, u32)> {
    let lines = source
        .lines()
        .filter_map(|l| l.strip_prefix("// occupancy: "));
    lines
        .map(|line| {
            let (kernel, blocks) = line.split_once(' ').unwrap();
            (kernel.to_owned(), blocks.parse().unwrap())
        })
        .collect()
}

#[test]
fn every_device_holds_as_many_blocks_as_a_kernels_head_claims() {
    let texts: BTreeMap<_, _> = committed().into_iter().collect();
    let mut wrong = Vec::new();
    for (name, ptx_text) in &texts {
        let stem = name.split('.').next().unwrap();
        let source = repository().join(format!("kernels/{stem}.cu"));
        let claims = claims(&std::fs::read_to_string(source).unwrap());
        let claimed: BTreeSet<_> = claims.iter().map(|(kernel, _)| kernel.clone()).collect();
        let entries = text::entries(ptx_text).into_iter();
        let kernels: BTreeSet<_> = entries.map(|entry| entry.name).collect();
        assert!(
            claimed.is_subset(&kernels),
            "kernels/{stem}.cu: {claimed:?}"
        );
        if stem.ends_with("_v3") {
            assert_eq!(
                claimed, kernels,
                "kernels/{stem}.cu: each kernel claims its blocks"
            );
        }
        for (kernel, blocks) in claims {
            let threads = text::most_threads(ptx_text, &kernel);
            let threads = threads.unwrap_or_else(|| panic!("{kernel} has no launch bounds"));
            for row in table().iter().filter(|row| row.kernel == kernel) {
                let held = resident(row, threads);
                if held < blocks {
                    let on = &row.architecture;
                    wrong.push(format!(
                        "{kernel} claims {blocks} blocks: {on} holds {held}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn resident(row: &resources::Usage, threads: u32) -> u32 {
    let number = row.architecture.trim_start_matches("sm_");
    let number: u32 = number.trim_end_matches('a').parse().unwrap();
    let kernel = ptx::Resources {
        registers: row.registers,
        shared_bytes: row.shared,
    };
    Multiprocessor::of((number / 10, number % 10)).resident_blocks(kernel, threads)
}

#[test]
fn instructions_are_counted_by_class_and_width() {
    let text = "\t.target\tsm_90a\n.text.one:\n\
                        /*0000*/                   LDC R1, c[0x0][0x28] ;\n\
                        /*0010*/              @!P0 LDG.E.128.CONSTANT R4, desc[UR4][R2.64] ;\n\
                        /*0020*/                   LDG.E.U16 R4, desc[UR4][R2.64] ;\n\
                        /*0030*/              @!PT LDS RZ, [RZ] ;\n\
                        /*0040*/                   LDGSTS.E.BYPASS.LTC128B.128 [R5], desc[UR6][R6.64], P0 ;\n\
                .L_x_0:\n\
                        /*0050*/                   HMMA.16816.F32.BF16 R4, R8, R2, R4 ;\n\
                        /*0060*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;\n\
                        /*0070*/               @P1 BRA `(.L_x_0) ;\n\
                        /*0080*/                   NOP;\n\
                .text.two:\n\
                        /*0000*/                   STL.64 [R1], R2 ;\n\
                        /*0010*/                   STG.E.64.STRONG.GPU desc[UR4][R2.64], R4 ;\n\
                        /*0020*/                   STS [R1], R2 ;\n";
    let counts = instructions::count(text);
    assert_eq!(counts.keys().collect::<Vec<_>>(), [&"one", &"two"]);
    let get = |kernel: &str| {
        let classes = instructions::CLASSES.into_iter();
        let counts = classes.zip(counts[kernel]).filter(|(_, count)| *count > 0);
        counts.collect::<BTreeMap<_, _>>()
    };
    let one = [
        ("total", 7),
        ("ldg_128", 1),
        ("ldg_16", 1),
        ("ldgsts_128", 1),
        ("hmma", 1),
        ("bar", 1),
    ];
    assert_eq!(get("one"), BTreeMap::from(one));
    let two = [("total", 3), ("local", 1), ("stg_64", 1), ("sts_32", 1)];
    assert_eq!(get("two"), BTreeMap::from(two));
}

#[test]
fn a_table_of_instructions_is_read_as_it_was_written() {
    let table = counted();
    let again = instructions::parse(&instructions::csv(&table)).unwrap();
    assert!(!table.is_empty() && again == table);
    let csv = instructions::csv(&table[..1]);
    for broken in [
        csv.replace("total", "sum"),
        csv.replace(",sm_75,", ","),
        format!("{csv}one,two\n"),
    ] {
        assert!(instructions::parse(&broken).is_err(), "{broken}");
    }
}

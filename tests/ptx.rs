//! The committed PTX belongs to the committed sources, and a build finds the right PTX with any nvcc.

#![cfg(unix)]

#[allow(dead_code)] // Parts serve the script that writes the committed PTX.
#[path = "../kernels/tools/mod.rs"]
mod tools;

#[allow(dead_code)]
#[path = "../kernels/tools/instructions.rs"]
mod instructions;
#[allow(dead_code)]
#[path = "../kernels/tools/resources.rs"]
mod resources;

#[path = "ptx/fakes.rs"]
mod fakes;
#[path = "ptx/machine.rs"]
mod machine;
#[path = "ptx/place.rs"]
mod place;
#[path = "ptx/real.rs"]
mod real;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cosmogan::backend::gpu::{ops, ptx};
use tools::local::stale;
use tools::source::Source;
use tools::text;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Name and text of every committed PTX, by name.
fn committed() -> Vec<(String, String)> {
    let folder = repository().join("kernels/ptx");
    let mut files = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "ptx") {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            files.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    files.sort();
    files
}

fn table() -> Vec<resources::Usage> {
    let path = repository().join("kernels/ptx/resources.csv");
    resources::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_committed_ptx_was_made_of_the_committed_sources() {
    let sources = Source::all(&repository().join("kernels")).unwrap();
    let stale = stale(repository(), &sources);
    assert!(
        stale.is_empty(),
        "stale: {}; run kernels/tools/build_ptx.sh NVCC",
        stale.join(", ")
    );
    let made = |source: &Source| {
        let names = source.targets.iter().map(|target| source.ptx_name(target));
        names.collect::<Vec<_>>()
    };
    let expected: BTreeSet<_> = sources.iter().flat_map(made).collect();
    let found: BTreeSet<_> = committed().into_iter().map(|(name, _)| name).collect();
    assert_eq!(found, expected, "run kernels/tools/build_ptx.sh NVCC");
}

#[test]
fn drivers_of_2021_take_the_committed_ptx() {
    let position = |version: &str| text::VERSIONS.iter().position(|known| *known == version);
    for (name, text) in committed() {
        let target = text::directive(&text, ".target ").unwrap();
        let version = text::directive(&text, ".version ").unwrap();
        assert!(position(version).is_some(), "{name}: .version {version}");
        if ["sm_75", "sm_80"].contains(&target) {
            assert!(
                position(version) <= position("7.4"),
                "{name}: .version {version}"
            );
        }
        assert_eq!(text::problem(&text, target), None, "{name}");
    }
}

#[test]
fn every_kernel_has_one_place_and_one_parameter_struct() {
    let mut places = BTreeMap::new();
    for (name, text) in committed() {
        let (stem, _) = name.split_once('.').unwrap();
        for entry in text::entries(&text) {
            assert_eq!(
                entry.parameters.len(),
                1,
                "{name}: {} takes one struct",
                entry.name
            );
            let place = (stem.to_owned(), entry.parameters[0]);
            let earlier = places.entry(entry.name.clone()).or_insert(place.clone());
            assert_eq!(*earlier, place, "kernel {} is in two files", entry.name);
        }
    }
    let lists = ops::KERNELS.iter().chain(ops::half::KERNELS);
    let known: BTreeSet<_> = lists.copied().flatten().copied().collect();
    let found: BTreeSet<_> = places.keys().map(String::as_str).collect();
    assert_eq!(known, found, "the lists of kernels and the PTX differ");
}

#[test]
fn the_table_of_resources_has_every_kernel_and_no_spill() {
    let table = table();
    let complaints: Vec<_> = table.iter().filter_map(|row| row.complaint()).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    for (name, text) in committed() {
        let target = text::directive(&text, ".target ").unwrap();
        for entry in text::entries(&text) {
            let rows = table
                .iter()
                .filter(|row| row.kernel == entry.name && row.target == target);
            let found: Vec<_> = rows.map(|row| row.architecture.as_str()).collect();
            let wanted = match target {
                "sm_90a" => vec!["sm_90a"],
                _ => {
                    let first = resources::ARCHITECTURES.iter().position(|a| *a == target);
                    resources::ARCHITECTURES[first.unwrap()..].to_vec()
                }
            };
            assert_eq!(
                found, wanted,
                "{name}: {}; run kernels/tools/build_ptx.sh",
                entry.name
            );
        }
    }
}

#[test]
fn a_kernels_resources_are_those_of_the_device() {
    for row in table() {
        let digits = row
            .architecture
            .trim_start_matches("sm_")
            .trim_end_matches('a');
        let number: u32 = digits.parse().unwrap();
        let found = ptx::resources(&row.kernel, (number / 10, number % 10)).unwrap();
        let newest = table().into_iter().rfind(|other| {
            (&other.kernel, &other.architecture) == (&row.kernel, &row.architecture)
        });
        let newest = newest.unwrap();
        assert_eq!(
            (found.registers, found.shared_bytes),
            (newest.registers, newest.shared)
        );
    }
    assert_eq!(ptx::resources("no_such_kernel", (8, 0)), None);
}

#[test]
fn the_program_holds_the_committed_ptx() {
    let held = ptx::committed().iter().map(|module| {
        let stem = module
            .file
            .trim_start_matches("kernels/")
            .trim_end_matches(".cu");
        (
            format!("{stem}.{}.ptx", module.target),
            module.text.to_owned(),
        )
    });
    assert!(held.eq(committed()), "the program was not built anew");
    let names = |modules: &[ptx::PtxModule]| {
        modules
            .iter()
            .map(|m| (m.file, m.target))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(
        names(ptx::best()),
        names(ptx::committed()),
        "{}",
        ptx::origin()
    );
}

#[test]
fn entries_are_read_with_the_bytes_of_their_parameters() {
    let text = ".visible .entry one(\n\t.param .align 8 .b8 one_param_0[56],\n\t.param .u32 one_param_1\n)\n.maxntid 128, 1, 1\n{\n}\n.entry two()\n{\n}\n";
    let found: Vec<_> = text::entries(text)
        .into_iter()
        .map(|e| (e.name, e.parameters))
        .collect();
    assert_eq!(
        found,
        [("one".to_owned(), vec![56, 4]), ("two".to_owned(), vec![])]
    );
    assert_eq!(text::most_threads(text, "one"), Some(128));
    assert_eq!(text::most_threads(text, "two"), None);
}

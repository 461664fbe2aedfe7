//! What a build decides with nvccs that are absent, broken, of another version, or as they should be.

use std::time::{Duration, Instant};

use crate::place::{HEADER, KERNEL, PTX, Scene};
use crate::tools::local::{Origin, Outcome, stale};
use crate::tools::{pinned, text};

/// The reason of a fallback, which is also the one warning.
fn reason(outcome: &Outcome) -> &str {
    let Origin::Fallback(why) = &outcome.origin else {
        panic!("{:?}", outcome.origin);
    };
    assert!(outcome.built.is_empty());
    assert_eq!(outcome.warnings.len(), 1, "{:?}", outcome.warnings);
    assert!(outcome.warnings[0].contains(why.as_str()));
    assert!(!outcome.warnings[0].contains('\n'), "a warning is one line");
    why
}

#[test]
fn without_nvcc_the_committed_ptx_serves_silently() {
    let scene = Scene::new();
    let nowhere = scene.path("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    for variables in [
        &[][..],
        &[
            ("PATH", nowhere),
            ("CUDA_HOME", nowhere),
            ("CUDA_PATH", nowhere),
        ],
    ] {
        let outcome = scene.prepare_with(variables).unwrap();
        assert_eq!(outcome.origin, Origin::Committed);
        assert_eq!((outcome.warnings, outcome.nvcc), (vec![], None));
    }
}

#[test]
fn nvcc_is_found_by_every_variable_and_where_cuda_usually_is() {
    let scene = Scene::new().with_output(PTX);
    let path = |name: &str| scene.path(name).to_str().unwrap().to_owned();
    let (nvcc, bin, cuda) = (path("cuda/bin/nvcc"), path("cuda/bin"), path("cuda"));
    let other = format!("{}:{bin}", path("kernels"));
    for variables in [
        &[("NVCC", nvcc.as_str())][..],
        &[("NVCC", "nvcc"), ("PATH", &other)],
        &[("CUDA_HOME", &cuda)],
        &[("CUDA_HOME", &other), ("CUDA_PATH", &cuda)],
        &[("CUDA_HOME", &other), ("PATH", &other)],
    ] {
        let outcome = scene.prepare_with(variables).unwrap();
        assert_eq!(
            outcome.nvcc,
            Some(scene.path("cuda/bin/nvcc")),
            "{variables:?}"
        );
        assert_eq!(outcome.origin, Origin::Built("99.1.2".to_owned()));
    }
    std::os::unix::fs::symlink(scene.path("cuda"), scene.path("usual")).unwrap();
    let outcome = scene.prepare_with(&[]).unwrap();
    assert_eq!(outcome.nvcc, Some(scene.path("usual/bin/nvcc")));

    let none = scene.prepare_with(&[("NVCC", ""), ("PATH", &bin)]).unwrap();
    assert_eq!(
        none.origin,
        Origin::Committed,
        "an empty NVCC asks for the committed PTX"
    );
    assert_eq!((none.warnings, none.nvcc), (vec![], None));
}

#[test]
fn a_variable_that_names_no_program_is_told() {
    let scene = Scene::new();
    let readme = scene.path("kernels/one.cu");
    for value in ["/nowhere/nvcc", "nvcc", readme.to_str().unwrap()] {
        let outcome = scene
            .prepare_with(&[("NVCC", value), ("PATH", "")])
            .unwrap();
        let why = reason(&outcome);
        assert!(why.contains("NVCC") && why.contains(value), "{why}");
    }
}

#[test]
fn another_nvcc_builds_for_this_machine() {
    let outcome = Scene::new().with_output(PTX).prepare();
    assert_eq!(outcome.origin, Origin::Built("99.1.2".to_owned()));
    assert_eq!(outcome.warnings, Vec::<String>::new());
    let (name, built) = &outcome.built[0];
    assert_eq!(name, "one.sm_75.ptx");
    assert_eq!(
        text::directive(built, ".version "),
        Some("6.3"),
        "ptxas takes every version"
    );
    assert_eq!(text::entries(built), text::entries(PTX));
}

#[test]
fn the_pinned_nvcc_is_not_run_for_what_is_committed() {
    let scene = Scene::new().with_nvcc("exit 1");
    scene.write("cuda/bin/version.sh", &format!("version={}", pinned()));
    let outcome = scene.prepare();
    assert_eq!(
        (&outcome.origin, &outcome.warnings),
        (&Origin::Committed, &vec![])
    );
    assert!(outcome.nvcc.is_some());

    let scene = Scene::new().with_output(PTX);
    scene.write("cuda/bin/version.sh", &format!("version={}", pinned()));
    scene.write(
        "kernels/one.cuh",
        "__device__ inline float value() { return 2.0f; }\n",
    );
    let outcome = scene.prepare();
    assert_eq!(
        outcome.origin,
        Origin::Built(pinned().to_owned()),
        "its sources changed"
    );
    assert!(
        outcome.warnings[0].contains("one.sm_75.ptx"),
        "{:?}",
        outcome.warnings
    );
}

#[test]
fn a_broken_nvcc_leads_back_to_the_committed_ptx_with_its_reason() {
    let other_target = PTX.replace("sm_75", "sm_80");
    let other_kernel = PTX.replace("one(", "two(");
    let other_parameter = PTX.replace(".param .u64 one_param_0", ".param .u32 one_param_0");
    let elsewhere = format!("{PTX}\t.file\t1 \"/home/somebody/one.cu\"\n");
    let write = |text: &str| format!("cat >\"$output\" <<'END'\n{text}\nEND");
    for (script, word) in [
        (
            "echo 'one.cu(3): error: what is this?' >&2; echo done; exit 2",
            "what is this?",
        ),
        ("exit 7", "it says nothing"),
        ("kill -SEGV $$", "signal: 11"),
        ("exit 0", "it wrote nothing"),
        ("printf '\\377\\376' >\"$output\"", "no text"),
        (&write("<html>Moved</html>"), ".target"),
        (&write(".version 9.0\n.target sm_75"), "no kernel"),
        (&write(".target sm_75"), ".version"),
        (&write(&other_target), "sm_80"),
        (&write(&other_kernel), "committed PTX"),
        (&write(&other_parameter), "parameters"),
        (&write(&elsewhere), "/home/somebody"),
    ] {
        let outcome = Scene::new().with_nvcc(script).prepare();
        let why = reason(&outcome);
        assert!(why.contains(word), "{script}: {why}");
        assert!(why.contains("cuda/bin/nvcc"), "{script}: {why}");
    }
}

#[test]
fn an_nvcc_that_says_no_version_is_broken() {
    let scene = Scene::new().with_output(PTX);
    scene.write("cuda/bin/version.sh", "echo 'this is no compiler'; exit 0");
    let why = reason(&scene.prepare()).to_owned();
    assert!(why.contains("--version"), "{why}");
}

#[test]
fn what_ptxas_refuses_is_not_used() {
    let scene = Scene::new().with_output(PTX);
    scene.write(
        "cuda/bin/ptxas.sh",
        "echo 'ptxas fatal: no such instruction' >&2; exit 255",
    );
    let why = reason(&scene.prepare()).to_owned();
    assert!(
        why.contains("no such instruction") && why.contains("ptxas"),
        "{why}"
    );
}

#[test]
fn an_nvcc_that_hangs_is_ended_with_all_that_it_started() {
    for (file, script) in [
        ("nvcc.sh", "sleep 600 & echo $! >\"$here/pid\"; wait"),
        ("version.sh", "sleep 600 & echo $! >\"$here/pid\"; wait"),
    ] {
        let mut scene = Scene::new().with_output(PTX);
        scene.limit = Duration::from_secs(1);
        scene.write(&format!("cuda/bin/{file}"), script);
        let begun = Instant::now();
        let outcome = scene.prepare();
        assert!(begun.elapsed() < Duration::from_secs(30));
        let why = reason(&outcome);
        assert!(why.contains("hangs") && why.contains("1 s"), "{why}");
        let pid = std::fs::read_to_string(scene.path("cuda/bin/pid")).unwrap();
        assert!(ends(pid.trim()), "{file}: process {pid} goes on");
    }
}

/// Whether a process ends soon. One that nobody waits for stays as a zombie.
fn ends(pid: &str) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) if !stat.contains(") Z ") => std::thread::sleep(Duration::from_millis(10)),
            _ => return true,
        }
    }
    false
}

#[test]
fn stale_ptx_is_named_and_so_is_the_script() {
    let fresh = Scene::new();
    assert_eq!(stale(fresh.root(), &fresh.sources()), Vec::<String>::new());
    fresh.write("kernels/another.cuh", "// Nobody includes this.\n");
    assert_eq!(stale(fresh.root(), &fresh.sources()), Vec::<String>::new());

    let changes: [(&str, &str); 5] = [
        ("kernels/one.cu", &KERNEL.replace("*p =", "*p +=")),
        ("kernels/one.cuh", &HEADER.replace("1.0", "2.0")),
        ("kernels/one.cu", &KERNEL.replace("sm_75", "sm_80")),
        ("kernels/ptx/one.sm_75.ptx", PTX),
        ("kernels/ptx/one.sm_75.ptx", ""),
    ];
    for (file, change) in changes {
        let scene = Scene::new();
        scene.write(file, change);
        let outcome = scene.prepare_with(&[]).unwrap();
        let warning = &outcome.warnings[0];
        assert!(
            warning.contains("one.sm_") && warning.contains("build_ptx.sh"),
            "{warning}"
        );
        assert_eq!(outcome.origin, Origin::Committed);
    }
    let missing = Scene::new();
    std::fs::remove_file(missing.path("kernels/ptx/one.sm_75.ptx")).unwrap();
    assert_eq!(stale(missing.root(), &missing.sources()), ["one.sm_75.ptx"]);
}

#[test]
fn sources_that_cannot_be_read_are_an_error_that_names_them() {
    for (text, word) in [
        ("extern \"C\" __global__ void one() {}\n", "// targets:"),
        ("// targets: sm_75\n#include \"absent.cuh\"\n", "absent.cuh"),
    ] {
        let scene = Scene::new();
        scene.write("kernels/one.cu", text);
        let Err(error) = scene.prepare_with(&[]) else {
            panic!("sources without {word} are taken");
        };
        assert!(error.to_string().contains(word), "{error}");
    }
}

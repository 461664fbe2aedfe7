//! `cosmogan emulate` from the command line: `.npy` files in and out, findings, counters.

use std::path::Path;

use assert_cmd::Command;
use ndarray::{Array1, Array2};
use ndarray_npy::{read_npy, write_npy};

const PTX: &str = ".version 7.4
.target sm_80
.address_size 64
.entry scale(.param .align 8 .b8 p[24])
{
    .reg .pred %p<2>; .reg .f32 %f<4>; .reg .b32 %r<4>; .reg .b64 %rd<6>;
    ld.param.u64 %rd1, [p];
    ld.param.u64 %rd2, [p+8];
    ld.param.u32 %r1, [p+16];
    ld.param.f32 %f1, [p+20];
    mov.u32 %r2, %tid.x;
    setp.ge.u32 %p1, %r2, %r1;
    @%p1 bra END;
    mul.wide.u32 %rd3, %r2, 4;
    add.s64 %rd4, %rd1, %rd3;
    add.s64 %rd5, %rd2, %rd3;
    ld.global.f32 %f2, [%rd4];
    mul.f32 %f3, %f2, %f1;
    st.global.f32 [%rd5], %f3;
END:
    ret;
}
";

fn emulate(folder: &Path, count: &str, more: &[&str]) -> assert_cmd::assert::Assert {
    let file = |name: &str| folder.join(name).display().to_string();
    Command::new(env!("CARGO_BIN_EXE_cosmogan"))
        .args([
            "emulate",
            &file("scale.ptx"),
            "scale",
            "--grid",
            "1",
            "--block",
            "64,1",
        ])
        .args(["--buffer", &format!("x=in:{}", file("x.npy"))])
        .args(["--buffer", &format!("y=out:f32[5,10]:{}", file("y.npy"))])
        .args(["--arg", &format!("struct:{{@x,@y,u32:{count},f32:1.5}}")])
        .args(more)
        .assert()
}

fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("scale.ptx"), PTX).unwrap();
    let x = Array1::from_iter((0..50).map(|i| i as f32 * 0.25));
    write_npy(folder.path().join("x.npy"), &x).unwrap();
    folder
}

#[test]
fn a_sound_kernel_writes_its_output_and_tells_its_counters() {
    let folder = prepared();
    let json = folder.path().join("report.json");
    let path = json.display().to_string();
    emulate(folder.path(), "50", &["--races", "--json", &path]).success();
    let y: Array2<f32> = read_npy(folder.path().join("y.npy")).unwrap();
    assert_eq!(y.shape(), [5, 10]);
    assert!(y.iter().enumerate().all(|(i, &y)| y == i as f32 * 0.375));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(report["completed"], true);
    assert_eq!(report["counters"]["global_load_bytes"], 200);
    let shown = emulate(folder.path(), "50", &["--schedule", "random:3"]).success();
    let shown = String::from_utf8_lossy(&shown.get_output().stdout).into_owned();
    assert!(shown.contains("global_store_sectors"), "{shown}");
}

#[test]
fn approximate_operations_are_perturbed_on_request_alone() {
    let folder = prepared();
    let ptx = PTX.replace("mul.f32 %f3, %f2, %f1;", "sqrt.approx.f32 %f3, %f2;");
    std::fs::write(folder.path().join("scale.ptx"), ptx).unwrap();
    let roots = |more: &[&str]| -> Array2<f32> {
        emulate(folder.path(), "50", more).success();
        read_npy(folder.path().join("y.npy")).unwrap()
    };
    let nearest = Array2::from_shape_fn((5, 10), |(i, j)| ((10 * i + j) as f32 * 0.25).sqrt());
    assert_eq!(roots(&[]), nearest);
    assert_eq!(roots(&["--approx", "exact"]), nearest);
    let perturbed = roots(&["--approx", "perturbed:1"]);
    assert_ne!(perturbed, nearest);
    let bound = f64::exp2(-23.0);
    for (i, root) in perturbed.iter().enumerate() {
        let exact = (i as f64 * 0.25).sqrt();
        assert!(
            (f64::from(*root) - exact).abs() <= bound * exact,
            "{i}: {root}"
        );
    }
    let failed = emulate(folder.path(), "50", &["--approx", "perturbed"]).code(2);
    let told = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
    assert!(told.contains("such as perturbed:1"), "{told}");
}

#[test]
fn a_finding_names_its_place_and_is_the_exit_status() {
    let folder = prepared();
    let failed = emulate(folder.path(), "51", &[]).code(1);
    let shown = String::from_utf8_lossy(&failed.get_output().stdout).into_owned();
    for part in [
        "out of bounds",
        "kernel scale",
        "warp 1, lane 18",
        "x at byte 200",
        "PTX line 17",
    ] {
        assert!(shown.contains(part), "'{part}' is not in: {shown}");
    }
    assert!(!folder.path().join("y.npy").exists());
}

#[test]
fn arguments_that_do_not_fit_are_refused_in_words() {
    let folder = prepared();
    let failed = emulate(folder.path(), "50", &["--arg", "i32:1"]).code(1);
    let told = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
    assert!(
        told.contains("it has 1 parameters, but 2 arguments were given"),
        "{told}"
    );
    let failed = emulate(folder.path(), "50", &["--device", "sm_75"]).code(1);
    let told = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
    assert!(
        told.contains("is for sm_80, which a device of profile sm_75 does not run"),
        "{told}"
    );
}

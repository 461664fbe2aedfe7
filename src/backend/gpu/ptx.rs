//! The kernels as PTX: the committed one, which the emulator and all tests run, and the one that
//! serves on a GPU, which a local nvcc may have built (see build.rs).

use std::fmt;
use std::sync::OnceLock;

use crate::emulator::Profile;

/// One file of kernels, compiled for one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PtxModule {
    /// The source, such as `kernels/adam.cu`.
    pub file: &'static str,
    /// The PTX's target, such as `sm_75`.
    pub target: &'static str,
    pub text: &'static str,
}

/// Where the PTX of [`best`] comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The committed PTX: where the program was built is no nvcc, or the one that wrote it.
    Committed { nvcc: &'static str },
    /// Built with the program, by an nvcc of this version.
    Built { nvcc: &'static str },
    /// The committed PTX, because the nvcc that was found failed.
    Fallback {
        nvcc: &'static str,
        why: &'static str,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Committed { nvcc } => write!(f, "committed PTX (nvcc {nvcc})"),
            Origin::Built { nvcc } => write!(f, "PTX built here (nvcc {nvcc})"),
            Origin::Fallback { nvcc, why } => {
                write!(
                    f,
                    "committed PTX (nvcc {nvcc}), since none could be built here: {why}"
                )
            }
        }
    }
}

include!(concat!(env!("OUT_DIR"), "/ptx.rs"));

/// The PTX that is part of the sources: the same on every machine.
pub fn committed() -> &'static [PtxModule] {
    COMMITTED
}

/// The PTX to run on a GPU.
pub fn best() -> &'static [PtxModule] {
    match ORIGIN {
        Origin::Built { .. } => BUILT,
        _ => COMMITTED,
    }
}

/// Where the PTX of [`best`] comes from.
pub fn origin() -> Origin {
    ORIGIN
}

/// For each file the newest of its modules that a device of this compute capability runs. A file
/// that was compiled for later devices only has none.
pub fn for_device(
    modules: &[PtxModule],
    (major, minor): (u32, u32),
) -> impl Iterator<Item = &PtxModule> {
    let device = Profile {
        capability: 10 * major + minor,
        ..Profile::SM_75
    };
    let runs = move |module: &&PtxModule| device.runs(module.target);
    modules.iter().filter(runs).filter(move |module| {
        let others = modules.iter().filter(|other| other.file == module.file);
        let newest = others.filter(runs).max_by_key(|other| age(other.target));
        newest == Some(module)
    })
}

/// Orders targets: `sm_75` before `sm_90` before `sm_90a` before `sm_100`.
fn age(target: &str) -> (u32, &str) {
    let digits = target.trim_start_matches("sm_");
    let number = digits.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    (number.parse().unwrap_or(0), &digits[number.len()..])
}

/// What a kernel takes of a multiprocessor, as ptxas says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// 32-bit registers of a thread.
    pub registers: u32,
    /// Bytes of static shared memory of a block.
    pub shared_bytes: u32,
}

/// What a kernel of the committed PTX takes on a device of this compute capability; of a later one than
/// the table knows, the latest of the table is taken. None for kernels that are not in the table.
pub fn resources(kernel: &str, (major, minor): (u32, u32)) -> Option<Resources> {
    // Behind every suffix: sm_90a is a target of 9.0.
    let device = (10 * major + minor, "~");
    let rows = table().iter().filter(|row| row.kernel == kernel);
    let known = rows.filter(|row| age(row.architecture) <= device);
    let newest = known.max_by_key(|row| (age(row.architecture), age(row.target)));
    newest.map(|row| row.resources)
}

struct Row {
    kernel: &'static str,
    target: &'static str,
    architecture: &'static str,
    resources: Resources,
}

/// kernels/ptx/resources.csv: file, target, kernel, architecture, registers, stack, spill stores,
/// spill loads, shared memory.
fn table() -> &'static [Row] {
    static TABLE: OnceLock<Vec<Row>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let lines = include_str!("../../../kernels/ptx/resources.csv").lines();
        lines.skip(1).filter_map(row).collect()
    })
}

fn row(line: &'static str) -> Option<Row> {
    let fields: Vec<_> = line.split(',').collect();
    let [_, target, kernel, architecture, registers, _, _, _, shared] = fields[..] else {
        return None;
    };
    Some(Row {
        kernel,
        target,
        architecture,
        resources: Resources {
            registers: registers.parse().ok()?,
            shared_bytes: shared.parse().ok()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(file: &'static str, target: &'static str) -> PtxModule {
        let text = "";
        PtxModule { file, target, text }
    }

    #[test]
    fn a_device_gets_the_newest_module_of_each_file_that_it_runs() {
        let modules = [
            module("a", "sm_75"),
            module("b", "sm_75"),
            module("b", "sm_90a"),
            module("b", "sm_80"),
            module("c", "sm_90a"),
        ];
        let chosen = |capability| {
            let modules = for_device(&modules, capability);
            modules.map(|m| (m.file, m.target)).collect::<Vec<_>>()
        };
        assert_eq!(chosen((7, 5)), [("a", "sm_75"), ("b", "sm_75")]);
        assert_eq!(chosen((8, 9)), [("a", "sm_75"), ("b", "sm_80")]);
        assert_eq!(
            chosen((9, 0)),
            [("a", "sm_75"), ("b", "sm_90a"), ("c", "sm_90a")]
        );
        assert_eq!(chosen((10, 0)), [("a", "sm_75"), ("b", "sm_80")]);
        assert_eq!(chosen((7, 0)), []);
    }

    #[test]
    fn targets_are_ordered_by_number_and_suffix() {
        let ordered = ["sm_75", "sm_80", "sm_90", "sm_90a", "sm_100"];
        assert!(ordered.windows(2).all(|pair| age(pair[0]) < age(pair[1])));
    }

    #[test]
    fn the_origin_is_told_in_one_line() {
        let (nvcc, why) = ("12.4.131", "nvcc hangs");
        for origin in [
            Origin::Committed { nvcc },
            Origin::Built { nvcc },
            Origin::Fallback { nvcc, why },
        ] {
            let text = origin.to_string();
            assert!(text.contains(nvcc) && !text.contains('\n'), "{text}");
            assert_eq!(
                text.contains(why),
                matches!(origin, Origin::Fallback { .. })
            );
        }
    }
}

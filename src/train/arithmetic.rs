//! The arithmetic of a run: number format and kernels, as they are asked for, and what that comes to
//! on a device.
//!
//! Like the device, both may be left to the program (`auto`). What a run computed with is kept in its
//! checkpoints: a run that goes on elsewhere may go on in another format, and says so.

use serde::{Deserialize, Serialize};

use super::Precision;
use crate::backend::gpu::ops::{DenseKernels, KernelVersion, half};

/// Number format of activations and of what flows back through them, as it is asked for. Maps,
/// weights, moments, statistics, losses and gradients of weights are f32 in either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// bf16 where the device has tensor cores for it and the kernels allow it, else f32.
    #[default]
    Auto,
    F32,
    Bf16,
}

/// Generation of the convolution kernels, as it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelChoice {
    /// The newest for the number format.
    #[default]
    Auto,
    V1,
    V2,
    V3,
}

/// What a run is asked to compute with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArithmeticChoice {
    pub precision: PrecisionChoice,
    pub kernels: KernelChoice,
    pub dense: DenseKernels,
}

/// What is to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor<'a> {
    Cpu,
    Gpu {
        name: &'a str,
        /// Compute capability, major and minor.
        capability: (u32, u32),
    },
}

/// What a run computes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arithmetic {
    pub precision: Precision,
    /// Of no meaning on the CPU.
    pub kernels: KernelVersion,
    why: String,
}

/// Choices that contradict each other or the device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArithmeticError {
    #[error(
        "{one} and {other} contradict each other: kernels v1 and v2 and cuBLAS compute in f32, kernels \
         v3 in bf16. Leave one of the two out, or give auto for it"
    )]
    Contradiction { one: String, other: String },
    #[error(
        "{asked} needs a GPU of compute capability {}.{} or later (or --device emulator): the CPU \
         computes in f32. Give --precision f32 --kernels auto, or another --device",
        half::CAPABILITY.0,
        half::CAPABILITY.1
    )]
    Cpu { asked: String },
    #[error(
        "{name} has compute capability {major}.{minor}, and {asked} needs {}.{} or later: give \
         --precision f32 --kernels auto",
        half::CAPABILITY.0,
        half::CAPABILITY.1
    )]
    Capability {
        name: String,
        major: u32,
        minor: u32,
        asked: String,
    },
}

/// The name that options have for it.
pub fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "f32",
        Precision::Bf16 => "bf16",
    }
}

/// The name that options have for it.
pub fn version_name(version: KernelVersion) -> &'static str {
    match version {
        KernelVersion::V1 => "v1",
        KernelVersion::V2 => "v2",
        KernelVersion::V3 => "v3",
    }
}

impl KernelChoice {
    /// The version that is asked for by name.
    fn version(self) -> Option<KernelVersion> {
        match self {
            Self::Auto => None,
            Self::V1 => Some(KernelVersion::V1),
            Self::V2 => Some(KernelVersion::V2),
            Self::V3 => Some(KernelVersion::V3),
        }
    }
}

/// The format that kernels of a version compute in.
fn precision_of(version: KernelVersion) -> Precision {
    match version {
        KernelVersion::V1 | KernelVersion::V2 => Precision::F32,
        KernelVersion::V3 => Precision::Bf16,
    }
}

/// A number format that is asked for, and how.
struct Asked {
    precision: Precision,
    /// As in "... needs a GPU".
    how: String,
    why: String,
}

impl ArithmeticChoice {
    /// Checks what can be checked without a device.
    ///
    /// # Errors
    /// Kernels or a library that do not compute in the number format.
    pub fn check(self) -> Result<(), ArithmeticError> {
        self.asked().map(|_| ())
    }

    /// The number format that is asked for: by its name, or through what computes in one only.
    fn asked(self) -> Result<Option<Asked>, ArithmeticError> {
        let by_name = match self.precision {
            PrecisionChoice::Auto => None,
            PrecisionChoice::F32 => Some(Precision::F32),
            PrecisionChoice::Bf16 => Some(Precision::Bf16),
        };
        let by_name = by_name.map(|precision| Asked {
            precision,
            how: format!("precision {}", precision_name(precision)),
            why: "as asked".to_owned(),
        });
        let through = |precision, how: String| Asked {
            precision,
            why: format!("that of {how}"),
            how,
        };
        let by_kernels = self.kernels.version().map(|version| {
            let how = format!("kernels {}", version_name(version));
            through(precision_of(version), how)
        });
        let by_library = (self.dense == DenseKernels::Cublas)
            .then(|| through(Precision::F32, "dense layers by cuBLAS".to_owned()));
        let mut asked = [by_name, by_kernels, by_library].into_iter().flatten();
        let Some(first) = asked.next() else {
            return Ok(None);
        };
        match asked.find(|other| other.precision != first.precision) {
            Some(other) => Err(ArithmeticError::Contradiction {
                one: first.how,
                other: other.how,
            }),
            None => Ok(Some(first)),
        }
    }

    /// What the choices come to on a device.
    ///
    /// # Errors
    /// Choices that contradict each other, or that the device cannot do.
    pub fn on(self, processor: Processor) -> Result<Arithmetic, ArithmeticError> {
        let asked = self.asked()?;
        let is_half = asked
            .as_ref()
            .filter(|asked| asked.precision == Precision::Bf16);
        let able = match processor {
            Processor::Cpu => false,
            Processor::Gpu { capability, .. } => capability >= half::CAPABILITY,
        };
        match (processor, is_half) {
            (Processor::Cpu, Some(asked)) => {
                let asked = asked.how.clone();
                return Err(ArithmeticError::Cpu { asked });
            }
            (Processor::Gpu { name, capability }, Some(asked)) if !able => {
                return Err(ArithmeticError::Capability {
                    name: name.to_owned(),
                    major: capability.0,
                    minor: capability.1,
                    asked: asked.how.clone(),
                });
            }
            _ => {}
        }
        let (precision, why) = match (asked, processor) {
            (_, Processor::Cpu) => (Precision::F32, "the CPU's".to_owned()),
            (Some(asked), _) => (asked.precision, asked.why),
            (None, _) if able => (Precision::Bf16, "auto: tensor cores".to_owned()),
            (None, _) => {
                let (major, minor) = half::CAPABILITY;
                let why = format!("auto: bf16 needs compute capability {major}.{minor}");
                (Precision::F32, why)
            }
        };
        let newest = match precision {
            Precision::F32 => KernelVersion::V2,
            Precision::Bf16 => KernelVersion::V3,
        };
        Ok(Arithmetic {
            precision,
            kernels: self.kernels.version().unwrap_or(newest),
            why,
        })
    }
}

impl Arithmetic {
    /// The number format and why it was chosen: `bf16 (auto: tensor cores)`.
    pub fn describe(&self) -> String {
        format!("{} ({})", precision_name(self.precision), self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use KernelChoice as K;
    use PrecisionChoice as P;

    const ALL: [(P, K); 12] = [
        (P::Auto, K::Auto),
        (P::Auto, K::V1),
        (P::Auto, K::V2),
        (P::Auto, K::V3),
        (P::F32, K::Auto),
        (P::F32, K::V1),
        (P::F32, K::V2),
        (P::F32, K::V3),
        (P::Bf16, K::Auto),
        (P::Bf16, K::V1),
        (P::Bf16, K::V2),
        (P::Bf16, K::V3),
    ];

    fn choice((precision, kernels): (P, K)) -> ArithmeticChoice {
        ArithmeticChoice {
            precision,
            kernels,
            dense: DenseKernels::Own,
        }
    }

    fn gpu(capability: (u32, u32)) -> Processor<'static> {
        let name = "Some GPU";
        Processor::Gpu { name, capability }
    }

    #[test]
    fn kernels_compute_in_their_own_format_and_a_contradiction_is_one_everywhere() {
        for both in ALL {
            let contradicts = matches!(both, (P::F32, K::V3) | (P::Bf16, K::V1) | (P::Bf16, K::V2));
            assert_eq!(choice(both).check().is_err(), contradicts, "{both:?}");
            for processor in [Processor::Cpu, gpu((7, 5)), gpu((8, 0)), gpu((12, 0))] {
                match choice(both).on(processor) {
                    Ok(found) => {
                        assert!(!contradicts, "{both:?}");
                        assert_eq!(found.precision, precision_of(found.kernels), "{both:?}");
                    }
                    Err(ArithmeticError::Contradiction { .. }) => assert!(contradicts, "{both:?}"),
                    Err(error) => {
                        let can = !matches!(
                            processor,
                            Processor::Gpu {
                                capability: (8.., _),
                                ..
                            }
                        );
                        let half = both.0 == P::Bf16 || both.1 == K::V3;
                        assert!(can && half, "{both:?}: {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_left_open_is_the_newest_that_the_device_can_do() {
        let open = ArithmeticChoice::default();
        let on = |processor| {
            let found = open.on(processor).unwrap();
            (found.precision, found.kernels)
        };
        let newest = (Precision::Bf16, KernelVersion::V3);
        assert_eq!(on(gpu((8, 0))), newest);
        assert_eq!(on(gpu((9, 0))), newest);
        assert_eq!(on(gpu((7, 5))), (Precision::F32, KernelVersion::V2));
        assert_eq!(on(Processor::Cpu).0, Precision::F32);
        let told = open.on(gpu((7, 5))).unwrap().describe();
        assert_eq!(told, "f32 (auto: bf16 needs compute capability 8.0)");
    }

    #[test]
    fn what_is_asked_for_is_taken_with_the_kernels_that_go_with_it() {
        let on = |both| {
            let found = choice(both).on(gpu((9, 0))).unwrap();
            (found.describe(), found.kernels)
        };
        let as_asked = |text: &str| format!("{text} (as asked)");
        assert_eq!(on((P::F32, K::Auto)), (as_asked("f32"), KernelVersion::V2));
        assert_eq!(on((P::F32, K::V1)), (as_asked("f32"), KernelVersion::V1));
        assert_eq!(on((P::Bf16, K::V3)), (as_asked("bf16"), KernelVersion::V3));
        let by_kernels = "f32 (that of kernels v1)".to_owned();
        assert_eq!(on((P::Auto, K::V1)), (by_kernels, KernelVersion::V1));
        let by_kernels = "bf16 (that of kernels v3)".to_owned();
        assert_eq!(on((P::Auto, K::V3)), (by_kernels, KernelVersion::V3));
    }

    #[test]
    fn cublas_multiplies_in_f32_and_decides_where_nothing_else_does() {
        let by_library = |both| ArithmeticChoice {
            dense: DenseKernels::Cublas,
            ..choice(both)
        };
        let found = by_library((P::Auto, K::Auto)).on(gpu((9, 0))).unwrap();
        assert_eq!(found.describe(), "f32 (that of dense layers by cuBLAS)");
        assert_eq!(found.kernels, KernelVersion::V2);
        assert!(by_library((P::F32, K::V1)).check().is_ok());
        for both in [(P::Bf16, K::Auto), (P::Auto, K::V3), (P::Bf16, K::V3)] {
            let told = by_library(both).check().unwrap_err().to_string();
            assert!(
                told.contains("and dense layers by cuBLAS contradict"),
                "{told}"
            );
        }
    }

    #[test]
    fn what_a_device_cannot_do_is_refused_with_what_it_can() {
        for (both, asked) in [
            ((P::Bf16, K::Auto), "precision bf16 needs"),
            ((P::Bf16, K::V3), "precision bf16 needs"),
            ((P::Auto, K::V3), "kernels v3 needs"),
        ] {
            let told = choice(both).on(Processor::Cpu).unwrap_err().to_string();
            assert!(told.starts_with(asked), "{told}");
            assert!(told.contains("the CPU computes in f32"), "{told}");
            let told = choice(both).on(gpu((7, 5))).unwrap_err().to_string();
            assert!(told.contains(asked), "{told}");
            assert!(
                told.contains("Some GPU has compute capability 7.5"),
                "{told}"
            );
            assert!(told.contains("8.0 or later"), "{told}");
        }
    }
}

//! What a choice of device comes to on this machine, and running something there.

use std::cell::Cell;
use std::error::Error;
use std::io;

use anyhow::Result;
use indicatif::HumanBytes;

use cosmogan::backend::gpu::driver::{DeviceInfo, Driver, DriverError};
use cosmogan::backend::gpu::{Cuda, Emulated, EmulatedOptions, Gpu, ptx};
use cosmogan::backend::{Backend, BackendError, Cpu, Precision};
use cosmogan::train::{
    Arithmetic, ArithmeticChoice, ArithmeticError, DenseKernels, DeviceChoice, KernelVersion,
    Processor, RunError, version_name,
};

/// A device that serves.
pub struct Selected {
    engine: Engine,
    arithmetic: Arithmetic,
    dense: DenseKernels,
    why: String,
}

/// Why a device or an arithmetic that was asked for cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error(transparent)]
    Arithmetic(#[from] ArithmeticError),
    #[error("--device auto found no GPU ({why}), and {error}")]
    NoGpu { why: String, error: ArithmeticError },
}

enum Engine {
    Cpu,
    Cuda(Box<OpenCuda>),
    Emulator,
}

/// A GPU that took the kernels.
struct OpenCuda {
    index: usize,
    info: DeviceInfo,
    /// The one that was opened to see that it serves, until it is used.
    opened: Cell<Option<Gpu<Cuda>>>,
}

/// Something to do on whichever backend serves. `backend` makes one each time that it is called.
pub trait Work {
    type Output;

    /// Does it.
    ///
    /// # Errors
    /// What goes wrong, the device included.
    fn on<B: Backend>(self, backend: impl Fn() -> Result<B, BackendError>) -> Result<Self::Output>;
}

impl Selected {
    /// Finds the device that `choice` means and what it computes with, and makes sure that it takes
    /// the kernels.
    ///
    /// # Errors
    /// A device that was asked for by name and cannot be used, or an arithmetic that it has not.
    pub fn new(choice: DeviceChoice, arithmetic: ArithmeticChoice) -> Result<Self, SelectError> {
        arithmetic.check()?;
        let dense = arithmetic.dense;
        let asked = || "as asked".to_owned();
        let (engine, arithmetic, why) = match choice {
            DeviceChoice::Cpu => (Engine::Cpu, arithmetic.on(Processor::Cpu)?, asked()),
            DeviceChoice::Emulator => {
                let arithmetic = arithmetic.on(emulated())?;
                (Engine::Emulator, arithmetic, asked())
            }
            DeviceChoice::Cuda(index) => {
                let (cuda, arithmetic) = open(index, arithmetic)?;
                (Engine::Cuda(cuda), arithmetic, asked())
            }
            DeviceChoice::Auto => match open(0, arithmetic) {
                Ok((cuda, arithmetic)) => {
                    let why = "auto: it is usable".to_owned();
                    (Engine::Cuda(cuda), arithmetic, why)
                }
                // Asked for by name.
                Err(error @ SelectError::Driver(DriverError::NoBlas { .. })) => return Err(error),
                Err(SelectError::Driver(error)) => {
                    let why = in_short(&error);
                    match arithmetic.on(Processor::Cpu) {
                        Ok(arithmetic) => (Engine::Cpu, arithmetic, format!("auto: {why}")),
                        Err(error) => return Err(SelectError::NoGpu { why, error }),
                    }
                }
                Err(error) => return Err(error),
            },
        };
        Ok(Self {
            engine,
            arithmetic,
            dense,
            why,
        })
    }

    /// What it computes with.
    pub fn arithmetic(&self) -> &Arithmetic {
        &self.arithmetic
    }

    /// The number format that it computes in.
    pub fn precision(&self) -> Precision {
        self.arithmetic.precision
    }

    /// The device and why it was chosen, for the first line of output.
    pub fn describe(&self) -> String {
        let Self { engine, why, .. } = self;
        let mut version = version_name(self.arithmetic.kernels).to_owned();
        if self.dense == DenseKernels::Cublas {
            version.push_str(" and cuBLAS");
        }
        match engine {
            Engine::Cpu => format!("CPU, {} ({why})", threads()),
            Engine::Emulator => format!(
                "emulator of {}, {}, kernels {version}, committed PTX ({why})",
                EmulatedOptions::default().profile.name,
                threads(),
            ),
            Engine::Cuda(cuda) => {
                let DeviceInfo {
                    name,
                    capability: (major, minor),
                    memory,
                    ..
                } = &cuda.info;
                format!(
                    "cuda:{}, {name}, compute capability {major}.{minor}, {}, kernels {version}, {} \
                     ({why})",
                    cuda.index,
                    HumanBytes(*memory),
                    ptx::origin(),
                )
            }
        }
    }

    /// Whether no kernels are launched there.
    pub fn is_cpu(&self) -> bool {
        matches!(self.engine, Engine::Cpu)
    }

    /// The name that files of results have for it.
    pub fn name(&self) -> String {
        match &self.engine {
            Engine::Cpu => "cpu".to_owned(),
            Engine::Cuda(cuda) => cuda.info.name.clone(),
            Engine::Emulator => "emulator".to_owned(),
        }
    }

    /// Does `work` there.
    ///
    /// # Errors
    /// What goes wrong, the device included.
    pub fn run<W: Work>(&self, work: W) -> Result<W::Output> {
        let (kernels, dense) = (self.arithmetic.kernels, self.dense);
        match &self.engine {
            Engine::Cpu => work.on(|| Ok(Cpu::<f32>::new())),
            Engine::Emulator => work.on(|| {
                let driver = Emulated::new(EmulatedOptions::default());
                let gpu = Gpu::new(driver, ptx::committed(), kernels)?;
                Ok(gpu.with_dense(dense)?)
            }),
            Engine::Cuda(cuda) => work.on(|| match cuda.opened.take() {
                Some(gpu) => Ok(gpu),
                None => Ok(on_cuda(Cuda::open(cuda.index)?, kernels, dense)?),
            }),
        }
    }
}

fn on_cuda(
    driver: Cuda,
    kernels: KernelVersion,
    dense: DenseKernels,
) -> Result<Gpu<Cuda>, DriverError> {
    Gpu::new(driver, ptx::best(), kernels)?.with_dense(dense)
}

fn open(
    index: usize,
    choice: ArithmeticChoice,
) -> Result<(Box<OpenCuda>, Arithmetic), SelectError> {
    let driver = Cuda::open(index)?;
    let info = driver.info().clone();
    let arithmetic = choice.on(Processor::Gpu {
        name: &info.name,
        capability: info.capability,
    })?;
    let gpu = on_cuda(driver, arithmetic.kernels, choice.dense)?;
    let cuda = OpenCuda {
        index,
        info,
        opened: Cell::new(Some(gpu)),
    };
    Ok((Box::new(cuda), arithmetic))
}

/// What the emulator stands for.
pub fn emulated() -> Processor<'static> {
    let profile = EmulatedOptions::default().profile;
    Processor::Gpu {
        name: profile.name,
        capability: (profile.capability / 10, profile.capability % 10),
    }
}

/// Why there is no GPU to use, in one line.
pub fn in_short(error: &DriverError) -> String {
    match error {
        DriverError::NoDriver { .. } => "no CUDA driver is installed".to_owned(),
        DriverError::NoDevice { .. } => "CUDA finds no device".to_owned(),
        DriverError::Unsupported { name, major, minor } => {
            format!("{name} has compute capability {major}.{minor}, and 7.5 is needed")
        }
        DriverError::OldDriver { has, needs, .. } => format!(
            "the CUDA driver is for CUDA {}.{}, and {}.{} is needed",
            has.0, has.1, needs.0, needs.1
        ),
        error => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            format!("the GPU is not usable: {line}")
        }
    }
}

fn threads() -> String {
    match rayon::current_num_threads() {
        1 => "1 thread".to_owned(),
        threads => format!("{threads} threads"),
    }
}

/// Adds to an error of a device without enough memory which batch would do; `arena_len` tells the
/// values that a batch needs.
pub fn with_batch_advice(
    error: anyhow::Error,
    batch: usize,
    arena_len: impl Fn(usize) -> usize,
) -> anyhow::Error {
    let Some((needed, free)) = error.chain().find_map(missing_memory) else {
        return error;
    };
    let advice = match batch_that_fits(batch, free, arena_len) {
        Some(fits) => format!("--batch {fits} would fit"),
        None => "even a batch of 1 does not fit: a smaller --size or --base needs less".to_owned(),
    };
    error.context(format!(
        "the device's memory does not suffice for batches of {batch} ({} more are needed, {} are \
         free); {advice}",
        HumanBytes(needed),
        HumanBytes(free)
    ))
}

/// The bytes that were wanted and those that were free, where this is an error of too little memory.
fn missing_memory(error: &(dyn Error + 'static)) -> Option<(u64, u64)> {
    // These errors show the one inside as their own, so that it is no link of the chain.
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return missing_memory(error.get_ref()?);
    }
    let driver = match (error.downcast_ref(), error.downcast_ref()) {
        (Some(RunError::Backend(BackendError::Driver(error))), _) => error,
        (_, Some(BackendError::Driver(error))) => error,
        _ => error.downcast_ref()?,
    };
    match driver {
        DriverError::OutOfMemory { needed, free, .. } => Some((*needed as u64, *free)),
        _ => None,
    }
}

/// The largest batch below `batch` whose arena takes nine tenths of the free memory at most: the
/// rest is for workspaces and what the driver keeps.
fn batch_that_fits(batch: usize, free: u64, arena_len: impl Fn(usize) -> usize) -> Option<usize> {
    let fits = |batch: usize| 4 * arena_len(batch) as u64 <= free / 10 * 9;
    let (mut fitting, mut too_large) = (0, batch);
    while too_large - fitting > 1 {
        let middle = fitting.midpoint(too_large);
        if fits(middle) {
            fitting = middle;
        } else {
            too_large = middle;
        }
    }
    (fitting > 0).then_some(fitting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cosmogan::train::PrecisionChoice;

    fn out_of_memory(needed: usize, free: u64) -> anyhow::Error {
        let error = DriverError::OutOfMemory {
            name: "the step".to_owned(),
            needed,
            free,
        };
        // As deep inside of others as they come.
        anyhow::Error::new(io::Error::other(BackendError::from(error)))
    }

    #[test]
    fn the_largest_batch_that_fits_is_told() {
        // 100 values a map and 1000 besides, in 4 bytes each: 9/10 of 100,000 bytes hold 215 maps.
        let arena = |batch: usize| 1000 + 100 * batch;
        assert_eq!(batch_that_fits(1000, 100_000, arena), Some(215));
        assert_eq!(batch_that_fits(64, 100_000, arena), Some(63));
        assert_eq!(batch_that_fits(64, 4000, arena), None);
        let told = format!(
            "{:#}",
            with_batch_advice(out_of_memory(1 << 31, 100_000), 1000, arena)
        );
        assert!(
            told.contains("--batch 215") && told.contains("2.00 GiB"),
            "{told}"
        );
        let told = format!("{:#}", with_batch_advice(out_of_memory(9, 100), 8, arena));
        assert!(told.contains("even a batch of 1"), "{told}");
    }

    #[test]
    fn other_errors_get_no_advice_about_memory() {
        let error = anyhow::anyhow!("the disk is full");
        let told = format!("{:#}", with_batch_advice(error, 8, |batch| batch));
        assert_eq!(told, "the disk is full");
    }

    #[test]
    fn the_cpu_serves_as_asked() {
        let choice = ArithmeticChoice::default();
        let selected = Selected::new(DeviceChoice::Cpu, choice).unwrap();
        assert!(selected.describe().starts_with("CPU, "));
        assert!(selected.describe().ends_with("(as asked)"));
        assert_eq!(selected.arithmetic().describe(), "f32 (the CPU's)");
    }

    #[test]
    fn bf16_on_the_cpu_is_refused() {
        let choice = ArithmeticChoice {
            precision: PrecisionChoice::Bf16,
            ..ArithmeticChoice::default()
        };
        let refused = Selected::new(DeviceChoice::Cpu, choice);
        let told = refused.map(|_| ()).unwrap_err().to_string();
        assert!(told.contains("the CPU computes in f32"), "{told}");
    }
}

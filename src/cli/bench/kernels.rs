//! `cosmogan bench kernels`: what the strided layer's kernels do, and how fast they are on a GPU.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::machine::today;
use super::write_json;
use crate::cli::device::in_short;
use crate::cli::options::{BaseArgs, NetworkArgs};
use crate::cli::say;
use cosmogan::backend::gpu::driver::{Driver, DriverError};
use cosmogan::backend::gpu::launcher::Launcher;
use cosmogan::backend::gpu::ops::{KernelVersion, half};
use cosmogan::backend::gpu::{Cuda, ptx};
use cosmogan::model::Architecture;
use cosmogan::performance::kernel_count::count;
use cosmogan::performance::kernels::cases;
use cosmogan::performance::measured::{GpuResults, GpuTime, times};
use cosmogan::performance::peers::{Fastest, element, time_convolution, time_product};
use cosmogan::performance::timing::{median, time};
use cosmogan::performance::{Case, ConvOperation, Counts, GpuModel, KernelCount, bound, tables};
use cosmogan::train::{Config, DeviceChoice};

/// Count what the convolution kernels do, or time them on a GPU
///
/// On the emulator: operations, bytes, passes over shared memory, registers and occupancy of each kernel at the
/// layers of the network, exact, and the least time that some GPUs could take by their datasheets, which is a
/// bound and not a measurement. On a GPU: times of single launches after the caches were emptied, on random
/// numbers, beside the bound of that GPU where it is known and, where they are installed, NVIDIA's libraries:
/// cuDNN's convolution by the fastest of its algorithms, and cuBLAS' product of matrices with as many
/// operations; in f32 beside v1 and v2, in bf16 beside v3.
#[derive(Args, Debug)]
pub struct KernelsArgs {
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    network: NetworkArgs,
    /// Maps in a batch
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: u32,
    /// emulator (exact counts on any machine), cuda or cuda:N (times)
    #[arg(long, value_name = "NAME", default_value_t = DeviceChoice::Emulator)]
    device: DeviceChoice,
    /// Generation of the kernels; v1 and v2 take minutes on the emulator
    #[arg(long, value_name = "VERSION", value_enum, default_value_t = Versions::All)]
    version: Versions,
    /// One operation alone
    #[arg(long, value_name = "NAME", value_enum)]
    operation: Option<OperationName>,
    /// Launches that are timed, on a GPU
    #[arg(long, value_name = "K", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
    /// Also write the result to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Versions {
    V1,
    V2,
    V3,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OperationName {
    Fprop,
    Dgrad,
    Wgrad,
}

impl KernelsArgs {
    fn architecture(&self) -> Result<Architecture> {
        let preset = self
            .base
            .preset
            .unwrap_or(cosmogan::model::Preset::Paper256);
        let mut config = Config::of_preset(preset, self.base.convention);
        self.network.apply(&mut config.architecture);
        config.validate()?;
        Ok(config.architecture)
    }

    fn cases(&self, architecture: &Architecture) -> Vec<Case> {
        use KernelVersion::{V1, V2, V3};
        let versions: &[KernelVersion] = match self.version {
            Versions::V1 => &[V1],
            Versions::V2 => &[V2],
            Versions::V3 => &[V3],
            Versions::All => &[V1, V2, V3],
        };
        let wanted = self.operation.map(|operation| match operation {
            OperationName::Fprop => ConvOperation::Fprop,
            OperationName::Dgrad => ConvOperation::Dgrad,
            OperationName::Wgrad => ConvOperation::Wgrad,
        });
        let mut cases = cases(architecture, self.batch as usize, versions);
        cases.retain(|case| wanted.is_none_or(|wanted| case.operation == wanted));
        cases
    }
}

/// Runs the command.
///
/// # Errors
/// Sizes out of range, a device that cannot be used, a file that cannot be written.
pub fn run(arguments: &KernelsArgs) -> Result<()> {
    let cases = arguments.cases(&arguments.architecture()?);
    match arguments.device {
        DeviceChoice::Emulator => counts(&cases, arguments.json.as_deref()),
        DeviceChoice::Cuda(index) => timed(&cases, index, arguments),
        DeviceChoice::Auto => match Cuda::open(0) {
            Ok(_) => timed(&cases, 0, arguments),
            Err(error) => {
                say(&format!("auto: {}; the emulator counts", in_short(&error)));
                counts(&cases, arguments.json.as_deref())
            }
        },
        DeviceChoice::Cpu => {
            bail!("kernels run on a GPU or the emulator; give --device cuda or --device emulator")
        }
    }
}

/// Counts all of these with the committed kernels.
///
/// # Errors
/// Findings of the emulator, too little memory.
pub fn count_all(cases: &[Case]) -> Result<Vec<KernelCount>> {
    let mut counted = Vec::new();
    for case in cases {
        let (operation, version) = (case.operation.name(), case.version_name());
        let layer = case.layer_name();
        let one = count(ptx::committed(), case);
        counted.push(one.with_context(|| format!("{operation} {version} at {layer}"))?);
    }
    Ok(counted)
}

fn counts(cases: &[Case], json: Option<&Path>) -> Result<()> {
    let counted = count_all(cases)?;
    say(&format!(
        "Counted on the emulator (committed PTX):\n\n{}\n\
         Registers, shared memory (compute capability 9.0) and resident blocks:\n\n{}\n\
         Least microseconds by the datasheets, a bound and not a measurement:\n\n{}",
        tables::counted(&counted),
        tables::resources(&counted),
        tables::bounds(&counted)
    ));
    write_json(json, &counted)
}

fn timed(cases: &[Case], index: usize, arguments: &KernelsArgs) -> Result<()> {
    let driver = Cuda::open(index)?;
    let info = driver.info().clone();
    let mut launcher = Launcher::new(driver, ptx::best())?;
    say(&format!(
        "{}, compute capability {}.{}, {}; caches emptied before each of {} launches",
        info.name,
        info.capability.0,
        info.capability.1,
        ptx::origin(),
        arguments.repeats
    ));
    let model = GpuModel::of_device(&info.name);
    let mut peers = Peers::open(&mut launcher, arguments.repeats as usize)?;
    let mut kernels = Vec::new();
    for case in cases {
        let half = case.version == KernelVersion::V3;
        if half && info.capability < half::CAPABILITY {
            continue;
        }
        kernels.push(time_one(&mut launcher, case, model, &mut peers)?);
    }
    say(&times(&kernels));
    let results = GpuResults {
        device: info.name,
        date: today(),
        batch: arguments.batch as usize,
        cudnn: peers.cudnn,
        kernels,
    };
    write_json(arguments.json.as_deref(), &results)
}

fn time_one(
    launcher: &mut Launcher<Cuda>,
    case: &Case,
    model: Option<&GpuModel>,
    peers: &mut Peers,
) -> Result<GpuTime> {
    let mut seconds = time(launcher, case, peers.repeats)?;
    seconds.sort_by(f64::total_cmp);
    let (min_s, max_s) = (seconds[0], seconds[seconds.len() - 1]);
    let beside = peers.beside(launcher, case)?;
    // The useful work on the units that the version uses: what a perfect kernel would take.
    let (useful, bytes) = (case.useful_flop(), case.compulsory_bytes());
    let on_tensor_cores = case.version == KernelVersion::V3 && case.layer.c_big > 4;
    let perfect = Counts {
        tensor_flop: if on_tensor_cores { useful } else { 0 },
        simt_flop: if on_tensor_cores { 0 } else { useful },
        footprint_bytes: bytes,
        ..Counts::default()
    };
    Ok(GpuTime {
        layer: case.layer_name(),
        operation: case.operation.name().to_owned(),
        version: case.version_name().to_owned(),
        median_s: median(&seconds),
        min_s,
        max_s,
        useful_flop: useful,
        compulsory_bytes: bytes,
        roofline_s: model
            .and_then(|gpu| bound(&perfect, gpu))
            .map(|b| b.seconds),
        cudnn_s: beside.convolution.as_ref().map(|fastest| fastest.seconds),
        cudnn_algorithm: beside.convolution.map(|fastest| fastest.algorithm),
        cublas_s: beside.product,
    })
}

/// NVIDIA's libraries, as far as they are installed.
struct Peers {
    repeats: usize,
    /// Its version.
    cudnn: Option<String>,
    has_cublas: bool,
    /// The last case, and what they took for it: v1 and v2 are beside the same.
    last: Option<(Case, Beside)>,
}

/// What the libraries took for a case.
#[derive(Clone, Default)]
struct Beside {
    convolution: Option<Fastest>,
    product: Option<f64>,
}

impl Peers {
    /// Opens what is there, and tells.
    fn open(launcher: &mut Launcher<Cuda>, repeats: usize) -> Result<Self> {
        let driver = &mut launcher.driver;
        let cudnn = told(driver.open_dnn(), "")?;
        let has_cublas = told(driver.open_gemm(), "")?.is_some();
        if let Some(version) = &cudnn {
            say(&format!("beside cuDNN {version}"));
        }
        Ok(Self {
            repeats,
            cudnn,
            has_cublas,
            last: None,
        })
    }

    fn beside(&mut self, launcher: &mut Launcher<Cuda>, case: &Case) -> Result<Beside> {
        let same = |last: &Case| {
            let version = case.version;
            element(last.version) == element(version) && Case { version, ..*last } == *case
        };
        if let Some((_, beside)) = self.last.as_ref().filter(|(last, _)| same(last)) {
            return Ok(beside.clone());
        }
        let mut beside = Beside::default();
        let what = |library: &str| {
            let (operation, layer) = (case.operation.name(), case.layer_name());
            let element = element(case.version).name();
            format!("no time of {library} for {operation} in {element} at {layer}: ")
        };
        if self.cudnn.is_some() {
            let timed = time_convolution(launcher, case, self.repeats);
            beside.convolution = told(timed, &what("cuDNN"))?;
        }
        if self.has_cublas {
            let timed = time_product(launcher, case, self.repeats);
            beside.product = told(timed, &what("cuBLAS"))?;
        }
        self.last = Some((*case, beside.clone()));
        Ok(beside)
    }
}

/// What a library did, or nothing where it is not there or cannot do this; then a line says why.
fn told<T>(result: Result<T, DriverError>, what: &str) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(
            error @ (DriverError::NoBlas { .. }
            | DriverError::NoDnn { .. }
            | DriverError::NoAlgorithm { .. }
            | DriverError::OutOfMemory { .. }),
        ) => {
            say(&format!("{what}{error}"));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

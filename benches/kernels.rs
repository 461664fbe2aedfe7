//! Kernels on a GPU: every version at the strided layers of `paper-256`, and every launch of its training step in
//! f32 and in bf16, at a batch of 64. Each launch is timed between two marks, after the second-level cache was
//! emptied, on random numbers. Beside them stand cuDNN and cuBLAS, where they are installed.
//!
//! `COSMOGAN_BENCH_BATCH` sets another batch. Without a GPU nothing is measured.

use std::process::ExitCode;
use std::time::Duration;

use cosmogan::backend::gpu::driver::{Driver, DriverError};
use cosmogan::backend::gpu::launcher::Launcher;
use cosmogan::backend::gpu::ops::{KernelVersion, half};
use cosmogan::backend::gpu::{Cuda, Gpu, ptx};
use cosmogan::model::Preset;
use cosmogan::performance::Case;
use cosmogan::performance::kernels::cases;
use cosmogan::performance::peers::{element, time_convolution, time_product};
use cosmogan::performance::step_times::LoggedStep;
use cosmogan::performance::timing::{cold, time};
use cosmogan::train::Config;
use criterion::Criterion;

/// Versions that a device of this capability runs.
fn versions(capability: (u32, u32)) -> &'static [KernelVersion] {
    use KernelVersion::{V1, V2, V3};
    match capability >= half::CAPABILITY {
        true => &[V1, V2, V3],
        false => &[V1, V2],
    }
}

fn sum(seconds: Result<Vec<f64>, DriverError>) -> Duration {
    let seconds = seconds.expect("the device works");
    Duration::from_secs_f64(seconds.iter().sum())
}

/// Each version of the strided layer's operations.
fn strided(criterion: &mut Criterion, config: &Config, batch: usize) {
    let driver = Cuda::open(0).expect("the device was opened before");
    let versions = versions(driver.info().capability);
    let mut l = Launcher::new(driver, ptx::best()).expect("the device takes the kernels");
    for case in cases(&config.architecture, batch, versions) {
        let mut group = criterion.benchmark_group(format!("strided {}", case.operation.name()));
        let name = format!("{} {}", case.layer_name(), case.version_name());
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| sum(time(&mut l, &case, count as usize)));
        });
    }
}

/// cuDNN's convolution by its fastest algorithm and cuBLAS' product with as many operations beside each case, where
/// these libraries are installed.
fn libraries(criterion: &mut Criterion, config: &Config, batch: usize) {
    /// Launches that a library's median is taken of.
    const MOST: u64 = 20;
    type Measure = fn(&mut Launcher<Cuda>, &Case, usize) -> Result<f64, DriverError>;
    let measures: [(&str, Measure); 2] = [
        ("cuDNN", |l, case, repeats| {
            time_convolution(l, case, repeats).map(|fastest| fastest.seconds)
        }),
        ("cuBLAS' product", time_product),
    ];
    let driver = Cuda::open(0).expect("the device was opened before");
    // One version for each number format.
    let versions = versions(driver.info().capability);
    let mut l = Launcher::new(driver, ptx::best()).expect("the device takes the kernels");
    for case in cases(&config.architecture, batch, &versions[1..]) {
        for (library, measure) in measures {
            let name = format!("{} {}", case.layer_name(), element(case.version).name());
            if let Err(error) = measure(&mut l, &case, 1) {
                println!("{library} {name} is not measured: {error}");
                continue;
            }
            let group = format!("{library} {}", case.operation.name());
            criterion
                .benchmark_group(group)
                .bench_function(name, |bencher| {
                    bencher.iter_custom(|count| {
                        let seconds = measure(&mut l, &case, count.min(MOST) as usize);
                        let seconds = seconds.expect("the device works");
                        Duration::from_secs_f64(seconds * count as f64)
                    });
                });
        }
    }
}

/// Each launch of a step, of those that are alike the first.
fn step(criterion: &mut Criterion, config: &Config, batch: usize, version: KernelVersion) {
    let driver = Cuda::open(0).expect("the device was opened before");
    let mut gpu = Gpu::new(driver, ptx::best(), version).expect("the device takes the kernels");
    let step = LoggedStep::new(&mut gpu, config, batch).expect("the device holds a step");
    let mut group = criterion.benchmark_group(format!("step with {version:?}"));
    let mut names = Vec::new();
    for launch in &step.launches {
        let name = format!("{} of {}", launch.kernel, step.purpose(launch));
        if names.contains(&name) {
            continue;
        }
        group.bench_function(name.clone(), |bencher| {
            bencher.iter_custom(|count| {
                let again = |l: &mut Launcher<Cuda>| l.launch_again(launch);
                sum(cold(gpu.launcher(), count as usize, again))
            });
        });
        names.push(name);
    }
}

fn main() -> ExitCode {
    let capability = match Cuda::open(0) {
        Ok(driver) => driver.info().capability,
        Err(error) => {
            println!("kernels are not measured: {error}");
            return ExitCode::SUCCESS;
        }
    };
    let batch = match std::env::var("COSMOGAN_BENCH_BATCH").map(|batch| batch.parse()) {
        Ok(Ok(batch)) if batch > 0 => batch,
        Ok(_) => {
            eprintln!("COSMOGAN_BENCH_BATCH is no batch");
            return ExitCode::FAILURE;
        }
        Err(_) => 64,
    };
    // What counts are the launches' own times, and most of the time passes between them.
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(100))
        .sample_size(10)
        .configure_from_args();
    let config = Config::of_preset(Preset::Paper256, None);
    strided(&mut criterion, &config, batch);
    libraries(&mut criterion, &config, batch);
    for &version in versions(capability).iter().skip(1) {
        step(&mut criterion, &config, batch, version);
    }
    criterion.final_summary();
    ExitCode::SUCCESS
}

//! Whole training steps on a device, against the CPU in double and single precision.

use anyhow::{Context, Result};
use serde::Serialize;

use super::mixed;
use cosmogan::backend::gpu::Gpu;
use cosmogan::backend::gpu::driver::{Driver, DriverError};
use cosmogan::backend::gpu::ptx::PtxModule;
use cosmogan::backend::{Backend, Cpu};
use cosmogan::model::{PadLow, Preset};
use cosmogan::rng::{Philox, Stream};
use cosmogan::train::checkpoint::Description;
use cosmogan::train::{
    CheckpointFile, Config, Convention, KernelVersion, Trainer, UpdateOrder, latents,
};

/// Steps that are made and compared. Rounding grows from step to step, in the CPU's f32 as well.
const STEPS: u64 = 4;

/// How much further from f64 a device may be than the CPU's f32 is: its sums have another order.
const ALLOWANCE: f64 = 10.0;

/// How a few steps went, in each order of update.
#[derive(Clone, Debug, Serialize)]
pub struct StepOutcome {
    pub title: String,
    pub orders: Vec<Order>,
}

/// How steps in one order of update went.
#[derive(Clone, Debug, Serialize)]
pub struct Order {
    pub update: UpdateOrder,
    /// The largest deviation of a tensor from f64, as a share of what is tolerated.
    pub worst: f64,
    /// The tensor that deviates so.
    pub tensor: String,
    /// Whether a second run left the same bits.
    pub repeats: bool,
}

impl StepOutcome {
    /// Whether the steps did what they should.
    pub fn passed(&self) -> bool {
        self.orders.iter().all(|o| o.worst <= 1.0 && o.repeats)
    }

    /// A line for people.
    pub fn line(&self) -> String {
        let orders = self.orders.iter().map(|order| {
            let bits = match order.repeats {
                true => "same bits twice",
                false => "OTHER BITS on the second run",
            };
            let update = match order.update {
                UpdateOrder::Simultaneous => "simultaneous",
                UpdateOrder::Alternating => "alternating",
            };
            format!(
                "{update}: worst {:.3} of the tolerance ({}), {bits}",
                order.worst, order.tensor
            )
        });
        let verdict = if self.passed() { "passed" } else { "FAILED" };
        let orders: Vec<_> = orders.collect();
        format!("{}: {}  {verdict}", self.title, orders.join("; "))
    }
}

/// Makes steps of a small network with kernels of one version, or of the demo's where the device is
/// `fast`. In f32 the state after a few is compared, in bf16 the first one's losses and gradients.
///
/// # Errors
/// What the device says.
pub fn check<D: Driver>(
    title: String,
    open: &dyn Fn() -> Result<D, DriverError>,
    modules: &[PtxModule],
    version: KernelVersion,
    fast: bool,
) -> Result<StepOutcome> {
    let orders = [
        (UpdateOrder::Simultaneous, Convention::Paper, PadLow::One),
        (UpdateOrder::Alternating, Convention::Torch, PadLow::Two),
    ];
    let orders = orders.map(|(update, convention, pad_low)| {
        let mut config = Config::of_preset(Preset::Demo, Some(convention));
        config.step.update = update;
        config.step.label_flip.probability = 0.3;
        config.architecture.pad_low = pad_low;
        config.run.batch = 9;
        if !fast {
            let architecture = &mut config.architecture;
            (architecture.map_size, architecture.layers) = (16, 2);
            (architecture.base_filters, architecture.latent) = (6, 7);
            config.run.batch = 5;
        }
        let device = |steps| -> Result<_> {
            let gpu = Gpu::new(open()?, modules, version)?;
            trained(gpu, &config, steps)
        };
        let (ours, again) = (device(STEPS)?, device(STEPS)?);
        let exact = |steps| trained(Cpu::<f64>::new(), &config, steps);
        let (worst, tensor) = match version {
            KernelVersion::V3 => mixed::worst(&device(1)?, &exact(1)?, &config.architecture),
            KernelVersion::V1 | KernelVersion::V2 => {
                let cpu = trained(Cpu::<f32>::new(), &config, STEPS)?;
                let (worst, tensor) = worst(&ours, &exact(STEPS)?, &cpu);
                (worst, tensor.to_owned())
            }
        };
        Ok(Order {
            update,
            worst,
            tensor,
            // Bits: a NaN is not equal to itself.
            repeats: bits(&ours) == bits(&again),
        })
    });
    Ok(StepOutcome {
        title,
        orders: orders.into_iter().collect::<Result<_>>()?,
    })
}

/// A tensor's name and values.
pub type Named = (&'static str, Vec<f32>);

fn bits(state: &[Named]) -> Vec<u32> {
    let values = state.iter().flat_map(|(_, values)| values);
    values.map(|value| value.to_bits()).collect()
}

/// The losses of `steps` steps on random maps and the state after them.
fn trained<B: Backend>(backend: B, config: &Config, steps: u64) -> Result<Vec<Named>> {
    let mut trainer = Trainer::new(backend, config)?;
    let mut losses = Vec::new();
    for step in 0..steps {
        let mut real = vec![0.0; config.run.batch * config.architecture.map_len()];
        Philox::new(config.run.seed, Stream::Benchmark, step).fill_normal(&mut real);
        real.iter_mut()
            .for_each(|pixel| *pixel = (0.5 * *pixel).tanh());
        let of_step = trainer.train(&real, 0.0)?;
        losses.extend([of_step.d_loss as f32, of_step.g_loss as f32]);
    }
    let vectors = latents(7, Stream::Benchmark, 0, 3, config.architecture.latent);
    let maps = trainer.sample(&vectors)?;
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let path = directory.path().join("state.safetensors");
    let architecture = config.architecture.clone();
    trainer.save(&path, |step, adam_t| Description {
        architecture,
        transform: serde_json::Value::Null,
        config: String::new(),
        step,
        adam_t,
        selection: serde_json::Value::Null,
        data: serde_json::Value::Null,
        recovery: Default::default(),
        precision: Default::default(),
    })?;
    let state = CheckpointFile::open(&path)?.read_all()?;
    Ok(vec![
        ("losses", losses),
        ("maps", maps),
        ("generator", state.generator.weights.parameters),
        (
            "generator's running statistics",
            state.generator.weights.running,
        ),
        ("generator's first moments", state.generator.m),
        ("generator's second moments", state.generator.v),
        ("discriminator", state.discriminator.weights.parameters),
        (
            "discriminator's running statistics",
            state.discriminator.weights.running,
        ),
        ("discriminator's first moments", state.discriminator.m),
        ("discriminator's second moments", state.discriminator.v),
        ("averaged generator", state.generator_ema.parameters),
        (
            "averaged generator's statistics",
            state.generator_ema.running,
        ),
    ])
}

/// The tensor that is furthest from `exact`, as a share of what the CPU's f32 lets one tolerate.
fn worst(ours: &[Named], exact: &[Named], cpu: &[Named]) -> (f64, &'static str) {
    let mut worst = (0.0, "");
    for (((name, ours), (_, exact)), (_, cpu)) in ours.iter().zip(exact).zip(cpu) {
        let tolerance = ALLOWANCE * distance(cpu, exact).max(f64::from(f32::EPSILON));
        let share = distance(ours, exact) / tolerance;
        // A NaN is above nothing, and would pass.
        let share = if share.is_nan() { f64::INFINITY } else { share };
        if share > worst.0 {
            worst = (share, *name);
        }
    }
    worst
}

/// The largest deviation, as a share of the largest magnitude; NaN where a value is none.
fn distance(values: &[f32], exact: &[f32]) -> f64 {
    let magnitude = exact.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let pairs = values.iter().zip(exact);
    let deviations = pairs.map(|(a, b)| f64::from(a - b).abs());
    let worst = deviations.fold(0.0f64, |worst, deviation| {
        if deviation.is_nan() || worst.is_nan() {
            f64::NAN
        } else {
            worst.max(deviation)
        }
    });
    worst / f64::from(magnitude.max(f32::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_that_is_too_far_or_no_number_is_the_worst() {
        let exact = [("a", vec![1.0, 2.0]), ("b", vec![4.0])];
        let cpu = [("a", vec![1.0, 2.0 + 2e-6]), ("b", vec![4.0])];
        let near = [("a", vec![1.0, 2.0 + 8e-6]), ("b", vec![4.0])];
        let (share, tensor) = worst(&near, &exact, &cpu);
        assert!((0.1..=1.0).contains(&share) && tensor == "a", "{share}");
        let far = [("a", vec![1.0, 2.0]), ("b", vec![4.0001])];
        let (share, tensor) = worst(&far, &exact, &cpu);
        assert!(share > 1.0 && tensor == "b", "{share}");
        let none = [("a", vec![1.0, f32::NAN]), ("b", vec![4.0])];
        assert_eq!(worst(&none, &exact, &cpu), (f64::INFINITY, "a"));
    }
}

//! The least time that a GPU could take for what was counted: a bound, not a measurement.
//!
//! Tensor cores, other arithmetic, memory and shared memory may all be busy at once, and so the slowest of
//! them bounds. Memory moves each sector of the footprint once at least: a cache as large as all tensors, and
//! no help from what the launch before left in it. Requested bytes bound nothing here: datasheets do not
//! tell how fast the second-level cache is.

use serde::Serialize;

use super::{Counts, GpuModel};

/// What the bound comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    TensorCores,
    Arithmetic,
    Memory,
    SharedMemory,
}

impl Limit {
    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Limit::TensorCores => "tensor",
            Limit::Arithmetic => "f32",
            Limit::Memory => "memory",
            Limit::SharedMemory => "shared",
        }
    }
}

/// A bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bound {
    pub seconds: f64,
    pub limit: Limit,
}

/// The least time of one launch with these counts; none if the GPU has no tensor cores for it.
pub fn bound(counts: &Counts, gpu: &GpuModel) -> Option<Bound> {
    let tensor = match (counts.tensor_flop, gpu.bf16_tflops) {
        (0, _) => 0.0,
        (flop, rate) => flop as f64 / (rate? * 1e12),
    };
    let limits = [
        (Limit::TensorCores, tensor),
        (
            Limit::Arithmetic,
            counts.simt_flop as f64 / (gpu.f32_tflops * 1e12),
        ),
        (
            Limit::Memory,
            counts.footprint_bytes as f64 / (gpu.memory_gb_s * 1e9),
        ),
        (
            Limit::SharedMemory,
            counts.shared_wavefronts as f64 / gpu.wavefronts_s(),
        ),
    ];
    let slowest = limits.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
    slowest.map(|(limit, seconds)| Bound { seconds, limit })
}

/// The least time of launches one after the other.
pub fn bound_of_all<'a>(
    launches: impl IntoIterator<Item = &'a Counts>,
    gpu: &GpuModel,
) -> Option<f64> {
    let each = launches.into_iter().map(|counts| bound(counts, gpu));
    each.map(|bound| bound.map(|b| b.seconds)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_part_of_the_device_bounds() {
        let gpu = GpuModel::named("H100").unwrap();
        let of = |counts: Counts| bound(&counts, gpu).unwrap();
        let product = Counts {
            tensor_flop: 989_400_000_000,
            simt_flop: 1_000_000,
            footprint_bytes: 100_000_000,
            ..Counts::default()
        };
        assert_eq!(of(product).limit, Limit::TensorCores);
        assert!((of(product).seconds - 1e-3).abs() < 1e-12);
        let copy = Counts {
            footprint_bytes: 3_300_000_000,
            ..product
        };
        assert_eq!(of(copy).limit, Limit::TensorCores);
        let copy = Counts {
            footprint_bytes: 6_704_000_000,
            ..product
        };
        assert_eq!(of(copy).limit, Limit::Memory);
        assert!((of(copy).seconds - 2e-3).abs() < 1e-12);
        assert!((bound_of_all([&product, &copy], gpu).unwrap() - 3e-3).abs() < 1e-12);
        let conflicts = Counts {
            shared_wavefronts: 10_000_000_000,
            ..product
        };
        // 132 multiprocessors at 1.98 GHz.
        assert_eq!(of(conflicts).limit, Limit::SharedMemory);
        assert!((of(conflicts).seconds / (1e10 / (132.0 * 1.98e9)) - 1.0).abs() < 0.01);
    }

    #[test]
    fn a_device_without_bf16_has_no_bound_for_tensor_cores() {
        let gpu = GpuModel::named("T4").unwrap();
        let mut counts = Counts {
            simt_flop: 1,
            ..Counts::default()
        };
        assert!(bound(&counts, gpu).is_some());
        counts.tensor_flop = 1;
        assert!(bound(&counts, gpu).is_none());
        assert!(bound_of_all([&counts], gpu).is_none());
    }
}

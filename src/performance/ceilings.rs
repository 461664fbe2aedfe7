//! What the datasheets of some GPUs promise.
//!
//! Dense rates (without sparsity), products of bf16 with sums in f32, at the highest clock; no
//! kernel reaches them. Of devices with several forms the largest is meant.

use serde::Serialize;

/// A GPU and its ceilings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GpuModel {
    pub name: &'static str,
    /// Compute capability, major and minor.
    pub capability: (u32, u32),
    pub multiprocessors: u32,
    /// TFLOP/s of bf16 on tensor cores; none where they do not know bf16.
    pub bf16_tflops: Option<f64>,
    /// TFLOP/s of f32 outside of tensor cores.
    pub f32_tflops: f64,
    /// GB/s of the device's memory.
    pub memory_gb_s: f64,
    /// f32 products and sums that a multiprocessor makes in a cycle: with `f32_tflops` it tells the clock.
    pub lanes: u32,
    /// The datasheet.
    pub source: &'static str,
}

impl GpuModel {
    /// Cycles a second: that of the f32 rate.
    pub fn clock(&self) -> f64 {
        self.f32_tflops * 1e12 / f64::from(2 * self.lanes * self.multiprocessors)
    }

    /// Passes over shared memory that all multiprocessors make in a second: one a cycle each, over 32
    /// banks of 4 bytes (CUDA C++ Programming Guide, "Compute Capabilities").
    pub fn wavefronts_s(&self) -> f64 {
        self.clock() * f64::from(self.multiprocessors)
    }

    /// The model of this name, in any case.
    pub fn named(name: &str) -> Option<&'static Self> {
        GPUS.iter().find(|gpu| gpu.name.eq_ignore_ascii_case(name))
    }

    /// The model that a driver calls so, such as "NVIDIA H100 80GB HBM3"; of forms that differ, such as the
    /// slower PCIe ones, none.
    pub fn of_device(driver_name: &str) -> Option<&'static Self> {
        if driver_name.contains("PCIe") || driver_name.contains("NVL") {
            return None;
        }
        let words: Vec<_> = driver_name.split([' ', '-']).collect();
        GPUS.iter()
            .find(|gpu| gpu.name.split(' ').all(|word| words.contains(&word)))
    }
}

/// The GPUs that bounds are given for.
pub const GPUS: [GpuModel; 7] = [
    GpuModel {
        name: "T4",
        capability: (7, 5),
        multiprocessors: 40,
        bf16_tflops: None,
        f32_tflops: 8.1,
        memory_gb_s: 320.0,
        lanes: 64,
        source: "NVIDIA T4 Tensor Core GPU datasheet",
    },
    GpuModel {
        name: "A100",
        capability: (8, 0),
        multiprocessors: 108,
        bf16_tflops: Some(312.0),
        f32_tflops: 19.5,
        memory_gb_s: 2039.0,
        lanes: 64,
        source: "NVIDIA A100 Tensor Core GPU datasheet, 80 GB SXM",
    },
    GpuModel {
        name: "RTX 4090",
        capability: (8, 9),
        multiprocessors: 128,
        bf16_tflops: Some(165.2),
        f32_tflops: 82.6,
        memory_gb_s: 1008.0,
        lanes: 128,
        source: "NVIDIA Ada GPU Architecture, appendix A; sums in f32",
    },
    GpuModel {
        name: "L40S",
        capability: (8, 9),
        multiprocessors: 142,
        bf16_tflops: Some(362.05),
        f32_tflops: 91.6,
        memory_gb_s: 864.0,
        lanes: 128,
        source: "NVIDIA L40S GPU datasheet",
    },
    GpuModel {
        name: "H100",
        capability: (9, 0),
        multiprocessors: 132,
        bf16_tflops: Some(989.4),
        f32_tflops: 66.9,
        memory_gb_s: 3352.0,
        lanes: 128,
        source: "NVIDIA H100 Tensor Core GPU Architecture, SXM5",
    },
    GpuModel {
        name: "H200",
        capability: (9, 0),
        multiprocessors: 132,
        bf16_tflops: Some(989.4),
        f32_tflops: 66.9,
        memory_gb_s: 4800.0,
        lanes: 128,
        source: "NVIDIA H200 Tensor Core GPU datasheet, SXM",
    },
    GpuModel {
        name: "B200",
        capability: (10, 0),
        multiprocessors: 148,
        bf16_tflops: Some(2250.0),
        f32_tflops: 80.0,
        memory_gb_s: 8000.0,
        lanes: 128,
        source: "NVIDIA Blackwell Architecture Technical Brief, HGX B200 at 1000 W",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_that_follow_are_those_of_the_devices() {
        // Boost clocks of the same sources in MHz; NVIDIA publishes none for the B200.
        let clocks = [1590.0, 1410.0, 2520.0, 2520.0, 1980.0, 1980.0];
        for (gpu, expected) in GPUS.iter().zip(clocks) {
            let clock = gpu.clock() / 1e6;
            assert!(
                (clock / expected - 1.0).abs() < 0.01,
                "{}: {clock}",
                gpu.name
            );
        }
    }

    #[test]
    fn devices_are_found_by_the_names_that_drivers_give_them() {
        let of = |name| GpuModel::of_device(name).map(|gpu| gpu.name);
        assert_eq!(of("Tesla T4"), Some("T4"));
        assert_eq!(of("NVIDIA A100-SXM4-80GB"), Some("A100"));
        assert_eq!(of("NVIDIA GeForce RTX 4090"), Some("RTX 4090"));
        assert_eq!(of("NVIDIA H100 80GB HBM3"), Some("H100"));
        assert_eq!(of("NVIDIA H200"), Some("H200"));
        // Others of the same letters, and slower forms.
        for other in [
            "NVIDIA H100 PCIe",
            "NVIDIA H100 NVL",
            "NVIDIA L40",
            "NVIDIA T400",
            "emulator (sm_90)",
        ] {
            assert_eq!(of(other), None);
        }
        assert_eq!(
            GpuModel::named("rtx 4090").map(|gpu| gpu.multiprocessors),
            Some(128)
        );
    }
}

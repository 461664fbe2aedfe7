//! Named members of the family: the published networks and a small one for a laptop.

use serde::{Deserialize, Serialize};

use super::{Architecture, DenseNorm, PadLow};

/// A named architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Preset {
    /// The networks of Mustafa et al. 2019 (arXiv:1706.02390), 256x256 maps
    #[serde(rename = "paper-256")]
    #[value(name = "paper-256")]
    Paper256,
    /// The same for 128x128 maps
    #[serde(rename = "paper-128")]
    #[value(name = "paper-128")]
    Paper128,
    /// The same for 64x64 maps
    #[serde(rename = "paper-64")]
    #[value(name = "paper-64")]
    Paper64,
    /// The PyTorch variant of Pellizzari's thesis (2024), 256x256 maps
    #[serde(rename = "thesis-256")]
    #[value(name = "thesis-256")]
    Thesis256,
    /// A small network for 64x64 maps that a laptop's CPU trains in minutes
    #[serde(rename = "demo")]
    #[value(name = "demo")]
    Demo,
}

impl Preset {
    /// Every preset, in the order of the help text.
    pub const ALL: [Preset; 5] = [
        Preset::Paper256,
        Preset::Paper128,
        Preset::Paper64,
        Preset::Thesis256,
        Preset::Demo,
    ];

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Paper256 => "paper-256",
            Preset::Paper128 => "paper-128",
            Preset::Paper64 => "paper-64",
            Preset::Thesis256 => "thesis-256",
            Preset::Demo => "demo",
        }
    }

    /// The networks' sizes.
    pub fn architecture(self) -> Architecture {
        let paper = |map_size| Architecture {
            map_size,
            channels: 1,
            layers: 4,
            base_filters: 64,
            latent: 64,
            conv_bias: true,
            dense_bias: true,
            dense_norm: DenseNorm::Channel,
            pad_low: PadLow::One,
        };
        match self {
            Preset::Paper256 => paper(256),
            Preset::Paper128 => paper(128),
            Preset::Paper64 => paper(64),
            Preset::Thesis256 => Architecture {
                latent: 100,
                conv_bias: false,
                dense_bias: false,
                dense_norm: DenseNorm::Feature,
                pad_low: PadLow::Two,
                ..paper(256)
            },
            Preset::Demo => Architecture {
                base_filters: 16,
                ..paper(64)
            },
        }
    }

    /// Maps in a batch of training: the demo's is small, because on a CPU the number of steps is
    /// what its time buys, and what its quality needs.
    pub fn batch(self) -> usize {
        match self {
            Preset::Demo => 16,
            _ => 64,
        }
    }

    /// Whether this is one of the paper's networks, which learn maps as they are: fewer than 0.9%
    /// of the paper's maps leave tanh's range.
    pub fn is_of_the_paper(self) -> bool {
        matches!(self, Preset::Paper256 | Preset::Paper128 | Preset::Paper64)
    }
}

impl std::fmt::Display for Preset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{discriminator, generator};

    fn counts(preset: Preset) -> (usize, usize) {
        let architecture = preset.architecture();
        architecture.validate().unwrap();
        (
            generator(&architecture).parameter_count(),
            discriminator(&architecture).parameter_count(),
        )
    }

    #[test]
    fn the_published_networks_have_the_published_parameter_counts() {
        assert_eq!(counts(Preset::Paper256), (12_824_449, 4_436_225));
        assert_eq!(counts(Preset::Thesis256), (17_672_640, 4_435_265));
    }

    #[test]
    fn a_smaller_map_changes_the_dense_layers_only() {
        // Dense layers of 64 -> 512 s^2 (+ bias) and 512 s^2 -> 1 at an inner side s of 16, 8, 4.
        let (generator, discriminator) = counts(Preset::Paper256);
        for (preset, side) in [(Preset::Paper128, 8), (Preset::Paper64, 4)] {
            let fewer = 512 * (16 * 16 - side * side);
            let expected = (generator - 65 * fewer, discriminator - fewer);
            assert_eq!(counts(preset), expected, "{preset}");
        }
    }

    #[test]
    fn the_demo_has_a_quarter_of_the_filters() {
        let dense = 65 * 128 * 16;
        let transposed = 25 * (128 * 64 + 64 * 32 + 32 * 16 + 16) + 64 + 32 + 16 + 1;
        let norms = 2 * (128 + 64 + 32 + 16);
        let convs = 25 * (16 + 16 * 32 + 32 * 64 + 64 * 128) + 16 + 32 + 64 + 128;
        let logit = 128 * 16 + 1;
        assert_eq!(
            counts(Preset::Demo),
            (
                dense + transposed + norms,
                convs + 2 * (32 + 64 + 128) + logit
            )
        );
    }

    #[test]
    fn names_are_the_same_in_files_and_on_the_command_line() {
        use clap::ValueEnum;
        for preset in Preset::ALL {
            let in_files = serde_json::to_value(preset).unwrap();
            assert_eq!(in_files, preset.name());
            assert_eq!(Preset::from_str(preset.name(), false), Ok(preset));
        }
        assert_eq!(Preset::value_variants(), Preset::ALL);
    }
}

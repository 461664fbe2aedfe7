//! What the launches of a training step are for.

use crate::model::{Block, Network, discriminator, generator};
use crate::tape::{Operation, OperationKind};
use crate::train::{Config, StepProgram};

/// What a launch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pass {
    Forward,
    InputGradient,
    WeightGradient,
    /// Statistics, normalising, activations and their gradients, as far as they have launches of their own.
    Norm,
    /// Weights in the order in which convolutions read them.
    Pack,
    Adam,
    /// Random numbers, targets, losses.
    Rest,
}

impl Pass {
    /// All passes.
    pub const ALL: [Self; 7] = [
        Self::Forward,
        Self::InputGradient,
        Self::WeightGradient,
        Self::Norm,
        Self::Pack,
        Self::Adam,
        Self::Rest,
    ];

    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Pass::Forward => "forward",
            Pass::InputGradient => "input gradient",
            Pass::WeightGradient => "weight gradient",
            Pass::Norm => "norm",
            Pass::Pack => "pack",
            Pass::Adam => "Adam",
            Pass::Rest => "rest",
        }
    }
}

/// A step's operations, and the networks whose blocks they name.
#[derive(Clone, Debug)]
pub struct Outline {
    pub operations: Vec<Operation>,
    networks: [Network; 2],
}

impl Outline {
    /// That of the step of `config`.
    pub fn new(config: &Config, step: &StepProgram) -> Self {
        Self {
            operations: step.program.operations(),
            networks: [
                generator(&config.architecture),
                discriminator(&config.architecture),
            ],
        }
    }

    /// What a launch of `kernel` in an operation is for.
    pub fn pass(&self, operation: usize, kernel: &str) -> Pass {
        use OperationKind as Kind;
        let kind = self.operations[operation].kind;
        let has = |parts: &[&str]| parts.iter().any(|part| kernel.contains(part));
        match kind {
            Kind::Adam => Pass::Adam,
            Kind::Crops | Kind::Normals | Kind::Loss => Pass::Rest,
            _ if has(&["pack"]) => Pass::Pack,
            _ if has(&[
                "wgrad",
                "weight_gradient",
                "sum_partials",
                "column_sums",
                "fill",
            ]) =>
            {
                Pass::WeightGradient
            }
            _ if has(&["fprop", "dgrad", "dense", "single"]) => match kind {
                Kind::Forward => Pass::Forward,
                _ => Pass::InputGradient,
            },
            _ => Pass::Norm,
        }
    }

    /// The name of the layer of an operation, such as `discriminator c1`; none for what belongs to no layer.
    pub fn layer(&self, operation: usize) -> Option<String> {
        let (player, _) = self.operations[operation].layer?;
        let block = self.block(operation)?;
        Some(format!("{} {}", player.name(), block.name))
    }

    /// The block that an operation is of.
    pub fn block(&self, operation: usize) -> Option<&Block> {
        let (player, block) = self.operations[operation].layer?;
        Some(&self.networks[player as usize].blocks[block])
    }
}

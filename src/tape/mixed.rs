//! What the tape says of a block's neighbours in mixed precision, where passes over activations are
//! what a step waits for: the kernel that makes a tensor, or reads it, does the element-wise work too.

use std::ops::Range;

use super::{Op, Tape};
use crate::backend::{Below, Forward, Normalisation, Statistics, View};
use crate::model::{Block, Linear};

/// Whether the block above the first of `blocks` normalises and activates what it reads. The last
/// block of a network does: it is bound by memory, and reads each value about once. A strided layer
/// does so where each channel has one mean.
pub(super) fn defers(blocks: &[Block]) -> bool {
    let [block, last] = blocks else {
        return false;
    };
    let Some(norm) = block.norm else {
        return false;
    };
    match &last.linear {
        Linear::Dense { .. } => true,
        Linear::TransposedConv(layer) => norm.features == layer.c_small,
        Linear::Conv(_) => false,
    }
}

/// What lies between a block's linear output and its output, where that is a batch norm.
pub(super) fn normalisation(block: &Block, call: &Forward) -> Option<Normalisation> {
    let (norm, gamma) = block.norm.zip(block.gamma)?;
    let (saved, groups) = match call.statistics? {
        Statistics::Batch { saved, .. } => (saved, call.groups),
        Statistics::Running { saved, .. } => (saved, 1),
    };
    Some(Normalisation {
        activation: block.activation,
        features: norm.features,
        groups,
        saved,
        affine: call.parameters.part(gamma, 2 * norm.features),
    })
}

/// Some samples of a pass: whole groups of it.
pub(super) struct Samples {
    pub batch: usize,
    pub groups: usize,
    pub range: Range<usize>,
}

impl Samples {
    /// Their part of a value with `len / batch` numbers a sample.
    pub fn of(&self, view: View) -> View {
        let len = view.len / self.batch;
        view.part(self.range.start * len, self.range.len() * len)
    }

    /// Groups of samples.
    pub fn group_count(&self) -> usize {
        self.range.len() * self.groups / self.batch
    }

    /// Their part of `[groups, ..]`.
    pub fn of_statistics(&self, saved: View) -> View {
        let len = saved.len / self.groups;
        let start = self.range.start * self.groups / self.batch;
        saved.part(start * len, self.group_count() * len)
    }

    /// The statistics that they have.
    pub fn of_normalisation(&self, norm: Normalisation) -> Normalisation {
        Normalisation {
            groups: self.group_count(),
            saved: self.of_statistics(norm.saved),
            ..norm
        }
    }
}

impl Tape {
    /// What the gradient of the input of the block after operation `index`, a forward pass, goes
    /// through.
    pub(super) fn below(
        &self,
        index: usize,
        samples: &Samples,
        parameter_gradient: Option<View>,
    ) -> Option<Below> {
        let Op::Forward { place, ref call } = self.ops[index] else {
            return None;
        };
        let block = &self.networks[place.player as usize].blocks[place.block];
        let norm = normalisation(block, call);
        let gradient = |at: Option<usize>, len: usize| Some(parameter_gradient?.part(at?, len));
        let features = norm.map_or(0, |norm| norm.features);
        let bias = block.bias.filter(|_| norm.is_none());
        Some(Below {
            activation: block.activation,
            linear: samples.of(call.linear),
            output: samples.of(call.output),
            norm: norm.map(|norm| samples.of_normalisation(norm)),
            affine_gradient: gradient(block.gamma, 2 * features),
            bias_gradient: gradient(bias, block.linear.bias_len()),
        })
    }
}

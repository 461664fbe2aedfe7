//! The gradient of maps taken back through the outermost layer and the block below it.

use half::bf16;

use super::super::block::{Norm, compare_sums, slope_at};
use super::{Case, Maps};
use crate::backend::cpu::norm::activate_in_place;
use crate::backend::gpu::check::draw::{narrow, wide};
use crate::backend::gpu::check::{Stage, half_rounding, half_sum, rounding};
use crate::backend::gpu::driver::{Driver, DriverError, Pointer};
use crate::backend::gpu::ops::half::few;
use crate::backend::gpu::ops::half::{Below, End};

impl Case {
    /// The block that a gradient flows back into, but for its sums.
    fn below<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<Block, DriverError> {
        let mut values = stage.normals(self.small_len());
        let norm = match self.normed {
            true => Some(self.norm(stage)?),
            false => {
                let mut outputs = wide(&values);
                activate_in_place(self.activation, &mut outputs);
                values = narrow(&outputs);
                None
            }
        };
        let stored: Vec<bf16> = values.into_iter().map(bf16::from_f32).collect();
        Ok(Block {
            below: Below {
                activation: self.activation,
                value: stage.input_at("value", &stored, self.half_shift)?,
                norm: norm.as_ref().map(|norm| norm.pointers),
                sums: None,
            },
            stored,
            norm,
        })
    }

    /// What multiplies dy, and by how much that is uncertain.
    fn slope(&self, block: &Block, i: usize) -> (f64, f64) {
        let value = block.stored[i].to_f64();
        slope_at(self.activation, block.norm.as_ref(), i, value)
    }

    /// A normalised value and the size of what it is made of; 0 without a norm.
    fn xhat(&self, block: &Block, i: usize) -> (f64, f64) {
        let Some(norm) = &block.norm else {
            return (0.0, 0.0);
        };
        let normal = norm.of(i, block.stored[i].to_f64());
        (normal.xhat, normal.xhat_size)
    }

    pub(super) fn backward<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let maps = self.maps(stage)?;
        let mut block = self.below(stage)?;
        let parts = self.parts();
        if self.summed {
            block.below.sums = Some(stage.output("sums", parts.sums_bytes() / 4)?);
        }
        let g = self.gradient(stage, &maps, &block)?;
        match block.below.sums {
            Some(sums) => compare_sums(stage, &parts, sums, &g, |i| self.xhat(&block, i)),
            None => Ok(()),
        }
    }

    /// Stores g, compares and returns it.
    fn gradient<D: Driver>(
        &self,
        stage: &mut Stage<'_, D>,
        maps: &Maps,
        block: &Block,
    ) -> Result<Vec<f64>, DriverError> {
        let dy = self.reference_fprop(maps, None);
        let slopes: Vec<_> = (0..dy.len()).map(|i| self.slope(block, i)).collect();
        let expected: Vec<f64> = dy.iter().zip(&slopes).map(|(dy, s)| dy * s.0).collect();
        let output = stage.half_output("g", self.small_len())?;
        self.fprop(stage, maps, output, End::Backward(block.below));
        stage.compare_half("g", output, &expected, |i, expected| {
            half_sum(expected, self.terms(), 1.0, 1.0) + dy[i].abs() * slopes[i].1
        })?;
        Ok(wide(&stage.read_half(output, self.small_len())?))
    }

    pub(super) fn twice<D: Driver>(&self, stage: &mut Stage<'_, D>) -> Result<(), DriverError> {
        let maps = self.maps(stage)?;
        let mut block = self.below(stage)?;
        let len = self.parts().sums_bytes() / 4;
        block.below.sums = Some(stage.output("sums beside g", len)?);
        let g = self.gradient(stage, &maps, &block)?;
        let beside = stage.read(block.below.sums.unwrap_or(Pointer::NULL), len)?;

        let alone = stage.output("sums", len)?;
        block.below.sums = Some(alone);
        let (batch, groups) = (self.batch(), self.groups);
        let (big, weights) = (maps.big, maps.weights);
        let l = &mut *stage.launcher;
        few::fprop_sums(l, &self.layer, batch, groups, big, weights, &block.below);
        stage.compare_bits("sums", alone, &beside)?;

        let features = self.layer.c_small;
        let mut totals = stage.normals(2 * groups * features);
        let rows = self.rows() as f64;
        totals
            .iter_mut()
            .for_each(|total| *total *= rows.sqrt() as f32);
        let expected: Vec<(f64, f64)> = (0..g.len())
            .map(|i| self.applied(&block, &totals, g[i], i))
            .collect();
        let totals = stage.input_at("totals", &totals, self.shift)?;
        let output = stage.half_output("du", self.small_len())?;
        block.below.sums = None;
        let l = &mut *stage.launcher;
        let below = &block.below;
        few::fprop_applied(
            l,
            &self.layer,
            batch,
            groups,
            big,
            weights,
            below,
            totals,
            output,
        );
        let (expected, sizes): (Vec<f64>, Vec<f64>) = expected.into_iter().unzip();
        stage.compare_half("du", output, &expected, |i, expected| {
            half_rounding(expected) + 2.0 * rounding(sizes[i])
        })
    }

    /// The gradient of the linear output, and the size of what it is the sum of.
    fn applied(&self, block: &Block, totals: &[f32], g: f64, i: usize) -> (f64, f64) {
        let Some(norm) = &block.norm else {
            return (g, 0.0);
        };
        let features = self.layer.c_small;
        let (group, feature) = self.place(i);
        let at = 2 * group * features + feature;
        let factor = norm.factor(i);
        let rows = self.rows() as f64;
        let plain = f64::from(totals[at]) / rows;
        let weighted = f64::from(totals[at + features]) / rows;
        let (xhat, size) = self.xhat(block, i);
        (
            factor * (g - (plain + xhat * weighted)),
            factor.abs() * (g.abs() + plain.abs() + size * weighted.abs()),
        )
    }
}

/// The block that a gradient flows back into.
struct Block {
    below: Below,
    /// What it stored.
    stored: Vec<bf16>,
    norm: Option<Norm>,
}

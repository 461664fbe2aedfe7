//! Crops, beside those that the host cuts and turns: equal to the bit.

use rand::RngExt;

use super::{Check, Size, Stage, pick};
use crate::backend::gpu::driver::{Driver, DriverError};
use crate::backend::gpu::ops::crop::{CropDescriptor, crop};
use crate::data::Symmetry;

/// The kernel.
#[derive(Clone, Copy, Debug)]
pub struct Crop;

impl<D: Driver> Check<D> for Crop {
    fn name(&self) -> String {
        "crop".to_owned()
    }

    fn run(&self, stage: &mut Stage<'_, D>, size: Size) -> Result<String, DriverError> {
        let random = &mut stage.random;
        let (batch, side, margin) = match size {
            Size::Small => (pick(random, 1..=9), pick(random, 1..=70), 20),
            Size::Paper => (64, 256, 768),
        };
        let channels = pick(random, 1..=3);
        let parents: Vec<_> = (0..3)
            .map(|_| side + random.random_range(0..=margin))
            .collect();
        let mut starts = Vec::new();
        let mut len = 0;
        for parent in &parents {
            starts.push(len);
            len += parent * parent * channels;
        }
        let descriptors: Vec<_> = (0..batch)
            .map(|_| {
                let which = random.random_range(0..parents.len());
                let parent = parents[which];
                let mut place = || random.random_range(0..=parent - side);
                let (top, left) = (place(), place());
                CropDescriptor {
                    offset: (starts[which] + (top * parent + left) * channels) as u64,
                    row: (parent * channels) as u32,
                    symmetry: random.random_range(0..8),
                }
            })
            .collect();
        let values = stage.normals(len);
        let mut expected = Vec::new();
        for descriptor in &descriptors {
            let mut turned: Vec<f32> = (0..side)
                .map(|y| descriptor.offset as usize + y * descriptor.row as usize)
                .flat_map(|start| values[start..start + side * channels].to_vec())
                .collect();
            let symmetry = Symmetry::from_word(descriptor.symmetry << 29);
            symmetry.apply(&mut turned, side, channels);
            expected.extend(turned);
        }

        let pointers = [
            stage.input("parents", &values)?,
            stage.input("descriptors", &descriptors)?,
            stage.output("to", expected.len())?,
        ];
        crop(stage.launcher, pointers, batch, side, channels);
        stage.compare_bits("to", pointers[2], &expected)?;
        Ok(format!("{batch} crops of side {side}, {channels} channels"))
    }
}

//! The GPU backend: hand-written kernels behind one driver seam.
//!
//! [`Gpu`] keeps the arena in device memory and runs the tape's operations as launches ([`ops`]).
//! The first run of a program is captured as one graph, which later runs replay: what changes from
//! step to step lies in device memory ([`StepValues`]). What does the work is a
//! [`Driver`](driver::Driver): CUDA, or the emulator on any machine.

mod block;
pub mod check;
mod cuda;
pub mod driver;
mod emulated;
pub mod launcher;
mod mixed;
pub mod occupancy;
pub mod ops;
mod packings;
pub mod ptx;
mod transfer;

pub use cuda::Cuda;
pub use emulated::{Call, Emulated, EmulatedOptions, Launched};

use driver::{Allocation, Driver, DriverError, Graph, Pointer};
use launcher::{Launcher, LoggedLaunch};
use ops::crop::CropDescriptor;
use ops::step::{AdamCall, StepValues, TargetsCall};
use ops::{DenseKernels, KernelVersion};
use packings::Packings;
use ptx::PtxModule;
use transfer::{Posts, Uploads};

use super::{
    Adam, AdamConfig, Backend, BackendError, Backward, CropPlace, Forward, Loss, Posted, Precision,
    ProgramId, StepScalars, Targets, View,
};
use crate::model::Block;
use crate::rng::Stream;

/// A backend that computes on a device: in f32, or with [`KernelVersion::V3`] in mixed precision.
pub struct Gpu<D: Driver> {
    launcher: Launcher<D>,
    version: KernelVersion,
    arena: Option<Allocation>,
    /// [`StepValues`] on the device.
    values: Pointer,
    uploads: Uploads,
    value_uploads: Uploads,
    posts: Posts,
    programs: Vec<Recorded>,
    packings: Packings,
    held: Option<Held>,
    /// Constants of the updates that are being recorded, by [`super::Rate`].
    adam: [Option<AdamConfig>; 2],
}

/// Maps on the device, and the crops of them that the next step takes.
struct Held {
    maps: Allocation,
    crops: Allocation,
    uploads: Uploads,
}

fn descriptor(place: &CropPlace) -> CropDescriptor {
    CropDescriptor {
        offset: place.offset as u64,
        row: place.row as u32,
        symmetry: place.symmetry as u32,
    }
}

/// A program that was captured.
struct Recorded {
    id: ProgramId,
    graph: Graph,
    adam: [Option<AdamConfig>; 2],
}

impl Gpu<Emulated> {
    /// A backend on the emulator, with the committed kernels.
    ///
    /// # Errors
    /// None that a machine with some memory would see.
    pub fn emulated(options: EmulatedOptions, version: KernelVersion) -> Result<Self, DriverError> {
        Self::new(Emulated::new(options), ptx::committed(), version)
    }
}

impl<D: Driver> Gpu<D> {
    /// A backend on the device of `driver` with the kernels of `modules`, and an empty arena.
    ///
    /// # Errors
    /// A device that does not take the kernels, or without any memory left.
    pub fn new(
        driver: D,
        modules: &[PtxModule],
        version: KernelVersion,
    ) -> Result<Self, DriverError> {
        let mut launcher = Launcher::new(driver, modules)?;
        let driver = &mut launcher.driver;
        let values = driver.allocate("step values", size_of::<StepValues>())?;
        Ok(Self {
            values: values.address,
            uploads: Uploads::new(driver, 16 << 20, [0, 1])?,
            value_uploads: Uploads::new(driver, size_of::<StepValues>(), [2, 3])?,
            posts: Posts::new(driver, [4, 5])?,
            launcher,
            version,
            arena: None,
            programs: Vec::new(),
            packings: Packings::default(),
            held: None,
            adam: [None; 2],
        })
    }

    /// From now on dense layers are multiplied as `dense` says.
    ///
    /// # Errors
    /// The driver has no library for it, or it is not installed.
    pub fn with_dense(mut self, dense: DenseKernels) -> Result<Self, DriverError> {
        if dense == DenseKernels::Cublas {
            self.launcher.multiply_by_vendor()?;
        }
        Ok(self)
    }

    /// What launches the kernels.
    pub fn launcher(&mut self) -> &mut Launcher<D> {
        &mut self.launcher
    }

    /// What the work is done by.
    pub fn driver(&mut self) -> &mut D {
        &mut self.launcher.driver
    }

    /// Where a view lies on the device.
    fn at(&self, view: View) -> Pointer {
        let arena = self.arena.map_or(Pointer::NULL, |arena| arena.address);
        debug_assert!(
            self.arena
                .is_some_and(|arena| 4 * view.range().end <= arena.bytes),
            "a view reaches beyond the arena"
        );
        arena.plus(view.start)
    }

    /// Forgets captured programs: the addresses in them are about to change.
    fn forget_programs(&mut self) -> Result<(), DriverError> {
        for program in self.programs.drain(..) {
            self.launcher.driver.forget(program.graph)?;
        }
        Ok(())
    }

    /// The launches that a program would make, in order: `run` runs it, and nothing is launched. All their memory is
    /// there.
    ///
    /// # Errors
    /// What `run` says, or too little memory.
    pub fn planned(
        &mut self,
        run: impl Fn(&mut Self) -> Result<(), BackendError>,
    ) -> Result<Vec<LoggedLaunch>, BackendError> {
        self.launcher.log_measured();
        let mut result = run(self);
        if result.is_ok() {
            // Once more, with the addresses of all memory.
            self.launcher.log_measured();
            result = run(self);
        }
        let launches = self.launcher.take_log();
        result.map(|()| launches)
    }

    /// Captures a program: once to learn how much workspace it needs, and once for good.
    fn capture(&mut self, id: ProgramId, record: &dyn Fn(&mut Self)) -> Result<usize, DriverError> {
        self.make_room(record)?;
        self.launcher.driver.begin_capture()?;
        record(self);
        let graph = self.launcher.driver.end_capture();
        self.launcher.check()?;
        self.programs.push(Recorded {
            id,
            graph: graph?,
            adam: self.adam,
        });
        Ok(self.programs.len() - 1)
    }

    /// Learns how much workspace a program needs, and makes it as large.
    fn make_room(&mut self, record: &dyn Fn(&mut Self)) -> Result<(), DriverError> {
        self.adam = [None; 2];
        self.packings.clear();
        self.launcher.set_measuring(true);
        record(self);
        self.launcher.set_measuring(false);
        if self.launcher.rooms_are_short() {
            self.forget_programs()?;
            self.launcher.grow_rooms()?;
        }
        self.packings.clear();
        Ok(())
    }

    fn grow_arena(&mut self, bytes: usize) -> Result<(), DriverError> {
        self.forget_programs()?;
        let driver = &mut self.launcher.driver;
        let arena = driver.allocate("the networks and a step on them", bytes)?;
        if let Some(old) = self.arena.replace(arena) {
            driver.copy(arena.address, old.address, old.bytes)?;
            driver.free(old)?;
        }
        Ok(())
    }
}

impl<D: Driver> Backend for Gpu<D> {
    const POSTS_AHEAD: usize = 1;

    fn precision(&self) -> Precision {
        match self.version {
            KernelVersion::V1 | KernelVersion::V2 => Precision::F32,
            KernelVersion::V3 => Precision::Bf16,
        }
    }

    fn reserve(&mut self, len: usize) -> Result<(), BackendError> {
        let bytes = 4 * len;
        match self.arena {
            Some(arena) if bytes <= arena.bytes => Ok(()),
            _ => Ok(self.grow_arena(bytes)?),
        }
    }

    fn upload(&mut self, to: View, values: &[f32]) -> Result<(), BackendError> {
        assert_eq!(to.len, values.len(), "an upload fills its view");
        let pointer = self.at(to);
        let bytes = bytemuck::cast_slice(values);
        Ok(self
            .uploads
            .write(&mut self.launcher.driver, pointer, bytes)?)
    }

    fn download(&mut self, from: View, values: &mut [f32]) -> Result<(), BackendError> {
        assert_eq!(from.len, values.len(), "a download takes the whole view");
        let pointer = self.at(from);
        let bytes = bytemuck::cast_slice_mut(values);
        Ok(self.launcher.driver.read(pointer, bytes)?)
    }

    fn post(&mut self, from: View) -> Result<Posted, BackendError> {
        let pointer = self.at(from);
        let driver = &mut self.launcher.driver;
        Ok(Posted(self.posts.send(driver, pointer, 4 * from.len)?))
    }

    fn receive(&mut self, posted: Posted, values: &mut [f32]) -> Result<(), BackendError> {
        let bytes = bytemuck::cast_slice_mut(values);
        let driver = &mut self.launcher.driver;
        Ok(self.posts.receive(driver, posted.0, bytes)?)
    }

    /// Holds maps that leave a fifth of the free memory to whatever is planned later.
    fn hold(&mut self, len: usize, crops: usize) -> Result<bool, BackendError> {
        let driver = &mut self.launcher.driver;
        let bytes = 4 * len;
        if crops > ops::crop::MOST || bytes as u64 > driver.free_memory()? / 5 * 4 {
            return Ok(false);
        }
        let crop_bytes = crops * size_of::<CropDescriptor>();
        self.held = Some(Held {
            maps: driver.allocate("training maps", bytes)?,
            crops: driver.allocate("crops of a step", crop_bytes)?,
            uploads: Uploads::new(driver, crop_bytes, [6, 7])?,
        });
        Ok(true)
    }

    fn write_held(&mut self, offset: usize, values: &[f32]) -> Result<(), BackendError> {
        let held = self.held.as_ref().expect("maps are held");
        let to = held.maps.address.plus(offset);
        let bytes = bytemuck::cast_slice(values);
        Ok(self.uploads.write(&mut self.launcher.driver, to, bytes)?)
    }

    fn choose_crops(&mut self, crops: &[CropPlace]) -> Result<(), BackendError> {
        let held = self.held.as_mut().expect("maps are held");
        let descriptors: Vec<CropDescriptor> = crops.iter().map(descriptor).collect();
        let bytes: &[u8] = bytemuck::cast_slice(&descriptors);
        assert!(
            bytes.len() <= held.crops.bytes,
            "more crops than room was made for"
        );
        let driver = &mut self.launcher.driver;
        Ok(held.uploads.write(driver, held.crops.address, bytes)?)
    }

    fn run(
        &mut self,
        program: ProgramId,
        scalars: &StepScalars,
        record: &dyn Fn(&mut Self),
    ) -> Result<(), BackendError> {
        if self.launcher.logs_measured() {
            return Ok(self.make_room(record)?);
        }
        let known = self.programs.iter().position(|p| p.id == program);
        let index = match known {
            Some(index) => index,
            None => self.capture(program, record)?,
        };
        let Recorded { graph, adam, .. } = &self.programs[index];
        let values = StepValues::new(scalars, [adam[0].as_ref(), adam[1].as_ref()]);
        let driver = &mut self.launcher.driver;
        let bytes = bytemuck::bytes_of(&values);
        self.value_uploads.write(driver, self.values, bytes)?;
        Ok(driver.replay(*graph)?)
    }

    fn crops(&mut self, to: View, side: usize, channels: usize) {
        let (maps, crops) = match &self.held {
            Some(held) => (held.maps.address, held.crops.address),
            None => (Pointer::NULL, Pointer::NULL),
        };
        let batch = to.len / (side * side * channels);
        let to = self.at(to);
        let pointers = [maps, crops, to];
        ops::crop::crop(&mut self.launcher, pointers, batch, side, channels);
    }

    fn mark(&mut self, operation: usize) {
        self.launcher.mark(operation);
    }

    fn normals(&mut self, to: View, stream: Stream) {
        let (pointer, values) = (self.at(to), self.values);
        ops::random::normals(&mut self.launcher, pointer, to.len, stream, values);
    }

    fn forward(&mut self, block: &Block, call: &Forward) {
        match self.precision() {
            Precision::F32 => block::forward(self, block, call),
            Precision::Bf16 => mixed::forward(self, block, call),
        }
    }

    fn backward(&mut self, block: &Block, call: &Backward) {
        match self.precision() {
            Precision::F32 => block::backward(self, block, call),
            Precision::Bf16 => mixed::backward(self, block, call),
        }
    }

    fn targets(&mut self, call: &Targets) {
        let targets = TargetsCall {
            real: self.at(call.real),
            real_len: call.real.len,
            fake: self.at(call.fake),
            fake_len: call.fake.len,
            flip: call.flip,
            smoothing: call.smoothing,
            values: self.values,
        };
        ops::step::targets(&mut self.launcher, &targets);
    }

    fn loss(&mut self, call: &Loss) {
        let [logits, targets] = [call.logits, call.targets].map(|view| self.at(view));
        let [gradient, loss] = [call.gradient, call.loss].map(|view| self.at(view));
        let len = call.logits.len;
        ops::step::loss(&mut self.launcher, len, logits, targets, gradient, loss);
    }

    fn adam(&mut self, call: &Adam) {
        self.adam[call.rate as usize] = Some(call.config);
        let adam = AdamCall {
            config: call.config,
            rate: call.rate,
            len: call.parameters.len,
            parameters: self.at(call.parameters),
            gradient: self.at(call.gradient),
            first: self.at(call.first_moment),
            second: self.at(call.second_moment),
            average: call.average.map(|average| self.at(average)),
            values: self.values,
        };
        ops::step::adam(&mut self.launcher, &adam);
        for changed in [Some(call.parameters), call.average].into_iter().flatten() {
            self.packings.forget(changed);
        }
    }
}

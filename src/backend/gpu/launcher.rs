//! How the operations reach the device: kernels by name, a workspace that they share, one error
//! that is kept until somebody asks.

use std::collections::HashMap;

use bytemuck::Pod;

use super::driver::{Allocation, Driver, DriverError, Gemm, Geometry, KernelHandle, Pointer};
use super::ops;
use super::ptx::{self, PtxModule};

/// Device memory whose size is what was asked for at most.
struct Room {
    name: &'static str,
    memory: Option<Allocation>,
    /// The most bytes that were asked for.
    wanted: usize,
}

impl Room {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            memory: None,
            wanted: 0,
        }
    }

    fn is_short(&self) -> bool {
        self.wanted > self.memory.map_or(0, |memory| memory.bytes)
    }

    /// Makes it as large as was asked for. Addresses given out before are void.
    fn grow<D: Driver>(&mut self, driver: &mut D) -> Result<(), DriverError> {
        if self.is_short() {
            if let Some(memory) = self.memory.take() {
                driver.free(memory)?;
            }
            self.memory = Some(driver.allocate(self.name, self.wanted)?);
        }
        Ok(())
    }
}

/// A launch that was asked for, to be made again.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedLaunch {
    pub kernel: &'static str,
    /// The operation of a program that it belongs to.
    pub operation: usize,
    pub geometry: Geometry,
    parameters: Vec<u8>,
}

/// Launches as they are asked for.
struct Log {
    /// Whether those are logged that are asked for while measuring, or the others.
    measured: bool,
    operation: usize,
    launches: Vec<LoggedLaunch>,
}

/// A driver with all kernels loaded.
///
/// Operations never fail where they are asked for: as on a GPU itself, the first error is kept, what
/// follows is not done, and [`Launcher::check`] tells.
pub struct Launcher<D> {
    pub driver: D,
    kernels: HashMap<&'static str, KernelHandle>,
    workspace: Room,
    packings: Room,
    measuring: bool,
    by_vendor: bool,
    log: Option<Log>,
    error: Option<DriverError>,
}

impl<D: Driver> Launcher<D> {
    /// Loads those of `modules` that are made for the device and looks up all kernels that it runs.
    ///
    /// # Errors
    /// Modules that the device does not take.
    pub fn new(mut driver: D, modules: &[PtxModule]) -> Result<Self, DriverError> {
        for module in ptx::for_device(modules, driver.info().capability) {
            driver.load(module.file, module.text)?;
        }
        let mut kernels = HashMap::new();
        let half = match driver.info().capability >= ops::half::CAPABILITY {
            true => ops::half::KERNELS,
            false => &[],
        };
        for name in ops::KERNELS.iter().chain(half).copied().flatten().copied() {
            kernels.insert(name, driver.kernel(name)?);
        }
        Ok(Self {
            driver,
            kernels,
            workspace: Room::new("workspace"),
            packings: Room::new("packed weights"),
            measuring: false,
            by_vendor: false,
            log: None,
            error: None,
        })
    }

    /// Multiprocessors of the device: how many blocks keep it busy.
    pub fn multiprocessors(&self) -> usize {
        self.driver.info().multiprocessors as usize
    }

    /// Adds a launch to the stream. `parameters` is the kernel's one argument.
    pub fn launch<P: Pod>(&mut self, kernel: &'static str, geometry: Geometry, parameters: &P) {
        if self.error.is_some() {
            return;
        }
        let parameters = bytemuck::bytes_of(parameters);
        if let Some(log) = &mut self.log
            && log.measured == self.measuring
        {
            log.launches.push(LoggedLaunch {
                kernel,
                operation: log.operation,
                geometry,
                parameters: parameters.to_vec(),
            });
        }
        if self.measuring {
            return;
        }
        let result = self.add(kernel, geometry, parameters);
        self.keep(result);
    }

    fn add(
        &mut self,
        kernel: &'static str,
        geometry: Geometry,
        parameters: &[u8],
    ) -> Result<(), DriverError> {
        let handle = self.kernels.get(kernel).copied();
        let handle = handle.ok_or_else(|| DriverError::NoKernel {
            name: kernel.to_owned(),
        })?;
        self.driver.launch(handle, geometry, parameters)
    }

    /// From now on launches are logged, those that are captured among them.
    pub fn log_launches(&mut self) {
        self.log_those(false);
    }

    /// From now on launches are logged that are asked for while measuring.
    pub fn log_measured(&mut self) {
        self.log_those(true);
    }

    /// Whether launches are logged that are asked for while measuring.
    pub fn logs_measured(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.measured)
    }

    fn log_those(&mut self, measured: bool) {
        self.log = Some(Log {
            measured,
            operation: 0,
            launches: Vec::new(),
        });
    }

    /// The launches since logging began, in order; from now on none are logged.
    pub fn take_log(&mut self) -> Vec<LoggedLaunch> {
        self.log.take().map_or_else(Vec::new, |log| log.launches)
    }

    /// Adds a launch as it was logged to the stream. The memory that it uses is still there.
    ///
    /// # Errors
    /// A failing device.
    pub fn launch_again(&mut self, launch: &LoggedLaunch) -> Result<(), DriverError> {
        self.add(launch.kernel, launch.geometry, &launch.parameters)
    }

    /// Launches that follow belong to operation `operation` of a program.
    pub fn mark(&mut self, operation: usize) {
        self.driver.mark(operation);
        if let Some(log) = &mut self.log {
            log.operation = operation;
        }
    }

    /// From now on dense layers are multiplied by the vendor's library.
    ///
    /// # Errors
    /// The driver has none, or it is not installed.
    pub fn multiply_by_vendor(&mut self) -> Result<(), DriverError> {
        self.driver.open_gemm()?;
        self.by_vendor = true;
        Ok(())
    }

    /// Whether dense layers are multiplied by the vendor's library.
    pub fn multiplies_by_vendor(&self) -> bool {
        self.by_vendor
    }

    /// Adds a product by the vendor's library to the stream.
    pub fn gemm(&mut self, call: &Gemm) {
        if self.measuring || self.error.is_some() {
            return;
        }
        let result = self.driver.gemm(call);
        self.keep(result);
    }

    /// Uninitialised device memory of `bytes` bytes, at a multiple of 256, for one operation alone:
    /// the next one that asks gets the same. An operation asks once.
    pub fn workspace(&mut self, bytes: usize) -> Pointer {
        self.room(|launcher| &mut launcher.workspace, bytes)
    }

    /// The first `bytes` bytes of the memory for packed weights, which lasts until more is asked for.
    pub fn packings(&mut self, bytes: usize) -> Pointer {
        self.room(|launcher| &mut launcher.packings, bytes)
    }

    fn room(&mut self, which: impl Fn(&mut Self) -> &mut Room, bytes: usize) -> Pointer {
        let room = which(self);
        room.wanted = room.wanted.max(bytes);
        if room.is_short() && !self.measuring {
            // Only outside of a capture; a step is measured before it is captured.
            let result = self.grow_rooms();
            self.keep(result);
        }
        which(self)
            .memory
            .map_or(Pointer::NULL, |memory| memory.address)
    }

    /// The memory of workspace and packings.
    pub fn rooms(&self) -> Vec<Allocation> {
        let rooms = [self.workspace.memory, self.packings.memory];
        rooms.into_iter().flatten().collect()
    }

    /// While measuring, what operations want of the workspace is remembered and nothing is launched.
    pub fn set_measuring(&mut self, measuring: bool) {
        self.measuring = measuring;
    }

    /// Whether there is less memory than was measured.
    pub fn rooms_are_short(&self) -> bool {
        self.workspace.is_short() || self.packings.is_short()
    }

    /// Makes workspace and packings as large as was measured. Addresses given out before are void.
    ///
    /// # Errors
    /// Not enough memory.
    pub fn grow_rooms(&mut self) -> Result<(), DriverError> {
        self.workspace.grow(&mut self.driver)?;
        self.packings.grow(&mut self.driver)
    }

    /// The first error since the last call.
    ///
    /// # Errors
    /// That error.
    pub fn check(&mut self) -> Result<(), DriverError> {
        match self.error.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Keeps an error, unless there is one already.
    pub fn keep(&mut self, result: Result<(), DriverError>) {
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
    }
}

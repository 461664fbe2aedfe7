//! The driver seam on the PTX emulator: every machine runs and tests what a GPU would.
//!
//! Work is done as late as a GPU might do it: when the host waits. A host that changes page-locked
//! memory too early, or reads it before it waited, therefore gets wrong values here as well. Every
//! call is noted, so that tests can say what a step costs.

use super::driver::{
    Allocation, DeviceInfo, Driver, DriverError, EVENTS, Event, Geometry, Graph, KernelHandle,
    Pinned, Pointer,
};
use super::ptx;
use crate::emulator::{
    Argument, Buffer, Counters, Device, Launch, Module, Options, Profile, Schedule,
};

/// How kernels are run.
#[derive(Clone, Copy, Debug)]
pub struct EmulatedOptions {
    /// Whose limits hold.
    pub profile: Profile,
    pub schedule: Schedule,
    /// Whether races are tracked; about three times slower.
    pub races: bool,
    /// Multiprocessors that the device says to have: forms of kernels are chosen by them.
    pub multiprocessors: u32,
}

impl Default for EmulatedOptions {
    fn default() -> Self {
        Self {
            profile: Profile::SM_90,
            schedule: Schedule::default(),
            races: false,
            multiprocessors: 4,
        }
    }
}

/// One call of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Allocate {
        name: String,
        bytes: usize,
    },
    Free,
    Pin {
        bytes: usize,
    },
    Load {
        file: String,
    },
    /// A launch that was not captured.
    Launch {
        kernel: String,
    },
    Write {
        bytes: usize,
    },
    Read {
        bytes: usize,
    },
    Copy {
        bytes: usize,
    },
    WritePinned {
        bytes: usize,
    },
    ReadPinned {
        bytes: usize,
    },
    Record,
    Wait,
    Synchronize,
    BeginCapture,
    EndCapture {
        launches: usize,
    },
    Replay {
        launches: usize,
    },
}

impl Call {
    /// Whether the host stands still until the device has done all its work.
    pub fn synchronises(&self) -> bool {
        matches!(
            self,
            Call::Free | Call::Write { .. } | Call::Read { .. } | Call::Synchronize
        )
    }
}

/// Tells kernels by their names.
type KernelFilter = dyn FnMut(&str) -> bool;

/// A launch that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launched {
    pub kernel: String,
    pub geometry: Geometry,
    /// The operation that it was marked as a part of ([`Driver::mark`]).
    pub operation: usize,
    pub counters: Counters,
}

/// Work in the stream.
#[derive(Clone, Debug)]
enum Work {
    Launch {
        kernel: KernelHandle,
        geometry: Geometry,
        parameters: Vec<u8>,
        operation: usize,
    },
    Copy {
        to: Pointer,
        from: Pointer,
        bytes: usize,
    },
    WritePinned {
        to: Pointer,
        from: Pinned,
        bytes: usize,
    },
    ReadPinned {
        to: Pinned,
        from: Pointer,
        bytes: usize,
    },
    Replay(Graph),
}

/// The emulator as a device.
pub struct Emulated {
    info: DeviceInfo,
    device: Device,
    options: EmulatedOptions,
    modules: Vec<Module>,
    kernels: Vec<(Module, String)>,
    allocations: Vec<(Allocation, Buffer)>,
    pinned: Vec<Vec<u8>>,
    /// What was asked for and not done yet, and how much was asked for and done before.
    pending: Vec<Work>,
    done: usize,
    events: [usize; EVENTS],
    capture: Option<Vec<Work>>,
    graphs: Vec<Option<Vec<Work>>>,
    calls: Vec<Call>,
    counters: Counters,
    launches: Vec<Launched>,
    keep_launches: bool,
    /// Tells kernels that are not run.
    left_out: Option<Box<KernelFilter>>,
    operation: usize,
}

/// What one allocation of the emulator can hold.
const LARGEST: u64 = 7 << 29;

/// Memory that the emulated device says to have.
const MEMORY: u64 = 8 << 30;

impl Emulated {
    /// A device that keeps to `options`.
    pub fn new(options: EmulatedOptions) -> Self {
        let capability = options.profile.capability;
        Self {
            info: DeviceInfo {
                name: format!("emulator ({})", options.profile.name),
                capability: (capability / 10, capability % 10),
                memory: MEMORY,
                multiprocessors: options.multiprocessors,
                cache: 0,
            },
            device: Device::new(options.profile),
            options,
            modules: Vec::new(),
            kernels: Vec::new(),
            allocations: Vec::new(),
            pinned: Vec::new(),
            pending: Vec::new(),
            done: 0,
            events: [0; EVENTS],
            capture: None,
            graphs: Vec::new(),
            calls: Vec::new(),
            counters: Counters::default(),
            launches: Vec::new(),
            keep_launches: false,
            left_out: None,
            operation: 0,
        }
    }

    /// The calls since the last [`Emulated::clear_log`].
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// What all launches done so far counted together, since the last [`Emulated::clear_log`].
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// From now on notes each launch that is done, with its counters.
    pub fn keep_launches(&mut self) {
        self.keep_launches = true;
    }

    /// Kernels that were done since the last [`Emulated::clear_log`], in order.
    pub fn launches(&self) -> &[Launched] {
        &self.launches
    }

    /// Later launches of kernels for which `is` says so are not run: what they would write stays as it is.
    /// It is asked once for each launch, in order.
    pub fn leave_out(&mut self, is: impl FnMut(&str) -> bool + 'static) {
        self.left_out = Some(Box::new(is));
    }

    /// Forgets calls, launches and counters.
    pub fn clear_log(&mut self) {
        self.calls.clear();
        self.launches.clear();
        self.counters = Counters::default();
    }

    /// Runs later launches under another schedule.
    pub fn set_schedule(&mut self, schedule: Schedule) {
        self.options.schedule = schedule;
    }

    fn refuse_in_capture(&self, action: &'static str) -> Result<(), DriverError> {
        match self.capture {
            Some(_) => Err(DriverError::Captured { action }),
            None => Ok(()),
        }
    }

    fn add(&mut self, work: Work) {
        match &mut self.capture {
            Some(capture) => capture.push(work),
            None => self.pending.push(work),
        }
    }

    /// The buffer that holds an address, and the offset there.
    fn locate(&self, pointer: Pointer) -> Result<(Buffer, usize), DriverError> {
        let found = self.allocations.iter().find(|(allocation, _)| {
            let start = allocation.address.0;
            (start..start + allocation.bytes as u64).contains(&pointer.0)
        });
        match found {
            Some((allocation, buffer)) => {
                Ok((*buffer, (pointer.0 - allocation.address.0) as usize))
            }
            None => Err(DriverError::Call {
                action: "a copy",
                reason: format!("{:#x} is in no allocation", pointer.0),
            }),
        }
    }

    /// Does the work that was asked for before point `until` of the stream.
    fn flush(&mut self, until: usize) -> Result<(), DriverError> {
        let count = until.saturating_sub(self.done).min(self.pending.len());
        let work: Vec<Work> = self.pending.drain(..count).collect();
        self.done += count;
        for work in work {
            self.execute(&work)?;
        }
        Ok(())
    }

    fn flush_all(&mut self) -> Result<(), DriverError> {
        self.flush(self.done + self.pending.len())
    }

    fn execute(&mut self, work: &Work) -> Result<(), DriverError> {
        match work {
            Work::Launch {
                kernel,
                geometry,
                parameters,
                operation,
            } => self.execute_launch(*kernel, *geometry, parameters, *operation),
            &Work::Copy { to, from, bytes } => self.execute_copy(to, from, bytes),
            &Work::WritePinned { to, from, bytes } => {
                let (buffer, offset) = self.locate(to)?;
                let bytes = &self.pinned[from.0][..bytes];
                Ok(self.device.upload(buffer, offset, bytes)?)
            }
            &Work::ReadPinned { to, from, bytes } => {
                let (buffer, offset) = self.locate(from)?;
                let bytes = &mut self.pinned[to.0][..bytes];
                Ok(self.device.download(buffer, offset, bytes)?)
            }
            Work::Replay(graph) => {
                let Some(work) = self.graphs[graph.0].take() else {
                    return Err(DriverError::Call {
                        action: "launching a graph",
                        reason: "it was forgotten".to_owned(),
                    });
                };
                let result = work.iter().try_for_each(|work| self.execute(work));
                self.graphs[graph.0] = Some(work);
                result
            }
        }
    }

    fn execute_launch(
        &mut self,
        kernel: KernelHandle,
        geometry: Geometry,
        parameters: &[u8],
        operation: usize,
    ) -> Result<(), DriverError> {
        let (module, name) = &self.kernels[kernel.0];
        if self.left_out.as_mut().is_some_and(|is| is(name)) {
            return Ok(());
        }
        let mut launch = Launch::new(geometry.grid, geometry.block);
        launch.options = Options {
            schedule: self.options.schedule,
            races: self.options.races,
            registers_per_thread: ptx::resources(name, self.info.capability).map(|r| r.registers),
            ..Options::default()
        };
        let arguments = [Argument::Bytes(parameters.to_vec())];
        let report = self.device.launch(*module, name, &launch, &arguments)?;
        self.counters += report.counters;
        if self.keep_launches {
            self.launches.push(Launched {
                kernel: name.clone(),
                geometry,
                operation,
                counters: report.counters,
            });
        }
        if report.findings.is_empty() {
            return Ok(());
        }
        Err(DriverError::Findings {
            kernel: name.clone(),
            findings: report.findings,
        })
    }

    /// Copies what was written; what was not stays unwritten.
    fn execute_copy(
        &mut self,
        to: Pointer,
        from: Pointer,
        bytes: usize,
    ) -> Result<(), DriverError> {
        const WORD: usize = 4;
        const PIECE: usize = 64 * WORD;
        let ((to, to_start), (from, from_start)) = (self.locate(to)?, self.locate(from)?);
        let is_written = |start, len| self.device.is_written(from, from_start + start, len);
        let mut written = Vec::new();
        for start in (0..bytes).step_by(PIECE) {
            let len = PIECE.min(bytes - start);
            if is_written(start, len)? {
                written.push((start, len));
                continue;
            }
            for word in (start..start + len).step_by(WORD) {
                let len = WORD.min(start + len - word);
                if is_written(word, len)? {
                    written.push((word, len));
                }
            }
        }
        let mut piece = [0; PIECE];
        for (start, len) in written {
            let piece = &mut piece[..len];
            self.device.download(from, from_start + start, piece)?;
            self.device.upload(to, to_start + start, piece)?;
        }
        Ok(())
    }
}

impl Driver for Emulated {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn finds_faults(&self) -> bool {
        true
    }

    fn free_memory(&self) -> Result<u64, DriverError> {
        let used: usize = self.allocations.iter().map(|(a, _)| a.bytes).sum();
        Ok(MEMORY.saturating_sub(used as u64).min(LARGEST))
    }

    fn allocate(&mut self, name: &str, bytes: usize) -> Result<Allocation, DriverError> {
        self.refuse_in_capture("allocating device memory")?;
        let free = self.free_memory()?;
        if bytes as u64 > free {
            return Err(DriverError::OutOfMemory {
                name: name.to_owned(),
                needed: bytes,
                free,
            });
        }
        let buffer = self.device.allocate(name, bytes)?;
        let allocation = Allocation {
            address: Pointer(self.device.address(buffer)?),
            bytes,
        };
        self.allocations.push((allocation, buffer));
        self.calls.push(Call::Allocate {
            name: name.to_owned(),
            bytes,
        });
        Ok(allocation)
    }

    fn free(&mut self, allocation: Allocation) -> Result<(), DriverError> {
        self.refuse_in_capture("freeing device memory")?;
        self.calls.push(Call::Free);
        self.flush_all()?;
        let found = self.allocations.iter().position(|(a, _)| *a == allocation);
        let Some(index) = found else {
            return Err(DriverError::Call {
                action: "freeing device memory",
                reason: "it was not allocated".to_owned(),
            });
        };
        let (_, buffer) = self.allocations.swap_remove(index);
        Ok(self.device.free(buffer)?)
    }

    fn load(&mut self, file: &str, ptx: &str) -> Result<(), DriverError> {
        self.modules.push(self.device.load(file, ptx)?);
        self.calls.push(Call::Load {
            file: file.to_owned(),
        });
        Ok(())
    }

    fn kernel(&mut self, name: &str) -> Result<KernelHandle, DriverError> {
        let found = self
            .modules
            .iter()
            .find(|&&module| self.device.kernel(module, name).is_ok());
        let Some(&module) = found else {
            return Err(DriverError::NoKernel {
                name: name.to_owned(),
            });
        };
        self.kernels.push((module, name.to_owned()));
        Ok(KernelHandle(self.kernels.len() - 1))
    }

    fn launch(
        &mut self,
        kernel: KernelHandle,
        geometry: Geometry,
        parameters: &[u8],
    ) -> Result<(), DriverError> {
        if self.capture.is_none() {
            let kernel = self.kernels[kernel.0].1.clone();
            self.calls.push(Call::Launch { kernel });
        }
        self.add(Work::Launch {
            kernel,
            geometry,
            parameters: parameters.to_vec(),
            operation: self.operation,
        });
        Ok(())
    }

    fn mark(&mut self, operation: usize) {
        self.operation = operation;
    }

    fn write(&mut self, to: Pointer, bytes: &[u8]) -> Result<(), DriverError> {
        self.refuse_in_capture("copying from pageable memory")?;
        self.calls.push(Call::Write { bytes: bytes.len() });
        self.flush_all()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let (buffer, offset) = self.locate(to)?;
        Ok(self.device.upload(buffer, offset, bytes)?)
    }

    fn read(&mut self, from: Pointer, bytes: &mut [u8]) -> Result<(), DriverError> {
        self.refuse_in_capture("copying to pageable memory")?;
        self.calls.push(Call::Read { bytes: bytes.len() });
        self.flush_all()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let (buffer, offset) = self.locate(from)?;
        Ok(self.device.download(buffer, offset, bytes)?)
    }

    fn copy(&mut self, to: Pointer, from: Pointer, bytes: usize) -> Result<(), DriverError> {
        self.calls.push(Call::Copy { bytes });
        self.add(Work::Copy { to, from, bytes });
        Ok(())
    }

    fn pin(&mut self, bytes: usize) -> Result<Pinned, DriverError> {
        self.refuse_in_capture("allocating page-locked memory")?;
        self.calls.push(Call::Pin { bytes });
        self.pinned.push(vec![0; bytes]);
        Ok(Pinned(self.pinned.len() - 1))
    }

    fn pinned(&self, pinned: Pinned) -> &[u8] {
        &self.pinned[pinned.0]
    }

    fn pinned_mut(&mut self, pinned: Pinned) -> &mut [u8] {
        &mut self.pinned[pinned.0]
    }

    fn write_pinned(&mut self, to: Pointer, from: Pinned, bytes: usize) -> Result<(), DriverError> {
        self.calls.push(Call::WritePinned { bytes });
        self.add(Work::WritePinned { to, from, bytes });
        Ok(())
    }

    fn read_pinned(&mut self, to: Pinned, from: Pointer, bytes: usize) -> Result<(), DriverError> {
        self.calls.push(Call::ReadPinned { bytes });
        self.add(Work::ReadPinned { to, from, bytes });
        Ok(())
    }

    fn record(&mut self, slot: Event) -> Result<(), DriverError> {
        self.calls.push(Call::Record);
        self.events[slot.0] = self.done + self.pending.len();
        Ok(())
    }

    fn wait(&mut self, slot: Event) -> Result<(), DriverError> {
        self.refuse_in_capture("waiting")?;
        self.calls.push(Call::Wait);
        self.flush(self.events[slot.0])
    }

    fn synchronize(&mut self) -> Result<(), DriverError> {
        self.refuse_in_capture("waiting")?;
        self.calls.push(Call::Synchronize);
        self.flush_all()
    }

    fn begin_capture(&mut self) -> Result<(), DriverError> {
        self.refuse_in_capture("capturing")?;
        self.calls.push(Call::BeginCapture);
        self.capture = Some(Vec::new());
        Ok(())
    }

    fn end_capture(&mut self) -> Result<Graph, DriverError> {
        let Some(work) = self.capture.take() else {
            return Err(DriverError::Call {
                action: "ending a capture",
                reason: "none was begun".to_owned(),
            });
        };
        self.calls.push(Call::EndCapture {
            launches: launches(&work),
        });
        self.graphs.push(Some(work));
        Ok(Graph(self.graphs.len() - 1))
    }

    fn replay(&mut self, graph: Graph) -> Result<(), DriverError> {
        let launches = self.graphs[graph.0].as_deref().map_or(0, launches);
        self.calls.push(Call::Replay { launches });
        self.add(Work::Replay(graph));
        Ok(())
    }

    fn forget(&mut self, graph: Graph) -> Result<(), DriverError> {
        self.flush_all()?;
        self.graphs[graph.0] = None;
        Ok(())
    }
}

fn launches(work: &[Work]) -> usize {
    work.iter()
        .filter(|work| matches!(work, Work::Launch { .. }))
        .count()
}

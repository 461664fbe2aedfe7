//! The driver seam on CUDA: one device, its primary context, one stream of our own.
//!
//! NVIDIA's driver is loaded when the program runs, so that it builds and runs where there is none.
//! Of cudarc the thin layer is used, which returns CUDA's results and tracks nothing: all work is in
//! one stream, in the order of the calls.

mod blas;
mod calls;
mod dnn;
mod host;
mod library;
mod module;
mod open;

use std::ffi::c_void;

use cudarc::driver::result::{self, DriverError as Status, stream::StreamKind};
use cudarc::driver::sys::{
    CUevent, CUevent_flags, CUgraphExec, CUgraphInstantiate_flags, CUresult, CUstream,
    CUstreamCaptureMode, cuEventElapsedTime,
};

use super::driver::{
    Algorithm, Allocation, Convolution, ConvolutionTensors, DeviceInfo, Driver, DriverError,
    EVENTS, Event, Gemm, Geometry, Graph, KernelHandle, Pinned, Pointer, TIMED,
};
use blas::Blas;
use calls::{failed, is_of_earlier_work, words};
use dnn::Dnn;
use host::HostBlock;
use module::{Function, LoadedModule};
use open::OpenDevice;

/// A CUDA device and one stream on it.
///
/// It belongs to the thread that opened it as far as Rust is concerned; its context is made current
/// at every call, so that several devices can be used in one thread.
pub struct Cuda {
    device: OpenDevice,
    stream: CUstream,
    /// By slot; whether anything was recorded there does not matter to CUDA.
    events: Vec<CUevent>,
    modules: Vec<LoadedModule>,
    kernels: Vec<Function>,
    allocations: Vec<Allocation>,
    pinned: Vec<HostBlock>,
    graphs: Vec<Option<CUgraphExec>>,
    capturing: bool,
    blas: Option<Blas>,
    dnn: Option<Dnn>,
}

impl Cuda {
    /// Opens device `index` of those that CUDA counts.
    ///
    /// # Errors
    /// No driver, no such device, one that is too old, or one that does not work.
    pub fn open(index: usize) -> Result<Self, DriverError> {
        let device = open::open(index)?;
        let mut cuda = Self {
            device,
            stream: std::ptr::null_mut(),
            events: Vec::with_capacity(EVENTS),
            modules: Vec::new(),
            kernels: Vec::new(),
            allocations: Vec::new(),
            pinned: Vec::new(),
            graphs: Vec::new(),
            capturing: false,
            blas: None,
            dnn: None,
        };
        // From here on `Drop` gives back what was taken. The stream does not wait for the default one.
        cuda.stream = result::stream::create(StreamKind::NonBlocking)
            .map_err(failed("making a CUDA stream"))?;
        for slot in 0..EVENTS {
            // Without the time they cost less.
            let event = result::event::create(match TIMED.contains(&Event(slot)) {
                true => CUevent_flags::CU_EVENT_DEFAULT,
                false => CUevent_flags::CU_EVENT_DISABLE_TIMING,
            });
            cuda.events.push(event.map_err(failed("making an event"))?);
        }
        Ok(cuda)
    }

    /// Adds a launch to the stream of a kernel that takes `parameters`, one slice of bytes each, and
    /// `shared_bytes` of dynamic shared memory (at most 48 KB).
    ///
    /// # Errors
    /// A geometry that the device does not take; parameters of another size.
    pub fn launch_parts(
        &mut self,
        kernel: KernelHandle,
        geometry: Geometry,
        shared_bytes: u32,
        parameters: &[&[u8]],
    ) -> Result<(), DriverError> {
        self.device.make_current()?;
        let kernel = &self.kernels[kernel.0];
        let given = parameters.iter().map(|bytes| bytes.len());
        if !kernel.parameters.iter().copied().eq(given.clone()) {
            return Err(DriverError::Call {
                action: "launching a kernel",
                reason: format!(
                    "{} takes parameters of {:?} bytes, not {:?}",
                    kernel.name,
                    kernel.parameters,
                    given.collect::<Vec<_>>(),
                ),
            });
        }
        let [x, y, z] = geometry.grid;
        let [block_x, block_y, block_z] = geometry.block;
        let pointers = parameters.iter().map(|bytes| bytes.as_ptr().cast_mut());
        let mut values: Vec<*mut c_void> = pointers.map(<*mut u8>::cast).collect();
        // SAFETY: the function is of a loaded module and takes parameters of the sizes given, which
        // CUDA copies before the call returns, also into a graph. What the kernel does to the
        // addresses in them is checked on the emulator.
        let launched = unsafe {
            result::launch_kernel(
                kernel.handle,
                (x, y, z),
                (block_x, block_y, block_z),
                shared_bytes,
                self.stream,
                &mut values,
            )
        };
        launched.map_err(|status| self.launch_failure(kernel, geometry, status))
    }

    /// Makes the context current, and refuses what a capture cannot hold.
    fn outside_of_capture(&self, action: &'static str) -> Result<(), DriverError> {
        if self.capturing {
            return Err(DriverError::Captured { action });
        }
        self.device.make_current()
    }

    fn wait_for_stream(&self) -> Result<(), DriverError> {
        // SAFETY: the stream was made in `open`.
        unsafe { result::stream::synchronize(self.stream) }.map_err(failed("waiting for the GPU"))
    }

    fn block(&self, pinned: Pinned, bytes: usize) -> Result<&HostBlock, DriverError> {
        let block = &self.pinned[pinned.0];
        if bytes > block.bytes().len() {
            return Err(DriverError::Call {
                action: "copying page-locked memory",
                reason: format!("{bytes} bytes of {}", block.bytes().len()),
            });
        }
        Ok(block)
    }

    fn opened_dnn(&mut self) -> Result<&mut Dnn, DriverError> {
        self.dnn.as_mut().ok_or_else(|| DriverError::NoDnn {
            reason: "it was not opened".to_owned(),
        })
    }

    fn launch_failure(&self, kernel: &Function, geometry: Geometry, status: Status) -> DriverError {
        if is_of_earlier_work(status) {
            return failed("work that was launched earlier")(status);
        }
        let Geometry { grid, block } = geometry;
        DriverError::Call {
            action: "launching a kernel",
            reason: format!(
                "{} with a grid of {grid:?} blocks of {block:?} threads (at most {}): {}",
                kernel.name,
                kernel.max_threads,
                words(status)
            ),
        }
    }

    /// Gives everything back, as far as the device still answers.
    fn close(&mut self) -> Result<(), Status> {
        if self.capturing {
            // SAFETY: the stream is capturing; what it captured is thrown away.
            let graph = unsafe { result::stream::end_capture(self.stream) }?;
            // SAFETY: the graph is not used again.
            unsafe { result::graph::destroy(graph) }?;
        }
        if self.stream.is_null() {
            return Ok(());
        }
        // SAFETY: the stream was made in `open`. When it is done, nothing uses what follows.
        let mut outcome = unsafe { result::stream::synchronize(self.stream) };
        let mut keep = |result: Result<(), Status>| outcome = outcome.and(result);
        // SAFETY: each was made by this driver, is freed once, and no work uses it any more; what
        // was made last goes first.
        unsafe {
            if let Some(dnn) = self.dnn.take() {
                let _ = dnn.close();
            }
            if let Some(blas) = self.blas.take() {
                let _ = blas.close();
            }
            for graph in self.graphs.drain(..).flatten() {
                keep(result::graph::exec_destroy(graph));
            }
            for block in self.pinned.drain(..) {
                keep(block.free());
            }
            for allocation in self.allocations.drain(..) {
                keep(result::free_sync(allocation.address.0));
            }
            for module in self.modules.drain(..) {
                keep(result::module::unload(module.handle));
            }
            for event in self.events.drain(..) {
                keep(result::event::destroy(event));
            }
            keep(result::stream::destroy(self.stream));
        }
        outcome
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        // A device that failed has told so at the last wait; here nobody is left to be told.
        if self.device.make_current().is_ok() {
            let _ = self.close();
        }
        // SAFETY: the context was retained once, in `open::open`, and is not used again.
        let _ = unsafe { result::primary_ctx::release(self.device.device) };
    }
}

impl Driver for Cuda {
    fn info(&self) -> &DeviceInfo {
        &self.device.info
    }

    fn finds_faults(&self) -> bool {
        false
    }

    fn free_memory(&self) -> Result<u64, DriverError> {
        self.device.make_current()?;
        let (free, _) = result::mem_get_info().map_err(failed("asking for free memory"))?;
        Ok(free as u64)
    }

    fn allocate(&mut self, name: &str, bytes: usize) -> Result<Allocation, DriverError> {
        self.outside_of_capture("allocating device memory")?;
        // SAFETY: the memory is given out as uninitialised. CUDA refuses 0 bytes.
        let address = match unsafe { result::malloc_sync(bytes.max(1)) } {
            Ok(address) => address,
            Err(status) if status.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                return Err(DriverError::OutOfMemory {
                    name: name.to_owned(),
                    needed: bytes,
                    free: self.free_memory()?,
                });
            }
            Err(status) => return Err(failed("allocating device memory")(status)),
        };
        let allocation = Allocation {
            address: Pointer(address),
            bytes,
        };
        self.allocations.push(allocation);
        Ok(allocation)
    }

    fn free(&mut self, allocation: Allocation) -> Result<(), DriverError> {
        self.outside_of_capture("freeing device memory")?;
        let found = self.allocations.iter().position(|a| *a == allocation);
        let Some(index) = found else {
            return Err(DriverError::Call {
                action: "freeing device memory",
                reason: "it was not allocated".to_owned(),
            });
        };
        self.wait_for_stream()?;
        self.allocations.swap_remove(index);
        // SAFETY: it was allocated by `allocate`, leaves the list with this, and no work is left.
        unsafe { result::free_sync(allocation.address.0) }.map_err(failed("freeing device memory"))
    }

    fn load(&mut self, file: &str, ptx: &str) -> Result<(), DriverError> {
        self.outside_of_capture("loading kernels")?;
        self.modules.push(module::load(file, ptx)?);
        Ok(())
    }

    fn kernel(&mut self, name: &str) -> Result<KernelHandle, DriverError> {
        self.outside_of_capture("looking a kernel up")?;
        self.kernels.push(module::find(&self.modules, name)?);
        Ok(KernelHandle(self.kernels.len() - 1))
    }

    fn launch(
        &mut self,
        kernel: KernelHandle,
        geometry: Geometry,
        parameters: &[u8],
    ) -> Result<(), DriverError> {
        self.launch_parts(kernel, geometry, 0, &[parameters])
    }

    fn write(&mut self, to: Pointer, bytes: &[u8]) -> Result<(), DriverError> {
        self.outside_of_capture("copying from pageable memory")?;
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: the caller names device memory of at least this length; `bytes` outlives the copy,
        // which is waited for.
        unsafe { result::memcpy_htod_async(to.0, bytes, self.stream) }
            .map_err(failed("copying to the GPU"))?;
        self.wait_for_stream()
    }

    fn read(&mut self, from: Pointer, bytes: &mut [u8]) -> Result<(), DriverError> {
        self.outside_of_capture("copying to pageable memory")?;
        if bytes.is_empty() {
            return self.wait_for_stream();
        }
        // SAFETY: as in `write`.
        let copied = unsafe { result::memcpy_dtoh_async(bytes, from.0, self.stream) };
        // Waited for even if the call failed: nothing may write to `bytes` afterwards.
        let waited = self.wait_for_stream();
        copied.map_err(failed("copying from the GPU"))?;
        waited
    }

    fn copy(&mut self, to: Pointer, from: Pointer, bytes: usize) -> Result<(), DriverError> {
        self.device.make_current()?;
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the caller names device memory of at least this length, twice.
        unsafe { result::memcpy_dtod_async(to.0, from.0, bytes, self.stream) }
            .map_err(failed("copying on the GPU"))
    }

    fn pin(&mut self, bytes: usize) -> Result<Pinned, DriverError> {
        self.outside_of_capture("allocating page-locked memory")?;
        let block = HostBlock::new(bytes).map_err(|status| DriverError::Call {
            action: "allocating page-locked memory",
            reason: format!("{bytes} bytes: {}", words(status)),
        })?;
        self.pinned.push(block);
        Ok(Pinned(self.pinned.len() - 1))
    }

    fn pinned(&self, pinned: Pinned) -> &[u8] {
        self.pinned[pinned.0].bytes()
    }

    fn pinned_mut(&mut self, pinned: Pinned) -> &mut [u8] {
        self.pinned[pinned.0].bytes_mut()
    }

    fn write_pinned(&mut self, to: Pointer, from: Pinned, bytes: usize) -> Result<(), DriverError> {
        self.device.make_current()?;
        let from = &self.block(from, bytes)?.bytes()[..bytes];
        if from.is_empty() {
            return Ok(());
        }
        // SAFETY: the caller names device memory of at least this length; the block lives as long as
        // the driver, which waits for the stream before it frees it.
        unsafe { result::memcpy_htod_async(to.0, from, self.stream) }
            .map_err(failed("copying to the GPU"))
    }

    fn read_pinned(&mut self, to: Pinned, from: Pointer, bytes: usize) -> Result<(), DriverError> {
        self.device.make_current()?;
        self.block(to, bytes)?;
        if bytes == 0 {
            return Ok(());
        }
        let to = &mut self.pinned[to.0].bytes_mut()[..bytes];
        // SAFETY: as in `write_pinned`; the caller does not look at the block before a wait.
        unsafe { result::memcpy_dtoh_async(to, from.0, self.stream) }
            .map_err(failed("copying from the GPU"))
    }

    fn record(&mut self, slot: Event) -> Result<(), DriverError> {
        // A captured event marks a point of the graph, and the host could not wait for it.
        self.outside_of_capture("marking a point of the stream")?;
        // SAFETY: event and stream were made in `open`.
        unsafe { result::event::record(self.events[slot.0], self.stream) }
            .map_err(failed("marking a point of the stream"))
    }

    fn wait(&mut self, slot: Event) -> Result<(), DriverError> {
        self.outside_of_capture("waiting")?;
        // SAFETY: the event was made in `open`.
        unsafe { result::event::synchronize(self.events[slot.0]) }
            .map_err(failed("waiting for the GPU"))
    }

    fn elapsed(&mut self, marks: [Event; 2]) -> Result<f64, DriverError> {
        debug_assert!(marks.iter().all(|mark| TIMED.contains(mark)), "{marks:?}");
        self.wait(marks[1])?;
        let mut milliseconds = 0.0f32;
        let [from, to] = marks.map(|mark| self.events[mark.0]);
        // SAFETY: the events were made in `open`, with their time, and the second has been passed.
        let status = unsafe { cuEventElapsedTime(&mut milliseconds, from, to) };
        status.result().map_err(failed("timing"))?;
        Ok(f64::from(milliseconds) / 1e3)
    }

    fn synchronize(&mut self) -> Result<(), DriverError> {
        self.outside_of_capture("waiting")?;
        self.wait_for_stream()
    }

    fn begin_capture(&mut self) -> Result<(), DriverError> {
        self.outside_of_capture("capturing")?;
        // Other threads may do with CUDA what they like meanwhile.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream was made in `open`.
        unsafe { result::stream::begin_capture(self.stream, mode) }
            .map_err(failed("beginning a capture"))?;
        self.capturing = true;
        Ok(())
    }

    fn end_capture(&mut self) -> Result<Graph, DriverError> {
        if !self.capturing {
            return Err(DriverError::Call {
                action: "ending a capture",
                reason: "none was begun".to_owned(),
            });
        }
        self.device.make_current()?;
        self.capturing = false;
        // SAFETY: the stream is capturing since `begin_capture`.
        let graph = unsafe { result::stream::end_capture(self.stream) };
        let graph = graph.map_err(failed("ending a capture"))?;
        // SAFETY: the graph was captured just now. The executable one is a copy: the graph itself is
        // done with.
        let (executable, destroyed) = unsafe {
            let executable = result::graph::instantiate(graph, CUgraphInstantiate_flags(0));
            (executable, result::graph::destroy(graph))
        };
        self.graphs
            .push(Some(executable.map_err(failed("making a graph"))?));
        destroyed.map_err(failed("freeing a captured graph"))?;
        Ok(Graph(self.graphs.len() - 1))
    }

    fn replay(&mut self, graph: Graph) -> Result<(), DriverError> {
        self.outside_of_capture("launching a graph")?;
        let Some(executable) = self.graphs[graph.0] else {
            return Err(DriverError::Call {
                action: "launching a graph",
                reason: "it was forgotten".to_owned(),
            });
        };
        // SAFETY: the graph lives until `forget` or the driver's end; both wait for the stream.
        unsafe { result::graph::launch(executable, self.stream) }
            .map_err(failed("launching a graph"))
    }

    fn forget(&mut self, graph: Graph) -> Result<(), DriverError> {
        self.outside_of_capture("freeing a graph")?;
        self.wait_for_stream()?;
        match self.graphs[graph.0].take() {
            // SAFETY: the stream has done it, and it leaves the list with this.
            Some(executable) => unsafe { result::graph::exec_destroy(executable) }
                .map_err(failed("freeing a graph")),
            None => Ok(()),
        }
    }

    fn open_gemm(&mut self) -> Result<(), DriverError> {
        self.outside_of_capture("opening cuBLAS")?;
        if self.blas.is_none() {
            library::find_cublas()?;
            let workspace = self.allocate("cuBLAS' workspace", blas::WORKSPACE)?;
            self.blas = Some(Blas::open(self.stream, workspace)?);
        }
        Ok(())
    }

    fn gemm(&mut self, call: &Gemm) -> Result<(), DriverError> {
        self.device.make_current()?;
        let blas = self.blas.as_ref().ok_or_else(|| DriverError::NoBlas {
            reason: "it was not opened".to_owned(),
        })?;
        blas.gemm(call)
    }

    fn open_dnn(&mut self) -> Result<String, DriverError> {
        self.outside_of_capture("opening cuDNN")?;
        if self.dnn.is_none() {
            self.dnn = Some(Dnn::open(self.stream)?);
        }
        self.opened_dnn().map(|dnn| dnn.version.to_string())
    }

    fn prepare_convolution(
        &mut self,
        convolution: &Convolution,
    ) -> Result<Vec<Algorithm>, DriverError> {
        self.outside_of_capture("asking cuDNN for algorithms")?;
        self.opened_dnn()?.prepare(convolution)
    }

    fn convolve(
        &mut self,
        algorithm: &Algorithm,
        tensors: &ConvolutionTensors,
    ) -> Result<(), DriverError> {
        self.device.make_current()?;
        self.opened_dnn()?.convolve(algorithm, tensors)
    }
}

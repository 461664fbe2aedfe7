//! `libcuda.so`, emulated: NVIDIA's driver as far as this project calls it, on the PTX emulator. By other
//! names it is `libcublas.so` and `libcudnn.so.9`, too.
//!
//! With it in the loader's path, `--device cuda` runs on any machine, so that tests can see what the
//! host code makes of a driver, and of one that is old, short of memory or without a device. Work
//! is done as late as CUDA may do it: when the host waits. Calls that CUDA refuses while work is
//! captured, or in a thread without a context, are refused here as well.

#![allow(non_snake_case)]
// Some bodies need none of the leave that all have.
#![allow(unused_unsafe)]
// The functions are CUDA's own, and what they may be given is documented there.
#![allow(clippy::missing_safety_doc, clippy::too_many_arguments)]

/// Each function of the driver: its name and arguments as CUDA has them, and its body. The arguments
/// are what CUDA asks of its callers; bodies may use them as CUDA may.
macro_rules! driver {
    ($(fn $name:ident($($argument:ident: $type:ty),*) in $scope:ident |$state:pat_param| $body:block)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> Status {
            // SAFETY: CUDA's callers keep to CUDA's rules.
            $scope(|$state| unsafe { $body })
        }
    )*};
}

mod blas;
mod dnn;
mod state;

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::slice;
use std::sync::{Mutex, PoisonError};

use cosmogan::emulator::Launch;
use state::*;

static STATE: Mutex<Option<State>> = Mutex::new(None);

thread_local! {
    static CONTEXT: Cell<usize> = const { Cell::new(0) };
}

/// Calls `f` on the driver's state.
fn on_driver(f: impl FnOnce(&mut State) -> Result<(), Status>) -> Status {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    f(state.get_or_insert_with(State::new)).err().unwrap_or(0)
}

/// Calls `f` where a context is current and not lost.
fn on_context(f: impl FnOnce(&mut State) -> Result<(), Status>) -> Status {
    on_driver(|state| match (CONTEXT.get(), state.lost) {
        (0, _) => Err(INVALID_CONTEXT),
        (_, Some(lost)) => Err(lost),
        _ => f(state),
    })
}

/// Sets what an output argument points to.
///
/// SAFETY: callers pass the arguments of a CUDA call, which are null or point to one writable value.
unsafe fn set<T>(to: *mut T, value: T) -> Result<(), Status> {
    if to.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: see above.
    unsafe { to.write(value) };
    Ok(())
}

driver! {
    fn cuInit(_flags: c_uint) in on_driver |state| {
        if state.pretence.devices == 0 { Err(NO_DEVICE) } else { Ok(()) }
    }
    fn cuDriverGetVersion(version: *mut c_int) in on_driver |state| {
        set(version, state.pretence.version)
    }
    fn cuDeviceGetCount(count: *mut c_int) in on_driver |state| {
        set(count, state.pretence.devices)
    }
    fn cuDeviceGet(device: *mut c_int, ordinal: c_int) in on_driver |state| {
        if !(0..state.pretence.devices).contains(&ordinal) {
            return Err(INVALID_DEVICE);
        }
        set(device, ordinal)
    }
    fn cuDeviceGetName(name: *mut c_char, len: c_int, _device: c_int) in on_driver |_| {
        let text = c"Emulated GPU".to_bytes_with_nul();
        if (len as usize) < text.len() {
            return Err(INVALID_VALUE);
        }
        name.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), text.len());
        Ok(())
    }
    fn cuDeviceGetAttribute(value: *mut c_int, which: c_uint, _device: c_int) in on_driver |state| {
        let known = match which {
            16 => 4,
            38 => 1 << 16,
            75 => state.pretence.capability.0,
            76 => state.pretence.capability.1,
            _ => return Err(INVALID_VALUE),
        };
        set(value, known)
    }
    fn cuDeviceTotalMem_v2(bytes: *mut usize, _device: c_int) in on_driver |state| {
        set(bytes, state.pretence.memory)
    }
    fn cuDevicePrimaryCtxRetain(context: *mut usize, _device: c_int) in on_driver |state| {
        state.retained += 1;
        set(context, 1)
    }
    fn cuDevicePrimaryCtxRelease_v2(_device: c_int) in on_driver |state| {
        state.retained = state.retained.checked_sub(1).ok_or(INVALID_CONTEXT)?;
        if state.retained == 0 {
            // The context is gone, and with it what it lost.
            (state.lost, state.pending) = (None, Vec::new());
        }
        Ok(())
    }
    fn cuCtxSetCurrent(context: usize) in on_driver |state| {
        if context != 0 && state.retained == 0 {
            return Err(INVALID_CONTEXT);
        }
        CONTEXT.set(context);
        Ok(())
    }
    fn cuStreamCreate(stream: *mut usize, _flags: c_uint) in on_context |state| {
        let handle = state.handle();
        set(stream, handle)
    }
    fn cuStreamDestroy_v2(_stream: usize) in on_context |state| {
        state.flush_all()
    }
    fn cuStreamSynchronize(_stream: usize) in on_context |state| {
        state.outside_of_capture()?;
        state.flush_all()
    }
    fn cuStreamBeginCapture_v2(_stream: usize, _mode: c_uint) in on_context |state| {
        state.outside_of_capture()?;
        (state.capture, state.capture_is_broken) = (Some(Vec::new()), false);
        Ok(())
    }
    fn cuStreamEndCapture(_stream: usize, graph: *mut usize) in on_context |state| {
        let captured = state.capture.take().ok_or(INVALID_VALUE)?;
        if state.capture_is_broken {
            return Err(CAPTURE_INVALIDATED);
        }
        state.graphs.push(captured);
        set(graph, state.graphs.len())
    }
    fn cuGraphInstantiateWithFlags(executable: *mut usize, graph: usize, _flags: u64) in on_context |state| {
        state.outside_of_capture()?;
        let captured = state.graphs.get(graph.wrapping_sub(1)).ok_or(INVALID_HANDLE)?;
        state.graphs.push(captured.clone());
        set(executable, state.graphs.len())
    }
    fn cuGraphDestroy(graph: usize) in on_context |state| {
        state.graphs.get_mut(graph.wrapping_sub(1)).ok_or(INVALID_HANDLE)?.clear();
        Ok(())
    }
    fn cuGraphExecDestroy(executable: usize) in on_context |state| {
        state.graphs.get_mut(executable.wrapping_sub(1)).ok_or(INVALID_HANDLE)?.clear();
        Ok(())
    }
    fn cuGraphLaunch(executable: usize, _stream: usize) in on_context |state| {
        let index = executable.wrapping_sub(1);
        if index >= state.graphs.len() {
            return Err(INVALID_HANDLE);
        }
        state.add(Work::Graph(index));
        Ok(())
    }
    fn cuEventCreate(event: *mut usize, _flags: c_uint) in on_context |state| {
        let handle = state.handle();
        set(event, handle)
    }
    fn cuEventDestroy_v2(event: usize) in on_context |state| {
        state.events.remove(&event);
        Ok(())
    }
    // A millisecond for each piece of work: the emulator knows no time.
    fn cuEventElapsedTime(milliseconds: *mut f32, from: usize, to: usize) in on_context |state| {
        let at = |event| state.events.get(&event).copied().ok_or(INVALID_HANDLE);
        let (from, to) = (at(from)?, at(to)?);
        set(milliseconds, to.saturating_sub(from) as f32)
    }
    fn cuEventRecord(event: usize, _stream: usize) in on_context |state| {
        let asked = state.done + state.pending.len();
        state.events.insert(event, asked);
        Ok(())
    }
    fn cuEventSynchronize(event: usize) in on_context |state| {
        state.outside_of_capture()?;
        let upto = state.events.get(&event).copied().unwrap_or(0);
        state.flush(upto)
    }
    fn cuMemAlloc_v2(address: *mut u64, bytes: usize) in on_context |state| {
        state.outside_of_capture()?;
        if bytes == 0 {
            return Err(INVALID_VALUE);
        }
        if bytes > state.free() {
            return Err(OUT_OF_MEMORY);
        }
        let buffer = state.device.allocate("device memory", bytes);
        let buffer = buffer.map_err(|_| OUT_OF_MEMORY)?;
        let start = state.device.address(buffer).map_err(|_| INVALID_VALUE)?;
        state.allocations.push((start, bytes, buffer));
        set(address, start)
    }
    fn cuMemFree_v2(address: u64) in on_context |state| {
        state.outside_of_capture()?;
        state.flush_all()?;
        let found = state.allocations.iter().position(|(start, _, _)| *start == address);
        let (_, _, buffer) = state.allocations.swap_remove(found.ok_or(INVALID_VALUE)?);
        state.device.free(buffer).map_err(|_| INVALID_VALUE)
    }
    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) in on_context |state| {
        set(free, state.free())?;
        set(total, state.pretence.memory)
    }
    fn cuMemHostAlloc(address: *mut *mut c_void, bytes: usize, _flags: c_uint) in on_context |state| {
        state.outside_of_capture()?;
        // As the driver does, whatever was there before.
        let mut block = vec![0xa5; bytes];
        let start = block.as_mut_ptr();
        state.pinned.insert(start as usize, block);
        set(address, start.cast())
    }
    fn cuMemFreeHost(address: *mut c_void) in on_context |state| {
        state.flush_all()?;
        state.pinned.remove(&(address as usize)).map(drop).ok_or(INVALID_VALUE)
    }
    fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, _stream: usize) in on_context |state| {
        state.locate(to, bytes)?;
        if state.pinned_block(from as usize, bytes).is_ok() {
            state.add(Work::Upload { to, from: from as usize, bytes });
            return Ok(());
        }
        state.outside_of_capture()?;
        state.flush_all()?;
        state.upload(to, slice::from_raw_parts(from.cast(), bytes))
    }
    fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, _stream: usize) in on_context |state| {
        state.locate(from, bytes)?;
        if state.pinned_block(to as usize, bytes).is_ok() {
            state.add(Work::Download { to: to as usize, from, bytes });
            return Ok(());
        }
        state.outside_of_capture()?;
        state.flush_all()?;
        state.download(from, slice::from_raw_parts_mut(to.cast(), bytes))
    }
    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, _stream: usize) in on_context |state| {
        state.locate(to, bytes)?;
        state.locate(from, bytes)?;
        state.add(Work::Copy { to, from, bytes });
        Ok(())
    }
    fn cuModuleLoadDataEx(module: *mut usize, image: *const c_char, count: c_uint, options: *const c_uint, values: *const *mut c_void) in on_context |state| {
        state.outside_of_capture()?;
        let text = CStr::from_ptr(image).to_string_lossy().into_owned();
        let options = slice::from_raw_parts(options, count as usize);
        let values = slice::from_raw_parts(values, count as usize);
        let option = |which| options.iter().position(|o| *o == which).map(|i| values[i]);
        let log = option(5).zip(option(6)).map(|(log, size)| (log.cast::<u8>(), size as usize));
        let refuse = |message: String, status| {
            if let Some((log, size)) = log {
                let len = message.len().min(size);
                // SAFETY: the caller gives a buffer of `size` bytes.
                log.copy_from_nonoverlapping(message.as_ptr(), len);
            }
            Err(status)
        };
        let (major, minor) = (state.pretence.version / 1000, state.pretence.version % 1000 / 10);
        let version = text.lines().find_map(|line| line.strip_prefix(".version ")).unwrap_or("9.9");
        // PTX 8.5 came with CUDA 12.5, 9.0 with 13.0.
        let newest = format!("{}.{minor}", major - 4);
        if version.trim() > newest.as_str() {
            let message = format!(
                "ptxas application ptx input, line 9; fatal   : Unsupported .version {version}; \
                 current version is '{newest}'"
            );
            return refuse(message, UNSUPPORTED_PTX_VERSION);
        }
        match state.device.load("ptx input", &text) {
            Ok(loaded) => state.modules.push((loaded, text)),
            Err(error) => return refuse(error.to_string(), INVALID_PTX),
        }
        set(module, state.modules.len())
    }
    fn cuModuleUnload(module: usize) in on_context |state| {
        if module == 0 || module > state.modules.len() { Err(INVALID_HANDLE) } else { Ok(()) }
    }
    fn cuModuleGetFunction(function: *mut usize, module: usize, name: *const c_char) in on_context |state| {
        let name = CStr::from_ptr(name).to_string_lossy().into_owned();
        let (module, _) = state.modules.get(module.wrapping_sub(1)).ok_or(INVALID_HANDLE)?;
        let kernel = state.device.kernel(*module, &name).map_err(|_| NOT_FOUND)?;
        let parameters = kernel.parameters.iter().map(|p| p.size).collect();
        state.functions.push(Function { module: *module, name, parameters });
        set(function, state.functions.len())
    }
    fn cuFuncGetAttribute(value: *mut c_int, _which: c_uint, _function: usize) in on_context |_| {
        set(value, 1024)
    }
    fn cuLaunchKernel(function: usize, x: c_uint, y: c_uint, z: c_uint, bx: c_uint, by: c_uint, bz: c_uint, shared: c_uint, _stream: usize, parameters: *const *const u8, _extra: *mut *mut c_void) in on_context |state| {
        let index = function.wrapping_sub(1);
        let sizes = &state.functions.get(index).ok_or(INVALID_HANDLE)?.parameters;
        if [x, y, z, bx, by, bz].contains(&0) || bx * by * bz > 1024 {
            return Err(INVALID_VALUE);
        }
        let values = sizes.iter().enumerate();
        let values = values.map(|(i, size)| {
            // SAFETY: the caller gives a pointer to each parameter.
            slice::from_raw_parts(*parameters.add(i), *size).to_vec()
        });
        let parameters = values.collect();
        let launch = Launch::new([x, y, z], [bx, by, bz]).shared(shared as usize);
        state.add(Work::Launch { function: index, launch, parameters });
        Ok(())
    }
    fn cuGetErrorName(status: Status, text: *mut *const c_char) in on_driver |_| {
        set(text, words(status).0.as_ptr())
    }
    fn cuGetErrorString(status: Status, text: *mut *const c_char) in on_driver |_| {
        set(text, words(status).1.as_ptr())
    }
}

/// Name and text of a result, as CUDA has them.
fn words(status: Status) -> (&'static CStr, &'static CStr) {
    match status {
        INVALID_VALUE => (c"CUDA_ERROR_INVALID_VALUE", c"invalid argument"),
        OUT_OF_MEMORY => (c"CUDA_ERROR_OUT_OF_MEMORY", c"out of memory"),
        NO_DEVICE => (
            c"CUDA_ERROR_NO_DEVICE",
            c"no CUDA-capable device is detected",
        ),
        INVALID_DEVICE => (c"CUDA_ERROR_INVALID_DEVICE", c"invalid device ordinal"),
        INVALID_CONTEXT => (c"CUDA_ERROR_INVALID_CONTEXT", c"invalid device context"),
        INVALID_PTX => (c"CUDA_ERROR_INVALID_PTX", c"a PTX JIT compilation failed"),
        UNSUPPORTED_PTX_VERSION => (
            c"CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
            c"the provided PTX was compiled with an unsupported toolchain.",
        ),
        INVALID_HANDLE => (c"CUDA_ERROR_INVALID_HANDLE", c"invalid resource handle"),
        NOT_FOUND => (c"CUDA_ERROR_NOT_FOUND", c"named symbol not found"),
        ILLEGAL_ADDRESS => (
            c"CUDA_ERROR_ILLEGAL_ADDRESS",
            c"an illegal memory access was encountered",
        ),
        CAPTURE_UNSUPPORTED => (
            c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
            c"operation not permitted when stream is capturing",
        ),
        CAPTURE_INVALIDATED => (
            c"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
            c"operation failed due to a previous error during capture",
        ),
        _ => (c"CUDA_ERROR_UNKNOWN", c"unknown error"),
    }
}

//! PTX into the driver: the driver's compiler takes it, or its own words say why not.

use std::ffi::{CStr, CString, c_void};
use std::mem::MaybeUninit;

use cudarc::driver::result::{self, DriverError as Status};
use cudarc::driver::sys::{self, CUfunction_attribute, CUjit_option, CUmodule, CUresult};

use super::calls::{failed, words};
use super::library::driver_version;
use crate::backend::gpu::driver::DriverError;

/// Bytes for what the compiler says.
const LOG: usize = 16 << 10;

/// A loaded file of kernels.
pub struct LoadedModule {
    pub handle: CUmodule,
    ptx: String,
}

/// A kernel, and what its launches must keep to.
#[derive(Clone)]
pub struct Function {
    pub name: String,
    pub handle: sys::CUfunction,
    /// Bytes of each parameter.
    pub parameters: Vec<usize>,
    pub max_threads: u32,
}

/// Compiles PTX for the device of the current context.
///
/// # Errors
/// PTX that is too new for the driver, or that its compiler does not take.
pub fn load(file: &str, ptx: &str) -> Result<LoadedModule, DriverError> {
    let Ok(text) = CString::new(ptx) else {
        return Err(DriverError::Module {
            file: file.to_owned(),
            log: "the text holds a zero byte".to_owned(),
        });
    };
    let (mut errors, mut notes) = (vec![0u8; LOG], vec![0u8; LOG]);
    let mut options = [
        CUjit_option::CU_JIT_ERROR_LOG_BUFFER,
        CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
        CUjit_option::CU_JIT_INFO_LOG_BUFFER,
        CUjit_option::CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
        CUjit_option::CU_JIT_GENERATE_LINE_INFO,
    ];
    // Numbers are passed in the pointers themselves. A byte is held back, so that a zero is left.
    let mut values = [
        errors.as_mut_ptr().cast::<c_void>(),
        (LOG - 1) as *mut c_void,
        notes.as_mut_ptr().cast::<c_void>(),
        (LOG - 1) as *mut c_void,
        std::ptr::dangling_mut::<c_void>(),
    ];
    let mut handle = MaybeUninit::uninit();
    // SAFETY: the text ends in a zero; options and values have the length that is given, and the two
    // logs that values point to have the sizes that stand beside them and outlive the call.
    let status = unsafe {
        sys::cuModuleLoadDataEx(
            handle.as_mut_ptr(),
            text.as_ptr().cast(),
            options.len() as u32,
            options.as_mut_ptr(),
            values.as_mut_ptr(),
        )
    };
    match status.result() {
        // SAFETY: a successful load has set the handle.
        Ok(()) => Ok(LoadedModule {
            handle: unsafe { handle.assume_init() },
            ptx: ptx.to_owned(),
        }),
        Err(status) => Err(refusal(file, ptx, status, &[&errors, &notes])),
    }
}

/// Why PTX was refused, in the compiler's words where it said any.
fn refusal(file: &str, ptx: &str, status: Status, logs: &[&[u8]]) -> DriverError {
    let said = logs
        .iter()
        .filter_map(|log| CStr::from_bytes_until_nul(log).ok());
    let said = said.map(|log| log.to_string_lossy().trim().to_owned());
    let log = said.into_iter().find(|log| !log.is_empty());
    let log = match log {
        Some(log) => format!("{log} ({})", words(status)),
        None => words(status),
    };
    let file = file.to_owned();
    if status.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
        return DriverError::Call {
            action: "loading the kernels",
            reason: format!("{file}: {log}"),
        };
    }
    match (driver_version(), ptx_version(ptx).map(|v| (v, cuda_of(v)))) {
        (Ok(has), Some((version, needs))) if has < needs => DriverError::OldDriver {
            file,
            has,
            version,
            needs,
            log,
        },
        _ => DriverError::Module { file, log },
    }
}

/// The version of the PTX instruction set that a text is written in.
fn ptx_version(ptx: &str) -> Option<(u32, u32)> {
    let line = ptx.lines().find_map(|line| line.strip_prefix(".version"))?;
    let (major, minor) = line.trim().split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The first CUDA whose driver takes a PTX version (PTX ISA, "Release Notes").
fn cuda_of(ptx: (u32, u32)) -> (u32, u32) {
    match ptx {
        (8, 6..) => (12, ptx.1 + 1),
        (7.., minor) => (ptx.0 + 4, minor),
        (6, minor @ 3..) => (10, minor - 3),
        _ => (9, 0),
    }
}

/// Looks a kernel up in `modules`, and makes the driver load it now: a launch that is captured must
/// not.
///
/// # Errors
/// No kernel of this name, or a failing driver.
pub fn find(modules: &[LoadedModule], name: &str) -> Result<Function, DriverError> {
    let missing = || DriverError::NoKernel {
        name: name.to_owned(),
    };
    let text = CString::new(name).map_err(|_| missing())?;
    for module in modules {
        // SAFETY: the module is loaded.
        let handle = match unsafe { result::module::get_function(module.handle, text.clone()) } {
            Ok(handle) => handle,
            Err(status) if status.0 == CUresult::CUDA_ERROR_NOT_FOUND => continue,
            Err(status) => return Err(failed("looking a kernel up")(status)),
        };
        let most = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK;
        // SAFETY: the function was found in a loaded module.
        let max_threads = unsafe { result::function::get_function_attribute(handle, most) };
        let max_threads = max_threads.map_err(failed("asking for a kernel's limits"))?;
        return Ok(Function {
            name: name.to_owned(),
            handle,
            parameters: parameter_bytes(&module.ptx, name).ok_or_else(missing)?,
            max_threads: max_threads.unsigned_abs(),
        });
    }
    Err(missing())
}

/// Bytes of each of a kernel's parameters, as its declaration has them:
/// `.entry name(.param .u32 a, .param .align 8 .b8 b[72])`.
fn parameter_bytes(ptx: &str, kernel: &str) -> Option<Vec<usize>> {
    let mut entries = ptx.split(".entry").skip(1);
    let list = entries.find_map(|entry| {
        let list = entry.trim_start().strip_prefix(kernel)?;
        list.trim_start().strip_prefix('(')
    })?;
    let (list, _) = list.split_once(')')?;
    let parameters = list.split(".param").skip(1);
    parameters.map(declared_bytes).collect()
}

/// Bytes of a parameter, from what follows `.param`: type, attributes, name, length of an array.
fn declared_bytes(declaration: &str) -> Option<usize> {
    const TYPES: [&str; 4] = [".b", ".u", ".s", ".f"];
    let is_type = |word: &&str| {
        let bits = TYPES.iter().find_map(|kind| word.strip_prefix(kind));
        bits.is_some_and(|bits| bits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut words = declaration.split_ascii_whitespace();
    let bits: usize = words.find(is_type)?.get(2..)?.parse().ok()?;
    let elements = match declaration.split_once('[') {
        None => 1,
        Some((_, length)) => length.split_once(']')?.0.trim().parse().ok()?,
    };
    Some(bits / 8 * elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PTX: &str = ".version 7.4\n.target sm_75\n.visible .entry two_pass(\n\t.param .align 8 .b8 \
                       two_pass_param_0[16]\n)\n{\nret;\n}\n.visible .entry two(\n\t.param .align 8 .b8 \
                       two_param_0[72]\n)\n{\nret;\n}\n.entry many(.param .u64 .ptr .global .align 4 a, .param .f32 b,\n.param .b8 c){}\n.entry none(){}";

    #[test]
    fn a_kernels_parameter_has_the_size_of_its_declaration() {
        assert_eq!(parameter_bytes(PTX, "two"), Some(vec![72]));
        assert_eq!(parameter_bytes(PTX, "two_pass"), Some(vec![16]));
        assert_eq!(parameter_bytes(PTX, "many"), Some(vec![8, 4, 1]));
        assert_eq!(parameter_bytes(PTX, "none"), Some(vec![]));
        assert_eq!(parameter_bytes(PTX, "three"), None);
    }

    #[test]
    fn the_cuda_that_a_ptx_version_came_with_is_known() {
        let known = [
            ((6, 3), (10, 0)),
            ((7, 0), (11, 0)),
            ((7, 4), (11, 4)),
            ((8, 0), (12, 0)),
            ((8, 5), (12, 5)),
            ((8, 6), (12, 7)),
            ((8, 8), (12, 9)),
            ((9, 0), (13, 0)),
        ];
        for (ptx, cuda) in known {
            assert_eq!(cuda_of(ptx), cuda, "PTX {ptx:?}");
        }
        assert_eq!(ptx_version(PTX), Some((7, 4)));
        assert_eq!(ptx_version("no ptx"), None);
    }
}

//! A device of one profile: its buffers, its modules, and launches on them.

use bytemuck::Pod;

use super::error::EmulatorError;
use super::exec;
use super::launch::{Argument, Launch, Report};
use super::memory::global::{GlobalMemory, Slot};
use super::profile::{BLOCK_LIMITS, GRID_LIMITS, Profile, STATIC_SHARED_BYTES};
use super::program::{self, Kernel};
use super::syntax;

/// A buffer of a [`Device`], or a variable of a module on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Buffer(usize);

/// A module loaded on a [`Device`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Module(usize);

/// What a launch must know of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelInfo {
    pub name: String,
    pub parameters: Vec<ParameterInfo>,
    /// Bytes of shared memory that the kernel declares, without the dynamic part.
    pub static_shared_bytes: usize,
}

/// One parameter of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterInfo {
    pub name: String,
    /// Bytes.
    pub size: usize,
    /// Bytes.
    pub align: usize,
}

#[derive(Debug)]
struct Loaded {
    file: String,
    kernels: Vec<Kernel>,
    variables: Vec<(String, Buffer)>,
}

/// A GPU on the CPU.
#[derive(Debug)]
pub struct Device {
    profile: Profile,
    memory: GlobalMemory,
    modules: Vec<Loaded>,
}

impl Device {
    /// A device that keeps to the limits of `profile`.
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            memory: GlobalMemory::default(),
            modules: Vec::new(),
        }
    }

    /// The limits that launches are held to.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Makes a buffer of `bytes` bytes. They count as unwritten and read as a NaN. `name` is what
    /// findings call it.
    ///
    /// # Errors
    /// A size beyond 3.5 GiB, or memory that the machine does not have.
    pub fn allocate(&mut self, name: &str, bytes: usize) -> Result<Buffer, EmulatorError> {
        Ok(Buffer(self.memory.allocate(name, bytes, false)?))
    }

    /// Frees a buffer. Its addresses stay invalid for ever: a later use of one is found.
    ///
    /// # Errors
    /// A buffer that was freed before.
    pub fn free(&mut self, buffer: Buffer) -> Result<(), EmulatorError> {
        self.slot(buffer)?;
        self.memory.free(buffer.0);
        Ok(())
    }

    /// Bytes of a buffer.
    ///
    /// # Errors
    /// A buffer that was freed.
    pub fn size(&self, buffer: Buffer) -> Result<usize, EmulatorError> {
        Ok(self.slot(buffer)?.size)
    }

    /// Address of a buffer's first byte, a multiple of 256.
    ///
    /// # Errors
    /// A buffer that was freed.
    pub fn address(&self, buffer: Buffer) -> Result<u64, EmulatorError> {
        Ok(self.slot(buffer)?.base)
    }

    /// Copies bytes into a buffer, from byte `offset` on.
    ///
    /// # Errors
    /// A buffer that was freed, or bytes beyond its end.
    pub fn upload(
        &mut self,
        buffer: Buffer,
        offset: usize,
        bytes: &[u8],
    ) -> Result<(), EmulatorError> {
        self.range(buffer, offset, bytes.len())?
            .upload(offset, bytes);
        Ok(())
    }

    /// Copies bytes out of a buffer, from byte `offset` on. Unwritten bytes read as poison.
    ///
    /// # Errors
    /// A buffer that was freed, or bytes beyond its end.
    pub fn download(
        &self,
        buffer: Buffer,
        offset: usize,
        out: &mut [u8],
    ) -> Result<(), EmulatorError> {
        self.range(buffer, offset, out.len())?.download(offset, out);
        Ok(())
    }

    /// Copies numbers to the beginning of a buffer.
    ///
    /// # Errors
    /// A buffer that was freed, or that is too short.
    pub fn upload_slice<T: Pod>(
        &mut self,
        buffer: Buffer,
        values: &[T],
    ) -> Result<(), EmulatorError> {
        self.upload(buffer, 0, bytemuck::cast_slice(values))
    }

    /// The whole buffer as numbers; bytes behind the last whole one are left out.
    ///
    /// # Errors
    /// A buffer that was freed.
    pub fn download_vec<T: Pod>(&self, buffer: Buffer) -> Result<Vec<T>, EmulatorError> {
        let len = self.size(buffer)? / size_of::<T>().max(1);
        let mut values = vec![T::zeroed(); len];
        self.download(buffer, 0, bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }

    /// Whether an upload or a kernel has written all of these bytes.
    ///
    /// # Errors
    /// A buffer that was freed, or bytes beyond its end.
    pub fn is_written(
        &self,
        buffer: Buffer,
        offset: usize,
        len: usize,
    ) -> Result<bool, EmulatorError> {
        Ok(self.range(buffer, offset, len)?.is_written(offset, len))
    }

    /// Loads a module: all of its kernels are checked and decoded, its global and constant
    /// variables become buffers. `file` is what errors and findings call it.
    ///
    /// # Errors
    /// PTX that is malformed, for another device, or that uses what the emulator does not know:
    /// the error names the line and the instruction.
    pub fn load(&mut self, file: &str, text: &str) -> Result<Module, EmulatorError> {
        let at_line = |(line, message): (u32, String)| EmulatorError::Ptx {
            file: file.to_owned(),
            line,
            message,
        };
        let parsed = syntax::parse(text).map_err(|e| at_line((e.line, e.message)))?;
        if !self.profile.runs(&parsed.target) {
            return Err(EmulatorError::Target {
                file: file.to_owned(),
                target: parsed.target,
                profile: self.profile.name,
            });
        }
        let (kernels, variables) =
            program::load(&parsed, &mut self.memory).map_err(|e| at_line((e.line, e.message)))?;
        self.modules.push(Loaded {
            file: file.to_owned(),
            kernels,
            variables: variables
                .into_iter()
                .map(|(name, index)| (name, Buffer(index)))
                .collect(),
        });
        Ok(Module(self.modules.len() - 1))
    }

    /// The kernels of a module, in the order of its text.
    ///
    /// # Errors
    /// A module of another device.
    pub fn kernels(&self, module: Module) -> Result<Vec<KernelInfo>, EmulatorError> {
        Ok(self.module(module)?.kernels.iter().map(info).collect())
    }

    /// One kernel of a module.
    ///
    /// # Errors
    /// A module of another device, or a name that it does not have.
    pub fn kernel(&self, module: Module, name: &str) -> Result<KernelInfo, EmulatorError> {
        Ok(info(self.module(module)?.kernel(name)?))
    }

    /// A `.global` or `.const` variable of a module, as a buffer.
    ///
    /// # Errors
    /// A module of another device, or a name that it does not have.
    pub fn symbol(&self, module: Module, name: &str) -> Result<Buffer, EmulatorError> {
        let module = self.module(module)?;
        let found = module.variables.iter().find(|(own, _)| own == name);
        found
            .map(|&(_, buffer)| buffer)
            .ok_or_else(|| EmulatorError::NoSuchVariable {
                file: module.file.clone(),
                name: name.to_owned(),
                available: list(module.variables.iter().map(|(name, _)| name.as_str())),
            })
    }

    /// Runs a kernel to its end, or to the first finding that ends it.
    ///
    /// # Errors
    /// A kernel that the module does not have, arguments that do not fit its parameters, a size
    /// that the profile does not allow. Faults of the running kernel are no errors but
    /// [`Report::findings`].
    pub fn launch(
        &mut self,
        module: Module,
        kernel: &str,
        launch: &Launch,
        arguments: &[Argument],
    ) -> Result<Report, EmulatorError> {
        let loaded = self
            .modules
            .get(module.0)
            .ok_or(EmulatorError::Stale { what: "a module" })?;
        let kernel = loaded.kernel(kernel)?;
        self.check_size(kernel, launch)?;
        let parameters = self.lay_out(kernel, arguments)?;
        let blocks = launch.grid.iter().map(|&n| u64::from(n)).product();
        self.memory.begin_launch(blocks);
        Ok(exec::launch(&self.memory, kernel, launch, parameters))
    }

    fn module(&self, module: Module) -> Result<&Loaded, EmulatorError> {
        self.modules
            .get(module.0)
            .ok_or(EmulatorError::Stale { what: "a module" })
    }

    fn slot(&self, buffer: Buffer) -> Result<&Slot, EmulatorError> {
        self.memory
            .slot(buffer.0)
            .ok_or(EmulatorError::Stale { what: "a buffer" })
    }

    fn range(&self, buffer: Buffer, start: usize, len: usize) -> Result<&Slot, EmulatorError> {
        let slot = self.slot(buffer)?;
        if start.checked_add(len).is_none_or(|end| end > slot.size) {
            return Err(EmulatorError::Range {
                name: slot.name.clone(),
                start,
                len,
                size: slot.size,
            });
        }
        Ok(slot)
    }

    fn check_size(&self, kernel: &Kernel, launch: &Launch) -> Result<(), EmulatorError> {
        let refuse = |message: String| {
            Err(EmulatorError::Launch {
                kernel: kernel.name.clone(),
                message,
            })
        };
        let profile = self.profile;
        for (what, size, limits) in [
            ("grid", launch.grid, GRID_LIMITS),
            ("block", launch.block, BLOCK_LIMITS),
        ] {
            if (0..3).any(|axis| size[axis] == 0 || size[axis] > limits[axis]) {
                return refuse(format!(
                    "the {what} is {size:?}, but each axis must be between 1 and {limits:?}"
                ));
            }
        }
        let threads = launch.block.iter().product::<u32>();
        if threads > profile.threads_per_block {
            let most = profile.threads_per_block;
            return refuse(format!("a block of {threads} threads is beyond {most}"));
        }
        if let Some(most) = kernel.max_threads
            && threads > most
        {
            return refuse(format!(
                "a block of {threads} threads is beyond the kernel's .maxntid of {most}"
            ));
        }
        if let Some(required) = kernel.required_block
            && launch.block != required
        {
            let block = launch.block;
            return refuse(format!(
                "its .reqntid wants blocks of {required:?}, not {block:?}"
            ));
        }
        if kernel.static_shared > STATIC_SHARED_BYTES {
            return refuse(format!(
                "it declares {} bytes of shared memory; only {STATIC_SHARED_BYTES} can be static",
                kernel.static_shared
            ));
        }
        let shared = kernel.static_shared.saturating_add(launch.shared_bytes);
        if shared > profile.shared_bytes_per_block {
            return refuse(format!(
                "{shared} bytes of shared memory are beyond the {} that {} gives a block",
                profile.shared_bytes_per_block, profile.name
            ));
        }
        if let Some(registers) = launch.options.registers_per_thread {
            // Registers are dealt out to warps in units of 256.
            let warps = threads.div_ceil(32);
            let needed = registers.saturating_mul(32).next_multiple_of(256) * warps;
            if registers > profile.registers_per_thread || needed > profile.registers_per_block {
                return refuse(format!(
                    "{registers} registers a thread, {needed} a block, are beyond the {} and {} \
                     of {}",
                    profile.registers_per_thread, profile.registers_per_block, profile.name
                ));
            }
        }
        Ok(())
    }

    /// The bytes of the parameter space, padded to a whole number of words.
    fn lay_out(&self, kernel: &Kernel, arguments: &[Argument]) -> Result<Vec<u8>, EmulatorError> {
        let refuse = |message: String| EmulatorError::Arguments {
            kernel: kernel.name.clone(),
            message,
        };
        if arguments.len() != kernel.parameters.len() {
            return Err(refuse(format!(
                "it has {} parameters, but {} arguments were given",
                kernel.parameters.len(),
                arguments.len()
            )));
        }
        let mut bytes = vec![0; kernel.parameter_bytes];
        for (i, (argument, parameter)) in arguments.iter().zip(&kernel.parameters).enumerate() {
            let (given, _) = self.bytes_of(argument)?;
            if given.len() != parameter.size {
                return Err(refuse(format!(
                    "parameter {i} ({}) has {} bytes, but {argument:?} has {}",
                    parameter.name,
                    parameter.size,
                    given.len()
                )));
            }
            bytes[parameter.offset..][..given.len()].copy_from_slice(&given);
        }
        Ok(bytes)
    }

    /// The bytes of an argument and their alignment.
    fn bytes_of(&self, argument: &Argument) -> Result<(Vec<u8>, usize), EmulatorError> {
        let address = |buffer: &Buffer, offset: i64| -> Result<Vec<u8>, EmulatorError> {
            let base = self.address(*buffer)?;
            Ok(base.wrapping_add_signed(offset).to_le_bytes().to_vec())
        };
        let bytes = match argument {
            Argument::Buffer(buffer) => address(buffer, 0)?,
            Argument::Offset(buffer, offset) => address(buffer, *offset)?,
            Argument::I8(value) => value.to_le_bytes().to_vec(),
            Argument::U8(value) => value.to_le_bytes().to_vec(),
            Argument::I16(value) => value.to_le_bytes().to_vec(),
            Argument::U16(value) => value.to_le_bytes().to_vec(),
            Argument::I32(value) => value.to_le_bytes().to_vec(),
            Argument::U32(value) => value.to_le_bytes().to_vec(),
            Argument::I64(value) => value.to_le_bytes().to_vec(),
            Argument::U64(value) => value.to_le_bytes().to_vec(),
            Argument::F32(value) => value.to_le_bytes().to_vec(),
            Argument::F64(value) => value.to_le_bytes().to_vec(),
            Argument::Bytes(bytes) => return Ok((bytes.clone(), 1)),
            Argument::Struct(members) => {
                let (mut bytes, mut align) = (Vec::new(), 1);
                for member in members {
                    let (member, member_align) = self.bytes_of(member)?;
                    bytes.resize(bytes.len().next_multiple_of(member_align), 0);
                    bytes.extend(member);
                    align = align.max(member_align);
                }
                bytes.resize(bytes.len().next_multiple_of(align), 0);
                return Ok((bytes, align));
            }
        };
        let align = bytes.len();
        Ok((bytes, align))
    }
}

impl Loaded {
    fn kernel(&self, name: &str) -> Result<&Kernel, EmulatorError> {
        self.kernels
            .iter()
            .find(|kernel| kernel.name == name)
            .ok_or_else(|| EmulatorError::NoSuchKernel {
                file: self.file.clone(),
                name: name.to_owned(),
                available: list(self.kernels.iter().map(|kernel| kernel.name.as_str())),
            })
    }
}

fn info(kernel: &Kernel) -> KernelInfo {
    KernelInfo {
        name: kernel.name.clone(),
        static_shared_bytes: kernel.static_shared,
        parameters: kernel
            .parameters
            .iter()
            .map(|parameter| ParameterInfo {
                name: parameter.name.clone(),
                size: parameter.size,
                align: parameter.align,
            })
            .collect(),
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

//! Programs: what a kernel becomes before it runs, and the way there from statements.
//!
//! [`load`] makes buffers of a module's variables and a [`Kernel`] of each `.entry`. The
//! [`decoder::Decoder`] walks the statements, keeps scopes, and hands each instruction to its
//! family: [`integer`], [`float`], [`convert`], [`compare`], [`memory`], [`atomics`], [`control`],
//! [`warp`], [`barrier`], [`tensor`], [`async_copy`].

pub mod async_copy;
pub mod atomics;
pub mod barrier;
pub mod compare;
pub mod control;
pub mod convert;
mod decoder;
pub mod float;
pub mod integer;
pub mod memory;
mod modifiers;
mod scope;
pub mod tensor;
pub mod types;
mod variables;
pub mod warp;

use std::collections::HashMap;
use std::ops::Range;

pub use decoder::{LOCAL_BASE, SHARED_BASE};
pub use modifiers::Modifiers;

use super::finding::SourceLine;
use super::memory::global::GlobalMemory;
use super::syntax::{Function, Ptx, SyntaxError};

/// Index of a register in its file: 32 lanes of 32 bits, 32 lanes of 64 bits, or one mask for a
/// predicate. 16-bit registers are kept in the 32-bit file, zero-extended.
pub type Slot = u16;

/// The slot of `_`: what is written there is dropped.
pub const SINK: Slot = Slot::MAX;

/// The predicate that holds in every lane.
pub const ALWAYS: Slot = 0;

/// One instruction of a program. It runs in the active lanes where `guard`, flipped by `flip`,
/// holds.
#[derive(Clone, Debug)]
pub struct Instruction {
    pub op: Op,
    pub guard: Slot,
    /// All ones for a negated guard, else zero.
    pub flip: u32,
    /// Floating-point operations of one thread.
    pub flop: u8,
    /// Line of the PTX text.
    pub line: u32,
    /// Index into [`Kernel::locations`].
    pub location: u32,
}

/// What an instruction does, by family.
#[derive(Clone, Debug)]
pub enum Op {
    Integer(integer::Integer),
    Float(float::Float),
    /// With `.approx` or `.full`.
    Approximate(float::Float),
    Convert(convert::Convert),
    Compare(compare::Compare),
    Memory(memory::Access),
    Atomic(atomics::Atomic),
    Control(control::Control),
    Warp(warp::Warp),
    Barrier(barrier::Barrier),
    Tensor(tensor::Tensor),
    AsyncCopy(async_copy::AsyncCopy),
}

/// A register that every thread of a launch finds set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Special {
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    LaneId,
    WarpId,
    WarpCount,
    LaneMaskEq,
    LaneMaskLe,
    LaneMaskLt,
    LaneMaskGe,
    LaneMaskGt,
    DynamicSharedBytes,
    TotalSharedBytes,
    Zero,
}

/// A part of the parameter space as a load of it fills a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParameterPart {
    pub offset: usize,
    /// 1, 2, 4 or 8.
    pub bytes: usize,
    pub signed: bool,
    pub class: types::Class,
}

impl ParameterPart {
    /// The value of the register.
    pub fn value(&self, parameters: &[u8]) -> u64 {
        let part = parameters.get(self.offset..self.offset + self.bytes);
        let bits = part
            .unwrap_or_default()
            .iter()
            .rev()
            .fold(0, |all, &byte| all << 8 | u64::from(byte));
        let unused = 64 - 8 * self.bytes as u32;
        let value = if self.signed {
            ((bits << unused) as i64 >> unused) as u64
        } else {
            bits
        };
        value & u64::MAX >> (64 - 8 * self.class.bytes())
    }
}

/// One parameter of a kernel.
#[derive(Clone, Debug)]
pub struct Parameter {
    pub name: String,
    /// In the parameter space, in bytes.
    pub offset: usize,
    pub size: usize,
    pub align: usize,
}

/// A kernel, ready to run.
#[derive(Debug, Default)]
pub struct Kernel {
    pub name: String,
    pub parameters: Vec<Parameter>,
    /// Bytes of the parameter space, a multiple of 8.
    pub parameter_bytes: usize,
    /// Bytes of static shared memory; the dynamic part begins behind them, at a multiple of 16.
    pub static_shared: usize,
    /// Bytes of local memory of one thread.
    pub local_bytes: usize,
    pub max_threads: Option<u32>,
    pub required_block: Option<[u32; 3]>,
    pub code: Vec<Instruction>,
    /// Number of registers of each file.
    pub slots32: usize,
    pub slots64: usize,
    pub predicates: usize,
    pub constants32: Vec<(Slot, u32)>,
    pub constants64: Vec<(Slot, u64)>,
    pub constant_predicates: Vec<(Slot, bool)>,
    pub specials: Vec<(Slot, Special)>,
    /// Registers that hold parameters: a load of one is a move.
    pub parameter_slots: Vec<(Slot, ParameterPart)>,
    /// All other registers, which instructions write: every block finds them zero.
    pub written32: Vec<Range<usize>>,
    pub written64: Vec<Range<usize>>,
    /// Source lines by [`Instruction::location`]; the first stands for none.
    pub locations: Vec<Option<SourceLine>>,
    /// Bytes of the narrowest access to shared memory: races are tracked in this unit.
    pub shared_granule: usize,
    /// The same of global memory.
    pub global_granule: usize,
    /// Whether blocks must run one after the other: atomics return a value that is used or add
    /// floating-point numbers, or a block may wait for what another one writes.
    pub in_order: bool,
}

impl Kernel {
    /// Finds the registers that instructions write: those that nothing has set beforehand.
    fn find_written(&mut self) {
        let (parameters64, parameters32): (Vec<_>, Vec<_>) =
            (self.parameter_slots.iter()).partition(|(_, part)| part.class == types::Class::R64);
        let slots = |parameters: Vec<&(Slot, ParameterPart)>| -> Vec<Slot> {
            parameters.iter().map(|(slot, _)| *slot).collect()
        };
        let mut set32 = slots(parameters32);
        set32.extend(self.constants32.iter().map(|&(slot, _)| slot));
        set32.extend(self.specials.iter().map(|&(slot, _)| slot));
        let mut set64 = slots(parameters64);
        set64.extend(self.constants64.iter().map(|&(slot, _)| slot));
        self.written32 = between(set32, self.slots32);
        self.written64 = between(set64, self.slots64);
    }

    /// The source line of an instruction, where `.loc` gives it.
    pub fn source(&self, instruction: &Instruction) -> Option<SourceLine> {
        self.locations.get(instruction.location as usize)?.clone()
    }
}

/// The numbers below `end` that are not among `taken`.
fn between(mut taken: Vec<Slot>, end: usize) -> Vec<Range<usize>> {
    taken.sort_unstable();
    let ends = taken.iter().map(|&slot| usize::from(slot)).chain([end]);
    let mut start = 0;
    let mut ranges = Vec::new();
    for end in ends {
        if start < end {
            ranges.push(start..end);
        }
        start = end + 1;
    }
    ranges
}

/// Kernels, and names and indices of the buffers of variables.
type Loaded = (Vec<Kernel>, Vec<(String, usize)>);

/// Decodes all kernels and makes buffers of the variables.
///
/// # Errors
/// The first statement that is not supported, with its line.
pub fn load(ptx: &Ptx, memory: &mut GlobalMemory) -> Result<Loaded, SyntaxError> {
    let functions = functions(ptx)?;
    let module = variables::Module::new(ptx, memory)?;
    let kernels: Result<Vec<_>, _> = ptx
        .functions
        .iter()
        .filter(|function| function.is_kernel)
        .map(|function| decoder::kernel(ptx, &functions, &module, function))
        .collect();
    match kernels {
        Ok(kernels) => Ok((kernels, module.buffers())),
        Err(error) => {
            module
                .buffers()
                .iter()
                .for_each(|&(_, index)| memory.free(index));
            Err(error)
        }
    }
}

/// Functions by name; a definition goes before a declaration.
fn functions(ptx: &Ptx) -> Result<HashMap<&str, &Function>, SyntaxError> {
    let mut all: HashMap<&str, &Function> = HashMap::new();
    for function in &ptx.functions {
        if function.is_kernel && function.body.is_none() {
            let message = format!("the kernel '{}' has no body", function.name);
            return Err(SyntaxError::new(function.line, message));
        }
        if let Some(known) = all.get(function.name.as_str()) {
            if function.body.is_none() {
                continue;
            }
            if known.body.is_some() {
                let message = format!("'{}' is defined twice", function.name);
                return Err(SyntaxError::new(function.line, message));
            }
        }
        all.insert(&function.name, function);
    }
    Ok(all)
}

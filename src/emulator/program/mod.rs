//! Statements to programs.

use super::memory::global::GlobalMemory;
use super::syntax::{Ptx, SyntaxError};

/// One parameter of a kernel.
#[derive(Clone, Debug)]
pub struct Parameter {
    pub name: String,
    pub offset: usize,
    pub size: usize,
    pub align: usize,
}

/// A kernel, ready to run.
#[derive(Debug)]
pub struct Kernel {
    pub name: String,
    pub parameters: Vec<Parameter>,
    pub parameter_bytes: usize,
    pub static_shared: usize,
    pub max_threads: Option<u32>,
    pub required_block: Option<[u32; 3]>,
}

type Loaded = (Vec<Kernel>, Vec<(String, usize)>);

/// Decodes all kernels and makes buffers of the variables.
pub fn load(ptx: &Ptx, _memory: &mut GlobalMemory) -> Result<Loaded, SyntaxError> {
    let line = ptx.functions.first().map_or(1, |function| function.line);
    Err(SyntaxError::new(line, "kernels are not decoded yet"))
}

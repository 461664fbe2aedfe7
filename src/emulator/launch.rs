//! How a kernel is launched and what comes back.

use super::counters::Counters;
use super::device::Buffer;
use super::finding::{Finding, FindingKind};

/// When asynchronous operations complete and in which order warps and blocks take turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// Asynchronous operations complete as late as the ISA allows, so that a missing wait shows.
    #[default]
    Latest,
    /// Asynchronous operations complete where they are issued.
    Earliest,
    /// Completion, turns of the warps and order of the blocks are drawn from this seed.
    Random(u64),
}

/// What operations with `.approx` give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approximations {
    /// The nearest number.
    #[default]
    Exact,
    /// Any number within the error that the PTX ISA allows, drawn from this seed: what a kernel
    /// makes of it must hold on every GPU.
    Perturbed(u64),
}

/// How to run a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub schedule: Schedule,
    /// Track races in shared memory and conflicts of blocks in global memory; up to three times
    /// slower, and on one thread.
    pub races: bool,
    /// The most warp instructions that one block may execute before it is stopped with a finding.
    pub instruction_limit: u64,
    /// Registers of a thread as `ptxas -v` reports them; checked against the profile if given.
    pub registers_per_thread: Option<u32>,
    pub approximations: Approximations,
    /// Run the code for any CPU even where this one has AVX2 and FMA. For tests of the emulator
    /// itself: nothing but the time that a launch takes depends on it.
    pub portable: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            schedule: Schedule::default(),
            races: false,
            instruction_limit: 1 << 30,
            registers_per_thread: None,
            approximations: Approximations::default(),
            portable: false,
        }
    }
}

/// Size of a launch. Blocks run in parallel on rayon's current pool; results do not depend on the
/// number of its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Blocks along x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y, z.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub shared_bytes: usize,
    pub options: Options,
}

impl Launch {
    /// A launch of `grid` blocks of `block` threads, without dynamic shared memory, with default
    /// options.
    pub fn new(grid: [u32; 3], block: [u32; 3]) -> Self {
        Self {
            grid,
            block,
            shared_bytes: 0,
            options: Options::default(),
        }
    }

    /// With `bytes` of dynamic shared memory.
    pub fn shared(mut self, bytes: usize) -> Self {
        self.shared_bytes = bytes;
        self
    }

    /// With another schedule.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.options.schedule = schedule;
        self
    }

    /// With other results of approximate operations.
    pub fn approximations(mut self, approximations: Approximations) -> Self {
        self.options.approximations = approximations;
        self
    }

    /// With the code for any CPU.
    pub fn portable(mut self) -> Self {
        self.options.portable = true;
        self
    }

    /// With races tracked.
    pub fn races(mut self) -> Self {
        self.options.races = true;
        self
    }
}

/// One argument of a kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// The buffer's address.
    Buffer(Buffer),
    /// A buffer's address and an offset in bytes.
    Offset(Buffer, i64),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    F32(f32),
    F64(f64),
    /// A struct by value, laid out as C does: each member at a multiple of its alignment, the size
    /// a multiple of the largest one.
    Struct(Vec<Argument>),
    /// A struct by value, already laid out.
    Bytes(Vec<u8>),
}

/// What a launch found and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// In the order of blocks, each instruction and kind once.
    pub findings: Vec<Finding>,
    pub counters: Counters,
}

impl Report {
    /// Whether every block ran to its end: no finding ended the launch. Without that, the
    /// contents of the buffers mean nothing.
    pub fn completed(&self) -> bool {
        !self.findings.iter().any(|f| f.kind.ends_launch())
    }

    /// Whether there is a finding of this kind.
    pub fn found(&self, kind: FindingKind) -> bool {
        self.findings.iter().any(|finding| finding.kind == kind)
    }
}

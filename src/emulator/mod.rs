//! Runs PTX, as nvcc emits it, on the CPU: every kernel testable without a GPU.
//!
//! A [`Device`] holds buffers and modules and launches kernels. A launch gives a [`Report`]:
//! [`Finding`]s (accesses out of bounds, reads of unwritten memory, races, divergent barriers, ...)
//! and [`Counters`] (sectors, bank conflicts, tensor operations, ...). It is a test bed, not a fast
//! backend: it knows no latency, occupancy or cache.
//!
//! ```
//! use cosmogan::emulator::{Argument, Device, Launch, Profile};
//!
//! let ptx = r#"
//! .version 7.0
//! .target sm_75
//! .address_size 64
//! .visible .entry twice(.param .u64 twice_x)
//! {
//!     .reg .b32 %r<2>;
//!     .reg .f32 %f<3>;
//!     .reg .b64 %rd<4>;
//!     ld.param.u64 %rd1, [twice_x];
//!     mov.u32 %r1, %tid.x;
//!     mul.wide.u32 %rd2, %r1, 4;
//!     add.s64 %rd3, %rd1, %rd2;
//!     ld.global.f32 %f1, [%rd3];
//!     add.f32 %f2, %f1, %f1;
//!     st.global.f32 [%rd3], %f2;
//!     ret;
//! }"#;
//! let mut device = Device::new(Profile::SM_80);
//! let module = device.load("twice.ptx", ptx)?;
//! let x = device.allocate("x", 4 * 32)?;
//! device.upload_slice(x, &[1.5f32; 32])?;
//! let launch = Launch::new([1, 1, 1], [32, 1, 1]);
//! let report = device.launch(module, "twice", &launch, &[Argument::Buffer(x)])?;
//! assert_eq!(report.findings, []);
//! assert_eq!(report.counters.global_load_sectors, 4);
//! assert_eq!(device.download_vec::<f32>(x)?, [3.0; 32]);
//! # Ok::<(), cosmogan::emulator::EmulatorError>(())
//! ```
//!
//! # From text to results
//!
//! 1. [`syntax`]: text to tokens to statements. Knows the grammar, no instruction.
//! 2. [`program`]: statements to a [`Program`](program::Program) for one kernel. A whitelist of
//!    opcodes and modifiers; anything else is refused by name and line. Registers, constants and
//!    special registers become slots of a register file, branch targets become indices, calls are
//!    inlined.
//! 3. [`exec`]: a block's warps run the program. A warp's registers are arrays of 32 lanes, its
//!    predicates masks; each instruction is a loop over lanes.
//! 4. [`memory`]: buffers, shared and local memory, with shadows of what has been written.
//!    [`race`] orders the accesses of a block's threads.
//!
//! # What makes it fast
//!
//! None of it need be known to add an instruction; what each place is for stands there.
//!
//! - The loops over lanes are compiled twice, for AVX2 with FMA and for any CPU
//!   (`for_both_machines` in `exec/registers.rs`).
//! - A load or store looks at its addresses once, in vectors (`exec/memory/pattern.rs`): eight lanes
//!   that follow each other or read the same word are then handled as one.
//! - The race shadow compares clocks of eight lanes with one floor (`race/shadow.rs`), and numbers
//!   blocks from launch to launch instead of clearing (`race/conflicts.rs`).
//! - A launch costs what it touches: sets of sectors know which parts they use
//!   (`memory/global.rs`), a block clears only registers that are written, and launches of little
//!   work wake no other thread (`ALONE` in `exec/mod.rs`).
//!
//! # Adding an instruction
//!
//! An instruction belongs to a family: integer, float, convert, memory, atomics, warp, barrier,
//! tensor, async copy. Each family has one file in `program/` that turns text into a typed operation
//! and one file or folder in `exec/` that runs it.
//!
//! 1. Add a variant to the family's enum of operations in `program/<family>.rs`.
//! 2. Map opcode and modifiers to it in the `decode` function beside it. Take each modifier from
//!    the [`Modifiers`](program::Modifiers); what is left over is refused, so none is ever ignored.
//! 3. Run it in the `match` of `exec/<family>.rs`, as a function of one lane where it is one.
//! 4. Test it in `tests/emulator_instructions/` against a scalar reference written from the ISA's
//!    text, on random and edge values. Kernels of nvcc's are in `tests/emulator/`.

mod counters;
mod device;
mod error;
mod exec;
mod finding;
mod launch;
mod memory;
mod profile;
mod program;
mod race;
mod syntax;

pub use counters::Counters;
pub use device::{Buffer, Device, KernelInfo, Module, ParameterInfo};
pub use error::EmulatorError;
pub use finding::{BufferPlace, Finding, FindingKind, SourceLine};
pub use launch::{Approximations, Argument, Launch, Options, Report, Schedule};
pub use profile::Profile;

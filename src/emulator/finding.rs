//! Faults found in a running kernel, and where.

use std::fmt;

use serde::Serialize;

use super::memory::global::Slot;

/// What kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// An access outside every buffer, or across the end of one. Ends the launch.
    OutOfBounds,
    /// An address that is no multiple of the access's size. Ends the launch.
    Misaligned,
    /// A read of memory that nothing wrote.
    UninitialisedRead,
    /// A write to constant memory or to parameters. Ends the launch.
    ReadOnlyWrite,
    /// A `ld.global.nc` of a buffer that the kernel writes.
    ReadOnlyCacheConflict,
    /// Two accesses of one block to shared memory, one of them a write, with nothing that orders
    /// them. Only where races are tracked.
    SharedRace,
    /// The same within one warp: lanes exchange through shared memory without `__syncwarp`. Only
    /// where races are tracked.
    WarpRace,
    /// An access to shared memory that a `cp.async` in flight writes. Only where races are tracked.
    AsyncCopyRace,
    /// Two blocks write one word of global memory, or one reads what another writes, with no
    /// atomic operation or release/acquire chain. Only where races are tracked.
    BlockConflict,
    /// A member mask that names a lane which cannot arrive, or leaves out the caller. Ends the
    /// launch.
    MemberMask,
    /// A barrier that a part of a warp or of a block can never reach. Ends the launch.
    BarrierDivergence,
    /// A barrier used with thread counts that do not fit. Ends the launch.
    BarrierCount,
    /// Warps that wait for each other for ever. Ends the launch.
    Deadlock,
    /// A block that executed more instructions than [`Options`](super::Options) allow. Ends the
    /// launch.
    InstructionLimit,
    /// An instruction whose operands the ISA does not allow, such as a copy size beyond its limit,
    /// or a `trap`. Ends the launch.
    Illegal,
}

impl FindingKind {
    /// Whether the launch ends with this finding, as on a GPU, or where going on would mean
    /// nothing.
    pub fn ends_launch(self) -> bool {
        !matches!(
            self,
            Self::UninitialisedRead
                | Self::ReadOnlyCacheConflict
                | Self::SharedRace
                | Self::WarpRace
                | Self::AsyncCopyRace
                | Self::BlockConflict
        )
    }

    /// In words.
    pub fn title(self) -> &'static str {
        match self {
            Self::OutOfBounds => "access out of bounds",
            Self::Misaligned => "misaligned access",
            Self::UninitialisedRead => "read of memory that nothing wrote",
            Self::ReadOnlyWrite => "write to read-only memory",
            Self::ReadOnlyCacheConflict => "read-only load of a buffer that the kernel writes",
            Self::SharedRace => "race in shared memory",
            Self::WarpRace => "race in shared memory between lanes of one warp",
            Self::AsyncCopyRace => {
                "access to shared memory while an asynchronous copy is in flight"
            }
            Self::BlockConflict => "conflicting accesses of two blocks to global memory",
            Self::MemberMask => "bad member mask",
            Self::BarrierDivergence => "divergent barrier",
            Self::BarrierCount => "barrier with thread counts that do not fit",
            Self::Deadlock => "deadlock",
            Self::InstructionLimit => "instruction limit",
            Self::Illegal => "illegal instruction",
        }
    }
}

/// A line of the source that the PTX was compiled from, by its `.loc` directives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SourceLine {
    pub file: String,
    pub line: u32,
}

/// A byte of a buffer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct BufferPlace {
    /// The name given at allocation, a variable's name, `shared memory` or `local memory`.
    pub buffer: String,
    /// Offset in bytes; negative before the buffer's beginning.
    pub offset: i64,
}

impl BufferPlace {
    /// A byte of the block's shared memory.
    pub(super) fn in_shared(offset: i64) -> Option<Self> {
        Some(Self {
            buffer: "shared memory".to_owned(),
            offset,
        })
    }

    /// A byte of, before or behind a buffer.
    pub(super) fn in_buffer(buffer: &Slot, offset: u64) -> Option<Self> {
        Some(Self {
            buffer: buffer.name.clone(),
            offset: offset as i64,
        })
    }
}

/// A fault found in a running kernel. Repetitions at the same instruction are counted, not listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub kind: FindingKind,
    /// What happened, in a sentence without the place.
    pub message: String,
    pub kernel: String,
    /// The first block, in the order of the grid, where it happened.
    pub block: [u32; 3],
    /// Absent where the fault is one of a whole block.
    pub warp: Option<u32>,
    /// Absent where the fault is one of a whole warp.
    pub lane: Option<u32>,
    pub place: Option<BufferPlace>,
    /// Line of the PTX text; 0 where no single instruction is at fault.
    pub ptx_line: u32,
    pub source: Option<SourceLine>,
    /// How often it happened, over all blocks.
    pub count: u64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.block;
        write!(
            f,
            "{}: {}; kernel {}, block ({x}, {y}, {z})",
            self.kind.title(),
            self.message,
            self.kernel
        )?;
        if let Some(warp) = self.warp {
            write!(f, ", warp {warp}")?;
        }
        if let Some(lane) = self.lane {
            write!(f, ", lane {lane}")?;
        }
        if let Some(place) = &self.place {
            write!(f, "; {} at byte {}", place.buffer, place.offset)?;
        }
        if self.ptx_line != 0 {
            write!(f, "; PTX line {}", self.ptx_line)?;
        }
        if let Some(source) = &self.source {
            write!(f, ", {}:{}", source.file, source.line)?;
        }
        if self.count > 1 {
            write!(f, "; {} times", self.count)?;
        }
        Ok(())
    }
}

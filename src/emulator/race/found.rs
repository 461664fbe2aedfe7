//! What races are told from: the accesses that shared memory remembers.

use crate::emulator::finding::FindingKind;

/// A race, as the later of the two accesses found it.
#[derive(Debug)]
pub struct Found {
    pub kind: FindingKind,
    pub lane: usize,
    /// In shared memory, in bytes.
    pub offset: u32,
    pub message: String,
}

/// The lane of an access that a warp makes as a whole, such as `ldmatrix`.
pub const TOGETHER: u8 = u8::MAX;

/// Who wrote a granule last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Writer {
    pub warp: u8,
    pub lane: u8,
    pub atomic: bool,
}

/// The last write of a granule.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    pub clock: u32,
    pub writer: Writer,
}

/// The last reads of a granule by one warp.
#[derive(Clone, Copy, Debug)]
pub struct Reads {
    pub clock: u32,
    pub lanes: u32,
}

/// The earlier of two accesses that race.
pub enum Before {
    Write(Write),
    Reads(usize, Reads),
    Copy(u32),
}

impl Found {
    /// The race of an access by `lane` of warp `own` with the one `before` it.
    pub fn new(own: usize, lane: u8, offset: u32, write: bool, before: Before) -> Self {
        let (other, who, what) = match before {
            Before::Write(Write { writer, .. }) => {
                let Writer { warp, lane, .. } = writer;
                let lanes = match lane {
                    TOGETHER => "together".to_owned(),
                    lane => format!("lane {lane}"),
                };
                (usize::from(warp), format!("warp {warp}, {lanes},"), "wrote")
            }
            Before::Reads(warp, reads) => {
                let lane = reads.lanes.trailing_zeros();
                (warp, format!("warp {warp}, lane {lane},"), "read")
            }
            Before::Copy(thread) => (
                usize::MAX,
                format!("cp.async of warp {}, lane {},", thread / 32, thread % 32),
                "is about to write",
            ),
        };
        let kind = if other == usize::MAX {
            FindingKind::AsyncCopyRace
        } else if other == own {
            FindingKind::WarpRace
        } else {
            FindingKind::SharedRace
        };
        let verb = if write { "writes" } else { "reads" };
        Self {
            kind,
            lane: usize::from(lane % 32),
            offset,
            message: format!("the thread {verb} what {who} {what}, with nothing that orders them"),
        }
    }
}

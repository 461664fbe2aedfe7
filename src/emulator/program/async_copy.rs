//! Asynchronous copies from global to shared memory; run in `exec/async_copy.rs`.

use crate::emulator::syntax::Operand;

use super::compare::{Condition, condition};
use super::decoder::{Decoded, Decoder, exactly};
use super::memory::{Address, Space, address, prefetch_size};
use super::types::Type;
use super::{Modifiers, Op, Slot};

#[derive(Clone, Copy, Debug)]
pub enum AsyncCopy {
    Copy {
        /// In shared memory.
        to: Address,
        /// In global memory.
        from: Address,
        /// 4, 8 or 16.
        bytes: u8,
        /// Register of the bytes that are read; zeros follow.
        read: Option<Slot>,
        /// Where it holds, nothing is read and all is zero.
        ignore: Option<Condition>,
    },
    Commit,
    /// Waits until at most so many groups of this thread are under way.
    WaitGroup(u32),
    WaitAll,
}

/// Decodes `cp.async`.
pub fn decode(d: &mut Decoder, m: &mut Modifiers, operands: &[Operand]) -> Decoded<Op> {
    m.require("async", |word| (word == "async").then_some(()))?;
    Ok(Op::AsyncCopy(match m.take() {
        Some("commit_group") => {
            exactly::<0>(operands)?;
            AsyncCopy::Commit
        }
        Some("wait_all") => {
            exactly::<0>(operands)?;
            AsyncCopy::WaitAll
        }
        Some("wait_group") => {
            let [left] = exactly(operands)?;
            let left = u32::try_from(d.literal(left)?).map_err(|_| "too many groups")?;
            AsyncCopy::WaitGroup(left)
        }
        Some(cache @ ("ca" | "cg")) => copy(d, cache, m, operands)?,
        Some(other) => return Err(format!(".{other} is not supported")),
        None => return Err("a modifier is missing".to_owned()),
    }))
}

fn copy(
    d: &mut Decoder,
    cache: &str,
    m: &mut Modifiers,
    operands: &[Operand],
) -> Decoded<AsyncCopy> {
    m.require("shared", |word| {
        matches!(word, "shared" | "shared::cta").then_some(())
    })?;
    m.require("global", |word| (word == "global").then_some(()))?;
    m.choose(prefetch_size);
    let (to, from, bytes, more) = match operands {
        [to, from, bytes] => (to, from, bytes, None),
        [to, from, bytes, more] => (to, from, bytes, Some(more)),
        _ => return Err("it takes two addresses, a size and perhaps what to read".to_owned()),
    };
    let bytes = d.literal(bytes)?;
    if !matches!((cache, bytes), (_, 16) | ("ca", 4 | 8)) {
        return Err(format!("{bytes} bytes cannot be copied by .{cache}"));
    }
    let to = address(d, to, &mut Space::Shared.clone(), true)?;
    let from = address(d, from, &mut Space::Global.clone(), false)?;
    let (mut read, mut ignore) = (None, None);
    match more {
        None => {}
        Some(Operand::Not(_)) => ignore = more.map(|p| condition(d, p)).transpose()?,
        Some(Operand::Name(name)) if d.class(name) == Some(super::types::Class::Pred) => {
            ignore = more.map(|p| condition(d, p)).transpose()?;
        }
        Some(size) => read = Some(d.source(size, Type::U32)?),
    }
    let kernel = d.kernel_mut();
    kernel.shared_granule = kernel.shared_granule.min(bytes as usize);
    Ok(AsyncCopy::Copy {
        to,
        from,
        bytes: bytes as u8,
        read,
        ignore,
    })
}

//! Runs kernels. [`launch`] deals blocks out to threads; a [`block::Block`] lets its warps take
//! turns; [`warp_loop`] runs a warp, one instruction after the other, each in all active lanes.

mod approximate;
mod async_copy;
mod atomics;
mod barrier;
mod block;
mod compare;
mod context;
mod convert;
mod float;
mod integer;
mod memory;
mod numbers;
mod registers;
mod tensor;
mod warp;
mod warp_loop;
mod warp_state;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use rayon::prelude::*;

use crate::rng::philox4x32_10;

use super::counters::Counters;
use super::finding::{BufferPlace, Finding, FindingKind};
use super::launch::{Launch, Report, Schedule};
use super::memory::global::GlobalMemory;
use super::program::Kernel;
use block::Block;
use context::Context;
pub use memory::{GROUP, Group, Part, Pattern};
pub use registers::lanes;

/// Chunks of adjacent blocks a thread: enough to even out blocks of different lengths.
const CHUNKS_PER_THREAD: usize = 32;

/// Work that one thread does in about the time that it takes to share work with others (50 us on
/// Zen 3, 2026-11-24): launches of less stay on the thread that asks for them.
const ALONE: u64 = 2048;

/// Roughly how long blocks took, in ordinary warp instructions.
fn work_of(counters: &Counters) -> u64 {
    // An `mma` of 4096 operations takes as long as 16 others.
    counters.warp_instructions + counters.tensor_flop / 256
}

/// Grids beyond this are not shuffled by the random schedule.
const LARGEST_SHUFFLE: u64 = 1 << 22;

/// Runs all blocks of a launch.
pub fn launch(
    memory: &GlobalMemory,
    kernel: &Kernel,
    launch: &Launch,
    parameters: Vec<u8>,
) -> Report {
    let blocks = launch.grid.iter().map(|&n| u64::from(n)).product();
    let work = Work {
        memory,
        kernel,
        launch,
        parameters,
        stopped_at: AtomicU64::new(u64::MAX),
    };
    let chunks = if kernel.in_order || launch.options.races {
        vec![work.run_any(&mut work.block(), work.order(blocks), u64::MAX)]
    } else {
        work.run_in_parallel(blocks)
    };
    let mut counters = Counters::default();
    let mut findings = Vec::new();
    for chunk in chunks {
        counters += chunk.counters;
        findings.extend(chunk.findings);
        if chunk.stopped {
            break;
        }
    }
    let mut report = Report {
        findings: merge(findings),
        counters,
    };
    if report.completed() {
        let [read, written] = memory.footprint();
        report.counters.footprint_read_sectors = read;
        report.counters.footprint_written_sectors = written;
        report.findings.extend(broken_promises(memory, kernel));
    }
    report
}

/// What some blocks, run one after the other, came to.
struct Chunk {
    /// How many ran to their end.
    blocks: u64,
    counters: Counters,
    findings: Vec<Finding>,
    stopped: bool,
}

struct Work<'a> {
    memory: &'a GlobalMemory,
    kernel: &'a Kernel,
    launch: &'a Launch,
    parameters: Vec<u8>,
    /// The lowest block that has ended the launch.
    stopped_at: AtomicU64,
}

impl Work<'_> {
    /// Runs blocks one after the other until it is worth while to wake other threads, and then the
    /// rest in parallel.
    fn run_in_parallel(&self, blocks: u64) -> Vec<Chunk> {
        let threads = rayon::current_num_threads();
        let alone = if threads == 1 { u64::MAX } else { ALONE };
        let first = self.run_any(&mut self.block(), 0..blocks, alone);
        let (begun, stopped) = (first.blocks, first.stopped);
        let mut all = vec![first];
        if stopped || begun == blocks {
            return all;
        }
        let left = blocks - begun;
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let chunks = most.min(threads * CHUNKS_PER_THREAD);
        let end = |i: usize| begun + (i as u128 * u128::from(left) / chunks as u128) as u64;
        // Each thread has a share of its own, so that neighbouring blocks, whose notes lie close
        // together, run on one; one that is done helps the others, of which some may wake late.
        let share = |thread: usize| thread * chunks / threads;
        let next: Vec<AtomicUsize> = (0..threads).map(|t| AtomicUsize::new(share(t))).collect();
        let take = |thread: usize| {
            let shares = (thread..threads).chain(0..thread);
            let mut claimed = shares.map(|t| (next[t].fetch_add(1, Relaxed), share(t + 1)));
            let (i, _) = claimed.find(|(i, end)| i < end)?;
            Some((i, end(i)..end(i + 1)))
        };
        let mut rest: Vec<(usize, Chunk)> = (0..threads)
            .into_par_iter()
            .with_max_len(1)
            .flat_map_iter(|thread| self.run_all(|| take(thread)))
            .collect();
        rest.sort_unstable_by_key(|(i, _)| *i);
        all.extend(rest.into_iter().map(|(_, chunk)| chunk));
        all
    }

    /// The order in which blocks run that must not run at once.
    fn order(&self, blocks: u64) -> Box<dyn Iterator<Item = u64>> {
        let Schedule::Random(seed) = self.launch.options.schedule else {
            return Box::new(0..blocks);
        };
        if blocks > LARGEST_SHUFFLE {
            return Box::new(0..blocks);
        }
        let mut order: Vec<u64> = (0..blocks).collect();
        let key = [seed as u32, (seed >> 32) as u32];
        for i in (1..order.len()).rev() {
            let word = philox4x32_10([i as u32, 1, 0, 0], key)[0];
            order.swap(i, ((u64::from(word) * (i as u64 + 1)) >> 32) as usize);
        }
        Box::new(order.into_iter())
    }

    /// Runs the chunks that `take` gives; each with its number.
    fn run_all(&self, take: impl Fn() -> Option<(usize, Range<u64>)>) -> Vec<(usize, Chunk)> {
        let mut block = self.block();
        let mut chunks = Vec::new();
        while let Some((i, blocks)) = take() {
            chunks.push((i, self.run_any(&mut block, blocks, u64::MAX)));
        }
        chunks
    }

    /// Room for a block to run in.
    fn block(&self) -> Block<'_> {
        let context = Context::new(self.kernel, self.memory, &self.parameters, self.launch);
        Block::new(context)
    }

    /// Runs blocks until none is left or so much work is done, see [`work_of`].
    fn run_any(
        &self,
        block: &mut Block<'_>,
        blocks: impl Iterator<Item = u64>,
        enough: u64,
    ) -> Chunk {
        if has_wide_vectors() && !self.launch.options.portable {
            self.run::<true>(block, blocks, enough)
        } else {
            self.run::<false>(block, blocks, enough)
        }
    }

    fn run<const WIDE: bool>(
        &self,
        block: &mut Block<'_>,
        blocks: impl Iterator<Item = u64>,
        enough: u64,
    ) -> Chunk {
        let mut stopped = false;
        let mut done = 0;
        for index in blocks {
            // What comes after a block that ended the launch does not count.
            if index > self.stopped_at.load(Relaxed) && !self.kernel.in_order {
                break;
            }
            if block.run::<WIDE>(index).is_err() {
                self.stopped_at.fetch_min(index, Relaxed);
                stopped = true;
                break;
            }
            done += 1;
            if work_of(&block.context.counters) >= enough {
                break;
            }
        }
        Chunk {
            blocks: done,
            counters: std::mem::take(&mut block.context.counters),
            findings: block.context.take_findings(),
            stopped,
        }
    }
}

/// Whether the CPU has what the wide variants were compiled for.
fn has_wide_vectors() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Findings of the same kind at the same line become one, the first.
fn merge(findings: Vec<Finding>) -> Vec<Finding> {
    let mut merged: Vec<Finding> = Vec::new();
    let mut known = HashMap::new();
    for finding in findings {
        match known.get(&(finding.kind, finding.ptx_line)) {
            Some(&at) => {
                let first: &mut Finding = &mut merged[at];
                first.count += finding.count;
            }
            None => {
                known.insert((finding.kind, finding.ptx_line), merged.len());
                merged.push(finding);
            }
        }
    }
    merged
}

/// Buffers that `ld.global.nc` read and the kernel wrote.
fn broken_promises(memory: &GlobalMemory, kernel: &Kernel) -> Vec<Finding> {
    let finding = |(buffer, (offset, pc)): (String, (usize, u32))| {
        let instruction = kernel.code.get(pc as usize);
        Finding {
            kind: FindingKind::ReadOnlyCacheConflict,
            message: "the kernel writes a sector that it reads by a load for read-only data"
                .to_owned(),
            kernel: kernel.name.clone(),
            block: [0; 3],
            warp: None,
            lane: None,
            place: Some(BufferPlace {
                buffer,
                offset: offset as i64,
            }),
            ptx_line: instruction.map_or(0, |instruction| instruction.line),
            source: instruction.and_then(|instruction| kernel.source(instruction)),
            count: 1,
        }
    };
    memory
        .buffers()
        .filter_map(|buffer| Some((buffer.name.clone(), buffer.broken_promise()?)))
        .map(finding)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::ALONE;
    use crate::emulator::{Argument, Device, Launch, Profile, Report};

    /// Counts to `turns`, then writes the block's number, from block `fault` on out of bounds.
    const LONG: &str = "
.version 7.0
.target sm_75
.address_size 64
.entry long(.param .u64 x, .param .u32 turns, .param .u32 fault)
{
    .reg .pred %p<3>; .reg .b32 %r<6>; .reg .b64 %rd<4>;
    ld.param.u64 %rd1, [x];
    ld.param.u32 %r1, [turns];
    ld.param.u32 %r2, [fault];
    mov.u32 %r3, %ctaid.x;
    mov.u32 %r4, 0;
TURN:
    add.s32 %r4, %r4, 1;
    setp.lt.u32 %p1, %r4, %r1;
    @%p1 bra TURN;
    mul.wide.u32 %rd2, %r3, 4;
    add.s64 %rd3, %rd1, %rd2;
    setp.ge.u32 %p2, %r3, %r2;
    @%p2 add.s64 %rd3, %rd3, 4096;
    st.global.u32 [%rd3], %r3;
    ret;
}";

    fn run(threads: usize, turns: u32, fault: u32) -> (Report, Vec<u32>) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let run = || {
            let mut device = Device::new(Profile::SM_80);
            let module = device.load("long.ptx", LONG).unwrap();
            let x = device.allocate("x", 400).unwrap();
            device.upload_slice(x, &[u32::MAX; 100]).unwrap();
            let launch = Launch::new([100, 1, 1], [1, 1, 1]);
            let arguments = [
                Argument::Buffer(x),
                Argument::U32(turns),
                Argument::U32(fault),
            ];
            let report = device.launch(module, "long", &launch, &arguments).unwrap();
            (report, device.download_vec(x).unwrap())
        };
        pool.build().unwrap().install(run)
    }

    #[test]
    fn launches_that_are_shared_between_threads_report_what_one_thread_reports() {
        for turns in [1, ALONE as u32 / 40, ALONE as u32] {
            for fault in [0, 1, 2, 37, 99, 100] {
                let (expected, contents) = run(1, turns, fault);
                assert_eq!(expected.completed(), fault == 100);
                assert_eq!(expected.findings.len(), usize::from(fault < 100));
                for threads in [2, 3, 8] {
                    let (report, shared) = run(threads, turns, fault);
                    assert_eq!(
                        report, expected,
                        "{threads} threads, fault in block {fault}"
                    );
                    assert!(fault < 100 || shared == contents);
                }
            }
        }
        let (_, contents) = run(4, ALONE as u32, 100);
        assert_eq!(contents, Vec::from_iter(0..100));
    }
}

//! The autograd tape: operations recorded in a `Vec` and walked backwards.
//!
//! A tape is recorded once, symbolically: every value is a [`View`] into an address space that
//! never reuses anything. [`Tape::plan`] then lays the values out in one arena by their lifetimes,
//! and the resulting [`Program`] runs any number of times on a [`Backend`] without allocating.
//! Nodes are whole blocks of the two networks.

#[cfg(test)]
mod accumulation_tests;
#[cfg(test)]
mod gradient_tests;
mod memory;
mod mixed;
mod program;

use std::ops::Range;
use std::sync::Arc;

use crate::backend::{
    Accumulate, Adam, Backward, Below, Forward, Loss, Precision, Statistics, Targets, View,
};
use crate::model::{BatchNorm, Network};
use crate::rng::Stream;

pub use memory::NetworkMemory;
pub use program::{Operation, OperationKind, Player, Program};

use memory::Plan;
use mixed::Samples;

/// One recorded operation.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a program has a few dozen, read in order: boxes would only scatter them"
)]
enum Op {
    Crops {
        to: View,
        side: usize,
        channels: usize,
    },
    Normals {
        to: View,
        stream: Stream,
    },
    Targets(Targets),
    Forward {
        place: Place,
        call: Forward,
    },
    Loss(Loss),
    Backward {
        place: Place,
        call: Backward,
    },
    Adam(Adam),
}

/// A block of one of the tape's networks.
#[derive(Clone, Copy, Debug)]
struct Place {
    player: Player,
    block: usize,
}

/// How a forward pass normalises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Batch statistics, in this many groups of adjacent samples; running averages follow with
    /// this weight of the newest batch.
    Train { groups: usize, momentum: f64 },
    /// Running averages; nothing can be differentiated.
    Infer,
}

impl Mode {
    /// Training in `groups` groups with the momentum that both conventions share.
    pub fn train(groups: usize) -> Self {
        Self::Train {
            groups,
            momentum: BatchNorm::MOMENTUM,
        }
    }
}

/// A network's forward pass on the tape.
#[derive(Clone, Debug)]
pub struct Pass {
    player: Player,
    ops: Range<usize>,
    batch: usize,
    groups: usize,
    /// The network's output.
    pub output: View,
}

/// The gradient that a walk begins with: of the pass's output, or of its linear output where the block
/// above has taken it through the activation.
struct Incoming {
    gradient: View,
    prepared: bool,
}

/// Records the operations of one step.
pub struct Tape {
    networks: [Arc<Network>; 2],
    precision: Precision,
    ops: Vec<Op>,
    plan: Plan,
    /// Whether a player's gradients have been written since its last update.
    written: [bool; 2],
}

impl Tape {
    /// An empty tape whose own values lie in the arena from `first_free` on. With
    /// [`Precision::Bf16`] what flows between the blocks of a network is bf16; what goes in and comes
    /// out is f32.
    pub fn new(
        generator: Arc<Network>,
        discriminator: Arc<Network>,
        first_free: usize,
        precision: Precision,
    ) -> Self {
        Self {
            networks: [generator, discriminator],
            precision,
            ops: Vec::new(),
            plan: Plan::new(first_free),
            written: [false; 2],
        }
    }

    /// A new value of `len` f32 numbers.
    pub fn value(&mut self, len: usize) -> View {
        self.plan.value(len, Precision::F32)
    }

    /// A new value of `len` numbers that lies between two blocks.
    pub fn inner(&mut self, len: usize) -> View {
        self.plan.value(len, self.precision)
    }

    /// A value that the caller fills before each run.
    pub fn input(&mut self, len: usize) -> View {
        let value = self.value(len);
        self.plan.keep_from_start(value);
        value
    }

    /// Keeps `value` until the end of the run, for the caller to read.
    pub fn keep(&mut self, value: View) {
        self.plan.keep_to_end(value);
    }

    /// The crops that are chosen before each run, `[n, side, side, channels]`.
    pub fn crops(&mut self, to: View, side: usize, channels: usize) {
        self.ops.push(Op::Crops { to, side, channels });
    }

    /// N(0, 1) numbers of `stream` at the step's number.
    pub fn normals(&mut self, to: View, stream: Stream) {
        self.ops.push(Op::Normals { to, stream });
    }

    /// The targets of the losses.
    pub fn targets(&mut self, call: Targets) {
        self.ops.push(Op::Targets(call));
    }

    /// A binary cross-entropy.
    pub fn loss(&mut self, call: Loss) {
        self.ops.push(Op::Loss(call));
    }

    /// Runs `player`'s network on `batch` samples; its output goes to `output` if given.
    pub fn forward(
        &mut self,
        player: Player,
        memory: &NetworkMemory,
        mode: Mode,
        batch: usize,
        input: View,
        output: Option<View>,
    ) -> Pass {
        let network = Arc::clone(&self.networks[player as usize]);
        let groups = match mode {
            Mode::Train { groups, .. } => groups,
            Mode::Infer => 1,
        };
        let first = self.ops.len();
        let mut x = input;
        let mut folded = None;
        for (index, block) in network.blocks.iter().enumerate() {
            let len = batch * block.linear.output_len();
            let y = match (network.blocks.get(index + 1), output) {
                (Some(_), _) => self.inner(len),
                (None, Some(output)) => output,
                (None, None) => self.value(len),
            };
            let statistics = block.norm.zip(block.running).map(|(norm, at)| {
                let saved = self.value(groups * 2 * norm.features);
                let running = memory.running.part(at, 2 * norm.features);
                match mode {
                    Mode::Train { momentum, .. } => Statistics::Batch {
                        saved,
                        running,
                        momentum,
                    },
                    Mode::Infer => Statistics::Running { saved, running },
                }
            });
            let mixed = self.precision == Precision::Bf16;
            let deferred = mixed && mixed::defers(&network.blocks[index..]);
            let separate = statistics.is_some() && mode != Mode::Infer && !deferred;
            let linear = if separate { self.inner(len) } else { y };
            let call = Forward {
                parameters: memory.parameters,
                batch,
                groups,
                input: x,
                folded,
                linear,
                output: y,
                deferred,
                statistics,
            };
            let place = Place {
                player,
                block: index,
            };
            self.ops.push(Op::Forward { place, call });
            x = y;
            folded = mixed::normalisation(block, &call).filter(|_| deferred);
        }
        Pass {
            player,
            ops: first..self.ops.len(),
            batch,
            groups,
            output: x,
        }
    }

    /// Walks `pass` backwards for `samples` (whole groups of it), from `gradient`, the gradient of
    /// their part of the output, which is overwritten. The parameters' gradients go to
    /// `parameter_gradient`, that of the input to `input_gradient`, where given.
    ///
    /// # Panics
    /// If `samples` are not whole groups of the pass.
    pub fn backward(
        &mut self,
        pass: &Pass,
        samples: Range<usize>,
        gradient: View,
        parameter_gradient: Option<View>,
        input_gradient: Option<View>,
    ) {
        let gradient = Incoming {
            gradient,
            prepared: false,
        };
        let outgoing = input_gradient.map(|view| (view, None));
        self.walk(pass, samples, gradient, parameter_gradient, outgoing);
    }

    /// Walks backwards through `judge`, for `samples` of it, and then through the whole of `maker`, the
    /// pass that made their input. `between` gets the gradient of that input, or in mixed precision
    /// that of what the maker's last activation was applied to. Only the maker's parameters get gradients.
    ///
    /// # Panics
    /// If `samples` are not whole groups of the judge's pass.
    pub fn backward_through(
        &mut self,
        (judge, samples): (&Pass, Range<usize>),
        maker: &Pass,
        gradient: View,
        between: View,
        parameter_gradient: View,
    ) {
        let first = Incoming {
            gradient,
            prepared: false,
        };
        let last = Samples {
            batch: maker.batch,
            groups: maker.groups,
            range: 0..maker.batch,
        };
        let below = match self.precision {
            Precision::Bf16 => self.below(maker.ops.end - 1, &last, None),
            Precision::F32 => None,
        };
        self.walk(judge, samples, first, None, Some((between, below)));
        let second = Incoming {
            gradient: between,
            prepared: below.is_some(),
        };
        let parameters = Some(parameter_gradient);
        self.walk(maker, 0..maker.batch, second, parameters, None);
    }

    fn walk(
        &mut self,
        pass: &Pass,
        samples: Range<usize>,
        Incoming {
            mut gradient,
            mut prepared,
        }: Incoming,
        parameter_gradient: Option<View>,
        outgoing: Option<(View, Option<Below>)>,
    ) {
        let group = pass.batch / pass.groups;
        let whole = samples.start.is_multiple_of(group) && samples.end.is_multiple_of(group);
        assert!(
            whole && samples.end <= pass.batch,
            "samples are not whole groups"
        );
        let samples = Samples {
            batch: pass.batch,
            groups: pass.groups,
            range: samples,
        };
        let part = |view| samples.of(view);
        let player = pass.player as usize;
        let accumulate = match self.written[player] {
            false => Accumulate::First,
            true => Accumulate::Later,
        };
        for index in pass.ops.clone().rev() {
            let Op::Forward { place, call } = self.ops[index] else {
                continue;
            };
            let first = index == pass.ops.start;
            let wanted = if first {
                outgoing.map(|(view, _)| view)
            } else {
                Some(self.inner(part(call.input).len))
            };
            let below = match (self.precision, first) {
                (_, true) => outgoing.and_then(|(_, below)| below),
                (Precision::Bf16, false) => self.below(index - 1, &samples, parameter_gradient),
                (Precision::F32, false) => None,
            };
            self.ops.push(Op::Backward {
                place,
                call: Backward {
                    parameters: call.parameters,
                    batch: samples.range.len(),
                    groups: samples.group_count(),
                    input: part(call.input),
                    folded: call.folded.map(|norm| samples.of_normalisation(norm)),
                    linear: part(call.linear),
                    output: part(call.output),
                    saved: call.statistics.map(|s| samples.of_statistics(s.saved())),
                    gradient,
                    prepared,
                    input_gradient: wanted,
                    below,
                    parameter_gradient: parameter_gradient.map(|view| (view, accumulate)),
                },
            });
            gradient = wanted.unwrap_or_default();
            prepared = below.is_some();
        }
        self.written[player] |= parameter_gradient.is_some();
    }

    /// Updates `player`'s parameters, and their average where there is one.
    pub fn adam(&mut self, player: Player, call: Adam) {
        self.ops.push(Op::Adam(call));
        self.written[player as usize] = false;
    }

    /// Lays all values out in the arena.
    pub fn plan(self) -> Program {
        Program::new(self.networks, self.ops, self.plan)
    }
}

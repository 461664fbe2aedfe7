//! A planned tape: the same operations on the same places, as often as wanted.

use std::sync::Arc;

use super::memory::Plan;
use super::{Op, Place};
use crate::backend::{
    Adam, Backend, BackendError, Backward, Forward, Loss, Normalisation, ProgramId, Statistics,
    StepScalars, Targets, View,
};
use crate::model::Network;

/// One of the two networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Player {
    Generator = 0,
    Discriminator = 1,
}

impl Player {
    /// As in checkpoints and messages.
    pub fn name(self) -> &'static str {
        match self {
            Player::Generator => "generator",
            Player::Discriminator => "discriminator",
        }
    }
}

/// What an operation of a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OperationKind {
    Crops,
    Normals,
    Forward,
    /// Targets and losses.
    Loss,
    Backward,
    Adam,
}

/// An operation of a program, for those who count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    pub kind: OperationKind,
    /// The network and the number of its block.
    pub layer: Option<(Player, usize)>,
    /// Samples of a pass through a block, else 0.
    pub samples: usize,
    /// Whether a backward pass only goes through, to gradients of what lies below.
    pub through: bool,
    /// Bytes of the program's values that are in use while it runs, without the networks' lasting memory.
    pub live_bytes: u64,
}

/// A planned tape.
pub struct Program {
    id: ProgramId,
    networks: [Arc<Network>; 2],
    ops: Vec<Op>,
    plan: Plan,
}

impl Program {
    pub(super) fn new(networks: [Arc<Network>; 2], mut ops: Vec<Op>, mut plan: Plan) -> Self {
        for (index, op) in ops.iter_mut().enumerate() {
            op.each_view(&mut |view| plan.touch(*view, index));
        }
        plan.place();
        for op in &mut ops {
            op.each_view(&mut |view| *view = plan.resolve(*view));
        }
        Self {
            id: ProgramId::new(),
            networks,
            ops,
            plan,
        }
    }

    /// Values that the arena must hold.
    pub fn arena_len(&self) -> usize {
        self.plan.end()
    }

    /// Where a value of the tape lies in the arena.
    pub fn resolve(&self, value: View) -> View {
        self.plan.resolve(value)
    }

    /// Runs all operations in order.
    ///
    /// # Errors
    /// What went wrong on the backend's device.
    pub fn run<B: Backend>(
        &self,
        backend: &mut B,
        scalars: &StepScalars,
    ) -> Result<(), BackendError> {
        backend.run(self.id, scalars, &|backend| {
            for (index, op) in self.ops.iter().enumerate() {
                backend.mark(index);
                self.run_op(backend, op);
            }
        })
    }

    fn run_op(&self, backend: &mut impl Backend, op: &Op) {
        match *op {
            Op::Crops { to, side, channels } => backend.crops(to, side, channels),
            Op::Normals { to, stream } => backend.normals(to, stream),
            Op::Targets(ref call) => backend.targets(call),
            Op::Loss(ref call) => backend.loss(call),
            Op::Adam(ref call) => backend.adam(call),
            Op::Forward { place, ref call } => backend.forward(self.block(place), call),
            Op::Backward { place, ref call } => backend.backward(self.block(place), call),
        }
    }

    /// What each operation is, in order: [`Backend::mark`] numbers them.
    pub fn operations(&self) -> Vec<Operation> {
        let of = |(index, op): (usize, &Op)| {
            let (what, place, samples, through) = match op {
                Op::Crops { .. } => (OperationKind::Crops, None, 0, false),
                Op::Normals { .. } => (OperationKind::Normals, None, 0, false),
                Op::Targets(_) | Op::Loss(_) => (OperationKind::Loss, None, 0, false),
                Op::Adam(_) => (OperationKind::Adam, None, 0, false),
                Op::Forward { place, call } => {
                    (OperationKind::Forward, Some(*place), call.batch, false)
                }
                Op::Backward { place, call } => {
                    let through = call.parameter_gradient.is_none();
                    (OperationKind::Backward, Some(*place), call.batch, through)
                }
            };
            Operation {
                kind: what,
                layer: place.map(|place| (place.player, place.block)),
                samples,
                through,
                live_bytes: 4 * self.plan.live_words(index) as u64,
            }
        };
        self.ops.iter().enumerate().map(of).collect()
    }

    fn block(&self, place: Place) -> &crate::model::Block {
        &self.networks[place.player as usize].blocks[place.block]
    }
}

impl Op {
    /// Visits every view that the operation reads or writes.
    fn each_view(&mut self, visit: &mut impl FnMut(&mut View)) {
        match self {
            Op::Crops { to, .. } | Op::Normals { to, .. } => visit(to),
            Op::Targets(Targets { real, fake, .. }) => [real, fake].into_iter().for_each(visit),
            Op::Loss(Loss {
                logits,
                targets,
                gradient,
                loss,
            }) => [logits, targets, gradient, loss]
                .into_iter()
                .for_each(visit),
            Op::Adam(call) => {
                let Adam {
                    parameters,
                    gradient,
                    first_moment,
                    second_moment,
                    average,
                    ..
                } = call;
                [parameters, gradient, first_moment, second_moment]
                    .into_iter()
                    .chain(average)
                    .for_each(visit)
            }
            Op::Forward { call, .. } => {
                let Forward {
                    parameters,
                    input,
                    folded,
                    linear,
                    output,
                    statistics,
                    ..
                } = call;
                let views = [parameters, input, linear, output];
                views.into_iter().for_each(&mut *visit);
                each_of_normalisation(folded, visit);
                if let Some(
                    Statistics::Batch { saved, running, .. }
                    | Statistics::Running { saved, running },
                ) = statistics
                {
                    [saved, running].into_iter().for_each(visit);
                }
            }
            Op::Backward { call, .. } => {
                let Backward {
                    parameters,
                    input,
                    folded,
                    linear,
                    output,
                    saved,
                    gradient,
                    input_gradient,
                    below,
                    parameter_gradient,
                    ..
                } = call;
                let views = [parameters, input, linear, output, gradient];
                views.into_iter().for_each(&mut *visit);
                each_of_normalisation(folded, visit);
                if let Some(below) = below {
                    [&mut below.linear, &mut below.output]
                        .into_iter()
                        .chain(&mut below.affine_gradient)
                        .chain(&mut below.bias_gradient)
                        .for_each(&mut *visit);
                    each_of_normalisation(&mut below.norm, visit);
                }
                saved.iter_mut().for_each(&mut *visit);
                input_gradient.iter_mut().for_each(&mut *visit);
                if let Some((view, _)) = parameter_gradient {
                    visit(view);
                }
            }
        }
    }
}

fn each_of_normalisation(norm: &mut Option<Normalisation>, visit: &mut impl FnMut(&mut View)) {
    if let Some(Normalisation { saved, affine, .. }) = norm {
        [saved, affine].into_iter().for_each(visit);
    }
}

//! Where values lie: the lasting memory of a network, and the plan of a tape's own values.

use crate::backend::{Precision, View};
use crate::model::Network;

/// Values are placed at multiples of this many words, 128 bytes: a cache line pair, a GPU's sector row.
const ALIGNMENT: usize = 32;

/// Addresses of recorded values start here, above those of every arena.
const SYMBOLIC: usize = 1 << 48;

/// What a network keeps from step to step.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkMemory {
    /// Trained parameters, in the order of the inventory.
    pub parameters: View,
    /// Batch norm's running statistics, in the order of the inventory.
    pub running: View,
    /// Gradients of the parameters.
    pub gradient: View,
    /// Adam's m.
    pub first_moment: View,
    /// Adam's v.
    pub second_moment: View,
}

impl NetworkMemory {
    /// Memory for `network` from `next` on, which moves behind it. A network that is only run
    /// needs no gradients and moments.
    pub fn place(network: &Network, trained: bool, next: &mut usize) -> Self {
        let mut view = |len: usize| {
            let view = View::new(*next, len);
            *next += len.next_multiple_of(ALIGNMENT);
            view
        };
        let parameters = network.inventory.parameter_len();
        let state = if trained { parameters } else { 0 };
        Self {
            parameters: view(parameters),
            running: view(network.inventory.running_len()),
            gradient: view(state),
            first_moment: view(state),
            second_moment: view(state),
        }
    }
}

/// A recorded value and when it is in use.
#[derive(Clone, Copy, Debug)]
struct Value {
    symbolic: View,
    /// First and last operation that touches it.
    first: usize,
    last: usize,
    place: usize,
}

/// The values of a tape.
#[derive(Debug)]
pub(super) struct Plan {
    first_free: usize,
    next: usize,
    values: Vec<Value>,
    end: usize,
}

impl Plan {
    pub fn new(first_free: usize) -> Self {
        Self {
            first_free,
            next: SYMBOLIC,
            values: Vec::new(),
            end: first_free,
        }
    }

    pub fn value(&mut self, len: usize, precision: Precision) -> View {
        let symbolic = View {
            start: self.next,
            len,
            precision,
        };
        self.next += symbolic.words().max(1).next_multiple_of(ALIGNMENT);
        self.values.push(Value {
            symbolic,
            first: usize::MAX,
            last: 0,
            place: 0,
        });
        symbolic
    }

    /// The value that holds `view`; none for lasting memory and for empty views.
    fn find(&self, view: View) -> Option<usize> {
        if view.start < SYMBOLIC {
            return None;
        }
        let after = self
            .values
            .partition_point(|v| v.symbolic.start <= view.start);
        after.checked_sub(1)
    }

    pub fn keep_from_start(&mut self, view: View) {
        self.touch(view, 0);
    }

    pub fn keep_to_end(&mut self, view: View) {
        self.touch(view, usize::MAX);
    }

    /// Notes that operation `op` reads or writes `view`.
    pub fn touch(&mut self, view: View, op: usize) {
        if let Some(index) = self.find(view) {
            let value = &mut self.values[index];
            value.first = value.first.min(op);
            value.last = value.last.max(op);
        }
    }

    /// Places all values: the largest first, each at the lowest address that no value in use at
    /// the same time has taken.
    pub fn place(&mut self) {
        let mut order: Vec<usize> = (0..self.values.len()).collect();
        order.sort_by_key(|&i| (std::cmp::Reverse(self.values[i].symbolic.words()), i));
        let mut placed: Vec<usize> = Vec::with_capacity(order.len());
        for index in order {
            let value = self.values[index];
            let mut taken: Vec<(usize, usize)> = placed
                .iter()
                .map(|&other| &self.values[other])
                .filter(|other| other.first <= value.last && value.first <= other.last)
                .map(|other| (other.place, other.place + other.symbolic.words()))
                .collect();
            taken.sort_unstable();
            let mut place = self.first_free;
            for (start, end) in taken {
                if place + value.symbolic.words() <= start {
                    break;
                }
                place = place.max(end.next_multiple_of(ALIGNMENT));
            }
            self.values[index].place = place;
            self.end = self.end.max(place + value.symbolic.words());
            placed.push(index);
        }
    }

    /// Where a recorded view lies in the arena, once placed.
    pub fn resolve(&self, view: View) -> View {
        match self.find(view) {
            None => view,
            Some(index) => {
                let value = &self.values[index];
                View {
                    start: value.place + (view.start - value.symbolic.start),
                    ..view
                }
            }
        }
    }

    /// Words of the values that are in use while operation `op` runs.
    pub fn live_words(&self, op: usize) -> usize {
        let live = self.values.iter().filter(|v| v.first <= op && op <= v.last);
        live.map(|v| v.symbolic.words()).sum()
    }

    /// One past the last value.
    pub fn end(&self) -> usize {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Philox, Stream};
    use rand::RngExt;

    #[test]
    fn values_in_use_at_the_same_time_never_overlap_and_others_share() {
        let mut random = Philox::new(4, Stream::Benchmark, 0).sequential();
        let mut plan = Plan::new(100);
        let mut expected = Vec::new();
        for _ in 0..200 {
            let precision = match random.random_bool(0.5) {
                true => Precision::F32,
                false => Precision::Bf16,
            };
            let view = plan.value(random.random_range(1..500), precision);
            let first = random.random_range(0..100);
            let last = first + random.random_range(0..10);
            plan.touch(view, first);
            plan.touch(view, last);
            expected.push((view, first, last));
        }
        plan.place();
        let total: usize = expected.iter().map(|(view, ..)| view.words()).sum();
        assert!(plan.end() < total / 3, "nothing was shared");
        for (i, &(a, a_first, a_last)) in expected.iter().enumerate() {
            let a = plan.resolve(a);
            assert!(a.start >= 100 && a.range().end <= plan.end());
            for &(b, b_first, b_last) in &expected[..i] {
                let b = plan.resolve(b);
                let together = a_first <= b_last && b_first <= a_last;
                let overlap = a.start < b.range().end && b.start < a.range().end;
                assert!(!(together && overlap));
            }
        }
    }
}

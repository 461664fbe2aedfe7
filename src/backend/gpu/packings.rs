//! Weights in the order in which convolutions read them, made once for each state of the weights.

use super::Gpu;
use super::driver::{Driver, Pointer};
use super::ops::half::pack::{self, Packing};
use crate::backend::View;
use crate::model::StridedLayer;

/// What was packed in the program that is being recorded. Every program begins with nothing, since
/// weights may have been uploaded before it.
#[derive(Debug, Default)]
pub(super) struct Packings {
    packed: Vec<Packed>,
    /// Bytes of all of them.
    end: usize,
}

#[derive(Debug)]
struct Packed {
    weights: View,
    packing: Packing,
    /// Its first byte.
    start: usize,
    /// Whether the weights are still those that were packed.
    fresh: bool,
}

/// Packings begin at multiples of this many bytes.
const ALIGNMENT: usize = 256;

impl Packings {
    pub fn clear(&mut self) {
        self.packed.clear();
        self.end = 0;
    }

    /// Notes that `parameters` have changed.
    pub fn forget(&mut self, parameters: View) {
        for packed in &mut self.packed {
            if parameters.range().contains(&packed.weights.start) {
                packed.fresh = false;
            }
        }
    }

    /// The place of a packing, and whether it is there already.
    fn place(&mut self, weights: View, packing: Packing, bytes: usize) -> (usize, bool) {
        let known = |p: &&mut Packed| (p.weights, p.packing) == (weights, packing);
        if let Some(packed) = self.packed.iter_mut().find(known) {
            return (packed.start, std::mem::replace(&mut packed.fresh, true));
        }
        let start = self.end;
        self.packed.push(Packed {
            weights,
            packing,
            start,
            fresh: true,
        });
        self.end += bytes.next_multiple_of(ALIGNMENT);
        (start, false)
    }
}

impl<D: Driver> Gpu<D> {
    /// The weights of a layer, packed. With `both`, the other packing is made too where this one is: it
    /// will be wanted, and takes the weights' being read once.
    pub(super) fn packed(
        &mut self,
        layer: &StridedLayer,
        weights: View,
        packing: Packing,
        both: bool,
    ) -> Pointer {
        let place = |packings: &mut Packings, packing| {
            let bytes = pack::packed_bytes(layer, packing);
            packings.place(weights, packing, bytes)
        };
        let (start, there) = place(&mut self.packings, packing);
        let other = match packing {
            Packing::Fprop => Packing::Dgrad,
            Packing::Dgrad => Packing::Fprop,
        };
        let other = (both && !there).then(|| place(&mut self.packings, other).0);
        let all = self.launcher.packings(self.packings.end);
        let at = |start: usize| Pointer(all.0 + start as u64);
        if !there {
            let weights = self.at(weights);
            let (own, other) = (Some(at(start)), other.map(at));
            let to = match packing {
                Packing::Fprop => [own, other],
                Packing::Dgrad => [other, own],
            };
            pack::pack(&mut self.launcher, layer, weights, to);
        }
        at(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packing_is_made_again_in_its_place_when_its_weights_have_changed() {
        let mut packings = Packings::default();
        let (parameters, other) = (View::new(100, 50), View::new(200, 50));
        let (weights, others) = (parameters.part(10, 20), other.part(10, 20));
        let place = |packings: &mut Packings, view, packing| packings.place(view, packing, 300);
        let first = place(&mut packings, weights, Packing::Fprop);
        assert_eq!(first, (0, false));
        assert_eq!(place(&mut packings, weights, Packing::Dgrad), (512, false));
        assert_eq!(place(&mut packings, others, Packing::Fprop), (1024, false));
        assert_eq!(place(&mut packings, weights, Packing::Fprop), (0, true));
        packings.forget(parameters);
        assert_eq!(place(&mut packings, others, Packing::Fprop), (1024, true));
        assert_eq!(place(&mut packings, weights, Packing::Dgrad), (512, false));
        assert_eq!(place(&mut packings, weights, Packing::Dgrad), (512, true));
        packings.clear();
        assert_eq!(place(&mut packings, others, Packing::Fprop), (0, false));
    }
}

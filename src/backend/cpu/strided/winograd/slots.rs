//! Which components each phase of the big plane has, and where they lie.

use crate::model::{PadLow, StridedLayer};

use super::super::dgrad::tap;

/// Components of a transform: 4x4.
pub const COMPONENTS: usize = 16;
/// Components that are not zero, of all four phases: 16 + 12 + 12 + 9.
pub const SLOTS: usize = 49;

/// Which of the two operations the transforms belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Big phases are filtered and summed into the small plane: fprop.
    Gather,
    /// The small plane is filtered into each big phase: dgrad, and wgrad with it.
    Scatter,
}

/// A component of one phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Row and column of the component, 0..4.
    pub component: [usize; 2],
    /// Parity of the phase's rows and columns, 0..2.
    pub parity: [usize; 2],
}

/// The slots in their order in memory: by component, then by phase.
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    form: Form,
    pad: PadLow,
    pub all: [Slot; SLOTS],
    /// Where the slots of each component begin, and the end.
    pub begin: [usize; COMPONENTS + 1],
}

impl Slots {
    pub fn new(form: Form, pad: PadLow) -> Self {
        let none = Slot {
            component: [0; 2],
            parity: [0; 2],
        };
        let mut slots = Self {
            form,
            pad,
            all: [none; SLOTS],
            begin: [0; COMPONENTS + 1],
        };
        let mut count = 0;
        for index in 0..COMPONENTS {
            slots.begin[index] = count;
            let component = [index / 4, index % 4];
            for parity in [[0, 0], [0, 1], [1, 0], [1, 1]] {
                if (0..2).all(|k| slots.has(parity[k], component[k])) {
                    slots.all[count] = Slot { component, parity };
                    count += 1;
                }
            }
        }
        slots.begin[COMPONENTS] = count;
        slots
    }

    /// The tap of coefficient `g` (0..3) of the filter of `parity`.
    fn tap(&self, parity: usize, g: usize) -> Option<usize> {
        let offset = match self.form {
            Form::Gather => 1 - g as isize,
            Form::Scatter => g as isize - 1,
        };
        tap(self.pad.pixels(), parity, offset)
    }

    /// Whether the filter of `parity` has component `i`: components 0 and 3 are its outer
    /// coefficients themselves.
    fn has(&self, parity: usize, i: usize) -> bool {
        match i {
            0 => self.tap(parity, 0).is_some(),
            3 => self.tap(parity, 2).is_some(),
            _ => true,
        }
    }

    /// The filter taps (row, column) that coefficient (`row`, `column`) of the filter of `parity` is.
    pub fn taps(&self, parity: [usize; 2], row: usize, column: usize) -> Option<usize> {
        let row = self.tap(parity[0], row)?;
        Some(row * StridedLayer::TAPS + self.tap(parity[1], column)?)
    }

    /// The place of each component of the phase of `parity`.
    pub fn of_phase(&self, parity: [usize; 2]) -> [Option<usize>; COMPONENTS] {
        let mut places = [None; COMPONENTS];
        for (place, slot) in self.all.iter().enumerate() {
            if slot.parity == parity {
                places[4 * slot.component[0] + slot.component[1]] = Some(place);
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phases_have_16_12_12_and_9_components_and_25_taps() {
        for form in [Form::Gather, Form::Scatter] {
            for pad in [PadLow::One, PadLow::Two] {
                let slots = Slots::new(form, pad);
                assert_eq!(slots.begin[COMPONENTS], SLOTS);
                let mut counts = Vec::new();
                let mut taps = Vec::new();
                for parity in [[0, 0], [0, 1], [1, 0], [1, 1]] {
                    counts.push(slots.of_phase(parity).iter().flatten().count());
                    for (row, column) in (0..9).map(|k| (k / 3, k % 3)) {
                        taps.extend(slots.taps(parity, row, column));
                    }
                }
                counts.sort_unstable();
                taps.sort_unstable();
                assert_eq!(counts, [9, 12, 12, 16]);
                assert_eq!(taps, (0..25).collect::<Vec<_>>(), "{form:?} {pad:?}");
            }
        }
    }
}

//! Which generator of a run is offered: by what generators are compared, and which of them compete.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::RunConfig;
use super::directory::Best;
use super::distance::{Against, Distance, rounded};

/// What makes one generator better than another; smaller is better with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// The validation score, of pixels and mean spectra.
    #[default]
    Score,
    /// The chi-squared distance of `maps` generated maps.
    ChiSquared {
        maps: usize,
        #[serde(flatten)]
        against: Against,
    },
}

/// How the generator that a run offers is chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    by: Criterion,
    /// Only generators of later steps compete.
    after: u64,
    /// Steps between validations of generators that compete; 0: there are none besides those of the
    /// whole run.
    every: u64,
    total: u64,
}

impl Selection {
    /// As `run` says, of a run of `total` steps. `distance` is what chi-squared is measured of.
    pub fn new(
        run: &RunConfig,
        total: u64,
        steps_per_epoch: u64,
        distance: Option<Criterion>,
    ) -> Self {
        let by = distance.filter(|_| run.select).unwrap_or_default();
        let span = run
            .select_last_epochs
            .map(|epochs| epochs.saturating_mul(steps_per_epoch));
        Self {
            by,
            after: span.map_or(0, |span| total.saturating_sub(span)),
            every: run.select_every.unwrap_or(0),
            total,
        }
    }

    /// Whether the generator of `step` may be the one that is offered.
    pub fn competes(&self, step: u64) -> bool {
        step > self.after
    }

    /// Whether the generator of `step` is validated because it competes, whatever else is due.
    pub fn is_due(&self, step: u64) -> bool {
        self.competes(step) && self.every > 0 && step.is_multiple_of(self.every)
    }

    /// What makes a generator better than another.
    pub fn by(&self) -> Criterion {
        self.by
    }

    /// The number that a validation gives the generator of `step`, as a checkpoint holds it; `None`
    /// where it does not compete or was measured otherwise.
    pub fn value(&self, step: u64, validation: &Value) -> Option<f64> {
        if !self.competes(step) {
            return None;
        }
        match self.by {
            Criterion::Score => validation.get("score")?.as_f64(),
            Criterion::ChiSquared { maps, against } => {
                let distance = validation.get("chi_squared")?.clone();
                let distance: Distance = serde_json::from_value(distance).ok()?;
                let alike = distance.maps == maps && distance.against == against;
                (alike && distance.value.is_finite()).then_some(distance.value)
            }
        }
    }

    /// Whether `best` was chosen as generators are chosen now, among those that compete now.
    pub fn has_chosen(&self, best: &Best) -> bool {
        best.by == self.by && self.competes(best.step)
    }

    /// How the generator is chosen, for a person; nothing where it is the usual way.
    pub fn describe(&self) -> Option<String> {
        let Criterion::ChiSquared { .. } = self.by else {
            return None;
        };
        let before = match self.after {
            0 => String::new(),
            after => format!("; none up to step {after} competes"),
        };
        let every = match self.every {
            0 => "at every validation".to_owned(),
            1 => "measured at every step".to_owned(),
            every => format!("measured every {every} steps"),
        };
        Some(format!(
            "the generator with the least chi-squared of steps {} to {}, {every}, will be offered{before}",
            self.after + 1,
            self.total,
        ))
    }
}

impl Best {
    /// By what it is the best, for a person.
    pub fn describe(&self) -> String {
        let value = self.score;
        match self.by {
            Criterion::Score => format!("the best validation score, {value:.2}"),
            Criterion::ChiSquared { maps, against } => format!(
                "the least chi-squared, {} for {} elements ({}) of {maps} generated against \
                 {} validation maps",
                rounded(value),
                against.elements,
                if against.full {
                    "full covariance"
                } else {
                    "diagonal form"
                },
                against.real_maps,
            ),
        }
    }
}

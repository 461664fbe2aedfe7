//! What is looked at as training goes on: samples, and how good the averaged generator is.

use serde::Serialize;

use super::judge::Validation;
use super::run::{Run, RunError, Training, json};
use super::selection::Selection;
use super::watch::{Spread, Trouble};
use crate::backend::Backend;
use crate::stats::StatsError;

#[derive(Serialize)]
struct ValidationLine<'a> {
    #[serde(flatten)]
    validation: &'a Validation,
    /// Variance across generated maps, as a share of that of real maps.
    variance_share: f64,
    /// Whether the generator may be the one that is offered.
    competes: bool,
}

impl Run {
    /// What the best generator up to `step` came to, if one was chosen as generators are chosen
    /// now; another choice is forgotten. The newest checkpoint is marked now if it is the best and
    /// the run was killed before it said so.
    pub(super) fn best(
        &self,
        step: u64,
        selection: &Selection,
        tell: impl Fn(&str),
    ) -> Result<Option<f64>, RunError> {
        let directory = &self.directory;
        if let Some(other) = directory.keep_best_if(|best| selection.has_chosen(best))? {
            tell(&format!(
                "step {} had {}; it does not compete now, and its checkpoint is kept no longer than \
                 others",
                other.step,
                other.describe()
            ));
        }
        let best = directory.best()?.map(|best| best.score);
        let newest = self.checkpoint.as_ref();
        let value = newest.and_then(|c| selection.value(step, &c.description.selection));
        match value {
            Some(value) if best.is_none_or(|best| value < best) => {
                directory.set_best(step, value, selection.by())?;
                Ok(Some(value))
            }
            _ => Ok(best),
        }
    }
}

impl<B: Backend> Training<'_, B> {
    /// Says once what the chi-squared of this run is, and whether it chooses.
    pub(super) fn say_how_generators_are_judged(&self) {
        match self.judge.distances() {
            Ok(real) => self.progress.say(&real.describe()),
            Err(why) => self.progress.say(&format!(
                "no chi-squared is measured of the validation maps: {why}"
            )),
        }
        if let Some(how) = self.selection.describe() {
            self.progress.say(&how);
        }
    }

    pub(super) fn draw_samples(&mut self) -> Result<(), RunError> {
        let step = self.trainer.step();
        let samples = self.run.directory.samples();
        let path = samples.join(format!("step-{step:08}.png"));
        let title = format!("step {step}");
        let trainer = &mut self.trainer;
        let drawn = self
            .judge
            .draw_samples(&path, &title, |latents| trainer.sample(latents))?;
        for (channel, picture) in drawn.iter().enumerate() {
            let tag = match drawn.len() {
                1 => "samples".to_owned(),
                _ => format!("samples, channel {channel}"),
            };
            self.journal.picture(step, &tag, picture)?;
        }
        Ok(())
    }

    /// How good the averaged generator is on validation maps, or what is wrong with its maps. The
    /// number, smaller for better ones, is none where it does not compete or has none. Where a
    /// validation is not one of the `usual` ones, only a new best is worth a line.
    pub(super) fn validate(
        &mut self,
        usual: bool,
    ) -> Result<Result<Option<f64>, Trouble>, RunError> {
        let step = self.trainer.step();
        let trainer = &mut self.trainer;
        let map_len = self.run.dataset.validation.map_len();
        let mut spread = None;
        let validation = self.judge.validate(|latents| {
            let maps = trainer.sample(latents)?;
            spread.get_or_insert_with(|| Spread::of(&maps, map_len));
            Ok(maps)
        });
        let spread = spread.unwrap_or(self.real_spread);
        let trouble = match &validation {
            // The spread is that of the first maps only.
            Err(RunError::Stats(StatsError::NotFinite { .. })) => Some(Trouble::NotFiniteMaps),
            _ => self.recovery.watch.maps(step, &spread, &self.real_spread),
        };
        if let Some(trouble) = trouble.filter(|trouble| self.counts(trouble)) {
            return Ok(Err(trouble));
        }
        let validation = validation?;
        let line = ValidationLine {
            validation: &validation,
            variance_share: spread.across / self.real_spread.across,
            competes: self.selection.competes(step),
        };
        self.journal.write("validation", step, &line)?;
        let measured = json(&validation);
        let value = self.selection.value(step, &measured);
        let better = value.is_some_and(|value| value < self.best_score);
        if usual || better {
            self.progress.say(&said(step, &validation, better));
        }
        self.validated = Some((step, measured));
        Ok(Ok(value))
    }
}

/// A validation for a person.
fn said(step: u64, validation: &Validation, better: bool) -> String {
    let agreement = &validation.agreement;
    let distance = validation.chi_squared.as_ref();
    format!(
        "step {step}: validation score {:.2} (pixel KS {:.3}, P(l) within a factor {:.2}){}{}",
        agreement.score,
        agreement.pixel_ks,
        agreement.worst_spectrum_factor,
        distance.map_or(String::new(), |found| format!(", {}", found.describe())),
        if better { ", the best so far" } else { "" },
    )
}

//! What a run remembers of its rollbacks. It is kept in checkpoints, so that a resumed run goes on
//! with the same learning rates and the same patience.

use serde::{Deserialize, Serialize};

use super::watch::{WINDOW, WatchState};

/// What every rollback multiplies the learning rates with.
pub const RATE_FACTOR: f64 = 0.5;
/// Rollbacks in a row that may fail to bring a run well beyond the earlier trouble: rates that are
/// wrong by a factor of some 10^4 are still brought down, and after that rates are not what is wrong.
pub const MOST_IN_VAIN: u32 = 16;
/// Rollbacks of a whole run. With less than a ten millionth of the rates nothing is learned.
pub const MOST_ROLLBACKS: usize = 24;

/// The memory of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    pub rollbacks: Vec<Rollback>,
    pub watch: WatchState,
}

/// One return to an earlier state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollback {
    /// The step whose state was given up.
    pub from: u64,
    /// The step that was returned to; 0 is the initial state.
    pub to: u64,
    /// What was seen.
    pub cause: String,
    /// What the configured learning rates are multiplied with from now on.
    pub rate_factor: f64,
    /// Its place, from 1, among the rollbacks in a row after which the run came no further.
    pub attempt: u32,
}

impl Recovery {
    /// What the configured learning rates are multiplied with.
    pub fn rate_factor(&self) -> f64 {
        self.rollbacks.last().map_or(1.0, |last| last.rate_factor)
    }

    /// Which attempt in a row a rollback from `step` would be. A run that came further than ever
    /// before, by all the steps that a slow trouble takes to show, begins to count anew.
    fn attempt(&self, step: u64) -> u32 {
        let furthest = self.rollbacks.iter().map(|rollback| rollback.from).max();
        match (furthest, self.rollbacks.last()) {
            (Some(furthest), Some(last)) if step <= furthest + WINDOW => last.attempt + 1,
            _ => 1,
        }
    }

    /// The attempt that a rollback from `step` would be, if one is still allowed.
    pub fn next_attempt(&self, step: u64) -> Option<u32> {
        let attempt = self.attempt(step);
        let allowed = attempt <= MOST_IN_VAIN && self.rollbacks.len() < MOST_ROLLBACKS;
        allowed.then_some(attempt)
    }

    /// The step to return to from trouble that may have begun after `sound`, out of the `saved`
    /// ones in rising order; none means the initial state. Each attempt in a row goes one checkpoint
    /// further back. The first two stay with the `best` or go to a later one; that it does not help
    /// shows that there was something wrong with it already.
    pub fn target(
        &self,
        attempt: u32,
        sound: u64,
        saved: &[u64],
        best: Option<u64>,
    ) -> Option<u64> {
        let before = match self.rollbacks.last() {
            Some(last) if attempt > 1 => last.to,
            _ => u64::MAX,
        };
        let best = best.filter(|_| attempt <= 2);
        let usable =
            |&&step: &&u64| step <= sound && step < before && best.is_none_or(|best| step >= best);
        saved.iter().rev().find(usable).copied().or(best)
    }

    /// The rollbacks that metrics hold as lines of `step`. A line stands at the step that was
    /// returned to; a later return to an earlier step drops it there, and it is written again.
    pub fn written_at(&self, step: u64) -> impl Iterator<Item = &Rollback> {
        let all = &self.rollbacks;
        let place = |index: usize| all[index..].iter().map(|rollback| rollback.to).min();
        let here = (0..all.len()).filter(move |index| place(*index) == Some(step));
        here.map(|index| &all[index])
    }

    /// Adds a rollback and returns the new rate factor.
    pub fn push(&mut self, from: u64, to: u64, cause: String, attempt: u32) -> f64 {
        let rate_factor = self.rate_factor() * RATE_FACTOR;
        self.rollbacks.push(Rollback {
            from,
            to,
            cause,
            rate_factor,
            attempt,
        });
        rate_factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(rollbacks: &[(u64, u64)]) -> Recovery {
        let mut recovery = Recovery::default();
        for &(from, to) in rollbacks {
            let attempt = recovery.next_attempt(from).unwrap();
            recovery.push(from, to, "x".to_owned(), attempt);
        }
        recovery
    }

    #[test]
    fn rates_halve_with_every_rollback_and_attempts_count_from_the_last_progress() {
        let mut recovery = Recovery::default();
        assert_eq!(recovery.rate_factor(), 1.0);
        let far = 90 + WINDOW + 1;
        for (from, attempt, factor) in [
            (90, 1, 0.5),
            (80, 2, 0.25),
            (far - 1, 3, 0.125),
            (far + WINDOW, 1, 0.0625),
        ] {
            assert_eq!(recovery.next_attempt(from), Some(attempt));
            assert_eq!(recovery.push(from, 50, "x".to_owned(), attempt), factor);
            assert_eq!(recovery.rate_factor(), factor);
        }
    }

    #[test]
    fn rollbacks_end_without_progress_and_in_all() {
        let mut stuck = Recovery::default();
        while let Some(attempt) = stuck.next_attempt(90) {
            stuck.push(90, 0, "x".to_owned(), attempt);
        }
        assert_eq!(stuck.rollbacks.len(), MOST_IN_VAIN as usize);
        assert!(stuck.next_attempt(91 + WINDOW).is_some(), "it got further");
        let mut creeping = Recovery::default();
        let mut step = 1;
        while let Some(attempt) = creeping.next_attempt(step) {
            creeping.push(step, 0, "x".to_owned(), attempt);
            step += WINDOW + 1;
        }
        assert_eq!(creeping.rollbacks.len(), MOST_ROLLBACKS);
    }

    #[test]
    fn each_attempt_goes_further_back_and_leaves_the_best_only_when_it_did_not_help() {
        let saved = [10, 20, 30, 40];
        let first = Recovery::default();
        assert_eq!(first.target(1, 35, &saved, None), Some(30));
        assert_eq!(first.target(1, 5, &saved, Some(20)), Some(20));
        assert_eq!(first.target(1, 5, &[], None), None);
        let second = after(&[(45, 30)]);
        assert_eq!(second.target(2, 45, &saved[..3], None), Some(20));
        assert_eq!(second.target(2, 45, &saved[..3], Some(30)), Some(30));
        let third = after(&[(45, 30), (45, 30)]);
        assert_eq!(third.target(3, 45, &saved[..3], Some(30)), Some(20));
        let last = after(&[(45, 30), (45, 10)]);
        assert_eq!(last.target(3, 45, &saved[..1], None), None);
        let later = after(&[(45, 30)]);
        assert_eq!(later.target(1, 5000, &saved, None), Some(40));
    }

    #[test]
    fn every_rollback_is_written_once_at_the_earliest_step_returned_to_since() {
        let recovery = after(&[(900, 500), (950, 500), (940, 200), (2000, 700), (2000, 500)]);
        let froms = |step| -> Vec<u64> { recovery.written_at(step).map(|r| r.from).collect() };
        assert_eq!(froms(200), [900, 950, 940]);
        assert_eq!(froms(500), [2000, 2000]);
        assert_eq!(froms(700), [0; 0]);
    }
}

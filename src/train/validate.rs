//! The checks of a [`Config`]: each names the field, its value and what would be right.

use super::{
    Config, ConfigError, DataConfig, RunConfig, Schedule, Segment, StepConfig, UpdateOrder,
};

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is out of range, with its value and what would be right.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_name()?;
        self.architecture.validate()?;
        self.step.validate()?;
        self.run.validate()?;
        self.data.validate()
    }

    fn validate_name(&self) -> Result<(), ConfigError> {
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
        let good = !self.name.starts_with('.') && self.name.chars().all(plain);
        check(
            good && !self.name.is_empty(),
            "name",
            format!("\"{}\"", self.name),
            "it names a directory: letters, digits, '-', '_', '+' and '.', not beginning with '.'",
        )
    }
}

fn check(
    good: bool,
    field: &str,
    value: impl std::fmt::Display,
    expected: &'static str,
) -> Result<(), ConfigError> {
    if good {
        return Ok(());
    }
    Err(ConfigError::Field {
        field: field.to_owned(),
        value: value.to_string(),
        expected,
    })
}

impl StepConfig {
    /// Checks every knob of the step.
    ///
    /// # Errors
    /// The first field that is out of range, with its value and what would be right.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let flip = self.label_flip.probability;
        check(
            (0.0..=1.0).contains(&flip),
            "step.label_flip.probability",
            flip,
            "it must be from 0 to 1",
        )?;
        let smoothing = self.label_smoothing;
        check(
            (0.0..1.0).contains(&smoothing),
            "step.label_smoothing",
            smoothing,
            "it must be at least 0 and below 1 (the real label becomes 1 minus it)",
        )?;
        let adam = &self.adam;
        for (field, beta) in [
            ("step.adam.beta1", adam.beta1),
            ("step.adam.beta2", adam.beta2),
        ] {
            let good = (0.0..1.0).contains(&beta);
            check(good, field, beta, "it must be at least 0 and below 1")?;
        }
        check(
            adam.epsilon > 0.0 && adam.epsilon.is_finite(),
            "step.adam.epsilon",
            adam.epsilon,
            "it must be a positive number",
        )?;
        check(
            !self.fresh_latent || self.update == UpdateOrder::Alternating,
            "step.fresh_latent",
            self.fresh_latent,
            "a simultaneous step has one latent vector; it goes with update = \"alternating\"",
        )?;
        validate_schedule("step.generator_rate", &self.generator_rate)?;
        validate_schedule("step.discriminator_rate", &self.discriminator_rate)
    }
}

fn validate_schedule(field: &str, schedule: &Schedule) -> Result<(), ConfigError> {
    let some = !schedule.segments.is_empty();
    check(some, field, "empty", "it needs at least one segment")?;
    for (index, segment) in schedule.segments.iter().enumerate() {
        check(
            segment.rate() >= 0.0 && segment.rate().is_finite(),
            &format!("{field}[{index}].rate"),
            segment.rate(),
            "it must be a number that is not negative",
        )?;
        let in_steps = matches!(segment, Segment::Steps { .. });
        let unit = if in_steps { "steps" } else { "epochs" };
        check(
            segment.length() > 0.0 && segment.length().is_finite(),
            &format!("{field}[{index}].{unit}"),
            segment.length(),
            "it must be a positive number",
        )?;
        let first_in_steps = matches!(schedule.segments[0], Segment::Steps { .. });
        check(
            in_steps == first_in_steps,
            &format!("{field}[{index}]"),
            format!("in {unit}"),
            "all segments must be in epochs, or all in steps",
        )?;
    }
    Ok(())
}

impl RunConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        self.arithmetic().check()?;
        check(
            (2..=65_536).contains(&self.batch),
            "run.batch",
            self.batch,
            "it must be 2 to 65536 (batch norm needs more than one map)",
        )?;
        check(
            i64::try_from(self.seed).is_ok(),
            "run.seed",
            self.seed,
            "it must be below 2^63, the largest integer of a TOML file",
        )?;
        check(
            self.steps.is_some() || self.epochs.is_some(),
            "run.steps",
            "missing",
            "give run.steps or run.epochs, the length of the run",
        )?;
        for (field, total) in [("run.steps", self.steps), ("run.epochs", self.epochs)] {
            let good = total.is_none_or(|total| (1..=u64::from(u32::MAX)).contains(&total));
            let value = total.unwrap_or_default();
            check(good, field, value, "it must be 1 to 4294967295")?;
        }
        for (field, every) in [
            ("run.sample_every", self.sample_every),
            ("run.checkpoint_every", self.checkpoint_every),
            ("run.validation_every", self.validation_every),
        ] {
            let good = every <= u64::from(u32::MAX);
            check(
                good,
                field,
                every,
                "it must be 0 (at the end) to 4294967295",
            )?;
        }
        let every = (1..=u64::from(u32::MAX)).contains(&self.log_every);
        let expected = "it must be 1 to 4294967295";
        check(every, "run.log_every", self.log_every, expected)?;
        check(self.keep > 0, "run.keep", self.keep, "it must be 1 or more")?;
        let written = self.checkpoint_every > 0
            && self.keep_every.is_multiple_of(self.checkpoint_every)
            && self.keep_every <= u64::from(u32::MAX);
        check(
            self.keep_every == 0 || written,
            "run.keep_every",
            self.keep_every,
            "it must be 0 (none) or a multiple of run.checkpoint_every: only such steps have a \
             checkpoint to keep",
        )?;
        check(
            (2..=1_000_000).contains(&self.validation_maps),
            "run.validation_maps",
            self.validation_maps,
            "it must be 2 to 1000000",
        )?;
        self.validate_selection()?;
        check(
            (0.0..1.0).contains(&self.ema_decay),
            "run.ema_decay",
            self.ema_decay,
            "it must be at least 0 and below 1",
        )
    }

    fn validate_selection(&self) -> Result<(), ConfigError> {
        let maps = self.select_maps.map(|maps| maps as u64);
        for (field, value) in [
            ("run.select_last_epochs", self.select_last_epochs),
            ("run.select_every", self.select_every),
            ("run.select_maps", maps),
        ] {
            let set = value.unwrap_or_default();
            let expected = "it says how run.select chooses a generator, and has no effect without \
                            it: give run.select = true (--select) too, or leave it out";
            check(self.select || value.is_none(), field, set, expected)?;
            let good = value.is_none_or(|value| (1..=u64::from(u32::MAX)).contains(&value));
            check(good, field, set, "it must be 1 to 4294967295")?;
        }
        let least = super::distance::LEAST_ROWS as u64;
        check(
            maps.is_none_or(|maps| (least..=1_000_000).contains(&maps)),
            "run.select_maps",
            maps.unwrap_or_default(),
            "it must be 4 to 1000000: fewer maps have no variance to speak of",
        )
    }
}

impl DataConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        let crops = self.crops_per_parent.unwrap_or(1);
        check(
            (1..=1_000_000).contains(&crops),
            "data.crops_per_parent",
            crops,
            "it must be 1 to 1000000",
        )?;
        check(
            (1..=1 << 40).contains(&self.scan_pixels),
            "data.scan_pixels",
            self.scan_pixels,
            "it must be 1 to 2^40",
        )?;
        let sum: f64 = self.fractions.iter().sum();
        let each = self.fractions.iter().all(|f| (0.0..=1.0).contains(f));
        check(
            each && self.fractions[0] > 0.0 && (sum - 1.0).abs() < 1e-6,
            "data.fractions",
            format!("{:?}", self.fractions),
            "it holds the shares for training (above 0), validation and test, which sum to 1",
        )?;
        let angle = self.angle_deg.unwrap_or(1.0);
        check(
            angle > 0.0 && angle <= 180.0,
            "data.angle_deg",
            angle,
            "it must be an angle above 0 and up to 180 degrees",
        )?;
        let redshift = self.source_redshift.unwrap_or(1.0);
        check(
            redshift > 0.0 && redshift <= 2000.0,
            "data.source_redshift",
            redshift,
            "it must be above 0 and up to 2000",
        )?;
        for path in &self.paths {
            let good = !path.as_os_str().is_empty();
            check(
                good,
                "data.paths",
                "empty",
                "each entry names a file or a directory",
            )?;
        }
        Ok(())
    }
}

//! `cosmogan train`: from options and files to a run, new or resumed.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::device::{Selected, Work, with_batch_advice};
use super::options::{BaseArgs, DataArgs, NetworkArgs, RunArgs, StepArgs};
use super::progress::CountBar;
use super::{say, warn};
use cosmogan::backend::{Backend, BackendError};
use cosmogan::train::{
    Config, OpeningWork, Outcome, Run, RunDirectory, Start, Stop, TransformChoice, arena_len,
    precision_name, resolve,
};

/// Train a generator, on your maps or on synthetic ones
///
/// Without options a small network learns synthetic lognormal maps, in minutes on a laptop's CPU.
/// Everything goes into the run directory: configuration, metrics, pictures of samples, and
/// checkpoints. Ctrl-C finishes the step and saves; --resume goes on from there.
///
/// Defaults come from the preset, then the convention, then --config, then the other options.
#[derive(Args, Debug, Default)]
pub struct TrainArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    step: StepArgs,
    #[command(flatten)]
    run: RunArgs,
    /// Configuration in TOML, whole (such as a run's config.toml) or in part
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    config: Option<PathBuf>,
    /// Run directory of a new run [default: runs/<name>, numbered if taken]
    #[arg(long, value_name = "DIR", help_heading = "Run")]
    out: Option<PathBuf>,
    /// Go on with the run in this directory; only totals, output cadence, the choice of the
    /// generator (--select), device and precision may change
    #[arg(long, value_name = "DIR", help_heading = "Run", conflicts_with = "out")]
    resume: Option<PathBuf>,
}

/// A valid configuration, and where its run is or will be.
#[derive(Debug)]
pub struct TrainPlan {
    pub config: Config,
    pub start: Start,
}

impl TrainArgs {
    /// The run that these arguments ask for. Nothing is written.
    ///
    /// # Errors
    /// A file that cannot be read, a value out of range, or a resumed run that would change.
    pub fn plan(&self) -> Result<TrainPlan> {
        self.step.check()?;
        let Some(directory) = &self.resume else {
            let (preset, convention) = (self.base.preset, self.base.convention);
            let mut config = resolve::load(preset, convention, self.config.as_deref())?;
            self.apply(&mut config)?;
            config.validate()?;
            let out = self.out.clone();
            let start = Start::New { out };
            return Ok(TrainPlan { config, start });
        };
        let run = RunDirectory::open(directory).context("there is no run to resume")?;
        let old = resolve::load(None, None, Some(&run.config()))?;
        let mut config = match &self.config {
            None => old.clone(),
            Some(path) => resolve::overlay_file(&old, path)?,
        };
        config.preset = self.base.preset.unwrap_or(config.preset);
        config.convention = self.base.convention.unwrap_or(config.convention);
        self.apply(&mut config)?;
        resolve::check_resumable(&old, &config)?;
        config.validate()?;
        let start = Start::Resume(run);
        Ok(TrainPlan { config, start })
    }

    /// Where the preset came from.
    fn why_preset(&self) -> &'static str {
        match (&self.resume, self.base.preset, &self.config) {
            (Some(_), ..) => "the run's own",
            (None, Some(_), _) => "as asked",
            (None, None, Some(_)) => "by --config",
            (None, None, None) => "the default: minutes on a CPU",
        }
    }

    fn apply(&self, config: &mut Config) -> Result<()> {
        self.network.apply(&mut config.architecture);
        self.step.apply(&mut config.step);
        let data = self.data.apply(&mut config.data);
        data.context("cannot make the paths of data.paths absolute")?;
        self.run.apply(config);
        Ok(())
    }
}

/// Runs the command.
pub fn run(arguments: &TrainArgs) -> Result<()> {
    let TrainPlan { config, start } = arguments.plan()?;
    let device = Selected::new(config.run.device, config.run.arithmetic())?;
    let stop = Stop::install().context("cannot listen for Ctrl-C")?;
    let making = CountBar::new("making synthetic maps");
    let checking = CountBar::new("checking maps");
    let progress = |work, done, total| match work {
        OpeningWork::Making => making.show(done, total),
        OpeningWork::Checking => checking.show(done, total),
    };
    let run = Run::open(config, start, &progress, &warn)?;
    making.finish();
    checking.finish();
    say_beginning(&run, arguments.why_preset(), &device);
    let root = run.directory.root().display().to_string();
    let several = run.config.architecture.channels > 1;
    let each = if several { "-channel-*" } else { "" };
    let config = run.config.clone();
    let trained = device.run(Training { run, stop: &stop });
    let trained = trained.map_err(|error| {
        with_batch_advice(error, config.run.batch, |batch| {
            arena_len(&config, batch, device.precision())
        })
    });
    match trained? {
        Outcome::Stopped { signal, step } => say(&format!(
            "stopped by {signal}: step {step} is saved; go on with\n  \
             cosmogan train --resume {root}"
        )),
        Outcome::Finished {
            offered,
            chosen_by,
            report,
        } => {
            for line in report.lines() {
                say(&line);
            }
            say(&format!("offered: {} ({chosen_by})", offered.display()));
            say(&format!(
                "pictures and numbers: {root}/samples{each}.png, comparison{each}.png, summary.json"
            ));
            say(&format!(
                "next: cosmogan generate --checkpoint {root} --count 16 --out maps.png"
            ));
        }
    }
    Ok(())
}

/// The run, on whichever device serves.
struct Training<'a> {
    run: Run,
    stop: &'a Stop,
}

impl Work for Training<'_> {
    type Output = Outcome;

    fn on<B: Backend>(self, backend: impl Fn() -> Result<B, BackendError>) -> Result<Outcome> {
        Ok(self.run.train(backend, self.stop)?)
    }
}

/// The first lines: what was chosen, and why.
fn say_beginning(run: &Run, why_preset: &str, device: &Selected) {
    let config = &run.config;
    let architecture = &config.architecture;
    let per_epoch = run.steps_per_epoch();
    let total = config.total_steps(per_epoch);
    say(&format!(
        "preset {} ({why_preset}), {size}x{size} maps; device {}; precision {}; \
         transform {}, {}",
        config.preset,
        device.describe(),
        device.arithmetic().describe(),
        run.dataset.training.transforms(),
        match config.data.transform {
            TransformChoice::Auto => "chosen for maps of convergence",
            TransformChoice::None if config.preset.is_of_the_paper() => "as the preset has it",
            _ => "as asked",
        },
        size = architecture.map_size,
    ));
    let data = &run.dataset.description;
    let kept = run.dataset.kept.as_ref();
    let kept = kept.map_or(String::new(), |kept| format!(" ({kept})"));
    say(&format!(
        "maps: {}{kept}; {}",
        data.source,
        data.split.describe(&data.parents)
    ));
    if let Some(unread) = &run.dataset.unread {
        say(unread);
    }
    for warning in &run.dataset.warnings {
        warn(&format!("warning: {warning}"));
    }
    if data.provenance.side_deg.is_none() {
        say("the maps' angle is unknown (--angle gives it): l is as for 1 degree a side");
    }
    let described = run.checkpoint.as_ref().map(|c| &c.description);
    let from = match described {
        Some(description) => format!("from step {} ", description.step),
        None => String::new(),
    };
    if let Some(before) = described.filter(|d| d.precision != device.precision()) {
        say(&format!(
            "the run was computed in {} up to step {} and goes on in {}: it rounds otherwise from here on \
             (--precision chooses)",
            precision_name(before.precision),
            before.step,
            precision_name(device.precision()),
        ));
    }
    say(&format!(
        "training {from}to step {total} ({:.1} epochs), batch {}, seed {}, into {}",
        total as f64 / per_epoch as f64,
        config.run.batch,
        config.run.seed,
        run.directory.root().display()
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use cosmogan::model::Preset;
    use cosmogan::train::{Convention, TransformChoice, UpdateOrder};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        train: TrainArgs,
    }

    fn plan(words: &[&str]) -> Result<TrainPlan> {
        let words = ["train"].iter().chain(words);
        Line::try_parse_from(words)?.train.plan()
    }

    fn message(words: &[&str]) -> String {
        format!("{:#}", plan(words).unwrap_err())
    }

    #[test]
    fn no_options_mean_the_demo() {
        let config = plan(&[]).unwrap().config;
        assert_eq!(config, Config::of_preset(Preset::Demo, None));
    }

    #[test]
    fn every_level_overrides_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.toml");
        let text = "convention = 'torch'\n[run]\nbatch = 8\nseed = 5\n[step.adam]\nbeta1 = 0.9\n";
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let config = plan(&["--preset", "paper-64", "--config", file, "--batch", "16"])
            .unwrap()
            .config;
        let mut expected = Config::of_preset(Preset::Paper64, Some(Convention::Torch));
        expected.step.adam.beta1 = 0.9;
        (expected.run.batch, expected.run.seed) = (16, 5);
        assert_eq!(config, expected);
    }

    #[test]
    fn each_knob_can_be_set_by_itself() {
        let words = "--convention torch --update simultaneous --flip-per sample --beta2 0.99 \
                     --flip-probability 0 --label-smoothing 0.1 --rate 1e-4 --generator-rate \
                     1:1e-3,2:1e-5 --epsilon-form outside --init paper --drop-last --augment false \
                     --transform log --size 128 --base 8 --layers 3 --pad-low 2 --epochs 3 \
                     --fractions 0.8,0.1,0.1 --angle 1.5 --source-redshift 0.9 --name x --ema-decay 0.9";
        let words: Vec<&str> = words.split_whitespace().collect();
        let config = plan(&words).unwrap().config;
        assert_eq!(config.step.update, UpdateOrder::Simultaneous);
        assert!(!config.step.fresh_latent && config.step.drop_last && !config.data.augment);
        assert_eq!(config.step.generator_rate.segments.len(), 2);
        assert_eq!(config.step.discriminator_rate.rate_at(9.0, 9), 1e-4);
        assert_eq!(config.data.transform, TransformChoice::Log);
        assert_eq!((config.run.steps, config.run.epochs), (None, Some(3)));
        assert_eq!(config.architecture.pad_low.pixels(), 2);
        assert_eq!(config.data.angle_deg, Some(1.5));
        assert_eq!(config.data.source_redshift, Some(0.9));
    }

    #[test]
    fn the_choice_of_the_generator_comes_from_flags_and_files_alike() {
        let words = "--select --select-last-epochs 2 --select-every 1 --select-maps 6400";
        let words: Vec<&str> = words.split_whitespace().collect();
        let by_flags = plan(&words).unwrap().config;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.toml");
        let text = "[run]\nselect = true\nselect_last_epochs = 2\nselect_every = 1\n\
                    select_maps = 6400\n";
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(plan(&["--config", file]).unwrap().config, by_flags);
        let run = &by_flags.run;
        assert!(run.select && run.select_every == Some(1) && run.select_maps == Some(6400));
        // Without a choice nothing is left that says how to choose.
        let none = plan(&["--config", file, "--select", "false"]).unwrap();
        assert_eq!(none.config, Config::of_preset(Preset::Demo, None));
        let still = message(&["--config", file, "--select", "false", "--select-maps", "9"]);
        assert!(
            still.contains("run.select_maps is 9; it says how"),
            "{still}"
        );
    }

    #[test]
    fn values_out_of_range_name_their_field() {
        for (words, expected) in [
            (&["--batch", "0"][..], "run.batch is 0"),
            (&["--rate", "-1"], "step.generator_rate[0].rate is -1"),
            (&["--rate", "nan"], "rate is NaN"),
            (&["--size", "100"], "map_size is 100"),
            (&["--beta1", "1"], "step.adam.beta1 is 1"),
            (&["--steps", "0"], "run.steps is 0"),
            (&["--config", "none.toml"], "none.toml"),
            (&["--resume", "no/such/run"], "no/such/run does not exist"),
        ] {
            let message = message(words);
            assert!(message.contains(expected), "{message} lacks {expected}");
        }
    }

    #[test]
    fn resuming_takes_the_runs_own_configuration_and_refuses_changes() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("run");
        let run = RunDirectory::choose(Some(&root), "x").unwrap();
        run.make().unwrap();
        let old = Config::of_preset(Preset::Thesis256, Some(Convention::Paper));
        std::fs::write(run.config(), old.to_toml().unwrap()).unwrap();
        let root = root.to_str().unwrap();
        let TrainPlan { config, start } = plan(&["--resume", root, "--steps", "9"]).unwrap();
        assert!(matches!(start, Start::Resume(found) if found == run));
        assert_eq!((config.run.steps, config.run.epochs), (Some(9), None));
        assert_eq!(config.architecture, old.architecture);
        assert!(plan(&["--resume", root, "--preset", "thesis-256"]).is_ok());
        for (words, field) in [
            (["--seed", "2"], "run.seed is 1"),
            (["--preset", "demo"], "preset is thesis-256"),
            (["--latent", "5"], "architecture.latent is 100"),
            (["--convention", "torch"], "convention is paper"),
            (["--data", "maps"], "data.paths is []"),
        ] {
            let message = message(&["--resume", root, words[0], words[1]]);
            assert!(message.contains(field), "{message} lacks {field}");
        }
    }
}
